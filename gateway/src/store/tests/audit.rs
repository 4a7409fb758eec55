//! The audit record: edited, thinned, chained again, cut short: `verify` says which.

use aws_lc_rs::hmac;
use sqlx::AssertSqlSafe;

use super::*;
use crate::audit::Finding;

/// A closed store with a dozen segments.
async fn record() -> (Fixture, u64) {
    let fixture = Fixture::new();
    let store = fixture.create().await;
    for _ in 0..10 {
        store.commit(insert(&store, fixture.columns(), b"")).await.expect("committed");
        store.append_reads(&[event(Action::Get, None)], true).await.expect("recorded");
    }
    let report = store.verify_audit().await.expect("verified");
    assert!(report.is_intact());
    assert_eq!(report.events, 21);
    store.close().await.expect("closed");
    (fixture, report.segments)
}

/// What `verify` finds after `sql` was run on the closed database. Opening adds one segment.
async fn findings_after(fixture: &Fixture, sql: impl sqlx::SqlSafeStr) -> Vec<Finding> {
    assert!(tamper(fixture.path(), sql).await > 0);
    fixture.open().await.verify_audit().await.expect("verified").findings
}

#[tokio::test]
async fn an_edited_row_is_found() {
    let (fixture, _) = record().await;
    let sql =
        "UPDATE audit_segment SET body = CAST(replace(CAST(body AS TEXT), 'Create', 'Revoke') AS BLOB) WHERE seq = 4";
    assert_eq!(findings_after(&fixture, sql).await, [Finding::Edited { seq: 4 }]);
}

#[tokio::test]
async fn a_removed_row_is_found() {
    let (fixture, _) = record().await;
    let findings = findings_after(&fixture, "DELETE FROM audit_segment WHERE seq IN (5, 6, 9)").await;
    assert_eq!(findings, [Finding::Removed { first: 5, last: 6 }, Finding::Removed { first: 9, last: 9 }]);
}

/// A row removed and every later one numbered down, so that no gap shows: the link tells the number it was made for.
#[tokio::test]
async fn a_renumbered_record_is_found() {
    let (fixture, last) = record().await;
    tamper(fixture.path(), "DELETE FROM audit_segment WHERE seq = 5").await;
    for seq in 6..=last {
        let sql = format!("UPDATE audit_segment SET seq = {} WHERE seq = {seq}", seq - 1);
        tamper(fixture.path(), AssertSqlSafe(sql)).await;
    }
    let (id, root) = fixture.root();
    let findings = verify_closed(fixture.path(), id, &root).await.expect("verified").findings;
    assert!(findings.contains(&Finding::Renumbered { first: 5, by: 1 }), "{findings:?}");
    assert!(
        !findings.iter().any(|finding| matches!(finding, Finding::Edited { .. } | Finding::Rechained { .. })),
        "{findings:?}"
    );
}

/// Every row from the third on made anew by somebody without our key, so that the links fit each other.
#[tokio::test]
async fn a_table_chained_again_is_found() {
    let (fixture, last) = record().await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"not the store's key");
    for seq in 3..=last {
        let mac = hmac::sign(&key, &seq.to_be_bytes());
        let sql = format!("UPDATE audit_segment SET mac = {} WHERE seq = {seq}", literal(mac.as_ref()));
        tamper(fixture.path(), AssertSqlSafe(sql)).await;
    }
    let (id, root) = fixture.root();
    let findings = verify_closed(fixture.path(), id, &root).await.expect("verified").findings;
    assert!(findings.contains(&Finding::Rechained { first: 3, last }), "{findings:?}");
    // A start links its first segment to the chain it knew.
    let store = fixture.open().await;
    let findings = store.verify_audit().await.expect("verified").findings;
    assert!(findings.contains(&Finding::Rechained { first: 3, last }), "{findings:?}");
}

#[tokio::test]
async fn a_chain_cut_short_is_found() {
    let (fixture, last) = record().await;
    let sql = format!("DELETE FROM audit_segment WHERE seq > {}", last - 3);
    tamper(fixture.path(), AssertSqlSafe(sql)).await;
    // Verified without a server: nothing may be appended behind the gap first.
    let (id, root) = fixture.root();
    let report = verify_closed(fixture.path(), id, &root).await.expect("verified");
    assert!(
        matches!(report.findings[..], [Finding::CutShort { last: found, noted, .. }] if found == last - 3 && noted == last)
    );
    // After a start the gap is inside the chain.
    let findings = fixture.open().await.verify_audit().await.expect("verified").findings;
    assert_eq!(findings, [Finding::Removed { first: last - 2, last }]);
}

/// A server that deferred its reads and was killed says from when on reads may be missing.
#[tokio::test]
async fn lost_deferred_reads_are_recorded() {
    let fixture = Fixture::new();
    fixture.create().await.close().await.expect("closed");
    let deferring = StoreOptions { reads_deferred: true, ..Default::default() };
    let store = fixture.try_open(deferring.clone()).await.expect("opened");
    store.append_reads(&[event(Action::Get, None)], false).await.expect("queued");
    store.close().await.expect("closed");
    let body = bodies(fixture.path()).await;
    assert!(
        body.contains("\"do\":\"Get\"") && !body.contains("ReadsMayBeLost"),
        "an orderly close writes what is queued"
    );

    let dead = fixture.try_open(deferring).await.expect("opened");
    // As after kill -9: the store is left as it is, and another process opens it.
    let copy = tempfile::tempdir().expect("a directory");
    for file in ["store.db", "store.db-wal", "anchor", "seal.json", "seal.key"] {
        std::fs::copy(fixture.path().join(file), copy.path().join(file)).expect("copied");
    }
    drop(dead);
    let (id, root) = unlock(copy.path());
    let store = Store::open(copy.path(), id, root, StoreOptions::default()).await.expect("opened");
    assert!(bodies(copy.path()).await.contains("ReadsMayBeLost"));
    assert!(store.verify_audit().await.expect("verified").is_intact());
}

async fn bodies(dir: &Path) -> String {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(sqlite::path(dir));
    let mut connection = options.connect().await.expect("the database opens");
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar("SELECT body FROM audit_segment ORDER BY seq")
        .fetch_all(&mut connection)
        .await
        .expect("bodies");
    String::from_utf8(bodies.concat()).expect("text")
}

/// Events are read back as they were written.
#[test]
fn events_survive_their_text_form() {
    let written = Event {
        source: Some("2001:db8::1".parse().expect("an address")),
        details: Details::Grant {
            id: EntryId::generate(),
            grantee: EntryId::generate(),
            operations: vec!["Get".into()],
        },
        actor: Actor::ClientUser(ClientId::generate(), EntryId::generate()),
        outcome: Outcome::Refused(0x1A),
        ..event(Action::Get, Some(ObjectId::generate()))
    };
    let mut line = Vec::new();
    append_line(&mut line, &written);
    assert_eq!(serde_json::from_slice::<Event>(&line).expect("an event"), written);
}
