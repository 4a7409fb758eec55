//! The PKCS#11 module that misbehaves on demand (`tests/shim-pkcs11`), between a gateway and a token of a test.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::gateway::{TestGateway, build};
use crate::softhsm::Token;

/// The shim in front of a token.
#[derive(Debug)]
pub struct Shim {
    /// The token, through the shim.
    pub token: Token,
    control: PathBuf,
    _folder: tempfile::TempDir,
}

impl Shim {
    /// The module, brought up to date by cargo.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn module() -> io::Result<PathBuf> {
        static MODULE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let built = MODULE.get_or_init(|| build(&["--package", "keygate-shim-pkcs11"]).map_err(|e| e.to_string()));
        Ok(built.as_ref().map_err(|e| io::Error::other(e.clone()))?.join("libkeygate_shim_pkcs11.so"))
    }

    /// Puts the shim in front of a token, for a gateway that does not run yet. There are no rules at first.
    ///
    /// # Errors
    /// If it cannot be built, or its files cannot be written.
    pub fn before(real: &Token, gateway: &mut TestGateway) -> io::Result<Self> {
        // Not beside the gateway's data: its disk may be full when a rule is to be written.
        let folder = tempfile::tempdir()?;
        let control = folder.path().join("shim.control");
        std::fs::write(&control, "")?;
        std::fs::write(control.with_extension("log"), "")?;
        gateway.set_environment("KEYGATE_SHIM_MODULE", &real.module.to_string_lossy());
        gateway.set_environment("KEYGATE_SHIM_CONTROL", &control.to_string_lossy());
        Ok(Self { token: Token { module: Self::module()?, ..real.clone() }, control, _folder: folder })
    }

    /// Puts rules in force, instead of those before; counting begins anew. See `tests/shim-pkcs11/src/control.rs`.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn rules(&self, rules: &[&str]) {
        // Numbers of matches belong to the rules; a file that is replaced has another inode.
        let _ = std::fs::remove_file(self.control.with_extension("counts"));
        let lines: Vec<String> = rules.iter().enumerate().map(|(number, rule)| format!("{number} {rule}\n")).collect();
        let next = self.control.with_extension("next");
        let written = std::fs::write(&next, lines.concat()).and_then(|()| std::fs::rename(&next, &self.control));
        assert!(written.is_ok(), "cannot write rules: {written:?}");
    }

    /// The log's lines after the process id: `C_Login 0x0`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.lines().into_iter().map(|(_, line)| line).collect()
    }

    /// How often a function was called; for those that are always logged.
    #[must_use]
    pub fn calls(&self, function: &str) -> usize {
        let begin = format!("{function} 0x");
        self.log().iter().filter(|line| line.starts_with(&begin)).count()
    }

    /// How often rules acted on a function.
    #[must_use]
    pub fn acted(&self, function: &str) -> usize {
        let begin = format!("{function} ");
        self.log().iter().filter(|line| line.starts_with(&begin) && !line[begin.len()..].starts_with("0x")).count()
    }

    /// The processes that have initialised the module.
    #[must_use]
    pub fn processes(&self) -> BTreeSet<u32> {
        let lines = self.lines().into_iter();
        lines.filter(|(_, line)| line.starts_with("C_Initialize")).map(|(process, _)| process).collect()
    }

    fn lines(&self) -> Vec<(u32, String)> {
        let log = match std::fs::read_to_string(self.control.with_extension("log")) {
            Ok(log) => log,
            Err(error) => panic!("no log of the shim: {error}"),
        };
        let line = |line: &str| {
            let (process, rest) = line.split_once(' ')?;
            Some((process.parse().ok()?, rest.to_owned()))
        };
        log.lines().filter_map(line).collect()
    }
}
