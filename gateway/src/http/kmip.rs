//! KMIP over HTTPS: `POST /kmip` on the KMIP listener, HTTP/1.1 and HTTP/2. KMIP Profiles 2.1 §5.2 to §5.4 (HTTPS, JSON and XML).
//!
//! A body is one request message in TTLV, XML or JSON, as its Content-Type says; the answer comes in the same. Texts are read
//! into TTLV and answers written from it, so what a message means, and every limit on it, is the same in each encoding.
//! What cannot be read as a message is answered by a KMIP message; what is no such request at all, by a status of HTTP.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header},
    response::IntoResponse as _,
};
use hyper::body::Incoming;
use keygate_kmip::{event::TtlvSink, json, ttlv, xml};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::{
    activity::{Activity, UnderWay},
    body,
    connection::{self, Served},
    problem::Problem,
};
use crate::{
    identity::{Caller, Refusal},
    listen::{FrameHandler, PeerInfo, Reason, Registry, Session, Unreadable},
    telemetry::Metrics,
};

const PATH: &str = "/kmip";
/// What an answer may hold when it is written as text: it was bounded when it was made.
const OWN: ttlv::Limits = ttlv::Limits { message_bytes_max: usize::MAX, depth_max: 256, items_max: usize::MAX };

/// What all requests of the listener share.
pub(crate) struct KmipOverHttp<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Answers the requests of an identified connection until either side ends it.
pub(crate) async fn serve<H, S>(shared: KmipOverHttp<H>, stream: S, is_http2: bool, session: Session)
where
    H: FrameHandler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = session.connection().clone();
    connection.is_told_of_its_end();
    let served = Served { stream, is_http2, connection, registry: shared.registry.clone() };
    let shared = Arc::new(shared);
    let session = Arc::new(Mutex::new(session));
    // As over bare TLS, an operation takes the time it takes; the body has a deadline of its own.
    connection::serve(served, Duration::MAX, |activity| Requests { shared, activity, session }).await;
}

/// The requests of one connection.
struct Requests<H> {
    shared: Arc<KmipOverHttp<H>>,
    activity: Arc<Activity>,
    session: Arc<Mutex<Session>>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Refusal>> + Send>>;

impl<H: FrameHandler> hyper::service::Service<Request<Incoming>> for Requests<H> {
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = Answer;

    /// An error ends the connection without an answer.
    fn call(&self, request: Request<Incoming>) -> Answer {
        let connection = &self.activity.connection;
        if let Err(refusal) = caller_of(&self.session) {
            connection.close(Reason::Refused, self.activity.registry.now(), None);
            return Box::pin(std::future::ready(Err(refusal)));
        }
        // RFC 9112 §6.3: of a message with both Transfer-Encoding and Content-Length "the server MUST close the connection after
        // responding [...] to avoid the potential attacks". hyper heeds the first and forgets the second, so any chunked request
        // is the last of its connection.
        let is_last = request.version() < Version::HTTP_2 && request.headers().contains_key(header::TRANSFER_ENCODING);
        let peer = PeerInfo { address: connection.address, connection: connection.id, can_turn: false };
        let under_way = UnderWay::begin(&self.activity);
        let (shared, session) = (self.shared.clone(), self.session.clone());
        Box::pin(async move {
            let answered = shared.answer(request, peer, &session).await;
            drop(under_way);
            answered.map(|mut response| {
                if is_last {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            })
        })
    }
}

fn caller_of(session: &Mutex<Session>) -> Result<Arc<Caller>, Refusal> {
    // A panic while it is held leaves the session itself whole.
    session.lock().unwrap_or_else(PoisonError::into_inner).caller()
}

impl<H: FrameHandler> KmipOverHttp<H> {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: PeerInfo, session: &Mutex<Session>) -> Result<Response<Body>, Refusal> {
        let (encoding, text_limits) = match check(&request) {
            Ok(encoding) => (encoding, self.handler.text_limits()),
            Err(refused) => return Ok(*refused),
        };
        let waits = request.headers().contains_key(header::EXPECT);
        let max = if encoding.is_text() { text_limits.text_bytes_max } else { text_limits.message_bytes_max };
        let wait = Duration::from_millis(self.registry.timing.frame.saturating_mul(100));
        let body = match tokio::time::timeout(wait, body::receive(request.into_body(), max, waits)).await {
            Ok(Ok(body)) => body,
            Ok(Err(problem)) => return Ok(problem.into_response()),
            Err(_) => return Ok(Problem::too_slow(wait).into_response()),
        };
        // The body took its time: whose message it is may have changed meanwhile.
        let caller = caller_of(session)?;
        // A client that hangs up must not stop an operation half way, as it cannot over bare TLS.
        let work = tokio::spawn(self.perform(caller, peer, encoding, body, text_limits));
        Ok(work.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
    }

    async fn perform(
        self: Arc<Self>,
        caller: Arc<Caller>,
        peer: PeerInfo,
        encoding: Encoding,
        body: Zeroizing<Vec<u8>>,
        limits: xml::Limits,
    ) -> Response<Body> {
        let started = Instant::now();
        let mut answer = Zeroizing::new(Vec::new());
        match encoding.to_ttlv(body, limits) {
            Ok(frame) => drop(self.handler.handle(&caller, peer, &frame, &mut answer).await),
            Err(reason) => {
                self.metrics.unreadable(peer.connection);
                self.handler.unreadable(reason, &mut answer);
            }
        }
        self.metrics.message(peer.connection, started.elapsed());
        encoding.response(answer)
    }
}

/// What a request must be before its body is looked at. Refusals are boxed: they are rare and large.
fn check(request: &Request<Incoming>) -> Result<Encoding, Box<Response<Body>>> {
    // KMIP Profiles §5.2: "The KMIP message SHALL be transferred by POST to /kmip".
    if request.uri().path() != PATH {
        return Err(Box::new(Problem::not_found().into_response()));
    }
    if request.method() != Method::POST {
        let mut response = Problem::method_not_allowed().into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Err(Box::new(response));
    }
    let headers = request.headers();
    let is_framed = headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    if request.version() < Version::HTTP_2 && !is_framed {
        let detail = "a message needs Content-Length, or Transfer-Encoding: chunked";
        let problem = Problem::new(StatusCode::LENGTH_REQUIRED, "length-required", "length required", detail);
        return Err(Box::new(problem.into_response()));
    }
    Encoding::of(headers).ok_or_else(|| Box::new(Problem::unsupported_media_type(EXPECTED).into_response()))
}

const EXPECTED: &str = "application/octet-stream (TTLV), text/xml, application/xml or application/json, in UTF-8 and not compressed";

/// How a message is written in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Ttlv,
    Xml,
    /// XML, called `text/xml`.
    XmlText,
}

impl Encoding {
    /// By the one Content-Type; `None` if it is no encoding of KMIP, or the body is compressed.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(media_type), None) = (types.next(), types.next()) else { return None };
        if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return None;
        }
        let mut parts = media_type.to_str().ok()?.split(';').map(str::trim);
        let essence = parts.next()?;
        let encodings = [Self::Json, Self::Ttlv, Self::Xml, Self::XmlText];
        let encoding = encodings.into_iter().find(|encoding| essence.eq_ignore_ascii_case(encoding.media_type()))?;
        let is_utf8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => value.trim_matches('"').eq_ignore_ascii_case("utf-8"),
            _ => true,
        };
        parts.all(is_utf8).then_some(encoding)
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ttlv => "application/octet-stream",
            Self::Xml => "application/xml",
            Self::XmlText => "text/xml",
        }
    }

    const fn is_text(self) -> bool {
        !matches!(self, Self::Ttlv)
    }

    fn to_ttlv(self, body: Zeroizing<Vec<u8>>, limits: xml::Limits) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        if self == Self::Ttlv {
            return Ok(body);
        }
        let text = std::str::from_utf8(&body).map_err(|error| Unreadable::NotUtf8 { at: error.valid_up_to() })?;
        let mut sink = TtlvSink::new();
        match self {
            Self::Json => json::read(text, &mut sink, limits),
            _ => xml::read(text, &mut sink, limits),
        }
        .map_err(Unreadable::Text)?;
        Ok(sink.into_bytes())
    }

    /// An answer in this encoding. It may hold key material: its octets are wiped when they are sent.
    fn response(self, answer: Zeroizing<Vec<u8>>) -> Response<Body> {
        let body = match self {
            Self::Ttlv => Ok(Bytes::from_owner(answer)),
            Self::Json => json::write(&answer, &OWN).map(Bytes::from_owner),
            Self::Xml | Self::XmlText => xml::write(&answer, &OWN, xml::Masking::None).map(Bytes::from_owner),
        };
        let Ok(body) = body else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
