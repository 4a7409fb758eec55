//! Imports: keys from files become managed objects of a client.
//!
//! The command reads and decrypts files (`read`, `pem`, `pkcs12`, `ours`), so that passwords stay with it, and sends keys over
//! the admin API, some at a time; the server registers them as the client itself would (`take.rs`). Links between them follow
//! when all are there ([`restore`]).
//!
//! Leaves to others: what registering means (`operation`), arguments and reports (`cli`).

mod document;
mod links;
mod ours;
mod pem;
mod pkcs12;
mod read;
mod take;

pub use links::{FileLinks, LinkOrder, LinkReport, restore};
pub use read::{Credentials, Encoding, Found, ImportError, Kind, read};
pub use take::{FileLink, ImportItem, ImportOrder, ImportReport, Line, take};
