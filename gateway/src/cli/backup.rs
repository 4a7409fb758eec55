//! `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

use super::{
    Failure,
    args::{Data, ShamirArguments, TokenArguments},
    code,
    files::{secret_text_of, text_of},
    out_file::OutFile,
    output,
    serve::block_on,
    slot::SlotArguments,
    transfer::{self, ProgressLine},
};
use crate::{
    admin::{AdminRequest, Password, Progress, chain},
    age_file::{Lock, Opener},
    app::SecretInput,
    audit::Actor,
    backup::{self, RestoreError, RestoreOrder},
};

/// `backup`.
#[derive(Args)]
pub(super) struct Backup {
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    #[command(flatten)]
    pub(super) lock: LockArguments,
    #[command(flatten)]
    pub(super) data: Data,
}

/// Who an age file is encrypted for.
#[derive(Args)]
pub(super) struct LockArguments {
    /// Public key (age1...) of who may open the file; may be given several times. `age-keygen` makes key pairs.
    #[arg(long = "recipient", value_name = "age1...")]
    recipients: Vec<String>,
    /// File with public keys, one a line.
    #[arg(long, value_name = "FILE")]
    recipients_file: Option<PathBuf>,
    /// File (mode 0600) with a passphrase instead: use a generated one of six words or more.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["recipients", "recipients_file"])]
    file_passphrase_file: Option<PathBuf>,
}

impl LockArguments {
    /// Whether anything was said.
    pub(super) fn is_given(&self) -> bool {
        !self.recipients.is_empty() || self.recipients_file.is_some() || self.file_passphrase_file.is_some()
    }

    /// Reads the files.
    pub(super) fn read(&self) -> Result<Lock, Failure> {
        if let Some(path) = &self.file_passphrase_file {
            return Ok(Lock::Passphrase(Password(text_secret(path)?)));
        }
        let mut recipients = self.recipients.clone();
        if let Some(path) = &self.recipients_file {
            let text = text_of(path)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            recipients.extend(lines.map(str::to_owned));
        }
        if recipients.is_empty() {
            let text = "say who may open the file: --recipient, --recipients-file or --file-passphrase-file";
            return Err(Failure::new(code::USAGE, text));
        }
        Ok(Lock::Recipients(recipients))
    }
}

/// What opens an age file.
#[derive(Args)]
pub(super) struct OpenerArguments {
    /// File (mode 0600) with the private key, as `age-keygen` writes it.
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Option<PathBuf>,
    /// File (mode 0600) with the passphrase the file was encrypted with.
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    pub(super) passphrase_file: Option<PathBuf>,
}

impl OpenerArguments {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Opener, Failure> {
        let usage = |error| Failure::new(code::USAGE, chain(&error));
        match (&self.identity, &self.passphrase_file) {
            (Some(path), _) => Opener::from_identities(&secret_text_of(path)?).map_err(usage),
            (None, Some(path)) => Ok(Opener::Passphrase(text_secret(path)?.into())),
            (None, None) => Err(Failure::new(code::USAGE, "say what opens the file: --identity or --passphrase-file")),
        }
    }
}

/// The first and only line of a file of mode 0600.
pub(super) fn text_secret(path: &std::path::Path) -> Result<String, Failure> {
    let secret = SecretInput::File(path.to_owned()).read()?;
    let text = std::str::from_utf8(secret.expose()).map(str::to_owned);
    text.map_err(|_| Failure::new(code::USAGE, format!("{} is not UTF-8", path.display())))
}

pub(super) fn backup(arguments: &Backup) -> Result<(), Failure> {
    let lock = arguments.lock.read()?;
    let file = OutFile::create(&arguments.to)?;
    let reply = transfer::fetch(&arguments.data, AdminRequest::Backup { lock }, file)?;
    output::print(&reply, arguments.data.json);
    Ok(())
}

/// `restore`.
#[derive(Args)]
pub(super) struct Restore {
    /// The data directory to make; it must not exist.
    #[arg(long, value_name = "D", env = "KEYGATE_DATA_DIR")]
    data_dir: PathBuf,
    /// The backup.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    opener: OpenerArguments,
    /// SHA-256 that the file must have, as `backup` printed it.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// The file `anchor` of the data directory that was lost: a backup of another store, or an older one, is refused.
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Refuses a backup that ends before this commit.
    #[arg(long, value_name = "N")]
    not_older_than: Option<u64>,
    /// Takes an older backup: what was done since is lost, and destroyed keys may come back.
    #[arg(long)]
    accept_older: bool,
    /// What opens the new store: keyfile[=PATH] (default D/seal.key), passphrase, systemd-creds[=host|tpm2|host+tpm2|auto], pkcs11.
    #[arg(long, value_name = "KIND", default_value = "keyfile")]
    seal: String,
    #[command(flatten)]
    token: TokenArguments,
    /// File (mode 0600) that holds the passphrase of a new passphrase slot.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Answers in JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn restore(arguments: &Restore) -> Result<(), Failure> {
    let sha256 = arguments.sha256.as_deref().map(digest_of).transpose()?;
    let passphrase = arguments.new_passphrase_file.clone().map(SecretInput::File);
    if arguments.seal == "shamir" {
        return Err(Failure::new(code::USAGE, "a restored store is sealed by another kind of slot first; then `keygate seal add shamir`"));
    }
    let no_shares = ShamirArguments::default();
    let slot = SlotArguments::parse(&arguments.seal, &arguments.token, &no_shares, passphrase, "--new-passphrase")?.read()?;
    let opener = arguments.opener.read()?;
    let mut line = ProgressLine::default();
    let order = RestoreOrder {
        from: &arguments.from,
        opener,
        target: &arguments.data_dir,
        slot,
        sha256,
        anchor: arguments.anchor.as_deref(),
        not_older_than: arguments.not_older_than,
        accept_older: arguments.accept_older,
        actor: Actor::LocalUser(rustix::process::getuid().as_raw()),
        progress: &mut |done, total| line.show(Progress { done, total }),
    };
    let restored = block_on(async { Ok(backup::restore(order).await?) });
    line.end();
    let restored = restored?;
    if arguments.json {
        println!("{}", serde_json::to_value(&restored).unwrap_or_default());
        return Ok(());
    }
    let [objects, entries, segments] = restored.counts;
    println!("restored store {} to {}", restored.store, arguments.data_dir.display());
    println!(
        "{objects} objects, {entries} entries, {segments} audit segments, to commit {}, epoch {}",
        restored.commit, restored.epoch
    );
    if restored.lost > 0 {
        println!("warning: {} rows did not open when the backup was made and are lost", restored.lost);
    }
    if restored.unfinished > 0 {
        println!(
            "note: {} keys were being made or destroyed in devices when the backup was made; what is left of them there belongs to no object",
            restored.unfinished
        );
    }
    if restored.broken_links > 0 {
        println!(
            "warning: the audit record was not intact when the backup was made; `keygate audit verify` says where"
        );
    }
    Ok(())
}

fn digest_of(text: &str) -> Result<[u8; 32], Failure> {
    let mut digest = [0; 32];
    let decoded = hex::decode_to_slice(text.trim(), &mut digest);
    decoded.map(|()| digest).map_err(|_| Failure::new(code::USAGE, "--sha256 takes 64 hexadecimal digits"))
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let code = match &error {
            RestoreError::Exists(_) => code::NAME,
            RestoreError::Older { .. } | RestoreError::OtherStore { .. } | RestoreError::OtherFile { .. } => {
                code::NOT_INTACT
            }
            RestoreError::Frame(_) | RestoreError::Copy(_) | RestoreError::NotIntact(_) => code::NOT_INTACT,
            RestoreError::Seal(_) => code::SEALED,
            _ => code::FAILED,
        };
        Self::new(code, chain(&error))
    }
}
