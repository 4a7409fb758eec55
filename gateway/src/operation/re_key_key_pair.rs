//! Re-key Key Pair: a new pair in the place of an existing one. KMIP 2.1 §6.1.47, KMIP 1.4 §4.5.

use keygate_kmip::{
    Attribute, LinkType, ObjectType, Operation, ReKeyKeyPairRequest, ReKeyKeyPairResponse, UniqueIdentifier,
};

use super::create_key_pair::{make, merged};
use super::re_key::{Release, hand_over, inherit, set_dates};
use super::{Exchange, OperationError, new_object};
use crate::audit::Details;
use crate::authorize::Permit;
use crate::object::{Material, Object};
use crate::store::Custody;

/// Makes the new pair; each half takes over names and attributes of the half it replaces.
///
/// # Errors
/// [`OperationError::InvalidField`] unless it is a private key whose public half is here; whatever Create Key Pair refuses.
pub(super) async fn re_key_key_pair(
    exchange: &mut Exchange<'_>,
    request: ReKeyKeyPairRequest,
) -> Result<ReKeyKeyPairResponse, OperationError> {
    let private_permit = exchange.permit(request.private_key_unique_identifier.as_ref(), Operation::ReKeyKeyPair).await?;
    let old_private = replaceable(exchange, &private_permit, ObjectType::PrivateKey)?;
    let public_permit = exchange.permit(Some(&public_half(&old_private)?), Operation::ReKeyKeyPair).await?;
    let old_public = replaceable(exchange, &public_permit, ObjectType::PublicKey)?;

    let common = request.common.unwrap_or_default();
    let private_given = merged(exchange, &common, request.private_key).await?;
    let public_given = merged(exchange, &common, request.public_key).await?;
    let releases = [Release::given(&private_given), Release::given(&public_given)];
    let place = (old_private.keystore, Custody::Envelope);
    let mut private = new_object::build(exchange, ObjectType::PrivateKey, private_given, place)?;
    let mut public = new_object::build(exchange, ObjectType::PublicKey, public_given, place)?;
    for ((new, old), release) in [(&mut private, &old_private), (&mut public, &old_public)].into_iter().zip(releases) {
        inherit(new, old);
        release.inherit(new, old);
        set_dates(new, old, request.offset, exchange.now);
    }
    let pair = make(exchange, &mut private, &mut public).await?;
    for (new, old, permit) in [(&mut private, &old_private, &private_permit), (&mut public, &old_public, &public_permit)] {
        new.advance(exchange.now);
        new_object::link(new, LinkType::ReplacedObjectLink, old.id);
        hand_over(exchange, permit, old, new.id);
    }
    let (private_id, public_id) = (private.id, public.id);
    exchange.insert(public, Material::Held(Box::new(pair.public)));
    exchange.insert(private, pair.private);
    exchange.note(Details::With { object: private_permit.object() });
    exchange.set_placeholder(Some(private_id));
    Ok(ReKeyKeyPairResponse {
        private_key_unique_identifier: private_id.to_string().into(),
        public_key_unique_identifier: public_id.to_string().into(),
        private_key: None,
        public_key: None,
    })
}

fn replaceable(exchange: &Exchange<'_>, permit: &Permit, wanted: ObjectType) -> Result<Object, OperationError> {
    let existing = exchange.object(permit);
    if existing.object_type != wanted {
        let text = format!("Re-key Key Pair replaces a pair: a {wanted} is needed here, not a {}", existing.object_type);
        return Err(OperationError::InvalidField(text));
    }
    existing.check_present()?;
    Ok(existing.clone())
}

/// The public key that a private key is linked to.
fn public_half(private: &Object) -> Result<UniqueIdentifier, OperationError> {
    let linked = private.attributes.find(|attribute| match attribute {
        Attribute::Link(link) if link.link_type == LinkType::PublicKeyLink => Some(link.linked_object_identifier.clone()),
        _ => None,
    });
    linked.ok_or_else(|| OperationError::InvalidField("the private key has no link to its public key".to_owned()))
}
