//! CRLs for everybody: signed again on each change and at least hourly, put in place all at once.
//!
//! A list's number is the sequence number of a commit made for it beforehand: it survives `kill -9`, never repeats, and a
//! restored older database is refused by the store's anchor before anything is signed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use keygate_pki::{
    Crl, CrlScope, CrlTimes, NewCrl, OffsetDateTime, RevokedList, SHARD_SERIALS_MAX, rotation::Generation,
};
use time::Duration;

use super::{
    Deciding, Provisioning, ProvisioningError,
    authority::LoadedAuthority,
    bundle::{self, Bundle},
    snapshot::{Snapshot, moment, when_and_why},
};
use crate::{
    audit::{Action, Actor, Details},
    store::{Commit, EntryId, OrganisationId, Revocation, Serial, StoredTier},
};

/// How long a list is good: relying parties that miss a few hourly ones go on.
pub(super) const CRL_LIFE: Duration = Duration::hours(24);
/// A revoked certificate stays listed so long after its end: RFC 5280 §3.3, "An entry MUST NOT be removed from the CRL until
/// it appears on one regularly scheduled CRL issued beyond the revoked certificate's validity period."
const LISTED_AFTER_END: Duration = Duration::hours(25);

/// Something that is fetched over plain HTTP.
#[derive(Debug, Clone)]
pub struct File {
    /// Its contents.
    pub body: Arc<[u8]>,
    /// Strong entity tag, with its quotes.
    pub etag: String,
    /// When it was made.
    pub made: OffsetDateTime,
    /// When the next one comes at the latest.
    pub next: OffsetDateTime,
}

impl File {
    /// A file made at `made`.
    pub(crate) fn new(body: Vec<u8>, made: OffsetDateTime, next: OffsetDateTime) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        let etag = format!("\"{}\"", hex::encode(&digest.as_ref()[..16]));
        Self { body: body.into(), etag, made, next }
    }

    /// A list: its number is never given twice, so it is its tag.
    fn numbered(body: Vec<u8>, number: u64, made: OffsetDateTime, next: OffsetDateTime) -> Self {
        Self { body: body.into(), etag: format!("\"{number}\""), made, next }
    }
}

/// Everything that is published, as of one moment.
#[derive(Default)]
pub struct Published {
    /// CRLs in DER by authority and shard; `None`: of all its certificates.
    pub lists: HashMap<(EntryId, Option<u32>), Arc<File>>,
    /// By name of the organisation.
    pub bundles: BTreeMap<String, Bundle>,
    /// What the lists of shards were made of: the whole list of an authority is made of the same.
    revoked: HashMap<(EntryId, u32), Arc<RevokedList>>,
}

/// A list that is to be signed.
struct Wish {
    authority: Arc<LoadedAuthority>,
    shard: Option<u32>,
}

impl Provisioning {
    /// What is published now.
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Why relying parties are not told what is true now, if they are not: a list could not be signed. To be tried again soon,
    /// by [`Provisioning::maintain`].
    pub fn unpublished(&self) -> Option<Arc<String>> {
        self.unpublished.load_full()
    }

    /// Signs every list again and puts all in place. When it returns, relying parties are told what is true.
    pub async fn publish_all(&self) -> Result<(), ProvisioningError> {
        let _held = self.publishing.lock().await;
        let published = self.sign_all().await;
        let failure = published.as_ref().err().map(|error| Arc::new(crate::admin::chain(error)));
        self.unpublished.store(failure);
        published
    }

    /// Tells relying parties of a change that is committed. A failure is not the change's: it is told, and tried again.
    pub(super) async fn publish_change(&self) -> Result<(), ProvisioningError> {
        self.publish_all().await.map_err(|cause| ProvisioningError::Unpublished { cause: Box::new(cause) })
    }

    async fn sign_all(&self) -> Result<(), ProvisioningError> {
        let snapshot = self.snapshot();
        let mut wishes = Vec::new();
        for authority in snapshot.authorities.values().filter(|authority| signs_lists(authority)) {
            let wish = |shard| Wish { authority: authority.clone(), shard };
            if authority.row.tier == StoredTier::Key {
                // The next shard has its list before the first certificate names it.
                wishes.extend((0..=self.last_shard(authority) + 1).map(|shard| wish(Some(shard))));
            }
            wishes.push(wish(None));
        }
        self.publish(&snapshot, wishes, true).await
    }

    /// Signs again what the revocation of one certificate changes: its shard, and then its authority's whole list, which is long
    /// where many are revoked.
    pub(super) async fn publish_shard(&self, authority: EntryId, shard: u32) -> Result<(), ProvisioningError> {
        let _held = self.publishing.lock().await;
        let snapshot = self.snapshot();
        let Some(authority) = snapshot.authorities.get(&authority).filter(|authority| signs_lists(authority)) else {
            return Ok(());
        };
        for shard in [Some(shard), None] {
            let wish = Wish { authority: authority.clone(), shard };
            self.publish(&snapshot, vec![wish], false).await.map_err(|cause| {
                self.unpublished.store(Some(Arc::new(crate::admin::chain(&cause))));
                ProvisioningError::Unpublished { cause: Box::new(cause) }
            })?;
        }
        Ok(())
    }

    async fn publish(&self, snapshot: &Snapshot, wishes: Vec<Wish>, anew: bool) -> Result<(), ProvisioningError> {
        let before = self.published.load_full();
        let mut lists = if anew { self.last_lists() } else { before.lists.clone() };
        let mut revoked = if anew { HashMap::new() } else { before.revoked.clone() };
        // A key whose keystore is away leaves its last list in place; the others are signed.
        let mut failure = None;
        if !wishes.is_empty() {
            let number = self.draw_number(wishes.len() as u64).await?;
            for wish in wishes {
                let key = (wish.authority.row.id, wish.shard);
                match self.list(snapshot, &wish, number, before.lists.get(&key), &mut revoked).await {
                    Ok(file) => drop(lists.insert(key, Arc::new(file))),
                    Err(error) => {
                        lists.extend(before.lists.get(&key).map(|file| (key, file.clone())));
                        failure = Some(error);
                    }
                }
            }
        }
        let bundles = bundle::all(snapshot, &lists, self.now())?;
        self.published.store(Arc::new(Published { lists, bundles, revoked }));
        failure.map_or(Ok(()), Err)
    }

    /// A number for the lists that are signed next, on disk before any of them is.
    pub(super) async fn draw_number(&self, lists: u64) -> Result<u64, ProvisioningError> {
        let by = Deciding { actor: Actor::System, source: None };
        let event = self.event(&by, OrganisationId::DEFAULT, Action::CrlPublished, Details::Published { lists });
        Ok(self.store.commit(Commit { events: vec![event], ..Commit::default() }).await?.seq)
    }

    /// Lists of destroyed keys, as they were signed last.
    fn last_lists(&self) -> HashMap<(EntryId, Option<u32>), Arc<File>> {
        let rows = &self.store.directory().last_crls;
        let now = self.now();
        let file = |row: &crate::store::LastCrl| {
            let next = moment(row.next_update).unwrap_or(now);
            let file = File { body: row.der.0.clone(), etag: format!("\"{}\"", row.number), made: now, next };
            ((row.authority, row.shard), Arc::new(file))
        };
        rows.iter().map(|row| file(row)).collect()
    }

    async fn list(
        &self,
        snapshot: &Snapshot,
        wish: &Wish,
        number: u64,
        before: Option<&Arc<File>>,
        known: &mut HashMap<(EntryId, u32), Arc<RevokedList>>,
    ) -> Result<File, ProvisioningError> {
        // A clock that was set back must not make a list look older than the one before it.
        let now = self.now();
        let this = before.map_or(now, |before| before.made.max(now));
        let times = CrlTimes::new(this, this + CRL_LIFE)?;
        let revoked = match (wish.authority.row.tier, wish.shard) {
            (StoredTier::Key, Some(shard)) => self.revoked_clients(&wish.authority, shard, now)?,
            (StoredTier::Key, None) => self.all_revoked_clients(&wish.authority, now, known)?,
            _ => self.revoked_authorities(snapshot, &wish.authority, now)?,
        };
        let crl = self.sign_list(&wish.authority, wish.shard, number, times, &revoked).await?;
        known.extend(wish.shard.map(|shard| ((wish.authority.row.id, shard), Arc::new(revoked))));
        Ok(File::numbered(crl.into_der(), number, this, times.next()))
    }

    /// The shard that new certificates of an authority go into.
    pub(super) fn last_shard(&self, authority: &LoadedAuthority) -> u32 {
        let issued = self.store.with_issued(|index| index.issued_by(authority.row.id));
        u32::try_from(issued / SHARD_SERIALS_MAX as u64).unwrap_or(u32::MAX)
    }

    /// Signs a list.
    pub(super) async fn sign_list(
        &self,
        authority: &Arc<LoadedAuthority>,
        shard: Option<u32>,
        number: u64,
        times: CrlTimes,
        revoked: &RevokedList,
    ) -> Result<Crl, ProvisioningError> {
        let urls = shard.map(|shard| self.shard_urls(&authority.row, shard)).transpose()?;
        let scope = match urls.as_deref() {
            Some([url, earlier @ ..]) => CrlScope::MovedShard { url, earlier },
            Some([]) | None => CrlScope::All,
        };
        let wish = NewCrl { scope, number, times, revoked };
        let unsigned = authority.issuer()?.prepare_crl(&wish)?;
        let signature = self.sign(authority, unsigned.tbs()).await?;
        Ok(unsigned.assemble(&signature)?)
    }

    /// Revoked clients of one shard.
    fn revoked_clients(
        &self,
        authority: &LoadedAuthority,
        shard: u32,
        now: OffsetDateTime,
    ) -> Result<RevokedList, ProvisioningError> {
        if let Some((at, reason)) = authority.own_revocation() {
            return self.everything(authority, Some(shard), at, reason);
        }
        let oldest = (now - LISTED_AFTER_END).unix_timestamp();
        // Taken out first: the list is encoded without holding up commits.
        let rows: Vec<(Serial, Revocation)> = self.store.with_issued(|index| {
            let listed = index.revoked_in(authority.row.id, shard).filter(|facts| facts.not_after >= oldest);
            listed.filter_map(|facts| facts.revoked.map(|by| (facts.serial, by))).collect()
        });
        let mut list = RevokedList::with_capacity(rows.len());
        for (serial, by) in rows {
            let (at, reason) = when_and_why(by);
            list.push(serial.as_bytes(), at, reason)?;
        }
        Ok(list)
    }

    /// Revoked clients of all shards, of which most are encoded already.
    fn all_revoked_clients(
        &self,
        authority: &LoadedAuthority,
        now: OffsetDateTime,
        known: &mut HashMap<(EntryId, u32), Arc<RevokedList>>,
    ) -> Result<RevokedList, ProvisioningError> {
        let mut whole = RevokedList::default();
        for shard in 0..=self.last_shard(authority) + 1 {
            let key = (authority.row.id, shard);
            let part = match known.get(&key) {
                Some(part) => part.clone(),
                None => known.entry(key).or_insert(Arc::new(self.revoked_clients(authority, shard, now)?)).clone(),
            };
            whole.append(&part);
        }
        Ok(whole)
    }

    /// Every certificate that an authority ever made for an authority that is revoked or held, whichever generation.
    fn revoked_authorities(
        &self,
        snapshot: &Snapshot,
        authority: &LoadedAuthority,
        now: OffsetDateTime,
    ) -> Result<RevokedList, ProvisioningError> {
        let mut list = RevokedList::default();
        for below in snapshot.authorities.values().filter(|below| below.row.id != authority.row.id) {
            let Some((at, reason)) = snapshot.revocation_of(below) else { continue };
            let mine = below.certificates.iter().filter(|held| held.issuer == Some(authority.row.id));
            for held in mine.filter(|held| held.certificate.not_after() + LISTED_AFTER_END >= now) {
                list.push(held.certificate.serial(), at, reason)?;
            }
        }
        Ok(list)
    }
}

/// Whether an authority signs lists now.
fn signs_lists(authority: &LoadedAuthority) -> bool {
    let stage = &authority.generation;
    // A published generation has no certificates below it, but relying parties that fetched it look for its list.
    let stage = stage.signs_crls() || matches!(stage, Generation::Published(_));
    stage && authority.has_key() && !authority.certificates.is_empty()
}
