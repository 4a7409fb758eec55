//! A KMIP server that refuses the credentials of every message, and counts how often they are offered.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use keygate_kmip::{Operation, Tag};
use tempfile::TempDir;

use crate::request::{enumeration, integer, structure, text};
use crate::rest_mock::{Shown, tls};
use crate::ttlv::{Item, Value};

/// Authentication Not Successful (KMIP 2.1 §11.49).
const REFUSED: u32 = 3;

/// A running server.
#[derive(Debug)]
pub struct KmipRefuser {
    address: SocketAddr,
    folder: TempDir,
    refused: Arc<AtomicUsize>,
}

impl KmipRefuser {
    /// Starts a server; `tells` says whether it tells its versions and operations before it looks at credentials.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(tells: bool) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kmip-refuser-").tempdir()?;
        let tls = Arc::new(tls(&Shown::default(), folder.path())?);
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let refused = Arc::new(AtomicUsize::new(0));
        let refuser = Self { address: listener.local_addr()?, folder, refused: Arc::clone(&refused) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, refused) = (Arc::clone(&tls), Arc::clone(&refused));
                // A connection that fails is the client's to report.
                thread::spawn(move || drop(serve(tls, stream, tells, &refused)));
            }
        });
        Ok(refuser)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its self-signed certificate, PEM.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// How many messages it has refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

fn serve(tls: Arc<rustls::ServerConfig>, stream: TcpStream, tells: bool, refused: &AtomicUsize) -> io::Result<()> {
    let connection = rustls::ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(connection, stream);
    loop {
        let mut message = vec![0; 8];
        stream.read_exact(&mut message)?;
        let length = [message[4], message[5], message[6], message[7]].map(usize::from);
        let length = length.into_iter().fold(0, |length, octet| length << 8 | octet);
        message.resize(8 + length, 0);
        stream.read_exact(&mut message[8..])?;
        let request = Item::decode(&message).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let answer = answer(&request, tells);
        if answer.find(Tag::RESULT_REASON.0).is_some() {
            refused.fetch_add(1, Ordering::SeqCst);
        }
        stream.write_all(&answer.encode())?;
        stream.flush()?;
    }
}

fn answer(request: &Item, tells: bool) -> Item {
    let version =
        request.find(Tag::PROTOCOL_VERSION.0).cloned().unwrap_or_else(|| structure(Tag::PROTOCOL_VERSION, Vec::new()));
    let operation = request.find(Tag::OPERATION.0).and_then(Item::code).unwrap_or_default();
    let header = vec![version.clone(), Item::new(Tag::TIME_STAMP.0, Value::DateTime(1)), integer(Tag::BATCH_COUNT, 1)];
    let told = match tells {
        true if operation == Operation::DiscoverVersions.code() => Some(vec![version]),
        true if operation == Operation::Query.code() => {
            let operations = [Operation::Create, Operation::Activate, Operation::Locate, Operation::Destroy];
            let symmetric_key = enumeration(Tag::OBJECT_TYPE, 2);
            Some(
                operations
                    .map(|operation| enumeration(Tag::OPERATION, operation.code()))
                    .into_iter()
                    .chain([symmetric_key])
                    .collect(),
            )
        }
        _ => None,
    };
    let mut item = vec![enumeration(Tag::OPERATION, operation)];
    match told {
        Some(payload) => {
            item.extend([enumeration(Tag::RESULT_STATUS, 0), structure(Tag::RESPONSE_PAYLOAD, payload)]);
        }
        None => item.extend([
            enumeration(Tag::RESULT_STATUS, 1),
            enumeration(Tag::RESULT_REASON, REFUSED),
            text(Tag::RESULT_MESSAGE, "who is it?"),
        ]),
    }
    structure(Tag::RESPONSE_MESSAGE, vec![structure(Tag::RESPONSE_HEADER, header), structure(Tag::BATCH_ITEM, item)])
}
