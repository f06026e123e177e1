//! A trained network in fixed point: integers only, the same bits on every processor.
//!
//! An encoded row is full bins, one that is partly filled, and empty ones. So the first layer needs no matrix
//! product: for every feature the table holds the sums of the weights of the bins left of each edge, and a value
//! takes the sums at the edge below it and a fraction of the step to the next. Weights become integers once, at
//! load, by additions, multiplications by powers of two and rounding, which IEEE 754 defines to the last bit; every
//! sum that scoring can reach is bounded there too, so that nothing can overflow later.

use super::encode::EDGES_MAX;
use super::weights::{Layer, Member, Network};
use crate::features::Row;
use crate::model::Predict;
use crate::score::{LOG_ODDS_MAX, LogOdds};
use selfchain_types::Operation;
use selfchain_types::codec::{index, narrow};
use thiserror::Error;

/// Why a network cannot be put into fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FixedError {
    /// A layer whose weights differ too much in size for any scale.
    #[error("the {layer} layer fits no scale of fixed point")]
    Scale {
        /// Which layer.
        layer: &'static str,
    },
}

/// A network in fixed point.
///
/// What each unit counts in is a power of two of its own: the finest at which its sum stays within 16 bits (first
/// layer) or 32 bits (second) for every row there can be.
#[derive(Clone, Debug)]
pub struct FixedNetwork {
    features: Vec<FixedFeature>,
    members: Vec<FixedMember>,
    last_bias: i64,
    last_shift: u32,
    typical: Row,
}

/// Where the bins of one feature are, and where its rows of the table begin.
#[derive(Clone, Debug)]
struct FixedFeature {
    feature: usize,
    least: i32,
    greatest: i32,
    /// The edges after the first, filled up with what no value reaches: as many as are not above a value is its bin.
    inner: [i32; EDGES_MAX],
    lows: [i32; EDGES_MAX],
    /// 2^31 over the width of each bin; 0 right of the last edge.
    reciprocals: [i32; EDGES_MAX],
    table_row: u32,
}

/// One stack of layers. Units come in groups of [`LANES`], the last one filled up with zeros.
#[derive(Clone, Debug)]
struct FixedMember {
    groups: Vec<Group>,
    second: Vec<SecondUnit>,
}

/// [`LANES`] units of the first layer.
#[derive(Clone, Debug)]
struct Group {
    biases: Lanes,
    table: Vec<Cell>,
}

/// The sums at one edge, and twice the steps to the next edge: multiplied by a fraction in 2^-15, the upper half of
/// the product is that fraction of the step.
#[derive(Clone, Copy, Debug)]
struct Cell {
    sums: Lanes,
    steps: Lanes,
}

/// One unit of the second layer, and what it weighs in the log-odds.
#[derive(Clone, Debug)]
struct SecondUnit {
    weights: Vec<Lanes>,
    bias: i32,
    last_weight: i64,
}

type Lanes = [i16; LANES];

/// Where a row falls in one feature: a row of the table, and how much of the bin is filled, in 2^-15.
#[derive(Clone, Copy, Default)]
struct Position {
    table_row: u32,
    filled: i16,
}

/// Units that are computed at once.
const LANES: usize = 64;
/// Rows that are computed at once: their sums, and one feature's part of the table, fit the first-level cache.
const BLOCK: usize = 64;
/// Scales of the first layer, as exponents of two.
const FIRST_EXPONENTS: (i32, i32) = (-32, 14);
/// Scales of the second layer.
const SECOND_EXPONENTS: (i32, i32) = (-64, 40);
/// Bits behind the point of [`LogOdds`].
const LOG_ODDS_BITS: i32 = 16;
/// Bits that the last sum has below those of [`LogOdds`], at most.
const LAST_SHIFT_MAX: i32 = 30;
/// What the last sum stays below, so that rounding cannot overflow it either.
const LAST_SUM_MAX: i128 = 1 << 62;

impl FixedNetwork {
    /// Puts a network into fixed point.
    pub fn new(network: &Network) -> Result<Self, FixedError> {
        let features = features(network);
        let mut stacks = Vec::new();
        for member in network.members() {
            stacks.push(Stack::new(network, member)?);
        }
        let last = Last::new(network, &stacks)?;
        let members = stacks
            .iter()
            .zip(&last.weights)
            .map(|(stack, weights)| stack.packed(weights));
        Ok(Self {
            members: members.collect(),
            features,
            last_bias: last.bias,
            last_shift: last.shift,
            typical: *network.typical(),
        })
    }

    fn block(&self, rows: &[Row], scratch: &mut Scratch, out: &mut Vec<LogOdds>) {
        let count = rows.len().min(BLOCK);
        for (feature, positions) in self.features.iter().zip(&mut scratch.positions) {
            for (position, row) in positions.iter_mut().zip(rows) {
                *position = feature.position(row);
            }
        }
        scratch.totals = [self.last_bias; BLOCK];
        for member in &self.members {
            for (group, sums) in member.groups.iter().zip(&mut scratch.sums) {
                group.sum(&scratch.positions, count, sums);
            }
            member.finish(&scratch.sums, &mut scratch.totals[..count]);
        }
        let totals = &scratch.totals[..count];
        out.extend(totals.iter().map(|total| log_odds(*total, self.last_shift)));
    }

    fn scratch(&self) -> Scratch {
        let groups = self.members.iter().map(|member| member.groups.len()).max();
        Scratch {
            positions: vec![[Position::default(); BLOCK]; self.features.len()],
            sums: vec![[[0; LANES]; BLOCK]; groups.unwrap_or(0)],
            totals: [0; BLOCK],
        }
    }
}

impl Predict for FixedNetwork {
    fn log_odds(&self, rows: &[Row], _: &[&Operation], out: &mut Vec<LogOdds>) {
        let mut scratch = self.scratch();
        for block in rows.chunks(BLOCK) {
            self.block(block, &mut scratch, out);
        }
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn typical(&self) -> &Row {
        &self.typical
    }
}

/// What a block needs while it is computed.
struct Scratch {
    positions: Vec<[Position; BLOCK]>,
    sums: Vec<[Lanes; BLOCK]>,
    totals: [i64; BLOCK],
}

impl FixedFeature {
    #[inline]
    fn position(&self, row: &Row) -> Position {
        let value = row.0[self.feature].clamp(self.least, self.greatest);
        // The lint's way to count would stop at the first edge above, which no processor does for eight at once.
        let bin = self
            .inner
            .iter()
            .fold(0_u32, |bin, edge| bin.wrapping_add(u32::from(*edge <= value)));
        let at = index(bin).min(EDGES_MAX - 1);
        let passed = value.wrapping_sub(self.lows[at]);
        Position {
            table_row: self.table_row.wrapping_add(bin),
            // Less than 2^31: what is passed is at most the width of the bin.
            filled: high_half(passed.wrapping_mul(self.reciprocals[at])),
        }
    }
}

impl Group {
    /// The sums of a block's first `count` rows. They cannot overflow: [`FirstUnit::new`] has bounded them.
    fn sum(&self, positions: &[[Position; BLOCK]], count: usize, sums: &mut [Lanes; BLOCK]) {
        let sums = &mut sums[..count];
        sums.fill(self.biases);
        for positions in positions {
            for (sums, position) in sums.iter_mut().zip(positions) {
                if let Some(cell) = self.table.get(index(position.table_row)) {
                    cell.add(position.filled, sums);
                }
            }
        }
        for sum in sums.iter_mut().flatten() {
            *sum = (*sum).max(0);
        }
    }
}

impl Cell {
    #[inline]
    fn add(&self, filled: i16, sums: &mut Lanes) {
        for lane in 0..LANES {
            let product = i32::from(self.steps[lane]).wrapping_mul(i32::from(filled));
            let part = self.sums[lane].wrapping_add(high_half(product));
            sums[lane] = sums[lane].wrapping_add(part);
        }
    }
}

impl FixedMember {
    /// Adds what the member says of each row to the totals. Nothing overflows: [`SecondUnit::new`] and
    /// [`Last::new`] have bounded it.
    fn finish(&self, sums: &[[Lanes; BLOCK]], totals: &mut [i64]) {
        for (row, total) in totals.iter_mut().enumerate() {
            for unit in &self.second {
                let mut sum = unit.bias;
                for (weights, sums) in unit.weights.iter().zip(sums) {
                    sum = sum.wrapping_add(product(weights, &sums[row]));
                }
                let weighed = i64::from(sum.max(0)).wrapping_mul(unit.last_weight);
                *total = total.wrapping_add(weighed);
            }
        }
    }
}

#[inline]
fn product(weights: &Lanes, sums: &Lanes) -> i32 {
    let mut total = 0_i32;
    for lane in 0..LANES {
        let product = i32::from(weights[lane]).wrapping_mul(i32::from(sums[lane]));
        total = total.wrapping_add(product);
    }
    total
}

/// Rounds half up, and stays within what log-odds may be.
fn log_odds(total: i64, shift: u32) -> LogOdds {
    let half = (1_i64 << shift) >> 1;
    let max = i64::from(LOG_ODDS_MAX);
    let rounded = (total.saturating_add(half) >> shift).clamp(-max, max);
    LogOdds(i32::try_from(rounded).unwrap_or(0))
}

/// The upper 16 of 32 bits.
#[inline]
#[allow(
    clippy::as_conversions,
    reason = "what is left after the shift is 16 bits; this form becomes one instruction for eight lanes"
)]
const fn high_half(value: i32) -> i16 {
    (value >> 16) as i16
}

/// The features that have bins, with their place in the table.
fn features(network: &Network) -> Vec<FixedFeature> {
    let mut table_row = 0;
    let mut features = Vec::new();
    for (feature, edges) in network.encoding().edges().iter().enumerate() {
        if let (Some(least), Some(greatest)) = (edges.first(), edges.last()) {
            features.push(fixed_feature(feature, edges, (*least, *greatest), table_row));
            table_row += narrow(edges.len());
        }
    }
    features
}

fn fixed_feature(feature: usize, edges: &[i32], ends: (i32, i32), table_row: u32) -> FixedFeature {
    let mut fixed = FixedFeature {
        feature,
        least: ends.0,
        greatest: ends.1,
        inner: [i32::MAX; EDGES_MAX],
        lows: [0; EDGES_MAX],
        reciprocals: [0; EDGES_MAX],
        table_row,
    };
    for (at, edge) in edges.iter().enumerate() {
        fixed.lows[at] = *edge;
        if let Some(next) = edges.get(at + 1) {
            fixed.inner[at] = *next;
            fixed.reciprocals[at] = i32::MAX / (next - edge);
        }
    }
    fixed
}

/// A member's two hidden layers, unit by unit, before they are packed into lanes.
struct Stack {
    first: Vec<FirstUnit>,
    second: Vec<FixedUnit>,
}

/// One unit of the first layer, in steps of 2^-`exponent`.
struct FirstUnit {
    exponent: i32,
    bias: i16,
    /// At every row of the table, as in [`Cell`].
    sums: Vec<i16>,
    steps: Vec<i16>,
    /// The greatest value after the negative ones became 0.
    greatest: i64,
}

/// One unit of the second layer, in steps of 2^-`exponent`.
struct FixedUnit {
    exponent: i32,
    bias: i32,
    weights: Vec<i16>,
    greatest: i64,
}

impl Stack {
    fn new(network: &Network, member: &Member) -> Result<Self, FixedError> {
        let mut first = Vec::new();
        for unit in 0..member.first.outputs {
            let (sums, bias) = centred(network, &member.first, unit);
            let fit = finest(FIRST_EXPONENTS, |exponent| FirstUnit::new(&sums, bias, exponent));
            first.push(fit.ok_or(FixedError::Scale { layer: "first" })?);
        }
        let mut second = Vec::new();
        for unit in 0..member.second.outputs {
            let fit = finest(SECOND_EXPONENTS, |exponent| {
                FixedUnit::new(&first, &member.second, unit, exponent)
            });
            second.push(fit.ok_or(FixedError::Scale { layer: "second" })?);
        }
        Ok(Self { first, second })
    }

    fn packed(&self, last_weights: &[i64]) -> FixedMember {
        let groups = self.first.chunks(LANES).map(group).collect();
        let second = self.second.iter().zip(last_weights);
        let second = second.map(|(unit, last_weight)| SecondUnit {
            weights: unit.weights.chunks(LANES).map(lanes).collect(),
            bias: unit.bias,
            last_weight: *last_weight,
        });
        FixedMember {
            groups,
            second: second.collect(),
        }
    }
}

fn group(units: &[FirstUnit]) -> Group {
    let rows = units.first().map_or(0, |unit| unit.sums.len());
    let gather = |of: &dyn Fn(&FirstUnit) -> i16| {
        let gathered: Vec<i16> = units.iter().map(of).collect();
        lanes(&gathered)
    };
    let table = (0..rows).map(|row| Cell {
        sums: gather(&|unit| unit.sums[row]),
        steps: gather(&|unit| unit.steps[row]),
    });
    Group {
        biases: gather(&|unit| unit.bias),
        table: table.collect(),
    }
}

fn lanes(values: &[i16]) -> Lanes {
    let mut lanes = [0; LANES];
    lanes
        .iter_mut()
        .zip(values)
        .for_each(|(lane, value)| *lane = *value);
    lanes
}

/// The greatest exponent that `fit` accepts, tried from the finest down.
fn finest<T>((least, greatest): (i32, i32), fit: impl FnMut(i32) -> Option<T>) -> Option<T> {
    (least..=greatest).rev().find_map(fit)
}

/// A unit's sums at every edge, feature by feature, and its bias. The sums of each feature are moved to lie around
/// 0, which leaves room for a finer scale, and the bias makes up for it.
fn centred(network: &Network, layer: &Layer, unit: usize) -> (Vec<Vec<f64>>, f64) {
    let mut bias = f64::from(layer.biases[unit]);
    let mut all = Vec::new();
    let mut column = 0;
    for edges in network
        .encoding()
        .edges()
        .iter()
        .filter(|edges| !edges.is_empty())
    {
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for _ in 1..edges.len() {
            sum += f64::from(layer.row(column)[unit]);
            sums.push(sum);
            column += 1;
        }
        let least = sums.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = sums.iter().copied().fold(-f64::INFINITY, f64::max);
        let middle = (least + greatest) / 2.0;
        sums.iter_mut().for_each(|sum| *sum -= middle);
        bias += middle;
        all.push(sums);
    }
    (all, bias)
}

impl FirstUnit {
    /// None where a sum could leave 16 bits at this scale.
    fn new(sums: &[Vec<f64>], bias: f64, exponent: i32) -> Option<Self> {
        let scale = power_of_two(exponent);
        // A fraction of a step is rounded down, by half a step of the scale in the mean: the bias makes up for it.
        let bias = rounded(bias * scale).checked_add(half(sums.len()))?;
        let mut unit = Self {
            exponent,
            bias: i16::try_from(bias).ok()?,
            sums: Vec::new(),
            steps: Vec::new(),
            greatest: bias,
        };
        let mut reach = bias.checked_abs()?;
        for sums in sums {
            let sums: Vec<i64> = sums.iter().map(|sum| rounded(sum * scale)).collect();
            unit.push(&sums)?;
            unit.greatest = unit.greatest.checked_add(*sums.iter().max()?)?;
            reach = reach.checked_add(sums.iter().map(|sum| sum.saturating_abs()).max()?)?;
        }
        unit.greatest = unit.greatest.max(0);
        (reach <= i64::from(i16::MAX)).then_some(unit)
    }

    fn push(&mut self, sums: &[i64]) -> Option<()> {
        for (at, sum) in sums.iter().enumerate() {
            let step = sums.get(at + 1).map_or(Some(0), |next| next.checked_sub(*sum))?;
            self.sums.push(i16::try_from(*sum).ok()?);
            self.steps.push(i16::try_from(step.checked_mul(2)?).ok()?);
        }
        Some(())
    }
}

impl FixedUnit {
    /// None where a weight could leave 16 bits, or a sum 32, at this scale.
    fn new(inputs: &[FirstUnit], layer: &Layer, unit: usize, exponent: i32) -> Option<Self> {
        let bias = rounded(f64::from(layer.biases[unit]) * power_of_two(exponent));
        let mut fixed = Self {
            exponent,
            bias: i32::try_from(bias).ok()?,
            weights: Vec::new(),
            greatest: bias,
        };
        let mut reach = bias.checked_abs()?;
        for (at, input) in inputs.iter().enumerate() {
            let scale = power_of_two(exponent - input.exponent);
            let weight = i16::try_from(rounded(f64::from(layer.row(at)[unit]) * scale)).ok()?;
            fixed.weights.push(weight);
            let most = i64::from(weight).checked_mul(input.greatest)?;
            fixed.greatest = fixed.greatest.checked_add(most.max(0))?;
            reach = reach.checked_add(most.checked_abs()?)?;
        }
        fixed.greatest = fixed.greatest.max(0);
        (reach <= i64::from(i32::MAX)).then_some(fixed)
    }
}

/// The last layer of all members, in steps of 2^-(16 + `shift`) of log-odds.
struct Last {
    weights: Vec<Vec<i64>>,
    bias: i64,
    shift: u32,
}

impl Last {
    fn new(network: &Network, stacks: &[Stack]) -> Result<Self, FixedError> {
        finest((0, LAST_SHIFT_MAX), |shift| Self::at(network, stacks, shift))
            .ok_or(FixedError::Scale { layer: "last" })
    }

    /// None where a weight could leave 32 bits, or a sum 62, at this scale.
    fn at(network: &Network, stacks: &[Stack], shift: i32) -> Option<Self> {
        let exponent = LOG_ODDS_BITS + shift;
        let mean = 1.0 / f64::from(narrow(stacks.len()));
        let mut last = Self {
            weights: Vec::new(),
            bias: 0,
            shift: u32::try_from(shift).ok()?,
        };
        let mut reach = 0_i128;
        for (member, stack) in network.members().iter().zip(stacks) {
            let bias = f64::from(member.last.biases[0]) * mean;
            last.bias = last.bias.checked_add(rounded(bias * power_of_two(exponent)))?;
            let mut weights = Vec::new();
            for (weight, unit) in member.last.weights.iter().zip(&stack.second) {
                let weight = f64::from(*weight) * mean * power_of_two(exponent - unit.exponent);
                let weight = i32::try_from(rounded(weight)).ok()?;
                reach += i128::from(weight.unsigned_abs()) * i128::from(unit.greatest);
                weights.push(i64::from(weight));
            }
            last.weights.push(weights);
        }
        reach += i128::from(last.bias.unsigned_abs());
        (reach <= LAST_SUM_MAX).then_some(last)
    }
}

/// Two to the power of `exponent`, exactly: the standard library's power may differ in the last bit.
fn power_of_two(exponent: i32) -> f64 {
    let biased = u64::try_from(exponent.saturating_add(1023)).unwrap_or(0);
    f64::from_bits(biased.min(2046) << 52)
}

/// The nearest integer, half away from 0; what is too large becomes the greatest.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a float's cast saturates, and whoever calls checks the range"
)]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

fn half(count: usize) -> i64 {
    i64::from(narrow(count)) / 2
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::features::{FEATURE_COUNT, FEATURES};
    use crate::network::samples;
    use crate::score::LOG_ODDS_ONE;
    use proptest::prelude::*;

    fn scores(network: &FixedNetwork, rows: &[Row]) -> Vec<i32> {
        let mut out = Vec::new();
        network.log_odds(rows, &[], &mut out);
        out.iter().map(|log_odds| log_odds.0).collect()
    }

    /// The network in floats, straight from its definition.
    fn by_definition(network: &Network, row: &Row) -> f64 {
        let mut encoded = vec![0.0; network.encoding().columns()];
        network.encoding().encode(row, &mut encoded);
        let encoded: Vec<f64> = encoded.into_iter().map(f64::from).collect();
        let members = network.members();
        let total: f64 = members
            .iter()
            .map(|member| {
                let first = relu(dense(&member.first, &encoded));
                dense(&member.last, &relu(dense(&member.second, &first)))[0]
            })
            .sum();
        total / f64::from(narrow(members.len()))
    }

    fn dense(layer: &Layer, inputs: &[f64]) -> Vec<f64> {
        let mut out: Vec<f64> = layer.biases.iter().copied().map(f64::from).collect();
        for (at, input) in inputs.iter().enumerate() {
            for (out, weight) in out.iter_mut().zip(layer.row(at)) {
                *out += input * f64::from(*weight);
            }
        }
        out
    }

    fn relu(values: Vec<f64>) -> Vec<f64> {
        values.into_iter().map(|value| value.max(0.0)).collect()
    }

    #[test]
    fn a_network_made_by_hand_says_what_was_worked_out() {
        let network = FixedNetwork::new(&samples::tiny()).unwrap();
        let row = |amount, pair| {
            let mut row = Row([0; FEATURE_COUNT]);
            (row.0[0], row.0[33]) = (amount, pair);
            row
        };
        let rows = [row(0, 0), row(1024, 0), row(1024, 1), row(1024, 3), row(768, 2)];
        // left − right decides: −½; 1 − 2 − ½; 2 − ½; 2½ − ½; 1¾ − ½, where a quarter is left over for nothing.
        let want = [-0.5, -1.5, 1.5, 2.0, 1.25].map(|real| LogOdds::from_real(real).0);
        let got = scores(&network, &rows);
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 24, "{got} is not near {want}");
        }
        assert_eq!(got, GOLDEN_TINY);
    }

    #[test]
    fn scores_are_the_same_bits_for_ever() {
        let network = FixedNetwork::new(&samples::random(5, 64, 32)).unwrap();
        assert_eq!(scores(&network, &samples::rows(6, 8)), GOLDEN_RANDOM);
    }

    #[test]
    fn stays_near_the_floats() {
        for (first, second) in [(64, 32), (65, 3), (1, 1), (130, 40)] {
            let network = samples::random(9, first, second);
            let fixed = FixedNetwork::new(&network).unwrap();
            let rows = samples::rows(10, 200);
            for (row, got) in rows.iter().zip(scores(&fixed, &rows)) {
                let (got, want) = (LogOdds(got).real(), by_definition(&network, row));
                let want = want.clamp(-32.0, 32.0);
                assert!((got - want).abs() < 0.1, "{first}-{second}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn a_mean_of_members_is_between_them() {
        let network = samples::random(9, 70, 5);
        let mut higher = network.members().to_vec();
        higher[0].last.biases[0] += 1.0;
        let higher = Network::new(network.encoding().clone(), *network.typical(), higher).unwrap();
        let both = Network::averaged(&[network.clone(), higher]).unwrap();
        let rows = samples::rows(10, 20);
        let one = scores(&FixedNetwork::new(&network).unwrap(), &rows);
        let mean = scores(&FixedNetwork::new(&both).unwrap(), &rows);
        for (one, mean) in one
            .iter()
            .zip(mean)
            .filter(|(one, _)| one.abs() < LOG_ODDS_MAX / 2)
        {
            assert!((mean - one - LOG_ODDS_ONE / 2).abs() < 8, "{one} {mean}");
        }
    }

    #[test]
    fn a_row_scores_the_same_in_every_batch() {
        let network = FixedNetwork::new(&samples::random(1, 64, 32)).unwrap();
        let rows = samples::rows(2, 150);
        let whole = scores(&network, &rows);
        for size in [1, 2, 63, 64, 65, 149] {
            let parts: Vec<i32> = rows
                .chunks(size)
                .flat_map(|rows| scores(&network, rows))
                .collect();
            assert_eq!(parts, whole, "in batches of {size}");
        }
        assert!(scores(&network, &[]).is_empty());
    }

    #[test]
    fn no_row_panics_or_passes_the_limit() {
        let network = samples::random(1, 64, 32);
        let (encoding, typical) = (network.encoding().clone(), *network.typical());
        let mut members = network.members().to_vec();
        members[0]
            .last
            .weights
            .iter_mut()
            .for_each(|weight| *weight *= 60_000.0);
        let loud = Network::new(encoding, typical, members).unwrap();
        let mut rows = vec![Row([i32::MIN; FEATURE_COUNT]), Row([i32::MAX; FEATURE_COUNT])];
        for feature in 0..FEATURE_COUNT {
            for value in [
                i32::MIN,
                i32::MAX,
                0,
                FEATURES[feature].min,
                FEATURES[feature].max,
            ] {
                let mut row = typical;
                row.0[feature] = value;
                rows.push(row);
            }
        }
        let all = scores(&FixedNetwork::new(&loud).unwrap(), &rows);
        assert_eq!(all.len(), rows.len());
        assert!(all.iter().all(|score| score.abs() <= LOG_ODDS_MAX));
        assert!(all.iter().any(|score| score.abs() == LOG_ODDS_MAX), "it is loud");
    }

    /// The same sums in numbers so wide that they cannot overflow.
    fn widely(network: &FixedNetwork, row: &Row) -> i32 {
        let positions: Vec<Position> = network
            .features
            .iter()
            .map(|feature| feature.position(row))
            .collect();
        let mut total = i128::from(network.last_bias);
        for member in &network.members {
            let sums: Vec<i128> = (member.groups.iter())
                .flat_map(|group| (0..LANES).map(|lane| wide_sum(group, &positions, lane)))
                .collect();
            for unit in &member.second {
                let weights = unit.weights.iter().flatten().copied().map(i128::from);
                let sum: i128 = weights.zip(&sums).map(|(weight, sum)| weight * sum).sum();
                total += (sum + i128::from(unit.bias)).max(0) * i128::from(unit.last_weight);
            }
        }
        log_odds(i64::try_from(total).unwrap(), network.last_shift).0
    }

    fn wide_sum(group: &Group, positions: &[Position], lane: usize) -> i128 {
        let mut sum = i128::from(group.biases[lane]);
        for position in positions {
            let cell = &group.table[index(position.table_row)];
            let part = i128::from(cell.steps[lane]) * i128::from(position.filled);
            sum += i128::from(cell.sums[lane]) + (part >> 16);
        }
        sum.max(0)
    }

    proptest! {
        #[test]
        fn no_sum_overflows_for_any_weights(seed in any::<u64>(), sizes in prop::array::uniform3(-20_i32..=16)) {
            let network = samples::random(seed, 5, 3);
            let mut members = network.members().to_vec();
            let member = &mut members[0];
            let layers = [&mut member.first, &mut member.second, &mut member.last];
            for (layer, size) in layers.into_iter().zip(sizes) {
                layer.weights.iter_mut().for_each(|weight| *weight *= 2_f32.powi(size));
            }
            let network = Network::new(network.encoding().clone(), *network.typical(), members).unwrap();
            if let Ok(fixed) = FixedNetwork::new(&network) {
                let rows = samples::rows(seed, 64);
                for (row, got) in rows.iter().zip(scores(&fixed, &rows)) {
                    prop_assert_eq!(got, widely(&fixed, row));
                }
            }
        }
    }

    const GOLDEN_TINY: [i32; 5] = [-32_760, -98_296, 98_312, 131_096, 81_920];
    const GOLDEN_RANDOM: [i32; 8] = [
        53_136, -351_720, 399_268, -321_422, 367_140, -101_359, -185_695, -466_953,
    ];
}
