//! What is typed on a terminal and not shown: shares, passphrases.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::seal::{SecretBytes, SlotStatus};

/// Longest text that is read.
pub(super) const TEXT_BYTES_MAX: u64 = 4096;

/// Whether somebody is there to be asked.
pub(super) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line, with its end.
pub(super) fn line(question: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(TEXT_BYTES_MAX as usize));
    {
        // Before the question: who answers at once shall not be seen either.
        let _unseen = Unseen::new()?;
        eprint!("{question} (not shown): ");
        io::stdin().lock().take(TEXT_BYTES_MAX).read_until(b'\n', &mut text)?;
    }
    eprintln!();
    Ok(text)
}

/// The passphrase of a seal slot; `None` where nothing is typed. `attempt`: how often it was wrong already.
pub(super) fn passphrase_of(slot: &SlotStatus, attempt: u32) -> io::Result<Option<SecretBytes>> {
    if attempt > 0 {
        eprintln!("this passphrase does not open slot {}", slot.id);
    }
    let made = slot.made.and_then(|made| time::OffsetDateTime::from_unix_timestamp(made).ok());
    let made = made.map_or_else(String::new, |made| format!(", made {}", made.date()));
    let typed = line(&format!("passphrase of seal slot {}{made}", slot.id))?;
    let text = typed.strip_suffix(b"\n").unwrap_or(&typed);
    Ok((!text.is_empty()).then(|| SecretBytes::copy_from(text)))
}

/// Echo is off as long as this lives.
struct Unseen(Termios);

impl Unseen {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to put back. What was typed ahead stays.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
