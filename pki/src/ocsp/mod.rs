//! OCSP (RFC 6960), in its lightweight profile (RFC 5019, renewed by RFC 9919) with nonces (RFC 9654).
//!
//! What it does: reads requests with limits, builds and signs responses with a delegated responder's key or the issuer's
//! own. What it leaves to others: HTTP, which certificate has which status, caching.
//!
//! Known limits: signed requests are answered without looking at the signature; responder identifiers are by key.

mod cert_id;
mod request;
mod response;

pub use cert_id::{CertId, IssuerIds};
pub use request::{OCSP_CERTS_MAX, OCSP_REQUEST_BYTES_MAX, OcspRequest, OcspRequestError};
pub use response::{OcspFailure, OcspResponder, OcspTimes, Status};
