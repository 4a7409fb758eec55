//! KMIP frames over a TLS connection: one request, one answer, bounded.

use crate::remote::{Address, Broken, Protocol};
use keygate_kmip::ttlv::{self, Limits};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// KMIP 2.1 §10: TTLV messages one after the other over TLS.
pub(super) struct Wire {
    pub(super) limits: Limits,
}

impl Protocol for Wire {
    type Connection = TlsStream<TcpStream>;
    type Request = [u8];
    type Response = Zeroizing<Vec<u8>>;

    async fn open(&self, stream: TlsStream<TcpStream>, _address: &Address) -> Result<Self::Connection, String> {
        Ok(stream)
    }

    fn is_open(&self, connection: &mut Self::Connection) -> bool {
        let mut octet = [0];
        let mut buffer = ReadBuf::new(&mut octet);
        // Nothing may come while nothing was asked: neither an end nor octets.
        matches!(Pin::new(connection).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer), Poll::Pending)
    }

    async fn exchange(&self, connection: &mut Self::Connection, request: &[u8]) -> Result<Self::Response, Broken> {
        let sent = async {
            connection.write_all(request).await?;
            connection.flush().await
        };
        sent.await.map_err(broken)?;
        let mut header = [0u8; 8];
        connection.read_exact(&mut header).await.map_err(broken)?;
        let length = ttlv::frame_length(header, &self.limits)
            .map_err(|error| Broken::Unanswered(format!("the answer is not KMIP: {error}")))?;
        // The length is within the limit, so this is a bounded allocation.
        let mut answer = Zeroizing::new(vec![0; length]);
        answer[..header.len()].copy_from_slice(&header);
        connection.read_exact(&mut answer[header.len()..]).await.map_err(broken)?;
        Ok(answer)
    }
}

fn broken(error: io::Error) -> Broken {
    match crate::remote::refused_us(&error) {
        // The handshake was not completed for the server, so it has read nothing.
        Some(alert) => Broken::Unsent(format!("the server refused our certificate ({alert:?})")),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Broken::Unanswered("the server closed the connection without an answer".to_owned())
        }
        None => Broken::Unanswered(error.to_string()),
    }
}
