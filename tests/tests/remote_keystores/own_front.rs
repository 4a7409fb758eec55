//! The one suite of all keystores, with the REST front of a second Keygate as the key server.

use std::sync::Arc;

use keygate_backends::faulty::Faulty;
use keygate_backends::remote::{Address, RemoteConfig, TlsClient, Trust, UserPassword, certificates_from_pem};
use keygate_backends::rest::{Profile, RestConfig, RestKeystore};
use keygate_backends::{Keystore as _, KeystoreId, SecretBytes};
use keygate_kmip::Operation;
use keygate_tests::gateway::{Setup, TestGateway};

use super::chain::{cipher, create, located, revoke_and_destroy};
use super::rest::cx;

/// What docs/keystores.md says that a gateway needs; `keys:export` besides where it may fetch.
const NEEDED: &str =
    "keys:create,keys:read,keys:state,keys:delete,crypto:encrypt,crypto:decrypt,crypto:sign,crypto:mac,crypto:random";

fn user(far: &TestGateway, may: &str) -> String {
    far.keygate_ok(&["rest-user", "add", "near", "--client", "a", "--may", may]).trim().to_owned()
}

fn keystore(far: &TestGateway, may: &str, fetch: bool) -> RestKeystore {
    let password = SecretBytes::new(user(far, may).into_bytes());
    let ca = std::fs::read_to_string(far.client_folder("a").join("ca.pem")).expect("the CA");
    let trust = Trust::Authorities(certificates_from_pem(&ca).expect("PEM"));
    let tls = TlsClient::new(trust, None, Some("localhost")).expect("TLS");
    let address = Address::parse(&far.address("clients").to_string(), 8443).expect("an address");
    let config = RestConfig {
        remote: RemoteConfig::new(vec![address], tls),
        user: Some(UserPassword { user: "near".to_owned(), password }),
        fetch,
        profile: Profile::built_in("eskm-style").expect("built in").expect("right"),
    };
    RestKeystore::new(KeystoreId::new("far").expect("a name"), config).expect("a keystore")
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_rest_front_passes_the_suite() {
    let far = Setup::new().start();
    let keystore = keystore(&far, NEEDED, false);
    keygate_backends::conformance::check(&keystore).await;
    assert!(keystore.list(cx()).await.expect("listed").is_empty());
    // The conformance suite destroys what it made: public halves, too.
    assert_eq!(tokio::task::spawn_blocking(move || located(&far, "a")).await.expect("counted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_rest_front_that_hands_out_passes_the_suite_inside_a_wrapper() {
    let far = Setup::new().start();
    let keystore = keystore(&far, &format!("{NEEDED},keys:export"), true);
    keygate_backends::conformance::check(&Faulty::new(Arc::new(keystore))).await;
}

/// A KMIP client of one gateway uses keys in another, over REST: the lines of docs/keystores.md.
#[test]
fn a_kmip_client_uses_keys_in_a_second_gateway_over_rest() {
    let far = Setup::new().start();
    let mut near = Setup::new().prepare().expect("initialised");
    let password = near.secret_file("far.password", &user(&far, NEEDED)).expect("written");
    near.configure(&format!(
        "\n[[keystore]]\nname = \"far\"\nkind = \"rest\"\ndefault = true\nprofile = \"eskm-style\"\n\
         addresses = [\"localhost:{}\"]\nca-file = \"{}\"\nuser = \"near\"\npassword-file = \"{}\"\n",
        far.address("clients").port(),
        far.client_folder("a").join("ca.pem").display(),
        password.display(),
    ));
    near.start().expect("starts");
    let mut client = near.connect("a");
    let id = create(&mut client);
    assert_eq!(located(&far, "a"), 1, "the key is in the second gateway");
    let sealed = cipher(&mut client, Operation::Encrypt, &id, b"through two gateways").expect("Encrypt");
    assert_eq!(cipher(&mut client, Operation::Decrypt, &id, &sealed).expect("Decrypt"), b"through two gateways");
    revoke_and_destroy(&mut client, &id);
    assert_eq!(located(&far, "a"), 0, "nothing is left in the second gateway");
}
