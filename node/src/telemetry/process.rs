//! What this process has used: processor time and memory, as the operating system counts them.

use rustix::time::{ClockId, clock_gettime};

/// What this process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Processor time of all its threads, in ns.
    pub cpu_ns: u64,
    /// Memory that is resident, in bytes; 0 where the system does not say.
    pub resident_bytes: u64,
}

/// Asks the operating system.
pub fn usage() -> ProcessUsage {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(cpu.tv_sec).unwrap_or(0);
    let ns = u64::try_from(cpu.tv_nsec).unwrap_or(0);
    ProcessUsage {
        cpu_ns: seconds.saturating_mul(1_000_000_000).saturating_add(ns),
        resident_bytes: resident_bytes(),
    }
}

/// `VmRSS` of proc(5), Linux only.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_has_used_something() {
        let used = usage();
        assert!(used.cpu_ns > 0);
        assert!(cfg!(not(target_os = "linux")) || used.resident_bytes > 100_000);
    }
}
