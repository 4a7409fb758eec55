//! Stories of tickets: who may use one, for what, and for how long.

use keygate_kmip::{
    DelegatedLoginRequest, EncryptRequest, GetAttributesRequest, Interval, LoginRequest, LogoutRequest, Objects, Operation,
    Operations, QueryRequest, Right, Rights, Secret, Ticket, TicketType, UsageLimits, UsageLimitsUnit,
};
use keygate_pki::{Fingerprint, OffsetDateTime};

use super::*;
use crate::identity::{CertificateRecord, ClientRecord, Directory, DirectoryContent};
use crate::ticket::TicketRefused;

/// A directory in which these callers may connect, or with `enabled` false may not.
fn directory(callers: &[&Caller], enabled: bool) -> Directory {
    let moment = |at: i64| OffsetDateTime::from_unix_timestamp(at).expect("a moment");
    let client = |caller: &&Caller| ClientRecord {
        id: caller.client,
        organisation: caller.organisation,
        name: caller.name.to_string(),
        enabled,
        keystore_default: None,
        groups: Vec::new(),
        users: Vec::new(),
    };
    let certificate = |(number, caller): (usize, &&Caller)| CertificateRecord {
        client: caller.client,
        fingerprint: Fingerprint([number as u8; 32]),
        issued: None,
        not_before: moment(NOW - 60),
        not_after: moment(NOW + 86_400),
        revoked: false,
    };
    let clients = callers.iter().map(client).collect();
    let certificates = callers.iter().enumerate().map(certificate).collect();
    Directory::new(1, DirectoryContent { clients, certificates, ..DirectoryContent::default() })
}

async fn login(world: &World, caller: &Caller, request: LoginRequest) -> Result<Ticket, OperationError> {
    match world.ask(caller, RequestPayload::Login(request)).await? {
        ResponsePayload::Login(response) => Ok(response.ticket),
        _ => panic!("Login is answered by Login"),
    }
}

async fn delegate(world: &World, caller: &Caller, rights: Vec<Right>) -> Ticket {
    let request = DelegatedLoginRequest { lease_time: None, request_count: None, usage_limits: None, rights: Rights { rights } };
    match world.ask(caller, RequestPayload::DelegatedLogin(request)).await {
        Ok(ResponsePayload::DelegatedLogin(response)) => response.ticket,
        other => panic!("delegated: {:?}", other.map(|_| "another answer")),
    }
}

fn right(operations: &[Operation], objects: Option<&[&str]>) -> Right {
    Right {
        usage_limits: None,
        operations: Some(Operations { operations: operations.to_vec() }),
        objects: objects.map(|objects| Objects { unique_identifiers: objects.iter().map(|id| named(id)).collect() }),
        object_groups: None,
    }
}

fn present(world: &World, ticket: &Ticket, by: &Caller, known: &Directory, now: i64) -> Result<Caller, TicketRefused> {
    world.gateway.tickets.present(ticket.value.expose_bytes(), &Arc::new(by.clone()), known, now)
}

fn attributes_of(id: &str) -> RequestPayload {
    RequestPayload::GetAttributes(GetAttributesRequest { unique_identifier: Some(named(id)), names: Vec::new() })
}

async fn created(world: &World, caller: &Caller) -> String {
    match world.ask(caller, create_aes(Vec::new())).await {
        Ok(ResponsePayload::Create(response)) => text(&response.unique_identifier),
        other => panic!("created: {:?}", other.map(|_| "another answer")),
    }
}

/// A ticket of Login is good for the caller that logged in, for so many requests and so long, and for nobody else.
#[tokio::test]
async fn a_ticket_is_bound_to_its_caller() {
    let world = World::new().await;
    let known = directory(&[&world.alice, &world.bob], true);
    let request = LoginRequest { lease_time: Some(Interval(60)), request_count: Some(2), usage_limits: None };
    let ticket = login(&world, &world.alice, request).await.expect("a ticket");
    assert_eq!(present(&world, &ticket, &world.bob, &known, NOW), Err(TicketRefused::Invalid));
    let forged = Ticket { ticket_type: TicketType::Login, value: Secret::new(vec![7; 32]) };
    assert_eq!(present(&world, &forged, &world.alice, &known, NOW), Err(TicketRefused::Invalid));
    for _ in 0..2 {
        let caller = present(&world, &ticket, &world.alice, &known, NOW).expect("good for two requests");
        assert_eq!(caller.principal(), world.alice.principal());
    }
    assert_eq!(present(&world, &ticket, &world.alice, &known, NOW), Err(TicketRefused::UsedUp));
    assert_eq!(present(&world, &ticket, &world.alice, &known, NOW + 60), Err(TicketRefused::Invalid), "its time is over");
}

/// What is asked of a ticket is within the server's limits, and what is no limit is refused.
#[tokio::test]
async fn limits_of_tickets_are_checked() {
    let world = World::new().await;
    let refused = [
        LoginRequest { lease_time: Some(Interval(3_601)), ..LoginRequest::default() },
        LoginRequest { request_count: Some(-1), ..LoginRequest::default() },
        LoginRequest { usage_limits: Some(UsageLimits { total: 0, count: None, unit: UsageLimitsUnit::Byte }), ..LoginRequest::default() },
    ];
    for request in refused {
        assert!(matches!(login(&world, &world.alice, request).await, Err(OperationError::InvalidField(_))));
    }
    for _ in 0..256 {
        login(&world, &world.alice, LoginRequest::default()).await.expect("a ticket");
    }
    assert!(matches!(login(&world, &world.alice, LoginRequest::default()).await, Err(OperationError::LimitExceeded(_))));
    login(&world, &world.bob, LoginRequest::default()).await.expect("others have room of their own");
}

/// A ticket that was logged out of is good no more, nor one that was made with it; only its own caller logs out of it.
#[tokio::test]
async fn logging_out_ends_a_ticket() {
    let world = World::new().await;
    let known = directory(&[&world.alice, &world.bob], true);
    let first = login(&world, &world.alice, LoginRequest::default()).await.expect("a ticket");
    let by_first = present(&world, &first, &world.alice, &known, NOW).expect("in force");
    let second = login(&world, &by_first, LoginRequest::default()).await.expect("a ticket made with a ticket");
    let logout = |ticket: &Ticket| RequestPayload::Logout(LogoutRequest { ticket: ticket.clone() });
    assert!(matches!(world.ask(&world.bob, logout(&first)).await, Err(OperationError::InvalidTicket)));
    present(&world, &second, &world.alice, &known, NOW).expect("still in force");
    world.ask(&world.alice, logout(&first)).await.expect("logged out");
    for ticket in [&first, &second] {
        assert_eq!(present(&world, ticket, &world.alice, &known, NOW), Err(TicketRefused::Invalid));
    }
    assert!(matches!(world.ask(&world.alice, logout(&first)).await, Err(OperationError::InvalidTicket)));
}

/// A delegated ticket lets another client do what its rights name, on what they name, and what whoever delegated may do itself.
#[tokio::test]
async fn a_delegated_ticket_is_no_more_than_its_rights() {
    let world = World::new().await;
    let known = directory(&[&world.alice, &world.bob], true);
    let (shared, other) = (created(&world, &world.alice).await, created(&world, &world.alice).await);
    let of_bob = created(&world, &world.bob).await;
    let rights = vec![right(&[Operation::Query], None), right(&[Operation::GetAttributes], Some(&[&shared, &of_bob]))];
    let ticket = delegate(&world, &world.alice, rights).await;
    let caller = present(&world, &ticket, &world.bob, &known, NOW).expect("passed on to bob");

    world.ask(&caller, attributes_of(&shared)).await.expect("a right names it");
    world.ask(&caller, RequestPayload::Query(QueryRequest::default())).await.expect("a right names it");
    assert!(matches!(world.ask(&caller, attributes_of(&other)).await, Err(OperationError::NotAuthorised)), "no right names the object");
    assert!(matches!(world.get(&caller, &shared).await, Err(OperationError::NotAuthorised)), "no right names the operation");
    assert!(matches!(world.ask(&caller, create_aes(Vec::new())).await, Err(OperationError::NotAuthorised)));
    assert!(matches!(world.ask(&caller, attributes_of(&of_bob)).await, Err(OperationError::NotFound)), "alice may not herself");
}

/// An operation that names no object needs a right for all objects; one with objects does not give it.
#[tokio::test]
async fn a_right_for_objects_makes_none() {
    let world = World::new().await;
    let known = directory(&[&world.alice], true);
    let shared = created(&world, &world.alice).await;
    let ticket = delegate(&world, &world.alice, vec![right(&[Operation::Create, Operation::Import], Some(&[&shared]))]).await;
    let caller = present(&world, &ticket, &world.alice, &known, NOW).expect("in force");
    assert!(matches!(world.ask(&caller, create_aes(Vec::new())).await, Err(OperationError::NotAuthorised)));
    let ticket = delegate(&world, &world.alice, vec![right(&[Operation::Create], None)]).await;
    let caller = present(&world, &ticket, &world.alice, &known, NOW).expect("in force");
    world.ask(&caller, create_aes(Vec::new())).await.expect("a right for all objects");
}

/// A ticket made with a delegated one has no more rights than that one, whatever it is made with.
#[tokio::test]
async fn rights_do_not_grow_by_passing_on() {
    let world = World::new().await;
    let known = directory(&[&world.alice, &world.bob], true);
    let shared = created(&world, &world.alice).await;
    let first = delegate(&world, &world.alice, vec![right(&[Operation::GetAttributes, Operation::DelegatedLogin, Operation::Login], None)]).await;
    let caller = present(&world, &first, &world.bob, &known, NOW).expect("in force");
    let second = delegate(&world, &caller, vec![right(&[Operation::Get, Operation::GetAttributes], None)]).await;
    let third = login(&world, &caller, LoginRequest::default()).await.expect("a ticket");
    for ticket in [&second, &third] {
        let caller = present(&world, ticket, &world.bob, &known, NOW).expect("in force");
        world.ask(&caller, attributes_of(&shared)).await.expect("both allow it");
        assert!(matches!(world.get(&caller, &shared).await, Err(OperationError::NotAuthorised)));
    }
}

/// A delegated ticket ends with whoever delegated: a disabled client's is worth nothing.
#[tokio::test]
async fn a_delegated_ticket_ends_with_its_client() {
    let world = World::new().await;
    let ticket = delegate(&world, &world.alice, vec![right(&[Operation::Query], None)]).await;
    let (enabled, disabled) = (directory(&[&world.alice, &world.bob], true), directory(&[&world.alice], false));
    present(&world, &ticket, &world.bob, &enabled, NOW).expect("alice is let in");
    assert_eq!(present(&world, &ticket, &world.bob, &disabled, NOW), Err(TicketRefused::Invalid));
    let mut stranger = world.bob.clone();
    stranger.organisation = OrganisationId(uuid::Uuid::from_u128(7));
    assert_eq!(present(&world, &ticket, &stranger, &enabled, NOW), Err(TicketRefused::Invalid), "of another organisation");
}

/// Usage Limits of a ticket and of a right are taken off by what is done; what fails takes nothing.
#[tokio::test]
async fn usage_limits_of_a_ticket_are_used_up() {
    let world = World::new().await;
    let known = directory(&[&world.alice], true);
    let id = created(&world, &world.alice).await;
    let limits = |total| Some(UsageLimits { total, count: None, unit: UsageLimitsUnit::Byte });
    let mut limited = right(&[Operation::Encrypt], None);
    limited.usage_limits = limits(48);
    let ticket = delegate(&world, &world.alice, vec![limited]).await;
    let caller = present(&world, &ticket, &world.alice, &known, NOW).expect("in force");
    let encrypt = |octets: usize, mode: keygate_kmip::BlockCipherMode| {
        let parameters = keygate_kmip::CryptographicParameters { block_cipher_mode: Some(mode), ..Default::default() };
        RequestPayload::Encrypt(EncryptRequest {
            unique_identifier: Some(named(&id)),
            cryptographic_parameters: Some(parameters),
            data: Some(Secret::new(vec![0; octets])),
            iv_counter_nonce: None,
            correlation_value: None,
            init_indicator: None,
            final_indicator: None,
            additional_data: None,
        })
    };
    let ecb = keygate_kmip::BlockCipherMode::Ecb;
    world.ask(&caller, encrypt(32, ecb)).await.expect("within the limit");
    assert!(world.ask(&caller, encrypt(15, ecb)).await.is_err(), "no whole block");
    world.ask(&caller, encrypt(16, ecb)).await.expect("what failed took nothing");
    assert!(matches!(world.ask(&caller, encrypt(16, ecb)).await, Err(OperationError::TicketUsedUp)));
    world.ask(&world.alice, encrypt(16, ecb)).await.expect("without the ticket there is no such limit");
}

/// A message that is undone leaves no ticket in force.
#[tokio::test]
async fn an_undone_login_is_worth_nothing() {
    let world = World::new().await;
    let known = directory(&[&world.alice], true);
    let mut exchange = world.exchange(&world.alice);
    let answer = perform(&mut exchange, RequestPayload::Login(LoginRequest::default())).await;
    let Ok(ResponsePayload::Login(response)) = answer else { panic!("a ticket") };
    exchange.item_done(None);
    exchange.undo();
    exchange.finish().await.expect("finished");
    assert_eq!(present(&world, &response.ticket, &world.alice, &known, NOW), Err(TicketRefused::Invalid));
}

/// A ticket has so many rights and no more.
#[tokio::test]
async fn rights_are_bounded() {
    let world = World::new().await;
    let rights = vec![right(&[Operation::Query], None); 257];
    let request = DelegatedLoginRequest { lease_time: None, request_count: None, usage_limits: None, rights: Rights { rights } };
    let refused = world.ask(&world.alice, RequestPayload::DelegatedLogin(request)).await;
    assert!(matches!(refused, Err(OperationError::LimitExceeded(_))));
}
