//! Making, taking in and destroying keys in the keystore that holds them.
//!
//! Envelope custody: the keystore hands the material over and the object's record holds it. InBackend custody: the key
//! stays in its device, the record holds its stable name, and an intent keeps device and store in step ([`super::intent`]).
//! A key server that hands its keys out has them in Reference custody: as InBackend, but Get may fetch the value.

use keygate_backends::local::KeyMaterial;
use keygate_backends::{Held, KeyId, KeyRef, KeySpec, Keystore, KsError, OpCx, PairSpec};
use keygate_kmip::{CryptographicAlgorithm, Key, ManagedObject, ObjectType, RecommendedCurve};

use std::sync::Arc;

use super::intent::{DEVICE_DEADLINE, DeviceAct, NewKey, Place};
use super::{Exchange, OperationError};
use crate::authorize::Permit;
use crate::object::{AttributeSet, Material, key_block};
use crate::store::{Custody, KeystoreId};

/// A key pair that was made.
pub(super) struct NewPair {
    /// How the private half is kept.
    pub custody: Custody,
    /// Cryptographic Algorithm, as asked.
    pub algorithm: CryptographicAlgorithm,
    /// Cryptographic Length.
    pub bits: u32,
    /// The private half.
    pub private: Material,
    /// The public half.
    pub public: ManagedObject,
}

/// Makes a symmetric key.
///
/// # Errors
/// An algorithm or length that the keystore does not make, or a keystore that is away.
pub(super) async fn symmetric(
    exchange: &mut Exchange<'_>,
    keystore: KeystoreId,
    algorithm: CryptographicAlgorithm,
    bits: u32,
) -> Result<(Custody, Material), OperationError> {
    let making = Making::begin(exchange, keystore).await?;
    let made = making.keystore.generate(making.id, &KeySpec { algorithm, bits }, making.cx).await;
    let stays = stays_as(&*making.keystore);
    let held = making.end(exchange, made)?;
    let wrap = |key: KeyMaterial| {
        let key_block = key_block::key_block_of(&key, None, ObjectType::SymmetricKey, algorithm, bits.cast_signed())?;
        Ok(ManagedObject::SymmetricKey(Key { key_block }))
    };
    into_material(held, stays, wrap)
}

/// Makes a key pair.
///
/// # Errors
/// An algorithm, length or curve that the keystore does not make, or a keystore that is away.
pub(super) async fn pair(
    exchange: &mut Exchange<'_>,
    keystore: KeystoreId,
    algorithm: CryptographicAlgorithm,
    bits: Option<u32>,
    curve: Option<RecommendedCurve>,
) -> Result<NewPair, OperationError> {
    let spec = PairSpec::from_kmip(algorithm, bits, curve)?;
    let _turn = match spec {
        PairSpec::Rsa { .. } => Some(exchange.gateway.long_work.acquire().await.map_err(|_| OperationError::Internal)?),
        _ => None,
    };
    let making = Making::begin(exchange, keystore).await?;
    let made = making.keystore.generate_pair(making.id, &spec, making.cx).await;
    let stays = stays_as(&*making.keystore);
    let pair = making.end(exchange, made)?;
    let bits = pair.public.bits()?;
    let wrap = |key: KeyMaterial| {
        let key_block = key_block::key_block_of(&key, None, ObjectType::PrivateKey, algorithm, bits.cast_signed())?;
        Ok(ManagedObject::PrivateKey(Key { key_block }))
    };
    let (custody, private) = into_material(pair.private, stays, wrap)?;
    let public = key_block::public_key(&pair.public, algorithm, bits)?;
    Ok(NewPair { custody, algorithm, bits, private, public })
}

/// Takes a registered symmetric or private key into the keystore. Where keys are kept in our store, it stays as it came.
///
/// # Errors
/// A key that is wrapped or in a form that a device cannot take, or a keystore that does not take keys in.
pub(super) async fn import(
    exchange: &mut Exchange<'_>,
    keystore: KeystoreId,
    object: ManagedObject,
    attributes: &AttributeSet,
) -> Result<(Custody, Material), OperationError> {
    let kept_here = exchange.gateway.keystores.for_new_keys(keystore)?.descriptor().custody == keygate_backends::Custody::Envelope;
    if kept_here {
        return Ok((Custody::Envelope, Material::Held(Box::new(object))));
    }
    let key = key_block::material_of(&object, attributes)?;
    let making = Making::begin(exchange, keystore).await?;
    let made = making.keystore.import(making.id, &key, making.cx).await;
    let stays = stays_as(&*making.keystore);
    let held = making.end(exchange, made)?;
    into_material(held, stays, |_| Ok(object))
}

/// Lets the key of an object be destroyed in its device once the message is committed; nothing to do for others.
///
/// # Errors
/// The keystore is not configured any more, or the record does not open.
pub(super) async fn destroy(exchange: &mut Exchange<'_>, permit: &Permit) -> Result<(), OperationError> {
    let object = exchange.object(permit);
    if object.custody == Custody::Envelope {
        return Ok(());
    }
    let (keystore, id) = (object.keystore, object.id);
    if let Material::Referenced(KeyRef { id: key, .. }) = exchange.material(permit)? {
        let act = DeviceAct::destroy(exchange, keystore, key, id)?;
        exchange.act_in_device(act);
    }
    Ok(())
}

/// How a key is kept that stays in this keystore.
pub(super) fn stays_as(keystore: &dyn Keystore) -> Custody {
    if keystore.descriptor().can.export { Custody::Reference } else { Custody::InBackend }
}

/// A key being made, under an intent if it will stay in a device.
struct Making {
    keystore: Arc<dyn Keystore>,
    id: KeyId,
    cx: OpCx,
    new_key: Option<NewKey>,
}

impl Making {
    async fn begin(exchange: &Exchange<'_>, keystore: KeystoreId) -> Result<Self, OperationError> {
        let target = exchange.gateway.keystores.for_new_keys(keystore)?;
        let id = KeyId::random()?;
        let new_key = match target.descriptor().custody {
            keygate_backends::Custody::Envelope => None,
            keygate_backends::Custody::InBackend => {
                let place = Place { organisation: exchange.caller.organisation, id: keystore, keystore: Arc::clone(&target) };
                Some(NewKey::begin(exchange.gateway, place, id).await?)
            },
        };
        Ok(Self { keystore: target, id, cx: OpCx::within(DEVICE_DEADLINE), new_key })
    }

    /// After the device: the key belongs to the message now. On failure it is destroyed if it should exist after all.
    fn end<T>(self, exchange: &mut Exchange<'_>, made: Result<T, KsError>) -> Result<T, OperationError> {
        let made = made?;
        if let Some(new_key) = self.new_key {
            exchange.act_in_device(DeviceAct::Made(new_key));
        }
        Ok(made)
    }
}

fn into_material(
    held: Held,
    stays: Custody,
    wrap: impl FnOnce(KeyMaterial) -> Result<ManagedObject, OperationError>,
) -> Result<(Custody, Material), OperationError> {
    match held {
        Held::Material(key) => Ok((Custody::Envelope, Material::Held(Box::new(wrap(key)?)))),
        Held::Reference(key) => Ok((stays, Material::Referenced(key))),
    }
}
