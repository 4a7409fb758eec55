//! Login, Logout and Delegated Login. KMIP 2.1 §6.1.32, §6.1.33, §6.1.11.

use std::sync::Arc;

use keygate_kmip::{
    DelegatedLoginRequest, DelegatedLoginResponse, Interval, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, Right as Asked,
    Rights, Secret, Ticket, TicketType, UsageLimits,
};

use super::{Exchange, OperationError};
use crate::ticket::{Allowance, NewTicket, NotIssued, Right};

/// Rights of a ticket, and operations and objects of a right.
const LIST_MAX: usize = 256;

/// Hands out a ticket for the caller itself.
///
/// # Errors
/// Limits that are none, or over those of the server; too many tickets.
pub(super) fn login(exchange: &mut Exchange<'_>, request: &LoginRequest) -> Result<LoginResponse, OperationError> {
    let limits = Limits { lease_time: request.lease_time, request_count: request.request_count, usage: request.usage_limits.as_ref() };
    Ok(LoginResponse { ticket: issue(exchange, &limits, None)? })
}

/// Hands out a ticket for some of what the caller may do, for whoever it is passed on to.
///
/// # Errors
/// As Login; rights that name what is not there for the caller.
pub(super) fn delegated_login(exchange: &mut Exchange<'_>, request: DelegatedLoginRequest) -> Result<DelegatedLoginResponse, OperationError> {
    let limits = Limits { lease_time: request.lease_time, request_count: request.request_count, usage: request.usage_limits.as_ref() };
    let rights = rights(exchange, request.rights)?;
    Ok(DelegatedLoginResponse { ticket: issue(exchange, &limits, Some(rights))? })
}

/// Withdraws a ticket, and with it those that were made with it.
///
/// # Errors
/// [`OperationError::InvalidTicket`] for one that is none of the caller's.
pub(super) fn logout(exchange: &mut Exchange<'_>, request: &LogoutRequest) -> Result<LogoutResponse, OperationError> {
    let tickets = &exchange.gateway.tickets;
    let ticket = tickets.withdrawable(request.ticket.value.expose_bytes(), exchange.caller, exchange.now).map_err(|_| OperationError::InvalidTicket)?;
    let tickets = Arc::clone(tickets);
    exchange.after_commit(Box::new(move || tickets.withdraw(&ticket)));
    Ok(LogoutResponse {})
}

/// What every kind of ticket may be limited to.
struct Limits<'a> {
    lease_time: Option<Interval>,
    request_count: Option<i32>,
    usage: Option<&'a UsageLimits>,
}

fn issue(exchange: &mut Exchange<'_>, limits: &Limits<'_>, rights: Option<Vec<Right>>) -> Result<Ticket, OperationError> {
    let new = NewTicket { until: until(exchange, limits.lease_time)?, requests: requests(limits.request_count)?, allowance: allowance(limits.usage)?, rights };
    let made = exchange.gateway.tickets.issue(exchange.caller, new, exchange.now);
    let (value, ticket) = made.map_err(|error| match error {
        NotIssued::TooMany | NotIssued::TooLong => OperationError::LimitExceeded(error.to_string()),
        NotIssued::Random => OperationError::internal("ticket", error),
    })?;
    // A message may be executed again: only what was committed is in force.
    let tickets = Arc::clone(&exchange.gateway.tickets);
    exchange.after_commit(Box::new(move || tickets.put(ticket)));
    exchange.release_material();
    Ok(Ticket { ticket_type: TicketType::Login, value: Secret::new(value) })
}

/// No Lease Time, or 0, asks for as long as the server lets a ticket live.
fn until(exchange: &Exchange<'_>, asked: Option<Interval>) -> Result<i64, OperationError> {
    let most = exchange.gateway.policy.ticket_seconds_max;
    let seconds = match asked {
        None | Some(Interval(0)) => most,
        Some(Interval(seconds)) if seconds <= most => seconds,
        Some(Interval(seconds)) => {
            return Err(OperationError::InvalidField(format!("Lease Time of {seconds} seconds is over the limit of {most} (kmip.ticket_seconds_max)")));
        }
    };
    let until = exchange.now.saturating_add(i64::from(seconds));
    Ok(exchange.caller.ticket.as_ref().map_or(until, |by| until.min(by.ticket.until())))
}

/// No Request Count, or 0, limits nothing.
fn requests(asked: Option<i32>) -> Result<Option<i64>, OperationError> {
    match asked {
        None | Some(0) => Ok(None),
        Some(count) if count > 0 => Ok(Some(i64::from(count))),
        Some(_) => Err(OperationError::InvalidField("Request Count is negative".to_owned())),
    }
}

fn allowance(asked: Option<&UsageLimits>) -> Result<Option<Allowance>, OperationError> {
    let bad = || OperationError::InvalidField("Usage Limits of a ticket count bytes or objects, and their total is positive".to_owned());
    asked.map(|limits| Allowance::new(limits).ok_or_else(bad)).transpose()
}

fn rights(exchange: &Exchange<'_>, asked: Rights) -> Result<Vec<Right>, OperationError> {
    check_length("rights", asked.rights.len())?;
    asked.rights.into_iter().map(|right| one_right(exchange, right)).collect()
}

fn one_right(exchange: &Exchange<'_>, asked: Asked) -> Result<Right, OperationError> {
    let allowance = allowance(asked.usage_limits.as_ref())?;
    let operations = asked.operations.map(|operations| operations.operations);
    check_length("operations", operations.as_ref().map_or(0, Vec::len))?;
    let named = asked.objects.map(|objects| objects.unique_identifiers);
    check_length("objects", named.as_ref().map_or(0, Vec::len))?;
    let resolved = named.map(|named| named.iter().map(|id| exchange.resolve(Some(id))).collect::<Result<Vec<_>, _>>());
    let groups = asked.object_groups.map(|groups| groups.groups);
    check_length("object groups", groups.as_ref().map_or(0, Vec::len))?;
    Ok(Right { operations, objects: resolved.transpose()?, groups, allowance })
}

fn check_length(what: &str, length: usize) -> Result<(), OperationError> {
    if length <= LIST_MAX { Ok(()) } else { Err(OperationError::LimitExceeded(format!("{length} {what} are over the limit of {LIST_MAX}"))) }
}
