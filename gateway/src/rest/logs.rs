//! `GET /api/manage/v1/log/kmipserver`: the record of what this user did. Path, parameters and field names are the vendor's, as its
//! public connector for a SIEM has them; the record is ours.

use std::collections::HashSet;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use keygate_kmip::ResultReason;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::Query,
    caller::{LogsRead, May},
    view::rfc3339,
};
use crate::{
    audit::{Event, Outcome, Position, Search, search},
    operation::OperationError,
};

/// Lines of a page where nothing is said.
const LINES: usize = 100;
/// Most lines of a page.
const LINES_MAX: usize = 500;
/// Bits of an offset that say which event of a segment; a segment holds fewer, and numbers of segments stay exact in JSON.
const INDEX_BITS: u32 = 20;

/// Which lines.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct Lines {
    /// `current`, the only log there is.
    #[serde(default)]
    log: Option<String>,
    /// Most lines, 1 to 500. Without it: 100.
    #[serde(default)]
    #[param(value_type = Option<usize>)]
    lines: Option<String>,
    /// Not before this time, RFC 3339.
    #[serde(default)]
    start_time: Option<String>,
    /// Not after this time, RFC 3339.
    #[serde(default)]
    end_time: Option<String>,
    /// Where the page begins: `nextOffset` of the one before; 0, or none, is the newest line.
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    offset: Option<String>,
}

/// A line. Times and words as in the vendor's log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Line {
    /// RFC 3339.
    time_generated: String,
    /// The operation, by its KMIP name.
    operation: String,
    /// SUCCESS, OPERATION_FAILED or OPERATION_UNDONE.
    result: &'static str,
    /// Why it failed: a Result Reason of KMIP.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The user.
    user: String,
    /// From which address.
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// The key.
    #[serde(rename = "UUID", skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
}

/// A page of lines, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    /// The lines. A page may have none and still a next one: its work is bounded.
    logs: Vec<Line>,
    /// The offset of the next page; absent on the last. New lines do not shift it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
}

/// Reads what this user did, never what others did.
#[utoipa::path(get, path = "/api/manage/v1/log/{log}", tag = "log", params(("log" = String, Path, description = "`kmipserver`, as the vendor's connector asks"), Lines),
    security(("basic" = ["logs:read"])),
    responses((status = 200, description = "A page.", body = Log), (status = 400, description = "A query that is not accepted.", body = Failure)))]
pub(super) async fn read(may: May<LogsRead>, State(rest): State<Rest>, Path(log): Path<String>, Query(asked): Query<Lines>) -> Result<Response, Refused> {
    if log != "kmipserver" {
        return Err(Refused::no_path());
    }
    if asked.log.as_deref().is_some_and(|log| log != "current") {
        return Err(Refused::invalid("log must be current"));
    }
    let lines = number(asked.lines.as_deref())?.map_or(Some(LINES), |lines| usize::try_from(lines).ok());
    let lines = lines.filter(|lines| (1..=LINES_MAX).contains(lines)).ok_or_else(|| Refused::invalid(format!("lines must be 1 to {LINES_MAX}")))?;
    let Some(user) = &may.caller().user else { return Err(Refused::no_path()) };
    let wanted = Search {
        since_ms: asked.start_time.as_deref().map(|text| moment("startTime", text)).transpose()?.flatten(),
        until_ms: asked.end_time.as_deref().map(|text| moment("endTime", text)).transpose()?.flatten(),
        actors: HashSet::from([user.id.to_string()]),
        organisation: Some(may.caller().organisation),
        ..Search::default()
    };
    let after = number(asked.offset.as_deref())?.filter(|offset| *offset > 0).map(position);
    let found = search(&rest.gateway.store, &wanted, after, lines).await.map_err(OperationError::from)?;
    let logs = found.events.iter().map(|(_, event)| line(event, &user.name)).collect();
    Ok(done(StatusCode::OK, &Log { logs, next_offset: found.next.map(offset).filter(|offset| *offset > 0) }))
}

/// The vendor's connector sends empty values where it means none.
fn number(text: Option<&str>) -> Result<Option<u64>, Refused> {
    let given = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
    given.map_err(|_| Refused::invalid("lines and offset must be numbers"))
}

/// As [`number`].
fn moment(field: &str, text: &str) -> Result<Option<i64>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Refused::invalid(format!("{field} must be a time such as 2026-01-31T12:00:00Z")))?;
    Ok(i64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).ok())
}

fn position(offset: u64) -> Position {
    Position { seq: offset >> INDEX_BITS, index: usize::try_from(offset & ((1 << INDEX_BITS) - 1)).unwrap_or_default() }
}

fn offset(position: Position) -> u64 {
    let index = u64::try_from(position.index).unwrap_or(u64::MAX).min((1 << INDEX_BITS) - 1);
    (position.seq << INDEX_BITS) | index
}

fn line(event: &Event, user: &str) -> Line {
    let (result, reason) = match event.outcome {
        Outcome::Done => ("SUCCESS", None),
        Outcome::Refused(code) => ("OPERATION_FAILED", ResultReason::from_code(code).and_then(ResultReason::xml_name)),
        Outcome::Undone => ("OPERATION_UNDONE", None),
        Outcome::Unknown => ("OPERATION_PENDING", None),
    };
    let operation = serde_json::to_value(event.action).ok();
    Line {
        time_generated: rfc3339(event.at_ms),
        operation: operation.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(),
        result,
        reason: reason.map(capitals),
        user: user.to_owned(),
        ip: event.source.map(|source| source.to_string()),
        uuid: event.object.map(|object| object.to_string()),
    }
}

/// `ItemNotFound` as the vendor writes it: `ITEM_NOT_FOUND`.
fn capitals(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An offset is a place: it leads back to where it came from, and fits a number of JSON.
    #[test]
    fn an_offset_is_a_place_in_the_record() {
        for place in [Position { seq: 1, index: 0 }, Position { seq: 8_000_000_000, index: 1_048_575 }] {
            assert_eq!(position(offset(place)), place);
            assert!(offset(place) < 1 << 53);
        }
        assert_eq!(capitals("ItemNotFound"), "ITEM_NOT_FOUND");
        assert!(moment("startTime", "yesterday").is_err() && moment("startTime", "").expect("none").is_none());
    }
}
