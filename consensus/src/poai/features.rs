//! The features of a proposer: what the quality network sees, thirteen numbers from 0 to 1,000.
//!
//! A rate is `1000 · part / (whole + 1)`: one clean event is taken as given, so that a single failing of a newcomer is
//! not all that is known of it. What is compared with others is `1000 · own / (own + others)`: 500 is as they are.

use super::median::weighted_median;
use super::tally::{ONE, Tally};

pub use selfchain_types::quality::{FEATURES, FEATURES_VERSION, Row};

/// Positions in a [`Row`].
pub mod feature {
    /// Proposals that were not decided, of all it was to make.
    pub const MISSED: usize = 0;
    /// Proposals decided: `1000 · made / (made + 8)`.
    pub const MADE: usize = 1;
    /// Rounds that its blocks took beyond their own, a block.
    pub const ROUNDS: usize = 2;
    /// Median time until its blocks were there, against the median validator.
    pub const LATENESS: usize = 3;
    /// Votes that came too late for the certificate.
    pub const LATE_VOTES: usize = 4;
    /// Votes that never came.
    pub const ABSENT: usize = 5;
    /// Votes whose verdict most power did not share.
    pub const DISAGREEMENT: usize = 6;
    /// Offences: half of all for each.
    pub const EQUIVOCATION: usize = 7;
    /// How full its blocks were, against the median validator.
    pub const FILL: usize = 8;
    /// What its blocks lacked of the reference.
    pub const WASTE: usize = 9;
    /// What its blocks starved.
    pub const STARVED: usize = 10;
    /// Draws won, against an even share of them.
    pub const WON: usize = 11;
    /// How new it is: `1000 / (1 + epochs)`.
    pub const NEWNESS: usize = 12;
}

/// The features of who has done nothing yet.
pub const NEUTRAL: Row = {
    let mut row = [0; FEATURES];
    row[feature::LATENESS] = 500;
    row[feature::FILL] = 500;
    row[feature::WON] = 500;
    row[feature::NEWNESS] = 1_000;
    row
};

/// Proposals at which half of [`feature::MADE`] is reached.
const MADE_HALF: u64 = 8 * ONE;
/// Milliseconds added to both sides of the comparison of lateness: below this, differences are noise.
const LATENESS_NOISE_MS: u64 = 20;
/// Thousandths added to both sides of the comparison of fill.
const FILL_NOISE: u64 = 50;
/// What one offence counts.
const OFFENCE: u32 = 500;

/// A validator, as features are made of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What is known of it.
    pub tally: &'a Tally,
    /// Its power.
    pub power: u64,
    /// Offences, for ever.
    pub offences: u32,
    /// Epochs since it joined.
    pub epochs: u64,
}

/// The features of each of a set.
pub fn rows(set: &[Subject<'_>]) -> Vec<Row> {
    let all = Others::of(set);
    set.iter().map(|subject| row(subject, &all)).collect()
}

/// What others are like.
struct Others {
    received_ms: u64,
    fill: u64,
    won: u64,
}

impl Others {
    fn of(set: &[Subject<'_>]) -> Self {
        let median = |sum: fn(&Tally) -> u64, count: fn(&Tally) -> u64| {
            let told: Vec<(u32, u64)> = set
                .iter()
                .filter(|subject| count(subject.tally) > 0)
                .map(|subject| (mean(sum(subject.tally), count(subject.tally)), subject.power))
                .collect();
            u64::from(weighted_median(&told).unwrap_or(0))
        };
        let won = set
            .iter()
            .fold(0u64, |sum, subject| sum.saturating_add(subject.tally.won));
        Self {
            received_ms: median(|tally| tally.received, |tally| tally.judged),
            fill: median(|tally| tally.fill, |tally| tally.made),
            won: won
                .checked_div(selfchain_types::codec::wide(set.len()))
                .unwrap_or(0),
        }
    }
}

fn row(subject: &Subject<'_>, others: &Others) -> Row {
    let tally = subject.tally;
    let mut row = NEUTRAL;
    row[feature::MISSED] = rate(tally.missed, tally.made.saturating_add(tally.missed));
    row[feature::MADE] = thousandths(tally.made, tally.made.saturating_add(MADE_HALF));
    row[feature::ROUNDS] = rate(tally.rounds, tally.rounds.saturating_add(tally.made));
    row[feature::LATE_VOTES] = rate(tally.late, tally.voted.saturating_add(tally.absent));
    row[feature::ABSENT] = rate(tally.absent, tally.voted.saturating_add(tally.absent));
    row[feature::DISAGREEMENT] = rate(tally.disagreed, tally.opinions);
    row[feature::EQUIVOCATION] = clip(u64::from(subject.offences.saturating_mul(OFFENCE)));
    if tally.judged > 0 {
        let received_ms = u64::from(mean(tally.received, tally.judged));
        row[feature::LATENESS] = against(received_ms, others.received_ms, LATENESS_NOISE_MS);
        row[feature::WASTE] = 1_000 - clip(u64::from(mean(tally.efficiency, tally.judged)));
        row[feature::STARVED] = clip(u64::from(mean(tally.starved, tally.judged)));
    }
    if tally.made > 0 {
        row[feature::FILL] = against(u64::from(mean(tally.fill, tally.made)), others.fill, FILL_NOISE);
    }
    row[feature::WON] = against(tally.won, others.won, ONE);
    row[feature::NEWNESS] = thousandths(1, subject.epochs.saturating_add(1));
    row
}

/// The mean of a sum over a count, rounded down.
fn mean(sum: u64, count: u64) -> u32 {
    u32::try_from(sum.checked_div(count).unwrap_or(0)).unwrap_or(u32::MAX)
}

/// `1000 · part / (whole + ONE)`.
fn rate(part: u64, whole: u64) -> u16 {
    thousandths(part, whole.saturating_add(ONE))
}

/// `1000 · (own + noise) / (own + others + 2 · noise)`.
fn against(own: u64, others: u64, noise: u64) -> u16 {
    let own = own.saturating_add(noise);
    thousandths(own, own.saturating_add(others).saturating_add(noise))
}

/// `1000 · part / whole`, at most 1,000; zero of nothing.
fn thousandths(part: u64, whole: u64) -> u16 {
    let exact = (u128::from(part) * 1_000)
        .checked_div(u128::from(whole))
        .unwrap_or(0);
    clip(u64::try_from(exact).unwrap_or(u64::MAX))
}

fn clip(value: u64) -> u16 {
    u16::try_from(value.min(1_000)).unwrap_or(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poai::tally::add;
    use proptest::prelude::*;

    fn subject(tally: &Tally) -> Subject<'_> {
        Subject {
            tally,
            power: 10,
            offences: 0,
            epochs: 0,
        }
    }

    #[test]
    fn who_has_done_nothing_is_neutral() {
        assert_eq!(rows(&[subject(&Tally::default())]), [NEUTRAL]);
        assert!(rows(&[]).is_empty());
    }

    #[test]
    fn features_say_what_was_done() {
        let mut good = Tally::default();
        let mut bad = Tally::default();
        for tally in [&mut good, &mut bad] {
            add(&mut tally.made, 9);
            add(&mut tally.judged, 9);
            add(&mut tally.efficiency, 9 * 1_000);
            add(&mut tally.received, 9 * 80);
            add(&mut tally.fill, 9 * 450);
            add(&mut tally.voted, 99);
            add(&mut tally.won, 10);
        }
        add(&mut bad.missed, 10);
        add(&mut bad.rounds, 9);
        add(&mut bad.received, 9 * 200);
        add(&mut bad.starved, 9 * 300);
        bad.efficiency /= 2;
        let set = [
            subject(&good),
            subject(&good),
            Subject {
                offences: 1,
                epochs: 9,
                ..subject(&bad)
            },
        ];
        let rows = rows(&set);
        assert_eq!(rows[0], [0, 529, 0, 500, 0, 0, 0, 0, 500, 0, 0, 500, 1_000]);
        assert_eq!(
            rows[2],
            [500, 529, 473, 750, 0, 0, 0, 500, 500, 500, 300, 500, 100]
        );
    }

    proptest! {
        #[test]
        fn features_stay_in_their_range(
            counts in prop::collection::vec(any::<[u64; 16]>(), 0..6), offences: u32, epochs: u64, power: u64,
        ) {
            let tallies: Vec<Tally> = counts.iter().map(|counts| {
                let bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
                Tally::decode(&mut selfchain_types::codec::Reader::new("tally", &bytes)).unwrap_or_default()
            }).collect();
            let set: Vec<Subject<'_>> = tallies.iter().map(|tally| Subject { tally, power, offences, epochs }).collect();
            for row in rows(&set) {
                prop_assert!(row.iter().all(|value| *value <= 1_000), "{:?}", row);
            }
        }
    }
}
