//! The hierarchy that provisioning keys stand in: root, organisation issuer, one issuing CA per key, clients.
//!
//! What it does: says what each tier's certificates contain, issues, renews and cross-signs them, writes the request for
//! an issuer that is signed outside, and checks the certificate that comes back.
//!
//! A renewal with the same key, and a cross-certificate, are *further certificates of the same key*: relying parties
//! accept a chain through any of them that is not on a CRL. Whoever revokes a key must list the serial numbers of all of
//! them, under every parent.

mod import;
mod issue;
mod location;
mod request;
pub mod rotation;
mod tier;
mod window;

pub use import::{ImportError, ImportedIssuer};
pub use issue::Draft;
pub use location::{HTTP_URL_BYTES_MAX, HttpUrl, Locations, UrlError};
pub use request::NewRequest;
pub use tier::{CLIENT_DAYS_DEFAULT, Tier};
pub use window::Window;
pub(crate) use window::{asn1_time, date_time};
