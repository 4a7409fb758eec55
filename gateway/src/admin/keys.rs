//! Managed objects as administrators see them: metadata, never material. How an object is read is the object layer's
//! matter, behind [`ObjectsAdmin`].

use std::{future::Future, pin::Pin};

use serde::{Deserialize, Serialize};

use super::{Admin, AdminError, AdminReply};
use crate::{
    audit::{Action, Actor, Details},
    store::{ClientId, ObjectId},
};

/// Most objects of one page.
const PAGE_MAX: u32 = 1000;

/// A managed object as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Unique Identifier.
    pub id: String,
    /// Object Type.
    pub object_type: String,
    /// Cryptographic Algorithm, where it has one.
    pub algorithm: Option<String>,
    /// Cryptographic Length, where it has one.
    pub length: Option<i32>,
    /// State, where it has one.
    pub state: Option<String>,
    /// First Name.
    pub name: Option<String>,
    /// Name of the owner.
    pub owner: String,
    /// Name of the keystore.
    pub keystore: String,
}

/// A page of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysPage {
    /// The objects, in order of their identifiers.
    pub keys: Vec<KeyView>,
    /// Where the next page begins: give it as `after`.
    pub next: Option<String>,
    /// Objects whose rows are refused.
    pub refused: Vec<String>,
}

/// An answer that takes its time.
pub type KeysFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, AdminError>> + Send + 'a>>;

/// How the object layer shows and hands over managed objects.
///
/// Contract: no answer holds key material. `chown` commits with its audit event on behalf of `actor`.
pub trait ObjectsAdmin: Send + Sync {
    /// A page of at most `limit` objects in identifier order, of one owner where given.
    fn list(&self, owner: Option<ClientId>, after: Option<ObjectId>, limit: u32) -> KeysFuture<'_, KeysPage>;
    /// Attributes of one object; `None` where there is none.
    fn show(&self, id: ObjectId) -> KeysFuture<'_, Option<serde_json::Value>>;
    /// Gives an object to another client.
    fn chown<'a>(&'a self, id: ObjectId, to: ClientId, actor: &'a Actor) -> KeysFuture<'a, ()>;
    /// Forgets every key and row kept in memory. Operations in parts that are under way have to be begun again.
    fn flush(&self);
}

impl Admin<'_> {
    fn objects(&self) -> Result<&dyn ObjectsAdmin, AdminError> {
        self.app.objects().ok_or_else(|| AdminError::usage("managed objects are not open in this process"))
    }

    pub(super) async fn keys_list(&self, owner: Option<&str>, after: Option<&str>, limit: u32) -> Result<AdminReply, AdminError> {
        if limit == 0 || limit > PAGE_MAX {
            return Err(AdminError::usage(format!("limit must be 1 to {PAGE_MAX}")));
        }
        let owner = owner.map(|name| self.client(name).map(|client| client.id)).transpose()?;
        let after = after.map(identifier).transpose()?;
        Ok(AdminReply::Keys(self.objects()?.list(owner, after, limit).await?))
    }

    pub(super) async fn keys_show(&self, id: &str) -> Result<AdminReply, AdminError> {
        let shown = self.objects()?.show(identifier(id)?).await?;
        shown.map(AdminReply::Key).ok_or_else(|| AdminError::name(format!("there is no object {id}")))
    }

    pub(super) async fn keys_chown(&self, id: &str, to: &str) -> Result<AdminReply, AdminError> {
        let object = self.existing_object(id).await?;
        let to = self.client(to)?.id;
        self.objects()?.chown(object, to, self.actor).await?;
        Ok(AdminReply::Done)
    }

    pub(super) async fn cache_flush(&self) -> Result<AdminReply, AdminError> {
        self.objects()?.flush();
        self.record(self.event(Action::CachesFlushed, Details::None)).await?;
        Ok(AdminReply::Done)
    }
}

fn identifier(text: &str) -> Result<ObjectId, AdminError> {
    text.parse().map_err(|_| AdminError::usage(format!("\"{text}\" is not a Unique Identifier")))
}
