//! The object handles that a worker has looked up.
//!
//! Searching is linear in most tokens (SoftHSM: 135 ms among 10,000 objects), so a handle is looked up once. A search that was dear is
//! followed by reading the ids of all keys on the token, as many as a second allows: the next keys need none. That a
//! key is absent is never remembered: another process may have made it since.

use super::message::KeyName;
use super::raw::Session;
use super::template::Template;
use super::{ckr, curve};
use crate::error::{Class, KsError, Result};
use crate::key::{KeyClass, KeyId};
use cryptoki_sys as ck;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// An object, and what its use needs to know of it.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    pub(super) object: ck::CK_OBJECT_HANDLE,
    /// Octets of the order of an EC key's curve.
    pub(super) order_octets: Option<usize>,
}

/// The handles of one session's application, good as long as it is logged in.
#[derive(Default)]
pub(super) struct Handles {
    known: HashMap<KeyName, Handle>,
    /// Seen when all were read, and not used yet.
    seen: HashMap<KeyName, ck::CK_OBJECT_HANDLE>,
    /// When all were read last.
    read_all: Option<Instant>,
    /// Searches so far, and microseconds of one, the newest ones counting most.
    pub(super) finds: u64,
    pub(super) find_us: u64,
    /// The key that others are wrapped under, by its label.
    wrapping: Option<(String, ck::CK_OBJECT_HANDLE)>,
}

/// Handles kept at most; then they are looked up afresh.
const HANDLES_MAX: usize = if cfg!(test) { 100 } else { 200_000 };
/// A search that takes longer is dear.
const DEAR: Duration = Duration::from_millis(3);
/// How long all keys may be read, and how often.
const READ_ALL_MAX: Duration = Duration::from_secs(1);
const READ_ALL_EVERY: Duration = Duration::from_secs(10);

impl Handles {
    /// Runs with the key's handle. A handle that has gone stale is looked up once more.
    pub(super) fn with_key<T>(
        &mut self,
        session: &Session,
        key: KeyName,
        run: impl Fn(&Handle) -> Result<T>,
    ) -> Result<T> {
        if let Some(handle) = self.cached(session, key)? {
            match run(&handle) {
                Err(e) if is_stale(&e) => self.forget(key),
                other => return other,
            };
        }
        let begun = Instant::now();
        let found = find_one(session, key);
        self.note_find(begun.elapsed());
        let handle = describe(session, key, found?)?;
        let dear = begun.elapsed() > DEAR;
        self.keep(key, handle);
        let result = run(&handle);
        if dear && self.read_all.is_none_or(|at| at.elapsed() > READ_ALL_EVERY) {
            // What could not be read is looked up one by one.
            let _ = self.read_all(session);
            self.read_all = Some(Instant::now());
        }
        result
    }

    /// Runs with the handle of the wrapping key of this label. A handle that has gone stale is looked up once more.
    pub(super) fn with_wrapping<T>(
        &mut self,
        session: &Session,
        label: &str,
        run: impl Fn(&mut Self, ck::CK_OBJECT_HANDLE) -> Result<T>,
    ) -> Result<T> {
        if let Some((_, object)) = self.wrapping.clone().filter(|(known, _)| known == label) {
            match run(self, object) {
                Err(e) if ckr::is(&e, ck::CKR_WRAPPING_KEY_HANDLE_INVALID) || ckr::is(&e, ck::CKR_UNWRAPPING_KEY_HANDLE_INVALID) => {}
                other => return other,
            }
        }
        let object = super::transfer::find_wrapping(session, label)?;
        let object = object.ok_or_else(|| KsError::not_found(format!("the token has no wrapping key {label:?}")))?;
        self.wrapping = Some((label.to_owned(), object));
        run(self, object)
    }

    /// Keeps the handle of a key that was just made.
    pub(super) fn made(&mut self, key: KeyName, object: ck::CK_OBJECT_HANDLE) {
        if self.seen.len() >= HANDLES_MAX {
            self.seen.clear();
        }
        self.seen.insert(key, object);
    }

    /// Forgets the keys of an id.
    pub(super) fn destroyed(&mut self, id: KeyId) {
        for class in [KeyClass::Private, KeyClass::Secret] {
            self.forget(KeyName { id, class });
        }
    }

    fn note_find(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.find_us = if self.finds == 0 { micros } else { self.find_us - self.find_us / 8 + micros / 8 };
        self.finds += 1;
    }

    fn forget(&mut self, key: KeyName) {
        self.known.remove(&key);
        self.seen.remove(&key);
    }

    fn cached(&mut self, session: &Session, key: KeyName) -> Result<Option<Handle>> {
        if let Some(handle) = self.known.get(&key) {
            return Ok(Some(*handle));
        }
        let Some(object) = self.seen.remove(&key) else { return Ok(None) };
        match describe(session, key, object) {
            Ok(handle) => {
                self.keep(key, handle);
                Ok(Some(handle))
            }
            Err(e) if is_stale(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn keep(&mut self, key: KeyName, handle: Handle) {
        if self.known.len() >= HANDLES_MAX {
            self.known.clear();
        }
        self.known.insert(key, handle);
    }

    fn read_all(&mut self, session: &Session) -> Result<()> {
        let begun = Instant::now();
        let old: HashSet<_> =
            self.known.values().map(|handle| handle.object).chain(self.seen.values().copied()).collect();
        for class in [KeyClass::Private, KeyClass::Secret] {
            let template = Template::new().number(ck::CKA_CLASS, class_of(class)).flag(ck::CKA_TOKEN, true);
            for object in session.find(&template, HANDLES_MAX)? {
                if begun.elapsed() > READ_ALL_MAX || self.seen.len() >= HANDLES_MAX {
                    return Ok(());
                }
                if old.contains(&object) {
                    continue;
                }
                // Keys of other applications have ids of other lengths, or ids that nobody asks for.
                let id = session.attribute(object, ck::CKA_ID)?.and_then(|id| <[u8; 16]>::try_from(id).ok());
                let Some(id) = id else { continue };
                let key = KeyName { id: KeyId(id), class };
                if self.known.contains_key(&key) || self.seen.insert(key, object).is_some() {
                    // Two objects of one id: looking that one up says so.
                    self.forget(key);
                }
            }
        }
        Ok(())
    }
}

/// A handle that names nothing any more. kryoptic answers CKR_GENERAL_ERROR where another process destroyed the object; of a
/// call that only begins an operation that can be little else, and looking the key up tells.
fn is_stale(error: &KsError) -> bool {
    let begins = error.device_code().is_some_and(|device| device.function.ends_with("Init") || device.function == "C_DecapsulateKey");
    ckr::is(error, ck::CKR_OBJECT_HANDLE_INVALID)
        || ckr::is(error, ck::CKR_KEY_HANDLE_INVALID)
        || begins && ckr::is(error, ck::CKR_GENERAL_ERROR)
}

fn describe(session: &Session, key: KeyName, object: ck::CK_OBJECT_HANDLE) -> Result<Handle> {
    let parameters = match key.class {
        KeyClass::Private => session.attribute(object, ck::CKA_EC_PARAMS)?,
        KeyClass::Secret => None,
    };
    Ok(Handle { object, order_octets: parameters.as_deref().and_then(curve::order_octets) })
}

/// CKA_ID is not unique by standard; ours is random, and two objects of one class under it are somebody's mistake.
pub(super) fn find_one(session: &Session, key: KeyName) -> Result<ck::CK_OBJECT_HANDLE> {
    let template = Template::new()
        .number(ck::CKA_CLASS, class_of(key.class))
        .bytes(ck::CKA_ID, &key.id.0)
        .flag(ck::CKA_TOKEN, true);
    match session.find(&template, 2)?.as_slice() {
        [object] => Ok(*object),
        [] => Err(KsError::not_found(format!("the token has no {:?} key {}", key.class, key.id))),
        _ => Err(KsError::new(Class::Corrupt, format!("the token has several {:?} keys {}", key.class, key.id))),
    }
}

pub(super) fn class_of(class: KeyClass) -> ck::CK_ULONG {
    match class {
        KeyClass::Private => ck::CKO_PRIVATE_KEY,
        KeyClass::Secret => ck::CKO_SECRET_KEY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that makes keys and uses none of them keeps no more of them than any other.
    #[test]
    fn handles_of_made_keys_are_bounded() {
        let mut handles = Handles::default();
        let mut last = None;
        for number in 0..=3 * HANDLES_MAX as u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let key = KeyName { id: KeyId(id), class: KeyClass::Secret };
            handles.made(key, number);
            last = Some(key);
            assert!(handles.seen.len() <= HANDLES_MAX);
        }
        assert!(last.is_some_and(|key| handles.seen.contains_key(&key)), "the newest is kept");
    }
}
