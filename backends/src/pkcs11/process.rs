//! Starting and ending a worker process.

use super::page::Page;
use crate::error::{Class, KsError, Result};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How worker processes are started: a program that calls [`super::worker_main`] when it gets these arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawn {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Spawn {
    /// Another program.
    pub fn program(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// This program, the very file it was started from: an upgrade that replaces the file does not mix versions.
    pub fn this_program(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self::program("/proc/self/exe", arguments)
    }
}

/// For the module's allocator, glibc's (others do not look at it): what a thread has freed it keeps for itself, up to 64 KiB a piece and
/// 120 of a size. SoftHSM opens a file for each use of a key, and its buffer is large enough to have glibc tidy the whole heap each time:
/// with 10,000 keys on the token that was a sixth of a worker's time.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_max=65536:glibc.malloc.tcache_count=120");

/// A running worker process. It is killed when this value is dropped.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a worker. Its environment is ours, for modules find their configuration there; it has no secrets in it.
    ///
    /// The calling thread must live as long as the worker: the kernel kills the worker when that thread ends.
    pub(super) fn start(spawn: &Spawn) -> Result<(Self, UnixStream, Page)> {
        let failed = |e: std::io::Error| KsError::new(Class::RetryOther, format!("cannot start a worker process: {e}"));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let (page, shared) = Page::create()?;
        let mut command = Command::new(&spawn.program);
        command.args(&spawn.arguments).arg0("keygate");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::from(shared));
        if std::env::var_os(TUNABLES.0).is_none() {
            command.env(TUNABLES.0, TUNABLES.1);
        }
        // A terminal's interrupt is for the gateway, which drains first.
        command.process_group(0);
        let child = command.spawn().map_err(failed)?;
        Ok((Self { child }, ours, page))
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: the only cure for a call that never returns.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Waits for a worker that was told to end, and kills one that takes too long.
    pub(super) fn end_within(&mut self, grace: Duration) {
        let until = Instant::now() + grace;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// Waits for the end and tells how it came.
    pub(super) fn end(&mut self) -> String {
        match self.child.wait() {
            Ok(status) => describe(status),
            Err(e) => format!("for an unknown reason: {e}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("by signal {signal}"),
        (None, Some(code)) => format!("with exit code {code}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}
