//! Profiles: how one kind of server spells what all of them do.

use super::template;
use crate::error::{Class, Fault, KsError, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A checked profile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// What the server is, for status and errors.
    pub(super) device: String,
    /// Octets of a key's name.
    pub(super) name_bytes_max: usize,
    pub(super) auth: Auth,
    #[serde(default)]
    pub(super) errors: Errors,
    #[serde(default)]
    pub(super) operation: BTreeMap<Op, Operation>,
    /// By kind of key: the variables that describe it.
    #[serde(default)]
    pub(super) key: BTreeMap<String, template::Values>,
    /// By way of encrypting: the variables that describe it.
    #[serde(default)]
    pub(super) encryption: BTreeMap<String, template::Values>,
    /// By way of signing: the variables that describe it.
    #[serde(default)]
    pub(super) signature: BTreeMap<String, template::Values>,
    /// By MAC: the variables that describe it.
    #[serde(default)]
    pub(super) mac: BTreeMap<String, template::Values>,
    /// Spelling of hashes.
    #[serde(default)]
    pub(super) hash: BTreeMap<String, String>,
}

/// How requests are authenticated.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub(super) enum Auth {
    /// User name and password with each request (RFC 7617).
    Basic,
    /// The password is a token that goes with each request (RFC 6750).
    Bearer,
    /// User name and password are exchanged for such a token, with the operation `login`.
    Login {
        /// How long a token is used.
        seconds: u64,
    },
    /// Our certificate is enough.
    None,
}

/// What a request may be for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Op {
    Create,
    CreatePair,
    Decrypt,
    Destroy,
    Encrypt,
    Export,
    Find,
    Import,
    ImportPrivate,
    List,
    Login,
    Mac,
    Public,
    Random,
    Retire,
    Sign,
}

/// One operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// JSON pointers (RFC 6901) by what they lead to.
    #[serde(default)]
    pub(super) answer: BTreeMap<String, String>,
}

/// What errors say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Errors {
    /// Pointer to the reason.
    pub(super) reason: Option<String>,
    /// Pointer to the text.
    pub(super) message: Option<String>,
    /// Reasons that say more than the status does.
    #[serde(default)]
    pub(super) map: BTreeMap<String, Meaning>,
}

/// The meaning of an error.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Meaning {
    AuthStop,
    BadData,
    BadParameters,
    Busy,
    Denied,
    Integrity,
    NotFound,
    RetryOther,
    Unsupported,
}

impl Meaning {
    pub(super) fn class(self) -> Class {
        match self {
            Self::AuthStop => Class::AuthStop,
            Self::BadData => Class::BadInput(Fault::Data),
            Self::BadParameters => Class::BadInput(Fault::Parameters),
            Self::Busy => Class::Busy,
            Self::Denied => Class::Denied,
            Self::Integrity => Class::BadInput(Fault::Integrity),
            Self::NotFound => Class::NotFound,
            Self::RetryOther => Class::RetryOther,
            Self::Unsupported => Class::Unsupported,
        }
    }
}

impl Op {
    /// Pointers without which its answer is of no use.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Decrypt | Self::Encrypt | Self::Random => &["data"],
            Self::Export => &["material"],
            Self::List => &["keys", "item-name", "item-algorithm"],
            Self::Login => &["token"],
            Self::Mac => &["mac"],
            Self::Public => &["public"],
            Self::Sign => &["signature"],
            _ => &[],
        }
    }

    /// Variables that its templates may use, besides those of the key and the scheme.
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Create => &["name", "group", "bits", "exportable"],
            Self::CreatePair => &["name", "group", "bits", "exportable"],
            Self::Import | Self::ImportPrivate => &["name", "group", "bits", "exportable", "material"],
            Self::Decrypt => &["name", "data", "iv", "aad", "tag", "tag-bits", "hash", "mgf-hash"],
            Self::Encrypt => &["name", "data", "iv", "aad", "tag-bits"],
            Self::Sign => &["name", "digest", "message", "hash", "mgf-hash", "salt"],
            Self::Mac => &["name", "data", "hash"],
            Self::List => &["group", "offset", "limit"],
            Self::Login => &["user", "password"],
            Self::Random => &["length"],
            Self::Destroy | Self::Export | Self::Find | Self::Public | Self::Retire => &["name"],
        }
    }
}

impl Profile {
    /// The built-in profiles, by name.
    pub const BUILT_IN: [(&'static str, &'static str); 3] = [
        ("eskm-style", include_str!("profiles/eskm-style.toml")),
        ("ciphertrust", include_str!("profiles/ciphertrust.toml")),
        ("securosys", include_str!("profiles/securosys.toml")),
    ];

    /// The built-in profile of a name; `None` if there is none.
    pub fn built_in(name: &str) -> Option<Result<Self>> {
        Self::BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| Self::parse(text))
    }

    /// Reads a profile and checks that its templates use nothing that does not exist.
    ///
    /// # Errors
    /// `BadInput(Parameters)` that names what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let profile: Self = toml::from_str(text).map_err(|error| bad(error.message()))?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<()> {
        for needed in [Op::Destroy, Op::Find] {
            if !self.operation.contains_key(&needed) {
                return Err(bad(&format!("operation {needed:?} is missing")));
            }
        }
        if matches!(self.auth, Auth::Login { .. }) != self.operation.contains_key(&Op::Login) {
            return Err(bad("auth kind login and operation login go together"));
        }
        for (op, operation) in &self.operation {
            self.check_operation(*op, operation).map_err(|why| bad(&format!("operation {op:?}: {why}")))?;
        }
        let pointers = [&self.errors.reason, &self.errors.message].into_iter().flatten();
        for pointer in pointers {
            check_pointer(pointer).map_err(|why| bad(&format!("errors: {why}")))?;
        }
        Ok(())
    }

    fn check_operation(&self, op: Op, operation: &Operation) -> Result<(), String> {
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&operation.method.as_str()) {
            return Err(format!("method {:?} is not one of GET, POST, PUT, PATCH, DELETE", operation.method));
        }
        if !operation.path.starts_with('/') {
            return Err("the path does not begin with /".to_owned());
        }
        for pointer in operation.answer.values() {
            check_pointer(pointer)?;
        }
        for needed in op.needs() {
            if !operation.answer.contains_key(*needed) {
                return Err(format!("answer.{needed} is missing"));
            }
        }
        let mut used = Vec::new();
        template::names_in(&Value::String(operation.path.clone()), &mut used);
        if let Some(body) = &operation.body {
            template::names_in(body, &mut used);
        }
        let described = self.described(op);
        let is_known = |name: &String| op.variables().contains(&name.as_str()) || described.contains(&name.as_str());
        match used.iter().find(|name| !is_known(name)) {
            Some(unknown) => Err(format!("there is no variable {{{unknown}}} here")),
            None => Ok(()),
        }
    }

    /// Names of the variables that the tables of keys and schemes add.
    fn described(&self, op: Op) -> Vec<&str> {
        let tables = match op {
            Op::Create | Op::CreatePair | Op::Import | Op::ImportPrivate => &self.key,
            Op::Decrypt | Op::Encrypt => &self.encryption,
            Op::Mac => &self.mac,
            Op::Sign => &self.signature,
            _ => return Vec::new(),
        };
        tables.values().flat_map(|values| values.keys().map(String::as_str)).collect()
    }

    /// Whether an operation is there.
    pub(super) fn has(&self, op: Op) -> bool {
        self.operation.contains_key(&op)
    }

    /// Whether an operation's body or path uses a variable.
    pub(super) fn mentions(&self, op: Op, variable: &str) -> bool {
        let mut used = Vec::new();
        if let Some(operation) = self.operation.get(&op) {
            template::names_in(&Value::String(operation.path.clone()), &mut used);
            operation.body.iter().for_each(|body| template::names_in(body, &mut used));
        }
        used.iter().any(|name| name == variable)
    }
}

fn check_pointer(pointer: &str) -> Result<(), String> {
    // RFC 6901 §3: a pointer is empty or begins with "/".
    if pointer.is_empty() || pointer.starts_with('/') {
        Ok(())
    } else {
        Err(format!("{pointer:?} is not a JSON pointer"))
    }
}

fn bad(why: &str) -> KsError {
    KsError::parameters(format!("REST profile: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_profiles_are_right() {
        for (name, _) in Profile::BUILT_IN {
            Profile::built_in(name).expect("known").unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(Profile::built_in("other").is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let whole = include_str!("profiles/eskm-style.toml");
        for (from, to, why) in [
            ("method = \"POST\"", "method = \"BREW\"", "BREW"),
            ("\"{bits}\"", "\"{bit}\"", "{bit}"),
            ("path = \"/api", "path = \"api", "begin with /"),
            ("\"/material\"", "\"material\"", "JSON pointer"),
            ("[operation.destroy]", "[operation.destroi]", "destroi"),
            ("kind = \"basic\"", "kind = \"login\"\nseconds = 60", "login"),
            ("device =", "devise =", "devise"),
        ] {
            assert!(whole.contains(from), "{from}");
            let error = Profile::parse(&whole.replace(from, to)).expect_err(why);
            assert!(error.to_string().contains(why), "{why}: {error}");
        }
    }
}
