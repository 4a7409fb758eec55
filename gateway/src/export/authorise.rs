//! Who may export. One function, so that approval by a second administrator has one place to be asked for.

use std::net::IpAddr;

use crate::audit::Actor;
use crate::store::{OrganisationId, Role};

/// That an export of one organisation's keys is permitted; made by [`authorise_export`] alone, used up by the export.
pub struct ExportPermit {
    actor: Actor,
    source: Option<IpAddr>,
    organisation: OrganisationId,
}

impl ExportPermit {
    /// Whom the audit record names.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// From which address.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Whose keys.
    pub fn organisation(&self) -> OrganisationId {
        self.organisation
    }
}

/// Why an export is not permitted.
#[derive(Debug, thiserror::Error)]
pub enum ExportRefused {
    /// The role.
    #[error("an export needs the role security:write")]
    Role,
}

/// Permits an export to administrators with security:write. Approvals (four eyes) are asked for here once there are any.
///
/// # Errors
/// Why not.
pub fn authorise_export(
    actor: Actor,
    source: Option<IpAddr>,
    role: Role,
    organisation: OrganisationId,
) -> Result<ExportPermit, ExportRefused> {
    match role {
        Role::SecurityWrite => Ok(ExportPermit { actor, source, organisation }),
        Role::SecurityRead => Err(ExportRefused::Role),
    }
}
