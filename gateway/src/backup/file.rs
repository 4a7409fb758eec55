//! What is inside the age file: a line that says what it is, then frames.
//!
//! ```text
//! "keygate backup 1\n"
//! frame: kind 1 | length 4, big-endian | content
//!   H  head, JSON            once, first
//!   K  the backup's root key once
//!   T  a keyring term        term 4 | sealed record
//!   S  the settings file     once
//!   1 to 4  a row            see store::CopyRecord
//!   E  trailer, JSON         once, last; nothing follows
//! ```

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::seal::{SealedRecord, SealedTerm, Term};
use crate::store::{CopyHeader, CopyRecord, CopyTrailer};

const FIRST_LINE: &[u8] = b"keygate backup 1\n";
/// Largest frame: an audit segment of a busy group commit is some MiB.
const FRAME_BYTES_MAX: u32 = 64 << 20;

/// The first frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    /// The version of the program that made it.
    pub(super) made_by: String,
    /// When, milliseconds since 1970.
    pub(super) made_ms: i64,
    /// Where the store stood.
    pub(super) store: CopyHeader,
}

/// One frame.
pub(super) enum Frame {
    Head(Head),
    RootKey(Zeroizing<Vec<u8>>),
    Term(SealedTerm),
    Settings(Vec<u8>),
    Row(CopyRecord),
    End(CopyTrailer),
}

/// Why the content is not read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Another kind of file.
    #[error("the file opens, and what is in it is no backup of this format")]
    NotABackup,
    /// Cut off: age tells by its last chunk, we by the trailer.
    #[error("the backup is cut off")]
    CutOff,
    /// Changed after it was written.
    #[error("the backup was altered, or is damaged")]
    Altered,
    /// Octets of the right form that say nothing.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
    /// A row.
    #[error(transparent)]
    Row(#[from] crate::store::CopyError),
    /// Reading failed.
    #[error("the backup cannot be read")]
    Io(#[source] io::Error),
}

pub(super) struct Writer<W>(W);

impl<W: Write> Writer<W> {
    pub(super) fn begin(mut inner: W) -> io::Result<Self> {
        inner.write_all(FIRST_LINE)?;
        Ok(Self(inner))
    }

    pub(super) fn put(&mut self, frame: &Frame) -> io::Result<()> {
        match frame {
            Frame::Head(head) => self.frame(b'H', &serde_json::to_vec(head)?),
            Frame::RootKey(secret) => self.frame(b'K', secret),
            Frame::Term(term) => self.frame(b'T', &[&term.term.0.to_be_bytes(), term.sealed.as_bytes()].concat()),
            Frame::Settings(text) => self.frame(b'S', text),
            Frame::Row(record) => self.frame(record.kind(), &record.encode()),
            Frame::End(trailer) => self.frame(b'E', &serde_json::to_vec(trailer)?),
        }
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a row is too large for a backup"))?;
        self.0.write_all(&[kind])?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(content)
    }

    pub(super) fn into_inner(self) -> W {
        self.0
    }
}

pub(super) struct Reader<R>(R);

impl<R: Read> Reader<R> {
    pub(super) fn begin(mut inner: R) -> Result<Self, FrameError> {
        let mut line = [0; FIRST_LINE.len()];
        read(&mut inner, &mut line)?;
        if line != FIRST_LINE { Err(FrameError::NotABackup) } else { Ok(Self(inner)) }
    }

    /// The next frame. After the trailer comes the end, which is checked.
    pub(super) fn next(&mut self) -> Result<Frame, FrameError> {
        let mut head = [0; 5];
        read(&mut self.0, &mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::Damaged("a frame is longer than any that is written"));
        }
        // Grows with what is there, not with what is claimed.
        let mut content = Zeroizing::new(Vec::with_capacity(length.min(1 << 20) as usize));
        (&mut self.0).take(length.into()).read_to_end(&mut content).map_err(broken)?;
        if content.len() < length as usize {
            return Err(FrameError::CutOff);
        }
        let json = |_| FrameError::Damaged("a frame cannot be read");
        Ok(match kind {
            b'H' => Frame::Head(serde_json::from_slice(&content).map_err(json)?),
            b'K' => Frame::RootKey(content),
            b'T' => {
                let (term, sealed) =
                    content.split_first_chunk().ok_or(FrameError::Damaged("a keyring term is cut short"))?;
                Frame::Term(SealedTerm {
                    term: Term(u32::from_be_bytes(*term)),
                    sealed: SealedRecord::from_stored(sealed.to_vec()),
                })
            }
            b'S' => Frame::Settings(content.to_vec()),
            b'E' => {
                let trailer = serde_json::from_slice(&content).map_err(json)?;
                if self.0.read(&mut [0]).map_err(broken)? != 0 {
                    return Err(FrameError::Damaged("something follows its end"));
                }
                Frame::End(trailer)
            }
            kind => Frame::Row(CopyRecord::decode(kind, &content)?),
        })
    }
}

fn read(inner: &mut impl Read, out: &mut [u8]) -> Result<(), FrameError> {
    inner.read_exact(out).map_err(broken)
}

/// age answers UnexpectedEof for a file that ends early and InvalidData for a chunk that is not authentic.
fn broken(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::CutOff,
        io::ErrorKind::InvalidData => FrameError::Altered,
        _ => FrameError::Io(error),
    }
}
