//! A KMIP client over HTTPS: HTTP/1.1 written by hand over the TLS client, so that a test can send anything and sees every octet
//! of the answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::{ClientConnection, StreamOwned};

use crate::client::TlsKmipClient;

/// An answer of HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub struct KmipHttps {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Received and not yet part of an answer.
    received: Vec<u8>,
}

/// Longest header and body that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

impl KmipHttps {
    /// Over a TLS connection on which nothing was sent yet.
    #[must_use]
    pub fn new(client: TlsKmipClient) -> Self {
        Self { stream: client.into_stream(), received: Vec::new() }
    }

    /// `POST /kmip`.
    ///
    /// # Errors
    /// If the connection ends or no answer comes in time.
    pub fn post(&mut self, media_type: &str, body: &[u8]) -> io::Result<Answer> {
        let head = format!(
            "POST /kmip HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat())?;
        self.receive()
    }

    /// Sends octets, whatever they are.
    ///
    /// # Errors
    /// If the connection has ended.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)?;
        self.stream.flush()
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// If the connection ends, no answer comes in time, or it has no Content-Length.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.received[..end]).into_owned();
        self.received.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        let headers: Vec<(String, String)> = lines.filter_map(header).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value.as_str());
        let length: usize = length.parse().map_err(io::Error::other)?;
        while self.received.len() < length {
            self.more()?;
        }
        Ok(Answer { status, headers, body: self.received.drain(..length).collect() })
    }

    /// Whether the server has closed the connection and sent nothing more; waits for it up to the read timeout.
    pub fn is_closed(&mut self) -> bool {
        self.received.is_empty() && !matches!(self.stream.read(&mut [0]), Ok(1..))
    }

    /// The TLS stream, for what is not HTTP.
    #[must_use]
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.stream
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece)?;
        if count == 0 || self.received.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before an answer was whole"));
        }
        self.received.extend_from_slice(&piece[..count]);
        Ok(())
    }
}
