//! The operations, one file each, in no protocol's terms. This file is their table of contents: what they work with, and
//! the single dispatch.
//!
//! Requests and answers are the version-neutral payloads of the KMIP crate: its nouns are the domain's. Protocol fronts
//! translate to them and back.

mod activate;
mod adjust_attribute;
mod admin;
mod archive;
pub(crate) mod asynchronous;
mod certify;
mod change_attribute;
mod check;
mod create;
mod create_key_pair;
mod create_split_key;
mod decrypt;
mod derive_key;
mod destroy;
mod encrypt;
mod endpoint_role;
mod error;
mod exchange;
mod export;
mod generate;
mod get;
mod get_attributes;
mod get_usage_allocation;
mod groups;
mod hash;
mod import;
mod import_object;
pub(crate) mod intent;
mod join_split_key;
mod key;
mod keystores;
mod locate;
mod login;
mod mac;
mod mac_verify;
mod new_object;
mod obtain_lease;
mod pkcs11;
mod policy;
mod proof;
pub(crate) mod push;
mod query;
mod re_key;
mod re_key_key_pair;
pub(crate) mod rehome;
mod register;
mod revoke;
mod rng;
mod sign;
mod signature_verify;
mod split_key;
mod stream;
mod validate;
mod wrap;

#[cfg(test)]
mod tests;

pub use error::OperationError;
pub use exchange::Exchange;
pub use import::{Fingerprints, Imported, ImportedObject};
pub use intent::{InFlight, Reconciled, reconcile};
pub use keystores::{InUse, Keystores};
pub use policy::{AsynchronousPolicy, GroupDefault, Policy, RngSeed};

use std::sync::Arc;

use arc_swap::ArcSwap;
use keygate_kmip::{Operation, RequestPayload, ResponsePayload};
use tokio::sync::Semaphore;

use crate::audit::Action;
use crate::authorize::Grants;
use crate::notify::Notices;
use crate::seal::Keyring;
use crate::store::Store;
use crate::ticket::Tickets;

/// What operations work with.
pub struct Gateway {
    /// Objects, directory, audit.
    pub store: Store,
    /// Opens and seals records.
    pub keyring: Arc<Keyring>,
    /// Where keys are made, used and kept.
    pub keystores: Keystores,
    /// Settings that operations obey.
    pub policy: Policy,
    /// Intents of running messages.
    in_flight: Arc<InFlight>,
    /// Turns for work that takes a processor for long, making RSA keys: the async workers are not to starve.
    long_work: Semaphore,
    /// Turns for work of milliseconds: RSA private operations.
    slow_work: Semaphore,
    /// Parsed key pairs.
    prepared_keys: key::PreparedKeys,
    /// Operations in parts that are under way.
    streams: Arc<stream::Streams>,
    /// Requests that are answered later.
    asynchronous: Arc<asynchronous::Asynchronous>,
    /// Which member of a group was handed out last.
    group_turns: Arc<groups::GroupTurns>,
    /// Who is told what happens.
    pub(crate) notices: Notices,
    /// What clients have seeded.
    seed_pool: rng::SeedPool,
    /// What clients log in with for a while.
    pub tickets: Arc<Tickets>,
    /// Applications that call PKCS#11 functions.
    applications: pkcs11::Applications,
    grants: ArcSwap<Grants>,
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub fn new(store: Store, keyring: Arc<Keyring>, keystores: Keystores, policy: Policy) -> Self {
        let grants = ArcSwap::from_pointee(Grants::from_directory(&store.directory()));
        let in_flight = Arc::default();
        let asynchronous = Arc::new(asynchronous::Asynchronous::new(policy.asynchronous));
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            store,
            keyring,
            keystores,
            policy,
            in_flight,
            long_work: Semaphore::new(processors),
            slow_work: Semaphore::new(processors),
            prepared_keys: key::PreparedKeys::new(),
            streams: Arc::default(),
            asynchronous,
            group_turns: Arc::default(),
            notices: Notices::default(),
            seed_pool: rng::SeedPool::default(),
            tickets: Arc::default(),
            applications: pkcs11::Applications::default(),
            grants,
        }
    }

    /// Forgets every key kept in memory, and with them every operation in parts that is under way and every answer that
    /// waits to be polled for.
    pub fn flush_keys(&self) {
        self.prepared_keys.flush();
        self.streams.flush();
        self.asynchronous.flush();
        self.store.flush_cache();
    }

    /// Requests that are answered later.
    pub(crate) fn asynchronous(&self) -> &Arc<asynchronous::Asynchronous> {
        &self.asynchronous
    }

    /// The grants in force: read anew when the directory has changed.
    #[must_use]
    pub fn grants(&self) -> Arc<Grants> {
        let directory = self.store.directory();
        let known = self.grants.load_full();
        if known.changed_at() == directory.changed_at {
            return known;
        }
        let fresh = Arc::new(Grants::from_directory(&directory));
        self.grants.store(Arc::clone(&fresh));
        fresh
    }
}

/// Performs one operation.
///
/// # Errors
/// Why it did not happen; what it had begun is taken back by the caller.
pub async fn perform(exchange: &mut Exchange<'_>, request: RequestPayload) -> Result<ResponsePayload, OperationError> {
    if !exchange.caller.may_begin(request.operation()) {
        return Err(OperationError::NotAuthorised);
    }
    Ok(match request {
        RequestPayload::Activate(request) => activate::activate(exchange, request).await?.into(),
        RequestPayload::AddAttribute(request) => change_attribute::add_attribute(exchange, request).await?.into(),
        RequestPayload::AdjustAttribute(request) => adjust_attribute::adjust_attribute(exchange, request).await?.into(),
        RequestPayload::Archive(request) => archive::archive(exchange, request).await?.into(),
        RequestPayload::Cancel(request) => asynchronous::cancel(exchange, request).into(),
        RequestPayload::Certify(request) => certify::certify(exchange, request).await?.into(),
        RequestPayload::Check(request) => check::check(exchange, request).await?.into(),
        RequestPayload::Create(request) => create::create(exchange, request).await?.into(),
        RequestPayload::CreateKeyPair(request) => create_key_pair::create_key_pair(exchange, request).await?.into(),
        RequestPayload::CreateSplitKey(request) => create_split_key::create_split_key(exchange, request).await?.into(),
        RequestPayload::Deactivate(request) => revoke::deactivate(exchange, request).await?.into(),
        RequestPayload::Decrypt(request) => decrypt::decrypt(exchange, request).await?.into(),
        RequestPayload::DelegatedLogin(request) => login::delegated_login(exchange, request)?.into(),
        RequestPayload::DeleteAttribute(request) => change_attribute::delete_attribute(exchange, request).await?.into(),
        RequestPayload::DeriveKey(request) => derive_key::derive_key(exchange, request).await?.into(),
        RequestPayload::Destroy(request) => destroy::destroy(exchange, request).await?.into(),
        RequestPayload::DiscoverVersions(request) => query::discover_versions(exchange, request).into(),
        RequestPayload::Encrypt(request) => encrypt::encrypt(exchange, request).await?.into(),
        RequestPayload::Export(request) => export::export(exchange, request).await?.into(),
        RequestPayload::Get(request) => get::get(exchange, request).await?.into(),
        RequestPayload::GetAttributeList(request) => get_attributes::get_attribute_list(exchange, request).await?.into(),
        RequestPayload::GetAttributes(request) => get_attributes::get_attributes(exchange, request).await?.into(),
        RequestPayload::GetConstraints(request) => query::get_constraints(request).into(),
        RequestPayload::GetUsageAllocation(request) => get_usage_allocation::get_usage_allocation(exchange, request).await?.into(),
        RequestPayload::Hash(request) => hash::hash(exchange, request)?.into(),
        RequestPayload::Import(request) => import_object::import_object(exchange, request).await?.into(),
        RequestPayload::Interop(request) => query::interop(exchange, request)?.into(),
        RequestPayload::JoinSplitKey(request) => join_split_key::join_split_key(exchange, request).await?.into(),
        RequestPayload::Locate(request) => locate::locate(exchange, request).await?.into(),
        RequestPayload::Log(request) => query::log(exchange, request)?.into(),
        RequestPayload::Login(request) => login::login(exchange, &request)?.into(),
        RequestPayload::Logout(request) => login::logout(exchange, &request)?.into(),
        RequestPayload::Mac(request) => mac::mac(exchange, request).await?.into(),
        RequestPayload::MacVerify(request) => mac_verify::mac_verify(exchange, request).await?.into(),
        RequestPayload::ModifyAttribute(request) => change_attribute::modify_attribute(exchange, request).await?.into(),
        // KMIP 1.4 §5: sent by servers, and by nobody else.
        RequestPayload::Notify(_) => return Err(sent_by_servers(Operation::Notify)),
        RequestPayload::Obliterate(request) => destroy::obliterate(exchange, request).await?.into(),
        RequestPayload::ObtainLease(request) => obtain_lease::obtain_lease(exchange, request).await?.into(),
        RequestPayload::Ping(request) => query::ping(request).into(),
        RequestPayload::Pkcs11(request) => pkcs11::pkcs11(exchange, request)?.into(),
        // What a Poll is answered is the answer to another operation: the protocol front gives it.
        RequestPayload::Poll(_) => return Err(OperationError::UnknownCorrelation),
        RequestPayload::Process(request) => asynchronous::process(exchange, request).await?.into(),
        RequestPayload::Put(_) => return Err(sent_by_servers(Operation::Put)),
        RequestPayload::Query(request) => query::query(exchange, request).into(),
        RequestPayload::QueryAsynchronousRequests(request) => asynchronous::query(exchange, &request).into(),
        RequestPayload::ReCertify(request) => certify::re_certify(exchange, request).await?.into(),
        RequestPayload::ReKey(request) => re_key::re_key(exchange, request).await?.into(),
        RequestPayload::ReKeyKeyPair(request) => re_key_key_pair::re_key_key_pair(exchange, request).await?.into(),
        RequestPayload::Recover(request) => archive::recover(exchange, request).await?.into(),
        RequestPayload::Register(request) => register::register(exchange, request).await?.into(),
        RequestPayload::Revoke(request) => revoke::revoke(exchange, request).await?.into(),
        RequestPayload::RngRetrieve(request) => rng::rng_retrieve(exchange, &request)?.into(),
        RequestPayload::RngSeed(request) => rng::rng_seed(exchange, &request)?.into(),
        RequestPayload::SetAttribute(request) => change_attribute::set_attribute(exchange, request).await?.into(),
        RequestPayload::SetEndpointRole(request) => endpoint_role::set_endpoint_role(exchange, request)?.into(),
        RequestPayload::Sign(request) => sign::sign(exchange, request).await?.into(),
        RequestPayload::SignatureVerify(request) => signature_verify::signature_verify(exchange, request).await?.into(),
        RequestPayload::Validate(request) => validate::validate(exchange, request).await?.into(),
    })
}

fn sent_by_servers(operation: Operation) -> OperationError {
    OperationError::OperationNotSupported(format!("{operation} is sent by servers to clients"))
}

/// The audit action of an operation; what touches no object and releases nothing has none.
#[must_use]
pub fn action(operation: Operation) -> Option<Action> {
    Some(match operation {
        Operation::Activate => Action::Activate,
        Operation::AddAttribute => Action::AddAttribute,
        Operation::AdjustAttribute => Action::AdjustAttribute,
        Operation::Archive => Action::Archive,
        Operation::Cancel => Action::Cancel,
        Operation::Certify => Action::Certify,
        Operation::Check => Action::Check,
        Operation::Create => Action::Create,
        Operation::CreateKeyPair => Action::CreateKeyPair,
        Operation::CreateSplitKey => Action::CreateSplitKey,
        Operation::Deactivate => Action::Deactivate,
        Operation::Decrypt => Action::Decrypt,
        Operation::DelegatedLogin => Action::DelegatedLogin,
        Operation::DeleteAttribute => Action::DeleteAttribute,
        Operation::DeriveKey => Action::DeriveKey,
        Operation::Destroy => Action::Destroy,
        Operation::Encrypt => Action::Encrypt,
        Operation::Export => Action::Export,
        Operation::Get => Action::Get,
        Operation::GetAttributeList => Action::GetAttributeList,
        Operation::GetAttributes => Action::GetAttributes,
        Operation::GetUsageAllocation => Action::GetUsageAllocation,
        Operation::Import => Action::Import,
        Operation::JoinSplitKey => Action::JoinSplitKey,
        Operation::Locate => Action::Locate,
        Operation::Log => Action::Log,
        Operation::Login => Action::Login,
        Operation::Logout => Action::Logout,
        Operation::Mac => Action::Mac,
        Operation::MacVerify => Action::MacVerify,
        Operation::ModifyAttribute => Action::ModifyAttribute,
        Operation::Obliterate => Action::Obliterate,
        Operation::ObtainLease => Action::ObtainLease,
        Operation::Pkcs11 => Action::Pkcs11,
        Operation::ReCertify => Action::Recertify,
        Operation::ReKey => Action::ReKey,
        Operation::ReKeyKeyPair => Action::ReKeyKeyPair,
        Operation::Recover => Action::Recover,
        Operation::Register => Action::Register,
        Operation::Revoke => Action::Revoke,
        Operation::RngRetrieve => Action::RngRetrieve,
        Operation::RngSeed => Action::RngSeed,
        Operation::SetAttribute => Action::SetAttribute,
        Operation::SetEndpointRole => Action::SetEndpointRole,
        Operation::Sign => Action::Sign,
        Operation::SignatureVerify => Action::SignatureVerify,
        Operation::Validate => Action::Validate,
        _ => return None,
    })
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
