//! The command's end of the admin socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    AdminError, AdminReply, AdminRequest, StreamItem,
    stream::{ANSWER, DATA, FRAME_BYTES_MAX, PROGRESS},
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
    let stream = begin(socket, request)?;
    let mut text = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut text).map_err(ConnectError::Io)?;
    answered(text.as_bytes())
}

/// Sends a request that is answered by a stream; what comes goes to `take`.
pub fn send_for_stream(
    socket: &Path,
    request: &AdminRequest,
    mut take: impl FnMut(StreamItem) -> io::Result<()>,
) -> Result<AdminReply, ConnectError> {
    let mut stream = begin(socket, request)?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).map_err(ConnectError::Io)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if length > FRAME_BYTES_MAX {
            return Err(ConnectError::Io(io::ErrorKind::InvalidData.into()));
        }
        let mut content = vec![0; length as usize];
        stream.read_exact(&mut content).map_err(ConnectError::Io)?;
        let item = match kind {
            DATA => StreamItem::Data(content),
            PROGRESS => StreamItem::Progress(serde_json::from_slice(&content).map_err(|error| ConnectError::Io(error.into()))?),
            ANSWER => return answered(&content),
            _ => return Err(ConnectError::Io(io::ErrorKind::InvalidData.into())),
        };
        take(item).map_err(ConnectError::Io)?;
    }
}

fn answered(text: &[u8]) -> Result<AdminReply, ConnectError> {
    match serde_json::from_slice(text).map_err(|error| ConnectError::Io(error.into()))? {
        Answer::Ok(reply) => Ok(reply),
        Answer::Error(error) => Err(ConnectError::Refused(error)),
    }
}

fn begin(socket: &Path, request: &AdminRequest) -> Result<UnixStream, ConnectError> {
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
    Ok(stream)
}
