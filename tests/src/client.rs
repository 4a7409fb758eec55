//! A blocking KMIP client: TLS by rustls, frames of bytes in and out.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::ttlv::Item;

/// Certificate, key and trust anchor of one client.
#[derive(Debug)]
pub struct Credentials {
    /// Certificates of the client, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// What the server's certificate must chain to.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), roots: self.roots.clone() }
    }
}

impl Credentials {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` from a folder, as `keygate client add` writes them.
    ///
    /// # Errors
    /// If a file is missing or is not PEM.
    pub fn read(folder: &Path) -> io::Result<Self> {
        Self::read_files(&folder.join("cert.pem"), &folder.join("key.pem"), &folder.join("ca.pem"))
    }

    /// Reads the three files.
    ///
    /// # Errors
    /// If a file is missing or is not PEM.
    pub fn read_files(certificate: &Path, key: &Path, ca: &Path) -> io::Result<Self> {
        let certificates = |path: &Path| -> io::Result<Vec<CertificateDer<'static>>> {
            let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|e| named(path, e))?.collect();
            list.map_err(|e| named(path, e))
        };
        Ok(Self {
            chain: certificates(certificate)?,
            key: PrivateKeyDer::from_pem_file(key).map_err(|e| named(key, e))?,
            roots: certificates(ca)?,
        })
    }

    /// A TLS configuration with these credentials.
    ///
    /// # Errors
    /// If the certificate and key do not fit.
    pub fn tls(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots.iter().cloned());
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(io::Error::other)
    }

    /// A TLS configuration that trusts the server but shows no certificate.
    ///
    /// # Errors
    /// Never in practice: the provider supports the default versions.
    pub fn tls_without_certificate(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots.iter().cloned());
        Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

fn named(path: &Path, error: rustls::pki_types::pem::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

/// One connection.
#[derive(Debug)]
pub struct TlsKmipClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// How long a test waits for one answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

impl TlsKmipClient {
    /// Connects to a server that calls itself `localhost`; the handshake completes with the first message.
    ///
    /// # Errors
    /// If the server does not accept the connection.
    pub fn connect(address: SocketAddr, credentials: &Credentials) -> io::Result<Self> {
        Self::connect_with(address, "localhost", credentials.tls()?)
    }

    /// Connects with a TLS configuration of the caller's.
    ///
    /// # Errors
    /// If the server does not accept the connection.
    pub fn connect_with(address: SocketAddr, server_name: &str, config: ClientConfig) -> io::Result<Self> {
        Self::connect_patiently(address, server_name, Arc::new(config), ANSWER_TIMEOUT)
    }

    /// Connects, and waits this long for an answer.
    ///
    /// # Errors
    /// If the server does not accept the connection.
    pub fn connect_patiently(
        address: SocketAddr,
        server_name: &str,
        config: Arc<ClientConfig>,
        patience: Duration,
    ) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, patience)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        let name = ServerName::try_from(server_name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self { stream: StreamOwned::new(connection, socket) })
    }

    /// Completes the handshake, for tests of the handshake itself.
    ///
    /// # Errors
    /// The alert or the closed connection that ended it.
    pub fn handshake(&mut self) -> io::Result<()> {
        while self.stream.conn.is_handshaking() {
            self.stream.conn.complete_io(&mut self.stream.sock)?;
        }
        Ok(())
    }

    /// The TLS stream, for other clients to speak over.
    #[must_use]
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.stream
    }

    /// Sends one frame and reads one.
    ///
    /// # Errors
    /// If the connection ends or no answer comes in time.
    pub fn exchange(&mut self, frame: &[u8]) -> io::Result<Vec<u8>> {
        self.send(frame)?;
        self.receive()
    }

    /// Sends bytes, whatever they are.
    ///
    /// # Errors
    /// If the connection has ended.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// If the connection ends or no answer comes in time.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; 8];
        self.stream.read_exact(&mut frame)?;
        let length = u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
        if length > 64 << 20 {
            return Err(io::Error::other(format!("answer claims {length} bytes")));
        }
        frame.resize(8 + length, 0);
        self.stream.read_exact(&mut frame[8..])?;
        Ok(frame)
    }

    /// Sends a message and reads its answer as trees.
    ///
    /// # Errors
    /// If the connection ends, or the answer is not TTLV.
    pub fn request(&mut self, message: &Item) -> io::Result<Item> {
        Item::decode(&self.exchange(&message.encode())?).map_err(io::Error::other)
    }

    /// Whether the server has closed the connection; waits for it up to the read timeout.
    pub fn is_closed(&mut self) -> bool {
        !matches!(self.stream.read(&mut [0]), Ok(1..))
    }
}
