//! Certify, Re-certify and Validate: KMIP 2.1 §6.1.6, §6.1.45, §6.1.61.

use crate::codec::{DateTime, Interval, structure};
use crate::{
    Attributes, Certificate, CertificateRequestType, ProtectionStorageMasks, ProtocolVersion, UniqueIdentifier,
    ValidityIndicator,
};

const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;

structure! {
    /// Certify request.
    #[derive(Default)]
    CertifyRequest {
        /// The public key, or from 2.0 the certificate request; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Certificate Request Type.
        request_type: optional CertificateRequestType = CERTIFICATE_REQUEST_TYPE;
        /// Certificate Request of 1.x.
        request: optional Vec<u8> = CERTIFICATE_REQUEST in ..V2_0;
        /// Certificate Request Value of 2.x.
        request_value: optional Vec<u8> = CERTIFICATE_REQUEST_VALUE in V2_0..;
        /// Attributes of the new certificate.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Certify response.
    CertifyResponse {
        /// The new certificate.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}

structure! {
    /// Re-certify request.
    #[derive(Default)]
    ReCertifyRequest {
        /// The certificate to renew; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// A certificate request that is a managed object.
        request_unique_identifier: optional UniqueIdentifier = CERTIFICATE_REQUEST_UNIQUE_IDENTIFIER in V2_0..;
        /// Certificate Request Type.
        request_type: optional CertificateRequestType = CERTIFICATE_REQUEST_TYPE;
        /// Certificate Request of 1.x.
        request: optional Vec<u8> = CERTIFICATE_REQUEST in ..V2_0;
        /// Certificate Request Value of 2.x.
        request_value: optional Vec<u8> = CERTIFICATE_REQUEST_VALUE in V2_0..;
        /// Offset between the Initial Date and the Activation Date of the new certificate.
        offset: optional Interval = OFFSET;
        /// Attributes of the new certificate.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE;
        /// Protection Storage Masks.
        protection_storage_masks: optional ProtectionStorageMasks = PROTECTION_STORAGE_MASKS in V2_0..;
    }
}

structure! {
    /// Re-certify response.
    ReCertifyResponse {
        /// The new certificate.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Attributes the server set that the request did not.
        attributes: optional_template Attributes = TEMPLATE_ATTRIBUTE in ..=V1_4;
    }
}

structure! {
    /// Validate request.
    #[derive(Default)]
    ValidateRequest {
        /// Certificates of the chain.
        certificates: repeated Certificate = CERTIFICATE;
        /// Certificates of the chain that are managed objects.
        unique_identifiers: repeated UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The moment at which the chain is to be valid; now if absent.
        validity_date: optional DateTime = VALIDITY_DATE;
    }
}

structure! {
    /// Validate response.
    ValidateResponse {
        /// Whether the chain is valid.
        validity_indicator: required ValidityIndicator = VALIDITY_INDICATOR;
    }
}
