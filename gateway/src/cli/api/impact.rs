//! What acts mean for others, and that whoever asks for one knows it.

use std::io::{IsTerminal, Write};

use crate::cli::{Failure, code};

/// An act with an impact.
#[derive(Clone, Copy)]
pub(super) enum Impact {
    ActivateAtOnce,
    Disable,
    Reactivate,
    Rehome,
    RevokeAuthority,
    RevokeCertificate,
    RevokeKey,
    Suspend,
}

impl Impact {
    fn text(self) -> &'static str {
        match self {
            Self::ActivateAtOnce => "relying parties that have not fetched the new certificate yet refuse clients that enrol or renew now",
            Self::Disable => "all clients enrolled with provisioning keys are refused until the service is enabled again",
            Self::Reactivate => "clients enrol and renew with this key again",
            Self::Rehome => "keys that go to a device can be used there, and not fetched any more; what is used meanwhile stays usable",
            Self::RevokeAuthority => "for ever: everything this CA has signed is refused everywhere",
            Self::RevokeCertificate => "for ever: this certificate is refused everywhere, and so are its client's others, unless it is superseded",
            Self::RevokeKey => "for ever: every certificate of this key is refused everywhere",
            Self::Suspend => "no client enrols or renews with this key; issued certificates still connect",
        }
    }

    /// Takes the acknowledgement, or asks for it on a terminal.
    pub(super) fn acknowledge(self, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        let text = self.text();
        let missing = || Failure::new(code::USAGE, format!("this needs an acknowledgement: --yes\nhint: {text}"));
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(missing());
        }
        eprintln!("impact: {text}");
        eprint!("I understand the impact of this action and want to proceed (type yes): ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new(code::FAILED, "not done")) }
    }
}
