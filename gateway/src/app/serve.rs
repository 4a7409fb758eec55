//! The running server: listeners, background work, and an orderly end.

use std::{collections::BTreeMap, io::{self, Write as _}, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::{App, Expiry, gateway, refusals, seal_token};
use crate::{
    admin::AdminSocket,
    authority::{self, AuthorityError},
    data_dir::{DataDirError, write_secret},
    http::{self, HttpListeners, ListenError, NotOpen},
    keystores::KeystoreMetrics,
    listen::{FrameHandler, Listener, ListenerParts, Registry, ServerIdentity, TlsError, TlsSettings},
    operation::Gateway,
    store::{CommitError, Quota},
    telemetry::{ComponentState, MetricsSource, Sample, StatusInfo, StatusListener},
};

/// How often the server certificate's age and the ends of the others are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(3600);
/// Rounds of the above between two warnings of one certificate.
const ROUNDS_PER_WARNING: u32 = 24;
/// How often lists are signed anew, whatever happens.
const PROVISIONING_EVERY: Duration = Duration::from_secs(3600);
/// How soon a list that could not be signed is tried again.
const PUBLISHING_RETRY: Duration = Duration::from_secs(5);

/// Why the server does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({setting})")]
    Bind {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The admin socket cannot be made.
    #[error("cannot make {path}")]
    AdminSocket {
        /// Where.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The certificate of a sealed server.
    #[error("the certificate of unseal.listen cannot be used: {reason}")]
    UnsealCertificate {
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
    /// The server certificate.
    #[error("no server certificate")]
    Authority(#[from] AuthorityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The run folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store did not close.
    #[error("the store did not close")]
    Close(#[source] CommitError),
    /// `seal.on_loss = stop`, and the token stayed away.
    #[error("stopped: the token that opened the seal has been away for {seconds} s (seal.on_loss = stop): {reason}\nhint: plug in or start the token, then start again")]
    SealTokenLost {
        /// For how long.
        seconds: u64,
        /// What the token says.
        reason: String,
    },
}

/// Serves until SIGTERM or SIGINT, or until the seal's token is lost where that is to end it; then finishes the requests under
/// way and closes the store.
pub async fn serve<H: FrameHandler>(app: Arc<App>, gateway: Arc<Gateway>, handler: Arc<H>) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();

    // Step 1: everything that can fail, before the first client is answered.
    let identity = server_identity(&app).await?;
    let tls = Arc::new(TlsSettings::new(identity.clone(), &app.directory)?);
    let registry = Registry::new(&app.config.limits, app.metrics.clone());
    app.directory.subscribe(registry.clone());
    let listener = bind_kmip(&app, tls, &registry, handler)?;
    let http = bind_http(&app, &gateway, &identity)?;
    let registries: Vec<_> = std::iter::once(registry.clone()).chain(http.registries()).collect();
    let status_address = app.config.status_listen;
    let status = StatusListener::bind(status_address).await;
    let status = status.map_err(|source| ServeError::Bind { setting: "status.listen", address: status_address, source })?;
    app.dir.make_run()?;
    let socket = app.dir.admin_socket();
    let admin = AdminSocket::bind(&socket)
        .map_err(|source| ServeError::AdminSocket { path: socket.display().to_string(), source })?;

    // Step 2: background work.
    for registry in &registries {
        tasks.spawn(registry.clone().sweep());
    }
    tasks.spawn(follow_directory(app.clone()));
    let pending = Arc::clone(gateway.asynchronous());
    app.endpoints.start(&gateway, &mut tasks);
    tasks.spawn(gateway::watch_keystores(app.clone(), gateway));
    tasks.spawn(keep_certificates(app.clone(), identity));
    tasks.spawn(refusals::write_refusals(app.clone()));
    let (lose, lost) = oneshot::channel();
    tasks.spawn(seal_token::watch(app.clone(), lose));
    add_metrics(&app, &registry);
    app.metrics.add_source(Arc::new(http.metrics()));

    // Step 3: serve, and say where.
    let addresses = addresses(&listener, &status, &http)?;
    if let Some(public) = addresses.get("public") {
        app.set_public_port(public.port());
    }
    if let Some(url) = app.public_url() {
        app.provisioning.set_public_url(url);
    }
    // Lists are in place before the first relying party asks for one.
    app.provisioning.maintain().await;
    tasks.spawn(maintain_provisioning(app.clone()));
    app.keystores.serve_moves();
    if let Err(error) = app.keystores.report_absent().await {
        tracing::error!(error = &error as &dyn std::error::Error, "objects of keystores cannot be counted");
    }
    let info = StatusInfo { version: env!("CARGO_PKG_VERSION"), listeners: addresses.clone(), started: app.now().unix_timestamp(), policies: app.config.kmip.policies() };
    let accepting = tokio::spawn(listener.run(stopped.clone()));
    let accepting_http = http.run(&stopped);
    let administering = tokio::spawn(admin.run(app.clone(), stopped.clone()));
    let (status_stop, status_stopped) = watch::channel(false);
    let reporting = tokio::spawn(status.run(app.metrics.clone(), app.readiness.clone(), info, status_stopped));
    announce(&app, &addresses)?;

    let lost = tokio::select! {
        _ = terminate.recv() => { tracing::info!("SIGTERM: draining"); None }
        _ = interrupt.recv() => { tracing::info!("SIGINT: draining"); None }
        Ok(lost) = lost => { tracing::error!(reason = lost.reason, "the seal's token stayed away: draining"); Some(lost) }
    };

    // Step 4: no new clients; requests under way are answered; then the store is closed. Readiness goes first, so that a
    // balancer sends nobody else.
    app.readiness.begin_stop();
    // Receivers exist as long as the tasks run.
    let _ = stop.send(true);
    let _ = tokio::join!(accepting, administering, accepting_http.join_all());
    let longest = app.config.limits.drain;
    let (left, unfinished) = tokio::join!(drain(registries, longest), pending.drain(longest));
    if unfinished > 0 {
        tracing::warn!(requests = unfinished, "requests that are answered later were cut at the end of the drain");
    }
    if left > 0 {
        tracing::warn!(connections = left, "connections were cut at the end of the drain");
    }
    let _ = status_stop.send(true);
    reporting.abort();
    tasks.shutdown().await;
    // Left behind they would name a server that is gone; the next start replaces them.
    let _ = std::fs::remove_file(app.dir.listeners());
    let _ = std::fs::remove_file(socket);
    app.close().await.map_err(ServeError::Close)?;
    tracing::info!("stopped");
    match lost {
        None => Ok(()),
        Some(lost) => Err(ServeError::SealTokenLost { seconds: lost.away.as_secs(), reason: lost.reason }),
    }
}

fn bind_kmip<H: FrameHandler>(app: &App, tls: Arc<TlsSettings>, registry: &Arc<Registry>, handler: Arc<H>) -> Result<Listener<H>, ServeError> {
    let address = app.config.kmip.listen;
    let parts = ListenerParts {
        tls,
        directory: app.directory.clone(),
        registry: registry.clone(),
        metrics: app.metrics.clone(),
        refusals: app.refusals.clone(),
        handler,
        message_bytes_max: app.config.limits.message_bytes_max,
    };
    Listener::bind(address, parts).map_err(|source| ServeError::Bind { setting: "kmip.listen", address, source })
}

fn bind_http(app: &Arc<App>, gateway: &Arc<Gateway>, identity: &Arc<ServerIdentity>) -> Result<HttpListeners, ServeError> {
    HttpListeners::bind(app, identity, http::routers(app, gateway)).map_err(|NotOpen { setting, address, error }| match error {
        ListenError::Bind(source) => ServeError::Bind { setting, address, source },
        ListenError::Tls(error) => ServeError::Tls(error),
    })
}

/// Drains all at the same time; returns how many connections were left.
async fn drain(registries: Vec<Arc<Registry>>, longest: Duration) -> usize {
    let mut draining = JoinSet::new();
    for registry in registries {
        draining.spawn(async move { registry.drain(longest).await });
    }
    draining.join_all().await.into_iter().sum()
}

fn addresses<H: FrameHandler>(listener: &Listener<H>, status: &StatusListener, http: &HttpListeners) -> Result<BTreeMap<&'static str, SocketAddr>, ServeError> {
    let unknown = |setting| move |source| ServeError::Bind { setting, address: SocketAddr::from(([0, 0, 0, 0], 0)), source };
    let mut addresses = http.addresses().map_err(unknown("clients.listen, admin.listen, public.listen"))?;
    addresses.insert("kmip", listener.address().map_err(unknown("kmip.listen"))?);
    addresses.insert("status", status.address().map_err(unknown("status.listen"))?);
    Ok(addresses)
}

/// Writes `D/run/listeners.json`, which a script may wait for, and prints the bound addresses.
fn announce(app: &App, addresses: &BTreeMap<&'static str, SocketAddr>) -> Result<(), ServeError> {
    let text = serde_json::to_string(addresses).unwrap_or_default();
    write_secret(&app.dir.listeners(), format!("{text}\n").as_bytes())?;
    for (name, address) in addresses {
        // Whoever started us may have stopped reading; the file and the log say it too.
        let _ = writeln!(io::stdout(), "{name} listens on {address}");
        tracing::info!(listener = name, %address, "listening");
    }
    Ok(())
}

async fn server_identity(app: &App) -> Result<Arc<ServerIdentity>, ServeError> {
    let (credential, is_new) = authority::server_credential(&app.store, &app.config.tls_hosts, app.now()).await?;
    if is_new {
        tracing::info!("made a new server certificate");
    }
    Ok(Arc::new(ServerIdentity::new(&credential.chain, &credential.key)?))
}

/// Renews the server certificate in the last third of its life and presents the new one from the next handshake on.
async fn keep_certificates(app: Arc<App>, identity: Arc<ServerIdentity>) {
    let expiry = Expiry::new(app.store.clone());
    let mut interval = tokio::time::interval(CERTIFICATES_EVERY);
    for round in 0u32.. {
        interval.tick().await;
        if round % ROUNDS_PER_WARNING == 0 {
            expiry.warn();
        }
        match authority::server_credential(&app.store, &app.config.tls_hosts, app.now()).await {
            Ok((_, false)) => {}
            Ok((credential, true)) => match identity.replace(&credential.chain, &credential.key) {
                Ok(()) => tracing::info!("renewed the server certificate"),
                Err(error) => tracing::error!(%error, "the renewed server certificate is not usable"),
            },
            Err(error) => tracing::error!(error = crate::admin::chain(&error), "cannot renew the server certificate"),
        }
    }
}

/// Puts changes of the directory in force that no admin command of this process has made.
async fn follow_directory(app: Arc<App>) {
    let mut changes = app.store.directory_changes();
    while changes.changed().await.is_ok() {
        if app.store.directory().changed_at != app.directory.load().changed_at() {
            app.refresh_directory();
        }
    }
}

/// Signs lists anew, renews and ends authorities, every hour; soon again while a list could not be signed.
async fn maintain_provisioning(app: Arc<App>) {
    let mut interval = tokio::time::interval(PUBLISHING_RETRY);
    let mut done = tokio::time::Instant::now();
    loop {
        interval.tick().await;
        if app.provisioning.unpublished().is_some() || done.elapsed() >= PROVISIONING_EVERY {
            app.provisioning.maintain().await;
            done = tokio::time::Instant::now();
        }
        let state = match app.provisioning.unpublished() {
            None => ComponentState::Up,
            Some(reason) => ComponentState::Down { reason: reason.to_string() },
        };
        app.readiness.set("certificate lists", state);
    }
}

struct ConnectionGauge {
    registry: Arc<Registry>,
    app: std::sync::Weak<App>,
}

impl MetricsSource for ConnectionGauge {
    fn samples(&self) -> Vec<Sample> {
        let plain = |name, help, value: u64| Sample { name, help, label: None, value: value as f64 };
        let mut samples = vec![plain("connections", "KMIP connections at present.", self.registry.count() as u64)];
        let Some(app) = self.app.upgrade() else { return samples };
        samples.push(plain("objects", "Managed objects stored.", app.store.object_count() as u64));
        samples.push(plain("credentials_ignored_total", "Credentials of clients that have no users.", app.users.ignored()));
        samples.push(plain("credentials_refused_total", "Credentials that did not match.", app.users.refused()));
        for quota in Quota::ALL {
            samples.push(Sample {
                name: "over_quota_total",
                help: "Objects and certificates that were refused because of a quota (limits.*).",
                label: Some(("quota", quota.name().to_owned())),
                value: app.store.quota_refusals(quota) as f64,
            });
        }
        for (component, state) in app.readiness.snapshot() {
            samples.push(Sample {
                name: "component_up",
                help: "Whether a part of the gateway works.",
                label: Some(("component", component)),
                value: if state.serves() { 1.0 } else { 0.0 },
            });
        }
        samples
    }
}

fn add_metrics(app: &Arc<App>, registry: &Arc<Registry>) {
    app.metrics.add_source(Arc::new(Expiry::new(app.store.clone())));
    app.metrics.add_source(Arc::new(KeystoreMetrics::new(&app.keystores)));
    app.metrics.add_source(app.endpoints.clone());
    app.metrics.add_source(Arc::new(ConnectionGauge { registry: registry.clone(), app: Arc::downgrade(app) }));
}
