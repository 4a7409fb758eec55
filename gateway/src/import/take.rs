//! The server's side: some keys of an import.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{Attributes, ManagedObject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::admin::{AdminError, Password, chain};
use crate::audit::{Action, Details, Event, Outcome};
use crate::identity::Caller;
use crate::operation::{Gateway, Imported, ImportedObject, now_ms};
use crate::provisioning::Deciding;
use crate::store::{Commit, OrganisationId};

/// Keys to take in.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportOrder {
    /// The client that is to own them; without it, the client of the name that each key tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Look and tell, keep nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// What the keys came in, for the audit record.
    pub format: String,
    /// The keys.
    pub items: Vec<ImportItem>,
}

/// One key on its way. No `Debug`: it holds the key.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportItem {
    /// What it is called in reports: its identifier or name in the file.
    pub label: String,
    /// Its identifier in the file. A Unique Identifier is kept where no object has or had it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The client that owned it.
    #[serde(default)]
    pub owner: String,
    /// The object, KMIP TTLV in base64.
    #[schema(value_type = String)]
    pub object: Password,
    /// Its attributes, KMIP TTLV in base64.
    pub attributes: String,
    /// It was compromised.
    #[serde(default)]
    pub compromised: bool,
    /// Other objects of the file that it is linked to. They are not sent with it: those may come later.
    #[serde(skip)]
    pub links: Vec<FileLink>,
}

/// A link as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLink {
    /// KMIP Link Type.
    pub link_type: u32,
    /// Identifier in the file.
    pub to: String,
}

/// One line of a report: what it is called in the file, and its identifier here, or why it was refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// Its name in the file.
    pub label: String,
    /// Its identifier in the file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Identifier or reason; empty in a dry run.
    pub what: String,
}

/// What became of the keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ImportReport {
    /// Taken in.
    pub imported: Vec<Line>,
    /// There already.
    pub duplicates: Vec<Line>,
    /// Refused.
    pub refused: Vec<Line>,
}

/// Takes keys in; each by itself, so that one that is refused does not keep the others out.
///
/// # Errors
/// The store.
pub async fn take(
    gateway: &Arc<Gateway>,
    organisation: OrganisationId,
    by: &Deciding,
    order: ImportOrder,
) -> Result<ImportReport, AdminError> {
    let mut known = gateway.fingerprints(organisation).await.map_err(AdminError::failed)?;
    let mut report = ImportReport::default();
    for item in &order.items {
        let line = |what: String| Line { label: item.label.clone(), id: item.id.clone(), what };
        let taken = async {
            let owner = owner(gateway, organisation, order.owner.as_deref().unwrap_or(&item.owner))?;
            let object = parse(item)?;
            let taken = gateway.import_object(&mut known, &owner, by, &object, order.dry_run).await;
            taken.map_err(|error| chain(&error))
        };
        match taken.await {
            Ok(Imported::Taken(id)) => report.imported.push(line(id.map(|id| id.to_string()).unwrap_or_default())),
            Ok(Imported::Duplicate(id)) => report.duplicates.push(line(id.to_string())),
            Err(why) => report.refused.push(line(why)),
        }
    }
    if !order.dry_run && !report.imported.is_empty() {
        record(gateway, by, organisation, &order.format, report.imported.len()).await?;
    }
    Ok(report)
}

/// Each key has its own event, Register; this one says that they came together.
async fn record(
    gateway: &Gateway,
    by: &Deciding,
    organisation: OrganisationId,
    format: &str,
    count: usize,
) -> Result<(), AdminError> {
    let format = format.chars().take(40).collect();
    let event = Event {
        at_ms: now_ms(),
        actor: by.actor.clone(),
        source: by.source,
        organisation: Some(organisation),
        action: Action::KeysImported,
        object: None,
        outcome: Outcome::Done,
        details: Details::Transfer { format, count: count as u64, recipients: Vec::new() },
    };
    gateway.store.commit(Commit { events: vec![event], ..Commit::default() }).await?;
    Ok(())
}

fn owner(gateway: &Gateway, organisation: OrganisationId, name: &str) -> Result<Caller, String> {
    let directory = gateway.store.directory();
    let client = directory.clients.values().find(|client| client.organisation == organisation && client.name == name);
    let client = client.ok_or_else(|| {
        format!("there is no client \"{}\": name one with --owner", name.chars().take(80).collect::<String>())
    })?;
    if client.disabled {
        return Err(format!("client \"{}\" is disabled: enable it, or name another with --owner", client.name));
    }
    Ok(Caller {
        client: client.id,
        organisation,
        name: client.name.as_str().into(),
        user: None,
        users_required: false,
        groups: Box::default(),
        keystore_default: client.keystore,
        ticket: None,
    })
}

fn parse(item: &ImportItem) -> Result<ImportedObject, String> {
    let octets = |text: &str| STANDARD.decode(text).map(Zeroizing::new).map_err(|_| "it is not base64".to_owned());
    let object = ManagedObject::from_stored_bytes(&octets(&item.object.0)?)
        .map_err(|error| format!("its object cannot be read: {error}"))?;
    let attributes = Attributes::from_stored_bytes(&octets(&item.attributes)?);
    let attributes = attributes.map_err(|error| format!("its attributes cannot be read: {error}"))?;
    Ok(ImportedObject { object, attributes, is_compromised: item.compromised, id: item.id.parse().ok() })
}
