//! Which accounts pay which, and how much: an endless, repeatable stream of transfers with a named contention.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};

use crate::rate::{float, whole};

/// An endless iterator of transfers between account *indices* `0..accounts`. The same seed, accounts and
/// profile give the same transfers on every machine with the same version of `rand_distr`.
#[derive(Clone, Debug)]
pub struct Workload {
    rng: Xoshiro256PlusPlus,
    accounts: u64,
    picker: Picker,
    amounts: LogNormal<f64>,
}

/// One transfer, by index of account. Debit and credit always differ, the amount is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadTransfer {
    /// Index of the account that pays.
    pub debit: u64,
    /// Index of the account that is paid.
    pub credit: u64,
    /// In the asset's smallest unit, 1 to [`AMOUNT_MAX`].
    pub amount: u64,
}

/// How transfers crowd on accounts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Profile {
    /// Every account equally often.
    Uniform,
    /// The k-th busiest account in proportion to 1/k^s, on both sides (Zipf); popular accounts are scattered
    /// over the indices, or neighbours in memory would make skew look cheaper than it is.
    Zipf {
        /// Exponent, at least 0.
        s: f64,
    },
    /// One account is a side of this share of all transfers, the rest is uniform.
    Hot {
        /// 0 to 1.
        share: f64,
    },
}

/// Why a workload cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkloadError {
    /// A transfer needs two accounts, and indices must fit the scattering.
    #[error("{got} accounts; a workload takes 2 to {ACCOUNTS_MAX}")]
    Accounts {
        /// Number asked for.
        got: u64,
    },
    /// Exponent or share outside its range.
    #[error("profile {got} is outside its range")]
    Range {
        /// The profile as given.
        got: String,
    },
    /// No such profile.
    #[error("no profile {got:?}; there are uniform, zipf[:exponent], hot[:share]")]
    Unknown {
        /// The text.
        got: String,
    },
}

/// Most accounts of a workload: scattering multiplies two indices in 64 bits.
pub const ACCOUNTS_MAX: u64 = 1 << 32;

/// Largest amount: the tail of the log-normal is cut here, so that opening balances can be planned.
pub const AMOUNT_MAX: u64 = 10_000_000;

impl Profile {
    /// The usual skew of benchmarks (YCSB): exponent 0.99.
    pub const ZIPF: Self = Self::Zipf { s: 0.99 };
    /// Half of all transfers meet in one account.
    pub const HOT: Self = Self::Hot { share: 0.5 };
}

impl Workload {
    /// Starts the stream.
    ///
    /// # Errors
    /// When there are fewer than two or more than [`ACCOUNTS_MAX`] accounts, or the profile's number is out of range.
    pub fn new(accounts: u64, profile: Profile, seed: u64) -> Result<Self, WorkloadError> {
        if !(2..=ACCOUNTS_MAX).contains(&accounts) {
            return Err(WorkloadError::Accounts { got: accounts });
        }
        let range = || WorkloadError::Range {
            got: profile.to_string(),
        };
        let picker = match profile {
            Profile::Uniform => Picker::Uniform,
            Profile::Hot { share } if (0.0..=1.0).contains(&share) => Picker::Hot { share },
            Profile::Zipf { s } if s.is_finite() => Picker::Zipf {
                rank: Zipf::new(float(accounts), s).map_err(|_| range())?,
                stride: coprime_stride(accounts),
            },
            Profile::Hot { .. } | Profile::Zipf { .. } => return Err(range()),
        };
        let amounts = LogNormal::new(AMOUNT_MEDIAN.ln(), AMOUNT_SIGMA).map_err(|_| range())?;
        Ok(Self {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            accounts,
            picker,
            amounts,
        })
    }

    /// Number of accounts that indices run over.
    #[must_use]
    pub fn accounts(&self) -> u64 {
        self.accounts
    }

    fn pick(&mut self) -> u64 {
        match &self.picker {
            Picker::Uniform | Picker::Hot { .. } => self.rng.random_range(0..self.accounts),
            Picker::Zipf { rank, stride } => {
                let rank = whole(rank.sample(&mut self.rng)).clamp(1, self.accounts) - 1;
                rank * stride % self.accounts
            }
        }
    }

    fn pick_other_than(&mut self, taken: u64) -> u64 {
        for _ in 0..REDRAW_MAX {
            let account = self.pick();
            if account != taken {
                return account;
            }
        }
        (taken + 1) % self.accounts
    }
}

impl Iterator for Workload {
    type Item = WorkloadTransfer;

    fn next(&mut self) -> Option<WorkloadTransfer> {
        let hot = match self.picker {
            Picker::Hot { share } => self.rng.random_bool(share),
            Picker::Uniform | Picker::Zipf { .. } => false,
        };
        let first = if hot { HOT_ACCOUNT } else { self.pick() };
        let second = self.pick_other_than(first);
        // The hot account pays and is paid equally often, or it would only fill or only empty.
        let (debit, credit) = if hot && self.rng.random_bool(0.5) {
            (second, first)
        } else {
            (first, second)
        };
        let amount = whole(self.amounts.sample(&mut self.rng)).clamp(1, AMOUNT_MAX);
        Some(WorkloadTransfer {
            debit,
            credit,
            amount,
        })
    }
}

impl FromStr for Profile {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        let unknown = || WorkloadError::Unknown { got: text.to_owned() };
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, number) {
            ("uniform", None) => Ok(Self::Uniform),
            ("zipf", None) => Ok(Self::ZIPF),
            ("zipf", Some(s)) => Ok(Self::Zipf { s }),
            ("hot", None) => Ok(Self::HOT),
            ("hot", Some(share)) => Ok(Self::Hot { share }),
            _ => Err(unknown()),
        }
    }
}

impl Display for Profile {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => write!(out, "uniform"),
            Self::Zipf { s } => write!(out, "zipf:{s}"),
            Self::Hot { share } => write!(out, "hot:{share}"),
        }
    }
}

#[derive(Clone, Debug)]
enum Picker {
    Uniform,
    Zipf { rank: Zipf<f64>, stride: u64 },
    Hot { share: f64 },
}

/// A step near the golden section of `accounts` that visits every index once: multiplying ranks by it modulo
/// `accounts` is a permutation that sets neighbours far apart.
fn coprime_stride(accounts: u64) -> u64 {
    let mut stride = whole(float(accounts) * GOLDEN_SECTION).max(1);
    // Ends at `accounts - 1` at the latest: neighbouring numbers have no common divisor.
    while greatest_common_divisor(accounts, stride) != 1 {
        stride += 1;
    }
    stride
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

const HOT_ACCOUNT: u64 = 0;
const REDRAW_MAX: usize = 8;
const GOLDEN_SECTION: f64 = 0.618_033_988_749_895;
/// 25.00 of a currency with two decimals.
const AMOUNT_MEDIAN: f64 = 2_500.0;
/// One in a hundred amounts is 33 times the median.
const AMOUNT_SIGMA: f64 = 1.5;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    const DRAWS: usize = 50_000;

    fn draw(accounts: u64, profile: Profile) -> Vec<WorkloadTransfer> {
        Workload::new(accounts, profile, 42)
            .unwrap()
            .take(DRAWS)
            .collect()
    }

    /// How often each account is a side, busiest first.
    fn sides(accounts: u64, transfers: &[WorkloadTransfer]) -> Vec<usize> {
        let mut times = vec![0; usize::try_from(accounts).unwrap()];
        for transfer in transfers {
            times[transfer.debit as usize] += 1;
            times[transfer.credit as usize] += 1;
        }
        times.sort_unstable_by_key(|&times| std::cmp::Reverse(times));
        times
    }

    #[test]
    fn every_profile_yields_two_accounts_and_an_amount() {
        for profile in [
            Profile::Uniform,
            Profile::ZIPF,
            Profile::HOT,
            Profile::Zipf { s: 3.0 },
        ] {
            for accounts in [2, 3, 1_000] {
                for transfer in draw(accounts, profile) {
                    assert_ne!(transfer.debit, transfer.credit);
                    assert!(transfer.debit < accounts && transfer.credit < accounts);
                    assert!((1..=AMOUNT_MAX).contains(&transfer.amount));
                }
            }
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        let first = |seed| {
            Workload::new(1_000, Profile::ZIPF, seed)
                .unwrap()
                .take(100)
                .collect::<Vec<_>>()
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn uniform_crowds_nowhere() {
        let busiest = sides(1_000, &draw(1_000, Profile::Uniform))[0];
        // 100 expected, standard deviation 10.
        assert!(
            (100..160).contains(&busiest),
            "busiest account has {busiest} sides"
        );
    }

    #[test]
    fn zipf_ranks_fall_like_one_over_k() {
        let times = sides(1_000, &draw(1_000, Profile::ZIPF));
        let (first, tenth) = (times[0] as f64, times[9] as f64);
        // 10^0.99 = 9.77; redrawing equal sides flattens the top by a few percent.
        assert!(
            (7.0..11.0).contains(&(first / tenth)),
            "1st/10th = {}",
            first / tenth
        );
        assert!(
            first / DRAWS as f64 > 0.2,
            "the first is a side of {first} of {DRAWS}"
        );
    }

    #[test]
    fn popular_accounts_are_not_neighbours() {
        let mut times = vec![0; 1_000];
        for transfer in draw(1_000, Profile::ZIPF) {
            times[transfer.debit as usize] += 1;
        }
        let mut order: Vec<usize> = (0..1_000).collect();
        order.sort_unstable_by_key(|&account| std::cmp::Reverse(times[account]));
        assert!(order[0].abs_diff(order[1]) > 100, "{:?}", &order[..4]);
    }

    #[test]
    fn scattering_loses_no_account() {
        for accounts in [2, 3, 10, 997, 1_000, 65_536] {
            let stride = coprime_stride(accounts);
            let mut hit = vec![false; accounts as usize];
            (0..accounts).for_each(|rank| hit[(rank * stride % accounts) as usize] = true);
            assert!(
                hit.into_iter().all(|hit| hit),
                "{accounts} accounts, stride {stride}"
            );
        }
    }

    #[test]
    fn the_hot_account_meets_its_share_and_pays_as_often_as_it_is_paid() {
        let transfers = draw(1_000, Profile::Hot { share: 0.3 });
        let pays = transfers
            .iter()
            .filter(|transfer| transfer.debit == HOT_ACCOUNT)
            .count() as f64;
        let paid = transfers
            .iter()
            .filter(|transfer| transfer.credit == HOT_ACCOUNT)
            .count() as f64;
        assert!(((pays + paid) / DRAWS as f64 - 0.3).abs() < 0.02);
        assert!((pays / paid - 1.0).abs() < 0.1);
    }

    #[test]
    fn amounts_have_their_median_and_a_long_tail() {
        let mut amounts: Vec<u64> = draw(10, Profile::Uniform)
            .iter()
            .map(|transfer| transfer.amount)
            .collect();
        amounts.sort_unstable();
        let median = amounts[DRAWS / 2] as f64;
        assert!((median / AMOUNT_MEDIAN - 1.0).abs() < 0.05, "median {median}");
        assert!(amounts[DRAWS * 99 / 100] as f64 > 25.0 * median);
    }

    #[test]
    fn profiles_read_as_they_print() {
        for text in ["uniform", "zipf:0.99", "hot:0.25"] {
            assert_eq!(text.parse::<Profile>().unwrap().to_string(), text);
        }
        assert_eq!("zipf".parse::<Profile>(), Ok(Profile::ZIPF));
        for text in ["", "zipf:", "zipf:x", "uniform:1", "skew"] {
            assert!(
                matches!(text.parse::<Profile>(), Err(WorkloadError::Unknown { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_what_it_cannot_draw() {
        let check = |accounts, profile| Workload::new(accounts, profile, 0).err();
        assert_eq!(
            check(1, Profile::Uniform),
            Some(WorkloadError::Accounts { got: 1 })
        );
        assert!(matches!(
            check(ACCOUNTS_MAX + 1, Profile::Uniform),
            Some(WorkloadError::Accounts { .. })
        ));
        for profile in [
            Profile::Zipf { s: -1.0 },
            Profile::Zipf { s: f64::NAN },
            Profile::Zipf { s: f64::INFINITY },
            Profile::Hot { share: 1.1 },
            Profile::Hot { share: f64::NAN },
        ] {
            assert!(
                matches!(check(10, profile), Some(WorkloadError::Range { .. })),
                "{profile}"
            );
        }
    }
}
