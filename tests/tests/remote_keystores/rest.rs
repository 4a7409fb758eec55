//! Servers with a JSON interface, one mock per built-in profile.

use std::sync::Arc;
use std::time::Duration;

use keygate_backends::faulty::Faulty;
use keygate_backends::local::{self, PreparedKey};
use keygate_backends::remote::{Address, RemoteConfig, TlsClient, Trust, UserPassword, certificates_from_pem};
use keygate_backends::rest::{Profile, RestConfig, RestKeystore};
use keygate_backends::{
    BlockPadding, CryptoOp, CryptoOut, DecryptOp, EncryptOp, EncryptionScheme, Held, Iv, Key, KeyId, KeySpec, Keystore,
    KeystoreId, OpCx, PairSpec, SecretBytes, SignInput, SignatureScheme,
};
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm, Operation, RecommendedCurve, Tag};
use keygate_tests::gateway::Setup;
use keygate_tests::request;
use keygate_tests::rest_mock::{PASSWORD, RestMock, Style, USER};
use keygate_tests::ttlv::Item;

use super::chain::{ask, cipher, create, revoke_and_destroy};

pub(crate) const AES: KeySpec = KeySpec { algorithm: CryptographicAlgorithm::Aes, bits: 256 };

pub(crate) fn cx() -> OpCx {
    OpCx::within(Duration::from_secs(20))
}

pub(crate) fn remote(mocks: &[&RestMock], host: &str) -> RemoteConfig {
    let pem = |mock: &RestMock| std::fs::read_to_string(mock.certificate_file()).expect("a certificate");
    let pinned = mocks.iter().flat_map(|mock| certificates_from_pem(&pem(mock)).expect("PEM")).collect();
    let tls = TlsClient::new(Trust::Pinned(pinned), None, None).expect("TLS");
    let address =
        |mock: &&RestMock| Address::parse(&format!("{host}:{}", mock.address().port()), 8443).expect("an address");
    RemoteConfig::new(mocks.iter().map(address).collect(), tls)
}

pub(crate) fn keystore_of(remote: RemoteConfig, profile: &str, password: &str, fetch: bool) -> RestKeystore {
    let profile = Profile::built_in(profile).expect("built in").expect("right");
    let user = UserPassword { user: USER.to_owned(), password: SecretBytes::copy_of(password.as_bytes()) };
    let config = RestConfig { remote, user: Some(user), fetch, profile };
    RestKeystore::new(KeystoreId::new("far").expect("a name"), config).expect("a keystore")
}

pub(crate) fn keystore(mock: &RestMock, profile: &str, fetch: bool) -> RestKeystore {
    keystore_of(remote(&[mock], "127.0.0.1"), profile, PASSWORD, fetch)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eskm_style_passes_the_suite() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    keygate_backends::conformance::check(&keystore(&mock, "eskm-style", false)).await;
    assert_eq!(mock.key_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eskm_style_inside_a_wrapper_passes_the_suite() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    keygate_backends::conformance::check(&Faulty::new(Arc::new(keystore(&mock, "eskm-style", false)))).await;
}

/// Makes an AES key, uses it both ways, and destroys it.
async fn aes_lives(keystore: &dyn Keystore, scheme: EncryptionScheme) {
    keystore.probe(cx()).await.expect("it is there");
    let id = KeyId::random().unwrap();
    let Held::Reference(key) = keystore.generate(id, &AES, cx()).await.expect("made") else { panic!("it stays there") };
    let op = EncryptOp { scheme: &scheme, iv: Iv::Random { len: None }, aad: b"", data: b"some octets", legacy: false };
    let CryptoOut::Encrypted(sealed) =
        keystore.crypto(Key::Reference(&key), CryptoOp::Encrypt(op), cx()).await.expect("encrypts")
    else {
        panic!("a cipher text")
    };
    let iv = sealed.iv.expect("drawn");
    let op = DecryptOp { scheme: &scheme, iv: &iv, aad: b"", data: &sealed.data, tag: sealed.tag.as_deref() };
    let CryptoOut::Decrypted(plain) =
        keystore.crypto(Key::Reference(&key), CryptoOp::Decrypt(op), cx()).await.expect("decrypts")
    else {
        panic!("a plain text")
    };
    assert_eq!(plain.expose(), b"some octets");
    keystore.info(&key, cx()).await.expect("it is there");
    keystore.destroy(id, cx()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn ciphertrust_logs_in_once_and_keeps_keys() {
    let mock = RestMock::start(Style::CipherTrust).expect("a server");
    let keystore = keystore(&mock, "ciphertrust", true);
    aes_lives(&keystore, EncryptionScheme::Gcm { tag_len: 16 }).await;
    aes_lives(&keystore, EncryptionScheme::Cbc(BlockPadding::Pkcs5)).await;
    let id = KeyId::random().unwrap();
    let Held::Reference(key) = keystore.generate(id, &AES, cx()).await.expect("made") else { panic!("it stays there") };
    assert_eq!(keystore.export(Key::Reference(&key), cx()).await.expect("fetched").bits().unwrap(), 256);
    assert_eq!(keystore.list(cx()).await.expect("listed").len(), 1);
    let logins = mock.requests().iter().filter(|request| request.contains("/auth/tokens")).count();
    assert_eq!(logins, 1, "{:?}", mock.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn securosys_keeps_keys_and_signs() {
    let mock = RestMock::start(Style::Securosys).expect("a server");
    let keystore = keystore(&mock, "securosys", false);
    aes_lives(&keystore, EncryptionScheme::Gcm { tag_len: 16 }).await;
    let id = KeyId::random().unwrap();
    let spec = PairSpec::Ec { curve: RecommendedCurve::P256 };
    let pair = keystore.generate_pair(id, &spec, cx()).await.expect("made");
    let Held::Reference(key) = pair.private else { panic!("it stays there") };
    let (scheme, input) = (SignatureScheme::Ecdsa(HashingAlgorithm::Sha256), SignInput::Message(b"message"));
    let CryptoOut::Signature(signature) =
        keystore.crypto(Key::Reference(&key), CryptoOp::Sign(scheme, input), cx()).await.expect("signs")
    else {
        panic!("a signature")
    };
    assert!(local::verify(&PreparedKey::new(&pair.public).unwrap(), scheme, input, &signature).unwrap());
    keystore.destroy(id, cx()).await.expect("destroyed");
    assert_eq!(mock.key_count(), 0);
}

/// A KMIP client of the gateway uses keys in a REST server: the lines of docs/keystores.md.
#[test]
fn a_kmip_client_uses_keys_in_a_rest_server() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let mut gateway = Setup::new().prepare().expect("initialised");
    let password = gateway.secret_file("eskm.password", PASSWORD).expect("written");
    gateway.configure(&format!(
        "\n[[keystore]]\nname = \"far\"\nkind = \"rest\"\ndefault = true\nprofile = \"eskm-style\"\naddresses = [\"localhost:{}\"]\n\
         pinned-file = \"{}\"\nuser = \"{USER}\"\npassword-file = \"{}\"\nfetch = true\n",
        mock.address().port(),
        mock.certificate_file().display(),
        password.display(),
    ));
    gateway.start().expect("starts");
    let mut client = gateway.connect("a");
    let id = create(&mut client);
    assert_eq!(mock.key_count(), 1);
    let sealed = cipher(&mut client, Operation::Encrypt, &id, b"kept elsewhere").expect("Encrypt");
    assert_eq!(cipher(&mut client, Operation::Decrypt, &id, &sealed).expect("Decrypt"), b"kept elsewhere");
    let got = ask(&mut client, &request::on((1, 4), Operation::Get, &id)).expect("Get");
    assert_eq!(got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).map(<[u8]>::len), Some(32));
    revoke_and_destroy(&mut client, &id);
    assert_eq!(mock.key_count(), 0);
    assert!(!gateway.log().contains(PASSWORD));
}

/// A password that was wrong in its file: refused once, then nothing is sent, and `keystore retry` offers what the file says now.
#[test]
fn a_mended_password_is_offered_again_on_command() {
    let mock = RestMock::start(Style::Eskm).expect("a server");
    let mut gateway = Setup::new().set("keystore.check_seconds", "1").prepare().expect("initialised");
    let password = gateway.secret_file("eskm.password", "wrong horse").expect("written");
    gateway.configure(&format!(
        "\n[[keystore]]\nname = \"far\"\nkind = \"rest\"\nprofile = \"eskm-style\"\naddresses = [\"localhost:{}\"]\n\
         pinned-file = \"{}\"\nuser = \"{USER}\"\npassword-file = \"{}\"\n",
        mock.address().port(),
        mock.certificate_file().display(),
        password.display(),
    ));
    gateway.start().expect("starts");
    let mut client = gateway.connect("a");
    let wish = request::create_aes_in((1, 4), 256, "far");
    ask(&mut client, &wish).expect_err("the password is refused");
    let retry = || gateway.keygate(&["keystore", "retry", "far"]).expect("the command runs");
    assert!(!retry().status.success());
    assert_eq!(mock.requests().len(), 2, "at the start, and on command: {:?}", mock.requests());
    gateway.secret_file("eskm.password", PASSWORD).expect("written");
    let accepted = retry();
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    ask(&mut client, &wish).expect("it serves");
    assert!(!gateway.log().contains("wrong horse") && !gateway.log().contains(PASSWORD));
}
