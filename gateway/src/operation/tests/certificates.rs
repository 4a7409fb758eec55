//! Stories of certificates that clients ask for and have validated.

use keygate_kmip::{
    Certificate as KmipCertificate, CertificateRequestType, CertificateType, CertifyRequest, LinkType, Name, ReCertifyRequest,
    RevocationReason, RevocationReasonCode, RevokeRequest, Tag, ValidateRequest, ValidityIndicator,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _};

use super::*;
use crate::audit::Actor;
use crate::authority;

/// A world whose server certifies, at the time it is.
async fn certifying() -> World {
    let mut world = World::new().await;
    authority::create_certify_ca(&world.gateway.store, keygate_pki::OffsetDateTime::now_utc(), &Actor::System).await.expect("a CA");
    world.gateway.policy.certify_days = Some(30);
    world
}

/// Like [`World::ask`], now: the CA's certificate begins when the test does.
async fn ask(world: &World, caller: &Caller, request: impl Into<RequestPayload>) -> Result<ResponsePayload, OperationError> {
    let mut exchange = Exchange::new(&world.gateway, caller, IpAddr::V4(Ipv4Addr::LOCALHOST), ProtocolVersion::V2_1, now_ms() / 1000);
    exchange.begin_item();
    let answer = perform(&mut exchange, request.into()).await;
    match &answer {
        Ok(_) => exchange.item_done(None),
        Err(_) => exchange.item_failed(None, 1),
    }
    exchange.finish().await?;
    answer
}

async fn register(world: &World, object: ManagedObject) -> String {
    let request = RegisterRequest {
        object_type: object.object_type(),
        attributes: [Attribute::CryptographicUsageMask(CryptographicUsageMask::VERIFY)].into_iter().collect(),
        object,
        protection_storage_masks: None,
    };
    match ask(world, &world.alice, request).await {
        Ok(ResponsePayload::Register(response)) => text(&response.unique_identifier),
        other => panic!("registered: {:?}", other.map(|_| "another answer")),
    }
}

fn public_key(key: &KeyPair) -> ManagedObject {
    let material = KeyMaterial::Bytes(Secret::new(key.subject_public_key_info()));
    ManagedObject::PublicKey(Key {
        key_block: KeyBlock {
            key_format_type: KeyFormatType::X509,
            key_compression_type: None,
            key_value: Some(KeyValue::Plain { material, attributes: Attributes::default() }),
            cryptographic_algorithm: Some(CryptographicAlgorithm::Ecdsa),
            cryptographic_length: Some(256),
            key_wrapping_data: None,
        },
    })
}

fn csr(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.distinguished_name.push(DnType::OrganizationName, "ACME");
    params.distinguished_name.push(DnType::CommonName, "Client");
    change(&mut params);
    params.serialize_request(key).expect("a request").der().to_vec()
}

fn certify_request(id: &str, request: Vec<u8>) -> CertifyRequest {
    CertifyRequest {
        unique_identifier: Some(named(id)),
        request_type: Some(CertificateRequestType::Pkcs10),
        request_value: Some(request),
        attributes: Some([Attribute::Name(Name::text("first"))].into_iter().collect()),
        ..CertifyRequest::default()
    }
}

async fn certified(world: &World, id: &str, request: Vec<u8>) -> Result<String, OperationError> {
    match ask(world, &world.alice, certify_request(id, request)).await? {
        ResponsePayload::Certify(response) => Ok(text(&response.unique_identifier)),
        _ => panic!("Certify is answered by Certify"),
    }
}

async fn links(world: &World, id: &str) -> Vec<(LinkType, String)> {
    let request = keygate_kmip::GetAttributesRequest { unique_identifier: Some(named(id)), names: Vec::new() };
    let Ok(ResponsePayload::GetAttributes(response)) = ask(world, &world.alice, request).await else { panic!("attributes") };
    let all = response.attributes.list.into_iter().filter_map(|instance| match instance.attribute {
        Attribute::Link(link) => Some((link.link_type, text(&link.linked_object_identifier))),
        _ => None,
    });
    all.collect()
}

async fn verdict(world: &World, request: ValidateRequest) -> ValidityIndicator {
    match ask(world, &world.alice, request).await {
        Ok(ResponsePayload::Validate(response)) => response.validity_indicator,
        other => panic!("validated: {:?}", other.map(|_| "another answer")),
    }
}

fn stored(ids: &[&str]) -> ValidateRequest {
    ValidateRequest { unique_identifiers: ids.iter().map(|id| named(id)).collect(), ..ValidateRequest::default() }
}

/// A registered key is certified under the name its request asks for, renewed without a request, and everything is linked; names move.
#[tokio::test]
async fn a_key_is_certified_and_renewed() {
    let world = certifying().await;
    let key = KeyPair::generate().expect("a key");
    let key_id = register(&world, public_key(&key)).await;
    let first = certified(&world, &key_id, csr(&key, |_| ())).await.expect("certified");
    assert_eq!(links(&world, &first).await, [(LinkType::PublicKeyLink, key_id.clone())]);
    assert_eq!(links(&world, &key_id).await, [(LinkType::CertificateLink, first.clone())]);
    assert_eq!(verdict(&world, stored(&[&first])).await, ValidityIndicator::Valid);

    let renew = ReCertifyRequest {
        unique_identifier: Some(named(&first)),
        attributes: Some([Attribute::Name(Name::text("second"))].into_iter().collect()),
        ..ReCertifyRequest::default()
    };
    let Ok(ResponsePayload::ReCertify(renewed)) = ask(&world, &world.alice, renew).await else { panic!("renewed") };
    let second = text(&renewed.unique_identifier);
    assert_eq!(links(&world, &key_id).await, [(LinkType::CertificateLink, second.clone())]);
    assert_eq!(links(&world, &first).await, [(LinkType::PublicKeyLink, key_id.clone()), (LinkType::ReplacementObjectLink, second.clone())]);
    assert_eq!(links(&world, &second).await, [(LinkType::ReplacedObjectLink, first.clone()), (LinkType::PublicKeyLink, key_id)]);
    let request = keygate_kmip::GetAttributesRequest { unique_identifier: Some(named(&second)), names: Vec::new() };
    let Ok(ResponsePayload::GetAttributes(told)) = ask(&world, &world.alice, request).await else { panic!("attributes") };
    let names: Vec<_> = told.attributes.list.iter().filter(|instance| instance.attribute.tag() == Some(Tag::NAME)).collect();
    assert_eq!(names.len(), 2, "its own name and the one that moved");
    let field = Attribute::CertificateField(Tag::CERTIFICATE_SUBJECT_O, "ACME".to_owned());
    assert_eq!(told.attributes.list.iter().filter(|instance| instance.attribute == field).count(), 1);
}

/// Where it is not turned on, nothing is certified, whatever is asked.
#[tokio::test]
async fn certifying_is_off_unless_it_is_turned_on() {
    let world = World::new().await;
    let key = KeyPair::generate().expect("a key");
    let key_id = register(&world, public_key(&key)).await;
    assert!(matches!(certified(&world, &key_id, csr(&key, |_| ())).await, Err(OperationError::OperationNotSupported(_))));
}

/// What is wrong with a request is said, and nothing comes of it.
#[tokio::test]
async fn bad_requests_are_refused() {
    let world = certifying().await;
    let (key, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let key_id = register(&world, public_key(&key)).await;
    let good = csr(&key, |_| ());
    let mut broken = good.clone();
    *broken.last_mut().expect("octets") ^= 1;
    let asks_to_be_ca = csr(&key, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let nameless = csr(&key, |params| params.distinguished_name = rcgen::DistinguishedName::new());
    for bad in [broken, b"no request".to_vec(), nameless] {
        let refused = certified(&world, &key_id, bad).await;
        assert!(matches!(refused, Err(OperationError::InvalidCsr(_))), "{refused:?}");
    }
    // Whether the maker of requests writes the extension or not, no CA comes of it.
    if let Ok(id) = certified(&world, &key_id, asks_to_be_ca).await {
        let ManagedObject::Certificate(made) = world.get(&world.alice, &id).await.expect("a certificate") else { panic!("a certificate") };
        assert!(!keygate_pki::Certificate::from_der(&made.value).expect("a certificate").is_ca());
    }
    assert!(matches!(certified(&world, &key_id, csr(&other, |_| ())).await, Err(OperationError::InvalidField(_))), "another key");
    let crmf = CertifyRequest { request_type: Some(CertificateRequestType::Crmf), ..certify_request(&key_id, good.clone()) };
    assert!(matches!(ask(&world, &world.alice, crmf).await, Err(OperationError::FeatureNotSupported(_))));
    let without = CertifyRequest { unique_identifier: Some(named(&key_id)), ..CertifyRequest::default() };
    assert!(matches!(ask(&world, &world.alice, without).await, Err(OperationError::InvalidMessage(_))));
    assert!(matches!(ask(&world, &world.bob, certify_request(&key_id, good)).await, Err(OperationError::NotFound)));
}

/// A foreign chain is valid if its root is one that the caller has stored, unknown if nobody vouches for it, invalid if it does not
/// hold: a signature, a time, a member that is missing.
#[tokio::test]
async fn chains_are_judged() {
    let world = certifying().await;
    let root_key = KeyPair::generate().expect("a key");
    let mut root_params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    root_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root_params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    root_params.distinguished_name.push(DnType::CommonName, "A root");
    let root = root_params.self_signed(&root_key).expect("a root");
    let leaf_key = KeyPair::generate().expect("a key");
    let mut leaf_params = CertificateParams::new(vec!["leaf.example".to_owned()]).expect("a name");
    leaf_params.distinguished_name.push(DnType::CommonName, "A leaf");
    let leaf = leaf_params.signed_by(&leaf_key, &Issuer::new(root_params.clone(), &root_key)).expect("a leaf");
    let x509 = |der: &[u8]| KmipCertificate { certificate_type: CertificateType::X509, value: der.to_vec() };

    let given = |list: Vec<KmipCertificate>| ValidateRequest { certificates: list, ..ValidateRequest::default() };
    assert_eq!(verdict(&world, given(vec![x509(root.der()), x509(leaf.der())])).await, ValidityIndicator::Unknown);
    assert_eq!(verdict(&world, given(vec![x509(leaf.der())])).await, ValidityIndicator::Unknown, "its issuer is not there");
    let mut tampered = leaf.der().to_vec();
    *tampered.last_mut().expect("octets") ^= 1;
    assert_eq!(verdict(&world, given(vec![x509(root.der()), x509(&tampered)])).await, ValidityIndicator::Invalid);

    let root_id = register(&world, ManagedObject::Certificate(x509(root.der()))).await;
    let with_root = |list: Vec<KmipCertificate>, date| ValidateRequest {
        certificates: list,
        unique_identifiers: vec![named(&root_id)],
        validity_date: date,
    };
    assert_eq!(verdict(&world, with_root(vec![x509(leaf.der())], None)).await, ValidityIndicator::Valid);
    let long_ago = Some(DateTime(0));
    assert_eq!(verdict(&world, with_root(vec![x509(leaf.der())], long_ago)).await, ValidityIndicator::Invalid, "not yet");
    let other = CertificateParams::new(Vec::<String>::new()).expect("no names").self_signed(&leaf_key).expect("a certificate");
    assert_eq!(verdict(&world, with_root(vec![x509(leaf.der()), x509(other.der())], None)).await, ValidityIndicator::Invalid, "two chains");

    assert!(matches!(ask(&world, &world.alice, ValidateRequest::default()).await, Err(OperationError::InvalidMessage(_))));
    let many = given(vec![x509(leaf.der()); 17]);
    assert!(matches!(ask(&world, &world.alice, many).await, Err(OperationError::LimitExceeded(_))));
    assert!(matches!(ask(&world, &world.bob, stored(&[&root_id])).await, Err(OperationError::NotFound)));
}

/// A certificate that its owner revoked is not valid any more.
#[tokio::test]
async fn a_revoked_certificate_is_invalid() {
    let world = certifying().await;
    let key = KeyPair::generate().expect("a key");
    let key_id = register(&world, public_key(&key)).await;
    let id = certified(&world, &key_id, csr(&key, |_| ())).await.expect("certified");
    assert_eq!(verdict(&world, stored(&[&id])).await, ValidityIndicator::Valid);
    let revoke = RevokeRequest {
        unique_identifier: Some(named(&id)),
        revocation_reason: RevocationReason { code: RevocationReasonCode::KeyCompromise, message: None },
        compromise_occurrence_date: None,
    };
    ask(&world, &world.alice, revoke).await.expect("revoked");
    assert_eq!(verdict(&world, stored(&[&id])).await, ValidityIndicator::Invalid);
}
