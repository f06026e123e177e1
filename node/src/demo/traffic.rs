//! Traffic: generated transfers with the skew of real ones, and a few of every other kind.

use super::options::TrafficOptions;
use super::pace::BurstPace;
use super::source::{Batch, Source, Step};
use core::time::Duration;
use selfchain_bench::load::workload::{Profile, Workload, WorkloadError};
use selfchain_types::message::Committed;
use selfchain_types::{AccountId, Amount, AssetId, Operation, OperationFlags, codec};
use std::collections::{BTreeSet, VecDeque};

/// Decimal digits of the generated asset.
pub(super) const SCALE: u16 = 2;

/// What every account opens with: about thirty mean amounts, so that the busiest run short now and then.
pub(super) const OPENING: Amount = Amount(250_000);

/// The number of the account with this index.
pub(super) fn account_id(index: u64) -> AccountId {
    AccountId(u128::from(index) + 1)
}

/// Which of `signers` keys owns the account with this index.
pub(super) fn signer_of(index: u64, signers: u64) -> u64 {
    index % signers
}

/// The part of the generated stream that one signer signs. Every signer walks the same stream, and takes what
/// is debited from accounts of its own.
pub(super) struct Traffic {
    workload: Workload,
    pace: BurstPace,
    duration: Duration,
    batch_len_max: usize,
    seed: u64,
    signer: u64,
    signers: u64,
    asset: AssetId,
    /// Number of the next transfer of the stream.
    number: u64,
    batch: Batch,
    /// When the first operation was put into the batch. Not when it was due: what is behind its schedule must
    /// go in full batches, or it never catches up.
    batch_begun: Duration,
    /// Reservations that were committed, to be posted or voided in a later transaction.
    reserved: VecDeque<Reservation>,
}

/// A pending transfer and what is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reservation {
    id: u128,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Post,
    Void,
    /// Nobody settles it: it expires.
    Expire,
}

impl Traffic {
    pub(super) fn new(options: &TrafficOptions, signer: u64, asset: AssetId) -> Result<Self, WorkloadError> {
        Ok(Self {
            workload: Workload::new(options.accounts, Profile::ZIPF, options.seed)?,
            pace: BurstPace::new(options.rate_per_s),
            duration: options.duration,
            batch_len_max: options.batch_len_max.max(BATCH_LEN_MIN),
            seed: options.seed,
            signer,
            signers: options.signers,
            asset,
            number: 0,
            batch: Batch::default(),
            batch_begun: Duration::ZERO,
            reserved: VecDeque::new(),
        })
    }

    /// Adds the next transfer of the stream to the batch, if it is this signer's.
    fn add_next(&mut self, due: Duration, now: Duration) {
        let Some(transfer) = self.workload.next() else {
            return;
        };
        let number = self.number;
        self.number += 1;
        if signer_of(transfer.debit, self.signers) != self.signer {
            return;
        }
        if self.batch.operations.is_empty() {
            self.batch_begun = now;
        }
        self.batch.due = Some(due);
        let id = u128::from(number) + 1;
        let (debit, credit) = (account_id(transfer.debit), account_id(transfer.credit));
        let amount = Amount(u128::from(transfer.amount));
        let plain = Operation::transfer(id, debit, credit, amount, self.asset);
        let operations = &mut self.batch.operations;
        match mixed(self.seed ^ number) % KINDS {
            RESERVES => {
                let timeout_s = if fate(id, true) == Fate::Expire {
                    EXPIRY_S
                } else {
                    SETTLE_S
                };
                operations.push(Operation::reserve(
                    id, debit, credit, amount, self.asset, timeout_s,
                ));
            }
            PAYS_WITH_FEE => {
                let fee = Amount(amount.0.div_ceil(FEE_PART));
                operations.push(plain.linked());
                operations.push(Operation::transfer(
                    id | FEE,
                    debit,
                    fee_account(transfer.debit),
                    fee,
                    self.asset,
                ));
            }
            _ => operations.push(plain),
        }
    }

    /// Adds posts and voids of what was reserved.
    fn settle(&mut self) {
        while self.batch.operations.len() < self.batch_len_max {
            let Some(Reservation { id, fate }) = self.reserved.pop_front() else {
                break;
            };
            self.batch.operations.push(match fate {
                Fate::Void => Operation::void(id | SETTLEMENT, id),
                Fate::Post | Fate::Expire => Operation::post(id | SETTLEMENT, id, Amount::MAX),
            });
        }
    }

    fn take_batch(&mut self) -> Batch {
        core::mem::take(&mut self.batch)
    }

    /// Whether it is time to send what there is: a batch does not wait long for more.
    fn is_full(&self, now: Duration) -> bool {
        // A payment with its fee takes two.
        let is_full = self.batch.operations.len() + 1 >= self.batch_len_max;
        is_full || !self.batch.operations.is_empty() && now >= self.batch_begun + LINGER
    }
}

impl Source for Traffic {
    fn next(&mut self, now: Duration) -> Result<Step, crate::input::InputError> {
        loop {
            let due = self.pace.due(self.number);
            // Far behind its schedule, the stream ends with less than it meant to send.
            let is_over = due >= self.duration || now >= self.duration + BEHIND_MAX;
            if self.is_full(now) || is_over && !self.batch.operations.is_empty() {
                self.settle();
                return Ok(Step::Send(self.take_batch()));
            }
            if is_over {
                return Ok(Step::End);
            }
            if due > now {
                let is_empty = self.batch.operations.is_empty();
                return Ok(Step::Wait(if is_empty {
                    due
                } else {
                    due.min(self.batch_begun + LINGER)
                }));
            }
            self.add_next(due, now);
        }
    }

    fn answered(&mut self, batch: &Batch, committed: &Committed) {
        let refused: BTreeSet<u32> = committed.refused.iter().map(|(at, ..)| *at).collect();
        for (at, operation) in batch.operations.iter().enumerate() {
            if operation.flags().has(OperationFlags::PENDING) && !refused.contains(&codec::narrow(at)) {
                let id = operation.id.get();
                let payee = u64::try_from(operation.credit.get() - 1).unwrap_or(u64::MAX);
                let fate = fate(id, signer_of(payee, self.signers) == self.signer);
                if fate != Fate::Expire {
                    self.reserved.push_back(Reservation { id, fate });
                }
            }
        }
    }

    fn closing(&mut self) -> Option<Batch> {
        self.settle();
        let batch = self.take_batch();
        (!batch.operations.is_empty()).then_some(batch)
    }
}

/// Fees go to the first account, its own to the second.
fn fee_account(payer: u64) -> AccountId {
    account_id(u64::from(payer == 0))
}

/// What is to become of a reservation. Only its payee may void it: another signer's payee is paid.
fn fate(id: u128, payee_is_own: bool) -> Fate {
    match mixed(u64::try_from(id).unwrap_or(0)) % 8 {
        0 => Fate::Expire,
        1 | 2 if payee_is_own => Fate::Void,
        _ => Fate::Post,
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): neighbouring numbers in, unrelated numbers out.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One in so many transfers is of each special kind.
const KINDS: u64 = 100;
const RESERVES: u64 = 0;
const PAYS_WITH_FEE: u64 = 1;
/// A fee is this part of what is paid, rounded up.
const FEE_PART: u128 = 100;
/// Added to a transfer's id for its fee, and for the settlement of a reservation: ids stay unique.
const FEE: u128 = 1 << 64;
const SETTLEMENT: u128 = 1 << 65;
/// Seconds of ledger time in which a reservation is settled.
const SETTLE_S: u32 = 60;
/// Seconds of ledger time after which one expires that nobody settles.
const EXPIRY_S: u32 = 1;
/// Two operations of one chain fit.
const BATCH_LEN_MIN: usize = 2;
/// Longest that a due operation waits for its batch to fill.
const LINGER: Duration = Duration::from_millis(10);
/// How long what is behind schedule is still sent after the end.
const BEHIND_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::{Height, Outcome, TimeNs};

    fn options() -> TrafficOptions {
        TrafficOptions {
            duration: Duration::from_secs(1),
            ..TrafficOptions::default()
        }
    }

    /// Everything that a signer sends in a second, in steps of a millisecond.
    fn second(signer: u64) -> (Traffic, Vec<Batch>) {
        let mut traffic = Traffic::new(&options(), signer, AssetId(1)).unwrap();
        let mut batches = Vec::new();
        let mut now = Duration::ZERO;
        loop {
            match traffic.next(now).unwrap() {
                Step::Send(batch) => batches.push(batch),
                Step::Wait(until) => {
                    assert!(until > now, "waits for the future only");
                    now += Duration::from_millis(1);
                }
                Step::End => return (traffic, batches),
            }
        }
    }

    #[test]
    fn the_signers_share_one_stream_and_lose_nothing() {
        let mut ids: Vec<u128> = Vec::new();
        for signer in 0..options().signers {
            for batch in second(signer).1 {
                assert!(batch.operations.len() <= options().batch_len_max);
                assert!(
                    !batch.operations.last().unwrap().is_linked(),
                    "a chain ends inside its envelope"
                );
                for operation in &batch.operations {
                    let payer = u64::try_from(operation.debit.get() - 1).unwrap();
                    assert_eq!(signer_of(payer, options().signers), signer);
                }
                ids.extend(batch.operations.iter().map(|operation| operation.id.get()));
            }
        }
        let fees = ids.iter().filter(|id| **id & FEE != 0).count();
        ids.retain(|id| *id & FEE == 0);
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(1..=20_000), "{} of 20,000", ids.len());
        assert!((150..250).contains(&fees), "{fees} payments with a fee");
    }

    #[test]
    fn what_was_reserved_is_settled_once_it_is_committed() {
        let (mut traffic, batches) = second(0);
        let batch = batches.iter().find(|batch| {
            batch
                .operations
                .iter()
                .any(|it| it.flags() == OperationFlags::PENDING)
        });
        let batch = batch.unwrap();
        let reserves: Vec<u32> = (0u32..)
            .zip(&batch.operations)
            .filter(|(_, operation)| operation.flags() == OperationFlags::PENDING)
            .map(|(at, _)| at)
            .collect();
        let committed = |refused: &[u32]| Committed {
            duplicate: false,
            height: Height(1),
            index: 0,
            time_ns: TimeNs(1),
            operations: codec::narrow(batch.operations.len()),
            refused: refused
                .iter()
                .map(|at| (*at, Outcome::InsufficientFunds, None))
                .collect(),
            balances: Vec::new(),
        };
        traffic.answered(batch, &committed(&reserves));
        assert!(traffic.closing().is_none(), "nothing was reserved");
        traffic.answered(batch, &committed(&[]));
        let expiring = reserves.iter().filter(|at| {
            let id = batch.operations[codec::index(**at)].id.get();
            fate(id, true) == Fate::Expire
        });
        let settled = reserves.len() - expiring.count();
        assert_eq!(
            traffic.closing().map_or(0, |batch| batch.operations.len()),
            settled
        );
        assert!(traffic.closing().is_none());
    }

    #[test]
    fn behind_schedule_batches_are_full() {
        let mut traffic = Traffic::new(&options(), 0, AssetId(1)).unwrap();
        let Step::Send(batch) = traffic.next(Duration::from_millis(900)).unwrap() else {
            panic!("nothing is due");
        };
        assert!(batch.operations.len() + 1 >= options().batch_len_max);
    }

    #[test]
    fn behind_schedule_it_still_ends_on_time() {
        let mut traffic = Traffic::new(&options(), 0, AssetId(1)).unwrap();
        let late = Duration::from_secs(1) + BEHIND_MAX;
        assert!(matches!(traffic.next(late).unwrap(), Step::End));
    }
}
