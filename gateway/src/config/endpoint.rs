//! The `[[endpoint]]` tables: where clients listen for what the server sends them (KMIP 1.4 §5, KMIP 2.1 §6.2).
//!
//! KMIP 1.4 §5.1: such messages go "via means outside of the normal client/server request/response mechanism, using information
//! known to the server via unspecified configuration or administrative mechanisms". This is that configuration.

use std::{fmt, path::PathBuf, time::Duration};

use keygate_backends::{kmip, remote::Address};
use keygate_kmip::ProtocolVersion;

use super::{
    file::FileConfig,
    keystore::{Secret, Table},
    remote_keystore::TrustFile,
};

/// What is sent to clients of the server's own accord.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    /// Where clients listen.
    pub endpoints: Vec<EndpointConfig>,
    /// Most messages that wait for one client.
    pub queue_max: usize,
    /// How often one message is tried.
    pub attempts_max: u32,
    /// Wait before the second try; each further one is twice as long.
    pub retry: Duration,
    /// Longest wait for a connection, and then for an answer.
    pub timeout: Duration,
}

/// Where one client listens.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Name of the client.
    pub client: String,
    /// Where it listens.
    pub address: Address,
    /// Whom we believe.
    pub trust: TrustFile,
    /// The name in its certificate, where that is not the host of its address.
    pub server_name: Option<String>,
    /// Our certificate chain and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The KMIP version that it is called in.
    pub version: ProtocolVersion,
    /// Whether new objects of the client are sent to it, with their key material.
    pub put: bool,
    /// Whether it is told of changed attributes of its objects.
    pub notify: bool,
}

impl fmt::Display for EndpointConfig {
    /// The settings as they were understood, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint of client {}: {} in KMIP {}", self.client, self.address, self.version)?;
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
        let sent: Vec<&str> = [("Notify", self.notify), ("Put", self.put)]
            .into_iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| name)
            .collect();
        write!(f, ", is sent {}", if sent.is_empty() { "nothing unasked".to_owned() } else { sent.join(" and ") })
    }
}

pub(super) fn check(file: &mut FileConfig) -> Vec<EndpointConfig> {
    let mut list: Vec<EndpointConfig> = Vec::new();
    for (index, table) in std::mem::take(&mut file.endpoints).into_iter().enumerate() {
        let mut table = Table::new(format!("endpoint[{index}]"), table, Secret::Named, file);
        let endpoint = endpoint(&mut table);
        table.finish();
        let Some(endpoint) = endpoint else { continue };
        if list.iter().any(|other| other.client == endpoint.client) {
            file.problem(&format!("endpoint.{}", endpoint.client), "this client has an endpoint already");
        }
        list.push(endpoint);
    }
    list
}

fn endpoint(table: &mut Table<'_>) -> Option<EndpointConfig> {
    let client = table.required("client")?;
    table.name(&format!("endpoint.{client}"));
    let address = table.required("address").and_then(|text| match Address::parse(&text, kmip::PORT) {
        Ok(address) => Some(address),
        Err(error) => {
            table.problem("address", &error.to_string());
            None
        }
    });
    let trust = super::remote_keystore::trust(table);
    let identity = super::remote_keystore::identity(table);
    let version = version(table);
    let endpoint = EndpointConfig {
        client,
        address: address?,
        trust: trust?,
        server_name: table.text("server-name"),
        identity,
        version: version?,
        put: table.flag("put"),
        notify: table.flag("notify"),
    };
    Some(endpoint)
}

/// Clients that listen have been built for 1.x; newer ones say so.
fn version(table: &mut Table<'_>) -> Option<ProtocolVersion> {
    let Some(text) = table.text("version") else { return Some(ProtocolVersion::V1_4) };
    let found = ProtocolVersion::SUPPORTED.into_iter().find(|version| version.to_string() == text);
    if found.is_none() {
        table.problem("version", &format!("must be a KMIP version such as \"1.4\", not \"{text}\""));
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
mod tests {
    use super::super::FileConfig;

    fn shown(text: &str) -> String {
        match FileConfig::parse(text, &[]).unwrap().check() {
            Ok(config) => config.notify.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Err(problems) => problems.to_string(),
        }
    }

    const LEAST: &str = "[[endpoint]]\nclient = 'array'\naddress = 'array.example'\nca-file = '/ca.pem'\n";

    /// Without a table nothing is sent; with one only what it says.
    #[test]
    fn nothing_is_sent_that_is_not_asked_for() {
        assert_eq!(shown(""), "");
        assert_eq!(
            shown(LEAST),
            "endpoint of client array: array.example:5696 in KMIP 1.4, believed by the CA certificates in /ca.pem, is sent nothing unasked"
        );
        let more = "server-name = 'array'\ncert-file = '/c.pem'\nkey-file = '/k.pem'\nversion = '2.1'\nput = true\nnotify = true\n";
        assert_eq!(
            shown(&format!("{LEAST}{more}")),
            "endpoint of client array: array.example:5696 in KMIP 2.1, believed by the CA certificates in /ca.pem for array, our \
             certificate /c.pem, is sent Notify and Put"
        );
    }

    /// Every mistake is told by the name of its key.
    #[test]
    fn mistakes_are_told() {
        for (text, why) in [
            ("[[endpoint]]\naddress = 'x'\n".to_owned(), "endpoint[0].client: is missing"),
            (format!("{LEAST}version = '4.0'\n"), "endpoint.array.version"),
            (format!("{LEAST}cert-file = '/c.pem'\n"), "endpoint.array.cert-file"),
            (format!("{LEAST}pinned-file = '/p.pem'\n"), "endpoint.array.ca-file"),
            (format!("{LEAST}spare = 1\n"), "endpoint.array.spare: unknown setting"),
            (LEAST.replace("array.example", "not a host"), "endpoint.array.address"),
            (format!("{LEAST}{LEAST}"), "this client has an endpoint already"),
            ("endpoint = 'x'\n".to_owned(), "endpoint: must be tables"),
        ] {
            let told = shown(&text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
