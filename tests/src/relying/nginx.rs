//! nginx: `ssl_verify_client on` with `ssl_crl`, which holds the lists of every CA of the chain.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::server::{Server, write_identity};
use super::{Device, RelyingParty, Trust, Verdict, write_files, write_key};
use crate::tools;

/// nginx, a new process for each question: it reads CRLs only when it starts or reloads.
#[derive(Clone, Copy, Debug)]
pub struct Nginx;

impl RelyingParty for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn judge(&self, folder: &Path, trust: &Trust, device: &Device) -> io::Result<Verdict> {
        write_files(folder, trust, device)?;
        write_identity(folder)?;
        let key = write_key(folder, device)?;
        let configure = |port: u16| fs::write(folder.join("nginx.conf"), configuration(folder, port));
        let command = || -> io::Result<Command> {
            let mut command = Command::new(tools::program("nginx")?);
            command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]);
            Ok(command)
        };
        let server = Server::start(folder, configure, command)?;
        match server.ask(folder, &folder.join("chain.pem"), &key)? {
            Ok((200, body)) if body == "SUCCESS" => Ok(Verdict::Accepted),
            // `$ssl_client_verify` is "FAILED:certificate revoked".
            Ok((403, body)) if body.starts_with("FAILED:") => Ok(Verdict::Refused(body)),
            other => Err(io::Error::other(format!("nginx: {other:?}"))),
        }
    }
}

fn configuration(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {folder}/temp-{kind};\n"))
        .collect();
    // 495 is nginx's own status of a certificate that did not verify.
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n{temporary}\
         \x20   server {{\n        listen 127.0.0.1:{port} ssl;\n        ssl_certificate {folder}/server.pem;\n        \
         ssl_certificate_key {folder}/server.key;\n        ssl_client_certificate {folder}/anchors.pem;\n        \
         ssl_verify_client on;\n        ssl_verify_depth 4;\n        ssl_crl {folder}/crls.pem;\n        \
         ssl_session_tickets off;\n        error_page 495 = @refused;\n        \
         location / {{ return 200 $ssl_client_verify; }}\n        location @refused {{ return 403 $ssl_client_verify; }}\n    }}\n}}\n"
    )
}
