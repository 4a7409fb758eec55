//! A TCP forwarder that can be cut off, made slow or made to refuse: a network, or an endpoint that dies while the service behind it
//! lives.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A listener that passes every connection on to one address.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_cut: AtomicBool,
    is_refusing: AtomicBool,
    /// Milliseconds that each piece waits before it goes on.
    delay_ms: AtomicU64,
    accepted: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Forwarder {
    /// Forwards to an address from a port of the system's choosing.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            // Ends, and closes the listener, with the connection that `cut` makes.
            while let Ok((stream, _)) = listener.accept() {
                if own.is_cut.load(Ordering::SeqCst) {
                    return;
                }
                if own.is_refusing.load(Ordering::SeqCst) {
                    continue;
                }
                own.accepted.fetch_add(1, Ordering::SeqCst);
                // A connection that cannot be passed on is closed.
                let _ = own.pass_on(&stream, target);
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes the listener and every connection, as the end of a process does.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
        self.sever();
    }

    /// Closes every connection; new ones are passed on.
    pub fn sever(&self) {
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on new connections are closed at once, or passed on again.
    pub fn refuse(&self, refuses: bool) {
        self.shared.is_refusing.store(refuses, Ordering::SeqCst);
    }

    /// From now on each piece of data waits so long in either direction, on open connections too.
    pub fn delay(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::SeqCst);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn pass_on(self: &Arc<Self>, near: &TcpStream, target: SocketAddr) -> io::Result<()> {
        let far = TcpStream::connect(target)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far.try_clone()?, near.try_clone()?)] {
            let own = Arc::clone(self);
            thread::spawn(move || {
                let _ = own.copy(&from, &to);
                // The other half, and the list of open ones, hold the sockets too.
                let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            });
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are not kept: a soak opens many.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend([near.try_clone()?, far]);
        Ok(())
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut piece = vec![0; 16 << 10];
        loop {
            let len = from.read(&mut piece)?;
            if len == 0 {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
            to.write_all(&piece[..len])?;
        }
    }
}
