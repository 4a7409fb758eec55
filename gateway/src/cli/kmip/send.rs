//! `keygate kmip send`: a request message that somebody wrote as XML, as it is.

use std::{io::Read as _, path::Path};

use keygate_kmip::{
    ResultStatus, Tag,
    event::TtlvSink,
    ttlv::{DecodeError, Frame},
    xml::{self, Masking},
};
use zeroize::Zeroizing;

use super::wire::{self, LIMITS};
use crate::cli::{Failure, args::Peer, code};

/// Sends the message in a file (`-`: standard input) and prints the answer as XML. Fails if an item of it did.
pub(super) fn send(file: &Path, unmasked: bool, peer: &Peer) -> Result<(), Failure> {
    let shown = file.display();
    let usage = |text: String| Failure::new(code::USAGE, format!("{shown}: {text}"));
    let limits = xml::Limits::of(&LIMITS);
    let text = text_of(file, limits.text_bytes_max).map_err(|error| usage(error.to_string()))?;
    let mut sink = TtlvSink::new();
    xml::read(&text, &mut sink, limits).map_err(|error| usage(error.to_string()))?;
    let request = sink.into_bytes();
    let root = Frame::parse(&request, &LIMITS).map_err(|error| usage(error.to_string()))?.root();
    if root.tag != Tag::REQUEST_MESSAGE {
        return Err(usage(format!("holds a {}, not a Request Message", root.tag)));
    }
    let answer = wire::exchange(peer, &request)?;
    let unreadable = |error: DecodeError| Failure::new(code::FAILED, format!("unreadable answer: {error}"));
    let masking = if unmasked { Masking::None } else { Masking::Secrets };
    print!("{}", xml::write(&answer, &LIMITS, masking).map_err(unreadable)?.as_str());
    let frame = Frame::parse(&answer, &LIMITS).map_err(unreadable)?;
    match failures(&frame).map_err(unreadable)? {
        0 => Ok(()),
        count => Err(Failure::new(code::FAILED, format!("{count} batch items did not succeed"))),
    }
}

/// The text of a file of at most `max` octets; wiped when dropped.
fn text_of(file: &Path, max: usize) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let max = u64::try_from(max).unwrap_or(u64::MAX);
    if file == Path::new("-") {
        std::io::stdin().lock().take(max + 1).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?.take(max + 1).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// How many batch items of an answer have not succeeded.
fn failures(answer: &Frame<'_>) -> Result<usize, DecodeError> {
    let mut count = 0;
    for item in answer.root().structure()?.filter(|item| item.tag == Tag::BATCH_ITEM) {
        let status = item.structure()?.find(|field| field.tag == Tag::RESULT_STATUS);
        let status = status.map(|status| status.enumeration()).transpose()?;
        count += usize::from(status != Some(ResultStatus::Success.code()));
    }
    Ok(count)
}
