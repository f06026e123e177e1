//! Quiet: a validator that has nothing on its disk may have lost it, and with it what it signed. So it says nothing at
//! heights at which it may have signed before: it listens where the others stand, and follows until they are past that.
//!
//! A chain that begins, begins like this too: then more than a third of the power says that nothing is decided.
//!
//! So does one that came out of a backup: what it signed after that backup is lost as well. A record of its journal says
//! so until it knows where the others stand.

use super::replica::{
    RECORD_BEGUN, RECORD_QUIET, RECORD_RESTORED, RECORD_SETTLED, Replica, ReplicaError, Ticket,
};
use selfchain_storage::{Disk, Journal, JournalConfig, JournalError};
use selfchain_types::{Height, TimeNs};
use std::sync::Arc;

/// How long the others are listened to, once there are enough of them to decide with.
const LISTEN_NS: u64 = 1_000_000_000;
/// A validator may have signed at so many heights after the one that more than a third of the power has decided: the
/// height in hand of whoever was one ahead.
const QUIET_MARGIN: u64 = 2;
/// Records of this height stay in the journal: no block drops them.
const FOR_EVER: u64 = u64::MAX;
/// Messages of the plane kept while it listens.
const KEPT_MAX: usize = 1_024;

/// Whether a validator says anything.
#[derive(Debug)]
pub(super) enum Quiet {
    /// It does.
    No,
    /// Not before it knows where the others stand.
    Listening {
        /// Since when there are enough of them.
        since: Option<TimeNs>,
        /// What the plane is to be told if nothing was decided before.
        kept: Vec<(u32, Vec<u8>)>,
    },
    /// Not up to this height.
    Through(Height),
}

impl Quiet {
    pub(super) fn listening() -> Self {
        Self::Listening {
            since: None,
            kept: Vec::new(),
        }
    }

    /// Whether it does not know yet where the others stand.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self, Self::Listening { .. })
    }

    /// A message of another validator's plane.
    pub(super) fn keep(&mut self, from: u32, bytes: &[u8]) {
        if let Self::Listening { kept, .. } = self
            && kept.len() < KEPT_MAX
        {
            kept.push((from, bytes.to_vec()));
        }
    }

    pub(super) fn through(&self) -> Option<Height> {
        match self {
            Self::Through(height) => Some(*height),
            Self::No | Self::Listening { .. } => None,
        }
    }

    pub(super) fn wake(&self) -> Option<TimeNs> {
        match self {
            Self::Listening { since, .. } => since.map(|since| TimeNs(since.0.saturating_add(LISTEN_NS))),
            Self::No | Self::Through(_) => None,
        }
    }
}

/// Why a restored ledger could not be marked as one.
pub type MarkError = JournalError;

/// Marks the ledger on a disk as one that came out of a backup and ends at `tip`: a validator that starts from it says
/// nothing before the others are past what it may have signed. Marked again it is marked once.
///
/// # Errors
/// [`MarkError`].
pub fn mark_restored(disk: Arc<dyn Disk>, tip: Height) -> Result<(), MarkError> {
    let mut journal = Journal::open(disk, JournalConfig::default(), tip.0)?;
    for record in journal.replay() {
        if record?.1 == [RECORD_RESTORED] {
            return Ok(());
        }
    }
    journal.append(FOR_EVER, &[RECORD_RESTORED])?;
    journal.sync()
}

/// The height that a record of [`RECORD_SETTLED`] names.
pub(super) fn settled_through(bytes: &[u8]) -> Height {
    // The journal checks every byte: one of another length is of another version, and says nothing else.
    Height(
        bytes
            .first_chunk()
            .map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes)),
    )
}

impl<T: Ticket> Replica<T> {
    /// Whether it says nothing at the height in hand.
    pub(super) fn is_quiet(&self) -> bool {
        if self.chain.tip().height < self.guarding.floor() {
            return true;
        }
        match &self.quiet {
            Quiet::No => false,
            Quiet::Listening { .. } => true,
            Quiet::Through(height) => self.chain.tip().height < *height,
        }
    }

    /// Decides whether to begin, once it is known where the others stand.
    pub(super) fn listen(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        let Quiet::Listening { since, .. } = &self.quiet else {
            return Ok(());
        };
        let since = *since;
        let validators = self.chain.validators();
        let total: u128 = validators.iter().map(|one| u128::from(one.power)).sum();
        let me = validators.iter().filter(|one| self.own.contains(&one.key.id()));
        let own: u128 = me.map(|one| u128::from(one.power)).sum();
        let mut heard: Vec<(Height, u128)> = self
            .catch_up
            .tips()
            .map(|(peer, tip)| (tip, u128::from(self.power_of(peer))))
            .collect();
        let power = own + heard.iter().map(|(_, power)| power).sum::<u128>();
        if power * 3 <= total * 2 {
            return Ok(());
        }
        let began = since.unwrap_or(now);
        if power < total && now.0.saturating_sub(began.0) < LISTEN_NS {
            if let Quiet::Listening { since, .. } = &mut self.quiet {
                *since = Some(began);
            }
            return Ok(());
        }
        heard.sort_unstable_by_key(|(tip, _)| core::cmp::Reverse(*tip));
        let decided = behind_a_third(&heard, total);
        self.settle_quiet(decided, now)
    }

    fn settle_quiet(&mut self, decided: Height, now: TimeNs) -> Result<(), ReplicaError> {
        if self.is_restored {
            return self.settle_restored(decided);
        }
        let (height, record) = if decided == Height::GENESIS {
            (Height(1), RECORD_BEGUN)
        } else {
            (Height(decided.0.saturating_add(QUIET_MARGIN)), RECORD_QUIET)
        };
        self.journal.append(height.0, &[record])?;
        self.journal.sync()?;
        if record == RECORD_QUIET {
            tracing::info!(through = %height, "nothing is on this disk: following the others until they are past what may have been signed before");
            self.quiet = Quiet::Through(height);
            return Ok(());
        }
        if let Quiet::Listening { kept, .. } = core::mem::replace(&mut self.quiet, Quiet::No) {
            for (from, bytes) in kept {
                self.plane_message(from, bytes, now)?;
            }
        }
        Ok(())
    }
}

impl<T: Ticket> Replica<T> {
    fn settle_restored(&mut self, decided: Height) -> Result<(), ReplicaError> {
        let height = decided.max(self.chain.tip().height);
        let through = Height(height.0.saturating_add(QUIET_MARGIN));
        let record = [&[RECORD_SETTLED][..], &through.0.to_le_bytes()].concat();
        self.journal.append(FOR_EVER, &record)?;
        self.journal.sync()?;
        tracing::info!(%through, "this came out of a backup: following the others until they are past what may have been signed after it");
        self.is_restored = false;
        self.quiet = Quiet::Through(through);
        Ok(())
    }
}

/// The newest height that more than a third of the power says it has, so that somebody honest does. `heard` is in
/// descending order of height.
fn behind_a_third(heard: &[(Height, u128)], total: u128) -> Height {
    let mut power = 0;
    let known = heard.iter().find(|(_, theirs)| {
        power += theirs;
        power * 3 > total
    });
    known.map_or(Height::GENESIS, |(tip, _)| *tip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_lies_neither_silences_nor_wakes_a_validator() {
        let of = |tips: &[u64]| {
            let heard: Vec<(Height, u128)> = tips.iter().map(|tip| (Height(*tip), 1)).collect();
            behind_a_third(&heard, 4)
        };
        assert_eq!(of(&[u64::MAX, 0, 0]), Height::GENESIS);
        assert_eq!(of(&[50, 50, 0]), Height(50));
        assert_eq!(of(&[u64::MAX, 51, 50]), Height(51));
        assert_eq!(of(&[]), Height::GENESIS);
    }
}
