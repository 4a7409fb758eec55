//! Who is calling: certificate -> client -> [`Caller`].
//!
//! A certificate is matched by (issuer's key, serial number) where our client issuer signed it, or by the SHA-256 of the
//! whole certificate where an administrator pinned it. Never by subject or subject alternative name: those are labels.
//! The [`Directory`] is an immutable snapshot of all clients; [`DirectoryHandle`] swaps it and, with each swap, makes TLS
//! tickets void and closes the connections of callers that are no longer let in.
//!
//! Left to others: where clients are stored (store), what a caller may do (authorize), KMIP's Credential structure.

mod caller;
mod directory;
mod doorkeeper;
mod enrolled;
mod from_store;
mod handle;
mod password;
mod rest_users;
mod users;
mod verifier;

pub use caller::{Caller, CallerUser};
pub use directory::{
    AdminIdentity, AdminRecord, Admitted, CertificateRecord, ClientRecord, CredentialId, Directory, DirectoryContent, Refusal,
};
pub use doorkeeper::{Administrators, Doorkeeper, Known, OnDoorChange};
pub use enrolled::Enrolled;
pub use handle::{DirectoryHandle, OnChange};
pub use password::{PasswordVerifier, Renewed};
pub use rest_users::{REST_PASSWORD_BYTES_MAX, RestCaller, RestRefusal, RestUserRecord, RestUsers};
pub use users::{CredentialRefused, UserRecord, Users};
pub use verifier::{CertificateVerifier, ClientCertificates, with_refusal};
