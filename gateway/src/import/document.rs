//! The reader of `keys.json`: one document, a key at a time, whatever its size. What a key means is left to others; the fuzzer compiles
//! this file alone.

use std::fmt;
use std::io::Read;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::export::{ExportedKey, FORMAT, FORMAT_VERSION};

/// Why a document is not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DocumentError {
    /// The stream below failed: encryption that does not hold.
    #[error("the file is cut off, or was altered")]
    Altered,
    /// It ends early.
    #[error("the file is cut off")]
    CutOff,
    /// Of another kind, or another version.
    #[error("the file is no {FORMAT} document of version {FORMAT_VERSION}")]
    NotOurs,
    /// Not JSON, or not of this form. Only the place is told: what stands there may be a key.
    #[error("keys.json cannot be read at line {0}")]
    Line(usize),
    /// Whoever takes the keys wants no more.
    #[error("stopped")]
    Stopped,
}

/// Reads a document to its end; each key goes to `put`, which says whether to go on.
///
/// # Errors
/// What is wrong with it. Keys before that have been put.
pub(crate) fn read_document(
    mut reader: impl Read,
    put: &mut dyn FnMut(ExportedKey) -> bool,
) -> Result<(), DocumentError> {
    let (mut is_stopped, mut is_foreign) = (false, false);
    let mut json = serde_json::Deserializer::from_reader(&mut reader);
    let document = Document { put, is_stopped: &mut is_stopped, is_foreign: &mut is_foreign };
    let read = json.deserialize_map(document).and_then(|()| json.end());
    read.map_err(|error| match error.classify() {
        _ if is_stopped => DocumentError::Stopped,
        serde_json::error::Category::Io => DocumentError::Altered,
        serde_json::error::Category::Eof => DocumentError::CutOff,
        _ if is_foreign => DocumentError::NotOurs,
        _ => DocumentError::Line(error.line()),
    })
}

struct Document<'a> {
    put: &'a mut dyn FnMut(ExportedKey) -> bool,
    is_stopped: &'a mut bool,
    is_foreign: &'a mut bool,
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document of keys")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (mut format, mut version) = (None, None);
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "format" => format = Some(map.next_value::<String>()?),
                "version" => version = Some(map.next_value::<u32>()?),
                // They stand before the keys: a document of another version is not half taken in.
                "keys" if format.as_deref() == Some(FORMAT) && version == Some(FORMAT_VERSION) => {
                    map.next_value_seed(Keys(&mut self))?
                }
                "keys" => break,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if format.as_deref() == Some(FORMAT) && version == Some(FORMAT_VERSION) {
            return Ok(());
        }
        *self.is_foreign = true;
        Err(A::Error::custom("not ours"))
    }
}

struct Keys<'b, 'a>(&'b mut Document<'a>);

impl<'de> DeserializeSeed<'de> for Keys<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut keys: A) -> Result<(), A::Error> {
        while let Some(key) = keys.next_element::<ExportedKey>()? {
            if !(self.0.put)(key) {
                *self.0.is_stopped = true;
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (usize, Result<(), DocumentError>) {
        let mut keys = 0;
        let read = read_document(text.as_bytes(), &mut |_| {
            keys += 1;
            keys < 3
        });
        (keys, read)
    }

    /// Documents of another kind or version, cut off or damaged ones are refused as what they are; what is not known is passed over.
    #[test]
    fn documents_are_told_apart() {
        let key = r#"{"id":"a","object_type":"SymmetricKey","object_ttlv":"","attributes_ttlv":"","later":[1]}"#;
        let head = r#"{"format":"keygate-keys","version":1,"organisation":"x""#;
        assert_eq!(read(&format!(r#"{head},"keys":[{key},{key}],"left_out":[]}}"#)), (2, Ok(())));
        assert_eq!(read(&format!(r#"{head},"keys":[{key},{key},{key},{key}]}}"#)), (3, Err(DocumentError::Stopped)));
        assert_eq!(read(&format!(r#"{head},"keys":[{key}"#)), (1, Err(DocumentError::CutOff)));
        assert_eq!(read(&format!("{head},\n\"keys\":[{key},7]}}")), (1, Err(DocumentError::Line(2))));
        for foreign in [
            "{}",
            r#"{"format":"keygate-keys","version":2,"keys":[]}"#,
            r#"{"keys":[],"format":"keygate-keys","version":1}"#,
        ] {
            assert_eq!(read(foreign), (0, Err(DocumentError::NotOurs)), "{foreign}");
        }
    }
}
