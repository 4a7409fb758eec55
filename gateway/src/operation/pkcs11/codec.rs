//! Parameters of PKCS#11 functions as octets. KMIP Profiles 2.1 §5.18.1.
//!
//! CK_BYTE and CK_BBOOL are one octet, CK_ULONG eight, big-endian; a count or length of an array is four and stands before the
//! array; the fields of a structure follow each other. Where a function takes a buffer of the caller, an octet says whether there
//! is one (1) or NULL_PTR (0), and its room follows as a count: the profile leaves that to be read out of its rules.

use zeroize::Zeroizing;

use crate::operation::OperationError;

/// Input parameters, read one after the other.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], OperationError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| bad(&format!("{what} is missing")))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn ulong(&mut self) -> Result<u64, OperationError> {
        self.take("a CK_ULONG").map(u64::from_be_bytes)
    }

    pub(super) fn count(&mut self) -> Result<u32, OperationError> {
        self.take("a count").map(u32::from_be_bytes)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, OperationError> {
        match self.take("a CK_BBOOL")? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(bad("a CK_BBOOL is neither 0 nor 1")),
        }
    }

    /// How much room the caller's buffer has; `None` without a buffer.
    pub(super) fn buffer(&mut self) -> Result<Option<u32>, OperationError> {
        let is_there = self.boolean()?;
        let room = if self.0.is_empty() && !is_there { 0 } else { self.count()? };
        Ok(is_there.then_some(room))
    }

    /// Passes over the rest.
    pub(super) fn skip(&mut self) {
        self.0 = &[];
    }

    /// Nothing is left.
    pub(super) fn finish(self) -> Result<(), OperationError> {
        if self.0.is_empty() { Ok(()) } else { Err(bad("there are more input parameters than the function has")) }
    }
}

fn bad(what: &str) -> OperationError {
    OperationError::Pkcs11Codec(format!("PKCS#11 Input Parameters: {what}"))
}

/// Output parameters, written one after the other.
#[derive(Default)]
pub(super) struct Output(Zeroizing<Vec<u8>>);

impl Output {
    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    pub(super) fn ulong(&mut self, value: u64) {
        self.octets(&value.to_be_bytes());
    }

    pub(super) fn count(&mut self, value: u32) {
        self.octets(&value.to_be_bytes());
    }

    /// PKCS#11 2.40 §3.1: such strings are "padded with the blank character" and not null-terminated.
    pub(super) fn padded(&mut self, text: &str, length: usize) {
        let mut padded = vec![b' '; length];
        padded.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        self.octets(&padded);
    }

    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}
