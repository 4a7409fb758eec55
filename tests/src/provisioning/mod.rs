//! A running gateway whose provisioning service is on: commands of the administrator, enrolment as a device does it.
//!
//! Everything goes through what others have too: the commands `keygate service|provisioning-key|ca|cert`, EST and the JSON API
//! on the clients listener, plain HTTP on the public one.

pub mod json;
pub mod source;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::client::{Credentials, TlsKmipClient};
use crate::est::curl::{self, Answer, Shown};
use crate::est::{Account, Request, Server};
use crate::gateway::{Setup, TestGateway};
use crate::pem;
use crate::relying::Device;
use crate::relying::addresses::{fetch, serial};

/// A gateway with the service.
#[derive(Debug)]
pub struct Service {
    /// The gateway.
    pub gateway: TestGateway,
    folders: AtomicUsize,
}

/// A provisioning key, as its creator was told.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its public id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Id and secret.
    pub account: Account,
}

/// How often another port is tried for the public listener.
const PORTS_TRIED_MAX: usize = 8;

impl Service {
    /// A gateway with the service enabled.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let service = Self::start_disabled(&Setup::new());
        service.ok(&["service", "enable", "--yes"]);
        service
    }

    /// A gateway as `keygate init` leaves it, the service off. Its public address is known beforehand, because it is written into
    /// certificates.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_disabled(setup: &Setup) -> Self {
        Self::start_disabled_with(setup, &|_| {})
    }

    /// The same, with something done to the data folder before the first start.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_disabled_with(setup: &Setup, prepare: &dyn Fn(&mut TestGateway)) -> Self {
        let mut last = None;
        for _ in 0..PORTS_TRIED_MAX {
            let started = free_port().and_then(|port| {
                let public = format!("127.0.0.1:{port}");
                let setup = setup.clone().set("public.listen", &public).set("public.url", &format!("http://{public}"));
                let mut gateway = setup.prepare()?;
                prepare(&mut gateway);
                gateway.start()?;
                Ok(gateway)
            });
            match started {
                Ok(gateway) => return Self { gateway, folders: AtomicUsize::new(0) },
                Err(error) => last = Some(error),
            }
        }
        panic!("keygate does not start: {last:?}")
    }

    /// A new folder of the test's.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let folder = self.gateway.scratch().join(format!("step-{}", self.folders.fetch_add(1, Ordering::Relaxed)));
        if let Err(error) = std::fs::create_dir_all(&folder) {
            panic!("{}: {error}", folder.display());
        }
        folder
    }

    /// Runs an administrator's command: what it printed, or what it complained of.
    ///
    /// # Errors
    /// If it fails: both its streams.
    pub fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.gateway.keygate(arguments).map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// If it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.command(arguments).unwrap_or_else(|error| panic!("keygate {arguments:?}: {error}"))
    }

    /// Runs a command that prints JSON.
    ///
    /// # Panics
    /// If it fails or prints something else.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("keygate {arguments:?}: {error}: {printed}"))
    }

    /// `provisioning-key create`.
    ///
    /// # Errors
    /// What the command complained of.
    pub fn try_create(&self, name: &str) -> Result<Key, String> {
        self.try_created(&["provisioning-key", "create", name])
    }

    /// A key made by a command of the test's own.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn created(&self, command: &[&str]) -> Key {
        self.try_created(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    fn try_created(&self, command: &[&str]) -> Result<Key, String> {
        let printed = self.command(&[command, &["--json"]].concat())?;
        let made: Value = serde_json::from_str(&printed).map_err(|error| error.to_string())?;
        let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
        let secret = text("secret");
        let Some((id, secret)) = secret.split_once('.').filter(|(id, _)| *id == text("id")) else {
            return Err("`secret` is not `id.secret`".to_owned());
        };
        let account = Account { id: id.to_owned(), secret: secret.to_owned() };
        Ok(Key { id: text("id"), name: text("name"), account })
    }

    /// A new key.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn create(&self, name: &str) -> Key {
        self.try_create(name).unwrap_or_else(|error| panic!("creating {name}: {error}"))
    }

    /// The state the gateway shows for a key: `active`, `suspended`, `revoked`.
    #[must_use]
    pub fn state(&self, key: &Key) -> String {
        self.json(&["provisioning-key", "show", &key.id])["state"].as_str().unwrap_or_default().to_lowercase()
    }

    /// `provisioning-key suspend`, `reactivate` or `revoke`, with a reason and the acknowledgement.
    ///
    /// # Panics
    /// If it is refused.
    pub fn change(&self, what: &str, key: &Key) {
        self.ok(&["provisioning-key", what, &key.id, "--reason", "asked for by a test", "--yes"]);
    }

    /// The clients listener as EST clients see it.
    #[must_use]
    pub fn est(&self) -> Server {
        let port = self.gateway.address("clients").port();
        Server { url: format!("https://localhost:{port}"), ca: self.gateway.client_folder("a").join("ca.pem") }
    }

    /// A URL on the public listener.
    #[must_use]
    pub fn public(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address("public"))
    }

    /// Fetches from the public listener.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub fn fetch(&self, path: &str) -> io::Result<Vec<u8>> {
        fetch(&self.folder(), &self.public(path))
    }

    /// A new P-256 key and its request.
    ///
    /// # Panics
    /// If OpenSSL is not installed.
    #[must_use]
    pub fn request(&self, name: &str) -> Request {
        Request::new(&self.folder(), name, "DNS:device.example,IP:192.0.2.1").unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the server answers to an enrolment with curl.
    ///
    /// # Panics
    /// If there is no answer at all.
    #[must_use]
    pub fn enrol_answer(&self, account: &Account, csr: &[u8]) -> Answer {
        let answer = curl::simpleenroll(&self.est(), &self.folder(), Shown::Account(account), csr);
        answer.unwrap_or_else(|error| panic!("simpleenroll: {error}"))
    }

    /// Enrols a device with curl.
    ///
    /// # Errors
    /// If it is refused.
    pub fn try_enrol(&self, key: &Key, name: &str) -> io::Result<Device> {
        let (request, folder) = (self.request(name), self.folder());
        let issued = self.enrol_answer(&key.account, &request.csr).certificates(&folder)?;
        let leaf = issued.first().ok_or_else(|| io::Error::other("no certificate in the answer"))?;
        request.device(leaf, &self.cas()?)
    }

    /// A device that has enrolled.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn enrol(&self, key: &Key, name: &str) -> Device {
        self.try_enrol(key, name).unwrap_or_else(|error| panic!("enrolling {name}: {error}"))
    }

    /// What `/cacerts` gives.
    ///
    /// # Errors
    /// If there is no answer, or no certificates in it.
    pub fn cas(&self) -> io::Result<Vec<Vec<u8>>> {
        let folder = self.folder();
        curl::cacerts(&self.est(), &folder)?.certificates(&folder)
    }

    /// What the server answers to a renewal with a device's certificate and a new key.
    ///
    /// # Errors
    /// If the TLS handshake is refused.
    pub fn renew_answer(&self, device: &Device, csr: &[u8]) -> io::Result<Answer> {
        curl::simplereenroll(&self.est(), &self.folder(), Shown::Device(device), csr)
    }

    /// A device's credentials for KMIP.
    ///
    /// # Panics
    /// If they are not PEM.
    #[must_use]
    pub fn credentials(&self, device: &Device) -> Credentials {
        let made = || -> io::Result<Credentials> {
            use rustls::pki_types::pem::PemObject as _;
            let key =
                rustls::pki_types::PrivateKeyDer::from_pem_slice(device.key.as_bytes()).map_err(io::Error::other)?;
            let roots = self.gateway.client("a").roots;
            Ok(Credentials { chain: pem::certificates(&device.chain)?, key, roots })
        };
        made().unwrap_or_else(|error| panic!("credentials: {error}"))
    }

    /// A KMIP connection with a device's certificate; the handshake completes with the first message.
    ///
    /// # Errors
    /// If the socket is refused.
    pub fn kmip(&self, device: &Device) -> io::Result<TlsKmipClient> {
        TlsKmipClient::connect(self.gateway.address("kmip"), &self.credentials(device))
    }

    /// `cert revoke` of a device's certificate.
    ///
    /// # Panics
    /// If it is refused.
    pub fn revoke_device(&self, device: &Device) {
        let serial = device.leaf().and_then(|leaf| serial(&leaf));
        let serial = serial.unwrap_or_else(|error| panic!("{error}"));
        self.ok(&["cert", "revoke", &serial, "--reason", "keyCompromise", "--yes"]);
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
