//! Arguments of the commands over the admin API. `--cert`, `--key` and `--ca` are always those for `--server`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    cli::{args::Passphrase, time::moment},
    http_client::Fingerprint,
};

/// Whom to ask, and about which organisation.
#[derive(Args, Clone)]
pub(in crate::cli) struct Via {
    /// The data directory of a gateway on this machine. Without this and --server: that of the variable KEYGATE_DATA_DIR.
    #[arg(long, value_name = "D", conflicts_with = "server")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) passphrase: Passphrase,
    /// A gateway elsewhere, in place of --data-dir: its setting admin.listen.
    #[arg(long, value_name = "https://HOST:PORT", requires_all = ["cert", "key"])]
    pub(in crate::cli) server: Option<String>,
    /// With --server: the administrator's certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(in crate::cli) cert: Option<PathBuf>,
    /// With --server: the key of the administrator's certificate, PEM, mode 0600.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(in crate::cli) key: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) trust: Trust,
    /// The organisation. Without it: "default", or with --server the administrator's.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) organisation: Option<String>,
    /// Prints the answer of the admin API.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// How a server elsewhere is known to be the one that is meant.
#[derive(Args, Clone, Default)]
pub(in crate::cli) struct Trust {
    /// With --server: what verifies the server's certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "server", conflicts_with = "accept_invalid_certs")]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// With --server: takes a certificate that nothing verifies, if it is the one of --fingerprint. Without that it is refused, and
    /// its fingerprint shown: compare it with the server's by another way.
    #[arg(long, requires = "server")]
    pub(in crate::cli) accept_invalid_certs: bool,
    /// With --accept-invalid-certs: SHA-256 of the server's certificate, hexadecimal.
    #[arg(long, value_name = "SHA256", requires = "accept_invalid_certs", conflicts_with = "ca")]
    pub(in crate::cli) fingerprint: Option<Fingerprint>,
}

/// The key of a CA that is made.
#[derive(Args, Clone)]
pub(in crate::cli) struct CaKey {
    /// p256, p384, rsa-3072, ed25519 or ml-dsa-65.
    #[arg(long, value_name = "A")]
    pub(in crate::cli) algorithm: Option<String>,
    /// Keystore that makes and keeps it; without this it is sealed in the store.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) keystore: Option<String>,
}

/// What is printed of a CA.
#[derive(Args, Clone)]
pub(in crate::cli) struct Text {
    /// Prints its certificates in PEM, too.
    #[arg(long)]
    pub(in crate::cli) pem: bool,
}

/// A decision with an impact.
#[derive(Args, Clone)]
#[group(skip)]
pub(in crate::cli) struct Decide {
    /// Why; kept in the audit record.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: String,
    /// "I understand the impact of this action and want to proceed". Without it the question is asked on the terminal.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

/// A revocation.
#[derive(Args, Clone)]
#[group(skip)]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    pub(in crate::cli) decide: Decide,
    /// What relying parties are told: keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation or
    /// privilegeWithdrawn (RFC 5280). Default: --reason, if it is one of these words.
    #[arg(long, value_name = "WORD")]
    pub(in crate::cli) told: Option<String>,
}

#[derive(Subcommand)]
pub(in crate::cli) enum Service {
    /// Shows whether clients may enrol, and the address that certificates name.
    Status {
        #[command(flatten)]
        via: Via,
    },
    /// Lets clients enrol. The first time, it makes the root and the organisation's CA.
    Enable {
        /// Why; kept in the audit record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Taken, but not needed: nobody is refused by enabling.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        ca_key: CaKey,
        #[command(flatten)]
        via: Via,
    },
    /// Refuses all clients that were enrolled with provisioning keys, until it is enabled again.
    Disable {
        /// Why; kept in the audit record.
        #[arg(long, value_name = "TEXT", default_value = "no reason given")]
        reason: String,
        /// "I understand the impact of this action and want to proceed".
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        via: Via,
    },
}

#[derive(Subcommand)]
pub(in crate::cli) enum ProvisioningKey {
    /// Makes a provisioning key and its issuing CA. The secret (id.secret) alone goes to standard output, this once.
    Create {
        /// 1 to 64 letters, digits, spaces and dashes; begins with a letter.
        name: String,
        /// When the secret stops to work: 2027-01-31T12:00:00Z, or a day (2027-01-31) for its beginning in UTC.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        expires: Option<String>,
        /// How many clients may enrol.
        #[arg(long, value_name = "N")]
        uses: Option<u64>,
        /// Networks that clients may enrol from, separated by commas.
        #[arg(long, value_name = "CIDRS")]
        from: Option<String>,
        /// Pattern of names that may be enrolled, such as "*.plant.example".
        #[arg(long, value_name = "PATTERN")]
        names: Option<String>,
        /// Days of validity of clients' certificates. Default: 7.
        #[arg(long, value_name = "N")]
        days: Option<u32>,
        /// Key that is to renew this one's clients.
        #[arg(long, value_name = "ID")]
        successor: Option<String>,
        /// File (mode 0600) to write id.secret to, instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        ca_key: CaKey,
        #[command(flatten)]
        via: Via,
    },
    /// Lists provisioning keys.
    List {
        #[command(flatten)]
        via: Via,
    },
    /// Shows a provisioning key: states, limits, uses. Never its secret.
    Show {
        /// Id or name.
        id: String,
        #[command(flatten)]
        via: Via,
    },
    /// Gives a provisioning key another name.
    Rename {
        /// Id or name.
        id: String,
        /// The new name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Says which key renews this one's clients.
    Set {
        /// Id or name.
        id: String,
        /// Key that renews its clients; empty: itself.
        #[arg(long, value_name = "ID")]
        successor: String,
        #[command(flatten)]
        via: Via,
    },
    /// Stops enrolment and renewal; issued certificates still connect.
    Suspend {
        /// Id or name.
        id: String,
        #[command(flatten)]
        decide: Decide,
        #[command(flatten)]
        via: Via,
    },
    /// Ends a suspension.
    Reactivate {
        /// Id or name.
        id: String,
        #[command(flatten)]
        decide: Decide,
        #[command(flatten)]
        via: Via,
    },
    /// For ever: every certificate of this key is refused everywhere.
    Revoke {
        /// Id or name.
        id: String,
        #[command(flatten)]
        revoke: Revoke,
        #[command(flatten)]
        via: Via,
    },
}

#[derive(Subcommand)]
pub(in crate::cli) enum Ca {
    /// Lists the CAs, the root first.
    List {
        #[command(flatten)]
        via: Via,
    },
    /// Shows a CA with its certificates in PEM.
    Show {
        /// Id, as listed.
        id: String,
        #[command(flatten)]
        via: Via,
    },
    /// Renews a CA's certificate: same key, another serial number and validity.
    Renew {
        /// Id, as listed.
        id: String,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Makes the next generation of a CA, with a new key; then publish, then activate it.
    Rekey {
        /// Id, as listed.
        id: String,
        #[command(flatten)]
        ca_key: CaKey,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Publishes a new generation's certificate, for relying parties to fetch.
    Publish {
        /// Id, as listed.
        id: String,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Lets a published generation sign, once what relying parties have cached has ended.
    Activate {
        /// Id, as listed.
        id: String,
        /// Without waiting for that; needs --reason and --yes.
        #[arg(long, requires = "reason")]
        at_once: bool,
        /// With --at-once: why; kept in the audit record.
        #[arg(long, value_name = "TEXT", requires = "at_once")]
        reason: Option<String>,
        /// With --at-once: "I understand the impact of this action and want to proceed".
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Certifies the key of a CA by one of the tier above, or of a root by another root.
    CrossSign {
        /// Id, as listed.
        id: String,
        /// Id of the CA that signs.
        #[arg(long, value_name = "ID")]
        by: String,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Revokes a generation that signs no more certificates: whatever it signed is refused by everybody.
    Revoke {
        /// Id, as listed.
        id: String,
        #[command(flatten)]
        revoke: Revoke,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Takes over an existing CA with its key, as the next generation.
    Import {
        /// root or organisation.
        #[arg(long, value_name = "TIER")]
        tier: String,
        /// Its certificate, PEM.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Its private key, PKCS#8 in PEM, mode 0600.
        #[arg(long, value_name = "FILE")]
        private_key: PathBuf,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Makes the next generation of the organisation's CA and prints its PKCS#10 request, for a CA elsewhere.
    Request {
        /// With --show: the CA whose request it is, as listed.
        #[arg(requires = "show")]
        id: Option<String>,
        /// Prints the request of a CA that waits once more, instead of making another CA.
        #[arg(long, requires = "id", conflicts_with_all = ["algorithm", "keystore"])]
        show: bool,
        #[command(flatten)]
        ca_key: CaKey,
        #[command(flatten)]
        via: Via,
    },
    /// Takes the certificate that a CA elsewhere has made for the request.
    Complete {
        /// Id, as printed by request.
        id: String,
        /// The certificate, PEM.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        #[command(flatten)]
        text: Text,
        #[command(flatten)]
        via: Via,
    },
    /// Gives up a CA that was never published, such as one whose request nobody signs. Its key is destroyed.
    Remove {
        /// Id, as listed.
        id: String,
        #[command(flatten)]
        via: Via,
    },
}

#[derive(Subcommand)]
pub(in crate::cli) enum Cert {
    /// Lists clients' certificates, newest first.
    List {
        /// Of this provisioning key: id or name.
        #[arg(long, value_name = "ID")]
        provisioning_key: Option<String>,
        /// valid, expired or revoked.
        #[arg(long, value_name = "S")]
        state: Option<String>,
        /// A part of subject or names.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Most certificates listed.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Where to go on, as printed by the list before.
        #[arg(long, value_name = "X")]
        after: Option<String>,
        #[command(flatten)]
        via: Via,
    },
    /// Shows a certificate.
    Show {
        /// Serial number in hexadecimal.
        serial: String,
        #[command(flatten)]
        via: Via,
    },
    /// Revokes a certificate, and what it was renewed from and to; with superseded, it alone.
    Revoke {
        /// Serial number in hexadecimal.
        serial: String,
        #[command(flatten)]
        revoke: Revoke,
        #[command(flatten)]
        via: Via,
    },
}

#[derive(Subcommand)]
pub(in crate::cli) enum AdminCommand {
    /// Adds an administrator. Writes ca.pem, cert.pem and key.pem to DIR; the key never leaves this machine.
    Add {
        /// Its name, unique in the gateway.
        name: String,
        /// security:read sees, security:write acts.
        #[arg(long, value_name = "ROLE")]
        role: String,
        #[command(flatten)]
        credential: AdminCredential,
        #[command(flatten)]
        via: Via,
    },
    /// Lists administrators.
    List {
        #[command(flatten)]
        via: Via,
    },
    /// Refuses an administrator, open connections included. The last one that acts stays.
    Disable {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Lets a disabled administrator in again.
    Enable {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Gives an administrator another role.
    Role {
        /// Its name.
        name: String,
        /// security:read or security:write.
        role: String,
        #[command(flatten)]
        via: Via,
    },
    /// Gives an administrator a further certificate; the old one works until it expires.
    Renew {
        /// Its name.
        name: String,
        #[command(flatten)]
        credential: AdminCredential,
        #[command(flatten)]
        via: Via,
    },
}

#[derive(Subcommand)]
pub(in crate::cli) enum RestUser {
    /// Adds a user. Without a password one is made and shown this once.
    Add {
        /// Its name: letters, digits and any of _ . @ -
        name: String,
        /// What it may do, separated by commas, no more than it needs: keys:create, keys:read, keys:export, keys:update, keys:state, keys:rotate, keys:delete, crypto:encrypt, crypto:decrypt, crypto:sign, crypto:verify, crypto:mac, crypto:random, logs:read.
        #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', required = true)]
        may: Vec<String>,
        /// The client it acts for, which owns the keys it makes. Without it a client of the user's name is made.
        #[arg(long, value_name = "CLIENT")]
        client: Option<String>,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        via: Via,
    },
    /// Lists the users and what they may do.
    List {
        #[command(flatten)]
        via: Via,
    },
    /// Refuses a user from now on.
    Disable {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Lets a disabled user in again.
    Enable {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Removes a user for good. Its client stays, with its keys.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Says anew what a user may do.
    Allow {
        /// Its name.
        name: String,
        /// What it may do from now on, separated by commas.
        #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', required = true)]
        may: Vec<String>,
        #[command(flatten)]
        via: Via,
    },
    /// Gives a user another password; the old one is void at once. Without one, it is made and shown this once.
    SetPassword {
        /// Its name.
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        via: Via,
    },
    /// Prints a curl command that answers Success where name, password, address and certificate are right. curl asks for the password.
    TestCommand {
        /// The user's name.
        name: String,
        /// HOST:PORT as the user's program reaches it. Without it: the address of clients.listen, or the first of tls.hosts.
        #[arg(long, value_name = "HOST:PORT")]
        host: Option<String>,
        /// Where the certificate that verifies the server is written, PEM. Without it: D/rest-ca.pem.
        #[arg(long, value_name = "FILE")]
        ca_out: Option<PathBuf>,
        #[command(flatten)]
        via: Via,
    },
}

/// Where a password comes from.
#[derive(Args, Clone)]
pub(in crate::cli) struct PasswordSource {
    /// File (mode 0600) that holds the password: 12 to 256 octets.
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// Open file descriptor to read the password from; 0 is standard input.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) password_fd: Option<i32>,
}

/// A certificate for an administrator.
#[derive(Args, Clone)]
pub(in crate::cli) struct AdminCredential {
    /// Folder to write to; made where it is missing.
    #[arg(long, value_name = "DIR", required_unless_present = "certificate")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// PKCS#10 request to sign instead of making a key.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    pub(in crate::cli) csr: Option<PathBuf>,
    /// Certificate made elsewhere to take as it is.
    #[arg(long, value_name = "FILE", conflicts_with = "days")]
    pub(in crate::cli) certificate: Option<PathBuf>,
    /// Days of validity of what is issued.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) days: Option<u32>,
}

#[derive(Subcommand)]
pub(in crate::cli) enum Organisation {
    /// Adds an organisation.
    Add {
        /// 1 to 64 small letters, digits and dashes; begins with a letter.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Lists organisations.
    List {
        #[command(flatten)]
        via: Via,
    },
}

/// What is searched for in the audit record.
#[derive(Args)]
pub(in crate::cli) struct Search {
    /// Not before this time, such as 2026-01-31T12:00:00Z or 2026-01-31.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(in crate::cli) since: Option<String>,
    /// Not after this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(in crate::cli) until: Option<String>,
    /// What was done, such as ProvisioningKeyRevoked.
    #[arg(long, value_name = "ACTION")]
    pub(in crate::cli) action: Option<String>,
    /// Who: a name, an id, local:UID, system.
    #[arg(long, value_name = "WHO")]
    pub(in crate::cli) actor: Option<String>,
    /// To what: an id, serial number or name.
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) object: Option<String>,
    /// Most events listed.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(in crate::cli) limit: usize,
    /// Where to go on, as printed by the search before.
    #[arg(long, value_name = "X")]
    pub(in crate::cli) after: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) via: Via,
}

/// One setting of a keystore, as in a `[[keystore]]` table.
#[derive(Debug, Clone)]
pub(in crate::cli) struct KeystoreSetting(pub(in crate::cli) String, pub(in crate::cli) serde_json::Value);

impl std::str::FromStr for KeystoreSetting {
    type Err = String;

    /// `key=value`; a value that is no TOML value is a string, and needs no quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE, such as token-label=prod")?;
        let parsed = format!("value = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
        let value = parsed.and_then(|value| serde_json::to_value(value).ok());
        Ok(Self(key.trim().into(), value.unwrap_or_else(|| text[key.len() + 1..].trim().into())))
    }
}

/// Where a keystore's PIN or password comes from. Never an argument: other users of the machine can read those.
#[derive(Args, Clone)]
#[group(skip)]
pub(in crate::cli) struct KeystoreSecret {
    /// File (mode 0600) that holds the PIN or password, which is sealed in the store.
    #[arg(long, value_name = "FILE", conflicts_with = "secret_stdin")]
    pub(in crate::cli) secret_file: Option<PathBuf>,
    /// Reads the PIN or password from standard input.
    #[arg(long)]
    pub(in crate::cli) secret_stdin: bool,
}

#[derive(Subcommand)]
pub(in crate::cli) enum Keystore {
    /// Adds a keystore as a draft. Its settings are the keys of a `[[keystore]]` table of D/keygate.toml; a PIN or password is given
    /// with --secret-file or --secret-stdin, never by a setting.
    Add {
        /// 1 to 64 letters, digits, hyphens or underscores.
        name: String,
        /// local, pkcs11, kmip or rest.
        #[arg(long, value_name = "KIND")]
        kind: String,
        /// A setting, such as token-label=prod; several may be given.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<KeystoreSetting>,
        #[command(flatten)]
        secret: KeystoreSecret,
        #[command(flatten)]
        via: Via,
    },
    /// Lists keystores: those of D/keygate.toml and those that were added.
    List {
        #[command(flatten)]
        via: Via,
    },
    /// Shows a keystore and its last test, never its secret.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Changes settings or secret. One that is not in use must be tested again; one in use is tested with them first, and goes on as
    /// it was when that fails. What says where the secret is sent changes only with the secret.
    Set {
        /// Its name.
        name: String,
        /// A setting that is new or replaces the one of its name; several may be given.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<KeystoreSetting>,
        /// A setting to be taken away; several may be given.
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        #[command(flatten)]
        secret: KeystoreSecret,
        #[command(flatten)]
        via: Via,
    },
    /// Tests a keystore, also one of D/keygate.toml, step by step: resolve, connect, TLS, log in, capabilities, a probe key made, used and destroyed. Ends with
    /// the word Success.
    Test {
        /// Its name.
        name: String,
        /// Also with a PIN or password that it has refused before: devices lock after a few wrong ones.
        #[arg(long)]
        again: bool,
        #[command(flatten)]
        via: Via,
    },
    /// Lets new keys go to a keystore whose test succeeded. Existing keys stay where they are and stay usable.
    Activate {
        /// Its name.
        name: String,
        /// The name once more, as confirmation. Without it the question is asked on the terminal.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        /// New keys go there only where the request or the client names it.
        #[arg(long)]
        keep_default: bool,
        #[command(flatten)]
        via: Via,
    },
    /// Lets no new keys go to a keystore any more; those it has stay usable.
    Drain {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Offers the PIN or password once more to a keystore that stopped because it was refused. Of one of D/keygate.toml the file with it is
    /// read anew; of others it is the one given last (keystore set).
    Retry {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Forgets a keystore that nothing refers to any more, and its secret with it.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        via: Via,
    },
    /// Shows how keystores do, and what an operator has to do about them.
    Status {
        /// Only this one.
        name: Option<String>,
        #[command(flatten)]
        via: Via,
    },
}

#[derive(Args, Clone)]
pub(in crate::cli) struct Rotate {
    /// Most objects a second; 0: as fast as it goes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) rate: u32,
    /// Stops the rotation; run again without this it goes on. Until it is done, objects are under the old term or the new one.
    #[arg(long, conflicts_with = "detach")]
    pub(in crate::cli) stop: bool,
    /// Does not wait for the end.
    #[arg(long)]
    pub(in crate::cli) detach: bool,
    #[command(flatten)]
    pub(in crate::cli) via: Via,
}

#[derive(Args, Clone)]
pub(in crate::cli) struct Rehome {
    /// Keystore that the keys come from.
    #[arg(long, value_name = "KEYSTORE")]
    pub(in crate::cli) from: String,
    /// Keystore that they go to; the same: everything is sealed again under a new term of the keyring.
    #[arg(long, value_name = "KEYSTORE")]
    pub(in crate::cli) to: String,
    /// Most keys a second; 0: as fast as it goes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) per_second: u32,
    /// Stops the move; run again without this it goes on.
    #[arg(long, conflicts_with_all = ["detach", "yes"])]
    pub(in crate::cli) stop: bool,
    /// Does not wait for the end.
    #[arg(long)]
    pub(in crate::cli) detach: bool,
    /// "I understand that keys in a device can be used there, and not fetched any more."
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) via: Via,
}
