//! What narrows a provisioning key further: an end, a number of uses, source addresses, names.

use std::{fmt, net::IpAddr, num::NonZeroU64, str::FromStr};

use ipnet::IpNet;
use time::OffsetDateTime;

use crate::name_pattern::NamePattern;

/// Most source ranges of a key.
pub const SOURCE_RANGES_MAX: usize = 64;

/// Limits of a key. They apply when a client enrols with the secret; renewals by certificate follow the key's state only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// When the secret stops to work.
    pub expires: Option<OffsetDateTime>,
    /// How many certificates may be enrolled with the secret in all.
    pub uses_max: Option<NonZeroU64>,
    /// Where clients enrol from; anywhere where empty.
    pub sources: SourceRanges,
    /// Names that may be enrolled; any where `None`.
    pub names: Option<NamePattern>,
}

/// Which limit refuses an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Its end has come.
    #[error("the provisioning key expired at {at}")]
    Expired {
        /// When.
        at: OffsetDateTime,
    },
    /// It was used as often as it may be.
    #[error("the provisioning key was used {max} times, which is all it may be")]
    UsedUp {
        /// Uses allowed.
        max: u64,
    },
    /// The client comes from elsewhere.
    #[error("{from} is not an address that the provisioning key may be used from")]
    Source {
        /// Where it comes from.
        from: IpAddr,
    },
}

impl Limits {
    /// Whether an enrolment from `from` at `now` is within the limits, after `uses` earlier ones. The count must be read and
    /// raised in one transaction.
    pub fn admit(&self, now: OffsetDateTime, uses: u64, from: IpAddr) -> Result<(), LimitError> {
        if !self.sources.allow(from) {
            return Err(LimitError::Source { from });
        }
        if let Some(at) = self.expires.filter(|at| *at <= now) {
            return Err(LimitError::Expired { at });
        }
        match self.uses_max.map(NonZeroU64::get) {
            Some(max) if uses >= max => Err(LimitError::UsedUp { max }),
            _ => Ok(()),
        }
    }
}

/// IP networks, written `192.0.2.0/24, 2001:db8::/32, 198.51.100.7`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceRanges(Vec<IpNet>);

/// Why a text is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceRangesError {
    /// Neither an address nor a network.
    #[error("\"{0}\" is neither an IP address nor a network such as 192.0.2.0/24")]
    Network(String),
    /// Bits beyond the prefix are set: whoever wrote it may mean another network.
    #[error("\"{given}\" has bits beyond its prefix: write {meant}")]
    HostBits {
        /// As given.
        given: String,
        /// The network it lies in.
        meant: String,
    },
    /// Too many.
    #[error("more than {max} source ranges")]
    TooMany {
        /// Ranges allowed.
        max: usize,
    },
}

impl FromStr for SourceRanges {
    type Err = SourceRangesError;

    fn from_str(text: &str) -> Result<Self, SourceRangesError> {
        let mut ranges = Vec::new();
        if text.trim().is_empty() {
            return Ok(Self(ranges));
        }
        for item in text.split(',').map(str::trim) {
            let network = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
            let network = network.map_err(|_| SourceRangesError::Network(item.chars().take(80).collect()))?;
            if network.trunc() != network {
                return Err(SourceRangesError::HostBits { given: item.into(), meant: network.trunc().to_string() });
            }
            if ranges.len() == SOURCE_RANGES_MAX {
                return Err(SourceRangesError::TooMany { max: SOURCE_RANGES_MAX });
            }
            if !ranges.contains(&network) {
                ranges.push(network);
            }
        }
        Ok(Self(ranges))
    }
}

impl SourceRanges {
    /// Whether `address` lies in one of the ranges, or there are none. An IPv4 address that a dual-stack socket shows as
    /// `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2) counts as IPv4.
    pub fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.is_empty() || self.0.iter().any(|range| range.contains(&address))
    }

    /// Whether there are none, hence every address is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for SourceRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(text: &str) -> SourceRanges {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or(IpAddr::from([0; 4]))
    }

    #[test]
    fn addresses_are_sorted_into_ranges() {
        let some = ranges("192.0.2.0/24, 2001:db8::/32,198.51.100.7");
        assert_eq!(some.to_string(), "192.0.2.0/24, 2001:db8::/32, 198.51.100.7/32");
        for inside in ["192.0.2.0", "192.0.2.255", "2001:db8:1::", "198.51.100.7", "::ffff:192.0.2.9"] {
            assert!(some.allow(ip(inside)), "{inside}");
        }
        for outside in ["192.0.3.0", "2001:db9::", "198.51.100.8", "::192.0.2.9"] {
            assert!(!some.allow(ip(outside)), "{outside}");
        }
        assert!(ranges("").allow(ip("203.0.113.1")) && ranges("0.0.0.0/0").allow(ip("203.0.113.1")));
        assert!(!ranges("0.0.0.0/0").allow(ip("2001:db8::1")));
        assert!(
            matches!("192.0.2.1/24".parse::<SourceRanges>(), Err(SourceRangesError::HostBits { meant, .. }) if meant == "192.0.2.0/24")
        );
        for bad in ["x", "192.0.2.0/33", "192.0.2.0/24,", "192.0.2"] {
            assert!(matches!(bad.parse::<SourceRanges>(), Err(SourceRangesError::Network(_))), "{bad}");
        }
        let many: Vec<String> = (0..=SOURCE_RANGES_MAX).map(|n| format!("10.0.{n}.0/24")).collect();
        assert!(matches!(many.join(",").parse::<SourceRanges>(), Err(SourceRangesError::TooMany { .. })));
    }

    proptest! {
        /// Each limit refuses exactly beyond its bound.
        #[test]
        fn limits_refuse_at_their_bound(now in 0i64..2_000, end in 0i64..2_000, uses in 0u64..10, max in 1u64..10, last in any::<u8>()) {
            let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let limits = Limits { expires: Some(moment(end)), uses_max: NonZeroU64::new(max), sources: ranges("192.0.2.0/25"), names: None };
            let admitted = limits.admit(moment(now), uses, IpAddr::from([192, 0, 2, last])).is_ok();
            prop_assert_eq!(admitted, now < end && uses < max && last < 128);
            prop_assert_eq!(Limits::default().admit(moment(now), uses, IpAddr::from([192, 0, 2, last])), Ok(()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f.:/, x]{0,60}") {
            let _ = text.parse::<SourceRanges>();
        }
    }
}
