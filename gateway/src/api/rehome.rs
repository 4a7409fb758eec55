//! `/v1/rehome`: moves of all keys of one keystore to another.

use axum::extract::State;
use keygate_pki::OffsetDateTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    body::Wish,
    caller::{Acts, Sees},
    change::to_the_end,
    error,
    page::List,
    view::milliseconds,
};
use crate::{
    http::Problem,
    keystores::Moving,
    store::{Left, RehomingState},
};

/// Most keys a second that may be asked for.
const PER_SECOND_MAX: u32 = 1_000_000;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, start)).routes(routes!(stop))
}

/// The move of all keys of one keystore to another: how it stands, or the report of the last run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RehomeView {
    /// Name of where the keys come from.
    pub from: String,
    /// Name of where they go; the same: they are sealed under a new term of the keyring.
    pub to: String,
    /// `running`, `stopped` or `done`.
    pub state: String,
    /// When it was started.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// When it ended.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub ended: Option<OffsetDateTime>,
    /// Most keys a second; 0: as fast as it goes.
    pub per_second: u32,
    /// Objects there were at the start.
    pub total: u64,
    /// Objects that have been looked at.
    pub seen: u64,
    /// Objects moved.
    pub moved: u64,
    /// Objects that stay where they are, by reason.
    pub kept: Vec<LeftView>,
    /// Objects that could not be moved this time, by reason.
    pub failed: Vec<LeftView>,
    /// Keys a second at present.
    pub rate: f64,
    /// Seconds until the end, at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Why it ended before its end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}

/// Objects that were not moved, for one reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeftView {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// Unique Identifiers of the first ones.
    pub examples: Vec<String>,
}

/// A move.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// Where the keys are.
    from: String,
    /// Where they shall be; the same: everything is sealed again under a new term of the keyring.
    to: String,
    /// Most keys a second; 0: as fast as it goes.
    #[serde(default)]
    per_second: u32,
    /// "I understand that keys in a device can be used there, and not fetched any more."
    #[serde(default)]
    acknowledged: bool,
}

/// Which move.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Stopping {
    /// Where the keys come from.
    from: String,
    /// Where they go.
    to: String,
}

/// Lists moves of keys: under way, stopped, and the last report for each pair of keystores; the newest first.
#[utoipa::path(get, path = "/v1/rehome", tag = "keystores", security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The moves.", body = List<RehomeView>)))]
async fn list(sees: Sees, State(api): State<Api>) -> Result<axum::Json<List<RehomeView>>, Problem> {
    sees.for_all("a move of keys")?;
    Ok(axum::Json(List { items: api.keystores.moves().iter().map(view).collect() }))
}

/// Moves all keys of one keystore to another while they are in use; started again, it goes on where it was stopped.
#[utoipa::path(post, path = "/v1/rehome", tag = "keystores", request_body = Move, security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The move, which goes on.", body = RehomeView),
        (status = 409, description = "A keystore is not in use, or its keys are being moved elsewhere.")))]
async fn start(acts: Acts, State(api): State<Api>, Wish(wish): Wish<Move>) -> Result<axum::Json<RehomeView>, Problem> {
    acts.for_all("a move of keys")?;
    if wish.per_second > PER_SECOND_MAX {
        return Err(error::invalid(format!("per_second must be 0 to {PER_SECOND_MAX}")));
    }
    if !wish.acknowledged {
        return Err(super::keystores::unacknowledged("keys in a device can be used there, and not fetched any more: set \"acknowledged\" to true"));
    }
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let moving = to_the_end(async move { keystores.rehome(&by, &wish.from, &wish.to, wish.per_second).await }).await?;
    Ok(axum::Json(view(&moving)))
}

/// Stops a move. What was moved stays moved.
#[utoipa::path(post, path = "/v1/rehome/stop", tag = "keystores", request_body = Stopping, security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The move, which has stopped.", body = RehomeView)))]
async fn stop(acts: Acts, State(api): State<Api>, Wish(wish): Wish<Stopping>) -> Result<axum::Json<RehomeView>, Problem> {
    acts.for_all("a move of keys")?;
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let moving = to_the_end(async move { keystores.stop_rehome(&by, &wish.from, &wish.to).await }).await?;
    Ok(axum::Json(view(&moving)))
}

fn view(moving: &Moving) -> RehomeView {
    let row = &moving.row;
    let left = |left: &Left| LeftView {
        reason: left.reason.clone(),
        count: left.count,
        examples: left.examples.iter().map(ToString::to_string).collect(),
    };
    RehomeView {
        from: moving.from.clone(),
        to: moving.to.clone(),
        state: match row.state {
            RehomingState::Running => "running",
            RehomingState::Stopped => "stopped",
            RehomingState::Done => "done",
        }
        .into(),
        started: milliseconds(row.started_ms),
        ended: row.ended_ms.map(milliseconds),
        per_second: row.per_second,
        total: row.total,
        seen: moving.seen(),
        moved: row.moved,
        kept: row.kept.iter().map(left).collect(),
        failed: row.failed.iter().map(left).collect(),
        rate: moving.rate,
        seconds_left: moving.seconds_left(),
        trouble: row.trouble.clone(),
    }
}
