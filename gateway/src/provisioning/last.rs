//! The end of keys: of a revoked provisioning key's CA, and of a retired generation. And other work that falls due with time.
//!
//! Before a revoked key's CA key is destroyed it signs for as long as any of its certificates lasts: its lists, with every
//! client on them for parties that check the leaf alone, and a responder's certificate.

use std::sync::Arc;

use keygate_pki::{CrlTimes, OffsetDateTime, Reason, RevokedList, Window, provisioning::EffectiveState,
    rotation::{Generation, Retired}};
use time::Duration;

use super::{
    Deciding, Provisioning, ProvisioningError,
    authority::{LoadedAuthority, blob, stored_key},
    expect, keystore_signer,
    snapshot::{Snapshot, moment, when_and_why},
};
use crate::{
    audit::{Action, Actor, Details, Event},
    store::{
        Authority, AuthorityKey, Blob, Change, Commit, Entry, EntryId, EntryKind, Intent, IntentAction, LastCrl,
        LastResponder, OrganisationId, ProvisioningKey,
    },
};

/// An expired certificate's row is kept so long: for the record, and for OCSP.
const KEPT_AFTER_END: Duration = Duration::days(90);
/// Rows cleared away in one commit.
const CLEARED_AT_ONCE: usize = 1000;

impl Provisioning {
    /// What falls due with time; also what an earlier attempt left. To be called at start and hourly.
    pub async fn maintain(&self) {
        let steps = [
            ("end the keys of revoked authorities", self.end_revoked().await),
            ("renew authorities", self.renew_due().await),
            ("end retired authorities", self.end_retired().await),
            ("clear expired certificates away", self.clear_expired().await),
            ("publish lists", self.publish_all().await),
        ];
        for (step, done) in steps {
            if let Err(error) = done {
                tracing::error!(step, error = crate::admin::chain(&error), "provisioning is not in order: tried again within the hour");
            }
        }
    }

    /// Signs the last lists of revoked provisioning keys' CAs, and destroys their keys.
    pub(super) async fn end_revoked(&self) -> Result<(), ProvisioningError> {
        let snapshot = self.snapshot();
        let mut failure = None;
        for authority in snapshot.authorities.values() {
            let key = authority.row.provisioning_key.and_then(|key| snapshot.keys.get(&key));
            let Some(EffectiveState::Revoked { since, told }) = key.map(|key| key.effective) else { continue };
            // One that cannot be ended now keeps none of the others.
            if authority.has_key()
                && let Err(error) = self.end_with_lists(authority, since, told).await
            {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn end_with_lists(
        &self,
        authority: &Arc<LoadedAuthority>,
        since: OffsetDateTime,
        told: Reason,
    ) -> Result<(), ProvisioningError> {
        let _held = self.publishing.lock().await;
        let now = self.now();
        let certificates: Vec<_> = authority.certificates.iter().map(|held| held.certificate.clone()).collect();
        let mut row = Authority::clone(&authority.row);
        let mut changes = vec![expect(EntryKind::Authority, row.id, authority.row.version)];
        // Nothing of it is valid any more: nobody needs a list.
        if authority.not_after().is_some_and(|end| now < end) {
            let times = CrlTimes::last(now, &certificates)?;
            let shards = self.last_shard(authority);
            let number = self.draw_number(u64::from(shards) + 2).await?;
            for shard in (0..=shards).map(Some).chain([None]) {
                let revoked = self.everything(authority, shard, since, told)?;
                let crl = self.sign_list(authority, shard, number, times, &revoked).await?;
                changes.push(Change::AddEntry(Entry::LastCrl(LastCrl {
                    id: EntryId::generate(),
                    organisation: row.organisation,
                    authority: row.id,
                    shard,
                    number,
                    next_update: times.next().unix_timestamp(),
                    der: Blob::from(crl.der()),
                })));
            }
            // Where its newest certificate has ended already, the responder's could not be made: the lists remain.
            if authority.newest()?.is_valid_at(now) {
                let (key, certificate) = self.delegate(authority, Window::until(now, times.next())?).await?;
                row.last_responder = Some(LastResponder { key: stored_key(&key)?, certificate: blob(&certificate) });
            }
        }
        self.destroy(row, changes).await
    }

    /// All certificates of an authority, each with its own revocation or that of the whole key.
    pub(super) fn everything(
        &self,
        authority: &LoadedAuthority,
        shard: Option<u32>,
        since: OffsetDateTime,
        told: Reason,
    ) -> Result<RevokedList, ProvisioningError> {
        let now = self.now().unix_timestamp();
        let rows: Vec<_> = self.store.with_issued(|index| {
            let mine = index.iter().filter(|facts| index.issuer(facts).2 == authority.row.id);
            let listed = mine.filter(|facts| facts.not_after >= now && shard.is_none_or(|shard| shard == facts.shard));
            listed.map(|facts| (facts.serial, facts.revoked)).collect()
        });
        let mut list = RevokedList::with_capacity(rows.len());
        for (serial, own) in rows {
            let (at, reason) = own.map_or((since, told), when_and_why);
            list.push(serial.as_bytes(), at, reason)?;
        }
        Ok(list)
    }

    /// Ends a retired generation when nothing it signed is in use: not what was known when it retired, and not what was signed
    /// at that very moment.
    async fn end_retired(&self) -> Result<(), ProvisioningError> {
        let snapshot = self.snapshot();
        let mut failure = None;
        for authority in snapshot.authorities.values().filter(|authority| authority.has_key()) {
            let Generation::Retired(retired) = authority.generation else { continue };
            let until = self.in_use_until(&snapshot, authority.row.id).unwrap_or(retired.until).max(retired.until);
            if (Retired { until, ..retired }).end(self.now()).is_err() {
                continue;
            }
            let row = Authority::clone(&authority.row);
            let changes = vec![expect(EntryKind::Authority, row.id, authority.row.version)];
            if let Err(error) = self.destroy(row, changes).await {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// The end of the last certificate that an authority signed.
    pub(super) fn in_use_until(&self, snapshot: &Snapshot, authority: EntryId) -> Option<OffsetDateTime> {
        let below = snapshot.authorities.values().filter(|below| below.row.id != authority);
        let below = below.flat_map(|below| &below.certificates).filter(|held| held.issuer == Some(authority));
        let leaves = self.store.with_issued(|index| {
            index.iter().filter(|facts| index.issuer(facts).2 == authority).map(|facts| facts.not_after).max()
        });
        below.map(|held| held.certificate.not_after()).chain(leaves.and_then(moment)).max()
    }

    /// Commits the end of a key with what else belongs to it, then destroys the key where it lives.
    async fn destroy(&self, mut row: Authority, mut changes: Vec<Change>) -> Result<(), ProvisioningError> {
        let by = Deciding { actor: Actor::System, source: None };
        let (id, organisation) = (row.id, row.organisation);
        let key = std::mem::replace(&mut row.key, AuthorityKey::Destroyed);
        let events = vec![self.issuer_event(&by, Action::IssuerKeyDestroyed, &row)];
        changes.push(Change::UpdateEntry(Entry::Authority(row)));
        self.commit_and_destroy(organisation, key, changes, events).await?;
        self.forget_responder(id);
        Ok(())
    }

    /// Commits, then destroys a key that no row has any more where it lives. One in a keystore is recorded as an intent with the
    /// commit: what fails is carried out when the keystores are reconciled.
    pub(super) async fn commit_and_destroy(
        &self,
        organisation: OrganisationId,
        key: AuthorityKey,
        mut changes: Vec<Change>,
        events: Vec<Event>,
    ) -> Result<(), ProvisioningError> {
        let in_device = match key {
            AuthorityKey::Keystore { keystore, key, .. } => {
                let intent = Intent {
                    id: EntryId::generate(),
                    organisation,
                    keystore,
                    action: IntentAction::Destroy,
                    objects: Vec::new(),
                    locators: vec![key.id.0.to_vec()],
                    at_ms: self.now_ms(),
                };
                changes.push(Change::AddEntry(Entry::Intent(intent.clone())));
                Some((keystore, key, intent.id))
            }
            _ => None,
        };
        self.store.commit(Commit { changes, events, erases: true }).await?;
        self.put_in_force();
        if let Some((keystore, key, intent)) = in_device {
            keystore_signer::destroy(self.keystores(), keystore, &key).await?;
            let changes = vec![Change::RemoveEntry(EntryKind::Intent, intent)];
            self.store.commit(Commit { changes, ..Commit::default() }).await?;
        }
        Ok(())
    }

    /// Clears rows of certificates away that ended long ago. Their uses of a key stay counted.
    async fn clear_expired(&self) -> Result<(), ProvisioningError> {
        let oldest = (self.now() - KEPT_AFTER_END).unix_timestamp();
        loop {
            let mut old: Vec<(EntryId, _, EntryId, bool)> = self.store.with_issued(|index| {
                let old = index.iter().filter(|facts| facts.not_after < oldest);
                old.map(|facts| (facts.id, facts.serial, index.issuer(facts).1, facts.enrolled)).take(CLEARED_AT_ONCE).collect()
            });
            // Of one key at a time: its row counts them.
            let Some(key) = old.first().map(|(_, _, key, _)| *key) else { return Ok(()) };
            old.retain(|(_, _, of, _)| *of == key);
            let snapshot = self.snapshot();
            let mut changes: Vec<Change> =
                old.iter().map(|(id, serial, ..)| Change::RemoveIssued { id: *id, serial: *serial }).collect();
            let uses = old.iter().filter(|(_, _, _, enrolled)| *enrolled).count() as u64;
            if let Some(row) = snapshot.keys.get(&key).map(|key| &key.row) {
                let cleared = ProvisioningKey { uses_cleared: row.uses_cleared + uses, ..ProvisioningKey::clone(row) };
                changes.push(expect(EntryKind::ProvisioningKey, key, row.version));
                changes.push(Change::UpdateEntry(Entry::ProvisioningKey(cleared)));
            }
            let details = Details::Published { lists: old.len() as u64 };
            let event = Event::system(self.now_ms(), Action::CertificatesCleared, details);
            self.store.commit(Commit { changes, events: vec![event], erases: false }).await?;
        }
    }
}
