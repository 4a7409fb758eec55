//! Derive Key: a symmetric key or secret data from other objects. KMIP 2.1 §6.1.14, KMIP 1.4 §4.6.
//!
//! PBKDF2, HASH, HMAC, ENCRYPT, NIST800-108-C and HKDF. HMAC with a Salt is read as HKDF, salt and info, as clients in the
//! field mean it; without one it is one HMAC of the Derivation Data.

use keygate_backends::local::{self, Derivation};
use keygate_backends::{EncryptOp, SecretBytes, resolve};
use keygate_kmip::{
    Attribute, Attributes, CryptographicAlgorithm, CryptographicParameters, CryptographicUsageMask, DerivationMethod, DerivationParameters,
    DeriveKeyRequest, DeriveKeyResponse, HashingAlgorithm, Key, KeyBlock, KeyFormatType, KeyMaterial, KeyValue, LinkType,
    ManagedObject, ObjectType, Operation, Secret, SecretData, SecretDataType,
};
use zeroize::Zeroizing;

use super::key::{self, Charge, Effect, Use, UsableKey, scheme_parameters};
use super::{Exchange, OperationError, encrypt, new_object, register};
use crate::audit::Details;
use crate::authorize::Permit;
use crate::object::{AttributeSet, Material};

const USE: Use = Use {
    operation: Operation::DeriveKey,
    mask: CryptographicUsageMask::DERIVE_KEY,
    object_types: &[ObjectType::SymmetricKey, ObjectType::SecretData],
    effect: Effect::Derive,
};

/// Most objects that one key is derived from: the base, and secret data that stand for the Derivation Data.
const BASES_MAX: usize = 2;

/// Links to derived objects that a base carries.
const DERIVED_LINKS_MAX: usize = 1_000;

/// Derives the key.
///
/// # Errors
/// A base that may not be used, parameters that the method lacks or does not take, more octets than it gives.
pub(super) async fn derive_key(exchange: &mut Exchange<'_>, request: DeriveKeyRequest) -> Result<DeriveKeyResponse, OperationError> {
    let DeriveKeyRequest { object_type, unique_identifiers, derivation_method, derivation_parameters, attributes } = request;
    if !matches!(object_type, ObjectType::SymmetricKey | ObjectType::SecretData) {
        return Err(OperationError::InvalidField(format!("Derive Key makes symmetric keys and secret data, not a {object_type}")));
    }
    if unique_identifiers.len() > BASES_MAX {
        return Err(OperationError::InvalidField(format!("a key is derived from at most {BASES_MAX} objects")));
    }
    let base = exchange.permit(unique_identifiers.first(), Operation::DeriveKey).await?;
    key::check_use(exchange, &base, &USE)?;
    let data = match unique_identifiers.get(1) {
        Some(identifier) => {
            let permit = exchange.permit(Some(identifier), Operation::DeriveKey).await?;
            key::check_use(exchange, &permit, &USE)?;
            Some((secret_of(exchange, &permit)?, permit))
        }
        None => None,
    };
    let given = new_object::expand(exchange, attributes).await?;
    let len = length(&given)?;
    let parameters = with_data(derivation_parameters, data.as_ref().map(|(data, _)| data.as_slice()))?;
    let derived = derive(exchange, &base, derivation_method, &parameters, len).await?;

    let algorithm = given.iter().find_map(|instance| match instance.attribute {
        Attribute::CryptographicAlgorithm(algorithm) => Some(algorithm),
        _ => None,
    });
    let object = managed(object_type, algorithm, derived);
    let (mut object, material) = register::take_in(exchange, given, object).await?;
    for permit in std::iter::once(&base).chain(data.as_ref().map(|(_, permit)| permit)) {
        new_object::link(&mut object, LinkType::DerivationBaseObjectLink, permit.object());
        // The other way round as far as there is room: Locate by the link above finds all of them.
        if derived_links(exchange, permit) < DERIVED_LINKS_MAX {
            new_object::link(exchange.change(permit), LinkType::DerivedKeyLink, object.id);
        }
    }
    let id = object.id;
    exchange.insert(object, material);
    exchange.note(Details::With { object: base.object() });
    exchange.set_placeholder(Some(id));
    Ok(DeriveKeyResponse { unique_identifier: id.to_string().into(), attributes: None })
}

async fn derive(
    exchange: &mut Exchange<'_>,
    base: &Permit,
    method: DerivationMethod,
    parameters: &Parameters,
    len: usize,
) -> Result<SecretBytes, OperationError> {
    let Parameters { cryptographic, data, salt, iterations, .. } = parameters;
    let missing = |what: &str| OperationError::InvalidMessage(format!("{method} needs {what} in the Derivation Parameters"));
    let hash = cryptographic.as_ref().and_then(|parameters| parameters.hashing_algorithm);
    // RFC 8018 A.2: "prf AlgorithmIdentifier {{PBKDF2-PRFs}} DEFAULT algid-hmacWithSHA1".
    let prf = hash.unwrap_or(HashingAlgorithm::Sha1);
    let how = match (method, data.as_deref().map(Vec::as_slice), salt.as_deref()) {
        (DerivationMethod::Encrypt, data, _) => {
            let data = data.ok_or_else(|| missing("Derivation Data"))?;
            return by_encryption(exchange, base, parameters, data, len).await;
        }
        (DerivationMethod::Pbkdf2, _, salt) => {
            let salt = salt.ok_or_else(|| missing("a Salt"))?;
            let iterations = iterations.ok_or_else(|| missing("an Iteration Count"))?;
            let (secret, salt) = (secret_of(exchange, base)?, salt.to_vec());
            let run = move || local::derive(&secret, Derivation::Pbkdf2 { salt: &salt, iterations }, prf, len);
            return key::off_the_workers(exchange.gateway, run).await;
        }
        // KMIP 1.4 §9.1.3.2.21 HASH is of the key or of the data; a hash of what the client sent would be no secret.
        (DerivationMethod::Hash, Some(_), _) => {
            return Err(OperationError::InvalidField("HASH is of the derivation key; it takes no Derivation Data".to_owned()));
        }
        (DerivationMethod::Hash, None, _) => Derivation::Hash,
        (DerivationMethod::Hmac | DerivationMethod::Hkdf, data, Some(salt)) => Derivation::Hkdf { salt, info: data.unwrap_or_default() },
        (DerivationMethod::Hkdf, data, None) => Derivation::Hkdf { salt: &[], info: data.unwrap_or_default() },
        (DerivationMethod::Hmac, data, None) => Derivation::Hmac { data: data.ok_or_else(|| missing("Derivation Data"))? },
        (DerivationMethod::Nist800_108C, data, _) => Derivation::Counter { fixed: data.ok_or_else(|| missing("Derivation Data"))? },
        (other, ..) => return Err(OperationError::FeatureNotSupported(format!("keys are not derived by {other}"))),
    };
    let hash = hash.ok_or_else(|| missing("a Hashing Algorithm"))?;
    Ok(local::derive(&secret_of(exchange, base)?, how, hash, len)?)
}

/// The first octets of the encrypted Derivation Data. A key in a device is used there.
async fn by_encryption(
    exchange: &mut Exchange<'_>,
    base: &Permit,
    parameters: &Parameters,
    data: &[u8],
    len: usize,
) -> Result<SecretBytes, OperationError> {
    let legacy = exchange.gateway.policy.legacy_algorithms;
    let key = UsableKey::of_permit(exchange, base, &USE, parameters.cryptographic.clone(), Charge { bytes: 0, objects: 1 })?;
    let scheme = resolve::encryption(key.kind, &scheme_parameters(&key.parameters)?)?;
    let iv = encrypt::initial_vector(&key, &scheme, parameters.iv.as_deref())?;
    let mut derived = SecretBytes::new(key.encrypt(EncryptOp { scheme: &scheme, iv, aad: &[], data, legacy }).await?.data);
    if derived.len() < len {
        let text = format!("ENCRYPT of this Derivation Data gives {} octets, {len} are asked for", derived.len());
        return Err(OperationError::InvalidField(text));
    }
    derived.truncate(len);
    Ok(derived)
}

/// Derivation Parameters as they are used.
struct Parameters {
    cryptographic: Option<CryptographicParameters>,
    iv: Option<Vec<u8>>,
    data: Option<Zeroizing<Vec<u8>>>,
    salt: Option<Vec<u8>>,
    iterations: Option<u32>,
}

/// The parameters with the data from secret data, if it is there that they are. KMIP 2.1 §7.12 lets Derivation Data
/// repeat: the parts follow each other.
fn with_data(given: DerivationParameters, held: Option<&[u8]>) -> Result<Parameters, OperationError> {
    let data = match (given.derivation_data.as_slice(), held) {
        ([], None) => None,
        ([], Some(held)) => Some(Zeroizing::new(held.to_vec())),
        (parts, None) => Some(Zeroizing::new(parts.concat())),
        (_, Some(_)) => {
            return Err(OperationError::InvalidField("Derivation Data come from the request or from secret data, not both".to_owned()));
        }
    };
    let negative = |_| OperationError::InvalidField("Iteration Count is negative".to_owned());
    Ok(Parameters {
        cryptographic: given.cryptographic_parameters,
        iv: given.initialization_vector,
        data,
        salt: given.salt,
        iterations: given.iteration_count.map(u32::try_from).transpose().map_err(negative)?,
    })
}

fn derived_links(exchange: &Exchange<'_>, base: &Permit) -> usize {
    let is_derived = |attribute: &Attribute| matches!(attribute, Attribute::Link(link) if link.link_type == LinkType::DerivedKeyLink);
    exchange.object(base).attributes.iter().filter(|instance| is_derived(&instance.attribute)).count()
}

/// Octets of the new object, from the Cryptographic Length that the request must give (KMIP 1.4 §4.6).
fn length(given: &[keygate_kmip::AttributeInstance]) -> Result<usize, OperationError> {
    let bits = given.iter().find_map(|instance| match instance.attribute {
        Attribute::CryptographicLength(bits) => Some(bits),
        _ => None,
    });
    let bits = bits.ok_or_else(|| OperationError::InvalidMessage("Cryptographic Length is missing".to_owned()))?;
    let whole = usize::try_from(bits).ok().filter(|bits| *bits > 0 && bits.is_multiple_of(8)).map(|bits| bits / 8);
    whole.ok_or_else(|| OperationError::InvalidField(format!("Cryptographic Length of {bits} bits is not whole octets")))
}

/// The octets of a symmetric key or of secret data.
fn secret_of(exchange: &Exchange<'_>, permit: &Permit) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    match exchange.material(permit)? {
        Material::Held(held) => {
            if held.key_block().is_some_and(|block| block.key_wrapping_data.is_some()) {
                return Err(OperationError::InvalidField("the key is wrapped; nothing is derived from it".to_owned()));
            }
            match &*held {
                ManagedObject::SymmetricKey(_) => {
                    // Any length will do to derive from, whatever the algorithm says.
                    transparent_or_raw(&held, &exchange.object(permit).attributes)
                }
                _ => register::value_bytes(&held).ok_or(OperationError::KeyValueNotPresent),
            }
        }
        Material::Referenced(_) => Err(OperationError::FeatureNotSupported(
            "the key stays in its keystore, which derives by ENCRYPT only".to_owned(),
        )),
        Material::None => Err(OperationError::KeyValueNotPresent),
    }
}

fn transparent_or_raw(held: &ManagedObject, attributes: &AttributeSet) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    match held.key_block().and_then(|block| block.key_value.as_ref()) {
        Some(KeyValue::Plain { material: KeyMaterial::Bytes(bytes), .. }) => Ok(Zeroizing::new(bytes.expose_bytes().to_vec())),
        _ => Ok(Zeroizing::new(crate::object::key_block::material_of(held, attributes)?.expose_canonical().to_vec())),
    }
}

fn managed(object_type: ObjectType, algorithm: Option<CryptographicAlgorithm>, derived: SecretBytes) -> ManagedObject {
    let symmetric = object_type == ObjectType::SymmetricKey;
    let algorithm = algorithm.filter(|_| symmetric);
    let bits = i32::try_from(derived.len() * 8).ok();
    let key_block = KeyBlock {
        key_format_type: if symmetric { KeyFormatType::Raw } else { KeyFormatType::Opaque },
        key_compression_type: None,
        key_value: Some(KeyValue::Plain {
            material: KeyMaterial::Bytes(Secret::new(derived.into_exposed())),
            attributes: Attributes::default(),
        }),
        cryptographic_algorithm: algorithm,
        cryptographic_length: algorithm.and(bits),
        key_wrapping_data: None,
    };
    if symmetric {
        ManagedObject::SymmetricKey(Key { key_block })
    } else {
        ManagedObject::SecretData(SecretData { data_type: SecretDataType::Seed, key_block })
    }
}
