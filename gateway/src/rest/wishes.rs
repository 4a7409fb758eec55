//! What a client wishes of a key: checked in form here, so that a refusal names the field. What may be is the operations' business.

use std::collections::BTreeMap;

use keygate_kmip::{AnyValue, Attribute, CryptographicAlgorithm, CryptographicUsageMask as Mask, CustomAttribute, RecommendedCurve};

use super::answer::Refused;

/// Custom attributes that begin so are ours.
pub(super) const RESERVED: &str = "keygate-";
/// The custom attribute that keeps a key from being destroyed over REST.
pub(super) const DELETABLE: &str = "keygate-deletable";
/// The custom attribute by which a request chooses a keystore.
const KEYSTORE: &str = "keygate-keystore";

/// Longest name of a key or attribute, in octets.
const NAME_BYTES_MAX: usize = 64;
/// Most custom attributes of a request.
const ATTRIBUTES_MAX: usize = 32;
/// Longest value of a custom attribute, in octets.
const VALUE_BYTES_MAX: usize = 1024;

/// Usages by the contract's names.
pub(super) const USAGES: [(&str, Mask); 10] = [
    ("SIGN", Mask::SIGN),
    ("VERIFY", Mask::VERIFY),
    ("ENCRYPT", Mask::ENCRYPT),
    ("DECRYPT", Mask::DECRYPT),
    ("WRAP_KEY", Mask::WRAP_KEY),
    ("UNWRAP_KEY", Mask::UNWRAP_KEY),
    ("MAC_GENERATE", Mask::MAC_GENERATE),
    ("MAC_VERIFY", Mask::MAC_VERIFY),
    ("DERIVE_KEY", Mask::DERIVE_KEY),
    ("KEY_AGREEMENT", Mask::KEY_AGREEMENT),
];

/// Usages of a private half; its public half has their counterparts.
const OF_PRIVATE: Mask = Mask(Mask::SIGN.0 | Mask::DECRYPT.0 | Mask::UNWRAP_KEY.0 | Mask::DERIVE_KEY.0 | Mask::KEY_AGREEMENT.0);
const OF_PUBLIC: Mask = Mask(Mask::VERIFY.0 | Mask::ENCRYPT.0 | Mask::WRAP_KEY.0);

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A symmetric key, of so many bits.
    Symmetric(CryptographicAlgorithm, i32),
    /// A key pair, on a curve where it needs one.
    Pair(CryptographicAlgorithm, i32, Option<RecommendedCurve>),
}

/// Curves by the contract's names, and the length of a key on them.
const CURVES: [(&str, RecommendedCurve, i32); 3] =
    [("P-256", RecommendedCurve::P256, 256), ("P-384", RecommendedCurve::P384, 384), ("P-521", RecommendedCurve::P521, 521)];

/// The kind of key, by the contract's names.
pub(super) fn kind(algorithm: &str, length: Option<i32>, curve: Option<&str>) -> Result<Kind, Refused> {
    use CryptographicAlgorithm as A;
    let length = match curve {
        None => length,
        Some(_) if algorithm != "EC" => return Err(Refused::invalid("curve goes with algorithm EC")),
        Some(name) => {
            let known = CURVES.iter().find(|(known, ..)| *known == name);
            let (.., bits) = known.ok_or_else(|| Refused::invalid("curve must be one of P-256, P-384, P-521"))?;
            if length.is_some_and(|length| length != *bits) {
                return Err(Refused::invalid(format!("length contradicts curve, whose keys have {bits} bits")));
            }
            Some(*bits)
        }
    };
    let among = |default: i32, all: &[i32]| match length {
        None => Ok(default),
        Some(bits) if all.contains(&bits) => Ok(bits),
        Some(_) => Err(Refused::invalid(format!("length of an {algorithm} key must be one of {all:?}"))),
    };
    Ok(match algorithm {
        "AES" => Kind::Symmetric(A::Aes, among(256, &[128, 192, 256])?),
        "HMAC-SHA256" => Kind::Symmetric(A::HmacSha256, among(256, &[256, 384, 512])?),
        "HMAC-SHA384" => Kind::Symmetric(A::HmacSha384, among(384, &[256, 384, 512])?),
        "HMAC-SHA512" => Kind::Symmetric(A::HmacSha512, among(512, &[256, 384, 512])?),
        "RSA" => Kind::Pair(A::Rsa, among(3072, &[2048, 3072, 4096])?, None),
        "EC" => {
            let bits = among(256, &[256, 384, 521])?;
            Kind::Pair(A::Ec, bits, CURVES.iter().find(|(.., of_curve)| *of_curve == bits).map(|(_, curve, _)| *curve))
        }
        _ => return Err(Refused::invalid("algorithm must be one of AES, HMAC-SHA256, HMAC-SHA384, HMAC-SHA512, RSA, EC")),
    })
}

impl Kind {
    /// What such a key is for where nothing is said.
    fn default_usage(self) -> Mask {
        match self {
            Self::Symmetric(CryptographicAlgorithm::Aes, _) => Mask::ENCRYPT | Mask::DECRYPT,
            Self::Symmetric(..) => Mask::MAC_GENERATE | Mask::MAC_VERIFY,
            Self::Pair(..) => Mask::SIGN | Mask::VERIFY,
        }
    }

    /// The usage that is asked for.
    pub(super) fn usage(self, names: Option<&[String]>) -> Result<Mask, Refused> {
        let Some(names) = names else { return Ok(self.default_usage()) };
        let mut mask = Mask::default();
        for name in names {
            let known = USAGES.iter().find(|(known, _)| known == name);
            let known = known.ok_or_else(|| {
                let all: Vec<&str> = USAGES.iter().map(|(name, _)| *name).collect();
                Refused::invalid(format!("usageMask takes {}", all.join(", ")))
            })?;
            mask = mask | known.1;
        }
        let of_secret = Mask::ENCRYPT | Mask::DECRYPT | Mask::WRAP_KEY | Mask::UNWRAP_KEY | Mask::DERIVE_KEY;
        let fitting = match self {
            Self::Symmetric(CryptographicAlgorithm::Aes, _) => of_secret | Mask::MAC_GENERATE | Mask::MAC_VERIFY,
            Self::Symmetric(..) => Mask::MAC_GENERATE | Mask::MAC_VERIFY | Mask::DERIVE_KEY,
            Self::Pair(..) => OF_PRIVATE | OF_PUBLIC,
        };
        if mask.0 == 0 || !fitting.contains(mask) {
            return Err(Refused::invalid("usageMask names nothing, or a use that such a key does not have"));
        }
        Ok(mask)
    }
}

/// The usages of the private and of the public half of a pair.
pub(super) fn halves(mask: Mask) -> (Mask, Mask) {
    (Mask(mask.0 & OF_PRIVATE.0), Mask(mask.0 & OF_PUBLIC.0))
}

/// A name that a key made here may have. It cannot be taken for a UUID or for a version of another key.
pub(super) fn name(name: &str) -> Result<(), Refused> {
    if !is_plain(name) {
        return Err(Refused::invalid("name must have 1 to 64 letters, digits and any of _ . -"));
    }
    if uuid::Uuid::try_parse(name).is_ok() {
        return Err(Refused::invalid("name must not be a UUID"));
    }
    Ok(())
}

/// A group.
pub(super) fn group(group: &str) -> Result<(), Refused> {
    if is_plain(group) { Ok(()) } else { Err(Refused::invalid("group must have 1 to 64 letters, digits and any of _ . -")) }
}

/// The client's own attributes; `None` as a value where one is to be removed.
pub(super) fn attributes(given: &BTreeMap<String, Option<String>>) -> Result<(), Refused> {
    if given.len() > ATTRIBUTES_MAX {
        return Err(Refused::invalid(format!("attributes has at most {ATTRIBUTES_MAX} members in a request")));
    }
    for (name, value) in given {
        if !is_plain(name) {
            return Err(Refused::invalid("the name of an attribute must have 1 to 64 letters, digits and any of _ . -"));
        }
        if name.starts_with(RESERVED) {
            return Err(Refused::invalid(format!("attributes that begin with {RESERVED} are the server's")));
        }
        if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            return Err(Refused::invalid(format!("the value of attribute {name} is longer than {VALUE_BYTES_MAX} octets")));
        }
    }
    Ok(())
}

/// A custom attribute of the client.
pub(super) fn custom(name: &str, value: &str) -> Attribute {
    Attribute::Custom(CustomAttribute { vendor: "x".to_owned(), name: name.to_owned(), value: AnyValue::text(value) })
}

/// The attribute that chooses a keystore.
pub(super) fn keystore(name: &str) -> Attribute {
    custom(KEYSTORE, name)
}

fn is_plain(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes are those of the algorithm, usages those that such a key has; nothing is rounded or dropped.
    #[test]
    fn kinds_and_usages_are_checked() {
        assert_eq!(kind("AES", None, None).expect("AES"), Kind::Symmetric(CryptographicAlgorithm::Aes, 256));
        assert_eq!(kind("EC", Some(384), None).expect("EC"), Kind::Pair(CryptographicAlgorithm::Ec, 384, Some(RecommendedCurve::P384)));
        for (algorithm, length) in [("AES", Some(64)), ("AES", Some(-256)), ("RSA", Some(1024)), ("EC", Some(255)), ("DES", None), ("aes", None)] {
            assert!(kind(algorithm, length, None).is_err(), "{algorithm} {length:?}");
        }
        let (aes, hmac) = (kind("AES", None, None).expect("AES"), kind("HMAC-SHA256", None, None).expect("HMAC"));
        let asked = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(aes.usage(Some(&asked(&["WRAP_KEY", "UNWRAP_KEY"]))).expect("fits"), Mask::WRAP_KEY | Mask::UNWRAP_KEY);
        assert!(aes.usage(Some(&asked(&["SIGN"]))).is_err() && aes.usage(Some(&[])).is_err() && aes.usage(Some(&asked(&["EVERYTHING"]))).is_err());
        assert!(hmac.usage(Some(&asked(&["ENCRYPT"]))).is_err());
        assert_eq!(halves(Mask::SIGN | Mask::VERIFY), (Mask::SIGN, Mask::VERIFY));
    }

    /// Names and attributes have bounds; ours cannot be set from outside.
    #[test]
    fn names_and_attributes_have_bounds() {
        assert!(name("share-7.key_1").is_ok() && group("finance").is_ok());
        for bad in ["", "a b", "a/b", "a#1", "ä", &"x".repeat(65), "6fa459ea-ee8a-3ca4-894e-db77e160355e"] {
            assert!(name(bad).is_err(), "{bad}");
        }
        let one = |name: &str, value: Option<String>| BTreeMap::from([(name.to_owned(), value)]);
        assert!(attributes(&one("department", Some("x".repeat(1024)))).is_ok() && attributes(&one("department", None)).is_ok());
        assert!(attributes(&one("department", Some("x".repeat(1025)))).is_err());
        assert!(attributes(&one(DELETABLE, None)).is_err() && attributes(&one("a b", None)).is_err());
        assert!(attributes(&(0..33).map(|n| (format!("a{n}"), None)).collect()).is_err());
    }
}
