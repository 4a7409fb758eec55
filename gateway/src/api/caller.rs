//! Who asks, and the permissions as values: [`Sees`] and [`Acts`] can only be made by checking the role. Whoever lacks one is recorded.

use std::borrow::Cow;
use std::ops::Deref;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{Method, StatusCode, request::Parts},
    middleware::Next,
    response::Response,
};
use rustls_pki_types::UnixTime;

use super::Api;
use crate::{
    audit::Actor,
    http::{Denied, Peer, Problem, Refused},
    provisioning::Deciding,
    store::{OrganisationId, Role},
};

/// The permission that who asks about another organisation lacks; it is answered as if there were none.
pub(super) const ANOTHER_ORGANISATION: &str = "another organisation";

/// Who asks: an extension of each request.
#[derive(Debug, Clone)]
pub struct ApiCaller {
    /// Whom the audit record names.
    pub deciding: Deciding,
    /// What it may do.
    pub role: Role,
    /// The only organisation it sees; `None`: all of them.
    pub organisation: Option<OrganisationId>,
}

impl ApiCaller {
    /// A user of this machine who reaches the data directory: the way back in, with all rights.
    pub fn local(actor: Actor) -> Self {
        Self { deciding: Deciding { actor, source: None }, role: Role::SecurityWrite, organisation: None }
    }

    /// Whether it may do what concerns all organisations.
    ///
    /// # Errors
    /// That it may not.
    pub(super) fn for_all(&self, what: &str) -> Result<(), Problem> {
        match self.organisation {
            None => Ok(()),
            Some(_) => {
                let detail = format!("{what} concerns all organisations: an administrator of the default one decides");
                Err(forbidden("organisation", "all organisations", detail))
            }
        }
    }
}

/// The permission to see: any role.
pub(super) struct Sees(ApiCaller);

/// The permission to act: security:write.
pub(super) struct Acts(ApiCaller);

impl Deref for Sees {
    type Target = ApiCaller;

    fn deref(&self) -> &ApiCaller {
        &self.0
    }
}

impl Deref for Acts {
    type Target = ApiCaller;

    fn deref(&self) -> &ApiCaller {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Sees {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = caller(parts)?;
        match caller.role {
            Role::SecurityRead | Role::SecurityWrite => Ok(Self(caller)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Acts {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = caller(parts)?;
        match caller.role {
            Role::SecurityWrite => Ok(Self(caller)),
            Role::SecurityRead => Err(forbidden("role", Role::SecurityWrite.name(), "this needs the role security:write")),
        }
    }
}

/// RFC 9110 §15.5.4: 403, since §15.5.2 has a 401 name a scheme by which to try again, and a certificate is none.
fn caller(parts: &Parts) -> Result<ApiCaller, Problem> {
    let found = parts.extensions.get::<ApiCaller>().cloned();
    found.ok_or_else(|| forbidden("no-administrator", "administrator", "this needs an administrator's certificate"))
}

fn forbidden(code: &'static str, permission: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, "forbidden", detail).denied(permission)
}

/// Counts a denied request for the audit record: who, from where, and which permission was missing; and an act that was refused to
/// one who may do it: which, and why.
pub(super) async fn record_denied(State(api): State<Api>, request: Request, next: Next) -> Response {
    let act = act(&request);
    let caller = request.extensions().get::<ApiCaller>().cloned();
    let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let response = next.run(request).await;
    let denied = response.extensions().get::<Denied>().map(|Denied(permission)| Cow::Borrowed(*permission));
    let refused = || Some(Cow::Owned(format!("{}: {}", act?, response.extensions().get::<Refused>()?.0)));
    if let Some(reason) = denied.or_else(refused) {
        let (actor, source, organisation) = match caller {
            Some(ApiCaller { deciding, organisation, .. }) => {
                (deciding.actor, deciding.source.or(address), organisation.unwrap_or(OrganisationId::DEFAULT))
            }
            None => (Actor::Unidentified, address, OrganisationId::DEFAULT),
        };
        api.refusals.note_admin(reason, actor, Some(organisation), source);
    }
    response
}

/// Which act a request asks for, such as `POST /v1/keystores/hsm/activate`; `None`: it only looks.
fn act(request: &Request) -> Option<String> {
    let looks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let path: String = request.uri().path().chars().take(PATH_CHARS_MAX).collect();
    (!looks).then(|| format!("{} {path}", request.method()))
}

/// Characters of a path that are kept.
const PATH_CHARS_MAX: usize = 160;

/// Names the administrator behind a connection, as the directory knows it now.
pub(super) async fn identify(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    // What a request claims by itself does not count.
    request.extensions_mut().remove::<ApiCaller>();
    if let Some(caller) = request.extensions().get::<Peer>().and_then(|peer| of_peer(&api, peer)) {
        request.extensions_mut().insert(caller);
    }
    next.run(request).await
}

fn of_peer(api: &Api, peer: &Peer) -> Option<ApiCaller> {
    let chain = peer.certificates.as_deref()?;
    let (identity, ..) = api.directory.load().identify_admin(chain, UnixTime::now()).ok()?;
    Some(ApiCaller {
        deciding: Deciding { actor: Actor::Admin(identity.id), source: Some(peer.address.ip()) },
        role: identity.role,
        organisation: (identity.organisation != OrganisationId::DEFAULT).then_some(identity.organisation),
    })
}
