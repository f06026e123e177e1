//! How long to wait, and which waits are on.

use arc_malachitebft_core_types::{Timeout, TimeoutKind};
use selfchain_types::TimeNs;
use selfchain_types::seam::consensus::Effect;

use super::context::number;

/// How long a validator waits, in nanoseconds. Waits change how soon agreement comes, never what is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// For a proposal, before prevoting nothing.
    pub propose_ns: u64,
    /// For more prevotes, once two thirds have prevoted this or that.
    pub prevote_ns: u64,
    /// For more precommits, once two thirds have precommitted this or that.
    pub precommit_ns: u64,
    /// What each of these grows by with every round: when rounds are longer than messages take, one succeeds.
    pub growth_ns: u64,
    /// The longest of these waits.
    pub wait_ns_max: u64,
    /// Between repeats of this node's latest ballots, for peers that missed them.
    pub repeat_ns: u64,
    /// For a proposal of a validator that the driver says cannot be reached; `None`: as for any.
    pub unreachable_ns: Option<u64>,
}

/// The shortest useful wait for a proposer that cannot be reached: its proposal may be under way from before.
pub const UNREACHABLE_NS_MIN: u64 = 20_000_000;

impl Default for Options {
    fn default() -> Self {
        Self {
            propose_ns: 1_000_000_000,
            prevote_ns: 500_000_000,
            precommit_ns: 500_000_000,
            growth_ns: 250_000_000,
            wait_ns_max: 20_000_000_000,
            repeat_ns: 500_000_000,
            unreachable_ns: Some(UNREACHABLE_NS_MIN),
        }
    }
}

impl Options {
    fn wait_ns(&self, timeout: Timeout) -> u64 {
        let first = match timeout.kind {
            TimeoutKind::Propose => self.propose_ns,
            TimeoutKind::Prevote => self.prevote_ns,
            TimeoutKind::Precommit | TimeoutKind::FinalizeHeight(_) => self.precommit_ns,
            TimeoutKind::Rebroadcast => return self.repeat_ns,
        };
        let growth = self.growth_ns.saturating_mul(u64::from(number(timeout.round)));
        first.saturating_add(growth).min(self.wait_ns_max)
    }
}

/// The waits that are on: one of each kind, for a round goes on only when the one before it has ended.
///
/// The core's timeouts name a round and no height. Here a wait that was ended or moved is told from the one that
/// is on by its time, so that a timer which went off meanwhile ends nothing.
#[derive(Debug, Default)]
pub(super) struct Timers {
    on: [Option<(Timeout, TimeNs)>; 4],
}

const PROPOSE: usize = 0;

impl Timers {
    /// Begins a wait.
    pub(super) fn set(
        &mut self,
        timeout: Timeout,
        now: TimeNs,
        options: &Options,
        effects: &mut Vec<Effect>,
    ) {
        let at = TimeNs(now.0.saturating_add(options.wait_ns(timeout)));
        self.put(timeout, at, effects);
    }

    /// Cuts the wait for a proposal short, if one is on.
    pub(super) fn hurry_propose(&mut self, now: TimeNs, wait_ns: u64, effects: &mut Vec<Effect>) {
        let at = TimeNs(now.0.saturating_add(wait_ns));
        if let Some((timeout, until)) = self.on[PROPOSE]
            && at < until
        {
            self.put(timeout, at, effects);
        }
    }

    fn put(&mut self, timeout: Timeout, at: TimeNs, effects: &mut Vec<Effect>) {
        let slot = slot(timeout.kind);
        self.on[slot] = Some((timeout, at));
        let timer = selfchain_types::codec::wide(slot);
        effects.push(Effect::SetTimer { timer, at });
    }

    pub(super) fn cancel(&mut self, timeout: Timeout) {
        let on = &mut self.on[slot(timeout.kind)];
        if on.is_some_and(|(on, _)| on == timeout) {
            *on = None;
        }
    }

    pub(super) fn cancel_all(&mut self) {
        self.on = [None; 4];
    }

    /// The wait that timer number `timer` ends now, if it ends one.
    pub(super) fn take_due(&mut self, timer: u64, now: TimeNs) -> Option<Timeout> {
        let on = self.on.get_mut(usize::try_from(timer).ok()?)?;
        let (timeout, _) = on.filter(|(_, at)| *at <= now)?;
        *on = None;
        Some(timeout)
    }
}

fn slot(kind: TimeoutKind) -> usize {
    match kind {
        TimeoutKind::Propose => PROPOSE,
        TimeoutKind::Prevote => 1,
        TimeoutKind::Precommit | TimeoutKind::FinalizeHeight(_) => 2,
        TimeoutKind::Rebroadcast => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_malachitebft_core_types::Round;

    fn timers() -> (Timers, Vec<Effect>, Options) {
        (Timers::default(), Vec::new(), Options::default())
    }

    #[test]
    fn a_timer_that_went_off_before_it_was_moved_ends_nothing() {
        let (mut timers, mut effects, options) = timers();
        let first = Timeout::propose(Round::new(0));
        timers.set(first, TimeNs(0), &options, &mut effects);
        timers.cancel_all();
        let second = Timeout::propose(Round::new(1));
        timers.set(second, TimeNs(500_000_000), &options, &mut effects);
        assert_eq!(timers.take_due(0, TimeNs(1_000_000_000)), None);
        assert_eq!(timers.take_due(0, TimeNs(1_750_000_000)), Some(second));
        assert_eq!(timers.take_due(0, TimeNs(1_750_000_000)), None, "once");
        assert_eq!(timers.take_due(9, TimeNs(1_750_000_000)), None, "no such timer");
    }

    #[test]
    fn waits_grow_with_rounds_up_to_the_longest() {
        let options = Options::default();
        let wait = |round| options.wait_ns(Timeout::prevote(Round::new(round)));
        assert_eq!([wait(0), wait(2)], [500_000_000, 1_000_000_000]);
        assert_eq!(wait(u32::MAX), options.wait_ns_max);
    }

    #[test]
    fn hurry_shortens_a_wait_and_never_lengthens_one() {
        let (mut timers, mut effects, options) = timers();
        timers.hurry_propose(TimeNs(0), 20, &mut effects);
        assert_eq!(effects, [], "no wait is on");
        timers.set(Timeout::propose(Round::new(0)), TimeNs(0), &options, &mut effects);
        timers.hurry_propose(TimeNs(0), 20, &mut effects);
        timers.hurry_propose(TimeNs(0), 30, &mut effects);
        let at = |at| Effect::SetTimer {
            timer: 0,
            at: TimeNs(at),
        };
        assert_eq!(effects, [at(1_000_000_000), at(20)]);
    }
}
