//! Broken messages: whatever bytes come, reading them ends, does not panic, and what is accepted is understood.

use std::time::{Duration, Instant};

use crate::samples::{Fill, Maker, read_everything, request_message, seeds};
use crate::ttlv::{DecodeErrorKind, Frame, Limits};
use crate::{ProtocolVersion, Tag};

/// A message cut anywhere is told to be cut short, at its beginning.
#[test]
fn a_message_cut_short_anywhere_is_refused() {
    for version in ProtocolVersion::SUPPORTED {
        let message = request_message(&mut Maker::new(version, Fill::Least, 1));
        for length in 0..message.len() {
            let error = Frame::parse(&message[..length], &Limits::default()).expect_err("cut short");
            let inside = if length < 8 { Tag(0) } else { Tag::REQUEST_MESSAGE };
            assert_eq!((error.kind, error.at), (DecodeErrorKind::Truncated(inside), 0), "{length} bytes");
        }
    }
}

/// The same with the outermost length made to fit, so that an inner item is the one cut.
#[test]
fn an_inner_item_cut_short_is_refused_or_read_whole() {
    for version in ProtocolVersion::SUPPORTED {
        let message = request_message(&mut Maker::new(version, Fill::Some, 1));
        for length in (8..message.len()).step_by(8) {
            let mut cut = message[..length].to_vec();
            cut[4..8].copy_from_slice(&(length as u32 - 8).to_be_bytes());
            read_everything(&cut);
        }
    }
}

/// Every byte of a message of each version, changed in two ways.
#[test]
fn a_changed_byte_anywhere_is_survived() {
    for version in ProtocolVersion::SUPPORTED {
        let message = request_message(&mut Maker::new(version, Fill::Least, 1));
        for at in 0..message.len() {
            for change in [0x01, 0xFF] {
                let mut changed = message.clone();
                changed[at] ^= change;
                read_everything(&changed);
            }
        }
    }
}

/// Ten seconds of random changes to messages and stored forms of every kind. `KEYGATE_FUZZ_SECONDS` lengthens it; the
/// guided search is in `fuzz/`.
#[test]
fn random_changes_are_survived() {
    let seconds = std::env::var("KEYGATE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let corpus = seeds();
    let mut round = 0;
    while Instant::now() < deadline {
        let mutant = mutate(&corpus, round);
        let reporter = Reporter { round, mutant: &mutant };
        read_everything(&mutant);
        std::mem::forget(reporter);
        round += 1;
    }
}

/// Prints what was being read when a test panics.
struct Reporter<'a> {
    round: u64,
    mutant: &'a [u8],
}

impl Drop for Reporter<'_> {
    fn drop(&mut self) {
        eprintln!("round {}: {}", self.round, hex::encode(self.mutant));
    }
}

/// The mutant of a round: the same in every run.
fn mutate(corpus: &[Vec<u8>], round: u64) -> Vec<u8> {
    let mut maker = Maker::new(ProtocolVersion::V2_1, Fill::Some, round);
    let mut bytes = corpus[maker.below(corpus.len())].clone();
    for _ in 0..=maker.below(4) {
        let at = maker.below(bytes.len());
        match maker.below(6) {
            0 => bytes[at] ^= 1 << maker.below(8),
            1 => bytes[at] = maker.number() as u8,
            2 => {
                // Another item type or a small length where a header starts.
                let header = at & !7;
                bytes[header + 3] = maker.below(13) as u8;
            }
            3 => {
                let header = at & !7;
                bytes[header + 7] = maker.below(32) as u8;
            }
            4 => {
                // A tag of some other message.
                let other = &corpus[maker.below(corpus.len())];
                let from = maker.below(other.len()) & !7;
                let header = at & !7;
                bytes[header..header + 3].copy_from_slice(&other[from..from + 3]);
            }
            _ => splice(&mut bytes, &corpus[maker.below(corpus.len())], &mut maker),
        }
    }
    if maker.present() {
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

/// Puts a run of eight-byte words of another message in place of one.
fn splice(bytes: &mut Vec<u8>, other: &[u8], maker: &mut Maker) {
    let words = |maker: &mut Maker, length: usize| {
        let start = maker.below(length / 8) * 8;
        let end = (start + 8 * maker.below(16)).min(length & !7);
        start..end
    };
    let from = words(maker, other.len());
    let to = words(maker, bytes.len());
    let to = to.start.max(8)..to.end.max(8);
    bytes.splice(to, other[from].iter().copied());
}
