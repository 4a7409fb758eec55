//! Where relying parties find the status of a certificate and its issuer. Fixed when the certificate is issued.

use std::{fmt, str::FromStr};

/// Longest URL in a certificate.
pub const HTTP_URL_BYTES_MAX: usize = 512;

/// An absolute `http` or `https` URL in ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl(String);

/// Why a text is no [`HttpUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{url}\" is not a URL for certificates: {reason}")]
pub struct UrlError {
    url: String,
    reason: &'static str,
}

impl HttpUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL with `path` (no leading slash, already escaped) after its last slash.
    pub fn join(&self, path: &str) -> Result<Self, UrlError> {
        format!("{}/{path}", self.0.trim_end_matches('/')).parse()
    }
}

impl FromStr for HttpUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let refuse = |reason| Err(UrlError { url: url.chars().take(80).collect(), reason });
        // RFC 5280 §4.2.1.6: "The name MUST NOT be a relative URI"; relying parties fetch no other scheme without further
        // configuration.
        let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
            return refuse("it must begin with http:// or https://");
        };
        if url.len() > HTTP_URL_BYTES_MAX {
            return refuse("it is longer than 512 bytes");
        }
        // RFC 3986 §2: what is not in this set is escaped with %.
        if !url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)) {
            return refuse("it has a character that must be escaped");
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || host.contains('@') {
            return refuse("it must have a host and no user name");
        }
        if url.contains('#') {
            return refuse("it must have no fragment");
        }
        Ok(Self(url.into()))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The addresses baked into a certificate; what is `None` is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    /// CRL distribution point: for a client, the shard that its serial number would be listed in.
    pub crl: Option<HttpUrl>,
    /// OCSP responder (authority information access, id-ad-ocsp).
    pub ocsp: Option<HttpUrl>,
    /// The issuer's certificate in DER (authority information access, id-ad-caIssuers).
    pub issuer: Option<HttpUrl>,
}

impl Locations {
    /// No addresses: for a root.
    pub const NONE: Self = Self { crl: None, ocsp: None, issuer: None };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_web_addresses_are_taken() {
        for good in ["http://pki.example/crl/1.crl", "https://[2001:db8::1]:8080", "http://h/a%20b?x=1"] {
            assert_eq!(good.parse::<HttpUrl>().map(|url| url.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "ldap://x",
            "http://",
            "http:///x",
            "http://u@h/",
            "http://h/a b",
            "http://h/ü",
            "http://h/#a",
            "http://h/\n",
        ] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad:?}");
        }
        assert!(format!("http://h/{}", "a".repeat(600)).parse::<HttpUrl>().is_err());
        let joined = "http://h/base/".parse::<HttpUrl>().and_then(|url| url.join("crl/7.crl"));
        assert_eq!(joined.map(|url| url.to_string()).as_deref(), Ok("http://h/base/crl/7.crl"));
    }
}
