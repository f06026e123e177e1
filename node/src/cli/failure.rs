//! A failed command: what failed, why, what to do next, and the exit code.

use crate::client::ClientError;
use selfchain_types::Refusal;
use std::error::Error;
use std::fmt;

/// How a command ended, as the shell sees it. Documented; never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done.
    Done = 0,
    /// It failed for a reason that has no code of its own.
    Failed = 1,
    /// The arguments or the configuration are wrong; nothing was done.
    Usage = 2,
    /// The ledger said no.
    Refused = 3,
    /// The node cannot be reached, or did not answer in time.
    Unreachable = 4,
    /// The data on the disk does not hold.
    Corrupt = 5,
    /// The ledger holds the transfer for its reviewer: it is committed, and nothing has moved yet.
    Held = 6,
}

impl ExitStatus {
    /// The number.
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// How the shell sees it.
    pub status: ExitStatus,
    /// What failed.
    pub what: String,
    /// Why, from the near cause to the far one.
    pub causes: Vec<String>,
    /// What to do next; empty where that is plain.
    pub next: String,
}

impl Failure {
    pub(super) fn new(status: ExitStatus, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            status,
            what: what.into(),
            causes: Vec::new(),
            next: next.into(),
        }
    }

    pub(super) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(ExitStatus::Usage, what, next)
    }

    /// The same, because of `error` and what that came from.
    pub(super) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let text = error.to_string();
            // Many messages quote their source already.
            if !self.causes.last().is_some_and(|last| last.contains(&text)) {
                self.causes.push(text);
            }
            cause = error.source();
        }
        self
    }

    /// A failed call of the client.
    pub(super) fn of_client(what: impl Into<String>, error: &ClientError) -> Self {
        let (status, next) = match error {
            ClientError::Connect(_) => (
                ExitStatus::Unreachable,
                "start the node with `selfchain run`, or name another with --server and --server-key",
            ),
            ClientError::Deadline { .. } => (
                ExitStatus::Unreachable,
                "a transaction may still commit: ask with `selfchain tx ID`, or allow more time with --deadline-ms",
            ),
            ClientError::Refused(refused) if refused.refusal == Refusal::NotFound => {
                (ExitStatus::Refused, "")
            }
            ClientError::Refused(refused) if refused.refusal == Refusal::Damaged => (
                ExitStatus::Corrupt,
                "nothing of it was used; restore the file that is named from a backup",
            ),
            ClientError::Refused(refused) if refused.refusal == Refusal::Denied => (
                ExitStatus::Refused,
                "its owner may let your key in with `selfchain data grant`; `selfchain keys show FILE` prints the id",
            ),
            ClientError::Refused(refused) if refused.refusal.is_transient() => {
                (ExitStatus::Refused, "the same command may succeed later")
            }
            ClientError::Refused(_) | ClientError::Envelope(_) => (ExitStatus::Refused, ""),
            ClientError::Answer { .. } => (ExitStatus::Failed, "use a client of the node's version"),
            ClientError::Closed | ClientError::Thread(_) => (ExitStatus::Failed, ""),
        };
        Self::new(status, what, next).because(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for cause in &self.causes {
            write!(f, "\ncause: {cause}")?;
        }
        if !self.next.is_empty() {
            write!(f, "\nnext:  {}", self.next)?;
        }
        Ok(())
    }
}
