//! Settings that operations obey.

use std::time::Duration;

use keygate_kmip::{Operation, ProtocolVersion};

use super::OperationError;
use crate::sharing::Polynomial;

/// How much of a seed RNG Seed accepts. KMIP 2.1 §6.1.52: "The server MAY elect to ignore the information provided".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RngSeed {
    /// All of it.
    All,
    /// At most this many bytes.
    Some(i32),
    /// None of it, successfully.
    None,
    /// The operation is refused.
    #[default]
    Refuse,
}

/// Requests that are answered later. KMIP 2.1 §11.3: "The method or policy by which the server determines whether or not to process an
/// individual batch item asynchronously is a decision of the server".
#[derive(Clone, Copy, Debug)]
pub struct AsynchronousPolicy {
    /// How long a request that may be answered later is waited for (`kmip.async_answer_ms`).
    pub answer_within: Duration,
    /// How long after Operation Pending a request begins, unless it is polled or processed before (`kmip.async_begin_ms`).
    pub begin_after: Duration,
    /// Batch items of one caller that are pending or kept (`limits.async_per_caller`).
    pub items_per_caller_max: usize,
    /// Of all callers (`limits.async_total`).
    pub items_max: usize,
    /// Bytes of requests and answers that are kept (`limits.async_bytes_max`).
    pub bytes_max: usize,
    /// How long an answer is kept (`limits.async_kept_seconds`).
    pub kept: Duration,
}

impl Default for AsynchronousPolicy {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(1),
            begin_after: Duration::ZERO,
            items_per_caller_max: 64,
            items_max: 4_096,
            bytes_max: 64 << 20,
            kept: Duration::from_secs(3600),
        }
    }
}

/// The default member of an object group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupDefault {
    /// The newest.
    #[default]
    Newest,
    /// The one after the member that was handed out last.
    RoundRobin,
}

/// Settings that operations obey. The defaults are the safe ones.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What is absent or forbidden answers Permission Denied rather than Item Not Found (`kmip.forbidden`).
    pub forbidden_is_denied: bool,
    /// Answers that release key material wait for their audit record (`audit.reads`).
    pub reads_wait: bool,
    /// The Interop operation is served (`kmip.interop`).
    pub interop: bool,
    /// The Log operation is served (`kmip.log_operation`).
    pub log_operation: bool,
    /// Ciphers of 64-bit blocks may encrypt, and keys for them and for broken ciphers be made, RSA pairs of 1024 bits, and
    /// Certify takes requests signed by SHA-1 (`kmip.legacy_algorithms`).
    pub legacy_algorithms: bool,
    /// A Name is unique among the objects of an owner (`kmip.unique_names`).
    pub unique_names: bool,
    /// A key wrapped with No Encoding is a structure, its Key Material the wrapped bytes (`kmip.no_encoding`).
    pub wrapped_key_material: bool,
    /// Clients may turn their connections round (`kmip.endpoint_role`).
    pub endpoint_role: bool,
    /// What Locate finds comes oldest first (`kmip.locate_order`).
    pub locate_oldest_first: bool,
    /// The default member of an object group (`kmip.group_default`).
    pub group_default: GroupDefault,
    /// Operations that KMIP clients are not served (`kmip.hidden_operations`).
    pub hidden_operations: Vec<Operation>,
    /// What RNG Seed does (`kmip.rng_seed`).
    pub rng_seed: RngSeed,
    /// Polynomial of GF(2^8) in split keys (`kmip.split_key_polynomial`).
    pub(crate) split_key_polynomial: Polynomial,
    /// Requests that are answered later.
    pub asynchronous: AsynchronousPolicy,
    /// Days that a certificate is valid which Certify makes; `None`: it makes none (`kmip.certify`, `kmip.certify_days`).
    pub certify_days: Option<u32>,
    /// Seconds that a ticket lives at most (`kmip.ticket_seconds_max`).
    pub ticket_seconds_max: u32,
    /// Oldest version served (`kmip.version_min`).
    pub version_min: ProtocolVersion,
    /// Bytes of a name (`limits.name_bytes_max`).
    pub name_bytes_max: usize,
    /// Bytes of a custom attribute value (`limits.attribute_bytes_max`).
    pub attribute_bytes_max: usize,
    /// Bytes of an object (`limits.object_bytes_max`).
    pub object_bytes_max: usize,
    /// Identifiers in a Locate answer (`limits.locate_page_max`).
    pub locate_page_max: usize,
    /// Batch items of a message (`limits.batch_items_max`).
    pub batch_items_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            forbidden_is_denied: false,
            reads_wait: true,
            interop: false,
            log_operation: false,
            legacy_algorithms: false,
            unique_names: true,
            wrapped_key_material: false,
            endpoint_role: false,
            locate_oldest_first: false,
            group_default: GroupDefault::Newest,
            hidden_operations: Vec::new(),
            rng_seed: RngSeed::Refuse,
            split_key_polynomial: Polynomial::P285,
            asynchronous: AsynchronousPolicy::default(),
            certify_days: None,
            ticket_seconds_max: 3_600,
            version_min: ProtocolVersion::V1_0,
            name_bytes_max: 255,
            attribute_bytes_max: 64 * 1024,
            object_bytes_max: 512 * 1024,
            locate_page_max: 1_000,
            batch_items_max: 10_000,
        }
    }
}

impl Policy {
    /// What a caller is told of an object that is absent or forbidden.
    #[must_use]
    pub fn forbidden(&self) -> OperationError {
        if self.forbidden_is_denied {
            OperationError::PermissionDenied("access denied".to_owned())
        } else {
            OperationError::NotFound
        }
    }
}
