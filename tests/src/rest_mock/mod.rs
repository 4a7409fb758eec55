//! A small key server with a JSON interface, in the style of one of the built-in profiles, for one test process.
//!
//! It is written from the same public descriptions as the profiles and shares no code with the client under test; the
//! cryptography is the software keystore's. It can be told to misbehave.

mod http;
mod keys;
mod styles;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

pub use styles::Style;

/// User name that the server knows.
pub const USER: &str = "keygate";
/// Its password.
pub const PASSWORD: &str = "correct horse";

/// How a server answers other than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It does what is asked, and answers with a key of another name.
    AnotherKey,
    /// It does what is asked, and closes the connection without an answer.
    CloseAfter,
    /// Its answer never ends.
    Endless,
    /// It does nothing and answers 500.
    Failing,
    /// A page of HTML, with status 200.
    Html,
    /// As [`Misbehaviour::CloseAfter`], once.
    LoseOneAnswer,
    /// It never answers.
    Silence,
    /// It does what is asked, so many milliseconds later.
    Slow(u64),
}

/// A running server.
#[derive(Debug)]
pub struct RestMock {
    address: SocketAddr,
    folder: TempDir,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    style: Style,
    keys: Mutex<keys::Keys>,
    misbehaviour: Mutex<Option<Misbehaviour>>,
    requests: Mutex<Vec<String>>,
    accepts: Mutex<Accepts>,
}

/// What the server accepts.
#[derive(Clone, Debug)]
struct Accepts {
    password: String,
    /// Tokens of this login and none before.
    login: u32,
}

/// The certificate that a server shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its names: DNS or IP.
    pub names: Vec<String>,
    /// Whether it has expired.
    pub is_expired: bool,
}

impl Default for Shown {
    fn default() -> Self {
        Self { names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()], is_expired: false }
    }
}

impl RestMock {
    /// Starts a server.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(style: Style) -> io::Result<Self> {
        Self::showing(style, &Shown::default())
    }

    /// Starts a server with a certificate.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn showing(style: Style, shown: &Shown) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("rest-mock-").tempdir()?;
        let tls = Arc::new(tls(shown, folder.path())?);
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let shared = Arc::new(Shared {
            style,
            keys: Mutex::default(),
            misbehaviour: Mutex::default(),
            requests: Mutex::default(),
            accepts: Mutex::new(Accepts { password: PASSWORD.to_owned(), login: 1 }),
        });
        let mock = Self { address: listener.local_addr()?, folder, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, tls) = (Arc::clone(&shared), Arc::clone(&tls));
                // A connection that fails is the client's to report.
                thread::spawn(move || drop(serve(&shared, tls, stream)));
            }
        });
        Ok(mock)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its self-signed certificate, PEM.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// From now on.
    pub fn misbehave(&self, how: Option<Misbehaviour>) {
        *lock(&self.shared.misbehaviour) = how;
    }

    /// From now on the server knows another password.
    pub fn change_password(&self, password: &str) {
        password.clone_into(&mut lock(&self.shared.accepts).password);
    }

    /// Tokens that were given out are not accepted any more.
    pub fn expire_tokens(&self) {
        lock(&self.shared.accepts).login += 1;
    }

    /// Method and path of every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }

    /// How many keys it has.
    #[must_use]
    pub fn key_count(&self) -> usize {
        lock(&self.shared.keys).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Shared, tls: Arc<ServerConfig>, stream: TcpStream) -> io::Result<()> {
    let connection = rustls::ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(connection, stream);
    while let Some(request) = http::read(&mut stream)? {
        lock(&shared.requests).push(format!("{} {}", request.method, request.path));
        let how = *lock(&shared.misbehaviour);
        let accepts = lock(&shared.accepts).clone();
        match how {
            Some(Misbehaviour::Silence) => {
                // Ends when the client gives up.
                let _ = http::read(&mut stream);
                return Ok(());
            }
            Some(Misbehaviour::Html) => http::write(&mut stream, 200, "text/html", b"<html>Please log in</html>")?,
            Some(Misbehaviour::Endless) => return http::write_endless(&mut stream),
            Some(Misbehaviour::CloseAfter | Misbehaviour::LoseOneAnswer) => {
                if how == Some(Misbehaviour::LoseOneAnswer) {
                    *lock(&shared.misbehaviour) = None;
                }
                let _ = styles::answer(shared.style, &accepts, &mut lock(&shared.keys), &request);
                return Ok(());
            }
            Some(Misbehaviour::Failing) => http::write(&mut stream, 500, "application/json", b"{}")?,
            Some(Misbehaviour::AnotherKey | Misbehaviour::Slow(_)) | None => {
                if let Some(Misbehaviour::Slow(ms)) = how {
                    thread::sleep(Duration::from_millis(ms));
                }
                let (status, mut json) = styles::answer(shared.style, &accepts, &mut lock(&shared.keys), &request);
                if how == Some(Misbehaviour::AnotherKey) && json.get("name").is_some() {
                    json["name"] = "keygate.far.00000000000000000000000000000000".into();
                }
                http::write(&mut stream, status, "application/json", json.to_string().as_bytes())?;
            }
        }
    }
    Ok(())
}

pub(crate) fn tls(shown: &Shown, folder: &Path) -> io::Result<ServerConfig> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut parameters = CertificateParams::new(shown.names.clone()).map_err(io::Error::other)?;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if shown.is_expired {
        (parameters.not_before, parameters.not_after) =
            (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    }
    let certificate = parameters.self_signed(&key).map_err(io::Error::other)?;
    std::fs::write(folder.join("cert.pem"), certificate.pem())?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(io::Error::other)
}
