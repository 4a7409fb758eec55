//! What the kernel says about a process: CPU time and memory.

use std::fs;
use std::io;
use std::time::Duration;

/// User and system time of a process and of its children that still run.
pub(crate) fn cpu(pid: u32) -> io::Result<Duration> {
    let own = cpu_of(pid)?;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    Ok(children
        .split_ascii_whitespace()
        .filter_map(|child| child.parse().ok())
        .filter_map(|child| cpu_of(child).ok())
        .sum::<Duration>()
        + own)
}

fn cpu_of(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; the numbers follow the last parenthesis.
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        numbers.split_ascii_whitespace().skip(11).take(2).filter_map(|number| number.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_ascii_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no VmRSS"))
}
