//! Clients that were enrolled with provisioning keys: looked up in the store's index, with the state of their key.
//!
//! They are too many for a snapshot. The snapshot holds the states of keys; the index says which key issued a certificate and
//! whether that certificate was revoked: together well under a microsecond, at any number of certificates.

use std::{collections::HashMap, sync::Arc};

use keygate_pki::{Certificate, Fingerprint, provisioning::EffectiveState};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{
    caller::Caller,
    directory::{Admitted, CredentialId, Refusal},
};
use crate::store::{ClientId, EntryId, IssuedFacts, Serial, Store};

/// Where enrolled clients are found.
#[derive(Clone)]
pub struct Enrolled {
    /// The store with the index.
    pub store: Store,
    /// States of provisioning keys; a key that is not here lets nobody in.
    pub keys: HashMap<EntryId, EffectiveState>,
    /// Authorities that are revoked, whatever their key is.
    pub revoked_authorities: Vec<EntryId>,
    /// Groups of enrolled clients that are in any.
    pub groups: HashMap<ClientId, Vec<EntryId>>,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Enrolled {
    /// Recognises a certificate; `None` where none of ours has its serial number.
    ///
    /// The certificate is on record with its SHA-256: it is that very one, so its signature need not be verified again.
    pub(super) fn identify(
        &self,
        leaf: &CertificateDer<'_>,
        fingerprint: &Fingerprint,
        now: UnixTime,
    ) -> Option<Result<Admitted, Refusal>> {
        let certificate = Certificate::from_der(leaf).ok()?;
        let serial = Serial::new(certificate.serial())?;
        let (client, organisation) = self.store.with_issued(|index| {
            let facts = index.by_serial(&serial).filter(|facts| facts.sha256 == fingerprint.0)?;
            Some((facts.client, index.issuer(facts).0))
        })?;
        let caller = Arc::new(Caller {
            client,
            organisation,
            name: certificate.common_name().unwrap_or_else(|| client.to_string()).into(),
            user: None,
            users_required: false,
            groups: self.groups.get(&client).cloned().unwrap_or_default().into(),
            keystore_default: None,
            ticket: None,
        });
        Some(self.recheck(&serial, &caller, now))
    }

    /// A client as it stands, if one of its certificates is let in at `now`, seconds since 1970.
    pub(super) fn standing(&self, caller: &Arc<Caller>, now: u64) -> Option<Caller> {
        let serials: Vec<Serial> = self.store.with_issued(|index| index.of_client(caller.client).map(|facts| facts.serial).collect());
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let admitted = serials.iter().find_map(|serial| self.recheck(serial, caller, now).ok())?;
        Some((*admitted.caller).clone())
    }

    /// Asks the index and the state of the key.
    pub(super) fn recheck(&self, serial: &Serial, caller: &Arc<Caller>, now: UnixTime) -> Result<Admitted, Refusal> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (facts, key) = self.store.with_issued(|index| {
            let facts = index.by_serial(serial).ok_or(Refusal::UnknownClient)?;
            let (_, key, authority) = index.issuer(facts);
            Ok((Ends::of(facts, self.revoked_authorities.contains(&authority)), key))
        })?;
        match self.keys.get(&key) {
            None => return Err(Refusal::UnknownClient),
            Some(EffectiveState::Disabled { .. }) => return Err(Refusal::Disabled),
            Some(EffectiveState::Revoked { .. }) => return Err(Refusal::Revoked),
            Some(EffectiveState::Active | EffectiveState::Suspended) => {}
        }
        match () {
            () if facts.revoked => Err(Refusal::Revoked),
            () if now < facts.not_before => Err(Refusal::NotYetValid),
            () if now > facts.not_after => Err(Refusal::Expired),
            () => {
                // Groups may have changed since the connection began.
                let groups = self.groups.get(&caller.client).map_or(&[][..], Vec::as_slice);
                let caller = if *caller.groups == *groups {
                    caller.clone()
                } else {
                    Arc::new(Caller { groups: groups.into(), ..Caller::clone(caller) })
                };
                let credential = CredentialId::Enrolled { serial: *serial, caller: caller.clone() };
                Ok(Admitted { credential, caller, not_after: facts.not_after })
            }
        }
    }
}

struct Ends {
    revoked: bool,
    not_before: i64,
    not_after: i64,
}

impl Ends {
    fn of(facts: &IssuedFacts, authority_revoked: bool) -> Self {
        let revoked = facts.revoked.is_some() || authority_revoked;
        Self { revoked, not_before: facts.not_before, not_after: facts.not_after }
    }
}
