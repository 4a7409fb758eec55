//! Messages to the server and their answers.

use super::peer::Peer;
use super::reason;
use super::wire::Wire;
use crate::error::{Class, KsError, Result};
use crate::keystore::OpCx;
use crate::remote::{Cluster, Effect, RemoteConfig, User, UserPassword};
use keygate_kmip::ttlv::{Frame, Limits};
use keygate_kmip::{
    Authentication, BatchErrorContinuationOption, Credential, DiscoverVersionsRequest, ItemResult, Operation,
    ProtocolVersion, QueryFunction, QueryRequest, RequestHeader, RequestPayload, ResponseMessage, ResponsePayload,
    ResultReason, SecretText, encode_request,
};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// Bytes of an answer.
const ANSWER_MAX: usize = 1024 * 1024;

/// Versions in which Discover Versions is tried: it came with 1.1, and a server may have dropped old versions.
const HELLO_VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V1_2, ProtocolVersion::V2_1, ProtocolVersion::V1_4];

/// The versions we ask in, newest first: 3.0 is a draft.
fn spoken() -> impl Iterator<Item = ProtocolVersion> {
    ProtocolVersion::SUPPORTED.into_iter().filter(|version| *version <= ProtocolVersion::V2_1)
}

/// Whether the items behind a failed one are still done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    Continue,
    Stop,
}

/// A client of one service.
pub(super) struct Client {
    pub(super) cluster: Arc<Cluster<Wire>>,
    pub(super) user: User,
    limits: Limits,
    peer: RwLock<Option<Arc<Peer>>>,
    /// Held by the call that asks: of many at once one asks for all.
    asking: tokio::sync::Mutex<()>,
}

impl Client {
    pub(super) fn new(remote: RemoteConfig, user: Option<UserPassword>) -> Result<Self> {
        let limits = Limits { message_bytes_max: ANSWER_MAX, ..Limits::default() };
        let cluster = Cluster::new(Wire { limits }, remote, user.is_some())?;
        Ok(Self { cluster, user: User::new(user), limits, peer: RwLock::new(None), asking: tokio::sync::Mutex::default() })
    }

    /// The server as last asked.
    pub(super) fn last_peer(&self) -> Option<Arc<Peer>> {
        self.peer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server; asked if it was not yet.
    pub(super) async fn peer(&self, cx: OpCx) -> Result<Arc<Peer>> {
        if let Some(peer) = self.last_peer() {
            return Ok(peer);
        }
        let late = |_| KsError::new(Class::Busy, "what the key server does was not known before the deadline");
        let _asking = tokio::time::timeout_at(cx.deadline.into(), self.asking.lock()).await.map_err(late)?;
        match self.last_peer() {
            Some(peer) => Ok(peer),
            None => self.ask_peer(cx).await,
        }
    }

    /// Negotiates the version and asks what the server does.
    pub(super) async fn ask_peer(&self, cx: OpCx) -> Result<Arc<Peer>> {
        let version = self.negotiate(cx).await?;
        let functions =
            vec![QueryFunction::QueryOperations, QueryFunction::QueryObjects, QueryFunction::QueryServerInformation];
        let query = RequestPayload::Query(QueryRequest { functions, object_groups: None });
        let answers = self.send_as(version, &[query], OnError::Stop, Effect::Read, cx).await?;
        let told = match one(answers)? {
            ResponsePayload::Query(told) => told,
            _ => return Err(mismatch()),
        };
        let peer = Arc::new(Peer::new(version, told));
        *self.peer.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&peer));
        Ok(peer)
    }

    /// KMIP 2.1 §6.1.13: the answer lists the versions of the request that the server supports, "ordered in order of
    /// decreasing preference". A server without the operation speaks 1.0.
    async fn negotiate(&self, cx: OpCx) -> Result<ProtocolVersion> {
        let mut refusal = None;
        for hello in HELLO_VERSIONS {
            let versions = spoken().collect();
            let discover = RequestPayload::DiscoverVersions(DiscoverVersionsRequest { versions });
            let answer = match self.send_as(hello, &[discover], OnError::Stop, Effect::Read, cx).await {
                Ok(answers) => one(answers),
                Err(error) => Err(error),
            };
            match answer {
                Ok(ResponsePayload::DiscoverVersions(told)) => {
                    let common = spoken().find(|ours| told.versions.contains(ours));
                    return common
                        .ok_or_else(|| KsError::unsupported("the key server speaks no KMIP version that we speak"));
                }
                Ok(_) => return Err(mismatch()),
                // Refused as a message or as an operation: another version may do.
                Err(error) if matches!(error.class(), Class::Unsupported | Class::BadInput(_)) => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        tracing::info!(cause = ?refusal, "the key server does not tell its KMIP versions; 1.0 is assumed");
        Ok(ProtocolVersion::V1_0)
    }

    /// One request that must succeed.
    pub(super) async fn send_one(&self, payload: RequestPayload, effect: Effect, cx: OpCx) -> Result<ResponsePayload> {
        one(self.send(&[payload], OnError::Stop, effect, cx).await?)
    }

    /// Several requests in one message, done in order: their results, fewer if it stopped at a failure.
    pub(super) async fn send(
        &self,
        payloads: &[RequestPayload],
        on_error: OnError,
        effect: Effect,
        cx: OpCx,
    ) -> Result<Vec<Result<ResponsePayload>>> {
        let peer = self.peer(cx).await?;
        self.send_as(peer.version, payloads, on_error, effect, cx).await
    }

    async fn send_as(
        &self,
        version: ProtocolVersion,
        payloads: &[RequestPayload],
        on_error: OnError,
        effect: Effect,
        cx: OpCx,
    ) -> Result<Vec<Result<ResponsePayload>>> {
        let message = encode_request(&self.header(version, payloads.len(), on_error)?, payloads);
        let (answer, pass): (Zeroizing<Vec<u8>>, _) = self.cluster.call(message.as_slice(), effect, cx).await?;
        let unreadable = |why: String| {
            let class = if effect == Effect::Change { Class::OutcomeUnknown } else { Class::RetryOther };
            KsError::new(class, format!("the key server's answer cannot be read: {why}"))
        };
        let frame = Frame::parse(&answer, &self.limits).map_err(|error| unreadable(error.to_string()))?;
        let response = ResponseMessage::parse(&frame).map_err(|error| unreadable(error.to_string()))?;
        let count = response.items.len();
        if count == 0 || count > payloads.len() {
            return Err(unreadable(format!("{count} items for {} requests", payloads.len())));
        }
        let mut results = Vec::with_capacity(count);
        for (item, payload) in response.items.into_iter().zip(payloads) {
            let asked = payload.operation();
            results.push(match item.result {
                ItemResult::Success(answer) if answer.operation() == asked => Ok(answer),
                ItemResult::Success(answer) => {
                    return Err(unreadable(format!("it answers {} to {asked}", answer.operation())));
                }
                // It was not asked to answer later, and nobody would poll for it.
                ItemResult::Pending(_) => return Err(unreadable(format!("it answers {asked} later, unasked"))),
                ItemResult::Undone(_) => {
                    Err(KsError::new(Class::RetrySame, format!("{asked} was undone by the key server")))
                }
                ItemResult::Failed { reason, message, .. } => Err(self.failure(asked, reason, &message)),
            });
        }
        // A server may tell its versions and operations to anybody.
        let shows = |(result, payload): (&Result<ResponsePayload>, &RequestPayload)| {
            let told = matches!(payload.operation(), Operation::DiscoverVersions | Operation::Query);
            !told && result.as_ref().err().is_none_or(|error| error.class() == Class::NotFound)
        };
        if results.iter().zip(payloads).any(shows) {
            pass.accepted();
        }
        Ok(results)
    }

    fn failure(&self, operation: Operation, reason: ResultReason, message: &str) -> KsError {
        let error = reason::error(operation, reason, message);
        match error.class() {
            Class::AuthStop => self.cluster.stop(error.to_string()),
            _ => error,
        }
    }

    fn header(&self, version: ProtocolVersion, items: usize, on_error: OnError) -> Result<RequestHeader> {
        let count = i32::try_from(items).map_err(|_| KsError::parameters("too many requests in one message"))?;
        let mut header = RequestHeader::new(version, count);
        header.maximum_response_size = i32::try_from(ANSWER_MAX).ok();
        if items > 1 {
            header.batch_order_option = Some(true);
            header.batch_error_continuation_option = Some(match on_error {
                OnError::Continue => BatchErrorContinuationOption::Continue,
                OnError::Stop => BatchErrorContinuationOption::Stop,
            });
        }
        header.authentication = self.user.now().as_deref().map(authentication).transpose()?;
        Ok(header)
    }
}

fn authentication(user: &UserPassword) -> Result<Authentication> {
    let password =
        std::str::from_utf8(user.password.expose()).map_err(|_| KsError::parameters("the password is not UTF-8"))?;
    let credential = Credential::UsernameAndPassword {
        username: user.user.clone(),
        password: Some(SecretText::new(password.to_owned())),
    };
    Ok(Authentication { credentials: vec![credential] })
}

/// The only result of a message.
pub(super) fn one(mut answers: Vec<Result<ResponsePayload>>) -> Result<ResponsePayload> {
    match answers.pop() {
        Some(answer) if answers.is_empty() => answer,
        _ => Err(mismatch()),
    }
}

pub(super) fn mismatch() -> KsError {
    KsError::new(Class::Corrupt, "the key server's answer is not one to the request")
}
