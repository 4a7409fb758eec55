//! `export` and `import`.

use std::{io::Write as _, path::PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use clap::{Args, ValueEnum};
use keygate_kmip::CryptographicAlgorithm;
use zeroize::Zeroizing;

use super::{
    Failure,
    api::{Path, args::Via},
    backup::{LockArguments, text_secret},
    code,
    files::secret_text_of,
    out_file::OutFile,
    output,
    transfer::{self, ProgressLine},
};
use crate::{
    admin::{AdminReply, AdminRequest, Password, Progress, chain},
    age_file::{AgeError, Lock, Opener},
    api::ExportView,
    export::{ExportFormat, ExportSummary, password},
    import::{self, Credentials, FileLinks, ImportError, ImportItem, ImportOrder, ImportReport, Kind, LinkReport},
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
    #[command(flatten)]
    lock: LockArguments,
    /// For zip-json and zip-xml: file (mode 0600) with the password, of 80 bits or more. Without it one is made and shown once.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    via: Via,
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
    let via = &arguments.via;
    let file = OutFile::create(&arguments.to)?;
    let summary = match &via.server {
        Some(server) => from_elsewhere(via, server, &format, file)?,
        None => {
            let request = AdminRequest::Export { organisation: via.organisation.clone(), format };
            match transfer::fetch(&via.data()?, request, file)? {
                AdminReply::Exported(summary) => summary,
                _ => return Err(Failure::new(code::FAILED, "the server answered something else")),
            }
        }
    };
    if via.json {
        let mut value = serde_json::to_value(&summary).unwrap_or_default();
        value["password"] = made.as_ref().map(|password| password.as_str()).into();
        println!("{value}");
        return Ok(());
    }
    output::print(&AdminReply::Exported(summary), false);
    if let Some(password) = made {
        println!("password {}", *password);
        println!("It is not shown again. Hand it over by another way than the file.");
    }
    Ok(())
}

/// Over the admin API of a gateway elsewhere. The file is in its place only if its SHA-256 is the one that the gateway tells.
fn from_elsewhere(via: &Via, server: &str, format: &ExportFormat, mut file: OutFile) -> Result<ExportSummary, Failure> {
    let mut body = serde_json::json!({ "format": format.name() });
    match format {
        ExportFormat::Age(Lock::Recipients(recipients)) => body["recipients"] = recipients.clone().into(),
        ExportFormat::Age(Lock::Passphrase(_)) => {
            return Err(Failure::new(code::USAGE, "with --server an age file is made for recipients: give --recipient"));
        }
        ExportFormat::ZipJson(password) | ExportFormat::ZipXml(password) => body["password"] = password.0.as_str().into(),
    }
    let mut line = ProgressLine::default();
    let (mut octets, mut digest) = (0, Context::new(&SHA256));
    let report = via.fetch(server, Path::of(&["exports"]), body, |chunk| {
        octets += chunk.len() as u64;
        line.show_octets(octets);
        digest.update(chunk);
        file.write_all(chunk)
    });
    line.end();
    let report = report?.ok_or_else(|| Failure::new(code::FAILED, "the server tells nothing of the export"))?;
    let report: ExportView = serde_json::from_value(report).map_err(|_| Failure::new(code::FAILED, "the server's report is of another version"))?;
    if report.sha256 != hex::encode(digest.finish()) {
        return Err(Failure::new(code::FAILED, "what came is not what the server has sent: its SHA-256 differs"));
    }
    file.finish()?;
    let reasons = report.reasons.into_iter().map(|left| (left.id, left.reason)).collect();
    Ok(ExportSummary { keys: report.keys, left_out: report.left_out, reasons, sha256: report.sha256 })
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
    via: Via,
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

/// Keys that are sent at a time, and octets of them: a request is at most 1 MiB, and a device that keeps keys has a minute for it.
const BATCH_ITEMS: usize = 200;
const BATCH_ITEMS_ELSEWHERE: usize = 50;
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
        links: FileLinks::default(),
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
    let (report, linked) = sender.finish()?;
    if arguments.via.json {
        let mut value = serde_json::to_value(&report).unwrap_or_default();
        value["links"] = serde_json::to_value(linked).unwrap_or_default();
        println!("{value}");
    } else {
        output::print_import(&report, if arguments.dry_run { "would be " } else { "" });
        linked.print();
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
    links: FileLinks,
    failure: Option<Failure>,
}

/// What became of the links between the objects of a file.
#[derive(serde::Serialize)]
struct Linked {
    #[serde(flatten)]
    report: LinkReport,
    /// Those to objects that are not in the file, or were refused.
    astray: u64,
}

impl Linked {
    fn print(&self) {
        let Self { report: LinkReport { restored, left }, astray } = self;
        if restored + left + astray > 0 {
            println!("links: {restored} restored, {left} left as they were, {astray} to objects that did not come");
        }
    }
}

impl Sender<'_> {
    fn put(&mut self, mut item: ImportItem) -> Result<(), ImportError> {
        self.links.note(&mut item);
        let most = if self.arguments.via.server.is_some() { BATCH_ITEMS_ELSEWHERE } else { BATCH_ITEMS };
        let bytes = item.object.0.len() + item.attributes.len() + 2 * item.label.len() + 200;
        let is_full = self.batch.len() >= most || !self.batch.is_empty() && self.bytes + bytes > BATCH_BYTES;
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
            owner: self.arguments.owner.clone(),
            dry_run: self.arguments.dry_run,
            format: self.format.to_owned(),
            items: std::mem::take(&mut self.batch),
        };
        let report: ImportReport = post(&self.arguments.via, &["imports"], &order)?;
        self.links.became(&report);
        self.report.imported.extend(report.imported);
        self.report.duplicates.extend(report.duplicates);
        self.report.refused.extend(report.refused);
        Ok(())
    }

    /// Links come last, when every object they lead to is there.
    fn finish(self) -> Result<(ImportReport, Linked), Failure> {
        let mut linked = Linked { report: LinkReport::default(), astray: 0 };
        if self.arguments.dry_run {
            return Ok((self.report, linked));
        }
        let Self { arguments, report, links, .. } = self;
        let (orders, astray) = links.orders();
        linked.astray = astray;
        for order in orders {
            let done: LinkReport = post(&arguments.via, &["imports", "links"], &order)?;
            linked.report.restored += done.restored;
            linked.report.left += done.left;
        }
        Ok((report, linked))
    }
}

fn post<T: serde::de::DeserializeOwned>(via: &Via, path: &[&str], order: &impl serde::Serialize) -> Result<T, Failure> {
    let other_version = |_| Failure::new(code::FAILED, "the server's answer is of another version");
    let body = serde_json::to_value(order).map_err(other_version)?;
    serde_json::from_value(via.post(Path::of(path), body)?).map_err(other_version)
}

fn refused(error: ImportError) -> Failure {
    let class = match error {
        ImportError::Io(_) => code::FAILED,
        _ => code::USAGE,
    };
    Failure::new(class, chain(&error))
}
