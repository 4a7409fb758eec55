//! Create Split Key: a key in parts, each an object of its own. KMIP 2.1 §6.1.10, KMIP 1.4 §4.38.
//!
//! Of a key that is here, or of a new one that is only ever in parts.

use keygate_backends::local::{self, Role};
use keygate_kmip::{
    Attribute, AttributeInstance, Attributes, BigInteger, CreateSplitKeyRequest, CreateSplitKeyResponse, CryptographicAlgorithm, DateTime,
    KeyBlock, KeyFormatType, KeyMaterial, KeyValue, ManagedObject, ObjectType, Operation, Secret, SplitKey, SplitKeyMethod,
    UniqueIdentifier,
};
use zeroize::Zeroizing;

use super::split_key::{self, Origin, Secrecy};
use super::{Exchange, OperationError, create, key, new_object, register};
use crate::audit::Details;
use crate::authorize::Permit;
use crate::object::{AttributeSet, Material, key_block};
use crate::sharing::{self, Method, Part, Prime};

/// A key that is to be split.
struct Whole {
    octets: Zeroizing<Vec<u8>>,
    format: KeyFormatType,
    algorithm: Option<CryptographicAlgorithm>,
    /// Cryptographic Length.
    bits: Option<i32>,
    is_new: bool,
}

/// Makes the parts.
///
/// # Errors
/// A key that must not leave or is not here, numbers or a length that the method does not take.
pub(super) async fn create_split_key(exchange: &mut Exchange<'_>, request: CreateSplitKeyRequest) -> Result<CreateSplitKeyResponse, OperationError> {
    if request.object_type != ObjectType::SplitKey {
        return Err(OperationError::InvalidField(format!("Create Split Key makes Split Keys, not a {}", request.object_type)));
    }
    let (threshold, parts) = split_key::numbers(request.threshold, request.parts)?;
    let mut given = new_object::expand(exchange, request.attributes).await?;
    if parts > 1 && exchange.gateway.policy.unique_names && given.iter().any(|instance| matches!(instance.attribute, Attribute::Name(_))) {
        return Err(OperationError::InvalidField("one Name cannot be that of all parts: names are unique (kmip.unique_names)".to_owned()));
    }
    let base = match &request.unique_identifier {
        Some(identifier) => Some(permitted(exchange, identifier).await?),
        None => None,
    };
    let whole = match &base {
        Some(base) => existing(exchange, base, &mut given)?,
        None => new_key(&given)?,
    };
    let method = method(exchange, request.method, request.prime_field_size.as_ref(), whole.octets.len()).await?;
    split_key::check_numbers(&method, threshold, parts)?;
    split_key::check_work(whole.octets.len(), parts.into(), threshold.into())?;
    let origin = Origin::new(exchange, &method, &whole.octets);
    let made = {
        let (method, secret) = (method.clone(), whole.octets.clone());
        let run = move || Ok(sharing::split(&method, &secret, threshold, parts, &mut split_key::random));
        key::off_the_workers(exchange.gateway, run).await??
    };
    let prime = match &method {
        Method::PrimeField(prime) => Some(BigInteger::from_unsigned(&prime.magnitude())),
        Method::Xor | Method::Gf256(_) | Method::Gf65536 => None,
    };
    let mut identifiers: Vec<UniqueIdentifier> = Vec::with_capacity(made.len());
    // "The ID Placeholder value SHALL be set to the Unique Identifier of the split whose Key Part Identifier is 1." It is also whom the
    // record names, and so comes last.
    for part in made.iter().rev() {
        let split = SplitKey {
            parts: request.parts,
            part_identifier: part.number.into(),
            threshold: request.threshold,
            method: request.method,
            prime_field_size: prime.clone(),
            key_block: block(&whole, part, prime.is_some()),
        };
        let (mut object, material) = register::take_in(exchange, given.clone(), ManagedObject::SplitKey(split)).await?;
        object.attributes.add(origin.attribute(exchange));
        object.attributes.set(Attribute::OriginalCreationDate(DateTime(exchange.now)));
        if whole.is_new {
            object.attributes.set_default(Attribute::RandomNumberGenerator(create::rng()));
        }
        let id = object.id;
        exchange.insert(object, material);
        exchange.set_placeholder(Some(id));
        identifiers.push(id.to_string().into());
    }
    identifiers.reverse();
    if let Some(base) = base {
        exchange.note(Details::With { object: base.object() });
    }
    // The tables of 1.2 ask for an Object Type in the answer; its test cases, and all later versions, have none.
    Ok(CreateSplitKeyResponse { object_type: None, unique_identifiers: identifiers, attributes: None })
}

/// A permit for a key whose every octet is to be handed out in parts: whoever may split it may have it.
async fn permitted(exchange: &mut Exchange<'_>, identifier: &UniqueIdentifier) -> Result<Permit, OperationError> {
    let permit = exchange.permit(Some(identifier), Operation::CreateSplitKey).await?;
    exchange.permit_id(permit.object(), Operation::Get).await?;
    Ok(permit)
}

/// A key that is here. "If the attributes supplied in the request do not match those of the key supplied, the attributes of the
/// key take precedence."
fn existing(exchange: &mut Exchange<'_>, permit: &Permit, given: &mut Vec<AttributeInstance>) -> Result<Whole, OperationError> {
    let object = exchange.object(permit);
    split_key::check_type(object.object_type)?;
    object.check_present()?;
    let secrecy = Secrecy::of(&object.attributes);
    if !secrecy.may_leave() {
        return Err(OperationError::NotExtractable);
    }
    let attributes = object.attributes.clone();
    let Material::Held(held) = exchange.material(permit)? else {
        return Err(match exchange.material(permit)? {
            Material::Referenced(_) => OperationError::FeatureNotSupported("the key stays in its keystore and is not split".to_owned()),
            Material::Held(_) | Material::None => OperationError::KeyValueNotPresent,
        });
    };
    let (octets, format) = octets_of(*held, &attributes)?;
    let (algorithm, bits) = (attributes.cryptographic_algorithm(), attributes.cryptographic_length());
    secrecy.impose(given);
    for own in [
        algorithm.map(Attribute::CryptographicAlgorithm),
        bits.map(Attribute::CryptographicLength),
        split_key::usage_mask(&attributes).map(Attribute::CryptographicUsageMask),
    ] {
        own.into_iter().for_each(|own| split_key::replace(given, own));
    }
    exchange.release_material();
    Ok(Whole { octets, format, algorithm, bits, is_new: false })
}

/// The octets of a key as it is kept, and what they are; of a transparent key those of its usual format.
fn octets_of(mut held: ManagedObject, attributes: &AttributeSet) -> Result<(Zeroizing<Vec<u8>>, KeyFormatType), OperationError> {
    if held.key_block().is_some_and(|block| block.key_wrapping_data.is_some()) {
        return Err(OperationError::InvalidField("the key is wrapped; what is split is a key in clear".to_owned()));
    }
    let is_transparent = matches!(held.key_block().and_then(|block| block.key_value.as_ref()), Some(KeyValue::Plain { material: KeyMaterial::Transparent(_), .. }));
    if is_transparent {
        let format = if held.object_type() == ObjectType::SymmetricKey { KeyFormatType::Raw } else { KeyFormatType::Pkcs8 };
        held = key_block::convert(held, format, attributes)?;
    }
    let format = held.key_block().map_or(KeyFormatType::Opaque, |block| block.key_format_type);
    let octets = register::value_bytes(&held).ok_or(OperationError::KeyValueNotPresent)?;
    Ok((octets, format))
}

/// A symmetric key that nobody has seen whole.
fn new_key(given: &[AttributeInstance]) -> Result<Whole, OperationError> {
    let missing = |what: &str| OperationError::InvalidMessage(format!("{what} is missing: there is no key to split, and none to make"));
    let algorithm = given.iter().find_map(|instance| match instance.attribute {
        Attribute::CryptographicAlgorithm(algorithm) => Some(algorithm),
        _ => None,
    });
    let bits = given.iter().find_map(|instance| match instance.attribute {
        Attribute::CryptographicLength(bits) => Some(bits),
        _ => None,
    });
    let (algorithm, bits) = (algorithm.ok_or_else(|| missing("Cryptographic Algorithm"))?, bits.ok_or_else(|| missing("Cryptographic Length"))?);
    if local::is_legacy(algorithm) {
        return Err(OperationError::FeatureNotSupported(format!("{algorithm} keys are not made in parts; split one that exists")));
    }
    let length = usize::try_from(bits).ok().filter(|bits| *bits > 0 && bits.is_multiple_of(8) && bits / 8 <= split_key::SECRET_BYTES_MAX);
    let length = length.ok_or_else(|| OperationError::InvalidField(format!("Cryptographic Length {bits} is not whole octets, or too long")))? / 8;
    let octets = Zeroizing::new(local::random(length)?.into_exposed());
    // Says which lengths an algorithm has.
    local::KeyMaterial::from_bytes(Role::Symmetric, KeyFormatType::Raw, algorithm, None, &octets)?;
    Ok(Whole { octets, format: KeyFormatType::Raw, algorithm: Some(algorithm), bits: Some(bits), is_new: true })
}

async fn method(
    exchange: &Exchange<'_>,
    method: SplitKeyMethod,
    prime: Option<&BigInteger>,
    octets: usize,
) -> Result<Method, OperationError> {
    let polynomial = exchange.gateway.policy.split_key_polynomial;
    if method == SplitKeyMethod::PolynomialSharingPrimeField && prime.is_none() {
        return Ok(Method::PrimeField(Prime::usual(octets)?));
    }
    let method = split_key::method_of(method, prime, polynomial)?;
    if let Method::PrimeField(prime) = &method {
        let prime = prime.clone();
        key::off_the_workers(exchange.gateway, move || Ok(prime.check(&mut split_key::random))).await??;
    }
    Ok(method)
}

/// The key block of a part: what the key's says, with the part's octets.
fn block(whole: &Whole, part: &Part, in_prime_field: bool) -> KeyBlock {
    // A part of a prime field is as long as the prime: how long the key is stands beside it.
    let octets = i32::try_from(whole.octets.len() * 8).ok();
    let bits = if in_prime_field { octets } else { whole.bits.or(octets) };
    KeyBlock {
        key_format_type: whole.format,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain {
            material: KeyMaterial::Bytes(Secret::new(part.value.to_vec())),
            attributes: Attributes::default(),
        }),
        cryptographic_algorithm: whole.algorithm,
        cryptographic_length: whole.algorithm.and(bits),
        key_wrapping_data: None,
    }
}
