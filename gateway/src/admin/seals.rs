//! The seal slots as shown.

use super::{Admin, AdminError, AdminReply, reply::SealView};
use crate::seal::Seal;

impl Admin<'_> {
    pub(super) fn seal_status(&self) -> Result<AdminReply, AdminError> {
        let slots = Seal::load(self.app.dir.path())?.status();
        let views = slots.into_iter().map(|slot| SealView {
            id: slot.id.to_string(),
            kind: slot.kind.to_string(),
            detail: slot.detail,
            warning: slot.warning.map(str::to_owned),
        });
        Ok(AdminReply::Seal(views.collect()))
    }
}
