//! What keys may do on the token, as another program reads it there.

use crate::soft::{cx, soft};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute as A, AttributeType as T, ObjectClass};
use cryptoki::session::UserType;
use keygate_backends::local::{self, KeyMaterial};
use keygate_backends::pkcs11::{Pkcs11Kek, Pkcs11Keystore};
use keygate_backends::{KeyId, KeySpec, Keystore, KeystoreId, PairSpec, SecretBytes};
use keygate_kmip::{CryptographicAlgorithm, RecommendedCurve};

/// Made or taken in, a key does what it is for: it wraps, unwraps and derives nothing, stays, and stays as it is. The seal's key encrypts
/// and decrypts alone.
#[tokio::test(flavor = "multi_thread")]
async fn keys_may_do_what_they_are_for_and_no_more() {
    let Some((soft, _turn)) = soft() else { return };
    let token = soft.token("rights");
    let keystore = Pkcs11Keystore::new(KeystoreId::new("hsm").unwrap(), std::sync::Arc::clone(&token));
    let ids: Vec<KeyId> = (0..7).map(|_| KeyId::random().unwrap()).collect();
    let (aes, hmac) = (CryptographicAlgorithm::Aes, CryptographicAlgorithm::HmacSha256);
    keystore.generate(ids[0], &KeySpec { algorithm: aes, bits: 256 }, cx()).await.unwrap();
    keystore.generate(ids[1], &KeySpec { algorithm: hmac, bits: 256 }, cx()).await.unwrap();
    for (id, algorithm) in [(ids[2], aes), (ids[3], hmac)] {
        let known = KeyMaterial::symmetric(algorithm, SecretBytes::new(vec![7; 32])).unwrap();
        keystore.import(id, &known, cx()).await.unwrap();
    }
    let ec = PairSpec::Ec { curve: RecommendedCurve::P256 };
    keystore.generate_pair(ids[4], &ec, cx()).await.unwrap();
    keystore.import(ids[5], &local::generate_pair(&ec).unwrap().0, cx()).await.unwrap();
    let kek = ids[6];
    tokio::task::spawn_blocking(move || Pkcs11Kek::create(&token, kek, cx()).map(drop)).await.unwrap().unwrap();

    let bare = Pkcs11::new(&soft.module).unwrap();
    let _ = bare.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = bare.get_slots_with_token().unwrap();
    let is_ours = |slot: &cryptoki::slot::Slot| bare.get_token_info(*slot).is_ok_and(|t| t.label() == "rights");
    let session = bare.open_ro_session(slots.into_iter().find(is_ours).unwrap()).unwrap();
    session.login(UserType::User, Some(&soft.auth_pin())).unwrap();
    let read = |id: KeyId, class: ObjectClass, kinds: &[T]| {
        let found = session.find_objects(&[A::Id(id.0.to_vec()), A::Class(class)]).unwrap();
        assert_eq!(found.len(), 1);
        session.get_attributes(found[0], kinds).unwrap()
    };
    let kept = [A::Sensitive(true), A::Extractable(false), A::Modifiable(false), A::Unwrap(false), A::Derive(false)];
    let kinds = [T::Sensitive, T::Extractable, T::Modifiable, T::Unwrap, T::Derive];
    for id in &ids[4..6] {
        assert_eq!(read(*id, ObjectClass::PRIVATE_KEY, &kinds), kept);
    }
    let uses = [T::Wrap, T::Encrypt, T::Decrypt, T::Sign, T::Verify];
    for (at, encrypts, signs) in
        [(0, true, true), (1, false, true), (2, true, true), (3, false, true), (6, true, false)]
    {
        assert_eq!(read(ids[at], ObjectClass::SECRET_KEY, &kinds), kept, "key {at}");
        let may = [A::Wrap(false), A::Encrypt(encrypts), A::Decrypt(encrypts), A::Sign(signs), A::Verify(signs)];
        assert_eq!(read(ids[at], ObjectClass::SECRET_KEY, &uses), may, "key {at}");
    }
}
