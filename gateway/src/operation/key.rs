//! From a request to a key that may be used for it, and its use wherever it is held.
//!
//! Every cryptographic operation asks the same questions in the same order: object type, destroyed, archived, state and
//! dates, usage mask, usage limits (KMIP 2.1 §6.1.15, §6.1.10, §6.1.59, §6.1.60, §6.1.38, §6.1.39). Envelope keys are used
//! in this process, InBackend keys in their keystore.
//!
//! RSA private operations take up to some milliseconds: they run on blocking threads, as many at a time as there are
//! processors. Everything else takes microseconds and runs where it is.

use std::sync::Arc;
use std::time::Duration;

use keygate_backends::local::{self, KeyKind, PairKind, PreparedKey};
use keygate_backends::resolve::Parameters;
use keygate_backends::{
    CryptoOp, CryptoOut, DecryptOp, EncryptOp, Encrypted, EncryptionScheme, KeyRef, Keystore, KsError, MacScheme, OpCx, PairSpec,
    SecretBytes, SignInput, SignatureScheme,
};
use keygate_kmip::{
    Attribute, CryptographicParameters, CryptographicUsageMask, ObjectType, Operation, Tag, UniqueIdentifier, UsageLimits,
    UsageLimitsUnit,
};
use quick_cache::sync::Cache;

use super::{Exchange, Gateway, OperationError};
use crate::authorize::Permit;
use crate::object::{Lifecycle, Material, Object, key_block};
use crate::store::{ObjectId, ObjectRow};
use crate::ticket::Amounts;

/// How long a device may take to use a key.
const USE_DEADLINE: Duration = Duration::from_secs(10);

/// Key pairs kept parsed.
const PREPARED_MAX: usize = 4_096;

/// A use of a key, and what it takes.
pub(super) struct Use {
    /// The operation that the caller must be permitted.
    pub(super) operation: Operation,
    /// Usage mask bits, one of which the key must have.
    pub(super) mask: CryptographicUsageMask,
    /// Object types that may be used.
    pub(super) object_types: &'static [ObjectType],
    /// Whether it protects data or processes what was protected.
    pub(super) effect: Effect,
}

/// Which half of a key's life a use belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Encrypt, sign, compute a MAC, wrap.
    Protect,
    /// Decrypt, verify, unwrap.
    Process,
    /// Derive another key.
    Derive,
}

/// What a use takes off the usage limits.
#[derive(Clone, Copy, Default)]
pub(super) struct Charge {
    /// Bytes protected.
    pub(super) bytes: usize,
    /// Objects protected: one per message, however many parts it comes in.
    pub(super) objects: i64,
}

/// A key that may be used.
pub(super) struct UsableKey {
    pub(super) object: ObjectId,
    pub(super) kind: KeyKind,
    /// Cryptographic Parameters of this use.
    pub(super) parameters: CryptographicParameters,
    holder: Holder,
}

enum Holder {
    Here(Arc<PreparedKey>),
    Device { keystore: Arc<dyn Keystore>, key: KeyRef },
}

impl UsableKey {
    /// The key that a request names, if it may be used like this.
    pub(super) async fn acquire(
        exchange: &mut Exchange<'_>,
        identifier: Option<&UniqueIdentifier>,
        wanted: &Use,
        given: Option<CryptographicParameters>,
        charge: Charge,
    ) -> Result<Self, OperationError> {
        let permit = exchange.permit(identifier, wanted.operation).await?;
        Self::of_permit(exchange, &permit, wanted, given, charge)
    }

    /// The same for an object that the caller is permitted already.
    pub(super) fn of_permit(
        exchange: &mut Exchange<'_>,
        permit: &Permit,
        wanted: &Use,
        given: Option<CryptographicParameters>,
        charge: Charge,
    ) -> Result<Self, OperationError> {
        check_use(exchange, permit, wanted)?;
        let parameters = merged(given, exchange.object(permit).attributes.cryptographic_parameters());
        let (kind, holder) = hold(exchange, permit)?;
        let bytes = i64::try_from(charge.bytes).map_err(|_| OperationError::UsageLimitExceeded)?;
        exchange.spend(permit, Amounts { bytes, objects: charge.objects })?;
        if wanted.effect == Effect::Protect {
            take_from_limits(exchange, permit, charge)?;
        }
        Ok(Self { object: permit.object(), kind, parameters, holder })
    }

    /// The parsed key, if it is here.
    pub(super) fn prepared(&self) -> Option<&PreparedKey> {
        match &self.holder {
            Holder::Here(key) => Some(key),
            Holder::Device { .. } => None,
        }
    }

    /// Encrypts.
    pub(super) async fn encrypt(&self, op: EncryptOp<'_>) -> Result<Encrypted, OperationError> {
        match &self.holder {
            Holder::Here(key) => Ok(local::encrypt(key, &op)?),
            Holder::Device { .. } => match self.in_device(CryptoOp::Encrypt(op)).await? {
                CryptoOut::Encrypted(encrypted) => Ok(encrypted),
                _ => Err(wrong_answer()),
            },
        }
    }

    /// Decrypts.
    pub(super) async fn decrypt(&self, gateway: &Gateway, op: DecryptOp<'_>) -> Result<SecretBytes, OperationError> {
        match &self.holder {
            Holder::Here(key) if self.is_slow() => {
                let (key, scheme, data) = (Arc::clone(key), op.scheme.clone(), op.data.to_vec());
                off_the_workers(gateway, move || local::decrypt(&key, &whole_block(&scheme, &data))).await
            }
            Holder::Here(key) => Ok(local::decrypt(key, &op)?),
            Holder::Device { .. } => match self.in_device(CryptoOp::Decrypt(op)).await? {
                CryptoOut::Decrypted(plain) => Ok(plain),
                _ => Err(wrong_answer()),
            },
        }
    }

    /// Signs.
    pub(super) async fn sign(&self, gateway: &Gateway, scheme: SignatureScheme, input: SignInput<'_>) -> Result<Vec<u8>, OperationError> {
        match &self.holder {
            Holder::Here(key) if self.is_slow() => {
                let (key, input) = (Arc::clone(key), OwnedInput::from(input));
                off_the_workers(gateway, move || local::sign(&key, scheme, input.borrow())).await
            }
            Holder::Here(key) => Ok(local::sign(key, scheme, input)?),
            Holder::Device { .. } => match self.in_device(CryptoOp::Sign(scheme, input)).await? {
                CryptoOut::Signature(signature) => Ok(signature),
                _ => Err(wrong_answer()),
            },
        }
    }

    /// Verifies a signature.
    pub(super) async fn verify(&self, scheme: SignatureScheme, input: SignInput<'_>, signature: &[u8]) -> Result<bool, OperationError> {
        match &self.holder {
            Holder::Here(key) => Ok(local::verify(key, scheme, input, signature)?),
            Holder::Device { .. } => match self.in_device(CryptoOp::Verify(scheme, input, signature)).await? {
                CryptoOut::Valid(valid) => Ok(valid),
                _ => Err(wrong_answer()),
            },
        }
    }

    /// Computes a MAC.
    pub(super) async fn mac(&self, scheme: MacScheme, data: &[u8]) -> Result<Vec<u8>, OperationError> {
        match &self.holder {
            Holder::Here(key) => Ok(local::mac(key, scheme, &[], data)?),
            Holder::Device { .. } => match self.in_device(CryptoOp::Mac { scheme, iv: &[], data }).await? {
                CryptoOut::Mac(mac) => Ok(mac),
                _ => Err(wrong_answer()),
            },
        }
    }

    async fn in_device(&self, op: CryptoOp<'_>) -> Result<CryptoOut, OperationError> {
        match &self.holder {
            Holder::Device { keystore, key } => {
                Ok(keystore.crypto(keygate_backends::Key::Reference(key), op, OpCx::within(USE_DEADLINE)).await?)
            }
            Holder::Here(_) => Err(wrong_answer()),
        }
    }

    fn is_slow(&self) -> bool {
        self.kind == KeyKind::Private(PairKind::Rsa)
    }
}

/// Parsed key pairs by object. An entry serves only the very row it was made from, which was opened then and cannot have
/// changed since.
pub(super) struct PreparedKeys(Cache<ObjectId, Arc<PreparedEntry>>);

struct PreparedEntry {
    row: Arc<ObjectRow>,
    key: Arc<PreparedKey>,
}

impl PreparedKeys {
    pub(super) fn new() -> Self {
        Self(Cache::new(PREPARED_MAX))
    }

    fn find(&self, row: &Arc<ObjectRow>) -> Option<Arc<PreparedKey>> {
        let entry = self.0.get(&row.id)?;
        Arc::ptr_eq(&entry.row, row).then(|| Arc::clone(&entry.key))
    }

    fn keep(&self, row: Arc<ObjectRow>, key: &Arc<PreparedKey>) {
        self.0.insert(row.id, Arc::new(PreparedEntry { row, key: Arc::clone(key) }));
    }

    /// Forgets the key of an object that has changed.
    pub(super) fn forget(&self, object: ObjectId) {
        self.0.remove(&object);
    }

    /// Forgets every key.
    pub(super) fn flush(&self) {
        self.0.clear();
    }
}

/// The fields of Cryptographic Parameters that choose a scheme.
pub(super) fn scheme_parameters(given: &CryptographicParameters) -> Result<Parameters<'_>, OperationError> {
    let length = |value: Option<i32>, name: &str| {
        let negative = |_| OperationError::BadCryptographicParameters(format!("{name} is negative"));
        value.map(usize::try_from).transpose().map_err(negative)
    };
    let tag_length = length(given.tag_length, "Tag Length")?;
    // NIST SP 800-38D §5.2.1.2: "may be any one of the following five values: 128, 120, 112, 104, or 96 [...] 64 or 32".
    if tag_length.is_some_and(|length| !(4..=16).contains(&length)) {
        return Err(OperationError::TagLength);
    }
    Ok(Parameters {
        block_cipher_mode: given.block_cipher_mode,
        padding_method: given.padding_method,
        hashing_algorithm: given.hashing_algorithm,
        digital_signature_algorithm: given.digital_signature_algorithm,
        cryptographic_algorithm: given.cryptographic_algorithm,
        tag_length,
        salt_length: length(given.salt_length, "Salt Length")?,
        mask_generator: given.mask_generator,
        mask_generator_hashing_algorithm: given.mask_generator_hashing_algorithm,
        p_source: given.p_source.as_deref(),
        initial_counter_value: given.initial_counter_value.map(i32::cast_unsigned),
        trailer_field: given.trailer_field.map(i32::cast_unsigned),
    })
}

/// KMIP 2.1 §6.1.15: "If omitted then the Cryptographic Parameters associated with the Managed Cryptographic Object with
/// the lowest index SHALL be used". Parameters that choose no way of their own (only Random IV, say) complete the key's.
fn merged(given: Option<CryptographicParameters>, of_key: Option<&CryptographicParameters>) -> CryptographicParameters {
    let (Some(mut given), Some(of_key)) = (given.clone(), of_key) else {
        return given.or_else(|| of_key.cloned()).unwrap_or_default();
    };
    let chooses = given.block_cipher_mode.is_some()
        || given.padding_method.is_some()
        || given.hashing_algorithm.is_some()
        || given.digital_signature_algorithm.is_some();
    if !chooses {
        let algorithm = given.cryptographic_algorithm.or(of_key.cryptographic_algorithm);
        let random_iv = given.random_iv.or(of_key.random_iv);
        let iv_length = given.iv_length.or(of_key.iv_length);
        let tag_length = given.tag_length.or(of_key.tag_length);
        given = of_key.clone();
        (given.cryptographic_algorithm, given.random_iv, given.iv_length, given.tag_length) = (algorithm, random_iv, iv_length, tag_length);
    }
    given
}

/// Whether an object may be used like this at all.
pub(super) fn check_use(exchange: &Exchange<'_>, permit: &Permit, wanted: &Use) -> Result<(), OperationError> {
    let object = exchange.object(permit);
    check_type(object, wanted)?;
    object.check_present()?;
    check_state(object, wanted.effect, exchange.now)?;
    check_mask(object, wanted.mask)
}

/// Whether an object may protect now.
pub(super) fn check_protects(exchange: &Exchange<'_>, permit: &Permit) -> Result<(), OperationError> {
    check_state(exchange.object(permit), Effect::Protect, exchange.now)
}

fn check_type(object: &Object, wanted: &Use) -> Result<(), OperationError> {
    if wanted.object_types.contains(&object.object_type) {
        return Ok(());
    }
    Err(OperationError::InvalidField(format!("{} does not take a {}", wanted.operation, object.object_type)))
}

fn check_state(object: &Object, effect: Effect, now: i64) -> Result<(), OperationError> {
    let wrong = |what: String| Err(OperationError::WrongState(what));
    match effect {
        Effect::Protect if !object.lifecycle.may_protect() => wrong(format!("the key is {:?}; only an active key protects", object.lifecycle)),
        // What is derived protects with its own state: a base may wait for its activation, but is not used once it is retired.
        Effect::Derive if !object.lifecycle.may_protect() && object.lifecycle != Lifecycle::PreActive => {
            wrong(format!("the key is {:?}; nothing new is derived from it", object.lifecycle))
        }
        Effect::Process if !object.lifecycle.may_process() => wrong(format!("the key is {:?} and may not be used", object.lifecycle)),
        // KMIP 2.1 §4.38: from the Protect Stop Date on the object "SHALL NOT be used for applying cryptographic protection".
        Effect::Protect if object.attributes.date(Tag::PROTECT_STOP_DATE).is_some_and(|date| date.0 <= now) => {
            wrong("the key's Protect Stop Date is past".to_owned())
        }
        // KMIP 2.1 §4.37: Process Start Date, "the date and time when a valid Managed Object MAY begin to be used to process".
        Effect::Process if object.attributes.date(Tag::PROCESS_START_DATE).is_some_and(|date| date.0 > now) => {
            wrong("the key's Process Start Date is not reached".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_mask(object: &Object, wanted: CryptographicUsageMask) -> Result<(), OperationError> {
    if object.attributes.cryptographic_usage_mask().0 & wanted.0 != 0 {
        return Ok(());
    }
    Err(OperationError::UsageNotAllowed("the key's Cryptographic Usage Mask does not allow this use".to_owned()))
}

/// KMIP 2.1 §4.59: the count "is decremented" by each use that applies protection, by bytes or by objects.
fn take_from_limits(exchange: &mut Exchange<'_>, permit: &Permit, charge: Charge) -> Result<(), OperationError> {
    let Some(limits) = usage_limits(exchange, permit) else { return Ok(()) };
    let amount = match limits.unit {
        UsageLimitsUnit::Byte => i64::try_from(charge.bytes).map_err(|_| OperationError::UsageLimitExceeded)?,
        _ => charge.objects,
    };
    take(exchange, permit, limits, amount)
}

/// The Usage Limits of an object.
pub(super) fn usage_limits(exchange: &Exchange<'_>, permit: &Permit) -> Option<UsageLimits> {
    exchange.object(permit).attributes.find(|attribute| match attribute {
        Attribute::UsageLimits(limits) => Some(limits.clone()),
        _ => None,
    })
}

/// Takes an amount, in the unit of the limits, off them.
pub(super) fn take(exchange: &mut Exchange<'_>, permit: &Permit, limits: UsageLimits, amount: i64) -> Result<(), OperationError> {
    let UsageLimits { total, count, unit } = limits;
    let left = count.unwrap_or(total).checked_sub(amount).filter(|left| *left >= 0).ok_or(OperationError::UsageLimitExceeded)?;
    if amount > 0 {
        exchange.change(permit).attributes.set(Attribute::UsageLimits(UsageLimits { total, count: Some(left), unit }));
    }
    Ok(())
}

/// The key itself: parsed, or where it lives.
fn hold(exchange: &Exchange<'_>, permit: &Permit) -> Result<(KeyKind, Holder), OperationError> {
    let prepared_keys = &exchange.gateway.prepared_keys;
    let row = exchange.stored_row(permit);
    if let Some(key) = row.and_then(|row| prepared_keys.find(row)) {
        return Ok((key.kind(), Holder::Here(key)));
    }
    let object = exchange.object(permit);
    match exchange.material(permit)? {
        Material::Held(held) => {
            let key = Arc::new(PreparedKey::new(&key_block::material_of(&held, &object.attributes)?)?);
            if let (Some(row), KeyKind::Private(_) | KeyKind::Public(_)) = (row, key.kind()) {
                prepared_keys.keep(Arc::clone(row), &key);
            }
            Ok((key.kind(), Holder::Here(key)))
        }
        Material::Referenced(key) => {
            let keystore = exchange.gateway.keystores.get(object.keystore)?;
            Ok((kind_in_device(object)?, Holder::Device { keystore, key }))
        }
        Material::None => Err(OperationError::KeyValueNotPresent),
    }
}

fn kind_in_device(object: &Object) -> Result<KeyKind, OperationError> {
    let nameless = || OperationError::InvalidField("the key has no Cryptographic Algorithm".to_owned());
    let algorithm = object.attributes.cryptographic_algorithm().ok_or_else(nameless)?;
    if object.object_type == ObjectType::SymmetricKey {
        return Ok(KeyKind::Symmetric(algorithm));
    }
    let bits = object.attributes.cryptographic_length().and_then(|bits| u32::try_from(bits).ok());
    let pair = match PairSpec::from_kmip(algorithm, bits, object.attributes.recommended_curve())? {
        PairSpec::Rsa { .. } => PairKind::Rsa,
        PairSpec::Ec { curve } => PairKind::Ec(curve),
        PairSpec::Ed25519 => PairKind::Ed25519,
        PairSpec::X25519 => PairKind::X25519,
        PairSpec::MlDsa(set) => PairKind::MlDsa(set),
        PairSpec::MlKem(set) => PairKind::MlKem(set),
    };
    Ok(KeyKind::Private(pair))
}

/// Runs something of milliseconds on a blocking thread.
pub(super) async fn off_the_workers<T: Send + 'static>(
    gateway: &Gateway,
    run: impl FnOnce() -> Result<T, KsError> + Send + 'static,
) -> Result<T, OperationError> {
    let busy = || OperationError::Unavailable("the server is busy".to_owned());
    let turn = tokio::time::timeout(USE_DEADLINE, gateway.slow_work.acquire()).await;
    let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    let done = tokio::task::spawn_blocking(run).await;
    Ok(done.map_err(|error| OperationError::internal("a key operation was interrupted", error))??)
}

/// RSA decrypts one block, which takes nothing besides.
fn whole_block<'a>(scheme: &'a EncryptionScheme, data: &'a [u8]) -> DecryptOp<'a> {
    DecryptOp { scheme, iv: &[], aad: &[], data, tag: None }
}

enum OwnedInput {
    Message(Vec<u8>),
    Digest(Vec<u8>),
}

impl From<SignInput<'_>> for OwnedInput {
    fn from(input: SignInput<'_>) -> Self {
        match input {
            SignInput::Message(message) => Self::Message(message.to_vec()),
            SignInput::Digest(digest) => Self::Digest(digest.to_vec()),
        }
    }
}

impl OwnedInput {
    fn borrow(&self) -> SignInput<'_> {
        match self {
            Self::Message(message) => SignInput::Message(message),
            Self::Digest(digest) => SignInput::Digest(digest),
        }
    }
}

fn wrong_answer() -> OperationError {
    OperationError::internal("keystore", "it answered another question than it was asked")
}
