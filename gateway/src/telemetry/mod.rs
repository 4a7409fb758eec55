//! Logs, metrics, health: what the people who run the gateway look at. Never part of a decision, never a secret.

mod logs;
mod metrics;
mod readiness;
mod status;

pub use logs::init_logs;
pub use metrics::{HandshakeFailure, Metrics, MetricsSource, OPERATION_CODES_MAX, Sample, Whose};
pub use readiness::{ComponentState, Readiness};
pub use status::{StatusInfo, StatusListener};
