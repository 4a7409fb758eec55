//! What an operator sees of a group's members.

use std::time::Duration;

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its configured name.
    pub name: String,
    /// How it is.
    pub state: MemberState,
    /// Its token refused the PIN, or must be seen to before one is offered.
    pub login_refused: bool,
    /// Keys that it has and that are known to be right.
    pub keys: u64,
    /// Keys of the group that it does not have, or that were not compared yet.
    pub lacking: u64,
    /// Keys under an id of the group's that are other keys: an operator must look.
    pub differing: u64,
    /// How long ago it last signed rightly in its self-test.
    pub tested: Option<Duration>,
    /// Calls that went on to another member since the group was opened.
    pub failovers: u64,
}

/// How it is with a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It serves.
    Serving,
    /// It serves, and its last call failed or was late: others are asked first.
    Suspect,
    /// It is away, or joins; the text says what is missing.
    Away(String),
    /// It is kept out; the text says what an operator has to look at.
    Refused(String),
}

impl MemberState {
    /// The state in one word, as metrics and tables have it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Suspect => "suspect",
            Self::Away(_) => "away",
            Self::Refused(_) => "refused",
        }
    }

    /// What is the matter.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Serving | Self::Suspect => None,
            Self::Away(reason) | Self::Refused(reason) => Some(reason),
        }
    }
}
