use super::*;
use cryptoki::error::{Rv, RvError};

/// Every return value of PKCS#11 v3.1 (the values of its header file `pkcs11t.h`), by what is to be done.
const STANDARD: &[(Class, &[u64])] = &[
    (Class::RetrySame, &[0x01, 0x05, 0x06, 0x08, 0x50, 0x191, 0x1a0, 0x1a1, 0x1b5]),
    (Class::RetryOther, &[0x02, 0x31]),
    (Class::TokenLost, &[0x03, 0x30, 0x32, 0xe0, 0xe1, 0x190, 0x1b6, 0x1b7]),
    (
        Class::Unsupported,
        &[
            0x07, 0x09, 0x0a, 0x12, 0x13, 0x51, 0x54, 0x62, 0x70, 0x71, 0xb4, 0xd0, 0xd1, 0xf1, 0x114, 0x120, 0x121,
            0x130, 0x140, 0x180,
        ],
    ),
    (Class::Denied, &[0x10, 0x11, 0x1b, 0x68, 0x69, 0x6a, 0xb5, 0xb7, 0xe2, 0x170, 0x200, 0x203]),
    (Class::BadInput(Fault::Data), &[0x20, 0x21, 0x150]),
    (Class::BadInput(Fault::Integrity), &[0x40, 0x41, 0x42, 0xc0, 0xc1, 0x110, 0x112]),
    (Class::BadInput(Fault::Key), &[0x63, 0x64, 0x65, 0x66, 0x67, 0xf2, 0x115, 0x1b9]),
    (Class::NotFound, &[0x60, 0x82, 0xf0, 0x113]),
    (Class::SessionLost, &[0x90, 0x91, 0xb0, 0xb3, 0x100, 0x101, 0x160, 0x202]),
    (Class::AuthStop, &[0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xb8, 0x102, 0x103, 0x104, 0x105, 0x1b0, 0x1b1, 0x1b8]),
    (Class::Busy, &[0xb1, 0xb6, 0x201]),
];

/// The standard's codes beside CKR_OK and CKR_VENDOR_DEFINED, each once, each in the class that recovery depends on.
#[test]
fn every_code_of_the_standard_has_its_class() {
    let mut codes: Vec<u64> = STANDARD.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
    codes.sort_unstable();
    let count = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), count, "a code stands twice");
    for (class, codes) in STANDARD {
        for &code in *codes {
            let error = error("C_Sign", code);
            assert_eq!(error.class(), *class, "0x{code:x}");
            assert_ne!(name(code), "CKR_?", "0x{code:x} has no name");
        }
    }
    // Later versions add codes; the table knows them too, and no code of 3.1 is missing above.
    let later = [0x204, 0x205, 0x206, 0x207, 0x208, 0x209];
    for row in TABLE.iter().filter(|row| !codes.contains(&row.0)) {
        assert!(later.contains(&row.0), "{} 0x{:x} is not in the list above", row.1, row.0);
    }
}

/// Whatever a vendor makes up is a vague failure: tried once more, then the token is looked at.
#[test]
fn codes_of_vendors_are_vague_failures() {
    for code in [ck::CKR_VENDOR_DEFINED, ck::CKR_VENDOR_DEFINED + 7, 0x7fff_ffff, u64::MAX, 0x04, 0x9999] {
        assert_eq!((error("C_Sign", code).class(), name(code)), (Class::RetrySame, "CKR_?"), "0x{code:x}");
    }
}

/// Every return value that the binding crate knows has exactly one row, and no row names the wrong value.
#[test]
fn the_table_is_complete() {
    for code in 1..0x1000 {
        let known = match Rv::from(code) {
            Rv::Ok => false,
            Rv::Error(error) => !matches!(error, RvError::VendorDefined(_) | RvError::UnknownErrorCode(_)),
        };
        let rows = TABLE.iter().filter(|row| row.0 == code).count();
        assert!(rows <= 1 && (rows == 1 || !known), "0x{code:x}: {rows} rows");
    }
}

/// Every function that is called has its name on the list, or its errors would come back without it.
#[test]
fn the_functions_called_are_listed() {
    let calls = include_str!("raw.rs");
    let called = calls.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("C_"));
    let missing: Vec<&str> = called.filter(|name| function(name) == "C_?").collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_text_names_function_and_code() {
    let error = error("C_Sign", ck::CKR_DEVICE_ERROR);
    assert_eq!(error.to_string(), "the token refused the call (C_Sign: CKR_DEVICE_ERROR 0x30)");
}
