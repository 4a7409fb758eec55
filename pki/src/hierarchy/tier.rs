//! The tiers of CAs, and what each may do.

use const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;

use crate::{extension::Powers, profile::Days};

/// Days of validity of a client's certificate where nothing else is asked for.
pub const CLIENT_DAYS_DEFAULT: Days = 7;

/// A tier of CAs of the provisioning hierarchy, top down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Self-signed; may be kept away from the network.
    Root,
    /// The issuer of an organisation: signs the issuing CAs of its provisioning keys, and the CRL that revokes them.
    Organisation,
    /// The issuing CA of one provisioning key: signs client certificates only.
    Key,
}

impl Tier {
    /// How many CAs may follow below: the pathLenConstraint (RFC 5280 §4.2.1.9).
    pub fn path_len(self) -> u8 {
        match self {
            // Two tiers, and another root in between that is certified while one follows the other.
            Self::Root => 3,
            Self::Organisation => 1,
            Self::Key => 0,
        }
    }

    /// Days of validity where nothing else is asked for.
    pub fn days(self) -> Days {
        match self {
            Self::Root => 7300,
            Self::Organisation => 3650,
            Self::Key => 1825,
        }
    }

    /// Below the root, certificates are for clients only. OCSPSigning is left out on purpose: in a CA's certificate it
    /// would make that CA a responder for its own parent (RFC 6960 §4.2.2.2).
    pub(crate) fn powers(self) -> Powers {
        let purposes = if self == Self::Root { Vec::new() } else { vec![ID_KP_CLIENT_AUTH] };
        Powers::ca(Some(self.path_len()), purposes)
    }
}
