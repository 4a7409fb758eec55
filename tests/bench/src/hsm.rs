//! The rows with keys, or the key of keys, in SoftHSM.
//!
//! Tokens are in memory (`/dev/shm`), where it is there: SoftHSM opens and reads an object's file for each use, and what is measured is neither
//! this machine's disk nor its file cache.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_kmip::Tag;
use keygate_tests::gateway::TestGateway;
use keygate_tests::request;
use keygate_tests::softhsm::Token;
use keygate_tests::ttlv::Item;

use crate::jobs::{self, Varying};
use crate::load::{self, Job, Measured};
use crate::rows::{Plan, Row, describe, learn_gets, median, populate};
use crate::token::Library;

/// Keys on the token that make a search slow.
const MANY: usize = 10_000;
const FEW: usize = 10;

/// Where tokens go.
fn memory(plan: &Plan) -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { plan.folder.clone() }
}

/// A gateway whose keys are on a token, and Sign with one of them.
struct Signing {
    token: Token,
    gateway: TestGateway,
    jobs: Vec<Arc<dyn Job>>,
    _folder: tempfile::TempDir,
}

impl Signing {
    fn start(plan: &Plan, workers: usize, keys: usize) -> io::Result<Self> {
        let folder = tempfile::tempdir_in(memory(plan))?;
        let token = Token::make(folder.path(), "bench")?;
        let mut gateway = plan.setup().set("keystore.default", "hsm").prepare()?;
        token.join(&mut gateway, "hsm", workers);
        gateway.start()?;
        let jobs = (0..keys).map(|_| signer(&gateway)).collect::<io::Result<_>>()?;
        Ok(Self { token, gateway, jobs, _folder: folder })
    }

    fn run(&self, plan: &Plan) -> io::Result<Measured> {
        let each: Arc<dyn Job> = Arc::new(Each(self.jobs.clone()));
        load::run(&plan.target(&self.gateway)?, &each, plan.load())
    }
}

/// A key made, and the request to sign with it.
fn signer(gateway: &TestGateway) -> io::Result<Arc<dyn Job>> {
    let mut client = gateway.connect("a");
    let made = request::outcome(&client.request(&jobs::create_ec_pair())?)
        .map_err(|(_, message)| io::Error::other(message))?;
    let identifier = |tag: Tag| made.field(tag.0).and_then(Item::text).map(str::to_owned).unwrap_or_default();
    let public = client.request(&jobs::get(&identifier(Tag::PUBLIC_KEY_UNIQUE_IDENTIFIER)))?;
    let public =
        public.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).ok_or_else(|| io::Error::other("no public key"))?;
    // A P-256 SubjectPublicKeyInfo ends with the uncompressed point.
    let point = public[public.len().saturating_sub(65)..].to_vec();
    let data = [0x5A_u8; 32];
    let asked = jobs::sign(&identifier(Tag::PRIVATE_KEY_UNIQUE_IDENTIFIER), &data);
    Ok(Arc::new(Varying::learn(&mut client, &asked, move |answer| jobs::verifies(answer, &point, &data))?))
}

/// Several jobs, one a connection.
struct Each(Vec<Arc<dyn Job>>);

impl Job for Each {
    fn request(&self, connection: usize, n: u64) -> &[u8] {
        self.0[connection % self.0.len()].request(connection, n)
    }

    fn check(&self, connection: usize, n: u64, answer: &[u8]) -> Result<(), String> {
        self.0[connection % self.0.len()].check(connection, n, answer)
    }
}

/// Sign with ECDSA P-256: one worker against the library with one thread, two workers against two processes of the library and against
/// p11-kit's server with a client of eight threads.
pub(crate) fn sign(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let one = Signing::start(plan, 1, 1)?;
    let library = Library::of(&one.token);
    let runs = runs_of(plan, || Ok((one.run(plan)?, vec![library.signatures(1, 1, plan.duration)?])))?;
    report(row(&runs, 0, "sign ECDSA P-256 in SoftHSM, one worker", "% of raw cryptoki", 65.0, "the library alone"));
    drop(one);

    let two = Signing::start(plan, 2, FEW)?;
    let library = Library::of(&two.token);
    let kit = P11Kit::serve(&two.token)?;
    let remote = kit.library(&two.token)?;
    let runs = runs_of(plan, || {
        let own = two.run(plan)?;
        Ok((own, vec![library.signatures(2, 1, plan.duration)?, remote.signatures(1, 8, plan.duration)?]))
    })?;
    report(row(&runs, 0, "sign ECDSA P-256 in SoftHSM, two workers", "% of raw cryptoki in two processes", 40.0, "the library in two processes"));
    report(row(&runs, 1, "sign ECDSA P-256 in SoftHSM, two workers, against p11-kit server", "% of it with a client of 8 threads", 130.0, "p11-kit server"));
    Ok(())
}

/// Sign with two workers and 10,000 keys on the token, against 10.
pub(crate) fn sign_among_many(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let few = Signing::start(plan, 2, FEW)?;
    let many = Signing::start(plan, 2, FEW)?;
    let begun = Instant::now();
    Library::of(&many.token).fill(MANY - FEW)?;
    let filled = begun.elapsed();
    let runs = runs_of(plan, || Ok((many.run(plan)?, vec![few.run(plan)?.per_second])))?;
    let mut row = row(&runs, 0, "sign among 10,000 keys in SoftHSM, two workers", "% of the rate among 10", 90.0, "among 10 keys");
    row.detail = format!("{}; filled in {:.0} s", row.detail, filled.as_secs_f64());
    report(row);
    Ok(())
}

/// Encrypt and Get of local keys, the store sealed by a key in SoftHSM, against one sealed by a key file.
pub(crate) fn envelope(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let folder = tempfile::tempdir_in(memory(plan))?;
    let token = Token::make(folder.path(), "seal")?;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let (module, pin) = (path(&token.module), path(&token.pin_file));
    let sealed = plan
        .setup()
        .environment("SOFTHSM2_CONF", &path(&token.configuration))
        .init(&["--seal", "pkcs11", "--module", &module, "--token-label", &token.label, "--pin-file", &pin])
        .start();
    let plain = plan.gateway();
    let gets = |gateway: &TestGateway| -> io::Result<Arc<dyn Job>> {
        let identifiers = populate(gateway, 0, plan.keys)?;
        Ok(Arc::new(learn_gets(gateway, identifiers.iter().map(|id| jobs::get(id)).collect())?))
    };
    type Make<'a> = &'a dyn Fn(&TestGateway) -> io::Result<Arc<dyn Job>>;
    let kinds: [(&str, Make<'_>); 2] = [("get", &gets), ("encrypt AES-256-GCM 1 KiB", &|gateway| encryption(gateway))];
    for (name, make) in kinds {
        let (own, limit) = (make(&sealed)?, make(&plain)?);
        let runs = runs_of(plan, || {
            let own = load::run(&plan.target(&sealed)?, &own, plan.load())?;
            Ok((own, vec![load::run(&plan.target(&plain)?, &limit, plan.load())?.per_second]))
        })?;
        let name = format!("envelope {name}, key of keys in SoftHSM");
        report(row(&runs, 0, &name, "% of the rate with a key file", 90.0, "key file"));
    }
    Ok(())
}

fn encryption(gateway: &TestGateway) -> io::Result<Arc<dyn Job>> {
    let mut client = gateway.connect("a");
    let key = [0x42_u8; 32];
    let payload = request::outcome(&client.request(&jobs::register(&key))?).map_err(|(_, message)| io::Error::other(message))?;
    let data = vec![0x5A_u8; 1024];
    let asked = jobs::encrypt(&request::identifier(&payload), &data);
    Ok(Arc::new(Varying::learn(&mut client, &asked, move |answer| jobs::opens(answer, &key, &data))?))
}

/// One run: the gateway's figures, and the rates of its limits.
type Run = (Measured, Vec<f64>);

fn runs_of(plan: &Plan, run: impl Fn() -> io::Result<Run>) -> io::Result<Vec<Run>> {
    (0..plan.runs).map(|_| run()).collect()
}

/// The median of the ratios to one of the limits.
fn row(runs: &[Run], limit: usize, name: &str, unit: &'static str, goal: f64, what: &str) -> Row {
    let ratio = |run: &Run| run.0.per_second / run.1[limit];
    let middle = median(runs.iter().map(ratio));
    let nearest = runs.iter().min_by(|one, other| (ratio(one) - middle).abs().total_cmp(&(ratio(other) - middle).abs()));
    let detail = nearest.map(|run| format!("{}; {what} {:.0}/s", describe(&run.0), run.1[limit])).unwrap_or_default();
    Row::new(name, middle * 100.0, unit, goal, false, detail)
}

/// p11-kit's server with a token, over its own socket.
struct P11Kit {
    process: Child,
    folder: tempfile::TempDir,
}

/// How long p11-kit may take to listen.
const LISTENS: Duration = Duration::from_secs(10);

impl P11Kit {
    fn serve(token: &Token) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let process = Command::new("p11-kit")
            .args(["server", "--foreground", "--name"])
            .arg(folder.path().join("socket"))
            .arg("--provider")
            .arg(&token.module)
            .arg(format!("pkcs11:token={}", token.label))
            .env("SOFTHSM2_CONF", &token.configuration)
            .stdout(Stdio::null())
            .spawn()?;
        let kit = Self { process, folder };
        let begun = Instant::now();
        while !kit.socket().exists() {
            if begun.elapsed() > LISTENS {
                return Err(io::Error::other("p11-kit server does not listen"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(kit)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The library that speaks to it.
    fn library(&self, token: &Token) -> io::Result<Library> {
        let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/pkcs11/p11-kit-client.so")))
            .into_iter()
            .find(|path| path.exists());
        let module = found.ok_or_else(|| io::Error::other("no p11-kit-client.so: tests/setup.sh bench installs it"))?;
        Ok(Library::through(token, module, ("P11_KIT_SERVER_ADDRESS", format!("unix:path={}", self.socket().display()))))
    }
}

impl Drop for P11Kit {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
