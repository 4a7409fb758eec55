//! A throw-away token, made by the project's own helpers: SoftHSM's, or kryoptic's where PKCS#11 3.x matters.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::gateway::{TestGateway, succeed, workspace};

/// A token in a folder of a test's.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its label.
    pub label: String,
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// The variable by which the module finds its configuration.
    pub variable: &'static str,
    /// What it is to be.
    pub configuration: PathBuf,
    /// The file with the user PIN.
    pub pin_file: PathBuf,
}

impl Token {
    /// Makes a SoftHSM token.
    ///
    /// # Errors
    /// If SoftHSM is not installed.
    pub fn make(folder: &Path, label: &str) -> io::Result<Self> {
        Self::run("softhsm-config/make-token.sh", "SOFTHSM2_CONF", folder, label)
    }

    /// Makes a kryoptic token. The first one that is made anywhere builds kryoptic, which takes some minutes.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn kryoptic(folder: &Path, label: &str) -> io::Result<Self> {
        Self::run("tests/kryoptic/make-token.sh", "KRYOPTIC_CONF", folder, label)
    }

    fn run(script: &str, variable: &'static str, folder: &Path, label: &str) -> io::Result<Self> {
        let script = workspace().join(script);
        let printed = succeed(Command::new("sh").arg(script).arg(folder).arg(label))?;
        let values: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.split_once('=')).collect();
        let path = |name: &str| {
            values.get(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("no {name} in: {printed}")))
        };
        Ok(Self {
            label: label.to_owned(),
            module: path("MODULE")?,
            variable,
            configuration: path(variable)?,
            pin_file: path("PIN_FILE")?,
        })
    }

    /// Makes it a keystore of a gateway that does not run yet.
    pub fn join(&self, gateway: &mut TestGateway, name: &str, workers: usize) {
        gateway.configure(&self.keystore(name, workers));
        self.show(gateway);
    }

    /// Tells a gateway that does not run yet where the module finds its tokens: by the environment.
    pub fn show(&self, gateway: &mut TestGateway) {
        gateway.set_environment(self.variable, &self.configuration.to_string_lossy());
    }

    /// The table for `keygate.toml` that makes a keystore of it.
    #[must_use]
    pub fn keystore(&self, name: &str, workers: usize) -> String {
        format!(
            "\n[[keystore]]\nname = \"{name}\"\nkind = \"pkcs11\"\nmodule = \"{}\"\ntoken-label = \"{}\"\npin-file = \"{}\"\n\
             workers = {workers}\n",
            self.module.display(),
            self.label,
            self.pin_file.display(),
        )
    }

    /// The user PIN.
    ///
    /// # Errors
    /// If the file is gone.
    pub fn pin(&self) -> io::Result<String> {
        Ok(std::fs::read_to_string(&self.pin_file)?.trim().to_owned())
    }

    /// The secret and private keys on the token, by label, as OpenSC's tool lists them: a program that shares nothing with ours.
    ///
    /// Left out are objects without label: SoftHSM writes an object's class first, its label and id next and its value last, so
    /// one that was killed in between leaves an object that holds no key, and that nothing tells from another application's.
    ///
    /// # Errors
    /// If the tool is not installed, or the token cannot be read.
    pub fn keys(&self) -> io::Result<BTreeSet<String>> {
        let mut command = Command::new("pkcs11-tool");
        command.env(self.variable, &self.configuration).env("KEYGATE_TEST_PIN", self.pin()?);
        command.arg("--module").arg(&self.module).args(["--token-label", &self.label, "--login", "--pin", "env:KEYGATE_TEST_PIN"]);
        let listed = succeed(command.arg("--list-objects"))?;
        let mut keys = BTreeSet::new();
        let mut is_key = false;
        for line in listed.lines() {
            if !line.starts_with(' ') {
                is_key = line.starts_with("Private Key Object") || line.starts_with("Secret Key Object");
            } else if let Some(label) = line.trim().strip_prefix("label:").map(str::trim).filter(|label| is_key && !label.is_empty()) {
                keys.insert(label.to_owned());
            }
        }
        Ok(keys)
    }
}
