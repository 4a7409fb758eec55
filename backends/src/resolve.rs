//! From KMIP Cryptographic Parameters and the kind of a key to a scheme.
//!
//! The caller merges what the request says with the key's own Cryptographic Parameters attribute first (KMIP 2.1
//! §6.1.15 Encrypt: "If omitted, then the Cryptographic Parameters associated with the Managed Cryptographic Object
//! with the lowest index SHALL be used"), then asks here. A combination that the standard does not have is
//! `BadInput(Parameters)`; one that nobody here can do is `Unsupported`.

use crate::error::{KsError, Result};
use crate::local::{KeyKind, PairKind};
use crate::names;
use crate::operation::{BlockPadding, EncryptionScheme, MacScheme, SignatureScheme};
use keygate_kmip::{
    BlockCipherMode, CryptographicAlgorithm, DigitalSignatureAlgorithm, HashingAlgorithm, MaskGenerator, PaddingMethod,
};

/// The fields of KMIP Cryptographic Parameters that choose a scheme. Lengths are in octets, as in KMIP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters<'a> {
    /// Block Cipher Mode.
    pub block_cipher_mode: Option<BlockCipherMode>,
    /// Padding Method.
    pub padding_method: Option<PaddingMethod>,
    /// Hashing Algorithm.
    pub hashing_algorithm: Option<HashingAlgorithm>,
    /// Digital Signature Algorithm.
    pub digital_signature_algorithm: Option<DigitalSignatureAlgorithm>,
    /// Cryptographic Algorithm.
    pub cryptographic_algorithm: Option<CryptographicAlgorithm>,
    /// Tag Length.
    pub tag_length: Option<usize>,
    /// Salt Length.
    pub salt_length: Option<usize>,
    /// Mask Generator.
    pub mask_generator: Option<MaskGenerator>,
    /// Mask Generator Hashing Algorithm.
    pub mask_generator_hashing_algorithm: Option<HashingAlgorithm>,
    /// P Source: the label of OAEP.
    pub p_source: Option<&'a [u8]>,
    /// Initial Counter Value.
    pub initial_counter_value: Option<u32>,
    /// Trailer Field of PSS; 1 is the only one (trailer 0xBC).
    pub trailer_field: Option<u32>,
}

/// How a key encrypts and decrypts under these parameters.
pub fn encryption(kind: KeyKind, p: &Parameters<'_>) -> Result<EncryptionScheme> {
    match kind {
        KeyKind::Symmetric(algorithm) => symmetric(algorithm, p),
        KeyKind::Private(PairKind::Rsa) | KeyKind::Public(PairKind::Rsa) => rsa_encryption(p),
        KeyKind::Private(other) | KeyKind::Public(other) => {
            Err(KsError::parameters(format!("a key for {other} does not encrypt")))
        }
    }
}

/// How a key signs and verifies under these parameters.
pub fn signature(kind: KeyKind, p: &Parameters<'_>) -> Result<SignatureScheme> {
    match kind {
        KeyKind::Private(pair) | KeyKind::Public(pair) => match pair {
            PairKind::Rsa => rsa_signature(p),
            PairKind::Ec(_) => Ok(SignatureScheme::Ecdsa(signature_hash(p)?.unwrap_or(HashingAlgorithm::Sha256))),
            PairKind::Ed25519 => Ok(SignatureScheme::Ed25519),
            PairKind::MlDsa(_) => Ok(SignatureScheme::MlDsa),
            PairKind::X25519 => Err(KsError::parameters("an X25519 key does not sign")),
            PairKind::MlKem(_) => Err(KsError::parameters("an ML-KEM key does not sign")),
        },
        KeyKind::Symmetric(algorithm) => {
            Err(KsError::parameters(format!("a symmetric {} key does not sign; use MAC", names::algorithm(algorithm))))
        }
    }
}

/// The same for a digest that the peer computed (KMIP Digested Data), of which the parameters may not name the hash.
///
/// ECDSA then goes by the digest's length, RSA pads the octets as they are.
pub fn signature_of_digest(kind: KeyKind, p: &Parameters<'_>, digest_len: usize) -> Result<SignatureScheme> {
    if signature_hash(p)?.is_some() {
        return signature(kind, p);
    }
    match kind {
        KeyKind::Private(PairKind::Rsa) | KeyKind::Public(PairKind::Rsa)
            if matches!(p.padding_method, None | Some(PaddingMethod::Pkcs1v1_5)) =>
        {
            Ok(SignatureScheme::RsaPkcs1Bare)
        }
        KeyKind::Private(PairKind::Ec(_)) | KeyKind::Public(PairKind::Ec(_)) => {
            Ok(SignatureScheme::Ecdsa(match digest_len {
                20 => HashingAlgorithm::Sha1,
                28 => HashingAlgorithm::Sha224,
                32 => HashingAlgorithm::Sha256,
                48 => HashingAlgorithm::Sha384,
                64 => HashingAlgorithm::Sha512,
                other => {
                    return Err(KsError::data(format!(
                        "Digested Data of {other} octets is of no known hash; name the Hashing Algorithm"
                    )));
                }
            }))
        }
        _ => signature(kind, p),
    }
}

/// How a key authenticates messages under these parameters.
pub fn mac(kind: KeyKind, p: &Parameters<'_>) -> Result<MacScheme> {
    let KeyKind::Symmetric(of_key) = kind else {
        return Err(KsError::parameters("a key of a pair does not compute a MAC; use Sign"));
    };
    match p.block_cipher_mode {
        Some(BlockCipherMode::Cmac) => return Ok(MacScheme::Cmac),
        Some(BlockCipherMode::Gcm) => return Ok(MacScheme::Gmac { tag_len: p.tag_length.unwrap_or(16) }),
        _ => {}
    }
    let asked = p.cryptographic_algorithm.and_then(hmac_hash).or_else(|| hmac_hash(of_key)).or(p.hashing_algorithm);
    match (asked, p.cryptographic_algorithm.unwrap_or(of_key)) {
        (Some(hash), _) => Ok(MacScheme::Hmac(hash)),
        (None, CryptographicAlgorithm::Aes) => Ok(MacScheme::Cmac),
        (None, other) => Err(KsError::parameters(format!("{} is not an algorithm of a MAC", names::algorithm(other)))),
    }
}

/// The hash inside an HMAC algorithm.
pub fn hmac_hash(algorithm: CryptographicAlgorithm) -> Option<HashingAlgorithm> {
    Some(match algorithm {
        CryptographicAlgorithm::HmacMd5 => HashingAlgorithm::Md5,
        CryptographicAlgorithm::HmacSha1 => HashingAlgorithm::Sha1,
        CryptographicAlgorithm::HmacSha224 => HashingAlgorithm::Sha224,
        CryptographicAlgorithm::HmacSha256 => HashingAlgorithm::Sha256,
        CryptographicAlgorithm::HmacSha384 => HashingAlgorithm::Sha384,
        CryptographicAlgorithm::HmacSha512 => HashingAlgorithm::Sha512,
        CryptographicAlgorithm::HmacSha3_224 => HashingAlgorithm::Sha3_224,
        CryptographicAlgorithm::HmacSha3_256 => HashingAlgorithm::Sha3_256,
        CryptographicAlgorithm::HmacSha3_384 => HashingAlgorithm::Sha3_384,
        CryptographicAlgorithm::HmacSha3_512 => HashingAlgorithm::Sha3_512,
        _ => return None,
    })
}

fn symmetric(algorithm: CryptographicAlgorithm, p: &Parameters<'_>) -> Result<EncryptionScheme> {
    match algorithm {
        CryptographicAlgorithm::Aes => aes(p),
        CryptographicAlgorithm::Des3 | CryptographicAlgorithm::Blowfish | CryptographicAlgorithm::Cast5 => {
            small_blocks(&names::algorithm(algorithm), p)
        }
        CryptographicAlgorithm::ChaCha20 => match p.block_cipher_mode {
            None | Some(BlockCipherMode::Ctr) => {
                Ok(EncryptionScheme::ChaCha20 { counter: p.initial_counter_value.unwrap_or(0) })
            }
            // RFC 8439 keys serve both constructions; KMIP clients name the AEAD by its mode.
            Some(BlockCipherMode::Aead) => Ok(EncryptionScheme::ChaCha20Poly1305 { tag_len: tag_length(p, 4, 16)? }),
            Some(other) => Err(no_such_mode("ChaCha20", other)),
        },
        CryptographicAlgorithm::ChaCha20Poly1305 => match p.block_cipher_mode {
            None | Some(BlockCipherMode::Aead) => {
                Ok(EncryptionScheme::ChaCha20Poly1305 { tag_len: tag_length(p, 4, 16)? })
            }
            Some(other) => Err(no_such_mode("ChaCha20Poly1305", other)),
        },
        other => Err(KsError::unsupported(format!("no encryption with {} keys", names::algorithm(other)))),
    }
}

fn aes(p: &Parameters<'_>) -> Result<EncryptionScheme> {
    let Some(mode) = p.block_cipher_mode else {
        return Err(KsError::parameters(
            "AES needs a Block Cipher Mode, in the request or in the key's Cryptographic Parameters",
        ));
    };
    let scheme = match mode {
        BlockCipherMode::Ecb => return block_padding(p).map(EncryptionScheme::Ecb),
        BlockCipherMode::Cbc => return block_padding(p).map(EncryptionScheme::Cbc),
        BlockCipherMode::Ctr => EncryptionScheme::Ctr,
        BlockCipherMode::Cfb => EncryptionScheme::Cfb,
        BlockCipherMode::Ofb => EncryptionScheme::Ofb,
        BlockCipherMode::Xts => EncryptionScheme::Xts,
        BlockCipherMode::Gcm | BlockCipherMode::Aead => EncryptionScheme::Gcm { tag_len: tag_length(p, 4, 16)? },
        BlockCipherMode::Ccm => EncryptionScheme::Ccm { tag_len: tag_length(p, 4, 16)? },
        BlockCipherMode::NistKeyWrap => EncryptionScheme::KeyWrap,
        BlockCipherMode::AesKeyWrapPadding => EncryptionScheme::KeyWrapPadded,
        other => return Err(KsError::unsupported(format!("no AES in mode {}", names::mode(other)))),
    };
    match p.padding_method {
        None | Some(PaddingMethod::None) => Ok(scheme),
        Some(other) => Err(KsError::parameters(format!(
            "mode {} takes no padding, {} given",
            names::mode(mode),
            names::padding(other)
        ))),
    }
}

/// Ciphers of 8-octet blocks.
fn small_blocks(algorithm: &str, p: &Parameters<'_>) -> Result<EncryptionScheme> {
    match p.block_cipher_mode {
        Some(BlockCipherMode::Ecb) => block_padding(p).map(EncryptionScheme::Ecb),
        Some(BlockCipherMode::Cbc) => block_padding(p).map(EncryptionScheme::Cbc),
        Some(other) => Err(KsError::unsupported(format!("no {algorithm} in mode {}", names::mode(other)))),
        None => Err(KsError::parameters(format!(
            "{algorithm} needs a Block Cipher Mode, in the request or in the key's Cryptographic Parameters",
        ))),
    }
}

fn block_padding(p: &Parameters<'_>) -> Result<BlockPadding> {
    match p.padding_method {
        None | Some(PaddingMethod::None) => Ok(BlockPadding::None),
        Some(PaddingMethod::Pkcs5) => Ok(BlockPadding::Pkcs5),
        Some(PaddingMethod::Ansix9_23) => Ok(BlockPadding::AnsiX923),
        Some(PaddingMethod::Iso10126) => Ok(BlockPadding::Iso10126),
        Some(PaddingMethod::Zeros) => Ok(BlockPadding::Zeros),
        Some(other) => {
            Err(KsError::parameters(format!("padding {} is not one of block ciphers", names::padding(other))))
        }
    }
}

fn tag_length(p: &Parameters<'_>, min: usize, max: usize) -> Result<usize> {
    match p.tag_length {
        None => Ok(max),
        Some(len) if (min..=max).contains(&len) => Ok(len),
        Some(len) => Err(KsError::parameters(format!("Tag Length {len} is not {min} to {max} octets"))),
    }
}

fn rsa_encryption(p: &Parameters<'_>) -> Result<EncryptionScheme> {
    match p.padding_method {
        Some(PaddingMethod::Oaep) => {
            check_mask_generator(p)?;
            // KMIP gives no default; RFC 8017 A.2.1: "hashAlgorithm [0] HashAlgorithm DEFAULT sha1".
            let hash = p.hashing_algorithm.unwrap_or(HashingAlgorithm::Sha1);
            let mgf_hash = p.mask_generator_hashing_algorithm.unwrap_or(hash);
            Ok(EncryptionScheme::RsaOaep { hash, mgf_hash, label: p.p_source.unwrap_or_default().to_vec() })
        }
        Some(PaddingMethod::Pkcs1v1_5) => Ok(EncryptionScheme::RsaPkcs1),
        Some(PaddingMethod::None) => Ok(EncryptionScheme::RsaRaw),
        None => Err(KsError::parameters("RSA encryption needs a Padding Method (OAEP, PKCS1 v1.5 or None)")),
        Some(other) => {
            Err(KsError::parameters(format!("padding {} is not one of RSA encryption", names::padding(other))))
        }
    }
}

fn rsa_signature(p: &Parameters<'_>) -> Result<SignatureScheme> {
    let pss = p.padding_method == Some(PaddingMethod::Pss)
        || p.digital_signature_algorithm == Some(DigitalSignatureAlgorithm::RsassaPss);
    let hash = signature_hash(p)?;
    if pss {
        check_mask_generator(p)?;
        if p.trailer_field.is_some_and(|field| field != 1) {
            return Err(KsError::parameters("Trailer Field of PSS is not 1"));
        }
        let hash = hash.unwrap_or(HashingAlgorithm::Sha1);
        let mgf_hash = p.mask_generator_hashing_algorithm.unwrap_or(hash);
        return Ok(SignatureScheme::RsaPss { hash, mgf_hash, salt_len: p.salt_length });
    }
    match (p.padding_method, hash) {
        (None | Some(PaddingMethod::Pkcs1v1_5), Some(hash)) => Ok(SignatureScheme::RsaPkcs1(hash)),
        (Some(PaddingMethod::Pkcs1v1_5), None) => Ok(SignatureScheme::RsaPkcs1Bare),
        // KMIP leaves the choice to the server where nothing is named.
        (None, None) => Ok(SignatureScheme::RsaPkcs1(HashingAlgorithm::Sha256)),
        (Some(other), _) => {
            Err(KsError::parameters(format!("padding {} is not one of RSA signatures", names::padding(other))))
        }
    }
}

/// The hash named by the Digital Signature Algorithm, or by the Hashing Algorithm; both must agree.
fn signature_hash(p: &Parameters<'_>) -> Result<Option<HashingAlgorithm>> {
    let Some(named) = p.digital_signature_algorithm.and_then(hash_of_signature) else {
        return Ok(p.hashing_algorithm);
    };
    match p.hashing_algorithm {
        Some(other) if other != named => Err(KsError::parameters(format!(
            "Hashing Algorithm {} contradicts the Digital Signature Algorithm, which has {}",
            names::hash(other),
            names::hash(named)
        ))),
        _ => Ok(Some(named)),
    }
}

fn hash_of_signature(algorithm: DigitalSignatureAlgorithm) -> Option<HashingAlgorithm> {
    use DigitalSignatureAlgorithm as D;
    Some(match algorithm {
        D::Md2WithRsaEncryption => HashingAlgorithm::Md2,
        D::Md5WithRsaEncryption => HashingAlgorithm::Md5,
        D::Sha1WithRsaEncryption | D::DsaWithSha1 | D::EcdsaWithSha1 => HashingAlgorithm::Sha1,
        D::Sha224WithRsaEncryption | D::DsaWithSha224 | D::EcdsaWithSha224 => HashingAlgorithm::Sha224,
        D::Sha256WithRsaEncryption | D::DsaWithSha256 | D::EcdsaWithSha256 => HashingAlgorithm::Sha256,
        D::Sha384WithRsaEncryption | D::EcdsaWithSha384 => HashingAlgorithm::Sha384,
        D::Sha512WithRsaEncryption | D::EcdsaWithSha512 => HashingAlgorithm::Sha512,
        D::Sha3_256WithRsaEncryption => HashingAlgorithm::Sha3_256,
        D::Sha3_384WithRsaEncryption => HashingAlgorithm::Sha3_384,
        D::Sha3_512WithRsaEncryption => HashingAlgorithm::Sha3_512,
        _ => return None,
    })
}

fn check_mask_generator(p: &Parameters<'_>) -> Result<()> {
    match p.mask_generator {
        None | Some(MaskGenerator::Mfg1) => Ok(()),
        Some(other) => Err(KsError::parameters(format!("mask generator 0x{:08X} is not MGF1", other.code()))),
    }
}

fn no_such_mode(algorithm: &str, mode: BlockCipherMode) -> KsError {
    KsError::parameters(format!("{algorithm} has no mode {}", names::mode(mode)))
}
