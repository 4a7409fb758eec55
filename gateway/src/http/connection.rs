//! One HTTP connection, from its first request to its end. hyper speaks HTTP/1.1 and HTTP/2; the registry keeps the time.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response},
};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::activity::{Activity, Watched};
use crate::{
    identity::Refusal,
    listen::{Connection, Registry},
};

/// Longest request line and header fields together.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header fields of a request.
const HEADERS_MAX: usize = 64;
/// Most requests at a time on an HTTP/2 connection: each may hold a body.
const STREAMS_MAX: u32 = 8;
/// How long a connection without a request under way may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(300);

/// A connection that may send requests.
pub(super) struct Served<S> {
    pub(super) stream: S,
    pub(super) is_http2: bool,
    pub(super) connection: Arc<Connection>,
    pub(super) registry: Arc<Registry>,
}

/// Answers requests until either side ends the connection. `request`: longest time for one, its body and its handler.
pub(super) async fn serve<S, R>(served: Served<S>, request: Duration, requests: impl FnOnce(Arc<Activity>) -> R)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: Service<Request<Incoming>, Response = Response<Body>, Error = Refusal>,
    R::Future: Send + 'static,
{
    let Served { stream, is_http2, connection, registry } = served;
    let activity = Activity::new(connection.clone(), registry, is_http2, request);
    let requests = requests(activity.clone());
    let builder = builder(is_http2);
    let stream = TokioIo::new(Watched { stream, activity: activity.clone() });
    let mut hyper = pin!(builder.serve_connection(stream, requests));
    let ended = tokio::select! {
        ended = hyper.as_mut() => Some(ended),
        () = connection.asked_to_end() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        // Where the peer is refused, its socket is shut already, and this ends at once.
        None => {
            hyper.as_mut().graceful_shutdown();
            if activity.is_resting() {
                // HTTP/1.1 would wait for a request that has not begun.
                tokio::time::timeout(GOODBYE, hyper).await.unwrap_or(Ok(()))
            } else {
                hyper.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %connection.address, connection = connection.id, error, "connection ended");
    }
}

fn builder(is_http2: bool) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // No timer: the registry ends what takes too long.
    builder.http1().max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    builder.http2().max_concurrent_streams(STREAMS_MAX).max_header_list_size(HEAD_BYTES_MAX as u32);
    if is_http2 { builder.http2_only() } else { builder.http1_only() }
}
