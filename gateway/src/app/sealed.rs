//! A server that waits to be unsealed: the status listener (not ready, and why), `D/run/admin.sock` (`keygate unseal`), and where the
//! settings ask for it an HTTPS listener for officers elsewhere (`unseal_listener`). What is given is judged by `unsealing`.
//!
//! The administration listener is not opened: its certificate's key is a row of the sealed store. Officers reach the socket over SSH.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};
use zeroize::Zeroizing;

use super::{
    Opening, ServeError, UnlockError, Unsealed,
    unlock::begin,
    unseal_listener::UnsealListener,
    unsealing::{Attempt, NotTaken, Said, Unsealing},
};
use crate::{
    admin::{AdminError, AdminReply, AdminRequest, AdminSocket, Answering, Password, SealStatusView, SealView, UnsealView},
    audit::{Actor, Event},
    config::Config,
    data_dir::{DataDir, write_secret},
    operation::now_ms,
    seal::{SecretBytes, SlotKind, Unlocked, Unlocking},
    telemetry::{ComponentState, Metrics, Readiness, StatusInfo, StatusListener},
};

/// The part of readiness.
const COMPONENT: &str = "seal";
/// How often it is looked whether what was given is to be forgotten.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Why a sealed server does not start.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The seal, or what was given to open it with.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// Listeners.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Opens the seal with what is given. Where that is not enough and `wait` is set, waits for the rest over the admin socket.
/// `None`: ended by SIGTERM or SIGINT. The events are to be committed when the store is open.
pub async fn unlock_or_wait(
    dir: &DataDir,
    config: &Config,
    with: Opening,
    wait: bool,
) -> Result<Option<(Unsealed, Vec<Event>)>, WaitError> {
    // Who waits asks nobody: what is missing may come from elsewhere.
    let with = if wait { Opening { ask: None, ..with } } else { with };
    let unlocking = begin(dir, with).await?;
    let kinds = unlocking.seal().kinds();
    // Nothing that can be given later opens any other kind.
    let may_open = kinds.contains(&SlotKind::Shamir) || kinds.contains(&SlotKind::Passphrase);
    if unlocking.is_open() || !wait || !may_open {
        let unlocked = unlocking.into_unlocked().map_err(UnlockError::Seal)?;
        return Ok(Some((unlocked.into(), Vec::new())));
    }
    Ok(wait_for_shares(dir, config, unlocking).await?.map(|(unlocked, events)| (unlocked.into(), events)))
}

async fn wait_for_shares(
    dir: &DataDir,
    config: &Config,
    unlocking: Unlocking,
) -> Result<Option<(Unlocked, Vec<Event>)>, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let address = config.status_listen;
    let status = StatusListener::bind(address).await;
    let status = status.map_err(|source| ServeError::Bind { setting: "status.listen", address, source })?;
    let bound = status.address().map_err(|source| ServeError::Bind { setting: "status.listen", address, source })?;
    dir.make_run()?;
    let path = dir.admin_socket();
    let socket_failed = |source: io::Error| ServeError::AdminSocket { path: path.display().to_string(), source };
    let socket = AdminSocket::bind(&path).map_err(socket_failed)?;

    let readiness = Arc::new(Readiness::default());
    let sealed = Arc::new(Sealed { state: Mutex::new(Unsealing::new(unlocking, Instant::now())), changed: Notify::new() });
    sealed.report(&readiness);
    let remote = config.unseal.as_ref().map(|unseal| UnsealListener::bind(unseal, &config.limits, &sealed)).transpose()?;
    let (stop, stopped) = watch::channel(false);
    let mut listeners: BTreeMap<&str, SocketAddr> = [("status", bound)].into();
    listeners.extend(remote.as_ref().map(|remote| ("unseal", remote.address())));
    let remote_stopped = stopped.clone();
    let remote = tokio::spawn(async move {
        if let Some(remote) = remote {
            remote.run(remote_stopped).await;
        }
    });
    let answering = tokio::spawn(socket.run(sealed.clone(), stopped.clone()));
    let text = serde_json::to_string(&listeners).unwrap_or_default();
    let info = StatusInfo { version: env!("CARGO_PKG_VERSION"), listeners, started: now_ms() / 1000, policies: config.kmip.policies() };
    let reporting = tokio::spawn(status.run(Arc::new(Metrics::default()), readiness.clone(), info, stopped));
    write_secret(&dir.listeners(), format!("{text}\n").as_bytes())?;
    tracing::warn!(listeners = text, "sealed: waiting for `keygate unseal`");

    let mut expire = tokio::time::interval(EXPIRE_EVERY);
    let opened = loop {
        tokio::select! {
            _ = terminate.recv() => { tracing::info!("SIGTERM: sealed still"); break false }
            _ = interrupt.recv() => { tracing::info!("SIGINT: sealed still"); break false }
            () = sealed.changed.notified() => {}
            _ = expire.tick() => {
                if sealed.lock().expire(Instant::now()) {
                    tracing::warn!("no progress for ten minutes: what was given to unseal is forgotten");
                }
            }
        }
        sealed.report(&readiness);
        if sealed.lock().said().open {
            break true;
        }
    };

    // Receivers exist as long as the tasks run. Answers under way are sent: each is a task of its own.
    let _ = stop.send(true);
    reporting.abort();
    let _ = tokio::join!(answering, reporting, remote);
    let _ = std::fs::remove_file(dir.listeners());
    if !opened {
        let _ = std::fs::remove_file(path);
        return Ok(None);
    }
    tracing::info!("unsealed");
    Ok(sealed.take().and_then(|state| state.into_opened(now_ms())))
}

/// A sealed server, as those who give it shares reach it.
pub(super) struct Sealed {
    state: Mutex<Unsealing>,
    changed: Notify,
}

impl Sealed {
    fn lock(&self) -> MutexGuard<'_, Unsealing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, once it is open; what stays is sealed for ever and is dropped with the last answer.
    fn take(&self) -> Option<Unsealing> {
        let mut state = self.lock();
        let closed = Unsealing::new(Unlocking::new(state.seal().clone()), Instant::now());
        Some(std::mem::replace(&mut *state, closed))
    }

    fn report(&self, readiness: &Readiness) {
        let reason = describe(&self.lock().said());
        readiness.set(COMPONENT, ComponentState::Down { reason });
    }

    /// Whether it is sealed, and how far it is, in words.
    pub(super) fn words(&self) -> (bool, String) {
        let said = self.lock().said();
        (!said.open, describe(&said))
    }

    /// Takes a share.
    pub(super) async fn share(self: &Arc<Self>, by: (Actor, Option<IpAddr>), share: Password) -> Result<UnsealView, NotTaken> {
        self.attempt(by, move |state, attempt| state.share(attempt, &share.0)).await
    }

    /// Tries a passphrase, its octets in base64.
    pub(super) async fn passphrase(self: &Arc<Self>, by: (Actor, Option<IpAddr>), passphrase: &Password) -> Result<UnsealView, NotTaken> {
        let octets = STANDARD.decode(&passphrase.0).map(Zeroizing::new).map_err(|_| NotTaken::NotBase64)?;
        let octets = SecretBytes::from(octets);
        self.attempt(by, move |state, attempt| state.passphrase(attempt, octets)).await
    }

    /// Argon2id blocks, and so does trying many choices of shares.
    async fn attempt(
        self: &Arc<Self>,
        (actor, source): (Actor, Option<IpAddr>),
        make: impl FnOnce(&mut Unsealing, &Attempt<'_>) -> Result<Said, NotTaken> + Send + 'static,
    ) -> Result<UnsealView, NotTaken> {
        let own = self.clone();
        let said = tokio::task::spawn_blocking(move || {
            let attempt = Attempt { actor: &actor, source, now: Instant::now(), at_ms: now_ms() };
            make(&mut own.lock(), &attempt)
        });
        let said = said.await.map_err(|_| NotTaken::Interrupted)?;
        self.changed.notify_one();
        let said = said?;
        Ok(UnsealView { open: said.open, progress: describe(&said), wrong: said.wrong })
    }

    fn status(&self) -> AdminReply {
        let state = self.lock();
        let opened = state.slots().into_iter().collect();
        let slots = state.seal().status().into_iter().map(|slot| SealView::of(slot, &opened)).collect();
        AdminReply::SealStatus(SealStatusView { needed: state.seal().needed(), slots, terms: Vec::new(), sealed: Some(describe(&state.said())) })
    }
}

impl Answering for Sealed {
    async fn answer(self: Arc<Self>, actor: &Actor, request: AdminRequest) -> Result<AdminReply, AdminError> {
        match request {
            AdminRequest::Unseal { share } => self.share((actor.clone(), None), share).await.map(AdminReply::Unseal).map_err(AdminError::failed),
            AdminRequest::UnsealPassphrase { passphrase } => {
                self.passphrase((actor.clone(), None), &passphrase).await.map(AdminReply::Unseal).map_err(AdminError::failed)
            }
            AdminRequest::UnsealReset => {
                let reset = |state: &mut Unsealing, attempt: &Attempt<'_>| {
                    state.reset(attempt.now);
                    Ok(state.said())
                };
                self.attempt((actor.clone(), None), reset).await.map(AdminReply::Unseal).map_err(AdminError::failed)
            }
            AdminRequest::SealStatus => Ok(self.status()),
            _ => {
                let said = describe(&self.lock().said());
                Err(AdminError::failed(StillSealed(said)))
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the store is {0}\nhint: `keygate unseal` gives a share")]
struct StillSealed(String);

fn describe(said: &Said) -> String {
    match &said.progress {
        Some(progress) => format!("sealed: {progress}"),
        None => "unsealed: the store is being opened".into(),
    }
}
