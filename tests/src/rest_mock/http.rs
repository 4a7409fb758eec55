//! Just enough HTTP/1.1: requests with Content-Length, answers with Content-Length.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde_json::Value;

/// A request.
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) path: String,
    /// The value of Authorization.
    pub(super) authorization: String,
    pub(super) body: Value,
}

/// Reads a request; `None` when the client has closed the connection.
pub(super) fn read(stream: &mut impl Read) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        if stream.read(&mut octet)? == 0 {
            return Ok(None);
        }
        head.push(octet[0]);
        if head.len() > 64 * 1024 {
            return Err(io::Error::other("head too long"));
        }
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(Ok(0), |text| text.parse()).map_err(io::Error::other)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).map_err(io::Error::other)? };
    let authorization = headers.get("authorization").cloned().unwrap_or_default();
    Ok(Some(Request { method, path, authorization, body }))
}

pub(super) fn write(stream: &mut impl Write, status: u16, content_type: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;
    stream.flush()
}

/// Writes until the client gives up.
pub(super) fn write_endless(stream: &mut impl Write) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")?;
    loop {
        stream.write_all(b"1000\r\n")?;
        stream.write_all(&[b' '; 0x1000])?;
        stream.write_all(b"\r\n")?;
        stream.flush()?;
    }
}
