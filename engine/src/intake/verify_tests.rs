//! What intake accepts and refuses, whatever else is in the batch.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::*;
use crate::intake::Dedupe;
use proptest::prelude::*;
use selfchain_types::crypto::{BatchVerifier, PublicKey, SigningKey};
use selfchain_types::{AccountId, Amount, AssetId, EnvelopeBuilder, Height, KeyId, Operation};

const CHAIN: Hash = Hash([9; 32]);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn builder(chain: Hash, id: u128) -> EnvelopeBuilder {
    let operation = Operation::transfer(id, AccountId(1), AccountId(2), Amount(3), AssetId(1));
    EnvelopeBuilder::new(chain, Height(1), 100, vec![operation])
}

fn good(id: u128) -> Vec<u8> {
    builder(CHAIN, id).sign(&[(&key((id % 7) as u8), 0, id as u64)])
}

/// Every way an envelope can be wrong, by what it must be answered.
fn sample(id: u128, way: u8) -> (Vec<u8>, Result<(), Refusal>) {
    let mut bytes = good(id);
    let len = bytes.len();
    match way {
        0 => (bytes, Ok(())),
        1 => {
            bytes[len - 1] ^= 1;
            (bytes, Err(Refusal::SignatureInvalid))
        }
        2 => {
            bytes.truncate(len / 2);
            (bytes, Err(Refusal::Malformed))
        }
        3 => (
            builder(Hash([8; 32]), id).sign(&[(&key(1), 0, 1)]),
            Err(Refusal::WrongChain),
        ),
        4 => (
            builder(CHAIN, id).sign_registered(&[(&key(1), 0, 1)]),
            Err(Refusal::KeyUnknown),
        ),
        5 => {
            bytes[104] ^= 1;
            (bytes, Err(Refusal::KeyMismatch))
        }
        6 => (
            builder(CHAIN, id).sign(&[(&key(1), 0, 1), (&key(2), 3, 1)]),
            Ok(()),
        ),
        _ => (Vec::new(), Err(Refusal::Malformed)),
    }
}

fn check(ways: &[u8]) {
    let samples: Vec<_> = ways
        .iter()
        .enumerate()
        .map(|(at, way)| sample(at as u128 + 1, *way))
        .collect();
    let frames = samples
        .iter()
        .enumerate()
        .map(|(at, (bytes, _))| (bytes.clone(), at))
        .collect();
    let answers = verify_batch(frames, &CHAIN, &(), &BatchVerifier::new(), &[5; 32]);
    assert_eq!(answers.len(), samples.len());
    for (at, ((tag, answer), (bytes, want))) in answers.into_iter().zip(samples).enumerate() {
        assert_eq!(tag, at, "answers come in order");
        assert_eq!(
            answer.as_ref().map(|_| ()),
            want.as_ref().map(|_| ()),
            "frame {at}"
        );
        if let Ok(verified) = answer {
            assert_eq!(verified.as_bytes(), bytes, "frame {at} is the one that came");
        }
    }
}

#[test]
fn every_frame_gets_its_own_answer_in_order() {
    check(&[]);
    check(&[0]);
    check(&[1]);
    check(&[7]);
    check(&(0..100).map(|at| at % 8).collect::<Vec<u8>>());
    let mut ways = vec![0; 700];
    ways[699] = 1;
    ways[0] = 1;
    check(&ways);
}

#[test]
fn registered_keys_come_from_the_look_up() {
    struct Registry(PublicKey);
    impl KeyLookup for Registry {
        fn public_key(&self, id: &KeyId) -> Option<&PublicKey> {
            (self.0.id() == *id).then_some(&self.0)
        }
    }
    let bytes = builder(CHAIN, 1).sign_registered(&[(&key(1), 0, 1)]);
    let answers = verify_batch(
        vec![(bytes, ())],
        &CHAIN,
        &Registry(key(1).public().clone()),
        &BatchVerifier::new(),
        &[1; 32],
    );
    assert!(answers[0].1.is_ok());
}

#[test]
fn a_cheap_reason_refuses_before_the_signatures() {
    let mut forged = good(1);
    *forged.last_mut().unwrap() ^= 1;
    let waiting = Envelope::decode(good(1)).unwrap().tx_id();
    let mut dedupe = Dedupe::new(10);
    dedupe.insert(waiting);
    let mut decoded = Decoded::new(vec![(forged, 0), (good(2), 1), (Vec::new(), 2)], &CHAIN);
    decoded.refuse(|envelope| dedupe.contains(&envelope.tx_id()).then_some(Refusal::Waiting));
    let answers = decoded.verify(&(), None, &BatchVerifier::new(), &[1; 32]);
    assert_eq!(answers[0].1.as_ref().unwrap_err(), &Refusal::Waiting);
    assert!(answers[1].1.is_ok());
    assert_eq!(answers[2].1.as_ref().unwrap_err(), &Refusal::Malformed);
}

#[derive(Default)]
struct Leaves(std::sync::Mutex<std::collections::BTreeSet<Hash>>);

impl KnownEnvelopes for Leaves {
    fn holds(&self, leaf: &Hash) -> bool {
        self.0.lock().unwrap().contains(leaf)
    }

    fn add(&self, leaf: Hash) {
        self.0.lock().unwrap().insert(leaf);
    }
}

#[test]
fn what_was_verified_is_known_and_what_is_known_is_not_verified() {
    let mut forged = good(1);
    *forged.last_mut().unwrap() ^= 1;
    let known = Leaves::default();
    let answer = |bytes: &[u8]| {
        let decoded = Decoded::new(vec![(bytes.to_vec(), ())], &CHAIN);
        let mut answers = decoded.verify(&(), Some(&known), &BatchVerifier::new(), &[1; 32]);
        answers.remove(0).1.map(|_| ())
    };
    assert_eq!(answer(&forged), Err(Refusal::SignatureInvalid));
    assert_eq!(answer(&good(1)), Ok(()));
    assert_eq!(
        answer(&forged),
        Err(Refusal::SignatureInvalid),
        "other bytes are another leaf"
    );
    let leaves = known.0.lock().unwrap().clone();
    let leaf = Envelope::decode(good(1)).unwrap().leaf();
    assert_eq!(leaves.into_iter().collect::<Vec<_>>(), [leaf]);
    known.add(Envelope::decode(forged.clone()).unwrap().leaf());
    assert_eq!(answer(&forged), Ok(()), "it is taken at its word");
}

#[test]
fn batches_are_even_and_bounded() {
    for (len, each, cores, want) in [
        (0, 1, 2, 1),
        (1, 1, 2, 1),
        (63, 1, 2, 63),
        (64, 1, 2, 32),
        (256, 1, 2, 128),
        (300, 1, 2, 150),
        (600, 1, 2, 300),
        (4_096, 1, 2, 512),
        (8_193, 1, 16, 257),
        (100, 1, 64, 34),
        // Dearer ones are worth another core earlier, and fewer of them are a batch.
        (1, 36, 2, 1),
        (10, 12, 2, 5),
        (2_048, 3, 2, 512),
        (2_048, 12, 2, 128),
    ] {
        assert_eq!(batch_len(len, len * each, cores), want, "{len} on {cores}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_mixture_gets_the_answers_of_its_parts(ways in prop::collection::vec(0u8..8, 0..80)) {
        check(&ways);
    }

    #[test]
    fn garbage_never_panics(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..40),
        bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut flipped = good(3);
        let at = bit.index(flipped.len() * 8);
        flipped[at / 8] ^= 1 << (at % 8);
        let mut short = good(4);
        short.truncate(cut.index(short.len()));
        let mut framed: Vec<(Vec<u8>, ())> = frames.into_iter().map(|bytes| (bytes, ())).collect();
        framed.push((flipped, ()));
        framed.push((short, ()));
        for (_, answer) in verify_batch(framed, &CHAIN, &(), &BatchVerifier::new(), &[2; 32]) {
            prop_assert!(answer.is_err());
        }
    }
}
