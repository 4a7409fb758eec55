//! The verifier: walks the chain once and says what was done to it.
//!
//! How the cases are told apart: a row edited in place breaks its own link only, because the next link starts from the stored
//! MAC; a removed row leaves a gap in the sequence; rows written again under another key break every link from there to the end
//! and the newest MAC is not the one noted elsewhere; a chain cut short ends before a noted head.

use serde::Serialize;
use uuid::Uuid;

use super::{ChainHead, Heads, Segment, link};
use crate::seal::MacKey;

/// What the verifier found, oldest first within each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
pub enum Finding {
    /// The segment's content does not fit its MAC.
    Edited {
        /// Which segment.
        seq: u64,
    },
    /// Segments are missing.
    Removed {
        /// First missing one.
        first: u64,
        /// Last missing one.
        last: u64,
    },
    /// The links of these segments were made again without our key.
    Rechained {
        /// First such segment.
        first: u64,
        /// Last such segment.
        last: u64,
    },
    /// Segments are missing and those behind the gap were numbered down to hide it.
    Renumbered {
        /// First missing one.
        first: u64,
        /// By how much those behind it were numbered down.
        by: u64,
    },
    /// The chain ends before a head that was noted outside it.
    CutShort {
        /// Newest segment found.
        last: u64,
        /// Newest segment noted.
        noted: u64,
        /// Where it was noted.
        noted_in: &'static str,
    },
    /// A head noted outside names another MAC for this segment.
    HeadDiffers {
        /// Which segment.
        seq: u64,
        /// Where it was noted.
        noted_in: &'static str,
    },
    /// A line of `D/audit/heads` was edited, or torn by a crash.
    HeadsLine {
        /// Line number from 0.
        line: usize,
    },
}

/// The verifier's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Segments read.
    pub segments: u64,
    /// Events in them.
    pub events: u64,
    /// What is wrong; empty when the chain holds.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether the chain holds.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edited { seq } => write!(f, "segment {seq} was edited"),
            Self::Removed { first, last } if first == last => write!(f, "segment {first} was removed"),
            Self::Removed { first, last } => write!(f, "segments {first} to {last} were removed"),
            Self::Rechained { first, last } => {
                write!(f, "segments {first} to {last} were chained again without this store's key")
            }
            Self::Renumbered { first, by } => {
                write!(f, "{by} segments from {first} on were removed and the later ones renumbered")
            }
            Self::CutShort { last, noted, noted_in } => {
                write!(f, "cut short: the chain ends at segment {last}, {noted_in} knows segment {noted}")
            }
            Self::HeadDiffers { seq, noted_in } => write!(f, "segment {seq} is not the one {noted_in} knows"),
            Self::HeadsLine { line } => write!(f, "line {line} of audit/heads was edited or torn"),
        }
    }
}

/// So many removed segments are recognised behind renumbered ones; more look like a record chained again.
const RENUMBERED_BY_MAX: u64 = 16;

/// Walks segments in order, bounded memory: noted heads and the findings.
pub(crate) struct Verifier<'a> {
    key: &'a MacKey,
    store: Uuid,
    /// Sorted by sequence number.
    noted: Vec<(&'static str, ChainHead)>,
    /// Index of the first noted head at or after the segment at hand.
    noted_next: usize,
    /// The MAC noted elsewhere for the segment before.
    noted_mac: Option<[u8; 32]>,
    previous: ChainHead,
    /// The segment at hand showed a new gap.
    renumbered_now: bool,
    /// How far segments were found to be numbered down.
    shift: u64,
    /// False right after a gap: the MAC before is unknown.
    previous_known: bool,
    /// First segment of the run of broken links we are in.
    broken_since: Option<u64>,
    segments: u64,
    events: u64,
    findings: Vec<Finding>,
}

impl<'a> Verifier<'a> {
    /// `noted`: heads known from elsewhere (the store's state row, the anchor).
    pub(crate) fn new(key: &'a MacKey, store: Uuid, heads: Heads, noted: Vec<(&'static str, ChainHead)>) -> Self {
        let lines = heads.bad_lines.into_iter().map(|line| Finding::HeadsLine { line }).collect();
        let mut all: Vec<_> = heads.heads.into_iter().map(|head| ("audit/heads", head)).collect();
        all.extend(noted);
        all.sort_by_key(|(_, head)| head.seq);
        Self {
            key,
            store,
            noted: all,
            noted_next: 0,
            noted_mac: None,
            previous: ChainHead::default(),
            renumbered_now: false,
            shift: 0,
            previous_known: true,
            broken_since: None,
            segments: 0,
            events: 0,
            findings: lines,
        }
    }

    /// The next segment in sequence order.
    pub(crate) fn segment(&mut self, segment: &Segment) {
        if segment.seq != self.previous.seq + 1 {
            self.close_run();
            self.findings.push(Finding::Removed { first: self.previous.seq + 1, last: segment.seq.saturating_sub(1) });
            self.previous_known = false;
        }
        let holds = !self.previous_known || self.follows(&self.previous.mac, segment) || self.was_renumbered(segment);
        match (holds, self.broken_since) {
            // Its predecessor's link is to a segment that is gone, as is told already.
            (true, Some(_)) if self.renumbered_now => self.broken_since = None,
            (true, Some(_)) => self.close_run(),
            // Our own writer went on from the link it knew: what lies before was made again by somebody else.
            (false, Some(first)) if self.noted_mac.is_some_and(|mac| self.follows(&mac, segment)) => {
                self.findings.push(Finding::Rechained { first, last: self.previous.seq });
                self.broken_since = None;
            }
            (false, None) => self.broken_since = Some(segment.seq),
            _ => {}
        }
        self.compare_with_noted(segment);
        self.segments += 1;
        self.events += u64::from(segment.count);
        self.previous = segment.head();
        self.previous_known = true;
    }

    /// The end of the chain.
    pub(crate) fn finish(mut self) -> VerifyReport {
        let last = self.previous.seq;
        // Renumbered segments are as many as they would be under their own numbers.
        if let Some((noted_in, head)) = self.noted.iter().rev().find(|(_, head)| head.seq > last + self.shift) {
            self.findings.push(Finding::CutShort { last, noted: head.seq, noted_in });
        }
        if let Some(first) = self.broken_since {
            // The last MAC is the noted one: its row's content was edited and nothing was made again.
            if self.noted_mac == Some(self.previous.mac) {
                self.close_run();
            } else {
                self.findings.push(Finding::Rechained { first, last });
            }
        }
        VerifyReport { segments: self.segments, events: self.events, findings: self.findings }
    }

    /// Whether the segment fits under the number it would have had if segments before it had not been removed. The one right
    /// behind the gap cannot tell (its predecessor is gone), so the gap shows at the one after it.
    fn was_renumbered(&mut self, segment: &Segment) -> bool {
        self.renumbered_now = false;
        if self.broken_since != Some(self.previous.seq) && self.shift == 0 {
            return false;
        }
        let fits = |shift: &u64| {
            let number = segment.seq.saturating_add(*shift);
            self.follows(&self.previous.mac, &Segment { seq: number, ..segment.clone() })
        };
        let Some(shift) = (self.shift..=self.shift + RENUMBERED_BY_MAX).filter(|shift| *shift > 0).find(fits) else {
            return false;
        };
        if shift != self.shift {
            self.findings.push(Finding::Renumbered { first: self.previous.seq, by: shift - self.shift });
            self.shift = shift;
            self.renumbered_now = true;
        }
        true
    }

    fn follows(&self, previous: &[u8; 32], segment: &Segment) -> bool {
        let expected = link(self.key, self.store, previous, segment);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected, &segment.mac).is_ok()
    }

    fn close_run(&mut self) {
        if let Some(from) = self.broken_since.take() {
            self.findings.extend((from..=self.previous.seq).map(|seq| Finding::Edited { seq }));
        }
    }

    fn compare_with_noted(&mut self, segment: &Segment) {
        self.noted_mac = None;
        let own = segment.seq.saturating_add(self.shift);
        while let Some((noted_in, head)) = self.noted.get(self.noted_next).filter(|(_, head)| head.seq <= own) {
            if head.seq == own {
                if head.mac != segment.mac && self.noted_mac.is_none() {
                    self.findings.push(Finding::HeadDiffers { seq: segment.seq, noted_in });
                }
                self.noted_mac = Some(head.mac);
            }
            self.noted_next += 1;
        }
    }
}
