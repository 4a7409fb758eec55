//! When a certificate is renewed, and how long to wait after an attempt that failed.

use std::time::Duration;

use keygate_pki::{Certificate, OffsetDateTime};

/// First wait after a failed attempt.
const RETRY_FIRST: Duration = Duration::from_secs(30);
/// Longest wait after a failed attempt.
const RETRY_LONGEST: Duration = Duration::from_secs(3600);

/// When `certificate` is to be renewed: when a third of its life is left, up to a twentieth of it later. How much later hangs on the
/// certificate, so that machines that enrolled together do not renew together, and a restart changes nothing.
pub fn due_at(certificate: &Certificate) -> OffsetDateTime {
    let life = certificate.not_after() - certificate.not_before();
    let spread = f64::from(certificate.fingerprint().0[0]) / 256.0;
    certificate.not_after() - life / 3 + (life / 20) * spread
}

/// The wait after the `failures`th failure in a row: doubled each time, up to an hour, and up to a quarter longer by `spread` (0 to
/// 255) so that machines do not come back together. A server's Retry-After is obeyed where it is longer, up to a day.
pub fn retry_in(failures: u32, spread: u8, asked: Option<Duration>) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(RETRY_LONGEST);
    let own = doubled + doubled.mul_f64(f64::from(spread) / 1024.0);
    own.max(asked.unwrap_or_default().min(Duration::from_secs(86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_hour_and_obey_the_server() {
        assert_eq!(retry_in(1, 0, None), Duration::from_secs(30));
        assert_eq!(retry_in(3, 0, None), Duration::from_secs(120));
        assert_eq!(retry_in(1, 0, Some(Duration::from_secs(90))), Duration::from_secs(90));
        for failures in [8, 33, 64, u32::MAX] {
            assert_eq!(retry_in(failures, 0, None), RETRY_LONGEST);
            assert!((RETRY_LONGEST..Duration::from_secs(4600)).contains(&retry_in(failures, 255, None)));
        }
        assert_eq!(retry_in(1, 0, Some(Duration::from_secs(u64::MAX))), Duration::from_secs(86_400));
    }
}
