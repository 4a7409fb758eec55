//! `keys rehome` and `seal rotate`: start the job in the server, show how it goes, and end with its report. A rotation of the keyring is
//! a move of everything to where it is, under a new term.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    args::{Rehome, Rotate, Via},
    ask::Path,
    impact::Impact,
    print,
};
use crate::{
    api::{KeystoreView, List, RehomeView},
    cli::{Failure, admin, code},
    data_dir::DataDir,
};

const REHOME: &str = "rehome";
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Width of the bar.
const BAR: usize = 30;

pub(in crate::cli) fn rehome(wanted: &Rehome) -> Result<(), Failure> {
    let Rehome { from, to, per_second, stop, detach, yes, via } = wanted;
    if *stop {
        let answer = via.post(Path::of(&[REHOME, "stop"]), json!({ "from": from, "to": to }))?;
        return print::rehome(via, answer);
    }
    Impact::Rehome.acknowledge(*yes)?;
    let (view, answer) = follow(via, from, to, *per_second, *detach)?;
    print::rehome(via, answer)?;
    let whole = *detach || (view.state == "done" && view.failed.is_empty());
    if whole { Ok(()) } else { Err(Failure::new(code::FAILED, "not every key was moved: see the report, then run this again")) }
}

/// A new term of the keyring, and everything sealed again under it.
pub(in crate::cli) fn rotate(wanted: &Rotate) -> Result<(), Failure> {
    let Rotate { rate, stop, detach, via } = wanted;
    let data = if via.server.is_none() { Some(via.data()?) } else { None };
    let nothing = || Failure::new(code::FAILED, "no rotation is under way");
    if let Some(data) = &data
        && !admin::is_served(&DataDir::open(&data.data_dir)?.admin_socket())
    {
        return if *stop { Err(nothing()) } else { admin::rotate_at_once(data) };
    }
    let keystores: List<KeystoreView> = read(via.get(Path::of(&["keystores"]))?)?;
    // Keys that are sealed in the store are what a term is for; the job of the first such keystore seals all of them.
    let Some(local) = keystores.items.into_iter().find(|keystore| keystore.kind == "local").map(|keystore| keystore.name) else {
        return match data {
            Some(data) if !stop => admin::rotate_at_once(&data),
            _ => Err(Failure::new(code::FAILED, "that gateway has no keystore of kind local")),
        };
    };
    if *stop {
        let answer = via.post(Path::of(&[REHOME, "stop"]), json!({ "from": local, "to": local }))?;
        return print::rotation(via, answer);
    }
    let (view, answer) = follow(via, &local, &local, *rate, *detach)?;
    print::rotation(via, answer)?;
    let whole = *detach || (view.state == "done" && view.failed.is_empty());
    if whole { Ok(()) } else { Err(Failure::new(code::FAILED, "older terms stay: see the report, then run this again")) }
}

/// Starts a job and shows how it goes; its end, or where it stands if nobody waits.
fn follow(via: &Via, from: &str, to: &str, per_second: u32, detach: bool) -> Result<(RehomeView, serde_json::Value), Failure> {
    let body = json!({ "from": from, "to": to, "per_second": per_second, "acknowledged": true });
    let mut answer = via.post(Path::of(&[REHOME]), body)?;
    let mut shown = Shown::default();
    loop {
        let view: RehomeView = read(answer.clone())?;
        if view.state != "running" || detach {
            shown.end();
            return Ok((view, answer));
        }
        shown.progress(&view);
        std::thread::sleep(LOOK_EVERY);
        let all: List<serde_json::Value> = read(via.get_from_server(Path::of(&[REHOME]))?)?;
        let own = all.items.into_iter().find(|item| item["from"] == from && item["to"] == to);
        answer = own.ok_or_else(|| Failure::new(code::FAILED, "the server does not know this move any more"))?;
    }
}

/// All moves.
pub(in crate::cli) fn moves(via: &Via) -> Result<(), Failure> {
    print::rehomes(via, via.get(Path::of(&[REHOME]))?)
}

fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|_| Failure::new(code::FAILED, "the server's answer is of another version: use --json"))
}

/// Progress on standard error: a bar on a terminal, a line now and then elsewhere.
#[derive(Default)]
struct Shown {
    bar: bool,
    last: Option<Instant>,
}

impl Shown {
    fn progress(&mut self, view: &RehomeView) {
        let mut out = std::io::stderr();
        let left = view.seconds_left.map_or_else(String::new, |seconds| format!(", {} left", duration(seconds)));
        let line = format!("{} of {} keys, {:.0}/s{left}", view.seen, view.total, view.rate);
        // Nobody may be reading; the report comes on standard output.
        if out.is_terminal() {
            self.bar = true;
            let _ = write!(out, "\r[{}] {line}\x1b[K", bar(view.seen, view.total));
            let _ = out.flush();
        } else if self.last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last = Some(Instant::now());
            let _ = writeln!(out, "{line}");
        }
    }

    fn end(&self) {
        if self.bar {
            eprintln!();
        }
    }
}

fn bar(seen: u64, total: u64) -> String {
    let full = if total == 0 { BAR } else { (seen.min(total) as usize * BAR) / total as usize };
    format!("{}{}", "#".repeat(full), "-".repeat(BAR - full))
}

fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bar is as long as it is whatever the numbers are; times are read at a glance.
    #[test]
    fn progress_is_readable() {
        assert_eq!(bar(0, 10).len(), BAR);
        assert_eq!(bar(5, 10), format!("{}{}", "#".repeat(15), "-".repeat(15)));
        assert_eq!((bar(20, 10), bar(0, 0)), ("#".repeat(BAR), "#".repeat(BAR)));
        assert_eq!((duration(59), duration(61), duration(7322)), ("59 s".into(), "1 min 01 s".into(), "2 h 02 min".into()));
    }
}
