//! What a ticket is good for: operations, objects and amounts. KMIP 2.1 §7.34, §7.35 and §7.40.

use std::sync::atomic::{AtomicI64, Ordering};

use keygate_kmip::{Attribute, Operation, UsageLimits, UsageLimitsUnit};

use crate::object::Object;
use crate::store::ObjectId;

/// One right: what is `None` is not limited.
#[derive(Debug)]
pub(crate) struct Right {
    pub(crate) operations: Option<Vec<Operation>>,
    pub(crate) objects: Option<Vec<ObjectId>>,
    pub(crate) groups: Option<Vec<String>>,
    pub(crate) allowance: Option<Allowance>,
}

impl Right {
    fn names(&self, operation: Operation) -> bool {
        self.operations.as_ref().is_none_or(|operations| operations.contains(&operation))
    }

    /// Whether it allows an operation that is about no object: one that is limited to objects does not.
    pub(crate) fn allows(&self, operation: Operation) -> bool {
        self.names(operation) && (!names_no_object(operation) || self.objects.is_none() && self.groups.is_none())
    }

    /// Whether it allows an operation on an object. Objects and groups, where it has both, add up.
    pub(crate) fn allows_on(&self, operation: Operation, object: &Object) -> bool {
        let listed = self.objects.as_ref().map(|objects| objects.contains(&object.id));
        let grouped = self.groups.as_ref().map(|groups| is_in_one_of(object, groups));
        let is_meant = match (listed, grouped) {
            (None, None) => true,
            (listed, grouped) => listed == Some(true) || grouped == Some(true),
        };
        self.names(operation) && is_meant
    }
}

fn is_in_one_of(object: &Object, groups: &[String]) -> bool {
    object.attributes.iter().any(|instance| match &instance.attribute {
        Attribute::ObjectGroup(group) => groups.contains(group),
        _ => false,
    })
}

/// Operations whose requests name no object: only a right for all objects allows them.
fn names_no_object(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Create
            | Operation::CreateKeyPair
            | Operation::CreateSplitKey
            | Operation::DelegatedLogin
            | Operation::DiscoverVersions
            | Operation::Hash
            | Operation::Import
            | Operation::Interop
            | Operation::Locate
            | Operation::Log
            | Operation::Login
            | Operation::Logout
            | Operation::Ping
            | Operation::Pkcs11
            | Operation::Query
            | Operation::Register
            | Operation::RngRetrieve
            | Operation::RngSeed
            | Operation::Validate
    )
}

/// How much may still be done, in one unit.
#[derive(Debug)]
pub(crate) struct Allowance {
    counts_bytes: bool,
    left: AtomicI64,
}

/// What a use of a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    /// Bytes.
    pub(crate) bytes: i64,
    /// Objects.
    pub(crate) objects: i64,
}

impl Allowance {
    /// `None` if the limits are not positive, or in a unit that is not known.
    pub(crate) fn new(limits: &UsageLimits) -> Option<Self> {
        let counts_bytes = match limits.unit {
            UsageLimitsUnit::Byte => true,
            UsageLimitsUnit::Object => false,
            UsageLimitsUnit::Extension(_) => return None,
        };
        (limits.total > 0).then(|| Self { counts_bytes, left: AtomicI64::new(limits.total) })
    }

    fn amount(&self, of: Amounts) -> i64 {
        if self.counts_bytes { of.bytes } else { of.objects }
    }

    /// Takes an amount; false if so much is not left, and then takes nothing.
    pub(crate) fn take(&self, of: Amounts) -> bool {
        let amount = self.amount(of);
        let enough = |left: i64| left.checked_sub(amount).filter(|rest| *rest >= 0);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough).is_ok()
    }

    /// Gives back what was taken for nothing.
    pub(crate) fn give_back(&self, of: Amounts) {
        self.left.fetch_add(self.amount(of), Ordering::AcqRel);
    }
}
