//! How a member comes to serve: the replication key, the self-test, then its keys.

use super::book::{Name, Phase};
use super::keystore::Inner;
use super::replica::{Under, Wrapping};
use crate::error::{Class, Fault, KsError, Result};
use crate::key::{KeyClass, KeyId};
use crate::keystore::{Health, OpCx};
use crate::local::PreparedKey;
use crate::operation::SignatureScheme;
use crate::pkcs11::id_of;
use keygate_kmip::HashingAlgorithm;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How long a member may take for one step.
const STEP: Duration = Duration::from_secs(5);
/// The same where an RSA pair is made.
const STEP_OF_PAIR: Duration = Duration::from_secs(60);
/// How long a self-test may take.
const TEST: Duration = Duration::from_secs(2);
/// How long all keys of a token may be listed.
const LIST: Duration = Duration::from_secs(120);
/// The self-test's signature.
const TEST_SCHEME: SignatureScheme = SignatureScheme::RsaPkcs1(HashingAlgorithm::Sha256);

/// Why a member does not serve.
pub(super) enum Hindrance {
    /// It may pass.
    Passing(KsError),
    /// An operator must act.
    Lasting(String),
}

impl From<KsError> for Hindrance {
    fn from(error: KsError) -> Self {
        match error.class() {
            Class::Denied | Class::Unsupported | Class::Corrupt => Self::Lasting(error.to_string()),
            _ => Self::Passing(error),
        }
    }
}

impl Inner {
    /// Lets a member serve, or says what hinders it. Its keys are on the list of things to do afterwards.
    pub(super) async fn join(&self, member: usize) {
        match self.examine(member).await {
            Ok(()) => {
                tracing::info!(group = %self.id, member = self.members[member].name, "a member of the group serves");
                self.list_keys().await;
            }
            Err(Hindrance::Passing(error)) => self.book().left(member, Phase::Away(error.to_string())),
            Err(Hindrance::Lasting(reason)) => self.refuse(member, reason),
        }
    }

    /// Keeps a member out until it was away.
    fn refuse(&self, member: usize, reason: String) {
        tracing::error!(group = %self.id, member = self.members[member].name, reason, "a member of the group is kept out");
        self.book().left(member, Phase::Refused(reason));
    }

    async fn examine(&self, member: usize) -> Result<(), Hindrance> {
        let replica = self.replica(member);
        replica.probe(OpCx::within(STEP)).await?;
        let label = self.wrapping_label();
        let found = replica.wrapping(&label, OpCx::within(STEP)).await?;
        *self.members[member].has_wrapping.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.is_some());
        let _joining = self.joining.lock().await;
        let other = self.book().trusted().first().copied();
        let wrapping = match (found, other) {
            (Some(wrapping), _) => wrapping,
            (None, _) if self.settings.replication_key.is_some() => {
                return Err(Hindrance::Lasting(format!("the token has no replication key labelled {label:?}")));
            }
            (None, Some(other)) => self.hand_over(&label, other, member).await?,
            (None, None) => {
                self.check_founder(member)?;
                replica.make_wrapping(&label, OpCx::within(STEP)).await?
            }
        };
        *self.members[member].has_wrapping.lock().unwrap_or_else(PoisonError::into_inner) = Some(true);
        if let Some(other) = other {
            self.compare_wrapping(&label, other, wrapping).await?;
        }
        let under = Under { label, mechanisms: self.common_mechanisms() };
        if under.mechanisms.is_empty() {
            return Err(Hindrance::Lasting("the group's tokens have no mechanism in common that wraps keys".into()));
        }
        self.test_key(member, other, &under).await?;
        replica.let_keys_leave(wrapping.trusted);
        *self.under.lock().unwrap_or_else(PoisonError::into_inner) = Some(under);
        if !self.signs_test(member).await? {
            return Err(Hindrance::Lasting("it gave a wrong signature in the self-test".into()));
        }
        self.book().joined(member);
        Ok(())
    }

    /// A new group's replication key is made when all members are there, so that none comes later with another one.
    fn check_founder(&self, member: usize) -> Result<(), Hindrance> {
        let known = |at: usize| *self.members[at].has_wrapping.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |text: String| Err(Hindrance::Passing(KsError::new(Class::RetryOther, text)));
        for (at, other) in self.members.iter().enumerate() {
            match known(at) {
                Some(false) => {}
                Some(true) => return wait(format!("waits for {}, which has the group's replication key", other.name)),
                None => return wait(format!("waits for {}: a new group's first start needs all its members", other.name)),
            }
        }
        let up = |at: &usize| self.replica(*at).health() == Health::Up;
        match (0..self.members.len()).find(|at| !up(at)) {
            Some(at) => wait(format!("waits for {}: a new group's first start needs all its members", self.members[at].name)),
            None if member == 0 => Ok(()),
            None => wait(format!("waits for {}, which makes the group's replication key", self.members[0].name)),
        }
    }

    /// Gives the replication key to a member that has none: wrapped under a public key of that member's.
    async fn hand_over(&self, label: &str, from: usize, to: usize) -> Result<Wrapping> {
        let (giver, taker) = (self.replica(from), self.replica(to));
        let mut last = None;
        // Some tokens have OAEP with SHA-1 alone (SoftHSM 2.6); a failed attempt may use the offer up.
        for sha256 in [true, false] {
            let transport = taker.offer_transport(label, OpCx::within(STEP_OF_PAIR)).await?;
            let carried = match giver.carry_out(label, &transport, sha256, OpCx::within(STEP)).await {
                Ok(carried) => carried,
                Err(e) if sha256 && !is_away(&e) => {
                    last = Some(e);
                    continue;
                }
                Err(e) => return Err(e),
            };
            match taker.carry_in(label, &carried, OpCx::within(STEP)).await {
                Ok(wrapping) => return Ok(wrapping),
                Err(e) if sha256 && !is_away(&e) => last = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(last.unwrap_or_else(|| KsError::unsupported("the tokens have no RSA-OAEP in common")))
    }

    async fn compare_wrapping(&self, label: &str, other: usize, wrapping: Wrapping) -> Result<(), Hindrance> {
        let theirs = self.replica(other).wrapping(label, OpCx::within(STEP)).await?;
        match (theirs.and_then(|theirs| theirs.kcv), wrapping.kcv) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(Hindrance::Lasting(format!(
                "its replication key {label:?} is another than that of {} (check values {} and {})",
                self.members[other].name,
                hex::encode(ours),
                hex::encode(theirs)
            ))),
            _ => Ok(()),
        }
    }

    fn common_mechanisms(&self) -> Vec<u64> {
        let lists = self.members.iter().map(|member| member.replica.wrap_mechanisms());
        // Members that were not looked at yet say nothing.
        let known = lists.filter(|list| !list.is_empty());
        known.reduce(|common, list| common.into_iter().filter(|kind| list.contains(kind)).collect()).unwrap_or_default()
    }

    /// Sees to it that a member has the key of the self-test. That it can be taken in proves the replication key: key
    /// wrap has an integrity check of 64 bits.
    async fn test_key(&self, member: usize, other: Option<usize>, under: &Under) -> Result<(), Hindrance> {
        let (replica, name) = (self.replica(member), self.test_name()?);
        let Some(other) = other else {
            let public = match replica.test_key(name.0, OpCx::within(STEP)).await {
                Err(e) if e.class() == Class::NotFound => {
                    replica.make_test_key(name.0, &self.test_label(), OpCx::within(STEP_OF_PAIR)).await?;
                    replica.test_key(name.0, OpCx::within(STEP)).await?
                }
                found => found?,
            };
            let public = Arc::new(PreparedKey::new(&public)?);
            *self.test_public.lock().unwrap_or_else(PoisonError::into_inner) = Some(public);
            return Ok(());
        };
        let wrapped = self.replica(other).wrap_out(name, under, OpCx::within(STEP)).await?;
        let another = |what: &str| Hindrance::Lasting(format!("{what} is another than that of {}", self.members[other].name));
        match replica.is_same(name, under, &wrapped, OpCx::within(STEP)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(another("its key of the self-test")),
            Err(e) if e.class() == Class::NotFound => match replica.unwrap_in(name.0, under, &wrapped, OpCx::within(STEP)).await {
                Err(e) if e.class() == Class::BadInput(Fault::Integrity) => Err(another("its replication key")),
                done => Ok(done?),
            },
            Err(e) if e.class() == Class::BadInput(Fault::Integrity) => Err(another("its replication key")),
            Err(e) => Err(e.into()),
        }
    }

    async fn signs_test(&self, member: usize) -> Result<bool> {
        let public = self.test_public.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(public) = public else { return Err(KsError::new(Class::RetryOther, "the group has no self-test yet")) };
        let right = self.signs(self.test_name()?.0, member, TEST_SCHEME, &public, OpCx::within(TEST)).await?;
        if right {
            *self.members[member].tested.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(right)
    }

    /// The self-test of a member that serves.
    pub(super) async fn test(&self, member: usize) {
        match self.signs_test(member).await {
            Ok(true) => self.book().set_suspect(member, false),
            Ok(false) => self.refuse(member, "it gave a wrong signature in the self-test".into()),
            // It joins anew.
            Err(e) if e.class() == Class::NotFound => self.book().left(member, Phase::Away(e.to_string())),
            // A token that makes a large key is at work, not ill: the test has not been begun.
            Err(e) if e.class() == Class::Busy => {}
            Err(_) => self.book().set_suspect(member, true),
        }
    }

    /// Lists the keys of all members that serve, and puts what is not right everywhere on the list of things to do.
    async fn list_keys(&self) {
        for member in self.serving() {
            match self.replica(member).list(OpCx::within(LIST)).await {
                Ok(list) => self.book().listed(member, &list),
                Err(e) => {
                    tracing::warn!(group = %self.id, member = self.members[member].name, cause = %e, "a member of the group could not list its keys");
                    self.book().left(member, Phase::Away(e.to_string()));
                }
            }
        }
        self.book().plan();
    }

    /// The label of the replication key.
    fn wrapping_label(&self) -> String {
        self.settings.replication_key.clone().unwrap_or_else(|| format!("keygate-group:{}:replication", self.id))
    }

    /// Not `keygate:`, as keys have it: this one is no key of the gateway's.
    fn test_label(&self) -> String {
        format!("keygate-group:{}:self-test", self.id)
    }

    fn test_name(&self) -> Result<Name> {
        let id: KeyId = id_of(&self.test_label())?;
        Ok((id, KeyClass::Private))
    }
}

fn is_away(error: &KsError) -> bool {
    matches!(error.class(), Class::TokenLost | Class::Busy | Class::AuthStop | Class::OutcomeUnknown)
}
