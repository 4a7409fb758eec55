//! Bodies of EST requests and answers: base64 of DER.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use der::Reader;

use super::EstError;

/// Largest body that is read.
pub const EST_BODY_BYTES_MAX: usize = 64 * 1024;

/// The DER in a body. Base64 with or without line breaks, and bare DER, as some clients send it.
///
/// RFC 8951 takes the Content-Transfer-Encoding header out of EST: the octets themselves tell.
pub fn decode_body(body: &[u8]) -> Result<Vec<u8>, EstError> {
    if body.len() > EST_BODY_BYTES_MAX {
        return Err(EstError::TooLarge { bytes: body.len(), max: EST_BODY_BYTES_MAX });
    }
    // The base64 of a SEQUENCE begins with "M", never with the octet of a SEQUENCE itself, which is "0".
    if is_one_sequence(body) {
        return Ok(body.to_vec());
    }
    // RFC 8951: whoever decodes tolerates white space between the characters.
    let text: Vec<u8> = body.iter().copied().filter(|octet| !b"\r\n\t ".contains(octet)).collect();
    let der = LENIENT.decode(text).map_err(|_| EstError::NotBase64)?;
    if der.is_empty() { Err(EstError::NotBase64) } else { Ok(der) }
}

/// The base64 of `der` in one line: some clients fail on line breaks, none on their absence.
pub fn encode_body(der: &[u8]) -> String {
    STANDARD.encode(der)
}

fn is_one_sequence(body: &[u8]) -> bool {
    let read = || {
        let mut reader = der::SliceReader::new(body)?;
        let header = <der::Header as der::Decode>::decode(&mut reader)?;
        Ok::<_, der::Error>(header.tag() == der::Tag::Sequence && header.length() == reader.remaining_len())
    };
    read().unwrap_or(false)
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_and_rubbish_are_refused() {
        assert!(matches!(decode_body(&[b'A'; EST_BODY_BYTES_MAX + 1]), Err(EstError::TooLarge { .. })));
        for bad in [&b""[..], b"\r\n", b"-----BEGIN CERTIFICATE REQUEST-----", b"M!", &[0xff, 0xfe]] {
            assert!(matches!(decode_body(bad), Err(EstError::NotBase64)), "{bad:?}");
        }
    }

    proptest! {
        /// Whatever the DER, it comes back from one line, from lines of any length, and bare.
        #[test]
        fn every_spelling_is_read(contents in proptest::collection::vec(any::<u8>(), 0..300), width in 1usize..80) {
            let octets = der::asn1::OctetString::new(contents).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let der = der::Encode::to_der(&vec![octets]).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let line = encode_body(&der);
            prop_assert!(!line.contains('\n'));
            let broken = line.as_bytes().chunks(width).collect::<Vec<_>>().join(&b"\r\n"[..]);
            for body in [line.as_bytes(), &broken, &der, line.trim_end_matches('=').as_bytes()] {
                prop_assert_eq!(decode_body(body).ok(), Some(der.clone()));
            }
        }

        #[test]
        fn random_octets_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_body(&body);
        }
    }
}
