//! The keyring: one base key that never changes and numbered KEK terms that rotate.
//!
//! Terms are kept sealed under the root key in the database (so every backup holds them) and open in memory. New records use the
//! newest term; a term is retired once no record is under it. The base key is term 0 and seals nothing: the index, audit, set,
//! state and anchor keys come from it, so rotation leaves tokens and chains valid.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use uuid::Uuid;

use super::record::{RecordKey, random_secret};
use super::{Binding, IndexKey, MacKey, RecordError, RecordKind, RootKey, SealedRecord, SecretBytes};

/// Number of a keyring term; 0 is the base key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u32);

/// A term as stored.
#[derive(Clone, Debug)]
pub struct SealedTerm {
    /// Its number.
    pub term: Term,
    /// Its secret under the root key.
    pub sealed: SealedRecord,
}

/// Why stored terms make no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Term 0 or every later term is missing.
    #[error("the keyring is incomplete: it needs its base key and at least one term")]
    Incomplete,
    /// A term does not open under the root key.
    #[error("term {term} of the keyring does not open under the root key of this store")]
    Term {
        /// Which one.
        term: u32,
        /// Why.
        #[source]
        source: RecordError,
    },
}

/// Open terms and derived keys. Cheap to share; rotation swaps the set of terms under its users.
pub struct Keyring {
    store: Uuid,
    terms: ArcSwap<BTreeMap<Term, OpenTerm>>,
    index: IndexKey,
    audit: MacKey,
    set: MacKey,
    state: MacKey,
    anchor: MacKey,
}

#[derive(Clone)]
struct OpenTerm {
    key: Arc<RecordKey>,
    /// Since when it is stored no longer. It still opens what was read before, and nothing under it may be written any more.
    retired: Option<Instant>,
}

impl OpenTerm {
    fn new(term: Term, store: Uuid, secret: &SecretBytes) -> Self {
        Self { key: Arc::new(RecordKey::derive(term, store, secret.expose())), retired: None }
    }
}

impl Keyring {
    /// A new base key and a first term, as they are to be stored.
    pub fn generate(store: Uuid, root: &RootKey) -> Vec<SealedTerm> {
        [Term(0), Term(1)].into_iter().map(|term| seal_new_term(store, root, term)).collect()
    }

    /// Opens stored terms.
    pub fn open(store: Uuid, root: &RootKey, stored: &[SealedTerm]) -> Result<Self, KeyringError> {
        let mut base = None;
        let mut terms = BTreeMap::new();
        for sealed in stored {
            let secret = open_term(store, root, sealed)?;
            match sealed.term {
                Term(0) => base = Some(secret),
                term => drop(terms.insert(term, OpenTerm::new(term, store, &secret))),
            }
        }
        let (Some(base), false) = (base, terms.is_empty()) else { return Err(KeyringError::Incomplete) };
        let key = |purpose| MacKey::derive(base.expose(), purpose);
        Ok(Self {
            store,
            terms: ArcSwap::from_pointee(terms),
            index: IndexKey(key("index")),
            audit: key("audit"),
            set: key("set"),
            state: key("state"),
            anchor: key("anchor"),
        })
    }

    /// The keyring of a copy of the store: the base key of `stored`, which `from` opens, and one new term above all others, under
    /// `to`. Tokens, chains and MACs of the store hold in the copy; its records are to be sealed again.
    ///
    /// # Errors
    /// A term that does not open, or none.
    pub fn branch(store: Uuid, from: &RootKey, stored: &[SealedTerm], to: &RootKey) -> Result<Vec<SealedTerm>, KeyringError> {
        let base = stored.iter().find(|sealed| sealed.term == Term(0)).ok_or(KeyringError::Incomplete)?;
        let secret = open_term(store, from, base)?;
        let newest = stored.iter().map(|sealed| sealed.term.0).max().unwrap_or_default();
        let term = Term(newest.checked_add(1).ok_or(KeyringError::Incomplete)?);
        let base = SealedTerm { term: Term(0), sealed: to.record_key(store).seal(&term_binding(Term(0)), secret.expose()) };
        Ok(vec![base, seal_new_term(store, to, term)])
    }

    /// The store the keyring belongs to.
    pub fn store_id(&self) -> Uuid {
        self.store
    }

    /// Seals `plaintext` for the row `binding` names, under the newest term.
    pub fn seal(&self, binding: &Binding, plaintext: &[u8]) -> SealedRecord {
        let terms = self.terms.load();
        // `open` refuses an empty set and `retire_term` keeps the newest.
        #[expect(clippy::expect_used, reason = "invariant of this type")]
        let (_, newest) = terms.last_key_value().expect("a keyring has at least one term");
        newest.key.seal(binding, plaintext)
    }

    /// Opens a record that was sealed for the row `binding` names.
    pub fn open_record(&self, binding: &Binding, record: &SealedRecord) -> Result<SecretBytes, RecordError> {
        let term = record.term()?;
        let term = self.terms.load().get(&term).cloned().ok_or(RecordError::UnknownTerm(term.0))?;
        term.key.open(binding, record)
    }

    /// The term new records use.
    pub fn newest_term(&self) -> Term {
        self.terms.load().last_key_value().map_or(Term(0), |(term, _)| *term)
    }

    /// Whether a term is stored: a record under any other could not be opened after a restart.
    pub fn has_term(&self, term: Term) -> bool {
        self.terms.load().get(&term).is_some_and(|open| open.retired.is_none())
    }

    /// Terms that are stored, oldest first.
    pub fn terms(&self) -> Vec<Term> {
        self.terms.load().iter().filter(|(_, open)| open.retired.is_none()).map(|(term, _)| *term).collect()
    }

    /// Makes the term after the newest one; store it, then [`Keyring::adopt_term`].
    pub fn next_term(&self, root: &RootKey) -> SealedTerm {
        seal_new_term(self.store, root, Term(self.newest_term().0 + 1))
    }

    /// Uses a stored term from now on.
    pub fn adopt_term(&self, root: &RootKey, stored: &SealedTerm) -> Result<(), KeyringError> {
        let secret = open_term(self.store, root, stored)?;
        let open = OpenTerm::new(stored.term, self.store, &secret);
        self.terms.rcu(|terms| {
            let mut terms = BTreeMap::clone(terms);
            terms.insert(stored.term, open.clone());
            terms
        });
        Ok(())
    }

    /// A term is stored no longer, as no record is under it any more; the newest one stays. It still opens rows that requests
    /// under way have read, until [`Keyring::forget_retired`].
    pub fn retire_term(&self, term: Term) {
        self.terms.rcu(|terms| {
            let mut terms = BTreeMap::clone(terms);
            let newest = terms.last_key_value().map(|(newest, _)| *newest);
            if let Some(open) = terms.get_mut(&term).filter(|_| newest != Some(term)) {
                open.retired.get_or_insert_with(Instant::now);
            }
            terms
        });
    }

    /// Wipes the keys of terms retired at least `age` ago.
    pub fn forget_retired(&self, age: Duration) {
        self.terms.rcu(|terms| {
            let mut terms = BTreeMap::clone(terms);
            terms.retain(|_, open| open.retired.is_none_or(|since| since.elapsed() < age));
            terms
        });
    }

    /// Makes index and name tokens.
    pub fn index(&self) -> &IndexKey {
        &self.index
    }

    pub(crate) fn audit(&self) -> &MacKey {
        &self.audit
    }

    pub(crate) fn set(&self) -> &MacKey {
        &self.set
    }

    pub(crate) fn state(&self) -> &MacKey {
        &self.state
    }

    pub(crate) fn anchor(&self) -> &MacKey {
        &self.anchor
    }
}

fn seal_new_term(store: Uuid, root: &RootKey, term: Term) -> SealedTerm {
    let sealed = root.record_key(store).seal(&term_binding(term), random_secret().as_slice());
    SealedTerm { term, sealed }
}

fn open_term(store: Uuid, root: &RootKey, stored: &SealedTerm) -> Result<SecretBytes, KeyringError> {
    root.record_key(store)
        .open(&term_binding(stored.term), &stored.sealed)
        .map_err(|source| KeyringError::Term { term: stored.term.0, source })
}

fn term_binding(term: Term) -> Binding {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&term.0.to_be_bytes());
    Binding { kind: RecordKind::Term, id, version: 1, digest: [0; 32] }
}
