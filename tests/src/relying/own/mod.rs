//! A PKI of a test's own, made with `keygate-pki` and published over HTTP: what relying parties do with such certificates
//! and lists can be seen without a gateway.
//!
//! One organisation, one provisioning key: root, organisation issuer, issuing CA, clients in one shard, delegated responder.
//! `world` makes them; here are the server and the states.

mod world;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keygate_pki::{Certificate, HttpUrl, Reason, SignatureAlgorithm};

pub use self::world::{Ca, World};
use super::source::{Act, StateSource};
use super::{Device, Trust};
use crate::pem;
use crate::web::WebServer;

/// The PKI and the server that publishes it.
pub struct OwnPki {
    world: Arc<Mutex<World>>,
    server: WebServer,
}

impl OwnPki {
    /// Makes the hierarchy with keys of one algorithm, and publishes it.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(algorithm: SignatureAlgorithm) -> io::Result<Self> {
        let listener = WebServer::bind()?;
        let base: HttpUrl = format!("http://{}/", listener.local_addr()?).parse().map_err(io::Error::other)?;
        let world = Arc::new(Mutex::new(World::make(algorithm, base).map_err(io::Error::other)?));
        let shared = world.clone();
        let server = WebServer::start(listener, None, move |request| lock(&shared).answer(request))?;
        Ok(Self { world, server })
    }

    /// The keys, certificates and lists.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Where it is published: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateSource for OwnPki {
    fn enrol(&mut self, name: &str) -> io::Result<Device> {
        self.world().enrol(name).map_err(io::Error::other)
    }

    fn apply(&mut self, act: Act<'_>) -> io::Result<()> {
        let mut world = self.world();
        match act {
            Act::Suspend | Act::Reactivate => {}
            Act::Disable => {
                let certificates = world.key_certificates.clone();
                world.listed_keys.extend(certificates.into_iter().map(|listed| (listed, Reason::CertificateHold)));
            }
            Act::Enable => world.listed_keys.retain(|(_, reason)| *reason != Reason::CertificateHold),
            Act::RenewIssuer => world.renew_key_ca().map_err(io::Error::other)?,
            Act::RevokeDevice(device) => {
                let certificate = Certificate::from_der(&device.leaf()?).map_err(io::Error::other)?;
                world.listed_clients.push((certificate, Reason::KeyCompromise));
            }
            Act::RevokeKey => {
                let certificates = world.key_certificates.clone();
                world.listed_keys.extend(certificates.into_iter().map(|listed| (listed, Reason::CaCompromise)));
            }
        }
        world.publish().map_err(io::Error::other)
    }

    fn trust(&self) -> io::Result<Trust> {
        let world = self.world();
        let crls = ["root", "organisation", "key", "shard"]
            .iter()
            .filter_map(|name| world.published.get(&format!("/crl/{name}.crl")));
        let crls = crls.map(|der| pem::encode(pem::CRL, der)).collect();
        Ok(Trust { anchors: world.root.certificate.to_pem().map_err(io::Error::other)?, crls })
    }
}
