//! Why something was not done to a keystore.

use super::{FileError, Refusal};
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
    /// Other settings would send a sealed secret elsewhere, in another way, or as somebody else's.
    #[error(
        "{settings} of keystore \"{name}\" say where its PIN or password is sent, which is sealed and not sent elsewhere unasked\n\
         hint: give it once more with the change: --secret-file FILE"
    )]
    SecretNeeded {
        /// Which one.
        name: String,
        /// Names of the settings.
        settings: String,
    },
    /// The PIN was refused before, and nothing has changed since.
    #[error(
        "keystore \"{0}\" has refused this secret before: devices lock after a few wrong ones\nhint: give the right one (of an added \
         keystore with `keygate keystore set {0} --secret-file FILE`), or `keygate keystore test {0} --again` tries it again"
    )]
    RefusedBefore(String),
    /// A keystore in use does not work with what it was to become.
    #[error("keystore \"{name}\" goes on as it was: the test of the change failed at \"{step}\": {text}\nhint: {hint}")]
    NotChanged {
        /// Which one.
        name: String,
        /// The step.
        step: String,
        /// What failed.
        text: String,
        /// What to do.
        hint: String,
    },
    /// A file that settings name cannot be used.
    #[error("{}", crate::admin::chain(.0))]
    File(FileError),
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

impl From<FileError> for KeystoreError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}
