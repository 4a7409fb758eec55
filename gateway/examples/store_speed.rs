//! Measures the store by itself: creates and reads in group commits, cached and uncached look-ups, Locate, and opening.
//!
//! `cargo run --release -p keygate --example store_speed [objects]`; prints one line per figure. The raw SQLite figure beside
//! which to read the creates is in the bench crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keygate::audit::{Action, Actor, Details, Event, Outcome};
use keygate::seal::{NewSlot, Openers, RootKey, Seal};
use keygate::store::*;

const WRITERS: usize = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let objects = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("keygate-store-speed-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let outcome = measure(&dir, objects).await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure(dir: &std::path::Path, objects: usize) -> Result<(), Failure> {
    let (seal, _) = Seal::create(dir, NewSlot::default())?;
    let root = Arc::new(seal.unlock(&Openers::default())?);
    let id = seal.store_id();
    let store = Store::create(dir, id, root.clone(), StoreOptions::default()).await?;
    let owner = ClientId::generate();
    let keystore = KeystoreId::generate();

    let made: Arc<std::sync::Mutex<Vec<ObjectId>>> = Arc::default();
    let begun = Instant::now();
    let counter = Arc::new(AtomicUsize::new(0));
    each_of(WRITERS, || {
        let (store, made, counter) = (store.clone(), made.clone(), counter.clone());
        async move {
            loop {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                if number >= objects {
                    return Ok(());
                }
                let commit = create(&store, owner, keystore, number);
                let object = commit.events[0].object;
                store.commit(commit).await?;
                made.lock().map_err(|_| "poisoned")?.extend(object);
            }
        }
    })
    .await?;
    report("creates, 64 writers", objects, begun.elapsed());
    let made = Arc::new(std::mem::take(&mut *made.lock().map_err(|_| "poisoned")?));

    for (name, durable) in [("gets recorded before the answer, 64 readers", true), ("gets recorded after the answer, 64 readers", false)] {
        let begun = Instant::now();
        let gets = objects.min(20_000) * 4;
        let counter = Arc::new(AtomicUsize::new(0));
        each_of(WRITERS, || {
            let (store, made, counter) = (store.clone(), made.clone(), counter.clone());
            async move {
                loop {
                    let number = counter.fetch_add(1, Ordering::Relaxed);
                    if number >= gets {
                        return Ok(());
                    }
                    let object = made[number.wrapping_mul(7919) % made.len()];
                    let row = store.object(object).await?.ok_or("absent")?;
                    row.open(store.keyring())?;
                    store.append_reads(&[event(Action::Get, object, owner)], durable).await?;
                    // As a server would between two requests of a connection.
                    tokio::task::yield_now().await;
                }
            }
        })
        .await?;
        report(name, gets, begun.elapsed());
    }

    let begun = Instant::now();
    for number in 0..1000 {
        let token = store.keyring().index().token(&OrganisationId::DEFAULT.0, "Name", format!("key {number}").as_bytes());
        let query = LocateQuery { tokens: vec![token], ..LocateQuery::owned_by(OrganisationId::DEFAULT, owner) };
        assert_eq!(store.locate(&query).await?.rows.len(), 1);
    }
    report("locates by name, one after the other", 1000, begun.elapsed());

    store.close().await?;
    reopen(dir, id, root).await
}

async fn reopen(dir: &std::path::Path, id: uuid::Uuid, root: Arc<RootKey>) -> Result<(), Failure> {
    for _ in 0..3 {
        let begun = Instant::now();
        let store = Store::open(dir, id, root.clone(), StoreOptions::default()).await?;
        println!("open with {} objects: {:.1} ms", store.object_count(), begun.elapsed().as_secs_f64() * 1e3);
        store.close().await?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS unknown"));
    Ok(())
}

async fn each_of<F: Future<Output = Result<(), Failure>> + Send + 'static>(count: usize, task: impl Fn() -> F) -> Result<(), Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        tasks.spawn(task());
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn create(store: &Store, owner: ClientId, keystore: KeystoreId, number: usize) -> Commit {
    let id = ObjectId::generate();
    let name = format!("key {number}");
    let keys = store.keyring().index();
    let columns = ObjectColumns {
        id,
        organisation: OrganisationId::DEFAULT,
        owner,
        version: Version::FIRST,
        state: 1,
        object_type: 2,
        keystore,
        custody: Custody::Envelope,
        created_ms: 0,
        attributes: vec![7; 250],
        index: vec![keys.token(&OrganisationId::DEFAULT.0, "Name", name.as_bytes())],
        names: vec![keys.name(&OrganisationId::DEFAULT.0, &owner.0, name.as_bytes())],
    };
    let row = ObjectRow::seal(store.keyring(), columns, &[9; 32]);
    Commit { changes: vec![Change::InsertObject(row)], events: vec![event(Action::Create, id, owner)], erases: false }
}

fn event(action: Action, object: ObjectId, owner: ClientId) -> Event {
    Event {
        at_ms: 1_700_000_000_000,
        actor: Actor::Client(owner),
        source: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        organisation: Some(OrganisationId::DEFAULT),
        action,
        object: Some(object),
        outcome: Outcome::Done,
        details: Details::None,
    }
}

fn report(what: &str, count: usize, took: Duration) {
    println!("{what}: {:.0}/s ({count} in {:.2} s)", count as f64 / took.as_secs_f64(), took.as_secs_f64());
}
