//! Writing an export: the document or one file per key, encrypted as it is written.

use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;
use zip::{AesMode, CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::collect::{Collected, Collector, LeftOut};
use super::xml::XmlKey;
use super::{ExportPermit, ExportedKey, FORMAT, FORMAT_VERSION, password};
use crate::admin::{AdminError, DataSink, Password, Progress, ProgressSink};
use crate::age_file::Lock;
use crate::audit::{Action, Details, Event, Outcome};
use crate::operation::{Gateway, now_ms};
use crate::store::Commit;

/// Objects left out that are listed; the others are counted.
const LISTED_MAX: usize = 10_000;
/// From so many objects on a ZIP entry may outgrow 4 GiB.
const LARGE: u64 = 1_000_000;

/// In which form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// `keys.json` for age recipients or under a passphrase.
    Age(Lock),
    /// A ZIP with `keys.json` under a password, AES-256.
    ZipJson(Password),
    /// A ZIP with one XML file per key, each encrypted under a passphrase.
    ZipXml(Password),
}

impl ExportFormat {
    /// Its name, as on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Age(_) => "age",
            Self::ZipJson(_) => "zip-json",
            Self::ZipXml(_) => "zip-xml",
        }
    }

    fn label(&self) -> Vec<String> {
        match self {
            Self::Age(lock) => lock.label(),
            Self::ZipJson(_) | Self::ZipXml(_) => vec!["password".into()],
        }
    }

    /// Refuses weak passwords. Those of age files go through scrypt and are the operator's to choose.
    fn check(&self) -> Result<(), AdminError> {
        match self {
            Self::ZipJson(given) | Self::ZipXml(given) => {
                password::check(&given.0).map_err(|error| AdminError::usage(error.to_string()))
            }
            Self::Age(_) => Ok(()),
        }
    }
}

/// What has left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportSummary {
    /// Keys and other objects in the file.
    pub keys: u64,
    /// Objects that did not leave.
    pub left_out: u64,
    /// Of those, at most 10,000: identifier and reason.
    pub reasons: Vec<(String, String)>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// Writes an export to `out`. The event is on disk before the first octet leaves.
///
/// # Errors
/// A weak password, recipients that are none, the store, whoever reads `out` being gone.
pub async fn make(
    gateway: Arc<Gateway>,
    permit: ExportPermit,
    organisation: String,
    format: ExportFormat,
    out: DataSink,
) -> Result<ExportSummary, AdminError> {
    format.check()?;
    let collector = Collector::new(gateway.clone(), permit.organisation());
    let total = collector.count().await?;
    let (format, encryptor) = tokio::task::spawn_blocking(move || match &format {
        ExportFormat::Age(lock) => lock.encryptor().map(|encryptor| (format, Some(encryptor))),
        ExportFormat::ZipJson(_) | ExportFormat::ZipXml(_) => Ok((format, None)),
    })
    .await
    .map_err(AdminError::failed)?
    .map_err(|error| AdminError::usage(error.to_string()))?;
    let event = Event {
        at_ms: now_ms(),
        actor: permit.actor().clone(),
        source: permit.source(),
        organisation: Some(permit.organisation()),
        action: Action::KeysExported,
        object: None,
        outcome: Outcome::Done,
        details: Details::Transfer { format: format.name().into(), count: total, recipients: format.label() },
    };
    gateway.store.commit(Commit { events: vec![event], ..Commit::default() }).await?;
    let runtime = tokio::runtime::Handle::current();
    let source = Source {
        runtime,
        collector,
        organisation,
        total,
        progress: out.progress(),
        keys: 0,
        left_out: Vec::new(),
        left_out_count: 0,
    };
    let written = tokio::task::spawn_blocking(move || write(source, &format, encryptor, out));
    written.await.map_err(AdminError::failed)?
}

/// Where the keys come from, and what became of them.
struct Source {
    runtime: tokio::runtime::Handle,
    collector: Collector,
    organisation: String,
    total: u64,
    progress: ProgressSink,
    keys: u64,
    left_out: Vec<LeftOut>,
    left_out_count: u64,
}

impl Source {
    /// Hands every key to `put`.
    fn each(&mut self, mut put: impl FnMut(&ExportedKey) -> Result<(), AdminError>) -> Result<(), AdminError> {
        while let Some(page) = self.runtime.block_on(self.collector.next())? {
            for collected in page {
                match collected {
                    Collected::Key(key) => {
                        put(&key)?;
                        self.keys += 1;
                    }
                    Collected::LeftOut(object) => {
                        self.left_out_count += 1;
                        if self.left_out.len() < LISTED_MAX {
                            self.left_out.push(object);
                        }
                    }
                }
            }
            self.progress.tell(Progress { done: self.keys + self.left_out_count, total: self.total });
        }
        Ok(())
    }

    /// Writes `keys.json`.
    fn document(&mut self, mut out: impl Write) -> Result<(), AdminError> {
        let exported =
            time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (organisation, exported) = (quoted(&self.organisation), quoted(&exported));
        write!(
            out,
            "{{\"format\":\"{FORMAT}\",\"version\":{FORMAT_VERSION},\"organisation\":{organisation},\"exported\":{exported},\"keys\":["
        )?;
        let mut is_first = true;
        self.each(|key| {
            out.write_all(if std::mem::take(&mut is_first) { b"\n" } else { b",\n" })?;
            let text = Zeroizing::new(serde_json::to_vec(key).map_err(AdminError::failed)?);
            Ok(out.write_all(&text)?)
        })?;
        out.write_all(b"],\n\"left_out\":")?;
        serde_json::to_writer(&mut out, &self.left_out).map_err(AdminError::failed)?;
        Ok(out.write_all(b"}\n")?)
    }

    fn summary(self, sha256: String) -> ExportSummary {
        let reasons = self.left_out.into_iter().map(|object| (object.id, object.reason)).collect();
        ExportSummary { keys: self.keys, left_out: self.left_out_count, reasons, sha256 }
    }
}

fn write(
    mut source: Source,
    format: &ExportFormat,
    encryptor: Option<age::Encryptor>,
    out: DataSink,
) -> Result<ExportSummary, AdminError> {
    let mut out = match (format, encryptor) {
        (ExportFormat::ZipXml(passphrase), _) => xml_files(&mut source, passphrase, out)?,
        (ExportFormat::ZipJson(password), _) => {
            let mut zip = ZipWriter::new_stream(out);
            let options = options().with_aes_encryption(AesMode::Aes256, &password.0).large_file(source.total >= LARGE);
            zip.start_file("keys.json", options).map_err(io::Error::from)?;
            source.document(&mut zip)?;
            zip.finish().map_err(io::Error::from)?.into_inner()
        }
        (ExportFormat::Age(_), Some(encryptor)) => {
            let mut file = encryptor.wrap_output(out)?;
            source.document(&mut file)?;
            file.finish()?
        }
        (ExportFormat::Age(_), None) => return Err(AdminError::usage("an age file needs recipients")),
    };
    out.flush()?;
    Ok(source.summary(out.sha256()))
}

fn xml_files(source: &mut Source, passphrase: &Password, out: DataSink) -> Result<DataSink, AdminError> {
    let key = XmlKey::new(&passphrase.0).map_err(|error| AdminError::usage(error.to_string()))?;
    let mut zip = ZipWriter::new_stream(out);
    source.each(|exported| {
        let text = Zeroizing::new(serde_json::to_vec(exported).map_err(AdminError::failed)?);
        let xml = key.encrypt(&exported.id, &text).map_err(AdminError::failed)?;
        zip.start_file(format!("{}.xml", exported.id), options()).map_err(io::Error::from)?;
        Ok(zip.write_all(xml.as_bytes())?)
    })?;
    zip.start_file("left-out.json", options()).map_err(io::Error::from)?;
    serde_json::to_writer(&mut zip, &source.left_out).map_err(AdminError::failed)?;
    Ok(zip.finish().map_err(io::Error::from)?.into_inner())
}

/// Not compressed: keys do not get smaller, and encrypted ones tell nothing by their length.
fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o600)
}
