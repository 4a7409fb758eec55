//! The TLS client: trust by CA or by pinned certificate, our own certificate.
//!
//! The name in the address (DNS or IP) must be in the server's certificate in either case; `server_name` says another
//! one for servers that are reached by a name or address that their certificate does not have.

use super::endpoint::describe;
use super::Address;
use crate::error::{Class, KsError, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Whom a client believes.
pub enum Trust {
    /// A server whose certificate chains to one of these.
    Authorities(Vec<CertificateDer<'static>>),
    /// A server that shows exactly one of these.
    Pinned(Vec<CertificateDer<'static>>),
}

/// Our own certificate, chain first, and its key.
pub struct Identity {
    /// The certificate, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKeyDer<'static>,
}

/// A TLS 1.2 and 1.3 client with its trust and identity.
pub struct TlsClient {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl TlsClient {
    /// Puts a client together. `server_name` replaces the host of the address in the check of the certificate.
    ///
    /// # Errors
    /// `BadInput(Key)` for certificates or keys that cannot be used, `BadInput(Parameters)` for a name that is none.
    pub fn new(trust: Trust, identity: Option<Identity>, server_name: Option<&str>) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::Authorities(certificates) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates {
                    roots.add(certificate).map_err(|e| unusable("the CA certificate cannot be used", e))?;
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|e| unusable("the CA certificates cannot be used", e))?
            }
            Trust::Pinned(certificates) => Arc::new(Pinned { certificates, provider: Arc::clone(&provider) }),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable("no TLS version", e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(|e| unusable("the client certificate and its key cannot be used", e))?,
        };
        let server_name = server_name
            .map(|name| ServerName::try_from(name.to_owned()))
            .transpose()
            .map_err(|_| KsError::parameters("server name is neither a DNS name nor an IP address"))?;
        Ok(Self { config: Arc::new(config), server_name })
    }

    /// A new connection, its handshake completed.
    ///
    /// # Errors
    /// `RetryOther` that says why there is none within this time.
    pub async fn connect(&self, address: &Address, within: Duration) -> Result<TlsStream<TcpStream>> {
        let away = |why: String| KsError::new(Class::RetryOther, format!("no connection to {address}: {why}"));
        match tokio::time::timeout(within, self.open(address)).await {
            Ok(opened) => opened.map_err(away),
            Err(_) => Err(away("not in time".to_owned())),
        }
    }

    pub(super) async fn open(&self, address: &Address) -> std::result::Result<TlsStream<TcpStream>, String> {
        let socket = TcpStream::connect((address.host(), address.port())).await.map_err(describe)?;
        socket.set_nodelay(true).map_err(describe)?;
        // The address was checked when it was parsed.
        let name = self.name_of(address.host()).ok_or_else(|| "the host is not a name".to_owned())?;
        tokio_rustls::TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await.map_err(describe)
    }

    /// The name that the certificate of a server at this host must have.
    fn name_of(&self, host: &str) -> Option<ServerName<'static>> {
        self.server_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok())
    }
}

fn unusable(what: &str, why: impl std::fmt::Display) -> KsError {
    KsError::key(format!("{what}: {why}"))
}

/// Whether the peer ended the handshake because of our certificate: in TLS 1.3 that arrives after our first message,
/// which the peer has then not read.
pub(crate) fn refused_us(error: &io::Error) -> Option<AlertDescription> {
    use AlertDescription as A;
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            A::AccessDenied
                | A::BadCertificate
                | A::CertificateExpired
                | A::CertificateRequired
                | A::CertificateRevoked
                | A::CertificateUnknown
                | A::DecryptError
                | A::HandshakeFailure
                | A::UnknownCA
                | A::UnsupportedCertificate
        )
        .then_some(*alert),
        _ => None,
    }
}

/// Believes exactly these certificates, for their names and within their dates.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.certificates.iter().any(|pinned| pinned == end_entity) {
            return Err(rustls::Error::General("the server's certificate is not the pinned one".to_owned()));
        }
        check_dates(end_entity, now)?;
        // The certificate is trusted as it is, also if it calls itself a CA: only the name is left to check.
        let parsed = webpki::EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        parsed.verify_is_valid_for_subject_name(server_name).map_err(|error| match error {
            webpki::Error::CertNotValidForName(context) => {
                CertificateError::NotValidForNameContext { expected: context.expected, presented: context.presented }
            }
            _ => CertificateError::NotValidForName,
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// RFC 5280 §4.1.2.5: the validity period "is the period of time from notBefore through notAfter, inclusive".
fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let certificate = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.tbs_certificate().validity();
    let now = Duration::from_secs(now.as_secs());
    if now < validity.not_before.to_unix_duration() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(CertificateError::Expired);
    }
    Ok(())
}
