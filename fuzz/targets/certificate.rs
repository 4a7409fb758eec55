//! A certificate as somebody hands it over: everything that is read from one, and the PEM that is written of it.
#![no_main]

use keygate_pki::{Certificate, IssuerIds, PublicKey};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = PublicKey::from_spki_der(bytes);
    let Ok(certificate) = Certificate::from_pem_or_der(bytes) else { return };
    let pem = certificate.to_pem().expect("what was read can be written");
    let again = Certificate::from_pem_or_der(pem.as_bytes()).expect("its own PEM");
    assert_eq!(again.fingerprint(), certificate.fingerprint());
    let _ = (certificate.subject(), certificate.issuer(), certificate.common_name(), certificate.subject_alt_names());
    let _ = (
        certificate.extended_key_usage(),
        certificate.allows_client_auth(),
        certificate.serial(),
        certificate.spki_hash(),
    );
    let _ = (
        certificate.is_ca(),
        certificate.ca_path_len(),
        certificate.may_sign_certificates(),
        certificate.may_sign_crls(),
    );
    let _ = (certificate.not_before(), certificate.not_after(), certificate.subject_key_identifier());
    let _ = IssuerIds::of(&certificate);
    if certificate.public_key().is_ok() {
        let _ = certificate.verify_issued_by(&certificate);
    }
});
