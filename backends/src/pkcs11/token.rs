//! One token of a module: login, loss and return.
//!
//! A keeper session logs in once and is never used or closed: login belongs to the application (PKCS#11 v3.1 §5.6: all
//! sessions of an application with a token share one login state), so its death is the end of the login. C_Logout is
//! never called.
//!
//! A supervisor thread brings a lost token back: Finalize, Initialize, slot by serial and label, login, new generation;
//! again with growing pauses until it works. A refused PIN stops it for good: a token locks after a few tries.
//!
//! Order of locks: the module's gate before the state, never the other way round.

use super::ckr;
use super::message::{Request, Response};
use super::module::{Inside, Module};
use super::raw::{Session, TokenInfo};
use super::worker::{self, Job, Lane};
use crate::error::{Class, KsError, Result};
use crate::keystore::{Health, OpCx};
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where a token is and how to log in.
#[derive(Clone)]
pub struct TokenConfig {
    /// The vendor's PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// The token's serial number; without it the label must be unique, and the serial first seen is kept to.
    pub serial: Option<String>,
    /// The user PIN; `None` where the token has its own PIN pad (CKF_PROTECTED_AUTHENTICATION_PATH).
    pub pin: Option<SecretBytes>,
    /// Threads that sign, encrypt and decrypt, each with its session. Soft tokens serialise, so 1 is best for them.
    pub workers: usize,
    /// Requests that may wait for a worker; more are answered `Busy`.
    pub queue_max: usize,
}

impl TokenConfig {
    /// One worker and a queue of 1,024.
    pub fn new(module: impl Into<PathBuf>, label: impl Into<String>, pin: Option<SecretBytes>) -> Self {
        Self { module: module.into(), label: label.into(), serial: None, pin, workers: 1, queue_max: 1024 }
    }
}

/// A token in use. The seal's key and a keystore on the same token share one.
pub struct Token {
    shared: Arc<Shared>,
    fast: Lane,
    slow: Lane,
}

/// What workers and supervisor share.
pub(super) struct Shared {
    pub(super) module: &'static Module,
    config: TokenConfig,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    /// The serial that the token must have, from the configuration or as first seen.
    serial: Option<String>,
}

enum Phase {
    /// Logged in.
    Ready {
        generation: u64,
        slot: ck::CK_SLOT_ID,
        keeper: Session,
        info: TokenInfo,
    },
    /// Away since generation `seen`.
    Lost {
        seen: u64,
        reason: KsError,
        next: Instant,
        pause: Duration,
    },
    /// The PIN was refused.
    AuthStopped(KsError),
    Closed,
}

impl Token {
    /// Opens a token that must be there: the module loads, the token is found, the PIN is accepted. Blocks.
    ///
    /// The same token opened twice is shared; the second opener must bring the same PIN, compared here because a
    /// logged-in module no longer looks at it.
    pub fn open(config: TokenConfig) -> Result<Arc<Self>> {
        let token = Self::open_later(config)?;
        token.shared.wait_until_settled()?;
        Ok(token)
    }

    /// Opens a token that may come later: calls answer `TokenLost` until it does.
    pub fn open_later(config: TokenConfig) -> Result<Arc<Self>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|token| token.strong_count() > 0);
        let module = Module::of(&config.module)?;
        for token in open.iter().filter_map(Weak::upgrade) {
            if token.shared.is(module, &config) {
                return if token.shared.config.pin == config.pin { Ok(token) } else { Err(other_pin()) };
            }
        }
        let token = Arc::new(Self::start(module, config)?);
        open.push(Arc::downgrade(&token));
        Ok(token)
    }

    fn start(module: &'static Module, config: TokenConfig) -> Result<Self> {
        let reason = KsError::new(Class::TokenLost, "the token has not been opened yet");
        let shared = Arc::new(Shared {
            module,
            state: Mutex::new(State {
                phase: Phase::Lost { seen: 0, reason, next: Instant::now(), pause: PAUSE_MIN },
                serial: config.serial.clone(),
            }),
            changed: Condvar::new(),
            config,
        });
        let (fast, slow) =
            (Lane::start(&shared, shared.config.workers.max(1), "p11-work")?, Lane::start(&shared, 1, "p11-slow")?);
        let supervised = Arc::clone(&shared);
        worker::spawn("p11-keep", move || supervised.supervise())?;
        Ok(Self { shared, fast, slow })
    }

    /// How it is, without a call into the module.
    pub fn health(&self) -> Health {
        match &self.shared.lock().phase {
            Phase::Ready { .. } => Health::Up,
            Phase::Lost { reason, .. } => Health::Down(reason.to_string()),
            Phase::AuthStopped(reason) => Health::NeedsOperator(reason.to_string()),
            Phase::Closed => Health::Down("closed".to_owned()),
        }
    }

    /// Label and serial, as far as known.
    pub fn name(&self) -> String {
        match &self.shared.lock().serial {
            Some(serial) => format!("{} ({serial})", self.shared.config.label),
            None => self.shared.config.label.clone(),
        }
    }

    pub(super) async fn call(&self, request: Request, cx: OpCx) -> Result<Response> {
        self.lane(&request).call(request, cx).await
    }

    pub(super) fn call_blocking(&self, request: Request, cx: OpCx) -> Result<Response> {
        self.lane(&request).call_blocking(request, cx)
    }

    fn lane(&self, request: &Request) -> &Lane {
        if request.is_slow() { &self.slow } else { &self.fast }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // The lanes' queues close with this value, which ends the workers.
        let inside = self.shared.module.enter();
        let phase = std::mem::replace(&mut self.shared.lock().phase, Phase::Closed);
        self.shared.changed.notify_all();
        match phase {
            Phase::Ready { generation, keeper, .. } if generation != inside.generation() => keeper.forget(),
            // The keeper's session closes while this thread is inside.
            other => drop(other),
        }
    }
}

impl Shared {
    pub(super) fn queue_max(&self) -> usize {
        self.config.queue_max.max(1)
    }

    /// The slot, for a worker inside a generation; or why there is none.
    pub(super) fn slot(&self, inside: &Inside) -> Result<ck::CK_SLOT_ID> {
        match &self.lock().phase {
            Phase::Ready { generation, slot, .. } if *generation == inside.generation() => Ok(*slot),
            Phase::Ready { .. } => Err(KsError::new(Class::TokenLost, "the module was initialised anew just now")),
            Phase::Lost { reason, .. } => Err(reason.clone().into_class(Class::TokenLost)),
            Phase::AuthStopped(reason) => Err(reason.clone()),
            Phase::Closed => Err(KsError::new(Class::TokenLost, "the token is closed")),
        }
    }

    /// Goes inside. Where another token of this module was lost and the module renewed under this one, waits for the
    /// new login first.
    pub(super) fn enter(&self) -> Inside {
        let inside = self.module.enter();
        let mut state = self.lock();
        match &state.phase {
            Phase::Ready { generation, .. } if *generation != inside.generation() => {}
            _ => return inside,
        }
        let reason = KsError::new(Class::TokenLost, "the module was initialised anew; logging in again");
        self.lose(&mut state, inside.generation().saturating_sub(1), reason);
        drop(state);
        drop(inside);
        // Whether it worked shows in `slot`.
        let _ = self.wait_until_settled();
        self.module.enter()
    }

    /// A description of the device, for a worker inside.
    pub(super) fn device(&self) -> String {
        match &self.lock().phase {
            Phase::Ready { info, .. } => {
                let (major, minor) = info.firmware;
                format!(
                    "{} {} {}, token {:?}, firmware {major}.{minor}",
                    info.manufacturer, info.model, info.serial, info.label
                )
            }
            _ => String::new(),
        }
    }

    /// A worker saw the token fail in this generation.
    pub(super) fn lost(&self, inside: &Inside, reason: &KsError) {
        let mut state = self.lock();
        if matches!(&state.phase, Phase::Ready { generation, .. } if *generation == inside.generation()) {
            tracing::warn!(token = %self.config.label, error = %reason, "token lost; looking for it");
            self.lose(&mut state, inside.generation(), reason.clone());
        }
    }

    fn lose(&self, state: &mut State, seen: u64, reason: KsError) {
        let lost = Phase::Lost { seen, reason, next: Instant::now(), pause: PAUSE_MIN };
        if let Phase::Ready { keeper, .. } = std::mem::replace(&mut state.phase, lost) {
            // Closed by the coming C_Finalize; its handle may mean another session by then.
            keeper.forget();
        }
        self.changed.notify_all();
    }

    fn is(&self, module: &'static Module, config: &TokenConfig) -> bool {
        let serial = self.lock().serial.clone();
        let other_serial = matches!((&serial, &config.serial), (Some(a), Some(b)) if a != b);
        std::ptr::eq(self.module, module) && self.config.label == config.label && !other_serial
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the first attempt to open.
    pub(super) fn wait_until_settled(&self) -> Result<()> {
        let mut state = self.lock();
        loop {
            match &state.phase {
                Phase::Ready { .. } => return Ok(()),
                Phase::Lost { pause, reason, .. } if *pause > PAUSE_MIN => return Err(reason.clone()),
                Phase::AuthStopped(reason) => return Err(reason.clone()),
                Phase::Closed => return Err(KsError::new(Class::TokenLost, "the token is closed")),
                Phase::Lost { .. } => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The supervisor thread.
    fn supervise(&self) {
        let mut state = self.lock();
        loop {
            let (seen, pause) = match &state.phase {
                Phase::Closed => return,
                Phase::Ready { .. } | Phase::AuthStopped(_) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Phase::Lost { next, .. } if *next > Instant::now() => {
                    let wait = next.saturating_duration_since(Instant::now());
                    state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                Phase::Lost { seen, pause, .. } => (*seen, *pause),
            };
            let serial = state.serial.clone();
            drop(state);
            let outcome = self.connect(seen, serial.as_deref());
            state = self.lock();
            if matches!(state.phase, Phase::Closed) {
                drop(state);
                return self.discard(outcome);
            }
            self.settle(&mut state, outcome, pause);
            self.changed.notify_all();
        }
    }

    /// Closes what an attempt opened for a token that was closed meanwhile.
    fn discard(&self, outcome: Result<Phase, (u64, KsError)>) {
        let inside = self.module.enter();
        match outcome {
            Ok(Phase::Ready { generation, keeper, .. }) if generation != inside.generation() => keeper.forget(),
            other => drop(other),
        }
    }

    fn settle(&self, state: &mut State, outcome: Result<Phase, (u64, KsError)>, pause: Duration) {
        state.phase = match outcome {
            Ok(ready) => {
                if let Phase::Ready { info, .. } = &ready {
                    tracing::info!(token = %info.label, serial = %info.serial, "token opened");
                    state.serial = Some(info.serial.clone());
                }
                ready
            }
            Err((_, reason)) if reason.class() == Class::AuthStop => {
                tracing::error!(token = %self.config.label, error = %reason, "token refused the login; not trying again");
                Phase::AuthStopped(reason)
            }
            Err((seen, reason)) => {
                tracing::debug!(token = %self.config.label, error = %reason, "token not back yet");
                Phase::Lost { seen, reason, next: Instant::now() + pause, pause: (pause * 2).min(PAUSE_MAX) }
            }
        };
    }

    /// One attempt: initialise anew, find, log in.
    fn connect(&self, seen: u64, serial: Option<&str>) -> Result<Phase, (u64, KsError)> {
        self.module.renew(seen).map_err(|e| (seen, e))?;
        let inside = self.module.enter();
        let generation = inside.generation();
        self.connect_inside(generation, serial).map_err(|e| (generation, e))
    }

    fn connect_inside(&self, generation: u64, serial: Option<&str>) -> Result<Phase> {
        let functions = self.module.functions();
        let (slot, info) = self.find_slot(serial)?;
        refuse_risky_login(&info)?;
        let keeper = Session::open(functions, slot)?;
        match keeper.login(self.config.pin.as_ref()) {
            Ok(()) => Ok(Phase::Ready { generation, slot, keeper, info }),
            // Then somebody else in this process logged in, and our PIN was not looked at.
            Err(e) if ckr::is(&e, ck::CKR_USER_ALREADY_LOGGED_IN) => Err(e.into_class(Class::AuthStop)),
            Err(e) => Err(e),
        }
    }

    fn find_slot(&self, serial: Option<&str>) -> Result<(ck::CK_SLOT_ID, TokenInfo)> {
        let functions = self.module.functions();
        let label = &self.config.label;
        let mut found = None;
        for slot in functions.slots()? {
            // A slot whose token cannot be read is not the one.
            let Ok(info) = functions.token_info(slot) else { continue };
            let fits = info.label == *label
                && serial.is_none_or(|serial| info.serial == serial)
                && info.flags & ck::CKF_TOKEN_INITIALIZED != 0;
            if fits && found.replace((slot, info)).is_some() {
                return Err(KsError::new(
                    Class::TokenLost,
                    format!("more than one token is labelled {label:?}: configure its serial number"),
                ));
            }
        }
        found.ok_or_else(|| {
            let serial = serial.map(|serial| format!(" and serial {serial}")).unwrap_or_default();
            KsError::new(Class::TokenLost, format!("no slot of the module holds a token labelled {label:?}{serial}"))
        })
    }
}

/// The last try is the operator's, not ours.
fn refuse_risky_login(info: &TokenInfo) -> Result<()> {
    let stop = |text: &'static str| Err(KsError::new(Class::AuthStop, text));
    if info.flags & ck::CKF_USER_PIN_LOCKED != 0 {
        return stop("the token's user PIN is locked: unlock it with the security officer's PIN");
    }
    if info.flags & ck::CKF_USER_PIN_FINAL_TRY != 0 {
        return stop("the token's user PIN has one try left: check the configured PIN and log in once by hand");
    }
    if info.flags & ck::CKF_USER_PIN_COUNT_LOW != 0 {
        tracing::warn!(token = %info.label, "a wrong user PIN was entered since the last login");
    }
    Ok(())
}

fn other_pin() -> KsError {
    KsError::new(Class::AuthStop, "the token is open already with another PIN")
}

/// Tokens in use in this process.
static OPEN: Mutex<Vec<Weak<Token>>> = Mutex::new(Vec::new());

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Token>();
    is_send_and_sync::<Job>();
};
