//! The table of pending requests by chance: whatever callers and time do, what it says of an item is true, nobody hears of another's,
//! and nothing is begun, ended or counted twice.

use std::collections::HashMap;

use keygate_kmip::{CancellationResult, PingResponse, ProcessingStage, ResponsePayload, ResultReason, ResultStatus};
use proptest::prelude::*;

use super::*;

const KEPT: Duration = Duration::from_secs(10);

fn policy() -> AsynchronousPolicy {
    AsynchronousPolicy { items_per_caller_max: 4, items_max: 6, bytes_max: 100, kept: KEPT, ..AsynchronousPolicy::default() }
}

fn done() -> ItemResult {
    ItemResult::Success(ResponsePayload::Ping(PingResponse {}))
}

fn refused() -> ItemResult {
    ItemResult::Failed { status: ResultStatus::OperationFailed, reason: ResultReason::ItemNotFound, message: String::new(), payload: None }
}

#[derive(Clone, Debug)]
enum Step {
    Submit { caller: usize, items: usize, octets: usize },
    Begin(usize),
    End { job: usize, executed: usize, fails: bool },
    Poll { caller: usize, item: usize },
    Cancel { caller: usize, item: usize },
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2usize, 1..=3usize, 1..=60usize).prop_map(|(caller, items, octets)| Step::Submit { caller, items, octets }),
        3 => (0..8usize).prop_map(Step::Begin),
        3 => (0..8usize, 0..=3usize, any::<bool>()).prop_map(|(job, executed, fails)| Step::End { job, executed, fails }),
        4 => (0..2usize, 0..20usize).prop_map(|(caller, item)| Step::Poll { caller, item }),
        4 => (0..2usize, 0..20usize).prop_map(|(caller, item)| Step::Cancel { caller, item }),
        1 => (1..=12u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What is known of an item without the table.
#[derive(Clone, Debug)]
struct Known {
    caller: usize,
    begun: bool,
    canceled: bool,
    ended: Option<(Instant, bool)>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_table_tells_the_truth(steps in steps()) {
        let owners = [ClientId::generate(), ClientId::generate()];
        let mut table = Table::new(policy());
        let mut now = Instant::now();
        let mut jobs: Vec<(JobId, Vec<CorrelationValue>)> = Vec::new();
        let mut values: Vec<CorrelationValue> = Vec::new();
        let mut known: HashMap<CorrelationValue, Known> = HashMap::new();
        for step in steps {
            match step {
                Step::Submit { caller, items, octets } => {
                    let operations = vec![Operation::Locate; items];
                    if let Ok(submitted) = table.submit(owners[caller], &operations, octets, 0, now) {
                        for value in &submitted.correlation_values {
                            let item = Known { caller, begun: false, canceled: false, ended: None };
                            prop_assert!(known.insert(*value, item).is_none(), "a value is used once");
                            values.push(*value);
                        }
                        jobs.push((submitted.job, submitted.correlation_values));
                    }
                    let (kept, octets) = table.kept();
                    prop_assert!(kept <= 6 && octets <= 100, "{kept} items, {octets} octets");
                }
                Step::Begin(number) => {
                    let Some((job, items)) = jobs.get(number) else { continue };
                    let before = items.iter().any(|value| known[value].begun || known[value].ended.is_some());
                    let canceled: Vec<bool> = items.iter().map(|value| known[value].canceled).collect();
                    let begun = table.begin(*job, now);
                    if before {
                        prop_assert_eq!(begun, None, "a job begins once");
                    } else if canceled.iter().all(|canceled| *canceled) {
                        prop_assert_eq!(begun, None, "nobody wants it");
                        for value in items {
                            known.get_mut(value).expect("submitted").ended = Some((now, false));
                        }
                    } else {
                        prop_assert_eq!(begun, Some(canceled));
                        for value in items {
                            known.get_mut(value).expect("submitted").begun = true;
                        }
                    }
                }
                Step::End { job, executed, fails } => {
                    let Some((job, items)) = jobs.get(job) else { continue };
                    if !known[&items[0]].begun {
                        continue;
                    }
                    let result = if fails { refused() } else { done() };
                    let executed = executed.min(items.len());
                    table.end(*job, vec![result; executed], now);
                    for (number, value) in items.iter().enumerate() {
                        let item = known.get_mut(value).expect("submitted");
                        // Ending twice changes nothing.
                        item.ended.get_or_insert((now, number < executed && !fails && !item.canceled));
                    }
                }
                Step::Poll { caller, item } => {
                    let Some(value) = values.get(item) else { continue };
                    let item = &known[value];
                    let gone = item.ended.is_some_and(|(at, _)| now.saturating_duration_since(at) >= KEPT);
                    match table.poll(owners[caller], value, now) {
                        Polled::Unknown => prop_assert!(gone || caller != item.caller),
                        Polled::Pending(_) => prop_assert!(item.ended.is_none() && !item.canceled && caller == item.caller),
                        Polled::Ended(_, result) => {
                            prop_assert!(!gone && caller == item.caller);
                            let succeeded = matches!(*result, ItemResult::Success(_));
                            match item.ended {
                                Some((_, expected)) => prop_assert_eq!(succeeded, expected),
                                None => prop_assert!(item.canceled && !succeeded),
                            }
                        }
                    }
                }
                Step::Cancel { caller, item } => {
                    let Some(value) = values.get(item) else { continue };
                    let item = known.get_mut(value).expect("submitted");
                    let gone = item.ended.is_some_and(|(at, _)| now.saturating_duration_since(at) >= KEPT);
                    let expected = match (gone || caller != item.caller, item.canceled, item.ended, item.begun) {
                        (true, ..) => CancellationResult::Unavailable,
                        (false, true, ..) => CancellationResult::Canceled,
                        (false, false, Some((_, true)), _) => CancellationResult::Completed,
                        (false, false, Some((_, false)), _) => CancellationResult::Failed,
                        (false, false, None, true) => CancellationResult::UnableToCancel,
                        (false, false, None, false) => CancellationResult::Canceled,
                    };
                    prop_assert_eq!(table.cancel(owners[caller], value, now), expected);
                    item.canceled |= expected == CancellationResult::Canceled;
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
        }
        // What has not ended can end; then time takes everything away, and the counts with it.
        for (job, _) in &jobs {
            table.begin(*job, now);
            table.end(*job, Vec::new(), now);
        }
        prop_assert!(table.outstanding(owners[0], now + KEPT).is_empty());
        prop_assert_eq!(table.kept(), (0, 0));
    }
}

/// Answers are paid for before anything is committed, and again at most once when a message is executed again.
#[test]
fn answers_are_within_the_octets() {
    let mut table = Table::new(policy());
    let (owner, now) = (ClientId::generate(), Instant::now());
    let submit = |table: &mut Table| table.submit(owner, &[Operation::Get], 40, 0, now).expect("there is room").job;
    let (one, other) = (submit(&mut table), submit(&mut table));
    for job in [one, other] {
        assert!(table.begin(job, now).is_some());
    }
    assert!(table.hold(one, 20).is_ok());
    assert!(table.hold(one, 20).is_ok(), "the same answer again");
    assert!(matches!(table.hold(other, 1), Err(OperationError::LimitExceeded(_))));
    assert!(table.submit(owner, &[Operation::Get], 1, 0, now).is_err(), "requests are counted, too");
    table.end(one, vec![done()], now);
    assert!(table.hold(other, 40).is_ok(), "the request of the other is gone");
}

/// A caller that waits gets the results of what was executed, and nothing is kept.
#[test]
fn a_caller_that_waits_takes_the_results() {
    let mut table = Table::new(policy());
    let (owner, now) = (ClientId::generate(), Instant::now());
    let submitted = table.submit(owner, &[Operation::Get, Operation::Get], 10, 0, now).expect("there is room");
    assert!(table.begin(submitted.job, now).is_some());
    assert_eq!(table.take(submitted.job), None, "not before it ends");
    assert!(!*submitted.ended.borrow());
    table.end(submitted.job, vec![refused()], now);
    assert!(*submitted.ended.borrow());
    assert_eq!(table.take(submitted.job), Some(vec![refused()]), "the second was not executed: the first failed");
    assert_eq!(table.kept(), (0, 0));
}

#[test]
fn outstanding_items_are_told_until_they_are_polled() {
    let mut table = Table::new(policy());
    let (owner, now) = (ClientId::generate(), Instant::now());
    let submitted = table.submit(owner, &[Operation::Get, Operation::Locate], 10, 7, now).expect("there is room");
    let told = |table: &mut Table| -> Vec<(Operation, ProcessingStage)> {
        table.outstanding(owner, now).iter().map(|item| (item.operation, item.stage)).collect()
    };
    assert_eq!(told(&mut table), [(Operation::Get, ProcessingStage::Submitted), (Operation::Locate, ProcessingStage::Submitted)]);
    assert!(table.outstanding(ClientId::generate(), now).is_empty());
    table.begin(submitted.job, now);
    assert_eq!(told(&mut table)[0].1, ProcessingStage::InProcess);
    table.end(submitted.job, vec![done(), done()], now);
    assert!(matches!(table.poll(owner, &submitted.correlation_values[0], now), Polled::Ended(Operation::Get, _)));
    assert_eq!(told(&mut table), [(Operation::Locate, ProcessingStage::Completed)]);
    table.flush();
    assert_eq!(table.poll(owner, &submitted.correlation_values[1], now), Polled::Unknown);
}

/// A Poll for what waits to begin lets it begin.
#[tokio::test]
async fn a_poll_begins_what_waits() {
    let mut table = Table::new(policy());
    let (owner, now) = (ClientId::generate(), Instant::now());
    let submitted = table.submit(owner, &[Operation::Get], 10, 0, now).expect("there is room");
    assert_eq!(table.poll(owner, &submitted.correlation_values[0], now), Polled::Pending(Operation::Get));
    submitted.wake.notified().await;
    let ended = table.hurry(owner, &submitted.correlation_values[0], now).expect("it is the caller's");
    submitted.wake.notified().await;
    assert!(!*ended.borrow());
    assert!(table.hurry(ClientId::generate(), &submitted.correlation_values[0], now).is_none());
}

/// At the end what has begun is waited for; what has not is forgotten, and whoever waits for it is told.
#[tokio::test]
async fn the_end_waits_for_what_has_begun() {
    let asynchronous = Asynchronous::new(policy());
    let owner = ClientId::generate();
    let submit = || asynchronous.submit(owner, &[Operation::Get], 10).expect("there is room");
    let (begun, waiting) = (submit(), submit());
    assert!(asynchronous.begin(begun.job).is_some());
    assert_eq!(asynchronous.drain(Duration::ZERO).await, 1);
    assert!(*waiting.ended.borrow() && asynchronous.begin(waiting.job).is_none());
    assert!(matches!(asynchronous.submit(owner, &[Operation::Get], 10), Err(OperationError::Unavailable(_))));
    asynchronous.end(begun.job, vec![done()]);
    assert_eq!(asynchronous.drain(Duration::ZERO).await, 0);
}
