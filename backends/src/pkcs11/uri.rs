//! Tokens named by a PKCS#11 URI (RFC 7512).
//!
//! What names a token, its module and where the PIN is kept is understood. What names an object or describes a slot or
//! library is refused rather than ignored, because ignoring it would mean another token than the one that was meant.

use super::select::TokenSelector;
use std::path::PathBuf;

/// What a URI says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// The module (`module-path`).
    pub module: Option<PathBuf>,
    /// The token.
    pub token: TokenSelector,
    /// The file that holds the PIN (`pin-source`).
    pub pin_file: Option<PathBuf>,
}

/// Longest URI that is read, in octets.
pub const URI_OCTETS_MAX: usize = 4096;

const SCHEME: &str = "pkcs11:";

impl Pkcs11Uri {
    /// Reads a URI of at most [`URI_OCTETS_MAX`] octets.
    ///
    /// # Errors
    /// What is wrong, as a text that names the attribute and never its value.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URI_OCTETS_MAX {
            return Err(format!("is of {} octets, more than {URI_OCTETS_MAX}", text.len()));
        }
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        if scheme.is_none() {
            return Err(format!("must begin with {SCHEME}"));
        }
        let rest = &text[SCHEME.len()..];
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let mut seen = Vec::new();
        for attribute in path.split(';').filter(|_| !path.is_empty()) {
            let (name, value) = split(attribute, &mut seen)?;
            uri.path_attribute(name, value)?;
        }
        for attribute in query.split('&').filter(|_| !query.is_empty()) {
            let (name, value) = split(attribute, &mut seen)?;
            uri.query_attribute(name, value)?;
        }
        Ok(uri)
    }

    fn path_attribute(&mut self, name: &str, value: &str) -> Result<(), String> {
        // PKCS#11 v3.1 §3.2 CK_TOKEN_INFO: label and manufacturerID have 32 octets, model and serialNumber 16.
        let text = |max: usize| decode(name, value, b":[]@!$'()*+,=&").and_then(|value| fits(name, value, max));
        match name {
            "token" => self.token.label = Some(text(32)?),
            "manufacturer" => self.token.manufacturer = Some(text(32)?),
            "model" => self.token.model = Some(text(16)?),
            "serial" => self.token.serial = Some(text(16)?),
            "slot-id" => {
                // RFC 7512 §2.3: "pk11-slot-id = "slot-id" "=" 1*DIGIT".
                let digits = value.bytes().all(|b| b.is_ascii_digit());
                let id = value.parse().ok().filter(|_| digits);
                self.token.slot_id = Some(id.ok_or("attribute slot-id is not a decimal number of 64 bits")?);
            }
            "object" | "type" | "id" => {
                return Err(format!("attribute {name} names an object; a keystore is a whole token"));
            }
            other => return Err(format!("attribute {} is not supported", printable(other))),
        }
        Ok(())
    }

    fn query_attribute(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "module-path" => {
                let path = decode(name, value, QUERY)?;
                self.module = Some(absolute(name, &path)?);
            }
            "pin-source" => {
                let source = decode(name, value, QUERY)?;
                // RFC 7512 §2.4: a value that begins with "|" names a command to run.
                if source.starts_with('|') {
                    return Err("attribute pin-source names a command; only a file is read".into());
                }
                let path = match source.strip_prefix("file:") {
                    Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
                    None => &source,
                };
                self.pin_file = Some(absolute(name, path)?);
            }
            // RFC 7512 §4: "The "pin-value" attribute can be used to provide the PIN [...] leads to its exposure".
            "pin-value" => {
                return Err("attribute pin-value is refused: settings hold no secrets; put the PIN into a file and name it with pin-source".into());
            }
            "module-name" => {
                return Err("attribute module-name is not supported: name the file with module-path".into());
            }
            other => return Err(format!("attribute {} is not supported", printable(other))),
        }
        Ok(())
    }
}

/// Characters that a query value may hold as they are, beside the unreserved ones.
const QUERY: &[u8] = b":[]@!$'()*+,=/?|";

/// Name and value. RFC 7512 §2.3: "a PKCS #11 URI MUST NOT contain duplicate attributes of the same name".
fn split<'a>(attribute: &'a str, seen: &mut Vec<&'a str>) -> Result<(&'a str, &'a str), String> {
    let (name, value) = attribute.split_once('=').ok_or("an attribute has no \"=\"")?;
    if seen.contains(&name) {
        return Err(format!("attribute {} is given twice", printable(name)));
    }
    seen.push(name);
    Ok((name, value))
}

fn decode(name: &str, value: &str, also: &[u8]) -> Result<String, String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |b: &u8| char::from(*b).to_digit(16);
                let code = digit(high).zip(digit(low)).map(|(high, low)| high * 16 + low);
                let code = code.and_then(|code| u8::try_from(code).ok());
                octets.push(code.ok_or_else(|| format!("attribute {name} has a malformed %-escape"))?);
                after
            }
            (b'%', _) => return Err(format!("attribute {name} has a malformed %-escape")),
            (plain, after) if plain.is_ascii_alphanumeric() || b"-._~".contains(plain) || also.contains(plain) => {
                octets.push(*plain);
                after
            }
            _ => return Err(format!("attribute {name} has a character that must be written as a %-escape")),
        };
    }
    if octets.is_empty() || octets.contains(&0) {
        return Err(format!("attribute {name} is empty or has an octet 0"));
    }
    String::from_utf8(octets).map_err(|_| format!("attribute {name} is not UTF-8"))
}

fn fits(name: &str, value: String, max: usize) -> Result<String, String> {
    match value.len() {
        len if len > max => Err(format!("attribute {name} is of {len} octets, a token's has at most {max}")),
        _ => Ok(value),
    }
}

fn absolute(name: &str, path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err(format!("attribute {name} is not an absolute path"))
    }
}

/// A name for a message: short, and nothing that a terminal obeys.
pub(super) fn printable(name: &str) -> String {
    let short: String = name.chars().take(40).collect();
    format!("{short:?}")
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
