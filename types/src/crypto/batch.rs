//! Batch verification: one multi-scalar product for many signatures, bisected until each answer is known.

use super::{Scheme, SignatureError, ed25519};
use crate::hash;
use alloc::vec::Vec;
use ed25519_zebra::batch;

/// One signature to check.
#[derive(Clone, Copy, Debug)]
pub struct BatchItem<'a> {
    /// Its scheme.
    pub scheme: Scheme,
    /// The public key's bytes.
    pub public: &'a [u8],
    /// What was signed.
    pub message: &'a [u8],
    /// The signature's bytes.
    pub signature: &'a [u8],
}

/// Checks every item: the answer at `i` is that of `verify` on item `i`, whatever else is in the batch
/// (ZIP-215 makes single and batch verification agree). A batch that fails is bisected, so `f` bad
/// signatures among `n` cost about `f · log₂ n` products more.
///
/// `entropy` seeds the blinding factors; it must be unpredictable to whoever made the signatures.
pub fn verify_batch(items: &[BatchItem<'_>], entropy: &[u8; 32]) -> Vec<Result<(), SignatureError>> {
    let mut answers: Vec<Result<(), SignatureError>> = Vec::with_capacity(items.len());
    let mut prepared = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        match ed25519::parse(item.public, item.signature) {
            Ok((public, signature)) => {
                prepared.push((at, batch::Item::from((public, signature, item.message))));
                answers.push(Ok(()));
            }
            Err(error) => answers.push(Err(error)),
        }
    }
    let mut random = Blinding::new(entropy);
    bisect(&prepared, &mut random, &mut |at| {
        answers[at] = Err(SignatureError::Invalid {
            scheme: items[at].scheme.name(),
        });
    });
    answers
}

fn bisect(items: &[(usize, batch::Item)], random: &mut Blinding, refuse: &mut impl FnMut(usize)) {
    match items {
        [] => {}
        [(at, item)] => {
            if item.clone().verify_single().is_err() {
                refuse(*at);
            }
        }
        _ => {
            let mut verifier = batch::Verifier::new();
            items.iter().for_each(|(_, item)| verifier.queue(item.clone()));
            if verifier.verify(&mut *random).is_err() {
                let (left, right) = items.split_at(items.len() / 2);
                bisect(left, random, refuse);
                bisect(right, random, refuse);
            }
        }
    }
}

/// BLAKE3's extendable output as the verifier's source of random numbers.
struct Blinding(blake3::OutputReader);

impl Blinding {
    fn new(entropy: &[u8; 32]) -> Self {
        let domain = hash::BATCH.hash(entropy);
        Self(blake3::Hasher::new_keyed(domain.as_bytes()).finalize_xof())
    }
}

impl rand_core::TryRng for Blinding {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Blinding {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    #[test]
    fn a_bad_signature_is_found_wherever_it_stands() {
        let key = SigningKey::from_seed(&[7; 32]);
        let messages: Vec<[u8; 1]> = (0..9).map(|byte| [byte]).collect();
        let signatures: Vec<Vec<u8>> = messages.iter().map(|message| key.sign(message)).collect();
        for bad in 0..messages.len() {
            let items: Vec<BatchItem<'_>> = messages
                .iter()
                .enumerate()
                .map(|(at, message)| BatchItem {
                    scheme: Scheme::Ed25519,
                    public: key.public().as_bytes(),
                    message,
                    signature: if at == bad {
                        &signatures[(at + 1) % 9]
                    } else {
                        &signatures[at]
                    },
                })
                .collect();
            let answers = verify_batch(&items, &[3; 32]);
            assert!(
                answers
                    .iter()
                    .enumerate()
                    .all(|(at, answer)| answer.is_ok() == (at != bad))
            );
        }
    }
}
