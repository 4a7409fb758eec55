//! A running gateway as the source of a walk: commands change the state, what is published is fetched from its public listener.

use std::io;

use serde_json::Value;

use super::{Key, Service};
use crate::relying::source::{Act, StateSource};
use crate::relying::{Device, Trust};

/// One provisioning key of a gateway.
#[derive(Clone, Copy, Debug)]
pub struct GatewaySource<'a> {
    /// The gateway.
    pub service: &'a Service,
    /// The key.
    pub key: &'a Key,
}

impl StateSource for GatewaySource<'_> {
    fn enrol(&mut self, name: &str) -> io::Result<Device> {
        self.service.try_enrol(self.key, name)
    }

    fn apply(&mut self, act: Act<'_>) -> io::Result<()> {
        let Self { service, key } = self;
        match act {
            Act::Disable => drop(service.ok(&["service", "disable", "--yes"])),
            Act::Enable => drop(service.ok(&["service", "enable", "--yes"])),
            Act::Reactivate => service.change("reactivate", key),
            Act::RenewIssuer => {
                let ca = ca_of_key(&service.json(&["ca", "list"]), &key.id)?;
                drop(service.ok(&["ca", "renew", &ca]));
            }
            Act::RevokeDevice(device) => service.revoke_device(device),
            Act::RevokeKey => {
                let more = ["--reason", "asked for by a test", "--yes", "--told", "keyCompromise"];
                drop(service.ok(&[&["provisioning-key", "revoke", &key.id], &more[..]].concat()));
            }
            Act::Suspend => service.change("suspend", key),
        }
        Ok(())
    }

    fn trust(&self) -> io::Result<Trust> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(io::Error::other);
        let authorities = text(self.service.fetch("/ca/default.pem")?)?;
        Ok(Trust { anchors: roots(&authorities)?, crls: text(self.service.fetch("/crl/default.pem")?)? })
    }
}

/// The certificates of a PEM file that sign themselves.
fn roots(pems: &str) -> io::Result<String> {
    let parse = |der: &[u8]| keygate_pki::Certificate::from_der(der).map_err(io::Error::other);
    let mut roots = String::new();
    for der in crate::pem::certificates(pems)? {
        let certificate = parse(&der)?;
        if certificate.verify_issued_by(&certificate).is_ok() {
            roots.push_str(&crate::pem::encode(crate::pem::CERTIFICATE, &der));
        }
    }
    Ok(roots)
}

/// The id of the issuing CA of a provisioning key in the answer of `ca list --json`: the entry that names the key.
fn ca_of_key(list: &Value, key: &str) -> io::Result<String> {
    let entries = list.as_array().or_else(|| list.as_object()?.values().find_map(Value::as_array));
    let names_key = |entry: &&Value| entry.as_object().is_some_and(|entry| entry.values().any(|value| value == key));
    let found = entries.and_then(|entries| entries.iter().find(names_key)).and_then(|entry| entry["id"].as_str());
    found.map(str::to_owned).ok_or_else(|| io::Error::other(format!("`ca list` has no CA of the key {key}: {list}")))
}
