//! A token goes away and comes back; a PIN is refused.

use crate::soft::{cx, settle, soft};
use keygate_backends::pkcs11::{Pkcs11Keystore, Token};
use keygate_backends::{
    Class, CryptoOp, CryptoOut, Health, Held, Key, KeyId, KeyRef, Keystore, KeystoreId, PairSpec, Result, SecretBytes,
    SignInput, SignatureScheme, local,
};
use keygate_kmip::{HashingAlgorithm as H, RecommendedCurve};

async fn key_in(keystore: &Pkcs11Keystore) -> (KeyRef, local::PreparedKey) {
    let pair = keystore
        .generate_pair(KeyId::random().unwrap(), &PairSpec::Ec { curve: RecommendedCurve::P256 }, cx())
        .await
        .unwrap();
    let Held::Reference(key) = pair.private else { panic!("the key stays in the token") };
    (key, local::PreparedKey::new(&pair.public).unwrap())
}

async fn sign(keystore: &Pkcs11Keystore, key: &KeyRef) -> Result<Vec<u8>> {
    let op = CryptoOp::Sign(SignatureScheme::Ecdsa(H::Sha256), SignInput::Message(b"message"));
    match keystore.crypto(Key::Reference(key), op, cx()).await? {
        CryptoOut::Signature(signature) => Ok(signature),
        _ => panic!("a signature"),
    }
}

/// Errors while away, serves again without a new keystore; a second token of the module survives it.
#[tokio::test(flavor = "multi_thread")]
async fn token_removed_and_restored() {
    let Some((soft, _turn)) = soft() else { return };
    let (token, bystander) = (soft.token("removed"), soft.token("bystander"));
    let keystore = Pkcs11Keystore::new(KeystoreId::new("hsm").unwrap(), std::sync::Arc::clone(&token));
    let other = Pkcs11Keystore::new(KeystoreId::new("other").unwrap(), std::sync::Arc::clone(&bystander));
    let (key, public) = key_in(&keystore).await;
    let (other_key, _) = key_in(&other).await;
    sign(&keystore, &key).await.unwrap();

    let dir = soft.token_dir("removed");
    let away = dir.with_extension("away");
    let elsewhere = soft.dir.join("elsewhere");
    std::fs::rename(&dir, &elsewhere).unwrap();
    assert!(!away.exists());
    let error = sign(&keystore, &key).await.expect_err("a token that is away does not sign");
    assert_eq!(error.class(), Class::TokenLost, "{error}");
    settle(&token, |health| matches!(health, Health::Down(_)));
    let error = sign(&keystore, &key).await.expect_err("still away");
    assert_eq!(error.class(), Class::TokenLost, "{error}");

    std::fs::rename(&elsewhere, &dir).unwrap();
    settle(&token, |health| *health == Health::Up);
    let signature = sign(&keystore, &key).await.unwrap();
    let scheme = SignatureScheme::Ecdsa(H::Sha256);
    assert!(local::verify(&public, scheme, SignInput::Message(b"message"), &signature).unwrap());
    // The bystander may notice once, and is then served again.
    let _ = sign(&other, &other_key).await;
    settle(&bystander, |health| *health == Health::Up);
    sign(&other, &other_key).await.unwrap();
}

/// A key that somebody destroyed by hand is not found, and the token goes on.
#[tokio::test(flavor = "multi_thread")]
async fn missing_key_is_not_a_missing_token() {
    let Some((soft, _turn)) = soft() else { return };
    let token = soft.token("missing");
    let keystore = Pkcs11Keystore::new(KeystoreId::new("hsm").unwrap(), std::sync::Arc::clone(&token));
    let (key, _) = key_in(&keystore).await;
    let (kept, _) = key_in(&keystore).await;
    sign(&keystore, &key).await.unwrap();
    keystore.destroy(key.id, cx()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(sign(&keystore, &key).await.err().unwrap().class(), Class::NotFound);
        assert_eq!(token.health(), Health::Up);
        sign(&keystore, &kept).await.unwrap();
    }
}

/// A refused PIN is offered once, whatever is asked afterwards. SoftHSM says after the first wrong try that the count
/// is low.
#[test]
fn refused_pin_is_offered_once() {
    let Some((soft, _turn)) = soft() else { return };
    // "LABEL (SERIAL)".
    let name = soft.token("pinned").name();
    let serial = name.rsplit_once('(').unwrap().1.trim_end_matches(')').to_owned();
    let mut config = soft.config("pinned");
    config.pin = Some(SecretBytes::copy_of(b"wrong pin"));
    let token = Token::open_later(config.clone()).unwrap();
    settle(&token, |health| !matches!(health, Health::Down(_)));
    let Health::NeedsOperator(text) = token.health() else { panic!("{:?}", token.health()) };
    assert!(text.contains("CKR_PIN_INCORRECT"), "{text}");
    assert!(!text.contains("wrong pin"));
    let keystore = Pkcs11Keystore::new(KeystoreId::new("hsm").unwrap(), std::sync::Arc::clone(&token));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..3 {
        let error = runtime.block_on(keystore.random(8, cx())).err().unwrap();
        assert_eq!(error.class(), Class::AuthStop);
    }
    assert_eq!(Token::open(config.clone()).err().unwrap().class(), Class::AuthStop);
    // Nobody has it open any more: the next opener, by another name of the token, is told what this one was, and SoftHSM's count
    // of wrong tries stays where it is.
    drop((keystore, token));
    let refused = Token::open(config.clone()).err().unwrap();
    assert!(refused.to_string().contains("CKR_PIN_INCORRECT"), "{refused}");
    config.token = keygate_backends::pkcs11::TokenSelector { serial: Some(serial), ..Default::default() };
    assert_eq!(Token::open(config.clone()).err().unwrap().class(), Class::AuthStop);
    // A right PIN is another one.
    config.pin = soft.config("pinned").pin;
    Token::open(config).unwrap();
}

/// Logged in, a module no longer looks at PINs (PKCS#11 v3.1 §5.6.8 CKR_USER_ALREADY_LOGGED_IN), so the second opener's
/// is compared here.
#[test]
fn second_opener_needs_the_same_pin() {
    let Some((soft, _turn)) = soft() else { return };
    let token = soft.token("shared");
    assert!(std::sync::Arc::ptr_eq(&token, &Token::open(soft.config("shared")).unwrap()));
    let mut config = soft.config("shared");
    config.pin = Some(SecretBytes::copy_of(b"guess"));
    assert_eq!(Token::open(config).err().unwrap().class(), Class::AuthStop);
}

/// Beside a token that serves, another PIN is tried by workers of their own: refused, it costs those that serve nothing; the right one
/// makes a token of its own, which goes on when the first is gone.
#[test]
fn a_token_is_opened_beside_itself() {
    let Some((soft, _turn)) = soft() else { return };
    let token = soft.token("beside");
    let mut config = soft.config("beside");
    (config.beside, config.pin) = (true, Some(SecretBytes::copy_of(b"guess")));
    assert_eq!(Token::open(config.clone()).err().unwrap().class(), Class::AuthStop);
    assert_eq!(token.health(), Health::Up);
    config.pin = soft.config("beside").pin;
    let second = Token::open(config).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&token, &second));
    assert!(second.serial().is_some() && second.serial() == token.serial());
    drop(token);
    assert!(std::sync::Arc::ptr_eq(&second, &Token::open(soft.config("beside")).unwrap()));
}

#[test]
fn token_that_is_not_there() {
    let Some((soft, _turn)) = soft() else { return };
    let error = Token::open(soft.config("nobody")).err().unwrap();
    assert_eq!(error.class(), Class::TokenLost);
    assert!(error.text().contains("labelled \"nobody\""), "{error}");
    let mut config = soft.config("nobody");
    config.module = "/nonexistent/module.so".into();
    assert!(Token::open(config).err().unwrap().text().contains("/nonexistent/module.so"));
}
