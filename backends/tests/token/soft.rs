//! Throw-away SoftHSM tokens.
//!
//! SoftHSM finds its tokens by the environment, so all tests of a process share one directory of tokens; each makes its
//! own token in it. Without SoftHSM the tests fail, unless KEYGATE_TEST_SKIP names `softhsm`.

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
}

pub(crate) fn cx() -> OpCx {
    OpCx::within(Duration::from_secs(30))
}

/// Token tests go one at a time: making a token disturbs those who list them. `None`: skipped on request.
pub(crate) fn soft() -> Option<(&'static Soft, MutexGuard<'static, ()>)> {
    static SOFT: OnceLock<Option<Soft>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    SOFT.get_or_init(Soft::set_up).as_ref().map(|soft| (soft, turn))
}

impl Soft {
    fn set_up() -> Option<Self> {
        let skip = std::env::var("KEYGATE_TEST_SKIP").unwrap_or_default();
        if skip.split([',', ' ']).any(|name| name == "softhsm") {
            eprintln!("skipped by KEYGATE_TEST_SKIP: softhsm");
            return None;
        }
        let dir = tempfile::tempdir().unwrap().keep();
        let lines = make_token(&dir, "first");
        let value = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        // SAFETY: set before a worker is started and before any other thread reads it: every token test passes through
        // here first.
        unsafe { std::env::set_var("SOFTHSM2_CONF", value("SOFTHSM2_CONF=")) };
        let pin = SecretBytes::new(std::fs::read(value("PIN_FILE=")).unwrap());
        Some(Self { module: value("MODULE=").into(), pin, dir })
    }

    /// A new token, opened.
    pub(crate) fn token(&self, label: &str) -> std::sync::Arc<Token> {
        make_token(&self.dir, label);
        self.open_soon(self.config(label))
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

fn make_token(dir: &Path, label: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../softhsm-config/make-token.sh");
    let out = Command::new("sh").arg(script).arg(dir).arg(label).output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "SoftHSM is needed (or KEYGATE_TEST_SKIP=softhsm): {errors}");
    String::from_utf8(out.stdout).unwrap()
}
