//! Cryptographic operations in one vocabulary for every keystore.
//!
//! A *scheme* is a complete, legal way to use a key: it is made from KMIP Cryptographic Parameters by the `resolve`
//! functions of [`crate::resolve`] and cannot name a combination that the standard does not have. What a keystore does
//! not offer of it, it answers with `Unsupported`.

use crate::secret::SecretBytes;
use keygate_kmip::HashingAlgorithm;

/// How data is filled up to whole blocks (KMIP Padding Method).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockPadding {
    /// None: the data must be whole blocks.
    None,
    /// PKCS#5 (RFC 8018): n octets of value n.
    Pkcs5,
    /// ANSI X9.23: zeros, then the count.
    AnsiX923,
    /// ISO 10126: random octets, then the count.
    Iso10126,
    /// Zeros up to a whole block; removed on decryption, so data that ends in zeros loses them.
    Zeros,
}

/// A way to encrypt and decrypt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EncryptionScheme {
    /// Electronic code book.
    Ecb(BlockPadding),
    /// Cipher block chaining.
    Cbc(BlockPadding),
    /// Counter mode, the whole block counting.
    Ctr,
    /// Cipher feedback of whole blocks (CFB128).
    Cfb,
    /// Output feedback.
    Ofb,
    /// XTS-AES (IEEE 1619): the key is two keys, the IV the data unit number.
    Xts,
    /// Galois/counter mode.
    Gcm {
        /// Octets of the authentication tag, 4 to 16.
        tag_len: usize,
    },
    /// Counter with CBC-MAC.
    Ccm {
        /// Octets of the authentication tag, 4 to 16 and even.
        tag_len: usize,
    },
    /// AES key wrap (RFC 3394).
    KeyWrap,
    /// AES key wrap with padding (RFC 5649).
    KeyWrapPadded,
    /// ChaCha20 with its block counter's start.
    ChaCha20 {
        /// The first block's number.
        counter: u32,
    },
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305 {
        /// Octets of the authentication tag, 4 to 16 (RFC 8439 has 16; KMIP lets the tag be cut).
        tag_len: usize,
    },
    /// RSAES-PKCS1-v1_5.
    RsaPkcs1,
    /// RSAES-OAEP.
    RsaOaep {
        /// Hash of the label.
        hash: HashingAlgorithm,
        /// Hash of the mask generation function MGF1.
        mgf_hash: HashingAlgorithm,
        /// The label (KMIP P Source).
        label: Vec<u8>,
    },
    /// RSA on a full-length block without padding.
    RsaRaw,
}

impl EncryptionScheme {
    /// Whether a tag comes with the ciphertext.
    pub fn is_aead(&self) -> bool {
        self.tag_len().is_some()
    }

    /// Octets of the tag, where there is one.
    pub fn tag_len(&self) -> Option<usize> {
        match self {
            Self::Gcm { tag_len } | Self::Ccm { tag_len } | Self::ChaCha20Poly1305 { tag_len } => Some(*tag_len),
            _ => None,
        }
    }
}

/// Where the initialisation vector, counter or nonce of an encryption comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Iv<'a> {
    /// The caller's. Modes that take none do not look at it.
    Given(&'a [u8]),
    /// Drawn by the keystore, and handed back in [`Encrypted::iv`].
    Random {
        /// Octets to draw; `None` for the mode's usual length.
        len: Option<usize>,
    },
}

/// A way to sign and verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 with a DigestInfo of this hash.
    RsaPkcs1(HashingAlgorithm),
    /// PKCS#1 v1.5 type 1 padding around the caller's octets as they are.
    RsaPkcs1Bare,
    /// RSASSA-PSS.
    RsaPss {
        /// Hash of the message.
        hash: HashingAlgorithm,
        /// Hash of the mask generation function MGF1.
        mgf_hash: HashingAlgorithm,
        /// Octets of salt; `None` for the hash's length when signing and any length when verifying.
        salt_len: Option<usize>,
    },
    /// ECDSA over a hash, signature as DER SEQUENCE of r and s.
    Ecdsa(HashingAlgorithm),
    /// Ed25519 over the whole message.
    Ed25519,
    /// ML-DSA over the whole message, pure (FIPS 204 §5.2 ML-DSA.Sign), with an empty context; the parameter set is the key's.
    MlDsa,
}

impl SignatureScheme {
    /// The hash of the message that this scheme signs, where it signs a hash.
    pub fn hash(&self) -> Option<HashingAlgorithm> {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss { hash, .. } | Self::Ecdsa(hash) => Some(*hash),
            Self::RsaPkcs1Bare | Self::Ed25519 | Self::MlDsa => None,
        }
    }
}

/// What is signed.
#[derive(Clone, Copy)]
pub enum SignInput<'a> {
    /// The message; the scheme's hash is computed here, outside the token.
    Message(&'a [u8]),
    /// The hash of the message (KMIP Digested Data), already computed.
    Digest(&'a [u8]),
}

/// A message authentication code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacScheme {
    /// HMAC (RFC 2104).
    Hmac(HashingAlgorithm),
    /// AES-CMAC (NIST SP 800-38B).
    Cmac,
    /// AES-GMAC (NIST SP 800-38D); the IV is the caller's.
    Gmac {
        /// Octets of the tag.
        tag_len: usize,
    },
}

/// An encryption.
#[derive(Clone, Copy)]
pub struct EncryptOp<'a> {
    /// How.
    pub scheme: &'a EncryptionScheme,
    /// Initialisation vector, counter or nonce.
    pub iv: Iv<'a>,
    /// Additional authenticated data; empty except for the AEAD schemes.
    pub aad: &'a [u8],
    /// The plain text.
    pub data: &'a [u8],
    /// Lets 3DES encrypt. NIST SP 800-131A Rev. 2 §2: "disallowed after 2023" for encryption, so a deployment must ask
    /// for it.
    pub legacy: bool,
}

/// A decryption.
#[derive(Clone, Copy)]
pub struct DecryptOp<'a> {
    /// How.
    pub scheme: &'a EncryptionScheme,
    /// Initialisation vector, counter or nonce; empty for modes that take none.
    pub iv: &'a [u8],
    /// Additional authenticated data; empty except for the AEAD schemes.
    pub aad: &'a [u8],
    /// The cipher text, without the tag.
    pub data: &'a [u8],
    /// The authentication tag; `None` except for the AEAD schemes.
    pub tag: Option<&'a [u8]>,
}

/// A use of a key.
#[derive(Clone, Copy)]
pub enum CryptoOp<'a> {
    /// Encrypts; answered by [`CryptoOut::Encrypted`].
    Encrypt(EncryptOp<'a>),
    /// Decrypts; answered by [`CryptoOut::Decrypted`].
    Decrypt(DecryptOp<'a>),
    /// Signs; answered by [`CryptoOut::Signature`].
    Sign(SignatureScheme, SignInput<'a>),
    /// Verifies a signature (local keystore alone: elsewhere the caller verifies with the public half); answered by
    /// [`CryptoOut::Valid`].
    Verify(SignatureScheme, SignInput<'a>, &'a [u8]),
    /// Computes a message authentication code; answered by [`CryptoOut::Mac`].
    Mac {
        /// How.
        scheme: MacScheme,
        /// The nonce of GMAC, else empty.
        iv: &'a [u8],
        /// The message.
        data: &'a [u8],
    },
    /// Draws a secret and encapsulates it to a public key (local keystore alone: elsewhere the caller does it with the public
    /// half); answered by [`CryptoOut::Encapsulated`].
    Encapsulate,
    /// Recovers the secret in a cipher text of ML-KEM; answered by [`CryptoOut::Decapsulated`].
    Decapsulate(&'a [u8]),
}

/// A secret and the cipher text that carries it.
pub struct Encapsulated {
    /// For the holder of the private key.
    pub ciphertext: Vec<u8>,
    /// [`crate::SHARED_SECRET_OCTETS`] octets.
    pub secret: SecretBytes,
}

/// A cipher text with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// The cipher text, without the tag.
    pub data: Vec<u8>,
    /// The vector that the keystore drew, when it was asked to.
    pub iv: Option<Vec<u8>>,
    /// The authentication tag of an AEAD scheme.
    pub tag: Option<Vec<u8>>,
}

/// The result of a [`CryptoOp`], variant by variant.
pub enum CryptoOut {
    /// Of an encryption.
    Encrypted(Encrypted),
    /// Of a decryption.
    Decrypted(SecretBytes),
    /// Of a signature.
    Signature(Vec<u8>),
    /// Of a verification.
    Valid(bool),
    /// Of a message authentication code.
    Mac(Vec<u8>),
    /// Of an encapsulation.
    Encapsulated(Encapsulated),
    /// Of a decapsulation.
    Decapsulated(SecretBytes),
}
