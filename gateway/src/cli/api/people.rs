//! `admin`, `organisation`, and `audit search`.

use std::path::Path as FilePath;

use serde_json::{Value, json};

use super::{
    args::{AdminCommand, AdminCredential, Organisation, Search, Via},
    ask::{Path, given},
    print,
};
use crate::{
    admin::{AdminReply, IssuedView, NewCredential},
    cli::{Failure, args::Credential, code, files::Making},
};

const ADMINS: &str = "admins";

pub(in crate::cli) fn admin(command: AdminCommand) -> Result<(), Failure> {
    match command {
        AdminCommand::Add { name, role, credential, via } => credentials(&via, &credential, false, |wanted| {
            via.post(Path::of(&[ADMINS]), json!({ "name": name, "role": role, "credential": wanted }))
        }),
        AdminCommand::List { via } => print::admins(&via, via.get(Path::of(&[ADMINS]))?),
        AdminCommand::Disable { name, via } => changed(&via, &name, json!({ "disabled": true })),
        AdminCommand::Enable { name, via } => changed(&via, &name, json!({ "disabled": false })),
        AdminCommand::Role { name, role, via } => changed(&via, &name, json!({ "role": role })),
        AdminCommand::Renew { name, credential, via } => credentials(&via, &credential, true, |wanted| {
            via.patch(Path::of(&[ADMINS, &name]), json!({ "credential": wanted }))
        }),
    }
}

fn changed(via: &Via, name: &str, body: Value) -> Result<(), Failure> {
    print::admin(via, via.patch(Path::of(&[ADMINS, name]), body)?)
}

/// Makes a key or reads what the arguments name, asks, and writes what comes of it.
fn credentials(
    via: &Via,
    wanted: &AdminCredential,
    overwrite: bool,
    ask: impl FnOnce(Value) -> Result<Value, Failure>,
) -> Result<(), Failure> {
    let AdminCredential { out, csr, certificate, days } = wanted.clone();
    let arguments = Credential { out, csr, cert: certificate, days };
    // Without a folder a certificate is given, and nothing is written.
    let making = Making::begin(&arguments, FilePath::new("."), overwrite)?;
    let body = match making.ask.clone() {
        NewCredential::Issue { public_key, days } => json!({ "public_key": public_key, "days": days }),
        NewCredential::Pin { certificate } => json!({ "certificate": certificate }),
        NewCredential::Request { request, days } => json!({ "request": request, "days": days }),
    };
    let answer = ask(given(body))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let credential = &answer["credential"];
    let view = IssuedView {
        client: text(&answer["id"]),
        name: text(&answer["name"]),
        chain: text(&credential["chain"]),
        ca: text(&credential["ca"]),
        not_after: text(&credential["not_after"]),
    };
    if view.chain.is_empty() || view.ca.is_empty() {
        return Err(Failure::new(code::FAILED, "the server answered without a certificate"));
    }
    let (view, folder) = making.write(AdminReply::Issued(view))?;
    print::admin_with_certificate(via, answer, &view.not_after, folder.as_deref())
}

pub(in crate::cli) fn organisation(command: Organisation) -> Result<(), Failure> {
    match command {
        Organisation::Add { name, via } => print::organisation(&via, via.post(Path::of(&["organisations"]), json!({ "name": name }))?),
        Organisation::List { via } => print::organisations(&via, via.get(Path::of(&["organisations"]))?),
    }
}

pub(in crate::cli) fn search(wanted: &Search) -> Result<(), Failure> {
    let mut after = wanted.after.clone();
    loop {
        let path = Path::of(&["audit"]).with("limit", Some(wanted.limit)).with("since", wanted.since.as_deref());
        let path = path.with("until", wanted.until.as_deref()).with("action", wanted.action.as_deref());
        let path = path.with("actor", wanted.actor.as_deref()).with("object", wanted.object.as_deref());
        let page = wanted.via.get(path.with("after", after.as_deref()))?;
        // A page is bounded by work, too: one without events may have a next one. Each ends further back in the record.
        let is_empty = page["items"].as_array().is_none_or(Vec::is_empty);
        after = page["next"].as_str().map(str::to_owned);
        if !is_empty || after.is_none() {
            return print::events(&wanted.via, page);
        }
    }
}
