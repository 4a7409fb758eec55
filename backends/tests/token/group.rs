//! A group of tokens: the suite, reads that go on when a token dies, members that return, members that lie.

use crate::soft::{Soft, cx, settle, soft};
use keygate_backends::faulty::Faulty;
use keygate_backends::group::{
    Carried, Group, GroupSettings, MemberState, Replica, TransportKey, Under, WrappedKey, Wrapping,
};
use keygate_backends::local::{self, KeyMaterial, PreparedKey};
use keygate_backends::pkcs11::{Pkcs11Keystore, Token};
use keygate_backends::{
    BoxFuture, Class, CryptoOp, CryptoOut, Descriptor, Health, Held, HeldPair, Key, KeyClass, KeyId, KeyInfo, KeyRef,
    KeySpec, Keystore, KeystoreId, OpCx, PairSpec, Result, SecretBytes, SignInput, SignatureScheme, conformance,
};
use keygate_kmip::{CryptographicAlgorithm as A, HashingAlgorithm as H, RecommendedCurve};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ECDSA: SignatureScheme = SignatureScheme::Ecdsa(H::Sha256);

fn id() -> KeystoreId {
    KeystoreId::new("pair").unwrap()
}

/// Two tokens of their own and a group over them.
struct Two {
    soft: &'static Soft,
    labels: [String; 2],
    tokens: [Arc<Token>; 2],
}

impl Two {
    fn new(soft: &'static Soft, name: &str) -> Self {
        let labels = [format!("{name}-a"), format!("{name}-b")];
        let tokens = [soft.token(&labels[0]), soft.token(&labels[1])];
        Self { soft, labels, tokens }
    }

    fn keystore(&self, member: usize) -> Arc<Pkcs11Keystore> {
        Arc::new(Pkcs11Keystore::new(id(), Arc::clone(&self.tokens[member])))
    }

    fn group(&self, settings: GroupSettings) -> Group {
        self.group_of([self.keystore(0), self.keystore(1)], settings)
    }

    fn group_of(&self, members: [Arc<dyn Replica>; 2], settings: GroupSettings) -> Group {
        let [a, b] = members;
        let group = Group::new(id(), vec![("a".into(), a), ("b".into(), b)], settings).unwrap();
        group.wait_until_settled(Duration::from_secs(60));
        group
    }

    /// Takes a token away; dropping what comes back does not bring it back.
    fn take_away(&self, member: usize) -> Away {
        let dir = self.soft.token_dir(&self.labels[member]);
        let elsewhere = self.soft.dir.join(format!("{}.away", self.labels[member]));
        std::fs::rename(&dir, &elsewhere).unwrap();
        Away { dir, elsewhere }
    }
}

struct Away {
    dir: PathBuf,
    elsewhere: PathBuf,
}

impl Away {
    fn bring_back(self) {
        std::fs::rename(self.elsewhere, self.dir).unwrap();
    }
}

fn quick() -> GroupSettings {
    GroupSettings { test_every: Duration::from_millis(200), ..GroupSettings::default() }
}

/// Waits until the group's members are as wanted.
fn until(group: &Group, what: &str, wanted: impl Fn(&[keygate_backends::group::MemberStatus]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(&group.members()) {
        assert!(Instant::now() < deadline, "{what}: {:?}", group.members());
        std::thread::yield_now();
    }
}

fn both_serve(group: &Group) {
    until(group, "both serve", |all| all.iter().all(|member| member.state == MemberState::Serving && member.lacking == 0));
}

async fn pair_in(keystore: &dyn Keystore) -> (KeyRef, Arc<PreparedKey>) {
    let spec = PairSpec::Ec { curve: RecommendedCurve::P256 };
    let pair = keystore.generate_pair(KeyId::random().unwrap(), &spec, cx()).await.unwrap();
    let Held::Reference(key) = pair.private else { panic!("the key stays in the tokens") };
    (key, Arc::new(PreparedKey::new(&pair.public).unwrap()))
}

async fn sign(keystore: &dyn Keystore, key: &KeyRef) -> Result<Vec<u8>> {
    match keystore.crypto(Key::Reference(key), CryptoOp::Sign(ECDSA, SignInput::Message(b"message")), cx()).await? {
        CryptoOut::Signature(signature) => Ok(signature),
        _ => panic!("a signature"),
    }
}

fn is_right(public: &PreparedKey, signature: &[u8]) -> bool {
    local::verify(public, ECDSA, SignInput::Message(b"message"), signature).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_of_a_group() {
    let Some((soft, _turn)) = soft() else { return };
    let two = Two::new(soft, "suite");
    // SoftHSM 2.6 cannot take every key in as it is: what it would alter stays on the token that made it.
    let group = two.group(quick());
    both_serve(&group);
    conformance::check(&group).await;
    let group: Arc<dyn Keystore> = Arc::new(group);
    conformance::check(&Faulty::new(group)).await;
}

/// Every kind of key that is made is on both tokens, and each token alone uses it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_on_every_member() {
    let Some((soft, _turn)) = soft() else { return };
    let two = Two::new(soft, "every");
    let group = two.group(GroupSettings { copies_min: 2, ..quick() });
    both_serve(&group);
    let mut made = Vec::new();
    for spec in [PairSpec::Rsa { bits: 2048 }, PairSpec::Ec { curve: RecommendedCurve::P384 }] {
        let pair = group.generate_pair(KeyId::random().unwrap(), &spec, cx()).await.unwrap();
        let scheme = match spec {
            PairSpec::Rsa { .. } => SignatureScheme::RsaPkcs1(H::Sha256),
            _ => ECDSA,
        };
        let Held::Reference(key) = pair.private else { panic!("a reference") };
        let public = PreparedKey::new(&pair.public).unwrap();
        for member in 0..2 {
            let op = CryptoOp::Sign(scheme, SignInput::Message(b"message"));
            let out = two.keystore(member).crypto(Key::Reference(&key), op, cx()).await.unwrap();
            let CryptoOut::Signature(signature) = out else { panic!("a signature") };
            assert!(local::verify(&public, scheme, SignInput::Message(b"message"), &signature).unwrap(), "{spec:?}");
        }
        made.push(key);
    }
    for spec in [KeySpec { algorithm: A::Aes, bits: 256 }, KeySpec { algorithm: A::HmacSha1, bits: 160 }] {
        let Held::Reference(key) = group.generate(KeyId::random().unwrap(), &spec, cx()).await.unwrap() else {
            panic!("a reference")
        };
        let scheme = if spec.algorithm == A::Aes {
            keygate_backends::MacScheme::Cmac
        } else {
            keygate_backends::MacScheme::Hmac(H::Sha1)
        };
        let mut macs = Vec::new();
        for member in 0..2 {
            let op = CryptoOp::Mac { scheme, iv: b"", data: b"message" };
            let CryptoOut::Mac(mac) = two.keystore(member).crypto(Key::Reference(&key), op, cx()).await.unwrap() else {
                panic!("a MAC")
            };
            macs.push(mac);
        }
        assert_eq!(macs[0], macs[1], "{spec:?}");
        made.push(key);
    }
    // SoftHSM 2.6 does not wrap Edwards keys: where two copies are wanted, it has none.
    let error = group.generate_pair(KeyId::random().unwrap(), &PairSpec::Ed25519, cx()).await.err().expect("stays alone");
    assert_eq!(error.class(), Class::Unsupported, "{error}");
    assert_eq!(group.list(cx()).await.unwrap().len(), made.len(), "nothing half-made");
    for key in made {
        group.destroy(key.id, cx()).await.unwrap();
        for member in 0..2 {
            let error = two.keystore(member).info(&key, cx()).await.expect_err("destroyed on both");
            assert_eq!(error.class(), Class::NotFound);
        }
    }
}

/// A token dies under sixteen callers: nobody waits a second, every signature is right; keys made meanwhile are on it
/// when it is back, those destroyed meanwhile are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_dies_and_returns() {
    let Some((soft, _turn)) = soft() else { return };
    let two = Two::new(soft, "dies");
    let group = Arc::new(two.group(quick()));
    both_serve(&group);
    let (key, public) = pair_in(&*group).await;
    let (doomed, _) = pair_in(&*group).await;
    both_serve(&group);
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (group, key, public, stop) = (Arc::clone(&group), key.clone(), Arc::clone(&public), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut longest, mut count) = (Duration::ZERO, 0u32);
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let signature = sign(&*group, &key).await.unwrap();
                    longest = longest.max(begun.elapsed());
                    assert!(is_right(&public, &signature));
                    count += 1;
                }
                (longest, count)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The primary.
    let away = two.take_away(0);
    tokio::task::block_in_place(|| until(&group, "a is away", |all| matches!(all[0].state, MemberState::Away(_))));
    let (meanwhile, its_public) = pair_in(&*group).await;
    let error = group.destroy(doomed.id, cx()).await.expect_err("a still has it");
    assert_eq!(error.class(), Class::OutcomeUnknown, "{error}");
    assert_eq!(sign(&*group, &doomed).await.expect_err("nobody uses it any more").class(), Class::NotFound);
    away.bring_back();
    tokio::task::block_in_place(|| both_serve(&group));
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for caller in callers {
        let (longest, count) = caller.await.unwrap();
        assert!(longest < Duration::from_secs(1), "a caller waited {longest:?}");
        total += count;
    }
    assert!(total > 100, "{total} signatures");
    let member = two.keystore(0);
    assert!(is_right(&its_public, &sign(&*member, &meanwhile).await.unwrap()), "a has caught up");
    group.destroy(doomed.id, cx()).await.expect("now it is gone everywhere");
    assert_eq!(member.info(&doomed, cx()).await.expect_err("gone").class(), Class::NotFound);
    assert_eq!(group.destroy(doomed.id, cx()).await.expect_err("twice").class(), Class::NotFound);
}

/// With two copies wanted, no key is made while one member is away; with one, it is, and reads go on.
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_wanted() {
    let Some((soft, _turn)) = soft() else { return };
    let two = Two::new(soft, "copies");
    let group = two.group(GroupSettings { copies_min: 2, ..quick() });
    both_serve(&group);
    let (key, public) = pair_in(&group).await;
    let away = two.take_away(1);
    until(&group, "b is away", |all| matches!(all[1].state, MemberState::Away(_)));
    let spec = KeySpec { algorithm: A::Aes, bits: 128 };
    let error = group.generate(KeyId::random().unwrap(), &spec, cx()).await.err().expect("one member is too few");
    assert_eq!(error.class(), Class::RetryOther, "{error}");
    assert_eq!(error.text(), "1 of the group's 2 members serve, and a new key must be on 2");
    assert!(is_right(&public, &sign(&group, &key).await.unwrap()));
    assert_eq!(group.list(cx()).await.unwrap().len(), 1, "nothing half-made");
    away.bring_back();
    both_serve(&group);
    group.generate(KeyId::random().unwrap(), &spec, cx()).await.unwrap();
}

/// A member whose token has a replication key of its own, which does not fit, is kept out, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn another_replication_key_is_refused() {
    let Some((soft, _turn)) = soft() else { return };
    let (one, other) = (Two::new(soft, "fits"), Two::new(soft, "fits-not"));
    drop(one.group(quick()));
    drop(other.group(quick()));
    let group = one.group_of([one.keystore(0), other.keystore(0)], quick());
    // Whichever comes first is the group.
    until(&group, "one is refused", |all| all.iter().any(|member| matches!(member.state, MemberState::Refused(_))));
    let members = group.members();
    let (refused, serving): (Vec<_>, Vec<_>) = members.iter().partition(|member| matches!(member.state, MemberState::Refused(_)));
    assert_eq!((refused.len(), &serving[0].state), (1, &MemberState::Serving));
    let reason = refused[0].state.reason().unwrap();
    assert!(reason.contains(&format!("another than that of {}", serving[0].name)), "{reason}");
    let (key, public) = pair_in(&group).await;
    assert!(is_right(&public, &sign(&group, &key).await.unwrap()));
}

/// A member that comes back with another key under an id of the group's never signs with it.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_the_same_id_is_not_used() {
    let Some((soft, _turn)) = soft() else { return };
    let two = Two::new(soft, "differs");
    let group = two.group(quick());
    both_serve(&group);
    let (key, public) = pair_in(&group).await;
    let (good, good_public) = pair_in(&group).await;
    // While b is out of the group, its copy is replaced.
    let away = two.take_away(1);
    until(&group, "b is away", |all| matches!(all[1].state, MemberState::Away(_)));
    assert!(is_right(&public, &sign(&group, &key).await.unwrap()));
    away.bring_back();
    settle(&two.tokens[1], |health| *health == Health::Up);
    drop(group);
    let b = two.keystore(1);
    b.let_keys_leave(false);
    b.destroy(key.id, cx()).await.unwrap();
    b.generate_pair(key.id, &PairSpec::Ec { curve: RecommendedCurve::P256 }, cx()).await.unwrap();
    // A group that starts anew has nobody who vouches: the members disagree, and the key is used nowhere.
    let group = two.group(quick());
    until(&group, "b differs", |all| all.iter().all(|member| member.differing == 1 && member.keys == 1));
    assert_eq!(sign(&group, &key).await.expect_err("who is right?").class(), Class::Corrupt);
    for _ in 0..4 {
        assert!(is_right(&good_public, &sign(&group, &good).await.unwrap()), "other keys are not concerned");
    }
}

/// A replica that signs wrongly, when told to.
struct Liar {
    inner: Arc<Pkcs11Keystore>,
    lies: AtomicBool,
}

/// A member that signs wrongly in its self-test is taken out at once and stays out.
#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_taken_out() {
    let Some((soft, _turn)) = soft() else { return };
    let two = Two::new(soft, "liar");
    let liar = Arc::new(Liar { inner: two.keystore(1), lies: AtomicBool::new(false) });
    let group = two.group_of([two.keystore(0), Arc::clone(&liar) as _], quick());
    both_serve(&group);
    let (key, public) = pair_in(&group).await;
    liar.lies.store(true, Ordering::Relaxed);
    until(&group, "b is refused", |all| matches!(all[1].state, MemberState::Refused(_)));
    assert_eq!(group.members()[1].state.reason(), Some("it gave a wrong signature in the self-test"));
    for _ in 0..8 {
        assert!(is_right(&public, &sign(&group, &key).await.unwrap()));
    }
    assert_eq!(group.health(), Health::Up);
}

impl Keystore for Liar {
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
        Box::pin(async move {
            let mut out = self.inner.crypto(key, op, cx).await?;
            if let (CryptoOut::Signature(signature), true) = (&mut out, self.lies.load(Ordering::Relaxed)) {
                let last = signature.len() - 1;
                signature[last] ^= 1;
            }
            Ok(out)
        })
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
        self.inner.health()
    }
}

impl Replica for Liar {
    fn wrap_mechanisms(&self) -> Vec<u64> {
        self.inner.wrap_mechanisms()
    }
    fn let_keys_leave(&self, trusted: bool) {
        self.inner.let_keys_leave(trusted);
    }
    fn wrapping<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<Option<Wrapping>>> {
        self.inner.wrapping(label, cx)
    }
    fn make_wrapping<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<Wrapping>> {
        self.inner.make_wrapping(label, cx)
    }
    fn offer_transport<'a>(&'a self, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<TransportKey>> {
        self.inner.offer_transport(label, cx)
    }
    fn carry_out<'a>(
        &'a self,
        label: &'a str,
        to: &'a TransportKey,
        sha256: bool,
        cx: OpCx,
    ) -> BoxFuture<'a, Result<Carried>> {
        self.inner.carry_out(label, to, sha256, cx)
    }
    fn carry_in<'a>(&'a self, label: &'a str, carried: &'a Carried, cx: OpCx) -> BoxFuture<'a, Result<Wrapping>> {
        self.inner.carry_in(label, carried, cx)
    }
    fn wrap_out<'a>(&'a self, key: (KeyId, KeyClass), by: &'a Under, cx: OpCx) -> BoxFuture<'a, Result<WrappedKey>> {
        self.inner.wrap_out(key, by, cx)
    }
    fn unwrap_in<'a>(&'a self, id: KeyId, by: &'a Under, wrapped: &'a WrappedKey, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        self.inner.unwrap_in(id, by, wrapped, cx)
    }
    fn is_same<'a>(
        &'a self,
        key: (KeyId, KeyClass),
        by: &'a Under,
        wrapped: &'a WrappedKey,
        cx: OpCx,
    ) -> BoxFuture<'a, Result<bool>> {
        self.inner.is_same(key, by, wrapped, cx)
    }
    fn make_test_key<'a>(&'a self, id: KeyId, label: &'a str, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        self.inner.make_test_key(id, label, cx)
    }
    fn test_key(&self, id: KeyId, cx: OpCx) -> BoxFuture<'_, Result<KeyMaterial>> {
        self.inner.test_key(id, cx)
    }
}
