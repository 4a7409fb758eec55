//! Attributes: one model for name-value pairs in templates (1.x) and structures by tag (2.x).
//!
//! Serves KMIP 1.4 §2.1.1, §2.1.8 and §3, and KMIP 2.1 §4 and §5. Which attribute may be set, changed or deleted
//! when is in [`crate::tables::AttributeEntry`]; deciding it is the server's.

use crate::codec::{AnyValue, DateTime, Field, Interval, structure};
use crate::spelling;
use crate::ttlv::{DecodeError, DecodeErrorKind, Fields, Frame, Item, Limits, Type, Writer};
use crate::{
    AlternativeNameType, BlockCipherMode, CertificateType, CryptographicAlgorithm, CryptographicUsageMask,
    DigitalSignatureAlgorithm, DrbgAlgorithm, Fips186Variation, HashingAlgorithm, KeyFormatType, KeyRoleType,
    KeyValueLocationType, LinkType, MaskGenerator, NameType, NistKeyType, ObjectClass, ObjectType, PaddingMethod, ProtectionLevel,
    ProtectionStorageMask, ProtocolVersion, RecommendedCurve, RevocationReasonCode, RngAlgorithm, RotateNameType,
    State, Tag, UniqueIdentifierEnumeration, UsageLimitsUnit,
};

const V1_0: ProtocolVersion = ProtocolVersion::V1_0;
const V1_1: ProtocolVersion = ProtocolVersion::V1_1;
const V1_2: ProtocolVersion = ProtocolVersion::V1_2;
const V1_3: ProtocolVersion = ProtocolVersion::V1_3;
const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;
const V2_1: ProtocolVersion = ProtocolVersion::V2_1;
const V3_0: ProtocolVersion = ProtocolVersion::V3_0;

/// How a request names an object. KMIP 2.1 §4.58: "Text String, Enumeration or Integer".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UniqueIdentifier {
    /// The identifier itself.
    Text(String),
    /// The object that an earlier operation of the batch made or found. From 2.0.
    Placeholder(UniqueIdentifierEnumeration),
    /// The object of the batch item with this number, counted from the end if negative. From 2.0.
    Item(i32),
}

impl UniqueIdentifier {
    /// The identifier, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Placeholder(_) | Self::Item(_) => None,
        }
    }
}

impl From<String> for UniqueIdentifier {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Field for UniqueIdentifier {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        match item.item_type {
            Type::Enumeration if version >= V2_0 => Field::decode(item, version).map(Self::Placeholder),
            Type::Integer if version >= V2_0 => item.integer().map(Self::Item),
            // 3.0 tells an object's own identifier (Identifier) from that of another (Reference).
            kind @ (Type::Identifier | Type::Reference) if version >= V3_0 => {
                item.text_of(kind).map(|text| Self::Text(text.to_owned()))
            }
            _ if version >= V3_0 => item.text_of(Type::Identifier).map(|text| Self::Text(text.to_owned())),
            _ => item.text().map(|text| Self::Text(text.to_owned())),
        }
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        match self {
            Self::Text(text) if version >= V3_0 => writer.text_of(tag, Type::Identifier, text),
            Self::Text(text) => writer.text_string(tag, text),
            Self::Placeholder(value) => value.encode(tag, writer, version),
            Self::Item(number) => writer.integer(tag, *number),
        }
    }

    fn is_in(&self, version: ProtocolVersion) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Placeholder(value) => value.is_in(version),
            Self::Item(_) => version >= V2_0,
        }
    }
}

/// Opaque Data Type: the standard lists no values, only the extension range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpaqueDataType(pub u32);

impl Field for OpaqueDataType {
    fn decode(item: Item<'_>, _: ProtocolVersion) -> Result<Self, DecodeError> {
        item.enumeration().map(Self)
    }
    fn encode(&self, tag: Tag, writer: &mut Writer, _: ProtocolVersion) {
        writer.enumeration(tag, self.0);
    }
}

/// Name, KMIP 2.1 §4.32. A structure up to 2.1, a Text String in 3.0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// Name Value.
    pub value: String,
    /// Name Type.
    pub name_type: NameType,
}

/// Reads a text and its type: a structure of both up to 2.1, a Text String of the usual type in 3.0.
fn decode_typed_text<T: Field>(
    item: Item<'_>,
    version: ProtocolVersion,
    (value_tag, type_tag): (Tag, Tag),
    usual: T,
) -> Result<(String, T), DecodeError> {
    if version >= V3_0 {
        return Ok((item.text()?.to_owned(), usual));
    }
    let mut fields = item.structure()?;
    let value = Field::decode(fields.required(value_tag)?, version)?;
    let text_type = Field::decode(fields.required(type_tag)?, version)?;
    fields.finish()?;
    Ok((value, text_type))
}

/// Writes what [`decode_typed_text`] reads.
fn encode_typed_text<T: Field>(
    (value, text_type): (&String, T),
    tag: Tag,
    writer: &mut Writer,
    version: ProtocolVersion,
    (value_tag, type_tag): (Tag, Tag),
) {
    if version >= V3_0 {
        return writer.text_string(tag, value);
    }
    writer.structure(tag, |writer| {
        value.encode(value_tag, writer, version);
        text_type.encode(type_tag, writer, version);
    });
}

impl Field for Name {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let (value, name_type) = decode_typed_text(item, version, (Tag::NAME_VALUE, Tag::NAME_TYPE), NameType::UninterpretedTextString)?;
        Ok(Self { value, name_type })
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        encode_typed_text((&self.value, self.name_type), tag, writer, version, (Tag::NAME_VALUE, Tag::NAME_TYPE));
    }

    fn is_in(&self, version: ProtocolVersion) -> bool {
        version >= V3_0 || self.name_type.is_in(version)
    }
}

impl Name {
    /// A name of the usual type, Uninterpreted Text String.
    #[must_use]
    pub fn text(value: &str) -> Self {
        Self { value: value.to_owned(), name_type: NameType::UninterpretedTextString }
    }
}

structure! {
    /// Cryptographic Parameters, KMIP 2.1 §4.16.
    #[derive(Default)]
    CryptographicParameters {
        /// Block Cipher Mode.
        block_cipher_mode: optional BlockCipherMode = BLOCK_CIPHER_MODE;
        /// Padding Method.
        padding_method: optional PaddingMethod = PADDING_METHOD;
        /// Hashing Algorithm.
        hashing_algorithm: optional HashingAlgorithm = HASHING_ALGORITHM;
        /// Key Role Type.
        key_role_type: optional KeyRoleType = KEY_ROLE_TYPE;
        /// Digital Signature Algorithm.
        digital_signature_algorithm: optional DigitalSignatureAlgorithm = DIGITAL_SIGNATURE_ALGORITHM in V1_2..;
        /// Cryptographic Algorithm.
        cryptographic_algorithm: optional CryptographicAlgorithm = CRYPTOGRAPHIC_ALGORITHM in V1_2..;
        /// Random IV.
        random_iv: optional bool = RANDOM_IV in V1_2..;
        /// IV Length, bits.
        iv_length: optional i32 = IV_LENGTH in V1_2..;
        /// Tag Length, bytes.
        tag_length: optional i32 = TAG_LENGTH in V1_2..;
        /// Fixed Field Length, bits.
        fixed_field_length: optional i32 = FIXED_FIELD_LENGTH in V1_2..;
        /// Invocation Field Length, bits.
        invocation_field_length: optional i32 = INVOCATION_FIELD_LENGTH in V1_2..;
        /// Counter Length, bits.
        counter_length: optional i32 = COUNTER_LENGTH in V1_2..;
        /// Initial Counter Value.
        initial_counter_value: optional i32 = INITIAL_COUNTER_VALUE in V1_2..;
        /// Salt Length, bytes.
        salt_length: optional i32 = SALT_LENGTH in V1_4..;
        /// Mask Generator.
        mask_generator: optional MaskGenerator = MASK_GENERATOR in V1_4..;
        /// Mask Generator Hashing Algorithm.
        mask_generator_hashing_algorithm: optional HashingAlgorithm = MASK_GENERATOR_HASHING_ALGORITHM in V1_4..;
        /// P Source: the label of OAEP.
        p_source: optional Vec<u8> = P_SOURCE in V1_4..;
        /// Trailer Field.
        trailer_field: optional i32 = TRAILER_FIELD in V1_4..;
    }
}

structure! {
    /// Cryptographic Domain Parameters, KMIP 2.1 §4.14.
    CryptographicDomainParameters {
        /// Qlength, bits.
        qlength: optional i32 = QLENGTH;
        /// Recommended Curve.
        recommended_curve: optional RecommendedCurve = RECOMMENDED_CURVE;
    }
}

structure! {
    /// Link, KMIP 2.1 §4.31.
    Link {
        /// Link Type.
        link_type: required LinkType = LINK_TYPE;
        /// Linked Object Identifier.
        linked_object_identifier: required UniqueIdentifier = LINKED_OBJECT_IDENTIFIER;
    }
}

structure! {
    /// Digest, KMIP 2.1 §4.21.
    Digest {
        /// Hashing Algorithm.
        hashing_algorithm: required HashingAlgorithm = HASHING_ALGORITHM;
        /// Digest Value.
        digest_value: optional Vec<u8> = DIGEST_VALUE;
        /// Key Format Type that was hashed.
        key_format_type: optional KeyFormatType = KEY_FORMAT_TYPE in V1_1..;
    }
}

structure! {
    /// Usage Limits, KMIP 2.1 §7.40. A client that sets them leaves the count to the server.
    UsageLimits {
        /// Usage Limits Total.
        total: required i64 = USAGE_LIMITS_TOTAL;
        /// Usage Limits Count: what is left.
        count: optional i64 = USAGE_LIMITS_COUNT;
        /// Usage Limits Unit.
        unit: required UsageLimitsUnit = USAGE_LIMITS_UNIT;
    }
}

structure! {
    /// Revocation Reason, KMIP 2.1 §4.47.
    RevocationReason {
        /// Revocation Reason Code.
        code: required RevocationReasonCode = REVOCATION_REASON_CODE;
        /// Revocation Message.
        message: optional String = REVOCATION_MESSAGE;
    }
}

structure! {
    /// Application Specific Information, KMIP 2.1 §4.4.
    ApplicationSpecificInformation {
        /// Application Namespace.
        namespace: required String = APPLICATION_NAMESPACE;
        /// Application Data. The server may make it up from 1.2 on.
        data: optional String = APPLICATION_DATA;
    }
}

structure! {
    /// Alternative Name, KMIP 2.1 §4.2.
    AlternativeName {
        /// Alternative Name Value.
        value: required String = ALTERNATIVE_NAME_VALUE;
        /// Alternative Name Type.
        name_type: required AlternativeNameType = ALTERNATIVE_NAME_TYPE;
    }
}

structure! {
    /// Key Value Location, KMIP 2.1 §4.27.
    KeyValueLocation {
        /// Key Value Location Value.
        value: required String = KEY_VALUE_LOCATION_VALUE;
        /// Key Value Location Type.
        location_type: required KeyValueLocationType = KEY_VALUE_LOCATION_TYPE;
    }
}

structure! {
    /// X.509 Certificate Identifier, KMIP 2.1 §4.61.
    X509CertificateIdentifier {
        /// Issuer Distinguished Name, DER.
        issuer_distinguished_name: required Vec<u8> = ISSUER_DISTINGUISHED_NAME;
        /// Certificate Serial Number, DER.
        certificate_serial_number: required Vec<u8> = CERTIFICATE_SERIAL_NUMBER;
    }
}

structure! {
    /// X.509 Certificate Subject, KMIP 2.1 §4.63.
    X509CertificateSubject {
        /// Subject Distinguished Name, DER.
        subject_distinguished_name: required Vec<u8> = SUBJECT_DISTINGUISHED_NAME;
        /// Subject Alternative Names, DER.
        subject_alternative_names: repeated Vec<u8> = SUBJECT_ALTERNATIVE_NAME;
    }
}

structure! {
    /// X.509 Certificate Issuer, KMIP 2.1 §4.62.
    X509CertificateIssuer {
        /// Issuer Distinguished Name, DER.
        issuer_distinguished_name: required Vec<u8> = ISSUER_DISTINGUISHED_NAME;
        /// Issuer Alternative Names, DER.
        issuer_alternative_names: repeated Vec<u8> = ISSUER_ALTERNATIVE_NAME;
    }
}

structure! {
    /// Certificate Identifier, KMIP 1.4 §3.13 (deprecated in 1.1).
    CertificateIdentifier {
        /// Issuer.
        issuer: required String = ISSUER;
        /// Serial Number.
        serial_number: optional String = SERIAL_NUMBER;
    }
}

structure! {
    /// Certificate Subject, KMIP 1.4 §3.14 (deprecated in 1.1).
    CertificateSubject {
        /// Certificate Subject Distinguished Name.
        distinguished_name: required String = CERTIFICATE_SUBJECT_DISTINGUISHED_NAME;
        /// Certificate Subject Alternative Names.
        alternative_names: repeated String = CERTIFICATE_SUBJECT_ALTERNATIVE_NAME;
    }
}

structure! {
    /// Certificate Issuer, KMIP 1.4 §3.15 (deprecated in 1.1).
    CertificateIssuer {
        /// Certificate Issuer Distinguished Name.
        distinguished_name: required String = CERTIFICATE_ISSUER_DISTINGUISHED_NAME;
        /// Certificate Issuer Alternative Names.
        alternative_names: repeated String = CERTIFICATE_ISSUER_ALTERNATIVE_NAME;
    }
}

structure! {
    /// RNG Parameters, KMIP 2.1 §7.36.
    RngParameters {
        /// RNG Algorithm.
        rng_algorithm: required RngAlgorithm = RNG_ALGORITHM;
        /// Cryptographic Algorithm.
        cryptographic_algorithm: optional CryptographicAlgorithm = CRYPTOGRAPHIC_ALGORITHM;
        /// Cryptographic Length, bits.
        cryptographic_length: optional i32 = CRYPTOGRAPHIC_LENGTH;
        /// Hashing Algorithm.
        hashing_algorithm: optional HashingAlgorithm = HASHING_ALGORITHM;
        /// DRBG Algorithm.
        drbg_algorithm: optional DrbgAlgorithm = DRBG_ALGORITHM;
        /// Recommended Curve.
        recommended_curve: optional RecommendedCurve = RECOMMENDED_CURVE;
        /// FIPS186 Variation.
        fips186_variation: optional Fips186Variation = FIPS186_VARIATION;
        /// Prediction Resistance.
        prediction_resistance: optional bool = PREDICTION_RESISTANCE;
    }
}

/// Rotate Name, KMIP 2.1 §4.53. A structure in 2.1, a Text String in 3.0, which has no tags for its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateName {
    /// Rotate Name Value.
    pub value: String,
    /// Rotate Name Type.
    pub name_type: RotateNameType,
}

impl Field for RotateName {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let tags = (Tag::ROTATE_NAME_VALUE, Tag::ROTATE_NAME_TYPE);
        let (value, name_type) = decode_typed_text(item, version, tags, RotateNameType::UninterpretedTextString)?;
        Ok(Self { value, name_type })
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        let tags = (Tag::ROTATE_NAME_VALUE, Tag::ROTATE_NAME_TYPE);
        encode_typed_text((&self.value, self.name_type), tag, writer, version, tags);
    }
}

/// An attribute that no standard lists: `x-` and `y-` names in 1.x, Vendor Attribute in 2.x.
///
/// KMIP 2.1 §4.60: vendor "x" is for attributes set by clients, "y" for those set by the server; a 1.x name `x-a` is
/// the 2.x attribute `a` of vendor `x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomAttribute {
    /// Vendor Identification.
    pub vendor: String,
    /// Attribute Name, without the prefix of 1.x.
    pub name: String,
    /// Attribute Value, any type.
    pub value: AnyValue,
}

/// The name of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeName {
    /// One of the standard, by tag of its value.
    Standard(Tag),
    /// The links of one kind, as 3.0 names them.
    Link(LinkType),
    /// A custom one.
    Custom {
        /// Vendor Identification.
        vendor: String,
        /// Attribute Name, without the prefix of 1.x.
        name: String,
    },
    /// Text that this version does not know as a name.
    Unknown(String),
}

impl AttributeName {
    /// From the text of a 1.x Attribute Name.
    #[must_use]
    pub fn from_text(text: &str, version: ProtocolVersion) -> Self {
        // KMIP 1.4 §3.39: client-created names begin "x-", server-created "y-".
        for vendor in ["x", "y"] {
            if let Some(name) = text.strip_prefix(vendor).and_then(|rest| rest.strip_prefix('-')) {
                return Self::Custom { vendor: vendor.to_owned(), name: name.to_owned() };
            }
        }
        match standard_tag(text).or_else(|| certificate_field(text)).filter(|tag| version_has(*tag, version)) {
            Some(tag) => Self::Standard(tag),
            None => Self::Unknown(text.to_owned()),
        }
    }

    /// Whether it names this attribute.
    #[must_use]
    pub fn is_of(&self, attribute: &Attribute) -> bool {
        match (self, attribute) {
            (Self::Link(kind), Attribute::Link(link)) => link.link_type == *kind,
            _ => attribute.name() == *self,
        }
    }

    /// The attribute of this name with a value.
    ///
    /// # Errors
    /// What is wrong with the value for this attribute in this version.
    pub fn with_value(&self, value: &AnyValue, version: ProtocolVersion) -> Result<Attribute, DecodeError> {
        let tag = match self {
            Self::Standard(tag) => *tag,
            Self::Link(_) => Tag::LINK,
            Self::Custom { vendor, name } => {
                return Ok(Attribute::Custom(CustomAttribute { vendor: vendor.clone(), name: name.clone(), value: value.clone() }));
            }
            Self::Unknown(name) => return Ok(Attribute::Unknown { name: name.clone(), value: value.clone() }),
        };
        let mut writer = Writer::new();
        writer.structure(Tag::ATTRIBUTES, |writer| value.encode(tag, writer, version));
        let bytes = writer.into_bytes();
        let frame = Frame::parse(&bytes, &Limits::STORED)?;
        Attribute::decode_standard(tag, frame.root().structure()?.required(tag)?, version)
    }

    /// The text of a 1.x Attribute Name.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Standard(tag) => standard_name(*tag).map_or_else(|| tag.to_string(), str::to_owned),
            Self::Link(kind) => spelling::tag_of(*kind).map_or_else(|| "Link".to_owned(), |tag| tag.to_string()),
            Self::Custom { vendor, name } => format!("{vendor}-{name}"),
            Self::Unknown(text) => text.clone(),
        }
    }
}

impl Field for AttributeName {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        match item.item_type {
            // KMIP 2.1 §5.5: the Enumeration form holds the tag of the attribute, the Structure form names a vendor's.
            Type::Enumeration if version >= V2_0 => {
                let tag = Tag(item.enumeration()?);
                if version >= V3_0 && let Some(name) = spelling::name_of(tag) {
                    return Ok(name);
                }
                if !version_has(tag, version) {
                    return Err(item.error(DecodeErrorKind::UnknownAttribute(tag.to_string())));
                }
                Ok(Self::Standard(tag))
            }
            _ if version >= V2_0 => {
                let mut fields = item.structure()?;
                let vendor = fields.required(Tag::VENDOR_IDENTIFICATION)?.text()?.to_owned();
                let name = fields.required(Tag::ATTRIBUTE_NAME)?.text()?.to_owned();
                fields.finish()?;
                Ok(Self::Custom { vendor, name })
            }
            _ => Ok(Self::from_text(item.text()?, version)),
        }
    }

    fn is_in(&self, version: ProtocolVersion) -> bool {
        match self {
            name if version >= V3_0 && spelling::reference_to(name).is_some() => true,
            Self::Standard(tag) => version_has(*tag, version),
            Self::Link(_) => false,
            Self::Custom { vendor, .. } => version >= V2_0 || is_vendor_of_1(vendor),
            Self::Unknown(_) => version < V2_0,
        }
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        if version >= V3_0 && let Some(own) = spelling::reference_to(self) {
            return writer.enumeration(tag, own.0);
        }
        match self {
            Self::Standard(name) if version >= V2_0 => writer.enumeration(tag, name.0),
            Self::Custom { vendor, name } if version >= V2_0 => writer.structure(tag, |writer| {
                writer.text_string(Tag::VENDOR_IDENTIFICATION, vendor);
                writer.text_string(Tag::ATTRIBUTE_NAME, name);
            }),
            _ => writer.text_string(tag, &self.to_text()),
        }
    }
}

macro_rules! attributes {
    ($($(#[$doc:meta])* $variant:ident($type:ty) = $tag:ident, $name:literal, $versions:expr;)*) => {
        /// One attribute with its value.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Attribute {
            $(#[doc = $name] $variant($type),)*
            /// One of the Certificate Subject and Certificate Issuer fields of 2.x (KMIP 2.1 §4.6), by tag.
            CertificateField(Tag, String),
            /// A custom attribute.
            Custom(CustomAttribute),
            /// A 1.x attribute whose name this version does not know.
            Unknown {
                /// Attribute Name.
                name: String,
                /// Attribute Value.
                value: AnyValue,
            },
        }

        impl Attribute {
            /// Its name.
            #[must_use]
            pub fn name(&self) -> AttributeName {
                match self {
                    $(Self::$variant(_) => AttributeName::Standard(Tag::$tag),)*
                    Self::CertificateField(tag, _) => AttributeName::Standard(*tag),
                    Self::Custom(custom) => {
                        AttributeName::Custom { vendor: custom.vendor.clone(), name: custom.name.clone() }
                    }
                    Self::Unknown { name, .. } => AttributeName::Unknown(name.clone()),
                }
            }

            /// Tag of its value, if it is one of the standard.
            #[must_use]
            pub fn tag(&self) -> Option<Tag> {
                match self {
                    $(Self::$variant(_) => Some(Tag::$tag),)*
                    Self::CertificateField(tag, _) => Some(*tag),
                    Self::Custom(_) | Self::Unknown { .. } => None,
                }
            }

            /// Reads the value of a standard attribute, whatever the item's own tag.
            fn decode_standard(tag: Tag, item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
                match tag {
                    $(Tag::$tag => Ok(Self::$variant(Field::decode(item, version)?)),)*
                    tag if is_certificate_field(tag) => Ok(Self::CertificateField(tag, Field::decode(item, version)?)),
                    tag => Err(item.error(DecodeErrorKind::UnknownAttribute(tag.to_string()))),
                }
            }

            /// The value in canonical bytes: equal values have equal bytes. For indexes and comparison.
            #[must_use]
            pub fn value_bytes(&self) -> Vec<u8> {
                let mut writer = Writer::with_capacity(64);
                self.encode_value(Tag::ATTRIBUTE_VALUE, &mut writer, V2_1);
                writer.into_bytes().to_vec()
            }

            /// The value, as 2.1 writes it.
            #[must_use]
            pub fn value(&self) -> Option<AnyValue> {
                let mut writer = Writer::with_capacity(64);
                writer.structure(Tag::ATTRIBUTE, |writer| self.encode_value(Tag::ATTRIBUTE_VALUE, writer, V2_1));
                let bytes = writer.into_bytes();
                let frame = Frame::parse(&bytes, &Limits::STORED).ok()?;
                AnyValue::decode(frame.root().structure().ok()?.next()?, V2_1).ok()
            }

            /// Appends the value under a tag.
            pub(crate) fn encode_value(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
                match self {
                    $(Self::$variant(value) => value.encode(tag, writer, version),)*
                    Self::CertificateField(_, value) => value.encode(tag, writer, version),
                    Self::Custom(custom) => custom.value.encode(tag, writer, version),
                    Self::Unknown { value, .. } => value.encode(tag, writer, version),
                }
            }

            /// Whether a version can say the value.
            fn value_is_in(&self, version: ProtocolVersion) -> bool {
                match self {
                    $(Self::$variant(value) => Field::is_in(value, version),)*
                    Self::CertificateField(..) => true,
                    Self::Custom(custom) => custom.value.is_in(version),
                    Self::Unknown { value, .. } => value.is_in(version),
                }
            }

            /// A sample of each attribute that the maker's version has.
            #[cfg(any(test, feature = "samples"))]
            #[must_use]
            pub fn samples(maker: &mut crate::samples::Maker) -> Vec<Self> {
                let mut list = Vec::new();
                $(if version_has(Tag::$tag, maker.version()) {
                    list.push(Self::$variant(crate::samples::Sample::sample(maker)));
                })*
                list.extend(crate::samples::other_attributes(maker));
                list
            }
        }

        fn standard_tag(name: &str) -> Option<Tag> {
            match name {
                $($name => Some(Tag::$tag),)*
                _ => None,
            }
        }

        fn standard_name(tag: Tag) -> Option<&'static str> {
            match tag {
                $(Tag::$tag => Some($name),)*
                _ => None,
            }
        }

        /// Whether a version knows an attribute of the standard.
        #[must_use]
        pub fn version_has(attribute: Tag, version: ProtocolVersion) -> bool {
            match attribute {
                $(Tag::$tag => std::ops::RangeBounds::contains(&($versions), &version),)*
                tag => is_certificate_field(tag) && version >= V1_4,
            }
        }

        #[cfg(test)]
        const DECLARED: &[(&str, Tag)] = &[$(($name, Tag::$tag)),*];
    };
}

attributes! {
    ActivationDate(DateTime) = ACTIVATION_DATE, "Activation Date", V1_0..;
    AlternativeName(AlternativeName) = ALTERNATIVE_NAME, "Alternative Name", V1_2..;
    AlwaysSensitive(bool) = ALWAYS_SENSITIVE, "Always Sensitive", V1_4..;
    ApplicationSpecificInformation(ApplicationSpecificInformation) = APPLICATION_SPECIFIC_INFORMATION, "Application Specific Information", V1_0..;
    ArchiveDate(DateTime) = ARCHIVE_DATE, "Archive Date", V1_0..;
    CertificateIdentifier(CertificateIdentifier) = CERTIFICATE_IDENTIFIER, "Certificate Identifier", V1_0..=V1_4;
    CertificateIssuer(CertificateIssuer) = CERTIFICATE_ISSUER, "Certificate Issuer", V1_0..=V1_4;
    CertificateLength(i32) = CERTIFICATE_LENGTH, "Certificate Length", V1_1..;
    CertificateSubject(CertificateSubject) = CERTIFICATE_SUBJECT, "Certificate Subject", V1_0..=V1_4;
    CertificateType(CertificateType) = CERTIFICATE_TYPE, "Certificate Type", V1_0..;
    Comment(String) = COMMENT, "Comment", V1_4..;
    CompromiseDate(DateTime) = COMPROMISE_DATE, "Compromise Date", V1_0..;
    CompromiseOccurrenceDate(DateTime) = COMPROMISE_OCCURRENCE_DATE, "Compromise Occurrence Date", V1_0..;
    ContactInformation(String) = CONTACT_INFORMATION, "Contact Information", V1_0..;
    CryptographicAlgorithm(CryptographicAlgorithm) = CRYPTOGRAPHIC_ALGORITHM, "Cryptographic Algorithm", V1_0..;
    CryptographicDomainParameters(CryptographicDomainParameters) = CRYPTOGRAPHIC_DOMAIN_PARAMETERS, "Cryptographic Domain Parameters", V1_0..;
    CryptographicLength(i32) = CRYPTOGRAPHIC_LENGTH, "Cryptographic Length", V1_0..;
    CryptographicParameters(CryptographicParameters) = CRYPTOGRAPHIC_PARAMETERS, "Cryptographic Parameters", V1_0..;
    CryptographicUsageMask(CryptographicUsageMask) = CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", V1_0..;
    DeactivationDate(DateTime) = DEACTIVATION_DATE, "Deactivation Date", V1_0..;
    Description(String) = DESCRIPTION, "Description", V1_4..;
    DestroyDate(DateTime) = DESTROY_DATE, "Destroy Date", V1_0..;
    Digest(Digest) = DIGEST, "Digest", V1_0..;
    DigitalSignatureAlgorithm(DigitalSignatureAlgorithm) = DIGITAL_SIGNATURE_ALGORITHM, "Digital Signature Algorithm", V1_1..;
    Extractable(bool) = EXTRACTABLE, "Extractable", V1_4..;
    Fresh(bool) = FRESH, "Fresh", V1_1..;
    InitialDate(DateTime) = INITIAL_DATE, "Initial Date", V1_0..;
    KeyFormatType(KeyFormatType) = KEY_FORMAT_TYPE, "Key Format Type", V2_0..;
    KeyValueLocation(KeyValueLocation) = KEY_VALUE_LOCATION, "Key Value Location", V1_2..;
    KeyValuePresent(bool) = KEY_VALUE_PRESENT, "Key Value Present", V1_2..;
    LastChangeDate(DateTime) = LAST_CHANGE_DATE, "Last Change Date", V1_0..;
    LeaseTime(Interval) = LEASE_TIME, "Lease Time", V1_0..;
    Link(Link) = LINK, "Link", V1_0..=V2_1;
    Name(Name) = NAME, "Name", V1_0..;
    NeverExtractable(bool) = NEVER_EXTRACTABLE, "Never Extractable", V1_4..;
    NistKeyType(NistKeyType) = NIST_KEY_TYPE, "NIST Key Type", V2_0..;
    ObjectClass(ObjectClass) = OBJECT_CLASS, "Object Class", V3_0..;
    ObjectGroup(String) = OBJECT_GROUP, "Object Group", V1_0..=V2_1;
    ObjectType(ObjectType) = OBJECT_TYPE, "Object Type", V1_0..;
    OpaqueDataType(OpaqueDataType) = OPAQUE_DATA_TYPE, "Opaque Data Type", V2_0..;
    OperationPolicyName(String) = OPERATION_POLICY_NAME, "Operation Policy Name", V1_0..=V1_4;
    OriginalCreationDate(DateTime) = ORIGINAL_CREATION_DATE, "Original Creation Date", V1_2..;
    Pkcs12FriendlyName(String) = PKCS_12_FRIENDLY_NAME, "PKCS#12 Friendly Name", V1_4..;
    ProcessStartDate(DateTime) = PROCESS_START_DATE, "Process Start Date", V1_0..;
    ProtectStopDate(DateTime) = PROTECT_STOP_DATE, "Protect Stop Date", V1_0..;
    ProtectionLevel(ProtectionLevel) = PROTECTION_LEVEL, "Protection Level", V2_0..;
    ProtectionPeriod(Interval) = PROTECTION_PERIOD, "Protection Period", V2_0..;
    ProtectionStorageMask(ProtectionStorageMask) = PROTECTION_STORAGE_MASK, "Protection Storage Mask", V2_0..;
    QuantumSafe(bool) = QUANTUM_SAFE, "Quantum Safe", V2_0..;
    RandomNumberGenerator(RngParameters) = RANDOM_NUMBER_GENERATOR, "Random Number Generator", V1_3..;
    RevocationReason(RevocationReason) = REVOCATION_REASON, "Revocation Reason", V1_0..;
    RotateAutomatic(bool) = ROTATE_AUTOMATIC, "Rotate Automatic", V2_1..;
    RotateDate(DateTime) = ROTATE_DATE, "Rotate Date", V2_1..;
    RotateGeneration(i32) = ROTATE_GENERATION, "Rotate Generation", V2_1..;
    RotateInterval(Interval) = ROTATE_INTERVAL, "Rotate Interval", V2_1..;
    RotateLatest(bool) = ROTATE_LATEST, "Rotate Latest", V2_1..;
    RotateName(RotateName) = ROTATE_NAME, "Rotate Name", V2_1..;
    RotateOffset(Interval) = ROTATE_OFFSET, "Rotate Offset", V2_1..;
    Sensitive(bool) = SENSITIVE, "Sensitive", V1_4..;
    ShortUniqueIdentifier(Vec<u8>) = SHORT_UNIQUE_IDENTIFIER, "Short Unique Identifier", V2_0..;
    State(State) = STATE, "State", V1_0..;
    UniqueIdentifier(UniqueIdentifier) = UNIQUE_IDENTIFIER, "Unique Identifier", V1_0..;
    UsageLimits(UsageLimits) = USAGE_LIMITS, "Usage Limits", V1_0..;
    X509CertificateIdentifier(X509CertificateIdentifier) = X_509_CERTIFICATE_IDENTIFIER, "X.509 Certificate Identifier", V1_1..;
    X509CertificateIssuer(X509CertificateIssuer) = X_509_CERTIFICATE_ISSUER, "X.509 Certificate Issuer", V1_1..;
    X509CertificateSubject(X509CertificateSubject) = X_509_CERTIFICATE_SUBJECT, "X.509 Certificate Subject", V1_1..;
}

/// The Certificate Subject and Issuer fields, KMIP 2.1 §4.6; 1.4 has their tags already (1.4 §9.1.3.1).
fn is_certificate_field(tag: Tag) -> bool {
    (0x42_0108..=0x42_011F).contains(&tag.0)
        && tag
            .entry()
            .is_some_and(|e| e.name.starts_with("Certificate Subject ") || e.name.starts_with("Certificate Issuer "))
}

/// One of them by the name of its tag.
fn certificate_field(name: &str) -> Option<Tag> {
    (0x42_0108..=0x42_011F).map(Tag).find(|tag| is_certificate_field(*tag) && tag.entry().is_some_and(|entry| entry.name == name))
}

impl Attribute {
    /// Its name in a version: 3.0 names links by their kind.
    #[must_use]
    pub fn name_in(&self, version: ProtocolVersion) -> AttributeName {
        match self {
            Self::Link(link) if version >= V3_0 => AttributeName::Link(link.link_type),
            other => other.name(),
        }
    }

    /// Whether a version can say this attribute and its value.
    #[must_use]
    pub fn is_in(&self, version: ProtocolVersion) -> bool {
        let named = match self {
            Self::Custom(custom) => version >= V2_0 || is_vendor_of_1(&custom.vendor),
            Self::Unknown { .. } => version < V2_0,
            standard if version >= V3_0 && let Some(sayable) = spelling::is_sayable(standard) => return sayable,
            standard => standard.tag().is_some_and(|tag| version_has(tag, version)),
        };
        named && self.value_is_in(version)
    }
}

/// Whether 1.x can say a custom attribute of this vendor: its names begin with `x-` or `y-`.
fn is_vendor_of_1(vendor: &str) -> bool {
    matches!(vendor, "x" | "y")
}

/// An attribute and, in 1.x, its index among those of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeInstance {
    /// Attribute Index; absent means 0. Not in 2.x.
    pub index: Option<i32>,
    /// The attribute.
    pub attribute: Attribute,
}

impl From<Attribute> for AttributeInstance {
    fn from(attribute: Attribute) -> Self {
        Self { index: None, attribute }
    }
}

impl AttributeInstance {
    /// Reads a 1.x Attribute structure.
    fn decode_pair(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut fields = item.structure()?;
        let name = AttributeName::from_text(fields.required(Tag::ATTRIBUTE_NAME)?.text()?, version);
        let index = fields.optional(Tag::ATTRIBUTE_INDEX).map(|item| item.integer()).transpose()?;
        if index.is_some_and(|index| index < 0) {
            return Err(item.error(DecodeErrorKind::BadValue { tag: Tag::ATTRIBUTE_INDEX, rule: "is negative" }));
        }
        let value = fields.required(Tag::ATTRIBUTE_VALUE)?;
        fields.finish()?;
        let attribute = match name {
            AttributeName::Standard(tag) => Attribute::decode_standard(tag, value, version)?,
            AttributeName::Link(_) => Attribute::decode_standard(Tag::LINK, value, version)?,
            AttributeName::Custom { vendor, name } => {
                Attribute::Custom(CustomAttribute { vendor, name, value: AnyValue::decode(value, version)? })
            }
            AttributeName::Unknown(name) => Attribute::Unknown { name, value: AnyValue::decode(value, version)? },
        };
        Ok(Self { index, attribute })
    }

    /// Reads an item inside a 2.x Attributes structure.
    fn decode_tagged(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        if item.tag == Tag::ATTRIBUTE {
            let mut fields = item.structure()?;
            let vendor = fields.required(Tag::VENDOR_IDENTIFICATION)?.text()?.to_owned();
            let name = fields.required(Tag::ATTRIBUTE_NAME)?.text()?.to_owned();
            let value = AnyValue::decode(fields.required(Tag::ATTRIBUTE_VALUE)?, version)?;
            fields.finish()?;
            return Ok(Attribute::Custom(CustomAttribute { vendor, name, value }).into());
        }
        if version >= V3_0 && let Some(attribute) = spelling::decode(item) {
            return attribute.map(Self::from);
        }
        if !version_has(item.tag, version) {
            return Err(item.error(DecodeErrorKind::UnknownAttribute(item.tag.to_string())));
        }
        Attribute::decode_standard(item.tag, item, version).map(Self::from)
    }

    /// Appends the 1.x form.
    fn encode_pair(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        writer.structure(tag, |writer| {
            writer.text_string(Tag::ATTRIBUTE_NAME, &self.attribute.name().to_text());
            if let Some(index) = self.index {
                writer.integer(Tag::ATTRIBUTE_INDEX, index);
            }
            self.attribute.encode_value(Tag::ATTRIBUTE_VALUE, writer, version);
        });
    }

    /// Appends the 2.x form.
    fn encode_tagged(&self, writer: &mut Writer, version: ProtocolVersion) {
        match &self.attribute {
            Attribute::Custom(custom) => writer.structure(Tag::ATTRIBUTE, |writer| {
                writer.text_string(Tag::VENDOR_IDENTIFICATION, &custom.vendor);
                writer.text_string(Tag::ATTRIBUTE_NAME, &custom.name);
                custom.value.encode(Tag::ATTRIBUTE_VALUE, writer, version);
            }),
            standard if version >= V3_0 && spelling::encode(standard, writer) => {}
            standard => {
                if let Some(tag) = standard.tag() {
                    standard.encode_value(tag, writer, version);
                }
            }
        }
    }
}

/// A single attribute: 1.x Attribute, 2.x New Attribute and Current Attribute.
impl Field for AttributeInstance {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        if version < V2_0 {
            return Self::decode_pair(item, version);
        }
        let mut fields = item.structure()?;
        let Some(inner) = fields.next() else {
            return Err(item.bad_value("holds no attribute"));
        };
        fields.finish()?;
        Self::decode_tagged(inner, version)
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        if !self.is_in(version) {
            return;
        }
        if version < V2_0 {
            return self.encode_pair(tag, writer, version);
        }
        writer.structure(tag, |writer| self.encode_tagged(writer, version));
    }

    fn is_in(&self, version: ProtocolVersion) -> bool {
        self.attribute.is_in(version)
    }
}

/// Attributes of one list. In 2.x an attribute takes eight bytes at the least and its value in memory many more.
const ATTRIBUTES_MAX: usize = 10_000;

/// A list of attributes: Template-Attribute and its like in 1.x, Attributes and its like in 2.x.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Names of templates to take attributes from. Not in 2.x.
    pub templates: Vec<Name>,
    /// The attributes.
    pub list: Vec<AttributeInstance>,
}

impl Attributes {
    /// A copy whose every attribute the version knows.
    #[must_use]
    pub fn for_version(&self, version: ProtocolVersion) -> Self {
        let list = self.list.iter().filter(|instance| instance.attribute.is_in(version)).cloned().collect();
        Self { templates: Vec::new(), list }
    }

    /// The first value that `pick` accepts.
    pub fn find<'a, T>(&'a self, pick: impl Fn(&'a Attribute) -> Option<T>) -> Option<T> {
        self.list.iter().find_map(|instance| pick(&instance.attribute))
    }

    /// Reads repeated 1.x Attribute items, or a 2.x structure under `tag`, from the fields of a payload.
    pub(crate) fn decode_flat(
        fields: &mut Fields<'_>,
        tag: Tag,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        if version < V2_0 {
            let mut list = Vec::new();
            while let Some(item) = fields.optional(Tag::ATTRIBUTE) {
                check_room(&list, item)?;
                list.push(AttributeInstance::decode_pair(item, version)?);
            }
            return Ok(Self { templates: Vec::new(), list });
        }
        match fields.optional(tag) {
            Some(item) => Self::decode(item, version),
            None => Ok(Self::default()),
        }
    }

    /// Reads what Locate looks for: as [`Self::decode_flat`], or 1.x Attribute items in a Template-Attribute, as some clients send them.
    pub(crate) fn decode_filter(fields: &mut Fields<'_>, tag: Tag, version: ProtocolVersion) -> Result<Self, DecodeError> {
        match if version < V2_0 { fields.optional(Tag::TEMPLATE_ATTRIBUTE) } else { None } {
            Some(item) => {
                let wrapped = Self::decode(item, version)?;
                if !wrapped.templates.is_empty() {
                    return Err(item.bad_value("holds the name of a template, and Locate looks for attributes"));
                }
                Ok(wrapped)
            }
            None => Self::decode_flat(fields, tag, version),
        }
    }

    /// Appends repeated 1.x Attribute items, or a 2.x structure.
    pub(crate) fn encode_flat(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        if version >= V2_0 {
            return self.encode(tag, writer, version);
        }
        for instance in self.list.iter().filter(|instance| instance.attribute.is_in(version)) {
            instance.encode_pair(Tag::ATTRIBUTE, writer, version);
        }
    }
}

/// A form that only this crate reads, for keeping attributes at rest: every standard and custom attribute of every
/// version with its index. Templates to take attributes from, and attributes no version knows, are not kept.
impl Attributes {
    /// Bytes for [`Self::from_stored_bytes`].
    #[must_use]
    pub fn to_stored_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64 * (self.list.len() + 1));
        writer.structure(Tag::ATTRIBUTES, |writer| {
            for instance in self.list.iter().filter(|instance| !matches!(instance.attribute, Attribute::Unknown { .. }))
            {
                if let Some(index) = instance.index.filter(|index| *index != 0) {
                    writer.integer(Tag::ATTRIBUTE_INDEX, index);
                }
                instance.encode_tagged(writer, ProtocolVersion::STORED);
            }
        });
        writer.into_bytes().to_vec()
    }

    /// Reads what [`Self::to_stored_bytes`] wrote; every instance has an index.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_stored_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let frame = Frame::parse(bytes, &Limits::STORED)?;
        let mut list = Vec::with_capacity(24);
        let mut index = 0;
        for item in frame.root().structure()? {
            if item.tag == Tag::ATTRIBUTE_INDEX {
                index = item.integer()?;
                continue;
            }
            let attribute = match item.tag {
                Tag::ATTRIBUTE => AttributeInstance::decode_tagged(item, ProtocolVersion::STORED)?.attribute,
                tag => Attribute::decode_standard(tag, item, ProtocolVersion::STORED)?,
            };
            list.push(AttributeInstance { index: Some(std::mem::take(&mut index)), attribute });
        }
        Ok(Self { templates: Vec::new(), list })
    }
}

fn check_room(list: &[AttributeInstance], next: Item<'_>) -> Result<(), DecodeError> {
    if list.len() < ATTRIBUTES_MAX { Ok(()) } else { Err(next.bad_value("is one attribute too many")) }
}

impl FromIterator<Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        Self { templates: Vec::new(), list: attributes.into_iter().map(AttributeInstance::from).collect() }
    }
}

impl Field for Attributes {
    fn decode(item: Item<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut fields = item.structure()?;
        let mut templates = Vec::new();
        let mut list = Vec::new();
        if version < V2_0 {
            while let Some(name) = fields.optional(Tag::NAME) {
                templates.push(Name::decode(name, version)?);
            }
            while let Some(attribute) = fields.optional(Tag::ATTRIBUTE) {
                check_room(&list, attribute)?;
                list.push(AttributeInstance::decode_pair(attribute, version)?);
            }
            fields.finish()?;
        } else {
            for attribute in fields {
                check_room(&list, attribute)?;
                list.push(AttributeInstance::decode_tagged(attribute, version)?);
            }
        }
        Ok(Self { templates, list })
    }

    fn encode(&self, tag: Tag, writer: &mut Writer, version: ProtocolVersion) {
        writer.structure(tag, |writer| {
            if version < V2_0 {
                for name in &self.templates {
                    name.encode(Tag::NAME, writer, version);
                }
                for instance in self.list.iter().filter(|instance| instance.attribute.is_in(version)) {
                    instance.encode_pair(Tag::ATTRIBUTE, writer, version);
                }
            } else {
                for instance in self.list.iter().filter(|instance| instance.attribute.is_in(version)) {
                    instance.encode_tagged(writer, version);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttributeEntry;

    /// The declared attributes and their versions are those of the rule tables.
    #[test]
    fn declared_attributes_agree_with_the_tables() {
        for entry in AttributeEntry::all() {
            if matches!(entry.name, "Certificate Attributes" | "Custom Attribute") {
                continue;
            }
            assert!(DECLARED.contains(&(entry.name, entry.tag)), "{} is not declared", entry.name);
            for version in ProtocolVersion::SUPPORTED.into_iter().filter(|version| *version < V3_0) {
                assert_eq!(
                    entry.rule(version).is_some(),
                    version_has(entry.tag, version),
                    "{} in {version}",
                    entry.name
                );
            }
        }
    }
}
