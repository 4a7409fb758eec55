//! kill -9 while writing: every acknowledged key is there, the record verifies.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "KEYGATE_TEST_CRASH_DIR";

/// The victim: writes with 16 tasks and says each id once it is acknowledged. Runs only as the child of the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of acknowledged_keys_survive_kill"]
async fn victim() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = PathBuf::from(dir);
    let (id, root) = unlock(&dir);
    let store = Store::open(&dir, id, root, StoreOptions::default()).await.expect("opened");
    let fixture = Arc::new(Fixture::new());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, fixture) = (store.clone(), fixture.clone());
        tasks.spawn(async move {
            loop {
                let columns = fixture.columns();
                let object = columns.id;
                store.commit(insert(&store, columns, object.as_bytes())).await.expect("committed");
                println!("acknowledged {object}");
            }
        });
    }
    tasks.join_next().await;
}

#[tokio::test]
async fn acknowledged_keys_survive_kill() {
    let fixture = Fixture::new();
    fixture.create().await.close().await.expect("closed");
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "store::tests::crash::victim", "--ignored", "--nocapture"])
            .env(DIR, fixture.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the victim starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = stdout.lines();
        let wanted = 50 + 100 * round;
        let mut heard = 0;
        while heard < wanted {
            let line = lines.next().expect("the victim lives until it is killed").expect("text");
            heard += usize::from(note(&line, &mut acknowledged));
        }
        child.kill().expect("killed");
        // What it said before it died, but not a torn last line.
        for line in lines.map_while(Result::ok) {
            note(&line, &mut acknowledged);
        }
        child.wait().expect("reaped");

        let store = fixture.open().await;
        assert!(store.damage().is_empty());
        for object in &acknowledged {
            let row = fetch(&store, *object).await;
            assert!(row.open(store.keyring()).expect("authentic").expose() == object.as_bytes());
        }
        let report = store.verify_audit().await.expect("verified");
        assert!(report.is_intact(), "{:?}", report.findings);
        store.close().await.expect("closed");
    }
}

fn note(line: &str, acknowledged: &mut Vec<ObjectId>) -> bool {
    let id: Option<ObjectId> = line.split_once("acknowledged ").and_then(|(_, id)| id.get(..36)?.parse().ok());
    acknowledged.extend(id);
    id.is_some()
}
