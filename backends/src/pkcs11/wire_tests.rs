use super::super::message::{KeyName, SignMechanism};
use super::*;
use crate::key::{KeyClass, KeyId};
use proptest::prelude::*;

fn sign(data: Vec<u8>) -> Request {
    let key = KeyName { id: KeyId([7; 16]), class: KeyClass::Private };
    Request::Sign { key, mechanism: SignMechanism::Ecdsa, data }
}

fn fill(incoming: &mut Incoming, mut octets: &[u8]) {
    while !octets.is_empty() {
        let room = incoming.room();
        let taken = octets.len().min(room.len());
        room[..taken].copy_from_slice(&octets[..taken]);
        incoming.filled(taken);
        octets = &octets[taken..];
    }
}

/// An error comes back with its class, text, function and code.
#[test]
fn an_error_survives_the_way() {
    let error = ckr::error("C_SignInit", cryptoki_sys::CKR_OPERATION_ACTIVE);
    let mut out = Vec::new();
    append_answer(&Answer { seq: 9, after: After::Leaves, result: Err(error.clone()) }, &mut out).expect("sent");
    let answer = parse_answer(&out[LEN..]).expect("read");
    assert_eq!((answer.seq, answer.after), (9, After::Leaves));
    let back = answer.result.err().expect("an error");
    assert_eq!((back.class(), back.to_string()), (error.class(), error.to_string()));
}

#[test]
fn an_opening_survives_the_way() {
    let token = TokenSelector::label("t");
    let (pin, refused) = (Some(SecretBytes::copy_of(b"pin")), vec!["7".to_owned()]);
    let sent = Opening { module: "/m".into(), token: token.clone(), pin, wary: true, refused };
    let frame = opening(&sent).expect("encoded");
    let back = parse_opening(&frame[LEN..]).expect("read");
    assert_eq!((back.module, back.token, back.pin, back.wary), (sent.module, token, sent.pin, true));
    assert_eq!(back.refused, ["7"]);
    // Another version is said to be one, not misread.
    let mut other = frame[LEN..].to_vec();
    other[0] = VERSION + 1;
    let error = parse_opening(&other).err().expect("refused");
    assert!(error.text().contains("speaks version 3"), "{error}");
}

/// A length that no frame has is refused before anything is allocated for it.
#[test]
fn a_frame_that_is_too_long() {
    let mut incoming = Incoming::default();
    fill(&mut incoming, &u32::MAX.to_le_bytes());
    assert!(incoming.next().expect_err("refused").text().contains("are more than"));
    let huge = sign(vec![0; FRAME_MAX]);
    assert!(Frame::of(&huge).err().expect("refused").is_bad_input());
}

proptest! {
    /// Requests come out as they went in, however the stream is cut.
    #[test]
    fn requests_survive_any_cut(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12), cut in 1usize..200) {
        let mut stream = Vec::new();
        for (number, data) in parts.iter().enumerate() {
            let frame = Frame::of(&sign(data.clone())).map_err(|e| TestCaseError::fail(e.to_string()))?;
            frame.append(number as u64, 1000 + number as u64, &mut stream);
        }
        let (mut incoming, mut back) = (Incoming::default(), Vec::new());
        for piece in stream.chunks(cut) {
            fill(&mut incoming, piece);
            while let Some(frame) = incoming.next().map_err(|e| TestCaseError::fail(e.to_string()))? {
                let asked = parse_request(frame).map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert_eq!(asked.budget_us, 1000 + asked.seq);
                let Request::Sign { data, .. } = asked.request else { return Err(TestCaseError::fail("another request")) };
                back.push(data);
            }
        }
        prop_assert_eq!(back, parts);
    }

    /// Rubbish is an error, never a panic.
    #[test]
    fn rubbish_is_refused(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_request(&octets);
        let _ = parse_answer(&octets);
        let _ = parse_note(&octets);
        let _ = parse_opening(&octets);
    }
}
