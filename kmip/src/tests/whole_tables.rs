//! Goal: no version says what it does not have, anywhere in a message, and every operation of the standard is accounted for.
//! Method: whole messages of samples are walked item by item against the tables of tags and values; the payload tables are compared
//! with the published ones where these are at hand (`../shared/kmip-tables`), so that nothing is missing from what
//! `version_gates.rs` checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::samples::{Fill, Maker, Sample, request_of, response_of, success};
use crate::tables::{TagEntry, ValueNames};
use crate::ttlv::{Frame, Item, Limits, Type};
use crate::*;

/// Operations of 1.0 to 2.1 that have tables and no payload in this crate. One that gets a payload leaves the list.
const WITHOUT_PAYLOAD: [&str; 20] = [
    "AdjustAttribute",
    "Cancel",
    "Certify",
    "CreateSplitKey",
    "DelegatedLogin",
    "Export",
    "GetConstraints",
    "Import",
    "JoinSplitKey",
    "Login",
    "Logout",
    "PKCS_11",
    "Poll",
    "Process",
    "QueryAsynchronousRequests",
    "ReCertify",
    "ReProvision",
    "SetConstraints",
    "SetDefaults",
    "Validate",
];

/// Tags that are written in versions before the one that first lists them, and why.
fn is_early(tag: Tag, version: ProtocolVersion) -> bool {
    // Clients of 1.0 to 1.2 send it, and are understood (see `version_gates.rs`).
    tag == Tag::OFFSET_ITEMS && version < ProtocolVersion::V1_3
}

#[test]
fn nothing_in_a_message_is_of_another_version() {
    let mut problems = BTreeSet::new();
    let mut items = 0;
    for version in ProtocolVersion::SUPPORTED {
        for (fill, seed) in [(Fill::All, 1), (Fill::Least, 2), (Fill::Some, 3), (Fill::Some, 4)] {
            let mut maker = Maker::new(version, fill, seed);
            for payload in RequestPayload::samples(&mut maker) {
                let bytes = request_of(&mut maker, &[payload]);
                items += check_message(&bytes, version, &mut problems);
            }
            for payload in ResponsePayload::samples(&mut maker) {
                let bytes = response_of(&mut maker, success(payload));
                items += check_message(&bytes, version, &mut problems);
            }
            let failed = ItemResult::Failed {
                status: ResultStatus::OperationFailed,
                reason: ResultReason::sample(&mut maker),
                message: "no".to_owned(),
                payload: None,
            };
            let failed =
                ResponseItem { operation: Some(Operation::Get), unique_batch_item_id: Some(vec![1]), result: failed };
            items += check_message(&response_of(&mut maker, failed), version, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(items > 10_000, "only {items} items were looked at");
}

/// Every reason of every version: a newer one is written as one that the version has.
#[test]
fn reasons_are_of_the_version() {
    let mut problems = BTreeSet::new();
    for version in ProtocolVersion::SUPPORTED {
        for reason in ResultReason::ALL.iter().copied() {
            let result = ItemResult::Failed {
                status: ResultStatus::OperationFailed,
                reason,
                message: String::new(),
                payload: None,
            };
            let item = ResponseItem { operation: None, unique_batch_item_id: None, result };
            check_message(&response_of(&mut Maker::new(version, Fill::Least, 1), item), version, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_operation_of_the_standard_is_accounted_for() {
    // 3.0 has no published tables.
    let published = OPERATIONS.iter().filter(|(_, first)| *first < ProtocolVersion::V3_0);
    let spoken: BTreeSet<String> = published.map(|(operation, _)| operation.to_string()).collect();
    let listed: BTreeSet<String> = WITHOUT_PAYLOAD.iter().map(|&name| name.to_owned()).collect();
    // Ping has tables without a row.
    let standard: BTreeSet<String> = entries().iter().map(|entry| word(&entry["xml_name"])).collect();
    let missing: Vec<&String> =
        standard.iter().filter(|name| !spoken.contains(*name) && !listed.contains(*name)).collect();
    assert!(missing.is_empty(), "neither spoken nor listed as not spoken: {missing:?}");
    let unknown: Vec<&String> = spoken.difference(&standard).collect();
    assert!(unknown.is_empty(), "spoken without a table: {unknown:?}");
}

/// The tables that tests read are the published ones, whole.
#[test]
fn the_payload_tables_are_the_published_ones() {
    let Some(folder) = published() else {
        eprintln!("skipped: the published tables are not here (../shared/kmip-tables)");
        return;
    };
    let text = std::fs::read_to_string(folder.join("operations.json")).expect("readable");
    let mut expected = BTreeMap::new();
    for operation in serde_json::from_str::<Vec<Value>>(&text).expect("a list") {
        for (version, sides) in operation["payloads"].as_object().into_iter().flatten() {
            for (side, rows) in sides.as_object().expect("sides") {
                let row = |row: &Value| (word(&row["item"]), word(&row["required"]));
                let rows: Vec<(String, String)> = rows.as_array().expect("rows").iter().map(row).collect();
                if !rows.is_empty() {
                    expected.insert((word(&operation["xml_name"]), version.clone(), side.clone()), rows);
                }
            }
        }
    }
    assert_eq!(payloads(), expected);
}

type Payloads = BTreeMap<(String, String, String), Vec<(String, String)>>;

/// Rows of the tables in the repository by operation, version and side; empty ones left out.
fn payloads() -> Payloads {
    let mut all = Payloads::new();
    for entry in entries() {
        for version in entry["versions"].as_array().expect("versions") {
            for side in ["request", "response"] {
                let row = |row: &Value| (word(&row[0]), word(&row[1]));
                let rows: Vec<(String, String)> = entry[side].as_array().expect("rows").iter().map(row).collect();
                let key = (word(&entry["xml_name"]), word(version), side.to_owned());
                if !rows.is_empty() {
                    all.insert(key, rows);
                }
            }
        }
    }
    all
}

fn entries() -> Vec<Value> {
    serde_json::from_str(include_str!("../../tables/payloads.json")).expect("a list")
}

fn published() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let places = ["../shared/kmip-tables", "../../shared/kmip-tables"].map(|place| workspace.join(place));
    places.into_iter().find(|folder| folder.join("operations.json").exists())
}

fn word(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Looks at every item of a message; returns how many there were.
fn check_message(bytes: &[u8], version: ProtocolVersion, problems: &mut BTreeSet<String>) -> usize {
    let frame = Frame::parse(bytes, &Limits::default()).expect("a frame");
    check_item(frame.root(), version, problems)
}

fn check_item(item: Item<'_>, version: ProtocolVersion, problems: &mut BTreeSet<String>) -> usize {
    // Tags of vendors, and values that anybody may choose.
    if item.tag.is_extension() {
        return 1;
    }
    let Some(entry) = item.tag.entry() else {
        problems.insert(format!("{version}: tag {} is in no table", item.tag));
        return 1;
    };
    if !is_in(entry, version) && !is_early(item.tag, version) {
        problems.insert(format!("{version}: {} came with {}", entry.name, entry.first));
    }
    match item.item_type {
        Type::Structure if matches!(item.tag, Tag::ATTRIBUTE | Tag::VENDOR_EXTENSION | Tag::ATTRIBUTE_VALUE) => 1,
        Type::Structure => {
            1 + item.structure().expect("a structure").map(|field| check_item(field, version, problems)).sum::<usize>()
        }
        Type::Enumeration => {
            let code = item.enumeration().expect("an enumeration");
            let values = match &entry.values {
                Some(ValueNames::Enumeration(values)) => *values,
                _ => &[],
            };
            if let Some(value) = values.iter().find(|value| value.code == code)
                && value.first > version
            {
                problems.insert(format!("{version}: {} of {} came with {}", value.xml_name, entry.name, value.first));
            }
            1
        }
        _ => 1,
    }
}

/// A tag that a later version lists no more is still said where objects of older ones have it.
fn is_in(entry: &TagEntry, version: ProtocolVersion) -> bool {
    entry.first <= version
}
