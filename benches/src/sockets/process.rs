//! What the system says of a server: CPU and memory of its processes, and what it holds for its connections. Only Linux says
//! it in files.

use std::collections::HashSet;
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

/// Bytes that the system has taken for connections that end at these ports of this machine, and not got rid of.
///
/// # Panics
/// If the system does not say.
pub(super) fn system_holds(ports: &HashSet<u16>) -> u64 {
    const CONNECTIONS: &str = "/proc/net/tcp";
    let table =
        fs::read_to_string(CONNECTIONS).unwrap_or_else(|error| panic!("{CONNECTIONS}: {error}"));
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("a number of base 16");
    let held = table.lines().skip(1).filter_map(|line| {
        // Number, own address, other address, state, bytes to be sent and received.
        let mut fields = line.split_whitespace().skip(2);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        let (sending, _) = fields.nth(1)?.split_once(':')?;
        let is_meant = u16::try_from(hex(port)).is_ok_and(|port| ports.contains(&port));
        is_meant.then(|| hex(sending))
    });
    held.sum()
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
