//! What a text may cost, and the account of what it has cost so far.

use super::Reason;
use crate::ttlv;

/// What a text may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of text.
    pub text_bytes_max: usize,
    /// Bytes of the message as TTLV, headers included.
    pub message_bytes_max: usize,
    /// Structures within structures.
    pub depth_max: usize,
    /// Items of a message.
    pub items_max: usize,
}

impl Limits {
    /// Bytes of text for one of TTLV: bytes take two, numbers and names about four.
    pub const TEXT_FACTOR: usize = 4;

    /// What a message of these limits costs as text.
    #[must_use]
    pub const fn of(message: &ttlv::Limits) -> Self {
        Self {
            text_bytes_max: message.message_bytes_max.saturating_mul(Self::TEXT_FACTOR),
            message_bytes_max: message.message_bytes_max,
            depth_max: message.depth_max,
            items_max: message.items_max,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(&ttlv::Limits::default())
    }
}

/// What is left of the limits while a text is read.
pub(crate) struct Budget {
    limits: Limits,
    items: usize,
    bytes: usize,
}

impl Budget {
    /// # Errors
    /// [`Reason::Size`] if the text is larger than allowed.
    pub(crate) fn new(text: &str, limits: Limits) -> Result<Self, Reason> {
        if text.len() > limits.text_bytes_max {
            return Err(Reason::Size { size: text.len(), limit: limits.text_bytes_max });
        }
        Ok(Self { limits, items: 0, bytes: 0 })
    }

    /// Accounts for one item of `value_bytes` within `depth` structures.
    ///
    /// # Errors
    /// The limit it breaks.
    pub(crate) fn item(&mut self, depth: usize, is_structure: bool, value_bytes: usize) -> Result<(), Reason> {
        if is_structure && depth >= self.limits.depth_max {
            return Err(Reason::Depth(self.limits.depth_max));
        }
        self.items += 1;
        if self.items > self.limits.items_max {
            return Err(Reason::Items(self.limits.items_max));
        }
        // A TTLV header is eight bytes, and values are padded to a multiple of eight.
        self.bytes = self.bytes.saturating_add(8).saturating_add(value_bytes.next_multiple_of(8));
        if self.bytes > self.limits.message_bytes_max {
            return Err(Reason::Message(self.limits.message_bytes_max));
        }
        Ok(())
    }
}
