//! A running `keygate`: the real binary, a data folder of its own, ports of the system's choosing.
//!
//! `keygate init` runs once for the whole test process; every gateway starts on a copy of that folder, so that a test
//! pays for a start and not for key generation. When a test fails, what the server printed is shown.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Credentials, TlsKmipClient};

/// How a gateway is to run.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    settings: BTreeMap<String, String>,
    init: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

impl Setup {
    /// As `keygate init` leaves it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a setting of `keygate.toml` overridden.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With arguments for `keygate init`; the gateway then gets a folder initialised for it alone.
    #[must_use]
    pub fn init(mut self, arguments: &[&str]) -> Self {
        self.init = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// With a variable in the server's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the data folder below a folder of the test's, such as a small file system.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it does not start: the test cannot go on.
    #[must_use]
    pub fn start(self) -> TestGateway {
        match self.prepare().and_then(|mut gateway| gateway.start().map(|()| gateway)) {
            Ok(gateway) => gateway,
            Err(error) => panic!("keygate does not start: {error}"),
        }
    }

    /// Makes the data folder without starting a server.
    ///
    /// # Errors
    /// If `keygate init` fails.
    pub fn prepare(self) -> io::Result<TestGateway> {
        let folder = match &self.folder {
            Some(parent) => tempfile::Builder::new().prefix("keygate-").tempdir_in(parent)?,
            None => tempfile::Builder::new().prefix("keygate-").tempdir()?,
        };
        let data = folder.path().join("data");
        if self.init.is_empty() {
            copy_folder(template()?, &data)?;
        } else {
            let mut command = keygate()?;
            command.arg("init").arg("--data-dir").arg(&data).args(&self.init).envs(self.environment.iter().cloned());
            succeed(&mut command)?;
        }
        Ok(TestGateway { folder, data, setup: self, process: None, addresses: BTreeMap::new() })
    }
}

/// A gateway of a test, running or stopped.
#[derive(Debug)]
pub struct TestGateway {
    folder: TempDir,
    data: PathBuf,
    setup: Setup,
    process: Option<Child>,
    addresses: BTreeMap<String, SocketAddr>,
}

/// How long a server may take to listen, in a debug build on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(120);

impl TestGateway {
    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A folder of the test's own, gone when the gateway is dropped.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The address of a listener: `kmip`, `status`...
    ///
    /// # Panics
    /// If the server does not have it.
    #[must_use]
    pub fn address(&self, listener: &str) -> SocketAddr {
        match self.addresses.get(listener) {
            Some(address) => *address,
            None => panic!("no listener `{listener}` in {:?}", self.addresses),
        }
    }

    /// Starts the server on its data folder.
    ///
    /// # Errors
    /// If it exits or does not listen in time; what it printed is in the error.
    pub fn start(&mut self) -> io::Result<()> {
        let listeners = self.data.join("run/listeners.json");
        let _ = fs::remove_file(&listeners);
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = keygate()?;
        command.arg("serve").arg("--data-dir").arg(&self.data);
        for listener in ["kmip", "status", "clients", "admin", "public"] {
            command.arg("--set").arg(format!("{listener}.listen=127.0.0.1:0"));
        }
        for (name, value) in &self.setup.settings {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        command.envs(self.setup.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = command.spawn()?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(addresses) = read_listeners(&listeners) {
                self.addresses = addresses;
                self.process = Some(process);
                return Ok(());
            }
            if let Some(status) = process.try_wait()? {
                return Err(io::Error::other(format!("serve ended with {status}\n{}", self.log())));
            }
            if Instant::now() > deadline {
                process.kill()?;
                process.wait()?;
                return Err(io::Error::other(format!("serve does not listen after {START_TIMEOUT:?}\n{}", self.log())));
            }
            // The file appears once, atomically; this is how soon it is noticed, not how long anything is waited for.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a server that was started sealed has its listeners, after it was unsealed.
    ///
    /// # Errors
    /// If it exits or does not listen in time; what it printed is in the error.
    pub fn await_unsealed(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(addresses) = read_listeners(&self.data.join("run/listeners.json"))
                && addresses.contains_key("kmip")
            {
                self.addresses = addresses;
                return Ok(());
            }
            if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(io::Error::other(format!("serve ended with {status}\n{}", self.log())));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("serve is not unsealed after {START_TIMEOUT:?}\n{}", self.log())));
            }
            // As at the start: how soon the file is noticed.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops the server as an operator does (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// If it does not end, or not with success.
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        signal(&process, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("serve ended with {status}\n{}", self.log()))),
                None if Instant::now() > deadline => {
                    process.kill()?;
                    process.wait()?;
                    return Err(io::Error::other(format!("serve does not end on SIGTERM\n{}", self.log())));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Ends the server as a power cut does for a process (SIGKILL).
    ///
    /// # Errors
    /// If there is no process.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill()?;
        process.wait().map(|_| ())
    }

    /// Sends SIGABRT and tells how the process ended.
    ///
    /// # Errors
    /// If there is no process.
    pub fn abort(&mut self) -> io::Result<ExitStatus> {
        let mut process = self.process.take().ok_or(io::ErrorKind::NotFound)?;
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::ABORT)?;
        process.wait()
    }

    /// A file of the test's that only its owner can read, for passwords and PINs.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn secret_file(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.folder.path().join(name);
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(path)
    }

    /// Overrides a setting from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.setup.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Sets a variable in the server's environment from the next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.setup.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Appends to `keygate.toml`.
    ///
    /// # Panics
    /// If it is not there.
    pub fn configure(&self, text: &str) {
        let path = self.data.join("keygate.toml");
        let written = File::options().append(true).open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(error) = written {
            panic!("{}: {error}", path.display());
        }
    }

    /// Runs an admin command on this data folder.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn keygate(&self, arguments: &[&str]) -> io::Result<Output> {
        self.keygate_command(arguments)?.output()
    }

    /// An admin command on this data folder, to be run.
    ///
    /// # Errors
    /// If there is no binary.
    pub fn keygate_command(&self, arguments: &[&str]) -> io::Result<Command> {
        let mut command = keygate()?;
        command.args(arguments).arg("--data-dir").arg(&self.data).envs(self.setup.environment.iter().cloned());
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Runs an admin command that must succeed and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn keygate_ok(&self, arguments: &[&str]) -> String {
        match self.keygate(arguments) {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
            Ok(output) => panic!("keygate {arguments:?}: {}", describe(&output)),
            Err(error) => panic!("keygate {arguments:?}: {error}"),
        }
    }

    /// Credentials of a client, which is added if it does not exist.
    ///
    /// # Panics
    /// If it cannot be added.
    #[must_use]
    pub fn client(&self, name: &str) -> Credentials {
        match Credentials::read(&self.client_folder(name)) {
            Ok(credentials) => credentials,
            Err(error) => panic!("credentials of {name}: {error}"),
        }
    }

    /// The folder with `ca.pem`, `cert.pem` and `key.pem` of a client, which is added if it does not exist.
    ///
    /// # Panics
    /// If it cannot be added.
    #[must_use]
    pub fn client_folder(&self, name: &str) -> PathBuf {
        let folder = self.data.join("test-clients").join(name);
        if !folder.exists() {
            let out = folder.to_string_lossy().into_owned();
            let _ = self.keygate_ok(&["client", "add", name, "--out", &out]);
        }
        folder
    }

    /// A connection as a client.
    ///
    /// # Panics
    /// If it cannot connect.
    #[must_use]
    pub fn connect(&self, name: &str) -> TlsKmipClient {
        match TlsKmipClient::connect(self.address("kmip"), &self.client(name)) {
            Ok(client) => client,
            Err(error) => panic!("connecting as {name}: {error}\n{}", self.log()),
        }
    }

    /// What the server has printed.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("serve.log")
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        let _ = self.kill();
        if std::thread::panicking() {
            eprintln!("--- what keygate printed ---\n{}---", self.log());
        }
    }
}

/// A command that runs the binary under test.
///
/// # Errors
/// If there is none and it cannot be built.
pub fn keygate() -> io::Result<Command> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BINARY.get_or_init(|| find_or_build().map_err(|error| error.to_string())) {
        Ok(path) => Ok(Command::new(path)),
        Err(error) => Err(io::Error::other(error.clone())),
    }
}

/// `KEYGATE_BIN`, or the binary beside the test, brought up to date by cargo.
fn find_or_build() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("KEYGATE_BIN") {
        return fs::canonicalize(path);
    }
    Ok(build(&["--package", "keygate", "--bin", "keygate"])?.join("keygate"))
}

/// Brings a package up to date and tells the folder that its products are in.
pub(crate) fn build(what: &[&str]) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.ancestors().skip(1).find(|folder| folder.join(".fingerprint").exists());
    let profile =
        profile.ok_or_else(|| io::Error::other("the test does not run from a target folder; set KEYGATE_BIN"))?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet"]).args(what).current_dir(workspace());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    if let Some(target) = profile.parent() {
        build.env("CARGO_TARGET_DIR", target);
    }
    succeed(&mut build)?;
    Ok(profile.to_owned())
}

/// The workspace of the project.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The folder `keygate init` has made, with clients `a`, `b` and `c`.
fn template() -> io::Result<&'static Path> {
    static TEMPLATE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = TEMPLATE.get_or_init(|| make_template().map_err(|error| error.to_string()));
    made.as_deref().map_err(|error| io::Error::other(error.clone()))
}

fn make_template() -> io::Result<PathBuf> {
    // Lives as long as the process and is removed by the next run: one folder per process id.
    let folder = std::env::temp_dir().join(format!("keygate-template-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder)?;
    let data = folder.join("data");
    succeed(keygate()?.arg("init").arg("--data-dir").arg(&data))?;
    for name in ["a", "b", "c"] {
        let out = data.join("test-clients").join(name);
        succeed(keygate()?.args(["client", "add", name, "--data-dir"]).arg(&data).arg("--out").arg(out))?;
    }
    Ok(data)
}

/// Removes the template folder of this process; call at the end of a binary that started gateways.
pub fn remove_template() {
    let _ = fs::remove_dir_all(std::env::temp_dir().join(format!("keygate-template-{}", std::process::id())));
}

/// Copies a folder with the rights of its files.
///
/// # Errors
/// If something cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn read_listeners(path: &Path) -> Option<BTreeMap<String, SocketAddr>> {
    let listeners: BTreeMap<String, serde_json::Value> = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let address = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse().ok());
    let addresses: BTreeMap<_, _> =
        listeners.iter().filter_map(|(name, value)| Some((name.clone(), address(value)?))).collect();
    // Written whole; of a sealed server it names the status listener alone.
    (!addresses.is_empty()).then_some(addresses)
}

fn signal(process: &Child, signal: rustix::process::Signal) -> io::Result<()> {
    let id = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw);
    let id = id.ok_or_else(|| io::Error::other("no process id"))?;
    rustix::process::kill_process(id, signal).map_err(io::Error::from)
}

/// Runs a command that must succeed.
///
/// # Errors
/// If it fails, with what it printed.
pub fn succeed(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(format!("{command:?}: {}", describe(&output))))
}

fn describe(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
