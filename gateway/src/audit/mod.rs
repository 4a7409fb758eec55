//! The audit record: who did what, chained, committed with the effect.
//!
//! Events are packed: each group commit of the store writes the events it holds as one `audit_segment` row, whose MAC covers the
//! row and the MAC before it. The MAC key comes from the root key, so whoever edits the database cannot make the chain fit again.
//! Heads (the newest sequence number and MAC) are appended to `D/audit/heads` every minute and at shutdown, and each commit is
//! noted in `D/anchor`; both reveal a chain that was cut short.
//!
//! This module holds the events, the chain's arithmetic, the heads file and the verifier. The store's writer decides when a
//! segment is written; nobody else relies on sequence numbers.

mod chain;
mod event;
mod heads;
mod refusals;
mod search;
mod verify;

pub use chain::ChainHead;
pub(crate) use chain::{Segment, link};
pub(crate) use event::append_line;
pub use event::{Action, Actor, Details, Event, Outcome};
pub use heads::HeadsError;
pub(crate) use heads::{Heads, append_head, read_heads};
pub use refusals::Refusals;
pub use search::{Found, Position, PositionError, Search, actor_names, search};
pub(crate) use verify::Verifier;
pub use verify::{Finding, VerifyReport};
