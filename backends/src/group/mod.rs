//! Several tokens as one logical keystore: every key on all of them, reads by any, no single one missed.
//!
//! - **Keys** have the same id, label and [`crate::KeyRef`] on every member. They are made on the first member that
//!   serves, and go to the others wrapped under a key that all members hold (the *replication key*). Nothing is ever in
//!   clear outside the tokens. A copy counts after it was compared.
//! - **Reads** go to any member whose copy is known to be good, and on to the next where one fails or is late.
//! - **Members** that were away, or that nobody knows yet, join: their replication key, their self-test and then their
//!   keys are compared with the others', and what they miss is copied. Nothing is destroyed by that: keys that were
//!   destroyed while a member was away are destroyed there by whoever destroyed them, because [`Keystore::destroy`]
//!   fails until the last member has followed (the gateway keeps its intent until then).
//!
//! What happens where:
//! - `keystore.rs`: the seam. `read.rs`: which member answers. `write.rs`: making and destroying on all of them.
//! - `copy.rs`: one key from member to member, and which copies are good. `join.rs`: how a member comes to serve.
//! - `keeper.rs`: the thread that watches members, tests them, and lets them catch up, key by key.
//! - `book.rs`: what is known of members and keys, and what follows from it; no device, no clock.
//! - `replica.rs`: what a member must be able to do ([`crate::pkcs11::Pkcs11Keystore`] does).
//!
//! Known limits: keys that a token makes without letting them leave stay on that one member; members that disagree about a
//! key none of them vouches for serve it no more, until an operator has removed the wrong one.

mod book;
#[cfg(test)]
mod book_tests;
mod copy;
mod join;
mod keeper;
mod keystore;
mod read;
mod replica;
mod status;
mod write;

pub use book::MEMBERS_MAX;
pub use keystore::{Group, GroupSettings};
pub use replica::{Carried, Replica, TransportKey, Under, WrappedKey, Wrapping};
pub use status::{MemberState, MemberStatus};

#[cfg(doc)]
use crate::keystore::Keystore;
