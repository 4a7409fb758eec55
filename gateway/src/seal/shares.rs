//! Shamir's sharing of a slot's secret among officers: any `threshold` of the shares give it, fewer say nothing about it.
//!
//! The sharing itself is the crate `blahaj` (GF(256), octet by octet). It cannot tell an altered share, so what shares give is
//! compared with the slot's commitment before it is used. Left to others: the text of a share (`share_text`), to whom a share
//! is encrypted (`officers`), how many are given at a time (`unlocking`).
//!
//! Known limit: the multiplication tables of `blahaj` are looked up by secret octets, for a moment, on the machine that holds the
//! result anyway.

use std::sync::Arc;

use blahaj::Sharks;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    SecretBytes, SecretPage,
    record::fill_page,
    share_text::{SHARES_MAX, ShareText, ShareTextError},
};

/// How a secret is shared: `threshold` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    threshold: u8,
    count: u8,
}

impl Sharing {
    /// `threshold` of `count` shares; `None` unless 2 <= `threshold` <= `count` <= 16.
    pub fn new(threshold: u8, count: u8) -> Option<Self> {
        (2 <= threshold && threshold <= count && count <= SHARES_MAX).then_some(Self { threshold, count })
    }

    /// How many shares open the slot.
    pub fn threshold(self) -> u8 {
        self.threshold
    }

    /// How many shares there are.
    pub fn count(self) -> u8 {
        self.count
    }
}

/// A share, as it is kept until enough are there: in a secret page.
#[derive(Clone)]
pub struct Share {
    store: [u8; 4],
    slot: [u8; 4],
    number: u8,
    threshold: u8,
    part: Arc<SecretPage>,
}

/// Why a share is not taken. Nothing of the share is in the text but its number.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It is no share, or mistyped.
    #[error("this is no share: {0}")]
    Text(#[from] ShareTextError),
    /// Made for another store.
    #[error("share {number} belongs to another store")]
    OtherStore {
        /// Its number.
        number: u8,
    },
    /// Made for a slot this store has not.
    #[error("share {number} belongs to a seal slot that this store does not have (any more)")]
    OtherSlot {
        /// Its number.
        number: u8,
    },
    /// Given twice.
    #[error("share {number} was given already")]
    Repeated {
        /// Its number.
        number: u8,
    },
    /// Given twice, and not the same.
    #[error(
        "share {number} was given already with other contents: one of the two is altered\nhint: `keygate unseal --reset`, then begin again"
    )]
    Conflicting {
        /// Its number.
        number: u8,
    },
    /// Its fields are not those of the slot.
    #[error("share {number} is altered: its seal slot was not shared like that")]
    Altered {
        /// Its number.
        number: u8,
    },
    /// Enough shares, and the secret is not the slot's.
    #[error("these shares do not belong together: at least one is altered\nhint: give a further share, or begin again with others")]
    NotTogether,
    /// The system has no page of memory.
    #[error("cannot map a memory page for the share")]
    Page(#[source] std::io::Error),
}

impl Share {
    /// Reads a share as typed.
    ///
    /// # Errors
    /// It is no share, or mistyped; or there is no page for it.
    pub fn read(text: &str) -> Result<Self, ShareError> {
        let text = ShareText::parse(text)?;
        let part = Arc::new(fill_page(&*text.part).map_err(ShareError::Page)?);
        Ok(Self { store: text.store, slot: text.slot, number: text.number, threshold: text.threshold, part })
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    pub(super) fn is_of_store(&self, store: Uuid) -> bool {
        self.store == tag(store)
    }

    pub(super) fn is_of_slot(&self, slot: Uuid) -> bool {
        self.slot == tag(slot)
    }

    pub(super) fn fits(&self, sharing: Sharing) -> bool {
        self.threshold == sharing.threshold && self.number <= sharing.count
    }

    pub(super) fn same_part(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.part(), other.part()).is_ok()
    }

    fn part(&self) -> &[u8] {
        &self.part.expose()[..32]
    }

    /// Number and part, as `blahaj` takes them.
    fn point(&self) -> Option<blahaj::Share> {
        let mut octets = Zeroizing::new([0; 33]);
        octets[0] = self.number;
        octets[1..].copy_from_slice(self.part());
        blahaj::Share::try_from(&octets[..]).ok()
    }
}

/// Shares `secret` (32 octets): the texts, by number.
pub(super) fn split(store: Uuid, slot: Uuid, secret: &[u8], sharing: Sharing) -> Vec<Zeroizing<String>> {
    let dealer = Sharks(sharing.threshold).dealer(secret);
    let numbered = dealer.take(usize::from(sharing.count)).map(|share| Zeroizing::new(Vec::<u8>::from(&share)));
    let text = |point: Zeroizing<Vec<u8>>| {
        let mut part = Zeroizing::new([0; 32]);
        part.copy_from_slice(&point[1..33]);
        ShareText { store: tag(store), slot: tag(slot), number: point[0], threshold: sharing.threshold, part }.write()
    };
    numbered.map(text).collect()
}

/// The secret, from any `threshold` of the shares for which `is_it` says so. With more shares than needed an altered one does no
/// harm: others are tried. At most 2^16 choices, for there are at most 16 shares.
pub(super) fn join(shares: &[&Share], threshold: u8, is_it: impl Fn(&[u8]) -> bool) -> Option<SecretBytes> {
    let points: Vec<blahaj::Share> = shares.iter().take(usize::from(SHARES_MAX)).filter_map(|share| share.point()).collect();
    let choices = (0..1u32 << points.len()).filter(|choice| choice.count_ones() == u32::from(threshold));
    for choice in choices {
        let chosen = points.iter().enumerate().filter(|(place, _)| choice & (1 << place) != 0).map(|(_, point)| point);
        let Ok(secret) = Sharks(threshold).recover(chosen).map(Zeroizing::new) else { continue };
        if is_it(&secret) {
            return Some(SecretBytes::copy_from(&secret));
        }
    }
    None
}

/// What a share says of an id: its last four octets, which are random in a UUIDv7 (RFC 9562 section 5.7, `rand_b`).
fn tag(id: Uuid) -> [u8; 4] {
    let bytes = id.into_bytes();
    [bytes[12], bytes[13], bytes[14], bytes[15]]
}
