//! The rows of the table: each measures the gateway and its limit in turn and keeps the median of the ratios.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_kmip::Tag;
use keygate_tests::client::TlsKmipClient;
use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::request;
use keygate_tests::ttlv::Item;
use serde::Serialize;

use crate::canned::Canned;
use crate::jobs::{self, Known, Same, Varying};
use crate::load::{self, Job, Load, Measured, Target};
use crate::{enrol, hsm, process, provisioning, rehome, sqlite};

/// How long and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    pub(crate) duration: Duration,
    pub(crate) runs: usize,
    pub(crate) connections: usize,
    pub(crate) keys: usize,
    pub(crate) keys_many: usize,
    pub(crate) only: Vec<String>,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What is compared with the goal.
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) goal: f64,
    /// Whether the goal is a ceiling rather than a floor.
    pub(crate) at_most: bool,
    pub(crate) met: bool,
    /// The figures behind it.
    pub(crate) detail: String,
}

impl Row {
    pub(crate) fn new(name: &str, value: f64, unit: &'static str, goal: f64, at_most: bool, detail: String) -> Self {
        let met = if at_most { value <= goal } else { value >= goal };
        Self { name: name.to_owned(), value, unit, goal, at_most, met, detail }
    }
}

/// Measures everything that was asked for; `report` hears of each row as it is known.
pub(crate) fn measure(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let wanted = |name: &str| plan.only.is_empty() || plan.only.iter().any(|only| name.contains(only.as_str()));
    if wanted("create") {
        create(plan, report)?;
    }
    if wanted("encrypt") {
        encrypt(plan, report)?;
    }
    if wanted("sign") {
        hsm::sign(plan, report)?;
    }
    if wanted("among") {
        hsm::sign_among_many(plan, report)?;
    }
    if wanted("envelope") {
        hsm::envelope(plan, report)?;
    }
    if wanted("handshake") {
        handshake(plan, report)?;
    }
    if ["get", "batch", "latency"].iter().any(|name| wanted(name)) {
        get(plan, report)?;
    }
    if ["locate", "start", "memory"].iter().any(|name| wanted(name)) {
        many(plan, report)?;
    }
    if ["revocation", "lists", "certificates", "revoked"].iter().any(|name| wanted(name)) {
        provisioning::measure(plan, &wanted, report)?;
    }
    if wanted("rehome") {
        rehome::measure(plan, report)?;
    }
    if wanted("est") {
        enrol::against_cfssl(plan, report)?;
    } else if wanted("cfssl") {
        enrol::cfssl_alone(plan, report)?;
    }
    Ok(())
}

/// Get of an AES-256 key: rate and CPU with audit.reads wait and defer, latency at one connection, batches of 32.
fn get(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let mut gateway = plan.gateway();
    let identifiers = populate(&gateway, 0, plan.keys)?;
    let commit_p99 = sqlite::commit_p99(&plan.folder, 512, plan.duration)?;
    for (mode, goal) in [("wait", 0.30), ("defer", 0.40)] {
        gateway.set("audit.reads", mode);
        gateway.stop()?;
        gateway.start()?;
        let single: Arc<dyn Job> =
            Arc::new(learn_gets(&gateway, identifiers.iter().map(|id| jobs::get(id)).collect())?);
        let answer = jobs_answer(&gateway, &jobs::get(&identifiers[0]))?;
        let canned = Canned::start(&answer)?;
        let limit: Arc<dyn Job> = Arc::new(Same::new(jobs::get(&identifiers[0]).encode(), answer));
        let pairs = plan.pairs(&gateway, &single, canned.target(), &limit, plan.load())?;
        report(ratio_row(&format!("get, audit.reads={mode}"), goal, &pairs));
        report(cpu_row(&format!("get CPU, audit.reads={mode}"), &pairs));

        let one = Load { connections: 1, ..plan.load() };
        let alone = plan.median(|| load::run(&plan.target(&gateway)?, &single, one), |m| m.p99.as_secs_f64())?;
        let goal = if mode == "wait" { 1.0 + millis(commit_p99) } else { 1.0 };
        let detail = format!("p50 {:.3} ms; one commit's p99 {:.3} ms", millis(alone.p50), millis(commit_p99));
        report(Row::new(
            &format!("get latency p99 at 1 connection, audit.reads={mode}"),
            millis(alone.p99),
            "ms",
            goal,
            true,
            detail,
        ));

        let batches = identifiers.chunks(32).filter(|chunk| chunk.len() == 32).map(jobs::get_batch).collect();
        let batch: Arc<dyn Job> = Arc::new(learn_gets(&gateway, batches)?);
        let batched = plan.median(|| load::run(&plan.target(&gateway)?, &batch, plan.load()), |m| m.per_second)?;
        let single_rate = median(pairs.iter().map(|(own, _)| own.per_second));
        let share = single_rate / (batched.per_second * 32.0);
        let detail = format!("{:.0} keys/s in batches, {single_rate:.0} singly", batched.per_second * 32.0);
        report(Row::new(
            &format!("batch of 32 gets, per get, audit.reads={mode}"),
            share * 100.0,
            "% of a single Get",
            40.0,
            true,
            detail,
        ));
    }
    Ok(())
}

/// Create of an AES-256 key, durable when acknowledged, against SQLite's own group commit on the same disk.
fn create(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let gateway = plan.gateway();
    let mut client = gateway.connect("a");
    let created =
        |answer: &Item| request::outcome(answer).map(|_| ()).map_err(|(reason, text)| format!("{reason}: {text}"));
    let job: Arc<dyn Job> =
        Arc::new(Varying::learn(&mut client, &request::create_aes(jobs::VERSION, 256, None), created)?);
    let mut ratios = Vec::new();
    for _ in 0..plan.runs {
        let limit = sqlite::group_commit(&plan.folder, plan.connections, 512, plan.duration)?;
        let own = load::run(&plan.target(&gateway)?, &job, plan.load())?;
        ratios.push((own.per_second / limit, own, limit));
    }
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (ratio, own, limit) = &ratios[ratios.len() / 2];
    let detail = format!("{}; SQLite group commit {limit:.0} rows/s", describe(own));
    report(Row::new("create, durable", ratio * 100.0, "% of group commit", 35.0, false, detail));
    Ok(())
}

/// Encrypt of 1 KiB with AES-256-GCM in the local keystore.
fn encrypt(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    for (mode, goal) in [("wait", 0.30), ("defer", 0.40)] {
        let gateway = plan.setup().set("audit.reads", mode).start();
        let mut client = gateway.connect("a");
        let key = [0x42_u8; 32];
        let registered = client.request(&jobs::register(&key))?;
        let payload = request::outcome(&registered).map_err(|(_, message)| io::Error::other(message))?;
        let data = vec![0x5A_u8; 1024];
        let asked = jobs::encrypt(&request::identifier(&payload), &data);
        let job = Varying::learn(&mut client, &asked, move |answer| jobs::opens(answer, &key, &data))?;
        let answer = job.answer().to_vec();
        let job: Arc<dyn Job> = Arc::new(job);
        let canned = Canned::start(&answer)?;
        let limit: Arc<dyn Job> = Arc::new(Same::new(asked.encode(), answer));
        let pairs = plan.pairs(&gateway, &job, canned.target(), &limit, plan.load())?;
        report(ratio_row(&format!("encrypt AES-256-GCM 1 KiB, audit.reads={mode}"), goal, &pairs));
    }
    Ok(())
}

/// Full mutual TLS 1.3 handshakes with one Query each.
fn handshake(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let gateway = plan.gateway();
    let job: Arc<dyn Job> = Arc::new(learn_gets(&gateway, vec![jobs::query()])?);
    let answer = jobs_answer(&gateway, &jobs::query())?;
    let canned = Canned::start(&answer)?;
    let limit: Arc<dyn Job> = Arc::new(Same::new(jobs::query().encode(), answer));
    let load = Load { reconnect: true, ..plan.load() };
    let pairs = plan.pairs(&gateway, &job, canned.target(), &limit, load)?;
    report(ratio_row("full handshake and a Query", 0.75, &pairs));
    Ok(())
}

/// What must not grow with the number of keys: Locate by Name, start, memory.
fn many(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let few = plan.gateway();
    populate(&few, 0, 100)?;
    let mut gateway = plan.gateway();
    let identifiers = populate(&gateway, 0, plan.keys_many)?;
    let locates = |gateway: &TestGateway, keys: usize| -> io::Result<Arc<dyn Job>> {
        let step = (keys / 100).max(1);
        let requests = (0..100).map(|n| jobs::locate(&key_name((n * step) % keys))).collect();
        Ok(Arc::new(learn_gets(gateway, requests)?))
    };
    let (job_few, job_many) = (locates(&few, 100)?, locates(&gateway, plan.keys_many)?);
    let mut factors = Vec::new();
    for _ in 0..plan.runs {
        let at_few = load::run(&plan.target(&few)?, &job_few, plan.load())?;
        let at_many = load::run(&plan.target(&gateway)?, &job_many, plan.load())?;
        factors.push((at_few.per_second / at_many.per_second, at_few, at_many));
    }
    factors.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (factor, at_few, at_many) = &factors[factors.len() / 2];
    let detail = format!("100 keys: {}; {} keys: {}", describe(at_few), plan.keys_many, describe(at_many));
    report(Row::new("locate by name, many keys against 100", *factor, "x the time", 1.5, true, detail));
    drop(few);

    let mut starts = Vec::new();
    for _ in 0..plan.runs {
        gateway.stop()?;
        let begin = Instant::now();
        gateway.start()?;
        let answer = gateway.connect("a").request(&jobs::get(&identifiers[0]))?;
        request::outcome(&answer).map_err(|(_, message)| io::Error::other(message))?;
        starts.push(millis(begin.elapsed()));
    }
    let detail = format!("{} keys stored, key file seal", plan.keys_many);
    report(Row::new("start to first answer", median(starts.into_iter()), "ms", 500.0, true, detail));

    let mut client = gateway.connect("a");
    for chunk in identifiers.chunks(100) {
        client.request(&jobs::get_batch(chunk))?;
    }
    let pid = gateway.pid().unwrap_or_default();
    let resident = process::resident(pid)? as f64 / f64::from(1 << 20);
    report(Row::new(
        "resident memory after serving every key",
        resident,
        "MiB",
        128.0,
        true,
        format!("{} keys", plan.keys_many),
    ));
    Ok(())
}

impl Plan {
    pub(crate) fn setup(&self) -> Setup {
        Setup::new().below(&self.folder).set("log.level", "warn")
    }

    pub(crate) fn gateway(&self) -> TestGateway {
        self.setup().start()
    }

    pub(crate) fn load(&self) -> Load {
        Load { connections: self.connections, duration: self.duration, reconnect: false }
    }

    pub(crate) fn target(&self, gateway: &TestGateway) -> io::Result<Target> {
        let mut tls = gateway.client("a").tls()?;
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Target { address: gateway.address("kmip"), tls: Arc::new(tls), pid: gateway.pid().unwrap_or_default() })
    }

    /// The gateway and its limit, run in turn.
    fn pairs(
        &self,
        gateway: &TestGateway,
        job: &Arc<dyn Job>,
        limit_target: &Target,
        limit: &Arc<dyn Job>,
        load: Load,
    ) -> io::Result<Vec<(Measured, Measured)>> {
        let target = self.target(gateway)?;
        (0..self.runs).map(|_| Ok((load::run(&target, job, load)?, load::run(limit_target, limit, load)?))).collect()
    }

    pub(crate) fn median(&self, run: impl Fn() -> io::Result<Measured>, by: impl Fn(&Measured) -> f64) -> io::Result<Measured> {
        let mut runs: Vec<Measured> = (0..self.runs).map(|_| run()).collect::<io::Result<_>>()?;
        runs.sort_by(|one, other| by(one).total_cmp(&by(other)));
        Ok(runs.swap_remove(runs.len() / 2))
    }
}

fn ratio_row(name: &str, goal: f64, pairs: &[(Measured, Measured)]) -> Row {
    let ratio = median(pairs.iter().map(|(own, limit)| own.per_second / limit.per_second));
    let nearest = pairs.iter().min_by(|one, other| {
        let distance = |pair: &(Measured, Measured)| (pair.0.per_second / pair.1.per_second - ratio).abs();
        distance(one).total_cmp(&distance(other))
    });
    let detail =
        nearest.map(|(own, limit)| format!("{}; canned {}", describe(own), describe(limit))).unwrap_or_default();
    Row::new(name, ratio * 100.0, "% of the limit", goal * 100.0, false, detail)
}

fn cpu_row(name: &str, pairs: &[(Measured, Measured)]) -> Row {
    let factor = median(pairs.iter().map(|(own, limit)| own.cpu.as_secs_f64() / limit.cpu.as_secs_f64()));
    let micros =
        |pick: fn(&(Measured, Measured)) -> Duration| median(pairs.iter().map(|pair| pick(pair).as_secs_f64() * 1e6));
    let detail = format!("{:.1} us a request; canned {:.1} us", micros(|pair| pair.0.cpu), micros(|pair| pair.1.cpu));
    Row::new(name, factor, "x the canned server's", 4.0, true, detail)
}

pub(crate) fn describe(measured: &Measured) -> String {
    format!(
        "{:.0}/s p50 {:.2} p99 {:.2} ms, {:.1} us CPU",
        measured.per_second,
        millis(measured.p50),
        millis(measured.p99),
        measured.cpu.as_secs_f64() * 1e6
    )
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn key_name(number: usize) -> String {
    format!("bench-key-{number:06}")
}

/// Creates keys `from..to` with names, 100 in a message; returns their identifiers.
pub(crate) fn populate(gateway: &TestGateway, from: usize, to: usize) -> io::Result<Vec<String>> {
    let mut client: TlsKmipClient = gateway.connect("a");
    let mut identifiers = Vec::with_capacity(to - from);
    for start in (from..to).step_by(100) {
        let answer = client.request(&jobs::create_batch((start..(start + 100).min(to)).map(key_name)))?;
        for item in answer.fields().iter().filter(|field| field.tag == Tag::BATCH_ITEM.0) {
            let payload = request::item_outcome(item).map_err(|(_, message)| io::Error::other(message))?;
            identifiers.push(request::identifier(&payload));
        }
    }
    Ok(identifiers)
}

/// Asks every request once, over several connections: one alone would wait for a commit each time.
pub(crate) fn learn_gets(gateway: &TestGateway, requests: Vec<Item>) -> io::Result<Known> {
    let check = |answer: &Item| {
        let mut items = answer.fields().iter().filter(|field| field.tag == Tag::BATCH_ITEM.0);
        items.try_for_each(|item| request::item_outcome(item).map(|_| ()).map_err(|(_, message)| message))
    };
    let share = requests.len().div_ceil(32).max(1);
    let learnt: io::Result<Vec<Known>> = std::thread::scope(|scope| {
        let learners: Vec<_> = requests
            .chunks(share)
            .map(|part| scope.spawn(move || Known::learn(&mut gateway.connect("a"), part, check)))
            .collect();
        let joined = |learner: std::thread::ScopedJoinHandle<'_, io::Result<Known>>| {
            learner.join().unwrap_or_else(|_| Err(io::Error::other("a connection failed")))
        };
        learners.into_iter().map(joined).collect()
    });
    Ok(Known::all(learnt?))
}

fn jobs_answer(gateway: &TestGateway, request: &Item) -> io::Result<Vec<u8>> {
    gateway.connect("a").exchange(&request.encode())
}
