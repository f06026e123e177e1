//! Seeded randomness for training: candle's own on the processor cannot be seeded, and training must be repeatable.

/// SplitMix64 (Steele, Lea, Flood 2014): a counter, mixed. Plenty for weights and shuffles, and nothing secret.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to less than 1, in steps of 2^-24, which a float holds exactly.
    #[allow(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "24 bits fit a float exactly"
    )]
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    /// So many numbers from −`reach` to `reach`.
    pub(super) fn around_zero(&mut self, count: usize, reach: f32) -> Vec<f32> {
        (0..count).map(|_| (self.unit() * 2.0 - 1.0) * reach).collect()
    }

    /// Every order is about as likely: each item changes places with one of those up to itself.
    pub(super) fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// From 0 to less than `bound`: the upper half of a product, which needs no division.
    fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next()) * u128::from(selfchain_types::codec::wide(bound));
        usize::try_from(product >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_within_its_bounds() {
        let draw = |seed| Random::new(seed).around_zero(1_000, 0.5);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(3).iter().all(|value| value.abs() <= 0.5));
        let mean = draw(4).iter().sum::<f32>() / 1_000.0;
        assert!(mean.abs() < 0.05, "{mean}");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(1).shuffle(&mut items);
        assert_ne!(items[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        items.sort_unstable();
        assert!(items.into_iter().eq(0..100));
    }
}
