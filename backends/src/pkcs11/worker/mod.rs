//! The worker process: it loads the module, logs in, and serves one request after the other until its socket closes.
//!
//! Standard input is the socket to the gateway, standard output the page it shares with it (`page.rs`); standard error
//! stays the gateway's, for modules that print. One thread makes every call. What is lost (token, login, module) is not
//! mended here: the worker says so and ends, and the gateway starts another, which begins from nothing.

mod serve;

use self::serve::Server;
use super::ckr;
use super::module_file::check_module_file;
use super::page::Page;
use super::raw::{Functions, Session, TokenInfo};
use super::wire::{self, Incoming, Note, Opening, WireError};
use crate::error::{Class, KsError, Result};
use crate::keystore::Locked;
use cryptoki_sys as ck;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The whole life of a worker process. `keygate pkcs11-worker` and the tests' worker call it first thing in `main`.
///
/// Returns when the gateway has closed the socket, or when the worker has nothing more to serve; the process then ends
/// with this value as its exit code.
pub fn worker_main() -> u8 {
    match start() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("pkcs11-worker: {error}");
            1
        }
    }
}

fn start() -> io::Result<()> {
    harden();
    let (mut socket, page) = take_streams()?;
    let page = Page::map(page).map_err(io::Error::other)?;
    let mut incoming = Incoming::default();
    let opening = loop {
        if let Some(frame) = incoming.next().map_err(io::Error::other)? {
            break wire::parse_opening(frame);
        }
        if !receive(&mut socket, &mut incoming)? {
            return Ok(());
        }
    };
    match opening.and_then(|opening| log_in(&mut socket, opening)) {
        Ok((server, info)) => {
            page.lock(lock_memory());
            say(&mut socket, &Note::Ready(info))?;
            server.run(socket, incoming, &page)
        }
        Err(error) => say(&mut socket, &Note::Failed(WireError::from(&error))),
    }
}

/// Nothing of this process is to be read from outside, and it does not outlive the gateway.
fn harden() {
    // The kernel's help where it has any: a kernel that refuses leaves the process as it is.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // A service manager and a terminal signal every process of the service. The gateway drains first; the end of this
    // process is the end of its socket.
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: no handler runs; the signal is ignored from here on.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: nothing has been opened yet that this process uses, except the standard streams below 3.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Keeps PIN, keys and data out of swap devices. Locked pages beyond RLIMIT_MEMLOCK would make the module's own allocations fail, so
/// what comes later is locked only where nothing bounds it.
fn lock_memory() -> Locked {
    use rustix::mm::{MlockAllFlags, mlockall};
    let unbounded = rustix::process::getrlimit(Resource::Memlock).current.is_none()
        || rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::IPC_LOCK));
    // Only pages that are touched.
    let now = MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT;
    if unbounded && mlockall(now | MlockAllFlags::FUTURE).is_ok() {
        return Locked::Everything;
    }
    if mlockall(now).is_ok() { Locked::AtLogin } else { Locked::Nothing }
}

/// Takes socket and page off the standard streams, where a module may read or print.
fn take_streams() -> io::Result<(UnixStream, OwnedFd)> {
    let by_hand = || io::Error::other("this is a part of keygate, started by it; it is of no use alone");
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::sockopt::socket_type(&socket).map_err(|_| by_hand())?;
    let page = io::stdout().as_fd().try_clone_to_owned()?;
    let nothing = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok((UnixStream::from(socket), page))
}

/// Reads what there is. False at the end of the stream.
fn receive(socket: &mut UnixStream, incoming: &mut Incoming) -> io::Result<bool> {
    let room = incoming.room();
    let read = loop {
        match socket.read(room) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    incoming.filled(*read.as_ref().unwrap_or(&0));
    match read {
        Ok(octets) => Ok(octets > 0),
        // The gateway died.
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(false),
        Err(e) => Err(e),
    }
}

fn say(socket: &mut UnixStream, note: &Note) -> io::Result<()> {
    socket.write_all(&wire::note(note).map_err(io::Error::other)?)
}

/// Loads the module, finds the token, logs in.
fn log_in(socket: &mut UnixStream, opening: Opening) -> Result<(Server, TokenInfo)> {
    // With each opening: a worker that is replaced loads the module again.
    check_module_file(&opening.module).map_err(|fault| KsError::new(Class::RetryOther, fault.to_string()))?;
    let functions = Functions::load(&opening.module)?;
    match functions.initialize() {
        Err(e) if !ckr::is(&e, ck::CKR_CRYPTOKI_ALREADY_INITIALIZED) => return Err(e),
        _ => {}
    }
    let slots = functions.slots(opening.token.slot_index.is_none())?;
    let tokens = slots.into_iter().map(|slot| (slot, functions.token_info(slot).ok()));
    let (slot, info) = opening.token.choose(tokens)?;
    refuse_risky_login(&info, opening.wary)?;
    if opening.refused.contains(&info.serial) {
        let text = "the token has refused this PIN before, and it is not offered again";
        return Err(KsError::new(Class::AuthStop, text));
    }
    let keeper = Session::open(functions, slot)?;
    let gone = |e: io::Error| KsError::new(Class::RetryOther, format!("the gateway is gone: {e}"));
    say(socket, &Note::LoggingIn(info.serial.clone())).map_err(gone)?;
    match keeper.login(opening.pin.as_ref()) {
        Ok(()) => Ok((Server::new(functions, slot, keeper), info)),
        // A module that keeps its login across processes: whose PIN it was is not known.
        Err(e) if ckr::is(&e, ck::CKR_USER_ALREADY_LOGGED_IN) => Err(e.into_class(Class::AuthStop).with_text(
            "the token says that somebody is logged in already, so the PIN was not checked",
        )),
        Err(e) if e.class() == Class::AuthStop => {
            let text = refused_login(&e);
            Err(e.with_text(text))
        }
        Err(e) => Err(e),
    }
}

/// What is wrong with a refused login. Where the PIN is mended, and what follows, the caller knows.
fn refused_login(error: &KsError) -> &'static str {
    if ckr::is(error, ck::CKR_PIN_LOCKED) {
        "the token's user PIN is locked and is not offered again: unlock it with the security officer's PIN"
    } else if ckr::is(error, ck::CKR_PIN_EXPIRED) {
        "the token's user PIN has expired and is not offered again: set a new one in the token"
    } else if ckr::is(error, ck::CKR_USER_PIN_NOT_INITIALIZED) {
        "the token has no user PIN yet: set one in the token"
    } else {
        "the token refused the PIN, which is not offered again"
    }
}

/// The last try is the operator's, not ours.
fn refuse_risky_login(info: &TokenInfo, wary: bool) -> Result<()> {
    let stop = |text: &'static str| Err(KsError::new(Class::AuthStop, text));
    if info.flags & ck::CKF_USER_PIN_LOCKED != 0 {
        return stop("the token's user PIN is locked: unlock it with the security officer's PIN");
    }
    if info.flags & ck::CKF_USER_PIN_FINAL_TRY != 0 {
        return stop("the token's user PIN has one try left, which is not ours: check the configured PIN, log in once by hand");
    }
    if wary && info.flags & ck::CKF_USER_PIN_COUNT_LOW != 0 {
        return stop(
            "a login got no answer, and since then the token counts a wrong PIN: check the configured PIN, log in once by hand",
        );
    }
    Ok(())
}
