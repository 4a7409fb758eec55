//! Using keys, getting them, and what must not happen.

use keygate_kmip::{
    BlockCipherMode, CryptographicParameters, DecryptRequest, EncodingOption, EncryptRequest, EncryptResponse, KeyIdentifier, KeyInformation,
    KeyWrappingSpecification, PaddingMethod, UsageLimits, UsageLimitsUnit, WrappingMethod,
};

use super::*;
use crate::object::{AttributeSet, Object};

const KEY: [u8; 16] = [7; 16];

fn cbc() -> CryptographicParameters {
    CryptographicParameters {
        block_cipher_mode: Some(BlockCipherMode::Cbc),
        padding_method: Some(PaddingMethod::Pkcs5),
        ..CryptographicParameters::default()
    }
}

fn encrypt(id: &str, data: &[u8]) -> EncryptRequest {
    EncryptRequest {
        unique_identifier: Some(named(id)),
        cryptographic_parameters: Some(cbc()),
        data: Some(Secret::new(data.to_vec())),
        iv_counter_nonce: Some(vec![1; 16]),
        correlation_value: None,
        init_indicator: None,
        final_indicator: None,
        additional_data: None,
    }
}

async fn encrypted(world: &World, caller: &Caller, request: EncryptRequest) -> Result<EncryptResponse, OperationError> {
    match world.ask(caller, RequestPayload::Encrypt(request)).await? {
        ResponsePayload::Encrypt(response) => Ok(response),
        _ => panic!("Encrypt is answered by Encrypt"),
    }
}

fn part(id: &str, data: &[u8], value: Option<Vec<u8>>, last: bool) -> EncryptRequest {
    EncryptRequest {
        init_indicator: value.is_none().then_some(true),
        final_indicator: last.then_some(true),
        correlation_value: value,
        ..encrypt(id, data)
    }
}

/// In three parts the cipher text is that of the whole message; another caller cannot go on with the stream.
#[tokio::test]
async fn parts_make_the_whole() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let message = [5u8; 45];
    let whole = encrypted(&world, &world.alice, encrypt(&id, &message)).await.expect("encrypted").data.expect("data");

    let first = encrypted(&world, &world.alice, part(&id, &message[..7], None, false)).await.expect("begun");
    let value = first.correlation_value.expect("a stream has a value");
    let foreign = encrypted(&world, &world.bob, part(&id, &message[7..], Some(value.clone()), true)).await;
    assert!(matches!(foreign, Err(OperationError::NotFound)), "the key is not bob's");
    let next = encrypted(&world, &world.alice, part(&id, &message[7..33], Some(value.clone()), false)).await.expect("continued");
    let last = encrypted(&world, &world.alice, part(&id, &message[33..], Some(value.clone()), true)).await.expect("ended");
    let parts = [first.data, next.data, last.data].into_iter().flatten().collect::<Vec<_>>().concat();
    assert_eq!(parts, whole);
    let again = encrypted(&world, &world.alice, part(&id, &[], Some(value), true)).await;
    assert!(matches!(again, Err(OperationError::InvalidField(_))), "the stream has ended");
}

/// A part whose message was not committed: whether the client saw the answer is unknown, so the stream is gone.
#[tokio::test]
async fn an_undone_part_ends_the_stream() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let mut exchange = world.exchange(&world.alice);
    let begun = perform(&mut exchange, RequestPayload::Encrypt(part(&id, &[1], None, false))).await.expect("begun");
    let ResponsePayload::Encrypt(EncryptResponse { correlation_value: Some(value), .. }) = begun else { panic!("a stream has a value") };
    drop(exchange);
    let next = encrypted(&world, &world.alice, part(&id, &[2], Some(value), true)).await;
    assert!(matches!(next, Err(OperationError::InvalidField(_))));
}

/// Ten bytes are allowed: six, then six are refused and four still pass; what was refused was not counted.
#[tokio::test]
async fn usage_limits_count_what_was_done() {
    let world = World::new().await;
    let limits = Attribute::UsageLimits(UsageLimits { total: 10, count: None, unit: UsageLimitsUnit::Byte });
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, vec![limits]).await;
    encrypted(&world, &world.alice, encrypt(&id, &[0; 6])).await.expect("within the limit");
    let over = encrypted(&world, &world.alice, encrypt(&id, &[0; 6])).await;
    assert!(matches!(over, Err(OperationError::UsageLimitExceeded)));
    let bad = encrypted(&world, &world.alice, EncryptRequest { iv_counter_nonce: None, ..encrypt(&id, &[0; 4]) }).await;
    assert!(matches!(bad, Err(OperationError::InvalidMessage(_))), "no vector was given");
    encrypted(&world, &world.alice, encrypt(&id, &[0; 4])).await.expect("the failed ones were not counted");
}

/// A key in a device encrypts, and what it encrypted only it decrypts.
#[tokio::test]
async fn a_key_in_a_device_is_used_there() {
    let world = World::new().await;
    let Ok(ResponsePayload::Create(created)) = world.ask(&world.alice, create_aes(vec![in_device()])).await else { panic!("created") };
    let id = text(&created.unique_identifier);
    let data = encrypted(&world, &world.alice, encrypt(&id, b"attack at dawn")).await.expect("encrypted").data;
    let request = DecryptRequest {
        unique_identifier: Some(named(&id)),
        cryptographic_parameters: Some(cbc()),
        data,
        iv_counter_nonce: Some(vec![1; 16]),
        correlation_value: None,
        init_indicator: None,
        final_indicator: None,
        additional_data: None,
        tag: None,
    };
    let Ok(ResponsePayload::Decrypt(plain)) = world.ask(&world.alice, RequestPayload::Decrypt(request)).await else { panic!("decrypted") };
    assert_eq!(plain.data.expect("data").expose_bytes(), b"attack at dawn");
}

/// The first Get makes an object no longer Fresh; the second changes nothing.
#[tokio::test]
async fn only_the_first_get_is_a_change() {
    let world = World::new().await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, Vec::new()).await;
    let version = async || {
        let row = world.gateway.store.object(id.parse().expect("ours")).await.expect("readable").expect("there");
        (row.version, Object::open(&row, &world.gateway.keyring, 0).expect("readable").0.attributes)
    };
    let fresh = |attributes: &AttributeSet| attributes.find(|a| match a { Attribute::Fresh(fresh) => Some(*fresh), _ => None });
    let (first, attributes) = version().await;
    assert_eq!(fresh(&attributes), Some(true));
    world.get(&world.alice, &id).await.expect("served");
    let (second, attributes) = version().await;
    assert_eq!((second, fresh(&attributes)), (first.next(), Some(false)));
    world.get(&world.alice, &id).await.expect("served again");
    assert_eq!(version().await.0, second);
}

/// A sensitive key leaves only wrapped; unwrapping what left gives the key.
#[tokio::test]
async fn a_sensitive_key_leaves_only_wrapped() {
    let world = World::new().await;
    let kek = world.registered(CryptographicAlgorithm::Aes, &[9; 32], Vec::new()).await;
    let id = world.registered(CryptographicAlgorithm::Aes, &KEY, vec![Attribute::Sensitive(true)]).await;
    assert!(matches!(world.get(&world.alice, &id).await, Err(OperationError::Sensitive)));

    let specification = |unique_identifier: &str| KeyWrappingSpecification {
        wrapping_method: WrappingMethod::Encrypt,
        encryption_key_information: Some(KeyInformation { unique_identifier: KeyIdentifier(unique_identifier.to_owned()), cryptographic_parameters: None }),
        mac_signature_key_information: None,
        attribute_names: Vec::new(),
        encoding_option: Some(EncodingOption::NoEncoding),
    };
    let wrapped = |kek: &str| GetRequest {
        unique_identifier: Some(named(&id)),
        key_wrapping_specification: Some(specification(kek)),
        ..GetRequest::default()
    };
    let unknown = world.ask(&world.alice, RequestPayload::Get(wrapped("00000000-0000-7000-8000-000000000000"))).await;
    assert!(matches!(unknown, Err(OperationError::WrappingKeyNotFound)));
    let Ok(ResponsePayload::Get(answer)) = world.ask(&world.alice, RequestPayload::Get(wrapped(&kek))).await else { panic!("wrapped") };
    let Some(KeyValue::Wrapped(bytes)) = answer.object.key_block().and_then(|block| block.key_value.clone()) else { panic!("a byte string") };

    let key = keygate_backends::SecretBytes::copy_of(&[9; 32]);
    let key = keygate_backends::local::KeyMaterial::symmetric(CryptographicAlgorithm::Aes, key).expect("an AES key");
    let key = keygate_backends::local::PreparedKey::new(&key).expect("usable");
    let scheme = keygate_backends::EncryptionScheme::KeyWrap;
    let op = keygate_backends::DecryptOp { scheme: &scheme, iv: &[], aad: &[], data: bytes.expose_bytes(), tag: None };
    assert_eq!(keygate_backends::local::decrypt(&key, &op).expect("it unwraps").expose(), KEY);
}

/// Whoever reads the files finds neither a key's value nor what would let him try guesses of it, nor its name or attributes.
#[tokio::test]
async fn files_tell_nothing_of_an_object() {
    let world = World::new().await;
    let value = b"correct horse 42";
    let attributes = vec![
        Attribute::Name(keygate_kmip::Name::text("payroll of the north")),
        Attribute::Custom(CustomAttribute { vendor: "x".into(), name: "x-site".into(), value: AnyValue::text("vault seven") }),
    ];
    let id = world.registered(CryptographicAlgorithm::Aes, value, attributes).await;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value);
    let row = world.gateway.store.object(id.parse().expect("ours")).await.expect("readable").expect("there");
    let (object, _) = Object::open(&row, &world.gateway.keyring, NOW).expect("opens");
    let known = object.attributes.find(|a| match a { Attribute::Digest(digest) => digest.digest_value.clone(), _ => None });
    assert_eq!(known.as_deref(), Some(digest.as_ref()), "the digest is there, for who may ask for it");
    world.gateway.store.close().await.expect("the store closes");
    let mut octets = 0;
    for file in std::fs::read_dir(world.dir.path()).expect("readable").map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
        let content = std::fs::read(&file).expect("readable");
        octets += content.len();
        for secret in [&value[..], digest.as_ref(), b"payroll", b"vault seven", b"x-site"] {
            assert!(!content.windows(secret.len()).any(|found| found == secret), "{} shows {secret:?}", file.display());
        }
    }
    assert!(octets > 4096, "the database was read");
}
