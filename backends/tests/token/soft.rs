//! Throw-away tokens in software: SoftHSM, and kryoptic for what PKCS#11 3.x has.
//!
//! Both find their tokens by the environment, so all tests of a process share one directory of tokens for each; every test
//! makes its own token in it. Without SoftHSM its tests fail, unless KEYGATE_TEST_SKIP names `softhsm`; kryoptic is built by the
//! first test that wants it, unless KEYGATE_TEST_SKIP names `kryoptic`.

use keygate_backends::pkcs11::{Spawn, Token, TokenConfig, TokenSelector};
use keygate_backends::{OpCx, SecretBytes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub(crate) struct Soft {
    pub(crate) dir: PathBuf,
    pub(crate) module: PathBuf,
    pin: SecretBytes,
    script: PathBuf,
}

pub(crate) fn cx() -> OpCx {
    OpCx::within(Duration::from_secs(30))
}

/// Token tests go one at a time: making a token disturbs those who list them. `None`: skipped on request.
pub(crate) fn soft() -> Option<(&'static Soft, MutexGuard<'static, ()>)> {
    static SOFT: OnceLock<Option<Soft>> = OnceLock::new();
    let turn = turn();
    let set_up = || Soft::set_up("softhsm", "SOFTHSM2_CONF", "../softhsm-config/make-token.sh");
    SOFT.get_or_init(set_up).as_ref().map(|soft| (soft, turn))
}

/// The same for kryoptic.
pub(crate) fn kryoptic() -> Option<(&'static Soft, MutexGuard<'static, ()>)> {
    static KRYOPTIC: OnceLock<Option<Soft>> = OnceLock::new();
    let turn = turn();
    let set_up = || Soft::set_up("kryoptic", "KRYOPTIC_CONF", "../tests/kryoptic/make-token.sh");
    KRYOPTIC.get_or_init(set_up).as_ref().map(|soft| (soft, turn))
}

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Soft {
    fn set_up(what: &str, variable: &str, script: &str) -> Option<Self> {
        let skip = std::env::var("KEYGATE_TEST_SKIP").unwrap_or_default();
        if skip.split([',', ' ']).any(|name| name == what) {
            eprintln!("skipped by KEYGATE_TEST_SKIP: {what}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap().keep();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let lines = make_token(&script, &dir, "first");
        let value = |name: &str| lines.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap().to_owned();
        // SAFETY: set before a worker is started that needs it, and while this thread has the turn: every token test passes
        // through here first.
        unsafe { std::env::set_var(variable, value(variable)) };
        let pin = SecretBytes::new(std::fs::read(value("PIN_FILE")).unwrap());
        Some(Self { module: value("MODULE").into(), pin, dir, script })
    }

    /// A new token, opened.
    pub(crate) fn token(&self, label: &str) -> std::sync::Arc<Token> {
        self.make(label);
        self.open_soon(self.config(label))
    }

    /// A new token.
    pub(crate) fn make(&self, label: &str) {
        make_token(&self.script, &self.dir, label);
    }

    /// The user PIN, for a program beside ours.
    pub(crate) fn auth_pin(&self) -> cryptoki::types::AuthPin {
        String::from_utf8(self.pin.expose().to_vec()).unwrap().trim().to_owned().into()
    }

    pub(crate) fn config(&self, label: &str) -> TokenConfig {
        let worker = Spawn::program(env!("CARGO_BIN_EXE_keygate-pkcs11-worker"), [""; 0]);
        TokenConfig::new(&self.module, TokenSelector::label(label), Some(self.pin.clone()), worker)
    }

    /// Opens a token that is there.
    pub(crate) fn open_soon(&self, config: TokenConfig) -> std::sync::Arc<Token> {
        let token = Token::open_later(config).unwrap();
        settle(&token, |health| *health == keygate_backends::Health::Up);
        token
    }

    /// The folder of a token, found by its label.
    pub(crate) fn token_dir(&self, label: &str) -> PathBuf {
        let holds = |dir: &Path| {
            std::fs::read(dir.join("token.object"))
                .is_ok_and(|bytes| bytes.windows(label.len()).any(|part| part == label.as_bytes()))
        };
        std::fs::read_dir(self.dir.join("tokens"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|dir| holds(dir))
            .unwrap()
    }
}

/// Waits until the token is as wanted.
pub(crate) fn settle(token: &Token, wanted: impl Fn(&keygate_backends::Health) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !wanted(&token.health()) {
        assert!(std::time::Instant::now() < deadline, "still {:?}", token.health());
        std::thread::yield_now();
    }
}

fn make_token(script: &Path, dir: &Path, label: &str) -> String {
    let out = Command::new("sh").arg(script).arg(dir).arg(label).output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "the token is needed (or KEYGATE_TEST_SKIP): {errors}");
    String::from_utf8(out.stdout).unwrap()
}
