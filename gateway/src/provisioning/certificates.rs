//! Certificates of clients: list, search, show, revoke one.

use std::{
    cmp::Reverse,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use keygate_pki::{Certificate, Reason, SubjectAltName, provisioning::Decision};

use super::{Deciding, EnrolRefusal, Key, Provisioning, ProvisioningError, Reasoned, snapshot::when_and_why};
use crate::{
    audit::{Action, Actor, Details},
    store::{
        Change, ClientId, Commit, EntryId, IssuedCertificate, IssuedFacts, IssuedIndex, OrganisationId, Revocation,
        Serial, Versioned,
    },
};

/// Time for an answer to leave before its connection is closed.
const ANSWERED_WITHIN: Duration = Duration::from_millis(200);
/// Most certificates of a page.
const PAGE_MAX: usize = 1000;
/// Rows that are opened to find names, at a time.
const OPENED_AT_ONCE: usize = 256;

/// Which certificates are wanted. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct CertificateFilter {
    /// Issued with this provisioning key.
    pub key: Option<EntryId>,
    /// Of this client.
    pub client: Option<ClientId>,
    /// `valid`, `expired` or `revoked`.
    pub state: Option<CertificateState>,
    /// A part of the subject or of a name, without regard to case.
    pub name: Option<String>,
    /// Older than this one: the last of the page before.
    pub after: Option<EntryId>,
    /// At most so many, up to 1000.
    pub limit: usize,
}

/// What of a certificate's own can be said without asking for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateState {
    /// Neither expired nor revoked.
    Valid,
    /// Past its end.
    Expired,
    /// Revoked by itself.
    Revoked,
}

/// A certificate as it is shown.
pub struct IssuedView {
    /// The row.
    pub row: Versioned<IssuedCertificate>,
    /// It, parsed.
    pub certificate: Certificate,
    /// Its provisioning key.
    pub key: Option<Arc<Key>>,
    /// Its own state.
    pub state: CertificateState,
}

/// A page, newest first.
pub struct CertificatePage {
    /// The certificates.
    pub certificates: Vec<IssuedView>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<EntryId>,
}

/// Certificates that were revoked just now.
struct RevokedNow {
    count: usize,
    /// Authorities and shards whose lists change.
    touched: Vec<(EntryId, u32)>,
}

impl CertificateState {
    /// `valid`, `expired` or `revoked`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl std::str::FromStr for CertificateState {
    type Err = ProvisioningError;

    fn from_str(text: &str) -> Result<Self, ProvisioningError> {
        let found = [Self::Valid, Self::Expired, Self::Revoked].into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| ProvisioningError::Invalid("a certificate is valid, expired or revoked".into()))
    }
}

impl Provisioning {
    /// One page of an organisation's certificates, newest first.
    pub async fn certificates(
        &self,
        organisation: OrganisationId,
        filter: &CertificateFilter,
    ) -> Result<CertificatePage, ProvisioningError> {
        let now = self.now().unix_timestamp();
        let limit = filter.limit.clamp(1, PAGE_MAX);
        let matches = |index: &IssuedIndex, facts: &IssuedFacts| {
            let (of, key, _) = index.issuer(facts);
            of == organisation
                && filter.key.is_none_or(|wanted| wanted == key)
                && filter.client.is_none_or(|wanted| wanted == facts.client)
                && filter.state.is_none_or(|wanted| wanted == state_of(facts.revoked, facts.not_after, now))
                && filter.after.is_none_or(|after| facts.id < after)
        };
        // With a name to be found rows must be opened; without one, one more than asked for tells whether there is more.
        let take = if filter.name.is_some() { usize::MAX } else { limit + 1 };
        let found = self.store.with_issued(|index| {
            let found = index.iter().filter(|facts| matches(index, facts)).map(|facts| (facts.id, facts.serial));
            newest(found, take)
        });
        let snapshot = self.snapshot();
        let (mut views, mut next) = (Vec::new(), None);
        'pages: for chunk in found.chunks(OPENED_AT_ONCE) {
            for row in self.store.issued_rows(chunk).await? {
                let certificate = Certificate::from_der(&row.der.0)?;
                if !filter.name.as_deref().is_none_or(|part| has_name(&certificate, part)) {
                    continue;
                }
                if views.len() == limit {
                    next = views.last().map(|view: &IssuedView| view.row.id);
                    break 'pages;
                }
                let state = state_of(row.revoked, row.not_after, now);
                views.push(IssuedView { key: snapshot.keys.get(&row.key).cloned(), certificate, state, row });
            }
        }
        Ok(CertificatePage { certificates: views, next })
    }

    /// One certificate by its serial number.
    pub async fn certificate(&self, organisation: OrganisationId, serial: &Serial) -> Result<IssuedView, ProvisioningError> {
        let row = self.store.issued(serial).await?.filter(|row| row.organisation == organisation);
        let row = row.ok_or_else(|| ProvisioningError::NotFound { what: "certificate", id: serial.to_string() })?;
        let state = state_of(row.revoked, row.not_after, self.now().unix_timestamp());
        let key = self.snapshot().keys.get(&row.key).cloned();
        Ok(IssuedView { certificate: Certificate::from_der(&row.der.0)?, key, state, row })
    }

    /// Revokes a certificate, and with it every certificate of its client that is still valid: what a stolen one was renewed to
    /// must not live on. `superseded` alone concerns the one certificate. Says how many were revoked.
    pub async fn revoke_certificate(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        serial: &Serial,
        wish: &Reasoned,
        told: Reason,
    ) -> Result<usize, ProvisioningError> {
        let revoked = self.record_revocation(by, organisation, serial, wish, told).await?;
        self.tell_of(&revoked).await?;
        Ok(revoked.count)
    }

    /// Commits the revocation: from here on every look at the certificate finds it revoked.
    async fn record_revocation(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        serial: &Serial,
        wish: &Reasoned,
        told: Reason,
    ) -> Result<RevokedNow, ProvisioningError> {
        if matches!(told, Reason::CertificateHold | Reason::CaCompromise) {
            return Err(ProvisioningError::Invalid(format!("{} is no reason to revoke a client's certificate", told.name())));
        }
        let decision = Decision::new(self.now(), &wish.reason, wish.acknowledged)?;
        let first = self.certificate(organisation, serial).await?;
        if first.state == CertificateState::Revoked {
            return Err(ProvisioningError::State("the certificate is revoked already".into()));
        }
        let now = decision.at().unix_timestamp();
        let mut rows = match told {
            Reason::Superseded => vec![first.row.clone()],
            _ => self.lineage(first.row.client, now).await?,
        };
        if rows.is_empty() {
            rows.push(first.row.clone());
        }
        let (mut count, mut touched) = (0, Vec::new());
        // A renewal may have been faster than the first commit; after it, nothing is issued for the client any more.
        while !rows.is_empty() {
            let (mut changes, mut events) = (Vec::new(), Vec::new());
            for row in &rows {
                let revoked = Some(Revocation { at: now, reason: told.code() });
                let certificate = Box::new(IssuedCertificate { revoked, ..IssuedCertificate::clone(row) });
                changes.push(Change::UpdateIssued { certificate, version: row.version });
                let details = Details::Certificate {
                    key: row.key,
                    client: Some(row.client),
                    serial: row.serial.to_string(),
                    reason: format!("{}: {}", told.name(), decision.reason()),
                };
                events.push(self.event(by, organisation, Action::CertificateRevoked, details));
                touched.push((row.authority, row.shard));
            }
            self.store.commit(Commit { changes, events, erases: false }).await?;
            count += rows.len();
            rows = match told {
                Reason::Superseded => Vec::new(),
                _ => self.lineage(first.row.client, now).await?,
            };
        }
        touched.sort_unstable();
        touched.dedup();
        Ok(RevokedNow { count, touched })
    }

    /// Closes connections, voids tickets, and tells relying parties.
    async fn tell_of(&self, revoked: &RevokedNow) -> Result<(), ProvisioningError> {
        self.put_in_force();
        for (authority, shard) in &revoked.touched {
            self.publish_shard(*authority, *shard).await?;
        }
        Ok(())
    }

    /// A client gives up its certificates: it is retired, or its key is in other hands. Its own connection is closed a moment
    /// later, so that the answer reaches it.
    pub async fn give_up(
        self: Arc<Self>,
        certificate: &Certificate,
        source: IpAddr,
        told: Reason,
    ) -> Result<usize, EnrolRefusal> {
        let serial = &Serial::new(certificate.serial()).ok_or(EnrolRefusal::Unauthorised)?;
        // A pinned certificate has any serial number, another client's too: it must be this very certificate.
        let sha256 = certificate.fingerprint().0;
        let found = self.store.with_issued(|index| {
            let facts = index.by_serial(serial).filter(|facts| facts.sha256 == sha256)?;
            Some((facts.client, index.issuer(facts).0))
        });
        let (client, organisation) = found.ok_or(EnrolRefusal::Unauthorised)?;
        let now = Instant::now();
        if let Some(retry_after) = self.giving_up.wait(source, client, now) {
            self.refusals.note_as(Action::CertificateRefused, "throttled", None, source);
            return Err(EnrolRefusal::Throttled { retry_after });
        }
        self.giving_up.count(source, client, now);
        let by = Deciding { actor: Actor::Client(client), source: Some(source) };
        let wish = Reasoned { reason: "given up by its holder".into(), acknowledged: true };
        match self.record_revocation(&by, organisation, serial, &wish, told).await {
            Ok(revoked) => {
                let count = revoked.count;
                tokio::spawn(async move {
                    tokio::time::sleep(ANSWERED_WITHIN).await;
                    if let Err(error) = self.tell_of(&revoked).await {
                        tracing::error!(error = crate::admin::chain(&error), "a certificate was given up, and others not told yet");
                    }
                });
                Ok(count)
            }
            Err(ProvisioningError::Invalid(reason) | ProvisioningError::State(reason)) => Err(EnrolRefusal::Asked(reason)),
            Err(cause) => Err(EnrolRefusal::Unavailable { cause }),
        }
    }

    /// The certificates of a client that are neither expired nor revoked.
    async fn lineage(&self, client: ClientId, now: i64) -> Result<Vec<Versioned<IssuedCertificate>>, ProvisioningError> {
        let wanted: Vec<_> = self.store.with_issued(|index| {
            let mine = index.of_client(client);
            let valid = mine.filter(|facts| state_of(facts.revoked, facts.not_after, now) == CertificateState::Valid);
            valid.map(|facts| (facts.id, facts.serial)).collect()
        });
        Ok(self.store.issued_rows(&wanted).await?)
    }

    /// Clients of a provisioning key that are on record, and how many of their certificates are valid.
    pub fn counts(&self, key: EntryId) -> (u64, u64) {
        let now = self.now().unix_timestamp();
        self.store.with_issued(|index| (index.enrolled(key), index.valid_of_key(key, now)))
    }
}

fn state_of(revoked: Option<Revocation>, not_after: i64, now: i64) -> CertificateState {
    match revoked {
        Some(_) => CertificateState::Revoked,
        None if not_after < now => CertificateState::Expired,
        None => CertificateState::Valid,
    }
}

/// The `take` newest, newest first, without sorting what is not wanted.
fn newest(found: impl Iterator<Item = (EntryId, Serial)>, take: usize) -> Vec<(EntryId, Serial)> {
    let mut found: Vec<_> = found.collect();
    if take < found.len() {
        found.select_nth_unstable_by_key(take, |(id, _)| Reverse(*id));
        found.truncate(take);
    }
    found.sort_unstable_by_key(|(id, _)| Reverse(*id));
    found
}

fn has_name(certificate: &Certificate, part: &str) -> bool {
    let part = part.to_lowercase();
    let subject = certificate.subject().to_lowercase();
    subject.contains(&part) || certificate.subject_alt_names().iter().map(SubjectAltName::value).any(|name| name.to_lowercase().contains(&part))
}

/// When a certificate was revoked, and why, for people.
pub(crate) fn revocation(row: &IssuedCertificate) -> Option<(keygate_pki::OffsetDateTime, Reason)> {
    row.revoked.map(when_and_why)
}
