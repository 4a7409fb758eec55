//! `/v1/audit`: who did what, when, from where and why.

use axum::{
    extract::State,
    http::Uri,
    response::Response,
};
use keygate_pki::OffsetDateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Api, body::Asked, caller::Sees, error, page, view::milliseconds};
use crate::{
    audit::{Action, Actor, Details, Event, Outcome, Position, Search, search},
    http::Problem,
    store::{EntryId, OrganisationId},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(find))
}

/// An event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// Its place in the record.
    pub position: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What: `ProvisioningKeyRevoked`, `Create`...
    pub action: String,
    /// `done`, `refused`, `undone` or `unknown`.
    pub outcome: String,
    /// Who.
    pub actor: ActorView,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// In which organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// To which managed object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// More, by kind of event: ids, names, the reason given.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// Who acted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ActorView {
    /// `administrator`, `client`, `local`, `provisioning-key`, `system` or `unidentified`.
    pub kind: String,
    /// Its id: of an entry, or a user id of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name now, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A page of events, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The events.
    pub items: Vec<AuditEvent>,
    /// The `after` of the next page; absent on the last. A page without items may have one: the work of a page is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which events are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Name of an organisation; without it, what the caller may see, which for the default one's is everything.
    #[serde(default)]
    organisation: Option<String>,
    /// Not before this time, RFC 3339.
    #[serde(default)]
    since: Option<String>,
    /// Not after this time, RFC 3339.
    #[serde(default)]
    until: Option<String>,
    /// What was done, such as `ProvisioningKeyRevoked`.
    #[serde(default)]
    action: Option<String>,
    /// Who: a kind, `local:UID`, an id, or the name of an administrator, provisioning key or client.
    #[serde(default)]
    actor: Option<String>,
    /// To what: the id, serial number or name of a managed object, provisioning key, CA, certificate, client, administrator.
    #[serde(default)]
    object: Option<String>,
    /// Most of a page, 1 to 1000. Without it: 100.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the one before.
    #[serde(default)]
    after: Option<String>,
}

/// Searches the audit record, newest first, a page at a time.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(Filter), security(("administrator" = ["security:read"])),
    responses((status = 200, description = "A page; the Link field names the next one.", body = AuditPage)))]
async fn find(sees: Sees, State(api): State<Api>, uri: Uri, Asked(asked): Asked<Filter>) -> Result<Response, Problem> {
    let named = asked.organisation.as_deref().map(|name| api.organisation(&sees, Some(name))).transpose()?;
    let organisation = named.or(sees.organisation);
    let wanted = Search {
        since_ms: asked.since.as_deref().map(|text| moment("since", text)).transpose()?,
        until_ms: asked.until.as_deref().map(|text| moment("until", text)).transpose()?,
        action: asked.action.as_deref().map(action).transpose()?,
        actors: asked.actor.map(|actor| spellings(&api, &actor, organisation)).unwrap_or_default(),
        objects: asked.object.map(|object| spellings(&api, &object, organisation)).unwrap_or_default(),
        organisation,
    };
    let after = asked.after.map(|text| text.parse::<Position>()).transpose().map_err(|error| error::invalid(error.to_string()))?;
    let found = search(&api.store, &wanted, after, page::limit(asked.limit)?).await?;
    let items = found.events.iter().map(|(position, event)| view(&api, *position, event)).collect();
    let next = found.next.map(|position| position.to_string());
    Ok(page::page(&uri, next.as_deref(), &AuditPage { items, next: next.clone() }))
}

fn moment(field: &str, text: &str) -> Result<i64, Problem> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339);
    let moment = parsed.map_err(|_| error::invalid(format!("{field} must be a time such as 2026-01-31T12:00:00Z")))?;
    Ok(i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or_default())
}

fn action(name: &str) -> Result<Action, Problem> {
    let parsed = serde_json::from_value(Value::String(name.into()));
    parsed.map_err(|_| error::invalid("action must be the name of an action as events have it, such as ProvisioningKeyRevoked"))
}

/// How what was named may stand in events: they hold ids, people know names and public ids.
fn spellings(api: &Api, text: &str, organisation: Option<OrganisationId>) -> std::collections::HashSet<String> {
    let mut names = std::collections::HashSet::from([text.to_owned()]);
    let provisioning = &api.provisioning;
    if let Ok(key) = provisioning.key(organisation.unwrap_or(OrganisationId::DEFAULT), text) {
        names.insert(key.row.id.to_string());
    }
    if let Ok(admin) = provisioning.admin(text) {
        names.insert(admin.id.to_string());
    }
    let directory = api.store.directory();
    let clients = directory.clients.values().filter(|client| client.name == text);
    names.extend(clients.map(|client| client.id.to_string()));
    let keystores = directory.keystores.iter().filter(|keystore| keystore.name == text);
    names.extend(keystores.map(|keystore| EntryId::from(keystore.id).to_string()));
    // The simple form of an id, as in addresses of CRLs; and serial numbers with colons.
    if let Ok(id) = uuid::Uuid::try_parse(text) {
        names.insert(id.hyphenated().to_string());
    }
    if let Ok(serial) = text.parse::<crate::store::Serial>() {
        names.insert(serial.to_string());
    }
    names
}

fn view(api: &Api, position: Position, event: &Event) -> AuditEvent {
    let plain = |value: Result<Value, serde_json::Error>| value.unwrap_or_default();
    AuditEvent {
        position: position.to_string(),
        at: milliseconds(event.at_ms),
        action: plain(serde_json::to_value(event.action)).as_str().unwrap_or_default().into(),
        outcome: match event.outcome {
            Outcome::Done => "done",
            Outcome::Refused(_) => "refused",
            Outcome::Undone => "undone",
            Outcome::Unknown => "unknown",
        }
        .into(),
        actor: actor(api, &event.actor),
        source: event.source.map(|source| source.to_string()),
        organisation: event.organisation.map(|id| api.organisation_name(id)),
        object: event.object.map(|object| object.to_string()),
        details: named(api, &event.details, details(plain(serde_json::to_value(&event.details)))),
    }
}

/// The fields of the details; their kind follows from the action.
fn details(value: Value) -> Value {
    match value {
        Value::Object(kinds) => match kinds.into_iter().next() {
            Some((_, fields @ Value::Object(_))) => fields,
            Some((_, text)) => serde_json::json!({ "reason": text }),
            None => Value::Null,
        },
        // "None".
        _ => Value::Null,
    }
}

/// With the names of keystores that the event has by their ids alone.
fn named(api: &Api, event: &Details, mut shown: Value) -> Value {
    if let (Details::Rehome { from, to }, Value::Object(fields)) = (event, &mut shown) {
        for (field, id) in [("from_name", from), ("to_name", to)] {
            let keystore = api.store.directory().keystores.iter().find(|row| EntryId::from(row.id) == *id).map(|row| row.name.clone());
            fields.extend(keystore.map(|name| (field.to_owned(), Value::String(name))));
        }
    }
    shown
}

fn actor(api: &Api, actor: &Actor) -> ActorView {
    let directory = api.store.directory();
    let (kind, id, name) = match actor {
        Actor::Admin(id) => ("administrator", Some(id.to_string()), directory.admins.get(id).map(|admin| admin.name.clone())),
        Actor::Client(id) | Actor::ClientUser(id, _) => {
            ("client", Some(id.to_string()), directory.clients.get(id).map(|client| client.name.clone()))
        }
        Actor::LocalUser(uid) => ("local", Some(uid.to_string()), None),
        Actor::ProvisioningKey(id) => {
            ("provisioning-key", Some(id.to_string()), directory.provisioning_keys.get(id).map(|key| key.name.clone()))
        }
        Actor::System => ("system", None, None),
        Actor::Unidentified => ("unidentified", None, None),
    };
    ActorView { kind: kind.into(), id, name }
}
