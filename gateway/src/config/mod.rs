//! `keygate.toml` and `--set`: [`FileConfig`] as written becomes [`Config`] as used.
//!
//! Every problem is found and reported at once, each with the name of its setting. The table of all settings is
//! [`SETTINGS`]; `keygate serve --help` and `docs/operations.md` show it. No setting holds a secret: PINs and passphrases
//! are named by file, file descriptor or systemd credential.

mod endpoint;
mod file;
mod group;
mod keystore;
mod remote_keystore;
mod settings;

use std::{collections::BTreeMap, net::{IpAddr, SocketAddr}, path::{Path, PathBuf}, time::Duration};

use keygate_kmip::Operation;
use keygate_pki::{BlockList, HttpUrl, SubjectAltName, provisioning::SourceRanges};

pub use endpoint::{EndpointConfig, NotifyConfig};
pub use file::{FileConfig, Problem, Problems};
pub use group::GroupConfig;
pub use keystore::{KeystoreConfig, Pkcs11Config, PinSource, check_one};
pub use remote_keystore::{RemoteKeystoreConfig, RemoteProtocol, TrustFile};
pub use settings::{SETTINGS, Setting};

use crate::store::{CertificateQuotas, ObjectQuotas};

/// What a running gateway is set to.
#[derive(Debug, Clone)]
pub struct Config {
    /// The KMIP listener.
    pub kmip: KmipConfig,
    /// Where health, status and metrics are served.
    pub status_listen: SocketAddr,
    /// Names and addresses in the server certificate.
    pub tls_hosts: Vec<SubjectAltName>,
    /// The HTTP listeners.
    pub http: HttpConfig,
    /// Whether the REST key server is served where there are users of it.
    pub rest_enabled: bool,
    /// Public keys that no client gets a certificate for.
    pub blocked_keys: BlockList,
    /// How audit events of reads are written.
    pub audit_reads: AuditReads,
    /// What happens when the token whose seal slot opened the store goes away.
    pub seal_on_loss: OnLoss,
    /// How long that token may be away before the server stops.
    pub seal_loss: Duration,
    /// Whether a start waits for shares where the seal does not open.
    pub seal_wait: bool,
    /// Where a sealed server takes shares over HTTPS, if anywhere.
    pub unseal: Option<UnsealConfig>,
    /// Bounds of sizes, counts and waits.
    pub limits: Limits,
    /// What is sent to clients of the server's own accord.
    pub notify: NotifyConfig,
    /// Log output.
    pub log: LogConfig,
    /// The configured keystores, `local` always among them.
    pub keystores: Vec<KeystoreConfig>,
    /// Name of the keystore a new key goes to where nothing else says so.
    pub keystore_default: String,
    /// How often each keystore in use gets its small test; `None`: never.
    pub keystore_check: Option<Duration>,
}

/// The HTTPS listener of a sealed server. Its key is outside the store, for the store is sealed.
#[derive(Debug, Clone)]
pub struct UnsealConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Its certificate chain, leaf first, PEM.
    pub cert_file: PathBuf,
    /// The certificate's key, PEM, mode 0600.
    pub key_file: PathBuf,
    /// From where shares are taken.
    pub allow: SourceRanges,
}

/// The KMIP listener and what it lets through.
#[derive(Debug, Clone)]
pub struct KmipConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Lowest protocol version answered, as (major, minor).
    pub version_min: (i32, i32),
    /// How a forbidden object is answered.
    pub forbidden: Forbidden,
    /// Whether the Interop operation is served.
    pub interop: bool,
    /// Whether legacy algorithms may be used beyond decrypting.
    pub legacy_algorithms: bool,
    /// How much of a seed RNG Seed takes.
    pub rng_seed: RngSeed,
    /// Whether the Log operation is served.
    pub log_operation: bool,
    /// How long a request that may be answered later is waited for.
    pub async_answer: Duration,
    /// How long after Operation Pending a request begins.
    pub async_begin: Duration,
    /// By which polynomial GF(2^8) is in split keys.
    pub split_key_polynomial: SplitKeyPolynomial,
    /// Whether a Name is unique among the objects of an owner.
    pub unique_names: bool,
    /// What the Key Value of a key wrapped with No Encoding is.
    pub no_encoding: NoEncoding,
    /// Whether clients may turn a connection round.
    pub endpoint_role: bool,
    /// The order of what Locate finds.
    pub locate_order: LocateOrder,
    /// The default member of an object group.
    pub group_default: GroupDefault,
    /// Operations that are not served.
    pub hidden_operations: Vec<Operation>,
    /// Whether Certify and Re-certify are served, by a CA of their own.
    pub certify: bool,
    /// Days that a certificate of Certify is valid.
    pub certify_days: u32,
    /// Seconds that a ticket of Login lives at most.
    pub ticket_seconds_max: u32,
}

impl KmipConfig {
    /// What decides what clients may do, as it is set, by the names of the settings: for `/status`.
    pub fn policies(&self) -> BTreeMap<&'static str, String> {
        let forbidden = match self.forbidden {
            Forbidden::NotFound => "not-found",
            Forbidden::PermissionDenied => "permission-denied",
        };
        let rng_seed = match self.rng_seed {
            RngSeed::All => "all".into(),
            RngSeed::AtMost(bytes) => bytes.to_string(),
            RngSeed::None => "none".into(),
            RngSeed::Refuse => "refuse".into(),
        };
        let no_encoding = match self.no_encoding {
            NoEncoding::ByteString => "byte-string",
            NoEncoding::KeyMaterial => "key-material",
        };
        BTreeMap::from([
            ("kmip.certify", if self.certify { "own" } else { "off" }.into()),
            ("kmip.forbidden", forbidden.into()),
            ("kmip.interop", self.interop.to_string()),
            ("kmip.legacy_algorithms", self.legacy_algorithms.to_string()),
            ("kmip.log_operation", self.log_operation.to_string()),
            ("kmip.no_encoding", no_encoding.into()),
            ("kmip.rng_seed", rng_seed),
            ("kmip.ticket_seconds_max", self.ticket_seconds_max.to_string()),
            ("kmip.unique_names", self.unique_names.to_string()),
            ("kmip.version_min", format!("{}.{}", self.version_min.0, self.version_min.1)),
        ])
    }
}

/// The order of what Locate finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocateOrder {
    /// The newest object first.
    Newest,
    /// The oldest object first.
    Oldest,
}

/// The default member of an object group (KMIP 1.4 §4.9: "Group Member Default").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupDefault {
    /// The newest member.
    Newest,
    /// Each in turn: the one after the member that Get handed out last.
    RoundRobin,
}

/// By which polynomial GF(2^8) is in split keys (KMIP 3.0, Split Key Polynomial).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitKeyPolynomial {
    /// x^8+x^4+x^3+x+1.
    P283,
    /// x^8+x^4+x^3+x^2+1.
    P285,
}

/// What the Key Value of a key wrapped with No Encoding is (KMIP 2.1 §3.2, §11.19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEncoding {
    /// A byte string, as the official cases have it.
    ByteString,
    /// A structure whose Key Material is the wrapped bytes, as some clients have it.
    KeyMaterial,
}

/// The HTTP listeners; one that is `None` is not opened.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// `clients.listen`: enrolment of client machines, over TLS.
    pub clients: Option<SocketAddr>,
    /// `admin.listen`: administration, over mutual TLS.
    pub admin: Option<SocketAddr>,
    /// `admin.allow`: where administrators connect from.
    pub admin_allow: SourceRanges,
    /// `public.listen`: certificate status, plain HTTP.
    pub public: Option<SocketAddr>,
    /// `public.url` as written; [`Config::public_url`] has its default.
    pub public_url: Option<HttpUrl>,
}

/// How an object that exists but is not granted is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// As if it did not exist.
    NotFound,
    /// With Permission Denied.
    PermissionDenied,
}

/// How much of a seed RNG Seed takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RngSeed {
    /// All of it.
    All,
    /// At most this many bytes.
    AtMost(u16),
    /// None of it, successfully.
    None,
    /// The operation is refused.
    Refuse,
}

/// When a read that releases key material is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditReads {
    /// After the commit of its audit event.
    Wait,
    /// At once; its audit event is committed within a second.
    Defer,
}

/// What losing the token whose seal slot opened the store does to a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// Sealed keys stay usable; readiness says that the token is away.
    Serve,
    /// The server drains and ends with an error; without the token it does not start again.
    Stop,
}

/// Log output.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// JSON lines or text.
    pub format: LogFormat,
    /// Filter directives, `info` for example.
    pub level: String,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Bounds of sizes, counts and waits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest request message.
    pub message_bytes_max: usize,
    /// Most items of a request message.
    pub batch_items_max: usize,
    /// Most batch items of a caller that are pending or whose answers are kept.
    pub async_per_caller: usize,
    /// Of all callers.
    pub async_total: usize,
    /// Most octets that are kept for them.
    pub async_bytes_max: usize,
    /// How long an answer is kept.
    pub async_kept: Duration,
    /// Deepest nesting of structures.
    pub depth_max: usize,
    /// Most KMIP connections at a time.
    pub connections_max: usize,
    /// Most connections of each HTTP listener at a time.
    pub http_connections_max: usize,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// Longest silence between requests.
    pub idle: Duration,
    /// Longest time from the first to the last octet of a request.
    pub frame: Duration,
    /// Longest time a client may take to read an answer.
    pub write: Duration,
    /// Longest time that requests under way are waited for at shutdown.
    pub drain: Duration,
    /// Longest name.
    pub name_bytes_max: usize,
    /// Longest custom attribute value.
    pub attribute_bytes_max: usize,
    /// Largest managed object.
    pub object_bytes_max: usize,
    /// Most identifiers in one answer to Locate.
    pub locate_page_max: usize,
    /// Most objects of a client and of an organisation.
    pub objects: ObjectQuotas,
    /// Most requests in a second.
    pub requests: RequestQuotas,
    /// Most certificates of an enrolled client and of an organisation.
    pub certificates: CertificateQuotas,
}

/// Most requests (batch items) in a second, on average; `None`: no bound.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestQuotas {
    /// Of a client.
    pub per_client: Option<u64>,
    /// Of all clients of an organisation together.
    pub per_organisation: Option<u64>,
}

impl Config {
    /// Reads `keygate.toml` and lays `overrides` (`--set key=value`) over it.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, Problems> {
        FileConfig::load(path, overrides)?.check()
    }

    /// How relying parties reach the public listener: `public.url`, or the first of `tls.hosts` and `port`. Port 0: there is none.
    pub fn public_url(&self, port: u16) -> Option<HttpUrl> {
        let derived = || {
            if port == 0 {
                return None;
            }
            let host = match self.tls_hosts.first()? {
                SubjectAltName::Dns(name) => name.clone(),
                SubjectAltName::Ip(IpAddr::V4(address)) => address.to_string(),
                // RFC 3986 §3.2.2: an IPv6 address is "distinguished by enclosing the IP literal within square brackets".
                SubjectAltName::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            };
            format!("http://{host}:{port}").parse().ok()
        };
        self.http.public_url.clone().or_else(derived)
    }
}
