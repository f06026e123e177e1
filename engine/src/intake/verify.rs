//! Checks the signatures of many envelopes at once, on every core of the caller's rayon pool.

use super::Decoded;
use rayon::prelude::*;
use selfchain_types::codec::wide;
use selfchain_types::crypto::{BatchVerifier, Scheme};
use selfchain_types::envelope::KeyLookup;
use selfchain_types::{Envelope, Hash, Refusal, Verified, hash};

/// Decodes every frame, refuses those of another chain, checks the signatures of the rest, and answers in
/// the order of `frames`; each answer carries the frame's tag. See [`Decoded::verify`].
pub fn verify_batch<T: Send>(
    frames: Vec<(Vec<u8>, T)>,
    chain_id: &Hash,
    keys: &(impl KeyLookup + Sync),
    verifier: &BatchVerifier,
    entropy: &[u8; 32],
) -> Vec<(T, Result<Verified, Refusal>)> {
    Decoded::new(frames, chain_id).verify(keys, None, verifier, entropy)
}

/// Whole envelopes that were verified here before, by [`Envelope::leaf`]: a validator meets a transaction twice, by
/// itself and in a block, in whichever order.
pub trait KnownEnvelopes: Sync {
    /// Whether these very bytes were verified.
    fn holds(&self, leaf: &Hash) -> bool;

    /// They were.
    fn add(&self, leaf: Hash);
}

/// Most envelopes whose signatures are checked as one product. Larger products are hardly cheaper a
/// signature, and one bad signature spoils its whole batch.
pub const VERIFY_BATCH_MAX: usize = 512;
/// Most work in a batch, in signatures of Ed25519: some 15 ms, for which others may have to wait in the end.
const VERIFY_WORK_MAX: usize = 1_536;
/// Fewest envelopes for which another core is woken: below, the product loses more than the core wins.
pub const VERIFY_BATCH_MIN: usize = 32;

impl<T: Send> Decoded<T> {
    /// Checks the signatures, and answers in order.
    ///
    /// Batches hold the envelopes of one signer together: their key is then decompressed and multiplied
    /// once, and whoever sends bad signatures spoils few batches of others. No answer depends on what else
    /// is in the batch.
    ///
    /// `keys` finds the registered keys that envelopes do not bring along. What is `known` is not checked again, what
    /// was found good is known from then on. `entropy` seeds the blinding
    /// factors: fresh for every call, and unpredictable to whoever made the signatures.
    pub fn verify(
        self,
        keys: &(impl KeyLookup + Sync),
        known: Option<&dyn KnownEnvelopes>,
        verifier: &BatchVerifier,
        entropy: &[u8; 32],
    ) -> Vec<(T, Result<Verified, Refusal>)> {
        let mut tags = Vec::with_capacity(self.0.len());
        let mut answers = Vec::with_capacity(self.0.len());
        let mut waiting = Vec::with_capacity(self.0.len());
        for (place, (tag, decoded)) in self.0.into_iter().enumerate() {
            tags.push(tag);
            match decoded {
                Ok(envelope) if known.is_some_and(|known| known.holds(&envelope.leaf())) => {
                    answers.push(Some(Ok(Verified::known(envelope))));
                }
                Ok(envelope) => {
                    waiting.push((first_signer(&envelope), place, Some(envelope)));
                    answers.push(None);
                }
                Err(refusal) => answers.push(Some(Err(refusal))),
            }
        }
        waiting.sort_unstable_by_key(|(signer, place, _)| (*signer, *place));
        let work = waiting
            .iter()
            .filter_map(|(.., envelope)| envelope.as_ref())
            .map(work_of)
            .sum();
        let batch_len = batch_len(waiting.len(), work, rayon::current_num_threads());
        let checked: Vec<Vec<(usize, Answer)>> = waiting
            .par_chunks_mut(batch_len)
            .enumerate()
            .map(|(at, batch)| {
                let entropy = hash::BATCH.hash_parts(&[entropy, &wide(at).to_le_bytes()]);
                check(batch, keys, known, verifier, &entropy)
            })
            .collect();
        for (place, answer) in checked.into_iter().flatten() {
            answers[place] = Some(answer);
        }
        let answers = answers
            .into_iter()
            .map(|answer| answer.expect("every envelope is in one batch"));
        tags.into_iter().zip(answers).collect()
    }
}

type Answer = Result<Verified, Refusal>;

/// A signer's mark, the frame's place, and the envelope until it is checked.
type Waiting = (u64, usize, Option<Envelope>);

fn check(
    batch: &mut [Waiting],
    keys: &impl KeyLookup,
    known: Option<&dyn KnownEnvelopes>,
    verifier: &BatchVerifier,
    entropy: &Hash,
) -> Vec<(usize, Answer)> {
    let envelopes = batch
        .iter_mut()
        .filter_map(|(.., envelope)| envelope.take())
        .collect();
    let checked = Verified::check_batch(envelopes, keys, verifier, entropy.as_bytes());
    if let Some(known) = known {
        let good = checked.iter().flatten();
        good.for_each(|verified| known.add(verified.leaf()));
    }
    let places = batch.iter().map(|(_, place, _)| *place);
    places
        .zip(checked)
        .map(|(place, checked)| (place, checked.map_err(|(_, refusal)| refusal)))
        .collect()
}

/// The front of the first signer's key id: enough to bring equal ones together.
fn first_signer(envelope: &Envelope) -> u64 {
    let id = envelope.view().signers()[0].key.0;
    let front = id.as_bytes().first_chunk().expect("a hash is longer than a u64");
    u64::from_le_bytes(*front)
}

/// What checking an envelope costs, in signatures of Ed25519 in a large batch, about.
fn work_of(envelope: &Envelope) -> usize {
    let of = |scheme| match scheme {
        Scheme::Ed25519 => 1,
        Scheme::Ed25519MlDsa44 => 3,
        Scheme::Ed25519MlDsa65 => 5,
        Scheme::Ed25519SlhDsa128s => 12,
        Scheme::Ed25519SlhDsa128f => 36,
    };
    envelope.view().signatures().map(|entry| of(entry.scheme)).sum()
}

/// How many of `len` envelopes go in a batch so that every core that is worth waking is equally busy.
fn batch_len(len: usize, work: usize, cores: usize) -> usize {
    let worth = (work / VERIFY_BATCH_MIN).clamp(1, cores.max(1)).min(len.max(1));
    let batches = len.div_ceil(VERIFY_BATCH_MAX).max(work.div_ceil(VERIFY_WORK_MAX));
    let batches = batches.max(1).next_multiple_of(worth);
    len.div_ceil(batches).max(1)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
