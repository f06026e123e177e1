//! Acknowledged: what the other validators said that they took in, for judging whose blocks leave it out.
//!
//! Nothing is looked up and no signature is checked until a transaction has waited here for [`INCLUSION_BOUND`] blocks: in
//! a network where all do their work that is never, and acknowledgements cost a copy each. A word is kept under the
//! connection that brought it, so that nobody can fill the room of another.

use selfchain_engine::pool::Waiting;
use selfchain_types::acknowledgement::{Acknowledgement, ShortId};
use selfchain_types::crypto::{BatchItem, BatchVerifier, PublicKey};
use selfchain_types::{Hash, Height};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Blocks that a transaction may wait for before it is overdue: since it was acknowledged, since it came here, and since
/// a block may hold it.
pub const INCLUSION_BOUND: u16 = 8;
/// Bytes of acknowledgements kept of one validator; the oldest are forgotten, and nobody objects for those.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// What an acknowledgement takes beside its list.
const WORD_BYTES: usize = 128;
/// Most signatures that are checked to judge one block.
const CHECKED_MAX: usize = 64;

/// What the others said, by peer.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    peers: BTreeMap<u32, Words>,
}

/// What one of them said.
#[derive(Debug, Default)]
struct Words {
    run: u64,
    /// The newest height at which it said this run.
    height: Height,
    kept: VecDeque<Word>,
    bytes: usize,
}

#[derive(Debug)]
struct Word {
    said: Acknowledgement,
    /// The later of what it says itself and the tip when it came.
    since: Height,
    /// Whether its signature is known to be good.
    is_good: bool,
}

/// By whose word something was acknowledged.
pub(super) struct Signer<'a> {
    pub(super) peer: u32,
    pub(super) key: &'a PublicKey,
    pub(super) chain_id: &'a Hash,
}

/// What of a pool's transactions somebody acknowledged long ago.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Their numbers of arrival.
    pub(super) arrivals: BTreeSet<u64>,
    /// Acknowledgements whose signature is not its.
    pub(super) forged: u64,
}

impl Acknowledged {
    /// A validator said this, when the tip was there. Returns how many acknowledgements were forgotten for it.
    pub(super) fn receive(&mut self, from: u32, said: Acknowledgement, tip: Height) -> u64 {
        let words = self.peers.entry(from).or_default();
        if said.run < words.run {
            return 0;
        }
        if said.run > words.run {
            *words = Words {
                run: said.run,
                ..Words::default()
            };
        }
        words.height = words.height.max(said.height);
        if said.transactions.is_empty() {
            return 0;
        }
        words.bytes += bytes_of(&said);
        words.kept.push_back(Word {
            since: said.height.max(tip),
            said,
            is_good: false,
        });
        words.forget_while(|words| words.bytes > KEPT_BYTES_MAX)
    }

    /// A link came or broke: maybe its other end has restarted. Its words hold again once it says the same run.
    pub(super) fn linked(&mut self, peer: u32) {
        if let Some(words) = self.peers.get_mut(&peer) {
            words.height = Height::GENESIS;
        }
    }

    /// A block is decided. What was acknowledged so long ago that it is in a block or over is let go, and so is what was
    /// said by one that does not sit any more.
    pub(super) fn decided(&mut self, tip: Height, validity_max: u32, sits: impl Fn(u32) -> bool) {
        self.peers.retain(|peer, _| sits(*peer));
        let is_over = |word: &Word| word.since.0.saturating_add(u64::from(validity_max)) < tip.0;
        for words in self.peers.values_mut() {
            words.forget_while(|words| words.kept.front().is_some_and(is_over));
        }
    }

    /// Which of `waiting` a validator acknowledged [`INCLUSION_BOUND`] blocks before the tip or earlier, by signatures of
    /// its own. `seed` spreads the batch of signatures; whoever foresees it deceives others about itself alone.
    pub(super) fn find(
        &mut self,
        waiting: &[Waiting],
        signer: &Signer<'_>,
        tip: Height,
        signatures: &BatchVerifier,
        seed: &Hash,
    ) -> Found {
        let Some(words) = self.peers.get_mut(&signer.peer) else {
            return Found::default();
        };
        // One that has restarted is another run, and the message that says so may be lost.
        if words.height < tip {
            return Found::default();
        }
        let wanted: BTreeMap<ShortId, u64> = waiting
            .iter()
            .map(|one| (ShortId::of(&one.tx_id), one.arrival))
            .collect();
        let is_old = |word: &Word| word.since.0.saturating_add(u64::from(INCLUSION_BOUND)) <= tip.0;
        let mut naming: Vec<(&mut Word, Vec<u64>)> = words
            .kept
            .iter_mut()
            .filter(|word| is_old(word))
            .map(|word| {
                let named = word.said.transactions.iter();
                let named: Vec<u64> = named.filter_map(|id| wanted.get(id).copied()).collect();
                (word, named)
            })
            .filter(|(_, named)| !named.is_empty())
            .collect();
        let unknown = naming.iter_mut().map(|(word, _)| &mut **word);
        let unknown: Vec<&mut Word> = unknown.filter(|word| !word.is_good).take(CHECKED_MAX).collect();
        let forged = check(unknown, signer, signatures, seed);
        let good = naming.iter().filter(|(word, _)| word.is_good);
        let arrivals = good.flat_map(|(_, named)| named.iter().copied()).collect();
        if forged > 0 {
            // A word without a signature is one that was checked and found to be forged.
            words.kept.retain(|word| !word.said.signature.is_empty());
            words.bytes = words.kept.iter().map(|word| bytes_of(&word.said)).sum();
        }
        Found { arrivals, forged }
    }
}

/// Marks the words whose signatures are the signer's, and takes the signatures of the others away; says how many.
fn check(words: Vec<&mut Word>, signer: &Signer<'_>, signatures: &BatchVerifier, seed: &Hash) -> u64 {
    let id = signer.key.id();
    let digests: Vec<Hash> = words
        .iter()
        .map(|word| word.said.digest(signer.chain_id, &id))
        .collect();
    let items: Vec<BatchItem<'_>> = words
        .iter()
        .zip(&digests)
        .map(|(word, digest)| BatchItem {
            key: id,
            scheme: signer.key.scheme(),
            public: signer.key.as_bytes(),
            message: digest.as_bytes(),
            signature: &word.said.signature,
        })
        .collect();
    let answers = signatures.verify(&items, seed.as_bytes());
    let mut forged = 0;
    for (word, answer) in words.into_iter().zip(answers) {
        word.is_good = answer.is_ok();
        if answer.is_err() {
            word.said.signature.clear();
            forged += 1;
        }
    }
    forged
}

impl Words {
    fn forget_while(&mut self, is_too_much: impl Fn(&Self) -> bool) -> u64 {
        let mut forgotten = 0;
        while is_too_much(self) {
            let Some(word) = self.kept.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(bytes_of(&word.said));
            forgotten += 1;
        }
        forgotten
    }
}

fn bytes_of(said: &Acknowledgement) -> usize {
    WORD_BYTES + said.transactions.len() * ShortId::LEN
}

#[cfg(test)]
#[path = "acknowledged_tests.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests;
