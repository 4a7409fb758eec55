//! Operations in parts: Init Indicator, Correlation Value, Final Indicator. KMIP 2.1 §6.1.15 and its like, from 1.3 on.
//!
//! What is between two parts is kept here: bound to the caller, the operation and the key, bounded in number and size,
//! dropped when nobody asks for it. Each part asks anew whether the key may be used. If the message that a part came in
//! is not committed, the stream is gone: it cannot be told whether the client saw the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keygate_backends::local::{CipherStream, HashStream, MacStream};
use keygate_backends::{EncryptionScheme, SignInput, SignatureScheme};
use keygate_kmip::Operation;
use zeroize::Zeroizing;

use super::{Exchange, OperationError};
use crate::store::{ClientId, ObjectId};

/// Streams under way, of all callers.
const STREAMS_MAX: usize = 1_024;
/// Streams under way of one caller.
const STREAMS_PER_CALLER_MAX: usize = 64;
/// Bytes that one stream may gather where the whole message is needed at once.
const GATHERED_BYTES_MAX: usize = 1 << 20;
/// Bytes that all streams may gather.
const GATHERED_BYTES_TOTAL_MAX: usize = 64 << 20;
/// How long a stream waits for its next part.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// Which part of a message a request is.
pub(super) enum Part<'a> {
    /// All of it.
    Whole,
    /// The first of several.
    First,
    /// One in the middle.
    Next(&'a [u8]),
    /// The last.
    Last(&'a [u8]),
}

impl<'a> Part<'a> {
    /// Reads the indicators of a request.
    pub(super) fn of(init: Option<bool>, last: Option<bool>, correlation_value: Option<&'a [u8]>) -> Result<Self, OperationError> {
        match (init.unwrap_or(false), last.unwrap_or(false), correlation_value) {
            (true, _, Some(_)) => Err(OperationError::InvalidMessage("a first part has no Correlation Value yet".to_owned())),
            (true, false, None) => Ok(Self::First),
            (_, _, None) => Ok(Self::Whole),
            (false, false, Some(value)) => Ok(Self::Next(value)),
            (false, true, Some(value)) => Ok(Self::Last(value)),
        }
    }

    /// Whether a message begins with it.
    pub(super) fn begins(&self) -> bool {
        matches!(self, Self::Whole | Self::First)
    }
}

/// What is kept between two parts.
pub(super) enum State {
    /// Encrypt or Decrypt, part by part.
    Cipher(CipherStream),
    /// Encrypt or Decrypt, all at the end.
    Gathered(Box<GatheredCipher>),
    /// Hash.
    Hash(HashStream),
    /// MAC, and MAC Verify with what is to be compared.
    Mac(MacStream, Option<Vec<u8>>),
    /// MAC and MAC Verify in a device, all at the end.
    GatheredMac(Gathered, Option<Vec<u8>>),
    /// Sign, and Signature Verify with the signature.
    Signature(SignatureScheme, SignedParts, Option<Vec<u8>>),
}

/// Bytes gathered for an operation that needs the whole message.
#[derive(Default)]
pub(super) struct Gathered(Zeroizing<Vec<u8>>);

impl Gathered {
    /// Takes a part.
    pub(super) fn update(&mut self, data: &[u8]) -> Result<(), OperationError> {
        if self.0.len() + data.len() > GATHERED_BYTES_MAX {
            return Err(OperationError::LimitExceeded(format!(
                "this use needs the whole message at once, and takes {GATHERED_BYTES_MAX} bytes at most"
            )));
        }
        let mut longer = Zeroizing::new(Vec::with_capacity(self.0.len() + data.len()));
        longer.extend_from_slice(&self.0);
        longer.extend_from_slice(data);
        self.0 = longer;
        Ok(())
    }

    /// All parts.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An encryption or decryption that is done at the end.
pub(super) struct GatheredCipher {
    pub(super) scheme: EncryptionScheme,
    pub(super) iv: Vec<u8>,
    pub(super) aad: Vec<u8>,
    pub(super) tag: Option<Vec<u8>>,
    pub(super) data: Gathered,
}

/// A message to be signed or verified: hashed as it comes where the scheme signs a hash.
pub(super) enum SignedParts {
    /// Its hash.
    Hash(HashStream),
    /// The message.
    Whole(Gathered),
}

impl SignedParts {
    /// For a scheme.
    pub(super) fn new(scheme: SignatureScheme) -> Result<Self, OperationError> {
        Ok(match scheme.hash() {
            Some(hash) => Self::Hash(HashStream::new(hash)?),
            None => Self::Whole(Gathered::default()),
        })
    }

    /// Takes a part.
    pub(super) fn update(&mut self, data: &[u8]) -> Result<(), OperationError> {
        match self {
            Self::Hash(hash) => Ok(hash.update(data)?),
            Self::Whole(gathered) => gathered.update(data),
        }
    }

    /// What is signed.
    pub(super) fn finish(self) -> Result<SignedWhole, OperationError> {
        Ok(match self {
            Self::Hash(hash) => SignedWhole::Digest(hash.finish()?),
            Self::Whole(gathered) => SignedWhole::Message(gathered),
        })
    }
}

/// The end of [`SignedParts`].
pub(super) enum SignedWhole {
    /// A hash.
    Digest(Vec<u8>),
    /// A message.
    Message(Gathered),
}

impl SignedWhole {
    /// As the signature functions take it.
    pub(super) fn input(&self) -> SignInput<'_> {
        match self {
            Self::Digest(digest) => SignInput::Digest(digest),
            Self::Message(message) => SignInput::Message(message.bytes()),
        }
    }
}

impl State {
    fn gathered_bytes(&self) -> usize {
        match self {
            Self::Gathered(cipher) => cipher.data.bytes().len(),
            Self::GatheredMac(gathered, _) | Self::Signature(_, SignedParts::Whole(gathered), _) => gathered.bytes().len(),
            Self::Cipher(_) | Self::Hash(_) | Self::Mac(..) | Self::Signature(..) => 0,
        }
    }
}

/// The streams under way.
#[derive(Default)]
pub(super) struct Streams(Mutex<HashMap<CorrelationValue, Kept>>);

/// 16 random octets: what cannot be guessed need not be searched.
type CorrelationValue = [u8; 16];

struct Kept {
    caller: ClientId,
    operation: Operation,
    object: Option<ObjectId>,
    touched: Instant,
    state: State,
}

/// Keeps a new stream and returns its Correlation Value.
pub(super) fn begin(exchange: &mut Exchange<'_>, operation: Operation, object: Option<ObjectId>, state: State) -> Result<Vec<u8>, OperationError> {
    let mut value = CorrelationValue::default();
    keygate_backends::local::fill_random(&mut value)?;
    keep(exchange, operation, object, value, state)?;
    Ok(value.to_vec())
}

/// Takes the stream of a Correlation Value out; [`put_back`] keeps it for the next part.
pub(super) fn take(exchange: &Exchange<'_>, operation: Operation, object: Option<ObjectId>, value: &[u8]) -> Result<State, OperationError> {
    let unknown = || OperationError::InvalidField("Correlation Value names no stream under way".to_owned());
    let value = CorrelationValue::try_from(value).map_err(|_| unknown())?;
    let caller = exchange.caller.principal();
    let mut table = exchange.gateway.streams.lock();
    let ours = table.get(&value).is_some_and(|kept| {
        kept.caller == caller && kept.operation == operation && kept.object == object && kept.touched.elapsed() < IDLE_MAX
    });
    if !ours {
        return Err(unknown());
    }
    table.remove(&value).map(|kept| kept.state).ok_or_else(unknown)
}

/// Keeps a stream for its next part.
pub(super) fn put_back(
    exchange: &mut Exchange<'_>,
    operation: Operation,
    object: Option<ObjectId>,
    value: &[u8],
    state: State,
) -> Result<(), OperationError> {
    let value = CorrelationValue::try_from(value).map_err(|_| OperationError::Internal)?;
    keep(exchange, operation, object, value, state)
}

fn keep(
    exchange: &mut Exchange<'_>,
    operation: Operation,
    object: Option<ObjectId>,
    value: CorrelationValue,
    state: State,
) -> Result<(), OperationError> {
    let caller = exchange.caller.principal();
    let streams = Arc::clone(&exchange.gateway.streams);
    {
        let mut table = streams.lock();
        table.retain(|_, kept| kept.touched.elapsed() < IDLE_MAX);
        let own = table.values().filter(|kept| kept.caller == caller).count();
        let gathered: usize = table.values().map(|kept| kept.state.gathered_bytes()).sum();
        if table.len() >= STREAMS_MAX || own >= STREAMS_PER_CALLER_MAX || gathered + state.gathered_bytes() > GATHERED_BYTES_TOTAL_MAX {
            return Err(OperationError::LimitExceeded("too many operations in parts are under way".to_owned()));
        }
        table.insert(value, Kept { caller, operation, object, touched: Instant::now(), state });
    }
    let unless_committed = Forget { streams, value, armed: true };
    exchange.after_commit(Box::new(move || unless_committed.keep()));
    Ok(())
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<CorrelationValue, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops every stream.
    pub(super) fn flush(&self) {
        self.lock().clear();
    }
}

/// Drops the stream if the message is not committed.
struct Forget {
    streams: Arc<Streams>,
    value: CorrelationValue,
    armed: bool,
}

impl Forget {
    fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for Forget {
    fn drop(&mut self) {
        if self.armed {
            self.streams.lock().remove(&self.value);
        }
    }
}
