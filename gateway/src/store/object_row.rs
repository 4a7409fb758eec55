//! One row of table `object`: clear columns and the sealed record that authenticates them.

use std::sync::OnceLock;

use aws_lc_rs::digest::{Context, SHA256};

use super::{ClientId, KeystoreId, ObjectId, OrganisationId, Version};
use crate::seal::{Binding, IndexToken, Keyring, NameToken, RecordError, RecordKind, SealedRecord, SecretBytes};

/// Where a key lives (design.md, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Custody {
    /// Sealed record in our store.
    Envelope = 1,
    /// Never leaves the HSM; the sealed record holds its stable reference.
    InBackend = 2,
    /// Lives in a remote key server, which hands it out when asked.
    Reference = 3,
}

impl Custody {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Envelope, Self::InBackend, Self::Reference].into_iter().find(|custody| *custody as u8 == code)
    }
}

/// The clear columns. `state` and `object_type` are the KMIP enumeration values; the store looks into none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectColumns {
    /// Unique Identifier.
    pub id: ObjectId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Owner.
    pub owner: ClientId,
    /// Version of this row.
    pub version: Version,
    /// KMIP State (0 for objects without one).
    pub state: u32,
    /// KMIP Object Type.
    pub object_type: u32,
    /// Keystore.
    pub keystore: KeystoreId,
    /// Custody.
    pub custody: Custody,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Attributes in clear, as rows of versions before 0.1 were published have them; empty since they are part of the sealed record.
    pub attributes: Vec<u8>,
    /// The complete set of index tokens, one per indexed attribute value. Sorted and deduplicated by [`ObjectRow::seal`].
    pub index: Vec<IndexToken>,
    /// The complete set of name tokens.
    pub names: Vec<NameToken>,
}

/// A row as stored. It comes from [`ObjectRow::seal`] or from the database; in the latter case nothing in it is trusted before
/// [`ObjectRow::open`] has succeeded.
#[derive(Clone, Debug)]
pub struct ObjectRow {
    columns: ObjectColumns,
    sealed: SealedRecord,
    /// Of the columns, which do not change any more: computed when first asked for.
    digest: OnceLock<[u8; 32]>,
}

impl PartialEq for ObjectRow {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns && self.sealed == other.sealed
    }
}

impl Eq for ObjectRow {}

impl ObjectRow {
    /// Seals `material` (empty for objects without any) with the columns as its binding.
    pub fn seal(keyring: &Keyring, mut columns: ObjectColumns, material: &[u8]) -> Self {
        columns.index.sort_unstable();
        columns.index.dedup();
        columns.names.sort_unstable();
        columns.names.dedup();
        let digest = columns.digest();
        let sealed = keyring.seal(&columns.binding(digest), material);
        Self { columns, sealed, digest: digest.into() }
    }

    /// Opens the material; proves at the same time that no clear column was altered and the row was not moved.
    pub fn open(&self, keyring: &Keyring) -> Result<SecretBytes, RecordError> {
        let digest = *self.digest.get_or_init(|| self.columns.digest());
        keyring.open_record(&self.columns.binding(digest), &self.sealed)
    }

    pub(crate) fn from_stored(columns: ObjectColumns, sealed: SealedRecord) -> Self {
        Self { columns, sealed, digest: OnceLock::new() }
    }

    /// The clear columns.
    pub fn columns(&self) -> &ObjectColumns {
        &self.columns
    }

    /// The sealed record.
    pub fn sealed(&self) -> &SealedRecord {
        &self.sealed
    }

    /// Bytes it takes in a cache.
    pub(crate) fn weight(&self) -> u64 {
        let tokens = 16 * (self.columns.index.len() + self.columns.names.len());
        (self.columns.attributes.len() + self.sealed.as_bytes().len() + tokens + 360) as u64
    }
}

impl std::ops::Deref for ObjectRow {
    type Target = ObjectColumns;

    fn deref(&self) -> &ObjectColumns {
        &self.columns
    }
}

impl ObjectColumns {
    fn binding(&self, digest: [u8; 32]) -> Binding {
        Binding { kind: RecordKind::Object, id: *self.id.as_bytes(), version: self.version.0, digest }
    }

    /// SHA-256 over all columns: fixed lengths first, then each variable part with its length in front.
    fn digest(&self) -> [u8; 32] {
        let mut fixed = [0; 105];
        fixed[..16].copy_from_slice(self.id.as_bytes());
        fixed[16..32].copy_from_slice(self.organisation.as_bytes());
        fixed[32..48].copy_from_slice(self.owner.as_bytes());
        fixed[48..56].copy_from_slice(&self.version.0.to_be_bytes());
        fixed[56..60].copy_from_slice(&self.state.to_be_bytes());
        fixed[60..64].copy_from_slice(&self.object_type.to_be_bytes());
        fixed[64..80].copy_from_slice(self.keystore.as_bytes());
        fixed[80] = self.custody as u8;
        fixed[81..89].copy_from_slice(&self.created_ms.to_be_bytes());
        fixed[89..97].copy_from_slice(&(self.attributes.len() as u64).to_be_bytes());
        fixed[97..].copy_from_slice(&(self.index.len() as u64).to_be_bytes());
        let mut context = Context::new(&SHA256);
        context.update(&fixed);
        context.update(&self.attributes);
        for IndexToken(token) in &self.index {
            context.update(token);
        }
        for NameToken(token) in &self.names {
            context.update(token);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// Index tokens, then name tokens, as stored in one column: count of the former in front.
    pub(crate) fn tokens_to_blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(4 + 16 * (self.index.len() + self.names.len()));
        blob.extend_from_slice(&(self.index.len() as u32).to_be_bytes());
        self.index.iter().for_each(|IndexToken(token)| blob.extend_from_slice(token));
        self.names.iter().for_each(|NameToken(token)| blob.extend_from_slice(token));
        blob
    }
}

/// Undoes [`ObjectColumns::tokens_to_blob`].
pub(crate) fn tokens_from_blob(blob: &[u8]) -> Option<(Vec<IndexToken>, Vec<NameToken>)> {
    let (count, tokens) = blob.split_first_chunk::<4>()?;
    let (tokens, rest) = tokens.as_chunks::<16>();
    let (index, names) = tokens.split_at_checked(u32::from_be_bytes(*count) as usize)?;
    rest.is_empty()
        .then(|| (index.iter().copied().map(IndexToken).collect(), names.iter().copied().map(NameToken).collect()))
}
