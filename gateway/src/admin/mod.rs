//! What administrators do from the command line: one [`AdminRequest`], one [`handle`], used by the running server's socket
//! (`D/run/admin.sock`) and by a command that opens the data directory alone.
//!
//! Every change is committed with its audit event and is in force when the answer is sent. Left to others: the command
//! line's form (cli), who may do what to an object (authorize), how objects look (the [`ObjectsAdmin`] seam).

mod clients;
mod connect;
mod endpoints;
mod grants;
mod groups;
mod keys;
mod lookup;
mod reply;
mod request;
mod seals;
mod socket;
mod stream;
mod users;

pub use connect::{ConnectError, send, send_for_stream};
pub use keys::{KeyView, KeysFuture, KeysPage, ObjectsAdmin};
pub use reply::{
    AdminError, AdminReply, CertificateView, ClientView, EndpointView, ErrorClass, GrantView, GroupView, IssuedView, RotatedView, SealStatusView, SealView,
    SharesView, UnsealView, UserView, chain,
};
pub use stream::{DataSink, Progress, ProgressSink, StreamItem, handle_stream, stream_here};
pub use request::{AdminRequest, GrantTarget, NewCredential, NewSealSlot, Password, Recipients};
pub use seals::Made;
pub use socket::{AdminSocket, Answering};

use crate::{
    api::{self, Api, ApiCaller, LocalRequest},
    app::App,
    audit::{Action, Actor, Details, Event, Outcome},
    store::{Change, Commit, OrganisationId},
};

/// Does what is asked, on behalf of `actor`.
pub async fn handle(app: &App, actor: &Actor, request: AdminRequest) -> Result<AdminReply, AdminError> {
    let admin = Admin { app, actor };
    match request {
        AdminRequest::Api(request) => admin.api(request).await,
        AdminRequest::AuditVerify => admin.audit_verify().await,
        AdminRequest::Backup { .. } | AdminRequest::Export { .. } => Err(AdminError::usage("this request is answered by a stream")),
        AdminRequest::CacheFlush => admin.cache_flush().await,
        AdminRequest::ClientAdd { name, credential, keystore } => admin.client_add(&name, credential, keystore.as_deref()).await,
        AdminRequest::ClientDisable { name } => admin.client_enable(&name, false).await,
        AdminRequest::ClientEnable { name } => admin.client_enable(&name, true).await,
        AdminRequest::ClientKeystore { name, keystore } => admin.client_keystore(&name, keystore.as_deref()).await,
        AdminRequest::ClientList => Ok(admin.client_list()),
        AdminRequest::ClientRenew { name, credential } => admin.client_renew(&name, credential).await,
        AdminRequest::EndpointList => Ok(admin.endpoint_list()),
        AdminRequest::EndpointQuery { client, functions } => admin.endpoint_query(&client, &functions).await,
        AdminRequest::EndpointVersions { client } => admin.endpoint_versions(&client).await,
        AdminRequest::GrantAdd { target, to, operations } => admin.grant_add(&target, &to, operations).await,
        AdminRequest::GrantList => Ok(admin.grant_list()),
        AdminRequest::GrantRemove { id } => admin.grant_remove(&id).await,
        AdminRequest::GroupAdd { name, members } => admin.group_add(&name, &members).await,
        AdminRequest::GroupList => Ok(admin.group_list()),
        AdminRequest::GroupRemove { name, members } => admin.group_remove(&name, &members).await,
        AdminRequest::KeysChown { id, to } => admin.keys_chown(&id, &to).await,
        AdminRequest::KeysList { owner, after, limit } => admin.keys_list(owner.as_deref(), after.as_deref(), limit).await,
        AdminRequest::KeysShow { id } => admin.keys_show(&id).await,
        AdminRequest::SealAdd { slot } => admin.seal_add(slot).await,
        AdminRequest::SealPolicy { needed, passphrases } => admin.seal_policy(needed, passphrases).await,
        AdminRequest::SealRemove { id } => admin.seal_remove(id).await,
        AdminRequest::SealRotate => admin.seal_rotate().await,
        AdminRequest::SealStatus => admin.seal_status(),
        AdminRequest::Unseal { .. } | AdminRequest::UnsealPassphrase { .. } | AdminRequest::UnsealReset => {
            Err(AdminError { class: ErrorClass::Failed, message: "the store is open: there is nothing to unseal".into() })
        }
        AdminRequest::UserAdd { client, user, password } => admin.user_add(&client, &user, &password).await,
        AdminRequest::UserList { client } => admin.user_list(&client),
        AdminRequest::UserRemove { client, user } => admin.user_remove(&client, &user).await,
    }
}

/// One request under way.
struct Admin<'a> {
    app: &'a App,
    actor: &'a Actor,
}

impl Admin<'_> {
    /// Commits changes with their event and puts them in force.
    async fn commit(&self, changes: Vec<Change>, events: Vec<Event>) -> Result<AdminReply, AdminError> {
        self.app.store.commit(Commit { changes, events, erases: false }).await?;
        self.app.refresh_directory();
        Ok(AdminReply::Done)
    }

    /// Commits an event of something that changes no row.
    async fn record(&self, event: Event) -> Result<(), AdminError> {
        self.app.store.commit(Commit { events: vec![event], ..Commit::default() }).await?;
        Ok(())
    }

    fn event(&self, action: Action, details: Details) -> Event {
        Event {
            at_ms: self.app.now_ms(),
            actor: self.actor.clone(),
            source: None,
            organisation: Some(OrganisationId::DEFAULT),
            action,
            object: None,
            outcome: Outcome::Done,
            details,
        }
    }

    async fn api(&self, request: LocalRequest) -> Result<AdminReply, AdminError> {
        let caller = ApiCaller::local(self.actor.clone());
        let answer = api::call(Api::of(self.app), caller, request).await;
        answer.map(AdminReply::Api).ok_or_else(|| AdminError::usage("this is no request to the admin API"))
    }

    async fn audit_verify(&self) -> Result<AdminReply, AdminError> {
        let report = self.app.store.verify_audit().await.map_err(AdminError::failed)?;
        Ok(report.into())
    }
}
