//! Average precision, the area under the curve of precision over recall: what early stopping goes by.

use selfchain_types::codec::narrow;

/// The mean, over fraudulent rows, of the share of fraud among all that score as high; equal scores count as one
/// place. 0 where nothing is fraud.
pub(super) fn average_precision(scores: &[f32], labels: &[bool]) -> f64 {
    let mut ranked: Vec<(f32, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    let (mut seen, mut caught, mut sum) = (0.0, 0.0, 0.0);
    for place in ranked.chunk_by(|left, right| left.0.total_cmp(&right.0).is_eq()) {
        let fraud = count(place.iter().filter(|(_, label)| *label).count());
        seen += count(place.len());
        caught += fraud;
        sum += fraud * (caught / seen);
    }
    if caught > 0.0 { sum / caught } else { 0.0 }
}

fn count(count: usize) -> f64 {
    f64::from(narrow(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scores: &[f32], fraud: &[u8], want: f64) {
        let labels: Vec<bool> = fraud.iter().map(|fraud| *fraud == 1).collect();
        let got = average_precision(scores, &labels);
        assert!((got - want).abs() < 1e-9, "{scores:?}: {got}, not {want}");
    }

    #[test]
    fn precision_is_averaged_over_the_fraud() {
        check(&[3.0, 2.0, 1.0], &[1, 1, 0], 1.0);
        check(&[3.0, 2.0, 1.0], &[0, 0, 1], 1.0 / 3.0);
        check(&[4.0, 3.0, 2.0, 1.0], &[1, 0, 1, 0], (1.0 + 2.0 / 3.0) / 2.0);
        check(&[1.0, 1.0, 1.0, 1.0], &[1, 0, 0, 0], 0.25);
        check(&[1.0], &[0], 0.0);
        check(&[], &[], 0.0);
    }

    #[test]
    fn what_is_not_a_number_ends_too() {
        check(&[f32::NAN, f32::NAN, 1.0], &[1, 0, 0], 0.5);
    }
}
