//! A blocked Bloom filter: says after one read of 64 bytes that a run does not hold a key (Putze, Sanders
//! and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007).
//!
//! A line is a check (u64) and 448 bits, little endian; a key sets 6 bits of one line.

use crate::metrics::len_u64;

/// Length of a line, in bytes.
pub(super) const LINE_LEN: usize = 64;

const WORDS: usize = 7;
const BITS_PER_LINE: u64 = 448;
const BITS_PER_KEY: u32 = 6;
/// Eleven bits a key: about one miss in a hundred passes.
const KEYS_PER_LINE: u64 = 40;
/// Bounds what building takes; beyond it the filter lets more through.
const LINES_MAX: u64 = (8 << 20) / 64;

/// A filter being built.
#[derive(Debug)]
pub(super) struct Filter {
    lines: Vec<[u64; WORDS]>,
}

impl Filter {
    /// For at most `keys` keys.
    pub fn new(keys: u64) -> Self {
        let lines = keys.div_ceil(KEYS_PER_LINE).clamp(1, LINES_MAX);
        Self {
            lines: vec![[0; WORDS]; usize::try_from(lines).unwrap_or(1)],
        }
    }

    pub fn insert(&mut self, prefix: &[u8; 16]) {
        let line = line_of(prefix, len_u64(self.lines.len()));
        let Some(words) = usize::try_from(line)
            .ok()
            .and_then(|line| self.lines.get_mut(line))
        else {
            return;
        };
        for (word, bit) in bits_of(prefix) {
            words[word] |= bit;
        }
    }

    pub fn lines(&self) -> u64 {
        len_u64(self.lines.len())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.lines.len() * LINE_LEN);
        for (number, words) in (0..).zip(&self.lines) {
            bytes.extend_from_slice(&check(number, words).to_le_bytes());
            words
                .iter()
                .for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        }
        bytes
    }
}

/// The line that a key is in, of `lines`.
pub(super) fn line_of(prefix: &[u8; 16], lines: u64) -> u64 {
    let wide = u128::from(hash(prefix, 1)) * u128::from(lines);
    u64::try_from(wide >> 64).unwrap_or(0)
}

/// Whether a line may hold a key; `None` when the line is damaged.
pub(super) fn may_hold(prefix: &[u8; 16], number: u64, line: &[u8; LINE_LEN]) -> Option<bool> {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(line[8..].chunks_exact(8)) {
        *word = u64::from_le_bytes(*bytes.first_chunk()?);
    }
    if check(number, &words).to_le_bytes() != line[..8] {
        return None;
    }
    Some(bits_of(prefix).all(|(word, bit)| words[word] & bit != 0))
}

fn bits_of(prefix: &[u8; 16]) -> impl Iterator<Item = (usize, u64)> + use<> {
    let hash = hash(prefix, 2);
    (0..BITS_PER_KEY).map(move |number| {
        let bit = ((hash >> (10 * number)) & 1023) % BITS_PER_LINE;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    })
}

fn check(number: u64, words: &[u64; WORDS]) -> u64 {
    words
        .iter()
        .fold(mix(number ^ 0x5e1f), |sum, word| mix(sum ^ word))
}

fn hash(prefix: &[u8; 16], seed: u64) -> u64 {
    let half = |at: usize| {
        prefix[at..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    mix(mix(half(0) ^ seed) ^ half(8))
}

/// The finalizer of SplitMix64.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    fn prefix(number: u64) -> [u8; 16] {
        *blake3::hash(&number.to_le_bytes())
            .as_bytes()
            .first_chunk()
            .unwrap()
    }

    fn asks(bytes: &[u8], lines: u64, prefix: &[u8; 16]) -> bool {
        let number = line_of(prefix, lines);
        let line = bytes[number as usize * LINE_LEN..].first_chunk().unwrap();
        may_hold(prefix, number, line).unwrap()
    }

    #[test]
    fn holds_what_was_inserted_and_turns_most_else_away() {
        let mut filter = Filter::new(10_000);
        (0..10_000).for_each(|number| filter.insert(&prefix(number)));
        let bytes = filter.encode();
        assert!((0..10_000).all(|number| asks(&bytes, filter.lines(), &prefix(number))));
        let passed = (10_000..60_000)
            .filter(|number| asks(&bytes, filter.lines(), &prefix(*number)))
            .count();
        assert!(passed < 1_500, "{passed} of 50,000 misses pass");
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut filter = Filter::new(1);
        filter.insert(&prefix(1));
        let bytes = filter.encode();
        for bit in 0..LINE_LEN * 8 {
            let mut line: [u8; LINE_LEN] = *bytes.first_chunk().unwrap();
            line[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(may_hold(&prefix(1), 0, &line), None, "bit {bit}");
        }
    }
}
