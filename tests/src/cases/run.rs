//! Plays one case: sends its requests, compares the answers, keeps the dialogue.

use std::fmt::Write as _;
use std::io;
use std::process::Child;
use std::time::Duration;

use keygate_kmip::ttlv::Limits;
use keygate_kmip::{ResultStatus, Tag};
use keygate_kmip::xml::{self, Masking};

use super::compare::{self, Difference};
use super::file::{Case, Direction, Node, Step};
use super::state::State;
use super::transport::Transport;
use crate::kmip_listener::KmipListener;
use crate::names;
use crate::ttlv::Item;

/// Opens a connection as client `A`, `B` or `C` of a case.
pub type Connect<'a> = dyn FnMut(char) -> io::Result<Transport> + 'a;

/// What happened in one step.
#[derive(Debug)]
pub struct Exchange {
    /// What was sent, if the request could be made.
    pub request: Option<Item>,
    /// What the case expects.
    pub expected: Node,
    /// What came back.
    pub actual: Option<Item>,
    /// The first difference, if any.
    pub difference: Option<Difference>,
}

/// Why a case failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Step number, from 0 as in the cases.
    pub step: usize,
    /// Where and what, in one line.
    pub what: String,
}

/// Plays a case until its end or the first difference.
///
/// # Errors
/// The first difference; the dialogue is complete up to it.
pub fn play(
    case: &Case,
    connect: &mut Connect<'_>,
    called: Option<&Called<'_>>,
    state: &mut State,
    dialogue: &mut Vec<Exchange>,
) -> Result<(), Failure> {
    let mut clients: Vec<(char, Transport)> = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        let failure = |what: String| Failure { step: number, what };
        let exchange = match (step.direction, called) {
            (Direction::ServerToClient, Some(called)) => be_called(step, called, state),
            (Direction::ServerToClient, None) => Err("the server has to call the client (Notify, Put, Query)".to_owned()),
            (Direction::ClientToServer, _) => match client_of(step, &mut clients, connect) {
                Ok(client) => take(step, client, state),
                Err(error) => Err(format!("connecting: {error}")),
            },
        };
        let what = exchange.as_ref().map_or_else(Clone::clone, |exchange| {
            exchange.difference.as_ref().map(|d| format!("{}: {}", d.place, d.what)).unwrap_or_default()
        });
        if let Ok(exchange) = exchange {
            dialogue.push(exchange);
        } else {
            dialogue.push(Exchange { request: None, expected: step.response.clone(), actual: None, difference: None });
        }
        if !what.is_empty() {
            return Err(failure(what));
        }
    }
    Ok(())
}

fn client_of<'a>(
    step: &Step,
    clients: &'a mut Vec<(char, Transport)>,
    connect: &mut Connect<'_>,
) -> io::Result<&'a mut Transport> {
    let position = match clients.iter().position(|(name, _)| *name == step.client) {
        Some(position) => position,
        None => {
            clients.push((step.client, connect(step.client)?));
            clients.len() - 1
        }
    };
    Ok(&mut clients[position].1)
}

/// One request and its answer. A step marked `[REPEAT]` is sent again until the answer is the expected one.
fn take(step: &Step, client: &mut Transport, state: &mut State) -> Result<Exchange, String> {
    let given_before = state.given().clone();
    let request = state.request_item(&step.request)?;
    let attempts = if step.repeat { REPEATS } else { 1 };
    let mut last = None;
    for _ in 0..attempts {
        let mut trial = state.clone();
        let bytes = client.exchange(&request.encode(), step.exact.as_deref());
        let bytes = bytes.map_err(|error| format!("no answer: {error}"))?;
        let actual = Item::decode(&bytes).map_err(|error| format!("the answer is not TTLV: {error}"))?;
        let difference = compare::compare(&request, &step.response, &actual, &mut trial).err();
        let done = difference.is_none();
        if done || !step.repeat {
            *state = trial;
        }
        // A date of a request that was refused whole is on no object.
        if is_refused(&actual) {
            state.restore_given(given_before.clone());
        }
        last = Some(Exchange {
            request: Some(request.clone()),
            expected: step.response.clone(),
            actual: Some(actual),
            difference,
        });
        if done {
            break;
        }
        if step.repeat {
            // The case says so: a client polls an asynchronous operation.
            std::thread::sleep(REPEAT_PAUSE);
        }
    }
    last.ok_or_else(|| "no attempt".to_owned())
}

/// Whether the first item failed, and with it all there is.
fn is_refused(answer: &Item) -> bool {
    let items = answer.fields().iter().filter(|field| field.tag == Tag::BATCH_ITEM.0);
    let failed = ResultStatus::OperationFailed.code();
    items.clone().count() == 1 && answer.find(Tag::RESULT_STATUS.0).and_then(Item::code) == Some(failed)
}

/// A client that listens, and how an administrator makes the server ask it something by Query.
pub struct Called<'a> {
    /// The client.
    pub listener: &'a KmipListener,
    /// Begins to ask by these Query Functions.
    pub ask: &'a dyn Fn(&[String]) -> io::Result<Child>,
}

/// The server calls: what it says is compared with the request of the case, and the case's response is the answer.
fn be_called(step: &Step, called: &Called<'_>, state: &mut State) -> Result<Exchange, String> {
    let broken = |error: io::Error| error.to_string();
    let functions: Vec<String> = step.query_functions().map(str::to_owned).collect();
    let asking = if functions.is_empty() { None } else { Some((called.ask)(&functions).map_err(broken)?) };
    let call = called.listener.next().map_err(broken)?;
    let actual = call.request.clone();
    let difference = compare::compare_call(&step.request, &actual, state).err();
    let answer = state.request_item(&step.response)?;
    call.answer(answer.clone());
    if let Some(asking) = asking {
        let output = asking.wait_with_output().map_err(broken)?;
        if !output.status.success() {
            return Err(format!("asking: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(Exchange { request: Some(answer), expected: step.request.clone(), actual: Some(actual), difference })
}

const REPEATS: usize = 50;
const REPEAT_PAUSE: Duration = Duration::from_millis(20);

/// The dialogue as XML, the difference marked with `>>`.
#[must_use]
pub fn render(dialogue: &[Exchange], all: bool) -> String {
    let mut out = String::new();
    let last = dialogue.len().saturating_sub(1);
    for (number, exchange) in dialogue.iter().enumerate() {
        if !all && number != last {
            continue;
        }
        // Infallible: writing to a String.
        let _ = writeln!(out, "# TIME {number}: request");
        out.push_str(&exchange.request.as_ref().map(|request| item_xml(request, None)).unwrap_or_default());
        let mark = exchange.difference.as_ref();
        if let Some(difference) = mark {
            let _ = writeln!(out, "# TIME {number}: expected response");
            node_xml(&exchange.expected, 0, Some(&difference.expected_at), &mut out);
        }
        let _ = writeln!(out, "# TIME {number}: response");
        let marked = mark.map(|difference| difference.actual_at.as_slice());
        out.push_str(&exchange.actual.as_ref().map(|actual| item_xml(actual, marked)).unwrap_or_default());
        if let Some(difference) = mark {
            let _ = writeln!(out, "# {}: {}", difference.place, difference.what);
        }
    }
    out
}

/// An item by the product's XML writer; the line of the field at `marked` begins with `>>`.
fn item_xml(item: &Item, marked: Option<&[usize]>) -> String {
    let limits = Limits { message_bytes_max: 64 << 20, depth_max: 64, ..Limits::default() };
    let text = match xml::write(&item.encode(), &limits, Masking::None) {
        Ok(text) => text,
        Err(error) => return format!("  (not a well-formed message: {error})\n  {item:?}\n"),
    };
    let line = marked.and_then(|path| line_of(item, path));
    text.lines()
        .enumerate()
        .map(|(number, text)| format!("{} {text}\n", if line == Some(number) { ">>" } else { "  " }))
        .collect()
}

/// Line of a field in the XML of an item: a structure takes a line before and one after its fields.
fn line_of(item: &Item, path: &[usize]) -> Option<usize> {
    let Some((first, rest)) = path.split_first() else { return Some(0) };
    let fields = item.fields();
    let target = fields.get(*first)?;
    let before: usize = fields[..*first].iter().map(lines).sum();
    Some(1 + before + line_of(target, rest)?)
}

fn lines(item: &Item) -> usize {
    match &item.value {
        crate::ttlv::Value::Structure(fields) => 2 + fields.iter().map(lines).sum::<usize>(),
        _ => 1,
    }
}

fn node_xml(node: &Node, depth: usize, marked: Option<&[usize]>, out: &mut String) {
    let mark = if marked == Some(&[]) { ">>" } else { "  " };
    let indent = "  ".repeat(depth);
    let name = names::tag_name(node.tag);
    if !node.is_structure() {
        let _ = writeln!(out, "{mark} {indent}<{name} type=\"{}\" value=\"{}\"/>", node.item_type, node.text);
        return;
    }
    let _ = writeln!(out, "{mark} {indent}<{name}>");
    for (number, field) in node.fields.iter().enumerate() {
        let below = marked.and_then(|path| path.split_first()).filter(|(first, _)| **first == number);
        node_xml(field, depth + 1, below.map(|(_, rest)| rest), out);
    }
    let _ = writeln!(out, "   {indent}</{name}>");
}
