//! `make bench`: how fast the gateway is, as ratios to what the machine can do, measured in the same run.
//!
//! The limits: a bare TLS server with canned answers ([`canned`]), SQLite's group commit ([`sqlite`]), the PKCS#11 library alone
//! ([`token`]), and rivals: for enrolment cfssl ([`cfssl`]), for tokens p11-kit's server ([`hsm`]). Client and server share the machine's cores; every row alternates the gateway and its limit, and the median counts.

mod canned;
mod cfssl;
mod enrol;
mod hsm;
mod http;
mod jobs;
mod load;
mod process;
mod provisioning;
mod rehome;
mod rows;
mod sqlite;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use keygate_tests::{gateway, tools};

use rows::{Plan, Row};

/// Measures the gateway against the limits of the machine.
#[derive(Parser)]
struct Arguments {
    /// Seconds a run takes.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Runs of each row; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Connections, unless the row says otherwise.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Keys stored for the Get rows.
    #[arg(long, default_value_t = 10_000)]
    keys: usize,
    /// Keys stored for the Locate, start and memory rows.
    #[arg(long, default_value_t = 100_000)]
    keys_many: usize,
    /// Only rows whose name holds one of these words: create encrypt sign among envelope handshake get batch latency locate start memory revocation lists certificates revoked est cfssl rehome.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where data folders go; their disk is the one measured.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Where the JSON goes.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some(canned::SUBCOMMAND) => canned::serve(),
        Some(token::SUBCOMMAND) => token::main(),
        _ => bench(),
    };
    gateway::remove_template();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let folder = arguments.folder.unwrap_or_else(|| tools::target().join("bench"));
    std::fs::create_dir_all(&folder)?;
    let plan = Plan {
        folder,
        duration: Duration::from_secs_f64(arguments.seconds),
        runs: arguments.runs.max(1),
        connections: arguments.connections,
        keys: arguments.keys,
        keys_many: arguments.keys_many,
        only: arguments.only,
    };
    if cfg!(debug_assertions) {
        eprintln!("bench: this is not a release build; the figures mean nothing");
    }
    let mut rows = Vec::new();
    let measured = rows::measure(&plan, &mut |row| {
        print(&row);
        rows.push(row);
    });
    let missed = rows.iter().filter(|row| !row.met).count();
    println!("{} rows, {missed} short of their goal", rows.len());
    let json = serde_json::json!({
        "seconds": arguments.seconds, "runs": arguments.runs, "connections": arguments.connections,
        "keys": arguments.keys, "keys_many": arguments.keys_many, "rows": rows,
    });
    let path = arguments.json.unwrap_or_else(|| tools::target().join("bench.json"));
    std::fs::write(path, format!("{json:#}\n"))?;
    measured
}

fn print(row: &Row) {
    let sign = if row.at_most { "<=" } else { ">=" };
    let verdict = if row.met { "ok   " } else { "SHORT" };
    println!("{verdict} {:52} {:9.2} {} (goal {sign} {:.2})", row.name, row.value, row.unit, row.goal);
    println!("      {}", row.detail);
}
