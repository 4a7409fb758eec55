//! `keystore`.

use std::io::{IsTerminal as _, Read as _, Write as _};

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    args::{Keystore, KeystoreSecret, KeystoreSetting, Via},
    ask::{Path, given},
    print,
};
use crate::{
    api::KeystoreView,
    cli::{Failure, code, files::secret_text_of},
};

const KEYSTORES: &str = "keystores";
/// Longest secret that is read from standard input.
const SECRET_BYTES_MAX: u64 = 4096;

pub(in crate::cli) fn keystore(command: Keystore) -> Result<(), Failure> {
    match command {
        Keystore::Add { name, kind, set, secret, via } => {
            let secret = secret.read()?;
            let body = given(json!({ "name": name, "kind": kind, "settings": settings(&set), "secret": secret.as_ref().map(|text| text.as_str()) }));
            print::keystore(&via, via.post(Path::of(&[KEYSTORES]), body)?)
        }
        Keystore::List { via } => print::keystores(&via, via.get(Path::of(&[KEYSTORES]))?),
        Keystore::Show { name, via } => print::keystore(&via, via.get(Path::of(&[KEYSTORES, &name]))?),
        Keystore::Set { name, set, unset, secret, via } => {
            let secret = secret.read()?;
            let mut settings = settings(&set);
            settings.extend(unset.into_iter().map(|key| (key, Value::Null)));
            let body = given(json!({ "settings": settings, "secret": secret.as_ref().map(|text| text.as_str()) }));
            print::keystore(&via, via.patch(Path::of(&[KEYSTORES, &name]), body)?)
        }
        Keystore::Test { name, again, via } => test(&name, again, &via),
        Keystore::Activate { name, confirm, keep_default, via } => {
            let confirm = confirm.map_or_else(|| ask_name(&name), Ok)?;
            let body = json!({ "confirm": confirm, "keep_default": keep_default });
            print::keystore_state(&via, via.post(act(&name, "activate"), body)?)
        }
        Keystore::Drain { name, via } => print::keystore_state(&via, via.post(act(&name, "drain"), json!({}))?),
        Keystore::Retry { name, via } => print::keystore(&via, via.post(act(&name, "retry"), json!({}))?),
        Keystore::Remove { name, via } => {
            let answer = via.post(act(&name, "remove"), json!({}))?;
            print::removed(&via, &answer, &name);
            Ok(())
        }
        Keystore::Status { name, via } => {
            let names = match name {
                Some(name) => vec![name],
                None => names(&via)?,
            };
            let all = names.iter().map(|name| via.get(act(name, "status"))).collect::<Result<Vec<_>, _>>()?;
            print::keystore_statuses(&via, all)
        }
    }
}

/// Shows each step; the last word is Success, or the command fails. Then the command that does the same again.
fn test(name: &str, again: bool, via: &Via) -> Result<(), Failure> {
    let answer = via.post(act(name, "test"), json!({ "again": again }))?;
    let failed = answer["test"]["outcome"] != "success";
    print::keystore_test(via, answer, &repeat(name, via))?;
    if failed { Err(Failure::new(code::FAILED, format!("the test of keystore \"{name}\" failed"))) } else { Ok(()) }
}

/// The command line once more, for a shell.
fn repeat(name: &str, via: &Via) -> String {
    let mut words = vec!["keygate".to_owned(), "keystore".to_owned(), "test".to_owned(), name.to_owned()];
    let mut add = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([flag.to_owned(), quoted(&value)]);
        }
    };
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    add("--server", via.server.clone());
    match &via.server {
        Some(_) => [("--cert", &via.cert), ("--key", &via.key), ("--ca", &via.trust.ca)].into_iter().for_each(|(flag, file)| add(flag, path(file))),
        None => add("--data-dir", path(&via.data_dir)),
    }
    add("--fingerprint", via.trust.fingerprint.map(|fingerprint| fingerprint.to_string()));
    if via.trust.accept_invalid_certs {
        words.push("--accept-invalid-certs".into());
    }
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn names(via: &Via) -> Result<Vec<String>, Failure> {
    let list = via.get(Path::of(&[KEYSTORES]))?;
    let list: crate::api::List<KeystoreView> =
        serde_json::from_value(list).map_err(|_| Failure::new(code::FAILED, "the server's answer is of another version"))?;
    Ok(list.items.into_iter().map(|keystore| keystore.name).collect())
}

fn act(name: &str, what: &str) -> Path {
    Path::of(&[KEYSTORES, name, what])
}

fn settings(set: &[KeystoreSetting]) -> Map<String, Value> {
    set.iter().map(|KeystoreSetting(key, value)| (key.clone(), value.clone())).collect()
}

impl KeystoreSecret {
    /// Reads the secret, if one is given.
    fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let text = match (&self.secret_file, self.secret_stdin) {
            (Some(path), _) => secret_text_of(path)?,
            (None, true) => {
                let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize + 1));
                std::io::stdin().take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
                text
            }
            (None, false) => return Ok(None),
        };
        Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
    }
}

/// The typed confirmation: new keys go to this keystore from now on.
fn ask_name(name: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(code::USAGE, "this needs a confirmation: --confirm NAME\nhint: new keys go to this keystore from now on"));
    }
    eprintln!("impact: new keys go to keystore \"{name}\" from now on; keys that exist stay where they are");
    eprint!("To confirm, type the keystore's name: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed can be pasted.
    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("/srv/keygate"), "/srv/keygate");
        assert_eq!(quoted("/srv/my data"), "'/srv/my data'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
