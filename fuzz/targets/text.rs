//! What administrators and clients type: lists of names, patterns, networks, pairs of id and secret, URLs. What is read and
//! written is read as the same.
#![no_main]

use std::{fmt::Display, str::FromStr};

use keygate_pki::provisioning::{KeyId, KeyName, PresentedSecret, SecretHash, SourceRanges};
use keygate_pki::{BlockList, COMMON_NAME_CHARS_MAX, DistinguishedName, HttpUrl, NamePattern, Reason, SubjectAltName};

fn again<T: FromStr + Display + PartialEq>(text: &str) -> Option<T> {
    let read = text.parse::<T>().ok()?;
    let written = read.to_string();
    assert!(written.parse::<T>().is_ok_and(|again| again == read), "{written:?} of {text:?} is read as something else");
    Some(read)
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(names) = SubjectAltName::parse_list(text) {
        for name in names {
            assert_eq!(SubjectAltName::parse(&name.value()).ok(), Some(name));
        }
    }
    if let Some(name) = SubjectAltName::parse(text).ok() {
        assert_eq!(SubjectAltName::parse(&name.value()).ok(), Some(name));
    }
    if let Some(pattern) = again::<NamePattern>(text) {
        // A pattern without a wildcard matches itself; any is tried against a long name.
        let _ = (pattern.matches(text), pattern.matches(&"a.".repeat(127)));
    }
    if let Some(ranges) = again::<SourceRanges>(text) {
        let _ = (ranges.allow([192, 0, 2, 1].into()), ranges.allow([0u16; 8].into()));
    }
    let _ = (again::<KeyId>(text), again::<KeyName>(text), again::<HttpUrl>(text), text.parse::<Reason>().is_ok());
    let _ = BlockList::parse(text);
    if let Ok(secret) = PresentedSecret::from_pair(text) {
        assert!(!secret.is(&SecretHash::ABSENT));
        assert!(!format!("{secret:?}").contains(text));
    }
    if let Ok(subject) = DistinguishedName::new(Some(text), text) {
        assert!(text.chars().count() <= COMMON_NAME_CHARS_MAX, "{subject:?}");
    }
});
