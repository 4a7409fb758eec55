//! `ca`.

use serde_json::{Value, json};

use super::{
    args::Ca,
    ask::{Path, given},
    impact::Impact,
    print,
    provisioning::{acknowledged, revoking},
};
use crate::cli::{
    Failure,
    files::{secret_text_of, text_of},
};

const AUTHORITIES: &str = "authorities";

pub(in crate::cli) fn authority(command: Ca) -> Result<(), Failure> {
    match command {
        Ca::List { via } => print::authorities(&via, via.get(Path::of(&[AUTHORITIES]))?),
        Ca::Show { id, via } => print::authority(&via, via.get(Path::of(&[AUTHORITIES, &id]))?, true),
        Ca::Renew { id, text, via } => print::authority(&via, via.post(act(&id, "renew"), json!({}))?, text.pem),
        Ca::Rekey { id, ca_key, text, via } => {
            let body = given(json!({ "algorithm": ca_key.algorithm, "keystore": ca_key.keystore }));
            print::authority(&via, via.post(act(&id, "rekey"), body)?, text.pem)
        }
        Ca::Publish { id, text, via } => print::authority(&via, via.post(act(&id, "publish"), json!({}))?, text.pem),
        Ca::Activate { id, at_once, reason, yes, text, via } => {
            let body = if at_once {
                Impact::ActivateAtOnce.acknowledge(yes)?;
                json!({ "at_once": acknowledged(&reason.unwrap_or_default()) })
            } else {
                json!({})
            };
            print::authority(&via, via.post(act(&id, "activate"), body)?, text.pem)
        }
        Ca::CrossSign { id, by, text, via } => print::authority(&via, via.post(act(&id, "cross-sign"), json!({ "by": by }))?, text.pem),
        Ca::Revoke { id, revoke, text, via } => {
            let body = revoking(&revoke, Impact::RevokeAuthority)?;
            print::authority(&via, via.post(act(&id, "revoke"), body)?, text.pem)
        }
        Ca::Import { tier, certificate, private_key, text, via } => {
            let key = secret_text_of(&private_key)?;
            let body = json!({ "tier": tier, "certificate": text_of(&certificate)?, "key": &*key });
            print::authority(&via, via.post(Path::of(&[AUTHORITIES, "import"]), body)?, text.pem)
        }
        Ca::Remove { id, via } => print::removed_authority(&via, via.delete(Path::of(&[AUTHORITIES, &id]))?),
        Ca::Request { id: Some(id), via, .. } => print::authority_request(&via, via.get(act(&id, "request"))?),
        Ca::Request { id: None, ca_key, via, .. } => {
            let body = given(json!({ "algorithm": ca_key.algorithm, "keystore": ca_key.keystore }));
            print::authority_request(&via, via.post(Path::of(&[AUTHORITIES, "request"]), body)?)
        }
        Ca::Complete { id, certificate, text, via } => {
            let body: Value = json!({ "certificate": text_of(&certificate)? });
            print::authority(&via, via.post(act(&id, "complete"), body)?, text.pem)
        }
    }
}

fn act(id: &str, what: &str) -> Path {
    Path::of(&[AUTHORITIES, id, what])
}
