//! Wrapping a key under another managed key for Get, and unwrapping one that was registered wrapped.
//!
//! KMIP 2.1 §7.18 (Key Wrapping Specification), §3.3 (Key Wrapping Data), §11.19 (Encoding Option). Wrapping by encryption
//! only; keys with a MAC or signature over them are handed out as they came.

use keygate_backends::local::KeyKind;
use keygate_backends::{DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Iv, resolve};
use keygate_kmip::{
    AttributeName, Attributes, BlockCipherMode, CryptographicAlgorithm, CryptographicUsageMask,
    EncodingOption, Field, KeyInformation, KeyMaterial, KeyValue, KeyWrappingData, KeyWrappingSpecification, ManagedObject,
    ObjectType, Operation, Secret, Tag, UniqueIdentifier, WrappingMethod, ttlv,
};

use super::key::{Charge, Effect, Use, UsableKey, scheme_parameters};
use super::{Exchange, OperationError, encrypt};
use crate::authorize::Permit;
use crate::store::ObjectId;

/// Whoever wraps under a key must be permitted to encrypt with it.
const WRAP: Use = Use {
    operation: Operation::Encrypt,
    mask: CryptographicUsageMask::WRAP_KEY,
    object_types: &[ObjectType::SymmetricKey, ObjectType::PublicKey, ObjectType::Certificate],
    effect: Effect::Protect,
};

/// Whoever unwraps with a key must be permitted to decrypt with it. A symmetric key that may wrap may unwrap.
const UNWRAP: Use = Use {
    operation: Operation::Decrypt,
    mask: CryptographicUsageMask(CryptographicUsageMask::UNWRAP_KEY.0 | CryptographicUsageMask::WRAP_KEY.0),
    object_types: &[ObjectType::SymmetricKey, ObjectType::PrivateKey],
    effect: Effect::Process,
};

/// The form of a wrapped key value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// KMIP 2.1 §3.2: "Byte String: for wrapped Key Value".
    ByteString,
    /// A structure whose Key Material is the wrapped bytes: some clients register wrapped keys like this, and read them so.
    KeyMaterial,
}

impl Form {
    /// How an object's value is wrapped, or would be.
    pub(super) fn of(object: &ManagedObject) -> Self {
        let block = object.key_block().filter(|block| block.key_wrapping_data.is_some());
        match block.and_then(|block| block.key_value.as_ref()) {
            Some(KeyValue::Plain { .. }) => Self::KeyMaterial,
            Some(KeyValue::Wrapped(_)) | None => Self::ByteString,
        }
    }
}

/// The object with its key value wrapped as specified.
pub(super) async fn wrap(
    exchange: &mut Exchange<'_>,
    permit: &Permit,
    mut object: ManagedObject,
    form: Form,
    specification: KeyWrappingSpecification,
) -> Result<ManagedObject, OperationError> {
    let no_encoding = specification.encoding_option == Some(EncodingOption::NoEncoding);
    let form = if no_encoding && exchange.gateway.policy.wrapped_key_material { Form::KeyMaterial } else { form };
    if specification.wrapping_method != WrappingMethod::Encrypt || specification.mac_signature_key_information.is_some() {
        return Err(OperationError::FeatureNotSupported(format!("keys are wrapped by Encrypt, not {}", specification.wrapping_method)));
    }
    let information = specification.encryption_key_information;
    let information = information.ok_or_else(|| OperationError::InvalidMessage("Encryption Key Information is missing".to_owned()))?;
    let object_type = object.object_type();
    let Some(block) = object.key_block_mut() else {
        return Err(OperationError::InvalidField(format!("a {object_type} has no key value to wrap")));
    };
    let Some(KeyValue::Plain { material, attributes }) = block.key_value.take() else {
        return Err(OperationError::KeyValueNotPresent);
    };
    let added = named_attributes(exchange, permit, &specification.attribute_names)?;
    let attributes = with_added(attributes, added);
    let plain = encoded(exchange, specification.encoding_option, material, attributes, &specification.attribute_names)?;
    let key = wrapping_key(exchange, &information, &WRAP, plain.expose_bytes().len()).await?;
    let scheme = scheme(&key)?;
    let iv = match encrypt::initial_vector(&key, &scheme, None) {
        // KMIP 2.1 §3.3: the wrapping data carry the vector, so the server may always make it up.
        Err(OperationError::InvalidMessage(_)) => Iv::Random { len: None },
        iv => iv?,
    };
    let legacy = exchange.gateway.policy.legacy_algorithms;
    let op = EncryptOp { scheme: &scheme, iv, aad: &[], data: plain.expose_bytes(), legacy };
    let Encrypted { data: mut wrapped, iv, tag } = key.encrypt(op).await?;
    // Key Wrapping Data have no field for a tag: it follows the data.
    wrapped.extend(tag.unwrap_or_default());
    if let Some(block) = object.key_block_mut() {
        let wrapped = Secret::new(wrapped);
        block.key_value = Some(match form {
            Form::KeyMaterial => KeyValue::Plain { material: KeyMaterial::Bytes(wrapped), attributes: Attributes::default() },
            Form::ByteString => KeyValue::Wrapped(wrapped),
        });
        block.key_wrapping_data = Some(KeyWrappingData {
            wrapping_method: WrappingMethod::Encrypt,
            encryption_key_information: Some(information),
            mac_signature_key_information: None,
            mac_signature: None,
            iv_counter_nonce: iv,
            encoding_option: specification.encoding_option,
        });
    }
    Ok(object)
}

/// An object that was registered wrapped, unwrapped by its wrapping key, which is to be here.
pub(super) async fn unwrap_registered(
    exchange: &mut Exchange<'_>,
    id: ObjectId,
    mut object: ManagedObject,
) -> Result<ManagedObject, OperationError> {
    let Some(block) = object.key_block() else { return Ok(object) };
    let (Some(value), Some(wrapping)) = (&block.key_value, &block.key_wrapping_data) else {
        return Err(OperationError::KeyValueNotPresent);
    };
    if wrapping.wrapping_method != WrappingMethod::Encrypt {
        return Err(OperationError::FeatureNotSupported(format!("keys wrapped by {} are not unwrapped", wrapping.wrapping_method)));
    }
    let information = wrapping.encryption_key_information.clone().ok_or(OperationError::WrappingKeyNotFound)?;
    let key = wrapping_key(exchange, &information, &UNWRAP, 0).await?;
    let scheme = scheme(&key)?;
    let wrapped = match value {
        KeyValue::Wrapped(bytes) | KeyValue::Plain { material: KeyMaterial::Bytes(bytes), .. } => bytes.expose_bytes(),
        KeyValue::Plain { .. } => return Err(OperationError::InvalidField("a transparent key is not wrapped".to_owned())),
    };
    let at = wrapped.len().saturating_sub(scheme.tag_len().unwrap_or_default());
    let (data, tag) = wrapped.split_at(at);
    let iv = wrapping.iv_counter_nonce.as_deref().unwrap_or_default();
    let op = DecryptOp { scheme: &scheme, iv, aad: &[], data, tag: scheme.tag_len().map(|_| tag) };
    let plain = key.decrypt(exchange.gateway, op).await?;
    let key_value = match wrapping.encoding_option {
        Some(EncodingOption::NoEncoding) => KeyValue::Plain {
            material: KeyMaterial::Bytes(Secret::new(plain.into_exposed())),
            attributes: Attributes::default(),
        },
        _ => decoded(exchange, plain.expose())?,
    };
    tracing::debug!(object.id = %id, "unwrapped a key that was registered wrapped");
    if let Some(block) = object.key_block_mut() {
        block.key_value = Some(key_value);
        block.key_wrapping_data = None;
    }
    Ok(object)
}

async fn wrapping_key(
    exchange: &mut Exchange<'_>,
    information: &KeyInformation,
    wanted: &Use,
    bytes: usize,
) -> Result<UsableKey, OperationError> {
    let identifier = UniqueIdentifier::Text(information.unique_identifier.0.clone());
    let permit = exchange.permit(Some(&identifier), wanted.operation).await.map_err(|error| match error {
        OperationError::NotFound => OperationError::WrappingKeyNotFound,
        other => other,
    })?;
    let given = information.cryptographic_parameters.clone();
    UsableKey::of_permit(exchange, &permit, wanted, given, Charge { bytes, objects: 1 })
}

/// AES keys wrap by NIST key wrap where nothing else is said.
fn scheme(key: &UsableKey) -> Result<EncryptionScheme, OperationError> {
    let mut parameters = scheme_parameters(&key.parameters)?;
    if key.kind == KeyKind::Symmetric(CryptographicAlgorithm::Aes) && parameters.block_cipher_mode.is_none() {
        parameters.block_cipher_mode = Some(BlockCipherMode::NistKeyWrap);
    }
    Ok(resolve::encryption(key.kind, &parameters)?)
}

/// The attributes to be wrapped with the key.
fn named_attributes(exchange: &Exchange<'_>, permit: &Permit, names: &[String]) -> Result<Attributes, OperationError> {
    let object = exchange.object(permit);
    let mut found = Attributes::default();
    for text in names {
        let name = AttributeName::from_text(text, exchange.version);
        let before = found.list.len();
        found.list.extend(object.all_attributes().filter(|instance| instance.attribute.name() == name));
        if found.list.len() == before {
            return Err(OperationError::AttributeNotFound(format!("the object has no attribute {text:?}")));
        }
    }
    Ok(found)
}

fn with_added(mut own: Attributes, added: Attributes) -> Attributes {
    for instance in added.list {
        if !own.list.contains(&instance) {
            own.list.push(instance);
        }
    }
    own
}

/// KMIP 2.1 §11.19: No Encoding, "the wrapped un-encoded value of the Byte String Key Material field in the Key Value
/// structure"; TTLV Encoding, "the wrapped TTLV-encoded Key Value structure", which is also the default (§7.18).
fn encoded(
    exchange: &Exchange<'_>,
    option: Option<EncodingOption>,
    material: KeyMaterial,
    attributes: Attributes,
    names: &[String],
) -> Result<Secret, OperationError> {
    match (option, material) {
        (Some(EncodingOption::NoEncoding), _) if !names.is_empty() => {
            Err(OperationError::EncodingOption("attributes are wrapped with TTLV Encoding only".to_owned()))
        }
        (Some(EncodingOption::NoEncoding), KeyMaterial::Bytes(bytes)) => Ok(bytes),
        (Some(EncodingOption::NoEncoding), KeyMaterial::Transparent(_)) => {
            Err(OperationError::EncodingOption("a transparent key is wrapped with TTLV Encoding only".to_owned()))
        }
        (_, material) => {
            let mut writer = ttlv::Writer::new();
            KeyValue::Plain { material, attributes }.encode(Tag::KEY_VALUE, &mut writer, exchange.version);
            Ok(Secret::from(writer.into_bytes()))
        }
    }
}

fn decoded(exchange: &Exchange<'_>, plain: &[u8]) -> Result<KeyValue, OperationError> {
    let malformed = |error: ttlv::DecodeError| OperationError::CryptographicFailure(format!("what was unwrapped is no Key Value: {error}"));
    let frame = ttlv::Frame::parse(plain, &ttlv::Limits::default()).map_err(malformed)?;
    KeyValue::decode(frame.root(), exchange.version).map_err(malformed)
}
