//! Points of low order on edwards25519: for such a "public key" a signature that verifies can be written by anyone.

use crate::public_key::KeyFault;

/// Refuses the points whose order divides 8, in every encoding of them.
///
/// RFC 8032 §5.1.3: the last bit is the sign of x, the rest is y. The points of low order have y of 0 (order 4), 1
/// (order 1), -1 (order 2) and two further values (order 8); y + p fits into 255 bits for 0 and 1.
pub(crate) fn check_ed25519(key: &[u8]) -> Result<(), KeyFault> {
    let mut y = <[u8; 32]>::try_from(key).map_err(|_| KeyFault::Damaged("not an Ed25519 key"))?;
    y[31] &= 0x7f;
    if LOW_ORDER_Y.contains(&y) { Err(KeyFault::LowOrder) } else { Ok(()) }
}

/// y, little-endian.
const LOW_ORDER_Y: [[u8; 32]; 7] = [
    small(0x00),
    small(0x01),
    // p - 1, p and p + 1 with p = 2^255 - 19
    near_p(0xec),
    near_p(0xed),
    near_p(0xee),
    // y of order 8: the roots of d y^4 + 2 y^2 - 1
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn small(first: u8) -> [u8; 32] {
    let mut y = [0; 32];
    y[0] = first;
    y
}

const fn near_p(first: u8) -> [u8; 32] {
    let mut y = [0xff; 32];
    y[0] = first;
    y[31] = 0x7f;
    y
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;

    /// The two values of order 8 are where doubling gives y = 0: x^2 = -y^2 and the curve -x^2 + y^2 = 1 + d x^2 y^2 leave
    /// d y^4 + 2 y^2 - 1 = 0 (mod p), with d = -121665/121666.
    #[test]
    fn the_points_of_order_eight_are_roots() {
        let p = (BigUint::from(1u8) << 255) - 19u8;
        let inverse = BigUint::from(121_666u32).modpow(&(&p - 2u8), &p);
        let d = (&p - 121_665u32) * inverse % &p;
        for y in &LOW_ORDER_Y[5..] {
            let y = BigUint::from_bytes_le(y);
            let square = &y * &y % &p;
            assert_eq!((&d * &square * &square + 2u8 * &square) % &p, BigUint::from(1u8));
        }
    }

    #[test]
    fn every_sign_of_low_order_is_refused_and_the_base_point_is_not() {
        for mut y in LOW_ORDER_Y {
            assert_eq!(check_ed25519(&y), Err(KeyFault::LowOrder));
            y[31] |= 0x80;
            assert_eq!(check_ed25519(&y), Err(KeyFault::LowOrder));
        }
        let mut base = [0x66; 32];
        base[0] = 0x58;
        assert_eq!(check_ed25519(&base), Ok(()));
        assert!(check_ed25519(&base[..31]).is_err());
    }
}
