//! What is written is what is read again: every payload, attribute and object in every version, with all fields, the
//! least, and some by chance.

use crate::samples::{Fill, Maker, Sample, request_of, response_of, success};
use crate::ttlv::{Frame, Limits};
use crate::*;

/// Calls `check` with makers of every version and fill.
fn with_makers(mut check: impl FnMut(&mut Maker, &str)) {
    for version in ProtocolVersion::SUPPORTED {
        check(&mut Maker::new(version, Fill::All, 1), &format!("{version}, all"));
        check(&mut Maker::new(version, Fill::Least, 1), &format!("{version}, least"));
        for seed in 0..12 {
            check(&mut Maker::new(version, Fill::Some, seed), &format!("{version}, seed {seed}"));
        }
    }
}

#[test]
fn every_request_payload_is_read_as_it_was_written() {
    with_makers(|maker, about| {
        for payload in RequestPayload::samples(maker) {
            let bytes = request_of(maker, std::slice::from_ref(&payload));
            let frame = Frame::parse(&bytes, &Limits::default()).expect(about);
            let message = RequestMessage::parse(&frame, 1).expect(about);
            assert_eq!(message.items[0].payload().as_ref(), Ok(&payload), "{about}");
        }
    });
}

#[test]
fn every_request_header_and_batch_is_read_as_it_was_written() {
    with_makers(|maker, about| {
        let payloads = RequestPayload::samples(maker);
        let mut header = RequestHeader::sample(maker);
        header.batch_count = batch_count_in(maker.version(), payloads.len() as i32);
        let bytes = encode_request(&header, &payloads);
        let frame = Frame::parse(&bytes, &Limits::default()).expect(about);
        let message = RequestMessage::parse(&frame, 100).expect(about);
        assert_eq!(message.header, header, "{about}");
        assert_eq!(claimed_version(&frame), Some(header.protocol_version));
        let read: Vec<_> = message.items.iter().map(|item| item.payload().expect(about)).collect();
        assert_eq!(read, payloads, "{about}");
    });
}

#[test]
fn every_response_payload_is_read_as_it_was_written() {
    with_makers(|maker, about| {
        for payload in ResponsePayload::samples(maker) {
            let item = success(payload);
            let bytes = response_of(maker, item.clone());
            let frame = Frame::parse(&bytes, &Limits::default()).expect(about);
            let message = ResponseMessage::parse(&frame).expect(about);
            assert_eq!(message.items, [item], "{about}");
        }
    });
}

#[test]
fn failures_and_undone_items_are_read_as_they_were_written() {
    with_makers(|maker, about| {
        let failed = |reason| ItemResult::Failed {
            status: ResultStatus::OperationFailed,
            reason,
            message: "no such object".to_owned(),
            payload: None,
        };
        let undone = ItemResult::Undone(ActivateResponse::sample(maker).into());
        let pending = ItemResult::Pending(vec![1, 2, 3]);
        for result in [failed(ResultReason::ItemNotFound), undone, pending] {
            let item = ResponseItem {
                operation: Some(Operation::Activate),
                unique_batch_item_id: (maker.version() < ProtocolVersion::V3_0).then(|| b"QLKC\xFF".to_vec()),
                result,
            };
            let bytes = response_of(maker, item.clone());
            let frame = Frame::parse(&bytes, &Limits::default()).expect(about);
            assert_eq!(ResponseMessage::parse(&frame).expect(about).items, [item], "{about}");
        }
    });
}

/// A reason that the client's version does not list is told as General Failure.
#[test]
fn reasons_of_other_versions_become_general_failure() {
    let cases = [
        (ResultReason::BadCryptographicParameters, ProtocolVersion::V1_4, ResultReason::GeneralFailure),
        (ResultReason::BadCryptographicParameters, ProtocolVersion::V2_0, ResultReason::BadCryptographicParameters),
        (ResultReason::IndexOutOfBounds, ProtocolVersion::V1_4, ResultReason::IndexOutOfBounds),
        (ResultReason::IndexOutOfBounds, ProtocolVersion::V2_0, ResultReason::GeneralFailure),
    ];
    for (given, version, expected) in cases {
        let status = ResultStatus::OperationFailed;
        let result = |reason| ItemResult::Failed { status, reason, message: String::new(), payload: None };
        let item = ResponseItem { operation: None, unique_batch_item_id: None, result: result(given) };
        let bytes = response_of(&mut Maker::new(version, Fill::Least, 1), item);
        let frame = Frame::parse(&bytes, &Limits::default()).expect("a frame");
        let message = ResponseMessage::parse(&frame).expect("a response");
        assert_eq!(message.items[0].result, result(expected), "{given:?} in {version}");
    }
}

#[test]
fn every_object_is_read_from_its_stored_form() {
    with_makers(|maker, about| {
        for mut object in ManagedObject::samples(maker) {
            // Attributes inside a key value travel, they are not stored: the object has its own.
            if let Some(KeyValue::Plain { attributes, .. }) =
                object.key_block_mut().and_then(|block| block.key_value.as_mut())
            {
                attributes.list.clear();
            }
            let stored = object.to_stored_bytes();
            assert_eq!(ManagedObject::from_stored_bytes(&stored).as_ref(), Ok(&object), "{about}");
        }
    });
}

#[test]
fn attributes_are_read_from_their_stored_form_with_their_indexes() {
    with_makers(|maker, about| {
        let mut attributes = Attributes::sample(maker);
        attributes.templates.clear();
        let stored = Attributes::from_stored_bytes(&attributes.to_stored_bytes()).expect(about);
        attributes.list.retain(|instance| !matches!(instance.attribute, Attribute::Unknown { .. }));
        for instance in &mut attributes.list {
            instance.index = Some(instance.index.unwrap_or(0));
        }
        assert_eq!(stored, attributes, "{about}");
    });
}

/// An attribute that is not kept does not leave its index to the next one.
#[test]
fn an_unknown_attribute_takes_its_index_along() {
    let unknown = Attribute::Unknown { name: "Unheard Of".to_owned(), value: AnyValue::integer(1) };
    let list = vec![
        AttributeInstance { index: Some(3), attribute: unknown },
        AttributeInstance { index: None, attribute: Attribute::Comment("kept".to_owned()) },
    ];
    let stored = Attributes { templates: Vec::new(), list }.to_stored_bytes();
    let read = Attributes::from_stored_bytes(&stored).expect("stored bytes");
    let kept = AttributeInstance { index: Some(0), attribute: Attribute::Comment("kept".to_owned()) };
    assert_eq!(read.list, [kept]);
}

/// Objects over the size of a default message are kept and read too: the size of messages is a setting.
#[test]
fn large_objects_are_read_from_their_stored_form() {
    let value = Secret::new(vec![7; 3 << 20]);
    let object = ManagedObject::OpaqueObject(OpaqueObject { data_type: OpaqueDataType(0x8000_0000), value });
    assert_eq!(ManagedObject::from_stored_bytes(&object.to_stored_bytes()), Ok(object));
}

/// Equal numbers are equal values, however many sign bytes the wire had.
#[test]
fn big_integers_have_one_form() {
    for (wire, least) in [
        (&[0, 0, 0, 0, 0, 0, 0, 5][..], &[5][..]),
        (&[0, 0, 0, 0, 0, 0, 0, 0x85], &[0, 0x85]),
        (&[0xFF; 8], &[0xFF]),
        (&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], &[0xFF, 0x7F]),
        (&[0; 8], &[0]),
        (&[], &[0]),
    ] {
        assert_eq!(BigInteger::from_signed(wire).expose_bytes(), least);
    }
    assert_eq!(BigInteger::from_unsigned(&[0, 0x85]), BigInteger::from_signed(&[0, 0, 0x85]));
    assert_eq!(BigInteger::from_signed(&[0xFF]).unsigned(), None);
}
