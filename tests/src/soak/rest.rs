//! REST users: keys made, handed out, used and deleted over HTTPS with curl.

use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ledger::{Life, RestKey};
use super::place::LOCAL;
use super::site::Site;
use super::watch::Watch;
use crate::est::curl::{Shown, call_as};
use crate::est::{Account, Server};

/// Between two rounds of a user: they are few beside the KMIP clients, and each request starts a process.
const PAUSE: Duration = Duration::from_millis(50);

/// A user of the REST front.
pub(super) struct User {
    pub(super) server: Server,
    pub(super) account: Account,
    pub(super) folder: std::path::PathBuf,
}

/// What came of a request.
pub(super) enum Reply {
    Done(Value),
    Refused(u16, String),
    Nothing,
}

impl User {
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let text = body.map(Value::to_string);
        let body = text.as_deref().map(|text| ("application/json", text.as_bytes()));
        match call_as(&self.server, &self.folder, Some(method), path, Shown::Account(&self.account), body, &[]) {
            Ok(answer) if (200..300).contains(&answer.status) => Reply::Done(serde_json::from_slice(&answer.body).unwrap_or_default()),
            Ok(answer) => Reply::Refused(answer.status, answer.text()),
            Err(_) => Reply::Nothing,
        }
    }
}

pub(super) fn users(site: &Site) -> Vec<User> {
    let made = site.rest_users.iter().map(|account| User {
        server: site.clients(),
        account: account.clone(),
        folder: site.service.gateway.scratch().join(format!("curl-{}", account.id)),
    });
    made.collect()
}

/// One thread for each user.
pub(super) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    site: &Site,
    watch: &Arc<Watch>,
) -> Vec<ScopedJoinHandle<'scope, Vec<RestKey>>> {
    let threads = users(site).into_iter().map(|user| {
        let watch = Arc::clone(watch);
        scope.spawn(move || {
            let mut keys = Vec::new();
            while !watch.is_over() {
                round(&user, &watch, &mut keys);
                std::thread::sleep(PAUSE);
            }
            keys
        })
    });
    threads.collect()
}

/// Makes a key, takes it out, uses it both ways, and deletes every second one.
fn round(user: &User, watch: &Watch, keys: &mut Vec<RestKey>) {
    let name = format!("rest-{}-{}", user.account.id, keys.len());
    let asked = watch.ask();
    let refused = |what: &str, reply: Reply| {
        if let Reply::Refused(status, text) = reply
            && !watch.was_disturbed(&asked)
        {
            watch.wrong(format!("REST: {what} of {name}: {status} {text}"));
        }
    };
    let wish = json!({ "name": name, "algorithm": "AES", "length": 256, "usageMask": ["ENCRYPT", "DECRYPT"], "exportable": true, "keystore": LOCAL });
    match user.ask("POST", "/api/key/v1/keys", Some(&wish)) {
        Reply::Done(_) => keys.push(RestKey { name: name.clone(), material: None, life: Life::Live }),
        other => {
            // It may be there all the same: the name is not used again.
            keys.push(RestKey { name: name.clone(), material: None, life: Life::MaybeGone });
            return refused("create", other);
        }
    }
    let Some(key) = keys.last_mut() else { return };
    match user.ask("POST", &format!("/api/key/v1/keys/{name}/export"), None) {
        Reply::Done(answer) => key.material = answer["material"].as_str().map(str::to_owned),
        other => refused("export", other),
    }
    let plain = STANDARD.encode(b"what a REST user encrypts");
    match user.ask("POST", "/api/crypto/v1/encrypt", Some(&json!({ "key": name, "data": plain }))) {
        Reply::Done(mut sealed) => {
            sealed["key"] = name.clone().into();
            // Which key it was is told, and is not asked.
            if let Some(fields) = sealed.as_object_mut() {
                fields.remove("uuid");
                fields.remove("name");
            }
            match user.ask("POST", "/api/crypto/v1/decrypt", Some(&sealed)) {
                Reply::Done(answer) if answer["data"] == plain.as_str() => {}
                Reply::Done(_) => watch.wrong(format!("REST: {name} decrypts to something else")),
                other => refused("decrypt", other),
            }
        }
        other => refused("encrypt", other),
    }
    if keys.len().is_multiple_of(2)
        && let Some(key) = keys.last_mut()
    {
        key.life = Life::Retiring;
        let state = json!({ "state": "DEACTIVATED", "reason": "CESSATION_OF_OPERATION" });
        if let other @ (Reply::Refused(..) | Reply::Nothing) = user.ask("POST", &format!("/api/key/v1/keys/{name}/state"), Some(&state)) {
            return refused("deactivate", other);
        }
        key.life = Life::MaybeGone;
        match user.ask("DELETE", &format!("/api/key/v1/keys/{name}"), None) {
            Reply::Done(_) => key.life = Life::Gone,
            other => refused("delete", other),
        }
    }
}
