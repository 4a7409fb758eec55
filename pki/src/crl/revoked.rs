//! Revoked serial numbers, encoded as they stand in a CRL: one buffer, appended to.

use der::Encode;
use time::OffsetDateTime;

use super::Reason;
use crate::{error::PkiError, hierarchy::asn1_time};

/// Most serial numbers that a shard is cut for: about half a megabyte as a CRL.
pub const SHARD_SERIALS_MAX: usize = 10_000;

/// The entries of a list, about 50 bytes each. Appending takes well under a microsecond; nothing is re-encoded when the
/// list is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedList {
    entries: Vec<u8>,
    count: usize,
}

impl RevokedList {
    /// An empty list with room for `count` entries.
    pub fn with_capacity(count: usize) -> Self {
        Self { entries: Vec::with_capacity(count.saturating_mul(ENTRY_BYTES)), count: 0 }
    }

    /// Appends a certificate by its serial number (octets, big-endian, positive, 1 to 20 of them), revoked at `at`.
    ///
    /// The caller lists each serial number once.
    pub fn push(&mut self, serial: &[u8], at: OffsetDateTime, reason: Reason) -> Result<(), PkiError> {
        // RFC 5280 §4.1.2.2: "Certificate users MUST be able to handle serialNumber values up to 20 octets."
        let serial = match serial.iter().position(|octet| *octet != 0) {
            Some(first) => &serial[first..],
            None => return Err(PkiError::Serial { octets: serial.len() }),
        };
        let padded = usize::from(serial[0] >= 0x80);
        let integer = serial.len() + padded;
        if integer > 20 {
            return Err(PkiError::Serial { octets: integer });
        }
        let mut buffer = [0; 17];
        let time = asn1_time(at)?.encode_to_slice(&mut buffer).map_err(PkiError::Encode)?;
        // RFC 5280 §5.3.1: "the reason code CRL entry extension SHOULD be absent instead of using the unspecified (0)
        // reasonCode value."
        let extensions: &[u8] = if reason == Reason::Unspecified { &[] } else { &REASON };
        let length = 2 + integer + time.len() + extensions.len();
        // At most 22 + 17 + 14: one octet says it.
        self.entries.extend([SEQUENCE, length.to_le_bytes()[0], INTEGER, integer.to_le_bytes()[0]]);
        self.entries.extend(std::iter::repeat_n(0, padded));
        self.entries.extend(serial);
        self.entries.extend(time);
        self.entries.extend(extensions);
        if let (Some(last), false) = (self.entries.last_mut(), extensions.is_empty()) {
            *last = reason.code();
        }
        self.count += 1;
        Ok(())
    }

    /// Appends all of another list, as it is encoded already.
    pub fn append(&mut self, other: &Self) {
        self.entries.extend_from_slice(&other.entries);
        self.count += other.count;
    }

    /// How many certificates are listed.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The contents of `revokedCertificates`.
    pub(crate) fn entries(&self) -> &[u8] {
        &self.entries
    }
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
/// Of an entry with a serial number of 17 octets and a reason.
const ENTRY_BYTES: usize = 2 + 19 + 15 + 14;
/// Extensions { Extension { id-ce-cRLReasons, OCTET STRING { ENUMERATED } } }, its last octet the reason.
const REASON: [u8; 14] = [0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01, 0x00];

#[cfg(test)]
mod tests {
    use der::Decode;
    use proptest::prelude::*;
    use x509_cert::{crl::RevokedCert, ext::pkix::CrlReason};

    use super::*;

    proptest! {
        /// Each entry decodes with x509-cert to what was put in, and re-encodes to the same octets.
        #[test]
        fn entries_are_der(
            serial in proptest::collection::vec(any::<u8>(), 1..=20),
            seconds in 0i64..250_000_000_000,
            which in 0usize..Reason::ALL.len(),
        ) {
            let (reason, mut list) = (Reason::ALL[which], RevokedList::default());
            let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let fits = serial.iter().any(|octet| *octet != 0) && !(serial.len() == 20 && serial[0] >= 0x80);
            prop_assert_eq!(list.push(&serial, at, reason).is_ok(), fits);
            if fits {
                let entry = RevokedCert::<x509_cert::certificate::Rfc5280>::from_der(list.entries());
                let entry = entry.map_err(|error| TestCaseError::fail(error.to_string()))?;
                let stripped: Vec<u8> = serial.iter().copied().skip_while(|octet| *octet == 0).collect();
                let read: Vec<u8> = entry.serial_number.as_bytes().iter().copied().skip_while(|octet| *octet == 0).collect();
                prop_assert_eq!(read, stripped);
                prop_assert_eq!(entry.revocation_date.to_unix_duration().as_secs(), seconds.unsigned_abs());
                let code = entry.crl_entry_extensions.as_ref().map(|list| list[0].extn_value.as_bytes().to_vec());
                let expected = CrlReason::from_der(&[0x0a, 1, reason.code()]).ok().filter(|_| reason != Reason::Unspecified);
                prop_assert_eq!(code.and_then(|code| CrlReason::from_der(&code).ok()), expected);
                let again = entry.to_der();
                prop_assert_eq!(again.as_deref().ok(), Some(list.entries()));
            }
        }
    }
}
