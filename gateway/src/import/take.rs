//! The server's side: some keys of an import.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{Attributes, ManagedObject};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::admin::{AdminError, Password, chain};
use crate::app::App;
use crate::audit::{Action, Actor, Details, Event, Outcome};
use crate::identity::Caller;
use crate::operation::{Gateway, Imported, ImportedObject};
use crate::store::{Commit, OrganisationId};

/// Keys to take in.
#[derive(Serialize, Deserialize)]
pub struct ImportOrder {
    /// The organisation; without it, the default one.
    pub organisation: Option<String>,
    /// The client that is to own them; without it, the client of the name that each key tells.
    pub owner: Option<String>,
    /// Look and tell, keep nothing.
    pub dry_run: bool,
    /// What the keys came in, for the audit record.
    pub format: String,
    /// The keys.
    pub items: Vec<ImportItem>,
}

/// One key on its way. No `Debug`: it holds the key.
#[derive(Serialize, Deserialize)]
pub struct ImportItem {
    /// What it is called in reports: its identifier or name in the file.
    pub label: String,
    /// The client that owned it.
    #[serde(default)]
    pub owner: String,
    /// The object, KMIP TTLV in base64.
    pub object: Password,
    /// Its attributes, KMIP TTLV in base64.
    pub attributes: String,
    /// It was compromised.
    #[serde(default)]
    pub compromised: bool,
}

/// One line of a report: what it is called in the file, and its identifier here, or why it was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Its name in the file.
    pub label: String,
    /// Identifier or reason; empty in a dry run.
    pub what: String,
}

/// What became of the keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
/// An organisation that is not there, the store.
pub async fn take(
    app: &App,
    gateway: &Arc<Gateway>,
    actor: &Actor,
    order: ImportOrder,
) -> Result<ImportReport, AdminError> {
    let organisation = match &order.organisation {
        Some(name) => app.provisioning.organisation(name).map_err(|error| AdminError::name(error.to_string()))?,
        None => OrganisationId::DEFAULT,
    };
    let mut known = gateway.fingerprints(organisation).await.map_err(AdminError::failed)?;
    let mut report = ImportReport::default();
    for item in &order.items {
        let line = |what: String| Line { label: item.label.clone(), what };
        let taken = async {
            let owner = owner(app, organisation, order.owner.as_deref().unwrap_or(&item.owner))?;
            let object = parse(item)?;
            let taken = gateway.import_object(&mut known, &owner, actor, &object, order.dry_run).await;
            taken.map_err(|error| chain(&error))
        };
        match taken.await {
            Ok(Imported::Taken(id)) => report.imported.push(line(id.map(|id| id.to_string()).unwrap_or_default())),
            Ok(Imported::Duplicate(id)) => report.duplicates.push(line(id.to_string())),
            Err(why) => report.refused.push(line(why)),
        }
    }
    if !order.dry_run && !report.imported.is_empty() {
        record(app, actor, organisation, &order.format, report.imported.len()).await?;
    }
    Ok(report)
}

/// Each key has its own event, Register; this one says that they came together.
async fn record(
    app: &App,
    actor: &Actor,
    organisation: OrganisationId,
    format: &str,
    count: usize,
) -> Result<(), AdminError> {
    let format = format.chars().take(40).collect();
    let event = Event {
        at_ms: app.now_ms(),
        actor: actor.clone(),
        source: None,
        organisation: Some(organisation),
        action: Action::KeysImported,
        object: None,
        outcome: Outcome::Done,
        details: Details::Transfer { format, count: count as u64, recipients: Vec::new() },
    };
    app.store.commit(Commit { events: vec![event], ..Commit::default() }).await?;
    Ok(())
}

fn owner(app: &App, organisation: OrganisationId, name: &str) -> Result<Caller, String> {
    let directory = app.store.directory();
    let client = directory.clients.values().find(|client| client.organisation == organisation && client.name == name);
    let client = client.ok_or_else(|| {
        format!("there is no client \"{}\": name one with --owner", name.chars().take(80).collect::<String>())
    })?;
    Ok(Caller {
        client: client.id,
        organisation,
        name: client.name.as_str().into(),
        user: None,
        users_required: false,
        groups: Box::default(),
        keystore_default: client.keystore,
    })
}

fn parse(item: &ImportItem) -> Result<ImportedObject, String> {
    let octets = |text: &str| STANDARD.decode(text).map(Zeroizing::new).map_err(|_| "it is not base64".to_owned());
    let object = ManagedObject::from_stored_bytes(&octets(&item.object.0)?)
        .map_err(|error| format!("its object cannot be read: {error}"))?;
    let attributes = Attributes::from_stored_bytes(&octets(&item.attributes)?);
    let attributes = attributes.map_err(|error| format!("its attributes cannot be read: {error}"))?;
    Ok(ImportedObject { object, attributes, is_compromised: item.compromised })
}
