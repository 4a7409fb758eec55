//! The arguments. Their help is the contract scripts rely on.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::backup::{Backup, Restore};
use super::keys_file::{Export, Import};
use super::api::args::{AdminCommand, Ca, Cert, Keystore, Organisation, ProvisioningKey, Rehome, RestUser, Rotate, Search, Service, Trust, Via};
use super::typed;
use crate::app::{AskPassphrase, Opening, SecretInput};

/// A key-server gateway: KMIP clients on one side, keystores on the other.
#[derive(Parser)]
#[command(name = "keygate", version, after_help = AFTER_HELP, max_term_width = 110)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "\
Listeners (settings of D/keygate.toml, or --set at serve; port 0 lets the system choose):
  kmip.listen    0.0.0.0:5696    KMIP over mutual TLS
  clients.listen 0.0.0.0:8443    enrolment of client machines (EST), REST key server, over TLS
  admin.listen   127.0.0.1:9443  administration over mutual TLS
  public.listen  0.0.0.0:8080    certificate status for relying parties; plain HTTP
  status.listen  127.0.0.1:9696  health, readiness, status, Prometheus metrics; plain HTTP
The bound addresses are printed and written to D/run/listeners.json.

Exit codes:
  0  done
  1  failed
  2  wrong arguments or settings
  3  the data directory is in use by another keygate process
  4  what is named does not exist, or exists already
  5  audit verify: the record is not intact
  6  not enough seal slots open, or serve ended because the seal's token was lost (seal.on_loss = stop)
  7  enrol: the server refuses the provisioning key, the certificate or the names
  8  enrol: no answer, or not decided yet: try again later
  9  enrol: the certificate at hand is revoked
With --json the answer is one JSON value on standard output. Errors go to standard error.";

const ENROL_AFTER_HELP: &str = "\
Exit codes:
  0  there is a good certificate: a new one, or nothing is due yet
  1  failed: the server is not the one meant, its answer is of no use, the folder cannot be written, or the certificate has expired
     and no provisioning key is given
  2  wrong arguments, or a first enrolment without a provisioning key
  3  another keygate process works on DIR
  7  the server refuses the provisioning key, the certificate or the names
  8  no answer, or not decided yet: try again later
  9  the certificate in DIR is revoked; --force and a provisioning key enrol anew
With --daemon the process ends with these, too, when no waiting can mend it.";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Makes a working deployment in a data directory: seal, authorities, administrator, first client.
    Init(Init),
    /// Serves until SIGTERM or SIGINT.
    Serve(ServeArguments),
    /// Enrols, lists, disables, enables and renews clients and their KMIP users.
    #[command(subcommand)]
    Client(Client),
    /// On a client machine: gets a certificate with a provisioning key (EST), and renews it when a third of its life is left.
    Enrol(Enrol),
    /// Where clients listen for what the server sends them (the endpoint tables of keygate.toml), and what they say when asked.
    #[command(subcommand)]
    Endpoint(Endpoint),
    /// Lets others than the owner use objects.
    #[command(subcommand)]
    Grant(Grant),
    /// Groups of clients, to grant to.
    #[command(subcommand)]
    Group(Group),
    /// Certificate provisioning as a whole: whether clients may enrol.
    #[command(subcommand)]
    Service(Service),
    /// Provisioning keys: what installers are handed so that machines get certificates.
    #[command(subcommand)]
    ProvisioningKey(ProvisioningKey),
    /// The CAs of certificate provisioning, and their rotation.
    #[command(subcommand)]
    Ca(Ca),
    /// Certificates of clients that were enrolled with provisioning keys.
    #[command(subcommand)]
    Cert(Cert),
    /// Security administrators.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Organisations (tenants).
    #[command(subcommand)]
    Organisation(Organisation),
    /// Users of the REST key server: programs that use this gateway as their key server by name and password.
    #[command(subcommand)]
    RestUser(RestUser),
    /// Keystores: where keys live. Added, tested, activated, drained and removed while the gateway serves.
    #[command(subcommand)]
    Keystore(Keystore),
    /// Managed objects: metadata, never material.
    #[command(subcommand)]
    Keys(Keys),
    /// What the running server keeps in memory.
    #[command(subcommand)]
    Cache(Cache),
    /// A small KMIP client, to see a gateway work.
    #[command(subcommand)]
    Kmip(Kmip),
    /// Checks settings.
    #[command(subcommand)]
    Config(Config),
    /// The audit record.
    #[command(subcommand)]
    Audit(Audit),
    /// The seal slots.
    #[command(subcommand)]
    Seal(SealCommand),
    /// The store.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Writes a backup of the whole store, encrypted (age), while the server runs.
    Backup(Backup),
    /// Writes the keys of an organisation to a file for other programs or another gateway, encrypted.
    Export(Export),
    /// Takes keys in from our exports, PKCS#12, PKCS#8, PEM, DER or raw files.
    Import(Import),
    /// Makes a new data directory from a backup. Everything is verified before it appears.
    Restore(Restore),
    /// Gives a share, or a passphrase, to a server that waits for it (serve --wait-for-unseal).
    Unseal(Unseal),
    /// A process that the server starts for itself: the vendor's PKCS#11 library runs in it.
    #[command(hide = true)]
    Pkcs11Worker,
}

/// Where the data is, and how the seal opens when no server runs on it.
#[derive(Args, Clone)]
pub(super) struct Data {
    /// The data directory.
    #[arg(long, value_name = "D", env = "KEYGATE_DATA_DIR")]
    pub(super) data_dir: PathBuf,
    #[command(flatten)]
    pub(super) passphrase: Passphrase,
    /// Answers in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What opens the seal beside what its slots find by themselves: passphrases of passphrase slots (without these the systemd
/// credentials keygate-passphrase, keygate-passphrase-2... are used; on a terminal those still missing are asked for), shares of a
/// shamir slot.
#[derive(Args, Clone)]
pub(super) struct Passphrase {
    /// File (mode 0600) that holds a passphrase of the seal; given once for each, where two slots are needed.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub(super) passphrase_file: Vec<PathBuf>,
    /// Open file descriptor to read a passphrase of the seal from; given once for each.
    #[arg(long, value_name = "N")]
    pub(super) passphrase_fd: Vec<i32>,
    /// File (mode 0600) that holds a share of the seal; given once for each share.
    #[arg(long, value_name = "FILE")]
    pub(super) share_file: Vec<PathBuf>,
}

impl Passphrase {
    /// Whether anything was said.
    pub(super) fn is_given(&self) -> bool {
        !self.inputs().is_empty() || !self.share_file.is_empty()
    }

    /// Where passphrases come from.
    pub(super) fn inputs(&self) -> Vec<SecretInput> {
        let files = self.passphrase_file.iter().cloned().map(SecretInput::File);
        files.chain(self.passphrase_fd.iter().copied().map(SecretInput::Descriptor)).collect()
    }

    /// What opens the seal. On a terminal, passphrases that are still missing are asked for.
    pub(super) fn opening(&self) -> Opening {
        let ask = typed::is_possible().then_some(typed::passphrase_of as AskPassphrase);
        Opening { passphrases: self.inputs(), shares: self.share_file.clone(), ask }
    }
}

#[derive(Args)]
pub(super) struct Init {
    #[command(flatten)]
    pub(super) data: Data,
    /// What opens the store: keyfile[=PATH] (default D/seal.key), passphrase, systemd-creds[=host|tpm2|host+tpm2|auto], pkcs11,
    /// shamir.
    #[arg(long, value_name = "KIND", default_value = "keyfile")]
    pub(super) seal: String,
    #[command(flatten)]
    pub(super) token: TokenArguments,
    #[command(flatten)]
    pub(super) shamir: ShamirArguments,
    /// DNS name or address in the server certificate; several may be given. Default: host name, localhost, 127.0.0.1, ::1.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(super) host: Vec<String>,
    /// Name of the first client; its credentials go to D/clients/NAME.
    #[arg(long, value_name = "NAME", default_value = "first")]
    pub(super) client: String,
    /// Does nothing, successfully, where the data directory is initialised.
    #[arg(long)]
    pub(super) if_needed: bool,
}

/// The token of a pkcs11 seal slot. A wrapping key is made on it.
#[derive(Args)]
pub(super) struct TokenArguments {
    /// For a pkcs11 slot: the PKCS#11 module.
    #[arg(long, value_name = "PATH")]
    pub(super) module: Option<PathBuf>,
    /// For a pkcs11 slot: the token's label. A wrapping key is made on it.
    #[arg(long, value_name = "LABEL")]
    pub(super) token_label: Option<String>,
    /// For a pkcs11 slot: the token as a PKCS#11 URI (RFC 7512), in place of --token-label; module-path and pin-source in it stand for
    /// --module and --pin-file.
    #[arg(long, value_name = "URI", conflicts_with = "token_label")]
    pub(super) uri: Option<String>,
    /// For a pkcs11 slot: file (mode 0600) that holds the user PIN, read at every start.
    #[arg(long, value_name = "FILE", conflicts_with = "pin_credential")]
    pub(super) pin_file: Option<PathBuf>,
    /// For a pkcs11 slot: systemd credential that holds the user PIN.
    #[arg(long, value_name = "NAME")]
    pub(super) pin_credential: Option<String>,
}

/// Who gets the shares of a shamir seal slot.
#[derive(Args, Default)]
pub(super) struct ShamirArguments {
    /// For a shamir slot: how many shares open it, 2 to 16.
    #[arg(long, value_name = "K")]
    pub(super) threshold: Option<u8>,
    /// For a shamir slot: age recipients (age1...) of the officers, by commas; each gets a share encrypted to him alone.
    #[arg(long, value_name = "RECIPIENTS", value_delimiter = ',', conflicts_with = "print")]
    pub(super) share_to: Vec<String>,
    /// For a shamir slot: folder the encrypted shares are written to; made where it is missing.
    #[arg(long = "out", id = "share_out", value_name = "DIR", conflicts_with = "print")]
    pub(super) share_out: Option<PathBuf>,
    /// For a shamir slot: shows so many shares once, on a terminal, instead of encrypting them.
    #[arg(long, value_name = "N")]
    pub(super) print: Option<u8>,
}

/// The provisioning key (id.secret) comes from --key-file, --key-stdin or the variable KEYGATE_PROVISIONING_KEY; it is needed for
/// a first certificate only.
#[derive(Args)]
#[command(after_help = ENROL_AFTER_HELP)]
pub(super) struct Enrol {
    /// The server (its setting clients.listen).
    #[arg(long, value_name = "https://HOST:PORT")]
    pub(super) server: String,
    /// Folder for key.pem, cert.pem (leaf and intermediates) and ca.pem (what verifies the server); made where it is missing.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Common name to ask for. Default: that of the certificate in DIR, or this host's name.
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Alternative names to ask for, such as "IP: 192.0.2.1, DNS: example.com". Default without --name: those of the certificate in
    /// DIR.
    #[arg(long, value_name = "NAMES")]
    pub(super) names: Option<String>,
    /// File (mode 0600) that holds the provisioning key.
    #[arg(long, value_name = "FILE", conflicts_with = "key_stdin")]
    pub(super) key_file: Option<PathBuf>,
    /// Reads the provisioning key from standard input.
    #[arg(long)]
    pub(super) key_stdin: bool,
    /// PEM file with what the server's certificate is below. Without this and --ca-sha256: as at the last enrolment into DIR, or
    /// what this system trusts.
    #[arg(long, value_name = "FILE", conflicts_with = "ca_sha256")]
    pub(super) ca: Option<PathBuf>,
    /// SHA-256 of the root certificate that the server hands out and its certificate is below.
    #[arg(long, value_name = "HEX")]
    pub(super) ca_sha256: Option<String>,
    /// Kind of a new key. Default: p256; at a renewal, that of the key before.
    #[arg(long, value_name = "KIND")]
    pub(super) key_type: Option<KeyTypeArgument>,
    /// Renews without making a new key.
    #[arg(long)]
    pub(super) keep_key: bool,
    /// Proxy, http://HOST:PORT. Default: HTTPS_PROXY, save for the hosts of NO_PROXY.
    #[arg(long, value_name = "URL")]
    pub(super) proxy: Option<String>,
    /// How long to wait in all for a server that has to decide first.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(super) wait: u64,
    /// Stays, and renews in time.
    #[arg(long)]
    pub(super) daemon: bool,
    /// Enrols anew where there is a certificate already; names stay unless others are given.
    #[arg(long)]
    pub(super) force: bool,
    /// Answers in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Kinds of keys.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum KeyTypeArgument {
    /// Ed25519.
    Ed25519,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// RSA of 3072 bits.
    #[value(name = "rsa-3072")]
    Rsa3072,
}

#[derive(Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    pub(super) serve: Serve,
    /// Where the seal does not open with what is there, waits for `keygate unseal` (setting seal.wait).
    #[arg(long)]
    pub(super) wait_for_unseal: bool,
}

/// Without --share-file and a passphrase, a share is read from the terminal, unseen, or from standard input.
#[derive(Args)]
pub(super) struct Unseal {
    /// Forgets what was given so far.
    #[arg(long, conflicts_with = "server")]
    pub(super) reset: bool,
    /// The data directory of the waiting server, on this machine.
    #[arg(long, value_name = "D", env = "KEYGATE_DATA_DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// A waiting server elsewhere, in place of --data-dir: its setting unseal.listen.
    #[arg(long, value_name = "https://HOST:PORT")]
    pub(super) server: Option<String>,
    #[command(flatten)]
    pub(super) trust: Trust,
    #[command(flatten)]
    pub(super) passphrase: Passphrase,
    /// Answers in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) data: Data,
    /// Overrides a setting of D/keygate.toml; secrets are refused. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Subcommand)]
pub(super) enum Client {
    /// Enrols a client. Writes ca.pem, cert.pem (leaf and intermediates) and key.pem to DIR.
    Add {
        /// The client's name: a label.
        name: String,
        #[command(flatten)]
        credential: Credential,
        /// Keystore of the client's new keys.
        #[arg(long)]
        keystore: Option<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Lists clients and their certificates.
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Cuts a client off, open connections included.
    Disable {
        /// The client's name.
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// Lets a disabled client in again.
    Enable {
        /// The client's name.
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// Gives a client a further certificate; the old one stays until it expires.
    Renew {
        /// The client's name.
        name: String,
        #[command(flatten)]
        credential: Credential,
        #[command(flatten)]
        data: Data,
    },
    /// Says where a client's new keys go.
    Keystore {
        /// The client's name.
        name: String,
        /// The keystore's name; without it, the server's default.
        keystore: Option<String>,
        #[command(flatten)]
        data: Data,
    },
    /// KMIP users (Credential: Username and Password) of a client.
    #[command(subcommand)]
    User(User),
}

#[derive(Args)]
pub(super) struct Credential {
    /// Folder to write to; made where it is missing. Default: D/clients/NAME.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// PKCS#10 request to sign instead of making a key.
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    pub(super) csr: Option<PathBuf>,
    /// Certificate made elsewhere to pin, self-signed or not.
    #[arg(long, value_name = "FILE", conflicts_with = "days")]
    pub(super) cert: Option<PathBuf>,
    /// Days of validity of what is issued. Default: 397.
    #[arg(long, value_name = "N")]
    pub(super) days: Option<u32>,
}

#[derive(Subcommand)]
pub(super) enum User {
    /// Adds a user, or gives an existing one a new password.
    Add {
        /// The client's name.
        client: String,
        /// The user's name.
        user: String,
        /// File (mode 0600) that holds the password.
        #[arg(long, value_name = "FILE", required_unless_present = "password_fd", conflicts_with = "password_fd")]
        password_file: Option<PathBuf>,
        /// Open file descriptor to read the password from.
        #[arg(long, value_name = "N")]
        password_fd: Option<i32>,
        #[command(flatten)]
        data: Data,
    },
    /// Lists the users of a client.
    List {
        /// The client's name.
        client: String,
        #[command(flatten)]
        data: Data,
    },
    /// Removes a user.
    Remove {
        /// The client's name.
        client: String,
        /// The user's name.
        user: String,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Subcommand)]
pub(super) enum Endpoint {
    /// Lists endpoints with what they were sent, what waits, and what is wrong.
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Asks a client by Query, and shows its answer as KMIP XML.
    Query {
        /// The client's name.
        client: String,
        /// Query Functions, separated by commas, such as operations,objects,profiles; default: operations, objects, server information.
        #[arg(long, value_delimiter = ',', value_name = "FUNCTION")]
        functions: Vec<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Asks a client by Discover Versions, and shows its answer as KMIP XML.
    Versions {
        /// The client's name.
        client: String,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Subcommand)]
pub(super) enum Grant {
    /// Grants operations on one object, or on all of an owner.
    Add {
        /// Unique Identifier of the object.
        #[arg(required_unless_present = "owner", conflicts_with = "owner")]
        object: Option<String>,
        /// Client whose objects are meant.
        #[arg(long, value_name = "CLIENT")]
        owner: Option<String>,
        /// Client or group that may; client:NAME or group:NAME where a name is both.
        #[arg(long, value_name = "CLIENT|GROUP")]
        to: String,
        /// KMIP operations, separated by commas; all for every one.
        #[arg(long, value_delimiter = ',', required = true)]
        operations: Vec<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Lists grants.
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Withdraws a grant.
    Remove {
        /// Id of the grant, as listed.
        id: String,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Subcommand)]
pub(super) enum Group {
    /// Makes a group, or adds members to one.
    Add {
        /// The group's name.
        name: String,
        /// Clients to add.
        #[arg(long, value_delimiter = ',')]
        member: Vec<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Lists groups and their members.
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Removes members; without --member, the group and the grants to it.
    Remove {
        /// The group's name.
        name: String,
        /// Clients to remove.
        #[arg(long, value_delimiter = ',')]
        member: Vec<String>,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Moves all keys of one keystore to another while they are in use, and shows how it goes; run again, it goes on where it was
    /// interrupted. Every key is used before and after; its id, attributes and state stay.
    Rehome(Box<Rehome>),
    /// Shows moves of keys between keystores: under way, stopped, and the last reports.
    Moves {
        #[command(flatten)]
        via: Via,
    },
    /// Lists managed objects.
    List {
        /// Client whose objects are listed.
        #[arg(long, value_name = "CLIENT")]
        owner: Option<String>,
        /// Begins after this Unique Identifier.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// Most objects listed.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        data: Data,
    },
    /// Shows the attributes of a managed object.
    Show {
        /// Unique Identifier.
        id: String,
        #[command(flatten)]
        data: Data,
    },
    /// Gives a managed object to another client.
    Chown {
        /// Unique Identifier.
        id: String,
        /// The new owner.
        #[arg(long, value_name = "CLIENT")]
        to: String,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Subcommand)]
pub(super) enum Kmip {
    /// Creates an AES key and prints its Unique Identifier.
    Create {
        /// The key's Name.
        #[arg(long)]
        name: Option<String>,
        /// Cryptographic Length.
        #[arg(long, default_value_t = 256)]
        bits: i32,
        #[command(flatten)]
        peer: Peer,
    },
    /// Destroys an object.
    Destroy {
        /// Unique Identifier.
        id: String,
        #[command(flatten)]
        peer: Peer,
    },
    /// Gets a symmetric key and prints it in hexadecimal.
    Get {
        /// Unique Identifier.
        id: String,
        #[command(flatten)]
        peer: Peer,
    },
    /// Prints the Unique Identifiers of the client's objects.
    Locate {
        /// Only objects of this Name.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        peer: Peer,
    },
    /// Prints what the server is and can do.
    Query {
        #[command(flatten)]
        peer: Peer,
    },
    /// Makes a new key in place of a symmetric key and prints its Unique Identifier.
    Rekey {
        /// Unique Identifier of the key.
        id: String,
        #[command(flatten)]
        peer: Peer,
    },
    /// Sends a request message written as XML, of any version and operation, and prints the answer as XML.
    Send {
        /// File with one RequestMessage; - for standard input.
        #[arg(value_name = "FILE.xml")]
        file: PathBuf,
        /// Prints key material and other secrets of the answer too.
        #[arg(long)]
        unmasked: bool,
        #[command(flatten)]
        peer: Peer,
    },
}

/// How messages travel.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Encoding {
    /// Bare, over TLS.
    Ttlv,
    /// XML, over HTTPS.
    Xml,
    /// JSON, over HTTPS.
    Json,
}

/// Whom the KMIP client talks to, and as whom.
#[derive(Args)]
pub(super) struct Peer {
    /// The data directory of a gateway on this machine: says where it listens, and holds the first client's credentials.
    #[arg(long, value_name = "D", env = "KEYGATE_DATA_DIR", default_value = "keygate-data")]
    pub(super) data_dir: PathBuf,
    /// The server, as HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) server: Option<String>,
    /// Folder with ca.pem, cert.pem and key.pem. Default: D/clients/first.
    #[arg(long, value_name = "DIR")]
    pub(super) credentials: Option<PathBuf>,
    /// How messages travel.
    #[arg(long, value_enum, default_value = "ttlv")]
    pub(super) encoding: Encoding,
    /// Prints the messages as XML on standard error; key material, credentials and data under cryptographic operations are masked.
    #[arg(long)]
    pub(super) trace: bool,
}

#[derive(Subcommand)]
pub(super) enum Config {
    /// Checks D/keygate.toml and reports every problem.
    Check(Serve),
    /// Lists every setting with its default.
    Settings,
}

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Checks the whole record: edits, removals, rechaining, truncation. Exit code 5 where it is not intact.
    Verify {
        #[command(flatten)]
        data: Data,
    },
    /// Searches by period, action, actor and object; newest first. Nothing is verified.
    Search(Box<Search>),
}

#[derive(Subcommand)]
pub(super) enum Cache {
    /// Forgets every key and row kept in memory; they are read and opened again when they are needed. Operations in parts that
    /// are under way have to be begun again.
    Flush {
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Subcommand)]
pub(super) enum SealCommand {
    /// Lists the slots, how many of them open the store, and the keyring's terms.
    Status {
        #[command(flatten)]
        data: Data,
    },
    /// Adds a slot that opens the store as well. It has opened once before it is written.
    Add {
        /// keyfile[=PATH] (default D/seal.key), passphrase, systemd-creds[=host|tpm2|host+tpm2|auto], pkcs11, shamir.
        #[arg(value_name = "KIND")]
        kind: String,
        #[command(flatten)]
        token: Box<TokenArguments>,
        #[command(flatten)]
        shamir: ShamirArguments,
        /// For a passphrase slot: file (mode 0600) that holds the new passphrase. Without these the systemd credential
        /// keygate-new-passphrase is used.
        #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
        new_passphrase_file: Option<PathBuf>,
        /// For a passphrase slot: open file descriptor to read the new passphrase from.
        #[arg(long, value_name = "N")]
        new_passphrase_fd: Option<i32>,
        #[command(flatten)]
        data: Data,
    },
    /// Says how many slots have to open the store: 1, or 2 of any. With 2, no slot alone holds anything that helps. Refused where not
    /// two slots of different kinds have opened since the start, or were made since; a passphrase given is tried.
    Policy {
        /// 1 or 2.
        #[arg(long, value_name = "N")]
        needed: u8,
        #[command(flatten)]
        data: Data,
    },
    /// Removes a slot, never the last. Copies of D/seal.json made before still open with it.
    Remove {
        /// Id of the slot, as listed.
        id: uuid::Uuid,
        #[command(flatten)]
        data: Data,
    },
    /// Seals everything again under a new keyring term (KEK) and destroys the old one, while clients are served; shows how it goes and
    /// ends with a report. Interrupted, it goes on with the server's next start, or run again. Without a server it works alone.
    Rotate(Box<Rotate>),
}

#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Takes the store as it is found where serve refuses it as older than D/anchor or altered. Audited. Loses what is missing.
    Accept(Serve),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// No command has an argument twice, or one that contradicts itself.
    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
