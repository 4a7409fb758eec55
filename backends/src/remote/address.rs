//! Where a server listens, as an operator writes it.

use crate::error::{KsError, Result};
use rustls_pki_types::ServerName;
use std::fmt;

/// A host and a port: `kms.example.com:5696`, `192.0.2.7`, `[2001:db8::7]:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads an address; without a port it has `default_port`.
    ///
    /// # Errors
    /// `BadInput(Parameters)` for what is neither a DNS name nor an IP address, or a port that is none.
    pub fn parse(text: &str, default_port: u16) -> Result<Self> {
        let bad = |why: &str| KsError::parameters(format!("address {text:?}: {why}"));
        let (host, port) = match text.strip_prefix('[') {
            // RFC 3986 §3.2.2: "IP-literal = "[" ( IPv6address / IPvFuture ) "]"".
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| bad("the bracket is not closed"))?;
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(bad("a port follows the bracket after a colon")),
                }
            }
            None => match text.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => return Err(bad("an IPv6 address stands in brackets")),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None => default_port,
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| bad("the port is not 1 to 65535"))?
            }
        };
        if ServerName::try_from(host).is_err() {
            return Err(bad("the host is neither a DNS name nor an IP address"));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The host: what the server's certificate must name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_port() {
        for (text, host, port) in [
            ("kms.example.com", "kms.example.com", 5696),
            ("kms.example.com:8443", "kms.example.com", 8443),
            ("192.0.2.7:1", "192.0.2.7", 1),
            ("[2001:db8::7]", "2001:db8::7", 5696),
            ("[2001:db8::7]:9000", "2001:db8::7", 9000),
        ] {
            let address = Address::parse(text, 5696).expect(text);
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "neither"),
            ("2001:db8::7", "brackets"),
            ("[2001:db8::7", "closed"),
            ("[2001:db8::7]9", "colon"),
            ("host:0", "65535"),
            ("host:65536", "65535"),
            ("https://host", "65535"),
            ("ho st:1", "neither"),
        ] {
            let error = Address::parse(text, 5696).expect_err(text);
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }
}
