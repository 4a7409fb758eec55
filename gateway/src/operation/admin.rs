//! Managed objects as administrators see and hand them over. Metadata only: no path here reaches key material.

use keygate_kmip::{Attribute, AttributeInstance, xml::ValueText};
use serde_json::{Value, json};

use super::Gateway;
use crate::admin::{AdminError, KeyView, KeysFuture, KeysPage, ObjectsAdmin};
use crate::audit::{Action, Actor, Details, Event, Outcome};
use crate::object::{Object, OpenedRecord};
use crate::store::{Change, ClientId, Commit, LocateQuery, ObjectId, ObjectRow, OrganisationId};

impl ObjectsAdmin for Gateway {
    fn list(&self, owner: Option<ClientId>, after: Option<ObjectId>, limit: u32) -> KeysFuture<'_, KeysPage> {
        Box::pin(self.list_keys(owner, after, limit))
    }

    fn show(&self, id: ObjectId) -> KeysFuture<'_, Option<Value>> {
        Box::pin(self.show_key(id))
    }

    fn chown<'a>(&'a self, id: ObjectId, to: ClientId, actor: &'a Actor) -> KeysFuture<'a, ()> {
        Box::pin(self.change_owner(id, to, actor))
    }

    fn flush(&self) {
        self.flush_keys();
    }
}

impl Gateway {
    async fn list_keys(&self, owner: Option<ClientId>, after: Option<ObjectId>, limit: u32) -> Result<KeysPage, AdminError> {
        let query = LocateQuery {
            organisation: OrganisationId::DEFAULT,
            owners: owner.map(|owner| vec![owner]),
            objects: Vec::new(),
            states: Vec::new(),
            object_types: Vec::new(),
            tokens: Vec::new(),
            after,
            limit,
        };
        let page = self.store.locate(&query).await.map_err(AdminError::failed)?;
        let mut keys = Vec::with_capacity(page.rows.len());
        let mut refused: Vec<String> = page.refused.iter().map(ToString::to_string).collect();
        for row in &page.rows {
            match self.opened(row) {
                Ok((object, _)) => keys.push(self.view(&object)),
                Err(_) => refused.push(row.id.to_string()),
            }
        }
        Ok(KeysPage { keys, next: page.next.map(|id| id.to_string()), refused })
    }

    async fn show_key(&self, id: ObjectId) -> Result<Option<Value>, AdminError> {
        let Some(row) = self.store.object(id).await.map_err(AdminError::failed)? else { return Ok(None) };
        let (object, _) = self.opened(&row)?;
        let attributes: Vec<Value> = object.all_attributes().map(|instance| described(&instance)).collect();
        let mut shown = serde_json::to_value(self.view(&object)).map_err(AdminError::failed)?;
        shown["version"] = json!(row.version.0);
        shown["attributes"] = Value::Array(attributes);
        Ok(Some(shown))
    }

    async fn change_owner(&self, id: ObjectId, to: ClientId, actor: &Actor) -> Result<(), AdminError> {
        let row = self.store.object(id).await.map_err(AdminError::failed)?;
        let row = row.ok_or_else(|| AdminError::name(format!("there is no object {id}")))?;
        let (mut object, record) = self.opened(&row)?;
        object.owner = to;
        let material = record.material().map_err(AdminError::failed)?;
        let after = object.seal(row.version.next(), &self.keyring, self.policy.unique_names, &material);
        let event = Event {
            at_ms: crate::operation::now_ms(),
            actor: actor.clone(),
            source: None,
            organisation: Some(object.organisation),
            action: Action::ObjectOwnerChanged,
            object: Some(id),
            outcome: Outcome::Done,
            details: Details::None,
        };
        let commit = Commit { changes: vec![Change::UpdateObject { before: row, after }], events: vec![event], erases: false };
        self.store.commit(commit).await.map(drop).map_err(AdminError::failed)
    }

    fn opened(&self, row: &ObjectRow) -> Result<(Object, OpenedRecord), AdminError> {
        Object::open(row, &self.keyring, crate::operation::now_ms() / 1000).map_err(AdminError::failed)
    }

    fn view(&self, object: &Object) -> KeyView {
        let name = object.attributes.find(|attribute| match attribute {
            Attribute::Name(name) => Some(name.value.clone()),
            _ => None,
        });
        let directory = self.store.directory();
        let owner = directory.clients.get(&object.owner).map(|client| client.name.clone());
        let user = || directory.users.iter().find(|user| user.id.0 == object.owner.0).map(|user| user.name.clone());
        KeyView {
            id: object.id.to_string(),
            object_type: object.object_type.to_string(),
            algorithm: object.attributes.cryptographic_algorithm().map(|algorithm| algorithm.to_string()),
            length: object.attributes.cryptographic_length(),
            state: object.has_state().then(|| object.lifecycle.to_kmip().to_string()),
            name,
            owner: owner.or_else(user).unwrap_or_else(|| object.owner.to_string()),
            keystore: self.keystores.name(object.keystore).map_or_else(|| "(not configured)".to_owned(), |name| name.to_string()),
        }
    }
}

/// An attribute for people and scripts: its name, its index, and its value in the words of the standard.
fn described(instance: &AttributeInstance) -> Value {
    let name = instance.attribute.name().to_text();
    json!({ "name": name, "index": instance.index.unwrap_or(0), "value": value_of(ValueText::of(&instance.attribute)) })
}

fn value_of(text: ValueText) -> Value {
    let fields = match text {
        ValueText::Text(text) => return Value::String(text),
        ValueText::Fields(fields) => fields,
    };
    let mut object = serde_json::Map::new();
    for (name, value) in fields {
        let value = value_of(value);
        match object.get_mut(&name) {
            None => drop(object.insert(name, value)),
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(object)
}
