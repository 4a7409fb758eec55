//! Tokens named by the configuration of Java's SunPKCS11 provider, as products hand it out to be pasted.
//!
//! `library` and `slot` or `slotListIndex` say which token; `name` and `description` are labels. What tells Java how to
//! use the token (`attributes(...)`, mechanism lists, messages) has no meaning here, for mechanisms are probed and
//! templates are ours: it is read, listed as not used, and the operator sees the list.

use super::select::TokenSelector;
use super::uri::printable;
use std::path::PathBuf;

/// What the text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SunPkcs11 {
    /// `name`.
    pub name: Option<String>,
    /// `library`.
    pub module: PathBuf,
    /// `slot` or `slotListIndex`; the first of the list where neither is given, as Java has it.
    pub token: TokenSelector,
    /// Settings that have no meaning here.
    pub unused: Vec<String>,
}

/// Longest text that is read, in octets.
pub const SUNPKCS11_OCTETS_MAX: usize = 16 * 1024;

impl SunPkcs11 {
    /// Reads the text of at most [`SUNPKCS11_OCTETS_MAX`] octets.
    ///
    /// # Errors
    /// What is wrong, with the line's number.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > SUNPKCS11_OCTETS_MAX {
            return Err(format!("is of {} octets, more than {SUNPKCS11_OCTETS_MAX}", text.len()));
        }
        let mut found = Found::default();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = uncommented(line);
            if line.is_empty() {
                continue;
            }
            let at = |message: String| format!("line {}: {message}", number + 1);
            let (key, value) = line.split_once('=').ok_or_else(|| at("has no \"=\"".into()))?;
            let (key, mut value) = (key.trim(), value.trim().to_owned());
            // A list in braces may go on over lines.
            while value.starts_with('{') && !value.contains('}') {
                let (_, more) = lines.next().ok_or_else(|| at("a \"{\" is not closed".into()))?;
                value.push(' ');
                value.push_str(uncommented(more));
            }
            found.setting(key, &value).map_err(at)?;
        }
        found.finish()
    }
}

#[derive(Default)]
struct Found {
    name: Option<String>,
    description: Option<String>,
    library: Option<String>,
    slot: Option<u64>,
    index: Option<usize>,
    unused: Vec<String>,
}

impl Found {
    fn setting(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "name" => once(&mut self.name, key, unquoted(key, value)?),
            "description" => once(&mut self.description, key, unquoted(key, value)?),
            "library" => once(&mut self.library, key, unquoted(key, value)?),
            "slot" => {
                let value = unquoted(key, value)?;
                once(&mut self.slot, key, number(&value).ok_or("slot is not a number, decimal or 0x...")?)
            }
            "slotListIndex" => {
                let value = unquoted(key, value)?;
                let index = number(&value).and_then(|index| usize::try_from(index).ok());
                once(&mut self.index, key, index.ok_or("slotListIndex is not a number")?)
            }
            "nssLibraryDirectory" | "nssSecmodDirectory" | "nssModule" | "nssDbMode" | "nssUseSecmod" => {
                Err(format!("{key}: NSS is not supported, name a PKCS#11 library"))
            }
            "attributes" | "enabledMechanisms" | "disabledMechanisms" | "insertionMessage" | "handleStartupErrors"
            | "showInfo" | "explicitCancel" | "omitInitialize" | "cleaner.shortInterval" | "cleaner.longInterval"
            | "destroyTokenAfterLogout" | "allowSingleThreadedModules" | "functionList" | "useEcX963Encoding"
            | "keyStoreCompatibilityMode" | "allowLegacy" => {
                self.unused.push(key.to_owned());
                Ok(())
            }
            key if key.starts_with("attributes(") && key.ends_with(')') && key.len() <= 80 => {
                self.unused.push(key.split_whitespace().collect());
                Ok(())
            }
            // Java has no setting for a PIN; whoever writes one would have it here in clear.
            key if key.to_ascii_lowercase().contains("pin") => {
                Err("settings hold no secrets; name a file with pin-file".into())
            }
            other => Err(format!("unknown setting {}", printable(other))),
        }
    }

    fn finish(self) -> Result<SunPkcs11, String> {
        let library = self.library.ok_or("library is missing")?;
        if !library.starts_with('/') || library.contains("${") {
            return Err("library is not an absolute path; ${...} is not expanded".into());
        }
        let token = match (self.slot, self.index) {
            (Some(_), Some(_)) => return Err("only one of slot and slotListIndex may be given".into()),
            (Some(slot), None) => TokenSelector { slot_id: Some(slot), ..TokenSelector::default() },
            (None, index) => TokenSelector { slot_index: Some(index.unwrap_or(0)), ..TokenSelector::default() },
        };
        Ok(SunPkcs11 { name: self.name, module: library.into(), token, unused: self.unused })
    }
}

fn once<T>(place: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is given twice")),
    }
}

/// The line without comment and blanks. A `#` in quotes stays.
fn uncommented(line: &str) -> &str {
    let mut quoted = false;
    let end = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '#' && !quoted
    });
    end.map_or(line, |(at, _)| &line[..at]).trim()
}

fn unquoted(key: &str, value: &str) -> Result<String, String> {
    let inner = value.strip_prefix('"').map(|rest| rest.strip_suffix('"').ok_or(()));
    match inner.unwrap_or(Ok(value)) {
        Ok(value) if !value.is_empty() && !value.contains('"') => Ok(value.to_owned()),
        _ => Err(format!("{key} is empty or its quotes do not match")),
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok().filter(|_| digits(hex)),
        None => text.parse().ok().filter(|_| digits(text)),
    }
}

#[cfg(test)]
#[path = "sunpkcs11_tests.rs"]
mod tests;
