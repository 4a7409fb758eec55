//! A client's certificate request: what passes the check is signed by its key and within the bounds.
#![no_main]

use keygate_pki::{BlockList, Certificate, CertificateRequest, REQUEST_NAMES_MAX, RequestPolicy};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A renewal without a request reads the certificate as one.
    if let Ok(certificate) = Certificate::from_der(bytes) {
        let _ = CertificateRequest::of_certificate(&certificate);
    }
    let Ok(request) = CertificateRequest::from_pem_or_der(bytes) else { return };
    let policy = RequestPolicy {
        blocked: &BlockList::default(),
        is_ca_key: &|_| false,
        is_key_of_another: &|_| false,
        names: None,
    };
    let checked = request.check(&policy).expect("an open policy lets every readable request in");
    assert!(checked.names().len() <= REQUEST_NAMES_MAX);
});
