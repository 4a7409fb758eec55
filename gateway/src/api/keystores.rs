//! `/v1/keystores`: keystores, from draft to retired. They are the whole gateway's: administrators of one organisation see none.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use keygate_backends::{Health, Locked, group::MemberStatus};
use keygate_pki::OffsetDateTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    body::Wish,
    caller::{Acts, Sees},
    change::to_the_end,
    error,
    etag::{IfMatch, Tagged},
    page::List,
    view::milliseconds,
};
use crate::{
    http::Problem,
    keystores::{Found, KeystoreError, KeystorePatch, NewKeystore, Status, secret_days, table_of, warnings},
    seal::SecretText,
    store::{KeystoreTest, StepOutcome, TestStep},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, change))
        .routes(routes!(status))
        .routes(routes!(test))
        .routes(routes!(activate))
        .routes(routes!(drain))
        .routes(routes!(retry))
        .routes(routes!(remove))
}

/// A keystore. Its secret is never shown.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeystoreView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `local`, `pkcs11`...
    pub kind: String,
    /// `draft`, `tested`, `active` or `draining`; `absent`: keygate.toml named it once.
    pub state: String,
    /// Since when; absent for those of keygate.toml.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<OffsetDateTime>,
    /// Who changes it: `settings file` or `administrators`.
    pub managed_by: String,
    /// New keys go there where nothing else is said.
    pub default: bool,
    /// The keys of its `[[keystore]]` table.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// A PIN or password is sealed in the store.
    pub secret: bool,
    /// Since when it has this secret.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub secret_since: Option<OffsetDateTime>,
    /// Days since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_days: Option<i64>,
    /// Its last test, if it was of the keystore as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestView>,
    /// Managed objects there, destroyed ones not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// What its settings leave open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What a test found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TestView {
    /// `success` or `failed`.
    pub outcome: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The steps, in order; those after a failed one were not tried.
    pub steps: Vec<StepView>,
    /// What the device says it is.
    pub device: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Microseconds that looking up a key took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_us: Option<u64>,
}

/// One step of a test.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// `ok`, `failed` or `not-needed`.
    pub outcome: String,
    /// Milliseconds it took.
    pub ms: u64,
    /// What was found, or what failed.
    pub text: String,
    /// What to do about a failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// How a keystore does.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeystoreStatus {
    /// Its name.
    pub name: String,
    /// `draft`, `tested`, `active`, `draining` or `absent`.
    pub state: String,
    /// `up`, `down`, `needs operator`, or `not open`.
    pub health: String,
    /// Why it is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Sessions or connections with the device, where it has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Calls that wait for a session, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<u32>,
    /// How often the device was opened since the start.
    pub generation: u64,
    /// Worker processes that are logged in, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// What of the workers' memory stays out of swap devices: `everything`, `at login` (what there was then), `nothing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<String>,
    /// When it last got its small test.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub checked: Option<OffsetDateTime>,
    /// Why that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_failure: Option<String>,
    /// Microseconds that it took.
    #[serde(default)]
    pub check_us: u64,
    /// Small tests since the start.
    #[serde(default)]
    pub checks: u64,
    /// Those that failed.
    #[serde(default)]
    pub checks_failed: u64,
    /// Calls answered since the start.
    pub calls: u64,
    /// Calls that wait for their answer.
    pub calls_under_way: u64,
    /// Microseconds of a call, the newest ones counting most.
    pub recent_us: u64,
    /// Microseconds of the longest call since the start.
    pub longest_us: u64,
    /// Calls that failed by the keystore's fault, by class.
    pub failures: BTreeMap<String, u64>,
    /// Microseconds that looking up a key takes: of late, or in the last test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_us: Option<u64>,
    /// When the last test was.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub tested: Option<OffsetDateTime>,
    /// How the last test ended: `success` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Managed objects there, destroyed ones not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Members of a group, in the order of configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberView>,
    /// What an operator has to do, the most urgent first.
    pub todo: Vec<String>,
}

/// A member of a group.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Its name.
    pub name: String,
    /// `serving`, `suspect`, `away` or `refused`.
    pub state: String,
    /// Why it does not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Keys that it has and that are known to be right.
    pub keys: u64,
    /// Keys that it lacks, or that were not compared yet.
    pub lacking: u64,
    /// Other keys under ids of the group's.
    pub differing: u64,
    /// Seconds since it passed its self-test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested_seconds_ago: Option<u64>,
    /// Calls that went on to the next member.
    pub failovers: u64,
}

/// A keystore to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Adding {
    /// 1 to 64 letters, digits, hyphens or underscores.
    name: String,
    /// `local`, `pkcs11`...
    kind: String,
    /// The keys of a `[[keystore]]` table of keygate.toml, without name and kind.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// PIN or password; it is sealed in the store and never shown.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    secret: Option<SecretText>,
}

/// What changes. What is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changing {
    /// Settings that replace those of the same name; null takes one away.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// Another PIN or password.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    secret: Option<SecretText>,
}

/// A test.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Test {
    /// Also with a secret that the keystore has refused before: devices lock after a few wrong ones.
    #[serde(default)]
    again: bool,
}

/// An activation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Activation {
    /// The keystore's name, once more: new keys go there from now on.
    #[serde(default)]
    confirm: String,
    /// Only what names the keystore goes there; the default stays where it is.
    #[serde(default)]
    keep_default: bool,
}

/// Nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Lists keystores by name: those of keygate.toml and those that administrators added.
#[utoipa::path(get, path = "/v1/keystores", tag = "keystores", security(("administrator" = ["security:read"])),
    responses((status = 200, description = "All keystores.", body = List<KeystoreView>)))]
async fn list(sees: Sees, State(api): State<Api>) -> Result<axum::Json<List<KeystoreView>>, Problem> {
    sees.for_all("a keystore")?;
    let counts = api.store.keystore_objects().await?;
    let items = api.keystores.list().into_iter().map(|found| {
        let objects = counts.get(&found.row.id).copied().unwrap_or_default();
        view(&found, Some(objects))
    });
    Ok(axum::Json(List { items: items.collect() }))
}

/// Shows a keystore.
#[utoipa::path(get, path = "/v1/keystores/{name}", tag = "keystores", params(Name), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "The keystore.", body = KeystoreView)))]
async fn show(sees: Sees, State(api): State<Api>, Path(name): Path<String>) -> Result<Tagged<KeystoreView>, Problem> {
    sees.for_all("a keystore")?;
    let found = api.keystores.find(&name)?;
    let counts = api.store.keystore_objects().await?;
    let objects = counts.get(&found.row.id).copied().unwrap_or_default();
    Ok(Tagged::new(found.row.version, view(&found, Some(objects))))
}

/// Shows how a keystore does and what an operator has to do. No device is touched.
#[utoipa::path(get, path = "/v1/keystores/{name}/status", tag = "keystores", params(Name),
    security(("administrator" = ["security:read"])), responses((status = 200, description = "How it does.", body = KeystoreStatus)))]
async fn status(sees: Sees, State(api): State<Api>, Path(name): Path<String>) -> Result<axum::Json<KeystoreStatus>, Problem> {
    sees.for_all("a keystore")?;
    let found = api.keystores.find(&name)?;
    api.keystores.count().await?;
    Ok(axum::Json(status_view(&api.keystores.status(found))))
}

/// Adds a keystore as a draft: it is tested, then activated.
#[utoipa::path(post, path = "/v1/keystores", tag = "keystores", request_body = Adding, security(("administrator" = ["security:write"])),
    responses((status = 201, description = "The keystore.", body = KeystoreView), (status = 409, description = "The name is taken.")))]
async fn add(acts: Acts, State(api): State<Api>, Wish(wish): Wish<Adding>) -> Result<Tagged<KeystoreView>, Problem> {
    acts.for_all("a keystore")?;
    let settings = wish.settings.into_iter().map(|(key, value)| Ok((key.clone(), setting(&key, value)?)));
    let settings = settings.collect::<Result<_, Problem>>()?;
    let new = NewKeystore { name: wish.name, kind: wish.kind, settings, secret: wish.secret };
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let made = to_the_end(async move { keystores.add(&by, new).await }).await?;
    Ok(Tagged::created(made.row.version, view(&made, Some(0))))
}

/// Changes settings or secret. A keystore that is not in use has to be tested again; one in use is tested with them first, and
/// served with them at once. What says where the secret is sent changes only with the secret.
#[utoipa::path(patch, path = "/v1/keystores/{name}", tag = "keystores", params(Name), request_body = Changing,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The keystore.", body = KeystoreView),
        (status = 409, description = "The secret must be given with it; or it is in use, and the test of the change failed.")))]
async fn change(
    acts: Acts,
    State(api): State<Api>,
    Path(name): Path<String>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Changing>,
) -> Result<Tagged<KeystoreView>, Problem> {
    acts.for_all("a keystore")?;
    let settings = wish.settings.into_iter().map(|(key, value)| {
        let value = if value.is_null() { None } else { Some(setting(&key, value)?) };
        Ok((key, value))
    });
    let patch = KeystorePatch { settings: settings.collect::<Result<_, Problem>>()?, secret: wish.secret };
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let found = to_the_end(async move { keystores.change(&by, &name, patch, seen).await }).await?;
    Ok(Tagged::new(found.row.version, view(&found, None)))
}

/// Tests a keystore step by step and records what was found: resolve, connect, TLS, log in, capabilities, probe key. Those of
/// keygate.toml too.
#[utoipa::path(post, path = "/v1/keystores/{name}/test", tag = "keystores", params(Name), request_body = Test,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The keystore with its test; a failed step is an answer too.", body = KeystoreView)))]
async fn test(acts: Acts, State(api): State<Api>, Path(name): Path<String>, Wish(wish): Wish<Test>) -> Result<Tagged<KeystoreView>, Problem> {
    acts.for_all("a keystore")?;
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let (found, test) = to_the_end(async move { keystores.test(&by, &name, wish.again).await }).await?;
    // One of the settings file keeps no record of it.
    Ok(Tagged::new(found.row.version, KeystoreView { test: Some(test_view(&test)), ..view(&found, None) }))
}

/// Lets new keys go to a keystore whose test succeeded. Existing keys stay where they are and stay usable.
#[utoipa::path(post, path = "/v1/keystores/{name}/activate", tag = "keystores", params(Name), request_body = Activation,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "The keystore.", body = KeystoreView),
        (status = 409, description = "It was not tested as it is, or is active already."),
        (status = 422, description = "Its name was not confirmed.")))]
async fn activate(
    acts: Acts,
    State(api): State<Api>,
    Path(name): Path<String>,
    IfMatch(seen): IfMatch,
    Wish(wish): Wish<Activation>,
) -> Result<Tagged<KeystoreView>, Problem> {
    acts.for_all("a keystore")?;
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let work = async move { keystores.activate(&by, &name, &wish.confirm, wish.keep_default, seen).await };
    let found = to_the_end(work).await?;
    Ok(Tagged::new(found.row.version, view(&found, None)))
}

/// Lets no new keys go to a keystore any more; those it has stay usable.
#[utoipa::path(post, path = "/v1/keystores/{name}/drain", tag = "keystores", params(Name), request_body = Nothing,
    security(("administrator" = ["security:write"])), responses((status = 200, description = "The keystore.", body = KeystoreView)))]
async fn drain(
    acts: Acts,
    State(api): State<Api>,
    Path(name): Path<String>,
    IfMatch(seen): IfMatch,
    Wish(Nothing {}): Wish<Nothing>,
) -> Result<Tagged<KeystoreView>, Problem> {
    acts.for_all("a keystore")?;
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let found = to_the_end(async move { keystores.drain(&by, &name, seen).await }).await?;
    Ok(Tagged::new(found.row.version, view(&found, None)))
}

/// Lets a keystore that stopped at a refused PIN or password offer it once more; of one of keygate.toml the file with it is read anew.
#[utoipa::path(post, path = "/v1/keystores/{name}/retry", tag = "keystores", params(Name), request_body = Nothing,
    security(("administrator" = ["security:write"])),
    responses((status = 200, description = "It was accepted: the keystore.", body = KeystoreView),
        (status = 409, description = "It has refused nothing, or is being tested."), (status = 503, description = "It was refused again, or there was no answer.")))]
async fn retry(
    acts: Acts,
    State(api): State<Api>,
    Path(name): Path<String>,
    Wish(Nothing {}): Wish<Nothing>,
) -> Result<Tagged<KeystoreView>, Problem> {
    acts.for_all("a keystore")?;
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    let found = to_the_end(async move { keystores.retry(&by, &name).await }).await?;
    Ok(Tagged::new(found.row.version, view(&found, None)))
}

/// Forgets a keystore that nothing refers to any more, and its secret with it.
#[utoipa::path(post, path = "/v1/keystores/{name}/remove", tag = "keystores", params(Name), request_body = Nothing,
    security(("administrator" = ["security:write"])),
    responses((status = 204, description = "It is gone."), (status = 409, description = "It is in use: by how many objects, and what else.")))]
async fn remove(
    acts: Acts,
    State(api): State<Api>,
    Path(name): Path<String>,
    IfMatch(seen): IfMatch,
    Wish(Nothing {}): Wish<Nothing>,
) -> Result<StatusCode, Problem> {
    acts.for_all("a keystore")?;
    let (by, keystores) = (acts.deciding.clone(), api.keystores.clone());
    to_the_end(async move { keystores.remove(&by, &name, seen).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A keystore in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
struct Name {
    /// Name of the keystore.
    name: String,
}

fn setting(key: &str, value: Value) -> Result<toml::Value, Problem> {
    let shown: String = key.chars().take(80).collect();
    toml::Value::try_from(value).map_err(|_| error::invalid(format!("setting \"{shown}\" has a value that settings do not take")))
}

fn state(found: &Found) -> &'static str {
    match &found.row.managed {
        Some(managed) => managed.state.name(),
        None if found.of_the_file => "active",
        None => "absent",
    }
}

fn view(found: &Found, objects: Option<u64>) -> KeystoreView {
    let managed = found.row.managed.as_deref();
    let secret = managed.filter(|managed| managed.secret.is_some());
    let settings = managed.map(|managed| serde_json::to_value(table_of(&managed.settings)));
    KeystoreView {
        id: found.row.id.to_string(),
        name: found.row.name.clone(),
        kind: found.row.kind.clone(),
        state: state(found).into(),
        since: managed.map(|managed| milliseconds(managed.state.since_ms())),
        managed_by: if managed.is_some() { "administrators" } else { "settings file" }.into(),
        default: found.is_default,
        settings: match settings {
            Some(Ok(Value::Object(settings))) => settings,
            _ => Map::new(),
        },
        secret: secret.is_some(),
        secret_since: secret.map(|managed| milliseconds(managed.secret_since_ms)),
        secret_days: secret.map(|managed| secret_days(managed.secret_since_ms)),
        test: managed.and_then(|managed| managed.test.as_ref()).map(test_view),
        objects,
        warnings: warnings(&found.row),
    }
}

fn outcome(test: &KeystoreTest) -> &'static str {
    if test.passed { "success" } else { "failed" }
}

fn test_view(test: &KeystoreTest) -> TestView {
    let step = |step: &TestStep| StepView {
        name: step.name.clone(),
        outcome: match step.outcome {
            StepOutcome::Ok => "ok",
            StepOutcome::Failed => "failed",
            StepOutcome::NotNeeded => "not-needed",
        }
        .into(),
        ms: step.ms,
        text: step.text.clone(),
        hint: step.hint.clone(),
    };
    TestView {
        outcome: outcome(test).into(),
        at: milliseconds(test.at_ms),
        steps: test.steps.iter().map(step).collect(),
        device: test.device.clone(),
        capabilities: test.can.clone(),
        find_us: test.find_us,
    }
}

fn status_view(status: &Status) -> KeystoreStatus {
    let (health, reason) = match &status.health {
        None => ("not open", None),
        Some(Health::Up) => ("up", None),
        Some(Health::Down(reason)) => ("down", Some(reason.clone())),
        Some(Health::NeedsOperator(reason)) => ("needs operator", Some(reason.clone())),
    };
    let test = status.found.row.managed.as_ref().and_then(|managed| managed.test.as_ref());
    KeystoreStatus {
        name: status.found.row.name.clone(),
        state: state(&status.found).into(),
        health: health.into(),
        reason,
        sessions: status.figures.sessions,
        queued: status.figures.queued,
        generation: status.figures.generation.unwrap_or(status.returns + u64::from(status.health.is_some())),
        workers: status.figures.workers,
        locked: status.figures.locked.map(|locked| {
            match locked {
                Locked::Everything => "everything",
                Locked::AtLogin => "at login",
                Locked::Nothing => "nothing",
            }
            .into()
        }),
        checked: status.checked.at_ms.map(milliseconds),
        check_failure: status.checked.failure.clone(),
        check_us: status.checked.took_us,
        checks: status.checked.done,
        checks_failed: status.checked.failed,
        calls: status.noted.calls,
        calls_under_way: status.noted.under_way,
        recent_us: status.noted.micros_recent,
        longest_us: status.noted.micros_max,
        failures: status.noted.failures.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect(),
        find_us: status.figures.find_us.or_else(|| test.and_then(|test| test.find_us)),
        tested: test.map(|test| milliseconds(test.at_ms)),
        test: test.map(|test| outcome(test).into()),
        objects: status.objects,
        members: status.members.iter().map(member_view).collect(),
        todo: status.todo.clone(),
    }
}

fn member_view(member: &MemberStatus) -> MemberView {
    MemberView {
        name: member.name.clone(),
        state: member.state.word().into(),
        reason: member.state.reason().map(str::to_owned),
        keys: member.keys,
        lacking: member.lacking,
        differing: member.differing,
        tested_seconds_ago: member.tested.map(|age| age.as_secs()),
        failovers: member.failovers,
    }
}

/// 422: what the act means was not acknowledged.
pub(super) fn unacknowledged(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "acknowledgement-required", "acknowledgement required", text)
}

impl From<KeystoreError> for Problem {
    /// Exhaustive on purpose: a new refusal must be given its status here.
    fn from(error: KeystoreError) -> Self {
        let text = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, "conflict", text.clone());
        match error {
            KeystoreError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not-found", "not found", text),
            KeystoreError::NameTaken(_) => conflict("name-taken"),
            KeystoreError::Invalid(_) | KeystoreError::Settings(_) | KeystoreError::File(_) => error::invalid(text),
            KeystoreError::SecretNeeded { .. } => conflict("secret-needed"),
            KeystoreError::NotChanged { .. } => conflict("test-failed"),
            KeystoreError::OfTheFile(_) => conflict("settings-file"),
            KeystoreError::State { .. } => conflict("state"),
            KeystoreError::Conflict(_) => conflict("in-use"),
            KeystoreError::RefusedBefore(_) => conflict("refused-before"),
            KeystoreError::Unconfirmed(_) => unacknowledged(text),
            KeystoreError::Changed => error::changed(),
            KeystoreError::Open { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, "keystore-away", "service unavailable", text),
            KeystoreError::NotServing(_) => conflict("not-serving"),
            KeystoreError::Store(error) => error.into(),
            KeystoreError::Read(error) => error.into(),
        }
    }
}
