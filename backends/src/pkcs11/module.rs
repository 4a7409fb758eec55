//! One loaded PKCS#11 module per process and path, and the gate that keeps C_Finalize alone.
//!
//! Every call into the module happens inside [`Module::enter`]. [`Module::renew`] waits until nobody is inside,
//! finalises and initialises, and so begins a new *generation*: all sessions, handles and logins of older generations
//! are gone and must be forgotten, not closed. A vendor call that never returns therefore blocks renewal and, behind
//! it, the module; only a separate process could end it.

use super::ckr;
use super::raw::Functions;
use crate::error::Result;
use cryptoki_sys as ck;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// A loaded module.
pub(super) struct Module {
    functions: Functions,
    /// The generation; 0 before the first C_Initialize.
    gate: RwLock<u64>,
}

/// Proof of being inside: the module is not finalised while it lives.
pub(super) struct Inside(RwLockReadGuard<'static, u64>);

impl Inside {
    /// The generation that lasts as long as this value.
    pub(super) fn generation(&self) -> u64 {
        *self.0
    }
}

impl Module {
    /// The module of a path, loaded at the first request and never unloaded.
    pub(super) fn of(path: &Path) -> Result<&'static Self> {
        static LOADED: OnceLock<Mutex<HashMap<PathBuf, &'static Module>>> = OnceLock::new();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(&path) {
            return Ok(module);
        }
        let module: &'static Self =
            Box::leak(Box::new(Self { functions: Functions::load(&path)?, gate: RwLock::new(0) }));
        loaded.insert(path, module);
        Ok(module)
    }

    pub(super) fn functions(&'static self) -> &'static Functions {
        &self.functions
    }

    /// Goes inside.
    pub(super) fn enter(&'static self) -> Inside {
        Inside(self.gate.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finalises and initialises, unless somebody has done so since generation `seen`.
    pub(super) fn renew(&self, seen: u64) -> Result<()> {
        let mut generation = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        if *generation > seen {
            return Ok(());
        }
        if *generation > 0 {
            // A module that has lost its device may refuse even this; C_Initialize tells.
            let _ = self.functions.finalize();
        }
        match self.functions.initialize() {
            Err(e) if !ckr::is(&e, ck::CKR_CRYPTOKI_ALREADY_INITIALIZED) => return Err(e),
            _ => *generation += 1,
        }
        Ok(())
    }
}
