//! Cuts a byte stream into request messages by the eight octets of the TTLV header.

use keygate_kmip::xml;
use zeroize::{Zeroize, Zeroizing};

/// KMIP 2.1 §9.1.1: "An Item Tag is a three-byte binary unsigned integer", here 420078, Request Message; §9.1.2: "one
/// byte" of type, here 01, Structure.
const REQUEST_MESSAGE: [u8; 4] = [0x42, 0x00, 0x78, 0x01];
const HEADER_BYTES: usize = 8;
/// Capacity of a buffer that waits for a request.
const BUFFER_BYTES_IDLE: usize = 2048;
/// Largest capacity that is kept while waiting.
const BUFFER_BYTES_KEPT: usize = 8192;

/// Why the octets received are no request message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// The stream does not begin with the tag and type of a Request Message.
    NotARequest {
        /// The first eight octets received.
        header: [u8; HEADER_BYTES],
    },
    /// The message is longer than allowed.
    TooLarge {
        /// Length by its header, without the header.
        bytes: u32,
        /// Length allowed, with the header.
        max: usize,
    },
    /// A text that is not UTF-8.
    NotUtf8 {
        /// Offset of the first octet that is not.
        at: usize,
    },
    /// A text that is no message in its encoding.
    Text(xml::Error),
}

/// Octets received and not yet handled. Wiped when handled, when grown and when dropped.
pub struct FrameBuffer {
    octets: Vec<u8>,
    message_bytes_max: usize,
}

impl FrameBuffer {
    /// An empty buffer for messages of up to `message_bytes_max` octets.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { octets: Vec::new(), message_bytes_max }
    }

    /// Length of the first message with its header, once all of it is there.
    pub fn complete(&self) -> Result<Option<usize>, Unreadable> {
        let total = self.first_message_bytes()?;
        Ok(total.filter(|total| self.octets.len() >= *total))
    }

    /// Whether a message has begun.
    pub fn has_begun(&self) -> bool {
        !self.octets.is_empty()
    }

    /// What has arrived so far.
    pub(super) fn first_octets(&self) -> &[u8] {
        &self.octets
    }

    /// All that has arrived, for another protocol.
    pub(super) fn take(&mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut self.octets))
    }

    /// The first message.
    pub fn frame(&self, bytes: usize) -> &[u8] {
        &self.octets[..bytes]
    }

    /// Wipes and removes the first message. What follows it moves to the front.
    pub fn consume(&mut self, bytes: usize) {
        let rest = self.octets.len() - bytes;
        self.octets.copy_within(bytes.., 0);
        wipe(&mut self.octets[rest..]);
        self.octets.truncate(rest);
        if rest == 0 && self.octets.capacity() > BUFFER_BYTES_KEPT {
            self.octets = Vec::new();
        }
    }

    /// Room for what is still to come: at least one octet, never more than doubles what has arrived, so that a header
    /// alone reserves nothing of the length it claims.
    pub fn room(&mut self) -> &mut Vec<u8> {
        let wanted = match self.first_message_bytes() {
            Ok(Some(total)) => total.saturating_sub(self.octets.len()).clamp(1, self.octets.len().max(BUFFER_BYTES_IDLE)),
            _ => BUFFER_BYTES_IDLE,
        };
        if self.octets.capacity() - self.octets.len() < wanted.min(BUFFER_BYTES_IDLE) {
            let mut grown = Vec::with_capacity((self.octets.len() + wanted).max(BUFFER_BYTES_IDLE));
            grown.extend_from_slice(&self.octets);
            wipe(&mut self.octets);
            self.octets = grown;
        }
        &mut self.octets
    }

    fn first_message_bytes(&self) -> Result<Option<usize>, Unreadable> {
        let Some(header) = self.octets.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        if header[..4] != REQUEST_MESSAGE {
            return Err(Unreadable::NotARequest { header: *header });
        }
        let bytes = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        match usize::try_from(bytes).ok().and_then(|length| length.checked_add(HEADER_BYTES)) {
            Some(total) if total <= self.message_bytes_max => Ok(Some(total)),
            _ => Err(Unreadable::TooLarge { bytes, max: self.message_bytes_max }),
        }
    }
}

impl Drop for FrameBuffer {
    fn drop(&mut self) {
        self.octets.zeroize();
    }
}

/// Wipes what an answer held and keeps a small buffer for the next.
pub(super) fn recycle(response: &mut Vec<u8>) {
    wipe(response);
    response.clear();
    if response.capacity() > BUFFER_BYTES_KEPT {
        *response = Vec::new();
    }
}

/// Overwrites with zeroes in one pass that the optimiser must keep; `Zeroize` goes octet by octet and over the whole
/// capacity, which costs more than the rest of the frame loop.
fn wipe(octets: &mut [u8]) {
    octets.fill(0);
    std::hint::black_box(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> Vec<u8> {
        let mut octets = REQUEST_MESSAGE.to_vec();
        octets.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        octets.extend_from_slice(body);
        octets
    }

    /// A client that sends octet by octet, then two messages at once: each frame is whole, in order, and wiped.
    #[test]
    fn frames_are_cut_from_any_pieces() {
        let mut buffer = FrameBuffer::new(1024);
        let one = message(b"first...");
        for (count, octet) in one.iter().enumerate() {
            assert_eq!(buffer.complete(), Ok(None), "after {count} octets");
            buffer.room().push(*octet);
        }
        let two = [message(b"second.."), message(b"")].concat();
        buffer.room().extend_from_slice(&two);
        for expected in [one, message(b"second.."), message(b"")] {
            let bytes = buffer.complete().ok().flatten().unwrap_or_else(|| panic!("no frame"));
            assert_eq!(buffer.frame(bytes), expected);
            buffer.consume(bytes);
        }
        assert!(!buffer.has_begun());
    }

    /// The length is refused from the header alone, and a claim of length reserves no memory.
    #[test]
    fn lengths_are_checked_before_memory_is_taken() {
        let mut buffer = FrameBuffer::new(1 << 20);
        buffer.room().extend_from_slice(&[0x42, 0, 0x78, 1, 0x00, 0x0f, 0xff, 0xf8]);
        assert_eq!(buffer.complete(), Ok(None));
        assert!(buffer.room().capacity() <= 2 * BUFFER_BYTES_IDLE);
        for header in [[0x42, 0, 0x78, 1, 0x00, 0x0f, 0xff, 0xf9], [0x42, 0, 0x78, 1, 0xff, 0xff, 0xff, 0xff]] {
            let mut buffer = FrameBuffer::new(1 << 20);
            buffer.room().extend_from_slice(&header);
            assert!(matches!(buffer.complete(), Err(Unreadable::TooLarge { max: 1_048_576, .. })));
        }
    }

    /// TLS inside TLS, HTTP, a response and a request of another type are told apart at the header.
    #[test]
    fn other_protocols_are_refused_at_the_header() {
        for header in [*b"GET / HT", [0x42, 0, 0x7b, 1, 0, 0, 0, 0], [0x42, 0, 0x78, 2, 0, 0, 0, 4], [0; 8]] {
            let mut buffer = FrameBuffer::new(1 << 20);
            buffer.room().extend_from_slice(&header);
            assert_eq!(buffer.complete(), Err(Unreadable::NotARequest { header }));
        }
    }

    /// A large message grows the buffer in steps, and its memory is given back.
    #[test]
    fn large_messages_leave_no_large_buffer() {
        let mut buffer = FrameBuffer::new(1 << 20);
        let large = message(&vec![7; 500_000]);
        for piece in large.chunks(1500) {
            buffer.room().extend_from_slice(piece);
        }
        assert_eq!(buffer.complete(), Ok(Some(large.len())));
        buffer.consume(large.len());
        assert!(buffer.octets.capacity() <= BUFFER_BYTES_KEPT);
    }
}
