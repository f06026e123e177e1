//! The quality of a proposer: the networks that come with this code. How one is evaluated, and what a chain asks of it:
//! [`selfchain_types::quality`].

use super::features::{FEATURES, FEATURES_VERSION, feature};
use selfchain_types::quality::{Layer, Network, QUALITY_MAX};

/// A network that finds everybody equally good: then power alone decides.
pub fn flat() -> Network {
    let layer = Layer {
        inputs: FEATURES,
        shift: 0,
        biases: vec![i32::from(QUALITY_MAX)],
        weights: vec![0; FEATURES],
    };
    Network::new(FEATURES_VERSION, vec![layer]).expect("the shapes of a constant fit")
}

/// The network that a new chain has, unless its genesis names another: its weights are set by hand.
///
/// Its weights are set by hand, not learnt: eight hidden values, each one kind of failing (`HIDDEN`), and an
/// output that starts from `BEST` and loses by each. Every weight has the sign that makes quality fall as a failing
/// grows and rise with merit, so it is monotone by construction. What it weighs how much is judgement, not evidence.
pub fn by_hand() -> Network {
    let mut weights = Vec::with_capacity(HIDDEN.len() * FEATURES);
    for hidden in &HIDDEN {
        let mut row = [0; FEATURES];
        hidden
            .inputs
            .iter()
            .for_each(|(feature, weight)| row[*feature] = *weight);
        weights.extend(row);
    }
    let hidden = Layer {
        inputs: FEATURES,
        shift: HIDDEN_SHIFT,
        biases: HIDDEN.iter().map(|hidden| hidden.bias).collect(),
        weights,
    };
    let output = Layer {
        inputs: HIDDEN.len(),
        shift: OUTPUT_SHIFT,
        biases: vec![BEST],
        weights: HIDDEN.iter().map(|hidden| hidden.output).collect(),
    };
    Network::new(FEATURES_VERSION, vec![hidden, output]).expect("the shapes of a constant fit")
}

struct Hidden {
    bias: i32,
    inputs: &'static [(usize, i8)],
    output: i8,
}

const HIDDEN_SHIFT: u8 = 5;
const OUTPUT_SHIFT: u8 = 4;
/// What the output starts from: 16 times 970.
const BEST: i32 = 15_520;

/// A weight of 32 passes a feature on as it is.
const HIDDEN: [Hidden; 8] = [
    // Proposals that were not decided: in proportion, and steeply from a quarter on.
    Hidden {
        bias: 0,
        inputs: &[(feature::MISSED, 32)],
        output: -60,
    },
    Hidden {
        bias: -31 * 127,
        inputs: &[(feature::MISSED, 127)],
        output: -80,
    },
    // Blocks that took more rounds than the one they were proposed in.
    Hidden {
        bias: 0,
        inputs: &[(feature::ROUNDS, 32)],
        output: -60,
    },
    // Blocks that arrive later than the median validator's: none up to 1.3 times, all from 3.8 times.
    Hidden {
        bias: -72 * 127,
        inputs: &[(feature::LATENESS, 127)],
        output: -127,
    },
    // Votes that came late or never: who is not there to vote is not there to propose.
    Hidden {
        bias: 0,
        inputs: &[(feature::ABSENT, 127), (feature::LATE_VOTES, 8)],
        output: -100,
    },
    // Two signatures, and objections that nobody shares.
    Hidden {
        bias: 0,
        inputs: &[(feature::EQUIVOCATION, 127), (feature::DISAGREEMENT, 16)],
        output: -100,
    },
    // Blocks that leave out what waits.
    Hidden {
        bias: 0,
        inputs: &[(feature::STARVED, 96), (feature::WASTE, 32)],
        output: -127,
    },
    // Merit: proposals made, blocks as full as others', time served. Small, or newcomers could not compete.
    Hidden {
        bias: 8 * 127,
        inputs: &[(feature::MADE, 16), (feature::FILL, 8), (feature::NEWNESS, -8)],
        output: 8,
    },
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::poai::features::{NEUTRAL, Row};
    use proptest::prelude::*;
    use selfchain_types::Hash;
    use selfchain_types::quality::NetworkError;

    fn with(changes: &[(usize, u16)]) -> Row {
        let mut row = NEUTRAL;
        changes.iter().for_each(|(at, value)| row[*at] = *value);
        row
    }

    /// The file and the answers are the same on every machine and build, for ever.
    #[test]
    fn golden_network_and_answers() {
        let network = by_hand();
        assert_eq!(network.id(), Hash::from_hex(GOLDEN_ID).unwrap());
        assert_eq!(Network::decode(&network.to_bytes()).unwrap(), network);
        assert_eq!(network.fits(), Ok(()));
        let golden: Vec<u16> = golden_rows().iter().map(|row| network.quality(row)).collect();
        assert_eq!(golden, GOLDEN_QUALITIES);
    }

    const GOLDEN_ID: &str = "942a095b690e85a8f31c946ae86f44fb416546aa9f9114f27fa780e2e7791488";
    const GOLDEN_QUALITIES: [u16; 8] = [977, 985, 0, 1_000, 700, 255, 0, 0];

    fn golden_rows() -> [Row; 8] {
        [
            NEUTRAL,
            [0; FEATURES],
            [1_000; FEATURES],
            with(&[(feature::MADE, 900), (feature::NEWNESS, 50)]),
            with(&[(feature::MISSED, 300)]),
            with(&[(feature::LATENESS, 750)]),
            with(&[(feature::STARVED, 400), (feature::WASTE, 200)]),
            std::array::from_fn(|at| u16::try_from(at * 79).unwrap()),
        ]
    }

    #[test]
    fn the_dead_the_slow_and_the_starving_lose_most_of_their_quality() {
        let network = by_hand();
        let of = |changes: &[(usize, u16)]| network.quality(&with(changes));
        let healthy = of(&[(feature::MADE, 800), (feature::NEWNESS, 100)]);
        assert!(healthy > 950, "{healthy}");
        assert!(of(&[]) > 950, "a newcomer competes");
        assert_eq!(of(&[(feature::MISSED, 970), (feature::ABSENT, 990)]), 0);
        assert!(
            of(&[(feature::LATENESS, 750)]) < healthy / 3,
            "three times the median"
        );
        assert!(of(&[(feature::STARVED, 600), (feature::WASTE, 300)]) < healthy / 3);
        assert!(of(&[(feature::EQUIVOCATION, 500)]) < healthy / 3);
    }

    #[test]
    fn a_network_of_other_features_does_not_fit() {
        let layer = |inputs| Layer {
            inputs,
            shift: 0,
            biases: vec![0],
            weights: vec![1; inputs],
        };
        let narrow = Network::new(FEATURES_VERSION, vec![layer(3)]).unwrap();
        assert!(matches!(narrow.fits(), Err(NetworkError::Shape { layer: 0, .. })));
        let newer = Network::new(FEATURES_VERSION + 1, vec![layer(FEATURES)]).unwrap();
        assert!(matches!(newer.fits(), Err(NetworkError::Version { .. })));
        let wide = Network::new(FEATURES_VERSION, vec![layer(64)]).unwrap();
        assert!(wide.quality(&NEUTRAL) <= QUALITY_MAX);
    }

    const FAILINGS: [usize; 9] = [
        feature::MISSED,
        feature::ROUNDS,
        feature::LATENESS,
        feature::LATE_VOTES,
        feature::ABSENT,
        feature::DISAGREEMENT,
        feature::EQUIVOCATION,
        feature::WASTE,
        feature::STARVED,
    ];
    const MERITS: [usize; 2] = [feature::MADE, feature::FILL];

    proptest! {
        #[test]
        fn the_network_by_hand_is_monotone(row: [u16; FEATURES], more: [u16; FEATURES], tame in 1u16..60) {
            let network = by_hand();
            // Mostly failings so small that none alone takes all quality.
            let row: Row = row.map(|value| value % 1_001 / tame);
            let before = network.quality(&row);
            for (features, is_failing) in [(&FAILINGS[..], true), (&MERITS[..], false)] {
                for at in features {
                    let mut raised = row;
                    raised[*at] = raised[*at].max(more[*at] % 1_001);
                    let after = network.quality(&raised);
                    prop_assert!(if is_failing { after <= before } else { after >= before }, "feature {}", at);
                }
            }
        }

        #[test]
        fn a_file_of_a_stranger_is_refused_or_gives_a_quality(
            damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4), cut: u16, is_cut: bool, row: [u16; FEATURES],
        ) {
            let mut bytes = by_hand().to_bytes();
            bytes.truncate(bytes.len() - Hash::LEN);
            for (at, byte) in damage {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= byte;
            }
            if is_cut {
                bytes.truncate(usize::from(cut) % bytes.len());
            }
            // Sealed again, or nearly all would fall to the id.
            let id = selfchain_types::hash::MODEL.hash(&bytes);
            bytes.extend_from_slice(id.as_bytes());
            if let Ok(network) = Network::decode(&bytes) {
                prop_assert_eq!(network.to_bytes(), bytes);
                prop_assert!(network.quality(&row) <= QUALITY_MAX);
            }
        }

        #[test]
        fn any_network_gives_a_quality(
            row: [u16; FEATURES], hidden in 1usize..=64, shifts in (0u8..=24, 0u8..=24), seed: u64,
        ) {
            let weights = selfchain_types::hash::MODEL.expand(&seed.to_le_bytes(), 64 * 64 + 64 * 4);
            let layer = |inputs: usize, outputs: usize, shift, from: usize| Layer {
                inputs,
                shift,
                biases: weights[from..from + 4 * outputs].as_chunks::<4>().0.iter()
                    .map(|bias| i32::from_le_bytes(*bias) >> 7).collect(),
                weights: weights[..inputs * outputs].iter().map(|byte| i8::from_le_bytes([*byte])).collect(),
            };
            let layers = vec![layer(FEATURES, hidden, shifts.0, 1), layer(hidden, 1, shifts.1, 9)];
            let network = Network::new(FEATURES_VERSION, layers).unwrap();
            prop_assert!(network.quality(&row) <= QUALITY_MAX);
        }
    }
}
