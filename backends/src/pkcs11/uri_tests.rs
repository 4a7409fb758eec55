use super::*;
use proptest::prelude::*;

#[test]
fn the_parts_of_a_token() {
    let uri = "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;serial=4a\
               ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/token_pin";
    let parsed = Pkcs11Uri::parse(uri).expect("legal");
    assert_eq!(parsed.token.label.as_deref(), Some("The Software PKCS#11 Softtoken"));
    assert_eq!(parsed.token.manufacturer.as_deref(), Some("Snake Oil, Inc."));
    assert_eq!((parsed.token.model.as_deref(), parsed.token.serial.as_deref()), (Some("1.0"), Some("4a")));
    assert_eq!(parsed.module, Some("/usr/lib/softhsm/libsofthsm2.so".into()));
    assert_eq!(parsed.pin_file, Some("/etc/token_pin".into()));
    let parsed = Pkcs11Uri::parse("PKCS11:slot-id=7?pin-source=file:///p").expect("legal");
    assert_eq!((parsed.token.slot_id, parsed.pin_file), (Some(7), Some("/p".into())));
    assert!(Pkcs11Uri::parse("pkcs11:").expect("legal and empty").token.is_empty());
}

/// Each mistake is told by its attribute's name, and no value is repeated.
#[test]
fn what_is_refused() {
    for (uri, why) in [
        ("http://token=a", "must begin with pkcs11:"),
        ("pkcs11:token=a;token=b", "given twice"),
        ("pkcs11:token", "no \"=\""),
        ("pkcs11:token=a b", "must be written as a %-escape"),
        ("pkcs11:token=a%2", "malformed %-escape"),
        ("pkcs11:token=%zz", "malformed %-escape"),
        ("pkcs11:token=%ff", "not UTF-8"),
        ("pkcs11:token=%00", "octet 0"),
        ("pkcs11:token=", "is empty"),
        ("pkcs11:token=0123456789012345678901234567890123", "at most 32"),
        ("pkcs11:serial=01234567890123456", "at most 16"),
        ("pkcs11:slot-id=x", "decimal"),
        ("pkcs11:slot-id=+1", "decimal"),
        ("pkcs11:slot-id=99999999999999999999999", "decimal"),
        ("pkcs11:object=key", "names an object"),
        ("pkcs11:library-version=3", "not supported"),
        ("pkcs11:x-vendor=3", "not supported"),
        ("pkcs11:token=a;", "no \"=\""),
        ("pkcs11:token=a?pin-value=hunter2", "settings hold no secrets"),
        ("pkcs11:token=a?pin-source=|/bin/cat", "names a command"),
        ("pkcs11:token=a?pin-source=pin.txt", "absolute path"),
        ("pkcs11:token=a?module-name=softhsm2", "module-path"),
        ("pkcs11:token=a?module-path=lib.so", "absolute path"),
    ] {
        let error = Pkcs11Uri::parse(uri).expect_err(uri);
        assert!(error.contains(why) && !error.contains("hunter2"), "{uri}: {error}");
    }
    let long = format!("pkcs11:token=a?module-path=/{}", "x".repeat(URI_OCTETS_MAX));
    assert!(Pkcs11Uri::parse(&long).expect_err("too long").contains("more than 4096"));
}

fn escape(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

proptest! {
    /// Any text never panics, and never costs more than its length.
    #[test]
    fn any_text_is_answered(text in ".{0,300}") {
        let _ = Pkcs11Uri::parse(&text);
        let _ = Pkcs11Uri::parse(&format!("pkcs11:{text}"));
    }

    /// What is escaped comes back as it was.
    #[test]
    fn values_come_back(label in "[^\0]{1,8}", path in "/[^\0]{0,40}", slot in any::<u64>()) {
        let uri = format!("pkcs11:token={};slot-id={slot}?pin-source={}", escape(&label), escape(&path));
        let parsed = Pkcs11Uri::parse(&uri).map_err(TestCaseError::fail)?;
        prop_assert_eq!(parsed.token, TokenSelector { slot_id: Some(slot), ..TokenSelector::label(label) });
        prop_assert_eq!(parsed.pin_file, Some(path.into()));
    }
}
