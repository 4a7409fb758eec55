//! Mechanisms with their parameters, and which of them a token has.

use crate::error::{KsError, Result};
use crate::keystore::Capabilities;
use crate::names;
use crate::operation::MacScheme;
use cryptoki_sys as ck;
use keygate_kmip::HashingAlgorithm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ptr;

/// A mechanism ready for a call.
pub(super) enum Mechanism<'a> {
    Plain(ck::CK_MECHANISM_TYPE),
    /// CBC: the vector is the parameter.
    Iv(ck::CK_MECHANISM_TYPE, &'a [u8]),
    Ctr(&'a [u8; 16]),
    Gcm {
        iv: &'a [u8],
        aad: &'a [u8],
        tag_len: usize,
    },
    Pss {
        hash: ck::CK_MECHANISM_TYPE,
        mgf: ck::CK_RSA_PKCS_MGF_TYPE,
        salt_len: usize,
    },
    Oaep {
        hash: ck::CK_MECHANISM_TYPE,
        mgf: ck::CK_RSA_PKCS_MGF_TYPE,
        label: &'a [u8],
    },
}

impl Mechanism<'_> {
    /// Runs a call with the C structure, which lives as long as the closure.
    pub(super) fn with<T>(&self, call: impl FnOnce(*mut ck::CK_MECHANISM) -> T) -> T {
        match self {
            Self::Plain(kind) => call(&mut raw(*kind, ptr::null_mut(), 0)),
            Self::Iv(kind, iv) => call(&mut raw(*kind, iv.as_ptr().cast_mut().cast(), iv.len())),
            Self::Ctr(counter) => {
                let mut parameters = ck::CK_AES_CTR_PARAMS { ulCounterBits: 128, cb: **counter };
                call(&mut raw(ck::CKM_AES_CTR, (&raw mut parameters).cast(), size_of_val(&parameters)))
            }
            Self::Gcm { iv, aad, tag_len } => {
                let mut parameters = ck::CK_GCM_PARAMS {
                    pIv: iv.as_ptr().cast_mut(),
                    ulIvLen: iv.len() as ck::CK_ULONG,
                    ulIvBits: iv.len() as ck::CK_ULONG * 8,
                    pAAD: aad.as_ptr().cast_mut(),
                    ulAADLen: aad.len() as ck::CK_ULONG,
                    ulTagBits: *tag_len as ck::CK_ULONG * 8,
                };
                call(&mut raw(ck::CKM_AES_GCM, (&raw mut parameters).cast(), size_of_val(&parameters)))
            }
            Self::Pss { hash, mgf, salt_len } => {
                let mut parameters =
                    ck::CK_RSA_PKCS_PSS_PARAMS { hashAlg: *hash, mgf: *mgf, sLen: *salt_len as ck::CK_ULONG };
                call(&mut raw(ck::CKM_RSA_PKCS_PSS, (&raw mut parameters).cast(), size_of_val(&parameters)))
            }
            Self::Oaep { hash, mgf, label } => {
                let mut parameters = ck::CK_RSA_PKCS_OAEP_PARAMS {
                    hashAlg: *hash,
                    mgf: *mgf,
                    source: ck::CKZ_DATA_SPECIFIED,
                    // SoftHSM and others insist on null for no label.
                    pSourceData: if label.is_empty() { ptr::null_mut() } else { label.as_ptr().cast_mut().cast() },
                    ulSourceDataLen: label.len() as ck::CK_ULONG,
                };
                call(&mut raw(ck::CKM_RSA_PKCS_OAEP, (&raw mut parameters).cast(), size_of_val(&parameters)))
            }
        }
    }
}

fn raw(kind: ck::CK_MECHANISM_TYPE, parameter: *mut std::ffi::c_void, len: usize) -> ck::CK_MECHANISM {
    ck::CK_MECHANISM { mechanism: kind, pParameter: parameter, ulParameterLen: len as ck::CK_ULONG }
}

/// The mechanism and mask generation function of a hash.
pub(super) fn hash(algorithm: HashingAlgorithm) -> Result<(ck::CK_MECHANISM_TYPE, ck::CK_RSA_PKCS_MGF_TYPE)> {
    Ok(match algorithm {
        HashingAlgorithm::Sha1 => (ck::CKM_SHA_1, ck::CKG_MGF1_SHA1),
        HashingAlgorithm::Sha224 => (ck::CKM_SHA224, ck::CKG_MGF1_SHA224),
        HashingAlgorithm::Sha256 => (ck::CKM_SHA256, ck::CKG_MGF1_SHA256),
        HashingAlgorithm::Sha384 => (ck::CKM_SHA384, ck::CKG_MGF1_SHA384),
        HashingAlgorithm::Sha512 => (ck::CKM_SHA512, ck::CKG_MGF1_SHA512),
        other => {
            return Err(KsError::unsupported(format!("the token has no RSA padding with hash {}", names::hash(other))));
        }
    })
}

/// The mechanism of a message authentication code.
pub(super) fn mac(scheme: MacScheme) -> Result<ck::CK_MECHANISM_TYPE> {
    Ok(match scheme {
        MacScheme::Cmac => ck::CKM_AES_CMAC,
        MacScheme::Hmac(HashingAlgorithm::Md5) => ck::CKM_MD5_HMAC,
        MacScheme::Hmac(HashingAlgorithm::Sha1) => ck::CKM_SHA_1_HMAC,
        MacScheme::Hmac(HashingAlgorithm::Sha224) => ck::CKM_SHA224_HMAC,
        MacScheme::Hmac(HashingAlgorithm::Sha256) => ck::CKM_SHA256_HMAC,
        MacScheme::Hmac(HashingAlgorithm::Sha384) => ck::CKM_SHA384_HMAC,
        MacScheme::Hmac(HashingAlgorithm::Sha512) => ck::CKM_SHA512_HMAC,
        MacScheme::Hmac(other) => {
            return Err(KsError::unsupported(format!("the token has no HMAC with {}", names::hash(other))));
        }
        MacScheme::Gmac { .. } => return Err(KsError::unsupported("the token has no GMAC")),
    })
}

/// The mechanisms of a token with their flags, as probed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Mechanisms(pub(super) BTreeMap<ck::CK_MECHANISM_TYPE, ck::CK_FLAGS>);

impl Mechanisms {
    /// Whether the token has the mechanism for all of these uses.
    pub(super) fn has(&self, kind: ck::CK_MECHANISM_TYPE, uses: ck::CK_FLAGS) -> bool {
        self.0.get(&kind).is_some_and(|flags| flags & uses == uses)
    }

    /// The same as capabilities.
    pub(super) fn capabilities(&self) -> Capabilities {
        let both = ck::CKF_ENCRYPT | ck::CKF_DECRYPT;
        Capabilities {
            generate_aes: self.has(ck::CKM_AES_KEY_GEN, ck::CKF_GENERATE),
            generate_des3: false,
            generate_hmac: self.has(ck::CKM_GENERIC_SECRET_KEY_GEN, ck::CKF_GENERATE),
            generate_chacha20: false,
            generate_rsa: self.has(ck::CKM_RSA_PKCS_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR),
            generate_ec: self.has(ck::CKM_EC_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR),
            generate_ed25519: self.has(ck::CKM_EC_EDWARDS_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR),
            generate_ml_dsa: self.has(ck::CKM_ML_DSA_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR),
            generate_ml_kem: self.has(ck::CKM_ML_KEM_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR),
            import: true,
            export: false,
            sign_ecdsa: self.has(ck::CKM_ECDSA, ck::CKF_SIGN),
            sign_rsa_pkcs1: self.has(ck::CKM_RSA_PKCS, ck::CKF_SIGN),
            sign_rsa_pss: self.has(ck::CKM_RSA_PKCS_PSS, ck::CKF_SIGN),
            sign_ed25519: self.has(ck::CKM_EDDSA, ck::CKF_SIGN),
            sign_ml_dsa: self.has(ck::CKM_ML_DSA, ck::CKF_SIGN),
            decapsulate_ml_kem: self.has(ck::CKM_ML_KEM, ck::CKF_DECAPSULATE),
            decrypt_rsa_pkcs1: self.has(ck::CKM_RSA_PKCS, ck::CKF_DECRYPT),
            decrypt_rsa_oaep: self.has(ck::CKM_RSA_PKCS_OAEP, ck::CKF_DECRYPT),
            aes_ecb: self.has(ck::CKM_AES_ECB, both),
            aes_cbc: self.has(ck::CKM_AES_CBC, both),
            aes_ctr: self.has(ck::CKM_AES_CTR, both),
            aes_gcm: self.has(ck::CKM_AES_GCM, both),
            aes_key_wrap: self.has(ck::CKM_AES_KEY_WRAP, both),
            hmac: self.has(ck::CKM_SHA256_HMAC, ck::CKF_SIGN),
            cmac: self.has(ck::CKM_AES_CMAC, ck::CKF_SIGN),
            random: true,
        }
    }
}
