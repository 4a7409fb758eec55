//! `service`, `provisioning-key`, `cert`.

use std::path::{Path as FilePath, PathBuf};

use keygate_pki::Reason;
use serde_json::{Value, json};

use super::{
    args::{Cert, Decide, ProvisioningKey, Revoke, Service, Via},
    ask::{Path, given},
    impact::Impact,
    print,
};
use crate::{
    cli::{Failure, code},
    data_dir::write_secret,
};

const KEYS: &str = "provisioning-keys";

pub(in crate::cli) fn service(command: Service) -> Result<(), Failure> {
    match command {
        Service::Status { via } => print::service(&via, via.get(Path::of(&["service"]))?),
        Service::Enable { reason, yes: _, ca_key, via } => {
            let body = json!({ "reason": reason, "acknowledged": true, "algorithm": ca_key.algorithm, "keystore": ca_key.keystore });
            switch(&via, "enabled", || via.post(Path::of(&["service", "enable"]), given(body)))
        }
        Service::Disable { reason, yes, via } => {
            switch(&via, "disabled", || {
                Impact::Disable.acknowledge(yes)?;
                via.post(Path::of(&["service", "disable"]), acknowledged(&reason))
            })
        }
    }
}

/// Acts, unless the service is as wanted already: then it says so, and nothing is changed.
fn switch(via: &Via, wanted: &str, act: impl FnOnce() -> Result<Value, Failure>) -> Result<(), Failure> {
    let now = via.get(Path::of(&["service"]))?;
    if now["state"].as_str() == Some(wanted) {
        if !via.json {
            println!("the service is {wanted} already: nothing was changed");
        }
        return print::service(via, now);
    }
    print::service(via, act()?)
}

pub(in crate::cli) fn key(command: ProvisioningKey) -> Result<(), Failure> {
    match command {
        ProvisioningKey::Create { name, expires, uses, from, names, days, successor, out, ca_key, via } => {
            let file = out.map(SecretFile::new).transpose()?;
            let body = json!({
                "name": name, "expires": expires, "uses": uses, "from": from, "names": names, "days": days, "successor": successor,
                "algorithm": ca_key.algorithm, "keystore": ca_key.keystore,
            });
            let made = via.post(Path::of(&[KEYS]), given(body));
            if let (Some(file), Err(_)) = (&file, &made) {
                file.give_up();
            }
            let mut answer = made?;
            if let Some(file) = &file {
                file.write(&mut answer)?;
            }
            print::created_key(&via, answer, file.as_ref().map(SecretFile::path))
        }
        ProvisioningKey::List { via } => print::keys(&via, via.get(Path::of(&[KEYS]))?),
        ProvisioningKey::Show { id, via } => print::key(&via, via.get(Path::of(&[KEYS, &id]))?),
        ProvisioningKey::Rename { id, name, via } => {
            print::key(&via, via.patch(Path::of(&[KEYS, &id]), json!({ "name": name }))?)
        }
        ProvisioningKey::Set { id, successor, via } => {
            print::key(&via, via.patch(Path::of(&[KEYS, &id]), json!({ "successor": successor }))?)
        }
        ProvisioningKey::Suspend { id, decide, via } => decided(&via, &id, "suspend", Impact::Suspend, &decide),
        ProvisioningKey::Reactivate { id, decide, via } => decided(&via, &id, "reactivate", Impact::Reactivate, &decide),
        ProvisioningKey::Revoke { id, revoke, via } => {
            let body = revoking(&revoke, Impact::RevokeKey)?;
            print::key(&via, via.post(Path::of(&[KEYS, &id, "revoke"]), body)?)
        }
    }
}

/// Where the secret of a new key goes.
struct SecretFile(PathBuf);

impl SecretFile {
    /// Found out before the key is made: a secret that cannot be written is lost.
    fn new(path: PathBuf) -> Result<Self, Failure> {
        if path.exists() {
            return Err(Failure::new(code::NAME, format!("{} exists already", path.display())));
        }
        write_secret(&path, b"")?;
        Ok(Self(path))
    }

    /// No key was made: nothing is left behind.
    fn give_up(&self) {
        // An empty file that stays does no harm.
        let _ = std::fs::remove_file(&self.0);
    }

    /// Moves the secret out of the answer.
    fn write(&self, answer: &mut Value) -> Result<(), Failure> {
        let secret = answer.as_object_mut().and_then(|fields| fields.remove("secret"));
        let secret = secret.as_ref().and_then(Value::as_str).ok_or_else(|| Failure::new(code::FAILED, "the server answered without a secret"))?;
        Ok(write_secret(&self.0, format!("{secret}\n").as_bytes())?)
    }

    fn path(&self) -> &FilePath {
        &self.0
    }
}

fn decided(via: &Via, id: &str, act: &str, impact: Impact, decide: &Decide) -> Result<(), Failure> {
    impact.acknowledge(decide.yes)?;
    print::key(via, via.post(Path::of(&[KEYS, id, act]), acknowledged(&decide.reason))?)
}

pub(in crate::cli) fn certificate(command: Cert) -> Result<(), Failure> {
    const CERTIFICATES: &str = "certificates";
    match command {
        Cert::List { provisioning_key, state, name, limit, after, via } => {
            let path = Path::of(&[CERTIFICATES]).with("limit", Some(limit)).with("key", provisioning_key);
            let path = path.with("state", state).with("name", name).with("after", after);
            print::certificates(&via, via.get(path)?)
        }
        Cert::Show { serial, via } => print::certificate(&via, via.get(Path::of(&[CERTIFICATES, &serial]))?, true),
        Cert::Revoke { serial, revoke, via } => {
            let body = revoking(&revoke, Impact::RevokeCertificate)?;
            print::certificate(&via, via.post(Path::of(&[CERTIFICATES, &serial, "revoke"]), body)?, false)
        }
    }
}

/// The body of a decision that was acknowledged.
pub(super) fn acknowledged(reason: &str) -> Value {
    json!({ "reason": reason, "acknowledged": true })
}

/// The body of a revocation, once it is acknowledged. A reason that is one of RFC 5280's words is what is told, too.
pub(super) fn revoking(revoke: &Revoke, impact: Impact) -> Result<Value, Failure> {
    impact.acknowledge(revoke.decide.yes)?;
    let reason = &revoke.decide.reason;
    let told = revoke.told.clone().or_else(|| reason.parse::<Reason>().is_ok().then(|| reason.clone()));
    Ok(given(json!({ "reason": reason, "acknowledged": true, "told": told })))
}
