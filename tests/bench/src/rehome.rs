//! How fast keys are sealed again under a new term of the keyring, and from one local keystore to another, by the command that
//! administrators use.

use std::io;
use std::time::Instant;

use keygate_tests::gateway::TestGateway;

use crate::rows::{Plan, Row, median, populate};

/// Keys a second that are to be reached.
const GOAL: f64 = 5_000.0;

/// Both rows: a new term, and another keystore with an audit event for each key.
pub(crate) fn measure(plan: &Plan, report: &mut dyn FnMut(Row)) -> io::Result<()> {
    let gateway = plan.gateway();
    populate(&gateway, 0, plan.keys)?;
    for arguments in [&["add", "vault", "--kind", "local"][..], &["test", "vault"], &["activate", "vault", "--confirm", "vault", "--keep-default"]] {
        let _ = gateway.keygate_ok(&[&["keystore"], arguments].concat());
    }
    let rates = (0..plan.runs).map(|_| moved(&gateway, "local", "local")).collect::<io::Result<Vec<f64>>>()?;
    let detail = format!("{} keys, the wait of the command included", plan.keys);
    report(Row::new("rehome, local to local under a new term", median(rates.into_iter()), "keys/s", GOAL, false, detail.clone()));
    let mut rates = Vec::new();
    for _ in 0..plan.runs {
        rates.push(moved(&gateway, "local", "vault")?);
        rates.push(moved(&gateway, "vault", "local")?);
    }
    report(Row::new("rehome, one local keystore to another", median(rates.into_iter()), "keys/s", GOAL, false, detail));
    Ok(())
}

fn moved(gateway: &TestGateway, from: &str, to: &str) -> io::Result<f64> {
    let begun = Instant::now();
    let printed = gateway.keygate_ok(&["keys", "rehome", "--from", from, "--to", to, "--yes", "--json"]);
    let seconds = begun.elapsed().as_secs_f64();
    let report: serde_json::Value = serde_json::from_str(&printed)?;
    let moved = report["moved"].as_u64().ok_or_else(|| io::Error::other("no count in the report"))?;
    Ok(moved as f64 / seconds)
}
