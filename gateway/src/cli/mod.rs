//! The command line: arguments -> requests, answers -> text or JSON, failures -> exit codes.

mod admin;
mod api;
mod args;
mod backup;
mod enrol;
mod files;
mod init;
mod keys_file;
mod kmip;
mod out_file;
mod output;
mod serve;
mod shares;
mod slot;
mod table;
mod time;
mod transfer;
mod typed;
mod unseal;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    admin::{AdminError, ConnectError, ErrorClass, chain},
    app::{AppError, SecretInputError, ServeError, UnlockError, WaitError},
    config::Problems,
    data_dir::DataDirError,
};
use args::{Arguments, Command};

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    // Before the first secret is read. On kernels that refuse, core dumps stay as the administrator set them.
    let _ = crate::seal::harden_process();
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Pkcs11Worker) {
        return ExitCode::from(keygate_backends::pkcs11::worker_main());
    }
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command ended, as the shell sees it.
struct Failure {
    code: u8,
    message: String,
}

/// The exit codes, as `--help` shows them.
mod code {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const IN_USE: u8 = 3;
    pub(super) const NAME: u8 = 4;
    pub(super) const NOT_INTACT: u8 = 5;
    pub(super) const SEALED: u8 = 6;
    pub(super) const REFUSED: u8 = 7;
    pub(super) const LATER: u8 = 8;
    pub(super) const REVOKED: u8 = 9;
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Arguments {
    fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Backup(arguments) => backup::backup(&arguments),
            Command::Export(arguments) => keys_file::export(&arguments),
            Command::Import(arguments) => keys_file::import(&arguments),
            Command::Restore(arguments) => backup::restore(&arguments),
            Command::Enrol(arguments) => enrol::run(&arguments),
            Command::Init(init) => init::run(&init),
            Command::Kmip(command) => kmip::run(&command),
            Command::Serve(arguments) => serve::run(&arguments),
            Command::Config(command) => serve::config(&command),
            Command::Store(command) => serve::store(&command),
            Command::Unseal(arguments) => unseal::run(&arguments),
            other => admin::run(other),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let code = match error.class {
            ErrorClass::Failed => code::FAILED,
            ErrorClass::Name => code::NAME,
            ErrorClass::Usage => code::USAGE,
        };
        Self::new(code, error.message)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused(error) => error.into(),
            other => Self::new(code::FAILED, chain(&other)),
        }
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let code = if matches!(error, DataDirError::InUse(_)) { code::IN_USE } else { code::FAILED };
        Self::new(code, chain(&error))
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::new(code::USAGE, problems.to_string())
    }
}

impl From<SecretInputError> for Failure {
    fn from(error: SecretInputError) -> Self {
        Self::new(code::USAGE, chain(&error))
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::DataDir(error) => error.into(),
            AppError::Unlock(error) => error.into(),
            other => Self::new(code::FAILED, chain(&other)),
        }
    }
}

impl From<UnlockError> for Failure {
    fn from(error: UnlockError) -> Self {
        match error {
            UnlockError::Input(error) => error.into(),
            other => Self::new(code::SEALED, chain(&other)),
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let code = if matches!(error, ServeError::SealTokenLost { .. }) { code::SEALED } else { code::FAILED };
        Self::new(code, chain(&error))
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Serve(error) => error.into(),
            WaitError::Unlock(error) => error.into(),
        }
    }
}

macro_rules! plain_failures {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(code::FAILED, chain(&error))
            }
        }
    )*};
}
plain_failures!(
    std::io::Error,
    keygate_pki::PkiError,
    crate::app::GatewayError,
    crate::authority::AuthorityError,
    crate::provisioning::ProvisioningError,
    crate::store::CommitError,
    crate::store::OpenError,
);
