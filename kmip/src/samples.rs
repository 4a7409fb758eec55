//! Sample values of every structure and payload, for tests and for the seeds of fuzz targets.
//!
//! Made from a seed by a small generator of its own, so that a failure can be repeated. A sample says only what its
//! version can say: encoded and decoded again it must be equal. Not part of the product: behind the feature `samples`.

use crate::codec::{AnyValue, BigInteger, DateTime, DateTimeExtended, Field, Interval, OtherItem, Secret, SecretText};
use crate::event::{TtlvSink, replay};
use crate::ttlv::{Frame, Limits, Writer};
use crate::{
    AsynchronousIndicator, Attribute, AttributeEntry, AttributeInstance, AttributeName, Attributes, Credential,
    CredentialType, CryptographicUsageMask, CustomAttribute, Enumeration, ExtensionType, ItemResult, KeyIdentifier, KeyMaterial,
    KeyValue, ManagedObject, Name, OpaqueDataType, ProtectionStorageMask, ProtocolVersion, RecommendedCurve, RequestHeader,
    RequestMessage, RequestPayload, ResponseHeader, ResponseItem, ResponseMessage, ResponsePayload, RotateName, RotateNameType, StorageStatusMask,
    Tag, TransparentKey, UniqueIdentifier, batch_count_in, encode_request, version_has,
};

/// How much of what may be absent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Every field; lists hold two; attribute lists hold every attribute.
    All,
    /// Required fields only.
    Least,
    /// Each field by chance.
    Some,
}

/// Makes samples for one version.
#[derive(Clone, Debug)]
pub struct Maker {
    version: ProtocolVersion,
    fill: Fill,
    state: u64,
}

impl Maker {
    /// A maker that repeats itself for the same seed.
    #[must_use]
    pub fn new(version: ProtocolVersion, fill: Fill, seed: u64) -> Self {
        Self { version, fill, state: seed }
    }

    /// The version it makes samples for.
    #[must_use]
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The next number of the sequence (SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// Whether a field that may be absent is there.
    pub fn present(&mut self) -> bool {
        match self.fill {
            Fill::All => true,
            Fill::Least => false,
            Fill::Some => self.number().is_multiple_of(2),
        }
    }

    /// A list of a repeated field.
    pub fn list<T: Sample>(&mut self) -> Vec<T> {
        let length = match self.fill {
            Fill::All => 2,
            Fill::Least => 0,
            Fill::Some => self.below(3),
        };
        (0..length).map(|_| T::sample(self)).collect()
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.number() as u8).collect()
    }
}

/// A value that samples can be made of.
pub trait Sample: Sized {
    /// Makes one.
    fn sample(maker: &mut Maker) -> Self;
}

macro_rules! sample_slot {
    (optional, $maker:ident, $present:expr) => {
        if $present && $maker.present() { Some($crate::samples::Sample::sample($maker)) } else { None }
    };
    (optional_template, $maker:ident, $present:expr) => {
        $crate::samples::sample_slot!(optional, $maker, $present)
    };
    (optional_name, $maker:ident, $present:expr) => {
        // Attribute Name is required in 1.x.
        if $maker.version() < $crate::ProtocolVersion::V2_0 || $maker.present() {
            Some($crate::samples::Sample::sample($maker))
        } else {
            None
        }
    };
    (repeated, $maker:ident, $present:expr) => {
        if $present { $maker.list() } else { Vec::new() }
    };
    (names, $maker:ident, $present:expr) => {
        $maker.list()
    };
    (others, $maker:ident, $present:expr) => {
        $maker.list()
    };
    (filter, $maker:ident, $present:expr) => {
        $crate::samples::sample_slot!(flat, $maker, $present)
    };
    (flat, $maker:ident, $present:expr) => {{
        let mut attributes: $crate::Attributes = $crate::samples::Sample::sample($maker);
        attributes.templates.clear();
        attributes
    }};
    ($kind:ident, $maker:ident, $present:expr) => {
        $crate::samples::Sample::sample($maker)
    };
}
pub(crate) use sample_slot;

macro_rules! samples {
    ($($type:ty: $maker:ident => $value:expr;)*) => {$(
        impl Sample for $type {
            fn sample($maker: &mut Maker) -> Self {
                $value
            }
        }
    )*};
}

samples! {
    i32: maker => maker.number() as i32;
    i64: maker => maker.number() as i64;
    bool: maker => maker.number().is_multiple_of(2);
    String: maker => text(maker);
    Vec<u8>: maker => maker.bytes(33);
    CryptographicUsageMask: maker => Self(maker.number() as u32);
    ProtectionStorageMask: maker => Self(maker.number() as u32);
    StorageStatusMask: maker => Self(maker.number() as u32);
    DateTime: maker => Self(maker.number() as i64);
    DateTimeExtended: maker => Self(maker.number() as i64);
    Interval: maker => Self(maker.number() as u32);
    OpaqueDataType: maker => Self(maker.number() as u32);
    ExtensionType: maker => Self(1 + maker.below(10) as u32);
    ProtocolVersion: maker => maker.version();
    Secret: maker => Self::new(maker.bytes(33));
    SecretText: maker => Self::new(text(maker));
    BigInteger: maker => Self::from_signed(&maker.bytes(33));
    OtherItem: maker => Self { tag: Tag(0x54_0001 + maker.below(0xFFFF) as u32), value: AnyValue::sample(maker) };
}

impl<T: Enumeration> Sample for T {
    fn sample(maker: &mut Maker) -> Self {
        const CODES: u32 = 0x200;
        let start = maker.below(CODES as usize) as u32;
        let extension = 0x8000_0000 | start;
        let listed = (0..CODES).map(|step| 1 + (start + step) % CODES);
        listed
            .chain([extension])
            .filter_map(Self::from_code)
            .find(|value| value.is_in(maker.version()))
            .expect("every enumeration has the extension range")
    }
}

fn text(maker: &mut Maker) -> String {
    let length = maker.below(20);
    (0..length).map(|_| ['a', 'Z', '0', ' ', '-', 'é', '鍵', '🔑', '\0'][maker.below(9)]).collect()
}

impl Sample for AnyValue {
    fn sample(maker: &mut Maker) -> Self {
        let kind = maker.below(if maker.version() < ProtocolVersion::V2_0 { 10 } else { 11 });
        any_value(maker, kind)
    }
}

/// A value of each item type by number, in the order of [`crate::ttlv::Type`].
fn any_value(maker: &mut Maker, kind: usize) -> AnyValue {
    let mut writer = Writer::new();
    let tag = Tag::ATTRIBUTE_VALUE;
    writer.structure(Tag::ATTRIBUTE, |writer| match kind {
        0 => writer.structure(tag, |writer| {
            writer.integer(Tag(0x54_0001), maker.number() as i32);
            writer.text_string(Tag(0x54_0002), &text(maker));
        }),
        1 => writer.integer(tag, maker.number() as i32),
        2 => writer.long_integer(tag, maker.number() as i64),
        3 => writer.big_integer(tag, &maker.bytes(17)),
        4 => writer.enumeration(tag, maker.number() as u32),
        5 => writer.boolean(tag, maker.number().is_multiple_of(2)),
        6 => writer.text_string(tag, &text(maker)),
        7 => writer.byte_string(tag, &maker.bytes(17)),
        8 => writer.date_time(tag, maker.number() as i64),
        9 => writer.interval(tag, maker.number() as u32),
        _ => writer.date_time_extended(tag, maker.number() as i64),
    });
    let bytes = writer.into_bytes();
    let frame = Frame::parse(&bytes, &Limits::default()).expect("the writer writes what the cursor reads");
    let item = frame.root().structure().ok().and_then(|mut fields| fields.next()).expect("written above");
    AnyValue::decode(item, maker.version()).expect("kinds are chosen by version")
}

/// 3.0 names are texts: they say no type.
impl Sample for Name {
    fn sample(maker: &mut Maker) -> Self {
        if maker.version() >= ProtocolVersion::V3_0 {
            return Self::text(&text(maker));
        }
        Self { value: Sample::sample(maker), name_type: Sample::sample(maker) }
    }
}

impl Sample for KeyIdentifier {
    fn sample(maker: &mut Maker) -> Self {
        Self(text(maker))
    }
}

impl Sample for RotateName {
    fn sample(maker: &mut Maker) -> Self {
        if maker.version() >= ProtocolVersion::V3_0 {
            return Self { value: text(maker), name_type: RotateNameType::UninterpretedTextString };
        }
        Self { value: Sample::sample(maker), name_type: Sample::sample(maker) }
    }
}

impl Sample for UniqueIdentifier {
    fn sample(maker: &mut Maker) -> Self {
        let forms = if maker.version() < ProtocolVersion::V2_0 { 1 } else { 3 };
        match maker.below(forms) {
            0 => Self::Text(text(maker)),
            1 => Self::Placeholder(Sample::sample(maker)),
            _ => Self::Item(maker.number() as i32),
        }
    }
}

impl Sample for AttributeName {
    fn sample(maker: &mut Maker) -> Self {
        let is_1 = maker.version() < ProtocolVersion::V2_0;
        match maker.below(if is_1 { 3 } else { 2 }) {
            0 => {
                let known = AttributeEntry::all().iter().filter(|entry| version_has(entry.tag, maker.version));
                let tags: Vec<Tag> = known.map(|entry| entry.tag).collect();
                Self::Standard(tags[maker.below(tags.len())])
            }
            1 => {
                let vendor = if is_1 || maker.present() { ["x", "y"][maker.below(2)].to_owned() } else { text(maker) };
                Self::Custom { vendor, name: text(maker) }
            }
            _ => Self::Unknown(format!("Unheard of {}", text(maker))),
        }
    }
}

impl Sample for CustomAttribute {
    fn sample(maker: &mut Maker) -> Self {
        let vendor = match maker.version() < ProtocolVersion::V2_0 {
            true => ["x", "y"][maker.below(2)].to_owned(),
            false => ["x", "y", "Acme Inc."][maker.below(3)].to_owned(),
        };
        Self { vendor, name: text(maker), value: AnyValue::sample(maker) }
    }
}

/// Samples of the attributes that have no tag of their own: custom ones of every item type, unknown ones in 1.x,
/// certificate fields in 2.x.
pub(crate) fn other_attributes(maker: &mut Maker) -> Vec<Attribute> {
    let is_1 = maker.version() < ProtocolVersion::V2_0;
    let mut list = Vec::new();
    for kind in 0..if is_1 { 10 } else { 11 } {
        let value = any_value(maker, kind);
        list.push(Attribute::Custom(CustomAttribute { value, ..Sample::sample(maker) }));
    }
    if is_1 {
        list.push(Attribute::Unknown { name: "Unheard Of".to_owned(), value: Sample::sample(maker) });
    } else {
        let tags = (0x42_0108..=0x42_011F).map(Tag).filter(|tag| version_has(*tag, ProtocolVersion::V2_1));
        list.extend(tags.map(|tag| Attribute::CertificateField(tag, "CN".to_owned())));
    }
    list
}

impl Sample for AttributeInstance {
    fn sample(maker: &mut Maker) -> Self {
        let mut all = Attribute::samples(maker);
        let attribute = all.swap_remove(maker.below(all.len()));
        instance(maker, attribute)
    }
}

fn instance(maker: &mut Maker, attribute: Attribute) -> AttributeInstance {
    let has_index = maker.version() < ProtocolVersion::V2_0 && maker.present();
    AttributeInstance { index: has_index.then(|| maker.below(5) as i32), attribute }
}

impl Sample for Attributes {
    fn sample(maker: &mut Maker) -> Self {
        let templates = if maker.version() < ProtocolVersion::V2_0 { maker.list() } else { Vec::new() };
        let mut list = Attribute::samples(maker);
        match maker.fill {
            Fill::All => {}
            Fill::Least => list.clear(),
            Fill::Some => list.retain(|_| maker.below(20) == 0),
        }
        Self { templates, list: list.into_iter().map(|attribute| instance(maker, attribute)).collect() }
    }
}

impl Sample for KeyValue {
    fn sample(maker: &mut Maker) -> Self {
        if maker.below(4) == 0 {
            return Self::Wrapped(Sample::sample(maker));
        }
        let material = KeyMaterial::sample(maker);
        let attributes = sample_slot!(flat, maker, true);
        Self::Plain { material, attributes }
    }
}

impl Sample for KeyMaterial {
    /// Bytes, or one of the transparent keys of KMIP 2.1 §3.4 to §3.12 with the fields its table has.
    fn sample(maker: &mut Maker) -> Self {
        let some = |maker: &mut Maker| Some(BigInteger::sample(maker));
        let mut key = TransparentKey::default();
        match maker.below(10) {
            0 => return Self::Bytes(Sample::sample(maker)),
            1 => key.key = Some(Sample::sample(maker)),
            kind @ (2 | 3) => {
                (key.p, key.q, key.g) = (some(maker), some(maker), some(maker));
                *(if kind == 2 { &mut key.x } else { &mut key.y }) = some(maker);
            }
            4 => {
                key.modulus = some(maker);
                key.private_exponent = sample_slot!(optional, maker, true);
                key.public_exponent = sample_slot!(optional, maker, true);
                key.p = sample_slot!(optional, maker, true);
                key.q = sample_slot!(optional, maker, true);
                key.prime_exponent_p = sample_slot!(optional, maker, true);
                key.prime_exponent_q = sample_slot!(optional, maker, true);
                key.crt_coefficient = sample_slot!(optional, maker, true);
            }
            kind @ (5 | 6) => {
                (key.p, key.g, key.j) = (some(maker), some(maker), some(maker));
                key.q = sample_slot!(optional, maker, true);
                *(if kind == 5 { &mut key.x } else { &mut key.y }) = some(maker);
            }
            9 => (key.modulus, key.public_exponent) = (some(maker), some(maker)),
            kind => {
                key.recommended_curve = Some(RecommendedCurve::sample(maker));
                match kind {
                    7 => key.d = some(maker),
                    _ => key.q_string = Some(Sample::sample(maker)),
                }
            }
        }
        Self::Transparent(Box::new(key))
    }
}

impl ManagedObject {
    /// A sample of each kind of object that the maker's version has.
    #[must_use]
    pub fn samples(maker: &mut Maker) -> Vec<Self> {
        let mut list = vec![
            Self::Certificate(Sample::sample(maker)),
            Self::OpaqueObject(Sample::sample(maker)),
            Self::PrivateKey(Sample::sample(maker)),
            Self::PublicKey(Sample::sample(maker)),
            Self::SecretData(Sample::sample(maker)),
            Self::SplitKey(Sample::sample(maker)),
            Self::SymmetricKey(Sample::sample(maker)),
        ];
        if maker.version() >= ProtocolVersion::V1_2 {
            list.push(Self::PgpKey(Sample::sample(maker)));
        }
        if maker.version() >= ProtocolVersion::V2_0 {
            list.push(Self::CertificateRequest(Sample::sample(maker)));
        } else {
            list.push(Self::Template(Sample::sample(maker)));
        }
        list
    }
}

impl Sample for ManagedObject {
    fn sample(maker: &mut Maker) -> Self {
        let mut all = Self::samples(maker);
        all.swap_remove(maker.below(all.len()))
    }
}

impl Sample for Credential {
    fn sample(maker: &mut Maker) -> Self {
        match CredentialType::sample(maker) {
            CredentialType::UsernameAndPassword => {
                Self::UsernameAndPassword { username: text(maker), password: sample_slot!(optional, maker, true) }
            }
            CredentialType::Ticket if maker.version() >= ProtocolVersion::V2_0 => Self::Ticket(Sample::sample(maker)),
            other => Self::Other(other),
        }
    }
}

impl Sample for AsynchronousIndicator {
    fn sample(maker: &mut Maker) -> Self {
        // The Boolean of 1.x has two values.
        let values = [Self::Prohibited, Self::Optional, Self::Mandatory];
        values[maker.below(if maker.version() < ProtocolVersion::V2_0 { 2 } else { 3 })]
    }
}

/// A request message with one item for every operation of a version.
#[must_use]
pub fn request_message(maker: &mut Maker) -> Vec<u8> {
    let payloads = RequestPayload::samples(maker);
    request_of(maker, &payloads)
}

/// A request message with these payloads and a sample header.
#[must_use]
pub fn request_of(maker: &mut Maker, payloads: &[RequestPayload]) -> Vec<u8> {
    let mut header = RequestHeader::sample(maker);
    header.batch_count = batch_count_in(maker.version(), payloads.len() as i32);
    encode_request(&header, payloads).to_vec()
}

/// A response message with one item.
#[must_use]
pub fn response_of(maker: &mut Maker, item: ResponseItem) -> Vec<u8> {
    let mut header = ResponseHeader::sample(maker);
    header.batch_count = batch_count_in(maker.version(), 1);
    let mut writer = Writer::new();
    ResponseMessage { header, items: vec![item] }.encode(&mut writer);
    writer.into_bytes().to_vec()
}

/// Reads bytes in every way the product reads bytes of others, and checks that what was read is what is written.
///
/// # Panics
/// If something that was read is not equal after being written and read again.
pub fn read_everything(bytes: &[u8]) {
    read_stored(bytes);
    read_message(bytes);
}

/// Reads bytes as a message, see [`read_everything`].
///
/// # Panics
/// As there.
pub fn read_message(bytes: &[u8]) {
    let Ok(frame) = Frame::parse(bytes, &Limits::default()) else {
        return;
    };
    let mut sink = TtlvSink::new();
    replay(&frame.root(), &mut sink).expect("a frame is checked");
    assert_eq!(*sink.into_bytes(), bytes, "events give the same bytes");
    if let Ok(message) = RequestMessage::parse(&frame, 10_000) {
        let version = message.header.protocol_version;
        for payload in message.items.iter().filter_map(|item| item.payload().ok()) {
            assert_same_request(&payload, version);
        }
    }
    let _ = ResponseMessage::parse(&frame);
    let _ = crate::xml::write(bytes, &Limits::default(), crate::xml::Masking::Secrets);
}

fn assert_same_request(payload: &RequestPayload, version: ProtocolVersion) {
    let mut writer = Writer::new();
    payload.encode(&mut writer, version);
    let bytes = writer.into_bytes();
    let frame = Frame::parse(&bytes, &Limits::STORED).expect("the writer writes what the cursor reads");
    let again = RequestPayload::decode(payload.operation(), frame.root(), version);
    assert_eq!(again.as_ref(), Ok(payload));
}

/// Reads bytes as what is kept at rest, see [`read_everything`].
///
/// # Panics
/// As there.
pub fn read_stored(bytes: &[u8]) {
    if let Ok(attributes) = Attributes::from_stored_bytes(bytes) {
        let again = Attributes::from_stored_bytes(&attributes.to_stored_bytes());
        assert_eq!(again, Ok(attributes));
    }
    if let Ok(object) = ManagedObject::from_stored_bytes(bytes) {
        let again = ManagedObject::from_stored_bytes(&object.to_stored_bytes());
        assert_eq!(again, Ok(object));
    }
}

/// Messages and stored forms of every version: where mutations start.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut list = Vec::new();
    for version in ProtocolVersion::SUPPORTED {
        for (fill, seed) in [(Fill::Least, 1), (Fill::Some, 2), (Fill::Some, 3)] {
            let mut maker = Maker::new(version, fill, seed);
            for payload in RequestPayload::samples(&mut maker) {
                list.push(request_of(&mut maker, &[payload]));
            }
            list.push(request_message(&mut maker));
            for payload in ResponsePayload::samples(&mut maker) {
                list.push(response_of(&mut maker, success(payload)));
            }
            list.extend(ManagedObject::samples(&mut maker).iter().map(|object| object.to_stored_bytes().to_vec()));
        }
        list.push(Attributes::sample(&mut Maker::new(version, Fill::All, 4)).to_stored_bytes());
    }
    list
}

/// A successful batch item.
#[must_use]
pub fn success(payload: ResponsePayload) -> ResponseItem {
    let operation = Some(payload.operation());
    ResponseItem { operation, unique_batch_item_id: None, result: ItemResult::Success(payload) }
}
