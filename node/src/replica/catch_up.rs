//! Catching up: who is ahead, and whom decided blocks are asked of.

use super::view::CatchingUp;
use selfchain_types::{Height, TimeNs};
use std::collections::BTreeMap;

/// How long an answer is waited for before another peer is asked.
const ANSWER_WAIT_NS: u64 = 1_000_000_000;
/// How long a height may be behind before blocks are asked for: votes that are under way usually decide it first.
const BEHIND_WAIT_NS: u64 = 250_000_000;
/// So many heights behind are asked for at once.
const BEHIND_MIN: u64 = 2;
/// A peer that refuses is believed for at most so long.
const REFUSED_NS_MAX: u64 = 10_000_000_000;

#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// The newest height that each peer says it decided.
    tips: BTreeMap<u32, Height>,
    /// Whom blocks were asked of, and until when the answer is waited for.
    asked: Option<(u32, TimeNs)>,
    /// Since when it is behind.
    behind_since: Option<TimeNs>,
    /// Peers asked since the last block came; the next is asked after them.
    turns: usize,
    /// Peers that refused, and until when they are asked for nothing.
    refusing: BTreeMap<u32, TimeNs>,
    /// When the first of those that are ahead may be asked again, where all of them refused.
    free_at: Option<TimeNs>,
}

impl CatchUp {
    /// A peer says where it stands.
    pub(super) fn told(&mut self, from: u32, tip: Height) {
        let known = self.tips.entry(from).or_insert(tip);
        *known = (*known).max(tip);
    }

    /// Forgets who is no peer any more, or cannot be reached.
    pub(super) fn retain(&mut self, is_peer: impl Fn(u32) -> bool) {
        self.tips.retain(|peer, _| is_peer(*peer));
        self.refusing.retain(|peer, _| is_peer(*peer));
        self.asked = self.asked.filter(|(peer, _)| is_peer(*peer));
    }

    /// What was asked of a peer came, or nothing new was in it.
    pub(super) fn answered(&mut self, from: u32, is_new: bool) {
        if self.asked.is_some_and(|(peer, _)| peer == from) {
            self.asked = None;
            self.turns = if is_new { 0 } else { self.turns + 1 };
            if !is_new {
                self.tips.remove(&from);
            }
        }
    }

    /// Whether this is whom blocks are asked of.
    pub(super) fn is_asked(&self, peer: u32) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == peer)
    }

    /// What a peer sent was not decided.
    pub(super) fn misled(&mut self, from: u32) {
        self.turns += 1;
        self.tips.remove(&from);
    }

    /// A peer does not send what it was asked for, and says when it would.
    pub(super) fn refused(&mut self, from: u32, retry_after_ms: u32, now: TimeNs) {
        let wait = u64::from(retry_after_ms)
            .saturating_mul(1_000_000)
            .min(REFUSED_NS_MAX);
        self.refusing.insert(from, TimeNs(now.0.saturating_add(wait)));
        if self.asked.is_some_and(|(peer, _)| peer == from) {
            self.asked = None;
            self.turns += 1;
        }
    }

    /// Whether a peer said that it sends nothing yet.
    pub(super) fn is_refusing(&self, peer: u32, now: TimeNs) -> bool {
        self.refusing.get(&peer).is_some_and(|until| now < *until)
    }

    /// Whom to ask for the blocks after `tip`, if it is time.
    pub(super) fn ask(&mut self, tip: Height, now: TimeNs) -> Option<u32> {
        self.free_at = None;
        let ahead: Vec<(u32, Height)> = self
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
        let until = |peer: &u32| self.refusing.get(peer).copied().filter(|until| now < *until);
        let free: Vec<u32> = ahead
            .iter()
            .map(|(peer, _)| *peer)
            .filter(|peer| until(peer).is_none())
            .collect();
        if free.is_empty() {
            self.asked = None;
            self.free_at = ahead.iter().filter_map(|(peer, _)| until(peer)).min();
            return None;
        }
        let peer = free[self.turns % free.len()];
        self.asked = Some((peer, TimeNs(now.0.saturating_add(ANSWER_WAIT_NS))));
        Some(peer)
    }

    /// The newest height that each peer says it decided.
    pub(super) fn tips(&self) -> impl Iterator<Item = (u32, Height)> {
        self.tips.iter().map(|(peer, tip)| (*peer, *tip))
    }

    /// How it stands, for whoever operates the node.
    pub(super) fn view(&self, tip: Height, now: TimeNs) -> CatchingUp {
        let highest = self.tips.values().map(|theirs| theirs.0).max().unwrap_or(0);
        let refusing = self.refusing.iter().filter(|(_, until)| now < **until);
        CatchingUp {
            behind: highest.saturating_sub(tip.0),
            asked: self.asked.filter(|(_, until)| now < *until).map(|(peer, _)| peer),
            refusing: refusing.map(|(peer, until)| (*peer, *until)).collect(),
            snapshot: None,
            quiet_through: None,
        }
    }

    /// When [`Self::ask`] may say something new.
    pub(super) fn wake(&self) -> Option<TimeNs> {
        let behind = self
            .behind_since
            .map(|since| TimeNs(since.0.saturating_add(BEHIND_WAIT_NS)));
        self.asked.map(|(_, until)| until).or(self.free_at).or(behind)
    }

    /// The tip moved.
    pub(super) fn moved(&mut self) {
        self.behind_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn behind() -> CatchUp {
        let mut catch_up = CatchUp::default();
        (1..=3).for_each(|peer| catch_up.told(peer, Height(100)));
        catch_up
    }

    #[test]
    fn a_peer_that_refuses_is_left_alone_until_it_said_and_others_are_asked() {
        let mut catch_up = behind();
        let first = catch_up.ask(Height(1), TimeNs(0));
        let Some(first) = first else {
            panic!("nobody is asked")
        };
        catch_up.refused(first, 300, TimeNs(0));
        let mut asked = Vec::new();
        for step in 0..10 {
            let now = TimeNs(step * 20 * MS);
            if let Some(peer) = catch_up.ask(Height(1), now) {
                asked.push(peer);
                catch_up.answered(peer, true);
            }
        }
        assert!(asked.len() == 10 && !asked.contains(&first), "{asked:?}");
        assert!(
            catch_up.is_refusing(first, TimeNs(299 * MS)) && !catch_up.is_refusing(first, TimeNs(300 * MS))
        );
    }

    #[test]
    fn when_all_refuse_it_waits_for_the_first_of_them_and_no_longer_than_the_bound() {
        let mut catch_up = behind();
        for (peer, wait) in [(1, 900), (2, 400), (3, u32::MAX)] {
            catch_up.refused(peer, wait, TimeNs(0));
        }
        assert_eq!(catch_up.ask(Height(1), TimeNs(MS)), None);
        assert_eq!(catch_up.wake(), Some(TimeNs(400 * MS)));
        assert_eq!(catch_up.ask(Height(1), TimeNs(400 * MS)), Some(2));
        assert!(!catch_up.is_refusing(3, TimeNs(REFUSED_NS_MAX)));
    }
}
