//! Moving the key of one object to another keystore. Id, attributes and lifecycle state stay as they are.
//!
//! The key is used where it is, taken there, used there with the same result, and only then the row says that it is there: one
//! commit, for the row as it was read. What the old keystore has is destroyed after that, by an intent, when requests that hold it
//! are through. So the key can be reached at every moment, and a crash leaves an intent at most.
//!
//! Leaves to others: which objects, how fast, and the report ([`crate::keystores`]).

use std::sync::Arc;
use std::time::Duration;

use keygate_backends::local::{self, KeyKind, KeyMaterial, PairKind, PreparedKey};
use keygate_backends::{
    BlockPadding, Class, CryptoOp, CryptoOut, Custody as Keeps, EncryptOp, EncryptionScheme, Held, Iv, Key as KeyToUse, KeyId, KeyRef,
    Keystore, KsError, MacScheme, OpCx, SignInput, SignatureScheme, resolve,
};
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm, Key, ManagedObject, ObjectType};

use super::intent::{DEVICE_DEADLINE, NewKey, OldKey, Place};
use super::{Gateway, InUse, now_ms};
use crate::object::{Material, Object, key_block};
use crate::store::{CommitError, Custody, KeystoreId, ObjectColumns, ObjectRow};

/// How long a key stays in its old keystore after it was moved: longer than a request that holds it may take there.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 12 });
/// What keys are used on for comparison.
const SAMPLE: &[u8; 16] = b"keygate rehoming";

/// From where to where.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) from: InUse,
    pub(crate) to: InUse,
}

/// An object ready to be committed at its new place.
pub(crate) struct Ready {
    /// The row as it was read.
    pub(crate) before: Arc<ObjectRow>,
    /// The row as it shall be.
    pub(crate) after: ObjectRow,
    /// The key in the new device.
    pub(crate) new: Option<NewKey>,
    /// The key in the old device.
    pub(crate) old: Option<OldKey>,
}

/// Why an object is not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stays {
    /// It cannot be moved there, now or later.
    Kept(String),
    /// It could not be moved this time.
    Failed(String),
}

impl Route {
    /// Whether every object can be sealed again where it is: no device is asked.
    pub(crate) fn is_within_the_store(&self) -> bool {
        keeps_here(&self.from) && keeps_here(&self.to)
    }
}

fn keeps_here(keystore: &InUse) -> bool {
    keystore.keystore.descriptor().custody == Keeps::Envelope
}

/// Seals an object's record again, for another keystore and under the newest term; the new record has been opened and compared.
///
/// # Errors
/// [`Stays::Failed`] for a record that does not open.
pub(crate) fn reseal(gateway: &Gateway, before: Arc<ObjectRow>, to: Option<KeystoreId>) -> Result<Ready, Stays> {
    let record = before.open(&gateway.keyring).map_err(|_| damaged())?;
    let keystore = to.unwrap_or(before.keystore);
    let columns = ObjectColumns { version: before.version.next(), keystore, ..before.columns().clone() };
    sealed(gateway, before, columns, record.expose())
}

fn sealed(gateway: &Gateway, before: Arc<ObjectRow>, columns: ObjectColumns, record: &[u8]) -> Result<Ready, Stays> {
    let after = ObjectRow::seal(&gateway.keyring, columns, record);
    // Constant time: both are secret.
    let same = after.open(&gateway.keyring).is_ok_and(|again| {
        aws_lc_rs::constant_time::verify_slices_are_equal(again.expose(), record).is_ok()
    });
    if same { Ok(Ready { before, after, new: None, old: None }) } else { Err(damaged()) }
}

/// Takes an object's key to its new place, compares its uses, and makes the row that says so.
///
/// # Errors
/// Why it stays where it is.
pub(crate) async fn prepare(gateway: &Gateway, route: &Route, before: Arc<ObjectRow>) -> Result<Ready, Stays> {
    let record = before.open(&gateway.keyring).map_err(|_| damaged())?;
    let material = Material::from_record(record.expose()).map_err(|_| damaged())?;
    let object = Object::from_row(&before, now_ms() / 1000).map_err(|_| damaged())?;
    let is_key = matches!(object.object_type, ObjectType::SymmetricKey | ObjectType::PrivateKey);
    let (key, old) = match (&material, is_key && !keeps_here(&route.to)) {
        // Not a key that a device would hold, or one that stays in the store: the row is all there is of it.
        (Material::None | Material::Held(_), false) | (Material::None, true) => {
            drop(record);
            return reseal(gateway, before, Some(route.to.id));
        }
        (Material::Held(held), true) => (key_block::material_of(held, &object.attributes).map_err(|_| no_device_takes_it())?, None),
        (Material::Referenced(key), _) => (exported(route, key).await?, Some(key)),
    };
    if let Some(old) = old {
        prove(&key, &route.from.keystore, old).await.map_err(|error| failed("it cannot be used where it is", &error))?;
    }
    let old = old.map(|old| OldKey::new(gateway, place(&object, &route.from), old.id, object.id));
    match arrive(gateway, route, &object, &key).await {
        Ok((custody, material, new)) => {
            let columns =
                ObjectColumns { version: before.version.next(), keystore: route.to.id, custody, ..before.columns().clone() };
            match sealed(gateway, before, columns, &material.to_record()) {
                Ok(ready) => Ok(Ready { new, old, ..ready }),
                Err(stays) => Err(stays_with(old, stays)),
            }
        }
        Err(stays) => Err(stays_with(old, stays)),
    }
}

fn stays_with(old: Option<OldKey>, stays: Stays) -> Stays {
    if let Some(old) = old {
        old.stays();
    }
    stays
}

/// The key at its new place, used there with the right result.
async fn arrive(gateway: &Gateway, route: &Route, object: &Object, key: &KeyMaterial) -> Result<(Custody, Material, Option<NewKey>), Stays> {
    if keeps_here(&route.to) {
        return Ok((Custody::Envelope, Material::Held(Box::new(managed(object, key)?)), None));
    }
    let id = KeyId::random().map_err(|error| failed("no random key id", &error))?;
    let new = NewKey::begin(gateway, place(object, &route.to), id).await;
    let new = new.map_err(|error| Stays::Failed(format!("the store refuses a commit: {error}")))?;
    let taken = route.to.keystore.import(id, key, OpCx::within(DEVICE_DEADLINE)).await;
    // From here on dropping `new` destroys what the device may have.
    let reference = match taken {
        Ok(Held::Reference(reference)) => reference,
        Ok(Held::Material(_)) => return Err(Stays::Failed("the keystore hands the key back".into())),
        Err(error) => return Err(not_taken(&error, object)),
    };
    prove(key, &route.to.keystore, &reference).await.map_err(|error| failed("its use in the new keystore fails", &error))?;
    Ok((Custody::InBackend, Material::Referenced(reference), Some(new)))
}

async fn exported(route: &Route, key: &KeyRef) -> Result<KeyMaterial, Stays> {
    let out = route.from.keystore.export(KeyToUse::Reference(key), OpCx::within(DEVICE_DEADLINE)).await;
    out.map_err(|error| match error.class() {
        Class::Denied | Class::Unsupported => Stays::Kept("its keystore does not hand it out".into()),
        _ => failed("its keystore did not hand it out", &error),
    })
}

/// The object that holds a key which came out of a device, in the usual form of its kind.
fn managed(object: &Object, key: &KeyMaterial) -> Result<ManagedObject, Stays> {
    let algorithm = object.attributes.cryptographic_algorithm().ok_or_else(damaged)?;
    let bits = key.bits().map_err(|error| failed("it has no length", &error))?;
    let block = key_block::key_block_of(key, None, object.object_type, algorithm, bits.cast_signed());
    let key_block = block.map_err(|_| Stays::Kept("it cannot be written as an object".into()))?;
    Ok(match object.object_type {
        ObjectType::PrivateKey => ManagedObject::PrivateKey(Key { key_block }),
        _ => ManagedObject::SymmetricKey(Key { key_block }),
    })
}

/// Uses the key in its keystore and compares with what it gives here. Where the device has no such use, its check value is compared.
async fn prove(key: &KeyMaterial, keystore: &Arc<dyn Keystore>, reference: &KeyRef) -> Result<(), KsError> {
    let used = match key.kind() {
        KeyKind::Symmetric(CryptographicAlgorithm::Aes) => same_cipher(key, keystore, reference).await,
        KeyKind::Symmetric(algorithm) => match resolve::hmac_hash(algorithm) {
            Some(hash) => same_mac(key, keystore, reference, MacScheme::Hmac(hash)).await,
            None => Err(KsError::unsupported("no use to compare")),
        },
        KeyKind::Private(PairKind::Rsa) => signs(key, keystore, reference, SignatureScheme::RsaPkcs1(HashingAlgorithm::Sha256)).await,
        KeyKind::Private(PairKind::Ec(_)) => signs(key, keystore, reference, SignatureScheme::Ecdsa(HashingAlgorithm::Sha256)).await,
        KeyKind::Private(PairKind::Ed25519) => signs(key, keystore, reference, SignatureScheme::Ed25519).await,
        KeyKind::Private(PairKind::MlDsa(_)) => signs(key, keystore, reference, SignatureScheme::MlDsa).await,
        KeyKind::Private(PairKind::MlKem(_)) => decapsulates(key, keystore, reference).await,
        KeyKind::Private(PairKind::X25519) | KeyKind::Public(_) => Err(KsError::unsupported("no use to compare")),
    };
    match used {
        Ok(true) => Ok(()),
        Ok(false) => Err(KsError::new(Class::Corrupt, "the key in the device is another one")),
        Err(error) if error.class() == Class::Unsupported => {
            keystore.info(reference, OpCx::within(DEVICE_DEADLINE)).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

async fn same_cipher(key: &KeyMaterial, keystore: &Arc<dyn Keystore>, reference: &KeyRef) -> Result<bool, KsError> {
    let scheme = EncryptionScheme::Ecb(BlockPadding::None);
    let op = EncryptOp { scheme: &scheme, iv: Iv::Given(&[]), aad: &[], data: SAMPLE, legacy: false };
    let here = local::encrypt(&PreparedKey::new(key)?, &op)?;
    match use_there(keystore, reference, CryptoOp::Encrypt(op)).await? {
        CryptoOut::Encrypted(there) => Ok(there.data == here.data),
        _ => Ok(false),
    }
}

async fn same_mac(key: &KeyMaterial, keystore: &Arc<dyn Keystore>, reference: &KeyRef, scheme: MacScheme) -> Result<bool, KsError> {
    let here = local::mac(&PreparedKey::new(key)?, scheme, &[], SAMPLE)?;
    match use_there(keystore, reference, CryptoOp::Mac { scheme, iv: &[], data: SAMPLE }).await? {
        CryptoOut::Mac(there) => Ok(there == here),
        _ => Ok(false),
    }
}

async fn signs(key: &KeyMaterial, keystore: &Arc<dyn Keystore>, reference: &KeyRef, scheme: SignatureScheme) -> Result<bool, KsError> {
    let input = SignInput::Message(SAMPLE);
    match use_there(keystore, reference, CryptoOp::Sign(scheme, input)).await? {
        CryptoOut::Signature(signature) => local::verify(&PreparedKey::new(&key.public_half()?)?, scheme, input, &signature),
        _ => Ok(false),
    }
}

async fn decapsulates(key: &KeyMaterial, keystore: &Arc<dyn Keystore>, reference: &KeyRef) -> Result<bool, KsError> {
    let sent = local::encapsulate(&PreparedKey::new(key)?)?;
    match use_there(keystore, reference, CryptoOp::Decapsulate(&sent.ciphertext)).await? {
        CryptoOut::Decapsulated(secret) => Ok(secret == sent.secret),
        _ => Ok(false),
    }
}

async fn use_there(keystore: &Arc<dyn Keystore>, reference: &KeyRef, op: CryptoOp<'_>) -> Result<CryptoOut, KsError> {
    keystore.crypto(KeyToUse::Reference(reference), op, OpCx::within(DEVICE_DEADLINE)).await
}

impl Gateway {
    /// Commits objects at their new places. On success their old keys in devices are destroyed after [`GRACE`]; on failure the new
    /// ones are, and everything is as before.
    ///
    /// # Errors
    /// As [`crate::store::Store::commit`].
    pub(crate) async fn commit_moves(&self, ready: Vec<Ready>, mut commit: crate::store::Commit) -> Result<(), CommitError> {
        let (mut acts, mut moved) = (Vec::new(), Vec::with_capacity(ready.len()));
        for Ready { before, after, new, old } in ready {
            moved.push(before.id);
            commit.changes.push(crate::store::Change::UpdateObject { before, after });
            acts.push((new, old));
        }
        super::intent::with_moves(&self.store, acts, commit, GRACE).await?;
        moved.into_iter().for_each(|object| self.prepared_keys.forget(object));
        Ok(())
    }
}

fn place(object: &Object, keystore: &InUse) -> Place {
    Place { organisation: object.organisation, id: keystore.id, keystore: Arc::clone(&keystore.keystore) }
}

fn not_taken(error: &KsError, object: &Object) -> Stays {
    match error.class() {
        Class::BadInput(_) | Class::Denied | Class::Unsupported => {
            let kind = object.attributes.cryptographic_algorithm().map_or_else(|| "of this kind".to_owned(), |algorithm| algorithm.to_string());
            Stays::Kept(format!("the new keystore takes no such key in ({kind})"))
        }
        _ => failed("the new keystore did not take it in", error),
    }
}

fn no_device_takes_it() -> Stays {
    Stays::Kept("it is wrapped, or of a form that no device takes".into())
}

fn damaged() -> Stays {
    Stays::Failed("its record cannot be read".into())
}

/// By class, not by text: a report has few reasons.
fn failed(what: &str, error: &KsError) -> Stays {
    tracing::warn!(cause = %error, what, "a key is not moved");
    Stays::Failed(format!("{what} ({:?})", error.class()))
}
