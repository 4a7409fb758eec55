//! What the server is: the version both speak, its operations.

use crate::keystore::Capabilities;
use keygate_kmip::{ObjectType, Operation, ProtocolVersion, QueryResponse};

/// A server as it was asked last.
pub(super) struct Peer {
    pub(super) version: ProtocolVersion,
    operations: Vec<Operation>,
    object_types: Vec<ObjectType>,
    /// Vendor and version as it tells them.
    pub(super) device: String,
}

impl Peer {
    pub(super) fn new(version: ProtocolVersion, told: QueryResponse) -> Self {
        let vendor = told.vendor_identification.unwrap_or_default();
        let vendor: String = vendor.chars().filter(|character| !character.is_control()).take(100).collect();
        Self {
            version,
            operations: told.operations,
            object_types: told.object_types,
            device: format!("{vendor} (KMIP {version})").trim_start().to_owned(),
        }
    }

    /// Whether the server lists an operation.
    pub(super) fn does(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
    }

    /// What may be routed here. Query tells operations, not modes and sizes: what a server lacks of those it answers itself.
    pub(super) fn capabilities(&self, fetch: bool) -> Capabilities {
        let symmetric = self.object_types.contains(&ObjectType::SymmetricKey);
        let private = self.object_types.contains(&ObjectType::PrivateKey);
        let (create, pair) =
            (symmetric && self.does(Operation::Create), private && self.does(Operation::CreateKeyPair));
        let fetches = fetch && self.does(Operation::Get);
        let encrypt = fetches || self.does(Operation::Encrypt) && self.does(Operation::Decrypt);
        let aead = fetches || encrypt && self.version >= ProtocolVersion::V1_4;
        let sign = fetches || self.does(Operation::Sign);
        // Salt length and mask generator are in messages of 1.4 and later only.
        let fine_sign = fetches || sign && self.version >= ProtocolVersion::V1_4;
        let decrypt = fetches || self.does(Operation::Decrypt);
        let mac = fetches || self.does(Operation::Mac);
        Capabilities {
            generate_aes: create,
            generate_des3: create,
            generate_hmac: create,
            generate_chacha20: create,
            generate_rsa: pair,
            generate_ec: pair,
            generate_ed25519: pair,
            generate_ml_dsa: false,
            generate_ml_kem: false,
            import: symmetric && self.does(Operation::Register),
            export: fetches,
            sign_ecdsa: sign,
            sign_rsa_pkcs1: sign,
            sign_rsa_pss: fine_sign,
            sign_ed25519: sign,
            sign_ml_dsa: false,
            decapsulate_ml_kem: false,
            decrypt_rsa_pkcs1: decrypt,
            decrypt_rsa_oaep: decrypt,
            aes_ecb: encrypt,
            aes_cbc: encrypt,
            aes_ctr: encrypt,
            aes_gcm: aead,
            aes_key_wrap: encrypt,
            hmac: mac,
            cmac: mac,
            random: self.does(Operation::RngRetrieve),
        }
    }
}
