//! Using keys in the server, or, where that is configured and the server cannot, with fetched material.

use super::client::mismatch;
use super::keystore::{KmipKeystore, Located};
use super::{make, material, parameters};
use crate::error::{Class, KsError, Result};
use crate::key::KeyRef;
use crate::keystore::OpCx;
use crate::local::{self, KeyKind, KeyMaterial, PreparedKey};
use crate::operation::{
    CryptoOp, CryptoOut, DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Iv, MacScheme, SignInput, SignatureScheme,
};
use crate::secret::SecretBytes;
use keygate_kmip::{
    CryptographicAlgorithm, CryptographicParameters, DecryptRequest, EncryptRequest, GetRequest, MacRequest, Operation,
    ProtocolVersion, RequestPayload, ResponsePayload, Secret, SignRequest,
};

impl KmipKeystore {
    pub(super) async fn apply(&self, key: &KeyRef, op: CryptoOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let operation = match op {
            CryptoOp::Encrypt(op) => {
                check_tag(op.scheme, None)?;
                Operation::Encrypt
            }
            CryptoOp::Decrypt(op) => {
                check_tag(op.scheme, Some(op.tag))?;
                Operation::Decrypt
            }
            CryptoOp::Sign(scheme, input) => {
                // The digest's length is checked here as everywhere; the message itself goes to the server.
                local::digest_of(scheme, input)?;
                Operation::Sign
            }
            CryptoOp::Mac { .. } => Operation::Mac,
            CryptoOp::Verify(..) => {
                return Err(KsError::unsupported("signatures are verified with the public half, in software"));
            }
            CryptoOp::Encapsulate | CryptoOp::Decapsulate(_) => {
                return Err(KsError::unsupported("no key encapsulation behind KMIP"));
            }
        };
        let peer = self.client.peer(cx).await?;
        if !peer.does(operation) {
            if !self.fetch {
                return Err(KsError::unsupported(format!("the key server does not do {operation}")));
            }
            let fetched = self.fetch_key(key, cx).await?;
            return local::apply(&PreparedKey::new(&fetched)?, op);
        }
        let version = peer.version;
        match op {
            CryptoOp::Encrypt(op) => self.encrypt(key, op, version, cx).await,
            CryptoOp::Decrypt(op) => self.decrypt(key, op, version, cx).await,
            CryptoOp::Sign(scheme, input) => self.sign(key, scheme, input, version, cx).await,
            CryptoOp::Mac { scheme, data, .. } => self.mac(key, scheme, data, cx).await,
            CryptoOp::Verify(..) | CryptoOp::Encapsulate | CryptoOp::Decapsulate(_) => Err(mismatch()),
        }
    }

    /// The key's value. Only called where the configuration lets it leave the server.
    pub(super) async fn fetch_key(&self, key: &KeyRef, cx: OpCx) -> Result<KeyMaterial> {
        let get = |at: &Located| {
            RequestPayload::Get(GetRequest { unique_identifier: at.unique_identifier(), ..GetRequest::default() })
        };
        let (uid, answer) = self.ask_about(key, get, cx).await?;
        let fetched = material::from_object(&make::fetched(&uid, answer)?, None)?;
        let check = crate::remote::check_of(&fetched)?;
        if key.check != crate::KeyCheck::None && check != key.check {
            return Err(KsError::new(
                Class::Corrupt,
                format!("key {} in the key server is not the one that was made", key.id),
            ));
        }
        Ok(fetched)
    }

    async fn encrypt(&self, key: &KeyRef, op: EncryptOp<'_>, version: ProtocolVersion, cx: OpCx) -> Result<CryptoOut> {
        let mut given = parameters::encryption(op.scheme, version)?;
        let needs_iv = local::iv_len(KeyKind::Symmetric(CryptographicAlgorithm::Aes), op.scheme) > 0;
        let iv = match op.iv {
            Iv::Given(iv) => (!iv.is_empty() || needs_iv).then(|| iv.to_vec()),
            Iv::Random { len } => {
                // KMIP 2.1 §4.16: Random IV "requests the server to generate a random IV".
                given.random_iv = needs_iv.then_some(true);
                given.iv_length = len.and_then(|len| i32::try_from(len * 8).ok()).filter(|_| needs_iv);
                None
            }
        };
        let drawn = needs_iv && matches!(op.iv, Iv::Random { .. });
        let request = |at: &Located| {
            RequestPayload::Encrypt(EncryptRequest {
                unique_identifier: at.unique_identifier(),
                cryptographic_parameters: Some(of(at, &given)),
                data: Some(Secret::new(op.data.to_vec())),
                iv_counter_nonce: iv.clone(),
                correlation_value: None,
                init_indicator: None,
                final_indicator: None,
                additional_data: (!op.aad.is_empty()).then(|| op.aad.to_vec()),
            })
        };
        let ResponsePayload::Encrypt(answer) = self.ask_about(key, request, cx).await?.1 else {
            return Err(mismatch());
        };
        let incomplete = || KsError::new(Class::Corrupt, "the key server's cipher text comes without its IV or tag");
        let (mut data, mut tag) = (answer.data.unwrap_or_default(), answer.tag);
        if let (Some(len), None) = (op.scheme.tag_len(), &tag) {
            // Some servers append the tag to the text.
            let at = data.len().checked_sub(len).filter(|at| *at == op.data.len()).ok_or_else(incomplete)?;
            tag = Some(data.split_off(at));
        }
        if tag.as_ref().map(Vec::len) != op.scheme.tag_len() {
            return Err(incomplete());
        }
        let iv = match (drawn, answer.iv_counter_nonce) {
            (true, None) => return Err(incomplete()),
            (true, iv) => iv,
            (false, _) => None,
        };
        Ok(CryptoOut::Encrypted(Encrypted { data, iv, tag }))
    }

    async fn decrypt(&self, key: &KeyRef, op: DecryptOp<'_>, version: ProtocolVersion, cx: OpCx) -> Result<CryptoOut> {
        let given = parameters::encryption(op.scheme, version)?;
        let request = |at: &Located| {
            RequestPayload::Decrypt(DecryptRequest {
                unique_identifier: at.unique_identifier(),
                cryptographic_parameters: Some(of(at, &given)),
                data: Some(op.data.to_vec()),
                iv_counter_nonce: (!op.iv.is_empty()).then(|| op.iv.to_vec()),
                correlation_value: None,
                init_indicator: None,
                final_indicator: None,
                additional_data: (!op.aad.is_empty()).then(|| op.aad.to_vec()),
                tag: op.tag.map(<[u8]>::to_vec),
            })
        };
        match self.ask_about(key, request, cx).await?.1 {
            ResponsePayload::Decrypt(answer) => {
                let plain = answer.data.as_ref().map(Secret::expose_bytes).unwrap_or_default();
                Ok(CryptoOut::Decrypted(SecretBytes::copy_of(plain)))
            }
            _ => Err(mismatch()),
        }
    }

    async fn sign(
        &self,
        key: &KeyRef,
        scheme: SignatureScheme,
        input: SignInput<'_>,
        version: ProtocolVersion,
        cx: OpCx,
    ) -> Result<CryptoOut> {
        let (data, digested_data) = match input {
            SignInput::Message(message) => (Some(message.to_vec()), None),
            SignInput::Digest(_) if version < ProtocolVersion::V1_4 => {
                return Err(KsError::unsupported(format!(
                    "KMIP {version}, which the key server speaks, signs no digests"
                )));
            }
            SignInput::Digest(digest) => (None, Some(digest.to_vec())),
        };
        let given = parameters::signature(scheme, version)?;
        let request = |at: &Located| {
            RequestPayload::Sign(SignRequest {
                unique_identifier: at.unique_identifier(),
                cryptographic_parameters: Some(of(at, &given)),
                data: data.clone(),
                digested_data: digested_data.clone(),
                correlation_value: None,
                init_indicator: None,
                final_indicator: None,
            })
        };
        match self.ask_about(key, request, cx).await?.1 {
            ResponsePayload::Sign(answer) => answer.signature_data.map(CryptoOut::Signature).ok_or_else(mismatch),
            _ => Err(mismatch()),
        }
    }

    async fn mac(&self, key: &KeyRef, scheme: MacScheme, data: &[u8], cx: OpCx) -> Result<CryptoOut> {
        let given = parameters::mac(scheme)?;
        let request = |at: &Located| {
            RequestPayload::Mac(MacRequest {
                unique_identifier: at.unique_identifier(),
                cryptographic_parameters: Some(of(at, &given)),
                data: Some(data.to_vec()),
                correlation_value: None,
                init_indicator: None,
                final_indicator: None,
            })
        };
        match self.ask_about(key, request, cx).await?.1 {
            ResponsePayload::Mac(answer) => answer.mac_data.map(CryptoOut::Mac).ok_or_else(mismatch),
            _ => Err(mismatch()),
        }
    }
}

/// The parameters with the key's algorithm, where the scheme does not say one.
fn of(at: &Located, given: &CryptographicParameters) -> CryptographicParameters {
    let cryptographic_algorithm = given.cryptographic_algorithm.or(at.algorithm);
    CryptographicParameters { cryptographic_algorithm, ..given.clone() }
}

/// The length of a tag, and that one is given where there must be one.
fn check_tag(scheme: &EncryptionScheme, given: Option<Option<&[u8]>>) -> Result<()> {
    if scheme.tag_len().is_some_and(|len| !(4..=16).contains(&len)) {
        return Err(KsError::parameters("an authentication tag has 4 to 16 octets"));
    }
    match given {
        Some(tag) if tag.map(<[u8]>::len) != scheme.tag_len() => {
            Err(KsError::parameters("the authentication tag has not the length that the scheme has"))
        }
        _ => Ok(()),
    }
}
