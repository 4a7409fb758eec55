//! Runs OASIS KMIP test cases and shows what differs.
//!
//! `cases [FILTER...] [--show] [--all] [--write] [--connect HOST:PORT --cert FILE --key FILE --ca FILE]`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use keygate_tests::cases::suite::{self, Outcome, Server};
use keygate_tests::cases::transport::Encoding;
use keygate_tests::cases::{report, run};
use keygate_tests::client::Credentials;
use keygate_tests::gateway;
use keygate_tests::tools;

const HELP: &str = "\
Runs OASIS KMIP test cases against keygate.

usage: cases [FILTER...] [options]

  FILTER             parts of VERSION/SET/FILE, of the case name or the family; all must match, e.g. 1.2 AKLC-M-1
  --show             print the last exchange of each failed case as XML, the difference marked with >>
  --all              with --show: print the whole dialogue, of passed cases too
  --list             print the names of the cases and stop
  --failed           only those that failed in the last run
  --encoding NAME    ttlv, xml or json: only this one (default: ttlv; with --write all three)
  --write            write docs/conformance.md
  --connect ADDRESS  use a running server, with --cert FILE --key FILE --ca FILE
";

#[derive(Default)]
struct Arguments {
    filter: Vec<String>,
    show: bool,
    all: bool,
    list: bool,
    failed: bool,
    write: bool,
    encoding: Option<Encoding>,
    connect: Option<String>,
    files: [Option<PathBuf>; 3],
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|arguments| run_cases(&arguments));
    gateway::remove_template();
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cases: {error}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--show" => arguments.show = true,
            "--all" => arguments.all = true,
            "--list" => arguments.list = true,
            "--failed" => arguments.failed = true,
            "--encoding" => arguments.encoding = Some(encoding(&value()?)?),
            "--write" => arguments.write = true,
            "--connect" => arguments.connect = Some(value()?),
            "--cert" => arguments.files[0] = Some(value()?.into()),
            "--key" => arguments.files[1] = Some(value()?.into()),
            "--ca" => arguments.files[2] = Some(value()?.into()),
            "--help" | "-h" => return Err(HELP.to_owned()),
            option if option.starts_with("--") => return Err(format!("unknown option {option}\n{HELP}")),
            filter => arguments.filter.push(filter.to_owned()),
        }
    }
    Ok(arguments)
}

fn run_cases(arguments: &Arguments) -> Result<bool, String> {
    let folder = suite::folder().ok_or("the KMIP test cases are not here; set KEYGATE_KMIP_CASES to their folder")?;
    let entries = suite::manifest(&folder).map_err(|error| error.to_string())?;
    let last = tools::target().join("cases.json");
    let failed_before = if arguments.failed { failed_in(&last)? } else { Vec::new() };
    let all = suite::groups(&entries);
    let wanted = |entry: &suite::Entry| {
        let name = format!("{}/{}/{}", entry.version, entry.set, entry.file);
        let matches = |word: &String| name.contains(word.as_str()) || entry.case == *word || entry.family == *word;
        arguments.filter.iter().all(matches) && (!arguments.failed || failed_before.contains(&name))
    };
    // A sequence runs whole: later cases need what earlier ones stored.
    let groups: Vec<_> = all.into_iter().filter(|group| group.iter().any(wanted)).collect();
    if arguments.list {
        groups.iter().flatten().for_each(|entry| println!("{}/{}/{}", entry.version, entry.set, entry.file));
        return Ok(true);
    }
    let server = server(arguments)?;
    let encodings = match arguments.encoding {
        Some(encoding) => vec![encoding],
        None if arguments.write => suite::ENCODINGS.to_vec(),
        None => vec![Encoding::Ttlv],
    };
    let outcomes = suite::play_all(&folder, &server, &groups, &encodings, &|outcome| print(outcome, arguments));
    let _ = std::io::stdout().write_all(report::summary(&outcomes).as_bytes());
    if outcomes.len() >= entries.len() {
        std::fs::write(&last, report::json(&outcomes).to_string()).map_err(|error| error.to_string())?;
    }
    if arguments.write {
        let document = gateway::workspace().join("docs/conformance.md");
        std::fs::write(document, report::markdown(&outcomes)).map_err(|error| error.to_string())?;
    }
    Ok(report::passed(&outcomes) == outcomes.len())
}

fn encoding(name: &str) -> Result<Encoding, String> {
    let known = suite::ENCODINGS.iter().find(|encoding| encoding.name().eq_ignore_ascii_case(name));
    known.copied().ok_or_else(|| format!("{name} is none of ttlv, xml, json"))
}

fn server(arguments: &Arguments) -> Result<Server, String> {
    let Some(address) = &arguments.connect else { return Ok(Server::Own) };
    let [Some(certificate), Some(key), Some(ca)] = &arguments.files else {
        return Err("--connect needs --cert, --key and --ca".to_owned());
    };
    let credentials = Credentials::read_files(certificate, key, ca).map_err(|error| error.to_string())?;
    Ok(Server::Running(address.parse().map_err(|error| format!("{address}: {error}"))?, credentials))
}

fn failed_in(report: &std::path::Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(report).map_err(|error| format!("{}: {error}", report.display()))?;
    let report: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let text = |case: &serde_json::Value, name: &str| case[name].as_str().unwrap_or_default().to_owned();
    let cases = report["cases"].as_array().cloned().unwrap_or_default();
    let failed = cases.iter().filter(|case| case["passed"] == false);
    Ok(failed.map(|case| format!("{}/{}/{}", text(case, "version"), text(case, "set"), text(case, "file"))).collect())
}

fn print(outcome: &Outcome, arguments: &Arguments) {
    let entry = &outcome.entry;
    let name = format!("{} {}/{}/{}", outcome.encoding.name(), entry.version, entry.set, entry.file);
    let mut text = match &outcome.result {
        Ok(()) => format!("ok   {name}\n"),
        Err(failure) => format!("FAIL {name} step {}: {}\n", failure.step, failure.what),
    };
    if arguments.show && (arguments.all || outcome.result.is_err()) {
        text.push_str(&run::render(&outcome.dialogue, arguments.all));
    }
    // A reader that has seen enough closes the pipe.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
