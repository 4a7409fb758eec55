//! Material that a key is made of: read, and checked against what is said of it.

use keygate_backends::local::{KeyKind, KeyMaterial, PairKind};
use keygate_kmip::{
    Attributes, CryptographicAlgorithm, Key, KeyBlock, KeyFormatType, KeyMaterial as Value, KeyValue, ManagedObject,
    RecommendedCurve as Curve, Secret,
};
use zeroize::Zeroizing;

use super::{answer::Refused, body::octets, wishes::Kind};

/// Longest key of an HMAC, in octets.
const HMAC_BYTES_MAX: usize = 1024;

/// A key that is brought along.
pub(super) struct Given {
    /// What it is.
    pub(super) kind: Kind,
    /// The symmetric or private key.
    pub(super) object: ManagedObject,
    /// The public half of a private key.
    pub(super) public: Option<ManagedObject>,
}

impl Given {
    /// Reads material in base64: the octets of a symmetric key, PKCS#8 of a private one. `said` is what the request says of it, of
    /// which only what it spells out must fit.
    ///
    /// # Errors
    /// What is not such a key, or contradicts what is said.
    pub(super) fn read(text: &str, said: Kind, length: Option<i32>, curve: Option<&str>) -> Result<Self, Refused> {
        let bytes = Zeroizing::new(octets("material", text)?);
        let kind = match said {
            Kind::Symmetric(algorithm, _) => Kind::Symmetric(algorithm, symmetric_bits(algorithm, &bytes)?),
            Kind::Pair(algorithm, ..) => return Self::pair(algorithm, &bytes, (said, length, curve)),
        };
        if let (Kind::Symmetric(_, bits), Some(length)) = (kind, length)
            && bits != length
        {
            return Err(Refused::invalid(format!("length contradicts the material, which has {bits} bits")));
        }
        let Kind::Symmetric(algorithm, bits) = kind else { return Err(no_key()) };
        let object =
            ManagedObject::SymmetricKey(Key { key_block: block(KeyFormatType::Raw, &bytes, (algorithm, bits)) });
        Ok(Self { kind, object, public: None })
    }

    fn pair(
        algorithm: CryptographicAlgorithm,
        der: &[u8],
        (said, length, curve): (Kind, Option<i32>, Option<&str>),
    ) -> Result<Self, Refused> {
        let private = KeyMaterial::from_pkcs8(der).map_err(|_| no_key())?;
        let public = private.public_half().map_err(|_| no_key())?;
        let bits = private.bits().ok().and_then(|bits| i32::try_from(bits).ok()).ok_or_else(no_key)?;
        let kind = match (algorithm, private.kind()) {
            (CryptographicAlgorithm::Rsa, KeyKind::Private(PairKind::Rsa)) if [2048, 3072, 4096].contains(&bits) => {
                Kind::Pair(algorithm, bits, None)
            }
            (
                CryptographicAlgorithm::Ec,
                KeyKind::Private(PairKind::Ec(found @ (Curve::P256 | Curve::P384 | Curve::P521))),
            ) => Kind::Pair(algorithm, bits, Some(found)),
            _ => return Err(no_key()),
        };
        if (length.is_some() || curve.is_some()) && kind != said {
            return Err(Refused::invalid(format!("length or curve contradicts the material, which has {bits} bits")));
        }
        let of = |format, material: &KeyMaterial| Key {
            key_block: block(format, material.expose_canonical(), (algorithm, bits)),
        };
        let object = ManagedObject::PrivateKey(of(KeyFormatType::Pkcs8, &private));
        Ok(Self { kind, object, public: Some(ManagedObject::PublicKey(of(KeyFormatType::X509, &public))) })
    }
}

fn symmetric_bits(algorithm: CryptographicAlgorithm, bytes: &[u8]) -> Result<i32, Refused> {
    let fits = match algorithm {
        CryptographicAlgorithm::Aes => [16, 24, 32].contains(&bytes.len()),
        _ => (1..=HMAC_BYTES_MAX).contains(&bytes.len()),
    };
    let bits = i32::try_from(bytes.len() * 8).ok().filter(|_| fits);
    bits.ok_or_else(|| {
        Refused::invalid(format!(
            "material of an AES key has 16, 24 or 32 octets, of an HMAC key 1 to {HMAC_BYTES_MAX}"
        ))
    })
}

fn no_key() -> Refused {
    Refused::invalid(
        "material is no PKCS#8 of such a key: RSA of 2048, 3072 or 4096 bits, or EC on P-256, P-384 or P-521",
    )
}

fn block(key_format_type: KeyFormatType, octets: &[u8], (algorithm, bits): (CryptographicAlgorithm, i32)) -> KeyBlock {
    KeyBlock {
        key_format_type,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain {
            material: Value::Bytes(Secret::new(octets.to_vec())),
            attributes: Attributes::default(),
        }),
        cryptographic_algorithm: Some(algorithm),
        cryptographic_length: Some(bits),
        key_wrapping_data: None,
    }
}
