//! The limit of the disk: SQLite's own group commit, through its C interface.
//!
//! 64 writers, each waiting for its row to be durable before it sends the next; one thread takes what has gathered, inserts it in one
//! transaction with a prepared statement, commits (WAL, synchronous FULL) and releases the writers.

use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use libsqlite3_sys as ffi;

/// Durable rows a second with this many writers.
pub(crate) fn group_commit(folder: &Path, writers: usize, row_bytes: usize, duration: Duration) -> io::Result<f64> {
    let rows = measure(folder, writers, row_bytes, duration)?;
    Ok(rows.len() as f64 / duration.as_secs_f64())
}

/// The 99th percentile of one commit of one row, nobody else writing.
pub(crate) fn commit_p99(folder: &Path, row_bytes: usize, duration: Duration) -> io::Result<Duration> {
    let mut times = measure(folder, 1, row_bytes, duration)?;
    times.sort_unstable();
    Ok(times.get(times.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default())
}

/// Makes a database with tables, for another program to use.
pub(crate) fn create(path: &Path, schema: &CStr) -> io::Result<()> {
    Database::open(path, schema).map(drop)
}

fn measure(folder: &Path, writers: usize, row_bytes: usize, duration: Duration) -> io::Result<Vec<Duration>> {
    let folder = tempfile::tempdir_in(folder)?;
    let setup = c"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)";
    let database = Database::open(&folder.path().join("limit.sqlite"), setup)?;
    let stop = AtomicBool::new(false);
    let (send, receive) = mpsc::channel::<(u64, mpsc::SyncSender<()>)>();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..writers)
            .map(|writer| {
                let (send, stop) = (send.clone(), &stop);
                scope.spawn(move || write_rows(writer as u64, &send, stop))
            })
            .collect();
        drop(send);
        let stopper = scope.spawn(|| {
            std::thread::sleep(duration);
            stop.store(true, Ordering::Relaxed);
        });
        database.commit_all(&receive, row_bytes)?;
        let _ = stopper.join();
        let mut times = Vec::new();
        for worker in workers {
            times.extend(worker.join().map_err(|_| io::Error::other("a writer failed"))?);
        }
        Ok(times)
    })
}

fn write_rows(writer: u64, send: &mpsc::Sender<(u64, mpsc::SyncSender<()>)>, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    let (done, released) = mpsc::sync_channel(1);
    let mut row = writer;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        // Keys are spread like random identifiers: an odd multiplier permutes the numbers.
        row = row.wrapping_add(1 << 20);
        if send.send((row.wrapping_mul(0x9E37_79B9_7F4A_7C15), done.clone())).is_err() || released.recv().is_err() {
            break;
        }
        times.push(start.elapsed());
    }
    times
}

struct Database {
    handle: *mut ffi::sqlite3,
}

impl Database {
    fn open(path: &Path, setup: &CStr) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_encoded_bytes())?;
        let mut handle = ptr::null_mut();
        // SAFETY: `path` is a C string and `handle` a place for the result; both live over the call.
        let code = unsafe { ffi::sqlite3_open(path.as_ptr(), &raw mut handle) };
        let database = Self { handle };
        database.check(code)?;
        database.execute(setup)?;
        Ok(database)
    }

    fn execute(&self, sql: &CStr) -> io::Result<()> {
        // SAFETY: the handle is open, `sql` is a C string; no callback and no error text are asked for.
        let code = unsafe { ffi::sqlite3_exec(self.handle, sql.as_ptr(), None, ptr::null_mut(), ptr::null_mut()) };
        self.check(code)
    }

    fn check(&self, code: i32) -> io::Result<()> {
        if matches!(code, ffi::SQLITE_OK | ffi::SQLITE_DONE | ffi::SQLITE_ROW) {
            return Ok(());
        }
        Err(io::Error::other(format!("SQLite error {code}")))
    }

    fn commit_all(&self, rows: &mpsc::Receiver<(u64, mpsc::SyncSender<()>)>, row_bytes: usize) -> io::Result<()> {
        let body = vec![0xA5_u8; row_bytes];
        let sql = c"INSERT OR REPLACE INTO t VALUES(?1, ?2)";
        let mut statement = ptr::null_mut();
        // SAFETY: the handle is open, `sql` is a C string, `statement` a place for the result; -1 means "up to the zero byte".
        let code =
            unsafe { ffi::sqlite3_prepare_v2(self.handle, sql.as_ptr(), -1, &raw mut statement, ptr::null_mut()) };
        self.check(code)?;
        while let Ok(first) = rows.recv() {
            let mut group = vec![first];
            group.extend(rows.try_iter());
            self.execute(c"BEGIN IMMEDIATE")?;
            for (id, _) in &group {
                let length = i32::try_from(body.len()).map_err(io::Error::other)?;
                // SAFETY: the statement is prepared on this handle and used by this thread alone; `body` outlives the step, so a
                // null destructor (SQLITE_STATIC) is right.
                let code = unsafe {
                    ffi::sqlite3_bind_int64(statement, 1, id.cast_signed());
                    ffi::sqlite3_bind_blob(statement, 2, body.as_ptr().cast(), length, None);
                    let code = ffi::sqlite3_step(statement);
                    ffi::sqlite3_reset(statement);
                    code
                };
                self.check(code)?;
            }
            self.execute(c"COMMIT")?;
            for (_, done) in group {
                // A writer that has stopped waiting needs no release.
                let _ = done.try_send(());
            }
        }
        // SAFETY: the statement was prepared above and is not used again.
        unsafe { ffi::sqlite3_finalize(statement) };
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: the handle came from sqlite3_open and is closed once; its statement is finalised.
        unsafe { ffi::sqlite3_close(self.handle) };
    }
}
