//! What an administrator must give before a key or the service changes its state.

use time::OffsetDateTime;

/// Most characters of a reason.
pub const DECISION_REASON_CHARS_MAX: usize = 500;

/// An acknowledged act with its reason: the proof that each transition asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    at: OffsetDateTime,
    reason: String,
}

/// What is missing from a [`Decision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// The impact was not acknowledged.
    #[error("the impact of this act must be acknowledged")]
    NotAcknowledged,
    /// No reason, or one that is too long.
    #[error("reason must have 1 to {max} characters, it has {chars}")]
    Length {
        /// Characters given, without spaces around them.
        chars: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A control character, which would disturb logs and terminals.
    #[error("reason has a control character")]
    Control,
}

impl Decision {
    /// A decision taken at `at`.
    pub fn new(at: OffsetDateTime, reason: &str, acknowledged: bool) -> Result<Self, DecisionError> {
        let reason = reason.trim();
        let chars = reason.chars().count();
        if chars == 0 || chars > DECISION_REASON_CHARS_MAX {
            return Err(DecisionError::Length { chars, max: DECISION_REASON_CHARS_MAX });
        }
        if reason.chars().any(char::is_control) {
            return Err(DecisionError::Control);
        }
        if !acknowledged {
            return Err(DecisionError::NotAcknowledged);
        }
        Ok(Self { at, reason: reason.into() })
    }

    /// When.
    pub fn at(&self) -> OffsetDateTime {
        self.at
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
