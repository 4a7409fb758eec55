//! HAProxy: `verify required` with `crl-file`, which holds the lists of every CA of the chain.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::server::{Server, write_identity};
use super::{Device, RelyingParty, Trust, Verdict, write_files, write_key};
use crate::tools;

/// HAProxy, a new process for each question.
#[derive(Clone, Copy, Debug)]
pub struct Haproxy;

impl RelyingParty for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn judge(&self, folder: &Path, trust: &Trust, device: &Device) -> io::Result<Verdict> {
        write_files(folder, trust, device)?;
        write_identity(folder)?;
        let key = write_key(folder, device)?;
        let configure = |port: u16| fs::write(folder.join("haproxy.cfg"), configuration(folder, port));
        let command = || -> io::Result<Command> {
            let mut command = Command::new(tools::program("haproxy")?);
            command.args(["-db", "-f"]).arg(folder.join("haproxy.cfg"));
            Ok(command)
        };
        let server = Server::start(folder, configure, command)?;
        match server.ask(folder, &folder.join("chain.pem"), &key)? {
            Ok((200, body)) if body == "accepted" => Ok(Verdict::Accepted),
            // It refuses in the handshake: curl tells of the alert, "sslv3 alert certificate revoked".
            Err(words) if words.contains("alert") => Ok(Verdict::Refused(words)),
            other => Err(io::Error::other(format!("haproxy: {other:?}"))),
        }
    }
}

fn configuration(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "global\n    maxconn 32\n    nbthread 1\n    log stderr local0 warning\ndefaults\n    mode http\n    timeout connect 20s\n    \
         timeout client 20s\n    timeout server 20s\nfrontend devices\n    bind 127.0.0.1:{port} ssl crt {folder}/server.both \
         ca-file {folder}/anchors.pem verify required crl-file {folder}/crls.pem\n    \
         http-request return status 200 content-type text/plain string accepted\n"
    )
}
