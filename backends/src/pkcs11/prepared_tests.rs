//! On a kryoptic token in this process: what a worker does with it, without the worker.

use super::super::message::{SecretKind, SignMechanism};
use super::super::object;
use super::*;
use crate::key::{KeyClass, KeyId};
use crate::secret::SecretBytes;
use std::process::Command;
use std::time::Instant;

/// A session that is logged in, and what belongs to it.
struct World {
    functions: Functions,
    slot: ck::CK_SLOT_ID,
    session: Session,
    handles: Handles,
    prepared: Prepared,
    folder: std::path::PathBuf,
}

impl World {
    fn new() -> Option<Self> {
        if std::env::var("KEYGATE_TEST_SKIP").is_ok_and(|skip| skip.split(',').any(|name| name.trim() == "kryoptic")) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder").keep();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kryoptic/make-token.sh");
        let output = Command::new("sh").arg(script).arg(&folder).arg("unit").output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).expect("text");
        let value = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).expect("printed").to_owned();
        // SAFETY: the one test of this program that uses this variable.
        unsafe { std::env::set_var("KRYOPTIC_CONF", value("KRYOPTIC_CONF=")) };
        let functions = Functions::load(value("MODULE=").as_ref()).expect("loads");
        functions.initialize().expect("initialises");
        let slot = functions.slots(true).expect("slots")[0];
        let session = Session::open(functions, slot).expect("opens");
        let pin = SecretBytes::new(std::fs::read(value("PIN_FILE=")).expect("a PIN"));
        session.login(Some(&pin)).expect("logs in");
        let (handles, prepared) = (Handles::default(), Prepared::new(functions, slot));
        Some(Self { functions, slot, session, handles, prepared, folder })
    }

    fn one_shot(&mut self, request: &Request) -> Result<Response> {
        object::run(&self.session, &mut self.handles, &self.functions, self.slot, request)
    }

    fn key(&mut self, number: u8) -> KeyName {
        let id = KeyId([number; 16]);
        let request = Request::GenerateSecret { id, label: "test".to_owned(), kind: SecretKind::Aes, octets: 32 };
        assert!(self.one_shot(&request).is_ok());
        KeyName { id, class: KeyClass::Secret }
    }

    fn prepared(&mut self, request: &Request) -> Option<Result<Response>> {
        self.prepared.run(&mut self.handles, request)
    }
}

fn gcm(number: u8) -> CipherMechanism {
    CipherMechanism::AesGcm { iv: vec![number; 12], aad: vec![number; 5], tag_len: 16 }
}

fn encrypt(key: KeyName, number: u8) -> Request {
    Request::Encrypt { key, mechanism: gcm(number), data: SecretBytes::new(vec![number; 1024]) }
}

fn octets(response: Result<Response>) -> Vec<u8> {
    match response {
        Ok(Response::Bytes(bytes)) => bytes,
        Ok(Response::Secret(bytes)) => bytes.expose().to_vec(),
        Ok(_) => panic!("octets"),
        Err(error) => panic!("{error}"),
    }
}

/// The first use is one-shot, the second prepares, the results are the same; wrong tags are told as such; destroyed keys, age and
/// number drop operations; other mechanisms are left alone.
#[test]
fn operations_are_kept_and_dropped() {
    let Some(mut world) = World::new() else { return };
    let key = world.key(1);
    assert!(world.prepared(&encrypt(key, 1)).is_none(), "the first use is one-shot");
    let decrypt = |sealed: Vec<u8>, number| Request::Decrypt { key, mechanism: gcm(number), data: sealed };
    for number in 2..10 {
        let sealed = octets(world.prepared(&encrypt(key, number)).expect("prepared"));
        assert_eq!(sealed, octets(world.one_shot(&encrypt(key, number))), "message {number}");
        let plain = world.prepared(&decrypt(sealed.clone(), number));
        assert_eq!(plain.is_none(), number == 2, "the second decryption is prepared");
        assert!(plain.is_none_or(|plain| octets(plain) == [number; 1024]));
        if number == 6 {
            let mut altered = sealed;
            altered[3] ^= 1;
            let error = world.prepared(&decrypt(altered, number)).map(|done| done.err().expect("refused").class());
            assert!(error.is_none_or(|class| class == Class::BadInput(Fault::Integrity)));
            // The next uses begin anew.
            assert!(world.prepared(&decrypt(vec![0; 20], number)).is_none());
        }
        if number == 6 {
            let sealed = octets(world.one_shot(&encrypt(key, number)));
            assert_eq!(octets(world.prepared(&decrypt(sealed, number)).expect("prepared")), [number; 1024]);
        }
    }
    let signature = Request::Sign { key, mechanism: SignMechanism::Mac(ck::CKM_AES_CMAC), data: vec![1] };
    assert!(world.prepared(&signature).is_none());

    world.prepared.expire(0);
    assert!(!world.prepared.is_empty());
    world.prepared.expire(1);
    assert!(world.prepared.is_empty(), "a key was destroyed");
    let keys: Vec<KeyName> = (10..22).map(|number| world.key(number)).collect();
    for key in &keys {
        assert!(world.prepared(&encrypt(*key, 1)).is_none() && world.prepared(&encrypt(*key, 2)).is_some_and(|done| done.is_ok()));
    }
    assert_eq!(world.prepared.operations.len(), OPERATIONS_MAX);
    for operation in &mut world.prepared.operations {
        operation.since -= AGE_MAX;
    }
    world.prepared.expire(1);
    assert!(world.prepared.is_empty(), "too old");

    // A key that is gone: whoever asks for it gets the one-shot answer.
    assert!(world.one_shot(&Request::Destroy { id: key.id }).is_ok());
    assert!(world.prepared(&encrypt(key, 1)).is_none() && world.prepared(&encrypt(key, 1)).is_none());
    assert_eq!(world.one_shot(&encrypt(key, 1)).err().expect("gone").class(), Class::NotFound);
    assert_eq!(world.prepared.failures, 0);

    ratio(&mut world, keys[0]);
    let _ = std::fs::remove_dir_all(&world.folder);
}

/// Not a measurement, but what is printed tells whether the way is worth having.
fn ratio(world: &mut World, key: KeyName) {
    let request = encrypt(key, 1);
    let time = |world: &mut World, prepared: bool| {
        let begun = Instant::now();
        for _ in 0..500 {
            let done = if prepared { world.prepared(&request) } else { Some(world.one_shot(&request)) };
            assert!(done.is_none_or(|done| done.is_ok()));
        }
        begun.elapsed()
    };
    let (one_shot, message) = (time(world, false), time(world, true));
    println!("500 encryptions of 1 KiB: one-shot {one_shot:?}, as messages {message:?}");
}
