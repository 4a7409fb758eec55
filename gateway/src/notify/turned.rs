//! A connection that a client turned round: it is the server from here on, and is sent what happens to its objects.
//!
//! KMIP 2.1 §6.1.54: after success "the server assumes the client role, and the client assumes the server role, but the
//! communication channel remains as established".

use std::sync::Arc;
use std::time::Duration;

use keygate_kmip::{DiscoverVersionsRequest, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::Notice;
use super::deliver::{message, released, told};
use super::queue::Queue;
use super::wire::{self, CallError};
use crate::identity::Caller;
use crate::operation::Gateway;

/// Most messages that wait for a client that takes them slowly.
const QUEUE_MAX: usize = 1000;

/// How long a client may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// While it has nothing to answer; then it is asked whether it is still there, by Discover Versions, which it answers in its role as
    /// server (KMIP 2.1 §6.2.1). A peer that is gone must not hold a connection for ever.
    pub(crate) idle: Duration,
    /// Before it answers.
    pub(crate) answer: Duration,
}

impl Silence {
    /// What clients are allowed.
    pub(crate) const USUAL: Self = Self { idle: Duration::from_secs(300), answer: Duration::from_secs(10) };
}

/// Sends a client what happens to its objects until it ends the connection, says something unasked, or does not answer. What waits
/// then is lost: a client that comes back asks.
pub(crate) async fn serve_turned<S: AsyncRead + AsyncWrite + Unpin>(
    gateway: &Gateway,
    caller: &Caller,
    version: ProtocolVersion,
    stream: &mut S,
    silence: Silence,
) {
    let queue = Arc::new(Queue::new(&caller.name, true, true, QUEUE_MAX));
    let _open = Open::new(gateway, queue.clone());
    let mut unasked = [0];
    loop {
        let notice = tokio::select! {
            notice = queue.next() => notice,
            // The end, or octets that nobody asked for.
            _ = stream.read(&mut unasked) => return,
            () = tokio::time::sleep(silence.idle) => {
                let hello = DiscoverVersionsRequest { versions: Vec::new() };
                match wire::call(stream, version, hello.into(), silence.answer).await {
                    // Whatever it says, it is there.
                    Ok(_) | Err(CallError::Refused { .. }) => continue,
                    Err(CallError::Away(_)) => return,
                }
            }
        };
        if let Err(error) = send(gateway, &notice, version, stream, silence.answer).await {
            tracing::info!(caller = %caller.label(), object.id = %notice.object, %error, "a connection that was turned round ends");
            return;
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    gateway: &Gateway,
    notice: &Notice,
    version: ProtocolVersion,
    stream: &mut S,
    within: Duration,
) -> Result<(), CallError> {
    let Some(message) = message(gateway, notice, version).await? else { return Ok(()) };
    released(gateway, notice).await?;
    match wire::call(stream, version, message, within).await {
        Ok(_) => {
            told(gateway, notice).await;
            Ok(())
        }
        // It was told, and does not want it: no reason to hang up.
        Err(CallError::Refused { reason, message }) => {
            tracing::info!(object.id = %notice.object, %reason, message, "a client refuses what it was sent");
            Ok(())
        }
        Err(away) => Err(away),
    }
}

/// A queue that is told while this lives.
struct Open<'a> {
    gateway: &'a Gateway,
    queue: Arc<Queue>,
}

impl<'a> Open<'a> {
    fn new(gateway: &'a Gateway, queue: Arc<Queue>) -> Self {
        gateway.notices.open(queue.clone());
        Self { gateway, queue }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.gateway.notices.close(&self.queue);
    }
}
