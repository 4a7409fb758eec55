//! Answers as text for people or one JSON value for scripts.

use std::path::Path;

use serde_json::Value;

use super::table::Table;
use crate::admin::{AdminReply, IssuedView, SealView};
use crate::import::ImportReport;

/// Prints an answer.
pub(super) fn print(reply: &AdminReply, json: bool) {
    if json {
        return print_json(reply);
    }
    match reply {
        AdminReply::Api(answer) => println!("{}", answer.body),
        AdminReply::Audit { segments, events, findings } => {
            println!("{events} events in {segments} segments");
            findings.iter().for_each(|finding| println!("NOT INTACT: {finding}"));
            if findings.is_empty() {
                println!("intact");
            }
        }
        AdminReply::Backup(made) => {
            println!("{} objects, {} entries, {} audit segments, to commit {}", made.objects, made.entries, made.segments, made.commit);
            if made.lost > 0 {
                println!("warning: {} rows did not open and are not in it", made.lost);
            }
            if made.broken_links > 0 {
                println!("warning: the audit record is not intact; `keygate audit verify` says where");
            }
            println!("sha256 {}", made.sha256);
        }
        AdminReply::Clients(clients) => {
            let mut table = Table::new(["ID", "STATE", "NAME", "KEYSTORE"]);
            for client in clients {
                let certificates = client.certificates.iter().map(|certificate| {
                    let state = if certificate.revoked { "revoked" } else if certificate.expired { "expired" } else { "until" };
                    format!("{} {state} {}  serial {}", certificate.origin, certificate.not_after, certificate.serial)
                });
                let cells = [client.id.clone(), enabled(client.enabled), client.name.clone(), client.keystore.clone().unwrap_or_default()];
                table.row_with(cells, certificates.collect());
            }
            table.print();
        }
        AdminReply::Done => println!("done"),
        AdminReply::Endpoints(endpoints) => {
            let mut table = Table::new(["CLIENT", "ADDRESS", "KMIP", "SENDS", "WAITING", "SENT", "FAILED"]);
            for endpoint in endpoints {
                let sends = [("Notify", endpoint.notify), ("Put", endpoint.put)].into_iter().filter(|(_, on)| *on).map(|(name, _)| name);
                let sends = sends.collect::<Vec<_>>().join(",");
                let counts = [endpoint.waiting, endpoint.sent, endpoint.failed].map(|count| count.to_string());
                let [waiting, sent, failed] = counts;
                let cells = [endpoint.client.clone(), endpoint.address.clone(), endpoint.version.clone(), sends, waiting, sent, failed];
                table.row_with(cells, endpoint.trouble.iter().map(|why| format!("trouble: {why}")).collect());
            }
            table.print();
        }
        AdminReply::Exported(made) => {
            for (id, reason) in &made.reasons {
                println!("left out: {id}: {reason}");
            }
            println!("{} keys and other objects, {} left out", made.keys, made.left_out);
            println!("sha256 {}", made.sha256);
        }
        AdminReply::Grants(grants) => {
            let mut table = Table::new(["ID", "ON", "TO", "OPERATIONS"]);
            grants.iter().for_each(|grant| table.row([grant.id.clone(), grant.on.clone(), grant.to.clone(), grant.operations.join(",")]));
            table.print();
        }
        AdminReply::Groups(groups) => {
            let mut table = Table::new(["ID", "NAME", "MEMBERS"]);
            groups.iter().for_each(|group| table.row([group.id.clone(), group.name.clone(), group.members.join(",")]));
            table.print();
        }
        AdminReply::Issued(view) => print_issued(view, None, false),
        AdminReply::Key(key) => print_key(key),
        AdminReply::Keys(page) => {
            let mut table = Table::new(["ID", "TYPE", "ALGORITHM", "STATE", "OWNER", "KEYSTORE", "NAME"]);
            for key in &page.keys {
                let length = key.length.map(|length| length.to_string());
                let algorithm = key.algorithm.clone().unwrap_or_default() + &or_nothing("-", length.as_deref());
                let (state, name) = (key.state.clone().unwrap_or_default(), key.name.clone().unwrap_or_default());
                table.row([key.id.clone(), key.object_type.clone(), algorithm, state, key.owner.clone(), key.keystore.clone(), name]);
            }
            table.print();
            page.refused.iter().for_each(|id| println!("{id}  REFUSED: its row was altered"));
            if let Some(next) = &page.next {
                println!("more: --after {next}");
            }
        }
        AdminReply::Made { id } => println!("{id}"),
        AdminReply::Message { xml } => println!("{}", xml.trim_end()),
        AdminReply::Rotated(rotated) => {
            let what = if rotated.resumed { "went on with" } else { "added" };
            println!("{what} keyring term {}; {} objects sealed again", rotated.term, rotated.objects);
            rotated.refused.iter().for_each(|id| println!("{id}  REFUSED: its row was altered"));
        }
        AdminReply::Seal(slot) => print_slot(slot),
        AdminReply::SealStatus(status) => {
            let mut table = Table::new(["ID", "KIND", "WHERE", "MADE", "OPENED"]);
            for slot in &status.slots {
                let warning = slot.warning.iter().map(|warning| format!("warning: {warning}"));
                let cells = [slot.id.clone(), slot.kind.clone(), slot.detail.clone(), day_made(slot), opened(slot)];
                table.row_with(cells, warning.collect());
            }
            table.print();
            println!("{}", if status.needed == 2 { "two of them together open the store" } else { "each of them opens the store" });
            let terms: Vec<String> = status.terms.iter().map(u32::to_string).collect();
            match &status.sealed {
                Some(sealed) => println!("{sealed}"),
                None => println!("keyring term {}", terms.join(", ")),
            }
            if terms.len() > 1 {
                println!("    warning: a rotation is not finished; `keygate seal rotate` finishes it");
            }
        }
        AdminReply::Unseal(unseal) => println!("{}", unseal.progress),
        AdminReply::Users(users) => {
            let mut table = Table::new(["ID", "STATE", "NAME"]);
            users.iter().for_each(|user| table.row([user.id.clone(), enabled(user.enabled), user.name.clone()]));
            table.print();
        }
    }
}

pub(super) fn enabled(is: bool) -> String {
    if is { "enabled" } else { "disabled" }.into()
}

/// What became of each key. `was` stands in front of what was taken in.
pub(super) fn print_import(report: &ImportReport, was: &str) {
    report.imported.iter().for_each(|line| println!("{was}imported: {}  {}", line.label, line.what));
    report.duplicates.iter().for_each(|line| println!("there already: {}  {}", line.label, line.what));
    report.refused.iter().for_each(|line| println!("REFUSED: {}: {}", line.label, line.what));
    println!("{} {was}imported, {} there already, {} refused", report.imported.len(), report.duplicates.len(), report.refused.len());
}

/// One line for each column and each attribute of an object.
fn print_key(key: &Value) {
    for (name, value) in key.as_object().into_iter().flatten().filter(|(name, value)| *name != "attributes" && !value.is_null()) {
        println!("{name}: {}", words(value));
    }
    for attribute in key["attributes"].as_array().into_iter().flatten() {
        let index = attribute["index"].as_i64().filter(|index| *index > 0).map(|index| format!(" [{index}]"));
        println!("    {}{}: {}", words(&attribute["name"]), index.unwrap_or_default(), words(&attribute["value"]));
    }
}

fn words(value: &Value) -> String {
    let all = |values: Vec<String>| values.join(", ");
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => all(values.iter().map(words).collect()),
        Value::Object(fields) => all(fields.iter().map(|(name, value)| format!("{name}={}", braced(value))).collect()),
        other => other.to_string(),
    }
}

fn braced(value: &Value) -> String {
    if value.is_object() { format!("{{{}}}", words(value)) } else { words(value) }
}

fn print_slot(slot: &SealView) {
    println!("{}  {}  {}  {}  {}", slot.id, slot.kind, slot.detail, day_made(slot), opened(slot));
    if let Some(warning) = &slot.warning {
        println!("    warning: {warning}");
    }
}

/// The day a slot was made, where it is known.
fn day_made(slot: &SealView) -> String {
    slot.made.as_deref().map(|made| made.get(..10).unwrap_or(made).to_owned()).unwrap_or_default()
}

fn opened(slot: &SealView) -> String {
    if slot.shown { "since the start" } else { "" }.into()
}

/// Prints what was issued or pinned, and where it was written.
pub(super) fn print_issued(view: &IssuedView, folder: Option<&Path>, json: bool) {
    if json {
        let value = serde_json::json!({
            "client": view.client, "name": view.name, "not_after": view.not_after, "folder": folder.map(Path::display).map(|path| path.to_string()),
        });
        return println!("{value}");
    }
    println!("client {} ({}), certificate until {}", view.name, view.client, view.not_after);
    if let Some(folder) = folder {
        println!("written to {}", folder.display());
    }
}

fn print_json(reply: &AdminReply) {
    // The outer name of the enumeration is of no use to a script: lists are lists.
    let value = serde_json::to_value(reply).unwrap_or_default();
    let inner = match value {
        Value::Object(map) if map.len() == 1 => map.into_iter().next().map(|(_, inner)| inner).unwrap_or_default(),
        _ => serde_json::json!({ "ok": true }),
    };
    println!("{inner}");
}

fn or_nothing(before: &str, text: Option<&str>) -> String {
    text.map(|text| format!("{before}{text}")).unwrap_or_default()
}
