//! What to do about a secret that a keystore refuses: the one place where the sentence is made. What is wrong with it, the backends
//! say; where it is mended depends on who manages the keystore, which they do not know.

use keygate_backends::Health;

use crate::telemetry::ComponentState;

/// What to do about a refused PIN or password of a keystore. `added`: by a command; otherwise the settings file names it.
pub(super) fn about_secret(name: &str, added: bool) -> String {
    if added {
        format!("give the right one with `keygate keystore set {name} --secret-file FILE`")
    } else {
        format!("correct it where keygate.toml says, then `keygate keystore retry {name}`")
    }
}

/// The state of a keystore's part in readiness.
pub(crate) fn component_state(name: &str, added: bool, health: Health) -> ComponentState {
    match health {
        Health::Up => ComponentState::Up,
        Health::Down(reason) => ComponentState::Down { reason },
        Health::NeedsOperator(reason) => {
            ComponentState::Down { reason: format!("{reason}: {}", about_secret(name, added)) }
        }
    }
}
