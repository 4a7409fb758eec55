//! Goal: who may give, add, change and delete which attribute, when, is what the tables of KMIP 1.x §3 and 2.x §4 say.
//! Method: every attribute x version x object type x state x operation is decided by [`super::rules`] and, from the words of the
//! tables (`kmip/tables/attributes.json`), by the reading below, which shares no code with it. Where we let more pass, each case is
//! named with its reason, and a name that is not needed any more fails as well.

use std::collections::BTreeSet;

use keygate_kmip::samples::{Fill, Maker, Sample as _};
use keygate_kmip::{Attribute, AttributeName, Attributes, DateTime, ObjectType, ProtocolVersion, Tag};
use serde_json::Value;

use super::rules::{Change, check_change, check_initial};
use super::{AttributeSet, Lifecycle, Object};
use crate::store::{ClientId, Custody, KeystoreId, ObjectId, OrganisationId};

/// When these objects are looked at.
const NOW: i64 = 1_700_000_000;

const STATES: [Lifecycle; 6] = [
    Lifecycle::PreActive,
    Lifecycle::Active,
    Lifecycle::Deactivated,
    Lifecycle::Compromised,
    Lifecycle::Destroyed,
    Lifecycle::DestroyedCompromised,
];

/// Attributes that a client may repeat for a new object although the server sets them: clients of every make send them, and Register
/// of what is in the value contradicts nothing.
const REPEATED_AT_FIRST: [&str; 7] = [
    "Certificate Length",
    "Certificate Type",
    "Cryptographic Algorithm",
    "Cryptographic Length",
    "Key Format Type",
    "Object Type",
    "Opaque Data Type",
];

/// Object types that an attribute is let pass on although its table does not name them.
const FURTHER_TYPES: [(&str, &[ObjectType]); 4] = [
    // The official OMOS cases give usage masks and dates to opaque objects.
    ("All Cryptographic Objects", &[ObjectType::OpaqueObject]),
    ("All Cryptographic Objects, Templates", &[ObjectType::OpaqueObject]),
    // Clients of 1.x send algorithm and length with secret data; PGP keys and requests hold keys.
    ("Keys, Certificates, Templates", &[ObjectType::SecretData, ObjectType::PgpKey, ObjectType::CertificateRequest]),
    // Process Start Date and Protect Stop Date of secret data.
    ("Symmetric Keys, Split Keys of symmetric keys, Templates", &[ObjectType::SecretData]),
];

#[test]
fn rules_are_as_the_tables_say() {
    let tables: Vec<Value> =
        serde_json::from_str(include_str!("../../../kmip/tables/attributes.json")).expect("a list");
    let mut problems = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    let mut decisions = 0;
    for table in &tables {
        let name = table["name"].as_str().expect("a name");
        for (version_text, cells) in table["by_version"].as_object().expect("versions") {
            let Some(version) =
                ProtocolVersion::SUPPORTED.into_iter().find(|version| version.to_string() == *version_text)
            else {
                continue;
            };
            let rule = Rule::read(cells);
            for attribute in samples(name, version) {
                for object_type in ObjectType::ALL.iter().copied().filter(|object_type| object_type.first() <= version)
                {
                    let told = |what: &str, expected: bool, got: bool| {
                        format!("{version} {name} {what} of {object_type}: the table says {expected}, we say {got}")
                    };
                    let expected = rule.applies(object_type) && rule.at_first;
                    let got = check_initial(&attribute, object_type, version).is_ok();
                    decisions += 1;
                    if got && !expected && rule.applies(object_type) && REPEATED_AT_FIRST.contains(&name) {
                        repeated.insert(name);
                    } else if got != expected && !is_other_type(name, &attribute, object_type) {
                        problems.insert(told("at first", expected, got));
                    }
                    for state in STATES {
                        for present in [false, true] {
                            let object = object(object_type, state, present.then(|| attribute.clone()));
                            for change in [Change::Add, Change::Modify, Change::Delete] {
                                let expected = rule.applies(object_type) && rule.allows(change, state, present);
                                let got = check_change(change, &attribute.name(), &object, version, NOW).is_ok();
                                decisions += 1;
                                if got != expected {
                                    problems.insert(told(
                                        &format!("{change:?} while {state:?}, present {present}"),
                                        expected,
                                        got,
                                    ));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    let shown: Vec<&String> = problems.iter().take(40).collect();
    assert!(problems.is_empty(), "{} of {decisions} decisions: {shown:#?}", problems.len());
    assert_eq!(repeated.into_iter().collect::<Vec<_>>(), REPEATED_AT_FIRST, "what is let pass at first");
    assert!(decisions > 100_000, "only {decisions} decisions");
}

/// An attribute of 1.x that is reached must not be changed.
#[test]
fn a_date_that_is_reached_stays() {
    let version = ProtocolVersion::V1_4;
    for (date, allowed) in [(NOW + 1, true), (NOW, false), (NOW - 1, false)] {
        for attribute in [Attribute::ProcessStartDate(DateTime(date)), Attribute::ProtectStopDate(DateTime(date))] {
            let name = attribute.name();
            let object = object(ObjectType::SymmetricKey, Lifecycle::Active, Some(attribute));
            assert_eq!(
                check_change(Change::Modify, &name, &object, version, NOW).is_ok(),
                allowed,
                "{} at {date}",
                name.to_text()
            );
        }
    }
}

/// A row of a table in our words.
struct Rule {
    types: Vec<ObjectType>,
    at_first: bool,
    modifies: When,
    deletes: When,
    multiple: bool,
}

/// When a client may.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Never,
    Always,
    PreActive,
    Young,
}

impl Rule {
    fn read(cells: &Value) -> Self {
        let cell = |name: &str| cells[name].as_str().unwrap_or_default();
        Self {
            types: types(cell("applies_to")),
            // "Server (only if the Application Data is omitted...)" and the like: whoever is named may.
            at_first: cell("initially_set_by").contains("Client"),
            modifies: when(cell("modifiable_by_client")),
            deletes: when(cell("deletable_by_client")),
            multiple: cell("multiple_instances").starts_with("Yes"),
        }
    }

    fn applies(&self, object_type: ObjectType) -> bool {
        self.types.contains(&object_type)
    }

    /// The tables have no row for Add Attribute. KMIP 1.4 §4.14 forbids it of read-only attributes, and KMIP 2.1 §6.1.2 of single-valued
    /// ones that have a value; where a change depends on the state, a first value does as well.
    fn allows(&self, change: Change, state: Lifecycle, present: bool) -> bool {
        match change {
            Change::Modify => self.modifies.holds(state),
            Change::Delete => self.deletes.holds(state),
            Change::Add => {
                let writable = self.at_first || self.modifies != When::Never;
                let timely = matches!(self.modifies, When::Never | When::Always) || self.modifies.holds(state);
                writable && timely && (self.multiple || !present)
            }
        }
    }
}

impl When {
    fn holds(self, state: Lifecycle) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::PreActive => state == Lifecycle::PreActive,
            Self::Young => matches!(state, Lifecycle::PreActive | Lifecycle::Active),
        }
    }
}

fn when(cell: &str) -> When {
    let has = |words: &str| cell.contains(words);
    match cell {
        cell if !cell.starts_with("Yes") => When::Never,
        // The samples' dates are not reached, their usage not allocated, and their custom attributes made by clients.
        _ if has("Pre-Active or Active") => When::Young,
        _ if has("Pre-Active") => When::PreActive,
        _ => When::Always,
    }
}

fn types(cell: &str) -> Vec<ObjectType> {
    use ObjectType as T;
    let all = [
        T::Certificate,
        T::SymmetricKey,
        T::PublicKey,
        T::PrivateKey,
        T::SplitKey,
        T::Template,
        T::SecretData,
        T::OpaqueObject,
        T::PgpKey,
        T::CertificateRequest,
    ];
    let cell = cell.replace(" ,", ", ").replace(",  ", ", ");
    let mut types: Vec<T> = match cell.as_str() {
        "" | "All Objects" => all.to_vec(),
        words => words
            .split(", ")
            .flat_map(|word| match word {
                "All Cryptographic Objects" | "Managed Cryptographic Objects" => all
                    .into_iter()
                    .filter(|object_type| !matches!(object_type, T::Template | T::OpaqueObject))
                    .collect(),
                "Asymmetric Keys" => vec![T::PublicKey, T::PrivateKey],
                "Certificates" | "X.509 Certificates" => vec![T::Certificate],
                "Keys" => vec![T::SymmetricKey, T::PublicKey, T::PrivateKey, T::SplitKey],
                "Opaque Object" | "Opaque Objects" => vec![T::OpaqueObject],
                "PGP keys" => vec![T::PgpKey],
                "Private Key" | "Private Keys" => vec![T::PrivateKey],
                "Public Keys" => vec![T::PublicKey],
                "Secret Data" => vec![T::SecretData],
                "Split Key" | "Split Keys of symmetric keys" => vec![T::SplitKey],
                "Symmetric Key" | "Symmetric Keys" => vec![T::SymmetricKey],
                "Templates" => vec![T::Template],
                other => panic!("the tables say {other:?}"),
            })
            .collect(),
    };
    let further = FURTHER_TYPES.iter().filter(|(words, _)| cell == *words || cell == words.replace("All ", "Managed "));
    types.extend(further.flat_map(|(_, more)| more.iter().copied()));
    types
}

/// Object Type may be given for an object of that type alone.
fn is_other_type(name: &str, attribute: &Attribute, object_type: ObjectType) -> bool {
    name == "Object Type" && !matches!(attribute, Attribute::ObjectType(given) if *given == object_type)
}

/// Values of the attribute that a table is about: one, or of certificate fields one each.
fn samples(name: &str, version: ProtocolVersion) -> Vec<Attribute> {
    let all =
        Attributes::sample(&mut Maker::new(version, Fill::All, 1)).list.into_iter().map(|instance| instance.attribute);
    let found: Vec<Attribute> = all.filter_map(|attribute| of_client(attribute, name)).collect();
    assert!(!found.is_empty(), "no sample of {name} in {version}");
    found
}

/// The attribute if the table is about it, so as a client makes it and before anything happened to it.
fn of_client(attribute: Attribute, table: &str) -> Option<Attribute> {
    match (attribute, table) {
        (Attribute::Custom(mut custom), "Custom Attribute") => {
            "x".clone_into(&mut custom.vendor);
            Some(Attribute::Custom(custom))
        }
        (field @ Attribute::CertificateField(..), "Certificate Attributes") => Some(field),
        (Attribute::Custom(_) | Attribute::CertificateField(..) | Attribute::Unknown { .. }, _) => None,
        (Attribute::ProcessStartDate(_), "Process Start Date") => Some(Attribute::ProcessStartDate(DateTime(NOW + 60))),
        (Attribute::ProtectStopDate(_), "Protect Stop Date") => Some(Attribute::ProtectStopDate(DateTime(NOW + 60))),
        (Attribute::UsageLimits(mut limits), "Usage Limits") => {
            limits.count = Some(limits.total);
            Some(Attribute::UsageLimits(limits))
        }
        (attribute, table) => (attribute.name().to_text() == table).then_some(attribute),
    }
}

fn object(object_type: ObjectType, lifecycle: Lifecycle, attribute: Option<Attribute>) -> Object {
    let mut attributes = AttributeSet::default();
    // Columns are kept apart, and are always there.
    let is_column = |attribute: &Attribute| {
        matches!(attribute.name(), AttributeName::Standard(Tag::UNIQUE_IDENTIFIER | Tag::OBJECT_TYPE | Tag::STATE))
    };
    if let Some(attribute) = attribute.filter(|attribute| !is_column(attribute)) {
        attributes.add(attribute);
    }
    Object {
        id: ObjectId::generate(),
        organisation: OrganisationId::DEFAULT,
        owner: ClientId::generate(),
        object_type,
        keystore: KeystoreId::generate(),
        custody: Custody::Envelope,
        created_ms: NOW * 1000,
        lifecycle,
        attributes,
    }
}
