//! What certificates cost when there are many: a look at a handshake's certificate, lists of revoked ones, memory.
//!
//! In this process, over a store of its own: the gateway's library, without sockets.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate::audit::Actor;
use keygate::identity::{CertificateVerifier, ClientCertificates, CredentialId, Directory, DirectoryContent, DirectoryHandle};
use keygate::provisioning::{
    Deciding, EnrolRequest, KeyChoice, NewKeyRequest, Parts, Provisioning, Reasoned,
};
use keygate::seal::{NewSlot, Openers, Seal};
use keygate::store::{
    CertificateQuotas, Change, ClientId, Commit, EntryId, IssuedCertificate, OrganisationId, Revocation, Serial, Store,
    StoreOptions,
};
use keygate_pki::provisioning::PresentedSecret;
use keygate_pki::{
    BlockList, Certificate, DistinguishedName, NewRequest, OffsetDateTime, PrivateKey, Reason, SignatureAlgorithm,
};
use keygate_kmip::Operation;
use keygate_tests::client::TlsKmipClient;
use keygate_tests::provisioning::Service;
use keygate_tests::relying::{Trust, ocsp};
use keygate_tests::request;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::process;
use crate::rows::{Plan, Row, median};

const ORGANISATION: OrganisationId = OrganisationId::DEFAULT;
/// Certificates that are put into the store in one commit.
const AT_ONCE: usize = 1000;
/// Looks that one figure is the mean of.
const LOOKS: u32 = 200_000;
const HANDSHAKES: u32 = 300;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Measures the rows that are wanted.
pub(crate) fn measure(plan: &Plan, wanted: &dyn Fn(&str) -> bool, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let failed = |error: Failed| io::Error::other(error.to_string());
    if wanted("revocation") {
        runtime.block_on(looks(plan, report)).map_err(failed)?;
    }
    if wanted("lists") {
        runtime.block_on(lists(plan, report)).map_err(failed)?;
    }
    if wanted("certificates") {
        runtime.block_on(memory(plan, report)).map_err(failed)?;
    }
    if wanted("revoked") {
        for act in [Act::RevokeKey, Act::DisableService] {
            cut_off(plan, &runtime, act, report).map_err(failed)?;
        }
    }
    Ok(())
}

/// What ends the service of a key's clients.
#[derive(Clone, Copy)]
enum Act {
    RevokeKey,
    DisableService,
}

/// The running gateway with 100,000 certificates of one key: from the command's start until everything refuses them.
fn cut_off(plan: &Plan, runtime: &tokio::runtime::Runtime, act: Act, report: &mut dyn FnMut(Row)) -> Result<(), Failed> {
    let mut service = Service::start();
    let key = service.create("bench");
    let device = service.enrol(&key, "client");
    service.gateway.stop()?;
    let added = runtime.block_on(fill_folder(service.gateway.data(), plan.keys_many))?;
    service.gateway.start()?;
    let discover = request::message((1, 4), vec![(Operation::DiscoverVersions, Vec::new())]);
    let mut live = service.kmip(&device)?;
    live.request(&discover)?;
    let config = service.credentials(&device).tls()?;
    let resume = || TlsKmipClient::connect_with(service.gateway.address("kmip"), "localhost", config.clone());
    resume()?.request(&discover)?;
    let trust = Trust { anchors: String::from_utf8(service.fetch("/ca/default.pem")?)?, crls: String::new() };
    let listed = service.fetch("/crl/default.pem")?;

    let started = Instant::now();
    let name = match act {
        Act::RevokeKey => {
            service.change("revoke", &key);
            "a key revoked"
        }
        Act::DisableService => {
            drop(service.ok(&["service", "disable", "--reason", "bench", "--yes"]));
            "the service disabled"
        }
    };
    let mut late = Vec::new();
    let mut check = |what: &'static str, refused: bool| {
        if !refused {
            late.push(what);
        }
    };
    check("live connection", live.is_closed());
    check("resumed session", !resume().is_ok_and(|mut client| client.request(&discover).is_ok()));
    check("new handshake", !service.kmip(&device).is_ok_and(|mut client| client.request(&discover).is_ok()));
    check("CRL", service.fetch("/crl/default.pem")? != listed);
    check("bundle", service.fetch("/trust/default.pem")?.is_empty());
    check("OCSP", matches!(ocsp::openssl(&service.folder(), &trust, &device)?, ocsp::Status::Revoked(_)));
    let taken = started.elapsed().as_secs_f64();
    let detail = if late.is_empty() {
        format!("{added} certificates; live, resumed and new connections, CRL, bundle and OCSP, checks included")
    } else {
        format!("not refused: {}", late.join(", "))
    };
    let value = if late.is_empty() { taken } else { f64::INFINITY };
    report(Row::new(&format!("revoked everywhere: {name}"), value, "s", 1.0, true, detail));
    Ok(())
}

/// Puts certificates into a data folder that no server has open.
async fn fill_folder(folder: &Path, count: usize) -> Result<usize, Failed> {
    let seal = Seal::load(folder)?;
    let root = Arc::new(seal.unlock(&Openers::default())?);
    let store = Store::open(folder, seal.store_id(), root, StoreOptions::default()).await?;
    let first = store.with_issued(|index| index.iter().next().map(|facts| facts.serial)).ok_or("nothing is issued")?;
    let row = store.issued(&first).await?.ok_or("not issued")?;
    fill(&store, &row, count, false).await?;
    store.close().await?;
    Ok(count)
}

/// A gateway's provisioning with one client.
struct World {
    _dir: tempfile::TempDir,
    store: Store,
    directory: Arc<DirectoryHandle>,
    provisioning: Provisioning,
    client: (PrivateKey, Certificate),
    row: IssuedCertificate,
}

impl World {
    async fn new(plan: &Plan) -> Result<Self, Failed> {
        let dir = tempfile::tempdir_in(&plan.folder)?;
        let (seal, root) = Seal::create(dir.path(), NewSlot::default())?;
        let store = Store::create(dir.path(), seal.store_id(), Arc::new(root), StoreOptions::default()).await?;
        let directory = Arc::new(DirectoryHandle::new(DirectoryContent::from_store(&store)));
        let provisioning = Provisioning::new(Parts {
            store: store.clone(),
            directory: directory.clone(),
            public_url: "http://pki.example:8080".parse()?,
            other_cas: Vec::new(),
            blocked: BlockList::default(),
            refusals: Arc::default(),
            quotas: CertificateQuotas::default(),
            clock: Arc::new(OffsetDateTime::now_utc),
        })?;
        let by = Deciding { actor: Actor::System, source: None };
        let wish = Reasoned { reason: "bench".into(), acknowledged: true };
        provisioning.enable_service(&by, ORGANISATION, &wish, KeyChoice::default(), None).await?;
        let wish = NewKeyRequest { name: "bench".into(), ..NewKeyRequest::default() };
        let made = provisioning.create_key(&by, ORGANISATION, &wish).await?;
        let secret = PresentedSecret::from_pair(&made.secret)?;
        let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
        let request = NewRequest::client(&DistinguishedName::new(None, "client")?, &[]).sign(&key)?;
        let asked =
            EnrolRequest { secret: &secret, organisation: None, source: [127, 0, 0, 1].into(), request: &request, names: &[], make_key: false };
        let enrolled = provisioning.enrol(&asked).await?;
        let serial = Serial::new(enrolled.certificate.serial()).ok_or("no serial number")?;
        let row = store.issued(&serial).await?.ok_or("not issued")?;
        let row = IssuedCertificate::clone(&row);
        Ok(Self { _dir: dir, store, directory, provisioning, client: (key, enrolled.certificate), row })
    }

    async fn fill(&self, count: usize, revoked: bool) -> Result<(), Failed> {
        fill(&self.store, &self.row, count, revoked).await
    }
}

/// Puts certificates into a store until there are `count`: copies of `row` with numbers and hashes of their own.
async fn fill(store: &Store, row: &IssuedCertificate, count: usize, revoked: bool) -> Result<(), Failed> {
    let revoked = revoked.then(|| Revocation { at: row.not_before, reason: Reason::KeyCompromise.code() });
    while store.with_issued(|index| index.len()) < count {
        let have = store.with_issued(|index| index.len());
        let changes = (have..count.min(have + AT_ONCE)).map(|n| {
            let mut random = [0; 17 + 32 + 32];
            let _ = aws_lc_rs::rand::fill(&mut random);
            let (serial, hashes) = random.split_at(17);
            let half = |from: usize| <[u8; 32]>::try_from(&hashes[from..from + 32]).unwrap_or_default();
            let certificate = Box::new(IssuedCertificate {
                id: EntryId::generate(),
                client: ClientId::generate(),
                serial: Serial::new(serial).unwrap_or(row.serial),
                sha256: half(0),
                public_key_sha256: half(32),
                shard: (n / 10_000) as u32,
                revoked,
                ..row.clone()
            });
            Change::AddIssued { certificate, uses_max: None, renewed: None, quotas: CertificateQuotas::default(), now: 0 }
        });
        let changes = changes.collect();
        store.commit(Commit { changes, ..Commit::default() }).await?;
    }
    Ok(())
}

/// Looking up a connection's certificate, and whole handshakes, at one certificate and at a million, in turns.
async fn looks(plan: &Plan, report: &mut dyn FnMut(Row)) -> Result<(), Failed> {
    let count = plan.keys_many * 10;
    let (few, many) = (World::new(plan).await?, World::new(plan).await?);
    many.fill(count, false).await?;
    let (one, million) = (look(&few)?, look(&many)?);
    let detail = format!("{:.0} ns at 1 certificate, {:.0} ns at {count}", nanos(one), nanos(million));
    report(Row::new("revocation check", nanos(one.max(million)) / 1000.0, "us", 1.0, true, detail));
    let mut turns = Vec::new();
    for _ in 0..plan.runs.max(3) {
        turns.push((handshakes(&few)?, handshakes(&many)?));
    }
    let ratio = median(turns.iter().map(|(few, many)| many.as_secs_f64() / few.as_secs_f64()));
    let middle = |of: &dyn Fn(&(Duration, Duration)) -> Duration| median(turns.iter().map(|turn| micros(of(turn))));
    let detail = format!(
        "{:.0} us at 1 certificate, {:.0} us at {count}, both ends",
        middle(&|turn| turn.0),
        middle(&|turn| turn.1)
    );
    report(Row::new("handshake CPU, revocation check at many against one", ratio, "x", 1.1, true, detail));
    Ok(())
}

fn look(world: &World) -> Result<Duration, Failed> {
    let now = UnixTime::now();
    let chain = [CertificateDer::from(world.client.1.der().to_vec())];
    let directory: Arc<Directory> = world.directory.load();
    let credential: CredentialId = directory.identify(&chain, now)?.credential;
    let one = || {
        let started = Instant::now();
        for _ in 0..LOOKS {
            std::hint::black_box(directory.recheck(std::hint::black_box(&credential), now).is_ok());
        }
        started.elapsed() / LOOKS
    };
    Ok((0..3).map(|_| one()).min().unwrap_or_default())
}

/// CPU of a full TLS 1.3 handshake in memory, client and server in this thread.
fn handshakes(world: &World) -> Result<Duration, Failed> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server_key = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let server_der = CertificateDer::from(server_key.cert.der().to_vec());
    let verifier = CertificateVerifier::new(world.directory.clone(), ClientCertificates::Required, provider.clone());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![server_der.clone()], PrivateKeyDer::try_from(server_key.signing_key.serialize_der())?)?;
    let mut roots = RootCertStore::empty();
    roots.add(server_der)?;
    let leaf = CertificateDer::from(world.client.1.der().to_vec());
    let key = PrivateKeyDer::try_from(world.client.0.expose_pkcs8().to_vec())?;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf], key)?;
    client.resumption = rustls::client::Resumption::disabled();
    let (server, client) = (Arc::new(server), Arc::new(client));
    let started = cpu();
    for _ in 0..HANDSHAKES {
        handshake(&server, &client)?;
    }
    Ok((cpu() - started) / HANDSHAKES)
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or_default())
}

fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(), Failed> {
    let mut server = ServerConnection::new(server.clone())?;
    let mut client = ClientConnection::new(client.clone(), ServerName::try_from("localhost")?)?;
    while server.is_handshaking() || client.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire)?;
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
        }
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire)?;
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
        }
        client.process_new_packets()?;
    }
    Ok(())
}

/// All lists with 100,000 revoked certificates on them, and those that one more revocation changes.
async fn lists(plan: &Plan, report: &mut dyn FnMut(Row)) -> Result<(), Failed> {
    let world = World::new(plan).await?;
    world.fill(plan.keys_many, true).await?;
    let mut whole = Vec::new();
    for _ in 0..plan.runs {
        let started = Instant::now();
        world.provisioning.publish_all().await?;
        whole.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let published = world.provisioning.published();
    let shards = published.lists.keys().filter(|(_, shard)| shard.is_some()).count();
    let bytes: usize = published.lists.values().map(|list| list.body.len()).sum();
    let detail = format!("{shards} shards and the whole list, {:.1} MB, with the commit of their number", bytes as f64 / 1e6);
    report(Row::new(
        &format!("lists of {} revoked certificates", plan.keys_many),
        median(whole.into_iter()),
        "ms",
        200.0,
        true,
        detail,
    ));
    // One more: the clock runs until its shard is in place; the whole list follows.
    let key = world.row.authority;
    let tag = |world: &World| world.provisioning.published().lists.get(&(key, Some(0))).map(|list| list.etag.clone());
    let before = tag(&world);
    let world = Arc::new(world);
    let started = Instant::now();
    let revoking = tokio::spawn({
        let world = world.clone();
        async move {
            let by = Deciding { actor: Actor::System, source: None };
            let wish = Reasoned { reason: "bench".into(), acknowledged: true };
            let (serial, told) = (world.row.serial, Reason::KeyCompromise);
            world.provisioning.revoke_certificate(&by, ORGANISATION, &serial, &wish, told).await
        }
    });
    while tag(&world) == before {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let taken = started.elapsed().as_secs_f64() * 1e3;
    revoking.await??;
    let whole = started.elapsed().as_secs_f64() * 1e3;
    let detail = format!("from the decision to the shard in place, two commits in it; {whole:.0} ms until the whole list was too");
    report(Row::new("lists: one shard after one more revocation", taken, "ms", 20.0, true, detail));
    Ok(())
}

/// Resident memory that 100,000 certificates add.
async fn memory(plan: &Plan, report: &mut dyn FnMut(Row)) -> Result<(), Failed> {
    let world = World::new(plan).await?;
    world.fill(AT_ONCE, false).await?;
    let before = process::resident(std::process::id())?;
    world.fill(AT_ONCE + plan.keys_many, false).await?;
    let added = process::resident(std::process::id())?.saturating_sub(before) as f64 / (1 << 20) as f64;
    let per = added * 100_000.0 / plan.keys_many as f64;
    let detail = format!("{added:.1} MiB for {} certificates, database cache and all", plan.keys_many);
    report(Row::new("certificates: memory per 100,000", per, "MiB", 40.0, true, detail));
    Ok(())
}

fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
