//! Credentials that are wrong, or no longer right, with many calls at once: a server that locks accounts sees one try.

use std::sync::Arc;

use keygate_backends::kmip::{KmipConfig, KmipKeystore};
use keygate_backends::remote::{Address, RemoteConfig, TlsClient, Trust, UserPassword, certificates_from_pem};
use keygate_backends::{Class, Health, KeyId, Keystore, KeystoreId, KsError, SecretBytes};
use keygate_tests::kmip_refuser::KmipRefuser;
use keygate_tests::rest_mock::{PASSWORD, RestMock, Style};

use super::rest::{AES, cx, keystore, keystore_of, remote};

/// More than connections to an endpoint: most of them wait for one.
const AT_ONCE: usize = 60;

/// Makes so many keys at once.
async fn make_many(keystore: &Arc<dyn Keystore>) -> Vec<Result<(), KsError>> {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let keystore = Arc::clone(keystore);
        calls.spawn(async move { keystore.generate(KeyId::random().expect("an id"), &AES, cx()).await.map(drop) });
    }
    calls.join_all().await
}

async fn are_all_stopped(keystore: Arc<dyn Keystore>) {
    for made in make_many(&keystore).await {
        let error = made.expect_err("refused");
        assert_eq!(error.class(), Class::AuthStop, "{error}");
    }
    assert!(matches!(keystore.health(), Health::NeedsOperator(_)));
}

/// One try in all, over connections and addresses; and one more when an operator has asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_offered_once_by_many_calls() {
    for (style, profile) in
        [(Style::Eskm, "eskm-style"), (Style::CipherTrust, "ciphertrust"), (Style::Securosys, "securosys")]
    {
        let mock = RestMock::start(style).expect("a server");
        let keystore = Arc::new(keystore_of(remote(&[&mock, &mock], "localhost"), profile, "wrong horse", false));
        are_all_stopped(keystore.clone()).await;
        assert_eq!(mock.requests().len(), 1, "{profile}: {:?}", mock.requests());
        let (_, _) = tokio::join!(keystore.probe(cx()), are_all_stopped(keystore.clone()));
        assert_eq!(mock.requests().len(), 2, "{profile}: {:?}", mock.requests());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_holds_nobody_up() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let keystore: Arc<dyn Keystore> = Arc::new(keystore(&mock, "eskm-style", false));
    assert!(make_many(&keystore).await.iter().all(Result::is_ok));
    assert_eq!(mock.key_count(), AT_ONCE);
}

/// A password that was right, and is changed at the server: those under way may offer it, those that wait do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_is_offered_by_those_under_way() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let keystore: Arc<dyn Keystore> = Arc::new(keystore(&mock, "eskm-style", false));
    keystore.probe(cx()).await.expect("right");
    let before = mock.requests().len();
    mock.change_password("another");
    are_all_stopped(Arc::clone(&keystore)).await;
    let connections = remote(&[&mock], "localhost").connections;
    assert!(mock.requests().len() - before <= connections, "{:?}", mock.requests());
}

/// All learn at once that their token has expired: one logs in for all.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_renewed_once() {
    let mock = RestMock::start(Style::CipherTrust).expect("a server");
    let keystore: Arc<dyn Keystore> = Arc::new(keystore(&mock, "ciphertrust", true));
    keystore.probe(cx()).await.expect("logs in");
    mock.expire_tokens();
    assert!(make_many(&keystore).await.iter().all(Result::is_ok));
    let logins = mock.requests().iter().filter(|request| request.contains("/auth/tokens")).count();
    assert_eq!(logins, 2, "{:?}", mock.requests());
}

/// KMIP with a user and a password: refused at the first message, or only where a key is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_offered_once_over_kmip() {
    for tells in [false, true] {
        let server = KmipRefuser::start(tells).expect("a server");
        let pem = std::fs::read_to_string(server.certificate_file()).expect("a certificate");
        let tls = TlsClient::new(Trust::Pinned(certificates_from_pem(&pem).expect("PEM")), None, None).expect("TLS");
        let address = Address::parse(&server.address().to_string(), 5696).expect("an address");
        let user = UserPassword { user: "gateway".into(), password: SecretBytes::copy_of(PASSWORD.as_bytes()) };
        let config = KmipConfig { remote: RemoteConfig::new(vec![address], tls), user: Some(user), fetch: false };
        let keystore =
            Arc::new(KmipKeystore::new(KeystoreId::new("far").expect("a name"), config).expect("a keystore"));
        are_all_stopped(keystore).await;
        assert_eq!(server.refused(), 1, "tells: {tells}");
    }
}
