//! The chain: what a segment's MAC covers.

use crate::seal::MacKey;
use uuid::Uuid;

/// The newest link of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainHead {
    /// Segment sequence number; 0 before the first.
    pub seq: u64,
    /// How many events the chain holds.
    pub events: u64,
    /// MAC of the newest segment; zero before the first.
    pub mac: [u8; 32],
}

/// One row of `audit_segment`, as written.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) seq: u64,
    pub(crate) first_event: u64,
    pub(crate) count: u32,
    pub(crate) at_ms: i64,
    pub(crate) body: Vec<u8>,
    pub(crate) mac: [u8; 32],
}

impl Segment {
    /// The segment that follows `head`.
    pub(crate) fn after(head: &ChainHead, key: &MacKey, store: Uuid, count: u32, at_ms: i64, body: Vec<u8>) -> Self {
        let mut segment = Self { seq: head.seq + 1, first_event: head.events, count, at_ms, body, mac: [0; 32] };
        segment.mac = link(key, store, &head.mac, &segment);
        segment
    }

    pub(crate) fn head(&self) -> ChainHead {
        ChainHead { seq: self.seq, events: self.first_event + u64::from(self.count), mac: self.mac }
    }
}

/// HMAC(audit key, previous MAC | store | seq | first event | count | at | body). All parts but the last have fixed lengths.
pub(crate) fn link(key: &MacKey, store: Uuid, previous: &[u8; 32], segment: &Segment) -> [u8; 32] {
    let mut fixed = [0; 28];
    fixed[..8].copy_from_slice(&segment.seq.to_be_bytes());
    fixed[8..16].copy_from_slice(&segment.first_event.to_be_bytes());
    fixed[16..20].copy_from_slice(&segment.count.to_be_bytes());
    fixed[20..].copy_from_slice(&segment.at_ms.to_be_bytes());
    key.mac(&[previous, store.as_bytes(), &fixed, &segment.body])
}
