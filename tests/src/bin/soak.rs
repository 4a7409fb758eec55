//! `make soak`: random faults on all keystores under load from many clients; at the end every acknowledged key is looked at.
//!
//! `soak [--minutes 30] [--seed N] [--clients 64]`

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keygate_tests::gateway;
use keygate_tests::soak::{Course, Plan, run};

const HELP: &str = "\
Soaks a gateway with all kinds of keystores: random faults under load; at the end every acknowledged key is looked at.

usage: soak [options]

  --minutes N    how long faults go on (30)
  --clients N    KMIP connections (64)
  --seed N       of the schedule of faults; without it one is drawn, and printed
  --only A,B     only faults of these names, such as ModuleCodes,TokenAway
  --each-once    each fault once, in a fixed order, instead
";
/// Longest p99 of local requests with the whole machine under load; a release build has a hundredth of it when idle.
const LOCAL_P99_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let plan = match arguments() {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::from(2);
        }
    };
    let begun = std::time::Instant::now();
    let result = run(&plan, &|line| println!("{:>7.1} {line}", begun.elapsed().as_secs_f64()));
    gateway::remove_template();
    match result {
        Ok(report) => {
            print!("{report}");
            if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("soak: seed {}: {error}", plan.seed);
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<Plan>, String> {
    let (mut minutes, mut clients, mut seed, mut each_once, mut only) = (30.0, 64, None, false, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            value.parse::<f64>().ok().filter(|number| *number >= 0.0).ok_or_else(|| format!("{word}: {value} is no number"))
        };
        match word.as_str() {
            "--minutes" => minutes = number()?,
            "--clients" => clients = number()? as usize,
            "--seed" => seed = Some(number()? as u64),
            "--only" => only = words.next().unwrap_or_default().split(',').map(str::to_owned).collect(),
            "--each-once" => each_once = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other}: see --help")),
        }
    }
    if !(8..=1024).contains(&clients) {
        return Err(format!("--clients {clients}: at least one for each of the 8 keystores, at most 1024"));
    }
    let drawn = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| u64::from(now.subsec_micros()));
    let course = if each_once { Course::EachOnce } else { Course::Random(Duration::from_secs_f64(minutes * 60.0)) };
    Ok(Some(Plan { seed: seed.unwrap_or_else(drawn), clients, course, only, local_p99_max: LOCAL_P99_MAX }))
}
