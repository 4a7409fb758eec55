//! `rest-user`: users of the REST key server, and the command by which a link to it is tested.

use std::{
    net::SocketAddr,
    path::{Path as FilePath, PathBuf},
};

use keygate_pki::SubjectAltName;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    args::{PasswordSource, RestUser, Via},
    ask::{Path, given},
    print,
};
use crate::{
    app::SecretInput,
    cli::{Failure, code, serve::load},
    data_dir::DataDir,
    rest::TEST_PATH,
};

const REST_USERS: &str = "rest-users";

pub(in crate::cli) fn rest_user(command: RestUser) -> Result<(), Failure> {
    match command {
        RestUser::Add { name, may, client, password, via } => {
            let text = password.read()?;
            let body = json!({ "name": name, "client": client, "permissions": may, "password": text.as_ref().map(|text| text.as_str()) });
            print::new_rest_user(&via, via.post(Path::of(&[REST_USERS]), given(body))?)
        }
        RestUser::List { via } => print::rest_users(&via, via.get(Path::of(&[REST_USERS]))?),
        RestUser::Disable { name, via } => changed(&via, &name, json!({ "disabled": true })),
        RestUser::Enable { name, via } => changed(&via, &name, json!({ "disabled": false })),
        RestUser::Remove { name, via } => {
            let answer = via.delete(Path::of(&[REST_USERS, &name]))?;
            print::removed_rest_user(&via, &answer, &name);
            Ok(())
        }
        RestUser::Allow { name, may, via } => changed(&via, &name, json!({ "permissions": may })),
        RestUser::SetPassword { name, password, via } => {
            let body = match password.read()? {
                Some(text) => json!({ "password": text.as_str() }),
                None => json!({ "new_password": true }),
            };
            print::new_rest_user(&via, via.patch(Path::of(&[REST_USERS, &name]), body)?)
        }
        RestUser::TestCommand { name, host, ca_out, via } => test_command(&via, &name, host, ca_out),
    }
}

fn changed(via: &Via, name: &str, body: Value) -> Result<(), Failure> {
    print::rest_user(via, via.patch(Path::of(&[REST_USERS, name]), body)?)
}

/// The password is asked for by curl: it stands neither in a command line nor in a history.
fn test_command(via: &Via, name: &str, host: Option<String>, ca_out: Option<PathBuf>) -> Result<(), Failure> {
    let (host, file) = match (host, ca_out, via.data_dir.as_deref()) {
        (Some(host), Some(file), _) => (host, file),
        (host, file, Some(folder)) => {
            (host.map_or_else(|| place(folder), Ok)?, file.unwrap_or_else(|| folder.join("rest-ca.pem")))
        }
        (host, file, None) => {
            let wanted = [("--host HOST:PORT", host.is_none()), ("--ca-out FILE", file.is_none())];
            let missing: Vec<&str> = wanted.into_iter().filter(|(_, is_missing)| *is_missing).map(|(option, _)| option).collect();
            return Err(Failure::new(code::USAGE, format!("give {}: the gateway is not on this machine", missing.join(" and "))));
        }
    };
    let user = via.get(Path::of(&[REST_USERS, name]))?;
    let text = |field: &str| user[field].as_str().unwrap_or_default();
    std::fs::write(&file, text("ca")).map_err(|error| Failure::new(code::FAILED, format!("cannot write {}: {error}", file.display())))?;
    let command =
        format!("curl --silent --show-error --cacert {} --user {} https://{host}{TEST_PATH}", quoted(&file.display().to_string()), text("name"));
    if via.json {
        println!("{}", json!({ "command": command, "host": host, "user": text("name"), "certificate": file.display().to_string() }));
    } else {
        println!("{command}");
    }
    Ok(())
}

/// Where a client of this gateway finds the REST key server: the bound address where it is one of this machine, else the first name
/// of the server certificate.
fn place(data_dir: &FilePath) -> Result<String, Failure> {
    let dir = DataDir::open(data_dir)?;
    let (_, config) = load(data_dir, &[])?;
    let bound = std::fs::read_to_string(dir.listeners()).ok();
    let bound: Option<std::collections::BTreeMap<String, SocketAddr>> = bound.and_then(|text| serde_json::from_str(&text).ok());
    let bound = bound.and_then(|listeners| listeners.get("clients").copied()).or(config.http.clients);
    let bound = bound.ok_or_else(|| Failure::new(code::FAILED, "the REST key server is not served: clients.listen is off"))?;
    if !bound.ip().is_unspecified() {
        return Ok(bound.to_string());
    }
    Ok(match config.tls_hosts.first() {
        Some(SubjectAltName::Dns(name)) => format!("{name}:{}", bound.port()),
        Some(SubjectAltName::Ip(address)) => SocketAddr::new(*address, bound.port()).to_string(),
        None => format!("localhost:{}", bound.port()),
    })
}

/// For a POSIX shell: one word, whatever is in it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl PasswordSource {
    fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let input = self.password_file.clone().map(SecretInput::File).or(self.password_fd.map(SecretInput::Descriptor));
        let Some(input) = input else { return Ok(None) };
        let secret = input.read()?;
        let text = std::str::from_utf8(secret.expose()).map_err(|_| Failure::new(code::USAGE, "the password is not UTF-8"))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    /// A path with a blank or a quote stays one word.
    #[test]
    fn paths_stay_one_word() {
        assert_eq!(quoted("/var/lib/keygate/rest-ca.pem"), "/var/lib/keygate/rest-ca.pem");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(quoted("$(x)"), "'$(x)'");
    }
}
