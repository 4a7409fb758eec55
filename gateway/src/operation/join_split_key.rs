//! Join Split Key: parts back to a key. KMIP 2.1 §6.1.27, KMIP 1.4 §4.39.
//!
//! Never a wrong key: parts that were made here are compared with what the server remembers of the key, others with each other as far
//! as there are more of them than the threshold.

use keygate_kmip::{
    Attribute, AttributeInstance, Attributes, CryptographicAlgorithm, CryptographicUsageMask, JoinSplitKeyRequest, JoinSplitKeyResponse, Key,
    KeyBlock, KeyFormatType, KeyMaterial, KeyValue, ManagedObject, ObjectType, Operation, Secret, SecretData, SecretDataType,
    SplitKey, SplitKeyMethod, UniqueIdentifier,
};
use zeroize::Zeroizing;

use super::split_key::{self, Origin, Secrecy};
use super::{Exchange, OperationError, key, new_object, register};
use crate::audit::Details;
use crate::object::{AttributeSet, Material, key_block};
use crate::sharing::{self, Method, Part, Polynomial, SharingError};
use crate::store::ObjectId;

/// A part as it is given, and what it says of the key.
struct Given {
    id: ObjectId,
    split: SplitKey,
    value: Zeroizing<Vec<u8>>,
    origin: Option<Origin>,
    secrecy: Secrecy,
    usage_mask: Option<CryptographicUsageMask>,
}

/// Joins parts to a new object.
///
/// # Errors
/// Fewer parts than the threshold, one given twice, parts of different keys, altered ones.
pub(super) async fn join_split_key(exchange: &mut Exchange<'_>, request: JoinSplitKeyRequest) -> Result<JoinSplitKeyResponse, OperationError> {
    split_key::check_type(request.object_type)?;
    if request.secret_data_type.is_some() && request.object_type != ObjectType::SecretData {
        return Err(OperationError::InvalidField(format!("a {} has no Secret Data Type", request.object_type)));
    }
    let most = usize::try_from(split_key::PARTS_MAX).unwrap_or(usize::MAX);
    if request.unique_identifiers.is_empty() || request.unique_identifiers.len() > most {
        return Err(OperationError::InvalidMessage(format!("1 to {most} parts are joined, not {}", request.unique_identifiers.len())));
    }
    let mut parts = Vec::with_capacity(request.unique_identifiers.len());
    for identifier in &request.unique_identifiers {
        parts.push(part(exchange, identifier).await?);
    }
    let secret = join(exchange, &parts).await?;

    let first = &parts[0];
    let block = &first.split.key_block;
    let mut given = new_object::expand(exchange, request.attributes.unwrap_or_default()).await?;
    // What the request does not say of the key, its parts say.
    for own in [
        block.cryptographic_algorithm.map(Attribute::CryptographicAlgorithm),
        first.usage_mask.map(Attribute::CryptographicUsageMask),
    ] {
        let own = own.into_iter().filter(|own| !given.iter().any(|given| given.attribute.name() == own.name()));
        let own: Vec<AttributeInstance> = own.map(AttributeInstance::from).collect();
        given.extend(own);
    }
    let secret_data_type = request.secret_data_type.unwrap_or(SecretDataType::Password);
    let object = managed(request.object_type, secret_data_type, block, &given, secret)?;
    let base = first.id;
    if let Some(secrecy) = parts.into_iter().map(|part| part.secrecy).reduce(Secrecy::and) {
        secrecy.impose(&mut given);
    }
    let (object, material) = register::take_in(exchange, given, object).await?;
    let id = object.id;
    exchange.insert(object, material);
    exchange.note(Details::With { object: base });
    // "The server SHALL copy the Unique Identifier returned by this operation into the ID Placeholder variable."
    exchange.set_placeholder(Some(id));
    Ok(JoinSplitKeyResponse { object_type: None, unique_identifier: id.to_string().into(), attributes: None })
}

/// A part that the caller may join.
async fn part(exchange: &mut Exchange<'_>, identifier: &UniqueIdentifier) -> Result<Given, OperationError> {
    let permit = exchange.permit(Some(identifier), Operation::JoinSplitKey).await?;
    let object = exchange.object(&permit);
    if object.object_type != ObjectType::SplitKey {
        return Err(OperationError::InvalidField(format!("Split Keys are joined, not a {}", object.object_type)));
    }
    object.check_present()?;
    let (secrecy, usage_mask) = (Secrecy::of(&object.attributes), split_key::usage_mask(&object.attributes));
    let origin = Origin::of(exchange, &object.attributes);
    let Material::Held(held) = exchange.material(&permit)? else { return Err(OperationError::KeyValueNotPresent) };
    let ManagedObject::SplitKey(split) = *held else { return Err(OperationError::Internal) };
    if split.key_block.key_wrapping_data.is_some() {
        return Err(OperationError::InvalidField("a part is wrapped; what is joined are parts in clear".to_owned()));
    }
    let Some(KeyValue::Plain { material: KeyMaterial::Bytes(bytes), .. }) = &split.key_block.key_value else {
        return Err(OperationError::KeyValueNotPresent);
    };
    let value = Zeroizing::new(bytes.expose_bytes().to_vec());
    Ok(Given { id: permit.object(), split, value, origin, secrecy, usage_mask })
}

/// The secret that the parts give.
async fn join(exchange: &Exchange<'_>, given: &[Given]) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    let first = &given[0].split;
    let (threshold, _) = split_key::numbers(first.threshold, first.parts)?;
    let same = |other: &SplitKey| {
        let fields = |split: &SplitKey| (split.parts, split.threshold, split.method, split.prime_field_size.clone());
        fields(other) == fields(first)
    };
    if !given.iter().all(|part| same(&part.split)) {
        return Err(OperationError::InvalidField("the parts are of different keys: their Split Key fields differ".to_owned()));
    }
    let origins: Vec<&Origin> = given.iter().filter_map(|part| part.origin.as_ref()).collect();
    let origin = origins.first().copied();
    if origins.windows(2).any(|pair| !pair[0].is_with(pair[1])) {
        return Err(OperationError::CryptographicFailure("the parts are of different keys".to_owned()));
    }
    let mut parts = Vec::with_capacity(given.len());
    for part in given {
        let number = part.split.part_identifier;
        let number = u16::try_from(number).ok().filter(|_| (1..=first.parts).contains(&number));
        let number = number.ok_or_else(|| OperationError::InvalidField(format!("Key Part Identifier {} of {}", part.split.part_identifier, first.parts)))?;
        parts.push(Part { number, value: part.value.clone() });
    }
    let octets = octets(first, given[0].value.len())?;
    split_key::check_work(octets, parts.len(), parts.len())?;
    let polynomials = match origin.and_then(Origin::polynomial) {
        Some(known) => vec![known],
        None => by_choice(exchange.gateway.policy.split_key_polynomial, first.method, parts.len() > usize::from(threshold)),
    };
    let mut joined = Err(SharingError::NotTogether.into());
    for polynomial in polynomials {
        let method = split_key::method_of(first.method, first.prime_field_size.as_ref(), polynomial)?;
        joined = with(exchange, method, parts.clone(), threshold, octets, origin.is_none()).await;
        if joined.is_ok() {
            break;
        }
    }
    let secret = joined?;
    if origin.is_some_and(|origin| !origin.is_of(exchange, &secret)) {
        return Err(OperationError::CryptographicFailure("the parts do not give the key that they were made of: at least one is altered".to_owned()));
    }
    Ok(secret)
}

async fn with(
    exchange: &Exchange<'_>,
    method: Method,
    parts: Vec<Part>,
    threshold: u16,
    octets: usize,
    unknown: bool,
) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    let run = move || {
        // A number that is not prime has no field, and parts made with one give anything.
        if let (Method::PrimeField(prime), true) = (&method, unknown)
            && let Err(error) = prime.check(&mut split_key::random)
        {
            return Ok(Err(error));
        }
        Ok(sharing::join(&method, &parts, threshold, octets))
    };
    Ok(key::off_the_workers(exchange.gateway, run).await??)
}

/// By which polynomials parts of unknown origin are tried: by the other than the usual one only where there are more parts than
/// needed, so that it can be told which is right.
fn by_choice(usual: Polynomial, method: SplitKeyMethod, can_be_told: bool) -> Vec<Polynomial> {
    let others = Polynomial::ALL.into_iter().filter(|other| *other != usual);
    let others = others.filter(|_| can_be_told && method == SplitKeyMethod::PolynomialSharingGf2_8);
    std::iter::once(usual).chain(others).collect()
}

/// Octets of the key: as many as a part has; in a prime field as the part says.
fn octets(split: &SplitKey, of_part: usize) -> Result<usize, OperationError> {
    if split.method != SplitKeyMethod::PolynomialSharingPrimeField {
        return Ok(of_part);
    }
    let bits = split.key_block.cryptographic_length.and_then(|bits| usize::try_from(bits).ok());
    let whole = bits.filter(|bits| *bits > 0 && bits.is_multiple_of(8) && bits / 8 <= split_key::SECRET_BYTES_MAX);
    whole.map(|bits| bits / 8).ok_or_else(|| {
        OperationError::BadCryptographicParameters("a part of a prime field tells the key's length by its Cryptographic Length, in whole octets".to_owned())
    })
}

/// The object that a client asks for, if the secret can be one.
fn managed(
    object_type: ObjectType,
    data_type: SecretDataType,
    of_part: &KeyBlock,
    given: &[AttributeInstance],
    secret: Zeroizing<Vec<u8>>,
) -> Result<ManagedObject, OperationError> {
    let octets = secret.len();
    let algorithm = given.iter().find_map(|instance| match instance.attribute {
        Attribute::CryptographicAlgorithm(algorithm) => Some(algorithm),
        _ => None,
    });
    let asked = given.iter().find_map(|instance| match instance.attribute {
        Attribute::CryptographicLength(bits) => Some(bits),
        _ => None,
    });
    let bits = i32::try_from(octets * 8).ok();
    let symmetric = object_type == ObjectType::SymmetricKey;
    // 3DES keys are told without their parity bits.
    if symmetric && algorithm != Some(CryptographicAlgorithm::Des3) && asked.is_some_and(|asked| Some(asked) != bits) {
        return Err(OperationError::InvalidField(format!("Cryptographic Length is {}, the key that the parts give has {} bits", asked.unwrap_or_default(), octets * 8)));
    }
    let format = match object_type {
        ObjectType::SymmetricKey => KeyFormatType::Raw,
        ObjectType::PrivateKey => of_part.key_format_type,
        _ => KeyFormatType::Opaque,
    };
    let told = if symmetric && algorithm != Some(CryptographicAlgorithm::Des3) { bits } else { of_part.cryptographic_length.or(asked) };
    let algorithm = algorithm.filter(|_| object_type != ObjectType::SecretData);
    let key_block = KeyBlock {
        key_format_type: format,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain { material: KeyMaterial::Bytes(Secret::from(secret)), attributes: Attributes::default() }),
        cryptographic_algorithm: algorithm,
        cryptographic_length: algorithm.and(told),
        key_wrapping_data: None,
    };
    let object = match object_type {
        ObjectType::SymmetricKey => ManagedObject::SymmetricKey(Key { key_block }),
        ObjectType::PrivateKey => ManagedObject::PrivateKey(Key { key_block }),
        _ => return Ok(ManagedObject::SecretData(SecretData { data_type, key_block })),
    };
    // A key that is no key of its kind is not what was split.
    let tells = matches!(format, KeyFormatType::Raw if symmetric && algorithm.is_some())
        || matches!(format, KeyFormatType::Pkcs1 | KeyFormatType::Pkcs8 | KeyFormatType::EcPrivateKey);
    if tells && key_block::material_of(&object, &AttributeSet::default()).is_err() {
        return Err(OperationError::CryptographicFailure(format!("the parts give {octets} octets that are no {object_type} of this kind")));
    }
    Ok(object)
}
