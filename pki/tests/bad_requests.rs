//! Requests that must not be signed, each refused for its own reason.
//!
//! Method: fixtures of weak RSA keys (tests/requests), and requests built here that no honest maker writes.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::ID_CE_SUBJECT_ALT_NAME,
        rfc5912::{ECDSA_WITH_SHA_256, ID_EC_PUBLIC_KEY, ID_EXTENSION_REQ, SECP_256_R_1},
        rfc8410::ID_ED_25519,
    },
};
use der::{
    Any, Decode, Encode,
    asn1::{BitString, OctetString, SetOfVec},
};
use keygate_pki::{
    BlockList, CertificateRequest, DistinguishedName, KeyFault, NewRequest, PrivateKey, RequestError, RequestPolicy,
    SignatureAlgorithm, Signer, SubjectAltName,
};
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo,
    attr::Attribute,
    ext::Extension,
    name::Name,
    request::{CertReq, CertReqInfo, Version},
};

/// RSA keys that are well formed and useless.
#[test]
fn weak_keys_are_refused_each_by_name() {
    let fault = |pem: &[u8]| match CertificateRequest::from_pem_or_der(pem).unwrap_err() {
        RequestError::PublicKey(fault) => fault,
        other => panic!("{other}"),
    };
    assert_eq!(fault(include_bytes!("requests/fermat.csr")), KeyFault::FermatClose);
    assert_eq!(fault(include_bytes!("requests/roca.csr")), KeyFault::Roca);
    assert_eq!(fault(include_bytes!("requests/exponent-3.csr")), KeyFault::RsaExponentSmall { min: 65_537 });
    assert_eq!(fault(include_bytes!("requests/exponent-even.csr")), KeyFault::RsaExponentEven);
    assert_eq!(fault(include_bytes!("requests/exponent-large.csr")), KeyFault::RsaExponentLarge { bits: 65, max: 33 });
    assert_eq!(fault(include_bytes!("requests/factor.csr")), KeyFault::RsaSmallFactor(241));
    assert_eq!(fault(include_bytes!("requests/rsa-5120.csr")), KeyFault::RsaSize { bits: 5120, min: 2048, max: 4096 });
    assert_eq!(fault(include_bytes!("requests/small.csr")), KeyFault::RsaSize { bits: 1024, min: 2048, max: 8192 });
    assert_eq!(fault(include_bytes!("requests/p192.csr")), KeyFault::Curve);
    assert_eq!(fault(include_bytes!("requests/secp256k1.csr")), KeyFault::Curve);
}

/// A P-256 "point" off the curve, and the point at infinity.
#[test]
fn points_off_the_curve_are_refused() {
    let off = [&[4][..], &[7; 64]].concat();
    for point in [&off[..], &[0]] {
        let request = CertReq {
            info: info(spki(ID_EC_PUBLIC_KEY, Some(Any::from(SECP_256_R_1)), point), SetOfVec::new()),
            algorithm: AlgorithmIdentifier { oid: ECDSA_WITH_SHA_256, parameters: None },
            signature: BitString::from_bytes(&[0x30, 0]).unwrap(),
        };
        let refused = CertificateRequest::from_pem_or_der(&request.to_der().unwrap()).unwrap_err();
        assert!(matches!(refused, RequestError::PublicKey(KeyFault::NotOnCurve)), "{refused}");
    }
}

/// For the neutral point as key, R = neutral and S = 0 is a signature of everything: the key is refused before that counts.
#[test]
fn an_ed25519_key_of_low_order_is_refused() {
    let mut signature = [0; 64];
    signature[0] = 1;
    let request = CertReq {
        info: info(spki(ID_ED_25519, None, &signature[..32]), SetOfVec::new()),
        algorithm: AlgorithmIdentifier { oid: ID_ED_25519, parameters: None },
        signature: BitString::from_bytes(&signature).unwrap(),
    };
    let refused = CertificateRequest::from_pem_or_der(&request.to_der().unwrap()).unwrap_err();
    assert!(matches!(refused, RequestError::PublicKey(KeyFault::LowOrder)), "{refused}");
}

/// Extensions asked for twice, critical ones nobody here knows, and two lists of extensions.
#[test]
fn extensions_that_cannot_be_honoured_are_refused() {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let unknown: ObjectIdentifier = "1.3.6.1.4.1.32473.1".parse().unwrap();
    let names = extension(ID_CE_SUBJECT_ALT_NAME, false, &[0x30, 0x03, 0x82, 0x01, b'a']);
    let ask = |lists: &[&[Extension]]| {
        let mut attributes = SetOfVec::new();
        let values = lists.iter().map(|list| Any::encode_from(&list.to_vec()).unwrap()).collect::<Vec<_>>();
        attributes.insert(Attribute { oid: ID_EXTENSION_REQ, values: SetOfVec::try_from(values).unwrap() }).unwrap();
        CertificateRequest::from_pem_or_der(&signed(&key, attributes))
    };
    assert_eq!(ask(&[std::slice::from_ref(&names)]).unwrap().names(), [SubjectAltName::Dns("a".into())]);
    assert!(ask(&[&[names.clone(), extension(unknown, false, &[5, 0])]]).is_ok());
    let refused = ask(&[&[names.clone(), names.clone()]]).unwrap_err();
    assert!(matches!(refused, RequestError::DuplicateExtension(ID_CE_SUBJECT_ALT_NAME)), "{refused}");
    let refused = ask(&[&[extension(unknown, true, &[5, 0])]]).unwrap_err();
    assert!(matches!(refused, RequestError::UnknownCriticalExtension(oid) if oid == unknown), "{refused}");
    let refused = ask(&[&[names], &[extension(unknown, false, &[5, 0])]]).unwrap_err();
    assert!(matches!(refused, RequestError::RepeatedAttribute), "{refused}");
}

/// A hundred names pass, one more does not, and ten thousand are not even read.
#[test]
fn too_many_names_are_refused() {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let subject = DistinguishedName::new(None, "device").unwrap();
    let ask = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| SubjectAltName::Dns(format!("h{n}.example"))).collect();
        CertificateRequest::from_pem_or_der(&NewRequest::client(&subject, &names).sign(&key).unwrap())
    };
    assert_eq!(ask(100).unwrap().names().len(), 100);
    assert!(matches!(ask(101), Err(RequestError::TooManyNames { names: 101, max: 100 })));
    assert!(matches!(ask(10_000), Err(RequestError::TooLarge { .. })));
}

/// What only the gateway knows: block-lists, CA keys, keys of other clients, names that are allowed.
#[test]
fn the_policy_refuses_what_the_request_cannot_tell() {
    let blocked = BlockList::parse(include_str!("requests/blocked.txt")).unwrap();
    assert_eq!(blocked.len(), 3);
    let (nothing, pattern) = (BlockList::default(), "agent*.example".parse().unwrap());
    let open =
        || RequestPolicy { blocked: &nothing, is_ca_key: &|_| false, is_key_of_another: &|_| false, names: None };
    let read = |pem: &[u8]| CertificateRequest::from_pem_or_der(pem).unwrap();
    for pem in [&include_bytes!("requests/rsa.csr")[..], include_bytes!("requests/prime256v1.csr")] {
        let refused = read(pem).check(&RequestPolicy { blocked: &blocked, ..open() }).unwrap_err();
        assert!(matches!(refused, RequestError::PublicKey(KeyFault::Blocked)), "{refused}");
    }
    read(include_bytes!("requests/prime256v1.csr")).check(&open()).unwrap();
    let asks = read(include_bytes!("requests/rsa.csr")).check(&open()).unwrap_err();
    assert!(matches!(asks, RequestError::AsksToBeCa), "a client is no CA: {asks}");
    let ca = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let ca_hash = ca.public_key().spki_hash();
    let subject = DistinguishedName::new(None, "agent-1.example").unwrap();
    let request = |names: &[SubjectAltName]| read(&NewRequest::client(&subject, names).sign(&ca).unwrap());
    let is_it = |hash: &_| *hash == ca_hash;
    let refused = request(&[]).check(&RequestPolicy { is_ca_key: &is_it, ..open() }).unwrap_err();
    assert!(matches!(refused, RequestError::CaKey), "{refused}");
    let refused = request(&[]).check(&RequestPolicy { is_key_of_another: &is_it, ..open() }).unwrap_err();
    assert!(matches!(refused, RequestError::KeyOfAnother), "{refused}");

    let good = [SubjectAltName::Dns("agent7.example".into())];
    let checked = request(&good).check(&RequestPolicy { names: Some(&pattern), ..open() }).unwrap();
    assert_eq!((checked.common_name(), checked.names().len()), (Some("agent-1.example"), 1));
    for foreign in [SubjectAltName::Dns("agent.b.example".into()), SubjectAltName::parse("192.0.2.1").unwrap()] {
        let asked = request(std::slice::from_ref(&foreign));
        let refused = asked.check(&RequestPolicy { names: Some(&pattern), ..open() }).unwrap_err();
        assert!(matches!(refused, RequestError::NameNotAllowed { ref name, .. } if *name == foreign.value()));
    }
}

fn spki(oid: ObjectIdentifier, parameters: Option<Any>, key: &[u8]) -> SubjectPublicKeyInfo {
    let subject_public_key = BitString::from_bytes(key).unwrap();
    SubjectPublicKeyInfo { algorithm: AlgorithmIdentifier { oid, parameters }, subject_public_key }
}

fn info(public_key: SubjectPublicKeyInfo, attributes: SetOfVec<Attribute>) -> CertReqInfo {
    CertReqInfo { version: Version::V1, subject: Name::default(), public_key, attributes }
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &[u8]) -> Extension {
    Extension { extn_id, critical, extn_value: OctetString::new(value).unwrap() }
}

fn signed(key: &PrivateKey, attributes: SetOfVec<Attribute>) -> Vec<u8> {
    let info = info(SubjectPublicKeyInfo::from_der(key.public_key().spki_der()).unwrap(), attributes);
    let signature = BitString::from_bytes(&key.sign(&info.to_der().unwrap()).unwrap()).unwrap();
    let algorithm = AlgorithmIdentifier { oid: ECDSA_WITH_SHA_256, parameters: None };
    CertReq { info, algorithm, signature }.to_der().unwrap()
}
