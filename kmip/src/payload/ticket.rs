//! Login, Logout and Delegated Login, and what their tickets say: KMIP 2.1 §6.1.31 to §6.1.33, §7.34, §7.35, §7.39.

use crate::codec::{Interval, Secret, structure};
use crate::payload::Operations;
use crate::{ObjectGroups, ProtocolVersion, TicketType, UniqueIdentifier, UsageLimits};

const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

structure! {
    /// Ticket, KMIP 2.1 §7.39. Whoever has the value may act by it: it is kept as a secret.
    Ticket {
        /// Ticket Type.
        ticket_type: required TicketType = TICKET_TYPE;
        /// Ticket Value, the server's own.
        value: required Secret = TICKET_VALUE;
    }
}

structure! {
    /// Rights, KMIP 2.1 §7.35: what a delegated ticket is good for.
    Rights {
        /// Any one of them is enough.
        rights: repeated Right = RIGHT;
    }
}

structure! {
    /// Right, KMIP 2.1 §7.34. What is absent is not limited.
    Right {
        /// How much may be done by it.
        usage_limits: optional UsageLimits = USAGE_LIMITS;
        /// Operations.
        operations: optional Operations = OPERATIONS;
        /// Objects.
        objects: optional Objects = OBJECTS;
        /// Groups of objects.
        object_groups: optional ObjectGroups = OBJECT_GROUPS in V2_1..;
    }
}

structure! {
    /// Objects, KMIP 2.1 §7.24.
    Objects {
        /// The objects.
        unique_identifiers: repeated UniqueIdentifier = UNIQUE_IDENTIFIER;
    }
}

structure! {
    /// Login request.
    #[derive(Default)]
    LoginRequest {
        /// How long the ticket is good, seconds.
        lease_time: optional Interval = LEASE_TIME;
        /// For how many requests it is good.
        request_count: optional i32 = REQUEST_COUNT;
        /// How much may be done by it.
        usage_limits: optional UsageLimits = USAGE_LIMITS;
    }
}

structure! {
    /// Login response.
    LoginResponse {
        /// The ticket.
        ticket: required Ticket = TICKET;
    }
}

structure! {
    /// Logout request.
    LogoutRequest {
        /// The ticket to withdraw.
        ticket: required Ticket = TICKET;
    }
}

structure! {
    /// Logout response.
    LogoutResponse {}
}

structure! {
    /// Delegated Login request.
    DelegatedLoginRequest {
        /// How long the ticket is good, seconds.
        lease_time: optional Interval = LEASE_TIME;
        /// For how many requests it is good.
        request_count: optional i32 = REQUEST_COUNT;
        /// How much may be done by it.
        usage_limits: optional UsageLimits = USAGE_LIMITS;
        /// What may be done by it.
        rights: required Rights = RIGHTS;
    }
}

structure! {
    /// Delegated Login response.
    DelegatedLoginResponse {
        /// The ticket.
        ticket: required Ticket = TICKET;
    }
}
