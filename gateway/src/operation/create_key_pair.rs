//! Create Key Pair. KMIP 2.1 §6.1.9, KMIP 1.4 §4.2.

use keygate_backends::local::RSA_BITS_LEGACY;
use keygate_kmip::{
    Attribute, AttributeInstance, Attributes, CreateKeyPairRequest, CreateKeyPairResponse, CryptographicAlgorithm, DateTime, KeyFormatType,
    LinkType, ObjectType,
};

use super::{Exchange, OperationError, create, generate, new_object, register};
use crate::audit::Details;
use crate::object::{Material, Object};
use crate::store::Custody;

/// Makes the pair: two objects, linked to each other.
///
/// # Errors
/// Attributes that may not be given, an algorithm, length or curve that the keystore does not make.
pub(super) async fn create_key_pair(exchange: &mut Exchange<'_>, request: CreateKeyPairRequest) -> Result<CreateKeyPairResponse, OperationError> {
    let common = request.common.unwrap_or_default();
    let private_given = merged(exchange, &common, request.private_key).await?;
    let public_given = merged(exchange, &common, request.public_key).await?;
    let keystore = new_object::keystore_of(exchange, &private_given)?;
    let mut private = new_object::build(exchange, ObjectType::PrivateKey, private_given, (keystore, Custody::Envelope))?;
    let mut public = new_object::build(exchange, ObjectType::PublicKey, public_given, (keystore, Custody::Envelope))?;

    let pair = make(exchange, &mut private, &mut public).await?;
    let (private_id, public_id) = (private.id, public.id);
    exchange.insert(public, Material::Held(Box::new(pair.public)));
    exchange.insert(private, pair.private);
    exchange.note(Details::With { object: public_id });
    // KMIP 1.4 §4.2: "the ID Placeholder value SHALL be set to the Unique Identifier of the Private Key".
    exchange.set_placeholder(Some(private_id));
    Ok(CreateKeyPairResponse {
        private_key_unique_identifier: private_id.to_string().into(),
        public_key_unique_identifier: public_id.to_string().into(),
        private_key: None,
        public_key: None,
    })
}

/// Makes the keys of two objects, completes their attributes and links them to each other.
pub(super) async fn make(exchange: &mut Exchange<'_>, private: &mut Object, public: &mut Object) -> Result<generate::NewPair, OperationError> {
    let pair = generate_pair(exchange, private, public).await?;
    private.custody = pair.custody;
    for object in [&mut *private, &mut *public] {
        object.attributes.set(Attribute::CryptographicAlgorithm(pair.algorithm));
        object.attributes.set(Attribute::CryptographicLength(pair.bits.cast_signed()));
        object.attributes.set(Attribute::OriginalCreationDate(DateTime(exchange.now)));
        object.attributes.set_default(Attribute::RandomNumberGenerator(create::rng()));
    }
    describe(public, &Material::Held(Box::new(pair.public.clone())));
    describe(private, &pair.private);
    new_object::link(private, LinkType::PublicKeyLink, public.id);
    new_object::link(public, LinkType::PrivateKeyLink, private.id);
    Ok(pair)
}

async fn generate_pair(exchange: &mut Exchange<'_>, private: &Object, public: &Object) -> Result<generate::NewPair, OperationError> {
    let from_either = |pick: &dyn Fn(&Object) -> Option<i32>| pick(private).or_else(|| pick(public));
    let algorithm = private.attributes.cryptographic_algorithm().or_else(|| public.attributes.cryptographic_algorithm());
    let algorithm = algorithm.ok_or_else(|| OperationError::InvalidMessage("Cryptographic Algorithm is missing".to_owned()))?;
    let bits = from_either(&|object| object.attributes.cryptographic_length());
    let bits = bits.map(u32::try_from).transpose().map_err(|_| OperationError::InvalidField("Cryptographic Length is negative".to_owned()))?;
    if algorithm == CryptographicAlgorithm::Rsa && bits == Some(RSA_BITS_LEGACY) && !exchange.gateway.policy.legacy_algorithms {
        let text = format!("RSA of {RSA_BITS_LEGACY} bits is not generated; 2048, 3072 and 4096 are (kmip.legacy_algorithms)");
        return Err(OperationError::InvalidField(text));
    }
    let curve = private.attributes.recommended_curve().or_else(|| public.attributes.recommended_curve());
    generate::pair(exchange, private.keystore, algorithm, bits, curve).await
}

/// The attributes of one half: its own, then those of both.
pub(super) async fn merged(exchange: &mut Exchange<'_>, common: &Attributes, own: Option<Attributes>) -> Result<Vec<AttributeInstance>, OperationError> {
    let mut list = new_object::expand(exchange, own.unwrap_or_default()).await?;
    for instance in new_object::expand(exchange, common.clone()).await? {
        if !list.iter().any(|known| known.attribute.name() == instance.attribute.name()) {
            list.push(instance);
        }
    }
    Ok(list)
}

fn describe(object: &mut Object, material: &Material) {
    match material {
        Material::Held(held) => {
            let format = held.key_block().map_or(KeyFormatType::Raw, |block| block.key_format_type);
            object.attributes.set(Attribute::KeyFormatType(format));
            if let Some(bytes) = register::value_bytes(held) {
                new_object::set_digest(object, &bytes);
            }
        }
        Material::Referenced(_) | Material::None => create::stays_in_the_device(object),
    }
}
