//! Training on a made-up world: what is learnt, what is refused, and the file that comes out.

use super::*;
use crate::proposer::traces::Trace;
use proptest::prelude::*;
use std::sync::OnceLock;

const MISSED: usize = 0;
const LATENESS: usize = 3;
const EQUIVOCATION: usize = 7;
const STARVED: usize = 10;

/// A made-up world: runs of seven, of whom one misses, one is late and one starves, each more or less.
fn world(runs: u64) -> Traces {
    let mut random = Random::new(7);
    let mut rows = Vec::new();
    for (run, validator) in (0..runs).flat_map(|run| (0..7).map(move |validator| (run, validator))) {
        let part = random.unit();
        let mut features = [0; FEATURES];
        (features[1], features[LATENESS], features[8], features[11]) = (500, 500, 500, 500);
        let thousandths = |part: f64| u16::try_from(whole(part * 1_000.0)).unwrap();
        let usual_us = 30_000;
        let mut wait_us = usual_us;
        let mut efficiency = 1_000;
        match validator {
            1 => {
                features[MISSED] = thousandths(part);
                wait_us += u64::from(thousandths(part)) * 1_000;
            }
            2 => {
                features[LATENESS] = 500 + thousandths(part * 0.4);
                wait_us += u64::from(thousandths(part)) * 60;
            }
            3 => {
                features[STARVED] = thousandths(part);
                efficiency -= u64::from(thousandths(part));
            }
            _ => features[LATENESS] += thousandths(part * 0.02),
        }
        rows.push(Trace {
            run,
            epoch: 1,
            features,
            drawn: 4,
            wait_us: 4 * wait_us,
            usual_us,
            judged: 4,
            efficiency: 4 * efficiency,
            starved: 4 * (1_000 - efficiency),
        });
    }
    Traces { rows }
}

fn options() -> ProposerOptions {
    ProposerOptions {
        passes: 60,
        batch: 16,
        starts: 2,
        temperature: 0.25,
        ..ProposerOptions::default()
    }
}

fn learnt() -> &'static Learnt {
    static LEARNT: OnceLock<Learnt> = OnceLock::new();
    LEARNT.get_or_init(|| train(&world(100), &[("flat", flat())], &options(), &mut |_, _| ()).unwrap())
}

fn flat() -> Network {
    let layer = Layer {
        inputs: FEATURES,
        shift: 0,
        biases: vec![1_000],
        weights: vec![0; FEATURES],
    };
    Network::new(FEATURES_VERSION, vec![layer]).unwrap()
}

fn figures(set: &SetReport, name: &str) -> Figures {
    set.figures.iter().find(|(one, _)| one == name).unwrap().1
}

/// The same rows and seed give the same file, bit for bit.
#[test]
fn golden_network_of_a_tiny_world() {
    let again = train(&world(100), &[], &options(), &mut |_, _| ()).unwrap();
    assert_eq!(again.network, learnt().network);
    assert_eq!(learnt().network.id().to_hex(), GOLDEN_ID);
    let other = ProposerOptions { seed: 2, ..options() };
    let other = train(&world(100), &[], &other, &mut |_, _| ()).unwrap();
    assert_ne!(other.network, learnt().network);
}

const GOLDEN_ID: &str = "68c2cacb7a8de6efd865ee440aac0b345d2880bb028cc1bed116e8f842befd25";

#[test]
fn who_costs_more_gets_less_and_draws_cost_less_than_without() {
    let network = &learnt().network;
    let mut healthy = [0; FEATURES];
    (healthy[1], healthy[LATENESS], healthy[8]) = (500, 505, 500);
    let of = |feature: usize, value: u16| {
        let mut row = healthy;
        row[feature] = value;
        network.quality(&row)
    };
    assert!(of(MISSED, 0) > 600, "{}", of(MISSED, 0));
    assert!(of(MISSED, 500) < 150, "{}", of(MISSED, 500));
    assert!(of(LATENESS, 800) < 300, "{}", of(LATENESS, 800));
    assert!(of(STARVED, 800) < 200, "{}", of(STARVED, 800));
    assert!(
        of(EQUIVOCATION, 1_000) < of(EQUIVOCATION, 0),
        "what no trace shows still counts"
    );
    let judged = &learnt().report.sets[2];
    let (trained, flat) = (figures(judged, "trained"), figures(judged, "flat"));
    assert!(trained.draw_cost < flat.draw_cost / 4.0, "{trained:?} {flat:?}");
    assert!(trained.loss < flat.loss / 10.0, "{trained:?} {flat:?}");
    assert!(
        learnt().report.rounding_max < 0.08,
        "{}",
        learnt().report.rounding_max
    );
    let floats = figures(judged, "trained, in floats");
    assert!(
        (floats.loss - trained.loss).abs() < 0.05,
        "{trained:?} {floats:?}"
    );
}

#[test]
fn draws_made_won_and_newness_are_not_learnt() {
    let network = &learnt().network;
    for (row, at) in [1, 11, 12]
        .into_iter()
        .flat_map(|at| [([0; FEATURES], at), ([300; FEATURES], at)])
    {
        let mut other = row;
        other[at] = 1_000;
        assert_eq!(network.quality(&row), network.quality(&other), "feature {at}");
    }
}

#[test]
fn progress_is_told_and_what_teaches_nothing_is_refused_by_name() {
    let mut told = Vec::new();
    let few = ProposerOptions {
        passes: 2,
        ..options()
    };
    train(&world(10), &[], &few, &mut |pass, of| told.push((pass, of))).unwrap();
    assert_eq!(told, [(1, 4), (2, 4), (3, 4), (4, 4)]);
    let refused = |traces: &Traces, options: &ProposerOptions| {
        train(traces, &[], options, &mut |_, _| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&Traces::default(), &few).starts_with("the fit set has no row"));
    assert!(refused(&world(3), &few).starts_with("the stop set has no row"));
    assert!(refused(&world(4), &few).starts_with("the judge set has no row"));
    let idle = Traces {
        rows: world(10)
            .rows
            .iter()
            .map(|row| Trace { drawn: 0, ..*row })
            .collect(),
    };
    assert!(refused(&idle, &few).starts_with("the fit set has no row"));
    let with = |change: fn(&mut ProposerOptions)| {
        let mut options = few;
        change(&mut options);
        refused(&world(10), &options)
    };
    assert!(with(|options| options.hidden = 65).contains("hidden"));
    assert!(with(|options| options.passes = 0).contains("passes"));
    assert!(with(|options| options.batch = 0).contains("batch"));
    assert!(with(|options| options.starts = 0).contains("starts"));
    assert!(with(|options| options.temperature = 0.0).contains("temperature"));
    assert!(with(|options| options.learning_rate = f64::NAN).contains("learning_rate"));
}

proptest! {
    #[test]
    fn what_is_written_is_monotone(row: [u16; FEATURES], more: [u16; FEATURES], tame in 1u16..60) {
        let network = &learnt().network;
        prop_assert_eq!(network.fits(), Ok(()));
        let row = row.map(|value| value % 1_001 / tame);
        let before = network.quality(&row);
        for (at, (name, sense)) in CATALOGUE.into_iter().enumerate() {
            let mut raised = row;
            raised[at] = raised[at].max(more[at] % 1_001);
            let after = network.quality(&raised);
            match sense {
                Sense::Failing => prop_assert!(after <= before, "{}", name),
                Sense::Merit => prop_assert!(after >= before, "{}", name),
                Sense::Free => {}
            }
        }
    }
}
