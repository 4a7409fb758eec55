//! Requests whose answer is a stream: backups and exports. Octets and progress go through one bounded channel, over the admin
//! socket as frames, or straight to the command that works alone.
//!
//! ```text
//! frame: kind 1 | length 4, big-endian | content
//!   0  octets of the file        1  progress, JSON        2  the answer, JSON; the last frame
//! ```
//! A file is whole when the answer says so, and not before.

use std::{io, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};

use super::{AdminError, AdminReply, AdminRequest, socket::Answer};
use crate::{
    app::App,
    audit::Actor,
    backup, export,
    store::{OrganisationId, Role},
};

/// Octets of the file in one frame.
const CHUNK: usize = 64 * 1024;
/// Frames that wait for whoever reads: so much memory a slow reader costs.
const FRAMES_MAX: usize = 8;
/// Longest wait for a reader: while a backup goes on, the database keeps what has changed since it began.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// Largest frame that is taken.
pub(super) const FRAME_BYTES_MAX: u32 = 1 << 20;

pub(super) const DATA: u8 = 0;
pub(super) const PROGRESS: u8 = 1;
pub(super) const ANSWER: u8 = 2;

/// How far it is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Progress {
    /// Rows or keys done.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// Something on its way.
pub enum StreamItem {
    /// Octets of the file.
    Data(Vec<u8>),
    /// How far it is.
    Progress(Progress),
}

/// Where the octets of a file go: for threads that may block.
pub struct DataSink {
    sender: mpsc::Sender<StreamItem>,
    buffer: Vec<u8>,
    digest: Context,
}

/// Tells of progress; what nobody has time to read is dropped.
pub struct ProgressSink(mpsc::Sender<StreamItem>);

impl DataSink {
    /// A sink and what comes out of it.
    pub fn channel() -> (Self, mpsc::Receiver<StreamItem>) {
        let (sender, receiver) = mpsc::channel(FRAMES_MAX);
        (Self { sender, buffer: Vec::with_capacity(CHUNK), digest: Context::new(&SHA256) }, receiver)
    }

    /// Where progress is told.
    pub fn progress(&self) -> ProgressSink {
        ProgressSink(self.sender.clone())
    }

    /// SHA-256 of all that was written, hexadecimal.
    pub fn sha256(&self) -> String {
        hex::encode(self.digest.clone().finish())
    }
}

impl ProgressSink {
    /// Says how far it is.
    pub fn tell(&self, progress: Progress) {
        // A full channel: whoever reads has something newer to do.
        let _ = self.0.try_send(StreamItem::Progress(progress));
    }
}

impl io::Write for DataSink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let taken = octets.len().min(CHUNK - self.buffer.len());
        self.digest.update(&octets[..taken]);
        self.buffer.extend_from_slice(&octets[..taken]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(StreamItem::Data(full)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Does what is asked; the file goes to `out`.
///
/// # Errors
/// Why there is none, or no whole one.
pub async fn handle_stream(
    app: &App,
    actor: &Actor,
    request: AdminRequest,
    out: DataSink,
) -> Result<AdminReply, AdminError> {
    match request {
        AdminRequest::Backup { lock } => backup::make(app, actor, lock, out).await.map(AdminReply::Backup),
        AdminRequest::Export { organisation, format } => {
            let organisation = organisation.as_deref();
            let id = match organisation {
                Some(name) => {
                    app.provisioning.organisation(name).map_err(|error| AdminError::name(error.to_string()))?
                }
                None => OrganisationId::DEFAULT,
            };
            let gateway =
                app.provisioning.gateway().ok_or_else(|| AdminError::usage("the object layer is not open"))?;
            // A user of this machine who reaches the data directory: the way back in, with all rights.
            let permit =
                export::authorise_export(actor.clone(), None, Role::SecurityWrite, id).map_err(AdminError::failed)?;
            let name = organisation.map_or_else(|| id.to_string(), str::to_owned);
            export::make(gateway, permit, name, format, out).await.map(AdminReply::Exported)
        }
        _ => Err(AdminError::usage("this request has no stream for an answer")),
    }
}

/// Answers over a socket.
pub(super) async fn serve(
    app: &App,
    actor: &Actor,
    request: AdminRequest,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let (sink, mut items) = DataSink::channel();
    let work = handle_stream(app, actor, request, sink);
    let send = async {
        while let Some(item) = items.recv().await {
            match item {
                StreamItem::Data(octets) => frame(to, DATA, &octets).await?,
                StreamItem::Progress(progress) => frame(to, PROGRESS, &serde_json::to_vec(&progress)?).await?,
            }
        }
        Ok::<_, io::Error>(to)
    };
    tokio::pin!(work, send);
    // The sender gone, the work notices at its next chunk.
    let (answer, to) = tokio::try_join!(async { Ok(work.await) }, send)?;
    let answer = answer.map_or_else(Answer::Error, Answer::Ok);
    frame(to, ANSWER, &serde_json::to_vec(&answer)?).await
}

async fn frame(to: &mut (impl AsyncWrite + Unpin), kind: u8, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let write = async {
        to.write_all(&[kind]).await?;
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(content).await
    };
    tokio::time::timeout(WRITE_WAIT, write).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Does what is asked in this process; items go to `take`.
///
/// # Errors
/// As [`handle_stream`], or that `take` failed.
pub async fn stream_here(
    app: &App,
    actor: &Actor,
    request: AdminRequest,
    mut take: impl FnMut(StreamItem) -> io::Result<()>,
) -> Result<AdminReply, AdminError> {
    let (sink, mut items) = DataSink::channel();
    let work = handle_stream(app, actor, request, sink);
    let taking = async move {
        while let Some(item) = items.recv().await {
            take(item)?;
        }
        Ok::<_, io::Error>(())
    };
    let (answer, taken) = tokio::join!(work, taking);
    taken?;
    answer
}
