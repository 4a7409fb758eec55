//! What became of the last exports, for who has taken the file as a stream and wants to know what is not in it.
//!
//! In memory: after a restart the file itself tells (`left_out`), and the audit record that it was made.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use super::ExportSummary;
use crate::store::OrganisationId;

/// Reports that are kept.
const KEPT: usize = 16;

/// The last reports.
#[derive(Default)]
pub struct ExportReports(Mutex<VecDeque<Kept>>);

struct Kept {
    id: Uuid,
    organisation: OrganisationId,
    summary: ExportSummary,
}

impl ExportReports {
    /// Keeps one; the oldest gives way.
    pub fn keep(&self, id: Uuid, organisation: OrganisationId, summary: ExportSummary) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT - 1);
        kept.push_front(Kept { id, organisation, summary });
    }

    /// The report of an export of this organisation.
    pub fn find(&self, id: Uuid, organisation: OrganisationId) -> Option<ExportSummary> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|kept| kept.id == id && kept.organisation == organisation);
        found.map(|kept| kept.summary.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oldest give way, and another organisation's are not there.
    #[test]
    fn reports_are_bounded_and_separate() {
        let reports = ExportReports::default();
        let ids: Vec<Uuid> = (0..=KEPT).map(|_| Uuid::now_v7()).collect();
        for (keys, id) in ids.iter().enumerate() {
            let summary = ExportSummary { keys: keys as u64, left_out: 0, reasons: Vec::new(), sha256: String::new() };
            reports.keep(*id, OrganisationId::DEFAULT, summary);
        }
        assert!(reports.find(ids[0], OrganisationId::DEFAULT).is_none());
        assert_eq!(reports.find(ids[KEPT], OrganisationId::DEFAULT).map(|summary| summary.keys), Some(KEPT as u64));
        assert!(reports.find(ids[KEPT], OrganisationId::generate()).is_none());
    }
}
