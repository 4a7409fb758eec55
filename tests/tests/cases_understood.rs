//! Goal: the runner understands every case, and the product's XML and JSON encodings carry every message of them, 3.0 included.
//! Method: no server; each value of each file is resolved, each message is written as XML and as JSON by the product and read back, and
//! the TTLV bytes that the older message encoding cases print are what the product makes of the texts beside them.

use keygate_tests::cases::file::{self, Node};
use keygate_tests::cases::transport::Encoding;
use keygate_tests::cases::{printed, state, suite};
use keygate_tests::tools;
use keygate_tests::ttlv::{Item, Value};

const PLACEHOLDER: &[u8] = &[1; 16];

/// The item of a node, placeholders replaced by something of their type.
fn item(node: &Node, attribute: Option<u32>) -> Result<Item, String> {
    if node.is_structure() {
        let attribute = state::attribute_of(node).or_else(|| attribute.filter(|_| node.tag != state::ATTRIBUTE_VALUE));
        let fields: Result<_, _> = node.fields.iter().map(|field| item(field, attribute)).collect();
        return Ok(Item::structure(node.tag, fields?));
    }
    let value = match (node.placeholder(), node.item_type.as_str()) {
        (Some(_), "ByteString") => Value::ByteString(PLACEHOLDER.to_vec()),
        (Some(_), "Integer") => Value::Integer(1),
        (Some(name), "Identifier") => Value::Identifier(name.to_owned()),
        (Some(name), "Reference") => Value::Reference(name.to_owned()),
        (Some(name), _) => Value::TextString(name.to_owned()),
        (None, _) => state::literal(node, attribute, 0)?,
    };
    Ok(Item::new(node.tag, value))
}

#[test]
fn every_case_is_understood_and_carried_by_xml_and_json() {
    let Some(folder) = suite::folder() else { return tools::note_skipped("kmip-cases", "the folder is absent") };
    let mut problems = Vec::new();
    for entry in suite::manifest(&folder).expect("a manifest") {
        if entry.file.ends_with(".txt") {
            continue;
        }
        let path = folder.join(format!("v{}", entry.version)).join(&entry.set).join(&entry.file);
        let case = match file::read(&path) {
            Ok(case) => case,
            Err(error) => {
                problems.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        for message in case.steps.iter().flat_map(|step| [&step.request, &step.response]) {
            if let Err(error) = item(message, None).and_then(|item| through_texts(&item)) {
                problems.push(format!("{}: {error}", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn through_texts(item: &Item) -> Result<(), String> {
    let bytes = item.encode();
    for encoding in [Encoding::Xml, Encoding::Json] {
        let text = encoding.write(&bytes).map_err(|error| error.to_string())?;
        if encoding.read(&text).map_err(|error| format!("{}: {error}", encoding.name()))? != bytes {
            return Err(format!("differs after {}:\n{}", encoding.name(), String::from_utf8_lossy(&text)));
        }
    }
    Ok(())
}

/// The message encoding cases of 1.0 to 1.2 print each message as XML and as TTLV, and as JSON or as HTTP: all of them are one.
#[test]
fn the_forms_of_the_message_encoding_cases_agree() {
    let Some(folder) = suite::folder() else { return tools::note_skipped("kmip-cases", "the folder is absent") };
    let (mut messages, mut texts, mut dumps) = (0, 0, 0);
    for version in ["10", "11", "12"] {
        for kind in ["XML", "JSON", "HTTPS"] {
            let name = format!("v{}.{}/profiles-from-html/MSGENC-{kind}-M-1-{version}.txt", &version[..1], &version[1..]);
            let text = std::fs::read_to_string(folder.join(&name)).expect("the case");
            for message in printed::read(&text) {
                messages += 1;
                let xml = Encoding::Xml.read(message.xml.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
                // Some print different Time Stamps in their forms: a defect of the documents.
                assert_eq!(without_time_stamp(&xml), without_time_stamp(&message.ttlv), "{name}\n{}", message.xml);
                if let Some(json) = &message.json {
                    let bytes = Encoding::Json.read(json.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(without_time_stamp(&bytes), without_time_stamp(&message.ttlv), "{name}\n{json}");
                    // What the product writes is the printed text, white space apart.
                    let again = String::from_utf8(Encoding::Json.write(&bytes).expect("a message")).expect("UTF-8");
                    let tight = |text: &str| text.split_whitespace().collect::<String>();
                    assert_eq!(tight(&again), tight(json), "{name}");
                    texts += 1;
                }
                if let Some(body) = message.http_body() {
                    assert_eq!(without_time_stamp(body), without_time_stamp(&message.ttlv), "{name}");
                    dumps += 1;
                }
            }
        }
    }
    // The JSON case of 1.0 was printed without its JSON.
    assert_eq!((messages, texts, dumps), (36, 8, 12));
}

fn without_time_stamp(bytes: &[u8]) -> Item {
    fn strip(item: &mut Item) {
        match &mut item.value {
            Value::DateTime(at) => *at = 0,
            Value::Structure(fields) => fields.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut item = Item::decode(bytes).expect("TTLV");
    strip(&mut item);
    item
}
