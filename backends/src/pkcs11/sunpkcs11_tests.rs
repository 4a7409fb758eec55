use super::*;
use proptest::prelude::*;

#[test]
fn a_pasted_configuration() {
    let text = r#"
# handed out by the vendor
name = "Vendor HSM"   # a label
library=/opt/vendor/lib/libp11.so
slot = 0x1F
attributes(*, CKO_PRIVATE_KEY, *) = {
  CKA_SENSITIVE = true
  CKA_SIGN = true
}
disabledMechanisms = { CKM_SHA1_RSA_PKCS }
showInfo = true
"#;
    let parsed = SunPkcs11::parse(text).expect("legal");
    assert_eq!(parsed.name.as_deref(), Some("Vendor HSM"));
    assert_eq!(parsed.module, PathBuf::from("/opt/vendor/lib/libp11.so"));
    assert_eq!(parsed.token, TokenSelector { slot_id: Some(31), ..TokenSelector::default() });
    assert_eq!(parsed.unused, ["attributes(*,CKO_PRIVATE_KEY,*)", "disabledMechanisms", "showInfo"]);
}

#[test]
fn the_slot_by_its_place_in_the_list() {
    let at = |text: &str| SunPkcs11::parse(text).expect("legal").token.slot_index;
    assert_eq!(at("library=/l\nslotListIndex=3\n"), Some(3));
    assert_eq!(at("name=n\nlibrary=/l"), Some(0));
}

#[test]
fn what_is_refused() {
    for (text, why) in [
        ("name=n", "library is missing"),
        ("library=lib.so", "absolute path"),
        ("library=/l/${arch}/x.so", "not expanded"),
        ("library=/l\nlibrary=/m", "line 2: library is given twice"),
        ("library=/l\nslot=1\nslotListIndex=1", "only one of"),
        ("library=/l\nslot=one", "line 2: slot is not a number"),
        ("library=/l\nslot=+1", "slot is not a number"),
        ("library=/l\nslot=0x", "slot is not a number"),
        ("library=/l\nslotListIndex=-1", "slotListIndex is not a number"),
        ("library", "has no \"=\""),
        ("library=", "is empty"),
        ("library=\"/l", "quotes"),
        ("library=/l\nattributes(*,*,*) = {", "is not closed"),
        ("library=/l\nnssDbMode=noDb", "NSS"),
        ("library=/l\nuserPin=hunter2", "settings hold no secrets"),
        ("library=/l\nwhatever=1", "unknown setting \"whatever\""),
    ] {
        let error = SunPkcs11::parse(text).expect_err(text);
        assert!(error.contains(why) && !error.contains("hunter2"), "{text}: {error}");
    }
    let long = "#".repeat(SUNPKCS11_OCTETS_MAX + 1);
    assert!(SunPkcs11::parse(&long).expect_err("too long").contains("more than 16384"));
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "(.|\n){0,300}") {
        let _ = SunPkcs11::parse(&text);
        let _ = SunPkcs11::parse(&format!("library=/l\n{text}"));
    }

    #[test]
    fn values_come_back(path in "/[a-zA-Z0-9 ._-]{1,40}[a-z]", slot in any::<u64>(), hex in any::<bool>()) {
        let slot_text = if hex { format!("{slot:#x}") } else { slot.to_string() };
        let parsed = SunPkcs11::parse(&format!("slot = {slot_text}\nlibrary = \"{path}\"")).map_err(TestCaseError::fail)?;
        prop_assert_eq!(parsed.module, PathBuf::from(path));
        prop_assert_eq!(parsed.token.slot_id, Some(slot));
    }
}
