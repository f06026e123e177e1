//! Measures a network in fixed point: nanoseconds a row on one core, by the size of the batch.
//!
//! The weights are random, of about the size that training gives; they change nothing about the speed.

use selfchain_ai::features::{FEATURES, Row};
use selfchain_ai::model::Predict;
use selfchain_ai::network::{Encoding, FixedNetwork, Layer, Member, Network};
use std::error::Error;
use std::time::Instant;

const ROWS: usize = 8_192;
const REPEATS: usize = 200;
const QUANTILES: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut state = 1;
    let rows: Vec<Row> = (0..ROWS).map(|_| row(&mut state)).collect();
    let encoding = Encoding::learn(&rows, QUANTILES)?;
    for (members, first, second) in [(1, 64, 32), (1, 128, 32), (3, 64, 32), (3, 32, 16)] {
        let columns = encoding.columns();
        let stacks = (0..members).map(|_| Member {
            first: layer(&mut state, columns, first),
            second: layer(&mut state, first, second),
            last: layer(&mut state, second, 1),
        });
        let network = Network::new(encoding.clone(), rows[0], stacks.collect())?;
        let fixed = FixedNetwork::new(&network)?;
        for batch in [1, 32, 1_024] {
            let ns = nanoseconds(&fixed, &rows, batch);
            println!("{members} x {columns}-{first}-{second}-1, batch {batch}: {ns} ns a row");
        }
    }
    Ok(())
}

/// The least over the repeats: whatever else runs on the machine only adds.
fn nanoseconds(network: &FixedNetwork, rows: &[Row], batch: usize) -> u128 {
    let mut out = Vec::with_capacity(rows.len());
    let times = (0..REPEATS).map(|_| {
        out.clear();
        let begun = Instant::now();
        rows.chunks(batch)
            .for_each(|rows| network.log_odds(rows, &[], &mut out));
        begun.elapsed().as_nanos()
    });
    times.min().unwrap_or(0) / u128::try_from(rows.len()).unwrap_or(1)
}

fn row(state: &mut u64) -> Row {
    Row(core::array::from_fn(|feature| {
        let (min, max) = (i64::from(FEATURES[feature].min), i64::from(FEATURES[feature].max));
        let width = (max - min).unsigned_abs() + 1;
        let value = i64::try_from(next(state) % width).map_or(min, |offset| min + offset);
        i32::try_from(value).unwrap_or(0)
    }))
}

fn layer(state: &mut u64, inputs: usize, outputs: usize) -> Layer {
    let mut weight = || f32::from(u16::try_from(next(state) & 0xffff).unwrap_or(0)) / 65_536.0 - 0.5;
    Layer {
        inputs,
        outputs,
        weights: (0..inputs * outputs).map(|_| weight()).collect(),
        biases: (0..outputs).map(|_| weight()).collect(),
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 31
}
