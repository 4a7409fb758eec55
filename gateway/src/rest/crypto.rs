//! `/api/crypto/v1`: use of keys that stay here.

use axum::{extract::State, http::StatusCode, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{
    BlockCipherMode, CryptographicAlgorithm, CryptographicParameters, DecryptRequest, EncryptRequest, HashingAlgorithm, LinkType, MacRequest,
    MaskGenerator, ObjectType, Operation, PaddingMethod, RequestPayload, ResponsePayload, RngRetrieveRequest, Secret, SignRequest,
    SignatureVerifyRequest, UniqueIdentifier, ValidityIndicator,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroize as _;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::{Body, octets},
    caller::{CryptoDecrypt, CryptoEncrypt, CryptoMac, CryptoRandom, CryptoSign, CryptoVerify, May},
    names::{KeyName, linked},
    run::{Task, Work, mixed_up},
};
use crate::{operation::OperationError, store::ObjectId};

/// Octets of a tag of GCM.
const TAG_BYTES: i32 = 16;

/// A mode of AES.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Mode {
    #[default]
    Gcm,
    Cbc,
    Ctr,
}

/// What hashes a message that is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// How an RSA key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Padding {
    Pkcs1,
    Pss,
}

/// What is to be encrypted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EncryptWish {
    /// UUID or name of the key: AES, or a pair, whose public half is used (RSA-OAEP with SHA-256).
    key: String,
    /// Base64.
    data: String,
    /// GCM, CBC (PKCS#5 padding) or CTR; for AES keys. Without it: GCM.
    #[serde(default)]
    mode: Mode,
    /// With CBC: the initialization vector, base64. Without it, and in the other modes always, one is made here.
    #[serde(default)]
    iv: Option<String>,
    /// With GCM: additional data, base64.
    #[serde(default)]
    aad: Option<String>,
}

/// What was encrypted.
#[derive(Serialize, ToSchema)]
pub(super) struct Encrypted {
    /// The key.
    uuid: String,
    /// Base64.
    data: String,
    /// The initialization vector, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    iv: Option<String>,
    /// With GCM: the tag of 16 octets, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// Encrypts.
#[utoipa::path(post, path = "/api/crypto/v1/encrypt", tag = "crypto", request_body = EncryptWish, security(("basic" = ["crypto:encrypt"])),
    responses((status = 200, description = "The ciphertext.", body = Encrypted), (status = 403, description = "The key may not be used so.", body = Failure)))]
pub(super) async fn encrypt(may: May<CryptoEncrypt>, State(rest): State<Rest>, Body(wish): Body<EncryptWish>) -> Result<Response, Refused> {
    if wish.iv.is_some() && wish.mode != Mode::Cbc {
        return Err(Refused::invalid("iv is taken with mode CBC only; in GCM and CTR one that comes twice gives messages away"));
    }
    let data = Secret::new(octets("data", &wish.data)?);
    let input = Input { mode: wish.mode, iv: field("iv", wish.iv)?, aad: field("aad", wish.aad)? };
    let task = Encrypt { key: KeyName::parse(&wish.key)?, data, input };
    let encrypted = rest.run(&may, &task).await?;
    Ok(done(StatusCode::OK, &encrypted))
}

/// What goes with the data of Encrypt and Decrypt.
struct Input {
    mode: Mode,
    iv: Option<Vec<u8>>,
    aad: Option<Vec<u8>>,
}

struct Encrypt {
    key: KeyName,
    data: Secret,
    input: Input,
}

impl Task for Encrypt {
    type Answer = Encrypted;

    fn operation(&self) -> Operation {
        Operation::Encrypt
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<Encrypted, OperationError> {
        let (id, object_type) = half(work, &self.key, Operation::Encrypt, ObjectType::PublicKey).await?;
        let mut parameters = self.input.parameters(object_type);
        if object_type == ObjectType::SymmetricKey && self.input.iv.is_none() {
            parameters.random_iv = Some(true);
        }
        let request = EncryptRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: Some(parameters),
            data: Some(self.data.clone()),
            iv_counter_nonce: self.input.iv.clone(),
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
            additional_data: self.input.aad.clone(),
        };
        match work.item(RequestPayload::Encrypt(request)).await? {
            ResponsePayload::Encrypt(done) => Ok(Encrypted {
                uuid: id.to_string(),
                data: STANDARD.encode(done.data.unwrap_or_default()),
                iv: done.iv_counter_nonce.or_else(|| self.input.iv.clone()).map(|iv| STANDARD.encode(iv)),
                tag: done.tag.map(|tag| STANDARD.encode(tag)),
            }),
            other => Err(mixed_up(&other)),
        }
    }
}

/// What is to be decrypted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecryptWish {
    /// UUID or name of the key.
    key: String,
    /// Base64.
    data: String,
    /// As when it was encrypted.
    #[serde(default)]
    mode: Mode,
    /// The initialization vector, base64.
    #[serde(default)]
    iv: Option<String>,
    /// With GCM: the tag, base64.
    #[serde(default)]
    tag: Option<String>,
    /// With GCM: additional data, base64.
    #[serde(default)]
    aad: Option<String>,
}

/// What was decrypted.
#[derive(Serialize, ToSchema)]
pub(super) struct Decrypted {
    /// The key.
    uuid: String,
    /// Base64.
    data: String,
}

impl Drop for Decrypted {
    fn drop(&mut self) {
        self.data.zeroize();
    }
}

/// Decrypts.
#[utoipa::path(post, path = "/api/crypto/v1/decrypt", tag = "crypto", request_body = DecryptWish, security(("basic" = ["crypto:decrypt"])),
    responses((status = 200, description = "The plaintext.", body = Decrypted), (status = 422, description = "It is not what this key encrypted.", body = Failure)))]
pub(super) async fn decrypt(may: May<CryptoDecrypt>, State(rest): State<Rest>, Body(wish): Body<DecryptWish>) -> Result<Response, Refused> {
    let task = Decrypt {
        key: KeyName::parse(&wish.key)?,
        data: octets("data", &wish.data)?,
        tag: field("tag", wish.tag)?,
        input: Input { mode: wish.mode, iv: field("iv", wish.iv)?, aad: field("aad", wish.aad)? },
    };
    let decrypted = rest.run(&may, &task).await?;
    Ok(done(StatusCode::OK, &decrypted))
}

struct Decrypt {
    key: KeyName,
    data: Vec<u8>,
    tag: Option<Vec<u8>>,
    input: Input,
}

impl Task for Decrypt {
    type Answer = Decrypted;

    fn operation(&self) -> Operation {
        Operation::Decrypt
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<Decrypted, OperationError> {
        let (id, object_type) = half(work, &self.key, Operation::Decrypt, ObjectType::PrivateKey).await?;
        let request = DecryptRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: Some(self.input.parameters(object_type)),
            data: Some(self.data.clone()),
            iv_counter_nonce: self.input.iv.clone(),
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
            additional_data: self.input.aad.clone(),
            tag: self.tag.clone(),
        };
        match work.item(RequestPayload::Decrypt(request)).await? {
            ResponsePayload::Decrypt(done) => {
                let data = STANDARD.encode(done.data.as_ref().map(Secret::expose_bytes).unwrap_or_default());
                Ok(Decrypted { uuid: id.to_string(), data })
            }
            other => Err(mixed_up(&other)),
        }
    }
}

impl Input {
    fn parameters(&self, object_type: ObjectType) -> CryptographicParameters {
        let none = CryptographicParameters::default();
        if object_type != ObjectType::SymmetricKey {
            return CryptographicParameters {
                cryptographic_algorithm: Some(CryptographicAlgorithm::Rsa),
                padding_method: Some(PaddingMethod::Oaep),
                hashing_algorithm: Some(HashingAlgorithm::Sha256),
                mask_generator: Some(MaskGenerator::Mfg1),
                mask_generator_hashing_algorithm: Some(HashingAlgorithm::Sha256),
                ..none
            };
        }
        match self.mode {
            Mode::Gcm => CryptographicParameters { block_cipher_mode: Some(BlockCipherMode::Gcm), tag_length: Some(TAG_BYTES), ..none },
            Mode::Cbc => {
                CryptographicParameters { block_cipher_mode: Some(BlockCipherMode::Cbc), padding_method: Some(PaddingMethod::Pkcs5), ..none }
            }
            Mode::Ctr => CryptographicParameters { block_cipher_mode: Some(BlockCipherMode::Ctr), ..none },
        }
    }
}

/// What is to be signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignWish {
    /// UUID or name of the pair.
    key: String,
    /// The message, base64.
    data: String,
    /// SHA256, SHA384 or SHA512. Without it: SHA256.
    #[serde(default)]
    hash: Option<Hash>,
    /// For RSA keys: PKCS1 or PSS. Without it: PKCS1.
    #[serde(default)]
    padding: Option<Padding>,
}

/// A signature.
#[derive(Serialize, ToSchema)]
pub(super) struct Signed {
    /// The key.
    uuid: String,
    /// Base64; of EC keys the DER of r and s.
    signature: String,
}

/// Signs a message.
#[utoipa::path(post, path = "/api/crypto/v1/sign", tag = "crypto", request_body = SignWish, security(("basic" = ["crypto:sign"])),
    responses((status = 200, description = "The signature.", body = Signed), (status = 403, description = "The key may not be used so.", body = Failure)))]
pub(super) async fn sign(may: May<CryptoSign>, State(rest): State<Rest>, Body(wish): Body<SignWish>) -> Result<Response, Refused> {
    let (data, parameters) = (octets("data", &wish.data)?, signing(wish.hash, wish.padding));
    let signed = rest.run(&may, &Sign { key: KeyName::parse(&wish.key)?, data, parameters }).await?;
    Ok(done(StatusCode::OK, &signed))
}

struct Sign {
    key: KeyName,
    data: Vec<u8>,
    parameters: CryptographicParameters,
}

impl Task for Sign {
    type Answer = Signed;

    fn operation(&self) -> Operation {
        Operation::Sign
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<Signed, OperationError> {
        let (id, _) = half(work, &self.key, Operation::Sign, ObjectType::PrivateKey).await?;
        let request = SignRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: Some(self.parameters.clone()),
            data: Some(self.data.clone()),
            digested_data: None,
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
        };
        match work.item(RequestPayload::Sign(request)).await? {
            ResponsePayload::Sign(done) => Ok(Signed { uuid: id.to_string(), signature: STANDARD.encode(done.signature_data.unwrap_or_default()) }),
            other => Err(mixed_up(&other)),
        }
    }
}

/// A signature to be checked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyWish {
    /// UUID or name of the pair, or UUID of its public half.
    key: String,
    /// The message, base64.
    data: String,
    /// Base64.
    signature: String,
    /// As when it was signed.
    #[serde(default)]
    hash: Option<Hash>,
    /// As when it was signed.
    #[serde(default)]
    padding: Option<Padding>,
}

/// What a check found.
#[derive(Serialize, ToSchema)]
pub(super) struct Verified {
    /// The key that was used: the public half.
    uuid: String,
    /// Whether it is the signature of this message by this key.
    valid: bool,
}

/// Checks a signature. One that does not match is no error: `valid` is false.
#[utoipa::path(post, path = "/api/crypto/v1/verify", tag = "crypto", request_body = VerifyWish, security(("basic" = ["crypto:verify"])),
    responses((status = 200, description = "What was found.", body = Verified), (status = 403, description = "The key may not be used so.", body = Failure)))]
pub(super) async fn verify(may: May<CryptoVerify>, State(rest): State<Rest>, Body(wish): Body<VerifyWish>) -> Result<Response, Refused> {
    let task = Verify {
        key: KeyName::parse(&wish.key)?,
        data: octets("data", &wish.data)?,
        signature: octets("signature", &wish.signature)?,
        parameters: signing(wish.hash, wish.padding),
    };
    let verified = rest.run(&may, &task).await?;
    Ok(done(StatusCode::OK, &verified))
}

struct Verify {
    key: KeyName,
    data: Vec<u8>,
    signature: Vec<u8>,
    parameters: CryptographicParameters,
}

impl Task for Verify {
    type Answer = Verified;

    fn operation(&self) -> Operation {
        Operation::SignatureVerify
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<Verified, OperationError> {
        let (id, _) = half(work, &self.key, Operation::SignatureVerify, ObjectType::PublicKey).await?;
        let request = SignatureVerifyRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: Some(self.parameters.clone()),
            data: Some(self.data.clone()),
            digested_data: None,
            signature_data: Some(self.signature.clone()),
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
        };
        match work.item(RequestPayload::SignatureVerify(request)).await? {
            ResponsePayload::SignatureVerify(done) => {
                Ok(Verified { uuid: id.to_string(), valid: done.validity_indicator == Some(ValidityIndicator::Valid) })
            }
            other => Err(mixed_up(&other)),
        }
    }
}

fn signing(hash: Option<Hash>, padding: Option<Padding>) -> CryptographicParameters {
    let hashing_algorithm = match hash {
        None | Some(Hash::Sha256) => HashingAlgorithm::Sha256,
        Some(Hash::Sha384) => HashingAlgorithm::Sha384,
        Some(Hash::Sha512) => HashingAlgorithm::Sha512,
    };
    let padding_method = match padding {
        // A key on a curve pads nothing; RSA's default is the operation's.
        None => None,
        Some(Padding::Pkcs1) => Some(PaddingMethod::Pkcs1v1_5),
        Some(Padding::Pss) => Some(PaddingMethod::Pss),
    };
    CryptographicParameters { hashing_algorithm: Some(hashing_algorithm), padding_method, ..CryptographicParameters::default() }
}

/// What a MAC is to be computed of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MacWish {
    /// UUID or name of the key: HMAC by the key's hash, or CMAC with an AES key.
    key: String,
    /// The message, base64.
    data: String,
}

/// A MAC.
#[derive(Serialize, ToSchema)]
pub(super) struct MacMade {
    /// The key.
    uuid: String,
    /// Base64.
    mac: String,
}

/// Computes a MAC.
#[utoipa::path(post, path = "/api/crypto/v1/mac", tag = "crypto", request_body = MacWish, security(("basic" = ["crypto:mac"])),
    responses((status = 200, description = "The MAC.", body = MacMade), (status = 403, description = "The key may not be used so.", body = Failure)))]
pub(super) async fn mac(may: May<CryptoMac>, State(rest): State<Rest>, Body(wish): Body<MacWish>) -> Result<Response, Refused> {
    let made = rest.run(&may, &Mac { key: KeyName::parse(&wish.key)?, data: octets("data", &wish.data)? }).await?;
    Ok(done(StatusCode::OK, &made))
}

struct Mac {
    key: KeyName,
    data: Vec<u8>,
}

impl Task for Mac {
    type Answer = MacMade;

    fn operation(&self) -> Operation {
        Operation::Mac
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<MacMade, OperationError> {
        let id = self.key.resolve(work).await?;
        let permit = work.exchange.permit_id(id, Operation::Mac).await?;
        let is_aes = work.exchange.object(&permit).attributes.cryptographic_algorithm() == Some(CryptographicAlgorithm::Aes);
        let cmac = CryptographicParameters { block_cipher_mode: Some(BlockCipherMode::Cmac), ..CryptographicParameters::default() };
        let request = MacRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: is_aes.then_some(cmac),
            data: Some(self.data.clone()),
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
        };
        match work.item(RequestPayload::Mac(request)).await? {
            ResponsePayload::Mac(done) => Ok(MacMade { uuid: id.to_string(), mac: STANDARD.encode(done.mac_data.unwrap_or_default()) }),
            other => Err(mixed_up(&other)),
        }
    }
}

/// How many random octets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RandomWish {
    /// Octets, 1 to 65536.
    length: i32,
}

/// Random octets.
#[derive(Serialize, ToSchema)]
pub(super) struct RandomMade {
    /// Base64.
    data: String,
}

impl Drop for RandomMade {
    fn drop(&mut self) {
        self.data.zeroize();
    }
}

/// Hands out random octets.
#[utoipa::path(post, path = "/api/crypto/v1/random", tag = "crypto", request_body = RandomWish, security(("basic" = ["crypto:random"])),
    responses((status = 200, description = "The octets.", body = RandomMade), (status = 429, description = "Too many at once.", body = Failure)))]
pub(super) async fn random(may: May<CryptoRandom>, State(rest): State<Rest>, Body(wish): Body<RandomWish>) -> Result<Response, Refused> {
    let made = rest.run(&may, &Random { length: wish.length }).await?;
    Ok(done(StatusCode::OK, &made))
}

struct Random {
    length: i32,
}

impl Task for Random {
    type Answer = RandomMade;

    fn operation(&self) -> Operation {
        Operation::RngRetrieve
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<RandomMade, OperationError> {
        match work.item(RequestPayload::RngRetrieve(RngRetrieveRequest { data_length: self.length })).await? {
            ResponsePayload::RngRetrieve(done) => Ok(RandomMade { data: STANDARD.encode(done.data.expose_bytes()) }),
            other => Err(mixed_up(&other)),
        }
    }
}

/// The object that a key's name means for an operation: of a pair, the half that does it.
async fn half(work: &mut Work<'_, '_>, key: &KeyName, operation: Operation, wanted: ObjectType) -> Result<(ObjectId, ObjectType), OperationError> {
    let id = key.resolve(work).await?;
    let permit = work.exchange.permit_id(id, operation).await?;
    let object = work.exchange.object(&permit);
    let other = match (object.object_type, wanted) {
        (ObjectType::PrivateKey, ObjectType::PublicKey) => linked(object, LinkType::PublicKeyLink),
        _ => None,
    };
    Ok(other.map_or((id, object.object_type), |other| (other, wanted)))
}

/// The octets of a field that may be absent.
fn field(name: &str, text: Option<String>) -> Result<Option<Vec<u8>>, Refused> {
    text.map(|text| octets(name, &text)).transpose()
}
