//! What is remembered of an account: 256 bytes of counts, sums, decayed counts and sketches.

use super::catalogue::LOG2_MAX;
use super::fixed::{self, DAY, HOUR, TICK_S, WEEK};
use selfchain_types::TimeNs;
use selfchain_types::time::NS_PER_S;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The past of one account, as a chunk of a snapshot holds it. Little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Context {
    pub(super) id: [u64; 2],
    pub(super) out: Flow,
    pub(super) into: Flow,
    /// First time seen, in seconds.
    pub(super) first: u64,
    /// Up to when counters are decayed, in ticks.
    clock: u32,
    /// Confirmed reports against it, in 2^-20; an account once reported stays above zero.
    pub(super) reports: u32,
    /// Reports met at counterparties, in 2^-20.
    pub(super) met: u32,
    /// Receipts from accounts with little past.
    pub(super) young: u32,
    /// The candidate block that changed it last; 0 in a snapshot.
    pub(super) candidate: u64,
    /// 1 for the issuance account of an asset, which has no past.
    pub(super) is_issuance: u64,
    spare: [u64; 3],
}

/// One direction of an account's transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct Flow {
    /// Last time, in seconds.
    pub(super) last: u64,
    /// Transfers; stops at the greatest number.
    pub(super) count: u32,
    /// Transfers, decayed by hour, day and week, in 1/1024.
    pub(super) hour: u32,
    pub(super) day: u32,
    pub(super) week: u32,
    /// Running mean of log2 of the amount, in 2^-16.
    pub(super) mean: i32,
    /// Its variance, in 2^-16.
    pub(super) variance: u32,
    /// Sum of amounts, low word first; stops at the greatest.
    sum: [u64; 2],
    /// Log2 of the greatest amount and of the last, in 1/256.
    pub(super) greatest: u16,
    pub(super) latest: u16,
    /// Bits of the sketch that are set.
    pub(super) marked: u32,
    /// One bit a counterparty.
    sketch: [u64; 4],
}

/// Bytes of a context.
pub const CONTEXT_BYTES: usize = 256;
const _: () = assert!(size_of::<Context>() == CONTEXT_BYTES);
// The bytes of a context are hashed as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"));

/// One transfer, in decayed counters of 1/1024.
const ONE: u32 = 1 << 10;
/// One report, in counters of 2^-20.
pub(super) const ONE_REPORT: u32 = 1 << 20;
/// From how much of a report on an account counts as reported to its counterparties.
const REPORTED_MIN: u32 = ONE_REPORT / 4;
/// An account with at most so many transfers has little past.
const YOUNG_MAX: u32 = 2;
/// A new value moves running means by 2^-3.
const MEAN_SHIFT: u32 = 3;

/// A transfer as contexts see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) debit: u128,
    pub(super) credit: u128,
    pub(super) amount: u128,
    pub(super) log: i32,
    pub(super) second: u64,
    tick: u32,
}

impl Event {
    #[inline]
    pub(super) fn new(debit: u128, credit: u128, amount: u128, time: TimeNs) -> Self {
        Self {
            debit,
            credit,
            amount,
            log: fixed::log2_of_more(amount),
            second: time.0 / NS_PER_S,
            tick: tick_of(time),
        }
    }
}

/// A counterparty's word on an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) by: u128,
    pub(super) accused: u128,
    pub(super) is_fraud: bool,
    tick: u32,
}

impl Report {
    pub(super) fn new(by: u128, accused: u128, is_fraud: bool, time: TimeNs) -> Self {
        Self {
            by,
            accused,
            is_fraud,
            tick: tick_of(time),
        }
    }
}

fn tick_of(time: TimeNs) -> u32 {
    u32::try_from(time.0 / NS_PER_S / TICK_S).unwrap_or(u32::MAX)
}

impl Flow {
    pub(super) fn sum(&self) -> u128 {
        u128::from(self.sum[0]) | u128::from(self.sum[1]) << 64
    }

    fn is_sound(&self) -> bool {
        let marked: u32 = self.sketch.iter().map(|word| word.count_ones()).sum();
        (0..=LOG2_MAX << 8).contains(&self.mean) && self.marked == marked
    }

    #[inline]
    pub(super) fn has(&self, bit: u8) -> bool {
        self.sketch[usize::from(bit >> 6)] >> (bit & 63) & 1 == 1
    }

    #[inline]
    fn add(&mut self, event: &Event, counterparty: u8) {
        let sum = self.sum().saturating_add(event.amount);
        self.sum = words(sum);
        let log = u16::try_from(event.log).unwrap_or(u16::MAX);
        self.greatest = self.greatest.max(log);
        self.latest = log;
        self.learn(event.log);
        self.last = self.last.max(event.second);
        self.count = self.count.saturating_add(1);
        self.hour = self.hour.saturating_add(ONE);
        self.day = self.day.saturating_add(ONE);
        self.week = self.week.saturating_add(ONE);
        self.marked += u32::from(!self.has(counterparty));
        self.sketch[usize::from(counterparty >> 6)] |= 1 << (counterparty & 63);
    }

    #[inline]
    fn learn(&mut self, log: i32) {
        if self.count == 0 {
            self.mean = log << 8;
            return;
        }
        let difference = (log << 8) - self.mean;
        self.mean += difference >> MEAN_SHIFT;
        let steps = u64::from(difference.unsigned_abs() >> 8);
        let variance = u64::from(self.variance);
        let moved = variance - (variance >> MEAN_SHIFT) + ((steps * steps) >> MEAN_SHIFT);
        self.variance = u32::try_from(moved).unwrap_or(u32::MAX);
    }

    #[inline]
    fn decay(&mut self, hour: u64, day: u64, week: u64) {
        self.hour = fixed::decayed(self.hour, hour);
        self.day = fixed::decayed(self.day, day);
        self.week = fixed::decayed(self.week, week);
    }
}

impl Context {
    /// An account of which nothing is known.
    pub(super) fn new(id: u128) -> Self {
        Self {
            id: words(id),
            ..Self::new_zeroed()
        }
    }

    /// The same without the mark of a candidate block.
    pub(super) fn of_no_candidate(&self) -> Self {
        Self {
            candidate: 0,
            ..*self
        }
    }

    /// Something of each of its cache lines.
    #[inline]
    pub(super) fn of_each_line(&self) -> u64 {
        self.id[0] ^ self.out.sketch[0] ^ self.into.sketch[0] ^ self.first
    }

    #[inline]
    pub(super) fn is(&self, id: u128) -> bool {
        self.id == words(id)
    }

    pub(super) fn id(&self) -> u128 {
        u128::from(self.id[0]) | u128::from(self.id[1]) << 64
    }

    /// Whether it has taken part in a transfer.
    #[inline]
    pub(super) fn is_seen(&self) -> bool {
        self.out.count | self.into.count != 0
    }

    /// Whether folds may have left it so: what comes from outside and is not would break their arithmetic.
    pub(super) fn is_sound(&self) -> bool {
        let has_one_role = self.is_seen() == (self.is_issuance == 0) && self.is_issuance <= 1;
        has_one_role
            && self.candidate == 0
            && self.spare == [0; 3]
            && self.out.is_sound()
            && self.into.is_sound()
    }

    #[inline]
    fn is_young(&self) -> bool {
        self.out.count.saturating_add(self.into.count) <= YOUNG_MAX
    }

    /// Decays the counters up to `event`.
    #[inline]
    pub(super) fn decay_to(&mut self, event: &Event) {
        self.decay(event.tick);
    }

    #[inline]
    fn decay(&mut self, tick: u32) {
        let ticks = tick.saturating_sub(self.clock);
        if ticks == 0 {
            return;
        }
        self.clock = tick;
        let (hour, day, week) = (HOUR.left(ticks), DAY.left(ticks), WEEK.left(ticks));
        self.out.decay(hour, day, week);
        self.into.decay(hour, day, week);
        self.reports = fixed::decayed(self.reports, week).max(self.reports.min(1));
        self.met = fixed::decayed(self.met, week).max(self.met.min(1));
    }

    #[inline]
    fn see(&mut self, event: &Event) {
        if !self.is_seen() {
            self.first = event.second;
        }
        self.decay(event.tick);
    }

    /// Whether it has paid that account or was paid by it, or by one whose bit of the sketch is the same.
    pub(super) fn has_met(&self, id: u128) -> bool {
        let bit = bit_of(id);
        self.out.has(bit) || self.into.has(bit)
    }

    /// Folds a report on this account: of fraud, no more of them than it has had transfers, so that whoever met it once
    /// cannot bury it.
    pub(super) fn learn_of(&mut self, report: &Report) {
        self.decay(report.tick);
        let transfers = self.out.count.saturating_add(self.into.count);
        let most = transfers.saturating_mul(ONE_REPORT).max(self.reports);
        self.reports = if report.is_fraud {
            self.reports.saturating_add(ONE_REPORT).min(most)
        } else {
            self.reports.saturating_sub(ONE_REPORT)
        };
    }
}

/// Folds a transfer into both of its accounts.
#[inline]
pub(super) fn fold(from: &mut Context, to: &mut Context, event: &Event) {
    let is_young = from.is_young();
    from.see(event);
    to.see(event);
    let (from_reported, to_reported) = (from.reports >= REPORTED_MIN, to.reports >= REPORTED_MIN);
    from.out.add(event, bit_of(event.credit));
    to.into.add(event, bit_of(event.debit));
    to.young = to.young.saturating_add(u32::from(is_young));
    if to_reported {
        from.met = from.met.saturating_add(ONE_REPORT);
    }
    if from_reported {
        to.met = to.met.saturating_add(ONE_REPORT);
    }
}

/// Folds a transfer from an account to itself.
pub(super) fn fold_own(own: &mut Context, event: &Event) {
    own.see(event);
    own.out.add(event, bit_of(event.credit));
    own.into.add(event, bit_of(event.debit));
}

/// The bit of a sketch that stands for an account; the same on every node.
#[inline]
pub(super) fn bit_of(id: u128) -> u8 {
    let [low, high] = words(id);
    let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed.to_le_bytes()[7]
}

#[inline]
fn words(value: u128) -> [u64; 2] {
    let low = u64::try_from(value & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    [low, u64::try_from(value >> 64).unwrap_or(u64::MAX)]
}
