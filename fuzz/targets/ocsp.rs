//! What relying parties ask: the body of a POST, and the same as the path of a GET.
#![no_main]

use keygate_pki::{OCSP_CERTS_MAX, OcspRequest};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = OcspRequest::from_der(bytes) {
        assert!((1..=OCSP_CERTS_MAX).contains(&request.certificates().len()));
        let path: String = keygate_pki::est::encode_body(bytes).replace('/', "%2F").replace('+', "%2B");
        let again = OcspRequest::from_get_path(&path).expect("the same request");
        assert_eq!(
            (again.certificates().len(), again.has_nonce()),
            (request.certificates().len(), request.has_nonce())
        );
    }
    if let Ok(path) = std::str::from_utf8(bytes) {
        let _ = OcspRequest::from_get_path(path);
    }
});
