//! PKCS#11 tokens as the settings and the seal name them: where a PIN comes from, and the token's key as a seal slot.

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use keygate_backends::{
    Class, KeyId, KsError, OpCx, SecretBytes as BackendSecret,
    pkcs11::{Pkcs11Kek, Pkcs11Uri, Spawn, Token, TokenConfig, TokenSelector},
};
use serde::{Deserialize, Serialize};

use super::unlock::{SecretInput, SecretInputError};
use crate::{
    config::{Pkcs11Config, PinSource},
    seal::{SecretBytes, SecretText, SlotKey, SlotKeyError},
};

/// Longest wait for a token to wrap or unwrap the root key.
const SLOT_WAIT: Duration = Duration::from_secs(30);

/// Which token of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenName {
    /// By a PKCS#11 URI (RFC 7512); what it says of the module and the PIN's place was taken before.
    Uri {
        /// The URI.
        token_uri: String,
    },
    /// By its label.
    Label {
        /// The label.
        token_label: String,
    },
}

impl TokenName {
    fn selector(&self) -> Result<TokenSelector, SlotKeyError> {
        match self {
            Self::Label { token_label } => Ok(TokenSelector::label(token_label)),
            Self::Uri { token_uri } => {
                let uri = Pkcs11Uri::parse(token_uri);
                uri.map(|uri| uri.token).map_err(|why| SlotKeyError::Refused(format!("the token's URI {why}")))
            }
        }
    }
}

/// A token and its wrapping key, as the seal remembers them. No PIN.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenLocator {
    /// Path of the PKCS#11 module.
    pub module: PathBuf,
    /// The token.
    #[serde(flatten)]
    pub token: TokenName,
    /// Where the PIN comes from.
    pub pin: PinSource,
    /// CKA_ID of the wrapping key, in hexadecimal.
    pub key_id: String,
}

impl TokenLocator {
    /// As the seal keeps it.
    pub fn to_json(&self) -> serde_json::Value {
        let pin = match &self.pin {
            PinSource::File(path) => serde_json::json!({ "file": path }),
            PinSource::Credential(name) => serde_json::json!({ "credential": name }),
        };
        let mut json = serde_json::json!({ "module": self.module, "pin": pin, "key_id": self.key_id });
        match &self.token {
            TokenName::Label { token_label } => json["token_label"] = token_label.as_str().into(),
            TokenName::Uri { token_uri } => json["token_uri"] = token_uri.as_str().into(),
        }
        json
    }
}

/// A token's wrapping key as a seal slot.
pub struct TokenSlotKey {
    kek: Pkcs11Kek,
}

impl PinSource {
    /// Reads the PIN.
    pub fn read(&self) -> Result<SecretBytes, SecretInputError> {
        match self {
            Self::File(path) => SecretInput::File(path.clone()).read(),
            Self::Credential(name) => {
                let input = SecretInput::credential(name).ok_or_else(|| SecretInputError::NoCredential(name.clone()))?;
                input.read()
            }
        }
    }
}

impl TokenSlotKey {
    /// Makes a new wrapping key on a token. Blocks.
    pub fn create(module: PathBuf, token: TokenName, pin: PinSource) -> Result<(TokenLocator, Self), SlotKeyError> {
        let id = KeyId::random().map_err(slot_error)?;
        let found = open(&module, &token, &pin)?;
        let kek = Pkcs11Kek::create(&found, id, OpCx::within(SLOT_WAIT)).map_err(slot_error)?;
        Ok((TokenLocator { module, token, pin, key_id: id.to_string() }, Self { kek }))
    }

    /// Destroys a wrapping key that nothing was wrapped under. Blocks.
    pub fn destroy(&self) -> Result<(), SlotKeyError> {
        self.kek.destroy_blocking(OpCx::within(SLOT_WAIT)).map_err(slot_error)
    }

    /// Finds the wrapping key that a locator names. Blocks.
    pub fn find(locator: &serde_json::Value) -> Result<Self, SlotKeyError> {
        let damaged = || SlotKeyError::Absent("the slot's record of its token cannot be read".into());
        let locator: TokenLocator = serde_json::from_value(locator.clone()).map_err(|_| damaged())?;
        let id = hex::decode(&locator.key_id).ok().and_then(|id| id.try_into().ok()).map(KeyId).ok_or_else(damaged)?;
        let token = open(&locator.module, &locator.token, &locator.pin)?;
        Ok(Self { kek: Pkcs11Kek::existing(&token, id) })
    }
}

impl SlotKey for TokenSlotKey {
    fn wrap(&self, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, SlotKeyError> {
        self.kek.wrap_blocking(&BackendSecret::copy_of(plaintext), aad, OpCx::within(SLOT_WAIT)).map_err(slot_error)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes, SlotKeyError> {
        let plain = self.kek.unwrap_blocking(wrapped, aad, OpCx::within(SLOT_WAIT)).map_err(slot_error)?;
        Ok(SecretBytes::copy_from(plain.expose()))
    }
}

/// The token of a configured keystore. It may come later.
pub(super) fn keystore_token(config: &Pkcs11Config, sealed: Option<&SecretText>) -> Result<Arc<Token>, TokenError> {
    let mut token = match (&config.pin, sealed) {
        (Some(source), _) => token_config(&config.module, config.token.clone(), source)?,
        // A secret of text is exposed to be handed to the token.
        (None, Some(pin)) => token_with(&config.module, config.token.clone(), BackendSecret::copy_of(pin.expose().as_bytes())),
        (None, None) => return Err(TokenError::NoPin),
    };
    (token.workers, token.beside) = (config.workers, config.beside);
    let token = Token::open_later(token).map_err(TokenError::Token)?;
    // A token that is there is open within milliseconds: the first client shall not find it still being opened.
    let begun = Instant::now();
    while matches!(token.health(), keygate_backends::Health::Down(_)) && begun.elapsed() < OPENING_MAX {
        thread::sleep(Duration::from_millis(5));
    }
    Ok(token)
}

/// Longest wait at the start for a token that may be absent.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// Why a keystore's token cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Its PIN cannot be read.
    #[error(transparent)]
    Pin(#[from] SecretInputError),
    /// Neither the settings nor the store have a PIN.
    #[error("it has no PIN")]
    NoPin,
    /// The module.
    #[error("the PKCS#11 module cannot be used")]
    Token(#[source] KsError),
}

fn open(module: &std::path::Path, token: &TokenName, pin: &PinSource) -> Result<Arc<Token>, SlotKeyError> {
    let config = token_config(module, token.selector()?, pin).map_err(|error| SlotKeyError::Absent(crate::admin::chain(&error)))?;
    Token::open(config).map_err(slot_error)
}

fn token_config(module: &std::path::Path, token: TokenSelector, pin: &PinSource) -> Result<TokenConfig, SecretInputError> {
    Ok(token_with(module, token, BackendSecret::copy_of(pin.read()?.expose())))
}

fn token_with(module: &std::path::Path, token: TokenSelector, pin: BackendSecret) -> TokenConfig {
    // The same binary; the subcommand is not for people.
    TokenConfig::new(module, token, Some(pin), Spawn::this_program(["pkcs11-worker"]))
}

fn slot_error(error: KsError) -> SlotKeyError {
    match error.class() {
        Class::AuthStop => SlotKeyError::PinRefused(error.to_string()),
        Class::Busy | Class::NotFound | Class::OutcomeUnknown | Class::RetryOther | Class::RetrySame | Class::SessionLost | Class::TokenLost => {
            SlotKeyError::Absent(error.to_string())
        }
        Class::BadInput(_) | Class::Corrupt | Class::Denied | Class::Unsupported => SlotKeyError::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seal of a version that knew labels only is read as ever, and a URI is kept as it was given.
    #[test]
    fn tokens_are_named_by_label_or_uri() {
        let pin = PinSource::Credential("pin".into());
        let uri = TokenName::Uri { token_uri: "pkcs11:token=prod;serial=7".into() };
        for token in [TokenName::Label { token_label: "prod".into() }, uri] {
            let locator = TokenLocator { module: "/m.so".into(), token: token.clone(), pin: pin.clone(), key_id: "00".repeat(16) };
            let again: TokenLocator = serde_json::from_value(locator.to_json()).expect("its own form");
            assert_eq!(again.token, token);
            assert_eq!(again.token.selector().map(|found| found.label).ok(), Some(Some("prod".into())));
        }
        let old = serde_json::json!({ "module": "/m.so", "token_label": "prod", "pin": { "credential": "pin" }, "key_id": "" });
        assert!(serde_json::from_value::<TokenLocator>(old).is_ok());
        assert!(TokenName::Uri { token_uri: "http://x".into() }.selector().is_err());
    }
}
