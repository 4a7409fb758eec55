//! Goal: what a client lets the server answer later is answered later, to that client alone, once, and within limits; what it
//! cancels in time is not done; and nothing that was committed is lost by a restart.
//! Method: a gateway with settings that make the order certain (requests begin when they are polled for or processed, not by time), two
//! clients. Process waits for the end of a request, so that no test waits by the clock.

use keygate_kmip::{CancellationResult, Operation, ResultReason, ResultStatus, Tag};
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::Setup;
use keygate_tests::request::{self, bytes, enumeration, integer, structure, text};
use keygate_tests::ttlv::{Item, Value};

const V1_4: (i32, i32) = (1, 4);
const V2_1: (i32, i32) = (2, 1);

/// An hour: a request begins when somebody asks for it.
const NEVER: &str = "3600000";

/// Asynchronous Indicator.
#[derive(Clone, Copy)]
enum May {
    /// 1.x: true.
    True,
    Must,
    Optional,
}

fn later(version: (i32, i32), may: May, items: Vec<(Operation, Vec<Item>)>) -> Item {
    let indicator = match may {
        May::True => Item::new(Tag::ASYNCHRONOUS_INDICATOR.0, Value::Boolean(true)),
        May::Must => enumeration(Tag::ASYNCHRONOUS_INDICATOR, 1),
        May::Optional => enumeration(Tag::ASYNCHRONOUS_INDICATOR, 2),
    };
    with_header(request::message(version, items), version, vec![indicator])
}

fn with_header(message: Item, version: (i32, i32), more: Vec<Item>) -> Item {
    let Value::Structure(mut fields) = message.value else { panic!("a message") };
    let count = i32::try_from(fields.len() - 1).expect("few items");
    fields[0] = request::header(version, count, more);
    structure(Tag::REQUEST_MESSAGE, fields)
}

fn create_payload(version: (i32, i32), name: &str) -> Vec<Item> {
    let message = request::create_aes(version, 256, Some(name));
    let payload = message.find(Tag::REQUEST_PAYLOAD.0).expect("a payload");
    payload.fields().to_vec()
}

fn rsa_payload() -> Vec<Item> {
    let common = vec![enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 4), integer(Tag::CRYPTOGRAPHIC_LENGTH, 2048)];
    let mask = |bits| vec![integer(Tag::CRYPTOGRAPHIC_USAGE_MASK, bits)];
    vec![
        structure(Tag::COMMON_ATTRIBUTES, common),
        structure(Tag::PRIVATE_KEY_ATTRIBUTES, mask(1)),
        structure(Tag::PUBLIC_KEY_ATTRIBUTES, mask(2)),
    ]
}

fn items(answer: &Item) -> Vec<Item> {
    answer.fields().iter().filter(|item| item.tag == Tag::BATCH_ITEM.0).cloned().collect()
}

fn ask(client: &mut TlsKmipClient, message: &Item) -> Vec<Item> {
    items(&client.request(message).expect("an answer"))
}

fn status(item: &Item) -> u32 {
    item.field(Tag::RESULT_STATUS.0).and_then(Item::code).expect("a Result Status")
}

fn operation(item: &Item) -> u32 {
    item.field(Tag::OPERATION.0).and_then(Item::code).expect("an Operation")
}

/// The Asynchronous Correlation Value of an item that is pending, which has nothing else.
fn correlation(item: &Item) -> Vec<u8> {
    assert_eq!(status(item), ResultStatus::OperationPending.code(), "{item:?}");
    assert!(item.field(Tag::RESPONSE_PAYLOAD.0).is_none(), "{item:?}");
    item.field(Tag::ASYNCHRONOUS_CORRELATION_VALUE.0).and_then(Item::bytes).expect("a correlation value").to_vec()
}

fn about(client: &mut TlsKmipClient, version: (i32, i32), operation: Operation, value: &[u8]) -> Item {
    let payload = vec![bytes(Tag::ASYNCHRONOUS_CORRELATION_VALUE, value)];
    ask(client, &request::message(version, vec![(operation, payload)])).remove(0)
}

fn poll(client: &mut TlsKmipClient, value: &[u8]) -> Item {
    about(client, V2_1, Operation::Poll, value)
}

fn process(client: &mut TlsKmipClient, value: &[u8]) {
    request::item_outcome(&about(client, V2_1, Operation::Process, value)).expect("processed");
}

fn cancel(client: &mut TlsKmipClient, value: &[u8]) -> CancellationResult {
    let payload = request::item_outcome(&about(client, V2_1, Operation::Cancel, value)).expect("Cancel is answered");
    assert_eq!(payload.field(Tag::ASYNCHRONOUS_CORRELATION_VALUE.0).and_then(Item::bytes), Some(value));
    let code = payload.field(Tag::CANCELLATION_RESULT.0).and_then(Item::code).expect("a Cancellation Result");
    CancellationResult::from_code(code).expect("a known one")
}

fn located(client: &mut TlsKmipClient, name: &str) -> usize {
    let filter = structure(Tag::ATTRIBUTES, vec![Item::new(Tag::NAME.0, request::name_value(name))]);
    let found = ask(client, &request::message(V2_1, vec![(Operation::Locate, vec![filter])])).remove(0);
    let payload = request::item_outcome(&found).expect("located");
    payload.fields().iter().filter(|field| field.tag == Tag::UNIQUE_IDENTIFIER.0).count()
}

fn outstanding(client: &mut TlsKmipClient, fields: Vec<Item>) -> Vec<Item> {
    let answer = ask(client, &request::message(V2_1, vec![(Operation::QueryAsynchronousRequests, fields)])).remove(0);
    let payload = request::item_outcome(&answer).expect("told");
    payload.fields().to_vec()
}

/// An RSA pair is made later; its maker gets exactly the answer it would have got, as often as it asks, and nobody else any of it.
#[test]
fn a_pair_is_made_later() {
    let gateway = Setup::new().set("kmip.async_begin_ms", NEVER).start();
    let (mut client, mut other) = (gateway.connect("a"), gateway.connect("b"));
    let asked = ask(&mut client, &later(V2_1, May::Must, vec![(Operation::CreateKeyPair, rsa_payload())]));
    let value = correlation(&asked[0]);
    assert_eq!(operation(&asked[0]), Operation::CreateKeyPair.code());

    let told = outstanding(&mut client, Vec::new());
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].field(Tag::OPERATION.0).and_then(Item::code), Some(Operation::CreateKeyPair.code()));
    assert_eq!(told[0].field(Tag::PROCESSING_STAGE.0).and_then(Item::code), Some(1), "submitted");
    let others_of = |operation: Operation| vec![structure(Tag::OPERATIONS, vec![enumeration(Tag::OPERATION, operation.code())])];
    assert_eq!(outstanding(&mut client, others_of(Operation::Locate)), []);
    assert_eq!(outstanding(&mut client, others_of(Operation::CreateKeyPair)).len(), 1);
    assert_eq!(outstanding(&mut other, Vec::new()), []);

    let unknown = Err(ResultReason::InvalidAsynchronousCorrelationValue.code());
    assert_eq!(request::item_outcome(&poll(&mut other, &value)).map_err(|(reason, _)| reason), unknown);
    assert_eq!(cancel(&mut other, &value), CancellationResult::Unavailable);
    let refused = about(&mut other, V2_1, Operation::Process, &value);
    assert_eq!(request::item_outcome(&refused).map_err(|(reason, _)| reason), unknown);
    let in_one = about(&mut other, V1_4, Operation::Poll, &value);
    assert_eq!(request::item_outcome(&in_one).map_err(|(reason, _)| reason), Err(ResultReason::ItemNotFound.code()));

    process(&mut client, &value);
    let first = poll(&mut client, &value);
    assert_eq!(operation(&first), Operation::CreateKeyPair.code());
    let made = request::item_outcome(&first).expect("made");
    assert_eq!(request::item_outcome(&poll(&mut client, &value)), Ok(made.clone()), "an answer that was lost is had again");
    assert_eq!(cancel(&mut client, &value), CancellationResult::Completed);
    assert_eq!(outstanding(&mut client, Vec::new()), [], "it was polled for");
    let private = made.field(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER.0).and_then(Item::text).expect("a private key");
    request::outcome(&client.request(&request::on(V2_1, Operation::Get, private)).expect("an answer")).expect("it is there");
}

/// What is canceled before it begins is not done; canceling what has ended changes nothing.
#[test]
fn a_canceled_request_is_not_done() {
    let gateway = Setup::new().set("kmip.async_begin_ms", NEVER).start();
    let mut client = gateway.connect("a");
    let create = |name: &str| later(V2_1, May::Must, vec![(Operation::Create, create_payload(V2_1, name))]);
    let value = correlation(&ask(&mut client, &create("canceled"))[0]);
    assert_eq!(cancel(&mut client, &value), CancellationResult::Canceled);
    assert_eq!(cancel(&mut client, &value), CancellationResult::Canceled);
    process(&mut client, &value);
    let polled = request::item_outcome(&poll(&mut client, &value)).map_err(|(reason, _)| reason);
    assert_eq!(polled, Err(ResultReason::OperationCanceledByRequester.code()));
    assert_eq!(located(&mut client, "canceled"), 0);

    let value = correlation(&ask(&mut client, &create("done"))[0]);
    process(&mut client, &value);
    assert_eq!(cancel(&mut client, &value), CancellationResult::Completed);
    assert_eq!(located(&mut client, "done"), 1);
    let value = correlation(&ask(&mut client, &create("done"))[0]);
    process(&mut client, &value);
    assert_eq!(cancel(&mut client, &value), CancellationResult::Failed, "the name is taken");
    assert_eq!(cancel(&mut client, b"sixteen octets!!"), CancellationResult::Unavailable);
    assert_eq!(cancel(&mut client, b""), CancellationResult::Unavailable);
}

/// A batch stays one unit of work: the placeholder goes from item to item, a failure stops what comes after it.
#[test]
fn a_batch_is_answered_later_as_a_whole() {
    let gateway = Setup::new().set("kmip.async_begin_ms", NEVER).start();
    let mut client = gateway.connect("a");
    let batch = |name: &str| {
        let activate = (Operation::Activate, Vec::new());
        let absent = (Operation::Get, vec![text(Tag::UNIQUE_IDENTIFIER, "absent")]);
        let after = (Operation::Create, create_payload(V2_1, "after"));
        later(V2_1, May::Must, vec![(Operation::Create, create_payload(V2_1, name)), activate, absent, after])
    };
    let values: Vec<Vec<u8>> = ask(&mut client, &batch("first")).iter().map(correlation).collect();
    assert_eq!(values.len(), 4);
    process(&mut client, &values[0]);
    let polled: Vec<Item> = values.iter().map(|value| poll(&mut client, value)).collect();
    let made = request::identifier(&request::item_outcome(&polled[0]).expect("made"));
    assert_eq!(request::identifier(&request::item_outcome(&polled[1]).expect("activated")), made);
    let reason = |item: &Item| request::item_outcome(item).map_err(|(reason, _)| reason);
    assert_eq!(reason(&polled[2]), Err(ResultReason::ItemNotFound.code()));
    assert_eq!(reason(&polled[3]), Err(ResultReason::GeneralFailure.code()));
    assert_eq!((located(&mut client, "first"), located(&mut client, "after")), (1, 0));

    // An item that is canceled stops those after it as one that fails.
    let values: Vec<Vec<u8>> = ask(&mut client, &batch("second")).iter().map(correlation).collect();
    assert_eq!(cancel(&mut client, &values[1]), CancellationResult::Canceled);
    process(&mut client, &values[0]);
    let polled: Vec<Item> = values.iter().map(|value| poll(&mut client, value)).collect();
    assert_eq!(status(&polled[0]), ResultStatus::Success.code());
    assert_eq!(reason(&polled[1]), Err(ResultReason::OperationCanceledByRequester.code()));
    assert_eq!(reason(&polled[2]), Err(ResultReason::GeneralFailure.code()));
    assert_eq!((located(&mut client, "second"), located(&mut client, "after")), (1, 0));
}

/// A client that merely allows a later answer gets it at once where it is there soon, or always where the server never waits.
#[test]
fn an_answer_that_is_there_soon_comes_at_once() {
    let gateway = Setup::new().set("kmip.async_answer_ms", NEVER).start();
    let mut client = gateway.connect("a");
    for (version, may) in [(V1_4, May::True), (V2_1, May::Optional)] {
        let name = format!("{version:?}");
        let made = ask(&mut client, &later(version, may, vec![(Operation::Create, create_payload(version, &name))]));
        request::item_outcome(&made[0]).expect("made at once");
        assert_eq!(located(&mut client, &name), 1);
    }
    assert_eq!(outstanding(&mut client, Vec::new()), []);
    // A failed item ends the answer, as without the indicator.
    let absent = || (Operation::Get, vec![text(Tag::UNIQUE_IDENTIFIER, "absent")]);
    assert_eq!(ask(&mut client, &later(V2_1, May::Optional, vec![absent(), absent()])).len(), 1);

    let gateway = Setup::new().set("kmip.async_answer_ms", "0").set("kmip.async_begin_ms", NEVER).start();
    let mut client = gateway.connect("a");
    let asked = ask(&mut client, &later(V1_4, May::True, vec![(Operation::Create, create_payload(V1_4, "later"))]));
    let value = correlation(&asked[0]);
    // A Poll begins it, and waits a moment for it.
    let polled = (0..60).map(|_| about(&mut client, V1_4, Operation::Poll, &value));
    let ended = polled.into_iter().find(|item| status(item) != ResultStatus::OperationPending.code());
    request::item_outcome(&ended.expect("it ends")).expect("made");
    assert_eq!(located(&mut client, "later"), 1);
}

/// Limits in number and octets are told to whoever demands a later answer; whoever allows one is answered at once.
#[test]
fn pending_requests_are_bounded() {
    let gateway = Setup::new().set("kmip.async_begin_ms", NEVER).set("limits.async_per_caller", "2").set("limits.async_bytes_max", "4096").start();
    let (mut client, mut other) = (gateway.connect("a"), gateway.connect("b"));
    let query = |may| later(V2_1, may, vec![(Operation::DiscoverVersions, Vec::new())]);
    let values: Vec<Vec<u8>> = (0..2).map(|_| correlation(&ask(&mut client, &query(May::Must))[0])).collect();
    let over = request::item_outcome(&ask(&mut client, &query(May::Must))[0]).expect_err("over the limit");
    assert_eq!(over.0, ResultReason::ServerLimitExceeded.code());
    assert!(over.1.contains("the limit is 2"), "{}", over.1);
    request::item_outcome(&ask(&mut client, &query(May::Optional))[0]).expect("answered at once");
    correlation(&ask(&mut other, &query(May::Must))[0]);
    // Canceled requests count until they are forgotten: they can be polled for.
    assert_eq!(cancel(&mut client, &values[0]), CancellationResult::Canceled);
    assert!(request::item_outcome(&ask(&mut client, &query(May::Must))[0]).is_err());
    let large = later(V2_1, May::Must, vec![(Operation::Log, vec![text(Tag::LOG_MESSAGE, &"x".repeat(4096))])]);
    let over = request::item_outcome(&ask(&mut other, &large)[0]).expect_err("over the limit");
    assert_eq!(over.0, ResultReason::ServerLimitExceeded.code());
}

/// What cannot be answered later, or is no message, is told at once.
#[test]
fn what_cannot_wait_is_told_at_once() {
    let gateway = Setup::new().set("kmip.async_begin_ms", NEVER).start();
    let mut client = gateway.connect("a");
    let value = correlation(&ask(&mut client, &later(V2_1, May::Must, vec![(Operation::DiscoverVersions, Vec::new())]))[0]);
    let payload = || vec![bytes(Tag::ASYNCHRONOUS_CORRELATION_VALUE, &value)];
    for operation in [Operation::Poll, Operation::Cancel, Operation::Process] {
        let refused = ask(&mut client, &later(V2_1, May::Must, vec![(operation, payload())]));
        let (reason, text) = request::item_outcome(&refused[0]).expect_err("refused");
        assert_eq!(reason, ResultReason::InvalidMessage.code(), "{text}");
    }
    // Allowed, it is answered now.
    let polled = ask(&mut client, &later(V2_1, May::Optional, vec![(Operation::Process, payload()), (Operation::Poll, payload())]));
    request::item_outcome(&polled[0]).expect("processed");
    assert_eq!(operation(&polled[1]), Operation::DiscoverVersions.code());
    request::item_outcome(&polled[1]).expect("answered");
    // Nothing begins whose announcement the client does not take.
    let small = vec![enumeration(Tag::ASYNCHRONOUS_INDICATOR, 1)];
    let small = [vec![integer(Tag::MAXIMUM_RESPONSE_SIZE, 100)], small].concat();
    let small = with_header(request::message(V2_1, vec![(Operation::Create, create_payload(V2_1, "small"))]), V2_1, small);
    let (reason, _) = request::item_outcome(&ask(&mut client, &small)[0]).expect_err("too large");
    assert_eq!(reason, ResultReason::ResponseTooLarge.code());
    assert_eq!(outstanding(&mut client, Vec::new()), []);
    assert_eq!(located(&mut client, "small"), 0);
}

/// A restart forgets what is pending and every answer; a key that was made is there.
#[test]
fn a_restart_forgets_requests_and_keeps_keys() {
    let mut gateway = Setup::new().set("kmip.async_begin_ms", NEVER).start();
    let mut client = gateway.connect("a");
    let create = |name: &str| later(V2_1, May::Must, vec![(Operation::Create, create_payload(V2_1, name))]);
    let made = correlation(&ask(&mut client, &create("made"))[0]);
    process(&mut client, &made);
    let waiting = correlation(&ask(&mut client, &create("waiting"))[0]);
    gateway.kill().expect("killed");
    gateway.start().expect("started");
    let mut client = gateway.connect("a");
    for value in [&made, &waiting] {
        let (reason, _) = request::item_outcome(&poll(&mut client, value)).expect_err("forgotten");
        assert_eq!(reason, ResultReason::InvalidAsynchronousCorrelationValue.code());
        assert_eq!(cancel(&mut client, value), CancellationResult::Unavailable);
    }
    assert_eq!((located(&mut client, "made"), located(&mut client, "waiting")), (1, 0));
}
