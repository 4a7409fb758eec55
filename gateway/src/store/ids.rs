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

    /// Whether it is of the kind we make, and was made before `now_ms` (milliseconds since 1970): others would stand before all that
    /// come later.
    pub(crate) fn is_of_the_past(self, now_ms: i64) -> bool {
        // RFC 9562 §5.7: the first 48 bits of a version 7 are milliseconds since 1970.
        let made_ms = self.0.as_u128() >> 80;
        self.0.get_version_num() == 7 && u128::try_from(now_ms).is_ok_and(|now_ms| made_ms <= now_ms)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An identifier that is kept is one that a gateway may have made: not of the future, not of another kind.
    #[test]
    fn identifiers_of_the_past() {
        let now = ObjectId::generate();
        let now_ms = (now.0.as_u128() >> 80) as i64;
        assert!(now.is_of_the_past(now_ms) && !now.is_of_the_past(now_ms - 1));
        assert!(!ObjectId(Uuid::nil()).is_of_the_past(now_ms) && !ObjectId(Uuid::max()).is_of_the_past(i64::MAX));
    }
}
