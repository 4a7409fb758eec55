//! `/api/crypto/v1`: use of keys that stay here.

use axum::{extract::State, http::StatusCode, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{
    BlockCipherMode, CryptographicAlgorithm, CryptographicParameters, DecryptRequest, EncryptRequest, LinkType, MacRequest, ObjectType, Operation,
    RequestPayload, ResponsePayload, RngRetrieveRequest, Secret, SignRequest, SignatureVerifyRequest, UniqueIdentifier, ValidityIndicator,
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
    parameters::{BlockFill, Cipher, Hash, Mode, Padding, Signing},
    run::{Task, Work, mixed_up},
    view::name_of,
};
use crate::{operation::OperationError, store::ObjectId};

/// What is to be encrypted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct EncryptWish {
    /// UUID or name of the key: AES, or an RSA pair, whose public half is used.
    key: String,
    /// Base64.
    data: String,
    /// GCM, CBC, CTR or ECB for AES keys, RSA-OAEP or RSA-PKCS1 for pairs. Without it: GCM, and RSA-OAEP with SHA-256.
    #[serde(default)]
    mode: Mode,
    /// With CBC and ECB: PKCS5, or NONE for data of whole blocks. Without it: PKCS5.
    #[serde(default)]
    padding: Option<BlockFill>,
    /// With CBC: the initialization vector, base64. Without it one is made here. In GCM and CTR it needs `ivChosen`.
    #[serde(default)]
    iv: Option<String>,
    /// True: the client answers for it that no initialization vector comes twice under a key, which gives messages away.
    #[serde(default)]
    iv_chosen: bool,
    /// With GCM: additional data, base64.
    #[serde(default)]
    aad: Option<String>,
    /// With GCM: bits of the tag, 96 to 128. Without it: 128.
    #[serde(default)]
    tag_length: Option<i32>,
    /// With RSA-OAEP: SHA1, SHA256, SHA384 or SHA512. Without it: SHA256.
    #[serde(default)]
    hash: Option<Hash>,
    /// With RSA-OAEP: the hash of its mask. Without it: `hash`.
    #[serde(default)]
    mgf_hash: Option<Hash>,
}

/// What was encrypted.
#[derive(Serialize, ToSchema)]
pub(super) struct Encrypted {
    /// The key.
    uuid: String,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Base64.
    data: String,
    /// The initialization vector, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    iv: Option<String>,
    /// With GCM: the tag, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// Encrypts.
#[utoipa::path(post, path = "/api/crypto/v1/encrypt", tag = "crypto", request_body = EncryptWish, security(("basic" = ["crypto:encrypt"])),
    responses((status = 200, description = "The ciphertext.", body = Encrypted), (status = 403, description = "The key may not be used so.", body = Failure)))]
pub(super) async fn encrypt(may: May<CryptoEncrypt>, State(rest): State<Rest>, Body(wish): Body<EncryptWish>) -> Result<Response, Refused> {
    if wish.iv.is_some() && wish.mode != Mode::Cbc && !wish.iv_chosen {
        return Err(Refused::invalid("iv is taken with mode CBC only; in GCM and CTR one that comes twice gives messages away (ivChosen: true answers for it)"));
    }
    let data = Secret::new(octets("data", &wish.data)?);
    let cipher = Cipher { mode: wish.mode, padding: wish.padding, tag_length: wish.tag_length, hash: wish.hash, mgf_hash: wish.mgf_hash };
    let input = Input { cipher, iv: field("iv", wish.iv)?, aad: field("aad", wish.aad)? };
    let task = Encrypt { key: KeyName::parse(&wish.key)?, data, input };
    let encrypted = rest.run(&may, task).await?;
    Ok(done(StatusCode::OK, &encrypted))
}

/// What goes with the data of Encrypt and Decrypt.
struct Input {
    cipher: Cipher,
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
        let (id, object_type, name) = half(work, &self.key, Operation::Encrypt, ObjectType::PublicKey).await?;
        let mut parameters = self.input.cipher.parameters(object_type)?;
        if object_type == ObjectType::SymmetricKey && self.input.iv.is_none() && self.input.cipher.mode != Mode::Ecb {
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
                name,
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
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DecryptWish {
    /// UUID or name of the key.
    key: String,
    /// Base64.
    data: String,
    /// As when it was encrypted.
    #[serde(default)]
    mode: Mode,
    /// As when it was encrypted.
    #[serde(default)]
    padding: Option<BlockFill>,
    /// The initialization vector, base64.
    #[serde(default)]
    iv: Option<String>,
    /// With GCM: the tag, base64.
    #[serde(default)]
    tag: Option<String>,
    /// With GCM: additional data, base64.
    #[serde(default)]
    aad: Option<String>,
    /// As when it was encrypted.
    #[serde(default)]
    tag_length: Option<i32>,
    /// As when it was encrypted.
    #[serde(default)]
    hash: Option<Hash>,
    /// As when it was encrypted.
    #[serde(default)]
    mgf_hash: Option<Hash>,
}

/// What was decrypted.
#[derive(Serialize, ToSchema)]
pub(super) struct Decrypted {
    /// The key.
    uuid: String,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
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
    let cipher = Cipher { mode: wish.mode, padding: wish.padding, tag_length: wish.tag_length, hash: wish.hash, mgf_hash: wish.mgf_hash };
    let task = Decrypt {
        key: KeyName::parse(&wish.key)?,
        data: octets("data", &wish.data)?,
        tag: field("tag", wish.tag)?,
        input: Input { cipher, iv: field("iv", wish.iv)?, aad: field("aad", wish.aad)? },
    };
    let decrypted = rest.run(&may, task).await?;
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
        let (id, object_type, name) = half(work, &self.key, Operation::Decrypt, ObjectType::PrivateKey).await?;
        let request = DecryptRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: Some(self.input.cipher.parameters(object_type)?),
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
                Ok(Decrypted { uuid: id.to_string(), name, data })
            }
            other => Err(mixed_up(&other)),
        }
    }
}

/// What is to be signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SignWish {
    /// UUID or name of the pair.
    key: String,
    /// The message, base64.
    #[serde(default)]
    data: Option<String>,
    /// Instead of the message: its hash, base64.
    #[serde(default)]
    digest: Option<String>,
    /// SHA1, SHA256, SHA384 or SHA512. Without it: SHA256.
    #[serde(default)]
    hash: Option<Hash>,
    /// For RSA keys: PKCS1 or PSS. Without it: PKCS1.
    #[serde(default)]
    padding: Option<Padding>,
    /// With PSS: the hash of its mask. Without it: `hash`.
    #[serde(default)]
    mgf_hash: Option<Hash>,
    /// With PSS: octets of the salt, 0 to 64. Without it: as many as the hash has.
    #[serde(default)]
    salt_length: Option<i32>,
}

/// A signature.
#[derive(Serialize, ToSchema)]
pub(super) struct Signed {
    /// The key.
    uuid: String,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Base64; of EC keys the DER of r and s.
    signature: String,
}

/// Signs a message.
#[utoipa::path(post, path = "/api/crypto/v1/sign", tag = "crypto", request_body = SignWish, security(("basic" = ["crypto:sign"])),
    responses((status = 200, description = "The signature.", body = Signed), (status = 403, description = "The key may not be used so.", body = Failure)))]
pub(super) async fn sign(may: May<CryptoSign>, State(rest): State<Rest>, Body(wish): Body<SignWish>) -> Result<Response, Refused> {
    if wish.data.is_some() == wish.digest.is_some() {
        return Err(Refused::invalid("give one of data and digest"));
    }
    let (data, digest) = (field("data", wish.data)?, field("digest", wish.digest)?);
    let signing = Signing { hash: wish.hash, padding: wish.padding, mgf_hash: wish.mgf_hash, salt_length: wish.salt_length };
    let signed = rest.run(&may, Sign { key: KeyName::parse(&wish.key)?, data, digest, parameters: signing.parameters()? }).await?;
    Ok(done(StatusCode::OK, &signed))
}

struct Sign {
    key: KeyName,
    data: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
    parameters: CryptographicParameters,
}

impl Task for Sign {
    type Answer = Signed;

    fn operation(&self) -> Operation {
        Operation::Sign
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<Signed, OperationError> {
        let (id, _, name) = half(work, &self.key, Operation::Sign, ObjectType::PrivateKey).await?;
        let request = SignRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: Some(self.parameters.clone()),
            data: self.data.clone(),
            digested_data: self.digest.clone(),
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
        };
        match work.item(RequestPayload::Sign(request)).await? {
            ResponsePayload::Sign(done) => Ok(Signed { uuid: id.to_string(), name, signature: STANDARD.encode(done.signature_data.unwrap_or_default()) }),
            other => Err(mixed_up(&other)),
        }
    }
}

/// A signature to be checked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
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
    /// As when it was signed.
    #[serde(default)]
    mgf_hash: Option<Hash>,
    /// As when it was signed.
    #[serde(default)]
    salt_length: Option<i32>,
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
    let signing = Signing { hash: wish.hash, padding: wish.padding, mgf_hash: wish.mgf_hash, salt_length: wish.salt_length };
    let task = Verify {
        key: KeyName::parse(&wish.key)?,
        data: octets("data", &wish.data)?,
        signature: octets("signature", &wish.signature)?,
        parameters: signing.parameters()?,
    };
    let verified = rest.run(&may, task).await?;
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
        let (id, ..) = half(work, &self.key, Operation::SignatureVerify, ObjectType::PublicKey).await?;
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

/// What a MAC is to be computed of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MacWish {
    /// UUID or name of the key: HMAC by the key's hash, or CMAC with an AES key.
    key: String,
    /// The message, base64.
    data: String,
    /// For HMAC: SHA1, SHA256, SHA384 or SHA512. Without it: the key's.
    #[serde(default)]
    hash: Option<Hash>,
}

/// A MAC.
#[derive(Serialize, ToSchema)]
pub(super) struct MacMade {
    /// The key.
    uuid: String,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Base64.
    mac: String,
}

/// Computes a MAC.
#[utoipa::path(post, path = "/api/crypto/v1/mac", tag = "crypto", request_body = MacWish, security(("basic" = ["crypto:mac"])),
    responses((status = 200, description = "The MAC.", body = MacMade), (status = 403, description = "The key may not be used so.", body = Failure)))]
pub(super) async fn mac(may: May<CryptoMac>, State(rest): State<Rest>, Body(wish): Body<MacWish>) -> Result<Response, Refused> {
    let made = rest.run(&may, Mac { key: KeyName::parse(&wish.key)?, data: octets("data", &wish.data)?, hash: wish.hash }).await?;
    Ok(done(StatusCode::OK, &made))
}

struct Mac {
    key: KeyName,
    data: Vec<u8>,
    hash: Option<Hash>,
}

impl Task for Mac {
    type Answer = MacMade;

    fn operation(&self) -> Operation {
        Operation::Mac
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<MacMade, OperationError> {
        let id = self.key.resolve(work).await?;
        let permit = work.exchange.permit_id(id, Operation::Mac).await?;
        let object = work.exchange.object(&permit);
        let name = name_of(object);
        let is_aes = object.attributes.cryptographic_algorithm() == Some(CryptographicAlgorithm::Aes);
        let none = CryptographicParameters::default();
        let parameters = match (is_aes, self.hash) {
            (true, Some(_)) => return Err(OperationError::InvalidField("hash goes with HMAC, the key is an AES key".to_owned())),
            (true, None) => Some(CryptographicParameters { block_cipher_mode: Some(BlockCipherMode::Cmac), ..none }),
            (false, hash) => hash.map(|hash| CryptographicParameters { cryptographic_algorithm: Some(hash.hmac()), ..none }),
        };
        let request = MacRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            cryptographic_parameters: parameters,
            data: Some(self.data.clone()),
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
        };
        match work.item(RequestPayload::Mac(request)).await? {
            ResponsePayload::Mac(done) => Ok(MacMade { uuid: id.to_string(), name, mac: STANDARD.encode(done.mac_data.unwrap_or_default()) }),
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
    let made = rest.run(&may, Random { length: wish.length }).await?;
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

/// The object that a key's name means for an operation: of a pair, the half that does it. And the name that the key has.
async fn half(
    work: &mut Work<'_, '_>,
    key: &KeyName,
    operation: Operation,
    wanted: ObjectType,
) -> Result<(ObjectId, ObjectType, Option<String>), OperationError> {
    let id = key.resolve(work).await?;
    let permit = work.exchange.permit_id(id, operation).await?;
    let object = work.exchange.object(&permit);
    let other = match (object.object_type, wanted) {
        (ObjectType::PrivateKey, ObjectType::PublicKey) => linked(object, LinkType::PublicKeyLink),
        _ => None,
    };
    let name = name_of(object);
    Ok(match other {
        Some(other) => (other, wanted, name),
        None => (id, object.object_type, name),
    })
}

/// The octets of a field that may be absent.
fn field(name: &str, text: Option<String>) -> Result<Option<Vec<u8>>, Refused> {
    text.map(|text| octets(name, &text)).transpose()
}
