//! PyKMIP's own server, as `tests/setup.sh` installs it, with a throw-away PKI.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::tools;

/// How long Python may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct PykmipServer {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl PykmipServer {
    /// Starts a server with its data below a folder.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub fn start(below: &Path) -> io::Result<Self> {
        let folder = below.join("pykmip");
        fs::create_dir_all(folder.join("policy"))?;
        make_pki(&folder)?;
        // Freed at once for the server: another process could take it, which then fails the test with what it printed.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let path = |name: &str| folder.join(name).display().to_string();
        let settings = format!(
            "[server]\nhostname=127.0.0.1\nport={port}\ncertificate_path={}\nkey_path={}\nca_path={}\nauth_suite=TLS1.2\n\
             policy_path={}\nenable_tls_client_auth=True\nlogging_level=INFO\ndatabase_path={}\n",
            path("server.pem"),
            path("server.key"),
            path("ca.pem"),
            path("policy"),
            path("pykmip.db"),
        );
        fs::write(folder.join("server.conf"), settings)?;
        let printed = fs::File::create(folder.join("printed"))?;
        let process = Command::new(tools::python())
            .args(["-c", "from kmip.services.server.server import main; main()"])
            .args(["-f", &path("server.conf"), "-l", &path("server.log")])
            // It has children of its own, which end with the group.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .spawn()?;
        let mut server = Self { process, folder, port };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if server.process.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(io::Error::other(format!("PyKMIP does not listen: {}", server.log())));
            }
            // How soon it is noticed, not how long anything is waited for.
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A folder with `ca.pem`, `cert.pem` and `key.pem` of a client.
    #[must_use]
    pub fn client_folder(&self) -> &Path {
        &self.folder
    }

    /// What it has logged and printed.
    #[must_use]
    pub fn log(&self) -> String {
        ["server.log", "printed"].map(|name| fs::read_to_string(self.folder.join(name)).unwrap_or_default()).join("\n")
    }
}

impl Drop for PykmipServer {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("--- what PyKMIP logged ---\n{}---", self.log());
        }
    }
}

/// A CA, a server and a client certificate (P-256), as PEM files.
fn make_pki(folder: &Path) -> io::Result<()> {
    let ca_key = KeyPair::generate().map_err(io::Error::other)?;
    let mut ca = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    ca.distinguished_name.push(DnType::CommonName, "pykmip test CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = ca.self_signed(&ca_key).map_err(io::Error::other)?;
    fs::write(folder.join("ca.pem"), certificate.pem())?;
    let issuer = Issuer::new(ca, ca_key);
    for (file, key_file, name, usage) in [
        ("server.pem", "server.key", "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth),
        ("cert.pem", "key.pem", "keygate", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).map_err(io::Error::other)?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages = vec![usage];
        let certificate = parameters.signed_by(&key, &issuer).map_err(io::Error::other)?;
        fs::write(folder.join(file), certificate.pem())?;
        tools::write_secret(&folder.join(key_file), &key.serialize_pem())?;
    }
    Ok(())
}
