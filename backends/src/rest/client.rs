//! Credentials, calls and what errors mean.
//!
//! A refused credential is not offered again: the cluster stops until an operator acts. A token that was accepted once
//! may have expired: the first call that learns of it logs in, the others take the new one.

use super::profile::{Auth, Op, Operation, Profile};
use super::template::{self, Values};
use super::wire::{Http, HttpAnswer, HttpRequest};
use crate::error::{Class, Fault, KsError, Result};
use crate::keystore::OpCx;
use crate::remote::{Cluster, Effect, RemoteConfig, User, UserPassword};
use crate::secret::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Longest text of a server that goes into ours.
const TEXT_MAX: usize = 200;

/// A client of one service.
pub(super) struct Client {
    pub(super) cluster: Arc<Cluster<Http>>,
    pub(super) profile: Profile,
    pub(super) user: User,
    token: tokio::sync::Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

/// A successful answer and the pointers into it.
pub(super) struct Answer<'p> {
    json: Value,
    operation: &'p Operation,
}

impl Client {
    pub(super) fn new(remote: RemoteConfig, profile: Profile, user: Option<UserPassword>) -> Result<Self> {
        if user.is_none() && !matches!(profile.auth, Auth::None) {
            return Err(KsError::parameters("the profile needs a user and a password"));
        }
        let cluster = Cluster::new(Http, remote, user.is_some())?;
        Ok(Self { cluster, profile, user: User::new(user), token: tokio::sync::Mutex::new(None) })
    }

    /// Does an operation of the profile.
    pub(super) async fn call(&self, op: Op, values: &Values, effect: Effect, cx: OpCx) -> Result<Answer<'_>> {
        let operation = self.operation(op)?;
        let mut request = request(operation, values)?;
        let mut refused = None;
        loop {
            request.authorization = self.authorization(refused.as_ref(), cx).await?;
            let (answer, pass) = self.cluster.call(&request, effect, cx).await?;
            let is_refused = answer.status == StatusCode::UNAUTHORIZED;
            if is_refused && refused.is_none() && matches!(self.profile.auth, Auth::Login { .. }) {
                refused = request.authorization.take();
                continue;
            }
            let read = self.read(op, operation, &answer, effect);
            if read.as_ref().err().is_none_or(|error| error.class() == Class::NotFound) {
                pass.accepted();
            }
            return read;
        }
    }

    fn operation(&self, op: Op) -> Result<&Operation> {
        let missing = || KsError::unsupported(format!("the {} does not do {op:?}", self.profile.device));
        self.profile.operation.get(&op).ok_or_else(missing)
    }

    async fn authorization(&self, refused: Option<&HeaderValue>, cx: OpCx) -> Result<Option<HeaderValue>> {
        let Some(user) = &self.user.now() else { return Ok(None) };
        match self.profile.auth {
            Auth::None => Ok(None),
            // RFC 7617 §2: user-id ":" password, base64; a user-id has no colon.
            Auth::Basic if user.user.contains(':') => {
                Err(KsError::parameters("a user name with a colon cannot be sent"))
            }
            Auth::Basic => {
                let mut pair = Zeroizing::new(Vec::with_capacity(user.user.len() + user.password.len() + 1));
                pair.extend_from_slice(user.user.as_bytes());
                pair.push(b':');
                pair.extend_from_slice(user.password.expose());
                secret_header("Basic ", &STANDARD.encode(&*pair)).map(Some)
            }
            Auth::Bearer => secret_header("Bearer ", password_text(user)?).map(Some),
            Auth::Login { seconds } => self.token(user, Duration::from_secs(seconds), refused, cx).await.map(Some),
        }
    }

    /// The token of the last login, or of a new one where that is the one that was refused. One at a time logs in.
    async fn token(
        &self,
        user: &UserPassword,
        lasts: Duration,
        refused: Option<&HeaderValue>,
        cx: OpCx,
    ) -> Result<HeaderValue> {
        let late = |_| KsError::new(Class::Busy, "no login before the deadline");
        let mut token = tokio::time::timeout_at(cx.deadline.into(), self.token.lock()).await.map_err(late)?;
        let is_good = |token: &&Token| Some(&token.header) != refused && Instant::now() < token.until;
        if let Some(token) = token.as_ref().filter(is_good) {
            return Ok(token.header.clone());
        }
        let operation = self.operation(Op::Login)?;
        let values = Values::from([
            ("user".to_owned(), Value::from(user.user.as_str())),
            ("password".to_owned(), Value::from(password_text(user)?)),
        ]);
        let (answer, pass) = self.cluster.call(&request(operation, &values)?, Effect::Read, cx).await?;
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.cluster.stop(format!("the login of user {:?} was refused", user.user)));
        }
        let answer = self.read(Op::Login, operation, &answer, Effect::Read)?;
        let header = secret_header("Bearer ", answer.text("token")?)?;
        pass.accepted();
        *token = Some(Token { header: header.clone(), until: Instant::now() + lasts });
        Ok(header)
    }

    fn read<'p>(&'p self, op: Op, operation: &'p Operation, answer: &HttpAnswer, effect: Effect) -> Result<Answer<'p>> {
        if !answer.status.is_success() {
            return Err(self.failure(op, answer, effect));
        }
        let unreadable = |why: String| {
            let class = if effect == Effect::Change { Class::OutcomeUnknown } else { Class::RetryOther };
            KsError::new(class, format!("the key server's answer to {op:?} cannot be read: {why}"))
        };
        if answer.body.is_empty() && op.needs_no_answer() {
            return Ok(Answer { json: Value::Null, operation });
        }
        let json = serde_json::from_slice(&answer.body).map_err(|error| unreadable(error.to_string()))?;
        Ok(Answer { json, operation })
    }

    fn failure(&self, op: Op, answer: &HttpAnswer, effect: Effect) -> KsError {
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let errors = &self.profile.errors;
        let text = |pointer: &Option<String>| {
            let text = pointer.as_ref().and_then(|pointer| json.pointer(pointer)).and_then(Value::as_str);
            text.unwrap_or_default()
                .chars()
                .filter(|character| !character.is_control())
                .take(TEXT_MAX)
                .collect::<String>()
        };
        let (reason, message) = (text(&errors.reason), text(&errors.message));
        let class = match errors.map.get(&reason) {
            // The check that fails is one of a text only where a text is opened.
            Some(meaning) if meaning.class() == Class::BadInput(Fault::Integrity) && op != Op::Decrypt => {
                Class::BadInput(Fault::Data)
            }
            Some(meaning) => meaning.class(),
            None => of_status(answer.status, effect),
        };
        let told = format!("{op:?} refused by the key server: {} {reason} {message}", answer.status.as_u16());
        match class {
            Class::AuthStop => self.cluster.stop(told),
            class => KsError::new(class, told),
        }
    }
}

impl Op {
    fn needs_no_answer(self) -> bool {
        matches!(
            self,
            Self::Create | Self::CreatePair | Self::Destroy | Self::Import | Self::ImportPrivate | Self::Retire
        )
    }
}

/// What a status means where the profile says no more. RFC 9110 §15.
fn of_status(status: StatusCode, effect: Effect) -> Class {
    match status.as_u16() {
        400 | 422 => Class::BadInput(Fault::Parameters),
        401 => Class::AuthStop,
        403 | 409 => Class::Denied,
        404 | 410 => Class::NotFound,
        405 | 406 | 413 | 415 | 501 => Class::Unsupported,
        429 => Class::Busy,
        // A gateway in between may have lost the answer to something that was done.
        500..=599 if effect == Effect::Change => Class::OutcomeUnknown,
        _ => Class::RetryOther,
    }
}

impl Answer<'_> {
    fn find(&self, what: &str) -> Option<&Value> {
        self.json.pointer(self.operation.answer.get(what)?).filter(|value| !value.is_null())
    }

    /// A text that must be there.
    pub(super) fn text(&self, what: &str) -> Result<&str> {
        self.find(what).and_then(Value::as_str).ok_or_else(|| incomplete(what))
    }

    /// Octets that must be there, base64.
    pub(super) fn bytes(&self, what: &str) -> Result<SecretBytes> {
        STANDARD.decode(self.text(what)?).map(SecretBytes::new).map_err(|_| incomplete(what))
    }

    /// Octets that may be there.
    pub(super) fn optional_bytes(&self, what: &str) -> Result<Option<Vec<u8>>> {
        self.find(what).map(|_| self.bytes(what).map(SecretBytes::into_exposed)).transpose()
    }

    /// A public key: base64 of SubjectPublicKeyInfo, bare or in PEM.
    pub(super) fn public_key(&self, what: &str) -> Result<Vec<u8>> {
        let body = self.text(what)?.replace("-----BEGIN PUBLIC KEY-----", "").replace("-----END PUBLIC KEY-----", "");
        let body: String = body.chars().filter(|character| !character.is_whitespace()).collect();
        STANDARD.decode(body).map_err(|_| incomplete(what))
    }

    /// Refuses an answer that is about another key.
    pub(super) fn check_name(&self, name: &str) -> Result<()> {
        match self.find("name") {
            Some(told) if told.as_str() != Some(name) => {
                Err(KsError::new(Class::Corrupt, "the key server answers with another key"))
            }
            _ => Ok(()),
        }
    }

    /// Items of a list: name and algorithm of each.
    pub(super) fn items(&self) -> Result<Vec<(String, String)>> {
        let items = self.find("keys").and_then(Value::as_array).ok_or_else(|| incomplete("keys"))?;
        let field = |item: &Value, what: &str| {
            let value = item.pointer(self.operation.answer.get(what)?)?;
            Some(value.as_str()?.to_owned())
        };
        Ok(items.iter().filter_map(|item| Some((field(item, "item-name")?, field(item, "item-algorithm")?))).collect())
    }

    /// How many items of a list there are, readable or not.
    pub(super) fn item_count(&self) -> usize {
        self.find("keys").and_then(Value::as_array).map_or(0, Vec::len)
    }
}

fn incomplete(what: &str) -> KsError {
    KsError::new(Class::Corrupt, format!("the key server's answer has no usable {what}"))
}

fn request(operation: &Operation, values: &Values) -> Result<HttpRequest> {
    let body = operation.body.as_ref().map(|body| template::fill(body, values)).transpose()?;
    let body = body.map(|body| serde_json::to_vec(&body).map(Bytes::from));
    Ok(HttpRequest {
        // The profile's check let only known methods through.
        method: Method::from_bytes(operation.method.as_bytes()).unwrap_or(Method::GET),
        path: template::fill_path(&operation.path, values)?,
        authorization: None,
        body: body.transpose().map_err(|error| KsError::parameters(error.to_string()))?,
    })
}

fn secret_header(kind: &str, secret: &str) -> Result<HeaderValue> {
    let text = Zeroizing::new(format!("{kind}{secret}"));
    let mut header =
        HeaderValue::from_str(&text).map_err(|_| KsError::parameters("the credential cannot be sent in a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn password_text(user: &UserPassword) -> Result<&str> {
    std::str::from_utf8(user.password.expose()).map_err(|_| KsError::parameters("the password is not UTF-8"))
}
