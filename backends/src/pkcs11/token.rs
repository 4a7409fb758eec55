//! One token of a module, as the gateway sees it: its workers, shared by all who open it.

use super::job::{Job, Reply};
use super::logins::Login;
use super::message::{Request, Response};
use super::pool::Pool;
use super::process::Spawn;
use super::select::TokenSelector;
use super::supervisor::Supervisor;
use crate::error::{Class, KsError, Result};
use crate::keystore::{Figures, Health, OpCx};
use crate::secret::SecretBytes;
use crossbeam_channel::RecvTimeoutError;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::oneshot;

/// Where a token is and how to log in.
#[derive(Clone)]
pub struct TokenConfig {
    /// The vendor's PKCS#11 library.
    pub module: PathBuf,
    /// Which token. Without a serial number the one first seen is kept to.
    pub token: TokenSelector,
    /// The user PIN; `None` where the token has its own PIN pad (CKF_PROTECTED_AUTHENTICATION_PATH).
    pub pin: Option<SecretBytes>,
    /// Processes that sign, encrypt and decrypt, each with its own login. From 2 on one more makes, lists and destroys
    /// keys, so that traffic does not wait for it; 1 means one process for everything.
    pub workers: usize,
    /// Opened with workers of its own, also where the token is open already: to see whether another PIN or another number
    /// of workers will do before they take the place of those that serve.
    pub beside: bool,
    /// Requests that may wait for a worker; more are answered `Busy`.
    pub queue_max: usize,
    /// How worker processes are started.
    pub spawn: Spawn,
}

impl TokenConfig {
    /// One worker and a queue of 1,024.
    pub fn new(module: impl Into<PathBuf>, token: TokenSelector, pin: Option<SecretBytes>, spawn: Spawn) -> Self {
        Self { module: module.into(), token, pin, workers: 1, beside: false, queue_max: 1024, spawn }
    }
}

/// A token in use. The seal's key and a keystore on the same token share one. Its workers end with it.
pub struct Token {
    shared: Arc<Shared>,
}

/// What callers and supervisors share.
pub(super) struct Shared {
    pub(super) config: TokenConfig,
    pool: Mutex<Pool>,
    /// A worker became ready, failed to start, or the token was closed.
    pub(super) changed: Condvar,
    /// Held by the supervisor whose worker starts: one login at a time.
    pub(super) turn: Mutex<()>,
}

impl Token {
    /// Opens a token that must be there: the module loads, the token is found, the PIN is accepted. Blocks.
    ///
    /// The same token opened twice is shared; the second opener must bring the same PIN, compared here because the
    /// workers that are logged in do not look at it. A PIN that was refused to an earlier opener is refused at once.
    pub fn open(config: TokenConfig) -> Result<Arc<Self>> {
        let token = Self::open_later(config)?;
        token.shared.wait_until_settled()?;
        Ok(token)
    }

    /// Opens a token that may come later: once that is known, calls answer `TokenLost` until it does.
    pub fn open_later(config: TokenConfig) -> Result<Arc<Self>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|token| token.strong_count() > 0);
        if !config.beside {
            let same: Vec<_> = open.iter().filter_map(Weak::upgrade).filter(|token| token.shared.is(&config)).collect();
            if let Some(token) = same.iter().find(|token| token.shared.lock().pin == config.pin) {
                return Ok(Arc::clone(token));
            }
            if !same.is_empty() {
                return Err(other_pin());
            }
        }
        let token = Arc::new(Self::start(config)?);
        open.push(Arc::downgrade(&token));
        Ok(token)
    }

    fn start(mut config: TokenConfig) -> Result<Self> {
        let login = Login::of(&config)?;
        // Refused to whoever opened the token before.
        let circuit = login.refusal();
        let mut pool = Pool::new(config.workers, config.queue_max, config.pin.take(), login);
        pool.circuit = circuit;
        let workers = pool.members.len();
        let token = Self {
            shared: Arc::new(Shared {
                config,
                pool: Mutex::new(pool),
                changed: Condvar::new(),
                turn: Mutex::new(()),
            }),
        };
        for index in 0..workers {
            let supervisor = Supervisor::new(Arc::clone(&token.shared), index);
            let thread = std::thread::Builder::new().name(format!("p11-worker-{index}"));
            let started = thread.spawn(move || supervisor.run());
            started.map_err(|e| KsError::new(Class::RetryOther, format!("cannot start a thread: {e}")))?;
        }
        Ok(token)
    }

    /// Lets the PIN be offered once more after a refusal, another one if given: an operator says that it is mended. Workers that are
    /// logged in go on; whoever else has the token open has the new PIN too.
    pub fn retry(&self, pin: Option<SecretBytes>) {
        self.shared.lock().retry(pin);
        self.shared.changed.notify_all();
    }

    /// Workers, sessions, queue, searches.
    pub fn figures(&self) -> Figures {
        self.shared.lock().figures()
    }

    /// How it is, without asking the token.
    pub fn health(&self) -> Health {
        self.shared.lock().health()
    }

    /// Label and serial, as far as known.
    pub fn name(&self) -> String {
        let token = &self.shared.config.token;
        let pool = self.shared.lock();
        match (&token.label, token.serial.as_ref().or(pool.serial.as_ref())) {
            (Some(label), Some(serial)) => format!("{label} ({serial})"),
            (Some(label), None) => label.clone(),
            (None, Some(serial)) => format!("of serial number {serial}"),
            (None, None) => token.to_string(),
        }
    }

    /// Its serial number, once it was seen.
    pub fn serial(&self) -> Option<String> {
        self.shared.lock().serial.clone()
    }

    /// What the token says of itself; empty before it was seen.
    pub(super) fn device(&self) -> String {
        self.shared.lock().device.clone()
    }

    pub(super) async fn call(&self, request: Request, cx: OpCx) -> Result<Response> {
        let (reply, answer) = oneshot::channel();
        let (job, ticket) = Job::new(&request, Reply::Async(reply), cx)?;
        drop(request);
        self.shared.lock().submit(job)?;
        match tokio::time::timeout_at(cx.deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ticket.abandoned()),
            Err(_) => Err(ticket.give_up()),
        }
    }

    pub(super) fn call_blocking(&self, request: Request, cx: OpCx) -> Result<Response> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let (job, ticket) = Job::new(&request, Reply::Blocking(reply), cx)?;
        drop(request);
        self.shared.lock().submit(job)?;
        match answer.recv_deadline(cx.deadline) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(ticket.give_up()),
            Err(RecvTimeoutError::Disconnected) => Err(ticket.abandoned()),
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.shared.lock().close();
        self.shared.changed.notify_all();
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, config: &TokenConfig) -> bool {
        let (ours, theirs) = (&self.config.token, &config.token);
        let seen = self.lock().serial.clone().or_else(|| ours.serial.clone());
        let other_serial = matches!((&seen, &theirs.serial), (Some(a), Some(b)) if a != b);
        let same_words = TokenSelector { serial: None, ..ours.clone() } == TokenSelector { serial: None, ..theirs.clone() };
        real(&self.config.module) == real(&config.module) && same_words && !other_serial
    }

    /// Waits for the end of the first attempt to open.
    fn wait_until_settled(&self) -> Result<()> {
        let mut pool = self.lock();
        loop {
            match pool.settled() {
                Some(outcome) => return outcome,
                None => pool = self.changed.wait(pool).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

pub(super) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn other_pin() -> KsError {
    KsError::new(Class::AuthStop, "the token is open already with another PIN")
}

/// Tokens in use in this process.
static OPEN: Mutex<Vec<Weak<Token>>> = Mutex::new(Vec::new());

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Token>();
};
