//! Batch verification: one multi-scalar product for many signatures, bisected until each answer is known.
//!
//! The equation is that of ZIP-215 (<https://zips.z.cash/zip-0215>, "Batch verification"): with random 128-bit
//! `z_i`, `8·(−Σ z_i·s_i)·B + 8·Σ z_i·R_i + 8·Σ (z_i·k_i)·A_i = 0`. A key is a point whose `A` costs as much to
//! decompress as a signature's `R`, so [`BatchVerifier`] remembers those of keys that have signed well; of long keys it
//! remembers too whose ids they hash to.

use super::hybrid::{self, Halves};
use super::remembered::Remembered;
use super::{Scheme, SignatureError, ed25519};
use crate::{Hash, KeyId, hash};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter::once;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT as BASEPOINT;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest, Sha512};

/// One signature to check.
#[derive(Clone, Copy, Debug)]
pub struct BatchItem<'a> {
    /// The key's id, which is that of scheme and public key: both halves of a hybrid sign it.
    pub key: KeyId,
    /// Its scheme.
    pub scheme: Scheme,
    /// The public key's bytes.
    pub public: &'a [u8],
    /// What was signed.
    pub message: &'a [u8],
    /// The signature's bytes.
    pub signature: &'a [u8],
}

/// Checks signatures in batches, from any number of threads at once. What it remembers makes it faster and
/// changes no answer.
#[derive(Debug)]
pub struct BatchVerifier {
    /// Points of Ed25519 keys, decompressed.
    points: Remembered<EdwardsPoint>,
    /// Long public keys by their ids.
    publics: Remembered<(Scheme, Box<[u8]>)>,
}

/// Most points remembered, 208 bytes each: 13 MiB when all are in use.
const POINTS_MAX: usize = 1 << 16;
/// Most long keys remembered, up to 2 KiB each: 33 MiB when all are in use and of ML-DSA-65.
const PUBLICS_MAX: usize = 1 << 14;
/// Bytes from which hashing a key costs more than comparing it with what is remembered.
const PUBLIC_LONG: usize = 512;

impl Default for BatchVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchVerifier {
    /// A verifier that has seen no key yet.
    pub fn new() -> Self {
        Self {
            points: Remembered::new(POINTS_MAX),
            publics: Remembered::new(PUBLICS_MAX),
        }
    }

    /// Whether `id` is the id of this public key under this scheme.
    pub fn is_id_of(&self, id: &KeyId, scheme: Scheme, public: &[u8]) -> bool {
        self.remembers(id, scheme, public) || KeyId::of(scheme, public) == *id
    }

    fn remembers(&self, id: &KeyId, scheme: Scheme, public: &[u8]) -> bool {
        let is_same = |known: &(Scheme, Box<[u8]>)| known.0 == scheme && *known.1 == *public;
        public.len() >= PUBLIC_LONG && self.publics.find(&id.0.0, is_same) == Some(true)
    }

    /// Checks every item: the answer at `i` is that of [`verify`](super::verify) on item `i`, whatever else is in the batch
    /// (ZIP-215 makes single and batch verification agree). A batch that fails is bisected, so `f` bad
    /// signatures among `n` cost about `f · log₂ n` products more. Items of one key cost less side by side.
    ///
    /// `entropy` seeds the blinding factors; it must be unpredictable to whoever made the signatures.
    pub fn verify(&self, items: &[BatchItem<'_>], entropy: &[u8; 32]) -> Vec<Result<(), SignatureError>> {
        let mut answers: Vec<Result<(), SignatureError>> = Vec::with_capacity(items.len());
        let mut terms = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            answers.push(match self.term(at, item) {
                Ok(term) => {
                    terms.push(term);
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        let mut random = Blinding::new(entropy);
        bisect(&terms, &mut random, &mut |at, error| answers[at] = Err(error));
        for term in terms
            .iter()
            .filter(|term| term.is_new && answers[term.at].is_ok())
        {
            self.points.remember(&term.public, term.a);
        }
        for (item, _) in items.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
            let (key, scheme, public) = (&item.key, item.scheme, item.public);
            if public.len() >= PUBLIC_LONG && !self.remembers(key, scheme, public) {
                self.publics.remember(&key.0.0, (scheme, public.into()));
            }
        }
        answers
    }

    /// What the equation is to hold for. A hybrid's other half is checked here, by itself: only Ed25519 gains from
    /// company.
    fn term<'a>(&self, at: usize, item: &BatchItem<'a>) -> Result<Term<'a>, SignatureError> {
        let invalid = || SignatureError::Invalid {
            scheme: item.scheme.name(),
        };
        let (message, (public, signature)) = match item.scheme {
            Scheme::Ed25519 => (Message::Plain(item.message), (item.public, item.signature)),
            scheme => {
                let halves = Halves::of(scheme, item.public, item.signature)?;
                let digest = hybrid::digest(&item.key, item.message);
                halves.verify_second(scheme, &digest)?;
                (Message::Digest(digest), halves.ed25519)
            }
        };
        let (public, signature) = ed25519::lengths(public, signature)?;
        let known = self.points.find(public, EdwardsPoint::clone);
        let a = known.or_else(|| CompressedEdwardsY(*public).decompress());
        let (r_bytes, s_bytes) = ed25519::halves(signature);
        let s: Option<Scalar> = Scalar::from_canonical_bytes(*s_bytes).into();
        let hash = Sha512::new()
            .chain_update(r_bytes)
            .chain_update(public)
            .chain_update(message.as_bytes());
        Ok(Term {
            at,
            scheme: item.scheme,
            public: *public,
            signature,
            message,
            is_new: known.is_none(),
            a: a.ok_or_else(invalid)?,
            r: CompressedEdwardsY(*r_bytes).decompress().ok_or_else(invalid)?,
            s: s.ok_or_else(invalid)?,
            k: Scalar::from_hash(hash),
        })
    }
}

/// What an Ed25519 half signs.
enum Message<'a> {
    Plain(&'a [u8]),
    Digest(Hash),
}

impl Message<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Digest(digest) => digest.as_bytes(),
        }
    }
}

/// A signature as the equation sees it, and the item it belongs to.
struct Term<'a> {
    at: usize,
    scheme: Scheme,
    public: [u8; 32],
    signature: &'a [u8; 64],
    message: Message<'a>,
    /// The key was not remembered.
    is_new: bool,
    a: EdwardsPoint,
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
}

fn bisect(terms: &[Term<'_>], random: &mut Blinding, refuse: &mut impl FnMut(usize, SignatureError)) {
    match terms {
        [] => {}
        [term] => {
            if ed25519::verify(&term.public, term.message.as_bytes(), term.signature).is_err() {
                let scheme = term.scheme.name();
                refuse(term.at, SignatureError::Invalid { scheme });
            }
        }
        _ if holds(terms, random) => {}
        _ => {
            let (left, right) = terms.split_at(terms.len() / 2);
            bisect(left, random, refuse);
            bisect(right, random, refuse);
        }
    }
}

/// The equation. Neighbours under one key share its term.
fn holds(terms: &[Term<'_>], random: &mut Blinding) -> bool {
    let mut base = Scalar::ZERO;
    let mut scalars = Vec::with_capacity(terms.len() * 2);
    let mut points = Vec::with_capacity(terms.len() * 2);
    for same_key in terms.chunk_by(|a, b| a.public == b.public) {
        let mut of_key = Scalar::ZERO;
        for term in same_key {
            let z = Scalar::from(random.u128());
            base -= z * term.s;
            of_key += z * term.k;
            scalars.push(z);
            points.push(term.r);
        }
        scalars.push(of_key);
        points.push(same_key[0].a);
    }
    EdwardsPoint::vartime_multiscalar_mul(once(&base).chain(&scalars), once(&BASEPOINT).chain(&points))
        .mul_by_cofactor()
        .is_identity()
}

/// BLAKE3's extendable output as the verifier's source of random numbers.
struct Blinding(blake3::OutputReader);

impl Blinding {
    fn new(entropy: &[u8; 32]) -> Self {
        let domain = hash::BATCH.hash(entropy);
        Self(blake3::Hasher::new_keyed(domain.as_bytes()).finalize_xof())
    }

    fn u128(&mut self) -> u128 {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }
}

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
                    key: key.id(),
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
            let answers = BatchVerifier::new().verify(&items, &[3; 32]);
            assert!(
                answers
                    .iter()
                    .enumerate()
                    .all(|(at, answer)| answer.is_ok() == (at != bad))
            );
        }
    }
}
