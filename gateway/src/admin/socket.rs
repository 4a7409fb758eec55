//! `D/run/admin.sock`: admin commands while the server runs. Mode 0600; the peer's user is checked and recorded as actor.

use std::{io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
};
use zeroize::Zeroizing;

use super::{AdminError, AdminReply, AdminRequest, ErrorClass, handle, stream};
use crate::{app::App, audit::Actor};

/// Longest request line: certificates and requests are small.
pub(super) const LINE_BYTES_MAX: u64 = 1 << 20;
/// Longest wait for a request.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// Commands at a time.
const COMMANDS_MAX: usize = 16;

/// What answers: a running server, or one that waits to be unsealed.
pub trait Answering: Send + Sync + 'static {
    /// Does what is asked, on behalf of `actor`.
    fn answer(self: Arc<Self>, actor: &Actor, request: AdminRequest) -> impl Future<Output = Result<AdminReply, AdminError>> + Send;

    /// The running server, for what is answered in a stream.
    fn app(&self) -> Option<&App> {
        None
    }
}

impl Answering for App {
    async fn answer(self: Arc<Self>, actor: &Actor, request: AdminRequest) -> Result<AdminReply, AdminError> {
        handle(&self, actor, request).await
    }

    fn app(&self) -> Option<&App> {
        Some(self)
    }
}

/// The bound socket.
pub struct AdminSocket {
    listener: UnixListener,
}

impl AdminSocket {
    /// Binds. The caller holds the data directory's lock, so a socket that is there is a dead one.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // D/run is 0700: nobody else can reach the socket before its own mode is set.
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener })
    }

    /// Serves until `stop` becomes true.
    pub async fn run<A: Answering>(self, answering: Arc<A>, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(COMMANDS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    // The semaphore is never closed; waiting here bounds the commands at a time.
                    let Ok(place) = places.clone().acquire_owned().await else { return };
                    let answering = answering.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        if let Err(error) = serve(answering, stream).await {
                            tracing::debug!(%error, "admin command ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an admin command");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// What stands on an answer line.
#[derive(Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    Ok(AdminReply),
    Error(AdminError),
}

async fn serve<A: Answering>(answering: Arc<A>, stream: UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let own = rustix::process::geteuid().as_raw();
    let (read, mut write) = stream.into_split();
    let mut line = Zeroizing::new(Vec::new());
    let mut read = BufReader::new(read.take(LINE_BYTES_MAX));
    let answer = if peer.uid() != own && peer.uid() != 0 {
        tracing::warn!(uid = peer.uid(), "admin command of another user refused");
        Answer::Error(refused("this data directory belongs to another user"))
    } else {
        let received = tokio::time::timeout(REQUEST_WAIT, read.read_until(b'\n', &mut line)).await;
        received.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let actor = Actor::LocalUser(peer.uid());
        match serde_json::from_slice::<AdminRequest>(&line) {
            Ok(request) => match answering.app().filter(|_| request.is_streamed()) {
                Some(app) => {
                    stream::serve(app, &actor, request, &mut write).await?;
                    return write.shutdown().await;
                }
                None => answering.answer(&actor, request).await.map_or_else(Answer::Error, Answer::Ok),
            },
            // serde_json quotes what it read, which may be a password: only the place is told.
            Err(error) => Answer::Error(refused(&format!("the request cannot be read at column {}", error.column()))),
        }
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    write.shutdown().await
}

fn refused(message: &str) -> AdminError {
    AdminError { class: ErrorClass::Failed, message: message.into() }
}
