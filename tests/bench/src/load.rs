//! The load generator: N connections, each asking again as soon as it has its answer.
//!
//! Requests are bytes made beforehand and answers are compared as bytes, so that the client costs little beside the server it
//! shares the machine with. Every answer is verified; what "verified" means is the row's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::process;

/// What to send and what must come back.
pub(crate) trait Job: Send + Sync + 'static {
    /// The request frame number `n` of a connection.
    fn request(&self, connection: usize, n: u64) -> &[u8];
    /// Whether the answer to it is right.
    fn check(&self, connection: usize, n: u64, answer: &[u8]) -> Result<(), String>;
    /// Length of the answer that begins with these bytes, once they tell: a KMIP frame unless the job speaks otherwise.
    fn answer_length(&self, bytes: &[u8]) -> Option<usize> {
        frame_length(bytes)
    }
}

/// A server under load.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) pid: u32,
}

/// How to load it.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// A new connection with a full handshake for every request.
    pub(crate) reconnect: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Server CPU time per request.
    pub(crate) cpu: Duration,
}

/// Runs a job and measures; the first tenth of the time is not counted.
pub(crate) fn run(target: &Target, job: &Arc<dyn Job>, load: Load) -> io::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run_async(target, job, load))
}

async fn run_async(target: &Target, job: &Arc<dyn Job>, load: Load) -> io::Result<Measured> {
    let shared =
        Arc::new(Shared { counting: AtomicBool::new(false), stop: AtomicBool::new(false), next: AtomicU64::new(0) });
    let mut tasks = Vec::new();
    for connection in 0..load.connections {
        let (target, job, shared) = (target.clone(), job.clone(), shared.clone());
        tasks
            .push(tokio::spawn(async move { drive(&target, job.as_ref(), connection, load.reconnect, &shared).await }));
    }
    tokio::time::sleep(load.duration / 10).await;
    let cpu_before = process::cpu(target.pid)?;
    let start = Instant::now();
    shared.counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(load.duration).await;
    shared.counting.store(false, Ordering::Relaxed);
    let (elapsed, cpu) = (start.elapsed(), process::cpu(target.pid)? - cpu_before);
    shared.stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<u32> = Vec::new();
    for task in tasks {
        latencies.extend(task.await.map_err(io::Error::other)??);
    }
    Ok(summarise(latencies, elapsed, cpu))
}

struct Shared {
    counting: AtomicBool,
    stop: AtomicBool,
    next: AtomicU64,
}

/// One connection; returns its latencies in units of 100 ns.
async fn drive(
    target: &Target,
    job: &dyn Job,
    connection: usize,
    reconnect: bool,
    shared: &Shared,
) -> io::Result<Vec<u32>> {
    let mut latencies = Vec::with_capacity(1 << 16);
    let mut answer = Vec::with_capacity(1 << 16);
    let mut stream = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let open = match stream.as_mut() {
            Some(open) => open,
            None => stream.insert(connect(target).await?),
        };
        open.write_all(job.request(connection, n)).await?;
        open.flush().await?;
        read_answer(open, &mut answer, job).await?;
        let taken = start.elapsed();
        job.check(connection, n, &answer).map_err(io::Error::other)?;
        if shared.counting.load(Ordering::Relaxed) {
            latencies.push(u32::try_from(taken.as_nanos() / 100).unwrap_or(u32::MAX));
        }
        if reconnect {
            stream = None;
        }
    }
    Ok(latencies)
}

async fn connect(target: &Target) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    TlsConnector::from(target.tls.clone()).connect(name, socket).await
}

async fn read_answer(stream: &mut TlsStream<TcpStream>, answer: &mut Vec<u8>, job: &dyn Job) -> io::Result<()> {
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        if let Some(length) = job.answer_length(answer)
            && answer.len() >= length
        {
            return if answer.len() == length { Ok(()) } else { Err(io::Error::other("more than one answer")) };
        }
    }
}

/// Length of the frame that begins with these bytes.
pub(crate) fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(4..8)?;
    Some(8 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize)
}

fn summarise(mut latencies: Vec<u32>, elapsed: Duration, cpu: Duration) -> Measured {
    latencies.sort_unstable();
    let requests = latencies.len();
    let at = |part: f64| {
        let index = ((requests as f64 * part) as usize).min(requests.saturating_sub(1));
        Duration::from_nanos(u64::from(latencies.get(index).copied().unwrap_or_default()) * 100)
    };
    Measured {
        per_second: requests as f64 / elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        cpu: cpu.checked_div(u32::try_from(requests).unwrap_or(u32::MAX)).unwrap_or_default(),
    }
}
