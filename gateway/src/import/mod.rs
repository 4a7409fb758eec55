//! Imports: keys from files become managed objects of a client.
//!
//! The command reads and decrypts files (`read`, `pem`, `pkcs12`, `ours`), so that passwords stay with it, and sends keys over
//! the local admin socket, some hundred at a time; the server registers them as the client itself would ([`take`]).
//!
//! Leaves to others: what registering means (`operation`), arguments and reports (`cli`).

mod ours;
mod pem;
mod pkcs12;
mod read;
mod take;

pub use read::{Credentials, Encoding, Found, ImportError, Kind, read};
pub use take::{ImportItem, ImportOrder, ImportReport, Line, take};
