//! What a worker does to move keys between the tokens of a group: the wrapping key that all of them hold, and keys
//! wrapped under it.
//!
//! No key value is ever here in clear: the tokens wrap and unwrap. Which token gives and which one takes is the
//! group's business (`group/`).

use super::ckr;
use super::handles::{Handles, class_of};
use super::mechanism::Mechanism;
use super::message::{KeyName, Response};
use super::object;
use super::raw::Session;
use super::template::Template;
use crate::error::{Class, Fault, KsError, Result};
use crate::key::{KeyClass, KeyId};
use cryptoki_sys as ck;
use serde::{Deserialize, Serialize};

/// A request about the moving of keys.
#[derive(Serialize, Deserialize)]
pub(super) enum Transfer {
    /// Looks the wrapping key up.
    FindWrapping { label: String },
    /// Makes it.
    MakeWrapping { id: KeyId, label: String },
    /// Makes a pair of keys under which the wrapping key can come here; one that was left behind goes.
    OfferTransport { id: KeyId, label: String },
    /// Wraps the wrapping key for another token.
    CarryOut { label: String, to: TransportKey, sha256: bool },
    /// Takes it in, and destroys the transport key.
    CarryIn { id: KeyId, label: String, transport: KeyId, carried: Carried },
    /// Wraps a key, by the first of the mechanisms that does it.
    WrapOut { key: KeyName, under: String, mechanisms: Vec<ck::CK_MECHANISM_TYPE> },
    /// Takes a wrapped key in.
    UnwrapIn { id: KeyId, under: String, wrapped: WrappedKey },
    /// Whether the token's key is the wrapped one.
    Compare { key: KeyName, under: String, wrapped: WrappedKey },
}

impl Transfer {
    /// The id of the key that is made.
    pub(super) fn makes(&self) -> Option<KeyId> {
        match self {
            Self::MakeWrapping { id, .. }
            | Self::OfferTransport { id, .. }
            | Self::CarryIn { id, .. }
            | Self::UnwrapIn { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// The answer to a [`Transfer`].
#[derive(Serialize, Deserialize)]
pub(super) enum Transferred {
    Wrapping(Option<Wrapping>),
    Transport(TransportKey),
    Carried(Carried),
    Wrapped(WrappedKey),
    Same(bool),
}

/// What a token tells of its wrapping key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapping {
    /// Its check value, where the token has one.
    pub kcv: Option<[u8; 3]>,
    /// CKA_TRUSTED: the security officer vouches for it.
    pub trusted: bool,
}

/// The public half of a pair that takes a wrapping key in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportKey {
    n: Vec<u8>,
    e: Vec<u8>,
}

/// A wrapping key on its way between two tokens, by RSA-OAEP.
#[derive(Clone, Serialize, Deserialize)]
pub struct Carried {
    /// The hash is SHA-256, else SHA-1.
    sha256: bool,
    octets: Vec<u8>,
}

/// A key on its way between two tokens, wrapped under the key that both have.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    class: KeyClass,
    key_type: ck::CK_KEY_TYPE,
    label: String,
    mechanism: ck::CK_MECHANISM_TYPE,
    /// What it may be used for.
    uses: Vec<ck::CK_ATTRIBUTE_TYPE>,
    /// CKA_WRAP_WITH_TRUSTED.
    trusted: bool,
    /// CKA_VALUE_LEN of a secret key.
    length: Option<u64>,
    octets: Vec<u8>,
}

/// The bits of a transport key. SP 800-57 part 1 rev. 5 table 2: 128 bits of strength, as much as its short life needs.
const TRANSPORT_BITS: ck::CK_ULONG = 3072;
/// What is asked of a key and given to its copy.
const USES: [ck::CK_ATTRIBUTE_TYPE; 5] =
    [ck::CKA_ENCRYPT, ck::CKA_DECRYPT, ck::CKA_SIGN, ck::CKA_VERIFY, ck::CKA_DERIVE];

pub(super) fn run(session: &Session, handles: &mut Handles, transfer: &Transfer) -> Result<Response> {
    match transfer {
        Transfer::FindWrapping { label } => {
            let found = find_wrapping(session, label)?.map(|object| describe_wrapping(session, object)).transpose();
            found.map(Transferred::Wrapping)
        }
        Transfer::MakeWrapping { id, label } => {
            let template = wrapping_template(id, label).number(ck::CKA_VALUE_LEN, 32);
            let object = session.generate_key(&Mechanism::Plain(ck::CKM_AES_KEY_GEN), &template)?;
            describe_wrapping(session, object).map(Some).map(Transferred::Wrapping)
        }
        Transfer::OfferTransport { id, label } => offer_transport(session, *id, label).map(Transferred::Transport),
        Transfer::CarryOut { label, to, sha256 } => handles
            .with_wrapping(session, label, |_, wrapping| carry_out(session, wrapping, to, *sha256))
            .map(Transferred::Carried),
        Transfer::CarryIn { id, label, transport, carried } => {
            carry_in(session, id, label, *transport, carried).map(Some).map(Transferred::Wrapping)
        }
        Transfer::WrapOut { key, under, mechanisms } => handles
            .with_wrapping(session, under, |handles, wrapping| {
                handles.with_key(session, *key, |handle| wrap_out(session, wrapping, handle.object, key.class, mechanisms))
            })
            .map(Transferred::Wrapped),
        Transfer::UnwrapIn { id, under, wrapped } => {
            let object =
                handles.with_wrapping(session, under, |_, wrapping| unwrap(session, wrapping, wrapped, Some(id)))?;
            handles.made(KeyName { id: *id, class: wrapped.class }, object);
            return Ok(Response::Done);
        }
        Transfer::Compare { key, under, wrapped } => handles
            .with_wrapping(session, under, |handles, wrapping| {
                handles.with_key(session, *key, |handle| is_same(session, wrapping, handle.object, wrapped))
            })
            .map(Transferred::Same),
    }
    .map(Response::Transferred)
}

/// The one secret key of this label.
pub(super) fn find_wrapping(session: &Session, label: &str) -> Result<Option<ck::CK_OBJECT_HANDLE>> {
    let template = Template::new()
        .number(ck::CKA_CLASS, ck::CKO_SECRET_KEY)
        .bytes(ck::CKA_LABEL, label.as_bytes())
        .flag(ck::CKA_TOKEN, true);
    match session.find(&template, 2)?.as_slice() {
        [] => Ok(None),
        [object] => Ok(Some(*object)),
        _ => Err(KsError::new(Class::Corrupt, format!("the token has several secret keys labelled {label:?}"))),
    }
}

fn describe_wrapping(session: &Session, object: ck::CK_OBJECT_HANDLE) -> Result<Wrapping> {
    let kcv = session.attribute(object, ck::CKA_CHECK_VALUE)?.and_then(|value| value.try_into().ok());
    Ok(Wrapping { kcv, trusted: flag(session, object, ck::CKA_TRUSTED)? })
}

/// It must be able to leave, for the next member that joins: whoever could abuse that (a holder of the PIN) can as well
/// wrap the group's keys under a key of his own. Against him helps a wrapping key that the security officer brings.
fn wrapping_template<'a>(id: &'a KeyId, label: &'a str) -> Template<'a> {
    Template::new()
        .bytes(ck::CKA_ID, &id.0)
        .bytes(ck::CKA_LABEL, label.as_bytes())
        .number(ck::CKA_KEY_TYPE, ck::CKK_AES)
        .flag(ck::CKA_TOKEN, true)
        .flag(ck::CKA_PRIVATE, true)
        .flag(ck::CKA_SENSITIVE, true)
        .flag(ck::CKA_EXTRACTABLE, true)
        .flag(ck::CKA_ENCRYPT, false)
        .flag(ck::CKA_DECRYPT, false)
        .flag(ck::CKA_WRAP, true)
        .flag(ck::CKA_UNWRAP, true)
}

fn offer_transport(session: &Session, id: KeyId, label: &str) -> Result<TransportKey> {
    discard(session, id)?;
    let public = Template::new()
        .number(ck::CKA_MODULUS_BITS, TRANSPORT_BITS)
        .bytes(ck::CKA_PUBLIC_EXPONENT, &[1, 0, 1])
        .flag(ck::CKA_TOKEN, false)
        .flag(ck::CKA_WRAP, true);
    let private = Template::new()
        .bytes(ck::CKA_ID, &id.0)
        .bytes(ck::CKA_LABEL, label.as_bytes())
        .flag(ck::CKA_TOKEN, true)
        .flag(ck::CKA_PRIVATE, true)
        .flag(ck::CKA_SENSITIVE, true)
        .flag(ck::CKA_EXTRACTABLE, false)
        .flag(ck::CKA_UNWRAP, true);
    let (public, _) =
        session.generate_key_pair(&Mechanism::Plain(ck::CKM_RSA_PKCS_KEY_PAIR_GEN), &public, &private)?;
    let numbers = object::rsa_numbers(session, public);
    // The session object dies with the session at the latest.
    let _ = session.destroy(public);
    let (n, e) = numbers?.ok_or_else(|| object::hidden("the modulus"))?;
    Ok(TransportKey { n, e })
}

fn discard(session: &Session, id: KeyId) -> Result<()> {
    for object in session.find(&Template::new().bytes(ck::CKA_ID, &id.0).flag(ck::CKA_TOKEN, true), 16)? {
        session.destroy(object)?;
    }
    Ok(())
}

fn oaep(sha256: bool) -> Mechanism<'static> {
    match sha256 {
        true => Mechanism::Oaep { hash: ck::CKM_SHA256, mgf: ck::CKG_MGF1_SHA256, label: &[] },
        false => Mechanism::Oaep { hash: ck::CKM_SHA_1, mgf: ck::CKG_MGF1_SHA1, label: &[] },
    }
}

fn carry_out(session: &Session, wrapping: ck::CK_OBJECT_HANDLE, to: &TransportKey, sha256: bool) -> Result<Carried> {
    let template = Template::new()
        .number(ck::CKA_CLASS, ck::CKO_PUBLIC_KEY)
        .number(ck::CKA_KEY_TYPE, ck::CKK_RSA)
        .bytes(ck::CKA_MODULUS, &to.n)
        .bytes(ck::CKA_PUBLIC_EXPONENT, &to.e)
        .flag(ck::CKA_TOKEN, false)
        .flag(ck::CKA_WRAP, true);
    let public = session.create(&template)?;
    let octets = session.wrap(&oaep(sha256), public, wrapping);
    // As in `offer_transport`.
    let _ = session.destroy(public);
    Ok(Carried { sha256, octets: octets? })
}

fn carry_in(session: &Session, id: &KeyId, label: &str, transport: KeyId, carried: &Carried) -> Result<Wrapping> {
    let template = Template::new().number(ck::CKA_CLASS, ck::CKO_PRIVATE_KEY).bytes(ck::CKA_ID, &transport.0);
    let found = session.find(&template, 2)?;
    let [private] = found.as_slice() else {
        return Err(KsError::not_found("the token does not have the transport key that it made"));
    };
    let template = wrapping_template(id, label).number(ck::CKA_CLASS, ck::CKO_SECRET_KEY);
    let object = session.unwrap(&oaep(carried.sha256), *private, &carried.octets, &template)?;
    discard(session, transport)?;
    describe_wrapping(session, object)
}

fn wrap_out(
    session: &Session,
    wrapping: ck::CK_OBJECT_HANDLE,
    key: ck::CK_OBJECT_HANDLE,
    class: KeyClass,
    mechanisms: &[ck::CK_MECHANISM_TYPE],
) -> Result<WrappedKey> {
    let key_type = session.attribute(key, ck::CKA_KEY_TYPE)?;
    let key_type = key_type.and_then(|value| value.try_into().ok()).map(ck::CK_ULONG::from_ne_bytes);
    let key_type = key_type.ok_or_else(|| KsError::unsupported("the token does not show the type of a key"))?;
    let mut uses = Vec::new();
    for kind in USES {
        let goes_with_class = class == KeyClass::Secret || !matches!(kind, ck::CKA_ENCRYPT | ck::CKA_VERIFY);
        if goes_with_class && flag(session, key, kind)? {
            uses.push(kind);
        }
    }
    let mut last = KsError::unsupported("the group's tokens have no mechanism in common that wraps keys");
    let length = length_of(session, key, class)?;
    // A copy whose length is not told was copied because it is of whole blocks.
    let whole_blocks = class == KeyClass::Secret && length.is_none_or(|length| length.is_multiple_of(8));
    for &mechanism in mechanisms {
        // RFC 3394 §2: "The plaintext consists of n 64-bit blocks." SoftHSM fills others up with zeros, says nothing, and the copy is
        // another key.
        if mechanism == ck::CKM_AES_KEY_WRAP && !whole_blocks {
            continue;
        }
        match session.wrap(&Mechanism::Plain(mechanism), wrapping, key) {
            Ok(octets) => {
                let (label, trusted) = (object::label(session, key)?, flag(session, key, ck::CKA_WRAP_WITH_TRUSTED)?);
                return Ok(WrappedKey { class, key_type, label, mechanism, uses, trusted, length, octets });
            }
            // Key wrap without padding takes multiples of 8 octets; another mechanism may do it.
            Err(e) if [ck::CKR_MECHANISM_INVALID, ck::CKR_KEY_SIZE_RANGE].iter().any(|&code| ckr::is(&e, code)) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Octets of a secret key, as far as the token tells.
fn length_of(session: &Session, key: ck::CK_OBJECT_HANDLE, class: KeyClass) -> Result<Option<u64>> {
    if class == KeyClass::Private {
        return Ok(None);
    }
    let length = session.attribute(key, ck::CKA_VALUE_LEN)?;
    Ok(length.and_then(|value| value.try_into().ok()).map(ck::CK_ULONG::from_ne_bytes).filter(|length| *length > 0))
}

/// A copy under an id, or a session object that only this call knows.
fn unwrap(
    session: &Session,
    wrapping: ck::CK_OBJECT_HANDLE,
    wrapped: &WrappedKey,
    id: Option<&KeyId>,
) -> Result<ck::CK_OBJECT_HANDLE> {
    let mut template = Template::new()
        .number(ck::CKA_CLASS, class_of(wrapped.class))
        .number(ck::CKA_KEY_TYPE, wrapped.key_type)
        .bytes(ck::CKA_LABEL, wrapped.label.as_bytes())
        .flag(ck::CKA_TOKEN, id.is_some())
        .flag(ck::CKA_PRIVATE, true)
        .flag(ck::CKA_SENSITIVE, true)
        .flag(ck::CKA_EXTRACTABLE, true)
        .flag(ck::CKA_UNWRAP, false);
    if wrapped.class == KeyClass::Secret {
        template = template.flag(ck::CKA_WRAP, false);
    }
    if !wrapped.uses.contains(&ck::CKA_DERIVE) {
        template = template.flag(ck::CKA_DERIVE, false);
    }
    if let Some(id) = id {
        template = template.bytes(ck::CKA_ID, &id.0);
    }
    if wrapped.trusted {
        template = template.flag(ck::CKA_WRAP_WITH_TRUSTED, true);
    }
    for &kind in &wrapped.uses {
        template = template.flag(kind, true);
    }
    let copy = session.unwrap(&Mechanism::Plain(wrapped.mechanism), wrapping, &wrapped.octets, &template).map_err(other_wrapping)?;
    // SoftHSM 2.6 keeps the zeros of the padding, with which the copy is another key and yet wrapped the same; of a key that it took
    // in it does not tell the length, so one that was padded is not trusted with it.
    let is_right = match length_of(session, copy, wrapped.class)? {
        Some(length) => Some(length) == wrapped.length,
        None => wrapped.length.is_none_or(|length| length.is_multiple_of(8)),
    };
    // RFC 2104 §2: zeros are appended to a key shorter than a block anyway; no hash here has blocks of less than 64 octets.
    let is_harmless = wrapped.key_type == ck::CKK_GENERIC_SECRET && wrapped.length.is_some_and(|length| length <= 64);
    if is_right || is_harmless {
        return Ok(copy);
    }
    session.destroy(copy)?;
    Err(KsError::unsupported("the token changes the length of the key that it takes in"))
}

/// Tokens answer a failed integrity check with whatever comes to hand.
fn other_wrapping(error: KsError) -> KsError {
    match error.class() {
        Class::RetrySame | Class::BadInput(_) => KsError::new(
            Class::BadInput(Fault::Integrity),
            format!("the token cannot unwrap what another member wrapped: its replication key is another ({error})"),
        ),
        _ => error,
    }
}

/// AES key wrap has no nonce (RFC 3394, RFC 5649: the same key gives the same octets), so equal octets are equal keys.
/// A token may write a private key down otherwise than the one it came from; then the copy is made here as well, and
/// both are written by the same hand.
fn is_same(
    session: &Session,
    wrapping: ck::CK_OBJECT_HANDLE,
    key: ck::CK_OBJECT_HANDLE,
    wrapped: &WrappedKey,
) -> Result<bool> {
    let in_blocks = |length: u64| length.next_multiple_of(8);
    if length_of(session, key, wrapped.class)?.zip(wrapped.length).is_some_and(|(ours, theirs)| in_blocks(ours) != in_blocks(theirs)) {
        return Ok(false);
    }
    let mechanism = Mechanism::Plain(wrapped.mechanism);
    let ours = session.wrap(&mechanism, wrapping, key)?;
    if ours == wrapped.octets {
        return Ok(true);
    }
    if wrapped.class == KeyClass::Secret {
        return Ok(false);
    }
    let copy = unwrap(session, wrapping, wrapped, None)?;
    let theirs = session.wrap(&mechanism, wrapping, copy);
    // As in `offer_transport`.
    let _ = session.destroy(copy);
    Ok(ours == theirs?)
}

fn flag(session: &Session, object: ck::CK_OBJECT_HANDLE, kind: ck::CK_ATTRIBUTE_TYPE) -> Result<bool> {
    Ok(session.attribute(object, kind)?.is_some_and(|value| value == [ck::CK_TRUE]))
}
