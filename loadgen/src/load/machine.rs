//! What this machine gives and what this process uses: descriptors, ports, processor, memory.

use super::safety::Cap;
use std::time::{Duration, Instant};

/// Descriptors that a process needs beside its connections.
const OTHER_DESCRIPTORS: u64 = 64;
/// Ports to one address when the system does not say: the range that IANA calls dynamic.
const PORTS: u64 = 16_384;

/// Most requests in flight that this machine can hold: open descriptors (the limit is raised as far as it may be), and local
/// ports to one target.
pub fn in_flight_most() -> u64 {
    (descriptors().saturating_sub(OTHER_DESCRIPTORS)).min(ports()).max(1)
}

#[cfg(unix)]
fn descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    let most = if setrlimit(Resource::Nofile, raised).is_ok() { now.maximum } else { now.current };
    // `None`: no limit.
    most.unwrap_or(1 << 20)
}

#[cfg(not(unix))]
fn descriptors() -> u64 {
    1 << 14
}

fn ports() -> u64 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let range = range.as_deref().and_then(|range| {
        let mut ends = range.split_whitespace().map(str::parse::<u64>);
        Some((ends.next()?.ok()?, ends.next()?.ok()?))
    });
    range.map_or(PORTS, |(first, last)| last.saturating_sub(first) + 1)
}

/// Checks a cap on requests in flight against what the machine gives.
///
/// # Errors
/// What to write when it gives less.
pub fn check_in_flight(wanted: u64) -> Result<(), String> {
    let most = in_flight_most();
    if wanted <= most {
        return Ok(());
    }
    Err(format!(
        "{wanted} requests in flight need more descriptors or ports than this machine gives ({most}): {}",
        Cap::Machine.text()
    ))
}

/// Processor and memory of this process, from a moment on.
#[derive(Debug)]
pub struct Usage {
    since: Instant,
    cpu: Option<Duration>,
}

impl Usage {
    /// From now on.
    pub fn start() -> Self {
        Usage { since: Instant::now(), cpu: cpu() }
    }

    /// Cores used since the start, in the mean; 0 where the system does not say.
    pub fn cores(&self) -> f64 {
        let elapsed = self.since.elapsed().as_secs_f64().max(1e-9);
        let used = cpu().zip(self.cpu).map(|(now, then)| now.saturating_sub(then).as_secs_f64());
        used.unwrap_or(0.0) / elapsed
    }
}

/// Processor time of this process, user and system.
pub fn cpu() -> Option<Duration> {
    cpu_of(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Out of `/proc/PID/stat`: fields 14 and 15, in hundredths of a second (`USER_HZ` is 100 on every architecture of Linux
/// that Rust has a standard library for, but Alpha and IA-64). The second field may have spaces and brackets in it.
pub fn cpu_of(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// Most resident memory so far, bytes; 0 where the system does not say.
pub fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_whatever_the_process_is_called() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 123 45 0 0 20 0 5 0 1 1 1";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(1_680)));
        assert_eq!(cpu_of("nonsense"), None);
    }

    #[test]
    fn a_machine_gives_some_room_and_says_so_when_it_is_not_enough() {
        let most = in_flight_most();
        assert!(most >= 1);
        assert!(check_in_flight(most).is_ok());
        assert!(check_in_flight(most + 1).unwrap_err().contains("descriptors or ports"));
    }
}
