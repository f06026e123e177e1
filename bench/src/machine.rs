//! The machine and the build that a figure belongs to, so that nobody compares two unlike ones unawares.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::process::status_kibibytes;
use crate::rate::count;

/// What the figures were measured on; unknown texts are "unknown", unknown numbers 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: u64,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
    /// Release of the running kernel.
    pub kernel: String,
    /// Type of the file system under the data directory, such as ext4.
    pub filesystem: String,
    /// The device under it, and whether the kernel calls it rotational.
    pub disk: String,
}

impl Machine {
    /// Reads this machine's facts; `data` is the folder whose disk takes the writes.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let folder = fs::canonicalize(data).unwrap_or_else(|_| data.to_path_buf());
        let mount = mount_of(&text("/proc/self/mountinfo"), &folder);
        let (filesystem, disk) = match mount {
            Some(mount) => (mount.filesystem, disk_of(&mount.source)),
            None => (unknown(), unknown()),
        };
        Self {
            cpu_model: cpu_model(&text("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(0, |cores| count(cores.get())),
            memory_bytes: status_kibibytes(&text("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
            kernel: known(text("/proc/sys/kernel/osrelease").trim()),
            filesystem,
            disk,
        }
    }
}

/// Mean number of threads that wanted to run over the last minute: what shared the machine with a run about to
/// begin. 0 where the system does not say.
#[must_use]
pub fn load_average_1m() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or(0.0)
}

/// The source state that a figure belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Full id, or "unknown" outside a repository.
    pub id: String,
    /// Whether tracked files differ from it.
    pub dirty: bool,
}

impl Commit {
    /// Asks `git` about the repository that holds `folder`; "unknown" and dirty where it cannot say, because
    /// a figure of unknown origin is not one of a clean commit.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let id = git(folder, &["rev-parse", "HEAD"]);
        let changes = git(folder, &["status", "--porcelain", "--untracked-files=no"]);
        match (id, changes) {
            (Some(id), Some(changes)) => Self {
                id,
                dirty: !changes.is_empty(),
            },
            _ => Self {
                id: unknown(),
                dirty: true,
            },
        }
    }
}

/// How this crate was compiled: profile, optimisation, target and the compiler flags that change speed.
#[must_use]
pub fn build_flags() -> String {
    env!("SELFCHAIN_BENCH_BUILD").to_owned()
}

struct Mount {
    filesystem: String,
    source: String,
}

/// The mount with the longest path that holds `folder`; of two on one path the later hides the earlier.
fn mount_of(mountinfo: &str, folder: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = before.split_whitespace().nth(4) else {
            continue;
        };
        let mut fields = after.split_whitespace();
        let (Some(filesystem), Some(source)) = (fields.next(), fields.next()) else {
            continue;
        };
        if folder.starts_with(point) && best.as_ref().is_none_or(|(len, _)| point.len() >= *len) {
            let mount = Mount {
                filesystem: filesystem.to_owned(),
                source: source.to_owned(),
            };
            best = Some((point.len(), mount));
        }
    }
    best.map(|(_, mount)| mount)
}

fn disk_of(source: &str) -> String {
    let Some(device) = source.strip_prefix("/dev/") else {
        return source.to_owned();
    };
    let whole_disk = device.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let rotational = [device, whole_disk]
        .iter()
        .find_map(|name| fs::read_to_string(format!("/sys/block/{name}/queue/rotational")).ok());
    match rotational.as_deref().map(str::trim) {
        Some("0") => format!("{device}, not rotational"),
        Some("1") => format!("{device}, rotational or virtual"),
        _ => device.to_owned(),
    }
}

fn cpu_model(cpuinfo: &str) -> String {
    let name = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    known(name.map_or("", |(_, name)| name.trim()))
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn known(text: &str) -> String {
    if text.is_empty() {
        unknown()
    } else {
        text.to_owned()
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    const MOUNTS: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                          30 27 0:5 / /data rw,noatime shared:2 - xfs /dev/nvme0n1 rw\n\
                          31 27 0:6 / /dat rw - tmpfs none rw\n";

    #[test]
    fn the_longest_mount_that_holds_the_folder_is_its_file_system() {
        assert_eq!(
            mount_of(MOUNTS, Path::new("/data/log")).unwrap().filesystem,
            "xfs"
        );
        assert_eq!(
            mount_of(MOUNTS, Path::new("/database")).unwrap().filesystem,
            "ext4"
        );
        assert!(mount_of("nonsense", Path::new("/")).is_none());
    }

    #[test]
    fn the_processor_is_named_or_unknown() {
        assert_eq!(cpu_model("vendor: x\nmodel name\t: Fast CPU 9\n"), "Fast CPU 9");
        assert_eq!(cpu_model(""), "unknown");
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let machine = Machine::of(Path::new("."));
        assert!(machine.cores > 0 && machine.memory_bytes > 0);
        assert_ne!(machine.kernel, "unknown");
    }

    #[test]
    fn a_folder_outside_every_repository_has_no_commit() {
        let folder = tempfile::tempdir().unwrap();
        let commit = Commit::of(folder.path());
        assert_eq!(
            commit,
            Commit {
                id: "unknown".to_owned(),
                dirty: true
            }
        );
    }

    #[test]
    fn the_build_says_its_profile() {
        assert!(build_flags().contains("profile="));
    }
}
