//! Provisioning keys: the secrets by which clients enrol, and the states an administrator steers them through.
//!
//! What it does: names, secrets, limits, and the two state machines (service and key) with what follows from them for
//! issuing, connecting, CRLs, OCSP and the trust bundle. What it leaves to others: storage, the count inside its
//! transaction, throttling, protocols.
//!
//! A key's state and the service's state are kept apart; what counts is [`EffectiveState`], computed from both each time.

mod decision;
mod limits;
mod name;
mod secret;
mod state;

pub use decision::{DECISION_REASON_CHARS_MAX, Decision, DecisionError};
pub use limits::{LimitError, Limits, SOURCE_RANGES_MAX, SourceRanges, SourceRangesError};
pub use name::{KEY_NAME_CHARS_MAX, KeyName, KeyNameError};
pub use secret::{KeyId, PresentedSecret, ProvisioningSecret, SecretError, SecretHash};
pub use state::{
    Active, CONCURRENT_KEYS_MAX, EffectiveState, KeyState, NoRoom, Revoked, ServiceState, StoredStateError, Suspended,
    check_room,
};
