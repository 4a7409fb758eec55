//! PKCS#11: functions of the C interface of tokens, called in KMIP messages. KMIP 2.1 §6.1.37, KMIP Profiles 2.1 §5.18.
//!
//! One slot with one token stands for this server. Served are the functions that tell what there is, sessions, and random numbers;
//! keys are used by KMIP's own operations, which know their states and limits. Every other function answers
//! CKR_FUNCTION_NOT_SUPPORTED, as PKCS#11 has it for what a library lacks.

mod applications;
mod codec;

use keygate_kmip::{Pkcs11Function as F, Pkcs11Request, Pkcs11Response, Pkcs11ReturnCode as Rv, ProtocolVersion, Secret};

pub(super) use applications::Applications;
use codec::{Input, Output};

use super::{Exchange, OperationError, rng};
use crate::store::ClientId;

/// The interface of PKCS#11 3.0 §5.4.4 that the numbers of functions are of.
const INTERFACE: &str = "PKCS 11";
/// The only slot.
const SLOT: u64 = 0;
/// PKCS#11 2.40: the version whose functions have numbers here.
const CRYPTOKI_VERSION: [u8; 2] = [2, 40];

const CKF_TOKEN_PRESENT: u64 = 1;
const CKF_RNG: u64 = 1;
const CKF_WRITE_PROTECTED: u64 = 2;
const CKF_TOKEN_INITIALIZED: u64 = 0x400;
const CKF_RW_SESSION: u64 = 2;
const CKF_SERIAL_SESSION: u64 = 4;
/// CKS_RO_PUBLIC_SESSION and CKS_RW_PUBLIC_SESSION.
const SESSION_STATES: [u64; 2] = [0, 2];
/// CK_UNAVAILABLE_INFORMATION.
const UNAVAILABLE: u64 = u64::MAX;

/// What a function returned, and what it wrote.
type Called = Result<(Rv, Output), OperationError>;

/// Calls a function.
///
/// # Errors
/// An interface that is not served, parameters that cannot be read, too many applications. What PKCS#11 itself calls a failure is a
/// return code in a successful answer.
pub(super) fn pkcs11(exchange: &mut Exchange<'_>, request: Pkcs11Request) -> Result<Pkcs11Response, OperationError> {
    if request.interface.as_deref().is_some_and(|interface| interface != INTERFACE) {
        return Err(OperationError::Pkcs11Interface(format!("the interface served is \"{INTERFACE}\"")));
    }
    let input = request.input_parameters.as_ref().map_or(&[][..], Secret::expose_bytes);
    let mut correlation_value = None;
    let (return_code, output) = match (request.function, request.correlation_value.as_deref()) {
        (F::CInitialize, None) => {
            correlation_value = Some(exchange.gateway.applications.begin(caller(exchange), exchange.now)?);
            (Rv::Ok, Output::default())
        }
        (F::CInitialize, Some(_)) => (Rv::CryptokiAlreadyInitialized, Output::default()),
        (_, None) => (Rv::CryptokiNotInitialized, Output::default()),
        (function, Some(value)) => {
            if exchange.version >= ProtocolVersion::V3_0 {
                correlation_value = Some(value.to_vec());
            }
            call(exchange, function, value, Input::new(input))?
        }
    };
    let output = output.into_bytes();
    Ok(Pkcs11Response {
        interface: request.interface,
        function: request.function,
        correlation_value,
        output_parameters: (!output.is_empty()).then(|| Secret::from(output)),
        return_code,
    })
}

fn caller(exchange: &Exchange<'_>) -> ClientId {
    exchange.caller.principal()
}

fn call(exchange: &mut Exchange<'_>, function: F, value: &[u8], mut input: Input<'_>) -> Called {
    let applications = &exchange.gateway.applications;
    if !applications.touch(value, caller(exchange), exchange.now) {
        return done(Rv::CryptokiNotInitialized);
    }
    let called = match function {
        F::CFinalize => {
            applications.end(value);
            // pReserved, which is to be NULL, may be said.
            return done(Rv::Ok);
        }
        F::CGetInfo => Ok((Rv::Ok, library())),
        F::CGetSlotList => slot_list(&mut input),
        F::CGetSlotInfo => of_slot(&mut input, |_| Ok((Rv::Ok, slot()))),
        F::CGetTokenInfo => of_slot(&mut input, |_| Ok((Rv::Ok, token(applications.sessions(value))))),
        // No mechanism works here: keys are used by KMIP's own operations.
        F::CGetMechanismList => of_slot(&mut input, |input| input.buffer().map(|buffer| list(&[], buffer))),
        F::CGetMechanismInfo => of_slot(&mut input, |input| input.ulong().map(|_| (Rv::MechanismInvalid, Output::default()))),
        F::COpenSession => open_session(applications, value, &mut input),
        F::CCloseSession => of_session(applications, value, &mut input, |_, session, _| {
            applications.close(value, Some(session));
            done(Rv::Ok)
        }),
        F::CCloseAllSessions => of_slot(&mut input, |_| {
            applications.close(value, None);
            done(Rv::Ok)
        }),
        F::CGetSessionInfo => of_session(applications, value, &mut input, |_, _, is_read_write| Ok((Rv::Ok, session_info(is_read_write)))),
        F::CGenerateRandom => return random(exchange, value, input),
        _ => return done(Rv::FunctionNotSupported),
    }?;
    input.finish()?;
    Ok(called)
}

fn done(return_code: Rv) -> Called {
    Ok((return_code, Output::default()))
}

fn of_slot(input: &mut Input<'_>, then: impl FnOnce(&mut Input<'_>) -> Called) -> Called {
    let slot = input.ulong()?;
    let called = then(input)?;
    if slot == SLOT { Ok(called) } else { done(Rv::SlotIdInvalid) }
}

/// A function on a session, which is given its handle and whether it may write.
fn of_session(
    applications: &Applications,
    value: &[u8],
    input: &mut Input<'_>,
    then: impl FnOnce(&mut Input<'_>, u64, bool) -> Called,
) -> Called {
    let session = input.ulong()?;
    match applications.session(value, session) {
        Some(is_read_write) => then(input, session, is_read_write),
        None => {
            input.skip();
            done(Rv::SessionHandleInvalid)
        }
    }
}

/// PKCS#11 2.40 §5.2: without a buffer the count alone is told; one that is too small is CKR_BUFFER_TOO_SMALL.
fn list(values: &[u64], buffer: Option<u32>) -> (Rv, Output) {
    let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
    let mut output = Output::default();
    output.count(count);
    match buffer {
        None => (Rv::Ok, output),
        Some(room) if room < count => (Rv::BufferTooSmall, output),
        Some(_) => {
            values.iter().for_each(|value| output.ulong(*value));
            (Rv::Ok, output)
        }
    }
}

fn slot_list(input: &mut Input<'_>) -> Called {
    // The slot has its token always.
    let _token_present = input.boolean()?;
    Ok(list(&[SLOT], input.buffer()?))
}

fn open_session(applications: &Applications, value: &[u8], input: &mut Input<'_>) -> Called {
    let (slot, flags) = (input.ulong()?, input.ulong()?);
    // pApplication and Notify: nothing is ever notified.
    input.skip();
    match () {
        () if slot != SLOT => done(Rv::SlotIdInvalid),
        // PKCS#11 2.40 §5.6: "the CKF_SERIAL_SESSION bit must always be set".
        () if flags & CKF_SERIAL_SESSION == 0 => done(Rv::SessionParallelNotSupported),
        () => match applications.open(value, flags & CKF_RW_SESSION != 0) {
            None => done(Rv::SessionCount),
            Some(handle) => {
                let mut output = Output::default();
                output.ulong(handle);
                Ok((Rv::Ok, output))
            }
        },
    }
}

fn random(exchange: &mut Exchange<'_>, value: &[u8], mut input: Input<'_>) -> Called {
    let session = input.ulong()?;
    let length = input.count()?;
    input.finish()?;
    if exchange.gateway.applications.session(value, session).is_none() {
        return done(Rv::SessionHandleInvalid);
    }
    if length == 0 || i64::from(length) > i64::from(rng::RETRIEVE_BYTES_MAX) {
        return done(Rv::ArgumentsBad);
    }
    let octets = rng::octets(exchange, length as usize)?;
    let mut output = Output::default();
    output.count(length);
    output.octets(octets.expose_bytes());
    Ok((Rv::Ok, output))
}

/// CK_INFO.
fn library() -> Output {
    let mut output = Output::default();
    output.octets(&CRYPTOKI_VERSION);
    output.padded("Keygate", 32);
    output.ulong(0);
    output.padded("Keygate", 32);
    output.octets(&version());
    output
}

/// CK_SLOT_INFO.
fn slot() -> Output {
    let mut output = Output::default();
    output.padded("Keygate", 64);
    output.padded("Keygate", 32);
    output.ulong(CKF_TOKEN_PRESENT);
    output.octets(&version());
    output.octets(&version());
    output
}

/// CK_TOKEN_INFO.
fn token((sessions, read_write): (u64, u64)) -> Output {
    let mut output = Output::default();
    output.padded("keygate", 32);
    output.padded("Keygate", 32);
    output.padded("Keygate", 16);
    output.padded("1", 16);
    output.ulong(CKF_RNG | CKF_WRITE_PROTECTED | CKF_TOKEN_INITIALIZED);
    let most = applications::SESSIONS_MAX as u64;
    [most, sessions, most, read_write, 0, 0, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE].into_iter().for_each(|value| output.ulong(value));
    output.octets(&version());
    output.octets(&version());
    output.padded("", 16);
    output
}

/// CK_SESSION_INFO.
fn session_info(is_read_write: bool) -> Output {
    let mut output = Output::default();
    let flags = CKF_SERIAL_SESSION | if is_read_write { CKF_RW_SESSION } else { 0 };
    [SLOT, SESSION_STATES[usize::from(is_read_write)], flags, 0].into_iter().for_each(|value| output.ulong(value));
    output
}

/// This build's version, major and minor.
fn version() -> [u8; 2] {
    [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR")].map(|number| number.parse().unwrap_or_default())
}
