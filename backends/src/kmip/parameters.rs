//! Schemes as KMIP Cryptographic Parameters: the reverse of [`crate::resolve`].
//!
//! What the negotiated version cannot say is refused, never left out: the server would choose something else.

use crate::error::{KsError, Result};
use crate::operation::{BlockPadding, EncryptionScheme, MacScheme, SignatureScheme};
use keygate_kmip::{
    BlockCipherMode, CryptographicAlgorithm, CryptographicParameters, HashingAlgorithm, MaskGenerator, PaddingMethod,
    ProtocolVersion,
};

/// How to encrypt and decrypt.
pub(super) fn encryption(scheme: &EncryptionScheme, version: ProtocolVersion) -> Result<CryptographicParameters> {
    use BlockCipherMode as M;
    use EncryptionScheme as S;
    let mut p = CryptographicParameters::default();
    match scheme {
        S::Ecb(padding) => (p.block_cipher_mode, p.padding_method) = (Some(M::Ecb), Some(padding_method(*padding))),
        S::Cbc(padding) => (p.block_cipher_mode, p.padding_method) = (Some(M::Cbc), Some(padding_method(*padding))),
        S::Ctr => p.block_cipher_mode = Some(M::Ctr),
        S::Cfb => p.block_cipher_mode = Some(M::Cfb),
        S::Ofb => p.block_cipher_mode = Some(M::Ofb),
        S::Xts => p.block_cipher_mode = Some(M::Xts),
        S::Gcm { tag_len } => (p.block_cipher_mode, p.tag_length) = (Some(M::Gcm), Some(length(*tag_len)?)),
        S::Ccm { tag_len } => (p.block_cipher_mode, p.tag_length) = (Some(M::Ccm), Some(length(*tag_len)?)),
        S::KeyWrap => p.block_cipher_mode = Some(M::NistKeyWrap),
        S::KeyWrapPadded => p.block_cipher_mode = Some(M::AesKeyWrapPadding),
        S::ChaCha20 { counter } => {
            p.cryptographic_algorithm = Some(CryptographicAlgorithm::ChaCha20);
            p.initial_counter_value = Some(counter.cast_signed());
        }
        S::ChaCha20Poly1305 { tag_len } => {
            (p.block_cipher_mode, p.tag_length) = (Some(M::Aead), Some(length(*tag_len)?));
        }
        S::RsaPkcs1 => rsa(&mut p, PaddingMethod::Pkcs1v1_5),
        S::RsaRaw => rsa(&mut p, PaddingMethod::None),
        S::RsaOaep { hash, mgf_hash, label } => {
            rsa(&mut p, PaddingMethod::Oaep);
            p.hashing_algorithm = Some(*hash);
            mask(&mut p, *hash, *mgf_hash, version)?;
            if !label.is_empty() {
                p.p_source = Some(label.clone());
            }
        }
    }
    if scheme.is_aead() && version < ProtocolVersion::V1_4 {
        return Err(lacks(version, "authenticated encryption"));
    }
    if p.p_source.is_some() && version < ProtocolVersion::V1_4 {
        return Err(lacks(version, "an OAEP label"));
    }
    Ok(p)
}

/// How to sign.
pub(super) fn signature(scheme: SignatureScheme, version: ProtocolVersion) -> Result<CryptographicParameters> {
    let mut p = CryptographicParameters { hashing_algorithm: scheme.hash(), ..CryptographicParameters::default() };
    match scheme {
        SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPkcs1Bare => rsa(&mut p, PaddingMethod::Pkcs1v1_5),
        SignatureScheme::RsaPss { hash, mgf_hash, salt_len } => {
            rsa(&mut p, PaddingMethod::Pss);
            mask(&mut p, hash, mgf_hash, version)?;
            if salt_len.is_some() && version < ProtocolVersion::V1_4 {
                return Err(lacks(version, "a salt length"));
            }
            p.salt_length = salt_len.map(length).transpose()?;
        }
        SignatureScheme::Ecdsa(_) => p.cryptographic_algorithm = Some(CryptographicAlgorithm::Ecdsa),
        SignatureScheme::Ed25519 => p.cryptographic_algorithm = Some(CryptographicAlgorithm::Ed25519),
        SignatureScheme::MlDsa => return Err(lacks(version, "ML-DSA")),
    }
    Ok(p)
}

/// How to authenticate a message.
pub(super) fn mac(scheme: MacScheme) -> Result<CryptographicParameters> {
    use CryptographicAlgorithm as A;
    use HashingAlgorithm as H;
    let mut p = CryptographicParameters::default();
    match scheme {
        MacScheme::Cmac => {
            (p.block_cipher_mode, p.cryptographic_algorithm) = (Some(BlockCipherMode::Cmac), Some(A::Aes));
        }
        MacScheme::Gmac { .. } => return Err(KsError::unsupported("a KMIP MAC has no nonce, which GMAC needs")),
        MacScheme::Hmac(hash) => {
            let algorithm = match hash {
                H::Md5 => A::HmacMd5,
                H::Sha1 => A::HmacSha1,
                H::Sha224 => A::HmacSha224,
                H::Sha256 => A::HmacSha256,
                H::Sha384 => A::HmacSha384,
                H::Sha512 => A::HmacSha512,
                H::Sha3_224 => A::HmacSha3_224,
                H::Sha3_256 => A::HmacSha3_256,
                H::Sha3_384 => A::HmacSha3_384,
                H::Sha3_512 => A::HmacSha3_512,
                other => return Err(KsError::unsupported(format!("no HMAC with {}", crate::names::hash(other)))),
            };
            p.cryptographic_algorithm = Some(algorithm);
        }
    }
    Ok(p)
}

fn rsa(p: &mut CryptographicParameters, padding: PaddingMethod) {
    (p.padding_method, p.cryptographic_algorithm) = (Some(padding), Some(CryptographicAlgorithm::Rsa));
}

fn mask(
    p: &mut CryptographicParameters,
    hash: HashingAlgorithm,
    mgf_hash: HashingAlgorithm,
    version: ProtocolVersion,
) -> Result<()> {
    if version >= ProtocolVersion::V1_4 {
        (p.mask_generator, p.mask_generator_hashing_algorithm) = (Some(MaskGenerator::Mfg1), Some(mgf_hash));
    } else if hash != mgf_hash {
        return Err(lacks(version, "a hash of the mask generator"));
    }
    Ok(())
}

fn padding_method(padding: BlockPadding) -> PaddingMethod {
    match padding {
        BlockPadding::None => PaddingMethod::None,
        BlockPadding::Pkcs5 => PaddingMethod::Pkcs5,
        BlockPadding::AnsiX923 => PaddingMethod::Ansix9_23,
        BlockPadding::Iso10126 => PaddingMethod::Iso10126,
        BlockPadding::Zeros => PaddingMethod::Zeros,
    }
}

fn length(octets: usize) -> Result<i32> {
    i32::try_from(octets).map_err(|_| KsError::parameters(format!("a length of {octets} octets")))
}

fn lacks(version: ProtocolVersion, what: &str) -> KsError {
    KsError::unsupported(format!("KMIP {version}, which the key server speaks, cannot say {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{KeyKind, PairKind};
    use crate::resolve::{self, Parameters};

    const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

    fn back(p: &CryptographicParameters) -> Parameters<'_> {
        let octets = |value: Option<i32>| value.and_then(|value| usize::try_from(value).ok());
        Parameters {
            block_cipher_mode: p.block_cipher_mode,
            padding_method: p.padding_method,
            hashing_algorithm: p.hashing_algorithm,
            digital_signature_algorithm: p.digital_signature_algorithm,
            cryptographic_algorithm: p.cryptographic_algorithm,
            tag_length: octets(p.tag_length),
            salt_length: octets(p.salt_length),
            mask_generator: p.mask_generator,
            mask_generator_hashing_algorithm: p.mask_generator_hashing_algorithm,
            p_source: p.p_source.as_deref(),
            initial_counter_value: p.initial_counter_value.map(i32::cast_unsigned),
            trailer_field: p.trailer_field.map(i32::cast_unsigned),
        }
    }

    /// What is sent means to a server with our own reading what it meant here.
    #[test]
    fn parameters_resolve_to_the_scheme_they_were_made_of() {
        use BlockPadding as P;
        use EncryptionScheme as S;
        let (sha256, sha1) = (HashingAlgorithm::Sha256, HashingAlgorithm::Sha1);
        let aes = KeyKind::Symmetric(CryptographicAlgorithm::Aes);
        for scheme in [
            S::Ecb(P::None),
            S::Cbc(P::Pkcs5),
            S::Cbc(P::Zeros),
            S::Ctr,
            S::Gcm { tag_len: 12 },
            S::Ccm { tag_len: 8 },
            S::Xts,
            S::KeyWrap,
            S::KeyWrapPadded,
        ] {
            let p = encryption(&scheme, V2_1).expect("2.1 says all");
            assert_eq!(resolve::encryption(aes, &back(&p)).expect("resolves"), scheme);
        }
        let rsa = KeyKind::Private(PairKind::Rsa);
        for scheme in [S::RsaPkcs1, S::RsaRaw, S::RsaOaep { hash: sha256, mgf_hash: sha1, label: b"label".to_vec() }] {
            let p = encryption(&scheme, V2_1).expect("2.1 says all");
            assert_eq!(resolve::encryption(rsa, &back(&p)).expect("resolves"), scheme);
        }
        for scheme in [
            SignatureScheme::RsaPkcs1(sha256),
            SignatureScheme::RsaPkcs1Bare,
            SignatureScheme::RsaPss { hash: sha256, mgf_hash: sha1, salt_len: Some(20) },
        ] {
            let p = signature(scheme, V2_1).expect("2.1 says all");
            assert_eq!(resolve::signature(rsa, &back(&p)).expect("resolves"), scheme);
        }
        let hmac = KeyKind::Symmetric(CryptographicAlgorithm::HmacSha256);
        for (kind, scheme) in [(aes, MacScheme::Cmac), (hmac, MacScheme::Hmac(sha256))] {
            assert_eq!(resolve::mac(kind, &back(&mac(scheme).expect("says"))).expect("resolves"), scheme);
        }
    }

    #[test]
    fn what_a_version_cannot_say_is_refused() {
        let (sha256, sha1) = (HashingAlgorithm::Sha256, HashingAlgorithm::Sha1);
        let old = ProtocolVersion::V1_2;
        let salted = SignatureScheme::RsaPss { hash: sha256, mgf_hash: sha256, salt_len: Some(20) };
        assert!(signature(salted, old).is_err());
        assert!(signature(SignatureScheme::RsaPss { hash: sha256, mgf_hash: sha1, salt_len: None }, old).is_err());
        assert!(encryption(&EncryptionScheme::Gcm { tag_len: 16 }, old).is_err());
        let labelled = EncryptionScheme::RsaOaep { hash: sha1, mgf_hash: sha1, label: b"x".to_vec() };
        assert!(encryption(&labelled, old).is_err());
    }
}
