//! Who asks, and permissions as values: a [`May`] can only be made by checking name, password, quota and permission, in this
//! order: a request that is refused for a missing permission counts, too.

use std::{marker::PhantomData, net::IpAddr, sync::Arc, time::Instant};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::ResultReason;
use zeroize::Zeroizing;

use super::{Rest, answer::Refused};
use crate::{
    audit::Action,
    http::Peer,
    identity::{Caller, RestCaller, RestRefusal},
    operation::OperationError,
    store::RestPermission,
};

/// What an endpoint needs.
pub(super) trait Needs: Send + Sync {
    /// The permission; `None`: any user may.
    const PERMISSION: Option<RestPermission>;
}

macro_rules! needs {
    ($($name:ident $permission:expr;)*) => {$(
        /// Needs the permission it is named after.
        pub(super) struct $name;

        impl Needs for $name {
            const PERMISSION: Option<RestPermission> = $permission;
        }
    )*};
}

needs! {
    Anything None;
    CryptoDecrypt Some(RestPermission::CryptoDecrypt);
    CryptoEncrypt Some(RestPermission::CryptoEncrypt);
    CryptoMac Some(RestPermission::CryptoMac);
    CryptoRandom Some(RestPermission::CryptoRandom);
    CryptoSign Some(RestPermission::CryptoSign);
    CryptoVerify Some(RestPermission::CryptoVerify);
    KeysCreate Some(RestPermission::KeysCreate);
    KeysDelete Some(RestPermission::KeysDelete);
    KeysExport Some(RestPermission::KeysExport);
    KeysRead Some(RestPermission::KeysRead);
    KeysRotate Some(RestPermission::KeysRotate);
    KeysState Some(RestPermission::KeysState);
    KeysUpdate Some(RestPermission::KeysUpdate);
    LogsRead Some(RestPermission::LogsRead);
}

/// A verified user who may do what `N` needs.
pub(super) struct May<N> {
    pub(super) user: RestCaller,
    pub(super) source: IpAddr,
    pub(super) connection: u64,
    needs: PhantomData<N>,
}

impl<N> May<N> {
    /// The caller of operations.
    pub(super) fn caller(&self) -> &Arc<Caller> {
        &self.user.caller
    }

    /// Whether the user has a further permission, which what it asks for needs.
    pub(super) fn also(&self, rest: &Rest, permission: RestPermission) -> Result<(), Refused> {
        check(rest, &self.user, self.source, permission)
    }
}

impl<N: Needs> FromRequestParts<Rest> for May<N> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Refused> {
        if !rest.is_served() {
            return Err(Refused::no_path());
        }
        let peer = parts.extensions.get::<Peer>().ok_or(RestRefusal::Mismatch)?;
        let (source, connection) = (peer.address.ip(), peer.connection);
        let (name, password) = basic(&parts.headers).ok_or(RestRefusal::Mismatch)?;
        let user = rest.users.authenticate(source, &name, password.as_bytes()).await.inspect_err(|refusal| match refusal {
            RestRefusal::Mismatch => rest.refusals.note("rest user or password wrong", source),
            RestRefusal::Throttled { .. } => rest.refusals.note("rest user throttled", source),
            RestRefusal::Busy => rest.refusals.note("rest password checks busy", source),
        })?;
        if let Some(quotas) = &rest.quotas
            && let Err(over) = quotas.take(&user.caller, 1, Instant::now())
        {
            rest.metrics.request_over_quota(over.whose);
            return Err(Refused::from(OperationError::LimitExceeded(over.to_string())).after(over.wait));
        }
        if let Some(permission) = N::PERMISSION {
            check(rest, &user, source, permission)?;
        }
        Ok(Self { user, source, connection, needs: PhantomData })
    }
}

/// RFC 7617 §2: "user-pass = user-id ":" password", in base64.
fn basic(headers: &HeaderMap) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest.trim()).ok()?);
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((Zeroizing::new(name.to_owned()), Zeroizing::new(password.to_owned())))
}

/// A permission that is missing is on record, counted: somebody's program asks for more than it was given, perhaps for ever.
fn check(rest: &Rest, user: &RestCaller, source: IpAddr, permission: RestPermission) -> Result<(), Refused> {
    if user.permissions.contains(&permission) {
        return Ok(());
    }
    rest.refusals.note_rest(action(permission), permission.name(), &user.caller, ResultReason::PermissionDenied.code(), source);
    Err(OperationError::PermissionDenied(format!("this user may not do this: it lacks the permission {permission}")).into())
}

/// What a user without the permission tried to do, as the record calls it.
fn action(permission: RestPermission) -> Action {
    match permission {
        RestPermission::CryptoDecrypt => Action::Decrypt,
        RestPermission::CryptoEncrypt => Action::Encrypt,
        RestPermission::CryptoMac => Action::Mac,
        RestPermission::CryptoRandom => Action::RngRetrieve,
        RestPermission::CryptoSign => Action::Sign,
        RestPermission::CryptoVerify => Action::SignatureVerify,
        RestPermission::KeysCreate => Action::Create,
        RestPermission::KeysDelete => Action::Destroy,
        RestPermission::KeysExport => Action::Get,
        RestPermission::KeysRead => Action::GetAttributes,
        RestPermission::KeysRotate => Action::ReKey,
        RestPermission::KeysState => Action::Revoke,
        RestPermission::KeysUpdate => Action::SetAttribute,
        RestPermission::LogsRead => Action::Log,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// A password may hold colons; what is not Basic, not base64, not UTF-8 or no pair is nobody's.
    #[test]
    fn name_and_password_are_read_from_basic() {
        let read = |value: &str| {
            let value = HeaderValue::from_str(value).expect("a header value");
            basic(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])).map(|(name, password)| (name.to_string(), password.to_string()))
        };
        let encoded = |octets: &[u8]| format!("basic {}", STANDARD.encode(octets));
        assert_eq!(read(&encoded(b"lan:a:b")), Some(("lan".into(), "a:b".into())));
        assert_eq!(read(&encoded(b"lan:")), Some(("lan".into(), String::new())));
        for bad in ["Basic".to_owned(), "Bearer bGFuOmE=".into(), "Basic !!".into(), encoded(b"lan"), encoded(&[0xff, b':', b'x'])] {
            assert_eq!(read(&bad), None, "{bad}");
        }
        assert_eq!(basic(&HeaderMap::new()), None);
    }
}
