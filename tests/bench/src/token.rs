//! The limit of the HSM: what the PKCS#11 library does alone, in processes of its own.
//!
//! Each process is this program again ([`SUBCOMMAND`]). It logs in, makes what it needs, says so, waits for a line, and works: so that
//! several begin at one moment, and so that the library of one row leaves nothing behind for the next.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, KeyType};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use keygate_tests::softhsm::Token;

/// The argument by which this program is a user of the library.
pub(crate) const SUBCOMMAND: &str = "raw-token";

/// A library, and how it finds its token.
pub(crate) struct Library {
    pub(crate) module: PathBuf,
    pub(crate) environment: (&'static str, String),
    label: String,
    pin_file: PathBuf,
}

impl Library {
    /// SoftHSM itself.
    pub(crate) fn of(token: &Token) -> Self {
        Self {
            module: token.module.clone(),
            environment: (token.variable, token.configuration.to_string_lossy().into_owned()),
            label: token.label.clone(),
            pin_file: token.pin_file.clone(),
        }
    }

    /// Another library that leads to the token.
    pub(crate) fn through(token: &Token, module: PathBuf, environment: (&'static str, String)) -> Self {
        Self { module, environment, ..Self::of(token) }
    }

    /// Signatures a second of so many processes with so many threads each, each thread with a session and a key of its own.
    pub(crate) fn signatures(&self, processes: usize, threads: usize, duration: Duration) -> io::Result<f64> {
        let (threads, seconds) = (threads.to_string(), duration.as_secs_f64().to_string());
        let mut users = (0..processes)
            .map(|_| User::start(self, &["--threads", &threads, "--seconds", &seconds]))
            .collect::<io::Result<Vec<_>>>()?;
        users.iter_mut().try_for_each(User::go)?;
        users.into_iter().map(User::result).sum()
    }

    /// Puts so many AES keys on the token that nobody uses.
    pub(crate) fn fill(&self, keys: usize) -> io::Result<()> {
        let mut user = User::start(self, &["--fill", &keys.to_string()])?;
        user.go()?;
        user.result().map(|_| ())
    }
}

/// A process that uses the library.
struct User {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl User {
    fn start(library: &Library, arguments: &[&str]) -> io::Result<Self> {
        let (name, value) = &library.environment;
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .arg(&library.module)
            .arg(&library.label)
            .arg(&library.pin_file)
            .args(arguments)
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let mut user = Self { process, output: BufReader::new(output) };
        user.line()?;
        Ok(user)
    }

    fn go(&mut self) -> io::Result<()> {
        self.process.stdin.as_mut().ok_or_else(|| io::Error::other("no pipe"))?.write_all(b"go\n")
    }

    fn result(mut self) -> io::Result<f64> {
        self.line()?.trim().parse().map_err(io::Error::other)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(io::Error::other("a user of the library ended early")),
            _ => Ok(line),
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Arguments of a user of the library.
#[derive(Parser)]
struct Arguments {
    module: PathBuf,
    label: String,
    pin_file: PathBuf,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[arg(long, default_value_t = 0)]
    fill: usize,
}

/// What such a process does.
pub(crate) fn main() -> io::Result<()> {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    let pkcs11 = Pkcs11::new(&arguments.module).map_err(io::Error::other)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(io::Error::other)?;
    let slots = pkcs11.get_slots_with_token().map_err(io::Error::other)?;
    let labelled = |slot: &Slot| pkcs11.get_token_info(*slot).is_ok_and(|info| info.label().trim() == arguments.label);
    let slot = slots.into_iter().find(labelled).ok_or_else(|| io::Error::other("the token is not there"))?;
    let keeper = pkcs11.open_rw_session(slot).map_err(io::Error::other)?;
    let pin = AuthPin::new(std::fs::read_to_string(&arguments.pin_file)?.trim().into());
    keeper.login(UserType::User, Some(&pin)).map_err(io::Error::other)?;
    let open = || pkcs11.open_rw_session(slot).map_err(io::Error::other);
    let sessions = (0..arguments.threads).map(|_| open()).collect::<io::Result<Vec<_>>>()?;
    let keys = sessions.iter().map(Key::make).collect::<io::Result<Vec<_>>>()?;
    println!("ready");
    io::stdin().read_line(&mut String::new())?;
    if arguments.fill > 0 {
        fill(&keeper, arguments.fill)?;
        println!("0");
        return keys.into_iter().zip(&sessions).try_for_each(|(key, session)| key.destroy(session));
    }
    let duration = Duration::from_secs_f64(arguments.seconds);
    let rate: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> =
            sessions.into_iter().zip(keys).map(|(session, key)| scope.spawn(move || key.sign(&session, duration))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread failed"))));
        joined.sum::<io::Result<f64>>()
    })?;
    println!("{rate}");
    Ok(())
}

/// A P-256 key on the token, like the gateway's keys: the library reads those anew for each signature.
struct Key {
    private: cryptoki::object::ObjectHandle,
}

impl Key {
    fn make(session: &Session) -> io::Result<Self> {
        // Object identifier prime256v1.
        let curve = vec![0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
        let public = [Attribute::EcParams(curve), Attribute::Verify(true), Attribute::Token(false)];
        let private =
            [Attribute::Sign(true), Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true)];
        let (_, private) =
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map_err(io::Error::other)?;
        Ok(Self { private })
    }

    /// Signs for so long, and goes.
    fn sign(self, session: &Session, duration: Duration) -> io::Result<f64> {
        let digest = [0x5A; 32];
        let start = Instant::now();
        let mut count = 0_u32;
        while start.elapsed() < duration {
            let signature = session.sign(&Mechanism::Ecdsa, self.private, &digest).map_err(io::Error::other)?;
            if signature.len() != 64 {
                return Err(io::Error::other("a signature is not 64 bytes"));
            }
            count += 1;
        }
        let rate = f64::from(count) / start.elapsed().as_secs_f64();
        self.destroy(session)?;
        Ok(rate)
    }

    fn destroy(self, session: &Session) -> io::Result<()> {
        session.destroy_object(self.private).map_err(io::Error::other)
    }
}

fn fill(session: &Session, keys: usize) -> io::Result<()> {
    for number in 0..keys {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Id(format!("filler-{number:08}").into_bytes()),
            Attribute::Value(vec![0x5A; 32]),
        ];
        session.create_object(&template).map_err(io::Error::other)?;
    }
    Ok(())
}
