//! Reveals: a chain of hashes that a proposer commits to before it knows what its links will be mixed with.
//!
//! Link 0 is secret, link i + 1 is `H(reveal; link i)`. A validator commits to the last link on joining and reveals
//! the one before with each block of its that is decided, so a proposer has exactly one reveal to give: it can
//! withhold its block, and nothing else.

use selfchain_types::{Hash, hash};

/// The link after `link`.
pub fn next_link(link: &Hash) -> Hash {
    hash::REVEAL.hash(link.as_bytes())
}

/// Whether `reveal` is the link before `head`.
pub fn is_next(head: &Hash, reveal: &Hash) -> bool {
    next_link(reveal) == *head
}

fn first_link(secret: &[u8; 32]) -> Hash {
    hash::REVEAL.hash_parts(&[b"first", secret])
}

/// A validator's own chain: every 1,024th link is kept, the rest is computed anew.
#[derive(Clone)]
pub struct RevealChain {
    checkpoints: Vec<Hash>,
    last: u32,
    /// Links from here on have been revealed, as far as is known.
    revealed: u32,
}

/// Links between two that are kept.
const CHECKPOINT: u32 = 1_024;
/// Most reveals of a chain: 2^24, half a MiB of links that are kept.
pub const REVEALS_MAX: u32 = 1 << 24;

impl RevealChain {
    /// A chain of `reveals` reveals, at most [`REVEALS_MAX`], from a secret.
    pub fn new(secret: &[u8; 32], reveals: u32) -> Self {
        let last = reveals.min(REVEALS_MAX);
        let mut link = first_link(secret);
        let mut checkpoints = Vec::new();
        for at in 0..=last {
            if at % CHECKPOINT == 0 {
                checkpoints.push(link);
            }
            link = next_link(&link);
        }
        Self {
            checkpoints,
            last,
            revealed: last,
        }
    }

    /// The chain from a secret up to the link `head`; `None` where none of the first [`REVEALS_MAX`] is that link.
    pub fn up_to(secret: &[u8; 32], head: &Hash) -> Option<Self> {
        let mut link = first_link(secret);
        let mut checkpoints = Vec::new();
        for last in 0..=REVEALS_MAX {
            if last % CHECKPOINT == 0 {
                checkpoints.push(link);
            }
            if link == *head {
                return Some(Self {
                    checkpoints,
                    last,
                    revealed: last,
                });
            }
            link = next_link(&link);
        }
        None
    }

    /// The link before `head`: what is revealed next where `head` was revealed last. `None` where the chain has no
    /// such link, or it is the first. Heads are asked for from the last link down: one before which more than was
    /// asked for last is revealed is not found again.
    pub fn before(&mut self, head: &Hash) -> Option<Hash> {
        for segment in (0..=self.revealed / CHECKPOINT).rev() {
            let first = segment * CHECKPOINT;
            let checkpoint = selfchain_types::codec::index(segment);
            let mut link = *self.checkpoints.get(checkpoint)?;
            let mut before = first.checked_sub(1).map(|at| self.link(at));
            for at in first..=self.revealed.min(first + CHECKPOINT - 1) {
                if link == *head {
                    self.revealed = at;
                    return before;
                }
                before = Some(link);
                link = next_link(&link);
            }
        }
        None
    }

    /// What it commits to.
    pub fn head(&self) -> Hash {
        self.link(self.last)
    }

    /// What is revealed when `used` reveals have been; `None` when that was the last.
    pub fn reveal(&self, used: u32) -> Option<Hash> {
        let at = self.last.checked_sub(used)?.checked_sub(1)?;
        Some(self.link(at))
    }

    fn link(&self, at: u32) -> Hash {
        let checkpoint = selfchain_types::codec::index(at / CHECKPOINT);
        (0..at % CHECKPOINT).fold(self.checkpoints[checkpoint], |link, _| next_link(&link))
    }
}

impl std::fmt::Debug for RevealChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RevealChain({} reveals)", self.last)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn each_reveal_is_the_link_before_the_last_one() {
        let chain = RevealChain::new(&[7; 32], 2_050);
        let mut head = chain.head();
        for used in 0..2_050 {
            let reveal = chain.reveal(used).unwrap();
            assert!(is_next(&head, &reveal), "{used}");
            assert!(!is_next(&head, &head));
            head = reveal;
        }
        assert_eq!(chain.reveal(2_050), None);
        assert_eq!(RevealChain::new(&[7; 32], 0).reveal(0), None);
        assert_ne!(RevealChain::new(&[8; 32], 2_050).head(), chain.head());
    }

    #[test]
    fn a_chain_is_found_by_its_head_and_goes_on_from_any_link() {
        let chain = RevealChain::new(&[7; 32], 3_000);
        let mut found = RevealChain::up_to(&[7; 32], &chain.head()).unwrap();
        assert_eq!((found.head(), found.last), (chain.head(), 3_000));
        for used in [0, 1, 2, 951, 952, 953, 2_998, 2_999] {
            let head = if used == 0 {
                chain.head()
            } else {
                chain.reveal(used - 1).unwrap()
            };
            assert_eq!(found.before(&head), chain.reveal(used), "{used}");
            assert_eq!(
                found.before(&head),
                chain.reveal(used),
                "{used} again: the block was not decided"
            );
        }
        let first = chain.reveal(2_999).unwrap();
        assert_eq!(found.before(&first), None, "the first link has none before it");
        assert_eq!(found.before(&Hash([9; 32])), None);
    }
}
