//! Modes, paddings and hashes by the contract's names, as KMIP's Cryptographic Parameters.

use keygate_kmip::{
    BlockCipherMode, CryptographicAlgorithm, CryptographicParameters, HashingAlgorithm, MaskGenerator, ObjectType,
    PaddingMethod,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::operation::OperationError;

/// Bits of a tag of GCM where nothing is said, and those that may be asked for (NIST SP 800-38D §5.2.1.2).
const TAG_BITS: i32 = 128;
const TAG_BITS_ALL: [i32; 5] = [96, 104, 112, 120, 128];
/// Octets of the salt of PSS, at most: those of the longest hash.
const SALT_BYTES_MAX: i32 = 64;

/// A mode of AES, or a way of RSA.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Mode {
    #[default]
    Gcm,
    Cbc,
    Ctr,
    Ecb,
    #[serde(rename = "RSA-OAEP")]
    RsaOaep,
    #[serde(rename = "RSA-PKCS1")]
    RsaPkcs1,
}

/// What fills the last block, with CBC and ECB.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum BlockFill {
    /// Nothing: the data has whole blocks.
    None,
    #[default]
    Pkcs5,
}

/// A hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// How an RSA key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Padding {
    Pkcs1,
    Pss,
}

impl Hash {
    fn algorithm(self) -> HashingAlgorithm {
        match self {
            Self::Sha1 => HashingAlgorithm::Sha1,
            Self::Sha256 => HashingAlgorithm::Sha256,
            Self::Sha384 => HashingAlgorithm::Sha384,
            Self::Sha512 => HashingAlgorithm::Sha512,
        }
    }

    /// The HMAC of this hash.
    pub(super) fn hmac(self) -> CryptographicAlgorithm {
        match self {
            Self::Sha1 => CryptographicAlgorithm::HmacSha1,
            Self::Sha256 => CryptographicAlgorithm::HmacSha256,
            Self::Sha384 => CryptographicAlgorithm::HmacSha384,
            Self::Sha512 => CryptographicAlgorithm::HmacSha512,
        }
    }
}

/// How to encrypt and decrypt.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cipher {
    pub(super) mode: Mode,
    pub(super) padding: Option<BlockFill>,
    /// In bits.
    pub(super) tag_length: Option<i32>,
    pub(super) hash: Option<Hash>,
    pub(super) mgf_hash: Option<Hash>,
}

impl Cipher {
    /// For a key of this type.
    ///
    /// # Errors
    /// What such a key does not do, or what does not go together.
    pub(super) fn parameters(&self, object_type: ObjectType) -> Result<CryptographicParameters, OperationError> {
        if object_type == ObjectType::SymmetricKey { self.of_aes() } else { self.of_rsa() }
    }

    fn of_aes(&self) -> Result<CryptographicParameters, OperationError> {
        let mode = match self.mode {
            Mode::Gcm => BlockCipherMode::Gcm,
            Mode::Cbc => BlockCipherMode::Cbc,
            Mode::Ctr => BlockCipherMode::Ctr,
            Mode::Ecb => BlockCipherMode::Ecb,
            Mode::RsaOaep | Mode::RsaPkcs1 => return Err(invalid("this mode is of RSA pairs, the key is none")),
        };
        if self.hash.is_some() || self.mgf_hash.is_some() {
            return Err(invalid("hash and mgfHash are of RSA pairs, the key is none"));
        }
        let is_padded = matches!(self.mode, Mode::Cbc | Mode::Ecb);
        if self.padding.is_some() && !is_padded {
            return Err(invalid("padding goes with modes CBC and ECB"));
        }
        if self.tag_length.is_some_and(|bits| self.mode != Mode::Gcm || !TAG_BITS_ALL.contains(&bits)) {
            return Err(invalid("tagLength goes with mode GCM, and is one of 96, 104, 112, 120, 128"));
        }
        let padding = match self.padding.unwrap_or_default() {
            BlockFill::None => PaddingMethod::None,
            BlockFill::Pkcs5 => PaddingMethod::Pkcs5,
        };
        Ok(CryptographicParameters {
            block_cipher_mode: Some(mode),
            padding_method: is_padded.then_some(padding),
            tag_length: (self.mode == Mode::Gcm).then(|| self.tag_length.unwrap_or(TAG_BITS) / 8),
            ..CryptographicParameters::default()
        })
    }

    /// The modes of AES mean nothing to a pair, whose way is OAEP with SHA-256 where nothing is said.
    fn of_rsa(&self) -> Result<CryptographicParameters, OperationError> {
        let rsa = CryptographicParameters {
            cryptographic_algorithm: Some(CryptographicAlgorithm::Rsa),
            ..CryptographicParameters::default()
        };
        if self.mode == Mode::RsaPkcs1 {
            if self.hash.is_some() || self.mgf_hash.is_some() {
                return Err(invalid("hash and mgfHash go with mode RSA-OAEP"));
            }
            return Ok(CryptographicParameters { padding_method: Some(PaddingMethod::Pkcs1v1_5), ..rsa });
        }
        let hash = self.hash.unwrap_or(Hash::Sha256);
        Ok(CryptographicParameters {
            padding_method: Some(PaddingMethod::Oaep),
            hashing_algorithm: Some(hash.algorithm()),
            mask_generator: Some(MaskGenerator::Mfg1),
            mask_generator_hashing_algorithm: Some(self.mgf_hash.unwrap_or(hash).algorithm()),
            ..rsa
        })
    }
}

/// How to sign.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Signing {
    pub(super) hash: Option<Hash>,
    pub(super) padding: Option<Padding>,
    pub(super) mgf_hash: Option<Hash>,
    /// In octets.
    pub(super) salt_length: Option<i32>,
}

impl Signing {
    /// # Errors
    /// What does not go together.
    pub(super) fn parameters(&self) -> Result<CryptographicParameters, OperationError> {
        let hash = self.hash.unwrap_or(Hash::Sha256);
        let is_pss = self.padding == Some(Padding::Pss);
        if !is_pss && (self.mgf_hash.is_some() || self.salt_length.is_some()) {
            return Err(invalid("mgfHash and saltLength go with padding PSS"));
        }
        if self.salt_length.is_some_and(|octets| !(0..=SALT_BYTES_MAX).contains(&octets)) {
            return Err(invalid("saltLength must be 0 to 64 octets"));
        }
        Ok(CryptographicParameters {
            hashing_algorithm: Some(hash.algorithm()),
            // A key on a curve pads nothing; RSA's default is the operation's.
            padding_method: self.padding.map(|padding| match padding {
                Padding::Pkcs1 => PaddingMethod::Pkcs1v1_5,
                Padding::Pss => PaddingMethod::Pss,
            }),
            mask_generator: self.mgf_hash.map(|_| MaskGenerator::Mfg1),
            mask_generator_hashing_algorithm: self.mgf_hash.map(Hash::algorithm),
            salt_length: self.salt_length,
            ..CryptographicParameters::default()
        })
    }
}

fn invalid(message: &str) -> OperationError {
    OperationError::InvalidField(message.to_owned())
}
