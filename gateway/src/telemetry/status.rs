//! The status listener: plain HTTP for probes and Prometheus, by default on loopback. It answers GET and knows no secret.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Serialize;
use tokio::{net::TcpListener, sync::watch};

use super::{metrics::Metrics, readiness::{ComponentState, Readiness}};

/// What `/status` tells.
#[derive(Debug, Clone, Serialize)]
pub struct StatusInfo {
    /// Version of the gateway.
    pub version: &'static str,
    /// Section name of each listener and its address.
    pub listeners: std::collections::BTreeMap<&'static str, SocketAddr>,
    /// Unix time of the start.
    pub started: i64,
    /// Settings that decide what KMIP clients may do, by name.
    pub policies: std::collections::BTreeMap<&'static str, String>,
}

/// A bound status listener.
pub struct StatusListener {
    listener: TcpListener,
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    info: Arc<StatusInfo>,
}

impl StatusListener {
    /// Binds.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(|listener| Self { listener })
    }

    /// The bound address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` becomes true.
    pub async fn run(self, metrics: Arc<Metrics>, readiness: Arc<Readiness>, info: StatusInfo, mut stop: watch::Receiver<bool>) {
        let shared = Shared { metrics, readiness, info: Arc::new(info) };
        let router = Router::new()
            .route("/health", get(|| async { "ok\n" }))
            .route("/ready", get(ready))
            .route("/status", get(status))
            .route("/metrics", get(metrics_text))
            .with_state(shared);
        let stopped = async move {
            // The sender is gone only when the process ends.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(self.listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "status listener ended");
        }
    }
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let components = shared.readiness.snapshot();
    let stopping = shared.readiness.is_stopping();
    let ready = !stopping && components.values().all(ComponentState::serves);
    let degraded = components.values().any(|state| matches!(state, ComponentState::Degraded { .. }));
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(serde_json::json!({ "ready": ready, "degraded": degraded, "stopping": stopping, "components": components })))
}

async fn status(State(shared): State<Shared>) -> impl IntoResponse {
    let components = shared.readiness.snapshot();
    Json(serde_json::json!({ "info": *shared.info, "components": components }))
}

async fn metrics_text(State(shared): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics.render())
}
