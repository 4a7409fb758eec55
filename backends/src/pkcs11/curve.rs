//! Curves as PKCS#11 names them (CKA_EC_PARAMS: DER of the namedCurve OID), points and signatures as PKCS#11 writes
//! them.

use crate::error::{Class, KsError, Result};
use crate::names;
use keygate_kmip::RecommendedCurve;

/// OID 1.2.840.10045.3.1.7.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// OID 1.3.132.0.34.
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// OID 1.3.132.0.35.
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

/// OID 1.3.101.112 (RFC 8410 §3). PKCS#11 v3.0 §2.3.3 also has a name as a string; the OID is what tokens know.
pub(super) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// The parameters of a curve.
pub(super) fn parameters(curve: RecommendedCurve) -> Result<&'static [u8]> {
    match curve {
        RecommendedCurve::P256 => Ok(P256),
        RecommendedCurve::P384 => Ok(P384),
        RecommendedCurve::P521 => Ok(P521),
        other => Err(KsError::unsupported(format!(
            "no curve {} in tokens; P-256, P-384 and P-521 are there",
            names::curve(other)
        ))),
    }
}

/// Octets of the curve's order.
pub(super) fn order_octets(parameters: &[u8]) -> Option<usize> {
    match parameters {
        P256 => Some(32),
        P384 => Some(48),
        P521 => Some(66),
        _ => None,
    }
}

/// The SEC 1 point inside CKA_EC_POINT. PKCS#11 v3.1 §6.3.3: "DER-encoding of ANSI X9.62 ECPoint value Q"; some tokens
/// leave the wrapping out.
pub(super) fn point(curve: RecommendedCurve, value: &[u8]) -> Result<&[u8]> {
    let octets = order_octets(parameters(curve)?).unwrap_or_default();
    // The length tells the two apart: an uncompressed point starts with 0x04 too.
    match value.len().checked_sub(1 + 2 * octets) {
        Some(wrapping @ 0..=3) if value[wrapping] == 0x04 => Ok(&value[wrapping..]),
        _ => Err(KsError::new(Class::Corrupt, format!("the token's EC point has {} octets", value.len()))),
    }
}

/// The 32 octets of an Ed25519 public key inside CKA_EC_POINT. PKCS#11 v3.0 §2.3.5: "Public key bytes in little endian order as
/// defined in RFC 8032"; some tokens wrap them in an OCTET STRING.
pub(super) fn edwards_point(value: &[u8]) -> Result<&[u8]> {
    match value {
        [0x04, 0x20, bare @ ..] if bare.len() == 32 => Ok(bare),
        bare if bare.len() == 32 => Ok(bare),
        _ => Err(KsError::new(Class::Corrupt, format!("the token's Ed25519 point has {} octets", value.len()))),
    }
}

/// DER SEQUENCE of the r and s that a token writes side by side.
pub(super) fn der_signature(raw: &[u8]) -> Result<Vec<u8>> {
    if raw.is_empty() || !raw.len().is_multiple_of(2) || raw.len() > 132 {
        return Err(KsError::new(Class::Corrupt, format!("the token's ECDSA signature has {} octets", raw.len())));
    }
    let (r, s) = raw.split_at(raw.len() / 2);
    let mut body = Vec::with_capacity(raw.len() + 6);
    push_integer(&mut body, r);
    push_integer(&mut body, s);
    // The body has at most 2 x 69 octets, so one length octet follows 0x81 at most.
    let len = body.len() as u8;
    let mut out = if len < 0x80 { vec![0x30, len] } else { vec![0x30, 0x81, len] };
    out.append(&mut body);
    Ok(out)
}

fn push_integer(out: &mut Vec<u8>, value: &[u8]) {
    let start = value.iter().position(|&octet| octet != 0).unwrap_or(value.len() - 1);
    let value = &value[start..];
    let sign = usize::from(value[0] >= 0x80);
    out.extend([0x02, (value.len() + sign) as u8]);
    out.extend(std::iter::repeat_n(0, sign));
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_become_der() {
        assert_eq!(
            der_signature(&[0, 1, 0x80, 0]).expect("even length"),
            [0x30, 0x08, 0x02, 1, 1, 0x02, 3, 0, 0x80, 0]
        );
        assert_eq!(der_signature(&[0; 4]).expect("even length"), [0x30, 0x06, 0x02, 1, 0, 0x02, 1, 0]);
        let long = der_signature(&[0xff; 132]).expect("even length");
        assert_eq!((&long[..3], long.len()), (&[0x30, 0x81, 0x8a][..], 3 + 2 * 69));
        assert!(der_signature(&[1, 2, 3]).is_err());
        assert!(der_signature(&[]).is_err());
    }

    #[test]
    fn points_with_and_without_wrapping() {
        let raw = [&[0x04][..], &[7; 64]].concat();
        let wrapped = [&[0x04, 65][..], &raw].concat();
        assert_eq!(point(RecommendedCurve::P256, &wrapped).expect("wrapped"), raw);
        assert_eq!(point(RecommendedCurve::P256, &raw).expect("bare"), raw);
        assert!(point(RecommendedCurve::P256, &[0x30, 1, 2]).is_err());
        assert!(point(RecommendedCurve::P384, &raw).is_err());
    }
}
