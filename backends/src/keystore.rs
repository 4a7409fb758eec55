//! The two seams and their contract.
//!
//! **Both seams.** Calls are cancel-safe for the caller: a dropped future stops the waiting, not the device. Every call
//! has a deadline ([`OpCx`]); a call whose deadline passes before the device has begun it was not done (`Busy`), one
//! that passes later answers `OutcomeUnknown` if it changes something and `RetryOther` if it does not. All methods may
//! be called from many tasks at once; none blocks the async runtime. A keystore that lost its device answers
//! `TokenLost` at once, looks for the device by itself and serves again without being made anew. Nothing is retried
//! that could have taken effect, and no PIN is offered twice after a refusal.

use crate::error::Result;
use crate::group::MemberStatus;
use crate::key::{Held, HeldPair, Key, KeyClass, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
use crate::local::KeyMaterial;
use crate::operation::{CryptoOp, CryptoOut};
use crate::secret::SecretBytes;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// A future on the heap: what keeps the seams object-safe. One allocation beside a device call of 50 microseconds is
/// nothing.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What accompanies a call.
#[derive(Clone, Copy, Debug)]
pub struct OpCx {
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl OpCx {
    /// A deadline this long from now.
    pub fn within(duration: Duration) -> Self {
        Self { deadline: Instant::now() + duration }
    }

    /// What is left, zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Wraps and unwraps root keys and keyrings under a key that never leaves a device. For sealing, not for traffic.
pub trait KekProvider: Send + Sync {
    /// A stable name of the wrapping key, for the seal's own record and for messages.
    fn describe(&self) -> KekDescriptor;

    /// Wraps up to 4 KiB and binds `aad`: unwrapping with another `aad` fails with `BadInput(Integrity)`.
    /// The result is self-contained (mechanism, nonce, tag) and readable by later versions.
    fn wrap<'a>(&'a self, plain: &'a SecretBytes, aad: &'a [u8], cx: OpCx) -> BoxFuture<'a, Result<Vec<u8>>>;

    /// The reverse. A blob that was changed, or wrapped under another key, fails with `BadInput(Integrity)`.
    fn unwrap<'a>(&'a self, wrapped: &'a [u8], aad: &'a [u8], cx: OpCx) -> BoxFuture<'a, Result<SecretBytes>>;

    /// How it is, without touching the device.
    fn health(&self) -> Health;
}

/// What identifies a wrapping key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KekDescriptor {
    /// Kind of provider: `pkcs11`.
    pub kind: &'static str,
    /// Where and which: token label and serial, key id.
    pub name: String,
}

/// A place where keys live or are made.
pub trait Keystore: Send + Sync {
    /// What it can do, as last probed. Cheap.
    fn descriptor(&self) -> Descriptor;

    /// Asks the device again what it can do, and remembers it.
    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>>;

    /// Makes a symmetric key under the caller's id. Durable when answered. Ids are random: whether one is taken is not
    /// looked up.
    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> BoxFuture<'a, Result<Held>>;

    /// Makes a key pair under the caller's id. Durable when answered; on failure neither half remains, or the answer is
    /// `OutcomeUnknown`.
    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>>;

    /// Takes key material in under the caller's id (symmetric or private; public keys need no keystore).
    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> BoxFuture<'a, Result<Held>>;

    /// Hands key material out, where custody allows it; `Denied` for a key that must not leave.
    fn export<'a>(&'a self, key: Key<'a>, cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>>;

    /// Uses a key.
    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>>;

    /// Random octets from the keystore's own generator.
    fn random(&self, len: usize, cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>>;

    /// Looks a key up and compares its [`crate::KeyCheck`]: `NotFound` when it is gone, `Corrupt` when it is another
    /// key.
    fn info<'a>(&'a self, key: &'a KeyRef, cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>>;

    /// Destroys every object of the id. `NotFound` when there is none (the caller treats that as done). `OutcomeUnknown`
    /// also while a member of a group that is away may still have it: the caller asks again later.
    fn destroy<'a>(&'a self, id: KeyId, cx: OpCx) -> BoxFuture<'a, Result<()>>;

    /// All keys that this gateway made or took in, for reconciliation at start. Slow on tokens, never for traffic.
    fn list(&self, cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>>;

    /// How it is, without touching the device.
    fn health(&self) -> Health;

    /// Lets a keystore that stopped at a refused PIN or password offer it once more: an operator says that it is mended.
    /// `secret` replaces it. Returns at once; [`Keystore::probe`] and [`Keystore::health`] tell what came of it, and after another refusal
    /// it stops again. Keystores without a secret have nothing to do.
    fn retry(&self, secret: Option<SecretBytes>) {
        drop(secret);
    }

    /// The serial number of the device that it is in, where there is one and it was seen. Without touching the device.
    fn serial(&self) -> Option<String> {
        None
    }

    /// What an operator wants to see of its insides, as far as it has such things. Cheap, and without touching the device.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// The members of a group, in the order of configuration; none where the keystore is no group. Cheap, and without
    /// touching a device.
    fn members(&self) -> Vec<MemberStatus> {
        Vec::new()
    }
}

/// The insides of a keystore in figures; `None` where a backend has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Sessions or connections with the device.
    pub sessions: Option<u32>,
    /// Calls that wait for one.
    pub queued: Option<u32>,
    /// How often the device was opened anew, the first time included: logins of worker processes, or endpoints found.
    pub generation: Option<u64>,
    /// Worker processes that are logged in.
    pub workers: Option<u32>,
    /// Keys that were looked up on the device, by a search that is linear in most of them.
    pub finds: Option<u64>,
    /// Microseconds of such a search, the newest ones counting most.
    pub find_us: Option<u64>,
    /// What of the workers' memory may not be written to a swap device.
    pub locked: Option<Locked>,
}

/// How much of a process's memory stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locked {
    /// None: RLIMIT_MEMLOCK is too low.
    Nothing,
    /// What there was at the login; RLIMIT_MEMLOCK does not allow for what comes later.
    AtLogin,
    /// All of it.
    Everything,
}

/// What a keystore is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its configured name.
    pub id: KeystoreId,
    /// The kind of backend: `local`, `pkcs11`.
    pub kind: &'static str,
    /// Who keeps the keys.
    pub custody: Custody,
    /// What it can do.
    pub can: Capabilities,
    /// Device, token and firmware as the device tells them; empty for `local`.
    pub device: String,
}

/// Who keeps a key's secret half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Custody {
    /// A sealed record in the gateway's own store; cryptography in this process.
    Envelope,
    /// The keystore's device; the key never leaves it.
    InBackend,
}

/// What a keystore offers, one flag per thing a caller may route on. Probed, not configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Generates AES keys.
    pub generate_aes: bool,
    /// Generates 3DES keys.
    pub generate_des3: bool,
    /// Generates HMAC keys.
    pub generate_hmac: bool,
    /// Generates ChaCha20 keys.
    pub generate_chacha20: bool,
    /// Generates RSA key pairs.
    pub generate_rsa: bool,
    /// Generates EC key pairs on P-256, P-384 and P-521.
    pub generate_ec: bool,
    /// Generates Ed25519 key pairs.
    pub generate_ed25519: bool,
    /// Generates ML-DSA key pairs.
    pub generate_ml_dsa: bool,
    /// Generates ML-KEM key pairs.
    pub generate_ml_kem: bool,
    /// Takes key material in.
    pub import: bool,
    /// Hands key material out.
    pub export: bool,
    /// ECDSA signatures.
    pub sign_ecdsa: bool,
    /// RSASSA-PKCS1-v1_5 signatures.
    pub sign_rsa_pkcs1: bool,
    /// RSASSA-PSS signatures.
    pub sign_rsa_pss: bool,
    /// Ed25519 signatures.
    pub sign_ed25519: bool,
    /// ML-DSA signatures.
    pub sign_ml_dsa: bool,
    /// ML-KEM decapsulation.
    pub decapsulate_ml_kem: bool,
    /// RSAES-PKCS1-v1_5 decryption.
    pub decrypt_rsa_pkcs1: bool,
    /// RSAES-OAEP decryption.
    pub decrypt_rsa_oaep: bool,
    /// AES in ECB mode.
    pub aes_ecb: bool,
    /// AES in CBC mode.
    pub aes_cbc: bool,
    /// AES in counter mode.
    pub aes_ctr: bool,
    /// AES in Galois/counter mode.
    pub aes_gcm: bool,
    /// AES key wrap (RFC 3394) as an encryption.
    pub aes_key_wrap: bool,
    /// HMAC with SHA-2.
    pub hmac: bool,
    /// AES-CMAC.
    pub cmac: bool,
    /// Random octets.
    pub random: bool,
}

impl Capabilities {
    /// What both can do.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            generate_aes: self.generate_aes && other.generate_aes,
            generate_des3: self.generate_des3 && other.generate_des3,
            generate_hmac: self.generate_hmac && other.generate_hmac,
            generate_chacha20: self.generate_chacha20 && other.generate_chacha20,
            generate_rsa: self.generate_rsa && other.generate_rsa,
            generate_ec: self.generate_ec && other.generate_ec,
            generate_ed25519: self.generate_ed25519 && other.generate_ed25519,
            generate_ml_dsa: self.generate_ml_dsa && other.generate_ml_dsa,
            generate_ml_kem: self.generate_ml_kem && other.generate_ml_kem,
            import: self.import && other.import,
            export: self.export && other.export,
            sign_ecdsa: self.sign_ecdsa && other.sign_ecdsa,
            sign_rsa_pkcs1: self.sign_rsa_pkcs1 && other.sign_rsa_pkcs1,
            sign_rsa_pss: self.sign_rsa_pss && other.sign_rsa_pss,
            sign_ed25519: self.sign_ed25519 && other.sign_ed25519,
            sign_ml_dsa: self.sign_ml_dsa && other.sign_ml_dsa,
            decapsulate_ml_kem: self.decapsulate_ml_kem && other.decapsulate_ml_kem,
            decrypt_rsa_pkcs1: self.decrypt_rsa_pkcs1 && other.decrypt_rsa_pkcs1,
            decrypt_rsa_oaep: self.decrypt_rsa_oaep && other.decrypt_rsa_oaep,
            aes_ecb: self.aes_ecb && other.aes_ecb,
            aes_cbc: self.aes_cbc && other.aes_cbc,
            aes_ctr: self.aes_ctr && other.aes_ctr,
            aes_gcm: self.aes_gcm && other.aes_gcm,
            aes_key_wrap: self.aes_key_wrap && other.aes_key_wrap,
            hmac: self.hmac && other.hmac,
            cmac: self.cmac && other.cmac,
            random: self.random && other.random,
        }
    }
}

/// A key as its keystore sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// Its class.
    pub class: KeyClass,
    /// Its label on the device.
    pub label: String,
}

/// How a keystore is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Serving.
    Up,
    /// Away; it is being looked for. The text says what failed last.
    Down(String),
    /// An operator must act: the text says what.
    NeedsOperator(String),
}
