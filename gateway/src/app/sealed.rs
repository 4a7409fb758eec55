//! A server that waits to be unsealed: the status listener (not ready, and why) and `D/run/admin.sock` (`keygate unseal`), nothing
//! else. What is given is judged by `unsealing`.
//!
//! The administration listener is not opened: its certificate's key is a row of the sealed store, and a second key in clear beside
//! it, to be trusted with shares, would be worth stealing. Officers reach the socket over SSH.

use std::{
    io,
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
    unsealing::{Attempt, NotTaken, Said, Unsealing},
};
use crate::{
    admin::{AdminError, AdminReply, AdminRequest, AdminSocket, Answering, SealStatusView, SealView, UnsealView},
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
    let (stop, stopped) = watch::channel(false);
    let answering = tokio::spawn(socket.run(sealed.clone(), stopped.clone()));
    let listeners = [("status", bound)].into();
    let info = StatusInfo { version: env!("CARGO_PKG_VERSION"), listeners, started: now_ms() / 1000 };
    let reporting = tokio::spawn(status.run(Arc::new(Metrics::default()), readiness.clone(), info, stopped));
    write_secret(&dir.listeners(), format!("{{\"status\":\"{bound}\"}}\n").as_bytes())?;
    tracing::warn!(%bound, "sealed: waiting for `keygate unseal`");

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
    let _ = tokio::join!(answering, reporting);
    let _ = std::fs::remove_file(dir.listeners());
    if !opened {
        let _ = std::fs::remove_file(path);
        return Ok(None);
    }
    tracing::info!("unsealed");
    Ok(sealed.take().and_then(|state| state.into_opened(now_ms())))
}

struct Sealed {
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

    /// Argon2id blocks, and so does trying many choices of shares.
    async fn attempt(
        self: &Arc<Self>,
        actor: &Actor,
        make: impl FnOnce(&mut Unsealing, &Attempt<'_>) -> Result<Said, NotTaken> + Send + 'static,
    ) -> Result<AdminReply, AdminError> {
        let (own, actor) = (self.clone(), actor.clone());
        let said = tokio::task::spawn_blocking(move || {
            let attempt = Attempt { actor: &actor, now: Instant::now(), at_ms: now_ms() };
            make(&mut own.lock(), &attempt)
        });
        let said = said.await.map_err(AdminError::failed)?;
        self.changed.notify_one();
        let said = said.map_err(AdminError::failed)?;
        Ok(AdminReply::Unseal(UnsealView { open: said.open, progress: describe(&said), wrong: said.wrong }))
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
            AdminRequest::Unseal { share } => self.attempt(actor, move |state, attempt| state.share(attempt, &share.0)).await,
            AdminRequest::UnsealPassphrase { passphrase } => {
                let octets = STANDARD.decode(&passphrase.0).map(Zeroizing::new);
                let octets = octets.map_err(|_| AdminError::usage("the passphrase is not in base64"))?;
                let octets = SecretBytes::from(octets);
                self.attempt(actor, move |state, attempt| state.passphrase(attempt, octets)).await
            }
            AdminRequest::UnsealReset => {
                self.attempt(actor, |state, attempt| {
                    state.reset(attempt.now);
                    Ok(state.said())
                })
                .await
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
