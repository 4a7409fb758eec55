//! Keystores: where keys live and are used.
//!
//! # The seams
//! [`Keystore`] makes, takes in, uses and destroys keys; [`KekProvider`] wraps the gateway's root key under a key that
//! stays in a device. The contract of both stands at their definition. Errors say what to do next ([`KsError`], [`Class`]).
//!
//! # The backends
//! - [`local`]: cryptography in this process (Envelope custody). Its functions are synchronous and may be called
//!   without the seam.
//! - [`pkcs11`]: a PKCS#11 token (InBackend custody, and a KEK for the seal).
//! - [`group`]: several tokens as one keystore (InBackend custody).
//! - [`kmip`], [`rest`]: a key server behind us, by KMIP or by JSON over HTTPS (InBackend custody). [`remote`] is what both
//!   share: TLS, endpoints, failover.
//! - `faulty` (feature `testing`): wraps a keystore and breaks chosen calls. `conformance` (likewise): the suite that
//!   every keystore passes.
//!
//! # How a caller goes about it
//! 1. Cryptographic Parameters of the request and the key -> a scheme: [`resolve`].
//! 2. Envelope custody: sealed record -> [`local::KeyMaterial`] -> [`local::PreparedKey`] (cache it) ->
//!    [`local::encrypt`], [`local::sign`]... InBackend custody: stored [`KeyRef`] -> [`Keystore::crypto`] with a
//!    [`CryptoOp`].
//!
//! This crate knows nothing of databases or configuration files. Sockets are in [`remote`] and KMIP messages in [`kmip`]
//! only; everything else uses the enumerations of the KMIP crate.

#[cfg(feature = "testing")]
pub mod conformance;
mod error;
#[cfg(feature = "testing")]
pub mod faulty;
pub mod group;
mod key;
mod keystore;
pub mod kmip;
mod lattice;
pub mod local;
mod names;
mod operation;
pub mod pkcs11;
pub mod remote;
pub mod resolve;
pub mod rest;
mod secret;

pub use error::{Class, DeviceCode, Fault, KsError, Result};
pub use key::{Held, HeldPair, Key, KeyCheck, KeyClass, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
pub use keystore::{
    BoxFuture, Capabilities, Custody, Descriptor, Figures, Health, KekDescriptor, KekProvider, KeyInfo, Keystore, Locked, OpCx,
};
pub use lattice::{MlDsa, MlKem, SHARED_SECRET_OCTETS};
pub use operation::{
    BlockPadding, CryptoOp, CryptoOut, DecryptOp, Encapsulated, EncryptOp, Encrypted, EncryptionScheme, Iv, MacScheme, SignInput,
    SignatureScheme,
};
pub use secret::SecretBytes;
