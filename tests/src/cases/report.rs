//! The outcome of the cases: `docs/conformance.md` for people, JSON for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::suite::Outcome;
use super::transport::Encoding;

/// Passed and all, of some cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: usize,
    /// All.
    pub all: usize,
}

/// Counts cases by a key.
#[must_use]
pub fn count_by<K: Ord>(outcomes: &[Outcome], key: impl Fn(&Outcome) -> K) -> BTreeMap<K, Count> {
    let mut counts: BTreeMap<K, Count> = BTreeMap::new();
    for outcome in outcomes {
        let count = counts.entry(key(outcome)).or_default();
        count.all += 1;
        count.passed += usize::from(outcome.result.is_ok());
    }
    counts
}

/// How many passed.
#[must_use]
pub fn passed(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.result.is_ok()).count()
}

/// Those of one encoding; outcomes are sorted by encoding.
fn of(outcomes: &[Outcome], encoding: Encoding) -> &[Outcome] {
    let start = outcomes.partition_point(|outcome| outcome.encoding < encoding);
    let end = outcomes.partition_point(|outcome| outcome.encoding <= encoding);
    &outcomes[start..end]
}

/// Cases that end otherwise as text over HTTPS than as TTLV, each with its encoding and what was different.
#[must_use]
pub fn disagreements(outcomes: &[Outcome]) -> Vec<String> {
    let bare: BTreeMap<_, _> = of(outcomes, Encoding::Ttlv).iter().map(|outcome| (&outcome.entry, outcome)).collect();
    let what = |outcome: &Outcome| outcome.result.as_ref().map_or_else(|failure| stable(&failure.what), |()| "passes".to_owned());
    let texts = outcomes.iter().filter(|outcome| outcome.encoding != Encoding::Ttlv);
    texts
        .filter_map(|outcome| {
            let bare = bare.get(&outcome.entry)?;
            let step = |outcome: &Outcome| outcome.result.as_ref().err().map(|failure| failure.step);
            let entry = &outcome.entry;
            (step(bare) != step(outcome)).then(|| {
                let name = format!("{}/{}/{}", entry.version, entry.set, entry.file);
                format!("`{name}` as {}: {}; as TTLV: {}", outcome.encoding.name(), what(outcome), what(bare))
            })
        })
        .collect()
}

/// The counts per version, one line each.
#[must_use]
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    for ((encoding, version), count) in count_by(outcomes, |outcome| (outcome.encoding, outcome.entry.version.clone())) {
        // Infallible here and below: writing to a String.
        let _ = writeln!(out, "{:4}  {version}  {:3} of {:3}", encoding.name(), count.passed, count.all);
    }
    let all = outcomes.len();
    let percent = if all == 0 { 0.0 } else { 100.0 * passed(outcomes) as f64 / all as f64 };
    let _ = writeln!(out, "all  {:3} of {all:3} ({percent:.1} %)", passed(outcomes));
    out
}

/// The document.
#[must_use]
pub fn markdown(all: &[Outcome]) -> String {
    let mut out = String::from(HEAD);
    let outcomes = of(all, Encoding::Ttlv);
    let versions: Vec<String> = count_by(outcomes, |outcome| outcome.entry.version.clone()).into_keys().collect();
    let _ = writeln!(out, "| family | {} | all |", versions.join(" | "));
    let _ = writeln!(out, "|---|{}---|", "---|".repeat(versions.len()));
    let cells = count_by(outcomes, |outcome| (outcome.entry.family.clone(), outcome.entry.version.clone()));
    for (family, total) in count_by(outcomes, |outcome| outcome.entry.family.clone()) {
        let row: Vec<String> =
            versions.iter().map(|version| cell(cells.get(&(family.clone(), version.clone())))).collect();
        let _ = writeln!(out, "| {family} | {} | {} |", row.join(" | "), cell(Some(&total)));
    }
    let by_version = count_by(outcomes, |outcome| outcome.entry.version.clone());
    let totals: Vec<String> = versions.iter().map(|version| cell(by_version.get(version))).collect();
    let _ = writeln!(out, "| **all** | {} | **{} of {}** |", totals.join(" | "), passed(outcomes), outcomes.len());
    encodings(all, &versions, &mut out);
    out.push_str("\n## Cases that fail\n\nThe first difference of each; the step counts from 0.\n\n");
    for outcome in outcomes {
        if let Err(failure) = &outcome.result {
            let entry = &outcome.entry;
            let what = stable(&failure.what);
            let _ = writeln!(out, "- `{}/{}/{}` step {}: {what}", entry.version, entry.set, entry.file, failure.step);
        }
    }
    out.push_str(NOT_SERVED);
    out
}

/// The same cases in each encoding, and where they differ.
fn encodings(all: &[Outcome], versions: &[String], out: &mut String) {
    out.push_str("\n## Every case in every encoding\n\n");
    let _ = writeln!(out, "| encoding | {} | all |", versions.join(" | "));
    let _ = writeln!(out, "|---|{}---|", "---|".repeat(versions.len()));
    let counts = count_by(all, |outcome| (outcome.encoding, outcome.entry.version.clone()));
    for (encoding, total) in count_by(all, |outcome| outcome.encoding) {
        let row: Vec<String> = versions.iter().map(|version| cell(counts.get(&(encoding, version.clone())))).collect();
        let how = if encoding == Encoding::Ttlv { "TTLV over TLS (MSGENC: as each says)" } else { encoding.name() };
        let over = if encoding == Encoding::Ttlv { "" } else { " over HTTPS" };
        let _ = writeln!(out, "| {how}{over} | {} | {} |", row.join(" | "), cell(Some(&total)));
    }
    let different = disagreements(all);
    if different.is_empty() {
        out.push_str("\nEach case ends the same in each of them, at the same step.\n");
    }
    for line in different {
        let _ = writeln!(out, "- {line}");
    }
}

fn cell(count: Option<&Count>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| format!("{} / {}", count.passed, count.all))
}

/// Identifiers, dates and random bytes differ from run to run; the document should not.
fn stable(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_hexdigit() || character == '-' {
            run.push(character);
            continue;
        }
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        if run.len() >= 9 && digits >= 3 {
            out.push('…');
        } else {
            out.push_str(&run);
        }
        run.clear();
        if character != '\n' {
            out.push(character);
        }
    }
    out.replace('|', "\\|")
}

/// The outcome for machines.
#[must_use]
pub fn json(outcomes: &[Outcome]) -> serde_json::Value {
    let cases: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let entry = &outcome.entry;
            let failure = outcome.result.as_ref().err();
            json!({
                "version": entry.version, "set": entry.set, "file": entry.file, "case": entry.case, "family": entry.family,
                "encoding": outcome.encoding.name(),
                "passed": failure.is_none(),
                "step": failure.map(|failure| failure.step),
                "difference": failure.map(|failure| &failure.what),
            })
        })
        .collect();
    json!({ "passed": passed(outcomes), "all": outcomes.len(), "cases": cases })
}

const NOT_SERVED: &str = "
## Operations that are not served

Which operations a server has is left to profiles: \"An implementation is a conforming KMIP Server if the implementation meets the conditions specified in one
or more server profiles\" (KMIP 2.1, Implementation Conformance); none of the profiles that this server claims asks for these. Query does not list them.

- Set Constraints, Set Defaults (2.1 §6.1.52, §6.1.53): one client would decide what objects all clients of the server may make, and like what; that is an administrator's to
  do, and here it is done by settings. Get Constraints is served: there are none.
- Re-Provision (2.0 §6.1.44, 2.1 §6.1.48): a client would replace its own credential over KMIP. Certificates are renewed by EST, where the provisioning key and its limits are asked.
- Create Credential, Create Group, Create User: of 3.0, whose committee draft does not publish what users may do. People are users of a client (`keygate client user`).
";

const HEAD: &str = "# Conformance to the OASIS KMIP test cases

Generated by `cargo run -p keygate-tests --bin cases -- --write`; do not edit.

Every case runs against a server of its own with an empty store (three documented sequences share one), over TLS in TTLV, and then
again as XML and as JSON over HTTPS, by clients of their own on the same server. Answers are compared field
by field; only the variations that the KMIP profiles permit (\"Permitted Test Case Variations\") are accepted. The message encoding
cases (MSGENC) run over what they are about: TTLV over HTTPS, XML or JSON; those that print the octets of their requests (`.txt`) send
exactly these. Where the server calls the client, the client is a TLS server of the runner's, which compares what it is sent and answers as the case does.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_left_out() {
        assert_eq!(stable("expected `0190a2b3-77aa-7000-8000-000000000001`, got Success"), "expected `…`, got Success");
        assert_eq!(stable("feedbeef step 3 of 12"), "feedbeef step 3 of 12");
    }
}
