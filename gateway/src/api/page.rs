//! Lists: whole ones, and pages by key (the last item of a page says where the next begins).

use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error;
use crate::http::Problem;

/// Items of a page where nothing is said.
const DEFAULT: usize = 100;
/// Most items of a page.
pub(super) const MAX: usize = 1000;

/// A whole list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
}

/// The limit that is asked for.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(DEFAULT),
        Some(limit @ 1..=MAX) => Ok(limit),
        Some(_) => Err(error::invalid(format!("limit must be 1 to {MAX}"))),
    }
}

/// A page, and its link to the next one.
pub(super) fn page<T: Serialize>(uri: &Uri, next: Option<&str>, page: &T) -> Response {
    let mut response = Json(page).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // RFC 8288 §3: a target between angle brackets, relative to this address.
    if let Some(link) = next.and_then(|next| HeaderValue::from_str(&format!("<{}>; rel=\"next\"", following(uri, next))).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn following(uri: &Uri, next: &str) -> String {
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let after = format!("after={next}");
    let pairs: Vec<&str> = kept.chain([after.as_str()]).collect();
    format!("{}?{}", uri.path(), pairs.join("&")).replace('>', "%3E").replace('<', "%3C")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next page keeps the filters and replaces the place.
    #[test]
    fn the_next_page_keeps_its_filters() {
        let uri: Uri = "/v1/certificates?limit=2&after=1&name=a%20b".parse().expect("an address");
        assert_eq!(following(&uri, "7"), "/v1/certificates?limit=2&name=a%20b&after=7");
        let bare: Uri = "/v1/audit".parse().expect("an address");
        assert_eq!(following(&bare, "7.1"), "/v1/audit?after=7.1");
        assert!(limit(Some(0)).is_err() && limit(Some(1001)).is_err());
        assert_eq!(limit(None).expect("the default"), 100);
    }
}
