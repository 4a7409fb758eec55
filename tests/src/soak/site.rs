//! The servers of a soak.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;

use super::place::{FAR, FRONT, MOCK, PYKMIP, TOKENS, VAULT};
use crate::est::{Account, Server};
use crate::forwarder::Forwarder;
use crate::gateway::{Setup, TestGateway};
use crate::provisioning::{Key, Service};
use crate::pykmip_server::PykmipServer;
use crate::rest_mock::{PASSWORD, RestMock, Style, USER};
use crate::shim::Shim;
use crate::softhsm::Token;

/// What REST users of either gateway may.
const MAY: &str = "keys:create,keys:read,keys:export,keys:update,keys:state,keys:rotate,keys:delete,crypto:encrypt,crypto:decrypt,\
                   crypto:sign,crypto:verify,crypto:mac,crypto:random";
/// Users of the gateway's own REST front.
const REST_USERS: usize = 2;
/// Size of the file system that the gateway's data is on. It is filled up on purpose; before, it has to hold the whole run.
const DISK: &std::ffi::CStr = c"size=3g";

/// All of them, running.
pub(super) struct Site {
    pub(super) service: Service,
    pub(super) kmip: SocketAddr,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) far: TestGateway,
    pub(super) wires: Wires,
    pub(super) mock: RestMock,
    pub(super) shim: Shim,
    pub(super) tokens: Vec<Token>,
    /// Folder of each token's objects.
    pub(super) storage: Vec<PathBuf>,
    pub(super) rest_users: Vec<Account>,
    pub(super) provisioning: Key,
    /// What may stand in no log, with a name for it.
    pub(super) secrets: Vec<(String, String)>,
    _pykmip: PykmipServer,
    /// The last to go: everything else is in it.
    pub(super) disk: Option<Disk>,
}

/// The networks to the key servers.
pub(super) struct Wires {
    pub(super) far: Forwarder,
    pub(super) front: Forwarder,
    pub(super) pykmip: Forwarder,
    pub(super) mock: Forwarder,
}

impl Wires {
    /// Those to the second Keygate.
    pub(super) fn to_far(&self) -> [&Forwarder; 2] {
        [&self.far, &self.front]
    }
}

impl Site {
    /// Starts everything. Nothing fails on purpose yet.
    pub(super) fn build(say: &(dyn Fn(&str) + Sync)) -> io::Result<Self> {
        let disk = Disk::mount();
        if disk.is_none() {
            say("no right to mount a file system: the disk will not be filled");
        }
        let mut far = Setup::new().prepare()?;
        far.start()?;
        pin_addresses(&mut far);
        let far_password = rest_user(&far, "gateway");
        let far_password_file = far.secret_file("front.password", &far_password)?;
        let pykmip = PykmipServer::start(far.scratch())?;
        let mock = RestMock::start(Style::Eskm)?;
        let pykmip_address = pykmip.address().parse().map_err(io::Error::other)?;
        let wires = Wires {
            far: Forwarder::to(far.address("kmip"))?,
            front: Forwarder::to(far.address("clients"))?,
            pykmip: Forwarder::to(pykmip_address)?,
            mock: Forwarder::to(mock.address())?,
        };
        let (tokens, storage) = make_tokens(&far.scratch().join("hsm"))?;
        let mock_password_file = far.secret_file("mock.password", PASSWORD)?;

        let far_folder = far.client_folder("a");
        let mut tables = kmip_table(FAR, &format!("localhost:{}", wires.far.address().port()), &far_folder, "");
        tables += &kmip_table(PYKMIP, &wires.pykmip.address().to_string(), pykmip.client_folder(), "fetch = true\n");
        tables += &rest_table(FRONT, "eskm-style", &wires.front, ("ca-file", &far_folder.join("ca.pem")), ("gateway", &far_password_file), "");
        let trust = ("pinned-file", mock.certificate_file());
        tables += &rest_table(MOCK, "eskm-style", &wires.mock, (trust.0, &trust.1), (USER, &mock_password_file), "fetch = true\n");

        let mut setup = Setup::new();
        if let Some(disk) = &disk {
            setup = setup.below(disk.folder());
        }
        let shim = std::sync::OnceLock::new();
        let mut service = Service::start_disabled_with(&setup, &|gateway| {
            gateway.configure(&tables);
            match Shim::before(&tokens[0], gateway) {
                Ok(made) => {
                    for (token, name) in tokens.iter().zip(TOKENS) {
                        Token { module: made.token.module.clone(), ..token.clone() }.join(gateway, name, 2);
                    }
                    // A port that was taken meanwhile makes a second gateway, and a second control file.
                    let _ = shim.set(made);
                }
                Err(error) => say(&format!("the shim cannot be built: {error}")),
            }
        });
        let shim = shim.into_inner().ok_or_else(|| io::Error::other("there is no shim"))?;
        pin_addresses(&mut service.gateway);
        let gateway = &service.gateway;
        for arguments in [
            &["keystore", "add", VAULT, "--kind", "local"][..],
            &["keystore", "test", VAULT],
            &["keystore", "activate", VAULT, "--confirm", VAULT, "--keep-default"],
            &["service", "enable", "--yes"],
        ] {
            service.ok(arguments);
        }
        let rest_users: Vec<Account> = (0..REST_USERS)
            .map(|number| {
                let id = format!("lan-{number}");
                Account { secret: rest_user(gateway, &id), id }
            })
            .collect();
        let provisioning = service.create("soak");
        let mut secrets = vec![
            ("the password of the second gateway's REST user".to_owned(), far_password),
            ("the mock's password".to_owned(), PASSWORD.to_owned()),
            ("the provisioning key's secret".to_owned(), provisioning.account.secret.clone()),
        ];
        for token in &tokens {
            secrets.push((format!("the PIN of {}", token.label), token.pin()?));
        }
        secrets.extend(rest_users.iter().map(|user| (format!("the password of {}", user.id), user.secret.clone())));
        let (kmip, tls) = (gateway.address("kmip"), Arc::new(gateway.client("a").tls()?));
        Ok(Self { kmip, tls, far, wires, mock, shim, tokens, storage, rest_users, provisioning, secrets, _pykmip: pykmip, disk, service })
    }

    /// The gateway under test.
    pub(super) fn gateway(&mut self) -> &mut TestGateway {
        &mut self.service.gateway
    }

    /// Its clients listener as curl sees it.
    pub(super) fn clients(&self) -> Server {
        self.service.est()
    }

    /// What `/ready` answers, when it is not 200.
    pub(super) fn not_ready(&self) -> Option<String> {
        match ask_ready(self.service.gateway.address("status")) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => None,
            Ok(answer) => Some(answer.split("\r\n\r\n").last().unwrap_or_default().to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Memory of the gateway's process, in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.service.gateway.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
    }
}

fn ask_ready(address: SocketAddr) -> io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: status\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Its next starts listen where this one does.
fn pin_addresses(gateway: &mut TestGateway) {
    for listener in ["kmip", "status", "clients", "admin"] {
        let address = gateway.address(listener).to_string();
        gateway.set(&format!("{listener}.listen"), &address);
    }
}

fn rest_user(gateway: &TestGateway, name: &str) -> String {
    gateway.keygate_ok(&["rest-user", "add", name, "--client", "a", "--may", MAY]).trim().to_owned()
}

/// Two tokens of one module, and where each keeps its objects.
fn make_tokens(folder: &Path) -> io::Result<(Vec<Token>, Vec<PathBuf>)> {
    let (mut tokens, mut storage, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    for name in TOKENS {
        tokens.push(Token::make(folder, name)?);
        let all: BTreeSet<PathBuf> = fs::read_dir(folder.join("tokens"))?.flatten().map(|entry| entry.path()).collect();
        storage.extend(all.difference(&known).cloned());
        known = all;
    }
    Ok((tokens, storage))
}

fn kmip_table(name: &str, address: &str, client: &Path, more: &str) -> String {
    let mut table = format!("\n[[keystore]]\nname = \"{name}\"\nkind = \"kmip\"\naddresses = [\"{address}\"]\n");
    for (setting, file) in [("ca-file", "ca.pem"), ("cert-file", "cert.pem"), ("key-file", "key.pem")] {
        // Writing to a string does not fail.
        let _ = writeln!(table, "{setting} = \"{}\"", client.join(file).display());
    }
    table + more
}

fn rest_table(name: &str, profile: &str, wire: &Forwarder, trust: (&str, &Path), user: (&str, &Path), more: &str) -> String {
    format!(
        "\n[[keystore]]\nname = \"{name}\"\nkind = \"rest\"\nprofile = \"{profile}\"\naddresses = [\"localhost:{}\"]\n{} = \"{}\"\n\
         user = \"{}\"\npassword-file = \"{}\"\n{more}",
        wire.address().port(),
        trust.0,
        trust.1.display(),
        user.0,
        user.1.display(),
    )
}

/// A file system of a bounded size, for the gateway's data.
pub(super) struct Disk {
    mount: tempfile::TempDir,
}

impl Disk {
    /// `None` without the right to mount.
    fn mount() -> Option<Self> {
        let mount = tempfile::Builder::new().prefix("keygate-soak-").tempdir().ok()?;
        rustix::mount::mount("tmpfs", mount.path(), "tmpfs", rustix::mount::MountFlags::empty(), Some(DISK)).ok()?;
        Some(Self { mount })
    }

    pub(super) fn folder(&self) -> &Path {
        self.mount.path()
    }

    /// Fills it up.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut filler = fs::File::create(self.filler())?;
        let piece = vec![0; 1 << 20];
        loop {
            match io::Write::write_all(&mut filler, &piece) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes room again.
    pub(super) fn empty(&self) -> io::Result<()> {
        fs::remove_file(self.filler())
    }

    fn filler(&self) -> PathBuf {
        self.mount.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.mount.path(), rustix::mount::UnmountFlags::DETACH);
    }
}
