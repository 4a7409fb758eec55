//! A foreign TLS server: started on a free port, asked with curl, ended when it is dropped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};

use super::{printed, run};
use crate::tools;

/// A server process of a test.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
}

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often another port is tried: between choosing a free one and the server's bind, another process may take it.
const PORTS_TRIED_MAX: usize = 8;

impl Server {
    /// Starts the server whose configuration `configure` writes for a port; `command` runs it in the foreground.
    ///
    /// # Errors
    /// If it ends, or does not accept connections in time; what it printed is in the error.
    pub fn start(
        folder: &Path,
        configure: impl Fn(u16) -> io::Result<()>,
        command: impl Fn() -> io::Result<Command>,
    ) -> io::Result<Self> {
        for _ in 0..PORTS_TRIED_MAX {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            configure(port)?;
            let log = folder.join("server.log");
            let output = File::create(&log)?;
            let mut command = command()?;
            command.current_dir(folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let server = Self { process: command.spawn()?, address };
            match server.ready()? {
                Ok(server) => return Ok(server),
                Err(ended) => {
                    let printed = fs::read_to_string(&log).unwrap_or_default();
                    if !["in use", "cannot bind"].iter().any(|taken| printed.contains(taken)) {
                        return Err(io::Error::other(format!("{ended}\n{printed}")));
                    }
                }
            }
        }
        Err(io::Error::other("every port that was free is taken by the time the server binds it"))
    }

    /// Waits until it accepts connections; the inner error says how it ended instead.
    fn ready(mut self) -> io::Result<Result<Self, String>> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // Its own end is looked at first: a port that another process has taken accepts connections too.
            if let Some(status) = self.process.try_wait()? {
                return Ok(Err(format!("the server ended with {status}")));
            }
            if TcpStream::connect(self.address).is_ok() && self.process.try_wait()?.is_none() {
                return Ok(Ok(self));
            }
            if Instant::now() > deadline {
                return Ok(Err(format!("the server does not listen after {START_TIMEOUT:?}")));
            }
            // The port opens once; this is how soon it is noticed, not how long anything is waited for.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for `/` with a client certificate: the status and body, or curl's words where there was no answer.
    ///
    /// # Errors
    /// If curl is not installed.
    pub fn ask(&self, folder: &Path, chain: &Path, key: &Path) -> io::Result<Result<(u16, String), String>> {
        let url = format!("https://localhost:{}/", self.address.port());
        let resolve = format!("localhost:{}:127.0.0.1", self.address.port());
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        let mut arguments =
            vec!["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--resolve", &resolve];
        arguments.extend([
            "--cacert",
            "server.pem",
            "--cert",
            &chain,
            "--key",
            &key,
            "--write-out",
            "\n%{http_code}",
            &url,
        ]);
        let output = run("curl", folder, &arguments)?;
        if !output.status.success() {
            return Ok(Err(printed(&output).trim().to_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
        let status = status.parse().map_err(|error| io::Error::other(format!("curl printed {text:?}: {error}")))?;
        Ok(Ok((status, body.to_owned())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A certificate for `localhost` in `server.pem` and its key in `server.key`; both in `server.both`, as HAProxy wants it.
pub(crate) fn write_identity(folder: &Path) -> io::Result<PathBuf> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
    let certificate = parameters.self_signed(&key).map_err(io::Error::other)?.pem();
    let both = folder.join("server.both");
    fs::write(folder.join("server.pem"), &certificate)?;
    tools::write_secret(&folder.join("server.key"), &key.serialize_pem())?;
    tools::write_secret(&both, &format!("{certificate}{}", key.serialize_pem()))?;
    Ok(both)
}
