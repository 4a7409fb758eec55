//! The body of a request, received whole and within a bound.

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use zeroize::Zeroizing;

use super::problem::Problem;

/// Octets beyond the bound that are still read and dropped, so that their sender gets to read the answer.
const DROPPED_BYTES_MAX: usize = 1 << 20;

/// Receives a body of at most `max` octets; wiped when dropped. `waits`: the sender waits for a word before it sends.
pub(super) async fn receive(mut body: Incoming, max: usize, waits: bool) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > max && (waits || declared > max.saturating_add(DROPPED_BYTES_MAX)) {
        return Err(Problem::too_large(max));
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(if declared > max { 0 } else { declared }));
    let mut seen = 0usize;
    while let Some(frame) = body.frame().await {
        // The peer is gone, or breaks the framing: hyper ends the connection.
        let Ok(frame) = frame else { return Err(Problem::broken_body()) };
        // Trailers have no meaning to any route.
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen > max.saturating_add(DROPPED_BYTES_MAX) {
            break;
        }
        if seen <= max {
            octets.extend_from_slice(&data);
        }
    }
    if seen > max { Err(Problem::too_large(max)) } else { Ok(octets) }
}
