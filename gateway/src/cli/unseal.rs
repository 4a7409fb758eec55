//! `unseal`: gives a waiting server a share, from a file, standard input, or a terminal that shows nothing of it; on this machine over
//! the local socket, or elsewhere over HTTPS.

use std::io::{self, IsTerminal as _, Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Failure, api::remote, args::Unseal, code, output, typed};
use crate::{
    admin::{self, AdminReply, AdminRequest, ConnectError, Password, UnsealView},
    app::SecretInput,
    data_dir::DataDir,
};

pub(super) fn run(arguments: &Unseal) -> Result<(), Failure> {
    let Some(server) = &arguments.server else { return here(arguments) };
    let client = remote::connect(server, &arguments.trust, None)?;
    let mut last = None;
    for (from, given) in given(arguments)? {
        let body = match given {
            AdminRequest::Unseal { share } => json!({ "share": share }),
            AdminRequest::UnsealPassphrase { passphrase } => json!({ "passphrase": passphrase }),
            _ => Value::Null,
        };
        let answer = remote::ask(&client, "POST", "/v1/unseal", Some(&body))?;
        if answer.status != 200 {
            let detail = answer.body["detail"].as_str().unwrap_or("the server refuses");
            return Err(named(&from, Failure::new(code::FAILED, detail)));
        }
        let view: UnsealView = serde_json::from_value(answer.body)
            .map_err(|_| Failure::new(code::FAILED, "the server's answer is of another version"))?;
        last = Some(AdminReply::Unseal(view));
    }
    last.iter().for_each(|reply| output::print(reply, arguments.json));
    Ok(())
}

fn here(arguments: &Unseal) -> Result<(), Failure> {
    let missing = || Failure::new(code::USAGE, "give --data-dir D, or --server");
    let dir = DataDir::open(arguments.data_dir.as_ref().ok_or_else(missing)?)?;
    let send = |from: &str, request: AdminRequest| -> Result<AdminReply, Failure> {
        admin::send(&dir.admin_socket(), &request).map_err(|error| {
            let failure: Failure = match error {
                ConnectError::NotRunning => Failure::new(
                    code::FAILED,
                    "no server is waiting on this data directory\nhint: `keygate serve --wait-for-unseal` starts one",
                ),
                other => other.into(),
            };
            named(from, failure)
        })
    };
    if arguments.reset {
        output::print(&send("", AdminRequest::UnsealReset)?, arguments.json);
        return Ok(());
    }
    let mut last = None;
    for (from, request) in given(arguments)? {
        last = Some(send(&from, request)?);
    }
    last.iter().for_each(|reply| output::print(reply, arguments.json));
    Ok(())
}

/// A failure that says which file it is about.
fn named(from: &str, failure: Failure) -> Failure {
    if from.is_empty() { failure } else { Failure::new(failure.code, format!("{from}: {}", failure.message)) }
}

/// What is given, and the file it comes from, where it comes from one.
fn given(arguments: &Unseal) -> Result<Vec<(String, AdminRequest)>, Failure> {
    let mut given = Vec::new();
    for input in arguments.passphrase.inputs() {
        let passphrase = Password(STANDARD.encode(input.read()?.expose()));
        let from = if let SecretInput::File(path) = &input { path.display().to_string() } else { String::new() };
        given.push((from, AdminRequest::UnsealPassphrase { passphrase }));
    }
    for path in &arguments.passphrase.share_file {
        let text = SecretInput::File(path.clone()).read()?;
        given.push((path.display().to_string(), AdminRequest::Unseal { share: password(text.expose()) }));
    }
    if given.is_empty() {
        given.push((String::new(), AdminRequest::Unseal { share: password(&typed()?) }));
    }
    Ok(given)
}

/// What is no text is no share, and the server says so.
fn password(text: &[u8]) -> Password {
    Password(std::str::from_utf8(text).unwrap_or_default().to_owned())
}

/// A line from the terminal, unseen; or all of standard input.
fn typed() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(typed::line("share")?);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(typed::TEXT_BYTES_MAX as usize));
    stdin.lock().take(typed::TEXT_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}
