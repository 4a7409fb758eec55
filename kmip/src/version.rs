//! Protocol versions.

use std::fmt;

/// A KMIP protocol version, KMIP 2.1 §8.3 (Protocol Version).
///
/// Ordered by age. The ones this crate encodes and decodes are [`ProtocolVersion::SUPPORTED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// Protocol Version Major.
    pub major: i32,
    /// Protocol Version Minor.
    pub minor: i32,
}

impl ProtocolVersion {
    /// KMIP 1.0.
    pub const V1_0: Self = Self::new(1, 0);
    /// KMIP 1.1.
    pub const V1_1: Self = Self::new(1, 1);
    /// KMIP 1.2.
    pub const V1_2: Self = Self::new(1, 2);
    /// KMIP 1.3.
    pub const V1_3: Self = Self::new(1, 3);
    /// KMIP 1.4.
    pub const V1_4: Self = Self::new(1, 4);
    /// KMIP 2.0.
    pub const V2_0: Self = Self::new(2, 0);
    /// KMIP 2.1.
    pub const V2_1: Self = Self::new(2, 1);
    /// KMIP 3.0, as far as the committee draft's lists and test cases tell it.
    pub const V3_0: Self = Self::new(3, 0);
    /// How attributes are kept: written as 2.1 writes them, with the values of every version.
    pub(crate) const STORED: Self = Self::new(2, i32::MAX);

    /// The versions this crate speaks, newest first.
    pub const SUPPORTED: [Self; 8] =
        [Self::V3_0, Self::V2_1, Self::V2_0, Self::V1_4, Self::V1_3, Self::V1_2, Self::V1_1, Self::V1_0];

    /// A version by number; not necessarily one that exists.
    #[must_use]
    pub const fn new(major: i32, minor: i32) -> Self {
        Self { major, minor }
    }

    /// Whether this crate speaks it.
    #[must_use]
    pub fn is_supported(self) -> bool {
        Self::SUPPORTED.contains(&self)
    }

    /// Whether something that came with a version can be said in this one.
    pub(crate) fn knows(self, first: Self) -> bool {
        first <= self || self == Self::STORED
    }

    /// Whether attributes are structures by tag (2.0 and later) rather than name-value pairs in templates.
    #[must_use]
    pub fn has_attributes_by_tag(self) -> bool {
        self >= Self::V2_0
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
