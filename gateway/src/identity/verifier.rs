//! The TLS side: which client certificates finish a handshake, and the alert for those that do not.
//!
//! rustls does not call a verifier on resumed sessions; the listener identifies the peer again after every handshake.

use std::{cell::Cell, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{directory::Refusal, handle::DirectoryHandle};

tokio::task_local! {
    /// Why the verifier refused within [`with_refusal`]: the TLS error says no more than the alert does.
    static REFUSED: Cell<Option<Refusal>>;
}

/// Runs a handshake, and says why its certificate was refused, if it was.
pub async fn with_refusal<T>(handshake: impl Future<Output = T>) -> (T, Option<Refusal>) {
    let run = async { (handshake.await, REFUSED.with(Cell::take)) };
    REFUSED.scope(Cell::new(None), run).await
}

/// Lets in the certificates that the current directory admits.
#[derive(Debug)]
pub struct DirectoryVerifier {
    directory: Arc<DirectoryHandle>,
    provider: Arc<CryptoProvider>,
}

impl DirectoryVerifier {
    /// A verifier over the given directory.
    pub fn new(directory: Arc<DirectoryHandle>, provider: Arc<CryptoProvider>) -> Self {
        Self { directory, provider }
    }
}

impl ClientCertVerifier for DirectoryVerifier {
    /// None: pinned certificates have any issuer, and RFC 8446 §4.2.4 leaves the list optional.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let directory = self.directory.load();
        let chain: Vec<CertificateDer<'_>> =
            std::iter::once(end_entity).chain(intermediates).map(|der| CertificateDer::from(der.as_ref())).collect();
        match directory.identify(&chain, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => {
                // Nobody asks where a handshake is run by itself.
                let _ = REFUSED.try_with(|refused| refused.set(Some(refusal)));
                Err(Error::InvalidCertificate(alert(refusal)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// RFC 8446 §6.2: bad_certificate, certificate_revoked, certificate_expired, unknown_ca; access_denied: "A valid
/// certificate or PSK was received, but when access control was applied, the sender decided not to proceed".
fn alert(refusal: Refusal) -> CertificateError {
    match refusal {
        Refusal::BadCertificate => CertificateError::BadEncoding,
        Refusal::Disabled | Refusal::UnknownClient => CertificateError::ApplicationVerificationFailure,
        Refusal::Expired => CertificateError::Expired,
        Refusal::NotYetValid => CertificateError::NotValidYet,
        Refusal::Revoked => CertificateError::Revoked,
        Refusal::UnknownIssuer => CertificateError::UnknownIssuer,
    }
}
