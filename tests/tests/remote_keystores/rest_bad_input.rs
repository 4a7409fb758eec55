//! Servers that are not who they should be, or do not answer as they should.

use std::time::{Duration, Instant};

use keygate_backends::{
    BlockPadding, Class, CryptoOp, EncryptOp, EncryptionScheme, Health, Held, Iv, Key, KeyId, KeyRef, Keystore,
    KsError, OpCx,
};
use keygate_tests::rest_mock::{Misbehaviour, PASSWORD, RestMock, Shown, Style};

use super::rest::{AES, cx, keystore, keystore_of, remote};

async fn encrypt(keystore: &dyn Keystore, key: &KeyRef, cx: OpCx) -> Result<(), KsError> {
    let scheme = EncryptionScheme::Cbc(BlockPadding::Pkcs5);
    let op = EncryptOp { scheme: &scheme, iv: Iv::Random { len: None }, aad: b"", data: b"data", legacy: false };
    keystore.crypto(Key::Reference(key), CryptoOp::Encrypt(op), cx).await.map(drop)
}

async fn made(keystore: &dyn Keystore) -> (KeyId, KeyRef) {
    let id = KeyId::random().unwrap();
    match keystore.generate(id, &AES, cx()).await.expect("made") {
        Held::Reference(key) => (id, key),
        Held::Material(_) => panic!("it stays there"),
    }
}

/// The certificate does not have the host's name, or has expired: refused before anything is sent, with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_right_is_refused_with_the_reason() {
    let expired = Shown { is_expired: true, ..Shown::default() };
    let named = |name: &str| Shown { names: vec![name.to_owned()], is_expired: false };
    for (shown, host, why) in [
        (expired, "localhost", "expired"),
        (named("other.example"), "localhost", "not valid for"),
        (named("localhost"), "127.0.0.1", "not valid for"),
        (named("127.0.0.1"), "localhost", "not valid for"),
    ] {
        let mock = RestMock::showing(Style::Eskm, &shown).expect("a server");
        let keystore = keystore_of(remote(&[&mock], host), "eskm-style", PASSWORD, false);
        let error = keystore.probe(cx()).await.expect_err(why);
        assert_eq!(error.class(), Class::TokenLost, "{error}");
        assert!(error.to_string().to_lowercase().contains(why), "{why}: {error}");
        assert!(mock.requests().is_empty());
    }
    let names = Shown { names: vec!["127.0.0.1".to_owned()], is_expired: false };
    let mock = RestMock::showing(Style::Eskm, &names).expect("a server");
    keystore(&mock, "eskm-style", false).probe(cx()).await.expect("an IP address in the certificate is a name");
}

/// A server that shows another certificate than the pinned one.
#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_than_the_pinned_one_is_refused() {
    let (mock, other) =
        (RestMock::start(Style::Eskm).expect("a server"), RestMock::start(Style::Eskm).expect("another"));
    let mut remote_config = remote(&[&other], "localhost");
    remote_config.addresses = remote(&[&mock], "localhost").addresses;
    let error = keystore_of(remote_config, "eskm-style", PASSWORD, false).probe(cx()).await.expect_err("not pinned");
    assert!(error.to_string().contains("not the pinned one"), "{error}");
    assert!(mock.requests().is_empty());
}

/// A wrong password is offered once, whatever is asked afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_offered_once() {
    for (style, profile) in
        [(Style::Eskm, "eskm-style"), (Style::CipherTrust, "ciphertrust"), (Style::Securosys, "securosys")]
    {
        let mock = RestMock::start(style).expect("a server");
        let keystore = keystore_of(remote(&[&mock], "localhost"), profile, "wrong horse", false);
        for _ in 0..5 {
            let error = keystore.generate(KeyId::random().unwrap(), &AES, cx()).await.err().expect("refused");
            assert_eq!(error.class(), Class::AuthStop, "{error}");
            assert!(!error.to_string().contains("wrong horse"), "{error}");
        }
        assert!(matches!(keystore.health(), Health::NeedsOperator(_)));
        assert_eq!(mock.requests().len(), 1, "{:?}", mock.requests());
        // An operator who tests the keystore lets it try again.
        keystore.probe(cx()).await.expect_err("still wrong");
        assert_eq!(mock.requests().len(), 2);
    }
}

/// HTML, no end, another key: an error for the one call, and service when the server is right again.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_errors() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let keystore = keystore(&mock, "eskm-style", false);
    let (_, key) = made(&keystore).await;
    for (how, class, why) in [
        (Misbehaviour::Html, Class::TokenLost, "not JSON"),
        (Misbehaviour::Endless, Class::TokenLost, "limit"),
        (Misbehaviour::AnotherKey, Class::Corrupt, "another key"),
    ] {
        mock.misbehave(Some(how));
        let error = encrypt(&keystore, &key, cx()).await.expect_err(why);
        assert_eq!(error.class(), class, "{how:?}: {error}");
        assert!(error.to_string().contains(why), "{how:?}: {error}");
        mock.misbehave(None);
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = encrypt(&keystore, &key, cx()).await {
            assert!(Instant::now() < deadline, "{how:?}: does not serve again: {error}");
            tokio::task::yield_now().await;
        }
    }
}

/// A server that never answers costs the caller's deadline and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_costs_the_deadline() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let keystore = keystore(&mock, "eskm-style", false);
    let (_, key) = made(&keystore).await;
    mock.misbehave(Some(Misbehaviour::Silence));
    let (patience, begun) = (Duration::from_millis(300), Instant::now());
    let error = encrypt(&keystore, &key, OpCx::within(patience)).await.expect_err("no answer");
    assert_eq!(error.class(), Class::RetryOther, "{error}");
    let error =
        keystore.generate(KeyId::random().unwrap(), &AES, OpCx::within(patience)).await.err().expect("no answer");
    assert_eq!(error.class(), Class::OutcomeUnknown, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// A creation whose answer is lost is found by its name, and sent once.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_answer_is_lost_is_not_repeated() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let keystore = keystore(&mock, "eskm-style", false);
    keystore.probe(cx()).await.expect("it is there");
    mock.misbehave(Some(Misbehaviour::CloseAfter));
    let id = KeyId::random().unwrap();
    let error = keystore.generate(id, &AES, cx()).await.err().expect("the answer is lost");
    assert_eq!(error.class(), Class::OutcomeUnknown, "{error}");
    let creations = mock.requests().iter().filter(|request| request.starts_with("POST /api/key/v1/keys")).count();
    assert_eq!((creations, mock.key_count()), (1, 1));
    mock.misbehave(None);
    let deadline = Instant::now() + Duration::from_secs(20);
    // As the gateway reconciles: by id, until the server is found again.
    while let Err(error) = keystore.destroy(id, cx()).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
    assert_eq!(mock.key_count(), 0);
}

/// When the server is there again at once, the key is found by its name and the call succeeds after all.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_for() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let keystore = keystore(&mock, "eskm-style", false);
    keystore.probe(cx()).await.expect("it is there");
    mock.misbehave(Some(Misbehaviour::LoseOneAnswer));
    let (_, key) = made(&keystore).await;
    let creations = mock.requests().iter().filter(|request| request.starts_with("POST /api/key/v1/keys")).count();
    assert_eq!((creations, mock.key_count()), (1, 1));
    encrypt(&keystore, &key, cx()).await.expect("it is the key");
}

/// Two servers: a read goes to the second when the first does not answer as it should.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_to_the_second_server() {
    let (first, second) =
        (RestMock::start(Style::Eskm).expect("a server"), RestMock::start(Style::Eskm).expect("another"));
    let mut config = remote(&[&first, &second], "localhost");
    config.call_timeout = Duration::from_millis(300);
    let keystore = keystore_of(config, "eskm-style", PASSWORD, false);
    first.misbehave(Some(Misbehaviour::Silence));
    let begun = Instant::now();
    keystore.probe(cx()).await.expect("the second answers");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(second.requests().len(), 1);
}
