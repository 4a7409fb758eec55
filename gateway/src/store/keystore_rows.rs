//! Rows of keystores: those that the settings file names, those that administrators added, and moves of keys between them.

use serde::{Deserialize, Serialize};

use super::{EntryId, KeystoreId, ObjectId, OrganisationId};
use crate::audit::Actor;
use crate::seal::SecretText;

/// A keystore; its stable id is in every object row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeystoreEntry {
    /// Its id.
    pub id: KeystoreId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Name; unique.
    pub name: String,
    /// Backend kind: `local`, `pkcs11`...
    pub kind: String,
    /// What administrators gave it; `None`: the settings file names it, and it is active as long as it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<Box<ManagedKeystore>>,
}

/// A keystore that administrators added.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedKeystore {
    /// Where it is in its life.
    pub state: KeystoreState,
    /// A `[[keystore]]` table without name and kind, as TOML.
    pub settings: String,
    /// PIN or password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretText>,
    /// Since when it has this secret, milliseconds since 1970.
    #[serde(default)]
    pub secret_since_ms: i64,
    /// The device has refused this secret: another try may lock it. Forgotten with the secret alone.
    #[serde(default)]
    pub secret_refused: bool,
    /// Serial number of the token that a green test has met where the settings name none and no label: the secret is for this
    /// one alone. Forgotten when the settings are about another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_serial: Option<String>,
    /// The last test of these settings with this secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<KeystoreTest>,
    /// Since when new keys go here where nothing else is said, milliseconds since 1970. Of several the newest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_since_ms: Option<i64>,
    /// When it was added, milliseconds since 1970.
    pub created_ms: i64,
}

/// Where a keystore is in its life; what leads from one to the next is in [`crate::keystores`]. A retired one has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeystoreState {
    /// Not tested as it is now.
    Draft {
        /// Milliseconds since 1970.
        since_ms: i64,
    },
    /// Its test succeeded; no key is there yet.
    Tested {
        /// Milliseconds since 1970.
        since_ms: i64,
    },
    /// Takes new keys.
    Active {
        /// Milliseconds since 1970.
        since_ms: i64,
    },
    /// Takes no new keys; those it has stay usable.
    Draining {
        /// Milliseconds since 1970.
        since_ms: i64,
    },
}

/// What a test found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeystoreTest {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Every step succeeded.
    pub passed: bool,
    /// The PIN or password was refused: another try may lock the device.
    #[serde(default)]
    pub secret_refused: bool,
    /// Its steps, in order; those after a failed one were not tried.
    pub steps: Vec<TestStep>,
    /// What the device says it is.
    #[serde(default)]
    pub device: String,
    /// What it can do, by the names of [`keygate_backends::Capabilities`].
    #[serde(default)]
    pub can: Vec<String>,
    /// Microseconds that looking up a key took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_us: Option<u64>,
}

/// One step of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestStep {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// How long it took.
    pub ms: u64,
    /// What was found, or what failed.
    #[serde(default)]
    pub text: String,
    /// What to do about a failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Done.
    Ok,
    /// Failed: the steps after it were not tried.
    Failed,
    /// This kind of keystore has no such step.
    NotNeeded,
}

/// The move of all keys of one keystore to another: one row for each pair, kept as the report of the last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehoming {
    /// Its id.
    pub id: EntryId,
    /// Tenant of whoever asked.
    pub organisation: OrganisationId,
    /// Where the keys come from.
    pub from: KeystoreId,
    /// Where they go; the same as `from`: they are sealed again under a new term of the keyring.
    pub to: KeystoreId,
    /// Who asked.
    pub by: Actor,
    /// How it stands.
    pub state: RehomingState,
    /// Most keys a second; 0: as fast as it goes.
    #[serde(default)]
    pub per_second: u32,
    /// When it was first started, milliseconds since 1970.
    pub started_ms: i64,
    /// When it came to its end, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// Objects before this one have been looked at in this walk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ObjectId>,
    /// Objects there were at the start.
    pub total: u64,
    /// Objects moved.
    pub moved: u64,
    /// Objects that stay where they are, by reason.
    #[serde(default)]
    pub kept: Vec<Left>,
    /// Objects that could not be moved this time, by reason.
    #[serde(default)]
    pub failed: Vec<Left>,
    /// Why it ended before its end, if it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}

/// How a move stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RehomingState {
    /// Under way; a start of the server goes on with it.
    Running,
    /// Stopped by an administrator, or by a failure; it can be started again.
    Stopped,
    /// Every key was looked at.
    Done,
}

/// Objects that were not moved, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<ObjectId>,
}

impl std::fmt::Debug for ManagedKeystore {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagedKeystore").field("state", &self.state).finish_non_exhaustive()
    }
}
