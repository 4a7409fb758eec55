//! What a member of a group can do beyond a keystore: hold the group's wrapping key, and give and take keys under it.

use crate::error::Result;
use crate::key::{KeyClass, KeyId};
use crate::keystore::{BoxFuture, Keystore, OpCx};
use crate::local::KeyMaterial;
pub use crate::pkcs11::{Carried, TransportKey, WrappedKey, Wrapping};

/// A keystore that can be a member of a group. The contract of [`Keystore`] holds; what is wrapped or unwrapped changes
/// nothing, except where a key is made.
pub trait Replica: Keystore {
    /// The mechanisms by which it wraps and unwraps keys, the best first; empty before it was probed.
    fn wrap_mechanisms(&self) -> Vec<u64>;

    /// From now on keys are made so that they may leave, wrapped; `trusted`: under trusted wrapping keys alone. A
    /// token that refuses such keys makes them as ever.
    fn let_keys_leave(&self, trusted: bool);

    /// The wrapping key of this label; `None` if there is none.
    fn wrapping<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<Option<Wrapping>>>;

    /// Makes a wrapping key.
    fn make_wrapping<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<Wrapping>>;

    /// Makes a pair that takes the wrapping key in. An older offer ends.
    fn offer_transport<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<TransportKey>>;

    /// Wraps the wrapping key for another member, with SHA-256 or SHA-1 in RSA-OAEP.
    fn carry_out<'a>(
        &'a self,
        label: &'a str,
        to: &'a TransportKey,
        sha256: bool,
        cx: OpCx,
    ) -> BoxFuture<'a, Result<Carried>>;

    /// Takes the wrapping key in. The offer ends.
    fn carry_in<'a>(&'a self, label: &'a str, carried: &'a Carried, cx: OpCx) -> BoxFuture<'a, Result<Wrapping>>;

    /// A key, wrapped. `Denied` for one that must not leave.
    fn wrap_out<'a>(&'a self, key: (KeyId, KeyClass), by: &'a Under, cx: OpCx) -> BoxFuture<'a, Result<WrappedKey>>;

    /// Takes a wrapped key in. `BadInput(Integrity)` if it was wrapped under another key.
    fn unwrap_in<'a>(&'a self, id: KeyId, by: &'a Under, wrapped: &'a WrappedKey, cx: OpCx) -> BoxFuture<'a, Result<()>>;

    /// Whether the member's own key is the wrapped one; `NotFound` if it has none.
    fn is_same<'a>(
        &'a self,
        key: (KeyId, KeyClass),
        by: &'a Under,
        wrapped: &'a WrappedKey,
        cx: OpCx,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Makes the key of the group's self-test, an RSA pair.
    fn make_test_key<'a>(&'a self, id: KeyId, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<()>>;

    /// The public half of the self-test's key, as the member tells it; `NotFound` if it has none.
    fn test_key(&self, id: KeyId, cx: OpCx) -> BoxFuture<'_, Result<KeyMaterial>>;
}

/// The wrapping key, and how it wraps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Under {
    /// Label of the wrapping key.
    pub label: String,
    /// Mechanisms that all members have, the best first.
    pub mechanisms: Vec<u64>,
}
