//! `unseal.listen`: HTTPS for officers elsewhere, as long as the store is sealed. Two paths, `GET /v1/seal/status` and
//! `POST /v1/unseal`; nobody needs a certificate, for what is given is the credential.
//!
//! Its certificate and key are files outside the store ([`UnsealConfig`]): whoever has that key can pose as this server and be handed
//! shares, so it is off unless set. Wrong attempts are counted for each address, and one attempt is judged at a time: guesses from any
//! number of addresses are as slow as Argon2id. Nothing here forgets what others gave.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use keygate_pki::PrivateKey;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::{ServeError, sealed::Sealed};
use crate::{
    admin::{Password, UnsealView, chain},
    api::Wish,
    audit::{Actor, Refusals},
    config::{Limits, UnsealConfig},
    data_dir::check_rights,
    http::{HttpParts, HttpsListener, ListenError, Peer, Problem, Security},
    identity::{ClientCertificates, CredentialId, Doorkeeper, Known, OnDoorChange, Refusal},
    listen::{Registry, ServerIdentity},
    seal::SecretBytes,
};

/// Largest body: a share has some 90 octets, a passphrase at most 4,096.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Attempts that wait for the one before them.
const WAITING_MAX: usize = 4;
/// How long answers under way may take when the store is open.
const DRAIN: Duration = Duration::from_secs(2);
/// Largest file with a certificate or its key.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The listener, and what ends it.
pub(super) struct UnsealListener {
    listener: HttpsListener,
    registry: Arc<Registry>,
    address: SocketAddr,
}

impl UnsealListener {
    /// Binds.
    ///
    /// # Errors
    /// The certificate or its key cannot be used; the address.
    pub(super) fn bind(config: &UnsealConfig, limits: &Limits, sealed: &Arc<Sealed>) -> Result<Self, ServeError> {
        let refused = |reason: String| ServeError::UnsealCertificate { reason };
        let chain_file = read(&config.cert_file).map_err(refused)?;
        let chain_of = crate::enrol::certificates(&chain_file);
        let certificates =
            chain_of.map_err(|error| refused(format!("{}: {}", config.cert_file.display(), chain(&error))))?;
        check_rights(&config.key_file).map_err(|error| refused(error.to_string()))?;
        let key = SecretBytes::copy_from(&zeroize::Zeroizing::new(read(&config.key_file).map_err(refused)?));
        let key = PrivateKey::from_pem_or_der(key.expose());
        let key = key.map_err(|error| refused(format!("{}: {}", config.key_file.display(), chain(&error))))?;
        let security = Security {
            identity: Arc::new(ServerIdentity::new(&certificates, &key)?),
            door: Arc::new(Closed),
            certificates: ClientCertificates::Optional,
        };
        let parts = HttpParts {
            router: router(sealed.clone()),
            limits,
            body_bytes_max: BODY_BYTES_MAX,
            allow: config.allow.clone(),
            // Nothing can be recorded before the store is open; the log tells of refused peers.
            refusals: Arc::new(Refusals::default()),
        };
        let failed = |source| ServeError::Bind { setting: "unseal.listen", address: config.listen, source };
        let listener = HttpsListener::bind(config.listen, security, parts).map_err(|error| match error {
            ListenError::Bind(source) => failed(source),
            ListenError::Tls(error) => ServeError::Tls(error),
        })?;
        let address = listener.address().map_err(failed)?;
        Ok(Self { registry: listener.registry().clone(), listener, address })
    }

    /// Where it is bound.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` becomes true; the answers under way are sent.
    pub(super) async fn run(self, stop: watch::Receiver<bool>) {
        let sweeping = tokio::spawn(self.registry.clone().sweep());
        self.listener.run(stop).await;
        self.registry.drain(DRAIN).await;
        sweeping.abort();
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(told)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("{}: it has {length} octets, at most {FILE_BYTES_MAX} are read", path.display()));
    }
    std::fs::read(path).map_err(told)
}

/// Shares or a passphrase; one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    /// A share as typed.
    #[serde(default)]
    share: Option<Password>,
    /// The passphrase of a slot, its octets in base64.
    #[serde(default)]
    passphrase: Option<Password>,
}

/// How far it is.
#[derive(Serialize)]
struct StatusView {
    sealed: bool,
    /// In words: `sealed: 1 of 2 shares given`.
    progress: String,
}

#[derive(Clone)]
struct Desk {
    sealed: Arc<Sealed>,
    waiting: Arc<Semaphore>,
}

fn router(sealed: Arc<Sealed>) -> Router {
    let desk = Desk { sealed, waiting: Arc::new(Semaphore::new(WAITING_MAX)) };
    Router::new().route("/v1/seal/status", get(status)).route("/v1/unseal", post(unseal)).with_state(desk)
}

async fn status(State(desk): State<Desk>) -> Json<StatusView> {
    let (sealed, progress) = desk.sealed.words();
    Json(StatusView { sealed, progress })
}

async fn unseal(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    Wish(given): Wish<Given>,
) -> Result<Json<UnsealView>, Problem> {
    let busy = || {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "busy", "other attempts are being judged")
            .retry_after(Duration::from_secs(1))
    };
    let _place = desk.waiting.try_acquire().map_err(|_| busy())?;
    let by = (Actor::Unidentified, Some(network(peer.address.ip())));
    let taken = match (given.share, given.passphrase) {
        (Some(share), None) => desk.sealed.share(by, share).await,
        (None, Some(passphrase)) => desk.sealed.passphrase(by, &passphrase).await,
        _ => return Err(invalid("give a share or a passphrase, one of them")),
    };
    taken.map(Json).map_err(|error| match error.wait() {
        Some(left) => Problem::new(StatusCode::TOO_MANY_REQUESTS, "wait", "too many wrong attempts", chain(&error))
            .retry_after(left),
        None => invalid(chain(&error)),
    })
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "not taken", detail)
}

/// Whoever has one IPv6 address has the 2^64 beside it, too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(octets.into())
        }
        v4 => v4,
    }
}

/// Lets no certificate in: none is needed.
#[derive(Debug)]
struct Closed;

impl Doorkeeper for Closed {
    fn identify(&self, _: &[CertificateDer<'_>], _: UnixTime) -> Result<Known, Refusal> {
        Err(Refusal::UnknownIssuer)
    }

    fn recheck(&self, _: &CredentialId, _: UnixTime) -> Result<Known, Refusal> {
        Err(Refusal::UnknownIssuer)
    }

    fn version(&self) -> u64 {
        0
    }

    fn subscribe(&self, _: Arc<dyn OnDoorChange>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts are counted for what one peer has: an IPv4 address, or an IPv6 network of 64 bits.
    #[test]
    fn peers_are_networks() {
        let of = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!((of("192.0.2.7"), of("::ffff:192.0.2.7")), ("192.0.2.7".into(), "192.0.2.7".into()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
