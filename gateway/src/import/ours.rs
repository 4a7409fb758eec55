//! Our own exports: `keys.json`, by itself, in a ZIP or in an age file, and ZIPs of encrypted XML files.

use std::fs::File;
use std::io::{BufReader, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{Attribute, AttributeInstance, Attributes, Link, UniqueIdentifier};
use zeroize::Zeroizing;
use zip::{ZipArchive, result::ZipError};

use super::document::read_document;
use super::{FileLink, ImportItem};
use super::read::{ImportError, Put};
use crate::admin::Password;
use crate::export::xml::{FILE_BYTES_MAX, XmlOpener};
use crate::export::ExportedKey;

/// Most files of an archive.
const FILES_MAX: usize = 1 << 20;

/// Reads `keys.json`, a key at a time.
pub(super) fn document(reader: impl Read, put: Put<'_>) -> Result<(), ImportError> {
    let mut refused = None;
    let read = read_document(reader, &mut |key| match put(item(key)) {
        Ok(()) => true,
        Err(error) => {
            refused = Some(error);
            false
        }
    });
    match refused {
        Some(error) => Err(error),
        None => read.map_err(|error| ImportError::Content(error.to_string())),
    }
}

fn item(mut key: ExportedKey) -> ImportItem {
    let name = key.names.first().map(|name| format!(" ({name})")).unwrap_or_default();
    ImportItem {
        label: format!("{}{name}", key.id),
        links: links(&key.attributes_ttlv),
        id: std::mem::take(&mut key.id),
        owner: std::mem::take(&mut key.owner),
        object: Password(std::mem::take(&mut key.object_ttlv)),
        attributes: std::mem::take(&mut key.attributes_ttlv),
        compromised: key.state.as_deref() == Some("Compromised"),
    }
}

/// The links among attributes. Attributes that cannot be read are refused by the server, with the reason.
fn links(attributes_ttlv: &str) -> Vec<FileLink> {
    let attributes = STANDARD.decode(attributes_ttlv).ok().and_then(|octets| Attributes::from_stored_bytes(&octets).ok());
    let link = |instance: AttributeInstance| match instance.attribute {
        Attribute::Link(Link { link_type, linked_object_identifier: UniqueIdentifier::Text(to) }) => {
            Some(FileLink { link_type: link_type.code(), to })
        }
        _ => None,
    };
    attributes.map(|attributes| attributes.list.into_iter().filter_map(link).collect()).unwrap_or_default()
}

/// Reads a ZIP: with `keys.json`, or with one XML file per key.
pub(super) fn archive(
    file: File,
    password: Option<&Zeroizing<String>>,
    put: Put<'_>,
) -> Result<&'static str, ImportError> {
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(refused)?;
    if zip.len() > FILES_MAX {
        return Err(ImportError::Content(format!("the archive has more than {FILES_MAX} files")));
    }
    let password = password.ok_or(ImportError::NoPassword)?;
    if zip.index_for_name("keys.json").is_some() {
        let entry = zip.by_name_decrypt("keys.json", password.as_bytes()).map_err(refused)?;
        document(BufReader::new(entry), put)?;
        return Ok("zip-json");
    }
    let mut opener = XmlOpener::new(password.clone());
    let mut any = false;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(refused)?;
        let name: String = entry.name().map_err(refused)?.chars().take(200).collect();
        if !name.ends_with(".xml") {
            continue;
        }
        any = true;
        let mut text = String::new();
        entry.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ImportError::Content(format!("{name} is larger than {FILE_BYTES_MAX} octets")));
        }
        let content = opener.open(&text).map_err(|source| ImportError::Xml { name: name.clone(), source })?;
        let key = serde_json::from_slice(&content);
        put(item(key.map_err(|_| ImportError::Content(format!("what is in {name} is no exported key")))?))?;
    }
    if any {
        Ok("zip-xml")
    } else {
        Err(ImportError::Content("the archive has neither keys.json nor XML files".into()))
    }
}

fn refused(error: ZipError) -> ImportError {
    match error {
        ZipError::InvalidPassword => ImportError::WrongPassword,
        ZipError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImportError::Content("the archive is cut off".into())
        }
        ZipError::Io(error) => error.into(),
        _ => ImportError::Content("the file is no ZIP archive that is read here, or is cut off".into()),
    }
}
