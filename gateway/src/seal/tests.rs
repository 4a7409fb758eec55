//! Stories of the seal: what opens it, what does not, and what it then says.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 64, passes: 1, lanes: 1 };

fn passphrase(text: &str) -> SecretBytes {
    SecretBytes::copy_from(text.as_bytes())
}

fn with_passphrase(text: &str) -> Openers<'static> {
    Openers { passphrases: vec![passphrase(text)], pkcs11: None }
}

fn new_passphrase<'a>(text: &str) -> NewSlot<'a> {
    NewSlot::Passphrase { passphrase: passphrase(text), cost: CHEAP }
}

/// Whether two root keys open the same things.
fn same(left: &RootKey, right: &RootKey) -> bool {
    let store = uuid::Uuid::nil();
    left.check(store) == right.check(store)
}

fn add(seal: &mut Seal, root: &RootKey, new: NewSlot<'_>) -> Result<(), SealError> {
    let change = seal.with_slot(root, new)?;
    seal.apply(change)
}

fn reload(dir: &Path) -> Seal {
    Seal::load(dir).expect("readable")
}

#[test]
fn each_slot_opens_the_same_root() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("created");
    add(&mut seal, &root, new_passphrase("correct horse")).expect("added");
    let by_file = reload(dir.path()).unlock(&Openers::default()).expect("the key file opens it");
    assert!(same(&root, &by_file));
    // The key file is gone: the passphrase still opens.
    std::fs::remove_file(dir.path().join("seal.key")).expect("removed");
    let by_passphrase = reload(dir.path()).unlock(&with_passphrase("correct horse")).expect("the passphrase opens it");
    assert!(same(&root, &by_passphrase));
}

#[test]
fn a_wrong_passphrase_or_lost_key_file_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut seal, root) = Seal::create(dir.path(), new_passphrase("correct horse")).expect("created");
    let said = |result: Result<RootKey, SealError>| result.err().expect("refused").to_string();
    let wrong = said(seal.unlock(&with_passphrase("correct horse ")));
    assert!(
        wrong.contains("passphrase slot: this is not what it was made with")
            && wrong.contains("hint: check the passphrase"),
        "{wrong}"
    );
    let none = said(seal.unlock(&Openers::default()));
    assert!(none.contains("no passphrase given") && none.contains("file descriptor"), "{none}");

    add(&mut seal, &root, NewSlot::default()).expect("added");
    std::fs::remove_file(dir.path().join("seal.key")).expect("removed");
    let lost = said(seal.unlock(&Openers::default()));
    assert!(lost.contains("keyfile slot: cannot open") && lost.contains("seal.key"), "{lost}");
    std::fs::write(dir.path().join("seal.key"), [7; 32]).expect("written");
    std::fs::set_permissions(dir.path().join("seal.key"), PermissionsExt::from_mode(0o600)).expect("set");
    assert!(said(seal.unlock(&Openers::default())).contains("keyfile slot: this is not what it was made with"));
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    Seal::create(dir.path(), NewSlot::default()).expect("created");
    let file = dir.path().join("seal.key");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(dir.path().join("seal.json")).expect("there").permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("set");
    let refused = reload(dir.path()).unlock(&Openers::default()).err().expect("refused").to_string();
    assert!(refused.contains("readable by others"), "{refused}");
}

#[test]
fn slots_are_removed_but_never_the_last() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("created");
    let first = seal.status()[0].id;
    assert!(matches!(seal.without_slot(&root, first, &Default::default()), Err(SealError::LastSlot(_))));
    assert!(matches!(add(&mut seal, &root, NewSlot::default()), Err(SealError::SameKeyFile(_))));
    add(&mut seal, &root, new_passphrase("p")).expect("added");
    let removal = seal.without_slot(&root, first, &Default::default()).expect("one is left");
    assert_eq!(reload(dir.path()).status().len(), 2, "nothing is removed before it is written");
    seal.apply(removal).expect("removed");
    assert!(matches!(seal.without_slot(&root, first, &Default::default()), Err(SealError::UnknownSlot(_))));
    let seal = reload(dir.path());
    assert_eq!(seal.kinds(), [SlotKind::Passphrase]);
    assert!(same(&root, &seal.unlock(&with_passphrase("p")).expect("opens")));
    assert!(matches!(Seal::create(dir.path(), NewSlot::default()), Err(SealError::Exists(_))));
}

/// A token whose key is in memory; with `away` set it answers like a token that was pulled.
struct Token {
    key: Keyring,
    away: bool,
}

impl SlotKey for Token {
    fn wrap(&self, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, SlotKeyError> {
        Ok(self.key.seal(&bound_to(aad), plaintext).as_bytes().to_vec())
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes, SlotKeyError> {
        if self.away {
            return Err(SlotKeyError::Absent("C_OpenSession: CKR_TOKEN_NOT_PRESENT".into()));
        }
        let record = SealedRecord::from_stored(wrapped.to_vec());
        self.key.open_record(&bound_to(aad), &record).map_err(|error| SlotKeyError::Refused(error.to_string()))
    }
}

fn bound_to(aad: &[u8]) -> Binding {
    let mut digest = [0; 32];
    digest.copy_from_slice(aad);
    Binding { kind: RecordKind::File, id: [0; 16], version: 1, digest }
}

fn keyring() -> Keyring {
    let page = SecretPage::new(|page| page[..32].fill(9)).expect("a page");
    let (store, root) = (uuid::Uuid::from_u128(7), RootKey::new(page));
    Keyring::open(store, &root, &Keyring::generate(store, &root)).expect("a keyring")
}

#[test]
fn a_token_slot_opens_and_a_missing_token_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let token = Token { key: keyring(), away: false };
    let locator = serde_json::json!({"token": "keygate", "key": "seal"});
    let (seal, root) =
        Seal::create(dir.path(), NewSlot::Pkcs11 { locator: locator.clone(), key: &token }).expect("created");
    let token = std::sync::Arc::new(std::sync::Mutex::new(Some(token)));
    let open = |found: &serde_json::Value| {
        assert_eq!(found, &locator);
        let token = token.lock().expect("not poisoned").take();
        token
            .map(|token| Box::new(token) as Box<dyn SlotKey>)
            .ok_or_else(|| SlotKeyError::Absent("C_GetSlotList: none".into()))
    };
    let openers = Openers { passphrases: Vec::new(), pkcs11: Some(&open) };
    assert!(same(&root, &seal.unlock(&openers).expect("the token opens it")));
    let gone = seal.unlock(&openers).err().expect("refused").to_string();
    assert!(gone.contains("C_GetSlotList: none") && gone.contains("hint: plug in or start the token"), "{gone}");
    let unconfigured = seal.unlock(&Openers::default()).err().expect("refused").to_string();
    assert!(unconfigured.contains("no PKCS#11 module and PIN given"), "{unconfigured}");
}

/// A token that wraps and cannot undo it makes no slot: every slot in the file has opened once.
#[test]
fn a_slot_that_does_not_open_is_not_added() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("created");
    let token = Token { key: keyring(), away: true };
    let refused = add(&mut seal, &root, NewSlot::Pkcs11 { locator: serde_json::json!({}), key: &token });
    assert!(matches!(refused, Err(SealError::NewSlot(SlotFailure::Token(_)))));
    assert_eq!(reload(dir.path()).kinds(), [SlotKind::Keyfile]);
}

/// Works where systemd can make a host key; elsewhere the tool's own complaint is passed on.
#[test]
fn a_systemd_slot_opens_or_says_why_not() {
    let dir = tempfile::tempdir().expect("a directory");
    match Seal::create(dir.path(), NewSlot::SystemdCreds { with_key: "host".into() }) {
        Ok((seal, root)) => assert!(same(&root, &seal.unlock(&Openers::default()).expect("opens"))),
        Err(SealError::NewSlot(failure)) => eprintln!("SKIPPED: systemd-creds cannot encrypt here: {failure}"),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_damaged_seal_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(matches!(Seal::load(dir.path()), Err(SealError::Missing(_))));
    Seal::create(dir.path(), new_passphrase("p")).expect("created");
    let path = dir.path().join("seal.json");
    let text = std::fs::read_to_string(&path).expect("readable");
    for (from, to) in [("\"format\": 2", "\"format\": 3"), ("\"needed\": 1", "\"needed\": 3"), ("\"mac\"", "\"mac of\"")] {
        std::fs::write(&path, text.replace(from, to)).expect("written");
        assert!(matches!(Seal::load(dir.path()), Err(SealError::Unreadable { source: None, .. })), "{to}");
    }
    std::fs::write(&path, "{").expect("written");
    assert!(matches!(Seal::load(dir.path()), Err(SealError::Unreadable { source: Some(_), .. })));
}

fn opened(seal: &Seal) -> std::collections::BTreeSet<uuid::Uuid> {
    seal.status().iter().map(|slot| slot.id).collect()
}

/// Two needed: each two slots open, one alone holds nothing, and nobody can take the last way in away.
#[test]
fn two_of_these_open_and_one_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("created");
    let alone = seal.with_needed(&root, 2, &opened(&seal), &Openers::default()).err().expect("one slot is not two");
    assert!(matches!(&alone, SealError::TwoMustOpen(left) if left.len() == 1), "{alone}");
    add(&mut seal, &root, NewSlot::KeyFile { path: "second.key".into() }).expect("added");
    let alike = seal.with_needed(&root, 2, &opened(&seal), &Openers::default()).err().expect("two of a kind");
    assert!(matches!(alike, SealError::TwoMustOpen(_)));
    add(&mut seal, &root, new_passphrase("p")).expect("added");
    // A slot that has not opened since the start does not count, unless it opens now.
    let unseen = opened(&seal).into_iter().filter(|id| *id != seal.status()[2].id).collect();
    assert!(matches!(seal.with_needed(&root, 2, &unseen, &with_passphrase("q")), Err(SealError::TwoMustOpen(_))));
    let change = seal.with_needed(&root, 2, &unseen, &with_passphrase("p")).expect("now it opens");
    assert_eq!(change.slots().len(), 3);
    seal.apply(change).expect("changed");

    let text = std::fs::read_to_string(dir.path().join("seal.json")).expect("readable");
    assert!(!text.contains("\"root\": null") && text.matches("\"root\"").count() == 3, "three pairs, no slot alone: {text}");
    let mut seal = reload(dir.path());
    assert_eq!(seal.needed(), 2);
    // Both key files are there.
    assert!(same(&root, &seal.unlock(&Openers::default()).expect("two key files")));
    std::fs::remove_file(dir.path().join("second.key")).expect("removed");
    let one = seal.unlock(&Openers::default()).err().expect("one is not enough").to_string();
    assert!(one.contains("one seal slot opens, and two are needed") && one.contains("no passphrase given"), "{one}");
    let unlocked = seal.unlock_by_slot(&with_passphrase("p")).expect("key file and passphrase");
    assert!(same(&root, &unlocked.root) && unlocked.slots.len() == 2);

    let passphrase_slot = seal.status()[2].id;
    let refused = seal.without_slot(&root, passphrase_slot, &opened(&seal)).err().expect("two key files would be left");
    assert!(matches!(refused, SealError::TwoMustOpen(_)));
    add(&mut seal, &root, NewSlot::Shamir { sharing: Sharing::new(2, 2).expect("legal"), dealt: &mut Vec::new() }).expect("added online");
    let change = seal.without_slot(&root, passphrase_slot, &opened(&seal)).expect("shares are left");
    seal.apply(change).expect("removed");
    let change = seal.with_needed(&root, 1, &Default::default(), &Openers::default()).expect("one again");
    seal.apply(change).expect("changed");
    assert!(same(&root, &reload(dir.path()).unlock(&Openers::default()).expect("the key file alone")));
    assert!(matches!(seal.with_needed(&root, 3, &opened(&seal), &Openers::default()), Err(SealError::Needed(3))));
}

/// A file that something else changed is not changed further: a lowered policy would be made good by the next change.
#[test]
fn an_altered_file_is_not_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("created");
    add(&mut seal, &root, new_passphrase("p")).expect("added");
    let change = seal.with_needed(&root, 2, &opened(&seal), &Openers::default()).expect("two");
    seal.apply(change).expect("changed");
    let path = dir.path().join("seal.json");
    let text = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, text.replace("\"needed\": 2", "\"needed\": 1")).expect("written");
    let mut altered = reload(dir.path());
    assert!(altered.unlock(&with_passphrase("p")).is_err(), "no slot alone has the root key");
    assert!(matches!(add(&mut altered, &root, new_passphrase("q")), Err(SealError::Altered(_))));
    let first = altered.status()[0].id;
    assert!(matches!(altered.without_slot(&root, first, &opened(&altered)), Err(SealError::Altered(_))));
    assert!(!altered.is_authentic(&root) && seal.is_authentic(&root));
}

#[test]
fn there_are_no_more_than_sixteen_slots() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("created");
    for number in 1..16 {
        add(&mut seal, &root, NewSlot::KeyFile { path: format!("{number}.key").into() }).expect("added");
    }
    assert!(matches!(add(&mut seal, &root, new_passphrase("p")), Err(SealError::TooManySlots)));
}

/// A file that format 1's last version wrote, with the key file it was made with and the passphrase "correct horse".
#[test]
fn format_1_opens_and_is_migrated_by_the_first_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let old = include_str!("testdata/format-1.json");
    std::fs::write(dir.path().join("seal.json"), old).expect("written");
    std::fs::write(dir.path().join("seal.key"), include_bytes!("testdata/format-1.key")).expect("written");
    std::fs::set_permissions(dir.path().join("seal.key"), PermissionsExt::from_mode(0o600)).expect("set");
    let mut seal = reload(dir.path());
    assert_eq!((seal.needed(), seal.kinds()), (1, vec![SlotKind::Keyfile, SlotKind::Passphrase]));
    let root = seal.unlock(&Openers::default()).expect("the key file opens it");
    add(&mut seal, &root, new_passphrase("new")).expect("added");
    let text = std::fs::read_to_string(dir.path().join("seal.json")).expect("readable");
    assert!(text.contains("\"format\": 2"));
    let mut seal = reload(dir.path());
    assert!(same(&root, &seal.unlock(&Openers::default()).expect("the old slot opens as before")));

    // The old slots hold the root key alone: two can be needed once they have been made anew.
    let closed = seal.with_needed(&root, 2, &opened(&seal), &Openers::default()).err().expect("no passphrase given");
    let old_passphrase = seal.status()[1].id;
    assert!(matches!(closed, SealError::HoldsRoot { id, failure: SlotFailure::NoPassphrase } if id == old_passphrase));
    let change = seal.with_needed(&root, 2, &opened(&seal), &with_passphrase("correct horse")).expect("made anew");
    seal.apply(change).expect("changed");
    let seal = reload(dir.path());
    assert!(seal.unlock(&Openers::default()).is_err());
    assert!(same(&root, &seal.unlock(&with_passphrase("correct horse")).expect("both")));
}

#[test]
fn a_record_opens_only_where_it_belongs() {
    let keys = keyring();
    let binding = Binding { kind: RecordKind::Object, id: [1; 16], version: 4, digest: [2; 32] };
    let record = keys.seal(&binding, b"material");
    assert!(keys.open_record(&binding, &record).expect("opens").expose() == b"material");
    let elsewhere = [
        Binding { kind: RecordKind::Entry, ..binding },
        Binding { id: [9; 16], ..binding },
        Binding { version: 5, ..binding },
        Binding { digest: [3; 32], ..binding },
    ];
    for other in &elsewhere {
        assert_eq!(keys.open_record(other, &record).err(), Some(RecordError::NotAuthentic));
    }
    // Another keyring has a term of the same number and another key: the commitment refuses before anything is decrypted.
    assert_eq!(keyring().open_record(&binding, &record).err(), Some(RecordError::NotAuthentic));
    for at in 0..record.as_bytes().len() {
        let mut bytes = record.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert!(keys.open_record(&binding, &SealedRecord::from_stored(bytes)).is_err(), "byte {at}");
    }
    for length in 0..record.as_bytes().len() {
        let cut = SealedRecord::from_stored(record.as_bytes()[..length].to_vec());
        assert!(keys.open_record(&binding, &cut).is_err(), "length {length}");
    }
}

#[test]
fn secret_pages_are_protected() {
    let page = SecretPage::new(|page| page[0] = 7).expect("a page");
    assert_eq!(page.expose()[0], 7);
    assert_ne!(page.protection(), PageProtection::NotLocked, "neither memfd_secret nor mlock works here");
}

proptest::proptest! {
    /// Whatever is sealed opens to the same bytes, and never twice to the same record.
    #[test]
    fn any_plaintext_survives(plaintext in proptest::collection::vec(proptest::num::u8::ANY, 0..2000)) {
        let keys = keyring();
        let binding = Binding { kind: RecordKind::Object, id: [1; 16], version: 1, digest: [0; 32] };
        let record = keys.seal(&binding, &plaintext);
        assert!(keys.open_record(&binding, &record).expect("opens").expose() == plaintext);
        assert_ne!(keys.seal(&binding, &plaintext), record);
    }
}
