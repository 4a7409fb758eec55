//! Why something was not done to a keystore.

use super::Refusal;
use crate::config::Problems;
use crate::store::{CommitError, ReadError};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// No keystore, or no move of keys, by this name.
    #[error("there is no {what} \"{name}\"")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        name: String,
    },
    /// The name belongs to another one.
    #[error("there is a keystore \"{0}\" already")]
    NameTaken(String),
    /// An argument is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Settings that are no settings of such a keystore.
    #[error("{0}")]
    Settings(Problems),
    /// The settings file names it.
    #[error("keystore \"{0}\" is managed by the settings file: change keygate.toml and start the server again")]
    OfTheFile(String),
    /// Not in this state.
    #[error("keystore \"{name}\": {refusal}")]
    State {
        /// Which one.
        name: String,
        /// Why not.
        refusal: Refusal,
    },
    /// Something else stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// The PIN was refused before, and nothing has changed since.
    #[error(
        "the keystore has refused this secret before: devices lock after a few wrong ones\nhint: give the right one with \
         `keygate keystore set {0} --secret-file FILE`, or try it again with --again"
    )]
    RefusedBefore(String),
    /// The confirmation is not the name.
    #[error("to confirm that new keys go to keystore \"{0}\" from now on, its name must be given once more")]
    Unconfirmed(String),
    /// It was changed by somebody else.
    #[error("it was changed by somebody else meanwhile")]
    Changed,
    /// It cannot be opened.
    #[error("keystore \"{name}\" cannot be opened: {cause}")]
    Open {
        /// Which one.
        name: String,
        /// Why.
        cause: String,
    },
    /// This process does not serve keys.
    #[error("{0}")]
    NotServing(&'static str),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] CommitError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
