//! Counters in atomics, sharded by connection so that two cores do not share a line; written out for Prometheus.
//!
//! Other parts add their figures as a [`MetricsSource`], asked at each scrape.

use std::{
    fmt::Write as _,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::listen::Reason;

/// KMIP operation codes counted one by one; codes at or above it share the last place.
pub const OPERATION_CODES_MAX: usize = 64;
const SHARDS: usize = 8;
/// Upper bounds of the latency buckets in microseconds: 25 us to 1.6 s, doubling.
const BUCKETS_US: [u64; 17] =
    [25, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600, 819_200, 1_638_400];

/// One figure of a [`MetricsSource`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name without the prefix `keygate_`; a counter's ends with `_total`.
    pub name: &'static str,
    /// One line of explanation.
    pub help: &'static str,
    /// A label, if any.
    pub label: Option<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// A part with figures of its own.
pub trait MetricsSource: Send + Sync {
    /// The figures now. Samples of one name follow each other.
    fn samples(&self) -> Vec<Sample>;
}

/// Why a handshake did not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum HandshakeFailure {
    /// The certificate was refused, or its caller is not let in.
    Refused,
    /// No certificate was presented.
    NoCertificate,
    /// Not TLS, or TLS that we do not speak.
    Protocol,
    /// The peer closed or reset the connection, or sent an alert.
    Peer,
    /// The deadline passed, or the connection was evicted.
    Overdue,
}

/// Whose quota of requests is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Whose {
    /// The client's.
    Client,
    /// The organisation's.
    Organisation,
}

impl Whose {
    const ALL: [Self; 2] = [Self::Client, Self::Organisation];

    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Organisation => "organisation",
        }
    }
}

const HANDSHAKE_FAILURES: [&str; 5] = ["refused", "no_certificate", "protocol", "peer", "overdue"];
const CLOSE_REASONS: [&str; 5] = ["overdue", "refused", "expired", "evicted", "shutdown"];

impl HandshakeFailure {
    /// Sorts an error of the TLS acceptor.
    pub fn of(error: &io::Error, closed_by_us: bool) -> Self {
        if closed_by_us {
            return Self::Overdue;
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Refused,
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::AlertReceived(_)) | None => Self::Peer,
            Some(_) => Self::Protocol,
        }
    }
}

/// The counters of the gateway's own front.
pub struct Metrics {
    shards: [Shard; SHARDS],
    accepted: AtomicU64,
    refused: AtomicU64,
    over_quota: [AtomicU64; Whose::ALL.len()],
    handshake_failures: [AtomicU64; HANDSHAKE_FAILURES.len()],
    closed: [AtomicU64; CLOSE_REASONS.len()],
    sources: Mutex<Vec<Arc<dyn MetricsSource>>>,
    operation_names: Mutex<fn(u32) -> Option<&'static str>>,
}

#[repr(align(128))]
struct Shard {
    sessions: AtomicU64,
    unreadable: AtomicU64,
    succeeded: [AtomicU64; OPERATION_CODES_MAX],
    failed: [AtomicU64; OPERATION_CODES_MAX],
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    micros: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let zeroes = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            shards: std::array::from_fn(|_| Shard {
                sessions: AtomicU64::new(0),
                unreadable: AtomicU64::new(0),
                succeeded: zeroes(),
                failed: zeroes(),
                buckets: std::array::from_fn(|_| AtomicU64::new(0)),
                micros: AtomicU64::new(0),
            }),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            over_quota: std::array::from_fn(|_| AtomicU64::new(0)),
            handshake_failures: std::array::from_fn(|_| AtomicU64::new(0)),
            closed: std::array::from_fn(|_| AtomicU64::new(0)),
            sources: Mutex::new(Vec::new()),
            operation_names: Mutex::new(|_| None),
        }
    }
}

impl Metrics {
    /// Counts one operation (batch item) by its KMIP code and result. `connection` picks the shard.
    pub fn operation(&self, connection: u64, code: u32, succeeded: bool) {
        let shard = self.shard(connection);
        let list = if succeeded { &shard.succeeded } else { &shard.failed };
        let place = usize::try_from(code).unwrap_or(usize::MAX).min(OPERATION_CODES_MAX - 1);
        list[place].fetch_add(1, Relaxed);
    }

    /// Tells how operation codes are called in the output.
    pub fn name_operations(&self, names: fn(u32) -> Option<&'static str>) {
        *self.operation_names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Adds a part with figures of its own.
    pub fn add_source(&self, source: Arc<dyn MetricsSource>) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    pub(crate) fn message(&self, connection: u64, took: Duration) {
        let shard = self.shard(connection);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < micros);
        shard.buckets[bucket].fetch_add(1, Relaxed);
        shard.micros.fetch_add(micros, Relaxed);
    }

    /// Counts a request that was refused for its rate.
    pub(crate) fn request_over_quota(&self, whose: Whose) {
        self.over_quota[whose as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn unreadable(&self, connection: u64) {
        self.shard(connection).unreadable.fetch_add(1, Relaxed);
    }

    pub(crate) fn session_opened(&self, connection: u64) {
        self.shard(connection).sessions.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_closed(&self, reason: Reason) {
        self.closed[reason as usize - 1].fetch_add(1, Relaxed);
    }

    pub(crate) fn handshake_failed(&self, failure: HandshakeFailure) {
        self.handshake_failures[failure as usize].fetch_add(1, Relaxed);
    }

    fn shard(&self, connection: u64) -> &Shard {
        &self.shards[(connection % SHARDS as u64) as usize]
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| of(shard).load(Relaxed)).sum()
    }

    /// All figures in the Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(8192);
        self.render_operations(&mut out);
        self.render_latency(&mut out);
        let mut samples = vec![
            sample("connections_accepted_total", "KMIP connections accepted.", None, self.accepted.load(Relaxed)),
            sample("connections_refused_total", "KMIP connections refused at the bound.", None, self.refused.load(Relaxed)),
            sample("sessions_total", "TLS handshakes finished.", None, self.sum(|shard| &shard.sessions)),
            sample("unreadable_messages_total", "Requests that were no KMIP message or too large.", None, self.sum(|shard| &shard.unreadable)),
        ];
        for (whose, count) in Whose::ALL.iter().zip(&self.over_quota) {
            let help = "KMIP requests refused because the quota of requests a second was used up.";
            samples.push(sample("requests_over_quota_total", help, Some(("whose", whose.name())), count.load(Relaxed)));
        }
        for (name, count) in HANDSHAKE_FAILURES.iter().zip(&self.handshake_failures) {
            samples.push(sample("handshakes_failed_total", "TLS handshakes that failed.", Some(("cause", *name)), count.load(Relaxed)));
        }
        for (name, count) in CLOSE_REASONS.iter().zip(&self.closed) {
            samples.push(sample("connections_closed_total", "KMIP connections ended by the gateway.", Some(("reason", *name)), count.load(Relaxed)));
        }
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        samples.extend(sources.iter().flat_map(|source| source.samples()));
        render_samples(&mut out, &samples);
        out
    }

    fn render_operations(&self, out: &mut String) {
        let names = *self.operation_names.lock().unwrap_or_else(PoisonError::into_inner);
        head(out, "operations_total", "KMIP batch items by operation and result.", "counter");
        for code in 0..OPERATION_CODES_MAX {
            let name = u32::try_from(code).ok().and_then(names).map_or_else(|| format!("{code:#04x}"), str::to_owned);
            let results = [("success", self.sum(|shard| &shard.succeeded[code])), ("failed", self.sum(|shard| &shard.failed[code]))];
            for (result, count) in results.into_iter().filter(|(_, count)| *count > 0) {
                line(out, format_args!("keygate_operations_total{{operation=\"{name}\",result=\"{result}\"}} {count}"));
            }
        }
    }

    fn render_latency(&self, out: &mut String) {
        head(out, "message_seconds", "From the last octet of a request to the last of its answer.", "histogram");
        let mut below = 0;
        for (place, bound) in BUCKETS_US.iter().enumerate() {
            below += self.sum(|shard| &shard.buckets[place]);
            let seconds = *bound as f64 / 1e6;
            line(out, format_args!("keygate_message_seconds_bucket{{le=\"{seconds}\"}} {below}"));
        }
        below += self.sum(|shard| &shard.buckets[BUCKETS_US.len()]);
        line(out, format_args!("keygate_message_seconds_bucket{{le=\"+Inf\"}} {below}"));
        line(out, format_args!("keygate_message_seconds_sum {}", self.sum(|shard| &shard.micros) as f64 / 1e6));
        line(out, format_args!("keygate_message_seconds_count {below}"));
    }
}

fn sample(name: &'static str, help: &'static str, label: Option<(&'static str, &str)>, value: u64) -> Sample {
    Sample { name, help, label: label.map(|(key, value)| (key, value.to_owned())), value: value as f64 }
}

fn render_samples(out: &mut String, samples: &[Sample]) {
    let mut last = "";
    for sample in samples {
        if sample.name != last {
            let kind = if sample.name.ends_with("_total") { "counter" } else { "gauge" };
            head(out, sample.name, sample.help, kind);
            last = sample.name;
        }
        match &sample.label {
            Some((key, value)) => {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                line(out, format_args!("keygate_{}{{{key}=\"{value}\"}} {}", sample.name, sample.value));
            }
            None => line(out, format_args!("keygate_{} {}", sample.name, sample.value)),
        }
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    line(out, format_args!("# HELP keygate_{name} {help}"));
    line(out, format_args!("# TYPE keygate_{name} {kind}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What connections on several shards count is summed, named, and put into the right bucket.
    #[test]
    fn shards_are_summed_and_rendered() {
        let metrics = Metrics::default();
        metrics.name_operations(|code| (code == 10).then_some("Get"));
        for connection in 0..20 {
            metrics.operation(connection, 10, true);
            metrics.message(connection, Duration::from_micros(30));
        }
        metrics.operation(3, 10, false);
        metrics.operation(3, u32::MAX, false);
        metrics.handshake_failed(HandshakeFailure::NoCertificate);
        metrics.request_over_quota(Whose::Organisation);
        let text = metrics.render();
        for expected in [
            "keygate_operations_total{operation=\"Get\",result=\"success\"} 20\n",
            "keygate_operations_total{operation=\"Get\",result=\"failed\"} 1\n",
            "keygate_operations_total{operation=\"0x3f\",result=\"failed\"} 1\n",
            "keygate_message_seconds_bucket{le=\"0.000025\"} 0\n",
            "keygate_message_seconds_bucket{le=\"0.00005\"} 20\n",
            "keygate_message_seconds_count 20\n",
            "keygate_requests_over_quota_total{whose=\"client\"} 0\n",
            "keygate_requests_over_quota_total{whose=\"organisation\"} 1\n",
            "keygate_handshakes_failed_total{cause=\"no_certificate\"} 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is missing from\n{text}");
        }
    }
}
