//! Wiring: a data directory is unlocked, its store opened, and the parts that share it put together.
//!
//! [`App`] is what both a running server and a command that works alone have. [`serve()`] adds listeners and background work.

mod expiry;
mod gateway;
mod refusals;
mod remote;
mod renewal;
mod seal_token;
mod sealed;
mod serve;
mod token;
mod unlock;
mod unseal_listener;
mod unsealing;

use std::sync::{Arc, OnceLock, atomic::AtomicU32};

use keygate_pki::{HttpUrl, OffsetDateTime, Profile};

pub use expiry::Expiry;
pub use gateway::{GatewayError, front, gateway};
pub use sealed::{WaitError, unlock_or_wait};
pub use serve::{ServeError, serve};
pub use token::{TokenLocator, TokenName, TokenSlotKey};
pub use unlock::{AskPassphrase, Opening, PASSPHRASE_CREDENTIAL, SecretInput, SecretInputError, UnlockError, Unsealed, find_token, unlock};

use crate::{
    admin::ObjectsAdmin,
    authority,
    audit::{Action, Details, Event, Refusals, VerifyReport},
    config::{AuditReads, Config},
    data_dir::{DataDir, DataDirError, DataDirLock},
    export::ExportReports,
    identity::{DirectoryContent, DirectoryHandle, RestUsers, Users},
    keystores::{self, KeystoreService},
    provisioning::{self, Provisioning, ProvisioningError},
    notify::Endpoints,
    quota::RequestBuckets,
    seal::RootKey,
    store::{Change, Commit, CommitError, Entry, KeystoreEntry, KeystoreId, OpenError, OrganisationId, Store, StoreOptions},
    telemetry::{ComponentState, Metrics, Readiness},
};

/// Why a data directory does not open.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The directory itself.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// No seal slot opens.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The store.
    #[error("the store does not open")]
    Open(#[source] OpenError),
    /// A commit at the start failed.
    #[error("the store refuses a commit")]
    Commit(#[from] CommitError),
    /// No randomness.
    #[error("the random source failed")]
    Random,
    /// Rows of certificate provisioning.
    #[error("certificate provisioning cannot be read")]
    Provisioning(#[from] ProvisioningError),
    /// The CA of KMIP's Certify could not be made or read.
    #[error(transparent)]
    Authority(#[from] authority::AuthorityError),
    /// The CA's certificate could not be written.
    #[error("cannot write {path}")]
    CertifyCa {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// An open data directory.
pub struct App {
    /// Where everything is.
    pub dir: DataDir,
    /// The settings in force.
    pub config: Config,
    /// Objects, clients, audit.
    pub store: Store,
    /// Who is let in.
    pub directory: Arc<DirectoryHandle>,
    /// Checks KMIP credentials.
    pub users: Arc<Users>,
    /// Checks passwords of REST users.
    pub rest_users: Arc<RestUsers>,
    /// Quotas of requests, where some are set.
    pub(crate) request_quotas: Option<Arc<RequestBuckets>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Refused handshakes that are not recorded yet.
    pub refusals: Arc<Refusals>,
    /// Certificate provisioning.
    pub provisioning: Arc<Provisioning>,
    /// The life of keystores.
    pub keystores: Arc<KeystoreService>,
    /// Where clients listen for what they are sent unasked.
    pub endpoints: Arc<Endpoints>,
    /// What became of the last exports.
    pub exports: Arc<ExportReports>,
    /// Which parts work.
    pub readiness: Arc<Readiness>,
    /// The root key, and the seal slots that opened.
    pub unsealed: Unsealed,
    /// Held while the seal changes: two changes at once would lose one.
    pub seal_changes: Arc<tokio::sync::Mutex<()>>,
    /// The newest format of the seal's file that was seen with a right root key. A file of an earlier one was not written by keygate.
    pub seal_format: AtomicU32,
    objects: OnceLock<Arc<dyn ObjectsAdmin>>,
    /// Port of the public listener, once it is bound.
    public_port: OnceLock<u16>,
    _lock: DataDirLock,
}

/// Checks the audit record of a data directory that this process has locked, and changes nothing.
///
/// # Errors
/// What keeps the record from being read.
pub async fn verify_audit(dir: &DataDir, root: &RootKey) -> Result<VerifyReport, AppError> {
    let id = crate::seal::Seal::load(dir.path()).map_err(UnlockError::Seal)?.store_id();
    crate::store::verify_closed(dir.path(), id, root).await.map_err(AppError::Open)
}

/// Where relying parties are sent while nothing better is known: no gateway listens there for anybody else.
const NO_PUBLIC_URL: &str = "http://localhost:8080";

fn provisioning(
    store: &Store,
    directory: &Arc<DirectoryHandle>,
    config: &Config,
    refusals: &Arc<Refusals>,
) -> Result<Provisioning, ProvisioningError> {
    let port = config.http.public.map_or(0, |address| address.port());
    let url = config.public_url(port).or_else(|| NO_PUBLIC_URL.parse().ok());
    let stored = store.directory();
    let own = [Profile::RootCa, Profile::ServerCa, Profile::ClientIssuer, Profile::AdminCa, Profile::KmipCertifyCa];
    Provisioning::new(provisioning::Parts {
        store: store.clone(),
        directory: directory.clone(),
        public_url: url.ok_or(ProvisioningError::Damaged("public address"))?,
        // Before `init` has made them there are none.
        other_cas: own.into_iter().filter_map(|profile| authority::certificate(&stored, profile).ok()).collect(),
        blocked: config.blocked_keys.clone(),
        refusals: refusals.clone(),
        quotas: config.limits.certificates,
        clock: Arc::new(OffsetDateTime::now_utc),
    })
}

/// The CA of KMIP's Certify, and its certificate as a file for those who are to trust it.
async fn certify_ca(store: &Store, dir: &DataDir) -> Result<(), AppError> {
    authority::create_certify_ca(store, OffsetDateTime::now_utc(), &crate::audit::Actor::System).await?;
    let certificate = authority::certificate(&store.directory(), Profile::KmipCertifyCa)?;
    let path = dir.path().join(CERTIFY_CA_FILE);
    let pem = certificate.to_pem().map_err(authority::AuthorityError::from)?;
    std::fs::write(&path, pem).map_err(|source| AppError::CertifyCa { path, source })
}

/// Where the certificate of the CA of KMIP's Certify is put, in the data directory.
const CERTIFY_CA_FILE: &str = "kmip-certify-ca.pem";

impl App {
    /// Opens the store of a data directory that this process has locked.
    pub async fn open(dir: DataDir, lock: DataDirLock, config: Config, unsealed: Unsealed, accept: bool) -> Result<Self, AppError> {
        let options = StoreOptions {
            reads_deferred: config.audit_reads == AuditReads::Defer,
            accept,
            quotas: config.limits.objects,
            ..StoreOptions::default()
        };
        let seal = crate::seal::Seal::load(dir.path()).map_err(UnlockError::Seal)?;
        if !seal.is_authentic(&unsealed.root) {
            tracing::error!("seal.json was changed by something else than keygate: it opens, and is not changed further");
        }
        let seal_format = AtomicU32::new(seal.format());
        let id = seal.store_id();
        let store = Store::open(dir.path(), id, unsealed.root.clone(), options).await.map_err(AppError::Open)?;
        if config.kmip.certify {
            certify_ca(&store, &dir).await?;
        }
        let directory = Arc::new(DirectoryHandle::new(DirectoryContent::from_store(&store)));
        let readiness = Arc::new(Readiness::default());
        readiness.set("store", ComponentState::Up);
        for row in store.damage() {
            tracing::error!(row, "a row is not as the store wrote it: it is refused, everything else is served");
        }
        if store.keyring().terms().len() > 1 {
            tracing::warn!("a rotation of the keyring is not finished; `keygate seal rotate` finishes it");
        }
        let refusals: Arc<Refusals> = Arc::default();
        let quotas = config.limits.requests;
        let provisioning = provisioning(&store, &directory, &config, &refusals)?;
        let seal_changes: Arc<tokio::sync::Mutex<()>> = Arc::default();
        let keystores = KeystoreService::new(keystores::Parts {
            store: store.clone(),
            of_the_file: config.keystores.clone(),
            file_default: config.keystore_default.clone(),
            data_dir: dir.path().to_owned(),
            open: Arc::new(gateway::open),
            secret: Arc::new(gateway::secret),
            readiness: readiness.clone(),
            seal_changes: seal_changes.clone(),
        });
        let app = Self {
            dir,
            endpoints: Arc::new(Endpoints::new(&config.notify)),
            config,
            keystores: Arc::new(keystores),
            provisioning: Arc::new(provisioning),
            users: Arc::new(Users::new(directory.clone()).ok_or(AppError::Random)?),
            rest_users: Arc::new(RestUsers::new(directory.clone()).ok_or(AppError::Random)?),
            request_quotas: RequestBuckets::new(quotas).map(Arc::new),
            store,
            directory,
            metrics: Arc::new(Metrics::default()),
            refusals,
            exports: Arc::default(),
            readiness,
            unsealed,
            seal_changes,
            seal_format,
            objects: OnceLock::new(),
            public_port: OnceLock::new(),
            _lock: lock,
        };
        app.record_keystores().await?;
        Ok(app)
    }

    /// Writes what is queued, refusals too, and closes the store.
    pub async fn close(&self) -> Result<(), CommitError> {
        refusals::write_rest(self).await;
        self.store.close().await
    }

    /// The time.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        i64::try_from(self.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
    }

    /// Lets commands on managed objects in. The first call counts.
    pub fn set_objects(&self, objects: Arc<dyn ObjectsAdmin>) {
        // A second call would mean two object layers over one store; the first stays.
        let _ = self.objects.set(objects);
    }

    /// The object layer, where it is open.
    pub fn objects(&self) -> Option<&dyn ObjectsAdmin> {
        self.objects.get().map(AsRef::as_ref)
    }

    /// How relying parties reach the public listener. `None` where that is neither set nor to be derived.
    pub fn public_url(&self) -> Option<HttpUrl> {
        let configured = self.config.http.public.map(|address| address.port()).filter(|port| *port != 0);
        let port = self.public_port.get().copied().or(configured);
        port.map_or_else(|| self.config.http.public_url.clone(), |port| self.config.public_url(port))
    }

    /// Records the port of the public listener. The first call counts.
    pub(super) fn set_public_port(&self, port: u16) {
        // The listener is bound once in the life of a process.
        let _ = self.public_port.set(port);
    }

    /// Puts the store's clients and certificates in force, with all that follows from it.
    pub fn refresh_directory(&self) {
        self.directory.replace_with(|| DirectoryContent::from_store(&self.store));
    }

    /// The id of a configured keystore. Each has one from the first start that names it.
    pub fn keystore_id(&self, name: &str) -> Option<KeystoreId> {
        self.store.directory().keystores.iter().find(|keystore| keystore.name == name).map(|keystore| keystore.id)
    }

    /// Gives every configured keystore a lasting id: object rows name it.
    async fn record_keystores(&self) -> Result<(), CommitError> {
        let missing = self.config.keystores.iter().filter(|keystore| self.keystore_id(keystore.name()).is_none());
        let entries: Vec<KeystoreEntry> = missing
            .map(|keystore| KeystoreEntry {
                id: KeystoreId::generate(),
                organisation: OrganisationId::DEFAULT,
                name: keystore.name().into(),
                kind: keystore.kind().into(),
                managed: None,
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let events = entries.iter().map(|entry| {
            let details = Details::Entry { id: entry.id.into(), name: entry.name.clone() };
            Event::system(self.now_ms(), Action::KeystoreAdded, details)
        });
        let events = events.collect();
        let changes = entries.into_iter().map(|entry| Change::AddEntry(Entry::Keystore(entry))).collect();
        self.store.commit(Commit { changes, events, erases: false }).await.map(drop)
    }
}
