//! The rate limit: a token bucket in a file, because every run of the command line is a process of its own.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Why the limit does not let a request through.
#[derive(Debug, Error)]
pub enum LimitError {
    /// As many as are allowed were sent.
    #[error(
        "{per_minute} requests a minute are allowed, and the next may go in {wait_s} s: raise advisor.per_minute, or wait"
    )]
    Reached {
        /// How many are allowed.
        per_minute: u64,
        /// Seconds until one may go, rounded up.
        wait_s: u64,
    },
    /// Another process has the file and does not give it back.
    #[error("{path} is locked by another process")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot keep the rate limit in {path}: {source}; name a data directory of yours with --data")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// So many requests a minute, over all processes that share the folder. After a minute of silence a minute's worth
/// may go at once.
#[derive(Debug)]
pub struct Limit {
    path: PathBuf,
    per_minute: u64,
}

/// The file's name in its folder.
pub(super) const LIMIT_FILE: &str = "limit";
/// Most bytes of the file that are read: the digits of a u64 and a line's end.
const FILE_BYTES_MAX: u64 = 21;
/// Times that a locked file is tried.
const LOCK_TRIES_MAX: u32 = 50;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const MINUTE_US: u64 = 60_000_000;

impl Limit {
    /// A limit whose state is in `folder`, which must exist.
    pub fn new(folder: &Path, per_minute: u64) -> Self {
        Self {
            path: folder.join(LIMIT_FILE),
            per_minute: per_minute.max(1),
        }
    }

    /// Takes a token, waiting for one up to `patience`.
    ///
    /// # Errors
    /// [`LimitError::Reached`] at once where the next token comes later than that.
    pub fn take(&self, patience: Duration) -> Result<(), LimitError> {
        let mut patience = patience;
        while let Some(wait) = self.try_take(now_us())? {
            let Some(left) = patience.checked_sub(wait) else {
                return Err(LimitError::Reached {
                    per_minute: self.per_minute,
                    wait_s: wait
                        .as_micros()
                        .div_ceil(1_000_000)
                        .try_into()
                        .unwrap_or(u64::MAX),
                });
            };
            patience = left;
            pause(wait);
        }
        Ok(())
    }

    /// Takes a token, or says how long until there is one.
    fn try_take(&self, now_us: u64) -> Result<Option<Duration>, LimitError> {
        let mut file = self.open()?;
        let failed = |source| self.failed(source);
        let mut text = String::new();
        // A file that does not read is as one that is new: it held no more than a minute's worth.
        let read = (&file).take(FILE_BYTES_MAX).read_to_string(&mut text);
        let full_us = read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0);
        match bucket(full_us, now_us, self.per_minute) {
            Err(wait_us) => Ok(Some(Duration::from_micros(wait_us))),
            Ok(full_us) => {
                file.set_len(0).map_err(failed)?;
                file.rewind().map_err(failed)?;
                file.write_all(format!("{full_us}\n").as_bytes())
                    .map_err(failed)?;
                Ok(None)
            }
        }
    }

    /// The file, locked until it is dropped.
    fn open(&self) -> Result<File, LimitError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .map_err(|source| self.failed(source))?;
        for _ in 0..LOCK_TRIES_MAX {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => pause(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(self.failed(source)),
            }
        }
        Err(LimitError::Locked {
            path: self.path.clone(),
        })
    }

    fn failed(&self, source: io::Error) -> LimitError {
        let path = self.path.clone();
        LimitError::Io { path, source }
    }
}

/// The bucket after a token is taken, or how long until there is one. A bucket is the time in microseconds at which
/// it will be full again; a time further off than an empty bucket needs comes from a clock that was set back.
fn bucket(full_us: u64, now_us: u64, per_minute: u64) -> Result<u64, u64> {
    let token_us = MINUTE_US / per_minute;
    let full_us = full_us.clamp(now_us, now_us.saturating_add(MINUTE_US));
    let after_us = full_us.saturating_add(token_us);
    match after_us.saturating_sub(now_us).checked_sub(MINUTE_US) {
        None | Some(0) => Ok(after_us),
        Some(wait_us) => Err(wait_us),
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Waits for nothing but time.
pub(super) fn pause(wait: Duration) {
    if crossbeam::channel::after(wait).recv().is_err() {
        tracing::debug!("a timer ended early");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_goes_at_once_and_then_one_a_token() {
        let now_us = 1_700_000_000_000_000;
        let mut full_us = 0;
        for _ in 0..4 {
            full_us = bucket(full_us, now_us, 4).unwrap();
        }
        assert_eq!(bucket(full_us, now_us, 4), Err(15_000_000));
        assert_eq!(bucket(full_us, now_us + 14_999_999, 4), Err(1));
        let full_us = bucket(full_us, now_us + 15_000_000, 4).unwrap();
        assert_eq!(bucket(full_us, now_us + 15_000_000, 4), Err(15_000_000));
    }

    #[test]
    fn a_clock_that_was_set_back_costs_a_minute_at_most() {
        assert_eq!(bucket(u64::MAX, 5_000_000, 60), Err(1_000_000));
        assert_eq!(bucket(u64::MAX, u64::MAX, 60), Ok(u64::MAX));
    }

    #[test]
    fn processes_share_a_folders_limit_and_a_damaged_file_is_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let limit = |per_minute| Limit::new(folder.path(), per_minute);
        limit(2).take(Duration::ZERO).unwrap();
        limit(2).take(Duration::ZERO).unwrap();
        let error = limit(2).take(Duration::from_secs(10)).unwrap_err();
        assert!(
            matches!(
                error,
                LimitError::Reached {
                    per_minute: 2,
                    wait_s: 29..=30
                }
            ),
            "{error}"
        );
        for damage in [&b"\xff\xfe"[..], b"", b"99999999999999999999999999"] {
            std::fs::write(folder.path().join(LIMIT_FILE), damage).unwrap();
            limit(2).take(Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn a_token_that_comes_in_time_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Limit::new(folder.path(), 1_000);
        // The bucket is full a minute from now on: the next token comes in 60 ms.
        std::fs::write(folder.path().join(LIMIT_FILE), (now_us() + MINUTE_US).to_string()).unwrap();
        assert!(limit.take(Duration::ZERO).is_err());
        limit.take(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_says_so() {
        let error = Limit::new(Path::new("no/such/folder"), 1)
            .take(Duration::ZERO)
            .unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
