//! Our own exports: `keys.json`, by itself, in a ZIP or in an age file, and ZIPs of encrypted XML files.

use std::fs::File;
use std::io::{BufReader, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{Attribute, AttributeInstance, Attributes, Link, UniqueIdentifier};
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;
use zip::{ZipArchive, result::ZipError};

use super::{FileLink, ImportItem};
use super::read::{ImportError, Put};
use crate::admin::Password;
use crate::export::xml::{FILE_BYTES_MAX, XmlOpener};
use crate::export::{ExportedKey, FORMAT, FORMAT_VERSION};

/// Most files of an archive.
const FILES_MAX: usize = 1 << 20;

/// Reads `keys.json`, a key at a time.
pub(super) fn document(mut reader: impl Read, put: Put<'_>) -> Result<(), ImportError> {
    let mut refused = None;
    let mut json = serde_json::Deserializer::from_reader(&mut reader);
    let read = json.deserialize_map(Document { put, refused: &mut refused }).and_then(|()| json.end());
    if let Some(error) = refused {
        return Err(error);
    }
    // serde_json quotes what it read, which may be a key: only the place is told.
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Io => ImportError::Content("the file is cut off, or was altered".into()),
        serde_json::error::Category::Eof => ImportError::Content("the file is cut off".into()),
        _ if error.to_string().starts_with("not ours") => {
            ImportError::Content(format!("the file is no {FORMAT} document of version {FORMAT_VERSION}"))
        }
        _ => ImportError::Content(format!("keys.json cannot be read at line {}", error.line())),
    })
}

struct Document<'a, 'b> {
    put: Put<'a>,
    refused: &'b mut Option<ImportError>,
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a document of keys")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (mut format, mut version) = (None, None);
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "format" => format = Some(map.next_value::<String>()?),
                "version" => version = Some(map.next_value::<u32>()?),
                "keys" => {
                    if format.as_deref() != Some(FORMAT) || version != Some(FORMAT_VERSION) {
                        return Err(A::Error::custom("not ours"));
                    }
                    map.next_value_seed(Keys(&mut self))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if format.as_deref() == Some(FORMAT) { Ok(()) } else { Err(A::Error::custom("not ours")) }
    }
}

struct Keys<'c, 'a, 'b>(&'c mut Document<'a, 'b>);

impl<'de> DeserializeSeed<'de> for Keys<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut keys: A) -> Result<(), A::Error> {
        while let Some(key) = keys.next_element::<ExportedKey>()? {
            if let Err(error) = (self.0.put)(item(key)) {
                *self.0.refused = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
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
