//! Goal: whatever order administrators' acts and slow devices come in, keys stay served, refused secrets stay remembered and the
//! record is whole. Method: the service over a store, with keystores that open when the test lets them and are as it says.

use std::collections::VecDeque;

use keygate_backends::local::{KeyMaterial, LocalKeystore};
use keygate_backends::{
    BoxFuture, CryptoOp, CryptoOut, Descriptor, Health, Held, HeldPair, Key, KeyId, KeyInfo, KeyRef, KeySpec, OpCx,
    PairSpec, Result, SecretBytes,
};

use super::*;
use crate::audit::{Actor, Search, search};
use crate::operation::{Keystores, Policy};
use crate::seal::{NewSlot, Seal};
use crate::store::StoreOptions;

/// A keystore in memory that is as well as it is said to be.
struct Stub {
    inner: LocalKeystore,
    health: Health,
    serial: String,
}

impl Keystore for Stub {
    fn descriptor(&self) -> Descriptor {
        self.inner.descriptor()
    }
    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        self.inner.probe(cx)
    }
    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        self.inner.generate(id, spec, cx)
    }
    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        self.inner.generate_pair(id, spec, cx)
    }
    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        self.inner.import(id, material, cx)
    }
    fn export<'a>(&'a self, key: Key<'a>, cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        self.inner.export(key, cx)
    }
    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        self.inner.crypto(key, op, cx)
    }
    fn random(&self, len: usize, cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        self.inner.random(len, cx)
    }
    fn info<'a>(&'a self, key: &'a KeyRef, cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        self.inner.info(key, cx)
    }
    fn destroy<'a>(&'a self, id: KeyId, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        self.inner.destroy(id, cx)
    }
    fn list(&self, cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        self.inner.list(cx)
    }
    fn health(&self) -> Health {
        self.health.clone()
    }
    fn serial(&self) -> Option<String> {
        Some(self.serial.clone())
    }
}

/// One opening: told to the test when it has begun, held until it is let go.
struct Opening {
    begun: tokio::sync::oneshot::Sender<()>,
    go: std::sync::mpsc::Receiver<()>,
}

/// What opening does. The right PIN is 1234.
#[derive(Default)]
struct Device {
    away: bool,
    serial: String,
    held: VecDeque<Opening>,
    /// PINs that were offered, with the serial number that the token had to have.
    offered: Vec<(String, Option<String>)>,
}

struct World {
    dir: tempfile::TempDir,
    service: Arc<KeystoreService>,
    gateway: Arc<Gateway>,
    device: Arc<Mutex<Device>>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("p11.so"), "C_GetFunctionList").expect("a module");
        let data_dir = dir.path().join("data");
        std::fs::create_dir(&data_dir).expect("a directory");
        let (seal, root) = Seal::create(&data_dir, NewSlot::default()).expect("a new seal");
        let options = StoreOptions { reserve_bytes: 64 << 10, ..StoreOptions::default() };
        let store = Store::create(&data_dir, seal.store_id(), Arc::new(root), options).await.expect("a store");
        let local = KeystoreEntry {
            id: KeystoreId::generate(),
            organisation: OrganisationId::DEFAULT,
            name: "local".into(),
            kind: "local".into(),
            managed: None,
        };
        let id = local.id;
        let changes = vec![Change::AddEntry(Entry::Keystore(local))];
        store.commit(Commit { changes, ..Commit::default() }).await.expect("a row");
        let device = Arc::new(Mutex::new(Device { serial: "7".into(), ..Device::default() }));
        let opening = Arc::clone(&device);
        let service = KeystoreService::new(Parts {
            secret: Arc::new(|_| Ok(None)),
            store: store.clone(),
            of_the_file: vec![KeystoreConfig::Local { name: "local".into() }],
            file_default: "local".into(),
            data_dir,
            open: Arc::new(move |config, secret| open(&opening, config, secret)),
            readiness: Arc::default(),
            seal_changes: Arc::default(),
        });
        let set = Keystores::new(id, "local", Arc::new(local_keystore("local")));
        let gateway = Arc::new(Gateway::new(store.clone(), store.keyring().clone(), set, Policy::default()));
        service.attach(&gateway);
        Self { dir, service: Arc::new(service), gateway, device }
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        lock(&self.device)
    }

    /// The next opening stops until it is let go. Gives what tells that it has begun, and what lets it go.
    fn hold_next(&self) -> (tokio::sync::oneshot::Receiver<()>, std::sync::mpsc::Sender<()>) {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, gone) = std::sync::mpsc::channel();
        self.device().held.push_back(Opening { begun, go: gone });
        (has_begun, go)
    }

    async fn add(&self, pin: &str) {
        let settings = format!("module = \"{}\"\ntoken-label = \"t\"\n", self.dir.path().join("p11.so").display());
        let settings = settings.parse().expect("TOML");
        let new = NewKeystore { name: "hsm".into(), kind: "pkcs11".into(), settings, secret: Some(secret(pin)) };
        self.service.add(&by(), new).await.expect("added");
    }

    async fn active() -> Self {
        let world = Self::new().await;
        world.add("1234").await;
        world.service.test(&by(), "hsm", false).await.expect("a result");
        world.service.activate(&by(), "hsm", "hsm", false, None).await.expect("active");
        world
    }

    fn row(&self) -> ManagedKeystore {
        *self.service.find("hsm").expect("there").row.managed.clone().expect("added")
    }

    fn serves(&self) -> Option<Health> {
        let id = self.service.find("hsm").ok()?.row.id;
        self.gateway.keystores.get(id).ok().map(|keystore| keystore.health())
    }

    /// What the record says of this kind, newest first.
    async fn recorded(&self, action: Action) -> Vec<String> {
        let wanted = Search { action: Some(action), ..Search::default() };
        let found = search(&self.service.store, &wanted, None, 100).await.expect("the record");
        let what = |event: &Event| match &event.details {
            Details::Keystore { what, .. } => what.clone(),
            other => format!("{other:?}"),
        };
        found.events.iter().map(|(_, event)| what(event)).collect()
    }
}

fn by() -> Deciding {
    Deciding { actor: Actor::LocalUser(1000), source: None }
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text).expect("a page")
}

fn patch(settings: &[(&str, toml::Value)], pin: Option<&str>) -> KeystorePatch {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), Some(value.clone()))).collect();
    KeystorePatch { settings, secret: pin.map(secret) }
}

fn local_keystore(name: &str) -> LocalKeystore {
    LocalKeystore::new(keygate_backends::KeystoreId::new(name).expect("a legal name"))
}

fn open(
    device: &Mutex<Device>,
    config: &KeystoreConfig,
    secret: Option<&SecretText>,
) -> std::result::Result<Arc<dyn Keystore>, OpenFailure> {
    let held = lock(device).held.pop_front();
    if let Some(Opening { begun, go }) = held {
        begun.send(()).expect("the test waits");
        go.recv().expect("the test lets it go");
    }
    let pin = secret.map(|pin| pin.expose().to_string()).unwrap_or_default();
    let mut device = lock(device);
    if let KeystoreConfig::Pkcs11(config) = config {
        device.offered.push((pin.clone(), config.token.serial.clone()));
    }
    if device.away {
        return Err("the device is away".into());
    }
    let health = if pin == "1234" || secret.is_none() {
        Health::Up
    } else {
        Health::NeedsOperator("the token refused the PIN".into())
    };
    Ok(Arc::new(Stub { inner: local_keystore(config.name()), health, serial: device.serial.clone() }))
}

/// A mistyped PIN for a keystore in use is refused with what failed, and changes nothing: row, service and what is remembered of the
/// PIN that works. The record has it. The right one is taken at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_pin_takes_no_keys_away() {
    let world = World::active().await;
    let before = world.row();
    let refused = world.service.change(&by(), "hsm", patch(&[], Some("9999")), None).await;
    let Err(KeystoreError::NotChanged { step, hint, .. }) = refused else { panic!("it was taken") };
    assert_eq!(step, "log in");
    assert!(hint.contains("`keygate keystore set hsm --secret-file FILE`") && !hint.contains("--again"), "{hint}");
    assert!(world.row() == before, "the row is as it was");
    assert_eq!(world.serves(), Some(Health::Up));
    assert_eq!(world.recorded(Action::KeystoreTested).await[0], "failed: log in; secret not changed");
    assert!(world.recorded(Action::KeystoreChanged).await.is_empty());

    world.service.change(&by(), "hsm", patch(&[("workers", 3.into())], Some("1234")), None).await.expect("changed");
    let row = world.row();
    assert!(row.state.is_in_use() && row.test.is_some_and(|test| test.passed), "tested as it is now");
    assert_eq!(world.recorded(Action::KeystoreChanged).await, ["settings workers; secret"]);
}

/// Settings of a keystore in use that do not work are refused, and it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_work_are_not_taken() {
    let world = World::active().await;
    world.device().away = true;
    let refused = world.service.change(&by(), "hsm", patch(&[("workers", 3.into())], None), None).await;
    assert!(matches!(refused, Err(KeystoreError::NotChanged { .. })));
    assert_eq!(world.serves(), Some(Health::Up));
    assert!(!world.row().settings.contains("workers"));
    world.device().away = false;
    let module = world.dir.path().join("none.so");
    std::fs::write(&module, "nothing of the kind").expect("written");
    let module = toml::Value::String(module.display().to_string());
    let unasked = world.service.change(&by(), "hsm", patch(&[("module", module.clone())], None), None).await;
    assert!(matches!(unasked, Err(KeystoreError::SecretNeeded { .. })));
    let offered = world.device().offered.len();
    let refused = world.service.change(&by(), "hsm", patch(&[("module", module)], Some("1234")), None).await;
    assert!(matches!(refused, Err(KeystoreError::NotChanged { step, .. }) if step == "resolve"));
    assert_eq!(world.device().offered.len(), offered, "nothing was loaded");
}

/// A change that is slow, and meanwhile the keystore is drained and removed: it does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_change_brings_nothing_back() {
    let world = World::active().await;
    let (begun, go) = world.hold_next();
    let service = Arc::clone(&world.service);
    let id = service.find("hsm").expect("there").row.id;
    let changing =
        tokio::spawn(async move { service.change(&by(), "hsm", patch(&[("workers", 3.into())], None), None).await });
    begun.await.expect("it opens");
    world.service.drain(&by(), "hsm", None).await.expect("drained");
    world.service.remove(&by(), "hsm", None).await.expect("removed");
    go.send(()).expect("it waits");
    assert!(changing.await.expect("no panic").is_err(), "it was removed");
    assert!(world.gateway.keystores.get(id).is_err(), "it serves again");
}

/// Of two changes at once the second is told so, and what serves is what the row says.
#[tokio::test(flavor = "multi_thread")]
async fn two_changes_at_once_do_not_mix() {
    let world = World::active().await;
    let (begun, go) = world.hold_next();
    let service = Arc::clone(&world.service);
    let first =
        tokio::spawn(async move { service.change(&by(), "hsm", patch(&[("workers", 3.into())], None), None).await });
    begun.await.expect("it opens");
    let second = world.service.change(&by(), "hsm", patch(&[("workers", 4.into())], None), None).await;
    assert!(matches!(second, Err(KeystoreError::Conflict(text)) if text.contains("being tested")));
    go.send(()).expect("it waits");
    first.await.expect("no panic").expect("changed");
    assert!(world.row().settings.contains("workers = 3"));
}

/// A keystore that could not be opened is tried again; drained while it opens, it does not take new keys.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_again_is_as_its_row_is_now() {
    let world = World::active().await;
    let id = world.service.find("hsm").expect("there").row.id;
    world.gateway.keystores.remove(id);
    let (begun, go) = world.hold_next();
    let service = Arc::clone(&world.service);
    let opening = tokio::spawn(async move { service.open_missing().await });
    begun.await.expect("it opens");
    world.service.drain(&by(), "hsm", None).await.expect("drained");
    go.send(()).expect("it waits");
    opening.await.expect("no panic");
    assert!(world.gateway.keystores.get(id).is_err(), "it was opened by another row");
    world.service.open_missing().await;
    let now =
        world.gateway.keystores.all().into_iter().find(|keystore| keystore.id == id).expect("the next round opens it");
    assert!(!now.takes_new);
}

/// That a PIN was refused is remembered with the PIN, whatever else changes, and whatever becomes of the row during the test. Each
/// test is on record, and so is `--again`.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_pin_is_remembered() {
    let world = World::new().await;
    world.add("9999").await;
    let (_, test) = world.service.test(&by(), "hsm", false).await.expect("a result");
    assert!(!test.passed && test.secret_refused);
    world.service.change(&by(), "hsm", patch(&[("workers", 3.into())], None), None).await.expect("changed");
    let offered = world.device().offered.len();
    assert!(matches!(world.service.test(&by(), "hsm", false).await, Err(KeystoreError::RefusedBefore(_))));
    assert_eq!(world.device().offered.len(), offered, "it is not offered again");
    world.service.test(&by(), "hsm", true).await.expect("a result");
    assert_eq!(world.recorded(Action::KeystoreTested).await, ["failed: log in, said with --again", "failed: log in"]);

    world.service.change(&by(), "hsm", patch(&[], Some("8888")), None).await.expect("another PIN");
    let (begun, go) = world.hold_next();
    let service = Arc::clone(&world.service);
    let testing = tokio::spawn(async move { service.test(&by(), "hsm", false).await.map(drop) });
    begun.await.expect("it opens");
    world.service.change(&by(), "hsm", patch(&[("workers", 4.into())], None), None).await.expect("changed meanwhile");
    go.send(()).expect("it waits");
    assert!(matches!(testing.await.expect("no panic"), Err(KeystoreError::Changed)));
    assert_eq!(world.recorded(Action::KeystoreTested).await.len(), 3, "it is on record all the same");
    assert!(world.row().secret_refused && world.row().test.is_none());
    assert!(matches!(world.service.test(&by(), "hsm", false).await, Err(KeystoreError::RefusedBefore(_))));
    world.service.change(&by(), "hsm", patch(&[], Some("1234")), None).await.expect("the right one");
    assert!(world.service.test(&by(), "hsm", false).await.expect("a result").1.passed);
}

/// A token that its place alone names is kept to its serial number from the first green test on; giving the PIN again lets another in.
#[tokio::test(flavor = "multi_thread")]
async fn the_pin_is_for_the_token_that_was_tested() {
    let world = World::new().await;
    let library = format!("library = {}", world.dir.path().join("p11.so").display());
    let settings: toml::Table = [("sunpkcs11".to_owned(), toml::Value::String(library))].into_iter().collect();
    let new = NewKeystore { name: "hsm".into(), kind: "pkcs11".into(), settings, secret: Some(secret("1234")) };
    let added = world.service.add(&by(), new).await.expect("added");
    assert!(warnings(&added.row)[0].contains("token-label"));
    world.service.test(&by(), "hsm", false).await.expect("a result");
    world.service.test(&by(), "hsm", false).await.expect("a result");
    let offered = world.device().offered.clone();
    assert_eq!(offered, [("1234".to_owned(), None), ("1234".to_owned(), Some("7".to_owned()))]);
    world.service.change(&by(), "hsm", patch(&[], Some("1234")), None).await.expect("given again");
    assert_eq!(world.row().token_serial, None);
}

/// Keystores of the settings file are tested, and stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn those_of_the_settings_file_are_tested_too() {
    let world = World::new().await;
    let before = world.service.find("local").expect("there").row.version;
    let (found, test) = world.service.test(&by(), "local", false).await.expect("a result");
    assert!(test.passed, "{:?}", test.steps);
    assert_eq!(found.row.version, before);
    assert_eq!(world.recorded(Action::KeystoreTested).await, ["success"]);
}
