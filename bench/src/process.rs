//! What a process has cost so far: CPU seconds and memory, its own or another's by id.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use crate::rate::float;

/// Whose cost is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// This one: CPU time to the nanosecond.
    Own,
    /// Another one by process id: CPU time to the kernel's tick, usually 10 ms.
    Other(u32),
}

/// A reading; the difference of two is what happened between them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system CPU seconds since the process began, of all its threads, without children.
    pub cpu_seconds: f64,
    /// Resident memory now, bytes.
    pub rss_bytes: u64,
    /// The most resident memory the process has had, bytes.
    pub rss_peak_bytes: u64,
}

/// Why a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It ended, or `/proc` is not there.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file of `/proc`.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The kernel's file has a shape unknown to this build.
    #[error("{path} has no field {field}")]
    Shape {
        /// The file of `/proc`.
        path: String,
        /// What was looked for.
        field: &'static str,
    },
}

impl Process {
    /// Lets the peak of this process's memory begin anew (proc_pid_clear_refs(5)), so that what was done before a
    /// measurement is not in it. Where the system cannot, the peak stays an upper bound.
    pub fn forget_peak_memory() -> bool {
        fs::write("/proc/self/clear_refs", "5").is_ok()
    }

    /// Reads its cost so far.
    ///
    /// # Errors
    /// When the process has ended, or the system has no `/proc`.
    pub fn usage(self) -> Result<Usage, ProcessError> {
        let folder = match self {
            Self::Own => "/proc/self".to_owned(),
            Self::Other(id) => format!("/proc/{id}"),
        };
        let status_path = format!("{folder}/status");
        let status = read(&status_path)?;
        let memory = |field: &'static str| {
            status_kibibytes(&status, field)
                .map(|kibibytes| kibibytes * 1024)
                .ok_or(ProcessError::Shape {
                    path: status_path.clone(),
                    field,
                })
        };
        Ok(Usage {
            cpu_seconds: self.cpu_seconds(&folder)?,
            rss_bytes: memory("VmRSS:")?,
            rss_peak_bytes: memory("VmHWM:")?,
        })
    }

    fn cpu_seconds(self, folder: &str) -> Result<f64, ProcessError> {
        match self {
            Self::Own => Ok(Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))
                .unwrap_or_default()
                .as_secs_f64()),
            Self::Other(_) => {
                let path = format!("{folder}/stat");
                let ticks = stat_cpu_ticks(&read(&path)?).ok_or(ProcessError::Shape {
                    path,
                    field: "utime and stime",
                })?;
                Ok(float(ticks) / float(clock_ticks_per_second()))
            }
        }
    }
}

fn read(path: &str) -> Result<String, ProcessError> {
    fs::read_to_string(path).map_err(|source| ProcessError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The value in kB of one line of `/proc/<id>/status` or `/proc/meminfo`.
pub(crate) fn status_kibibytes(status: &str, field: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
}

/// utime + stime, fields 14 and 15 of proc_pid_stat(5); the name before them may hold any byte but ends at the
/// last parenthesis.
fn stat_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn own_use_of_the_processor_grows() {
        let before = Process::Own.usage().unwrap();
        let sum: u64 = (0..3_000_000_u64).map(std::hint::black_box).sum();
        assert!(sum > 0);
        let after = Process::Own.usage().unwrap();
        assert!(after.cpu_seconds > before.cpu_seconds);
        assert!(after.rss_bytes > 1 << 20 && after.rss_peak_bytes >= after.rss_bytes);
    }

    #[test]
    fn another_process_is_read_by_its_id() {
        let usage = Process::Other(std::process::id()).usage().unwrap();
        assert!(usage.rss_bytes > 1 << 20);
    }

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 300 42 0 0 20 0 8 0";
        assert_eq!(stat_cpu_ticks(stat), Some(342));
        assert_eq!(stat_cpu_ticks("7 (short"), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(matches!(
            Process::Other(u32::MAX).usage(),
            Err(ProcessError::Unreadable { .. })
        ));
    }
}
