//! What a worker does in its session: one function per request.

use super::mechanism::Mechanism;
use super::mechanism::Mechanisms;
use super::message::{
    CipherMechanism, Inspected, KeyName, Lattice, PublicNumbers, Request, Response, SecretKind, SignMechanism,
};
use super::ckr;
use super::curve;
use super::handles::{Handle, Handles, class_of, find_one};
use super::raw::{Functions, Session};
use super::rights;
use super::template::Template;
use super::transfer;
use crate::error::{Class, KsError, Result};
use crate::key::{KeyClass, KeyId};
use crate::keystore::KeyInfo;
use crate::lattice::{MlDsa, MlKem};
use crate::local::RsaPrivate;
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use std::collections::BTreeMap;

/// Does what a request asks.
pub(super) fn run(
    session: &Session,
    handles: &mut Handles,
    functions: &Functions,
    slot: ck::CK_SLOT_ID,
    request: &Request,
) -> Result<Response> {
    match request {
        Request::Probe => probe(functions, slot),
        Request::Random { len } => SecretBytes::fill_with(*len, |out| session.random(out)).map(Response::Secret),
        Request::GenerateSecret { id, label, kind, octets } => {
            generate_secret(session, handles, *id, label, *kind, *octets)
        }
        Request::GenerateRsa { id, label, bits } => generate_rsa(session, handles, *id, label, *bits),
        Request::GenerateEc { id, label, parameters } => generate_ec(session, handles, *id, label, parameters),
        Request::GenerateEdwards { id, label } => generate_edwards(session, handles, *id, label),
        Request::GenerateLattice { id, label, kind } => generate_lattice(session, handles, *id, label, *kind),
        Request::ImportLattice { id, label, kind, seed, expanded } => {
            import_lattice(session, *id, label, *kind, seed.as_ref(), expanded)
        }
        Request::ImportSecret { id, label, kind, value } => {
            let template = rights::secret(&id.0, label, *kind)
                .number(ck::CKA_CLASS, ck::CKO_SECRET_KEY)
                .bytes(ck::CKA_VALUE, value.expose());
            let object = rights::kept(session, session.create(&template)?)?;
            Ok(Response::SecretKey { kcv: kcv(session, object, *kind)? })
        }
        Request::ImportRsa { id, label, numbers } => import_rsa(session, *id, label, numbers),
        Request::ImportEc { id, label, parameters, d } => {
            let template = rights::private(&id.0, label, ck::CKK_EC)
                .number(ck::CKA_CLASS, ck::CKO_PRIVATE_KEY)
                .bytes(ck::CKA_EC_PARAMS, parameters)
                .bytes(ck::CKA_VALUE, d.expose());
            rights::kept(session, session.create(&template)?).map(|_| Response::Done)
        }
        Request::Sign { key, mechanism, data } => {
            handles.with_key(session, *key, |handle| sign(session, handle, *mechanism, data))
        }
        Request::Encrypt { key, mechanism, data } => handles.with_key(session, *key, |handle| {
            session.encrypt(&mechanism.as_mechanism(), handle.object, data.expose()).map(Response::Bytes)
        }),
        Request::Decrypt { key, mechanism, data } => handles.with_key(session, *key, |handle| {
            session
                .decrypt(&mechanism.as_mechanism(), handle.object, data)
                .map(Response::Secret)
                .map_err(|error| if is_well(functions, slot, &error) { undecryptable() } else { opaque_failure(error) })
        }),
        Request::Decapsulate { key, ciphertext } => handles.with_key(session, *key, |handle| {
            let recovered = session.decapsulate(handle.object, ciphertext);
            recovered.map(Response::Secret).map_err(|error| undecapsulable(functions, slot, error))
        }),
        Request::Inspect { key } => inspect(session, *key),
        Request::Destroy { id } => {
            handles.destroyed(*id);
            destroy(session, *id)
        }
        Request::List { prefix } => list(session, prefix),
        Request::Replicable { trusted, request } => {
            match session.with_leaving(*trusted, || run(session, handles, functions, slot, request)) {
                // A policy of the token's: the key is made all the same, and stays alone.
                Err(e) if refuses_attribute(&e) => run(session, handles, functions, slot, request),
                other => other,
            }
        }
        Request::Transfer(transfer) => transfer::run(session, handles, transfer),
    }
}

/// Whether the token shows any private or secret key; an error where the login is gone.
pub(super) fn token_has_keys(session: &Session) -> Result<bool> {
    if session.info()?.state != ck::CKS_RW_USER_FUNCTIONS {
        return Err(KsError::new(Class::SessionLost, "the login is gone"));
    }
    for class in [ck::CKO_SECRET_KEY, ck::CKO_PRIVATE_KEY] {
        if !session.find(&Template::new().number(ck::CKA_CLASS, class).flag(ck::CKA_TOKEN, true), 1)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn probe(functions: &Functions, slot: ck::CK_SLOT_ID) -> Result<Response> {
    let mut mechanisms = BTreeMap::new();
    for kind in functions.mechanisms(slot)? {
        // Listed and then denied: not there.
        if let Ok(flags) = functions.mechanism_flags(slot, kind) {
            mechanisms.insert(kind, flags);
        }
    }
    if functions.v3_2().is_none() {
        // Without C_DecapsulateKey there is no use of it.
        mechanisms.remove(&ck::CKM_ML_KEM);
        mechanisms.remove(&ck::CKM_ML_KEM_KEY_PAIR_GEN);
    }
    Ok(Response::Probed(Mechanisms(mechanisms)))
}

fn generate_secret(
    session: &Session,
    handles: &mut Handles,
    id: KeyId,
    label: &str,
    kind: SecretKind,
    octets: usize,
) -> Result<Response> {
    let mechanism = match kind {
        SecretKind::Aes | SecretKind::Kek => ck::CKM_AES_KEY_GEN,
        SecretKind::Generic => ck::CKM_GENERIC_SECRET_KEY_GEN,
    };
    let template = rights::secret(&id.0, label, kind).number(ck::CKA_VALUE_LEN, octets as ck::CK_ULONG);
    let object = session.generate_key(&Mechanism::Plain(mechanism), &template)?;
    let object = rights::kept(session, object)?;
    handles.made(KeyName { id, class: KeyClass::Secret }, object);
    Ok(Response::SecretKey { kcv: kcv(session, object, kind)? })
}

/// CKA_CHECK_VALUE of an AES key.
fn kcv(session: &Session, object: ck::CK_OBJECT_HANDLE, kind: SecretKind) -> Result<Option<[u8; 3]>> {
    match kind {
        SecretKind::Aes | SecretKind::Kek => match session.attribute(object, ck::CKA_CHECK_VALUE)?.and_then(|value| value.try_into().ok()) {
            Some(value) => Ok(Some(value)),
            None => made_kcv(session, object),
        },
        SecretKind::Generic => Ok(None),
    }
}

/// The check value where the token does not keep one (SoftHSM has none of keys that were unwrapped), made as PKCS#11 defines
/// it: the first three octets of a block of zeros encrypted in ECB mode.
fn made_kcv(session: &Session, object: ck::CK_OBJECT_HANDLE) -> Result<Option<[u8; 3]>> {
    let is = |kind, wanted: &[u8]| Ok::<_, KsError>(session.attribute(object, kind)?.is_some_and(|value| value == wanted));
    if !is(ck::CKA_KEY_TYPE, &ck::CKK_AES.to_ne_bytes())? || !is(ck::CKA_ENCRYPT, &[ck::CK_TRUE])? {
        return Ok(None);
    }
    match session.encrypt(&Mechanism::Plain(ck::CKM_AES_ECB), object, &[0; 16]) {
        Ok(block) => Ok(block.first_chunk().copied()),
        Err(e) if e.class() == Class::Unsupported => Ok(None),
        Err(e) => Err(e),
    }
}

/// The public half is a session object: it is read and destroyed, for the caller keeps it and verifies in software.
fn generate_pair(
    session: &Session,
    handles: &mut Handles,
    id: KeyId,
    mechanism: ck::CK_MECHANISM_TYPE,
    public: Template<'_>,
    private: &Template<'_>,
    read: impl FnOnce(ck::CK_OBJECT_HANDLE) -> Result<PublicNumbers>,
) -> Result<Response> {
    let used = if mechanism == ck::CKM_ML_KEM_KEY_PAIR_GEN { ck::CKA_ENCAPSULATE } else { ck::CKA_VERIFY };
    let public = public.flag(ck::CKA_TOKEN, false).flag(used, true);
    let (public, private) = session.generate_key_pair(&Mechanism::Plain(mechanism), &public, private)?;
    let numbers = read(public);
    // The session object dies with the session at the latest.
    let _ = session.destroy(public);
    let private = rights::kept(session, private)?;
    match numbers {
        Ok(numbers) => {
            handles.made(KeyName { id, class: KeyClass::Private }, private);
            Ok(Response::PublicKey(numbers))
        }
        Err(e) => match session.destroy(private) {
            Ok(()) => Err(e),
            Err(_) => Err(e.into_class(Class::OutcomeUnknown)),
        },
    }
}

fn generate_rsa(session: &Session, handles: &mut Handles, id: KeyId, label: &str, bits: u32) -> Result<Response> {
    let public = Template::new()
        .number(ck::CKA_MODULUS_BITS, ck::CK_ULONG::from(bits))
        .bytes(ck::CKA_PUBLIC_EXPONENT, &[1, 0, 1]);
    generate_pair(
        session,
        handles,
        id,
        ck::CKM_RSA_PKCS_KEY_PAIR_GEN,
        public,
        &rights::private(&id.0, label, ck::CKK_RSA),
        |object| {
            let (n, e) = rsa_numbers(session, object)?.ok_or_else(|| hidden("the modulus"))?;
            Ok(PublicNumbers::Rsa { n, e })
        },
    )
}

fn generate_ec(
    session: &Session,
    handles: &mut Handles,
    id: KeyId,
    label: &str,
    parameters: &[u8],
) -> Result<Response> {
    let public = Template::new().bytes(ck::CKA_EC_PARAMS, parameters);
    let private = rights::private(&id.0, label, ck::CKK_EC);
    generate_pair(session, handles, id, ck::CKM_EC_KEY_PAIR_GEN, public, &private, |object| {
        let point = session.attribute(object, ck::CKA_EC_POINT)?.ok_or_else(|| hidden("the point"))?;
        Ok(PublicNumbers::Ec { point })
    })
}

/// PKCS#11 v3.0 §2.3.5: an Edwards pair; its key type is CKK_EC_EDWARDS.
fn generate_edwards(session: &Session, handles: &mut Handles, id: KeyId, label: &str) -> Result<Response> {
    let public = Template::new().bytes(ck::CKA_EC_PARAMS, curve::ED25519);
    let private = rights::private(&id.0, label, ck::CKK_EC_EDWARDS);
    generate_pair(session, handles, id, ck::CKM_EC_EDWARDS_KEY_PAIR_GEN, public, &private, |object| {
        let point = session.attribute(object, ck::CKA_EC_POINT)?.ok_or_else(|| hidden("the point"))?;
        Ok(PublicNumbers::Ec { point })
    })
}

/// PKCS#11 v3.2 §6.67 and §6.68: the parameter set stands in the public key's template.
fn generate_lattice(session: &Session, handles: &mut Handles, id: KeyId, label: &str, kind: Lattice) -> Result<Response> {
    let (key_type, parameter_set, generation) = lattice(kind);
    let public = Template::new().number(ck::CKA_PARAMETER_SET, parameter_set);
    let private = rights::private(&id.0, label, key_type);
    generate_pair(session, handles, id, generation, public, &private, |object| {
        let value = session.attribute(object, ck::CKA_VALUE)?.ok_or_else(|| hidden("the value"))?;
        Ok(PublicNumbers::Lattice { value })
    })
}

/// The seed goes with the expanded key where there is one: the attributes that PKCS#11 v3.2 §6.67.3 has for both.
fn import_lattice(
    session: &Session,
    id: KeyId,
    label: &str,
    kind: Lattice,
    seed: Option<&SecretBytes>,
    expanded: &SecretBytes,
) -> Result<Response> {
    let (key_type, parameter_set, _) = lattice(kind);
    let mut template = rights::private(&id.0, label, key_type)
        .number(ck::CKA_CLASS, ck::CKO_PRIVATE_KEY)
        .number(ck::CKA_PARAMETER_SET, parameter_set)
        .bytes(ck::CKA_VALUE, expanded.expose());
    if let Some(seed) = seed {
        template = template.bytes(ck::CKA_SEED, seed.expose());
    }
    rights::kept(session, session.create(&template)?)?;
    Ok(Response::Done)
}

/// Key type, parameter set and mechanism that makes it.
fn lattice(kind: Lattice) -> (ck::CK_KEY_TYPE, ck::CK_ULONG, ck::CK_MECHANISM_TYPE) {
    match kind {
        Lattice::Dsa(set) => {
            let parameter_set = match set {
                MlDsa::MlDsa44 => ck::CKP_ML_DSA_44,
                MlDsa::MlDsa65 => ck::CKP_ML_DSA_65,
                MlDsa::MlDsa87 => ck::CKP_ML_DSA_87,
            };
            (ck::CKK_ML_DSA, parameter_set, ck::CKM_ML_DSA_KEY_PAIR_GEN)
        }
        Lattice::Kem(set) => {
            let parameter_set = match set {
                MlKem::MlKem512 => ck::CKP_ML_KEM_512,
                MlKem::MlKem768 => ck::CKP_ML_KEM_768,
                MlKem::MlKem1024 => ck::CKP_ML_KEM_1024,
            };
            (ck::CKK_ML_KEM, parameter_set, ck::CKM_ML_KEM_KEY_PAIR_GEN)
        }
    }
}

fn import_rsa(session: &Session, id: KeyId, label: &str, numbers: &RsaPrivate) -> Result<Response> {
    let template = rights::private(&id.0, label, ck::CKK_RSA)
        .number(ck::CKA_CLASS, ck::CKO_PRIVATE_KEY)
        .bytes(ck::CKA_MODULUS, &numbers.modulus)
        .bytes(ck::CKA_PUBLIC_EXPONENT, &numbers.public_exponent)
        .bytes(ck::CKA_PRIVATE_EXPONENT, &numbers.private_exponent)
        .bytes(ck::CKA_PRIME_1, &numbers.p)
        .bytes(ck::CKA_PRIME_2, &numbers.q)
        .bytes(ck::CKA_EXPONENT_1, &numbers.prime_exponent_p)
        .bytes(ck::CKA_EXPONENT_2, &numbers.prime_exponent_q)
        .bytes(ck::CKA_COEFFICIENT, &numbers.crt_coefficient);
    rights::kept(session, session.create(&template)?).map(|_| Response::Done)
}

fn sign(session: &Session, handle: &Handle, mechanism: SignMechanism, data: &[u8]) -> Result<Response> {
    let (mechanism, data) = match mechanism {
        SignMechanism::Ecdsa => {
            // FIPS 186-5 §6.4.1: the leftmost bits of the hash, as many as the order has; some tokens refuse more.
            let used = handle.order_octets.map_or(data.len(), |order| order.min(data.len()));
            (Mechanism::Plain(ck::CKM_ECDSA), &data[..used])
        }
        SignMechanism::RsaPkcs1 => (Mechanism::Plain(ck::CKM_RSA_PKCS), data),
        SignMechanism::RsaPss { hash, mgf, salt_len } => (Mechanism::Pss { hash, mgf, salt_len }, data),
        SignMechanism::EdDsa => (Mechanism::Plain(ck::CKM_EDDSA), data),
        // PKCS#11 v3.2 §6.67.6: without parameters the context is empty.
        SignMechanism::MlDsa => (Mechanism::Plain(ck::CKM_ML_DSA), data),
        SignMechanism::Mac(kind) => (Mechanism::Plain(kind), data),
    };
    session.sign(&mechanism, handle.object, data).map(Response::Bytes)
}

impl CipherMechanism {
    fn as_mechanism(&self) -> Mechanism<'_> {
        match self {
            Self::AesEcb => Mechanism::Plain(ck::CKM_AES_ECB),
            Self::AesCbc { iv } => Mechanism::Iv(ck::CKM_AES_CBC, iv),
            Self::AesCtr { iv } => Mechanism::Ctr(iv),
            Self::AesGcm { iv, aad, tag_len } => Mechanism::Gcm { iv, aad, tag_len: *tag_len },
            Self::AesKeyWrap => Mechanism::Plain(ck::CKM_AES_KEY_WRAP),
            Self::RsaPkcs1 => Mechanism::Plain(ck::CKM_RSA_PKCS),
            Self::RsaOaep { hash, mgf, label } => Mechanism::Oaep { hash: *hash, mgf: *mgf, label },
            Self::RsaRaw => Mechanism::Plain(ck::CKM_RSA_X_509),
        }
    }
}

fn refuses_attribute(error: &KsError) -> bool {
    let refusals = [ck::CKR_ATTRIBUTE_VALUE_INVALID, ck::CKR_TEMPLATE_INCONSISTENT, ck::CKR_ATTRIBUTE_READ_ONLY];
    refusals.iter().any(|&code| ckr::is(error, code))
}

/// Tokens answer a wrong tag or padding with whatever comes to hand. It is one failure, told as one, and no reason to
/// doubt the token: a peer that sends rubbish must not be able to have the module initialised anew.
pub(super) fn opaque_failure(error: KsError) -> KsError {
    let vague = [
        ck::CKR_GENERAL_ERROR,
        ck::CKR_FUNCTION_FAILED,
        ck::CKR_DATA_INVALID,
        ck::CKR_DATA_LEN_RANGE,
        ck::CKR_ENCRYPTED_DATA_LEN_RANGE,
    ];
    if vague.iter().any(|&code| ckr::is(&error, code))
        || error.class() == Class::BadInput(crate::error::Fault::Integrity)
    {
        return undecryptable();
    }
    error
}

fn undecryptable() -> KsError {
    KsError::integrity("decryption failed in the token")
}

/// FIPS 203 tells nobody that a cipher text is wrong, so what a token refuses is its length, which must fit the key.
fn undecapsulable(functions: &Functions, slot: ck::CK_SLOT_ID, error: KsError) -> KsError {
    let vague = [
        ck::CKR_GENERAL_ERROR,
        ck::CKR_FUNCTION_FAILED,
        ck::CKR_ARGUMENTS_BAD,
        ck::CKR_DATA_LEN_RANGE,
        ck::CKR_WRAPPED_KEY_LEN_RANGE,
        ck::CKR_WRAPPED_KEY_INVALID,
        ck::CKR_ENCRYPTED_DATA_LEN_RANGE,
        ck::CKR_ENCRYPTED_DATA_INVALID,
    ];
    let of_call = error.device_code().is_some_and(|device| device.function == "C_DecapsulateKey");
    if of_call && vague.iter().any(|&code| ckr::is(&error, code)) || is_well(functions, slot, &error) {
        return KsError::data("the token takes no cipher text of this length for this key");
    }
    error
}

/// Whether a decryption answered with CKR_DEVICE_ERROR, which kryoptic does for a wrapped key that was altered, left the token
/// as well as before: a new session is logged in, and the device draws a random octet.
fn is_well(functions: &Functions, slot: ck::CK_SLOT_ID, error: &KsError) -> bool {
    let decrypting = ["C_Decrypt", "C_DecapsulateKey"];
    let of_decryption = error.device_code().is_some_and(|device| decrypting.contains(&device.function));
    if !of_decryption || !ckr::is(error, ck::CKR_DEVICE_ERROR) {
        return false;
    }
    let drawn = Session::open(*functions, slot).and_then(|session| {
        session.random(&mut [0])?;
        session.info()
    });
    drawn.is_ok_and(|info| info.state == ck::CKS_RW_USER_FUNCTIONS)
}

fn inspect(session: &Session, key: KeyName) -> Result<Response> {
    let object = find_one(session, key)?;
    let info = KeyInfo { id: key.id, class: key.class, label: label(session, object)? };
    let (kcv, rsa) = match key.class {
        KeyClass::Secret => (kcv(session, object, SecretKind::Aes)?, None),
        KeyClass::Private => (None, rsa_numbers(session, object)?),
    };
    Ok(Response::Inspected(Inspected { info, kcv, rsa }))
}

pub(super) fn rsa_numbers(session: &Session, object: ck::CK_OBJECT_HANDLE) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let n = session.attribute(object, ck::CKA_MODULUS)?.filter(|n| !n.is_empty());
    let e = session.attribute(object, ck::CKA_PUBLIC_EXPONENT)?.filter(|e| !e.is_empty());
    Ok(n.zip(e))
}

fn destroy(session: &Session, id: KeyId) -> Result<Response> {
    let objects = session.find(&Template::new().bytes(ck::CKA_ID, &id.0).flag(ck::CKA_TOKEN, true), 16)?;
    if objects.is_empty() {
        return Err(KsError::not_found(format!("the token has no key {id}")));
    }
    for object in objects {
        session.destroy(object)?;
    }
    Ok(Response::Done)
}

fn list(session: &Session, prefix: &str) -> Result<Response> {
    let mut keys = Vec::new();
    for class in [KeyClass::Private, KeyClass::Secret] {
        let template = Template::new().number(ck::CKA_CLASS, class_of(class)).flag(ck::CKA_TOKEN, true);
        for object in session.find(&template, LIST_MAX)? {
            let label = label(session, object)?;
            let id = session.attribute(object, ck::CKA_ID)?.and_then(|id| <[u8; 16]>::try_from(id).ok());
            if let (true, Some(id)) = (label.starts_with(prefix), id) {
                keys.push(KeyInfo { id: KeyId(id), class, label });
            }
        }
    }
    Ok(Response::Keys(keys))
}

pub(super) fn label(session: &Session, object: ck::CK_OBJECT_HANDLE) -> Result<String> {
    let label = session.attribute(object, ck::CKA_LABEL)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&label).into_owned())
}

pub(super) fn hidden(what: &str) -> KsError {
    KsError::unsupported(format!("the token does not show {what} of a public key"))
}

/// Objects of a class that are looked at when listing.
const LIST_MAX: usize = 1_000_000;
