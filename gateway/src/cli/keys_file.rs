//! `export` and `import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use keygate_kmip::CryptographicAlgorithm;
use zeroize::Zeroizing;

use super::{
    Failure, admin,
    args::Data,
    backup::{LockArguments, text_secret},
    code,
    files::secret_text_of,
    out_file::OutFile,
    output,
    transfer::{self, ProgressLine},
};
use crate::{
    admin::{AdminReply, AdminRequest, Password, Progress, chain},
    age_file::{AgeError, Opener},
    export::{ExportFormat, password},
    import::{self, Credentials, ImportError, ImportItem, ImportOrder, ImportReport, Kind},
};

/// `export`.
#[derive(Args)]
pub(super) struct Export {
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Form of the file.
    #[arg(long, value_name = "FORM", default_value = "age")]
    format: FormatArgument,
    /// The organisation; without it, the default one.
    #[arg(long, value_name = "NAME")]
    organisation: Option<String>,
    #[command(flatten)]
    lock: LockArguments,
    /// For zip-json and zip-xml: file (mode 0600) with the password, of 80 bits or more. Without it one is made and shown once.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
}

/// Forms of an export.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArgument {
    /// One JSON document for age recipients, or under a passphrase.
    Age,
    /// A ZIP with one JSON document, AES-256 under a password.
    ZipJson,
    /// A ZIP with one XML file per key, each encrypted under a password (Argon2id, AES-256-GCM).
    ZipXml,
}

pub(super) fn export(arguments: &Export) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::new(code::USAGE, text));
    let mut made = None;
    let format = if arguments.format == FormatArgument::Age {
        if arguments.password_file.is_some() {
            return usage("--password-file is for zip-json and zip-xml; an age file takes --file-passphrase-file");
        }
        ExportFormat::Age(arguments.lock.read()?)
    } else {
        if arguments.lock.is_given() {
            return usage("recipients and --file-passphrase-file are for --format age");
        }
        let given = match &arguments.password_file {
            Some(path) => Zeroizing::new(text_secret(path)?),
            None => {
                let password = password::generate()?;
                made = Some(password.clone());
                password
            }
        };
        password::check(&given).map_err(|error| Failure::new(code::USAGE, error.to_string()))?;
        let password = Password(given.to_string());
        if arguments.format == FormatArgument::ZipJson {
            ExportFormat::ZipJson(password)
        } else {
            ExportFormat::ZipXml(password)
        }
    };
    let file = OutFile::create(&arguments.to)?;
    let request = AdminRequest::Export { organisation: arguments.organisation.clone(), format };
    let reply = transfer::fetch(&arguments.data, request, file)?;
    if let (true, AdminReply::Exported(summary)) = (arguments.data.json, &reply) {
        let mut value = serde_json::to_value(summary).unwrap_or_default();
        value["password"] = made.as_ref().map(|password| password.as_str()).into();
        println!("{value}");
        return Ok(());
    }
    output::print(&reply, arguments.data.json);
    if let Some(password) = made {
        println!("password {}", *password);
        println!("It is not shown again. Hand it over by another way than the file.");
    }
    Ok(())
}

/// `import`.
#[derive(Args)]
pub(super) struct Import {
    /// The file: an export of a gateway (ZIP, age, JSON), PKCS#12, PKCS#8, PEM or DER; with --algorithm a raw key.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The client that is to own the keys. Without it, clients of the names that an export tells.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// The organisation; without it, the default one.
    #[arg(long, value_name = "NAME")]
    organisation: Option<String>,
    /// File (mode 0600) with the password of the ZIP, PKCS#12 or PKCS#8 file, or the passphrase of the age file.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File (mode 0600) with the private key that opens the age file.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The file is a raw symmetric key of this algorithm: aes, 3des, chacha20, hmac-sha1, -sha224, -sha256, -sha384, -sha512.
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<CryptographicAlgorithm>,
    /// How the raw key is written.
    #[arg(long, value_name = "HOW", default_value = "hex", requires = "algorithm")]
    encoding: import::Encoding,
    /// Name of the key, where the file holds one that tells none.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Makes keys Active that tell no state.
    #[arg(long)]
    activate: bool,
    /// Looks and tells, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data: Data,
}

fn algorithm(text: &str) -> Result<CryptographicAlgorithm, String> {
    use CryptographicAlgorithm as A;
    Ok(match text.to_ascii_lowercase().as_str() {
        "aes" => A::Aes,
        "3des" | "des3" => A::Des3,
        "chacha20" => A::ChaCha20,
        "hmac-sha1" => A::HmacSha1,
        "hmac-sha224" => A::HmacSha224,
        "hmac-sha256" => A::HmacSha256,
        "hmac-sha384" => A::HmacSha384,
        "hmac-sha512" => A::HmacSha512,
        _ => {
            return Err(
                "none of aes, 3des, chacha20, hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512".into()
            );
        }
    })
}

/// Keys that are sent at a time, and octets of them: a request is at most 1 MiB.
const BATCH_ITEMS: usize = 200;
const BATCH_BYTES: usize = 768 * 1024;

pub(super) fn import(arguments: &Import) -> Result<(), Failure> {
    let credentials = credentials(arguments)?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()).unwrap_or_default();
    let kind = Kind {
        raw: arguments.algorithm.map(|algorithm| (algorithm, arguments.encoding)),
        name: arguments.name.clone(),
        active_since: arguments.activate.then_some(now),
    };
    // The first reading finds out whether the file is whole and as it was written; nothing is sent before.
    let read = |put: &mut dyn FnMut(ImportItem) -> Result<(), ImportError>| {
        import::read(&arguments.from, &kind, &credentials, put)
    };
    let found = read(&mut |_| Ok(())).map_err(refused)?;
    let mut sender = Sender {
        arguments,
        format: found.format,
        batch: Vec::new(),
        bytes: 0,
        report: ImportReport::default(),
        failure: None,
    };
    let mut line = ProgressLine::default();
    let mut done = 0;
    let again = read(&mut |item| {
        done += 1;
        if done % BATCH_ITEMS as u64 == 0 {
            line.show(Progress { done, total: found.items });
        }
        sender.put(item)
    });
    line.end();
    if let Some(failure) = sender.failure.take() {
        return Err(failure);
    }
    again.map_err(refused)?;
    sender.send()?;
    let report = sender.report;
    if arguments.data.json {
        println!("{}", serde_json::to_value(&report).unwrap_or_default());
    } else {
        output::print_import(&report, if arguments.dry_run { "would be " } else { "" });
    }
    match report.refused.len() {
        0 => Ok(()),
        count => Err(Failure::new(code::FAILED, format!("{count} keys were refused"))),
    }
}

fn credentials(arguments: &Import) -> Result<Credentials, Failure> {
    let usage = |error: AgeError| Failure::new(code::USAGE, chain(&error));
    let password = arguments.password_file.as_ref().map(|path| text_secret(path).map(Zeroizing::new)).transpose()?;
    let opener = match (&arguments.identity, &password) {
        (Some(path), _) => Some(Opener::from_identities(&secret_text_of(path)?).map_err(usage)?),
        (None, Some(password)) => Some(Opener::Passphrase(password.as_str().into())),
        (None, None) => None,
    };
    Ok(Credentials { password, opener })
}

/// Collects keys and sends them some at a time.
struct Sender<'a> {
    arguments: &'a Import,
    format: &'static str,
    batch: Vec<ImportItem>,
    bytes: usize,
    report: ImportReport,
    failure: Option<Failure>,
}

impl Sender<'_> {
    fn put(&mut self, item: ImportItem) -> Result<(), ImportError> {
        let bytes = item.object.0.len() + item.attributes.len() + 2 * item.label.len() + 200;
        let is_full = self.batch.len() >= BATCH_ITEMS || !self.batch.is_empty() && self.bytes + bytes > BATCH_BYTES;
        if is_full && let Err(failure) = self.send() {
            self.failure = Some(failure);
            return Err(ImportError::Content("the server refuses".into()));
        }
        self.bytes += bytes;
        self.batch.push(item);
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let order = ImportOrder {
            organisation: self.arguments.organisation.clone(),
            owner: self.arguments.owner.clone(),
            dry_run: self.arguments.dry_run,
            format: self.format.to_owned(),
            items: std::mem::take(&mut self.batch),
        };
        match admin::send(&self.arguments.data, AdminRequest::Import(order))? {
            AdminReply::Imported(report) => {
                self.report.imported.extend(report.imported);
                self.report.duplicates.extend(report.duplicates);
                self.report.refused.extend(report.refused);
                Ok(())
            }
            _ => Err(Failure::new(code::FAILED, "the server answered something else")),
        }
    }
}

fn refused(error: ImportError) -> Failure {
    let class = match error {
        ImportError::Io(_) => code::FAILED,
        _ => code::USAGE,
    };
    Failure::new(class, chain(&error))
}
