//! Who asks: the id and secret of a provisioning key in the Authorization header, or the certificate of the connection.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::provisioning::PresentedSecret;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::refusal::Refused;
use crate::{http::Peer, provisioning::EnrolRefusal};

/// RFC 6750 §3, for the JSON API: EST clients know Basic (RFC 7030 §3.2.3), and some read no second challenge.
pub(super) const BEARER_CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"Keygate provisioning key\"");
/// What RFC 7617 §2 asks for.
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Keygate provisioning key\", charset=\"UTF-8\"");

/// The secret of a provisioning key: well formed, not checked.
pub(super) struct Secret(pub(super) PresentedSecret);

impl<S: Send + Sync> FromRequestParts<S> for Secret {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        // What cannot be a secret is answered like a wrong one.
        read(&parts.headers).map(Secret).ok_or_else(|| Refused::from(EnrolRefusal::Unauthorised))
    }
}

/// `Basic` with the id as user name (RFC 7617), or `Bearer id.secret` (RFC 6750).
fn read(headers: &HeaderMap) -> Option<PresentedSecret> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return PresentedSecret::from_pair(rest.trim()).ok();
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    PresentedSecret::from_parts(id, secret).ok()
}

/// The certificate that the connection was authenticated with; the listener has let it in.
pub(super) struct Presented(pub(super) CertificateDer<'static>);

impl<S: Send + Sync> FromRequestParts<S> for Presented {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let chain = parts.extensions.get::<Peer>().and_then(|peer| peer.certificates.clone());
        let leaf = chain.and_then(|chain| chain.first().cloned());
        leaf.map(Presented).ok_or_else(|| Refused::from(EnrolRefusal::Unauthorised))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a header value");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    /// Both schemes carry the same pair; what is neither, or not whole, is no secret.
    #[test]
    fn a_pair_is_read_from_either_scheme() {
        let (id, secret) = ("0123456789abcdef", "A".repeat(43));
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        for good in [
            format!("Bearer {id}.{secret}"),
            format!("bearer  {id}.{secret} "),
            basic(format!("{id}:{secret}")),
            basic(format!("{id}:{id}.{secret}")),
        ] {
            assert_eq!(read(&headers(&good)).map(|read| read.id().to_string()).as_deref(), Some(id), "{good}");
        }
        for bad in [
            String::new(),
            "Bearer".into(),
            format!("Bearer {id}"),
            format!("Digest {id}.{secret}"),
            "Basic !!!".into(),
            basic(id.into()),
            basic(format!("{id}:short")),
            basic(format!("x:{secret}")),
        ] {
            assert!(read(&headers(&bad)).is_none(), "{bad}");
        }
    }
}
