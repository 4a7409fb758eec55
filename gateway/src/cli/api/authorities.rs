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
        Ca::Show { id, via } => print::authority(&via, via.get(Path::of(&[AUTHORITIES, &id]))?),
        Ca::Renew { id, via } => print::authority(&via, via.post(act(&id, "renew"), json!({}))?),
        Ca::Rekey { id, ca_key, via } => {
            let body = given(json!({ "algorithm": ca_key.algorithm, "keystore": ca_key.keystore }));
            print::authority(&via, via.post(act(&id, "rekey"), body)?)
        }
        Ca::Publish { id, via } => print::authority(&via, via.post(act(&id, "publish"), json!({}))?),
        Ca::Activate { id, at_once, reason, yes, via } => {
            let body = if at_once {
                Impact::ActivateAtOnce.acknowledge(yes)?;
                json!({ "at_once": acknowledged(&reason.unwrap_or_default()) })
            } else {
                json!({})
            };
            print::authority(&via, via.post(act(&id, "activate"), body)?)
        }
        Ca::CrossSign { id, by, via } => print::authority(&via, via.post(act(&id, "cross-sign"), json!({ "by": by }))?),
        Ca::Revoke { id, revoke, via } => {
            let body = revoking(&revoke, Impact::RevokeAuthority)?;
            print::authority(&via, via.post(act(&id, "revoke"), body)?)
        }
        Ca::Import { tier, certificate, private_key, via } => {
            let key = secret_text_of(&private_key)?;
            let body = json!({ "tier": tier, "certificate": text_of(&certificate)?, "key": &*key });
            print::authority(&via, via.post(Path::of(&[AUTHORITIES, "import"]), body)?)
        }
        Ca::Request { ca_key, via } => {
            let body = given(json!({ "algorithm": ca_key.algorithm, "keystore": ca_key.keystore }));
            print::authority_request(&via, via.post(Path::of(&[AUTHORITIES, "request"]), body)?)
        }
        Ca::Complete { id, certificate, via } => {
            let body: Value = json!({ "certificate": text_of(&certificate)? });
            print::authority(&via, via.post(act(&id, "complete"), body)?)
        }
    }
}

fn act(id: &str, what: &str) -> Path {
    Path::of(&[AUTHORITIES, id, what])
}
