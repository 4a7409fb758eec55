//! The command's end of the admin socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    AdminError, AdminReply, AdminRequest,
    socket::{Answer, LINE_BYTES_MAX},
};

/// Longest answer that is read: a page of 1,000 objects is some 300 KiB, a long client list more.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Why the server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No server is running on the data directory.
    #[error("no server is running on this data directory")]
    NotRunning,
    /// The request is too large.
    #[error("the request is larger than {LINE_BYTES_MAX} octets")]
    TooLarge,
    /// The connection failed.
    #[error("the running server did not answer")]
    Io(#[source] io::Error),
    /// It refused.
    #[error(transparent)]
    Refused(AdminError),
}

/// Sends a request to the running server.
pub fn send(socket: &Path, request: &AdminRequest) -> Result<AdminReply, ConnectError> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(ConnectError::NotRunning);
        }
        Err(error) => return Err(ConnectError::Io(error)),
    };
    let mut line = Zeroizing::new(serde_json::to_vec(request).map_err(|error| ConnectError::Io(error.into()))?);
    line.push(b'\n');
    if line.len() as u64 > LINE_BYTES_MAX {
        return Err(ConnectError::TooLarge);
    }
    stream.write_all(&line).map_err(ConnectError::Io)?;
    let mut text = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut text).map_err(ConnectError::Io)?;
    match serde_json::from_str(&text).map_err(|error| ConnectError::Io(error.into()))? {
        Answer::Ok(reply) => Ok(reply),
        Answer::Error(error) => Err(ConnectError::Refused(error)),
    }
}
