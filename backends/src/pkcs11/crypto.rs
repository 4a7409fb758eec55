//! Using keys on a token. Hashing, block padding, DigestInfo and DER signatures are made here, outside the token.

use super::keystore::{Pkcs11Keystore, mismatch};
use super::message::{CipherMechanism, KeyName, Request, Response, SignMechanism};
use super::{curve, mechanism};
use crate::error::{Class, KsError, Result};
use crate::keystore::OpCx;
use crate::lattice::{MlKem, SHARED_SECRET_OCTETS};
use crate::local::{self, KeyKind};
use crate::operation::{
    CryptoOut, DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Iv, MacScheme, SignInput, SignatureScheme,
};
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm};

const BLOCK: usize = 16;
const IV_MAX: usize = 128;

impl Pkcs11Keystore {
    pub(super) async fn sign(
        &self,
        key: KeyName,
        scheme: SignatureScheme,
        input: SignInput<'_>,
        cx: OpCx,
    ) -> Result<CryptoOut> {
        let digest = local::digest_of(scheme, input)?;
        let (kind, mechanism, data) = match scheme {
            SignatureScheme::Ecdsa(_) => (ck::CKM_ECDSA, SignMechanism::Ecdsa, digest.into_owned()),
            SignatureScheme::RsaPkcs1(hash) => (ck::CKM_RSA_PKCS, SignMechanism::RsaPkcs1, digest_info(hash, &digest)?),
            SignatureScheme::RsaPkcs1Bare => (ck::CKM_RSA_PKCS, SignMechanism::RsaPkcs1, digest.into_owned()),
            SignatureScheme::RsaPss { hash, mgf_hash, salt_len } => {
                let salt_len = salt_len.unwrap_or(digest.len());
                let ((hash, _), (_, mgf)) = (mechanism::hash(hash)?, mechanism::hash(mgf_hash)?);
                (ck::CKM_RSA_PKCS_PSS, SignMechanism::RsaPss { hash, mgf, salt_len }, digest.into_owned())
            }
            SignatureScheme::Ed25519 | SignatureScheme::MlDsa if matches!(input, SignInput::Digest(_)) => {
                return Err(KsError::unsupported("the key signs the message, not a hash of it"));
            }
            SignatureScheme::Ed25519 => (ck::CKM_EDDSA, SignMechanism::EdDsa, digest.into_owned()),
            SignatureScheme::MlDsa => (ck::CKM_ML_DSA, SignMechanism::MlDsa, digest.into_owned()),
        };
        self.require(kind, ck::CKF_SIGN, cx).await?;
        let Response::Bytes(signature) = self.token.call(Request::Sign { key, mechanism, data }, cx).await? else {
            return Err(mismatch());
        };
        match scheme {
            SignatureScheme::Ecdsa(_) => curve::der_signature(&signature).map(CryptoOut::Signature),
            _ => Ok(CryptoOut::Signature(signature)),
        }
    }

    pub(super) async fn mac(&self, key: KeyName, scheme: MacScheme, data: &[u8], cx: OpCx) -> Result<CryptoOut> {
        let kind = mechanism::mac(scheme)?;
        self.require(kind, ck::CKF_SIGN, cx).await?;
        let request = Request::Sign { key, mechanism: SignMechanism::Mac(kind), data: data.to_vec() };
        let Response::Bytes(mac) = self.token.call(request, cx).await? else { return Err(mismatch()) };
        Ok(CryptoOut::Mac(mac))
    }

    pub(super) async fn decapsulate(&self, key: KeyName, ciphertext: &[u8], cx: OpCx) -> Result<CryptoOut> {
        self.require(ck::CKM_ML_KEM, ck::CKF_DECAPSULATE, cx).await?;
        // The name does not tell the parameter set; the token refuses what does not fit the key.
        if !MlKem::ALL.into_iter().any(|set| set.check_ciphertext(ciphertext).is_ok()) {
            return Err(KsError::data(format!("no cipher text of ML-KEM has {} octets", ciphertext.len())));
        }
        let request = Request::Decapsulate { key, ciphertext: ciphertext.to_vec() };
        let Response::Secret(secret) = self.token.call(request, cx).await? else { return Err(mismatch()) };
        if secret.len() != SHARED_SECRET_OCTETS {
            return Err(KsError::new(Class::Corrupt, format!("the token's shared secret has {} octets", secret.len())));
        }
        Ok(CryptoOut::Decapsulated(secret))
    }

    pub(super) async fn encrypt(&self, key: KeyName, op: EncryptOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let usual = local::iv_len(KeyKind::Symmetric(CryptographicAlgorithm::Aes), op.scheme);
        let drawn = match op.iv {
            Iv::Random { len } if usual > 0 => Some(local::random(len.unwrap_or(usual).min(IV_MAX))?.into_exposed()),
            _ => None,
        };
        let iv = match (op.iv, &drawn) {
            (Iv::Given(iv), _) => iv,
            (Iv::Random { .. }, drawn) => drawn.as_deref().unwrap_or_default(),
        };
        let (kind, mechanism) = cipher(op.scheme, iv, op.aad, true)?;
        self.require(kind, ck::CKF_ENCRYPT, cx).await?;
        let mut plain = Vec::with_capacity(op.data.len() + 16);
        plain.extend_from_slice(op.data);
        if let EncryptionScheme::Ecb(padding) | EncryptionScheme::Cbc(padding) = op.scheme {
            plain.extend(local::padding::suffix(*padding, op.data.len(), BLOCK)?);
        }
        let request = Request::Encrypt { key, mechanism, data: SecretBytes::new(plain) };
        let Response::Bytes(mut data) = self.token.call(request, cx).await? else { return Err(mismatch()) };
        let tag = match op.scheme.tag_len() {
            Some(len) if data.len() >= len => Some(data.split_off(data.len() - len)),
            Some(_) => return Err(KsError::new(Class::Corrupt, "the token's cipher text is shorter than its tag")),
            None => None,
        };
        Ok(CryptoOut::Encrypted(Encrypted { data, iv: drawn, tag }))
    }

    pub(super) async fn decrypt(&self, key: KeyName, op: DecryptOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let (kind, mechanism) = cipher(op.scheme, op.iv, op.aad, false)?;
        let padding = local::padding::before_decrypt(&op, BLOCK)?;
        self.require(kind, ck::CKF_DECRYPT, cx).await?;
        let data = [op.data, op.tag.unwrap_or_default()].concat();
        let Response::Secret(plain) = self.token.call(Request::Decrypt { key, mechanism, data }, cx).await? else {
            return Err(mismatch());
        };
        local::padding::after_decrypt(padding, plain, BLOCK).map(CryptoOut::Decrypted)
    }
}

/// The mechanism of a scheme, its parameters checked as the local keystore checks them.
fn cipher(
    scheme: &EncryptionScheme,
    iv: &[u8],
    aad: &[u8],
    encrypt: bool,
) -> Result<(ck::CK_MECHANISM_TYPE, CipherMechanism)> {
    let iv_is = |legal: bool, what: &str| match legal {
        true => Ok(()),
        false => Err(KsError::parameters(format!("the mode takes {what}, {} octets given", iv.len()))),
    };
    if !aad.is_empty() && !scheme.is_aead() {
        return Err(KsError::parameters("additional authenticated data goes with AEAD modes only"));
    }
    match scheme {
        EncryptionScheme::Cbc(_) | EncryptionScheme::Ctr => iv_is(iv.len() == BLOCK, "an IV of 16 octets")?,
        EncryptionScheme::Gcm { .. } => iv_is((1..=IV_MAX).contains(&iv.len()), "an IV of 1 to 128 octets")?,
        _ => {}
    }
    let rsa_public = encrypt
        && matches!(scheme, EncryptionScheme::RsaPkcs1 | EncryptionScheme::RsaOaep { .. } | EncryptionScheme::RsaRaw);
    if rsa_public {
        return Err(KsError::unsupported("RSA encrypts with the public half, in software"));
    }
    Ok(match scheme {
        EncryptionScheme::Ecb(_) => (ck::CKM_AES_ECB, CipherMechanism::AesEcb),
        EncryptionScheme::Cbc(_) => (ck::CKM_AES_CBC, CipherMechanism::AesCbc { iv: iv.to_vec() }),
        EncryptionScheme::Ctr => {
            let mut counter = [0u8; BLOCK];
            counter.copy_from_slice(iv);
            (ck::CKM_AES_CTR, CipherMechanism::AesCtr { iv: counter })
        }
        EncryptionScheme::Gcm { tag_len } => {
            (ck::CKM_AES_GCM, CipherMechanism::AesGcm { iv: iv.to_vec(), aad: aad.to_vec(), tag_len: *tag_len })
        }
        EncryptionScheme::KeyWrap => (ck::CKM_AES_KEY_WRAP, CipherMechanism::AesKeyWrap),
        EncryptionScheme::RsaPkcs1 => (ck::CKM_RSA_PKCS, CipherMechanism::RsaPkcs1),
        EncryptionScheme::RsaRaw => (ck::CKM_RSA_X_509, CipherMechanism::RsaRaw),
        EncryptionScheme::RsaOaep { hash, mgf_hash, label } => {
            let ((hash, _), (_, mgf)) = (mechanism::hash(*hash)?, mechanism::hash(*mgf_hash)?);
            (ck::CKM_RSA_PKCS_OAEP, CipherMechanism::RsaOaep { hash, mgf, label: label.clone() })
        }
        _ => return Err(KsError::unsupported("the mode is not offered by tokens")),
    })
}

/// DER of DigestInfo (RFC 8017 §9.2): the prefix of note 1, then the digest.
fn digest_info(hash: HashingAlgorithm, digest: &[u8]) -> Result<Vec<u8>> {
    let oid: &[u8] = match hash {
        HashingAlgorithm::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
        HashingAlgorithm::Sha224 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04],
        HashingAlgorithm::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        HashingAlgorithm::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
        HashingAlgorithm::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        HashingAlgorithm::Sha3_256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08],
        HashingAlgorithm::Sha3_384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09],
        HashingAlgorithm::Sha3_512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0a],
        other => {
            return Err(KsError::unsupported(format!(
                "no PKCS#1 signature with hash {} in tokens",
                crate::names::hash(other)
            )));
        }
    };
    // Every length here is below 128.
    let algorithm = [&[0x30, oid.len() as u8 + 4, 0x06, oid.len() as u8], oid, &[0x05, 0x00]].concat();
    let body = [&algorithm[..], &[0x04, digest.len() as u8], digest].concat();
    Ok([&[0x30, body.len() as u8], &body[..]].concat())
}
