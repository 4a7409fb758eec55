//! The limit of the machine: a bare TLS server that answers every frame with the same bytes.
//!
//! The same rustls, provider and versions as the gateway, client certificates required, tokio with two workers, TCP_NODELAY, one write per answer.
//! It runs as a process of its own (this program again), so that its CPU time is its own.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::load::{Target, frame_length};

/// A canned server that runs.
pub(crate) struct Canned {
    process: Child,
    target: Target,
}

impl Canned {
    /// Starts one that answers with `answer`.
    pub(crate) fn start(answer: &[u8]) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let identity = Identity::make().map_err(io::Error::other)?;
        let mut input = process.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
        for bytes in [&identity.ca, &identity.server.0, &identity.server.1, answer] {
            input.write_all(&u64::try_from(bytes.len()).unwrap_or(0).to_be_bytes())?;
            input.write_all(bytes)?;
        }
        drop(input);
        let output = process.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        let address: SocketAddr = address.trim().parse().map_err(io::Error::other)?;
        let target = Target { address, tls: Arc::new(identity.client_config()?), pid: process.id() };
        Ok(Self { process, target })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How the canned server is asked for.
pub(crate) const SUBCOMMAND: &str = "canned-server";

/// Certificates like the gateway's: P-256, an authority, a server and a client.
struct Identity {
    ca: Vec<u8>,
    server: (Vec<u8>, Vec<u8>),
    client: (Vec<u8>, Vec<u8>),
}

impl Identity {
    fn make() -> Result<Self, rcgen::Error> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
        let issue = |names: Vec<String>, usage| -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
            let mut parameters = CertificateParams::new(names)?;
            parameters.extended_key_usages = vec![usage];
            let key = KeyPair::generate()?;
            let certificate = parameters.signed_by(&key, &ca)?;
            Ok((certificate.der().to_vec(), key.serialize_der()))
        };
        Ok(Self {
            ca: ca.der().to_vec(),
            server: issue(vec!["localhost".to_owned()], ExtendedKeyUsagePurpose::ServerAuth)?,
            client: issue(vec!["bench".to_owned()], ExtendedKeyUsagePurpose::ClientAuth)?,
        })
    }

    fn client_config(&self) -> io::Result<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots(&self.ca)?)
            .with_client_auth_cert(vec![CertificateDer::from(self.client.0.clone())], private_key(&self.client.1))
            .map_err(io::Error::other)?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

fn roots(ca: &[u8]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec())).map_err(io::Error::other)?;
    Ok(roots)
}

fn private_key(der: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec()))
}

/// The server process: reads its certificates and the answer from standard input, prints its address and serves for ever.
pub(crate) fn serve() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut next = || -> io::Result<Vec<u8>> {
        let mut length = [0; 8];
        io::Read::read_exact(&mut input, &mut length)?;
        let mut bytes = vec![0; usize::try_from(u64::from_be_bytes(length)).map_err(io::Error::other)?];
        io::Read::read_exact(&mut input, &mut bytes)?;
        Ok(bytes)
    };
    let (ca, certificate, key, answer) = (next()?, next()?, next()?, next()?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&ca)?), provider.clone())
        .build()
        .map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![CertificateDer::from(certificate)], private_key(&key))
        .map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(accept(TlsAcceptor::from(Arc::new(config)), answer.into()))
}

async fn accept(acceptor: TlsAcceptor, answer: Arc<[u8]>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        // A connection that ends is the client's business; the load generator reports its own errors.
        tokio::spawn(async move { answer_all(socket, acceptor, &answer).await });
    }
}

async fn answer_all(socket: TcpStream, acceptor: TlsAcceptor, answer: &[u8]) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = acceptor.accept(socket).await?;
    let mut request = Vec::with_capacity(1 << 16);
    loop {
        request.clear();
        while frame_length(&request).is_none_or(|length| request.len() < length) {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        stream.write_all(answer).await?;
        stream.flush().await?;
    }
}
