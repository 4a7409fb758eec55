//! Managed objects as they travel: key blocks, key material, wrapping data. KMIP 2.1 §2 and §3, KMIP 1.4 §2.

use crate::codec::{BigInteger, Field, Secret, structure};
use crate::ttlv::{DecodeError, DecodeErrorKind, Fields, Frame, Item, Limits, Type, Writer};
use crate::{
    Attributes, CertificateRequestType, CertificateType, CryptographicAlgorithm, CryptographicParameters,
    EncodingOption, KeyCompressionType, KeyFormatType, ObjectType, OpaqueDataType, ProtocolVersion, RecommendedCurve,
    SecretDataType, SplitKeyMethod, Tag, WrappingMethod,
};

const V1_1: ProtocolVersion = ProtocolVersion::V1_1;

structure! {
    /// Certificate, KMIP 2.1 §2.1.
    Certificate {
        /// Certificate Type.
        certificate_type: required CertificateType = CERTIFICATE_TYPE;
        /// Certificate Value: DER for X.509.
        value: required Vec<u8> = CERTIFICATE_VALUE;
    }
}

structure! {
    /// Certificate Request, KMIP 2.1 §2.2.
    CertificateRequest {
        /// Certificate Request Type.
        request_type: required CertificateRequestType = CERTIFICATE_REQUEST_TYPE;
        /// Certificate Request Value.
        value: required Vec<u8> = CERTIFICATE_REQUEST_VALUE;
    }
}

structure! {
    /// Opaque Object, KMIP 2.1 §2.3.
    OpaqueObject {
        /// Opaque Data Type.
        data_type: required OpaqueDataType = OPAQUE_DATA_TYPE;
        /// Opaque Data Value.
        value: required Secret = OPAQUE_DATA_VALUE;
    }
}

structure! {
    /// PGP Key, KMIP 2.1 §2.4.
    PgpKey {
        /// PGP Key Version.
        version: required i32 = PGP_KEY_VERSION;
        /// Key Block.
        key_block: required KeyBlock = KEY_BLOCK;
    }
}

structure! {
    /// Secret Data, KMIP 2.1 §2.7.
    SecretData {
        /// Secret Data Type.
        data_type: required SecretDataType = SECRET_DATA_TYPE;
        /// Key Block.
        key_block: required KeyBlock = KEY_BLOCK;
    }
}

structure! {
    /// Split Key, KMIP 2.1 §2.8.
    SplitKey {
        /// Split Key Parts.
        parts: required i32 = SPLIT_KEY_PARTS;
        /// Key Part Identifier.
        part_identifier: required i32 = KEY_PART_IDENTIFIER;
        /// Split Key Threshold.
        threshold: required i32 = SPLIT_KEY_THRESHOLD;
        /// Split Key Method.
        method: required SplitKeyMethod = SPLIT_KEY_METHOD;
        /// Prime Field Size.
        prime_field_size: optional BigInteger = PRIME_FIELD_SIZE;
        /// Key Block.
        key_block: required KeyBlock = KEY_BLOCK;
    }
}

structure! {
    /// Symmetric Key, Public Key and Private Key, KMIP 2.1 §2.5, §2.6, §2.9: a key block and no more.
    Key {
        /// Key Block.
        key_block: required KeyBlock = KEY_BLOCK;
    }
}

structure! {
    /// Template, KMIP 1.4 §2.2.6 (deprecated in 1.3, gone in 2.0).
    Template {
        /// The attributes it stands for.
        attributes: flat Attributes = ATTRIBUTES;
    }
}

structure! {
    /// Key Block, KMIP 2.1 §3.1.
    KeyBlock {
        /// Key Format Type.
        key_format_type: required KeyFormatType = KEY_FORMAT_TYPE;
        /// Key Compression Type.
        key_compression_type: optional KeyCompressionType = KEY_COMPRESSION_TYPE;
        /// Key Value; absent if the value is kept elsewhere.
        key_value: optional KeyValue = KEY_VALUE;
        /// Cryptographic Algorithm.
        cryptographic_algorithm: optional CryptographicAlgorithm = CRYPTOGRAPHIC_ALGORITHM;
        /// Cryptographic Length, bits.
        cryptographic_length: optional i32 = CRYPTOGRAPHIC_LENGTH;
        /// Key Wrapping Data; present if and only if the value is wrapped.
        key_wrapping_data: optional KeyWrappingData = KEY_WRAPPING_DATA;
    }
}

structure! {
    /// Key Wrapping Data, KMIP 2.1 §3.3.
    KeyWrappingData {
        /// Wrapping Method.
        wrapping_method: required WrappingMethod = WRAPPING_METHOD;
        /// Encryption Key Information.
        encryption_key_information: optional KeyInformation = ENCRYPTION_KEY_INFORMATION;
        /// MAC/Signature Key Information.
        mac_signature_key_information: optional KeyInformation = MAC_SIGNATURE_KEY_INFORMATION;
        /// MAC/Signature.
        mac_signature: optional Vec<u8> = MAC_SIGNATURE;
        /// IV/Counter/Nonce.
        iv_counter_nonce: optional Vec<u8> = IV_COUNTER_NONCE;
        /// Encoding Option.
        encoding_option: optional EncodingOption = ENCODING_OPTION in V1_1..;
    }
}

structure! {
    /// Key Wrapping Specification, KMIP 2.1 §7.18.
    KeyWrappingSpecification {
        /// Wrapping Method.
        wrapping_method: required WrappingMethod = WRAPPING_METHOD;
        /// Encryption Key Information.
        encryption_key_information: optional KeyInformation = ENCRYPTION_KEY_INFORMATION;
        /// MAC/Signature Key Information.
        mac_signature_key_information: optional KeyInformation = MAC_SIGNATURE_KEY_INFORMATION;
        /// Names of attributes to wrap with the key.
        attribute_names: repeated String = ATTRIBUTE_NAME;
        /// Encoding Option.
        encoding_option: optional EncodingOption = ENCODING_OPTION in V1_1..;
    }
}

/// The Unique Identifier of a wrapping key: a text in every version, of 3.0's own type there. No placeholder stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyIdentifier(pub String);

impl Field for KeyIdentifier {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let kind = if version >= ProtocolVersion::V3_0 { Type::Identifier } else { Type::TextString };
        item.text_of(kind).map(|text| Self(text.to_owned()))
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        let kind = if version >= ProtocolVersion::V3_0 { Type::Identifier } else { Type::TextString };
        writer.text_of(tag, kind, &self.0);
    }
}

structure! {
    /// Encryption Key Information and MAC/Signature Key Information, KMIP 2.1 §3.3.
    KeyInformation {
        /// Unique Identifier of the key.
        unique_identifier: required KeyIdentifier = UNIQUE_IDENTIFIER;
        /// Cryptographic Parameters.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
    }
}

/// Key Value, KMIP 2.1 §3.2: "Byte String: for wrapped Key Value; Structure: for plaintext Key Value".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValue {
    /// In clear.
    Plain {
        /// Key Material.
        material: KeyMaterial,
        /// Attributes that travel with the key.
        attributes: Attributes,
    },
    /// Wrapped; what was wrapped is said by the key wrapping data.
    Wrapped(Secret),
}

impl Field for KeyValue {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        if item.item_type == Type::ByteString {
            return Secret::decode(item, version).map(Self::Wrapped);
        }
        let mut fields = item.structure()?;
        let material = KeyMaterial::decode(fields.required(Tag::KEY_MATERIAL)?, version)?;
        let attributes = Attributes::decode_flat(&mut fields, Tag::ATTRIBUTES, version)?;
        fields.finish()?;
        Ok(Self::Plain { material, attributes })
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        match self {
            Self::Wrapped(bytes) => bytes.encode(tag, writer, version),
            Self::Plain { material, attributes } => writer.structure(tag, |writer| {
                material.encode(Tag::KEY_MATERIAL, writer, version);
                if !attributes.list.is_empty() {
                    attributes.encode_flat(Tag::ATTRIBUTES, writer, version);
                }
            }),
        }
    }
}

/// Key Material: bytes, or the components of a transparent key (KMIP 2.1 §3.4 to §3.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// Bytes in the block's key format.
    Bytes(Secret),
    /// A transparent key. The block's key format type says which; the fields present differ between them.
    Transparent(Box<TransparentKey>),
}

structure! {
    /// The components of a transparent key of any kind, in the order in which the standard lists them for each kind.
    #[derive(Default)]
    TransparentKey {
        /// Key, of a symmetric key.
        key: optional Secret = KEY;
        /// Recommended Curve, of an elliptic curve key.
        recommended_curve: optional RecommendedCurve = RECOMMENDED_CURVE;
        /// D: private key of an elliptic curve key.
        d: optional BigInteger = D;
        /// Q String: public key of an elliptic curve key.
        q_string: optional Vec<u8> = Q_STRING;
        /// Modulus, of an RSA key.
        modulus: optional BigInteger = MODULUS;
        /// Private Exponent, of an RSA key.
        private_exponent: optional BigInteger = PRIVATE_EXPONENT;
        /// Public Exponent, of an RSA key.
        public_exponent: optional BigInteger = PUBLIC_EXPONENT;
        /// P: prime of an RSA, DSA or DH key.
        p: optional BigInteger = P;
        /// Q: prime of an RSA, DSA or DH key.
        q: optional BigInteger = Q;
        /// G, of a DSA or DH key.
        g: optional BigInteger = G;
        /// J, of a DH key.
        j: optional BigInteger = J;
        /// X: private key of a DSA or DH key.
        x: optional BigInteger = X;
        /// Y: public key of a DSA or DH key.
        y: optional BigInteger = Y;
        /// Prime Exponent P, of an RSA key.
        prime_exponent_p: optional BigInteger = PRIME_EXPONENT_P;
        /// Prime Exponent Q, of an RSA key.
        prime_exponent_q: optional BigInteger = PRIME_EXPONENT_Q;
        /// CRT Coefficient, of an RSA key.
        crt_coefficient: optional BigInteger = CRT_COEFFICIENT;
    }
}

impl Field for KeyMaterial {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        match item.item_type {
            Type::Structure => Ok(Self::Transparent(Box::new(TransparentKey::decode(item, version)?))),
            _ => Secret::decode(item, version).map(Self::Bytes),
        }
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        match self {
            Self::Bytes(bytes) => bytes.encode(tag, writer, version),
            Self::Transparent(key) => key.encode(tag, writer, version),
        }
    }
}

/// An object as Register and Import send it and Get and Export return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagedObject {
    /// Certificate.
    Certificate(Certificate),
    /// Certificate Request. From 2.0.
    CertificateRequest(CertificateRequest),
    /// Opaque Object.
    OpaqueObject(OpaqueObject),
    /// PGP Key. From 1.2.
    PgpKey(PgpKey),
    /// Private Key.
    PrivateKey(Key),
    /// Public Key.
    PublicKey(Key),
    /// Secret Data.
    SecretData(SecretData),
    /// Split Key.
    SplitKey(SplitKey),
    /// Symmetric Key.
    SymmetricKey(Key),
    /// Template. Up to 1.4.
    Template(Template),
}

impl ManagedObject {
    /// Its object type.
    #[must_use]
    pub fn object_type(&self) -> ObjectType {
        match self {
            Self::Certificate(_) => ObjectType::Certificate,
            Self::CertificateRequest(_) => ObjectType::CertificateRequest,
            Self::OpaqueObject(_) => ObjectType::OpaqueObject,
            Self::PgpKey(_) => ObjectType::PgpKey,
            Self::PrivateKey(_) => ObjectType::PrivateKey,
            Self::PublicKey(_) => ObjectType::PublicKey,
            Self::SecretData(_) => ObjectType::SecretData,
            Self::SplitKey(_) => ObjectType::SplitKey,
            Self::SymmetricKey(_) => ObjectType::SymmetricKey,
            Self::Template(_) => ObjectType::Template,
        }
    }

    /// Its key block, if it has one.
    #[must_use]
    pub fn key_block(&self) -> Option<&KeyBlock> {
        match self {
            Self::PgpKey(object) => Some(&object.key_block),
            Self::PrivateKey(key) | Self::PublicKey(key) | Self::SymmetricKey(key) => Some(&key.key_block),
            Self::SecretData(object) => Some(&object.key_block),
            Self::SplitKey(object) => Some(&object.key_block),
            Self::Certificate(_) | Self::CertificateRequest(_) | Self::OpaqueObject(_) | Self::Template(_) => None,
        }
    }

    /// Its key block, to change.
    #[must_use]
    pub fn key_block_mut(&mut self) -> Option<&mut KeyBlock> {
        match self {
            Self::PgpKey(object) => Some(&mut object.key_block),
            Self::PrivateKey(key) | Self::PublicKey(key) | Self::SymmetricKey(key) => Some(&mut key.key_block),
            Self::SecretData(object) => Some(&mut object.key_block),
            Self::SplitKey(object) => Some(&mut object.key_block),
            Self::Certificate(_) | Self::CertificateRequest(_) | Self::OpaqueObject(_) | Self::Template(_) => None,
        }
    }

    /// Reads the object that comes next among the fields of a payload.
    pub(crate) fn decode_any(fields: &mut Fields<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let within = fields.within();
        fields.skip_extensions();
        let Some(item) = fields.peek() else {
            return Err(fields.missing(Tag::SYMMETRIC_KEY));
        };
        let object = match item.tag {
            Tag::CERTIFICATE => Self::Certificate(Field::decode(item, version)?),
            Tag::CERTIFICATE_REQUEST if version >= ProtocolVersion::V2_0 => {
                Self::CertificateRequest(Field::decode(item, version)?)
            }
            Tag::OPAQUE_OBJECT => Self::OpaqueObject(Field::decode(item, version)?),
            Tag::PGP_KEY if version >= ProtocolVersion::V1_2 => Self::PgpKey(Field::decode(item, version)?),
            Tag::PRIVATE_KEY => Self::PrivateKey(Field::decode(item, version)?),
            Tag::PUBLIC_KEY => Self::PublicKey(Field::decode(item, version)?),
            Tag::SECRET_DATA => Self::SecretData(Field::decode(item, version)?),
            Tag::SPLIT_KEY => Self::SplitKey(Field::decode(item, version)?),
            Tag::SYMMETRIC_KEY => Self::SymmetricKey(Field::decode(item, version)?),
            Tag::TEMPLATE if version < ProtocolVersion::V2_0 => Self::Template(Field::decode(item, version)?),
            unexpected => return Err(item.error(DecodeErrorKind::Unexpected { unexpected, within })),
        };
        fields.next();
        Ok(object)
    }

    /// Appends it under the tag of its type.
    pub(crate) fn encode_any(&self, writer: &mut Writer, version: ProtocolVersion) {
        match self {
            Self::Certificate(object) => object.encode(Tag::CERTIFICATE, writer, version),
            Self::CertificateRequest(object) => object.encode(Tag::CERTIFICATE_REQUEST, writer, version),
            Self::OpaqueObject(object) => object.encode(Tag::OPAQUE_OBJECT, writer, version),
            Self::PgpKey(object) => object.encode(Tag::PGP_KEY, writer, version),
            Self::PrivateKey(object) => object.encode(Tag::PRIVATE_KEY, writer, version),
            Self::PublicKey(object) => object.encode(Tag::PUBLIC_KEY, writer, version),
            Self::SecretData(object) => object.encode(Tag::SECRET_DATA, writer, version),
            Self::SplitKey(object) => object.encode(Tag::SPLIT_KEY, writer, version),
            Self::SymmetricKey(object) => object.encode(Tag::SYMMETRIC_KEY, writer, version),
            Self::Template(object) => object.encode(Tag::TEMPLATE, writer, version),
        }
    }

    /// Bytes of a form that only this crate reads: the object under the rules of the newest version that has it.
    /// For sealing at rest.
    #[must_use]
    pub fn to_stored_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut writer = Writer::new();
        writer.structure(Tag::RESPONSE_PAYLOAD, |writer| self.encode_any(writer, self.stored_version()));
        writer.into_bytes()
    }

    /// Reads what [`Self::to_stored_bytes`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_stored_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let frame = Frame::parse(bytes, &Limits::STORED)?;
        let mut fields = frame.root().structure()?;
        let is_template = fields.peek().is_some_and(|item| item.tag == Tag::TEMPLATE);
        let version = if is_template { ProtocolVersion::V1_4 } else { ProtocolVersion::STORED };
        let object = Self::decode_any(&mut fields, version)?;
        fields.finish()?;
        Ok(object)
    }

    fn stored_version(&self) -> ProtocolVersion {
        match self {
            Self::Template(_) => ProtocolVersion::V1_4,
            _ => ProtocolVersion::STORED,
        }
    }
}
