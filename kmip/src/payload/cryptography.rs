//! Encrypt, Decrypt, Sign, Signature Verify, MAC, MAC Verify, Hash, RNG Retrieve, RNG Seed: KMIP 2.1 §6.1.15, §6.1.10,
//! §6.1.59, §6.1.60, §6.1.38, §6.1.39, §6.1.26, §6.1.51, §6.1.52.

use crate::codec::{Secret, structure};
use crate::{CryptographicParameters, ProtocolVersion, UniqueIdentifier, ValidityIndicator};

const V1_3: ProtocolVersion = ProtocolVersion::V1_3;
const V1_4: ProtocolVersion = ProtocolVersion::V1_4;

structure! {
    /// Encrypt request.
    EncryptRequest {
        /// The key; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Cryptographic Parameters; those of the key if absent.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Data. May be absent in the last part of a stream.
        data: optional Secret = DATA;
        /// IV/Counter/Nonce.
        iv_counter_nonce: optional Vec<u8> = IV_COUNTER_NONCE;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Init Indicator.
        init_indicator: optional bool = INIT_INDICATOR in V1_3..;
        /// Final Indicator.
        final_indicator: optional bool = FINAL_INDICATOR in V1_3..;
        /// Authenticated Encryption Additional Data.
        additional_data: optional Vec<u8> = AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA in V1_4..;
    }
}

structure! {
    /// Encrypt response.
    EncryptResponse {
        /// The key.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Data.
        data: optional Vec<u8> = DATA;
        /// IV/Counter/Nonce that the server made up.
        iv_counter_nonce: optional Vec<u8> = IV_COUNTER_NONCE;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Authenticated Encryption Tag.
        tag: optional Vec<u8> = AUTHENTICATED_ENCRYPTION_TAG in V1_4..;
    }
}

structure! {
    /// Decrypt request.
    DecryptRequest {
        /// The key; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Cryptographic Parameters; those of the key if absent.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Data. May be absent in the last part of a stream.
        data: optional Vec<u8> = DATA;
        /// IV/Counter/Nonce.
        iv_counter_nonce: optional Vec<u8> = IV_COUNTER_NONCE;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Init Indicator.
        init_indicator: optional bool = INIT_INDICATOR in V1_3..;
        /// Final Indicator.
        final_indicator: optional bool = FINAL_INDICATOR in V1_3..;
        /// Authenticated Encryption Additional Data.
        additional_data: optional Vec<u8> = AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA in V1_4..;
        /// Authenticated Encryption Tag.
        tag: optional Vec<u8> = AUTHENTICATED_ENCRYPTION_TAG in V1_4..;
    }
}

structure! {
    /// Decrypt response.
    DecryptResponse {
        /// The key.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Data.
        data: optional Secret = DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
    }
}

structure! {
    /// Sign request.
    SignRequest {
        /// The key; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Cryptographic Parameters; those of the key if absent.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Data.
        data: optional Vec<u8> = DATA;
        /// Digested Data, instead of Data.
        digested_data: optional Vec<u8> = DIGESTED_DATA in V1_4..;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Init Indicator.
        init_indicator: optional bool = INIT_INDICATOR in V1_3..;
        /// Final Indicator.
        final_indicator: optional bool = FINAL_INDICATOR in V1_3..;
    }
}

structure! {
    /// Sign response.
    SignResponse {
        /// The key.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Signature Data.
        signature_data: optional Vec<u8> = SIGNATURE_DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
    }
}

structure! {
    /// Signature Verify request.
    SignatureVerifyRequest {
        /// The key; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Cryptographic Parameters; those of the key if absent.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Data.
        data: optional Vec<u8> = DATA;
        /// Digested Data, instead of Data.
        digested_data: optional Vec<u8> = DIGESTED_DATA in V1_4..;
        /// Signature Data.
        signature_data: optional Vec<u8> = SIGNATURE_DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Init Indicator.
        init_indicator: optional bool = INIT_INDICATOR in V1_3..;
        /// Final Indicator.
        final_indicator: optional bool = FINAL_INDICATOR in V1_3..;
    }
}

structure! {
    /// Signature Verify response.
    SignatureVerifyResponse {
        /// The key.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Validity Indicator.
        validity_indicator: optional ValidityIndicator = VALIDITY_INDICATOR;
        /// Data that was recovered from the signature.
        data: optional Vec<u8> = DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
    }
}

structure! {
    /// MAC request.
    MacRequest {
        /// The key; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Cryptographic Parameters; those of the key if absent.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Data.
        data: optional Vec<u8> = DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Init Indicator.
        init_indicator: optional bool = INIT_INDICATOR in V1_3..;
        /// Final Indicator.
        final_indicator: optional bool = FINAL_INDICATOR in V1_3..;
    }
}

structure! {
    /// MAC response.
    MacResponse {
        /// The key.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// MAC Data.
        mac_data: optional Vec<u8> = MAC_DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
    }
}

structure! {
    /// MAC Verify request.
    MacVerifyRequest {
        /// The key; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Cryptographic Parameters; those of the key if absent.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Data.
        data: optional Vec<u8> = DATA;
        /// MAC Data.
        mac_data: optional Vec<u8> = MAC_DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Init Indicator.
        init_indicator: optional bool = INIT_INDICATOR in V1_3..;
        /// Final Indicator.
        final_indicator: optional bool = FINAL_INDICATOR in V1_3..;
    }
}

structure! {
    /// MAC Verify response.
    MacVerifyResponse {
        /// The key.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Validity Indicator.
        validity_indicator: optional ValidityIndicator = VALIDITY_INDICATOR;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
    }
}

structure! {
    /// Hash request.
    HashRequest {
        /// Cryptographic Parameters: the Hashing Algorithm. Only later parts of a stream may leave it out.
        cryptographic_parameters: optional CryptographicParameters = CRYPTOGRAPHIC_PARAMETERS;
        /// Data.
        data: optional Vec<u8> = DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
        /// Init Indicator.
        init_indicator: optional bool = INIT_INDICATOR in V1_3..;
        /// Final Indicator.
        final_indicator: optional bool = FINAL_INDICATOR in V1_3..;
    }
}

structure! {
    /// Hash response.
    HashResponse {
        /// The digest.
        data: optional Vec<u8> = DATA;
        /// Correlation Value of a stream.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE in V1_3..;
    }
}

structure! {
    /// RNG Retrieve request.
    RngRetrieveRequest {
        /// Data Length, bytes.
        data_length: required i32 = DATA_LENGTH;
    }
}

structure! {
    /// RNG Retrieve response.
    RngRetrieveResponse {
        /// Data.
        data: required Secret = DATA;
    }
}

structure! {
    /// RNG Seed request.
    RngSeedRequest {
        /// Data.
        data: required Secret = DATA;
    }
}

structure! {
    /// RNG Seed response.
    RngSeedResponse {
        /// Data Length: how many bytes of the seed were taken.
        data_length: required i32 = DATA_LENGTH;
    }
}
