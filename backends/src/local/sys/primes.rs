//! The primes of an RSA key from n, e and d (NIST SP 800-56B Rev. 2 appendix C.1).

use super::{Bn, Owned, RsaComponents, SysError, SysResult, bn_to_be, check};
use aws_lc_sys as ffi;

/// Bases to try. Each fails with a probability of one half, for a key whose numbers belong together.
const BASES: std::ops::Range<u64> = 2..102;

/// Longest modulus that is worked on, in octets: the cost grows with its cube.
const MODULUS_MAX: usize = 1024;

/// Fills in p, q, dp, dq and qinv.
pub(super) fn recover(c: &RsaComponents) -> SysResult<RsaComponents> {
    if [&c.n, &c.e, &c.d].iter().any(|number| number.len() > MODULUS_MAX + 1) {
        return Err(SysError("number longer than 8192 bits"));
    }
    let field = Field::new()?;
    let (n, e, d) = (Bn::from_be(&c.n)?, Bn::from_be(&c.e)?, Bn::from_be(&c.d)?);
    // Step 1: k = d e - 1 is even, k = 2^t r with r odd.
    let mut r = field.mul(&d, &e)?;
    r.sub_word(1)?;
    if r.is_odd() || r.is_zero() {
        return Err(SysError("private and public exponent do not belong together"));
    }
    let mut twos = 0u32;
    while !r.is_odd() {
        r.halve()?;
        twos += 1;
    }
    // Step 2: a square root of 1 mod n other than 1 and -1 shares a factor with n when reduced by 1.
    for base in BASES {
        if let Some(p) = field.factor(&n, &r, twos, base)? {
            return field.complete(c, &n, &d, p);
        }
    }
    Err(SysError("private exponent and modulus do not belong together"))
}

struct Field(Owned<ffi::BN_CTX>);

impl Field {
    fn new() -> SysResult<Self> {
        // SAFETY: allocates scratch space.
        Owned::new(unsafe { ffi::BN_CTX_new() }, ffi::BN_CTX_free).map(Self)
    }

    fn factor(&self, n: &Bn, r: &Bn, twos: u32, base: u64) -> SysResult<Option<Bn>> {
        let one = Bn::from_be(&[1])?;
        let minus_one = sub(n, &one)?;
        let mut x = self.mod_exp(&Bn::from_be(&base.to_be_bytes())?, r, n)?;
        if x.equals(&one) || x.equals(&minus_one) {
            return Ok(None);
        }
        for _ in 0..twos {
            let square = self.mod_mul(&x, &x, n)?;
            if square.equals(&one) {
                return self.gcd(&sub(&x, &one)?, n).map(Some);
            }
            if square.equals(&minus_one) {
                return Ok(None);
            }
            x = square;
        }
        Ok(None)
    }

    /// The larger prime comes first, as is usual; dp = d mod (p - 1), dq = d mod (q - 1), qinv = q^-1 mod p.
    fn complete(&self, c: &RsaComponents, n: &Bn, d: &Bn, p: Bn) -> SysResult<RsaComponents> {
        let one = Bn::from_be(&[1])?;
        let (q, rest) = self.div(n, &p)?;
        if !rest.is_zero() {
            return Err(SysError("modulus is not a product of two primes"));
        }
        let (p, q) = if p.is_greater(&q) { (p, q) } else { (q, p) };
        let (_, dp) = self.div(d, &sub(&p, &one)?)?;
        let (_, dq) = self.div(d, &sub(&q, &one)?)?;
        let qinv = self.inverse(&q, &p)?;
        Ok(RsaComponents {
            n: c.n.clone(),
            e: c.e.clone(),
            d: c.d.clone(),
            p: p.to_be()?,
            q: q.to_be()?,
            dp: dp.to_be()?,
            dq: dq.to_be()?,
            qinv: qinv.to_be()?,
        })
    }

    fn mul(&self, a: &Bn, b: &Bn) -> SysResult<Bn> {
        // SAFETY: all pointers are valid numbers and scratch space.
        fill(|out| unsafe { ffi::BN_mul(out, a.as_ptr(), b.as_ptr(), self.0.as_ptr()) })
    }

    fn mod_mul(&self, a: &Bn, b: &Bn, m: &Bn) -> SysResult<Bn> {
        // SAFETY: as above.
        fill(|out| unsafe { ffi::BN_mod_mul(out, a.as_ptr(), b.as_ptr(), m.as_ptr(), self.0.as_ptr()) })
    }

    fn mod_exp(&self, a: &Bn, exponent: &Bn, m: &Bn) -> SysResult<Bn> {
        // SAFETY: as above.
        fill(|out| unsafe { ffi::BN_mod_exp(out, a.as_ptr(), exponent.as_ptr(), m.as_ptr(), self.0.as_ptr()) })
    }

    fn gcd(&self, a: &Bn, b: &Bn) -> SysResult<Bn> {
        // SAFETY: as above.
        fill(|out| unsafe { ffi::BN_gcd(out, a.as_ptr(), b.as_ptr(), self.0.as_ptr()) })
    }

    fn div(&self, a: &Bn, b: &Bn) -> SysResult<(Bn, Bn)> {
        let quotient = Bn::from_be(&[])?;
        // SAFETY: as above; a zero divisor is an error of the library.
        let rest =
            fill(|out| unsafe { ffi::BN_div(quotient.0.as_ptr(), out, a.as_ptr(), b.as_ptr(), self.0.as_ptr()) })?;
        Ok((quotient, rest))
    }

    fn inverse(&self, a: &Bn, m: &Bn) -> SysResult<Bn> {
        // SAFETY: as above; null means that there is no inverse.
        fill(|out| unsafe { i32::from(!ffi::BN_mod_inverse(out, a.as_ptr(), m.as_ptr(), self.0.as_ptr()).is_null()) })
    }
}

impl Bn {
    fn is_odd(&self) -> bool {
        // SAFETY: a valid number.
        unsafe { ffi::BN_is_odd(self.as_ptr()) == 1 }
    }

    fn is_zero(&self) -> bool {
        // SAFETY: a valid number.
        unsafe { ffi::BN_is_zero(self.as_ptr()) == 1 }
    }

    fn equals(&self, other: &Self) -> bool {
        // SAFETY: valid numbers.
        unsafe { ffi::BN_cmp(self.as_ptr(), other.as_ptr()) == 0 }
    }

    fn is_greater(&self, other: &Self) -> bool {
        // SAFETY: valid numbers.
        unsafe { ffi::BN_cmp(self.as_ptr(), other.as_ptr()) > 0 }
    }

    fn sub_word(&mut self, word: u64) -> SysResult<()> {
        // SAFETY: a valid number, owned.
        check(unsafe { ffi::BN_sub_word(self.0.as_ptr(), word) })
    }

    fn halve(&mut self) -> SysResult<()> {
        // SAFETY: a valid number, owned; the function works in place.
        check(unsafe { ffi::BN_rshift1(self.0.as_ptr(), self.as_ptr()) })
    }

    fn to_be(&self) -> SysResult<Vec<u8>> {
        // SAFETY: a valid number.
        unsafe { bn_to_be(self.as_ptr(), 0).map(Option::unwrap_or_default) }
    }
}

fn sub(a: &Bn, b: &Bn) -> SysResult<Bn> {
    // SAFETY: valid numbers.
    fill(|out| unsafe { ffi::BN_sub(out, a.as_ptr(), b.as_ptr()) })
}

fn fill(run: impl FnOnce(*mut ffi::BIGNUM) -> i32) -> SysResult<Bn> {
    let out = Bn::from_be(&[])?;
    check(run(out.0.as_ptr()))?;
    Ok(out)
}
