//! What Create Split Key, Join Split Key and Register of a Split Key have in common: methods, limits, and what the server remembers
//! of parts that it made.
//!
//! The standard's structures carry nothing by which an altered part would be told. Parts made here have an attribute of the
//! server's, `y-keygate-split-key`: which parts belong together, by which polynomial, and a MAC of the secret under a key of the
//! store's. It says nothing of the secret to whoever reads it, and Join Split Key never gives a secret that it does not fit.
//! Parts that were made elsewhere have none: of those, only more than the threshold are compared with each other.

use keygate_kmip::{
    AnyValue, Attribute, AttributeInstance, BigInteger, CryptographicUsageMask, CustomAttribute, ObjectType, SplitKey, SplitKeyMethod,
    Tag,
};
use uuid::Uuid;

use super::{Exchange, OperationError};
use crate::object::AttributeSet;
use crate::seal::IndexKey;
use crate::sharing::{self, Method, Polynomial, Prime, SharingError};

/// Most parts of a key.
pub(super) const PARTS_MAX: i32 = 255;
/// Octets of the longest secret that is shared.
pub(super) const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Most products that sharing a secret may take: a part of a second.
const WORK_MAX: usize = 8_000_000;

const VENDOR: &str = "y";
const NAME: &str = "keygate-split-key";
const FORM: u8 = 1;
const OCTETS: usize = 43;

/// The method that a request or a part names.
///
/// # Errors
/// A prime that is missing or not served, a method that is not known.
pub(super) fn method_of(method: SplitKeyMethod, prime: Option<&BigInteger>, polynomial: Polynomial) -> Result<Method, OperationError> {
    if prime.is_some() && method != SplitKeyMethod::PolynomialSharingPrimeField {
        return Err(OperationError::InvalidField(format!("{method} has no Prime Field Size")));
    }
    Ok(match method {
        SplitKeyMethod::Xor => Method::Xor,
        SplitKeyMethod::PolynomialSharingGf2_16 => Method::Gf65536,
        SplitKeyMethod::PolynomialSharingGf2_8 => Method::Gf256(polynomial),
        SplitKeyMethod::PolynomialSharingPrimeField => {
            // KMIP 2.1 §2.8, Prime Field Size: "REQUIRED only if Split Key Method is Polynomial Sharing Prime Field".
            let prime = prime.ok_or_else(|| OperationError::InvalidMessage("Prime Field Size is missing".to_owned()))?;
            let magnitude = prime.unsigned().ok_or_else(|| OperationError::InvalidField("Prime Field Size is negative".to_owned()))?;
            Method::PrimeField(Prime::read(magnitude)?)
        }
        SplitKeyMethod::Extension(_) => return Err(OperationError::FeatureNotSupported(format!("{method} is not served"))),
    })
}

/// Threshold and number of parts, within the limits.
///
/// # Errors
/// [`OperationError::InvalidField`].
pub(super) fn numbers(threshold: i32, parts: i32) -> Result<(u16, u16), OperationError> {
    if !(1..=PARTS_MAX).contains(&parts) || !(1..=parts).contains(&threshold) {
        return Err(OperationError::InvalidField(format!(
            "Split Key Threshold {threshold} of Split Key Parts {parts}: 1 to {PARTS_MAX} parts, a threshold from 1 to their number"
        )));
    }
    Ok((u16::try_from(threshold).unwrap_or(u16::MAX), u16::try_from(parts).unwrap_or(u16::MAX)))
}

/// Whether sharing or joining takes an amount of work that a client may ask for.
///
/// # Errors
/// [`OperationError::LimitExceeded`].
pub(super) fn check_work(octets: usize, parts: usize, threshold: usize) -> Result<(), OperationError> {
    let work = octets.saturating_mul(parts).saturating_mul(threshold.max(1));
    if octets > SECRET_BYTES_MAX || work > WORK_MAX {
        return Err(OperationError::LimitExceeded(format!("{octets} octets in {parts} parts are more than the server shares")));
    }
    Ok(())
}

/// Whether a part that a client registers can be one. KMIP 2.1 §2.8.
///
/// # Errors
/// The field that contradicts another.
pub(super) fn check_registered(part: &SplitKey) -> Result<(), OperationError> {
    // "The Key Part Identifier [...] SHALL be at least 1 and SHALL be less than or equal to Split Key Parts."
    if part.part_identifier < 1 || part.part_identifier > part.parts {
        return Err(OperationError::InvalidField(format!("Key Part Identifier {} of {} Split Key Parts", part.part_identifier, part.parts)));
    }
    // "the Split Key Threshold field indicates the minimum number of parts needed to reconstruct the entire key"
    if part.threshold < 1 || part.threshold > part.parts {
        return Err(OperationError::InvalidField(format!("Split Key Threshold {} of {} Split Key Parts", part.threshold, part.parts)));
    }
    if part.method == SplitKeyMethod::PolynomialSharingPrimeField && part.prime_field_size.is_none() {
        return Err(OperationError::InvalidMessage("Prime Field Size is missing".to_owned()));
    }
    Ok(())
}

/// Random octets for parts.
pub(super) fn random(buffer: &mut [u8]) -> Result<(), SharingError> {
    aws_lc_rs::rand::fill(buffer).map_err(|_| SharingError::Random)
}

/// What the server remembers of a part that it made.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The parts that belong together.
    set: [u8; 16],
    /// Polynomial of GF(2^8); 0 in other methods.
    polynomial: u16,
    /// MAC of the secret.
    commitment: [u8; 16],
}

impl Origin {
    /// For the parts of a secret.
    pub(super) fn new(exchange: &Exchange<'_>, method: &Method, secret: &[u8]) -> Self {
        let set = *Uuid::new_v4().as_bytes();
        let polynomial = match method {
            Method::Gf256(polynomial) => polynomial.number(),
            Method::Xor | Method::Gf65536 | Method::PrimeField(_) => 0,
        };
        Self { set, polynomial, commitment: commitment(exchange.gateway.keyring.index(), &set, secret) }
    }

    /// That of a part, if this store made it.
    pub(super) fn of(exchange: &Exchange<'_>, attributes: &AttributeSet) -> Option<Self> {
        let octets: &[u8; OCTETS] = attributes.find(|attribute| match attribute {
            Attribute::Custom(CustomAttribute { vendor, name, value }) if vendor == VENDOR && name == NAME => value.bytes().try_into().ok(),
            _ => None,
        })?;
        let store = store_tag(exchange.gateway.keyring.index());
        let (form, rest) = octets.split_first()?;
        let (own, rest) = rest.split_first_chunk::<8>()?;
        let (set, rest) = rest.split_first_chunk::<16>()?;
        let (polynomial, commitment) = rest.split_first_chunk::<2>()?;
        let commitment = *commitment.first_chunk::<16>()?;
        (*form == FORM && *own == store).then(|| Self { set: *set, polynomial: u16::from_be_bytes(*polynomial), commitment })
    }

    /// The attribute that holds it.
    pub(super) fn attribute(&self, exchange: &Exchange<'_>) -> Attribute {
        let store = store_tag(exchange.gateway.keyring.index());
        let octets = [&[FORM][..], &store, &self.set, &self.polynomial.to_be_bytes(), &self.commitment].concat();
        Attribute::Custom(CustomAttribute { vendor: VENDOR.to_owned(), name: NAME.to_owned(), value: AnyValue::octets(octets) })
    }

    /// Whether both are of one key.
    pub(super) fn is_with(&self, other: &Self) -> bool {
        self.set == other.set
    }

    /// Whether this is the secret that the parts were made of.
    pub(super) fn is_of(&self, exchange: &Exchange<'_>, secret: &[u8]) -> bool {
        let expected = commitment(exchange.gateway.keyring.index(), &self.set, secret);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected, &self.commitment).is_ok()
    }

    /// Polynomial of GF(2^8), in that method.
    pub(super) fn polynomial(&self) -> Option<Polynomial> {
        Polynomial::ALL.into_iter().find(|polynomial| polynomial.number() == self.polynomial)
    }
}

fn commitment(key: &IndexKey, set: &[u8; 16], secret: &[u8]) -> [u8; 16] {
    key.token(&Uuid::from_bytes(*set), "keygate split key", secret).0
}

/// Which store's MACs they are: parts that came from another by export and import are of unknown origin here.
fn store_tag(key: &IndexKey) -> [u8; 8] {
    let token = key.token(&Uuid::nil(), "keygate split key store", &[]).0;
    token.first_chunk().copied().unwrap_or_default()
}

/// What is not given away by splitting or joining: a secret that must not leave stays one that must not leave.
pub(super) struct Secrecy {
    sensitive: bool,
    extractable: bool,
}

impl Secrecy {
    /// That of an object.
    pub(super) fn of(attributes: &AttributeSet) -> Self {
        Self { sensitive: attributes.flag(Tag::SENSITIVE), extractable: attributes.is_extractable() }
    }

    /// The stricter of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { sensitive: self.sensitive || other.sensitive, extractable: self.extractable && other.extractable }
    }

    /// Whether the value may leave at all.
    pub(super) fn may_leave(&self) -> bool {
        self.extractable
    }

    /// Puts it among the attributes of a new object, whatever the client says.
    pub(super) fn impose(&self, given: &mut Vec<AttributeInstance>) {
        if self.sensitive {
            replace(given, Attribute::Sensitive(true));
        }
        if !self.extractable {
            replace(given, Attribute::Extractable(false));
        }
    }
}

/// Sets a single-valued attribute among those that a client gives.
pub(super) fn replace(given: &mut Vec<AttributeInstance>, attribute: Attribute) {
    let name = attribute.name();
    given.retain(|instance| instance.attribute.name() != name);
    given.push(attribute.into());
}

/// The usage mask of an object, if it has one.
pub(super) fn usage_mask(attributes: &AttributeSet) -> Option<CryptographicUsageMask> {
    attributes.has_tag(Tag::CRYPTOGRAPHIC_USAGE_MASK).then(|| attributes.cryptographic_usage_mask())
}

/// Whether parts of such an object, or such an object of parts, can be.
pub(super) fn check_type(object_type: ObjectType) -> Result<(), OperationError> {
    match object_type {
        ObjectType::SymmetricKey | ObjectType::PrivateKey | ObjectType::SecretData => Ok(()),
        other => Err(OperationError::InvalidField(format!("symmetric keys, private keys and secret data are split and joined, not a {other}"))),
    }
}

impl From<SharingError> for OperationError {
    fn from(error: SharingError) -> Self {
        match error {
            SharingError::Numbers { .. } | SharingError::Length { .. } | SharingError::Prime(_) => Self::BadCryptographicParameters(error.to_string()),
            SharingError::Repeated(_) => Self::InvalidField(error.to_string()),
            SharingError::TooFew { .. } | SharingError::NotAPart(..) | SharingError::NotTogether => Self::CryptographicFailure(error.to_string()),
            SharingError::Random => Self::internal("split key", error),
        }
    }
}

/// Checks numbers for a method, as [`sharing::split`] does.
///
/// # Errors
/// [`OperationError::BadCryptographicParameters`].
pub(super) fn check_numbers(method: &Method, threshold: u16, parts: u16) -> Result<(), OperationError> {
    Ok(sharing::check_numbers(method, threshold, parts)?)
}
