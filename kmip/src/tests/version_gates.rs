//! What is written in a version is what that version's specification lists: each payload and structure is compared with
//! the field tables in `tables/payloads.json` and `tables/structures.json`, item by item.
//!
//! Message and batch item headers have no such tables; their order is tested by foreign clients.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::samples::{Fill, Maker};
use crate::tables::TagEntry;
use crate::ttlv::{DecodeErrorKind, Frame, Item, Limits, Type, Writer};
use crate::*;

/// Request fields that are also read in versions before their own, because clients send them.
const READ_BEFORE: &[(&str, Tag)] = &[("Locate request", Tag::OFFSET_ITEMS)];

/// One row of a field table.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    /// Tags it stands for; none stand for any.
    tags: Vec<Tag>,
    types: Vec<Type>,
    required: String,
}

/// One field table of one version.
#[derive(Clone, Debug)]
struct Table {
    title: String,
    rows: Vec<Row>,
}

/// The tables of every version.
struct Tables {
    payloads: BTreeMap<(String, String, &'static str), Table>,
    structures: BTreeMap<(Tag, String), Vec<Table>>,
    tag_types: BTreeMap<Tag, Vec<Type>>,
    /// Rows that some message had, by table and row.
    seen: BTreeSet<(String, String)>,
    /// What does not agree.
    problems: BTreeSet<String>,
}

/// The versions whose tables are published: 3.0 has its code lists alone.
fn published() -> impl Iterator<Item = ProtocolVersion> {
    ProtocolVersion::SUPPORTED.into_iter().filter(|version| *version < ProtocolVersion::V3_0)
}

#[test]
fn everything_written_is_in_the_tables_of_its_version() {
    let mut tables = Tables::read();
    for version in published() {
        for fill in [Fill::Least, Fill::All, Fill::Some] {
            for seed in 0..8 {
                tables.check_payloads(&mut Maker::new(version, fill, seed), fill == Fill::All);
            }
        }
    }
    assert!(tables.problems.is_empty(), "{:#?}", tables.problems);
    let unseen = tables.rows_never_written();
    assert!(unseen.is_empty(), "rows of the specification that are never written: {unseen:#?}");
}

#[test]
fn every_operation_has_its_first_version() {
    let tables = Tables::read();
    for (operation, first) in OPERATIONS {
        for version in published() {
            let key = (operation.to_string(), version.to_string(), "request");
            assert_eq!(tables.payloads.contains_key(&key), version >= *first, "{operation} in {version}");
        }
    }
}

/// A request without one of its fields is refused if and only if the table requires the field, at the place where it
/// should be.
#[test]
fn required_fields_are_required() {
    let tables = Tables::read();
    for version in published() {
        for payload in RequestPayload::samples(&mut Maker::new(version, Fill::All, 5)) {
            let operation = payload.operation();
            let table = &tables.payloads[&(operation.to_string(), version.to_string(), "request")];
            let bytes = written(|writer| payload.encode(writer, version));
            let tags: Vec<Tag> = fields(&bytes).iter().map(|item| item.tag).collect();
            for tag in &tags {
                if tags.iter().filter(|other| *other == tag).count() > 1 {
                    continue;
                }
                let Some(row) = table.rows.iter().find(|row| row.tags.contains(tag)) else {
                    assert!(READ_BEFORE.contains(&(table.title.as_str(), *tag)), "checked by the other test");
                    continue;
                };
                let (cut, at) = without(&bytes, *tag);
                let frame = Frame::parse(&cut, &Limits::default()).expect("a frame");
                let read = RequestPayload::decode(operation, frame.root(), version);
                if matches!(operation, Operation::Import | Operation::Put | Operation::Register) && row.tags.len() > 1 {
                    // The tables of 1.0 and 1.1 say "No" for Register, but there is nothing to register without an object.
                    assert!(read.is_err(), "{operation} of {version} without an object: {read:?}");
                    continue;
                }
                if !row.required.starts_with("Yes") || may_be_absent(operation, *tag, version) {
                    assert!(read.is_ok(), "{operation} of {version} without {tag}: {read:?}");
                    continue;
                }
                let error = read.expect_err("a required field is missing");
                assert_eq!(error.at, at, "{operation} of {version} without {tag}");
                let expected = DecodeErrorKind::Missing { missing: *tag, within: Tag::REQUEST_PAYLOAD };
                assert_eq!(error.kind, expected, "{operation} of {version} without {tag}");
            }
        }
    }
}

/// Fields that the tables require and that requests may nevertheless leave out.
fn may_be_absent(operation: Operation, tag: Tag, version: ProtocolVersion) -> bool {
    match tag {
        // "Yes for single-part, not in ...": what a part of a stream needs is decided by the operation.
        Tag::DATA | Tag::SIGNATURE_DATA | Tag::MAC_DATA => !matches!(operation, Operation::RngSeed),
        Tag::CRYPTOGRAPHIC_PARAMETERS => operation == Operation::Hash,
        // Clients leave an empty list out; an object is imported with what is said of it, be it nothing.
        Tag::ATTRIBUTES => {
            matches!(operation, Operation::Import | Operation::Locate) && version >= ProtocolVersion::V2_0
        }
        Tag::ATTRIBUTE => operation == Operation::Import && version < ProtocolVersion::V2_0,
        // The object itself tells it, as in 1.4.
        Tag::OBJECT_TYPE => operation == Operation::Import,
        // "Yes" in 1.0, "No" later: what may be certified without a request is decided by the operation.
        Tag::CERTIFICATE_REQUEST_TYPE | Tag::CERTIFICATE_REQUEST => true,
        // "If and only if the key object is wrapped", and then a default would do.
        Tag::KEY_WRAP_TYPE => true,
        Tag::INTEROP_IDENTIFIER => true,
        Tag::QUERY_FUNCTION => true,
        _ => false,
    }
}

impl Tables {
    fn read() -> Self {
        let mut tables = Self {
            payloads: BTreeMap::new(),
            structures: BTreeMap::new(),
            tag_types: BTreeMap::new(),
            seen: BTreeSet::new(),
            problems: BTreeSet::new(),
        };
        for tag in json(include_str!("../../tables/tags.json")) {
            let code = u32::from_str_radix(text(&tag["code"]).trim_start_matches("0x"), 16).expect("a tag");
            let types = tag["types"].as_array().into_iter().flatten().flat_map(|name| types_of(text(name)));
            tables.tag_types.insert(Tag(code), types.collect());
        }
        for entry in json(include_str!("../../tables/payloads.json")) {
            for version in strings(&entry["versions"]) {
                for side in ["request", "response"] {
                    let title = format!("{} {side}", text(&entry["operation"]));
                    let rows = rows(&entry[side], |cells| (&cells[0], "", &cells[1]));
                    let key = (text(&entry["xml_name"]).to_owned(), version.clone(), side);
                    tables.payloads.insert(key, Table { title, rows });
                }
            }
        }
        for entry in json(include_str!("../../tables/structures.json")) {
            let name = text(&entry["structure"]);
            for version in strings(&entry["versions"]) {
                let rows = rows(&entry["fields"], |cells| (&cells[0], text(&cells[1]), &cells[2]));
                let table = Table { title: format!("{}: {name}", text(&entry["title"])), rows };
                for tag in name.split(", ").flat_map(tags_named) {
                    tables.structures.entry((tag, version.clone())).or_default().push(table.clone());
                }
            }
        }
        tables
    }

    fn check_payloads(&mut self, maker: &mut Maker, complete: bool) {
        let version = maker.version();
        for payload in RequestPayload::samples(maker) {
            let bytes = written(|writer| payload.encode(writer, version));
            self.check_payload(payload.operation(), "request", &bytes, version, complete);
        }
        for payload in ResponsePayload::samples(maker) {
            let bytes = written(|writer| payload.encode(writer, version));
            self.check_payload(payload.operation(), "response", &bytes, version, complete);
        }
        for object in ManagedObject::samples(maker) {
            let bytes = written(|writer| {
                writer.structure(Tag::RESPONSE_PAYLOAD, |writer| object.encode_any(writer, version));
            });
            for field in fields(&bytes) {
                self.check(field, version, complete);
            }
        }
    }

    fn check_payload(
        &mut self,
        operation: Operation,
        side: &'static str,
        bytes: &[u8],
        version: ProtocolVersion,
        complete: bool,
    ) {
        let table = self.payloads[&(operation.to_string(), version.to_string(), side)].clone();
        let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
        if let Err(problem) = self.follows(&table, frame.root(), version, complete) {
            self.problems.insert(format!("{operation} {side} of {version}: {problem}"));
        }
        for field in fields(bytes) {
            self.check(field, version, complete);
        }
    }

    /// Checks an item and what is in it.
    fn check(&mut self, item: Item<'_>, version: ProtocolVersion, complete: bool) {
        if item.tag.is_extension() {
            return;
        }
        self.check_type(item, item.tag);
        if item.item_type == Type::Structure {
            self.check_structure(item, item.tag, version, complete);
        }
    }

    /// The type is one that some version's tables give the tag.
    fn check_type(&mut self, item: Item<'_>, tag: Tag) {
        // KMIP 2.1 §4.58: "Text String, Enumeration or Integer"; the tables of payloads do not repeat it.
        let names_an_object = matches!(
            tag,
            Tag::UNIQUE_IDENTIFIER
                | Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER
                | Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER
                | Tag::LINKED_OBJECT_IDENTIFIER
        );
        if tag == Tag::ATTRIBUTE_REFERENCE && item.item_type == Type::Enumeration {
            // KMIP 2.1 §5.5 has a table for each of its two forms.
            return;
        }
        if tag == Tag::SUBMISSION_DATE && item.item_type == Type::DateTimeExtended {
            // KMIP 2.1 §7.2 says Date Time Extended, the list of tags Date-Time.
            return;
        }
        if names_an_object && matches!(item.item_type, Type::TextString | Type::Enumeration | Type::Integer) {
            return;
        }
        let known = self.tag_types.get(&tag).map(Vec::as_slice).unwrap_or_default();
        if !known.is_empty() && !known.contains(&item.item_type) {
            self.problems.insert(format!("{tag} is {:?}, not {known:?}", item.item_type));
        }
    }

    /// Checks a structure by the tables of `tag`, which may be another than its own: an Attribute Value holds what the
    /// attribute's name says.
    fn check_structure(&mut self, item: Item<'_>, tag: Tag, version: ProtocolVersion, complete: bool) {
        let inner: Vec<Item<'_>> = item.structure().expect("a structure").collect();
        match tag {
            Tag::ATTRIBUTE if version < ProtocolVersion::V2_0 => return self.check_pair(&inner, version, complete),
            // Any value is allowed in these.
            Tag::ATTRIBUTE | Tag::ADJUSTMENT_VALUE => return,
            Tag::SERVER_INFORMATION if version < ProtocolVersion::V2_0 => return,
            // Not in the tables: lists of one kind of item.
            Tag::PROTECTION_STORAGE_MASKS
            | Tag::COMMON_PROTECTION_STORAGE_MASKS
            | Tag::PRIVATE_PROTECTION_STORAGE_MASKS
            | Tag::PUBLIC_PROTECTION_STORAGE_MASKS => {
                assert!(inner.iter().all(|field| field.tag == Tag::PROTECTION_STORAGE_MASK));
                return;
            }
            _ => {}
        }
        let tag = if tag == Tag::RANDOM_NUMBER_GENERATOR { Tag::RNG_PARAMETERS } else { tag };
        let candidates = self.structures.get(&(tag, version.to_string())).cloned().unwrap_or_default();
        let problems: Vec<String> =
            candidates.iter().filter_map(|table| self.follows(table, item, version, complete).err()).collect();
        if problems.len() == candidates.len() {
            self.problems.insert(format!("{tag} of {version} follows no table: {problems:?}"));
        }
        for field in inner {
            self.check(field, version, complete);
        }
    }

    /// Checks a 1.x Attribute: its value is of the type of the attribute named.
    fn check_pair(&mut self, inner: &[Item<'_>], version: ProtocolVersion, complete: bool) {
        let [name, .., value] = inner else {
            panic!("an attribute has a name and a value");
        };
        let name = AttributeName::from_text(name.text().expect("a name"), version);
        if let AttributeName::Standard(tag) = name {
            self.check_type(*value, tag);
            if value.item_type == Type::Structure {
                self.check_structure(*value, tag, version, complete);
            }
        }
    }

    /// Whether the fields of a structure are rows of a table, in its order.
    fn follows(
        &mut self,
        table: &Table,
        item: Item<'_>,
        version: ProtocolVersion,
        complete: bool,
    ) -> Result<(), String> {
        let mut row = 0;
        let mut present = BTreeSet::new();
        for field in item.structure().expect("a structure") {
            if READ_BEFORE.contains(&(table.title.as_str(), field.tag)) && !table.rows.iter().any(|row| row.tags.contains(&field.tag)) {
                continue;
            }
            let matches = |row: &Row| match row.tags.is_empty() {
                true => field.tag.is_extension() || field.tag == Tag::ATTRIBUTE || version_has(field.tag, version),
                false => row.tags.contains(&field.tag),
            };
            let Some(skipped) = table.rows[row..].iter().position(matches) else {
                return Err(format!("{}: {} is not there, or not here", table.title, field.tag));
            };
            row += skipped;
            let found = &table.rows[row];
            if !found.types.is_empty() && !found.types.contains(&field.item_type) {
                return Err(format!("{}: {} is {:?}, not {:?}", table.title, field.tag, field.item_type, found.types));
            }
            present.insert(row);
        }
        for (number, row) in table.rows.iter().enumerate() {
            if complete && row.required.starts_with("Yes") && !present.contains(&number) {
                return Err(format!("{}: {} is required", table.title, row.name));
            }
        }
        self.seen.extend(present.iter().map(|number| (table.title.clone(), table.rows[*number].name.clone())));
        Ok(())
    }

    /// Rows of tables that were used at all, which no message had.
    fn rows_never_written(&self) -> Vec<String> {
        let used: BTreeSet<&String> = self.seen.iter().map(|(title, _)| title).collect();
        let all = self.payloads.values().chain(self.structures.values().flatten());
        let rows = all.filter(|table| used.contains(&table.title)).flat_map(|table| {
            table
                .rows
                .iter()
                .filter(|row| !self.seen.contains(&(table.title.clone(), row.name.clone())))
                .map(|row| format!("{}: {}", table.title, row.name))
        });
        rows.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|item| text(item).to_owned()).collect()
}

fn rows<'a>(list: &'a Value, cells: impl Fn(&'a [Value]) -> (&'a Value, &'a str, &'a Value)) -> Vec<Row> {
    let rows = list.as_array().expect("a list").iter();
    rows.map(|row| {
        let (name, types, required) = cells(row.as_array().expect("cells"));
        let name = text(name);
        Row { name: name.to_owned(), tags: row_tags(name), types: types_of(types), required: text(required).to_owned() }
    })
    .collect()
}

/// The tags a row stands for; none if any.
fn row_tags(name: &str) -> Vec<Tag> {
    let objects = [
        Tag::CERTIFICATE,
        Tag::CERTIFICATE_REQUEST,
        Tag::OPAQUE_OBJECT,
        Tag::PGP_KEY,
        Tag::PRIVATE_KEY,
        Tag::PUBLIC_KEY,
        Tag::SECRET_DATA,
        Tag::SPLIT_KEY,
        Tag::SYMMETRIC_KEY,
        Tag::TEMPLATE,
    ];
    match name {
        "Any Object (Section 2)" | "All Objects" => objects.to_vec(),
        name if name.starts_with("Certificate, Symmetric Key") => objects.to_vec(),
        name if name.starts_with("Any attribute") => Vec::new(),
        "Vendor-Specific" => Vec::new(),
        "Alternative failover endpoints" => vec![Tag::ALTERNATE_FAILOVER_ENDPOINTS],
        name => {
            let tags: Vec<Tag> = name.split(" | ").flat_map(tags_named).collect();
            assert!(!tags.is_empty(), "no tag is named {name}");
            tags
        }
    }
}

/// The tag with a name, without regard to remarks in the cell.
fn tags_named(name: &str) -> Option<Tag> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let name = plain(name.split([',', ';']).next().unwrap_or(name));
    (0x42_0001..0x42_0200)
        .map(Tag)
        .filter_map(Tag::entry)
        .find(|entry: &&TagEntry| plain(entry.name) == name)
        .map(|entry| entry.tag)
}

/// The item types a cell allows; none if any.
fn types_of(cell: &str) -> Vec<Type> {
    let types = [
        ("Structure", Type::Structure),
        ("RNG Parameters", Type::Structure),
        ("Long Integer", Type::LongInteger),
        ("Big Integer", Type::BigInteger),
        ("Integer", Type::Integer),
        ("Enumeration", Type::Enumeration),
        ("Boolean", Type::Boolean),
        ("Text", Type::TextString),
        ("Byte", Type::ByteString),
        ("Date", Type::DateTime),
        ("Date Time Extended", Type::DateTimeExtended),
        ("Interval", Type::Interval),
    ];
    if ["Any", "Varies", "Attribute", "Object"].iter().any(|any| cell.starts_with(any)) {
        return Vec::new();
    }
    let found: Vec<Type> =
        types.iter().filter(|(name, _)| cell.contains(name)).map(|(_, item_type)| *item_type).collect();
    match found.as_slice() {
        [Type::LongInteger, Type::Integer] => vec![Type::LongInteger],
        [Type::BigInteger, Type::Integer] => vec![Type::BigInteger],
        _ => found,
    }
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.into_bytes().to_vec()
}

fn fields(bytes: &[u8]) -> Vec<Item<'_>> {
    let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
    frame.root().structure().expect("a structure").collect()
}

/// The structure without one of its fields, and where that field was.
fn without(bytes: &[u8], tag: Tag) -> (Vec<u8>, usize) {
    let all = fields(bytes);
    let item = all.iter().find(|item| item.tag == tag).expect("it has the field");
    let end = all.iter().map(|other| other.at).find(|at| *at > item.at).unwrap_or(bytes.len());
    let mut cut = bytes[..item.at].to_vec();
    cut.extend_from_slice(&bytes[end..]);
    let length = cut.len() as u32 - 8;
    cut[4..8].copy_from_slice(&length.to_be_bytes());
    (cut, item.at)
}
