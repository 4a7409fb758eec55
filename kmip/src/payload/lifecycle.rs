//! Activate, Revoke, Deactivate, Destroy, Obliterate, Archive, Recover, Check, Get Usage Allocation, Obtain Lease: KMIP 2.1 §6.1.1, §6.1.49,
//! §6.1.14, §6.1.4, §6.1.43, §6.1.7, §6.1.23, §6.1.33.

use crate::codec::{DateTime, Interval, structure};
use crate::{CryptographicUsageMask, DeactivationReasonCode, RevocationReason, UniqueIdentifier};

macro_rules! names_one_object {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        structure! {
            $(#[$doc])*
            $name {
                /// The object; in a request, the ID placeholder if absent.
                unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
            }
        }
    )*};
}

macro_rules! answers_one_object {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        structure! {
            $(#[$doc])*
            $name {
                /// The object.
                unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
            }
        }
    )*};
}

names_one_object! {
    /// Activate request.
    ActivateRequest;
    /// Archive request.
    ArchiveRequest;
    /// Destroy request.
    DestroyRequest;
    /// Obtain Lease request.
    ObtainLeaseRequest;
    /// Recover request.
    RecoverRequest;
}

answers_one_object! {
    /// Activate response.
    ActivateResponse;
    /// Archive response.
    ArchiveResponse;
    /// Deactivate response, of 3.0.
    DeactivateResponse;
    /// Destroy response.
    DestroyResponse;
    /// Get Usage Allocation response.
    GetUsageAllocationResponse;
    /// Recover response.
    RecoverResponse;
    /// Revoke response.
    RevokeResponse;
}

structure! {
    /// Revoke request.
    RevokeRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Revocation Reason.
        revocation_reason: required RevocationReason = REVOCATION_REASON;
        /// Compromise Occurrence Date.
        compromise_occurrence_date: optional DateTime = COMPROMISE_OCCURRENCE_DATE;
    }
}

structure! {
    /// Deactivation Reason, of 3.0.
    DeactivationReason {
        /// Deactivation Reason Code.
        code: required DeactivationReasonCode = DEACTIVATION_REASON_CODE;
        /// Deactivation Message.
        message: optional String = DEACTIVATION_MESSAGE;
    }
}

structure! {
    /// Deactivate request, of 3.0.
    DeactivateRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Deactivation Reason.
        deactivation_reason: optional DeactivationReason = DEACTIVATION_REASON;
    }
}

structure! {
    /// Obliterate request, of 3.0.
    ObliterateRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
    }
}

structure! {
    /// Obliterate response: nothing is left to name.
    ObliterateResponse {}
}

structure! {
    /// Check request.
    CheckRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Usage Limits Count that is wanted.
        usage_limits_count: optional i64 = USAGE_LIMITS_COUNT;
        /// Cryptographic Usage Mask that is wanted.
        cryptographic_usage_mask: optional CryptographicUsageMask = CRYPTOGRAPHIC_USAGE_MASK;
        /// Lease Time that is wanted.
        lease_time: optional Interval = LEASE_TIME;
    }
}

structure! {
    /// Check response: the object, and what cannot be had.
    CheckResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Usage Limits Count that cannot be had.
        usage_limits_count: optional i64 = USAGE_LIMITS_COUNT;
        /// Cryptographic Usage Mask that cannot be had.
        cryptographic_usage_mask: optional CryptographicUsageMask = CRYPTOGRAPHIC_USAGE_MASK;
        /// Lease Time that cannot be had.
        lease_time: optional Interval = LEASE_TIME;
    }
}

structure! {
    /// Get Usage Allocation request.
    GetUsageAllocationRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Usage Limits Count to set aside, in the unit of the object's limits.
        usage_limits_count: required i64 = USAGE_LIMITS_COUNT;
    }
}

structure! {
    /// Obtain Lease response.
    ObtainLeaseResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Lease Time.
        lease_time: required Interval = LEASE_TIME;
        /// Last Change Date.
        last_change_date: required DateTime = LAST_CHANGE_DATE;
    }
}
