//! What machines ask for: certificates, over EST ([`est`]) and as JSON ([`json`]).
//!
//! Reads who asks and what, and words the answer; who gets a certificate is decided in `provisioning`, for all protocols alike.

mod credential;
mod est;
mod json;
mod refusal;

use std::sync::Arc;

use axum::Router;

use crate::app::App;

/// The routes of `clients.listen`.
pub(super) fn routes(app: &Arc<App>) -> Router {
    est::routes().merge(json::routes()).with_state(app.clone())
}
