//! Create: the server makes a symmetric key or secret data. KMIP 2.1 §6.1.8, KMIP 1.4 §4.1.

use keygate_backends::local;
use keygate_kmip::{
    Attribute, CreateRequest, CreateResponse, CryptographicAlgorithm, KeyFormatType, ManagedObject, ObjectType,
    RngAlgorithm, RngParameters, SecretData, SecretDataType, KeyBlock, KeyMaterial, KeyValue, Secret, Attributes,
};

use super::{Exchange, OperationError, generate, new_object};
use crate::object::{Material, Object};
use crate::store::Custody;

/// Makes the key.
///
/// # Errors
/// Attributes that may not be given, an algorithm or length that the keystore does not make.
pub(super) async fn create(exchange: &mut Exchange<'_>, request: CreateRequest) -> Result<CreateResponse, OperationError> {
    let given = new_object::expand(exchange, request.attributes).await?;
    let keystore = new_object::keystore_of(exchange, &given)?;
    let mut object = new_object::build(exchange, request.object_type, given, (keystore, Custody::Envelope))?;
    let material = match request.object_type {
        ObjectType::SymmetricKey => symmetric_key(exchange, &mut object).await?,
        ObjectType::SecretData => secret_data(exchange, &mut object)?,
        other => return Err(OperationError::InvalidField(format!("Create makes symmetric keys and secret data, not {other}"))),
    };
    object.attributes.set(Attribute::OriginalCreationDate(keygate_kmip::DateTime(exchange.now)));
    object.attributes.set_default(Attribute::RandomNumberGenerator(rng()));
    let unique_identifier = object.id.to_string().into();
    let placeholder = object.id;
    exchange.insert(object, material);
    exchange.set_placeholder(Some(placeholder));
    Ok(CreateResponse { object_type: request.object_type, unique_identifier, attributes: None })
}

/// The generator behind every key made here: AWS-LC's CTR_DRBG with AES-256.
pub(super) fn rng() -> RngParameters {
    RngParameters {
        rng_algorithm: RngAlgorithm::Drbg,
        cryptographic_algorithm: Some(CryptographicAlgorithm::Aes),
        cryptographic_length: Some(256),
        hashing_algorithm: None,
        drbg_algorithm: Some(keygate_kmip::DrbgAlgorithm::Ctr),
        recommended_curve: None,
        fips186_variation: None,
        prediction_resistance: Some(false),
    }
}

/// Makes the key of a symmetric key object and completes its attributes.
pub(super) async fn symmetric_key(exchange: &mut Exchange<'_>, object: &mut Object) -> Result<Material, OperationError> {
    let missing = |what: &str| OperationError::InvalidMessage(format!("{what} is missing"));
    let algorithm = object.attributes.cryptographic_algorithm().ok_or_else(|| missing("Cryptographic Algorithm"))?;
    let bits = match object.attributes.cryptographic_length() {
        Some(bits) => u32::try_from(bits).map_err(|_| OperationError::InvalidField("Cryptographic Length is negative".to_owned()))?,
        None => default_length(algorithm).ok_or_else(|| missing("Cryptographic Length"))?,
    };
    if local::is_legacy(algorithm) && !exchange.gateway.policy.legacy_algorithms {
        return Err(OperationError::FeatureNotSupported(format!("{algorithm} keys are made only where legacy algorithms are allowed")));
    }
    let (custody, material) = generate::symmetric(exchange, object.keystore, algorithm, bits).await?;
    object.custody = custody;
    object.attributes.set(Attribute::CryptographicLength(bits.cast_signed()));
    object.attributes.set(Attribute::KeyFormatType(KeyFormatType::Raw));
    match &material {
        Material::Held(held) => {
            if let Some(bytes) = super::register::value_bytes(held) {
                new_object::set_digest(object, &bytes);
            }
        }
        Material::Referenced(_) | Material::None => stays_in_the_device(object),
    }
    Ok(material)
}

/// A key that never leaves its device is sensitive and not extractable, whatever was asked. A key server that hands keys
/// out leaves that to the client.
pub(super) fn stays_in_the_device(object: &mut Object) {
    if object.custody == Custody::Reference {
        return;
    }
    object.attributes.set(Attribute::Sensitive(true));
    object.attributes.set(Attribute::AlwaysSensitive(true));
    object.attributes.set(Attribute::Extractable(false));
    object.attributes.set(Attribute::NeverExtractable(true));
    object.attributes.set(Attribute::ProtectionStorageMask(keygate_kmip::ProtectionStorageMask::HARDWARE));
}

/// KMIP 2.x lets the server choose what the client leaves out; 1.x clients that leave the length out mean the same.
fn default_length(algorithm: CryptographicAlgorithm) -> Option<u32> {
    match algorithm {
        CryptographicAlgorithm::Aes | CryptographicAlgorithm::ChaCha20 | CryptographicAlgorithm::ChaCha20Poly1305 => Some(256),
        CryptographicAlgorithm::Des3 => Some(168),
        CryptographicAlgorithm::HmacSha256 => Some(256),
        CryptographicAlgorithm::HmacSha384 => Some(384),
        CryptographicAlgorithm::HmacSha512 => Some(512),
        _ => None,
    }
}

/// Makes random secret data of the asked length, as a password.
fn secret_data(exchange: &Exchange<'_>, object: &mut Object) -> Result<Material, OperationError> {
    let bits = object.attributes.cryptographic_length().unwrap_or(256);
    let bytes = usize::try_from(bits).ok().filter(|bits| bits % 8 == 0 && *bits > 0).map(|bits| bits / 8);
    let bytes = bytes.ok_or_else(|| OperationError::InvalidField("Cryptographic Length of secret data is not whole bytes".to_owned()))?;
    if bytes > exchange.gateway.policy.object_bytes_max {
        return Err(OperationError::InvalidField("Cryptographic Length of secret data is over the limit".to_owned()));
    }
    let secret = local::random(bytes)?;
    new_object::set_digest(object, secret.expose());
    object.attributes.set(Attribute::CryptographicLength(bits));
    object.attributes.set(Attribute::KeyFormatType(KeyFormatType::Opaque));
    let key_value = KeyValue::Plain {
        material: KeyMaterial::Bytes(Secret::new(secret.into_exposed())),
        attributes: Attributes::default(),
    };
    let key_block = KeyBlock {
        key_format_type: KeyFormatType::Opaque,
        key_compression_type: None,
        key_value: Some(key_value),
        cryptographic_algorithm: None,
        cryptographic_length: None,
        key_wrapping_data: None,
    };
    Ok(Material::Held(Box::new(ManagedObject::SecretData(SecretData { data_type: SecretDataType::Password, key_block }))))
}
