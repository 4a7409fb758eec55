//! Create, Create Key Pair, Derive Key, Register, Re-key, Re-key Key Pair: KMIP 2.1 §6.1.8, §6.1.9,
//! §6.1.14, §6.1.44, §6.1.46, §6.1.47.

use crate::codec::{Interval, structure};
use crate::{Attributes, CryptographicParameters, DerivationMethod, ManagedObject, ObjectType, ProtectionStorageMask, ProtocolVersion, UniqueIdentifier};

const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;

structure! {
    /// Protection Storage Masks, KMIP 2.1 §7.33: any one of these places will do.
    ProtectionStorageMasks {
        /// The masks.
        masks: repeated ProtectionStorageMask = PROTECTION_STORAGE_MASK;
    }
}

structure! {
    /// Create request.
    CreateRequest {
        /// Object Type.
        object_type: required ObjectType = OBJECT_TYPE;
        /// Attributes of the new object.
        attributes: template Attributes = TEMPLATE_ATTRIBUTE;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Create response.
    CreateResponse {
        /// Object Type.
        object_type: required ObjectType = OBJECT_TYPE;
        /// The new object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}

/// A request for a key pair: fields of its own, then those of both halves.
macro_rules! asks_for_a_pair {
    ($(#[$doc:meta])* $name:ident { $($own:tt)* }) => {
        structure! {
            $(#[$doc])*
            $name {
                $($own)*
                /// Attributes of both keys.
                common: optional_template Attributes = COMMON_TEMPLATE_ATTRIBUTE;
                /// Attributes of the private key.
                private_key: optional_template Attributes = PRIVATE_KEY_TEMPLATE_ATTRIBUTE;
                /// Attributes of the public key.
                public_key: optional_template Attributes = PUBLIC_KEY_TEMPLATE_ATTRIBUTE;
                /// Common Protection Storage Masks.
                common_protection_storage_masks: optional ProtectionStorageMasks = COMMON_PROTECTION_STORAGE_MASKS in V2_0..;
                /// Private Protection Storage Masks.
                private_protection_storage_masks: optional ProtectionStorageMasks = PRIVATE_PROTECTION_STORAGE_MASKS in V2_0..;
                /// Public Protection Storage Masks.
                public_protection_storage_masks: optional ProtectionStorageMasks = PUBLIC_PROTECTION_STORAGE_MASKS in V2_0..;
            }
        }
    };
}

/// An answer that names a new key pair.
macro_rules! answers_a_pair {
    ($(#[$doc:meta])* $name:ident) => {
        structure! {
            $(#[$doc])*
            $name {
                /// The private key.
                private_key_unique_identifier: required UniqueIdentifier = PRIVATE_KEY_UNIQUE_IDENTIFIER;
                /// The public key.
                public_key_unique_identifier: required UniqueIdentifier = PUBLIC_KEY_UNIQUE_IDENTIFIER;
                /// Attributes of the private key that the server set.
                private_key: optional_template Attributes = PRIVATE_KEY_TEMPLATE_ATTRIBUTE in ..=V1_4;
                /// Attributes of the public key that the server set.
                public_key: optional_template Attributes = PUBLIC_KEY_TEMPLATE_ATTRIBUTE in ..=V1_4;
            }
        }
    };
}

asks_for_a_pair! {
    /// Create Key Pair request.
    CreateKeyPairRequest {}
}

answers_a_pair! {
    /// Create Key Pair response.
    CreateKeyPairResponse
}

structure! {
    /// Register request.
    RegisterRequest {
        /// Object Type.
        object_type: required ObjectType = OBJECT_TYPE;
        /// Attributes of the new object.
        attributes: template Attributes = TEMPLATE_ATTRIBUTE;
        /// The object.
        object: object ManagedObject = SYMMETRIC_KEY;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Register response.
    RegisterResponse {
        /// The new object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}

structure! {
    /// Re-key request.
    ReKeyRequest {
        /// The key to replace; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Offset between initial date and activation date of the new key.
        offset: optional Interval = OFFSET;
        /// Attributes of the new key.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Re-key response.
    ReKeyResponse {
        /// The new key.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}

structure! {
    /// Derivation Parameters, KMIP 2.1 §7.12, KMIP 1.4 §4.6.
    DerivationParameters {
        /// Cryptographic Parameters.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Initialization Vector.
        initialization_vector: optional Vec<u8> = INITIALIZATION_VECTOR;
        /// Derivation Data; 2.x lets it repeat.
        derivation_data: repeated Vec<u8> = DERIVATION_DATA;
        /// Salt.
        salt: optional Vec<u8> = SALT;
        /// Iteration Count.
        iteration_count: optional i32 = ITERATION_COUNT;
    }
}

structure! {
    /// Derive Key request.
    DeriveKeyRequest {
        /// Object Type of the new object.
        object_type: required ObjectType = OBJECT_TYPE;
        /// What the new object is derived from.
        unique_identifiers: repeated UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Derivation Method.
        derivation_method: required DerivationMethod = DERIVATION_METHOD;
        /// Derivation Parameters.
        derivation_parameters: required DerivationParameters = DERIVATION_PARAMETERS;
        /// Attributes of the new object.
        attributes: template Attributes = TEMPLATE_ATTRIBUTE;
    }
}

structure! {
    /// Derive Key response.
    DeriveKeyResponse {
        /// The new object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}

asks_for_a_pair! {
    /// Re-key Key Pair request.
    ReKeyKeyPairRequest {
        /// The private key of the pair to replace; the ID placeholder if absent.
        private_key_unique_identifier: optional UniqueIdentifier = PRIVATE_KEY_UNIQUE_IDENTIFIER;
        /// Offset between initial date and activation date of the new keys.
        offset: optional Interval = OFFSET;
    }
}

answers_a_pair! {
    /// Re-key Key Pair response.
    ReKeyKeyPairResponse
}
