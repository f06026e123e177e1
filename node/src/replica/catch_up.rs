//! Catching up: who is ahead, and whom decided blocks are asked of.

use selfchain_types::{Height, TimeNs};
use std::collections::BTreeMap;

/// How long an answer is waited for before another peer is asked.
const ANSWER_WAIT_NS: u64 = 1_000_000_000;
/// How long a height may be behind before blocks are asked for: votes that are under way usually decide it first.
const BEHIND_WAIT_NS: u64 = 250_000_000;
/// So many heights behind are asked for at once.
const BEHIND_MIN: u64 = 2;

#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// The newest height that each peer says it decided.
    tips: BTreeMap<u16, Height>,
    /// Whom blocks were asked of, and until when the answer is waited for.
    asked: Option<(u16, TimeNs)>,
    /// Since when it is behind.
    behind_since: Option<TimeNs>,
    /// Peers asked since the last block came; the next is asked after them.
    turns: usize,
}

impl CatchUp {
    /// A peer says where it stands.
    pub(super) fn told(&mut self, from: u16, tip: Height) {
        let known = self.tips.entry(from).or_insert(tip);
        *known = (*known).max(tip);
    }

    /// What was asked of a peer came, or nothing new was in it.
    pub(super) fn answered(&mut self, from: u16, is_new: bool) {
        if self.asked.is_some_and(|(peer, _)| peer == from) {
            self.asked = None;
            self.turns = if is_new { 0 } else { self.turns + 1 };
            if !is_new {
                self.tips.remove(&from);
            }
        }
    }

    /// Whom to ask for the blocks after `tip`, if it is time.
    pub(super) fn ask(&mut self, tip: Height, now: TimeNs) -> Option<u16> {
        let ahead: Vec<(u16, Height)> = self
            .tips
            .iter()
            .filter(|(_, theirs)| **theirs > tip)
            .map(|(peer, theirs)| (*peer, *theirs))
            .collect();
        let Some(most) = ahead.iter().map(|(_, theirs)| theirs.0 - tip.0).max() else {
            self.behind_since = None;
            return None;
        };
        let since = *self.behind_since.get_or_insert(now);
        if most < BEHIND_MIN && now.0.saturating_sub(since.0) < BEHIND_WAIT_NS {
            return None;
        }
        if let Some((_, until)) = self.asked {
            if now < until {
                return None;
            }
            self.turns += 1;
        }
        let (peer, _) = ahead[self.turns % ahead.len()];
        self.asked = Some((peer, TimeNs(now.0.saturating_add(ANSWER_WAIT_NS))));
        Some(peer)
    }

    /// When [`Self::ask`] may say something new.
    pub(super) fn wake(&self) -> Option<TimeNs> {
        let behind = self
            .behind_since
            .map(|since| TimeNs(since.0.saturating_add(BEHIND_WAIT_NS)));
        self.asked.map(|(_, until)| until).or(behind)
    }

    /// The tip moved.
    pub(super) fn moved(&mut self) {
        self.behind_since = None;
    }
}
