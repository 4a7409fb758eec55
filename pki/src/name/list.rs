//! The text form of subject alternative names: `IP: 192.0.2.1, DNS: example.com, IP: 2001:db8::1`.

use std::{fmt, net::IpAddr};

use super::SubjectAltName;
use crate::request::REQUEST_NAMES_MAX;

/// Why a text is no list of subject alternative names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameListError {
    /// An item without its kind.
    #[error("\"{0}\" does not begin with \"IP:\" or \"DNS:\"")]
    Kind(String),
    /// An item of kind IP that is no address.
    #[error("\"{0}\" is not an IP address")]
    Ip(String),
    /// An item of kind DNS that is no DNS name.
    #[error("\"{0}\" is not a DNS name")]
    Dns(String),
    /// More items than a certificate may have.
    #[error("more than {max} names")]
    TooMany {
        /// Names allowed.
        max: usize,
    },
}

impl SubjectAltName {
    /// Reads a list of names, each with its kind, separated by commas. Kinds in any case; spaces around items do not
    /// count; an empty text is an empty list; a name given twice is taken once.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, NameListError> {
        let mut names = Vec::new();
        if text.trim().is_empty() {
            return Ok(names);
        }
        for item in text.split(',').map(str::trim) {
            // An IPv6 address has colons of its own: the first one ends the kind.
            let (kind, value) = item.split_once(':').ok_or_else(|| NameListError::Kind(item.into()))?;
            let value = value.trim();
            let name = match kind.trim_end().to_ascii_uppercase().as_str() {
                "IP" => value.parse::<IpAddr>().map(Self::Ip).map_err(|_| NameListError::Ip(value.into()))?,
                "DNS" => match Self::parse(value) {
                    Ok(name @ Self::Dns(_)) => name,
                    Ok(Self::Ip(_)) | Err(_) => return Err(NameListError::Dns(value.into())),
                },
                _ => return Err(NameListError::Kind(item.into())),
            };
            if names.len() == REQUEST_NAMES_MAX {
                return Err(NameListError::TooMany { max: REQUEST_NAMES_MAX });
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// An item as [`SubjectAltName::parse_list`] reads it.
impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS: {name}"),
            Self::Ip(ip) => write!(f, "IP: {ip}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_form_is_read() {
        let names = SubjectAltName::parse_list(
            "IP: 192.0.2.1, DNS: Example.com,ip:2001:db8::1 , dns : b.example, DNS:example.COM",
        );
        let text: Vec<String> = names.unwrap_or_default().iter().map(ToString::to_string).collect();
        assert_eq!(text, ["IP: 192.0.2.1", "DNS: example.com", "IP: 2001:db8::1", "DNS: b.example"]);
        assert_eq!(SubjectAltName::parse_list(" "), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_a_name_is_refused_by_kind() {
        for (text, error) in [
            ("example.com", NameListError::Kind("example.com".into())),
            ("URI: http://x", NameListError::Kind("URI: http://x".into())),
            ("2001:db8::1", NameListError::Kind("2001:db8::1".into())),
            ("DNS: a,", NameListError::Kind(String::new())),
            ("IP: 192.0.2.256", NameListError::Ip("192.0.2.256".into())),
            ("DNS: 192.0.2.1", NameListError::Dns("192.0.2.1".into())),
            ("DNS: *.example", NameListError::Dns("*.example".into())),
        ] {
            assert_eq!(SubjectAltName::parse_list(text), Err(error), "{text}");
        }
        let many: Vec<String> = (0..=REQUEST_NAMES_MAX).map(|n| format!("DNS: a{n}")).collect();
        assert_eq!(SubjectAltName::parse_list(&many.join(",")), Err(NameListError::TooMany { max: REQUEST_NAMES_MAX }));
    }

    proptest! {
        #[test]
        fn a_list_written_is_the_list_read(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), host in "[a-z][a-z0-9]{0,8}(\\.[a-z]{1,8}){0,3}") {
            let names = vec![SubjectAltName::Ip(v4.into()), SubjectAltName::Dns(host), SubjectAltName::Ip(v6.into())];
            let text: Vec<String> = names.iter().map(ToString::to_string).collect();
            prop_assert_eq!(SubjectAltName::parse_list(&text.join(", ")), Ok(names));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = SubjectAltName::parse_list(&text);
        }
    }
}
