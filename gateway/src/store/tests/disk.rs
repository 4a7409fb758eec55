//! A full disk: a clear error, nothing half-done, and it works again when space returns. Needs a small tmpfs, so the right to mount.

use std::process::Command;

use super::*;

/// A tmpfs of 24 MiB, unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"]).arg(dir.path()).status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED: a tmpfs cannot be mounted here; the full-disk test did not run");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_recovers() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path();
    Seal::create(path, NewSlot::default()).expect("a new seal");
    let (id, root) = unlock(path);
    // No early warning: the writes run into the wall itself.
    let options = StoreOptions { low_disk_percent: 0, ..Default::default() };
    let store = Store::create(path, id, root, options.clone()).await.expect("a new store");
    let fixture = Fixture::new();
    let mut committed = Vec::new();
    let refused = loop {
        let columns = ObjectColumns { attributes: vec![7; 200_000], ..fixture.columns() };
        let object = columns.id;
        match store.commit(insert(&store, columns, b"key")).await {
            Ok(_) => committed.push(object),
            Err(error) => break error,
        }
        assert!(committed.len() < 1000, "the disk never fills");
    };
    assert!(matches!(refused, CommitError::DiskFull), "{refused}");
    // Reads are still recorded, on the reserve.
    store.append_reads(&[event(Action::Get, None)], true).await.expect("the reserve carries reads");
    for object in &committed {
        fetch(&store, *object).await.open(store.keyring()).expect("authentic");
    }
    // Space returns.
    let before = fetch(&store, committed[0]).await;
    store.close().await.expect("closed");
    let status = Command::new("mount").args(["-o", "remount,size=48m"]).arg(path).status().expect("mount runs");
    assert!(status.success());
    let (id, root) = unlock(path);
    let store = Store::open(path, id, root, options).await.expect("opened");
    assert!(store.damage().is_empty());
    assert_eq!(store.object_count(), committed.len());
    store.commit(update(&store, &before, 2, b"key")).await.expect("written again");
    assert!(store.verify_audit().await.expect("verified").is_intact());
    drop(store);
}

#[tokio::test]
async fn writes_stop_before_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path();
    Seal::create(path, NewSlot::default()).expect("a new seal");
    let (id, root) = unlock(path);
    let store = Store::create(path, id, root, StoreOptions { low_disk_percent: 100, ..Default::default() }).await;
    let store = store.expect("a new store");
    let fixture = Fixture::new();
    let refused = store.commit(insert(&store, fixture.columns(), b"key")).await;
    assert!(matches!(refused, Err(CommitError::ReadOnlyLowDisk { percent: 100 })));
    store.append_reads(&[event(Action::Get, None)], true).await.expect("reads go on");
    drop(store);
}
