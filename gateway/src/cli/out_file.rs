//! A file that appears whole or not at all: written under a name of its own beside its place, mode 0600, renamed at the end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Failure, code};

/// A file being written; removed when dropped before [`OutFile::finish`].
pub(super) struct OutFile {
    target: PathBuf,
    part: PathBuf,
    file: Option<File>,
}

impl OutFile {
    /// Begins a file that must not exist.
    pub(super) fn create(target: &Path) -> Result<Self, Failure> {
        if target.symlink_metadata().is_ok() {
            return Err(Failure::new(
                code::NAME,
                format!("{} exists already\nhint: name another file", target.display()),
            ));
        }
        let mut part = target.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let file =
            file.map_err(|error| Failure::new(code::USAGE, format!("cannot write {}: {error}", part.display())))?;
        Ok(Self { target: target.to_owned(), part, file: Some(file) })
    }

    /// Puts it in its place, on disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            let placed = file.sync_all().and_then(|()| fs::hard_link(&self.part, &self.target));
            // Linked, not renamed over: what somebody else has put there meanwhile stays.
            let placed = match placed {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => fs::rename(&self.part, &self.target),
                other => other,
            };
            let _ = fs::remove_file(&self.part);
            placed?;
        }
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    }
}

impl Write for OutFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // What cannot be removed is encrypted and has its own name.
            let _ = fs::remove_file(&self.part);
        }
    }
}
