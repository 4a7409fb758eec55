//! Requests that are answered by a file: from the running server, or made here where none runs.

use std::io::{self, IsTerminal as _, Write as _};

use super::{
    Failure,
    admin::is_served,
    args::Data,
    out_file::OutFile,
    serve::{do_alone, lock_patiently},
};
use crate::{
    admin::{self, AdminReply, AdminRequest, ConnectError, Progress, StreamItem},
    data_dir::DataDir,
};

/// Asks, and writes what comes. The file is in its place when this returns an answer.
pub(super) fn fetch(data: &Data, request: AdminRequest, mut to: OutFile) -> Result<AdminReply, Failure> {
    let mut lines = ProgressLine::default();
    let take = |item: StreamItem| match item {
        StreamItem::Data(octets) => to.write_all(&octets),
        StreamItem::Progress(progress) => {
            lines.show(progress);
            Ok(())
        }
    };
    let reply = ask(data, request, take)?;
    lines.end();
    to.finish()?;
    Ok(reply)
}

fn ask(
    data: &Data,
    request: AdminRequest,
    mut take: impl FnMut(StreamItem) -> io::Result<()>,
) -> Result<AdminReply, Failure> {
    let dir = DataDir::open(&data.data_dir)?;
    let socket = dir.admin_socket();
    match admin::send_for_stream(&socket, &request, &mut take) {
        Err(ConnectError::NotRunning) => {}
        answered => return Ok(answered?),
    }
    let Some(lock) = lock_patiently(&dir, || is_served(&socket))? else {
        return Ok(admin::send_for_stream(&socket, &request, take)?);
    };
    let with_objects = request.is_about_objects();
    do_alone(data, lock, with_objects, async |app, actor| admin::stream_here(app, actor, request, take).await)
}

/// Progress on standard error: one line that is rewritten on a terminal, a line per tenth elsewhere.
#[derive(Default)]
pub(super) struct ProgressLine {
    tenth: Option<u64>,
    is_open: bool,
}

impl ProgressLine {
    /// Shows how far it is.
    pub(super) fn show(&mut self, progress: Progress) {
        let Progress { done, total } = progress;
        let per_cent = (done * 100).checked_div(total).unwrap_or(100).min(100);
        let filled = (per_cent / 5) as usize;
        if io::stderr().is_terminal() {
            eprint!("\r[{}{}] {per_cent:3} %  {done} of {total}", "#".repeat(filled), " ".repeat(20 - filled));
            let _ = io::stderr().flush();
            self.is_open = true;
        } else if self.tenth.is_none_or(|tenth| tenth < per_cent / 10) {
            eprintln!("{per_cent} %: {done} of {total}");
        }
        self.tenth = Some(per_cent / 10);
    }

    /// Shows how many octets have come, where nobody knows of how many.
    pub(super) fn show_octets(&mut self, octets: u64) {
        if io::stderr().is_terminal() {
            eprint!("\r{} KiB", octets / 1024);
            let _ = io::stderr().flush();
            self.is_open = true;
        }
    }

    /// Ends the line.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            eprintln!();
        }
    }
}
