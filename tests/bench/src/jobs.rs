//! Requests of the rows and what their answers must be.

use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use keygate_kmip::{Operation, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::request::{self, bytes, enumeration, integer, structure, text};
use keygate_tests::ttlv::{Item, Value};

use crate::load::Job;

/// The version every request is written in.
pub(crate) const VERSION: (i32, i32) = (1, 4);

/// Requests whose whole answer is known but for its Time Stamp.
pub(crate) struct Known {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Known {
    /// Asks each request once and keeps the answers; `check` judges each.
    pub(crate) fn learn(
        client: &mut TlsKmipClient,
        requests: &[Item],
        check: impl Fn(&Item) -> Result<(), String>,
    ) -> io::Result<Self> {
        let mut pairs = Vec::with_capacity(requests.len());
        for request in requests {
            let request = request.encode();
            let answer = client.exchange(&request)?;
            let item = Item::decode(&answer).map_err(io::Error::other)?;
            check(&item).map_err(io::Error::other)?;
            pairs.push((request, answer));
        }
        Ok(Self { pairs })
    }

    /// Several together.
    pub(crate) fn all(parts: Vec<Self>) -> Self {
        Self { pairs: parts.into_iter().flat_map(|part| part.pairs).collect() }
    }

    /// Connections begin at different places and step by a prime, so that they do not ask for the same at once.
    fn pair(&self, connection: usize, n: u64) -> &(Vec<u8>, Vec<u8>) {
        let step = usize::try_from(n).unwrap_or_default().wrapping_mul(7919).wrapping_add(connection * 131);
        &self.pairs[step % self.pairs.len()]
    }
}

impl Job for Known {
    fn request(&self, connection: usize, n: u64) -> &[u8] {
        &self.pair(connection, n).0
    }

    fn check(&self, connection: usize, n: u64, answer: &[u8]) -> Result<(), String> {
        let expected = &self.pair(connection, n).1;
        let same = match time_stamp(expected) {
            Some(at) if answer.len() == expected.len() => {
                answer[..at] == expected[..at] && answer[at + 8..] == expected[at + 8..]
            }
            _ => answer == expected,
        };
        if same { Ok(()) } else { Err(format!("a wrong answer: {:?}", Item::decode(answer))) }
    }
}

/// Where the eight bytes of the Time Stamp are.
fn time_stamp(answer: &[u8]) -> Option<usize> {
    const HEADER: [u8; 8] = [0x42, 0x00, 0x92, 0x09, 0, 0, 0, 8];
    answer.windows(8).take(256).position(|window| window == HEADER).map(|at| at + 8)
}

/// The answer of the canned server, whatever was asked.
pub(crate) struct Same {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Same {
    /// A request and the answer a canned server gives.
    pub(crate) fn new(request: Vec<u8>, answer: Vec<u8>) -> Self {
        Self { request, answer }
    }
}

impl Job for Same {
    fn request(&self, _: usize, _: u64) -> &[u8] {
        &self.request
    }

    fn check(&self, _: usize, _: u64, answer: &[u8]) -> Result<(), String> {
        if answer == self.answer { Ok(()) } else { Err("not the canned answer".to_owned()) }
    }
}

/// One request whose answers differ; all have the length and beginning of the first, one in 64 is looked at closely.
pub(crate) struct Varying<F> {
    request: Vec<u8>,
    first: Vec<u8>,
    close: F,
}

impl<F: Fn(&Item) -> Result<(), String>> Varying<F> {
    /// Asks once and judges the answer.
    pub(crate) fn learn(client: &mut TlsKmipClient, request: &Item, close: F) -> io::Result<Self> {
        let request = request.encode();
        let first = client.exchange(&request)?;
        close(&Item::decode(&first).map_err(io::Error::other)?).map_err(io::Error::other)?;
        Ok(Self { request, first, close })
    }

    pub(crate) fn answer(&self) -> &[u8] {
        &self.first
    }
}

impl<F: Fn(&Item) -> Result<(), String> + Send + Sync + 'static> Job for Varying<F> {
    fn request(&self, _: usize, _: u64) -> &[u8] {
        &self.request
    }

    fn check(&self, _: usize, n: u64, answer: &[u8]) -> Result<(), String> {
        if n.is_multiple_of(64) {
            return (self.close)(&Item::decode(answer).map_err(|error| error.to_string())?);
        }
        // The status: tag, type, length and value zero.
        const SUCCESS: [u8; 16] = [0x42, 0x00, 0x7F, 5, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        // A signature may be a few bytes longer or shorter.
        let near = answer.len().abs_diff(self.first.len()) <= 16;
        if near && answer.windows(16).take(512).any(|window| window == SUCCESS) {
            Ok(())
        } else {
            Err(format!("not a success: {:?}", Item::decode(answer)))
        }
    }
}

/// Get of one key.
pub(crate) fn get(identifier: &str) -> Item {
    request::on(VERSION, Operation::Get, identifier)
}

/// Gets of several keys in one message.
pub(crate) fn get_batch(identifiers: &[String]) -> Item {
    let item = |identifier: &String| (Operation::Get, vec![text(Tag::UNIQUE_IDENTIFIER, identifier)]);
    request::message(VERSION, identifiers.iter().map(item).collect())
}

/// Locate of the key with a name.
pub(crate) fn locate(name: &str) -> Item {
    let payload = vec![request::attribute("Name", request::name_value(name))];
    request::message(VERSION, vec![(Operation::Locate, payload)])
}

/// Query of operations and objects.
pub(crate) fn query() -> Item {
    let payload = vec![enumeration(Tag::QUERY_FUNCTION, 1), enumeration(Tag::QUERY_FUNCTION, 2)];
    request::message(VERSION, vec![(Operation::Query, payload)])
}

/// Creates of AES-256 keys with names, in one message.
pub(crate) fn create_batch(names: impl Iterator<Item = String>) -> Item {
    let item = |name: String| {
        let attributes = vec![
            (Tag::CRYPTOGRAPHIC_ALGORITHM, "Cryptographic Algorithm", Value::Enumeration(3)),
            (Tag::CRYPTOGRAPHIC_LENGTH, "Cryptographic Length", Value::Integer(256)),
            (Tag::CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", Value::Integer(0x0C)),
            (Tag::NAME, "Name", request::name_value(&name)),
        ];
        let payload = vec![enumeration(Tag::OBJECT_TYPE, 2), request::attributes_item(VERSION, attributes)];
        (Operation::Create, payload)
    };
    request::message(VERSION, names.map(item).collect())
}

/// Register of an AES-256 key that is active at once.
pub(crate) fn register(material: &[u8]) -> Item {
    let attributes = vec![
        (Tag::CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", Value::Integer(0x0C)),
        (Tag::ACTIVATION_DATE, "Activation Date", Value::DateTime(1)),
    ];
    let block = vec![
        enumeration(Tag::KEY_FORMAT_TYPE, 1),
        structure(Tag::KEY_VALUE, vec![bytes(Tag::KEY_MATERIAL, material)]),
        enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3),
        integer(Tag::CRYPTOGRAPHIC_LENGTH, 256),
    ];
    let payload = vec![
        enumeration(Tag::OBJECT_TYPE, 2),
        request::attributes_item(VERSION, attributes),
        structure(Tag::SYMMETRIC_KEY, vec![structure(Tag::KEY_BLOCK, block)]),
    ];
    request::message(VERSION, vec![(Operation::Register, payload)])
}

/// Encrypt with AES-GCM, the IV drawn by the server.
pub(crate) fn encrypt(identifier: &str, data: &[u8]) -> Item {
    let parameters = vec![
        enumeration(Tag::BLOCK_CIPHER_MODE, 9),
        Item::new(Tag::RANDOM_IV.0, Value::Boolean(true)),
        integer(Tag::TAG_LENGTH, 16),
    ];
    let payload = vec![
        text(Tag::UNIQUE_IDENTIFIER, identifier),
        structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
        bytes(Tag::DATA, data),
    ];
    request::message(VERSION, vec![(Operation::Encrypt, payload)])
}

/// Opens what Encrypt answered.
pub(crate) fn opens(answer: &Item, key: &[u8], data: &[u8]) -> Result<(), String> {
    let payload = request::outcome(answer).map_err(|(reason, message)| format!("reason {reason}: {message}"))?;
    let field = |tag: Tag| payload.field(tag.0).and_then(Item::bytes).map(<[u8]>::to_vec);
    let mut sealed = field(Tag::DATA).ok_or("no Data")?;
    sealed.extend(field(Tag::AUTHENTICATED_ENCRYPTION_TAG).unwrap_or_default());
    let nonce = Nonce::try_assume_unique_for_key(&field(Tag::IV_COUNTER_NONCE).ok_or("no IV")?)
        .map_err(|_| "the IV is not 12 bytes")?;
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| "the key is not 32 bytes")?;
    let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::empty(), &mut sealed).map_err(|_| "does not open")?;
    if opened == data { Ok(()) } else { Err("opens to something else".to_owned()) }
}

/// Create Key Pair on P-256 for signing, active at once.
pub(crate) fn create_ec_pair() -> Item {
    request::create_p256_pair(VERSION)
}

/// Sign with ECDSA and SHA-256.
pub(crate) fn sign(identifier: &str, data: &[u8]) -> Item {
    let parameters = vec![enumeration(Tag::HASHING_ALGORITHM, 6), enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 6)];
    let payload = vec![
        text(Tag::UNIQUE_IDENTIFIER, identifier),
        structure(Tag::CRYPTOGRAPHIC_PARAMETERS, parameters),
        bytes(Tag::DATA, data),
    ];
    request::message(VERSION, vec![(Operation::Sign, payload)])
}

/// Verifies what Sign answered, in either form of an ECDSA signature.
pub(crate) fn verifies(answer: &Item, point: &[u8], data: &[u8]) -> Result<(), String> {
    let payload = request::outcome(answer).map_err(|(reason, message)| format!("reason {reason}: {message}"))?;
    let signature = payload.field(Tag::SIGNATURE_DATA.0).and_then(Item::bytes).ok_or("no Signature Data")?;
    let fixed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(data, signature);
    let der = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(data, signature);
    fixed.or(der).map_err(|_| "the signature does not verify".to_owned())
}
