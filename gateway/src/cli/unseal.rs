//! `unseal`: gives a waiting server a share, from a file, standard input, or a terminal that shows nothing of it.

use std::io::{self, BufRead, IsTerminal, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{Failure, args::Unseal, code, output};
use crate::{
    admin::{self, AdminReply, AdminRequest, ConnectError, Password},
    app::SecretInput,
    data_dir::DataDir,
};

/// Longest text that is read as a share.
const SHARE_BYTES_MAX: u64 = 4096;

pub(super) fn run(arguments: &Unseal) -> Result<(), Failure> {
    let dir = DataDir::open(&arguments.data.data_dir)?;
    let json = arguments.data.json;
    let send = |from: &str, request: AdminRequest| -> Result<AdminReply, Failure> {
        admin::send(&dir.admin_socket(), &request).map_err(|error| {
            let failure: Failure = match error {
                ConnectError::NotRunning => {
                    Failure::new(code::FAILED, "no server is waiting on this data directory\nhint: `keygate serve --wait-for-unseal` starts one")
                }
                other => other.into(),
            };
            if from.is_empty() { failure } else { Failure::new(failure.code, format!("{from}: {}", failure.message)) }
        })
    };
    if arguments.reset {
        output::print(&send("", AdminRequest::UnsealReset)?, json);
        return Ok(());
    }
    let mut given = Vec::new();
    if let Some(input) = arguments.data.passphrase.input() {
        let passphrase = Password(STANDARD.encode(input.read()?.expose()));
        given.push((String::new(), AdminRequest::UnsealPassphrase { passphrase }));
    }
    for path in &arguments.data.passphrase.share_file {
        let text = SecretInput::File(path.clone()).read()?;
        given.push((path.display().to_string(), AdminRequest::Unseal { share: password(text.expose()) }));
    }
    if given.is_empty() {
        given.push((String::new(), AdminRequest::Unseal { share: password(&typed()?) }));
    }
    let mut last = None;
    for (from, request) in given {
        last = Some(send(&from, request)?);
    }
    last.iter().for_each(|reply| output::print(reply, json));
    Ok(())
}

/// What is no text is no share, and the server says so.
fn password(text: &[u8]) -> Password {
    Password(std::str::from_utf8(text).unwrap_or_default().to_owned())
}

/// A line from the terminal, unseen; or all of standard input.
fn typed() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let stdin = io::stdin();
    let mut text = Zeroizing::new(Vec::with_capacity(SHARE_BYTES_MAX as usize));
    if stdin.is_terminal() {
        eprint!("share (not shown): ");
        let _unseen = Unseen::new()?;
        stdin.lock().take(SHARE_BYTES_MAX).read_until(b'\n', &mut text)?;
        eprintln!();
    } else {
        stdin.lock().take(SHARE_BYTES_MAX).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// Echo is off as long as this lives.
struct Unseen(Termios);

impl Unseen {
    fn new() -> Result<Self, Failure> {
        let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut unseen = before.clone();
        unseen.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen).map_err(io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to put back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
