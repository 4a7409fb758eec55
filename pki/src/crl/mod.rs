//! Certificate revocation lists (RFC 5280 §5): full ones for parents, shards for clients, final ones for dead keys.
//!
//! What it does: keeps revoked serial numbers as encoded entries in one buffer, and puts a list around them that is
//! signed in a step of its own. What it leaves to others: CRL numbers (persisted before a list is published), which
//! certificate belongs to which shard, and when to publish.
//!
//! No delta CRLs and no indirect CRLs: most relying parties cannot use them.

mod list;
mod reason;
mod revoked;

pub use list::{Crl, CrlScope, CrlTimes, NewCrl, UnsignedCrl};
pub use reason::{Reason, ReasonError};
pub use revoked::{RevokedList, SHARD_SERIALS_MAX};
