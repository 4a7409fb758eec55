//! What each HTTP listener serves: the table of contents.
//!
//! Refusals need no route: 404, 405, 413 and 415 without a form of their own become problem details on their way out.

use std::sync::Arc;

use axum::{Json, Router, routing::get};

use super::{clients, public};
use crate::{
    api::{self, Api},
    app::App,
    operation::Gateway,
    rest,
};

/// One router for each listener.
pub struct Routers {
    /// `clients.listen`: peers with a certificate that is let in, and peers without any.
    pub clients: Router,
    /// `admin.listen`: administrators.
    pub admin: Router,
    /// `public.listen`: anybody, without TLS.
    pub public: Router,
}

/// The routers of a running gateway.
pub fn routers(app: &Arc<App>, gateway: &Arc<Gateway>) -> Routers {
    Routers {
        clients: Router::new().route("/v1/version", get(version)).merge(clients::routes(app)).merge(rest::router(app, gateway)),
        admin: api::for_administrators(Api::of(app)),
        public: public::routes(app),
    }
}

async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "name": "keygate", "version": env!("CARGO_PKG_VERSION") }))
}
