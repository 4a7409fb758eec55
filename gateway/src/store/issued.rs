//! Certificates that provisioning keys enrolled: the row, and what of all rows is kept in memory.
//!
//! There are hundreds of thousands of them, so unlike other entries they are not kept open: [`IssuedIndex`] holds what each
//! handshake, OCSP request and issue needs, some 160 bytes a certificate, and the row is read when somebody wants to see it.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use keygate_pki::{Reason, SHARD_SERIALS_MAX};
use serde::{Deserialize, Serialize};

use super::lives::Lives;
use super::pki_rows::Blob;
use super::{ClientId, EntryId, OrganisationId};

/// Longest serial number we give out, octets.
pub(crate) const SERIAL_BYTES_MAX: usize = 20;

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Seconds since 1970.
    pub at: i64,
    /// RFC 5280 CRLReason code.
    pub reason: u8,
}

/// A serial number, octets without leading zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial {
    len: u8,
    octets: [u8; SERIAL_BYTES_MAX],
}

impl Serial {
    /// Takes up to 20 octets; leading zeros do not count.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let first = octets.iter().position(|octet| *octet != 0)?;
        let octets = octets.get(first..).filter(|octets| octets.len() <= SERIAL_BYTES_MAX)?;
        let mut serial = Self { len: octets.len() as u8, octets: [0; SERIAL_BYTES_MAX] };
        serial.octets[..octets.len()].copy_from_slice(octets);
        Some(serial)
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl std::fmt::Debug for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Serial {
    type Err = SerialError;

    /// Hexadecimal digits, with or without colons between octets.
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let plain: String = text.chars().filter(|c| *c != ':').collect();
        let octets = hex::decode(plain).map_err(|_| SerialError)?;
        Self::new(&octets).ok_or(SerialError)
    }
}

impl Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is 1 to 20 octets in hexadecimal")]
pub struct SerialError;

/// A certificate that was issued with a provisioning key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// Its id; grows with time.
    pub id: EntryId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// The client: all renewals of one enrolment have the same.
    pub client: ClientId,
    /// The provisioning key.
    pub key: EntryId,
    /// The authority that signed it.
    pub authority: EntryId,
    /// Which shard of the authority's CRLs it is in.
    pub shard: u32,
    /// Serial number; unique in the store.
    pub serial: Serial,
    /// SHA-256 of the DER.
    pub sha256: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub public_key_sha256: [u8; 32],
    /// notBefore, seconds since 1970.
    pub not_before: i64,
    /// notAfter, seconds since 1970.
    pub not_after: i64,
    /// The certificate it renews; `None`: enrolled with the secret.
    #[serde(default)]
    pub renews: Option<EntryId>,
    /// From which address it was asked for.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// Set once it is revoked.
    #[serde(default)]
    pub revoked: Option<Revocation>,
    /// The certificate, DER.
    pub der: Blob,
}

/// What is kept in memory of one certificate.
#[derive(Clone, Debug)]
pub struct IssuedFacts {
    /// See [`IssuedCertificate`].
    pub id: EntryId,
    /// Version of the row: the commit that wrote it.
    pub version: u64,
    /// See [`IssuedCertificate`].
    pub client: ClientId,
    /// See [`IssuedCertificate`].
    pub serial: Serial,
    /// See [`IssuedCertificate`].
    pub sha256: [u8; 32],
    /// First half of the SHA-256 of the SubjectPublicKeyInfo.
    pub public_key: [u8; 16],
    /// See [`IssuedCertificate`].
    pub not_before: i64,
    /// See [`IssuedCertificate`].
    pub not_after: i64,
    /// See [`IssuedCertificate`].
    pub revoked: Option<Revocation>,
    /// See [`IssuedCertificate`].
    pub shard: u32,
    /// Whether it was enrolled with the secret, not renewed.
    pub enrolled: bool,
    issuer: u32,
}

impl IssuedFacts {
    fn serial_hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(self.serial)
    }

    fn key_hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(self.public_key)
    }

    fn client_hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(self.client)
    }
}

/// Facts of one authority's certificates.
#[derive(Clone, Debug)]
struct Issuer {
    organisation: OrganisationId,
    key: EntryId,
    authority: EntryId,
    /// Certificates ever put in, purged ones too.
    issued: u64,
    /// Revoked ones by shard.
    revoked: BTreeMap<u32, Vec<u32>>,
}

/// All certificates, by serial number, by public key and by client.
#[derive(Default)]
pub struct IssuedIndex {
    chunks: Vec<Vec<IssuedFacts>>,
    /// Places of certificates that were removed.
    free: Vec<u32>,
    count: usize,
    by_serial: HashTable<u32>,
    by_public_key: HashTable<u32>,
    by_client: HashTable<u32>,
    issuers: Vec<Issuer>,
    issuer_of: HashMap<EntryId, u32>,
    enrolled: HashMap<EntryId, u64>,
    /// Of each provisioning key, when its certificates end that are not revoked.
    lives: HashMap<EntryId, Lives>,
    of_organisation: HashMap<OrganisationId, u64>,
    hasher: RandomState,
}

/// Grows by this many, so that a full index is never copied.
const CHUNK: usize = 4096;

impl IssuedIndex {
    /// How many certificates.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A certificate by its serial number.
    pub fn by_serial(&self, serial: &Serial) -> Option<&IssuedFacts> {
        self.place_of(serial).map(|place| self.at(place))
    }

    /// A client, other than `than`, that a key is certified for.
    pub fn other_client(&self, public_key_sha256: &[u8; 32], than: Option<ClientId>) -> Option<ClientId> {
        let half = half(public_key_sha256);
        let hash = self.hasher.hash_one(half);
        let mut clients = self.by_public_key.iter_hash(hash).map(|place| self.at(*place)).filter(|facts| facts.public_key == half);
        clients.find(|facts| Some(facts.client) != than).map(|facts| facts.client)
    }

    /// The newest certificate of a public key.
    pub fn by_public_key(&self, public_key_sha256: &[u8; 32]) -> Option<&IssuedFacts> {
        let half = half(public_key_sha256);
        let places = self.by_public_key.iter_hash(self.hasher.hash_one(half));
        places.map(|place| self.at(*place)).filter(|facts| facts.public_key == half).max_by_key(|facts| facts.id)
    }

    /// The provisioning key and authority of a certificate.
    pub fn issuer(&self, facts: &IssuedFacts) -> (OrganisationId, EntryId, EntryId) {
        let issuer = &self.issuers[facts.issuer as usize];
        (issuer.organisation, issuer.key, issuer.authority)
    }

    /// How many clients were enrolled with a provisioning key.
    pub fn enrolled(&self, key: EntryId) -> u64 {
        self.enrolled.get(&key).copied().unwrap_or_default()
    }

    /// How many certificates of a provisioning key are valid at `now`, seconds since 1970: not revoked, not expired.
    pub fn valid_of_key(&self, key: EntryId, now: i64) -> u64 {
        self.lives.get(&key).map_or(0, |lives| lives.valid(now))
    }

    /// How many certificates of an organisation there are.
    pub fn of_organisation(&self, organisation: OrganisationId) -> u64 {
        self.of_organisation.get(&organisation).copied().unwrap_or_default()
    }

    /// Certificates of a client.
    pub fn of_client(&self, client: ClientId) -> impl Iterator<Item = &IssuedFacts> {
        let places = self.by_client.iter_hash(self.hasher.hash_one(client));
        places.map(|place| self.at(*place)).filter(move |facts| facts.client == client)
    }

    /// Whether a client was revoked, not one of its certificates alone: nothing is issued for it any more.
    pub fn is_client_revoked(&self, client: ClientId) -> bool {
        let superseded = Reason::Superseded.code();
        self.of_client(client).filter_map(|facts| facts.revoked).any(|by| by.reason != superseded)
    }

    /// How many certificates of a client are valid at `now`, seconds since 1970: not revoked, not expired.
    pub fn valid_of_client(&self, client: ClientId, now: i64) -> usize {
        let places = self.by_client.iter_hash(self.hasher.hash_one(client));
        let valid = |facts: &&IssuedFacts| facts.client == client && facts.revoked.is_none() && now <= facts.not_after;
        places.map(|place| self.at(*place)).filter(valid).count()
    }

    /// How many certificates an authority has issued; after a restart at least as many as its fullest shard says.
    pub fn issued_by(&self, authority: EntryId) -> u64 {
        self.issuer_of.get(&authority).map_or(0, |issuer| self.issuers[*issuer as usize].issued)
    }

    /// Revoked certificates of an authority, shard by shard.
    pub fn revoked_of(&self, authority: EntryId) -> impl Iterator<Item = &IssuedFacts> {
        let issuer = self.issuer_of.get(&authority).map(|issuer| &self.issuers[*issuer as usize]);
        issuer.into_iter().flat_map(|issuer| issuer.revoked.values()).flatten().map(|place| self.at(*place))
    }

    /// Revoked certificates of an authority in one shard, in the order in which they were revoked.
    pub fn revoked_in(&self, authority: EntryId, shard: u32) -> impl Iterator<Item = &IssuedFacts> {
        let issuer = self.issuer_of.get(&authority).map(|issuer| &self.issuers[*issuer as usize]);
        let places = issuer.and_then(|issuer| issuer.revoked.get(&shard));
        places.into_iter().flatten().map(|place| self.at(*place))
    }

    /// All certificates, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &IssuedFacts> {
        // A place that is free holds a certificate that is in no table.
        self.by_serial.iter().map(|place| self.at(*place))
    }

    /// Puts a certificate in, or replaces what is known of it.
    pub(crate) fn put(&mut self, certificate: &IssuedCertificate, version: u64) {
        let issuer = self.issuer_number(certificate);
        let facts = IssuedFacts {
            id: certificate.id,
            version,
            client: certificate.client,
            serial: certificate.serial,
            sha256: certificate.sha256,
            public_key: half(&certificate.public_key_sha256),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            revoked: certificate.revoked,
            shard: certificate.shard,
            enrolled: certificate.renews.is_none(),
            issuer,
        };
        if let Some(place) = self.place_of(&certificate.serial) {
            let newly = self.at(place).revoked.is_none() && facts.revoked.is_some();
            self.no_longer_lives(place);
            self.lives_now(&facts);
            self.chunks[place as usize / CHUNK][place as usize % CHUNK] = facts;
            if newly {
                self.issuers[issuer as usize].revoked.entry(certificate.shard).or_default().push(place);
            }
            return;
        }
        // Rows of lower shards may have been cleared away before this start: a certificate in a shard says how many there were.
        let counted = &mut self.issuers[issuer as usize];
        counted.issued = (counted.issued + 1).max(u64::from(certificate.shard) * SHARD_SERIALS_MAX as u64 + 1);
        if facts.enrolled {
            *self.enrolled.entry(certificate.key).or_default() += 1;
        }
        *self.of_organisation.entry(certificate.organisation).or_default() += 1;
        self.lives_now(&facts);
        let place = self.place(facts);
        self.link(place);
    }

    /// Takes a certificate out: nobody asks for it any more. How many the authority issued stays until the next start.
    pub(crate) fn remove(&mut self, serial: &Serial) {
        let Some(place) = self.place_of(serial) else { return };
        self.no_longer_lives(place);
        let facts = self.at(place);
        let (issuer, enrolled, shard) = (facts.issuer, facts.enrolled, facts.shard);
        let hashes = [facts.serial_hash(&self.hasher), facts.key_hash(&self.hasher), facts.client_hash(&self.hasher)];
        for (table, hash) in [&mut self.by_serial, &mut self.by_public_key, &mut self.by_client].into_iter().zip(hashes) {
            if let Ok(entry) = table.find_entry(hash, |found| *found == place) {
                entry.remove();
            }
        }
        let issuer = &mut self.issuers[issuer as usize];
        if let Some(count) = self.of_organisation.get_mut(&issuer.organisation) {
            *count = count.saturating_sub(1);
        }
        if let Some(revoked) = issuer.revoked.get_mut(&shard) {
            revoked.retain(|revoked| *revoked != place);
        }
        if enrolled && let Some(count) = self.enrolled.get_mut(&issuer.key) {
            *count = count.saturating_sub(1);
        }
        self.free.push(place);
        self.count -= 1;
    }

    fn lives_now(&mut self, facts: &IssuedFacts) {
        if facts.revoked.is_none() {
            let key = self.issuers[facts.issuer as usize].key;
            self.lives.entry(key).or_default().add(facts.not_after);
        }
    }

    fn no_longer_lives(&mut self, place: u32) {
        let facts = &self.chunks[place as usize / CHUNK][place as usize % CHUNK];
        let key = self.issuers[facts.issuer as usize].key;
        if facts.revoked.is_none() && let Some(lives) = self.lives.get_mut(&key) {
            lives.take(facts.not_after);
        }
    }

    fn issuer_number(&mut self, certificate: &IssuedCertificate) -> u32 {
        let issuers = &mut self.issuers;
        *self.issuer_of.entry(certificate.authority).or_insert_with(|| {
            let (organisation, key, authority) = (certificate.organisation, certificate.key, certificate.authority);
            issuers.push(Issuer { organisation, key, authority, issued: 0, revoked: BTreeMap::new() });
            issuers.len() as u32 - 1
        })
    }

    fn place(&mut self, facts: IssuedFacts) -> u32 {
        self.count += 1;
        if let Some(place) = self.free.pop() {
            self.chunks[place as usize / CHUNK][place as usize % CHUNK] = facts;
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let full = (self.chunks.len() - 1) * CHUNK;
        self.chunks.last_mut().map_or(0, |chunk| {
            chunk.push(facts);
            (full + chunk.len() - 1) as u32
        })
    }

    fn link(&mut self, place: u32) {
        let Self { chunks, by_serial, by_public_key, by_client, hasher, issuers, .. } = self;
        let at = |place: u32| &chunks[place as usize / CHUNK][place as usize % CHUNK];
        let facts = at(place);
        by_serial.insert_unique(facts.serial_hash(hasher), place, |place| at(*place).serial_hash(hasher));
        by_public_key.insert_unique(facts.key_hash(hasher), place, |place| at(*place).key_hash(hasher));
        by_client.insert_unique(facts.client_hash(hasher), place, |place| at(*place).client_hash(hasher));
        if facts.revoked.is_some() {
            issuers[facts.issuer as usize].revoked.entry(facts.shard).or_default().push(place);
        }
    }

    fn place_of(&self, serial: &Serial) -> Option<u32> {
        self.by_serial.find(self.hasher.hash_one(serial), |place| self.at(*place).serial == *serial).copied()
    }

    fn at(&self, place: u32) -> &IssuedFacts {
        &self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }
}

fn half(sha256: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&sha256[..16]);
    half
}
