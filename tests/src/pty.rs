//! A terminal for commands that ask or show something only where somebody sits: a pseudo-terminal, what is typed on it, and
//! everything that appears there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long a command may take to say something, in a debug build on a busy machine.
const WAIT: Duration = Duration::from_secs(120);

/// A command on a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    master: File,
    pieces: Receiver<Vec<u8>>,
    shown: String,
    /// Up to where [`Terminal::expect`] has looked.
    read: usize,
}

impl Terminal {
    /// Starts a command whose input, output and errors are a terminal.
    ///
    /// # Errors
    /// If there is no terminal, or the command does not start.
    pub fn run(mut command: Command) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.into_string().map_err(io::Error::other)?;
        let line = File::options().read(true).write(true).open(name)?;
        let child = command.stdin(line.try_clone()?).stdout(line.try_clone()?).stderr(line).spawn()?;
        // The command holds the other end: closed here, its end is the end of what appears.
        drop(command);
        let master = File::from(master);
        let (mut appears, (sender, pieces)) = (master.try_clone()?, channel());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // Linux: EIO when nobody has the other end any more.
            while let Ok(read) = appears.read(&mut piece) {
                if read == 0 || sender.send(piece[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, master, pieces, shown: String::new(), read: 0 })
    }

    /// Waits until this text has appeared, after what was waited for before.
    ///
    /// # Panics
    /// If it does not appear; what did is told.
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(found) = self.shown[self.read..].find(text) {
                self.read += found + text.len();
                return;
            }
            match self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(error) => panic!("\"{text}\" does not appear ({error}):\n{}", self.shown),
            }
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn type_line(&mut self, text: &str) {
        let typed = self.master.write_all(format!("{text}\n").as_bytes());
        assert!(typed.is_ok(), "cannot type: {typed:?}");
    }

    /// Process id of the command.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the command's end: how it ended, and everything that appeared.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn end(mut self) -> io::Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        while let Ok(piece) = self.pieces.recv_timeout(Duration::from_secs(5)) {
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        Ok((status, std::mem::take(&mut self.shown)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A command that has ended is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
