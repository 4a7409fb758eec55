//! Answers as text for people or one JSON value for scripts.

use std::path::Path;

use serde_json::Value;

use crate::admin::{AdminReply, IssuedView, SealView};

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
        AdminReply::Clients(clients) => {
            for client in clients {
                let state = if client.enabled { "enabled" } else { "disabled" };
                println!("{}  {state}  {}{}", client.id, client.name, or_nothing("  keystore ", client.keystore.as_deref()));
                for certificate in &client.certificates {
                    let state = if certificate.revoked { "revoked" } else if certificate.expired { "expired" } else { "until" };
                    println!("    {} {state} {}  serial {}", certificate.origin, certificate.not_after, certificate.serial);
                }
            }
        }
        AdminReply::Done => println!("done"),
        AdminReply::Grants(grants) => {
            for grant in grants {
                println!("{}  {}  to {}  {}", grant.id, grant.on, grant.to, grant.operations.join(","));
            }
        }
        AdminReply::Groups(groups) => {
            for group in groups {
                println!("{}  {}  {}", group.id, group.name, group.members.join(","));
            }
        }
        AdminReply::Issued(view) => print_issued(view, None, false),
        AdminReply::Key(key) => print_key(key),
        AdminReply::Keys(page) => {
            for key in &page.keys {
                let length = key.length.map(|length| length.to_string());
                println!(
                    "{}  {}{}{}{}  owner {}  keystore {}{}",
                    key.id,
                    key.object_type,
                    or_nothing("  ", key.algorithm.as_deref()),
                    or_nothing("-", length.as_deref()),
                    or_nothing("  ", key.state.as_deref()),
                    key.owner,
                    key.keystore,
                    or_nothing("  ", key.name.as_deref()),
                );
            }
            page.refused.iter().for_each(|id| println!("{id}  REFUSED: its row was altered"));
            if let Some(next) = &page.next {
                println!("more: --after {next}");
            }
        }
        AdminReply::Made { id } => println!("{id}"),
        AdminReply::Rotated(rotated) => {
            let what = if rotated.resumed { "went on with" } else { "added" };
            println!("{what} keyring term {}; {} objects sealed again", rotated.term, rotated.objects);
            rotated.refused.iter().for_each(|id| println!("{id}  REFUSED: its row was altered"));
        }
        AdminReply::Seal(slot) => print_slot(slot),
        AdminReply::SealStatus(status) => {
            status.slots.iter().for_each(print_slot);
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
            for user in users {
                println!("{}  {}  {}", user.id, if user.enabled { "enabled" } else { "disabled" }, user.name);
            }
        }
    }
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
    let made = slot.made.as_deref().map(|made| made.get(..10).unwrap_or(made));
    let shown = if slot.shown { "  opened since the start" } else { "" };
    println!("{}  {}  {}{}{shown}", slot.id, slot.kind, slot.detail, or_nothing("  made ", made));
    if let Some(warning) = &slot.warning {
        println!("    warning: {warning}");
    }
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
