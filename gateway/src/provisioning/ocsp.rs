//! OCSP: the state of a certificate as it is this moment, signed by a responder that each authority delegated to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use keygate_pki::{
    DistinguishedName, Draft, OcspFailure, OcspRequest, OcspResponder, OcspTimes, OffsetDateTime, PrivateKey, Reason,
    SignatureAlgorithm, Signer, Status, Window,
};
use time::Duration;

use super::{
    Provisioning, ProvisioningError,
    authority::{LoadedAuthority, local_key},
    snapshot::{Snapshot, when_and_why},
};
use crate::store::{EntryId, Serial, StoredTier};

/// How long an answer is good. It is computed when it is asked for; this is for caches in between.
const ANSWER_LIFE: Duration = Duration::hours(1);
/// Days of a responder's certificate; it is replaced at half its life. Without revocation checks of its own (ocsp-nocheck) it
/// should be short.
const RESPONDER_DAYS: u32 = 7;

/// Responders by authority, made when first asked for.
#[derive(Default)]
pub(super) struct Responders(Mutex<HashMap<EntryId, Arc<Responder>>>);

struct Responder {
    ocsp: OcspResponder,
    /// Another one is due then.
    until: OffsetDateTime,
}

impl Provisioning {
    /// The DER answer to a request for which [`OcspRequest`] was parsed. Never fails: refusals are answers.
    pub async fn ocsp(&self, request: &OcspRequest) -> Vec<u8> {
        match self.answer(request).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(error = crate::admin::chain(&error), "an OCSP request cannot be answered");
                OcspFailure::TryLater.response()
            }
        }
    }

    async fn answer(&self, request: &OcspRequest) -> Result<Vec<u8>, ProvisioningError> {
        let snapshot = self.snapshot();
        for authority in snapshot.authorities.values().filter(|authority| !authority.certificates.is_empty()) {
            if !request.certificates().iter().any(|id| authority.is_named_by(id)) {
                continue;
            }
            let responder = self.responder(authority).await?;
            let now = self.now();
            let times = OcspTimes::new(now, now, now + ANSWER_LIFE)?;
            return Ok(responder.ocsp.respond(request, times, |serial| self.status(&snapshot, authority, serial))?);
        }
        // RFC 6960 §2.3: "unauthorized" where "the server is not capable of responding authoritatively".
        Ok(OcspFailure::Unauthorized.response())
    }

    fn status(&self, snapshot: &Snapshot, authority: &LoadedAuthority, serial: &[u8]) -> Status {
        let revoked = |by: Option<(OffsetDateTime, Reason)>| match by {
            Some((at, reason)) => Status::Revoked { at, reason },
            None => Status::Good,
        };
        if authority.row.tier != StoredTier::Key {
            let mut below = snapshot.authorities.values().filter(|below| below.row.id != authority.row.id);
            let is = |below: &&Arc<LoadedAuthority>| {
                let mine = below.certificates.iter().filter(|held| held.issuer == Some(authority.row.id));
                mine.into_iter().any(|held| trimmed(held.certificate.serial()) == trimmed(serial))
            };
            return below.find(is).map_or(Status::Unknown, |below| revoked(snapshot.revocation_of(below)));
        }
        let facts = Serial::new(serial).and_then(|serial| {
            self.store.with_issued(|index| {
                let facts = index.by_serial(&serial)?;
                (index.issuer(facts).2 == authority.row.id).then_some(facts.revoked)
            })
        });
        let key = authority.row.provisioning_key.and_then(|key| snapshot.keys.get(&key));
        match facts {
            None => Status::Unknown,
            // Its own revocation stays what it was, whatever becomes of the key.
            Some(Some(by)) => revoked(Some(when_and_why(by))),
            Some(None) => revoked(authority.own_revocation().or_else(|| match key {
                Some(key) => key.effective.on_ocsp(),
                // A key whose row cannot be read vouches for nobody.
                None => snapshot.revocation_of(authority),
            })),
        }
    }

    async fn responder(&self, authority: &Arc<LoadedAuthority>) -> Result<Arc<Responder>, ProvisioningError> {
        let id = authority.row.id;
        let now = self.now();
        let known = self.responders.lock().get(&id).cloned();
        if let Some(known) = known.filter(|known| now < known.until) {
            return Ok(known);
        }
        let made = Arc::new(match &authority.row.last_responder {
            Some(last) => {
                let certificate = keygate_pki::Certificate::from_der(&last.certificate.0)?;
                let (until, key) = (certificate.not_after(), local_key(&last.key)?);
                Responder { ocsp: OcspResponder::delegated(authority.newest()?, certificate, Arc::new(key))?, until }
            }
            None => {
                let window = Window::days(now, RESPONDER_DAYS)?;
                let (key, certificate) = self.delegate(authority, window).await?;
                let until = now + Duration::days(i64::from(RESPONDER_DAYS)) / 2;
                Responder { ocsp: OcspResponder::delegated(authority.newest()?, certificate, Arc::new(key))?, until }
            }
        });
        self.responders.lock().insert(id, made.clone());
        Ok(made)
    }

    /// A responder's key and certificate for `authority`.
    pub(super) async fn delegate(
        &self,
        authority: &LoadedAuthority,
        window: Window,
    ) -> Result<(PrivateKey, keygate_pki::Certificate), ProvisioningError> {
        let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
        let subject = DistinguishedName::new(Some("Keygate"), &format!("OCSP {}", authority.path_name()))?;
        let draft = Draft::ocsp_responder(&subject, key.public_key(), window);
        let certificate = self.certify(authority, &draft).await?;
        Ok((key, certificate))
    }

    /// Forgets a responder: its authority signs no more, or has another certificate.
    pub(super) fn forget_responder(&self, authority: EntryId) {
        self.responders.lock().remove(&authority);
    }
}

impl Responders {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<EntryId, Arc<Responder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trimmed(serial: &[u8]) -> &[u8] {
    let first = serial.iter().position(|octet| *octet != 0).unwrap_or(serial.len());
    &serial[first..]
}
