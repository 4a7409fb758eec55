//! Settings of keystores that administrators added: checked as those of the settings file are, kept as TOML, and which of them say
//! where a secret is sent.

use super::KeystoreError;
use super::files;
use crate::config::{KeystoreConfig, check_one};
use crate::seal::SecretText;
use crate::store::{KeystoreEntry, ManagedKeystore};

/// Longest PIN or password.
const SECRET_BYTES_MAX: usize = 4096;
/// Longest settings of a keystore, as TOML.
const SETTINGS_BYTES_MAX: usize = 64 << 10;
/// Settings that have no part in where a keystore is, whom it believes, or as whom we log in. All others, unknown ones too, have.
const TUNING: [&str; 5] = ["workers", "connections", "connect-timeout-ms", "call-timeout-ms", "fetch"];

/// What changes of a keystore. What is `None` stays.
#[derive(Default)]
pub struct KeystorePatch {
    /// Settings that replace those of the same name; `None` takes one away.
    pub settings: Vec<(String, Option<toml::Value>)>,
    /// Another PIN or password.
    pub secret: Option<SecretText>,
}

/// What a patch has changed.
pub(super) struct Changed {
    /// Names of settings that are other than before.
    names: Vec<String>,
    secret: bool,
    /// The secret would be sent elsewhere, in another way, or as somebody else's.
    moves: bool,
}

impl Changed {
    /// For the audit record: names of settings, never their values.
    pub(super) fn what(&self) -> String {
        match (self.names.is_empty(), self.secret) {
            (true, true) => "secret".to_owned(),
            (true, false) => "nothing".to_owned(),
            (false, secret) => format!("settings {}{}", self.names.join(", "), if secret { "; secret" } else { "" }),
        }
    }
}

/// Changes settings and secret of a row.
///
/// # Errors
/// A patch of nothing; a setting to take away that is not there; settings that are too long; a secret that would be sent elsewhere
/// without being given again.
pub(super) fn apply(
    name: &str,
    managed: &mut ManagedKeystore,
    patch: KeystorePatch,
    now_ms: i64,
) -> Result<Changed, KeystoreError> {
    if patch.settings.is_empty() && patch.secret.is_none() {
        return Err(KeystoreError::Invalid("nothing is given that could change".into()));
    }
    check_secret(patch.secret.as_ref())?;
    // Rows of older versions remember it with the test, which ends here.
    managed.secret_refused |= managed.test.as_ref().is_some_and(|test| test.secret_refused);
    let mut settings = table_of(&managed.settings);
    let mut changed = Changed { names: Vec::new(), secret: patch.secret.is_some(), moves: false };
    for (key, value) in patch.settings {
        let before = match value.clone() {
            Some(value) => settings.insert(key.clone(), value),
            None if !settings.contains_key(&key) => {
                let key: String = key.chars().take(80).collect();
                return Err(KeystoreError::Invalid(format!("there is no setting \"{key}\" that could be taken away")));
            }
            None => settings.remove(&key),
        };
        if before != value {
            changed.moves |= !TUNING.contains(&key.as_str());
            changed.names.push(key);
        }
    }
    if changed.moves && managed.secret.is_some() && !changed.secret {
        return Err(KeystoreError::SecretNeeded { name: name.into(), settings: changed.names.join(", ") });
    }
    if changed.moves || changed.secret {
        managed.token_serial = None;
    }
    if let Some(secret) = patch.secret {
        (managed.secret, managed.secret_since_ms, managed.secret_refused) = (Some(secret), now_ms, false);
    }
    managed.settings = text_of(&settings)?;
    changed.names.sort();
    Ok(changed)
}

/// The settings of an added keystore, checked as they stand in its row.
///
/// # Errors
/// Settings that this version does not take any more.
pub(super) fn config_of(entry: &KeystoreEntry) -> Result<KeystoreConfig, KeystoreError> {
    let managed = entry.managed.as_ref().ok_or_else(|| KeystoreError::OfTheFile(entry.name.clone()))?;
    let mut config = checked(&entry.name, &entry.kind, table_of(&managed.settings), managed.secret.is_some())?;
    if let KeystoreConfig::Pkcs11(config) = &mut config
        && is_named_by_place(config)
    {
        config.token.serial = managed.token_serial.clone();
    }
    Ok(config)
}

/// What is to be told about the settings of a keystore.
pub(crate) fn warnings(entry: &KeystoreEntry) -> Vec<String> {
    let pinned = entry.managed.as_ref().is_some_and(|managed| managed.token_serial.is_some());
    match config_of(entry) {
        Ok(KeystoreConfig::Pkcs11(config)) if !pinned && is_named_by_place(&config) => vec![format!(
            "its token is named by its place alone ({}): the PIN is offered to whatever token is there until a test has succeeded; add \
             `token-label` or `token-serial`",
            config.token
        )],
        _ => Vec::new(),
    }
}

/// Whether another token may come to stand where this one is meant.
fn is_named_by_place(config: &crate::config::Pkcs11Config) -> bool {
    config.token.label.is_none() && config.token.serial.is_none()
}

/// Settings, checked.
///
/// # Errors
/// Every problem by the name of its setting.
pub(super) fn checked(
    name: &str,
    kind: &str,
    settings: toml::Table,
    sealed: bool,
) -> Result<KeystoreConfig, KeystoreError> {
    // As the backends have it, and narrower: what the settings file takes.
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
        return Err(KeystoreError::Invalid("the name must be 1 to 64 letters, digits, hyphens or underscores".into()));
    }
    let config = check_one(name, kind, settings, sealed).map_err(KeystoreError::Settings)?;
    if sealed && matches!(config, KeystoreConfig::Local { .. }) {
        return Err(KeystoreError::Invalid("a local keystore has no PIN or password".into()));
    }
    Ok(config)
}

/// Settings that are new, with the files that they name.
///
/// # Errors
/// As [`checked`]; a file that cannot be used.
pub(super) fn checked_with_files(
    entry: &KeystoreEntry,
    data_dir: &std::path::Path,
) -> Result<KeystoreConfig, KeystoreError> {
    let config = config_of(entry)?;
    files::check_place(&config, data_dir)?;
    files::check(&config)?;
    Ok(config)
}

/// Checks the length of a secret.
///
/// # Errors
/// That it has none, or is too long.
pub(super) fn check_secret(secret: Option<&SecretText>) -> Result<(), KeystoreError> {
    // Only its length is looked at.
    match secret.map(|secret| secret.expose().len()) {
        None | Some(1..=SECRET_BYTES_MAX) => Ok(()),
        Some(length) => {
            Err(KeystoreError::Invalid(format!("the secret has {length} octets, it must have 1 to {SECRET_BYTES_MAX}")))
        }
    }
}

/// Settings as they will be kept.
///
/// # Errors
/// That they are too long.
pub(super) fn text_of(settings: &toml::Table) -> Result<String, KeystoreError> {
    let text = toml::to_string(settings).map_err(|error| KeystoreError::Invalid(error.to_string()))?;
    if text.len() > SETTINGS_BYTES_MAX {
        return Err(KeystoreError::Invalid(format!(
            "the settings have {} octets, at most {SETTINGS_BYTES_MAX} are kept",
            text.len()
        )));
    }
    Ok(text)
}

/// Settings as they are kept.
pub(crate) fn table_of(text: &str) -> toml::Table {
    // Written by `text_of`; a row that was altered does not open.
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KeystoreState;

    fn managed() -> ManagedKeystore {
        ManagedKeystore {
            state: KeystoreState::new(0),
            settings: "module = \"/p11.so\"\ntoken-label = \"t\"\n".into(),
            secret: Some(SecretText::new("1234").expect("a page")),
            secret_since_ms: 0,
            secret_refused: true,
            token_serial: Some("7".into()),
            test: None,
            default_since_ms: None,
            created_ms: 0,
        }
    }

    fn set(key: &str, value: Option<toml::Value>, secret: Option<&str>) -> KeystorePatch {
        KeystorePatch {
            settings: vec![(key.into(), value)],
            secret: secret.map(|text| SecretText::new(text).expect("a page")),
        }
    }

    /// A sealed secret is never sent anywhere else without being given again: only what is known to have no part in that may change
    /// alone, and it keeps what is known of the secret.
    #[test]
    fn a_secret_does_not_follow_settings() {
        let places = [
            "addresses",
            "ca-file",
            "pinned-file",
            "server-name",
            "cert-file",
            "key-file",
            "profile",
            "user",
            "module",
            "token-label",
            "token-serial",
            "uri",
            "sunpkcs11",
            "whatever-comes-next",
        ];
        for key in places {
            let mut row = managed();
            let refused = apply("hsm", &mut row, set(key, Some("x".into()), None), 1);
            assert!(matches!(refused, Err(KeystoreError::SecretNeeded { settings, .. }) if settings == key), "{key}");
            let changed =
                apply("hsm", &mut managed(), set(key, Some("x".into()), Some("5678")), 1).expect("with the secret");
            assert_eq!(changed.what(), format!("settings {key}; secret"));
        }
        let gone = apply("hsm", &mut managed(), set("token-label", None, None), 1);
        assert!(matches!(gone, Err(KeystoreError::SecretNeeded { .. })), "taking one away is a change");
        for key in TUNING {
            let mut row = managed();
            let changed = apply("hsm", &mut row, set(key, Some(3.into()), None), 1).expect("no part in it");
            assert_eq!(changed.what(), format!("settings {key}"));
            assert!(row.secret_refused && row.token_serial.is_some(), "{key}: what was refused stays refused");
        }
        let mut row = managed();
        apply("hsm", &mut row, set("token-label", Some("t".into()), None), 1).expect("it was so already");
        assert!(row.secret_refused);
        apply(
            "hsm",
            &mut row,
            KeystorePatch { settings: Vec::new(), secret: Some(SecretText::new("5678").expect("a page")) },
            1,
        )
        .expect("a secret");
        assert!(!row.secret_refused && row.token_serial.is_none() && row.secret_since_ms == 1);
        let nosuch = apply("hsm", &mut row, set("nosuch", None, None), 1);
        assert!(matches!(nosuch, Err(KeystoreError::Invalid(text)) if text.contains("nosuch")));
        assert!(matches!(apply("hsm", &mut row, KeystorePatch::default(), 1), Err(KeystoreError::Invalid(_))));
    }

    /// A token that is named by its place alone is kept to the one that a green test has met.
    #[test]
    fn a_place_is_kept_to_its_token() {
        let entry = |settings: &str| KeystoreEntry {
            id: crate::store::KeystoreId::generate(),
            organisation: crate::store::OrganisationId::DEFAULT,
            name: "hsm".into(),
            kind: "pkcs11".into(),
            managed: Some(Box::new(ManagedKeystore { settings: settings.into(), ..managed() })),
        };
        let serial = |entry: &KeystoreEntry| match config_of(entry).expect("settings") {
            KeystoreConfig::Pkcs11(config) => config.token.serial,
            _ => None,
        };
        let mut placed = entry("sunpkcs11 = \"library = /p11.so\"\n");
        assert_eq!(serial(&placed).as_deref(), Some("7"));
        assert!(warnings(&placed).is_empty());
        if let Some(managed) = placed.managed.as_mut() {
            managed.token_serial = None;
        }
        assert!(warnings(&placed)[0].contains("`token-label`"));
        let labelled = entry("module = \"/p11.so\"\ntoken-label = \"t\"\n");
        assert_eq!(serial(&labelled), None, "a label may be of several tokens over time");
        assert!(warnings(&labelled).is_empty());
        let both = entry("sunpkcs11 = \"library = /p11.so\"\ntoken-label = \"t\"\n");
        assert_eq!(serial(&both), None);
    }
}
