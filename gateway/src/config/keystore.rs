//! The `[[keystore]]` tables.

use std::{fmt, path::PathBuf};

use keygate_backends::pkcs11::{Pkcs11Uri, SunPkcs11, TokenSelector};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::{
    file::{FileConfig, Problems},
    group::{self, GroupConfig},
    remote_keystore::{self, RemoteKeystoreConfig},
};

/// One configured keystore.
#[derive(Debug, Clone)]
pub enum KeystoreConfig {
    /// Sealed records in the gateway's own store.
    Local {
        /// Name, `local` where not configured.
        name: String,
    },
    /// A token behind a PKCS#11 module.
    Pkcs11(Pkcs11Config),
    /// Several tokens as one.
    Group(GroupConfig),
    /// A key server behind a network.
    Remote(RemoteKeystoreConfig),
}

/// A token behind a PKCS#11 module.
#[derive(Debug, Clone)]
pub struct Pkcs11Config {
    /// Name of the keystore.
    pub name: String,
    /// Path of the module.
    pub module: PathBuf,
    /// Which token of the module.
    pub token: TokenSelector,
    /// Where the user PIN comes from; `None`: it is sealed in the store.
    pub pin: Option<PinSource>,
    /// Worker processes for traffic.
    pub workers: usize,
    /// With workers of its own, also where the token is open already: for a trial. No setting.
    pub beside: bool,
    /// Parts of a pasted configuration that have no meaning here.
    pub unused: Vec<String>,
}

/// Where a PIN comes from. Never from an argument or a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinSource {
    /// A file of mode 0600 or narrower.
    File(PathBuf),
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl fmt::Display for Pkcs11Config {
    /// The settings as they were understood, in one line; the PIN's place, never the PIN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keystore {}", self.of_group())
    }
}

impl Pkcs11Config {
    /// As a member of a group is shown: without the word for what it is.
    pub(super) fn of_group(&self) -> impl fmt::Display {
        fmt::from_fn(|f| self.describe(f))
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, module, token, workers, .. } = self;
        let pin = place_of(self.pin.as_ref());
        write!(f, "{name}: PKCS#11 module {}, token {token}, PIN from {pin}, workers {workers}", module.display())?;
        if self.unused.is_empty() { Ok(()) } else { write!(f, "; not used: {}", self.unused.join(", ")) }
    }
}

/// Where a PIN or password comes from, in words.
pub(super) fn place_of(source: Option<&PinSource>) -> String {
    match source {
        Some(PinSource::File(path)) => format!("file {}", path.display()),
        Some(PinSource::Credential(name)) => format!("systemd credential {name}"),
        None => "the store".into(),
    }
}

impl KeystoreConfig {
    /// The kind of backend, as the setting `kind` has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Pkcs11(_) => "pkcs11",
            Self::Group(_) => "group",
            Self::Remote(config) => config.protocol.kind(),
        }
    }

    /// The keystore's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Local { name } => name,
            Self::Pkcs11(config) => &config.name,
            Self::Group(config) => &config.name,
            Self::Remote(config) => &config.name,
        }
    }
}

pub(super) fn check(file: &mut FileConfig) -> Vec<KeystoreConfig> {
    let mut list: Vec<KeystoreConfig> = Vec::new();
    for (index, table) in std::mem::take(&mut file.keystores).into_iter().enumerate() {
        let mut table = Table::new(format!("keystore[{index}]"), table, Secret::Named, file);
        let keystore = keystore(&mut table);
        let is_default = table.flag("default");
        table.finish();
        if let Some(keystore) = keystore {
            // TOML has no place for `keystore.default` beside [[keystore]]; an override by --set stands.
            if is_default {
                file.values.entry("keystore.default".into()).or_insert_with(|| Value::String(keystore.name().into()));
            }
            if list.iter().any(|other| other.name() == keystore.name()) {
                file.problem(&format!("keystore.{}", keystore.name()), "this name is used twice");
            }
            list.push(keystore);
        }
    }
    if !list.iter().any(|keystore| matches!(keystore, KeystoreConfig::Local { .. })) {
        list.insert(0, KeystoreConfig::Local { name: "local".into() });
    }
    list
}

/// Checks a keystore that the settings file does not name: `settings` holds the keys of a `[[keystore]]` table, without name and
/// kind. `sealed`: its PIN or password is kept in the store. Settings never name a place for it here: whoever may add keystores
/// from afar would have the server read a file of its own, and send what is in it wherever the keystore is.
///
/// # Errors
/// Every problem, each by the name of its key.
pub fn check_one(name: &str, kind: &str, mut settings: toml::Table, sealed: bool) -> Result<KeystoreConfig, Problems> {
    let mut file = FileConfig::default();
    for (key, apart) in [
        ("name", "the name is given when a keystore is added, and stays"),
        ("kind", "the kind is given with --kind when a keystore is added, and stays"),
        ("default", "`keygate keystore activate` makes it the default, or with --keep-default does not"),
    ] {
        if settings.remove(key).is_some() {
            file.problem(&format!("keystore.{name}.{key}"), &format!("is no setting of a keystore that is added: {apart}"));
        }
    }
    let secret = if sealed { Secret::Sealed } else { Secret::Absent };
    settings.insert("name".into(), Value::String(name.into()));
    settings.insert("kind".into(), Value::String(kind.into()));
    let mut table = Table::new(format!("keystore.{name}"), settings, secret, &mut file);
    let keystore = keystore(&mut table);
    table.finish();
    let problems = file.into_problems();
    match keystore {
        Some(keystore) if problems.0.is_empty() => Ok(keystore),
        _ => Err(problems),
    }
}

fn keystore(table: &mut Table<'_>) -> Option<KeystoreConfig> {
    let name = table.required("name")?;
    table.name(&format!("keystore.{name}"));
    let name_ok = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.len() > 64 || !name.bytes().all(name_ok) {
        table.problem("name", "must be 1 to 64 letters, digits, hyphens or underscores");
    }
    match table.required("kind")?.as_str() {
        "local" => Some(KeystoreConfig::Local { name }),
        "pkcs11" => pkcs11_token(table, name).map(KeystoreConfig::Pkcs11),
        "group" => group::group(table, name).map(KeystoreConfig::Group),
        kind @ ("kmip" | "rest") => remote_keystore::remote(table, name, kind == "rest"),
        other => {
            table.problem("kind", &format!("must be local, pkcs11, group, kmip or rest, not \"{other}\""));
            None
        }
    }
}

/// Processes for traffic where nothing is said: a soft token serialises its calls within a process.
const WORKERS: usize = 2;

/// Module and token stand in settings of their own, in a PKCS#11 URI, or in pasted SunPKCS11 text; one of the three.
pub(super) fn pkcs11_token(table: &mut Table<'_>, name: String) -> Option<Pkcs11Config> {
    let place = place(table);
    if table.secret != Secret::Named && place.as_ref().is_some_and(|place| place.pin_file.is_some()) {
        table.problem("uri", &format!("pin-source {NAMES_A_FILE}"));
    }
    let module = match place.as_ref().map(|place| place.module.clone()) {
        Some(None) => table.required("module").map(PathBuf::from),
        known => known.flatten(),
    };
    if module.as_ref().is_some_and(|module| !module.is_absolute()) {
        table.problem("module", "must be an absolute path");
    }
    let pin_file = place.as_ref().and_then(|place| place.pin_file.clone());
    let pin = match table.secret {
        Secret::Named => named_pin(table, pin_file).map(Some),
        Secret::Sealed | Secret::Absent => {
            table.refuse_sources("pin");
            if table.secret == Secret::Absent {
                table.problem("secret", "the PIN is missing: give it with --secret-file FILE or --secret-stdin, and it is sealed in the store");
            }
            Some(None)
        }
    };
    let workers = table.count("workers", WORKERS, 64);
    let Place { token, unused, .. } = place?;
    if token.is_empty() {
        table.problem("uri", "names no token; give at least token, serial or slot-id");
        return None;
    }
    Some(Pkcs11Config { name, module: module?, token, pin: pin?, workers, beside: false, unused })
}

fn named_pin(table: &mut Table<'_>, pin_file: Option<PathBuf>) -> Option<PinSource> {
    match (table.text("pin-file").map(PathBuf::from).or(pin_file), table.text("pin-credential")) {
        (Some(path), None) => Some(PinSource::File(path)),
        (None, Some(name)) => Some(PinSource::Credential(name)),
        _ => {
            table.problem("pin-file", "exactly one of pin-file and pin-credential must be given");
            None
        }
    }
}

/// Where a token is, however it was written.
#[derive(Default)]
struct Place {
    module: Option<PathBuf>,
    token: TokenSelector,
    pin_file: Option<PathBuf>,
    unused: Vec<String>,
}

fn place(table: &mut Table<'_>) -> Option<Place> {
    match (table.text("uri"), table.text("sunpkcs11")) {
        (Some(uri), None) => match Pkcs11Uri::parse(&uri) {
            Ok(uri) => {
                Some(Place { module: uri.module, token: uri.token, pin_file: uri.pin_file, unused: Vec::new() })
            }
            Err(why) => {
                table.problem("uri", &why);
                None
            }
        },
        (None, Some(text)) => match SunPkcs11::parse(&text) {
            Ok(sun) => {
                // A place in a list says little about which token is there.
                let (label, serial) = (table.text("token-label"), table.text("token-serial"));
                let token = TokenSelector { label, serial, ..sun.token };
                Some(Place { module: Some(sun.module), token, pin_file: None, unused: sun.unused })
            }
            Err(why) => {
                table.problem("sunpkcs11", &why);
                None
            }
        },
        (Some(_), Some(_)) => {
            table.problem("uri", "only one of uri and sunpkcs11 may be given");
            None
        }
        (None, None) => {
            let label = table.required("token-label");
            let serial = table.text("token-serial");
            // Without a label the problem is reported already.
            let token = TokenSelector { label: Some(label.unwrap_or_default()), serial, ..TokenSelector::default() };
            Some(Place { token, ..Place::default() })
        }
    }
}

/// Where the PIN or password of a keystore comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// The settings name a file or credential: those of the settings file, which only the server's own user writes.
    Named,
    /// It is sealed in the store.
    Sealed,
    /// The store has none, and the settings may not name any.
    Absent,
}

const NAMES_A_FILE: &str = "names a file of the server, which only keygate.toml may do: take it away, and give the secret itself with \
                            --secret-file FILE or --secret-stdin, and it is sealed in the store";

/// One table and the list of problems it adds to.
pub(super) struct Table<'a> {
    label: String,
    table: toml::Table,
    pub(super) secret: Secret,
    file: &'a mut FileConfig,
}

impl<'a> Table<'a> {
    /// A table whose problems are told under this label.
    pub(super) fn new(label: String, table: toml::Table, secret: Secret, file: &'a mut FileConfig) -> Self {
        Self { label, table, secret, file }
    }
}

impl Table<'_> {
    /// Its problems are told under this label from now on.
    pub(super) fn name(&mut self, label: &str) {
        label.clone_into(&mut self.label);
    }

    /// A table within this one. Its PIN is kept elsewhere as this one's is, unless it names a place for it.
    pub(super) fn inner(&mut self, label: String, table: toml::Table) -> Table<'_> {
        Table { label: format!("{}.{label}", self.label), table, secret: self.secret, file: self.file }
    }

    /// Once its name is known.
    pub(super) fn relabel(&mut self, last: &str) {
        let parent = self.label.rsplit_once(".member[").map_or("", |(parent, _)| parent);
        self.label = format!("{parent}.{last}");
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A list of tables, at least one.
    pub(super) fn tables(&mut self, key: &str) -> Option<Vec<toml::Table>> {
        let list: Option<Vec<toml::Table>> = match self.table.remove(key) {
            Some(Value::Array(list)) => list.into_iter().map(|value| value.as_table().cloned()).collect(),
            _ => None,
        };
        if list.as_ref().is_none_or(Vec::is_empty) {
            self.problem(key, "must be a list of tables that is not empty");
            return None;
        }
        list
    }

    pub(super) fn problem(&mut self, key: &str, message: &str) {
        self.file.problem(&format!("{}.{key}", self.label), message);
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            other => {
                self.problem(key, &format!("must be a string that is not empty, not {other}"));
                None
            }
        }
    }

    /// Refuses settings that name a file or a credential with a PIN or password.
    pub(super) fn refuse_sources(&mut self, what: &str) {
        for key in [format!("{what}-file"), format!("{what}-credential")] {
            if self.table.remove(&key).is_some() {
                self.problem(&key, NAMES_A_FILE);
            }
        }
    }

    /// A list of strings, at least one; one alone needs no brackets.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let list = match self.table.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(vec![text]),
            Some(Value::Array(list)) => list.into_iter().map(|value| value.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        if list.as_ref().is_none_or(Vec::is_empty) {
            self.problem(key, "must be a list of strings that is not empty");
            return None;
        }
        list
    }

    pub(super) fn required(&mut self, key: &str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.problem(key, "is missing");
        }
        self.text(key)
    }

    pub(super) fn count(&mut self, key: &str, default: usize, max: usize) -> usize {
        match self.table.remove(key) {
            None => default,
            Some(Value::Integer(number)) if (1..=max as i64).contains(&number) => number.unsigned_abs() as usize,
            Some(other) => {
                self.problem(key, &format!("must be a number from 1 to {max}, not {other}"));
                default
            }
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        match self.table.remove(key) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => {
                self.problem(key, &format!("must be true or false, not {other}"));
                false
            }
        }
    }

    pub(super) fn finish(mut self) {
        for key in std::mem::take(&mut self.table).into_iter().map(|(key, _)| key) {
            let message = if super::settings::names_a_secret(&key) {
                match self.secret {
                    Secret::Named => format!("settings hold no secrets; use {key}-file or {key}-credential"),
                    Secret::Sealed | Secret::Absent => "settings hold no secrets; use --secret-file FILE or --secret-stdin".to_owned(),
                }
            } else {
                "unknown setting".to_owned()
            };
            self.problem(&key, &message);
        }
    }
}
