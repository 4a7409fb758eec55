//! Whatever octets arrive, the readers answer with a value or an error.
//!
//! Method: random octets, and real requests and certificates cut, extended and overwritten at random places.
//! `PROPTEST_CASES` says how many of each.

mod common;

use keygate_pki::{
    BlockList, Certificate, CertificateRequest, HttpUrl, ImportedIssuer, OffsetDateTime, PrivateKey, PublicKey, Reason,
    SubjectAltName, Tier,
};
use proptest::prelude::*;

fn read_all(octets: &[u8]) {
    // Only that they come back matters here; what they accept is the matter of the other tests.
    let _ = CertificateRequest::from_pem_or_der(octets);
    if let Ok(certificate) = Certificate::from_pem_or_der(octets) {
        let _ = (certificate.spki_hash(), certificate.not_after(), certificate.subject(), certificate.issuer());
        let _ = (certificate.is_ca(), certificate.allows_client_auth(), certificate.subject_alt_names());
        let _ =
            (certificate.ca_path_len(), certificate.public_key(), certificate.verify_issued_by(&certificate).is_ok());
        if let Ok(key) = certificate.public_key() {
            let now = OffsetDateTime::UNIX_EPOCH;
            let _ = ImportedIssuer::check(certificate, &key, Tier::Organisation, now, now);
        }
    }
    let _ = (PublicKey::from_spki_der(octets), PrivateKey::from_pem_or_der(octets).is_ok());
}

fn real() -> Vec<Vec<u8>> {
    let pems = [
        include_str!("requests/rsa.csr"),
        include_str!("requests/prime256v1.csr"),
        include_str!("requests/ed25519.csr"),
    ];
    let ders = pems.iter().filter_map(|pem| der::pem::decode_vec(pem.as_bytes()).ok()).map(|(_, der)| der);
    ders.chain(pems.iter().map(|pem| pem.as_bytes().to_vec())).collect()
}

proptest! {
    #[test]
    fn random_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_all(&octets);
    }

    #[test]
    fn damaged_requests_are_survived(
        which in 0usize..6,
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut octets = real().swap_remove(which);
        for (place, octet) in places {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        read_all(&octets);
        octets.truncate(cut.index(octets.len()));
        octets.extend(more);
        read_all(&octets);
    }

    #[test]
    fn any_host_is_sorted_or_refused(host in "\\PC{0,80}") {
        if let Ok(SubjectAltName::Dns(name)) = SubjectAltName::parse(&host) {
            prop_assert!(name.is_ascii() && name.len() <= 253);
        }
    }

    #[test]
    fn damaged_certificates_are_survived(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut octets = CERTIFICATE.with(Clone::clone);
        for (place, octet) in places {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        read_all(&octets);
        octets.truncate(cut.index(octets.len()));
        read_all(&octets);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}", lines in "([0-9a-f#\n ]{0,70}\n){0,5}") {
        let _ = (text.parse::<HttpUrl>(), text.parse::<Reason>(), BlockList::parse(&text), BlockList::parse(&lines));
        let _ = (PrivateKey::from_pem_or_der(text.as_bytes()).is_ok(), CertificateRequest::from_pem_or_der(text.as_bytes()));
    }
}

thread_local! {
    static CERTIFICATE: Vec<u8> = common::hierarchy()[1].certificate.der().to_vec();
}
