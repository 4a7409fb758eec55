//! Key generation.

use super::components::nid;
use super::material::KeyMaterial;
use super::random;
use super::sys::{Pkey, PkeyId, SysError};
use crate::error::{Class, KsError, Result};
use crate::key::{KeySpec, PairSpec};
use crate::lattice::{MlDsa, MlKem};
use crate::names;
use crate::secret::SecretBytes;
use keygate_kmip::CryptographicAlgorithm;

/// Longest HMAC or generic key that is generated, in bits.
const GENERIC_BITS_MAX: u32 = 8192;

/// Makes a symmetric key.
pub fn generate(spec: &KeySpec) -> Result<KeyMaterial> {
    let octets = symmetric_octets(spec)?;
    let mut bytes = random(octets)?;
    if spec.algorithm == CryptographicAlgorithm::Des3 {
        bytes = with_odd_parity(bytes);
    }
    KeyMaterial::symmetric(spec.algorithm, bytes)
}

/// Makes a key pair, private half first. RSA of 4096 bits may take a second: call it off the runtime.
pub fn generate_pair(spec: &PairSpec) -> Result<(KeyMaterial, KeyMaterial)> {
    let key = match *spec {
        PairSpec::Rsa { bits } => {
            check_rsa_bits(bits)?;
            Pkey::generate_rsa(bits)
        }
        PairSpec::Ec { curve } => Pkey::generate_ec(nid(curve)?),
        PairSpec::Ed25519 => Pkey::from_raw_private(PkeyId::Ed25519, random(32)?.expose()),
        PairSpec::X25519 => Pkey::from_raw_private(PkeyId::X25519, random(32)?.expose()),
        PairSpec::MlDsa(set) => Pkey::ml_dsa_from_seed(set, random(MlDsa::SEED_OCTETS)?.expose()),
        PairSpec::MlKem(set) => Pkey::ml_kem_from_seed(set, random(MlKem::SEED_OCTETS)?.expose()),
    };
    let key = key.map_err(failed)?;
    Ok((KeyMaterial::private(&key)?, KeyMaterial::public(&key)?))
}

/// The octets of a key to be generated, or why there is no such key.
pub(crate) fn symmetric_octets(spec: &KeySpec) -> Result<usize> {
    use CryptographicAlgorithm as A;
    let (legal, rule) = match spec.algorithm {
        A::Aes => (matches!(spec.bits, 128 | 192 | 256 | 512), "128, 192, 256 or (XTS) 512"),
        A::Des3 => return des3_octets(spec.bits),
        A::ChaCha20 | A::ChaCha20Poly1305 => (spec.bits == 256, "256"),
        A::HmacMd5
        | A::HmacSha1
        | A::HmacSha224
        | A::HmacSha256
        | A::HmacSha384
        | A::HmacSha512
        | A::HmacSha3_224
        | A::HmacSha3_256
        | A::HmacSha3_384
        | A::HmacSha3_512 => (whole_octets(spec.bits, 80, GENERIC_BITS_MAX), "80 to 8192 in multiples of 8"),
        // Keys for ciphers that only the client runs.
        A::Camellia | A::Aria | A::Twofish => (matches!(spec.bits, 128 | 192 | 256), "128, 192 or 256"),
        A::Seed | A::Sm4 | A::Idea => (spec.bits == 128, "128"),
        A::Mars => (matches!(spec.bits, 128 | 192 | 256 | 320 | 384 | 448), "128 to 448 in multiples of 64"),
        A::Skipjack => (spec.bits == 80, "80"),
        A::Blowfish => (whole_octets(spec.bits, 32, 448), "32 to 448 in multiples of 8"),
        A::Cast5 => (whole_octets(spec.bits, 40, 128), "40 to 128 in multiples of 8"),
        A::Rc2 => (whole_octets(spec.bits, 40, 1024), "40 to 1024 in multiples of 8"),
        A::Rc4 | A::Rc5 => (whole_octets(spec.bits, 40, 2040), "40 to 2040 in multiples of 8"),
        other => return Err(KsError::unsupported(format!("no generation of {} keys", names::algorithm(other)))),
    };
    if legal {
        return Ok(spec.bits as usize / 8);
    }
    Err(KsError::parameters(format!("{} key of {} bits is not {rule}", names::algorithm(spec.algorithm), spec.bits)))
}

fn whole_octets(bits: u32, least: u32, most: u32) -> bool {
    bits.is_multiple_of(8) && (least..=most).contains(&bits)
}

/// Ciphers that protect nothing new unless legacy algorithms are allowed: broken, or of 64-bit blocks, the last of which
/// NIST SP 800-131A Rev. 2 table 1 disallowed after 2023.
pub fn is_legacy(algorithm: CryptographicAlgorithm) -> bool {
    use CryptographicAlgorithm as A;
    matches!(algorithm, A::Des | A::Des3 | A::Blowfish | A::Cast5 | A::Idea | A::Rc2 | A::Rc4 | A::Rc5 | A::Skipjack)
}

/// The only RSA modulus below what NIST SP 800-131A Rev. 2 table 2 allows (112 bits of strength) that is generated at all: whoever asks
/// for keys decides whether it may be.
pub const RSA_BITS_LEGACY: u32 = 1024;

/// RSA moduli that are generated.
pub(crate) fn check_rsa_bits(bits: u32) -> Result<()> {
    match bits {
        RSA_BITS_LEGACY | 2048 | 3072 | 4096 => Ok(()),
        other => Err(KsError::parameters(format!("RSA of {other} bits is not generated; 2048, 3072 and 4096 are"))),
    }
}

/// KMIP counts key bits without parity (112, 168); some clients count the parity bits too (128, 192).
fn des3_octets(bits: u32) -> Result<usize> {
    match bits {
        112 | 128 => Ok(16),
        168 | 192 => Ok(24),
        other => Err(KsError::parameters(format!("3DES key of {other} bits is not 112 or 168"))),
    }
}

/// FIPS 46-3: the eighth bit of each octet makes its parity odd.
fn with_odd_parity(bytes: SecretBytes) -> SecretBytes {
    let adjusted = SecretBytes::fill_with::<std::convert::Infallible>(bytes.len(), |out| {
        for (to, from) in out.iter_mut().zip(bytes.expose()) {
            let high = from & 0xFE;
            *to = high | u8::from(high.count_ones() % 2 == 0);
        }
        Ok(())
    });
    match adjusted {
        Ok(adjusted) => adjusted,
        Err(never) => match never {},
    }
}

fn failed(e: SysError) -> KsError {
    KsError::new(Class::RetrySame, format!("key generation failed: {}", e.0))
}
