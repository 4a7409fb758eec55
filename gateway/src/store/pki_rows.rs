//! Rows of certificate provisioning: organisations, the service, provisioning keys, authorities, administrators, last CRLs.
//!
//! Plain data in stored form; what a state means is the provisioning module's business. Times are seconds since 1970 unless a
//! field's name says milliseconds.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_backends::KeyRef;
use keygate_pki::Certificate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::issued::Revocation;
use super::{EntryId, KeystoreId, OrganisationId};
use crate::seal::SecretText;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// Its id.
    pub id: OrganisationId,
    /// Unique in the store; in addresses of the trust bundle.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// Whether an organisation enrols clients; one row each. Absent: never enabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningService {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// On or off.
    pub enabled: bool,
    /// Since when.
    pub since: i64,
    /// The administrator's reason.
    pub reason: String,
}

/// A state of a provisioning key, as `keygate_pki::provisioning::KeyState::from_stored` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKeyState {
    /// `active`, `suspended` or `revoked`.
    pub name: String,
    /// Since when.
    pub since: i64,
    /// The administrator's reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// RFC 5280 CRLReason code that relying parties are told.
    #[serde(default)]
    pub told: Option<u8>,
}

/// A provisioning key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningKey {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// The public id that clients present; unique in the store.
    pub key_id: String,
    /// Unique in the organisation without regard to case.
    pub name: String,
    /// Its own state, whatever the service's is.
    pub state: StoredKeyState,
    /// The secret, for protocols that compute with it.
    pub secret: SecretText,
    /// Hash of the secret, in hexadecimal.
    pub secret_hash: String,
    /// When the secret stops to work.
    #[serde(default)]
    pub expires: Option<i64>,
    /// How many enrolments there may be.
    #[serde(default)]
    pub uses_max: Option<u64>,
    /// Where clients may enrol from; empty: anywhere.
    #[serde(default)]
    pub sources: String,
    /// Names that may be enrolled; `None`: any.
    #[serde(default)]
    pub names: Option<String>,
    /// Days of validity of its clients' certificates.
    pub days: u32,
    /// The key that renews its clients.
    #[serde(default)]
    pub successor: Option<EntryId>,
    /// Enrolments whose certificates were cleared away since.
    #[serde(default)]
    pub uses_cleared: u64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

impl std::fmt::Debug for ProvisioningKey {
    /// Without the secret and its hash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProvisioningKey({} {:?} {})", self.key_id, self.name, self.state.name)
    }
}

/// A tier of authorities, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the tiers of keygate_pki::Tier")]
pub enum StoredTier {
    Root,
    Organisation,
    Key,
}

/// Where the rotation of an authority's key stands, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
#[expect(missing_docs, reason = "the states of keygate_pki::rotation")]
pub enum StoredGeneration {
    Initialised,
    Published { since: i64 },
    Active { since: i64 },
    Retired { since: i64, until: i64 },
}

/// Where an authority's private key is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityKey {
    /// Here: PKCS#8 in base64.
    Local(SecretText),
    /// In a keystore, which never lets it out.
    Keystore {
        /// Which.
        keystore: KeystoreId,
        /// The stable reference of the private key there.
        key: KeyRef,
        /// SubjectPublicKeyInfo, DER in base64.
        public_key: String,
    },
    /// With whoever keeps the root away from the network.
    Outside,
    /// Destroyed.
    Destroyed,
}

/// A certificate of an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityCertificate {
    /// The certificate, DER.
    pub der: Blob,
    /// The authority that signed it, if it is ours; itself for a root.
    pub issuer: Option<EntryId>,
}

/// The key and certificate that answer OCSP for an authority whose own key is destroyed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastResponder {
    /// PKCS#8 in base64.
    pub key: SecretText,
    /// The certificate, DER.
    pub certificate: Blob,
}

/// One generation of an issuer: a key, and every certificate ever made for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its id; its simple form is in the addresses of its CRLs.
    pub id: EntryId,
    /// Tenant; the root's is the default one.
    pub organisation: OrganisationId,
    /// Tier.
    pub tier: StoredTier,
    /// The provisioning key it issues for, of the lowest tier.
    #[serde(default)]
    pub provisioning_key: Option<EntryId>,
    /// Counts from 1 within (organisation, tier, provisioning key).
    pub generation: u32,
    /// Its signature algorithm's name.
    pub algorithm: String,
    /// Where its rotation stands.
    pub stage: StoredGeneration,
    /// Its private key.
    pub key: AuthorityKey,
    /// All certificates of the key, oldest first: whoever revokes the key lists them all.
    pub certificates: Vec<AuthorityCertificate>,
    /// The public address baked into the newest certificate.
    pub public_url: String,
    /// Public addresses baked into certificates before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_urls: Vec<EarlierUrl>,
    /// Certificate and key came from elsewhere.
    #[serde(default)]
    pub imported: bool,
    /// Its certificates are on the lists of those that signed them, whatever else is so.
    #[serde(default)]
    pub revoked: Option<Revocation>,
    /// Set when the key was destroyed.
    #[serde(default)]
    pub last_responder: Option<LastResponder>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// A public address that is no longer ours to name, but that certificates still do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierUrl {
    /// The address.
    pub url: String,
    /// When the last certificate that names it ends, seconds since 1970.
    pub until: i64,
}

impl std::fmt::Debug for Authority {
    /// Without its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({} {:?} G{})", self.id, self.tier, self.generation)
    }
}

/// What an administrator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Sees.
    #[serde(rename = "security:read")]
    SecurityRead,
    /// Acts.
    #[serde(rename = "security:write")]
    SecurityWrite,
}

impl Role {
    /// `security:read` or `security:write`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecurityRead => "security:read",
            Self::SecurityWrite => "security:write",
        }
    }
}

/// A certificate that an administrator is recognised by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminCertificate {
    /// SHA-256 of its DER.
    pub sha256: [u8; 32],
    /// Serial number, hexadecimal.
    pub serial: String,
    /// notBefore.
    pub not_before: i64,
    /// notAfter.
    pub not_after: i64,
}

impl AdminCertificate {
    /// What is kept of a certificate.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            sha256: certificate.fingerprint().0,
            serial: hex::encode(certificate.serial()),
            not_before: certificate.not_before().unix_timestamp(),
            not_after: certificate.not_after().unix_timestamp(),
        }
    }
}

/// A security administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    /// Its id.
    pub id: EntryId,
    /// Tenant. Administrators of the default one see all.
    pub organisation: OrganisationId,
    /// Unique in the store.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Refused everything while true.
    pub disabled: bool,
    /// What it is recognised by.
    pub certificates: Vec<AdminCertificate>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

impl Admin {
    /// Whether it may act.
    pub fn acts(&self) -> bool {
        self.role == Role::SecurityWrite && !self.disabled
    }
}

/// The last CRL of a key that is destroyed: it cannot be signed again, so it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCrl {
    /// Its id.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Whose.
    pub authority: EntryId,
    /// Of which shard; of all certificates where `None`.
    pub shard: Option<u32>,
    /// Its number.
    pub number: u64,
    /// nextUpdate.
    pub next_update: i64,
    /// The CRL, DER.
    pub der: Blob,
}

/// Octets that are shared, not copied, in memory, and stand as base64 in a row.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Arc<[u8]>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(|bytes| Self(bytes.into())).map_err(D::Error::custom)
    }
}
