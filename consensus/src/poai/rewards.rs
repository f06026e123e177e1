//! Rewards: how a block's fees are shared, to the last unit.

use selfchain_types::seam::standing::{Earner, Reward};
use selfchain_types::{Amount, KeyId};
use std::collections::BTreeMap;

/// Who did what for a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Who built it.
    pub builder: KeyId,
    /// Whose precommits of its parent it carries, each with its power.
    pub voters: Vec<(KeyId, u64)>,
    /// Who of them is drawn for the checker's part.
    pub checker: Option<KeyId>,
}

/// How fees are shared. Whatever it says, the sum is what there is: [`share`] gives the reserve what is left.
pub trait RewardPolicy: Send + Sync {
    /// Hundredths for the builder, the voters and the checker; together at most 100.
    fn hundredths(&self) -> Hundredths;
}

/// Parts of a whole of 100; the reserve has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hundredths {
    /// Of who built the block.
    pub builder: u8,
    /// Of who voted for its parent, by power.
    pub voters: u8,
    /// Of the voter that is drawn.
    pub checker: u8,
}

/// PoAI's: 90 builder, 8 voters, 1 checker, 1 reserve.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForBuilding;

impl RewardPolicy for ForBuilding {
    fn hundredths(&self) -> Hundredths {
        Hundredths {
            builder: 90,
            voters: 8,
            checker: 1,
        }
    }
}

/// Stake's: all to the voters by power; the builder is one of them as a rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByPower;

impl RewardPolicy for ByPower {
    fn hundredths(&self) -> Hundredths {
        Hundredths {
            builder: 0,
            voters: 100,
            checker: 0,
        }
    }
}

/// Shares `fees` for `work`: each part rounded down, what is left over or has no earner to the reserve. One posting
/// an earner, in ascending order of validator, the reserve last.
pub fn share(policy: &dyn RewardPolicy, work: &Work, fees: Amount) -> Vec<Reward> {
    let of = policy.hundredths();
    let mut postings: BTreeMap<KeyId, u128> = BTreeMap::new();
    let mut left = fees.0;
    let mut pay = |who: KeyId, amount: u128| {
        // Parts that sum to more than the whole are a policy's mistake; the fees stay what they are.
        let amount = amount.min(left);
        left -= amount;
        let posting = postings.entry(who).or_default();
        *posting = posting.saturating_add(amount);
    };
    pay(work.builder, part(fees.0, u64::from(of.builder), 100));
    if let Some(checker) = work.checker {
        pay(checker, part(fees.0, u64::from(of.checker), 100));
    }
    let pot = part(fees.0, u64::from(of.voters), 100);
    let total = work
        .voters
        .iter()
        .fold(0u64, |sum, (_, power)| sum.saturating_add(*power));
    for (voter, power) in &work.voters {
        pay(*voter, part(pot, *power, total));
    }
    let mut rewards: Vec<Reward> = postings
        .into_iter()
        .map(|(who, amount)| (Earner::Validator(who), amount))
        .chain([(Earner::Reserve, left)])
        .map(|(to, amount)| Reward {
            to,
            amount: Amount(amount),
        })
        .collect();
    rewards.retain(|reward| reward.amount != Amount::ZERO);
    rewards
}

/// All of `fees` to the reserve: what a block earns that nobody was observed to work for.
pub fn reserve(fees: Amount) -> Vec<Reward> {
    let all = Reward {
        to: Earner::Reserve,
        amount: fees,
    };
    Vec::from_iter((fees != Amount::ZERO).then_some(all))
}

/// `floor(of · numerator / denominator)` without overflow; zero of nothing. `numerator ≤ denominator`.
fn part(of: u128, numerator: u64, denominator: u64) -> u128 {
    let (numerator, denominator) = (u128::from(numerator.min(denominator)), u128::from(denominator));
    if denominator == 0 {
        return 0;
    }
    let (whole, rest) = (of / denominator, of % denominator);
    // `rest` and `numerator` are below 2^64, so neither product overflows.
    whole * numerator + rest * numerator / denominator
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use selfchain_types::Hash;

    fn key(byte: u8) -> KeyId {
        KeyId(Hash([byte; 32]))
    }

    fn sum(rewards: &[Reward]) -> u128 {
        rewards.iter().map(|reward| reward.amount.0).sum()
    }

    #[test]
    fn a_thousand_is_shared_90_8_1_1() {
        let work = Work {
            builder: key(1),
            voters: vec![(key(2), 30), (key(3), 10)],
            checker: Some(key(3)),
        };
        let to = |who, amount| Reward {
            to: who,
            amount: Amount(amount),
        };
        assert_eq!(
            share(&ForBuilding, &work, Amount(1_000)),
            [
                to(Earner::Validator(key(1)), 900),
                to(Earner::Validator(key(2)), 60),
                to(Earner::Validator(key(3)), 30),
                to(Earner::Reserve, 10),
            ]
        );
        assert_eq!(
            share(&ByPower, &work, Amount(1_000)),
            [
                to(Earner::Validator(key(2)), 750),
                to(Earner::Validator(key(3)), 250)
            ]
        );
        assert_eq!(share(&ForBuilding, &work, Amount(0)), []);
    }

    #[test]
    fn without_voters_their_part_is_the_reserve_s() {
        let work = Work {
            builder: key(1),
            voters: vec![],
            checker: None,
        };
        let rewards = share(&ForBuilding, &work, Amount(100));
        assert_eq!(rewards.last().map(|reward| reward.amount), Some(Amount(10)));
    }

    struct TooMuch(u8, u8, u8);

    impl RewardPolicy for TooMuch {
        fn hundredths(&self) -> Hundredths {
            Hundredths {
                builder: self.0,
                voters: self.1,
                checker: self.2,
            }
        }
    }

    proptest! {
        #[test]
        fn the_sum_is_what_there_is(
            fees in prop_oneof![0..2_000u128, any::<u128>()], voters in prop::collection::vec((any::<u8>(), any::<u64>()), 0..20),
            checker: Option<u8>, parts: (u8, u8, u8),
        ) {
            let work = Work {
                builder: key(7),
                voters: voters.into_iter().map(|(who, power)| (key(who), power)).collect(),
                checker: checker.map(key),
            };
            let policies: [&dyn RewardPolicy; 3] = [&ForBuilding, &ByPower, &TooMuch(parts.0, parts.1, parts.2)];
            for policy in policies {
                let rewards = share(policy, &work, Amount(fees));
                prop_assert_eq!(sum(&rewards), fees);
                prop_assert!(rewards.iter().all(|reward| reward.amount != Amount::ZERO));
            }
        }
    }
}
