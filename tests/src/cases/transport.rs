//! How the messages of a case travel: TTLV over TLS, or one of the three encodings over HTTPS.

use std::io;

use keygate_kmip::event::TtlvSink;
use keygate_kmip::ttlv::Limits;
use keygate_kmip::{json, xml};

use crate::client::TlsKmipClient;
use crate::kmip_https::{Answer, KmipHttps};

/// An encoding and what carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// TTLV over TLS: the usual.
    Ttlv,
    /// TTLV over HTTPS.
    Https,
    /// XML over HTTPS.
    Xml,
    /// JSON over HTTPS.
    Json,
}

impl Encoding {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttlv => "TTLV",
            Self::Https => "HTTPS",
            Self::Xml => "XML",
            Self::Json => "JSON",
        }
    }

    /// The media type of a body.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Ttlv | Self::Https => "application/octet-stream",
            Self::Xml => "text/xml",
            Self::Json => "application/json",
        }
    }

    /// A TTLV message in this encoding.
    ///
    /// # Errors
    /// If the bytes are not a message.
    pub fn write(self, message: &[u8]) -> io::Result<Vec<u8>> {
        let text = match self {
            Self::Ttlv | Self::Https => return Ok(message.to_vec()),
            Self::Xml => xml::write(message, &LIMITS, xml::Masking::None),
            Self::Json => json::write(message, &LIMITS),
        };
        text.map(|text| text.as_bytes().to_vec()).map_err(io::Error::other)
    }

    /// A message in this encoding as TTLV.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut sink = TtlvSink::new();
        let limits = xml::Limits::of(&LIMITS);
        let text = || std::str::from_utf8(message).map_err(io::Error::other);
        match self {
            Self::Ttlv | Self::Https => return Ok(message.to_vec()),
            Self::Xml => xml::read(text()?, &mut sink, limits).map_err(io::Error::other)?,
            Self::Json => json::read(text()?, &mut sink, limits).map_err(io::Error::other)?,
        }
        Ok(sink.into_bytes().to_vec())
    }
}

/// What a test may send and take.
const LIMITS: Limits = Limits { message_bytes_max: 16 << 20, depth_max: 64, items_max: 200_000 };

/// A connection.
pub enum Transport {
    /// TTLV over TLS.
    Bare(TlsKmipClient),
    /// HTTPS.
    Http(KmipHttps, Encoding),
}

impl Transport {
    /// Over a fresh TLS connection.
    #[must_use]
    pub fn new(client: TlsKmipClient, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Ttlv => Self::Bare(client),
            encoding => Self::Http(KmipHttps::new(client), encoding),
        }
    }

    /// Sends a TTLV message in the transport's encoding, and reads the answer into TTLV. `exact`: what is sent instead, octet for
    /// octet: a body, or for TTLV over HTTPS the whole request.
    ///
    /// # Errors
    /// If there is no answer, or it is not one of KMIP in the same encoding.
    pub fn exchange(&mut self, request: &[u8], exact: Option<&[u8]>) -> io::Result<Vec<u8>> {
        let (http, encoding) = match self {
            Self::Bare(client) => return client.exchange(exact.unwrap_or(request)),
            Self::Http(http, encoding) => (http, *encoding),
        };
        let answer = match (exact, encoding) {
            (Some(octets), Encoding::Https) => {
                http.send(octets)?;
                http.receive()?
            }
            (Some(body), _) => http.post(encoding.media_type(), body)?,
            (None, _) => http.post(encoding.media_type(), &encoding.write(request)?)?,
        };
        check(&answer, encoding)?;
        encoding.read(&answer.body)
    }
}

fn check(answer: &Answer, encoding: Encoding) -> io::Result<()> {
    let media_type = answer.header("content-type");
    if answer.status == 200 && media_type == Some(encoding.media_type()) {
        return Ok(());
    }
    Err(io::Error::other(format!("status {}, Content-Type {media_type:?}: {}", answer.status, answer.text())))
}
