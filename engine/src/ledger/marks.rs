//! A set of record numbers as a bitmap of two levels: setting is cheap, and reading it back ascends.

use selfchain_types::codec;

/// Numbers that were marked.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    words: Vec<u64>,
    /// One bit a word that is not zero.
    summary: Vec<u64>,
}

impl Marks {
    /// Marks a number; whether it was not marked before.
    #[inline]
    pub(super) fn set(&mut self, index: u32) -> bool {
        let at = codec::index(index / 64);
        if at >= self.words.len() {
            self.grow(at);
        }
        let bit = 1 << (index % 64);
        let word = &mut self.words[at];
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.summary[at / 64] |= 1 << (at % 64);
        true
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        let words = (at + 1).next_multiple_of(64);
        self.words.resize(words, 0);
        self.summary.resize(words / 64, 0);
    }

    /// Takes marked numbers out, ascending and the lowest first, until at least `enough` were seen.
    pub(super) fn drain(&mut self, enough: usize, mut visit: impl FnMut(u32)) -> usize {
        let mut seen = 0;
        for (high, summary) in self.summary.iter_mut().enumerate() {
            while *summary != 0 {
                if seen >= enough {
                    return seen;
                }
                let low = codec::index(summary.trailing_zeros());
                *summary &= *summary - 1;
                let at = high * 64 + low;
                let mut word = core::mem::take(&mut self.words[at]);
                while word != 0 {
                    visit(codec::narrow(at) * 64 + word.trailing_zeros());
                    word &= word - 1;
                    seen += 1;
                }
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_comes_back_once_and_ascends() {
        let mut marks = Marks::default();
        let numbers = [5, 900_000, 64, 63, 5, 4_095, 4_096];
        let fresh = numbers.map(|number| marks.set(number));
        assert_eq!(fresh, [true, true, true, true, false, true, true]);
        let mut seen = Vec::new();
        assert_eq!(marks.drain(3, |number| seen.push(number)), 3);
        assert_eq!(seen, [5, 63, 64]);
        assert_eq!(marks.drain(usize::MAX, |number| seen.push(number)), 3);
        assert_eq!(seen, [5, 63, 64, 4_095, 4_096, 900_000]);
        assert_eq!(marks.drain(usize::MAX, |_| ()), 0);
    }
}
