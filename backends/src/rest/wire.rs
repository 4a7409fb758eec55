//! HTTP/1.1 over a TLS connection: one request, one answer, bounded.

use crate::remote::{Address, Broken, Protocol};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::error::Error;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// Octets of an answer.
const ANSWER_MAX: usize = 1024 * 1024;

/// HTTP/1.1.
pub(super) struct Http;

/// A request without its host, which is the endpoint's.
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: Option<Bytes>,
}

/// An answer.
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// A connection, driven by a task of its own that ends with it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Protocol for Http {
    type Connection = Connection;
    type Request = HttpRequest;
    type Response = HttpAnswer;

    async fn open(&self, stream: TlsStream<TcpStream>, address: &Address) -> Result<Connection, String> {
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        // What ends it shows in the next request's error.
        tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, host: address.to_string() })
    }

    fn is_open(&self, connection: &mut Connection) -> bool {
        connection.sender.is_ready() && !connection.sender.is_closed()
    }

    async fn exchange(&self, connection: &mut Connection, request: &HttpRequest) -> Result<HttpAnswer, Broken> {
        connection.sender.ready().await.map_err(|error| Broken::Unsent(chain(&error)))?;
        let built = build(request, &connection.host).map_err(|error| Broken::Unsent(chain(&error)))?;
        let answer = connection.sender.send_request(built).await.map_err(|error| match error.is_canceled() {
            true => Broken::Unsent(chain(&error)),
            false => Broken::Unanswered(chain(&error)),
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| {
            Broken::Unanswered(format!("the answer cannot be read (limit {ANSWER_MAX} octets): {error}"))
        })?;
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type: String = content_type.chars().take(60).collect();
        let body = Zeroizing::new(body.to_bytes().to_vec());
        // What stands before a server that is away answers so, or with a page for people: not the server's own answer.
        if matches!(head.status.as_u16(), 502..=504) {
            return Err(Broken::Unanswered(format!("the answer has status {}", head.status.as_u16())));
        }
        if head.status.is_success() && !body.is_empty() && !content_type.contains("json") {
            return Err(Broken::Unanswered(format!("the answer is {content_type:?}, not JSON")));
        }
        Ok(HttpAnswer { status: head.status, body })
    }
}

fn build(request: &HttpRequest, host: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut builder = Request::builder()
        .method(&request.method)
        .uri(&request.path)
        .header(HOST, host)
        .header(ACCEPT, "application/json");
    if let Some(authorization) = &request.authorization {
        builder = builder.header(AUTHORIZATION, authorization);
    }
    if request.body.is_some() {
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    builder.body(Full::new(request.body.clone().unwrap_or_default()))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
