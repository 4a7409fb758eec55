//! The octets between the gateway and a worker process.
//!
//! A frame is a length (4 octets, little-endian, of what follows), a header of fixed length, and a body in postcard's
//! encoding. The gateway sends one [`Opening`], then requests; the worker sends [`Note`]s while it starts, then an
//! answer to each request in the order of the requests. Both sides refuse frames above [`FRAME_MAX`] before they
//! allocate. The two sides are the same program; the version octet catches a file that was replaced meanwhile.
//!
//! Secrets pass here in clear, between two processes of one user over a socket that has no name. Buffers wipe
//! themselves.

use super::ckr;
use super::message::{Request, Response};
use super::raw::TokenInfo;
use super::select::TokenSelector;
use crate::error::{Class, DeviceCode, KsError, Result};
use crate::secret::SecretBytes;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use zeroize::{Zeroize, Zeroizing};

/// The version of this protocol.
const VERSION: u8 = 2;
/// Longest frame. Listing a million keys fits.
pub(super) const FRAME_MAX: usize = 128 << 20;
const LEN: usize = 4;
/// Sequence number and what is left until the deadline.
const REQUEST_HEADER: usize = 16;

/// What a worker is told at its start.
#[derive(Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) module: PathBuf,
    pub(super) token: TokenSelector,
    /// `None` where the token has its own PIN pad.
    #[serde(with = "optional_secret")]
    pub(super) pin: Option<SecretBytes>,
    /// An earlier login got no answer: it may have burnt a try.
    pub(super) wary: bool,
    /// Serial numbers of tokens that have refused this PIN: they are not offered it again.
    pub(super) refused: Vec<String>,
}

/// What a worker says while it starts.
#[derive(Serialize, Deserialize)]
pub(super) enum Note {
    /// The token of this serial number was found; the PIN is being offered now.
    LoggingIn(String),
    /// Logged in.
    Ready(TokenInfo),
    /// Not this time; the worker ends.
    Failed(WireError),
}

/// What becomes of the worker after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum After {
    /// It goes on.
    Stays,
    /// It goes on, but the token shows no key at all: empty, or gone without the module's noticing.
    Doubts,
    /// Its token or session state is lost: it ends.
    Leaves,
}

/// An answer with the sequence number of its request.
pub(super) struct Answer {
    pub(super) seq: u64,
    pub(super) after: After,
    pub(super) result: Result<Response>,
}

/// A request as the worker gets it.
pub(super) struct Asked {
    pub(super) seq: u64,
    /// Microseconds until the caller stops waiting.
    pub(super) budget_us: u64,
    pub(super) request: Request,
}

/// [`KsError`] on the wire.
#[derive(Serialize, Deserialize)]
pub(super) struct WireError {
    class: Class,
    text: String,
    device: Option<(String, u64)>,
}

impl From<&KsError> for WireError {
    fn from(error: &KsError) -> Self {
        let device = error.device_code().map(|device| (device.function.to_owned(), device.code));
        Self { class: error.class(), text: error.text().to_owned(), device }
    }
}

impl From<WireError> for KsError {
    fn from(error: WireError) -> Self {
        match error.device {
            Some((function, code)) => {
                let device = DeviceCode { function: ckr::function(&function), code, name: ckr::name(code) };
                Self::device(error.class, device, error.text)
            }
            None => Self::new(error.class, error.text),
        }
    }
}

/// A request that is encoded already; number and time left are filled in when it is sent.
pub(super) struct Frame(Zeroizing<Vec<u8>>);

impl Frame {
    pub(super) fn of(request: &Request) -> Result<Self> {
        frame(&[0; REQUEST_HEADER], request).map(Self)
    }

    /// Appends the frame to what goes out.
    pub(super) fn append(&self, seq: u64, budget_us: u64, out: &mut Vec<u8>) {
        let start = out.len() + LEN;
        out.extend_from_slice(&self.0);
        out[start..start + 8].copy_from_slice(&seq.to_le_bytes());
        out[start + 8..start + 16].copy_from_slice(&budget_us.to_le_bytes());
    }
}

/// The first frame to a worker.
pub(super) fn opening(opening: &Opening) -> Result<Zeroizing<Vec<u8>>> {
    frame(&[VERSION], opening)
}

pub(super) fn note(note: &Note) -> Result<Zeroizing<Vec<u8>>> {
    frame(&[VERSION], note)
}

/// Appends an answer to what goes out. An answer that cannot be sent becomes an error that can.
pub(super) fn append_answer(answer: &Answer, out: &mut Vec<u8>) -> Result<()> {
    let mut header = [0; 9];
    header[..8].copy_from_slice(&answer.seq.to_le_bytes());
    header[8] = answer.after as u8;
    let body = answer.result.as_ref().map_err(WireError::from);
    let encoded = frame(&header, &body).or_else(|e| frame(&header, &Err::<&Response, _>(WireError::from(&e))))?;
    out.extend_from_slice(&encoded);
    Ok(())
}

pub(super) fn parse_opening(frame: &[u8]) -> Result<Opening> {
    body(versioned(frame)?)
}

pub(super) fn parse_note(frame: &[u8]) -> Result<Note> {
    body(versioned(frame)?)
}

pub(super) fn parse_request(frame: &[u8]) -> Result<Asked> {
    let (seq, rest) = number(frame)?;
    let (budget_us, rest) = number(rest)?;
    Ok(Asked { seq, budget_us, request: body(rest)? })
}

pub(super) fn parse_answer(frame: &[u8]) -> Result<Answer> {
    let (seq, rest) = number(frame)?;
    let (after, rest) = match rest {
        [0, rest @ ..] => (After::Stays, rest),
        [1, rest @ ..] => (After::Doubts, rest),
        [2, rest @ ..] => (After::Leaves, rest),
        _ => return Err(malformed()),
    };
    let result: std::result::Result<Response, WireError> = body(rest)?;
    Ok(Answer { seq, after, result: result.map_err(KsError::from) })
}

/// Octets received and not yet taken apart. The buffer is kept between reads, and what was taken is wiped before the next one: to
/// clear and wipe room that nothing was read into costs more than a signature does.
#[derive(Default)]
pub(super) struct Incoming {
    buffer: Zeroizing<Vec<u8>>,
    /// Where the first frame that was not taken begins.
    start: usize,
    /// Where the octets received end.
    end: usize,
}

/// Least room for a read.
const ROOM_MIN: usize = 32 << 10;
/// A larger buffer does not outlive the frames that it was needed for.
const BUFFER_KEPT: usize = 1 << 20;

impl Incoming {
    /// Room for a read of some size; what was read is added with [`Self::filled`].
    pub(super) fn room(&mut self) -> &mut [u8] {
        let pending = self.end - self.start;
        let is_oversized = pending == 0 && self.buffer.len() > BUFFER_KEPT;
        if is_oversized || self.buffer.len() - pending < ROOM_MIN {
            // A new buffer, not a longer one: the old one is wiped as a whole.
            let mut other = Zeroizing::new(vec![0; 2 * pending.max(ROOM_MIN)]);
            other[..pending].copy_from_slice(&self.buffer[self.start..self.end]);
            self.buffer = other;
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.buffer[pending..self.end].zeroize();
        }
        (self.start, self.end) = (0, pending);
        &mut self.buffer[pending..]
    }

    /// Says how much of the room was filled.
    pub(super) fn filled(&mut self, octets: usize) {
        self.end += octets;
    }

    /// The next whole frame, without its length.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        let pending = &self.buffer[self.start..self.end];
        let Some((len, rest)) = pending.split_first_chunk::<LEN>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if len > FRAME_MAX {
            return Err(too_long(len));
        }
        if rest.len() < len {
            return Ok(None);
        }
        let begin = self.start + LEN;
        self.start = begin + len;
        Ok(Some(&self.buffer[begin..begin + len]))
    }
}

/// `length | header | body`.
fn frame<T: Serialize + ?Sized>(header: &[u8], value: &T) -> Result<Zeroizing<Vec<u8>>> {
    let mut start = Vec::with_capacity(192);
    start.extend_from_slice(&[0; LEN]);
    start.extend_from_slice(header);
    let encoded = postcard::serialize_with_flavor(value, Growing(Zeroizing::new(start)));
    let mut frame = encoded.map_err(|e| KsError::new(Class::Corrupt, format!("cannot encode for a worker: {e}")))?;
    let len = frame.len() - LEN;
    if len > FRAME_MAX {
        return Err(too_long(len));
    }
    // Not above FRAME_MAX, so it fits.
    frame[..LEN].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(frame)
}

/// Where postcard writes: grows by copying into a new buffer, so that the old one is wiped.
struct Growing(Zeroizing<Vec<u8>>);

impl Flavor for Growing {
    type Output = Zeroizing<Vec<u8>>;

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if self.0.capacity() - self.0.len() < data.len() {
            let mut larger = Zeroizing::new(Vec::with_capacity((self.0.len() + data.len()) * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.try_extend(&[data])
    }

    fn finalize(self) -> postcard::Result<Self::Output> {
        Ok(self.0)
    }
}

fn versioned(frame: &[u8]) -> Result<&[u8]> {
    match frame {
        [VERSION, rest @ ..] => Ok(rest),
        [other, ..] => Err(KsError::new(
            Class::RetryOther,
            format!("the worker process speaks version {other}, this one {VERSION}: restart the server"),
        )),
        [] => Err(malformed()),
    }
}

fn number(octets: &[u8]) -> Result<(u64, &[u8])> {
    let (number, rest) = octets.split_first_chunk().ok_or_else(malformed)?;
    Ok((u64::from_le_bytes(*number), rest))
}

fn body<'a, T: Deserialize<'a>>(octets: &'a [u8]) -> Result<T> {
    match postcard::take_from_bytes(octets) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(malformed()),
    }
}

fn malformed() -> KsError {
    KsError::new(Class::Corrupt, "a frame between gateway and worker cannot be read")
}

fn too_long(len: usize) -> KsError {
    KsError::data(format!("{len} octets are more than the {FRAME_MAX} that pass to or from a token's worker"))
}

/// [`SecretBytes`] on the wire. The type itself stays without serde, so that it is sent nowhere by accident.
pub(super) mod secret {
    use super::SecretBytes;
    use serde::{Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(value: &SecretBytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(value.expose())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SecretBytes, D::Error> {
        serde_bytes::deserialize::<Vec<u8>, D>(from).map(SecretBytes::new)
    }
}

pub(super) mod optional_secret {
    use super::SecretBytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super::secret")] SecretBytes);

    pub(in super::super) fn serialize<S: Serializer>(value: &Option<SecretBytes>, to: S) -> Result<S::Ok, S::Error> {
        value.clone().map(Wrapped).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretBytes>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(from)?.map(|wrapped| wrapped.0))
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
