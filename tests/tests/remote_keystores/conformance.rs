//! The one suite of all keystores, with a Keygate as the key server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use keygate_backends::faulty::Faulty;
use keygate_backends::kmip::{KmipConfig, KmipKeystore};
use keygate_backends::remote::{
    Address, Identity, RemoteConfig, TlsClient, Trust, certificates_from_pem, private_key_from_pem,
};
use keygate_backends::{Class, Health, KeystoreId, OpCx, SecretBytes};
use keygate_tests::gateway::Setup;

/// A keystore at an address, as the client whose folder it is.
pub(crate) fn keystore(addresses: &[SocketAddr], client: &Path, fetch: bool) -> KmipKeystore {
    let read = |name: &str| std::fs::read_to_string(client.join(name)).expect(name);
    let trust = Trust::Authorities(certificates_from_pem(&read("ca.pem")).expect("CA"));
    let key = private_key_from_pem(&SecretBytes::new(read("key.pem").into_bytes())).expect("key");
    let identity = Identity { chain: certificates_from_pem(&read("cert.pem")).expect("certificate"), key };
    let tls = TlsClient::new(trust, Some(identity), Some("localhost")).expect("TLS");
    let address = |address: &SocketAddr| Address::parse(&address.to_string(), 5696).expect("an address");
    let remote = RemoteConfig::new(addresses.iter().map(address).collect(), tls);
    let id = KeystoreId::new("far").expect("a name");
    KmipKeystore::new(id, KmipConfig { remote, user: None, fetch }).expect("a keystore")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keygate_behind_us_passes_the_suite() {
    let gateway = Setup::new().start();
    let keystore = keystore(&[gateway.address("kmip")], &gateway.client_folder("a"), false);
    keygate_backends::conformance::check(&keystore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_that_may_be_fetched_and_inside_a_wrapper() {
    let gateway = Setup::new().start();
    let keystore = keystore(&[gateway.address("kmip")], &gateway.client_folder("a"), true);
    keygate_backends::conformance::check(&Faulty::new(Arc::new(keystore))).await;
}

/// A server that does not know our certificate: an error that says so, no request repeated, and Down.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_our_certificate() {
    use keygate_backends::Keystore as _;
    let (gateway, other) = (Setup::new().start(), Setup::new().init(&["--client", "stranger"]).start());
    let folder = gateway.scratch().join("mixed");
    std::fs::create_dir(&folder).expect("a folder");
    for (from, name) in [
        (other.client_folder("a"), "cert.pem"),
        (other.client_folder("a"), "key.pem"),
        (gateway.client_folder("a"), "ca.pem"),
    ] {
        std::fs::copy(from.join(name), folder.join(name)).expect(name);
    }
    let keystore = keystore(&[gateway.address("kmip")], &folder, false);
    let error = keystore.probe(OpCx::within(std::time::Duration::from_secs(20))).await.expect_err("refused");
    assert!(matches!(error.class(), Class::TokenLost | Class::AuthStop), "{error:?}");
    assert!(!matches!(keystore.health(), Health::Up), "{:?}", keystore.health());
}
