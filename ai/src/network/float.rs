//! A trained network in floats, computed by candle.

use super::encode::Encoding;
use super::weights::{Layer, Member, Network};
use crate::features::Row;
use crate::model::Predict;
use crate::score::LogOdds;
use candle_core::{Device, Result, Tensor};
use selfchain_types::Operation;
use selfchain_types::codec::{narrow, wide};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A network in floats. It sums in the order that suits the processor, so it is not exact; but it always computes
/// 64 rows at once, filled up with empty ones, so that a row scores the same in every batch.
#[derive(Clone, Debug)]
pub struct FloatNetwork {
    /// Rows of which it could say nothing.
    failed: Arc<AtomicU64>,
    encoding: Encoding,
    typical: Row,
    members: Vec<[Dense; 3]>,
}

/// A layer's weights and biases.
#[derive(Clone, Debug)]
struct Dense(Tensor, Tensor);

/// Rows that are computed at once.
const MICRO_BATCH: usize = 64;

impl FloatNetwork {
    /// Hands the weights to candle, and lets it score a row once, so that it fails here if ever.
    pub fn new(network: &Network) -> Result<Self> {
        let members: Result<Vec<[Dense; 3]>> = network.members().iter().map(stack).collect();
        let float = Self {
            failed: Arc::default(),
            encoding: network.encoding().clone(),
            typical: *network.typical(),
            members: members?,
        };
        float.scores(&[float.typical])?;
        Ok(float)
    }

    /// Log-odds of at most [`MICRO_BATCH`] rows.
    fn scores(&self, rows: &[Row]) -> Result<Vec<f32>> {
        let columns = self.encoding.columns();
        let mut encoded = vec![0.0; MICRO_BATCH * columns];
        for (row, out) in rows.iter().zip(encoded.chunks_mut(columns)) {
            self.encoding.encode(row, out);
        }
        let encoded = Tensor::from_vec(encoded, (MICRO_BATCH, columns), &Device::Cpu)?;
        let mut totals = vec![0.0; rows.len()];
        for [first, second, last] in &self.members {
            let hidden = second.apply(&first.apply(&encoded)?.relu()?)?.relu()?;
            let scores = last.apply(&hidden)?.flatten_all()?.to_vec1::<f32>()?;
            totals
                .iter_mut()
                .zip(scores)
                .for_each(|(total, score)| *total += score);
        }
        Ok(totals)
    }
}

impl Predict for FloatNetwork {
    /// Should candle fail, it says nothing of those rows: even odds.
    fn log_odds(&self, rows: &[Row], _: &[&Operation], out: &mut Vec<LogOdds>) {
        let members = f64::from(narrow(self.members.len()));
        for batch in rows.chunks(MICRO_BATCH) {
            let totals = self.scores(batch).unwrap_or_else(|_| {
                self.failed.fetch_add(wide(batch.len()), Ordering::Relaxed);
                vec![0.0; batch.len()]
            });
            let scores = totals.into_iter().map(|total| f64::from(total) / members);
            out.extend(scores.map(LogOdds::from_real));
        }
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn typical(&self) -> &Row {
        &self.typical
    }

    fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Dense {
    fn new(layer: &Layer) -> Result<Self> {
        let shape = (layer.inputs, layer.outputs);
        Ok(Self(
            Tensor::from_slice(&layer.weights, shape, &Device::Cpu)?,
            Tensor::from_slice(&layer.biases, layer.outputs, &Device::Cpu)?,
        ))
    }

    fn apply(&self, inputs: &Tensor) -> Result<Tensor> {
        inputs.matmul(&self.0)?.broadcast_add(&self.1)
    }
}

fn stack(member: &Member) -> Result<[Dense; 3]> {
    Ok([
        Dense::new(&member.first)?,
        Dense::new(&member.second)?,
        Dense::new(&member.last)?,
    ])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::features::FEATURE_COUNT;
    use crate::model::{Card, Model, Scoring};
    use crate::network::{FixedNetwork, samples};
    use crate::projection::Projection;
    use crate::score::LOG_ODDS_MAX;
    use selfchain_types::seam::scorer::Scorer;

    fn scores(network: &dyn Predict, rows: &[Row]) -> Vec<LogOdds> {
        let mut out = Vec::new();
        network.log_odds(rows, &[], &mut out);
        out
    }

    #[test]
    fn a_row_scores_the_same_in_every_batch() {
        let network = FloatNetwork::new(&samples::random(1, 64, 32)).unwrap();
        let rows = samples::rows(2, 150);
        let whole = scores(&network, &rows);
        for size in [1, 2, 63, 64, 65, 149] {
            let parts: Vec<LogOdds> = rows
                .chunks(size)
                .flat_map(|rows| scores(&network, rows))
                .collect();
            assert_eq!(parts, whole, "in batches of {size}");
        }
    }

    #[test]
    fn says_what_fixed_point_says() {
        let networks = [samples::random(3, 64, 32), samples::random(4, 64, 32)];
        let network = Network::averaged(&networks).unwrap();
        let rows = samples::rows(2, 100);
        let float = scores(&FloatNetwork::new(&network).unwrap(), &rows);
        let fixed = scores(&FixedNetwork::new(&network).unwrap(), &rows);
        for (float, fixed) in float.iter().zip(fixed) {
            assert!((float.real() - fixed.real()).abs() < 0.1, "{float:?} {fixed:?}");
        }
    }

    #[test]
    fn what_fails_inside_is_neutral_and_counted() {
        let network = samples::random(1, 64, 32);
        let mut broken = FloatNetwork::new(&network).unwrap();
        let [first, second, _] = broken.members[0].clone();
        broken.members[0] = [second, first.clone(), first];
        let rows = samples::rows(2, 70);
        assert_eq!(scores(&broken, &rows), [LogOdds::default(); 70]);
        assert_eq!(broken.failed(), 70);
        let model = Model::new(Scoring::Float(Box::new((network, broken))), Card::default());
        assert_eq!(Projection::new(vec![Arc::new(model)]).failed(), 70);
    }

    #[test]
    fn no_row_panics_or_passes_the_limit() {
        let network = FloatNetwork::new(&samples::loud()).unwrap();
        let rows = [i32::MIN, -1, 0, 1, i32::MAX].map(|value| Row([value; FEATURE_COUNT]));
        let all = scores(&network, &rows);
        assert!(all.iter().all(|score| score.0.abs() <= LOG_ODDS_MAX));
        assert!(
            all.iter().any(|score| score.0.abs() == LOG_ODDS_MAX),
            "it is loud"
        );
    }
}
