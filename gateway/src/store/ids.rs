//! Identifiers: distinct types over UUIDs, and row versions.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id (UUIDv7: grows with time, so tables append).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Its 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            /// Takes the hyphenated form only, the one we write: an identifier has one spelling.
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse::<uuid::fmt::Hyphenated>().map(|id| Self(id.into_uuid()))
            }
        }
    };
}

id! {
    /// A managed object; its text form is the KMIP Unique Identifier.
    ObjectId
}
id! {
    /// A tenant. In every row and key from the first migration.
    OrganisationId
}
id! {
    /// An enrolled client.
    ClientId
}
id! {
    /// A keystore.
    KeystoreId
}
id! {
    /// Any row of table `entry`; typed ids convert into it.
    EntryId
}

impl ObjectId {
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}

impl From<ClientId> for EntryId {
    fn from(id: ClientId) -> Self {
        Self(id.0)
    }
}

impl From<OrganisationId> for EntryId {
    fn from(id: OrganisationId) -> Self {
        Self(id.0)
    }
}

impl From<KeystoreId> for EntryId {
    fn from(id: KeystoreId) -> Self {
        Self(id.0)
    }
}

impl OrganisationId {
    /// The organisation a new deployment starts with.
    pub const DEFAULT: Self = Self(Uuid::from_u128(1));
}

/// Version of an object row: 1 when inserted, one more at each change. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// A new row's.
    pub const FIRST: Self = Self(1);

    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
