//! The three HTTP listeners of a running gateway, opened together: `clients`, `admin`, `public`.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use keygate_pki::{est::EST_BODY_BYTES_MAX, provisioning::SourceRanges};
use tokio::{sync::watch, task::JoinSet};

use super::{
    counts::HttpMetrics,
    listener::{HttpParts, HttpsListener, ListenError, PlainListener, Security},
    routes::Routers,
};
use crate::{
    app::App,
    identity::{Administrators, ClientCertificates},
    listen::{Registry, ServerIdentity},
};

/// Largest body of an administrator's request.
const ADMIN_BODY_BYTES_MAX: usize = 1 << 20;
/// Largest body of a request to the public listener: an OCSP request with many certificates.
const PUBLIC_BODY_BYTES_MAX: usize = 16 * 1024;

/// A listener that does not open: which setting, and why.
pub struct NotOpen {
    /// The setting.
    pub setting: &'static str,
    /// Its address.
    pub address: SocketAddr,
    /// Why.
    pub error: ListenError,
}

/// The listeners that the settings ask for, bound.
pub struct HttpListeners {
    clients: Option<HttpsListener>,
    admin: Option<HttpsListener>,
    public: Option<PlainListener>,
}

impl HttpListeners {
    /// Binds all that are asked for.
    ///
    /// # Errors
    /// The first that does not open.
    pub fn bind(app: &App, identity: &Arc<ServerIdentity>, routers: Routers) -> Result<Self, NotOpen> {
        let parts = |router, body_bytes_max, allow: SourceRanges| HttpParts {
            router,
            limits: &app.config.limits,
            body_bytes_max,
            allow,
            refusals: app.refusals.clone(),
        };
        let settings = &app.config.http;
        let clients = open("clients.listen", settings.clients, |address| {
            // A client enrols without a certificate and renews with one.
            let security = Security { identity: identity.clone(), door: app.directory.clone(), certificates: ClientCertificates::Optional };
            HttpsListener::bind(address, security, parts(routers.clients, EST_BODY_BYTES_MAX, SourceRanges::default()))
        })?;
        let admin = open("admin.listen", settings.admin, |address| {
            let door = Arc::new(Administrators(app.directory.clone()));
            let security = Security { identity: identity.clone(), door, certificates: ClientCertificates::Required };
            HttpsListener::bind(address, security, parts(routers.admin, ADMIN_BODY_BYTES_MAX, settings.admin_allow.clone()))
        })?;
        let public = open("public.listen", settings.public, |address| {
            PlainListener::bind(address, parts(routers.public, PUBLIC_BODY_BYTES_MAX, SourceRanges::default()))
        })?;
        Ok(Self { clients, admin, public })
    }

    /// Section name of each open listener and its bound address.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn addresses(&self) -> io::Result<BTreeMap<&'static str, SocketAddr>> {
        let mut addresses = BTreeMap::new();
        for (name, listener) in [("clients", &self.clients), ("admin", &self.admin)] {
            if let Some(listener) = listener {
                addresses.insert(name, listener.address()?);
            }
        }
        if let Some(listener) = &self.public {
            addresses.insert("public", listener.address()?);
        }
        Ok(addresses)
    }

    /// The connections of each: to be swept, and drained at the end.
    pub fn registries(&self) -> Vec<Arc<Registry>> {
        let secured = [&self.clients, &self.admin].into_iter().flatten().map(HttpsListener::registry);
        secured.chain(self.public.as_ref().map(PlainListener::registry)).cloned().collect()
    }

    /// Their figures.
    pub fn metrics(&self) -> HttpMetrics {
        let of = |name, listener: &HttpsListener| (name, listener.registry().clone(), listener.counts().clone());
        let mut list = Vec::new();
        list.extend(self.clients.as_ref().map(|listener| of("clients", listener)));
        list.extend(self.admin.as_ref().map(|listener| of("admin", listener)));
        list.extend(self.public.as_ref().map(|listener| ("public", listener.registry().clone(), listener.counts().clone())));
        HttpMetrics(list)
    }

    /// Accepts on all of them until `stop` becomes true. The tasks end when none accepts any more.
    pub fn run(self, stop: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut accepting = JoinSet::new();
        for listener in [self.clients, self.admin].into_iter().flatten() {
            accepting.spawn(listener.run(stop.clone()));
        }
        if let Some(listener) = self.public {
            accepting.spawn(listener.run(stop.clone()));
        }
        accepting
    }
}

fn open<T>(setting: &'static str, address: Option<SocketAddr>, bind: impl FnOnce(SocketAddr) -> Result<T, ListenError>) -> Result<Option<T>, NotOpen> {
    let Some(address) = address else { return Ok(None) };
    bind(address).map(Some).map_err(|error| NotOpen { setting, address, error })
}
