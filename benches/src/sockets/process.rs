//! What the system says of a server's processes: CPU and memory. Only Linux says it in files.

use std::fs;
use std::time::Duration;

/// Processes that are measured together.
#[derive(Clone, Debug)]
pub(super) struct Processes(pub(super) Vec<u32>);

impl Processes {
    /// CPU that they have used since they began, of all threads, in user and in system mode.
    ///
    /// # Panics
    /// If the system does not say, or one of them is gone.
    pub(super) fn cpu(&self) -> Duration {
        let ticks: u64 = self.0.iter().map(|pid| ticks(*pid)).sum();
        let per_second = rustix::param::clock_ticks_per_second();
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    }

    /// Memory that is in use, in bytes.
    ///
    /// # Panics
    /// As [`cpu`](Self::cpu).
    pub(super) fn resident_bytes(&self) -> u64 {
        self.0.iter().map(|pid| resident_bytes(*pid)).sum()
    }
}

fn ticks(pid: u32) -> u64 {
    let stat = read(pid, "stat");
    // The name in brackets may hold anything; fields are counted behind it. The 14th and 15th of all are meant.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |at: usize| fields[at].parse::<u64>().expect("a number of ticks");
    field(11) + field(12)
}

fn resident_bytes(pid: u32) -> u64 {
    let status = read(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .and_then(|kib| kib.trim().parse().ok())
        .expect("VmRSS in kB");
    kib * 1024
}

fn read(pid: u32, file: &str) -> String {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
