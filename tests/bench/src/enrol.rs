//! Certificates a second: EST at the gateway against `cfssl serve`, with the same generator, in the same run.
//!
//! Every request has a key of its own, made before anything is measured: the gateway refuses a key that is certified for
//! another client. They are made anew for each run of the program, on all cores; reading them back would not be faster.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_tests::gateway::TestGateway;
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::cfssl::{Cfssl, SIGN};
use crate::http;
use crate::load::{self, Job, Measured, Target};
use crate::rows::{Plan, Row, describe, median};

/// Requests a second that are prepared for: more than two cores can issue.
const PREPARED_PER_SECOND: f64 = 8_000.0;

/// Our rate and CPU per certificate against cfssl's, alternating.
pub(crate) fn against_cfssl(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let seconds = plan.duration.as_secs_f64() * 1.1 * plan.runs as f64;
    let csrs = make_csrs((PREPARED_PER_SECOND * seconds) as usize + plan.connections)?;
    let gateway = plan.gateway();
    let (target, account) = (est_target(&gateway)?, open(&gateway)?);
    let own: Arc<dyn Job> = Arc::new(Enrolments::est(&csrs, &account));
    let sign: Arc<dyn Job> = Arc::new(Enrolments::cfssl(&csrs[..csrs.len().min(2_000)]));
    let (plain, stored) = (Cfssl::start(&plan.folder, false)?, Cfssl::start(&plan.folder, true)?);
    let (plain_target, stored_target) = (plain.target()?, stored.target()?);
    let mut runs = Vec::new();
    for _ in 0..plan.runs {
        let own = load::run(&target, &own, plan.load())?;
        runs.push((own, load::run(&plain_target, &sign, plan.load())?, load::run(&stored_target, &sign, plan.load())?));
    }
    let row = |name: &str, goal: f64, ratio: &dyn Fn(&(Measured, Measured, Measured)) -> f64| {
        let value = median(runs.iter().map(ratio));
        let nearest =
            runs.iter().min_by(|one, other| (ratio(one) - value).abs().total_cmp(&(ratio(other) - value).abs()));
        let detail = nearest.map(|(own, plain, stored)| {
            format!("{}; cfssl {}; with sqlite {}", certificates(own), certificates(plain), certificates(stored))
        });
        Row::new(name, value, "x cfssl", goal, false, detail.unwrap_or_default())
    };
    let per_cpu = |measured: &Measured| 1.0 / measured.cpu.as_secs_f64();
    report(row("est simpleenroll against cfssl without store", 0.6, &|(own, plain, _)| {
        own.per_second / plain.per_second
    }));
    report(row("est per server CPU-second against cfssl", 1.0, &|(own, plain, _)| per_cpu(own) / per_cpu(plain)));
    report(row("est against cfssl with its sqlite store", 10.0, &|(own, _, stored)| {
        own.per_second / stored.per_second
    }));
    Ok(())
}

/// cfssl alone, with and without its store: what there is to beat on this machine.
pub(crate) fn cfssl_alone(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let sign: Arc<dyn Job> = Arc::new(Enrolments::cfssl(&make_csrs(2_000)?));
    for (name, store) in [("cfssl without store", false), ("cfssl with its sqlite store", true)] {
        let cfssl = Cfssl::start(&plan.folder, store)?;
        let target = cfssl.target()?;
        let measured = plan.median(|| load::run(&target, &sign, plan.load()), |measured| measured.per_second)?;
        report(Row::new(name, measured.per_second, "certificates/s", 0.0, false, certificates(&measured)));
    }
    Ok(())
}

fn certificates(measured: &Measured) -> String {
    format!("{}, {:.0} a server CPU-second", describe(measured), 1.0 / measured.cpu.as_secs_f64())
}

/// Enables the service and makes a provisioning key; returns `id.secret`.
fn open(gateway: &TestGateway) -> io::Result<String> {
    let _ = gateway.keygate_ok(&["service", "enable", "--yes"]);
    let printed = gateway.keygate_ok(&["provisioning-key", "create", "bench", "--json"]);
    let key: serde_json::Value = serde_json::from_str(&printed).map_err(io::Error::other)?;
    let secret = key["secret"].as_str().map(str::to_owned);
    secret.ok_or_else(|| io::Error::other("`provisioning-key create --json` gives no secret"))
}

fn est_target(gateway: &TestGateway) -> io::Result<Target> {
    let mut tls = gateway.client("a").tls_without_certificate()?;
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(Target { address: gateway.address("clients"), tls: Arc::new(tls), pid: gateway.pid().unwrap_or_default() })
}

/// Prepared requests, each sent once before any is sent again.
struct Enrolments {
    requests: Vec<Vec<u8>>,
    next: AtomicUsize,
    check: fn(&[u8]) -> Result<(), String>,
}

impl Enrolments {
    fn est(csrs: &[Csr], account: &str) -> Self {
        let (id, secret) = account.split_once('.').unwrap_or((account, ""));
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let headers = [("Authorization", basic.as_str()), ("Content-Type", "application/pkcs10")];
        let request =
            |csr: &Csr| http::post("/.well-known/est/simpleenroll", &headers, STANDARD.encode(&csr.der).as_bytes());
        Self { requests: csrs.iter().map(request).collect(), next: AtomicUsize::new(0), check: check_est }
    }

    fn cfssl(csrs: &[Csr]) -> Self {
        let request = |csr: &Csr| {
            let body = serde_json::json!({ "certificate_request": csr.pem }).to_string();
            http::post(SIGN, &[("Content-Type", "application/json")], body.as_bytes())
        };
        Self { requests: csrs.iter().map(request).collect(), next: AtomicUsize::new(0), check: check_cfssl }
    }
}

impl Job for Enrolments {
    /// The generator's own number begins anew with each run; a key must not.
    fn request(&self, _connection: usize, _n: u64) -> &[u8] {
        &self.requests[self.next.fetch_add(1, Ordering::Relaxed) % self.requests.len()]
    }

    fn check(&self, _connection: usize, _n: u64, answer: &[u8]) -> Result<(), String> {
        let sent = self.next.load(Ordering::Relaxed);
        (self.check)(answer).map_err(|error| format!("{error} ({sent} sent, {} prepared)", self.requests.len()))
    }

    fn answer_length(&self, bytes: &[u8]) -> Option<usize> {
        http::answer_length(bytes)
    }
}

/// RFC 7030 §4.2.3: 200 with a certs-only message, the base64 of a SEQUENCE.
fn check_est(answer: &[u8]) -> Result<(), String> {
    let issued = http::status(answer) == Some(200) && http::body(answer).starts_with(b"MI");
    if issued { Ok(()) } else { Err(String::from_utf8_lossy(answer).into_owned()) }
}

fn check_cfssl(answer: &[u8]) -> Result<(), String> {
    let holds = |needle: &[u8]| answer.windows(needle.len()).any(|part| part == needle);
    let issued = http::status(answer) == Some(200) && holds(b"\"success\":true") && holds(b"BEGIN CERTIFICATE");
    if issued { Ok(()) } else { Err(String::from_utf8_lossy(answer).into_owned()) }
}

struct Csr {
    der: Vec<u8>,
    pem: String,
}

/// Requests of distinct P-256 keys, made on all cores.
fn make_csrs(count: usize) -> io::Result<Vec<Csr>> {
    let start = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(workers);
    let made: io::Result<Vec<Vec<Csr>>> = std::thread::scope(|scope| {
        let shares = (0..workers).map(|worker| (worker * share).min(count)..((worker + 1) * share).min(count));
        let threads: Vec<_> =
            shares.map(|range| scope.spawn(|| range.map(make_csr).collect::<Result<Vec<_>, _>>())).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(made) => made.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("making requests failed")),
        });
        joined.collect()
    });
    eprintln!("bench: {count} requests made in {:.1} s", start.elapsed().as_secs_f64());
    Ok(made?.into_iter().flatten().collect())
}

fn make_csr(number: usize) -> Result<Csr, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, format!("device-{number}"));
    let request = parameters.serialize_request(&key)?;
    Ok(Csr { der: request.der().to_vec(), pem: request.pem()? })
}
