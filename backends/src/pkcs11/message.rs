//! What passes between the gateway and a worker process: plain owned values in both directions, nothing of the caller's
//! runtime and nothing of the module. `wire.rs` makes octets of them.

use super::mechanism::Mechanisms;
use crate::key::{KeyClass, KeyId};
use crate::keystore::KeyInfo;
use super::transfer::{Transfer, Transferred};
use super::wire::{optional_secret, secret};
use crate::lattice::{MlDsa, MlKem};
use crate::local::RsaPrivate;
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use serde::{Deserialize, Serialize};

/// Which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct KeyName {
    pub(super) id: KeyId,
    pub(super) class: KeyClass,
}

/// A request to a worker.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Asks for the mechanisms.
    Probe,
    /// Asks for random octets.
    Random {
        len: usize,
    },
    GenerateSecret {
        id: KeyId,
        label: String,
        kind: SecretKind,
        octets: usize,
    },
    GenerateRsa {
        id: KeyId,
        label: String,
        bits: u32,
    },
    GenerateEc {
        id: KeyId,
        label: String,
        #[serde(with = "serde_bytes")]
        parameters: Vec<u8>,
    },
    /// An Ed25519 pair.
    GenerateEdwards {
        id: KeyId,
        label: String,
    },
    /// An ML-DSA or ML-KEM pair.
    GenerateLattice {
        id: KeyId,
        label: String,
        kind: Lattice,
    },
    ImportLattice {
        id: KeyId,
        label: String,
        kind: Lattice,
        #[serde(with = "optional_secret")]
        seed: Option<SecretBytes>,
        #[serde(with = "secret")]
        expanded: SecretBytes,
    },
    ImportSecret {
        id: KeyId,
        label: String,
        kind: SecretKind,
        #[serde(with = "secret")]
        value: SecretBytes,
    },
    ImportRsa {
        id: KeyId,
        label: String,
        #[serde(with = "RsaNumbers")]
        numbers: RsaPrivate,
    },
    ImportEc {
        id: KeyId,
        label: String,
        #[serde(with = "serde_bytes")]
        parameters: Vec<u8>,
        #[serde(with = "secret")]
        d: SecretBytes,
    },
    /// A signature or MAC.
    Sign {
        key: KeyName,
        mechanism: SignMechanism,
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    Encrypt {
        key: KeyName,
        mechanism: CipherMechanism,
        #[serde(with = "secret")]
        data: SecretBytes,
    },
    Decrypt {
        key: KeyName,
        mechanism: CipherMechanism,
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// Recovers the secret in a cipher text of ML-KEM.
    Decapsulate {
        key: KeyName,
        #[serde(with = "serde_bytes")]
        ciphertext: Vec<u8>,
    },
    /// Looks a key up and reads what tells it from others.
    Inspect {
        key: KeyName,
    },
    /// Destroys all objects of an id.
    Destroy {
        id: KeyId,
    },
    /// Lists the secret and private keys whose label begins so.
    List {
        prefix: String,
    },
    /// Makes or takes in a key that may leave the token under a wrapping key, of `trusted` ones alone where so said.
    Replicable {
        trusted: bool,
        request: Box<Self>,
    },
    /// Moves keys between the members of a group.
    Transfer(Transfer),
}

impl Request {
    /// Whether a failure without an answer leaves something to reconcile.
    pub(super) fn changes(&self) -> bool {
        matches!(
            self,
            Self::GenerateSecret { .. }
                | Self::GenerateRsa { .. }
                | Self::GenerateEc { .. }
                | Self::GenerateEdwards { .. }
                | Self::GenerateLattice { .. }
                | Self::ImportLattice { .. }
                | Self::ImportSecret { .. }
                | Self::ImportRsa { .. }
                | Self::ImportEc { .. }
                | Self::Destroy { .. }
                | Self::Replicable { .. }
        ) || matches!(self, Self::Transfer(transfer) if transfer.makes().is_some())
    }

    /// The id of the key that the request makes.
    pub(super) fn makes(&self) -> Option<KeyId> {
        match self {
            Self::GenerateSecret { id, .. }
            | Self::GenerateRsa { id, .. }
            | Self::GenerateEc { id, .. }
            | Self::GenerateEdwards { id, .. }
            | Self::GenerateLattice { id, .. }
            | Self::ImportLattice { id, .. }
            | Self::ImportSecret { id, .. }
            | Self::ImportRsa { id, .. }
            | Self::ImportEc { id, .. } => Some(*id),
            Self::Replicable { request, .. } => request.makes(),
            Self::Transfer(transfer) => transfer.makes(),
            _ => None,
        }
    }

    /// The id of the key that is used or changed.
    pub(super) fn about(&self) -> Option<KeyId> {
        match self {
            Self::Sign { key, .. }
            | Self::Encrypt { key, .. }
            | Self::Decrypt { key, .. }
            | Self::Decapsulate { key, .. }
            | Self::Inspect { key } => Some(key.id),
            Self::Destroy { id } => Some(*id),
            Self::Probe | Self::Random { .. } | Self::List { .. } => None,
            making => making.makes(),
        }
    }

    /// Whether the request would hold traffic up: it goes to a worker of its own.
    pub(super) fn is_slow(&self) -> bool {
        self.changes() || matches!(self, Self::Probe | Self::List { .. } | Self::Inspect { .. } | Self::Transfer(_))
    }
}

/// [`RsaPrivate`] on the wire.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RsaPrivate")]
struct RsaNumbers {
    #[serde(with = "serde_bytes")]
    modulus: Vec<u8>,
    #[serde(with = "serde_bytes")]
    public_exponent: Vec<u8>,
    #[serde(with = "serde_bytes")]
    private_exponent: Vec<u8>,
    #[serde(with = "serde_bytes")]
    p: Vec<u8>,
    #[serde(with = "serde_bytes")]
    q: Vec<u8>,
    #[serde(with = "serde_bytes")]
    prime_exponent_p: Vec<u8>,
    #[serde(with = "serde_bytes")]
    prime_exponent_q: Vec<u8>,
    #[serde(with = "serde_bytes")]
    crt_coefficient: Vec<u8>,
}

/// The kind of a secret key object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SecretKind {
    Aes,
    /// A generic secret, for HMAC.
    Generic,
    /// AES, for the seal: it encrypts and decrypts, nothing else.
    Kek,
}

/// A parameter set of ML-DSA or ML-KEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lattice {
    Dsa(MlDsa),
    Kem(MlKem),
}

/// How a signature or MAC is made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum SignMechanism {
    /// On a digest; answered as r and s side by side.
    Ecdsa,
    /// On a DigestInfo or bare octets.
    RsaPkcs1,
    RsaPss {
        hash: ck::CK_MECHANISM_TYPE,
        mgf: ck::CK_RSA_PKCS_MGF_TYPE,
        salt_len: usize,
    },
    /// Ed25519, on the message.
    EdDsa,
    /// Pure ML-DSA, on the message.
    MlDsa,
    Mac(ck::CK_MECHANISM_TYPE),
}

/// How data is encrypted or decrypted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum CipherMechanism {
    AesEcb,
    AesCbc {
        #[serde(with = "serde_bytes")]
        iv: Vec<u8>,
    },
    AesCtr {
        iv: [u8; 16],
    },
    /// The tag stands behind the cipher text.
    AesGcm {
        #[serde(with = "serde_bytes")]
        iv: Vec<u8>,
        #[serde(with = "serde_bytes")]
        aad: Vec<u8>,
        tag_len: usize,
    },
    AesKeyWrap,
    RsaPkcs1,
    RsaOaep {
        hash: ck::CK_MECHANISM_TYPE,
        mgf: ck::CK_RSA_PKCS_MGF_TYPE,
        #[serde(with = "serde_bytes")]
        label: Vec<u8>,
    },
    RsaRaw,
}

/// A worker's answer.
#[derive(Serialize, Deserialize)]
pub(super) enum Response {
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Done,
    Inspected(Inspected),
    Keys(Vec<KeyInfo>),
    Probed(Mechanisms),
    /// A secret key was made or taken in; its check value, where the token has one.
    SecretKey {
        kcv: Option<[u8; 3]>,
    },
    PublicKey(PublicNumbers),
    Secret(#[serde(with = "secret")] SecretBytes),
    Transferred(Transferred),
}

/// The public half of a pair as the token tells it.
#[derive(Serialize, Deserialize)]
pub(super) enum PublicNumbers {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The value of CKA_EC_POINT.
    Ec {
        point: Vec<u8>,
    },
    /// The value of CKA_VALUE of an ML-DSA or ML-KEM key.
    Lattice {
        value: Vec<u8>,
    },
}

/// What a look-up found.
#[derive(Serialize, Deserialize)]
pub(super) struct Inspected {
    pub(super) info: KeyInfo,
    pub(super) kcv: Option<[u8; 3]>,
    pub(super) rsa: Option<(Vec<u8>, Vec<u8>)>,
}
