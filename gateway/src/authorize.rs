//! Who may do what: (caller, operation, object) -> [`Permit`].
//!
//! An object belongs to the caller that made it: a client, or a user of a client that has users. Others act on it by
//! grant. Organisations never cross. What is absent and what is forbidden look alike to the caller; telling them apart is
//! not even possible here, since the answer is an `Option`.

use std::collections::HashMap;

use keygate_kmip::Operation;

use crate::identity::Caller;
use crate::object::Object;
use crate::store::{ClientId, Directory, EntryId, GrantScope, Grantee, ObjectId};

/// Proof that a caller may perform an operation on an object. Made here only; the operation consumes it.
#[derive(Debug)]
pub struct Permit {
    object: ObjectId,
    operation: Operation,
}

impl Permit {
    /// The object it is for.
    #[must_use]
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// The operation it is for.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }
}

/// Whose objects a caller may locate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// Owners whose every object is visible.
    pub owners: Vec<ClientId>,
    /// Objects visible besides.
    pub objects: Vec<ObjectId>,
}

/// The grants in force, as of one change of the directory.
#[derive(Debug, Default)]
pub struct Grants {
    changed_at: u64,
    by_scope: HashMap<GrantScope, Vec<Given>>,
}

#[derive(Debug)]
struct Given {
    grantee: Grantee,
    operations: Vec<Operation>,
    every_operation: bool,
}

impl Grants {
    /// The grants of a directory.
    #[must_use]
    pub fn from_directory(directory: &Directory) -> Self {
        let mut by_scope: HashMap<GrantScope, Vec<Given>> = HashMap::new();
        for grant in &directory.grants {
            let given = Given {
                grantee: grant.grantee,
                operations: grant.operations.iter().filter_map(|name| operation_named(name)).collect(),
                every_operation: grant.operations.iter().any(|name| name.eq_ignore_ascii_case("all")),
            };
            by_scope.entry(grant.scope).or_default().push(given);
        }
        Self { changed_at: directory.changed_at, by_scope }
    }

    /// The change of the directory they are of.
    #[must_use]
    pub fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// A permit, if the caller may.
    #[must_use]
    pub fn permit(&self, caller: &Caller, operation: Operation, object: &Object) -> Option<Permit> {
        let own = object.owner == caller.principal();
        let same_organisation = object.organisation == caller.organisation;
        // A ticket takes away, it never adds: whoever it stands for must be permitted all the same.
        let by_ticket = caller.ticket.as_ref().is_none_or(|by| by.ticket.allows_on(operation, object));
        let allowed = by_ticket
            && same_organisation
            && (own
                || self.is_given(GrantScope::Object(object.id), caller, operation)
                || self.is_given(GrantScope::Owner(object.owner), caller, operation));
        allowed.then_some(Permit { object: object.id, operation })
    }

    /// What a caller may locate: its own, and what Locate was granted on.
    #[must_use]
    pub fn visible(&self, caller: &Caller) -> Visible {
        let mut visible = Visible { owners: vec![caller.principal()], objects: Vec::new() };
        for (scope, list) in &self.by_scope {
            if list.iter().any(|given| given.allows(caller, Operation::Locate)) {
                match scope {
                    GrantScope::Object(object) => visible.objects.push(*object),
                    GrantScope::Owner(owner) => visible.owners.push(*owner),
                }
            }
        }
        visible
    }

    fn is_given(&self, scope: GrantScope, caller: &Caller, operation: Operation) -> bool {
        self.by_scope.get(&scope).is_some_and(|list| list.iter().any(|given| given.allows(caller, operation)))
    }
}

impl Given {
    fn allows(&self, caller: &Caller, operation: Operation) -> bool {
        let grantee = match self.grantee {
            Grantee::Client(client) => client == caller.client || client == caller.principal(),
            Grantee::Group(group) => caller.groups.contains(&group),
        };
        grantee && (self.every_operation || self.operations.contains(&operation))
    }
}

/// The operation of this name, as the standard normalises it, regardless of case.
#[must_use]
pub fn operation_named(name: &str) -> Option<Operation> {
    Operation::ALL.iter().copied().find(|operation| operation.xml_name().is_some_and(|known| known.eq_ignore_ascii_case(name)))
}

impl Caller {
    /// Who owns what this caller makes: the client, or its KMIP user where it has users.
    #[must_use]
    pub fn principal(&self) -> ClientId {
        self.user.as_ref().filter(|user| user.owns).map_or(self.client, |user| {
            let EntryId(id) = user.id;
            ClientId(id)
        })
    }
}
