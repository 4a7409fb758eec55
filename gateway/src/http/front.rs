//! What every HTTP request passes on its way to a router: its peer is asked about again, its body is received whole, within
//! size and time, and its answer has a deadline.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Method, Request, Response, header},
    response::IntoResponse as _,
};
use hyper::body::Incoming;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt as _;

use super::{
    activity::{Activity, UnderWay},
    body,
    connection::{self, Served},
    counts::HttpCounts,
    problem::{self, Problem},
    session::Session,
};
use crate::{identity::Refusal, listen::Reason};

/// Longest time a handler may take.
const HANDLING: Duration = Duration::from_secs(60);

/// Who sent a request: an extension of every request a router sees.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The peer's address.
    pub address: SocketAddr,
    /// Number of the connection, unique in this process.
    pub connection: u64,
    /// The chain it presented, leaf first, which the listener's doorkeeper has let in; `None` where it presented none.
    pub certificates: Option<Arc<[CertificateDer<'static>]>>,
}

/// What the connections of a listener share.
pub(super) struct Front {
    pub(super) router: Router,
    /// Methods that are passed on; all where empty.
    pub(super) methods: &'static [Method],
    pub(super) body_bytes_max: usize,
    /// Longest time from the end of the header to the last octet of the body.
    pub(super) body_wait: Duration,
    pub(super) counts: Arc<HttpCounts>,
}

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) front: Arc<Front>,
    pub(super) activity: Arc<Activity>,
    pub(super) peer: Peer,
    pub(super) session: Option<Arc<Session>>,
}

impl Requests {
    /// Answers the requests of a connection until either side ends it.
    pub(super) async fn serve<S>(served: Served<S>, front: Arc<Front>, peer: Peer, session: Option<Session>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // The whole of a request: its body, its handler, and a second for what lies between.
        let request = front.body_wait + HANDLING + Duration::from_secs(1);
        let session = session.map(Arc::new);
        connection::serve(served, request, |activity| Self { front, activity, peer, session }).await;
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Refusal>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = Answer;

    /// An error ends the connection without an answer.
    fn call(&self, request: Request<Incoming>) -> Answer {
        if let Err(refusal) = self.session.as_ref().map_or(Ok(()), |session| session.recheck()) {
            let registry = &self.activity.registry;
            self.activity.connection.close(Reason::Refused, registry.now(), None);
            return Box::pin(std::future::ready(Err(refusal)));
        }
        let under_way = UnderWay::begin(&self.activity);
        self.front.counts.request();
        let (front, peer) = (self.front.clone(), self.peer.clone());
        Box::pin(async move {
            let response = front.answer(request, peer).await;
            drop(under_way);
            Ok(response)
        })
    }
}

impl Front {
    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        if !self.methods.is_empty() && !self.methods.contains(request.method()) {
            return self.refuse_method();
        }
        let (mut parts, body) = request.into_parts();
        // RFC 9110 §10.1.1: who expects 100 Continue waits for it before sending its body; a refusal is read at once.
        let waits = parts.headers.contains_key(header::EXPECT);
        let body = match tokio::time::timeout(self.body_wait, body::receive(body, self.body_bytes_max, waits)).await {
            Ok(Ok(body)) => body,
            Ok(Err(problem)) => return problem.into_response(),
            Err(_) => return Problem::too_slow(self.body_wait).into_response(),
        };
        parts.extensions.insert(peer);
        let request = Request::from_parts(parts, Body::from(Bytes::from_owner(body)));
        match tokio::time::timeout(HANDLING, self.router.clone().oneshot(request)).await {
            Ok(answered) => {
                let response = answered.unwrap_or_else(|never: Infallible| match never {});
                problem::in_words(response, self.body_bytes_max)
            }
            Err(_) => Problem::deadline(HANDLING).into_response(),
        }
    }

    fn refuse_method(&self) -> Response<Body> {
        let names: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        let mut response = Problem::method_not_allowed().into_response();
        if let Ok(allow) = HeaderValue::from_str(&names.join(", ")) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}
