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
    /// Rows of the table that belong to features; one of zeros follows.
    table_rows: u32,
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
    bins: [Bin; EDGES_MAX],
    table_row: u32,
}

/// One bin: its lower edge, and 2^31 over its width; 0 right of the last edge.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    low: i32,
    reciprocal: i32,
}

/// One stack of layers. Units come in groups of [`LANES`], the last one filled up with zeros.
#[derive(Clone, Debug)]
struct FixedMember {
    groups: Vec<Group>,
    second: Vec<SecondUnit>,
}

/// [`LANES`] units of the first layer. The last row of the table is all 0.
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

/// Numbers of units that are computed at once, aligned as the processor's loads like it.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Lanes([i16; LANES]);

/// Where a row falls in one feature: a row of the table, and how much of the bin is filled, in 2^-15.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    table_row: u32,
    filled: i16,
}

/// Units that are computed at once.
const LANES: usize = 64;
/// Rows that are computed at once: their sums, and the table's part of [`TOGETHER`] features, fit the first-level
/// cache.
const BLOCK: usize = 64;
/// Features that are added to a sum at once, so that it is loaded and stored less often.
const TOGETHER: usize = 4;
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
        let (features, table_rows) = features(network);
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
            table_rows,
            last_bias: last.bias,
            last_shift: last.shift,
            typical: *network.typical(),
        })
    }

    /// At most [`BLOCK`] rows.
    fn block(&self, rows: &[Row], scratch: &mut Scratch, out: &mut Vec<LogOdds>) {
        let together = self.features.chunks(TOGETHER);
        for (features, positions) in together.zip(scratch.positions.chunks_mut(scratch.rows)) {
            for (column, feature) in features.iter().enumerate() {
                for (row, positions) in rows.iter().zip(&mut *positions) {
                    positions[column] = feature.position(row);
                }
            }
        }
        let totals = &mut [self.last_bias; BLOCK][..rows.len().min(BLOCK)];
        for member in &self.members {
            for (group, sums) in member.groups.iter().zip(scratch.sums.chunks_mut(scratch.rows)) {
                let sums = &mut sums[..totals.len()];
                group.sum(&scratch.positions, scratch.rows, sums);
            }
            member.finish(&scratch.sums, scratch.rows, totals);
        }
        out.extend(totals.iter().map(|total| log_odds(*total, self.last_shift)));
    }

    /// For blocks of at most so many rows.
    fn scratch(&self, rows: usize) -> Scratch {
        let groups = self.members.iter().map(|member| member.groups.len()).max();
        let none = Position {
            table_row: self.table_rows,
            filled: 0,
        };
        Scratch {
            rows,
            positions: vec![[none; TOGETHER]; self.features.len().div_ceil(TOGETHER) * rows],
            sums: vec![Lanes([0; LANES]); groups.unwrap_or(0) * rows],
        }
    }
}

impl Predict for FixedNetwork {
    fn log_odds(&self, rows: &[Row], _: &[&Operation], out: &mut Vec<LogOdds>) {
        let mut scratch = self.scratch(rows.len().min(BLOCK));
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

/// What a block needs while it is computed: for all its rows, where they fall in the first [`TOGETHER`] features,
/// then in the next, and so on; and for all its rows the sums of each group of units. What is left over of the last
/// features always falls on the table's last row.
struct Scratch {
    rows: usize,
    positions: Vec<[Position; TOGETHER]>,
    sums: Vec<Lanes>,
}

impl FixedFeature {
    #[inline]
    fn position(&self, row: &Row) -> Position {
        let value = row.0[self.feature].max(self.least).min(self.greatest);
        let bin = self.bin(value);
        let Bin { low, reciprocal } = self.bins[index(bin) % EDGES_MAX];
        Position {
            table_row: self.table_row.wrapping_add(bin),
            // Less than 2^31: what is passed is at most the width of the bin.
            filled: high_half(value.wrapping_sub(low).wrapping_mul(reciprocal)),
        }
    }

    /// Bit by bit from the highest, in so many steps that nothing needs to be branched on.
    #[inline]
    fn bin(&self, value: i32) -> u32 {
        let mut bin = 0;
        for bit in [16, 8, 4, 2, 1] {
            let edge = self.inner[index(bin | (bit - 1)) % EDGES_MAX];
            bin |= bit * u32::from(edge <= value);
        }
        bin
    }
}

const _: () = assert!(EDGES_MAX == 32, "a bin has the five bits that are searched for");

impl Group {
    /// The sums of a block's rows. They cannot overflow: [`FirstUnit::new`] has bounded them.
    fn sum(&self, positions: &[[Position; TOGETHER]], rows: usize, sums: &mut [Lanes]) {
        sums.fill(self.biases);
        for positions in positions.chunks(rows) {
            for (positions, sums) in positions.iter().zip(&mut *sums) {
                *sums = self.add(positions, *sums);
            }
        }
        for sums in sums {
            sums.0.iter_mut().for_each(|sum| *sum = (*sum).max(0));
        }
    }

    /// One after the other, and in place: so the sums stay in registers.
    #[inline]
    fn add(&self, positions: &[Position; TOGETHER], mut sums: Lanes) -> Lanes {
        let [a, b, c, d] =
            positions.map(|position| (&self.table[index(position.table_row)], position.filled));
        a.0.add(a.1, &mut sums);
        b.0.add(b.1, &mut sums);
        c.0.add(c.1, &mut sums);
        d.0.add(d.1, &mut sums);
        sums
    }
}

impl Cell {
    #[inline]
    fn add(&self, filled: i16, sums: &mut Lanes) {
        for lane in 0..LANES {
            let product = i32::from(self.steps.0[lane]).wrapping_mul(i32::from(filled));
            let part = self.sums.0[lane].wrapping_add(high_half(product));
            sums.0[lane] = sums.0[lane].wrapping_add(part);
        }
    }
}

impl FixedMember {
    /// Adds what the member says of each row to the totals. Nothing overflows: [`FixedUnit::new`] and [`Last::at`]
    /// have bounded it.
    fn finish(&self, sums: &[Lanes], rows: usize, totals: &mut [i64]) {
        for (row, total) in totals.iter_mut().enumerate() {
            for unit in &self.second {
                let mut sum = unit.bias;
                for (weights, sums) in unit.weights.iter().zip(sums.chunks(rows)) {
                    sum = sum.wrapping_add(product(weights, &sums[row]));
                }
                let weighed = i64::from(sum.max(0)).wrapping_mul(unit.last_weight);
                *total = total.wrapping_add(weighed);
            }
        }
    }
}

/// By eights, which the compiler sees to be one instruction's worth of products.
#[inline]
fn product(weights: &Lanes, sums: &Lanes) -> i32 {
    let eights = weights.0.as_chunks::<8>().0.iter().zip(sums.0.as_chunks::<8>().0);
    eights.fold(0, |total, (weights, sums)| {
        weights.iter().zip(sums).fold(total, |total: i32, (weight, sum)| {
            total.wrapping_add(i32::from(*weight).wrapping_mul(i32::from(*sum)))
        })
    })
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

/// The features that have bins, with their place in the table, and how many rows that has.
fn features(network: &Network) -> (Vec<FixedFeature>, u32) {
    let mut table_rows = 0;
    let mut features = Vec::new();
    for (feature, edges) in network.encoding().edges().iter().enumerate() {
        if let (Some(least), Some(greatest)) = (edges.first(), edges.last()) {
            features.push(fixed_feature(feature, edges, (*least, *greatest), table_rows));
            table_rows += narrow(edges.len());
        }
    }
    (features, table_rows)
}

fn fixed_feature(feature: usize, edges: &[i32], ends: (i32, i32), table_row: u32) -> FixedFeature {
    let mut fixed = FixedFeature {
        feature,
        least: ends.0,
        greatest: ends.1,
        inner: [i32::MAX; EDGES_MAX],
        bins: [Bin::default(); EDGES_MAX],
        table_row,
    };
    for (at, edge) in edges.iter().enumerate() {
        fixed.bins[at].low = *edge;
        if let Some(next) = edges.get(at + 1) {
            fixed.inner[at] = *next;
            fixed.bins[at].reciprocal = i32::MAX / (next - edge);
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
    let zeros = Lanes([0; LANES]);
    let last = Cell {
        sums: zeros,
        steps: zeros,
    };
    Group {
        biases: gather(&|unit| unit.bias),
        table: table.chain([last]).collect(),
    }
}

fn lanes(values: &[i16]) -> Lanes {
    let mut lanes = [0; LANES];
    for (lane, value) in lanes.iter_mut().zip(values) {
        *lane = *value;
    }
    Lanes(lanes)
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
        let loud = samples::loud();
        let mut rows = vec![Row([i32::MIN; FEATURE_COUNT]), Row([i32::MAX; FEATURE_COUNT])];
        for (at, feature) in FEATURES.iter().enumerate() {
            for value in [i32::MIN, i32::MAX, 0, feature.min, feature.max] {
                let mut row = *loud.typical();
                row.0[at] = value;
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
        let mut positions = Vec::new();
        for feature in &network.features {
            positions.push(feature.position(row));
        }
        let mut total = i128::from(network.last_bias);
        for member in &network.members {
            let sums: Vec<i128> = (member.groups.iter())
                .flat_map(|group| (0..LANES).map(|lane| wide_sum(group, &positions, lane)))
                .collect();
            for unit in &member.second {
                let weights = unit.weights.iter().flat_map(|lanes| lanes.0.map(i128::from));
                let sum: i128 = weights.zip(&sums).map(|(weight, sum)| weight * sum).sum();
                total += (sum + i128::from(unit.bias)).max(0) * i128::from(unit.last_weight);
            }
        }
        log_odds(i64::try_from(total).unwrap(), network.last_shift).0
    }

    fn wide_sum(group: &Group, positions: &[Position], lane: usize) -> i128 {
        let mut sum = i128::from(group.biases.0[lane]);
        for position in positions {
            let cell = &group.table[index(position.table_row)];
            let part = i128::from(cell.steps.0[lane]) * i128::from(position.filled);
            sum += i128::from(cell.sums.0[lane]) + (part >> 16);
        }
        sum.max(0)
    }

    proptest! {
        #[test]
        fn no_sum_overflows_for_any_weights(
            seed in any::<u64>(),
            sizes in prop::array::uniform3(-20_i32..=16),
            all_positive in any::<bool>(),
        ) {
            let network = samples::random(seed, 5, 3);
            let mut members = network.members().to_vec();
            let member = &mut members[0];
            let layers = [&mut member.first, &mut member.second, &mut member.last];
            for (layer, size) in layers.into_iter().zip(sizes) {
                for weight in &mut layer.weights {
                    *weight *= 2_f32.powi(size);
                    // Then the rows at both ends reach the bounds of all sums.
                    *weight = if all_positive { weight.abs() } else { *weight };
                }
            }
            let network = Network::new(network.encoding().clone(), *network.typical(), members).unwrap();
            if let Ok(fixed) = FixedNetwork::new(&network) {
                let mut rows = samples::rows(seed, 64);
                rows.extend([i32::MIN, i32::MAX].map(|end| Row([end; FEATURE_COUNT])));
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
