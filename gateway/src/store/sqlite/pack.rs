//! Everything a transaction writes, in two parameters.
//!
//! Rows are records of fixed-width fields, with the variable ones behind them, laid end to end in one blob; a JSON object holds
//! the offsets of each part's records, counted from 1 as SQL does, and single numbers. Statements take them apart: `json_each`
//! walks the offsets, `substr` cuts the fields, numbers inside records are decimal text of fixed width. In every statement `?1`
//! is the JSON and `?2` the blob; both are numbered from the start and without a gap because the driver counts unnumbered
//! parameters across all statements of a text.

use std::fmt::Write as _;

use super::read::EntryRow;
use crate::audit::Segment;
use crate::store::{EntryId, EntryKind, ObjectId, ObjectRow};

/// Packed rows and numbers, ready to bind.
pub(super) struct Pack {
    bytes: Vec<u8>,
    json: String,
}

/// Width of a number: as many as the digits and sign of any 64-bit one.
const NUMBER: usize = 20;

/// `expected`, then the columns of table `object`.
pub(super) const OBJECTS_SQL: &str = "SELECT substr(?2, value, 16) AS id, substr(?2, value + 16, 16) AS organisation, \
     substr(?2, value + 32, 16) AS owner, substr(?2, value + 48, 16) AS keystore, \
     CAST(substr(?2, value + 64, 20) AS INTEGER) AS version, CAST(substr(?2, value + 84, 20) AS INTEGER) AS state, \
     CAST(substr(?2, value + 104, 20) AS INTEGER) AS object_type, CAST(substr(?2, value + 124, 20) AS INTEGER) AS custody, \
     CAST(substr(?2, value + 144, 20) AS INTEGER) AS created_ms, CAST(substr(?2, value + 164, 20) AS INTEGER) AS expected, \
     substr(?2, value + 284, CAST(substr(?2, value + 184, 20) AS INTEGER)) AS attributes, \
     substr(?2, CAST(substr(?2, value + 204, 20) AS INTEGER), CAST(substr(?2, value + 224, 20) AS INTEGER)) AS tokens, \
     substr(?2, CAST(substr(?2, value + 244, 20) AS INTEGER), CAST(substr(?2, value + 264, 20) AS INTEGER)) AS sealed";
pub(super) const PAIRS_SQL: &str = "SELECT substr(?2, value, 16), substr(?2, value + 16, 16)";
pub(super) const TOKENS_SQL: &str = "SELECT substr(?2, value, 16)";
pub(super) const VERSIONS_SQL: &str = "SELECT substr(?2, value, 16), CAST(substr(?2, value + 16, 20) AS INTEGER)";
pub(super) const KEYS_SQL: &str = "SELECT CAST(substr(?2, value, 20) AS INTEGER), substr(?2, value + 20, 16)";
pub(super) const ENTRIES_SQL: &str = "SELECT CAST(substr(?2, value, 20) AS INTEGER), substr(?2, value + 20, 16), \
     substr(?2, value + 36, 16), CAST(substr(?2, value + 52, 20) AS INTEGER), \
     substr(?2, value + 92, CAST(substr(?2, value + 72, 20) AS INTEGER))";

impl Pack {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), json: "{".to_owned() }
    }

    /// Adds the part `name`; says whether it has any rows.
    fn part<T>(&mut self, name: &str, rows: impl Iterator<Item = T>, put: impl Fn(&mut Vec<u8>, T)) -> bool {
        self.key(name);
        self.json.push('[');
        let mut any = false;
        for row in rows {
            self.json.push_str(if any { "," } else { "" });
            any = true;
            self.push(self.bytes.len() as i64 + 1);
            put(&mut self.bytes, row);
        }
        self.json.push(']');
        any
    }

    /// Adds a single number.
    pub(super) fn number(&mut self, name: &str, number: i64) {
        self.key(name);
        self.push(number);
    }

    /// Adds a single blob as `name` (its offset) and its length, a pair.
    pub(super) fn blob(&mut self, name: &str, blob: &[u8]) {
        self.key(name);
        self.json.push('[');
        self.push(self.bytes.len() as i64 + 1);
        self.json.push(',');
        self.push(blob.len() as i64);
        self.json.push(']');
        self.bytes.extend_from_slice(blob);
    }

    pub(super) fn segment(&mut self, segment: Option<&Segment>) -> bool {
        if let Some(segment) = segment {
            self.number("first_event", segment.first_event as i64);
            self.number("count", i64::from(segment.count));
            self.blob("body", &segment.body);
        }
        segment.is_some()
    }

    pub(super) fn change_log(&mut self, log: &[u8]) -> bool {
        self.blob("log", log);
        !log.is_empty()
    }

    /// The two parameters.
    pub(super) fn finish(mut self) -> (String, Vec<u8>) {
        self.json.push('}');
        (self.json, self.bytes)
    }

    fn key(&mut self, name: &str) {
        self.json.push_str(if self.json.len() > 1 { ",\"" } else { "\"" });
        self.json.push_str(name);
        self.json.push_str("\":");
    }

    fn push(&mut self, number: i64) {
        // Writing to a String cannot fail.
        let _ = write!(self.json, "{number}");
    }

    /// Rows with the version each must still have (0 for new ones).
    pub(super) fn objects<'a>(&mut self, name: &str, rows: impl Iterator<Item = (u64, &'a ObjectRow)>) -> bool {
        self.part(name, rows, |bytes, (expected, row)| {
            let (tokens, sealed) = (row.tokens_to_blob(), row.sealed().as_bytes());
            for id in [row.id.as_bytes(), row.organisation.as_bytes(), row.owner.as_bytes(), row.keystore.as_bytes()] {
                bytes.extend_from_slice(id);
            }
            number(bytes, row.version.0 as i64);
            number(bytes, i64::from(row.state));
            number(bytes, i64::from(row.object_type));
            number(bytes, row.custody as i64);
            number(bytes, row.created_ms);
            number(bytes, expected as i64);
            number(bytes, row.attributes.len() as i64);
            // The variable parts begin behind the four numbers still to come; offsets count from 1.
            let tokens_at = bytes.len() + 4 * NUMBER + row.attributes.len() + 1;
            number(bytes, tokens_at as i64);
            number(bytes, tokens.len() as i64);
            number(bytes, (tokens_at + tokens.len()) as i64);
            number(bytes, sealed.len() as i64);
            bytes.extend_from_slice(&row.attributes);
            bytes.extend_from_slice(&tokens);
            bytes.extend_from_slice(sealed);
        })
    }

    pub(super) fn pairs(&mut self, name: &str, pairs: &[([u8; 16], ObjectId)]) -> bool {
        self.part(name, pairs.iter(), |bytes, (token, object)| {
            bytes.extend_from_slice(token);
            bytes.extend_from_slice(object.as_bytes());
        })
    }

    pub(super) fn tokens(&mut self, name: &str, tokens: &[[u8; 16]]) -> bool {
        self.part(name, tokens.iter(), |bytes, token| bytes.extend_from_slice(token))
    }

    pub(super) fn versions(&mut self, name: &str, versions: &[(ObjectId, u64)]) -> bool {
        self.part(name, versions.iter(), |bytes, (id, version)| {
            bytes.extend_from_slice(id.as_bytes());
            number(bytes, *version as i64);
        })
    }

    pub(super) fn keys(&mut self, name: &str, keys: &[(EntryKind, EntryId)]) -> bool {
        self.part(name, keys.iter(), |bytes, (kind, id)| {
            number(bytes, *kind as i64);
            bytes.extend_from_slice(id.as_bytes());
        })
    }

    pub(super) fn entries(&mut self, name: &str, entries: &[EntryRow]) -> bool {
        self.part(name, entries.iter(), |bytes, entry| {
            number(bytes, entry.kind as i64);
            bytes.extend_from_slice(entry.id.as_bytes());
            bytes.extend_from_slice(entry.organisation.as_bytes());
            number(bytes, entry.version as i64);
            number(bytes, entry.sealed.as_bytes().len() as i64);
            bytes.extend_from_slice(entry.sealed.as_bytes());
        })
    }
}

/// Decimal text, padded with zeros behind the sign.
fn number(bytes: &mut Vec<u8>, number: i64) {
    let mut digits = [b'0'; NUMBER];
    let mut rest = number.unsigned_abs();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // 2^63 has 19 digits, so the first place is free for the sign.
    if number < 0 {
        digits[0] = b'-';
    }
    bytes.extend_from_slice(&digits);
}
