//! What a key on the token is allowed: the templates that it is made with, and whether the token kept to them.
//!
//! A key may do what its kind is used for here and no more: what a template leaves out, tokens fill in as they like (SoftHSM lets
//! a key that encrypts wrap other keys, and a wrapping key brings out of the token what must stay there).

use super::message::SecretKind;
use super::raw::Session;
use super::template::Template;
use crate::error::{Class, KsError, Result};
use cryptoki_sys as ck;

/// A secret key.
pub(super) fn secret<'a>(id: &'a [u8; 16], label: &'a str, kind: SecretKind) -> Template<'a> {
    let (key_type, encrypts, signs) = match kind {
        // CMAC is a signature of an AES key.
        SecretKind::Aes => (ck::CKK_AES, true, true),
        SecretKind::Generic => (ck::CKK_GENERIC_SECRET, false, true),
        SecretKind::Kek => (ck::CKK_AES, true, false),
    };
    common(id, label, key_type)
        .flag(ck::CKA_ENCRYPT, encrypts)
        .flag(ck::CKA_DECRYPT, encrypts)
        .flag(ck::CKA_SIGN, signs)
        .flag(ck::CKA_VERIFY, signs)
        .flag(ck::CKA_WRAP, false)
}

/// A private key.
pub(super) fn private<'a>(id: &'a [u8; 16], label: &'a str, kind: ck::CK_KEY_TYPE) -> Template<'a> {
    let template = common(id, label, kind);
    match kind {
        ck::CKK_RSA => template.flag(ck::CKA_SIGN, true).flag(ck::CKA_DECRYPT, true),
        ck::CKK_ML_KEM => template.flag(ck::CKA_DECAPSULATE, true),
        _ => template.flag(ck::CKA_SIGN, true),
    }
}

/// It stays on its token; in a group, the session lets it leave for another member's, wrapped ([`Session::with_leaving`]).
///
/// PKCS#11 v3.1 §4.4: CKA_MODIFIABLE "CK_TRUE if object can be modified": these attributes are what they are for good.
fn common<'a>(id: &'a [u8; 16], label: &'a str, kind: ck::CK_KEY_TYPE) -> Template<'a> {
    Template::new()
        .bytes(ck::CKA_ID, id)
        .bytes(ck::CKA_LABEL, label.as_bytes())
        .number(ck::CKA_KEY_TYPE, kind)
        .flag(ck::CKA_TOKEN, true)
        .flag(ck::CKA_PRIVATE, true)
        .flag(ck::CKA_MODIFIABLE, false)
        .flag(ck::CKA_SENSITIVE, true)
        .flag(ck::CKA_EXTRACTABLE, false)
        .flag(ck::CKA_UNWRAP, false)
        .flag(ck::CKA_DERIVE, false)
}

/// A key that was just made, if the token keeps it as it was asked to. One that it does not keep so is destroyed.
///
/// # Errors
/// `Unsupported` when it was destroyed; `OutcomeUnknown` when it could not be.
pub(super) fn kept(session: &Session, object: ck::CK_OBJECT_HANDLE) -> Result<ck::CK_OBJECT_HANDLE> {
    let Err(error) = check(session, object) else { return Ok(object) };
    match session.destroy(object) {
        Ok(()) => Err(error),
        Err(_) => Err(error.into_class(Class::OutcomeUnknown)),
    }
}

fn check(session: &Session, object: ck::CK_OBJECT_HANDLE) -> Result<()> {
    for (kind, name, wanted) in [
        (ck::CKA_SENSITIVE, "CKA_SENSITIVE", true),
        (ck::CKA_EXTRACTABLE, "CKA_EXTRACTABLE", session.may_leave()),
    ] {
        let told = match session.attribute(object, kind)?.as_deref() {
            Some([value]) => *value != ck::CK_FALSE,
            _ => return Err(KsError::unsupported(format!("the token does not tell {name} of a key that it made"))),
        };
        if told != wanted {
            return Err(KsError::unsupported(format!("the token made a key with {name} {told}, not {wanted} as it was asked to")));
        }
    }
    Ok(())
}
