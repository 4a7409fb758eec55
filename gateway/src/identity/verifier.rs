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

use super::{directory::Refusal, doorkeeper::Doorkeeper};

tokio::task_local! {
    /// Why the verifier refused within [`with_refusal`]: the TLS error says no more than the alert does.
    static REFUSED: Cell<Option<Refusal>>;
}

/// Runs a handshake, and says why its certificate was refused, if it was.
pub async fn with_refusal<T>(handshake: impl Future<Output = T>) -> (T, Option<Refusal>) {
    let run = async { (handshake.await, REFUSED.with(Cell::take)) };
    REFUSED.scope(Cell::new(None), run).await
}

/// Whether a TLS client must present a certificate. One that is presented must be let in either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A peer without one is let in, as nobody.
    Optional,
    /// A peer without one is refused.
    Required,
}

/// Lets in the certificates that a doorkeeper knows.
#[derive(Debug)]
pub struct CertificateVerifier {
    door: Arc<dyn Doorkeeper>,
    certificates: ClientCertificates,
    provider: Arc<CryptoProvider>,
}

impl CertificateVerifier {
    /// A verifier that asks `door`.
    pub fn new(door: Arc<dyn Doorkeeper>, certificates: ClientCertificates, provider: Arc<CryptoProvider>) -> Self {
        Self { door, certificates, provider }
    }
}

impl ClientCertVerifier for CertificateVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.certificates == ClientCertificates::Required
    }

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
        let chain: Vec<CertificateDer<'_>> =
            std::iter::once(end_entity).chain(intermediates).map(|der| CertificateDer::from(der.as_ref())).collect();
        match self.door.identify(&chain, now) {
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
