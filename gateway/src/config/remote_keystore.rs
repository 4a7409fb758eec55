//! The settings of keystores behind a network: `kind = "kmip"` and `kind = "rest"`.

use std::{fmt, path::PathBuf, time::Duration};

use keygate_backends::{kmip, remote::Address, rest};

use super::keystore::{KeystoreConfig, PinSource, Secret, Table, place_of};

/// A key server behind us.
#[derive(Debug, Clone)]
pub struct RemoteKeystoreConfig {
    /// Name of the keystore.
    pub name: String,
    /// What it speaks.
    pub protocol: RemoteProtocol,
    /// Where it listens: the members of one cluster, best first.
    pub addresses: Vec<Address>,
    /// Whom we believe.
    pub trust: TrustFile,
    /// The name in its certificate, where that is not the host of its address.
    pub server_name: Option<String>,
    /// Our certificate chain and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// User name, and where the password comes from; `None`: it is sealed in the store.
    pub user: Option<(String, Option<PinSource>)>,
    /// Whether keys may be fetched.
    pub fetch: bool,
    /// Connections per address.
    pub connections: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer while another address could be asked.
    pub call_timeout: Duration,
}

/// What a key server speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteProtocol {
    /// KMIP.
    Kmip,
    /// JSON over HTTPS as a profile describes it: the name of a built-in one, or a path ending in `.toml`.
    Rest {
        /// The profile.
        profile: String,
    },
}

/// Certificates that make a server believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustFile {
    /// CA certificates.
    Authorities(PathBuf),
    /// The server's own certificates.
    Pinned(PathBuf),
}

impl fmt::Display for RemoteKeystoreConfig {
    /// The settings as they were understood, in one line; the password's place, never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        write!(f, "keystore {}: {}", self.name, self.protocol.kind())?;
        if let RemoteProtocol::Rest { profile } = &self.protocol {
            write!(f, " by profile {profile}")?;
        }
        write!(f, " at {}", addresses.join(", "))?;
        match &self.trust {
            TrustFile::Authorities(path) => write!(f, ", believed by the CA certificates in {}", path.display())?,
            TrustFile::Pinned(path) => write!(f, ", believed by the certificates in {}", path.display())?,
        }
        if let Some(name) = &self.server_name {
            write!(f, " for {name}")?;
        }
        if let Some((certificate, _)) = &self.identity {
            write!(f, ", our certificate {}", certificate.display())?;
        }
        if let Some((user, source)) = &self.user {
            write!(f, ", user {user}, password from {}", place_of(source.as_ref()))?;
        }
        write!(f, ", connections {}", self.connections)?;
        if self.fetch { f.write_str(", keys may be fetched") } else { Ok(()) }
    }
}

impl RemoteProtocol {
    /// The kind of keystore.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kmip => "kmip",
            Self::Rest { .. } => "rest",
        }
    }
}

pub(super) fn remote(table: &mut Table<'_>, name: String, is_rest: bool) -> Option<KeystoreConfig> {
    let protocol = if is_rest {
        table.required("profile").map(|profile| RemoteProtocol::Rest { profile })
    } else {
        Some(RemoteProtocol::Kmip)
    };
    let addresses = addresses(table, if is_rest { rest::PORT } else { kmip::PORT });
    let trust = trust(table);
    let identity = identity(table);
    let user = user(table);
    if identity.is_none() && user.is_none() {
        table.problem("cert-file", "a key server wants to know us: give cert-file and key-file, or a user and its password");
    }
    let mut milliseconds = |key, default| {
        let count = table.count(key, default, 600_000);
        Duration::from_millis(u64::try_from(count).unwrap_or(u64::MAX))
    };
    let (connect_timeout, call_timeout) = (milliseconds("connect-timeout-ms", 2_000), milliseconds("call-timeout-ms", 5_000));
    Some(KeystoreConfig::Remote(RemoteKeystoreConfig {
        name,
        protocol: protocol?,
        addresses: addresses?,
        trust: trust?,
        server_name: table.text("server-name"),
        identity,
        user,
        fetch: table.flag("fetch"),
        connections: table.count("connections", 8, 256),
        connect_timeout,
        call_timeout,
    }))
}

/// Whom we believe at the other end.
pub(super) fn trust(table: &mut Table<'_>) -> Option<TrustFile> {
    match (table.text("ca-file"), table.text("pinned-file")) {
        (Some(path), None) => Some(TrustFile::Authorities(path.into())),
        (None, Some(path)) => Some(TrustFile::Pinned(path.into())),
        _ => {
            table.problem("ca-file", "exactly one of ca-file and pinned-file must be given");
            None
        }
    }
}

/// The certificate that we show at the other end, and its key.
pub(super) fn identity(table: &mut Table<'_>) -> Option<(PathBuf, PathBuf)> {
    match (table.text("cert-file"), table.text("key-file")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => {
            table.problem("cert-file", "cert-file and key-file go together");
            None
        }
    }
}

fn addresses(table: &mut Table<'_>, default_port: u16) -> Option<Vec<Address>> {
    let texts = table.texts("addresses")?;
    let mut list = Vec::new();
    for text in texts {
        match Address::parse(&text, default_port) {
            Ok(address) => list.push(address),
            Err(error) => table.problem("addresses", &error.to_string()),
        }
    }
    Some(list)
}

fn user(table: &mut Table<'_>) -> Option<(String, Option<PinSource>)> {
    if table.secret != Secret::Named {
        table.refuse_sources("password");
        return sealed_user(table);
    }
    let password = match (table.text("password-file"), table.text("password-credential")) {
        (Some(path), None) => Some(PinSource::File(path.into())),
        (None, Some(name)) => Some(PinSource::Credential(name)),
        (None, None) => None,
        _ => {
            table.problem("password-file", "only one of password-file and password-credential may be given");
            None
        }
    };
    match (table.text("user"), password) {
        (Some(user), Some(password)) => Some((user, Some(password))),
        (None, None) => None,
        _ => {
            table.problem("user", "user and password-file (or password-credential) go together");
            None
        }
    }
}

fn sealed_user(table: &mut Table<'_>) -> Option<(String, Option<PinSource>)> {
    let user = table.text("user");
    match (&user, table.secret) {
        (None, Secret::Sealed) => table.problem("user", "is missing: the password that is sealed in the store is somebody's"),
        (Some(_), Secret::Absent) => table.problem(
            "secret",
            "the user's password is missing: give it with --secret-file FILE or --secret-stdin, and it is sealed in the store",
        ),
        _ => {}
    }
    Some((user?, None))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
mod tests {
    use super::*;
    use crate::config::FileConfig;

    fn keystore(more: &str) -> Result<KeystoreConfig, String> {
        let text = format!("[[keystore]]\nname = 'far'\n{more}");
        let config = FileConfig::parse(&text, &[]).unwrap().check().map_err(|problems| problems.to_string())?;
        Ok(config.keystores.into_iter().find(|keystore| keystore.name() == "far").unwrap())
    }

    #[test]
    fn a_kmip_server_is_named_by_addresses_and_certificates() {
        let text = "kind = 'kmip'\naddresses = ['one.example', '[2001:db8::2]:5697']\nca-file = 'ca'\ncert-file = 'c'\nkey-file = 'k'";
        let KeystoreConfig::Remote(far) = keystore(text).unwrap() else { panic!("remote") };
        let addresses: Vec<String> = far.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["one.example:5696", "[2001:db8::2]:5697"]);
        assert_eq!((far.protocol, far.fetch, far.connections), (RemoteProtocol::Kmip, false, 8));
        assert_eq!(far.trust, TrustFile::Authorities("ca".into()));
    }

    #[test]
    fn a_rest_server_has_a_profile_and_a_user() {
        let text = "kind = 'rest'\nprofile = 'eskm-style'\naddresses = ['eskm.example']\npinned-file = 'p'\nuser = 'u'\npassword-file = 'f'";
        let KeystoreConfig::Remote(far) = keystore(text).unwrap() else { panic!("remote") };
        assert_eq!(far.addresses[0].to_string(), "eskm.example:8443");
        assert_eq!(far.user, Some(("u".into(), Some(PinSource::File("f".into())))));
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        let whole = "kind = 'kmip'\naddresses = ['a']\nca-file = 'ca'\ncert-file = 'c'\nkey-file = 'k'\n";
        for (text, setting) in [
            (whole.replace("addresses = ['a']", "addresses = []"), "far.addresses"),
            (whole.replace("addresses = ['a']", "addresses = ['https://a']"), "far.addresses"),
            (whole.replace("ca-file = 'ca'", ""), "far.ca-file"),
            (format!("{whole}pinned-file = 'p'"), "far.ca-file"),
            (whole.replace("key-file = 'k'", ""), "far.cert-file"),
            (format!("{whole}user = 'u'"), "far.user"),
            (format!("{whole}password = 'hunter2'"), "far.password"),
            (format!("{whole}profile = 'p'"), "far.profile"),
            (whole.replace("kmip", "rest"), "far.profile"),
        ] {
            let problems = keystore(&text).unwrap_err();
            assert!(problems.contains(setting) && !problems.contains("hunter2"), "{setting}: {problems}");
        }
    }
}
