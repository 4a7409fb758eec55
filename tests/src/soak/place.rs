//! The keystores of a soak, and what each is asked for.

/// A keystore.
#[derive(Debug)]
pub(super) struct Place {
    /// Its name.
    pub(super) name: &'static str,
    /// Keys are handed out by Get.
    pub(super) gets: bool,
    /// Key material is taken in.
    pub(super) registers: bool,
    /// P-256 pairs are made, which sign.
    pub(super) pairs: bool,
}

/// All of them; client N works on number N modulo their count.
pub(super) const PLACES: [Place; 8] = [
    Place { name: LOCAL, gets: true, registers: true, pairs: true },
    Place { name: TOKENS[0], gets: false, registers: true, pairs: true },
    Place { name: FAR, gets: false, registers: true, pairs: true },
    Place { name: VAULT, gets: true, registers: true, pairs: true },
    Place { name: TOKENS[1], gets: false, registers: true, pairs: true },
    Place { name: PYKMIP, gets: true, registers: true, pairs: false },
    Place { name: FRONT, gets: false, registers: false, pairs: false },
    Place { name: MOCK, gets: true, registers: true, pairs: true },
];

pub(super) const LOCAL: &str = "local";
pub(super) const VAULT: &str = "vault";
pub(super) const TOKENS: [&str; 2] = ["token-a", "token-b"];
pub(super) const FAR: &str = "far";
pub(super) const FRONT: &str = "front";
pub(super) const PYKMIP: &str = "pykmip";
pub(super) const MOCK: &str = "mock";
