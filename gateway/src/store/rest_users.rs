//! Users of the REST key server, and what each may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ClientId, EntryId, OrganisationId};

/// A user of the REST key server, which acts for a client. It can neither use KMIP nor manage users nor change its own password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestUser {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// The client it acts for: the owner of the keys it makes.
    pub client: ClientId,
    /// Unique in the gateway, regardless of case: HTTP Basic sends nothing else.
    pub name: String,
    /// Hash in PHC string format, which names its algorithm and cost.
    pub password_hash: String,
    /// What it may do.
    pub permissions: BTreeSet<RestPermission>,
    /// Refused while true.
    #[serde(default)]
    pub disabled: bool,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

impl std::fmt::Debug for RestUser {
    /// Without the password's hash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RestUser({} {:?})", self.id, self.name)
    }
}

/// One thing that a REST user may do. There is none for KMIP, for managing users or for changing a password: such an account
/// cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RestPermission {
    /// Decrypt.
    #[serde(rename = "crypto:decrypt")]
    CryptoDecrypt,
    /// Encrypt.
    #[serde(rename = "crypto:encrypt")]
    CryptoEncrypt,
    /// Compute and check MACs.
    #[serde(rename = "crypto:mac")]
    CryptoMac,
    /// Take random octets.
    #[serde(rename = "crypto:random")]
    CryptoRandom,
    /// Sign.
    #[serde(rename = "crypto:sign")]
    CryptoSign,
    /// Verify signatures.
    #[serde(rename = "crypto:verify")]
    CryptoVerify,
    /// Make keys.
    #[serde(rename = "keys:create")]
    KeysCreate,
    /// Destroy keys.
    #[serde(rename = "keys:delete")]
    KeysDelete,
    /// Take the material of exportable keys out.
    #[serde(rename = "keys:export")]
    KeysExport,
    /// List keys and see what is known of them, never their material.
    #[serde(rename = "keys:read")]
    KeysRead,
    /// Make a new version of a key.
    #[serde(rename = "keys:rotate")]
    KeysRotate,
    /// Activate and deactivate keys, and mark them compromised.
    #[serde(rename = "keys:state")]
    KeysState,
    /// Change attributes of keys.
    #[serde(rename = "keys:update")]
    KeysUpdate,
    /// Read the record of what the user itself did.
    #[serde(rename = "logs:read")]
    LogsRead,
}

impl RestPermission {
    /// All of them, by name.
    pub const ALL: [Self; 14] = [
        Self::CryptoDecrypt,
        Self::CryptoEncrypt,
        Self::CryptoMac,
        Self::CryptoRandom,
        Self::CryptoSign,
        Self::CryptoVerify,
        Self::KeysCreate,
        Self::KeysDelete,
        Self::KeysExport,
        Self::KeysRead,
        Self::KeysRotate,
        Self::KeysState,
        Self::KeysUpdate,
        Self::LogsRead,
    ];

    /// As it is written and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::CryptoDecrypt => "crypto:decrypt",
            Self::CryptoEncrypt => "crypto:encrypt",
            Self::CryptoMac => "crypto:mac",
            Self::CryptoRandom => "crypto:random",
            Self::CryptoSign => "crypto:sign",
            Self::CryptoVerify => "crypto:verify",
            Self::KeysCreate => "keys:create",
            Self::KeysDelete => "keys:delete",
            Self::KeysExport => "keys:export",
            Self::KeysRead => "keys:read",
            Self::KeysRotate => "keys:rotate",
            Self::KeysState => "keys:state",
            Self::KeysUpdate => "keys:update",
            Self::LogsRead => "logs:read",
        }
    }
}

impl std::fmt::Display for RestPermission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Words that are no [`RestPermission`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no permission {0:?}: a permission is one of {all}", all = RestPermission::ALL.map(RestPermission::name).join(", "))]
pub struct RestPermissionError(String);

impl std::str::FromStr for RestPermission {
    type Err = RestPermissionError;

    fn from_str(text: &str) -> Result<Self, RestPermissionError> {
        Self::ALL.into_iter().find(|permission| permission.name() == text).ok_or_else(|| RestPermissionError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A permission has one spelling, stored and shown; a user's row never prints its password's hash.
    #[test]
    fn permissions_have_one_spelling() {
        for permission in RestPermission::ALL {
            assert_eq!(permission.name().parse(), Ok(permission));
            assert_eq!(serde_json::to_value(permission).expect("a value"), permission.name());
        }
        assert!("keys".parse::<RestPermission>().is_err() && "users:write".parse::<RestPermission>().is_err());
        let user = RestUser {
            id: EntryId::generate(),
            organisation: OrganisationId::DEFAULT,
            client: ClientId::generate(),
            name: "lan".into(),
            password_hash: "$argon2id$".into(),
            permissions: BTreeSet::new(),
            disabled: false,
            created_ms: 0,
        };
        assert!(!format!("{user:?}").contains("argon2id"));
    }
}
