//! What goes wrong on purpose, when, and how it is taken back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::place::{FAR, FRONT, LOCAL, MOCK, PLACES, PYKMIP, TOKENS, VAULT};
use super::site::Site;
use super::watch::Watch;
use super::{Course, Plan, READY_MAX};
use crate::rest_mock::Misbehaviour;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL of the gateway, and its next start.
    GatewayKilled,
    /// SIGKILL of every worker process.
    WorkersKilled,
    /// The module answers errors, before or after it did what was asked.
    ModuleCodes,
    /// Its calls take long.
    ModuleSlow,
    /// Some of its calls do not return.
    ModuleHangs,
    /// It crashes in a call or after it.
    ModuleCrashes,
    /// A token's files are moved away.
    TokenAway,
    /// SIGKILL of the second Keygate, which starts again at the end.
    FarKilled,
    /// Connections to the second Keygate, KMIP and REST, are cut and refused.
    FarCut,
    /// Every piece of data to and from it waits.
    FarSlow,
    /// As `FarCut`, for PyKMIP.
    PykmipCut,
    /// As `FarSlow`, for PyKMIP.
    PykmipSlow,
    /// The mock answers 500.
    MockErrors,
    /// The mock does what is asked and does not answer.
    MockForgets,
    /// The mock neither does nor answers anything.
    MockSilent,
    /// The mock takes a second for everything.
    MockSlow,
    /// The mock answers a page of HTML.
    MockHtml,
    /// The keystore `vault` is drained, and activated again.
    Drained,
    /// Keys move between `local` and `vault`.
    Moved,
    /// The gateway's disk is full.
    DiskFull,
}

use Fault as F;

/// In the order of the short course.
pub(super) const FAULTS: [Fault; 20] = [
    F::WorkersKilled,
    F::ModuleCodes,
    F::ModuleSlow,
    F::ModuleCrashes,
    F::TokenAway,
    F::FarCut,
    F::FarSlow,
    F::FarKilled,
    F::PykmipCut,
    F::PykmipSlow,
    F::MockErrors,
    F::MockForgets,
    F::MockSlow,
    F::MockHtml,
    F::MockSilent,
    F::Drained,
    F::Moved,
    F::ModuleHangs,
    F::DiskFull,
    F::GatewayKilled,
];

impl Fault {
    pub(super) fn name(self) -> String {
        format!("{self:?}")
    }

    /// Keystores that are expected to suffer.
    pub(super) fn places(self) -> &'static [&'static str] {
        match self {
            Self::WorkersKilled | Self::ModuleCodes | Self::ModuleSlow | Self::ModuleHangs | Self::ModuleCrashes => &TOKENS,
            Self::TokenAway => &TOKENS[..1],
            Self::FarKilled | Self::FarCut | Self::FarSlow => &[FAR, FRONT],
            Self::PykmipCut | Self::PykmipSlow => &[PYKMIP],
            Self::MockErrors | Self::MockForgets | Self::MockSilent | Self::MockSlow | Self::MockHtml => &[MOCK],
            Self::Drained | Self::Moved => &[VAULT],
            Self::DiskFull | Self::GatewayKilled => &[LOCAL],
        }
    }

    /// Faults of one lane exclude each other; those of the gateway itself exclude its commands.
    fn lane(self) -> u8 {
        match self {
            Self::WorkersKilled | Self::ModuleCodes | Self::ModuleSlow | Self::ModuleHangs | Self::ModuleCrashes | Self::TokenAway => 0,
            Self::FarKilled | Self::FarCut | Self::FarSlow => 1,
            Self::PykmipCut | Self::PykmipSlow => 2,
            Self::MockErrors | Self::MockForgets | Self::MockSilent | Self::MockSlow | Self::MockHtml => 3,
            Self::Drained | Self::Moved | Self::DiskFull | Self::GatewayKilled => 4,
        }
    }
}

/// What was done of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    pub(super) times: u32,
    pub(super) held: Duration,
    /// From its end until its keystores served again; measured where nothing else was wrong.
    pub(super) longest_recovery: Duration,
}

/// What the injector did and saw.
#[derive(Debug, Default)]
pub(super) struct Injected {
    pub(super) faults: BTreeMap<Fault, Record>,
    pub(super) memory_max: u64,
}

pub(super) struct Injector<'a> {
    course: Course,
    faults: Vec<Fault>,
    random: fastrand::Rng,
    watch: &'a Arc<Watch>,
    say: &'a (dyn Fn(&str) + Sync),
    injected: Injected,
    /// Where a token's files are meanwhile.
    away: Option<(PathBuf, PathBuf)>,
    last_away: Option<Instant>,
    moves: u32,
}

/// A token goes away no oftener than this.
const AWAY_EVERY: Duration = Duration::from_secs(8);

impl<'a> Injector<'a> {
    pub(super) fn new(plan: &Plan, watch: &'a Arc<Watch>, say: &'a (dyn Fn(&str) + Sync)) -> Self {
        let random = fastrand::Rng::with_seed(plan.seed);
        let named = |fault: &Fault| plan.only.is_empty() || plan.only.contains(&fault.name());
        let faults = FAULTS.into_iter().filter(named).collect();
        Self { course: plan.course.clone(), faults, random, watch, say, injected: Injected::default(), away: None, last_away: None, moves: 0 }
    }

    pub(super) fn finish(self) -> Injected {
        self.injected
    }

    /// Until the course is over. At its end no fault is left.
    pub(super) fn run(&mut self, site: &mut Site) -> io::Result<()> {
        self.all_serve(&PLACES.map(|place| place.name), "the start");
        match self.course.clone() {
            Course::EachOnce => {
                for fault in self.faults.clone() {
                    self.round(site, &[fault], true)?;
                }
            }
            Course::Random(time) => {
                let until = Instant::now() + time;
                while Instant::now() < until && !self.faults.is_empty() {
                    let picked = self.pick();
                    // Now and then the next faults begin before the last ones are got over.
                    let recovers = self.random.u8(..3) > 0;
                    self.round(site, &picked, recovers)?;
                }
            }
        }
        Ok(())
    }

    fn pick(&mut self) -> Vec<Fault> {
        let mut picked: Vec<Fault> = Vec::new();
        for _ in 0..self.random.usize(1..=3) {
            let fault = self.faults[self.random.usize(..self.faults.len())];
            // A token that shows no key is doubted every five seconds, not oftener: see `pkcs11/pool.rs`.
            if fault == F::TokenAway && self.last_away.is_some_and(|at| at.elapsed() < AWAY_EVERY) {
                continue;
            }
            if picked.iter().all(|other| other.lane() != fault.lane()) {
                picked.push(fault);
            }
        }
        picked
    }

    fn round(&mut self, site: &mut Site, faults: &[Fault], recovers: bool) -> io::Result<()> {
        let begun = Instant::now();
        let names: Vec<String> = faults.iter().map(|fault| fault.name()).collect();
        for &fault in faults {
            self.begin(site, fault)?;
        }
        self.hold(faults);
        let held = begun.elapsed();
        for &fault in faults.iter().rev() {
            self.end(site, fault)?;
        }
        self.injected.memory_max = self.injected.memory_max.max(site.memory().unwrap_or_default());
        let ended = Instant::now();
        let places: Vec<&str> = faults.iter().flat_map(|fault| fault.places()).copied().collect();
        if recovers {
            self.all_serve(&places, &names.join(" and "));
        }
        let recovery = ended.elapsed();
        for &fault in faults {
            let record = self.injected.faults.entry(fault).or_default();
            record.times += 1;
            record.held += held;
            if recovers && faults.len() == 1 {
                record.longest_recovery = record.longest_recovery.max(recovery);
            }
        }
        let (done, refused) = self.watch.progress(None);
        (self.say)(&format!(
            "{:<28} held {held:>6.1?}, served again after {recovery:>6.1?}; {done} done, {refused} refused",
            names.join("+")
        ));
        Ok(())
    }

    /// A random time, or until clients have noticed.
    fn hold(&mut self, faults: &[Fault]) {
        let long = faults.contains(&F::ModuleHangs);
        if let Course::Random(_) = self.course {
            let ms = if long { self.random.u64(11_000..16_000) } else { self.random.u64(500..6_000) };
            std::thread::sleep(Duration::from_millis(ms));
            return;
        }
        let until = Instant::now() + Duration::from_secs(if long { 12 } else { 2 });
        let places: Vec<usize> = faults.iter().flat_map(|fault| fault.places()).map(|name| index(name)).collect();
        let before: Vec<(u64, u64)> = places.iter().map(|&place| self.watch.progress(Some(place))).collect();
        let local = self.watch.progress(Some(index(LOCAL))).0;
        let is_noticed = || {
            let now = places.iter().map(|&place| self.watch.progress(Some(place)));
            let each = now.zip(&before).all(|(now, before)| now.1 > before.1 || now.0 > before.0 + 20);
            each && self.watch.progress(Some(index(LOCAL))).0 > local + 20
        };
        while Instant::now() < until && (long || !is_noticed()) {
            // How soon it is noticed that clients have noticed.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until clients of these keystores are served again.
    fn all_serve(&self, places: &[&str], after: &str) {
        let until = Instant::now() + READY_MAX;
        for name in places {
            let before = self.watch.progress(Some(index(name))).0;
            while self.watch.progress(Some(index(name))).0 < before + 3 {
                if Instant::now() > until {
                    self.watch.wrong(format!("{name} does not serve within {READY_MAX:?} after {after}"));
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Waits until keys are made in the local keystore.
    fn local_makes_keys(&self, after: &str) {
        let made = || {
            let counts = self.watch.counts();
            ["Create", "Register"].iter().filter_map(|name| counts.get(&(index(LOCAL), *name))).map(|count| count.done).sum::<u64>()
        };
        let (before, until) = (made(), Instant::now() + READY_MAX);
        while made() < before + 3 {
            if Instant::now() > until {
                self.watch.wrong(format!("{LOCAL} makes no keys within {READY_MAX:?} after {after}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn begin(&mut self, site: &mut Site, fault: Fault) -> io::Result<()> {
        match fault {
            F::GatewayKilled => {
                self.watch.own_fault(true);
                site.gateway().kill()?;
                site.gateway().start()?;
                self.watch.own_fault(false);
            }
            F::WorkersKilled => {
                for worker in children(site.service.gateway.pid()) {
                    // It may have ended by itself.
                    let _ = kill_process(worker, Signal::KILL);
                }
            }
            F::ModuleCodes => site.shim.rules(&self.some_of(&CODES)),
            F::ModuleSlow => site.shim.rules(&self.some_of(&SLOW)),
            F::ModuleHangs => site.shim.rules(&self.some_of(&HANGS)),
            F::ModuleCrashes => site.shim.rules(&self.some_of(&CRASHES)),
            F::TokenAway => {
                let here = site.storage[0].clone();
                let away = site.far.scratch().join("token-away");
                fs::rename(&here, &away)?;
                self.away = Some((here, away));
            }
            F::FarKilled => site.far.kill()?,
            F::FarCut => {
                for wire in site.wires.to_far() {
                    wire.refuse(self.random.bool());
                    wire.sever();
                }
            }
            F::FarSlow => {
                let ms = self.random.u64(20..600);
                site.wires.to_far().into_iter().for_each(|wire| wire.delay(Duration::from_millis(ms)));
            }
            F::PykmipCut => {
                site.wires.pykmip.refuse(self.random.bool());
                site.wires.pykmip.sever();
            }
            F::PykmipSlow => site.wires.pykmip.delay(Duration::from_millis(self.random.u64(20..600))),
            F::MockErrors => site.mock.misbehave(Some(Misbehaviour::Failing)),
            F::MockForgets => site.mock.misbehave(Some(Misbehaviour::CloseAfter)),
            F::MockSilent => site.mock.misbehave(Some(Misbehaviour::Silence)),
            F::MockSlow => site.mock.misbehave(Some(Misbehaviour::Slow(1000))),
            F::MockHtml => site.mock.misbehave(Some(Misbehaviour::Html)),
            F::Drained => self.command(site, &["keystore", "drain", VAULT]),
            F::Moved => {
                let (from, to) = self.route();
                self.command(site, &["keys", "rehome", "--from", from, "--to", to, "--yes", "--detach", "--per-second", "40"]);
            }
            F::DiskFull => {
                if let Some(disk) = &site.disk {
                    self.watch.own_fault(true);
                    disk.fill()?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, site: &mut Site, fault: Fault) -> io::Result<()> {
        match fault {
            F::GatewayKilled | F::WorkersKilled => {}
            F::ModuleCodes | F::ModuleSlow | F::ModuleHangs | F::ModuleCrashes => site.shim.rules(&[]),
            F::TokenAway => {
                if let Some((here, away)) = self.away.take() {
                    // The module may have made an empty folder there.
                    let _ = fs::remove_dir_all(&here);
                    fs::rename(away, here)?;
                    self.last_away = Some(Instant::now());
                }
            }
            F::FarKilled => site.far.start()?,
            F::FarCut => site.wires.to_far().into_iter().for_each(|wire| wire.refuse(false)),
            F::FarSlow => site.wires.to_far().into_iter().for_each(|wire| wire.delay(Duration::ZERO)),
            F::PykmipCut => site.wires.pykmip.refuse(false),
            F::PykmipSlow => site.wires.pykmip.delay(Duration::ZERO),
            F::MockErrors | F::MockForgets | F::MockSilent | F::MockSlow | F::MockHtml => site.mock.misbehave(None),
            F::Drained => {
                self.command(site, &["keystore", "test", VAULT]);
                self.command(site, &["keystore", "activate", VAULT, "--confirm", VAULT, "--keep-default"]);
            }
            F::Moved => {
                let (from, to) = self.route();
                // It may be over: then there is nothing to stop.
                let _ = site.service.command(&["keys", "rehome", "--from", from, "--to", to, "--stop", "--yes"]);
                self.moves += 1;
            }
            F::DiskFull => {
                if let Some(disk) = &site.disk {
                    disk.empty()?;
                    // Reads go on all the time; it is over when changes do too.
                    self.local_makes_keys("the disk was full");
                    self.watch.own_fault(false);
                }
            }
        }
        Ok(())
    }

    /// There and back in turn.
    fn route(&self) -> (&'static str, &'static str) {
        if self.moves.is_multiple_of(2) { (LOCAL, VAULT) } else { (VAULT, LOCAL) }
    }

    fn command(&self, site: &Site, arguments: &[&str]) {
        if let Err(error) = site.service.command(arguments) {
            self.watch.wrong(format!("keygate {arguments:?}: {error}"));
        }
    }

    /// One to three rules.
    fn some_of<'r>(&mut self, rules: &[&'r str]) -> Vec<&'r str> {
        let count = self.random.usize(1..=3);
        if let Course::EachOnce = self.course {
            return rules[..count.min(rules.len())].to_vec();
        }
        (0..count).map(|_| rules[self.random.usize(..rules.len())]).collect()
    }
}

/// Answers of the module: for a time, and after the deed. PINs are not among them: a refused one needs an operator.
const CODES: [&str; 18] = [
    "C_SignInit return 0x30 times=20",
    "C_EncryptInit return 0xE0 times=20",
    "C_GenerateKey then-return 0x5 times=5",
    "C_DestroyObject then-return 0x6 times=5",
    "C_SignInit return 0x90",
    "C_Sign return 0x91 times=30",
    "C_EncryptInit return 0xB3 times=30",
    "C_DecryptInit return 0x101 times=30",
    "C_SignInit return 0x82 times=30",
    "C_SignInit return 0x5 times=10",
    "C_GenerateKeyPair return 0x31",
    "C_GenerateKeyPair then-return 0x30 times=5",
    "C_CreateObject return 0x31",
    "C_CreateObject then-return 0x30 times=5",
    "C_DestroyObject return 0x30 times=10",
    "C_FindObjectsInit return 0x6 times=20",
    "C_OpenSession return 0xB1 times=20",
    "C_Encrypt then-return 0x80001234 times=20",
];
const SLOW: [&str; 5] = [
    "C_SignInit delay 100",
    "C_EncryptInit delay 300",
    "C_GenerateKey delay 500",
    "C_FindObjectsInit delay 200",
    "C_Login delay 1000",
];
const HANGS: [&str; 4] = [
    "C_EncryptInit hang skip=3 times=1",
    "C_Sign hang skip=3 times=1",
    "C_GenerateKey hang skip=1 times=1",
    "C_DestroyObject hang times=1",
];
const CRASHES: [&str; 7] = [
    "C_EncryptInit crash skip=5 times=2",
    "C_GenerateKey then-crash skip=1 times=1",
    "C_Sign then-crash skip=2 times=3",
    "C_GenerateKeyPair crash times=1",
    "C_DestroyObject then-crash times=1",
    "C_CreateObject crash times=2",
    "C_Login crash times=1",
];

fn index(name: &str) -> usize {
    PLACES.iter().position(|place| place.name == name).unwrap_or_default()
}

/// The worker processes of the gateway.
fn children(gateway: Option<u32>) -> Vec<Pid> {
    let Some(gateway) = gateway else { return Vec::new() };
    let threads = fs::read_dir(format!("/proc/{gateway}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers: Vec<String> = lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    numbers.iter().filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
}
