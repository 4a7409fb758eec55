//! The gateway's own hierarchy as a relying party sees it, and requests as their makers send them.
//!
//! Method: issue every profile, verify the chains with webpki, and read the fields back; then feed requests of a foreign
//! maker, each whole, damaged and oversized.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use keygate_pki::{
    CSR_BYTES_MAX, Certificate, CertificateRequest, DistinguishedName, Issuer, KeyFault, KeyType, OffsetDateTime,
    Order, PkiError, PrivateKey, Profile, RequestError, SignatureAlgorithm, Signer, SubjectAltName, SystemSerials,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

const NOW: i64 = 1_800_000_000;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).unwrap()
}

struct Authority {
    certificate: Certificate,
    key: PrivateKey,
}

fn root(profile: Profile) -> Authority {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP384Sha384).unwrap();
    let name = DistinguishedName::new(Some("Example"), "Root").unwrap();
    let certificate = Issuer::self_signed(profile, &name, &key, now(), &mut SystemSerials).unwrap();
    Authority { certificate, key }
}

fn issue(by: &Authority, profile: Profile, names: &[SubjectAltName], days: Option<u32>) -> Authority {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let subject = DistinguishedName::new(None, "subject").unwrap();
    let order = Order { profile, subject: &subject, public_key: key.public_key(), names, days };
    let certificate = Issuer::new(&by.certificate, &by.key).unwrap().issue(&order, now(), &mut SystemSerials).unwrap();
    Authority { certificate, key }
}

fn verify(
    leaf: &Certificate,
    via: &Certificate,
    anchor: &Certificate,
    usage: webpki::KeyUsage,
    at: i64,
) -> Result<(), webpki::Error> {
    let (leaf, via, anchor) =
        (CertificateDer::from(leaf.der()), CertificateDer::from(via.der()), CertificateDer::from(anchor.der()));
    let anchors = [webpki::anchor_from_trusted_cert(&anchor).unwrap()];
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unsigned_abs()));
    webpki::EndEntityCert::try_from(&leaf)?
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[via], at, usage, None, None)
        .map(drop)
}

/// A relying party that trusts the root accepts what each issuer is for, and nothing else.
#[test]
fn chains_verify_for_their_purpose_only() {
    let root = root(Profile::RootCa);
    let (servers, clients) =
        (issue(&root, Profile::ServerCa, &[], None), issue(&root, Profile::ClientIssuer, &[], None));
    let names = [SubjectAltName::parse("localhost").unwrap(), SubjectAltName::parse("::1").unwrap()];
    let server = issue(&servers, Profile::ServerCertificate, &names, None).certificate;
    let client = issue(&clients, Profile::ClientCertificate, &[], None).certificate;
    let (server_auth, client_auth) = (webpki::KeyUsage::server_auth, webpki::KeyUsage::client_auth);

    verify(&server, &servers.certificate, &root.certificate, server_auth(), NOW).unwrap();
    verify(&client, &clients.certificate, &root.certificate, client_auth(), NOW).unwrap();
    verify(&server, &servers.certificate, &root.certificate, client_auth(), NOW).unwrap_err();
    verify(&client, &clients.certificate, &root.certificate, server_auth(), NOW).unwrap_err();
    verify(&client, &servers.certificate, &servers.certificate, client_auth(), NOW).unwrap_err();
    verify(&client, &clients.certificate, &root.certificate, client_auth(), NOW + 398 * 86_400).unwrap_err();
    verify(&client, &clients.certificate, &root.certificate, client_auth(), NOW - 86_400).unwrap_err();

    let der = CertificateDer::from(server.der());
    let end_entity = webpki::EndEntityCert::try_from(&der).unwrap();
    for good in ["localhost", "::1"] {
        end_entity.verify_is_valid_for_subject_name(&ServerName::try_from(good).unwrap()).unwrap();
    }
    end_entity.verify_is_valid_for_subject_name(&ServerName::try_from("other").unwrap()).unwrap_err();
}

/// A client certificate cannot sign, and an issuer whose key is another one is refused before it signs.
#[test]
fn only_a_ca_with_its_own_key_issues() {
    let admin = root(Profile::AdminCa);
    let leaf = issue(&admin, Profile::AdminCertificate, &[], None);
    assert!(matches!(Issuer::new(&leaf.certificate, &leaf.key), Err(PkiError::Issuer(_))));
    assert!(matches!(Issuer::new(&admin.certificate, &leaf.key), Err(PkiError::Issuer(_))));
    assert!(admin.certificate.is_ca() && !leaf.certificate.is_ca());
    assert!(leaf.certificate.allows_client_auth());
}

/// Serial numbers are positive, of 17 octets and all different; the validity is the one asked for, within the issuer's.
#[test]
fn serials_and_validity_follow_rfc_5280() {
    let root = root(Profile::RootCa);
    let issuer = issue(&root, Profile::ClientIssuer, &[], None);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let leaf = issue(&issuer, Profile::ClientCertificate, &[], Some(7)).certificate;
        assert_eq!(leaf.serial().len(), 17);
        assert!(leaf.serial()[0] < 0x80 && leaf.serial()[0] != 0);
        assert!(seen.insert(leaf.serial().to_vec()));
        assert_eq!(leaf.not_after(), now() + time::Duration::days(7));
        assert!(leaf.is_valid_at(now()) && !leaf.is_valid_at(now() + time::Duration::days(8)));
    }
    let longest = issue(&issuer, Profile::ClientCertificate, &[], Some(100_000)).certificate;
    assert_eq!(longest.not_after(), issuer.certificate.not_after());

    let subject = DistinguishedName::new(None, "x").unwrap();
    let order = Order {
        profile: Profile::ClientCertificate,
        subject: &subject,
        public_key: issuer.key.public_key(),
        names: &[],
        days: Some(0),
    };
    let refused = Issuer::new(&issuer.certificate, &issuer.key).unwrap().issue(&order, now(), &mut SystemSerials);
    assert!(matches!(refused, Err(PkiError::Validity { days: 0 })));
}

/// PEM and DER forms read back as the same certificate, and a private key survives its PKCS#8 form.
#[test]
fn certificates_and_keys_read_back() {
    let ca = root(Profile::AdminCa);
    let pem = ca.certificate.to_pem().unwrap();
    let chatty = format!("subject=CN = x\n{pem}trailing text\n");
    for form in [pem.as_bytes(), chatty.as_bytes(), ca.certificate.der()] {
        let read = Certificate::from_pem_or_der(form).unwrap();
        assert_eq!(read.fingerprint(), ca.certificate.fingerprint());
        assert_eq!(read.spki_hash(), ca.key.public_key().spki_hash());
    }
    let key = PrivateKey::from_pkcs8(ca.key.expose_pkcs8()).unwrap();
    assert_eq!(key.public_key(), ca.key.public_key());
    assert!(key.expose_pem().unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    for bad in [
        &b""[..],
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN X-----",
        &[0x30, 0x80],
    ] {
        Certificate::from_pem_or_der(bad).unwrap_err();
        assert!(PrivateKey::from_pkcs8(bad).is_err());
    }
}

/// Requests with a good key are accepted; of what they ask for, only checked names are taken over.
#[test]
fn foreign_requests_are_accepted_for_their_key() {
    let cases: [(&[u8], KeyType); 6] = [
        (include_bytes!("requests/rsa.csr"), KeyType::Rsa),
        (include_bytes!("requests/pss.csr"), KeyType::Rsa),
        (include_bytes!("requests/prime256v1.csr"), KeyType::EcP256),
        (include_bytes!("requests/secp384r1.csr"), KeyType::EcP384),
        (include_bytes!("requests/secp521r1.csr"), KeyType::EcP521),
        (include_bytes!("requests/ed25519.csr"), KeyType::Ed25519),
    ];
    let root = root(Profile::RootCa);
    let issuer = issue(&root, Profile::ClientIssuer, &[], None);
    for (pem, key_type) in cases {
        let request = CertificateRequest::from_pem_or_der(pem).unwrap();
        assert_eq!(request.public_key().key_type(), key_type);
        let subject = DistinguishedName::new(None, "vendor").unwrap();
        let order = Order {
            profile: Profile::ClientCertificate,
            subject: &subject,
            public_key: request.public_key(),
            names: request.names(),
            days: None,
        };
        let issued =
            Issuer::new(&issuer.certificate, &issuer.key).unwrap().issue(&order, now(), &mut SystemSerials).unwrap();
        assert!(!issued.is_ca());
        assert_eq!(issued.spki_hash(), request.public_key().spki_hash());
        verify(&issued, &issuer.certificate, &root.certificate, webpki::KeyUsage::client_auth(), NOW).unwrap();
    }
    let named = CertificateRequest::from_pem_or_der(include_bytes!("requests/rsa.csr")).unwrap();
    assert_eq!(
        named.names(),
        [SubjectAltName::parse("agent.example").unwrap(), SubjectAltName::parse("192.0.2.7").unwrap()]
    );
}

/// Requests that must not be signed, each with the reason its maker can act on.
#[test]
fn bad_requests_are_refused_with_the_reason() {
    let small = CertificateRequest::from_pem_or_der(include_bytes!("requests/small.csr")).unwrap_err();
    assert!(matches!(small, RequestError::PublicKey(KeyFault::RsaSize { bits: 1024, .. })), "{small}");
    let curve = CertificateRequest::from_pem_or_der(include_bytes!("requests/secp256k1.csr")).unwrap_err();
    assert!(matches!(curve, RequestError::PublicKey(KeyFault::Curve)), "{curve}");
    let pss_key = CertificateRequest::from_pem_or_der(include_bytes!("requests/rsapss.csr")).unwrap_err();
    assert!(matches!(pss_key, RequestError::PublicKey(_)), "{pss_key}");
    let mail = CertificateRequest::from_pem_or_der(include_bytes!("requests/mail.csr")).unwrap_err();
    assert!(matches!(mail, RequestError::SubjectAltName(_)), "{mail}");
    let large = CertificateRequest::from_pem_or_der(&vec![0x30; CSR_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(large, RequestError::TooLarge { .. }), "{large}");
    for not_one in [
        &b""[..],
        b"-----BEGIN CERTIFICATE REQUEST-----",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        assert!(matches!(CertificateRequest::from_pem_or_der(not_one), Err(RequestError::Malformed(_))));
    }
}

/// No single flipped bit of a request leaves it accepted with another key or other names: the signature covers them.
#[test]
fn a_damaged_request_is_never_accepted() {
    let pem = include_str!("requests/prime256v1.csr");
    let der = der::pem::decode_vec(pem.as_bytes()).map(|(_, der)| der).unwrap();
    assert!(CertificateRequest::from_pem_or_der(&der).is_ok());
    for position in 0..der.len() {
        for bit in 0..8 {
            let mut damaged = der.clone();
            damaged[position] ^= 1 << bit;
            assert!(CertificateRequest::from_pem_or_der(&damaged).is_err(), "bit {bit} of octet {position}");
        }
    }
}
