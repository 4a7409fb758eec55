//! Bodies of EST requests, and of a server's answers.
#![no_main]

use keygate_pki::est::{certs_only, csr_attributes, decode_body, encode_body, parse_certs_only, parse_csr_attributes};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let der = decode_body(bytes);
    if let Ok(der) = &der {
        assert_eq!(&decode_body(encode_body(der).as_bytes()).expect("its own base64"), der);
    }
    let der = der.as_deref().unwrap_or(bytes);
    if let Ok(certificates) = parse_certs_only(der) {
        let all: Vec<_> = certificates.iter().collect();
        let again = certs_only(&all).expect("certificates that were read can be sent");
        assert_eq!(parse_certs_only(&again).expect("its own answer").len(), certificates.len());
    }
    if let Ok(attributes) = parse_csr_attributes(der) {
        let again = csr_attributes(&attributes).expect("attributes that were read can be sent");
        assert_eq!(parse_csr_attributes(&again).expect("its own answer").len(), attributes.len());
    }
});
