//! What an envelope accepts and refuses.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use alloc::vec;

fn builder(operations: usize) -> EnvelopeBuilder {
    let operation = Operation::transfer(1, AccountId(1), AccountId(2), Amount(3), AssetId(1));
    EnvelopeBuilder::new(Hash([9; 32]), Height(1), 100, vec![operation; operations])
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn signed() -> Vec<u8> {
    let mut builder = builder(3);
    builder.attachments = b"attached".to_vec();
    builder.sign(&[(&key(), 2, 7), (&SigningKey::from_seed(&[2; 32]), 0, 1)])
}

#[test]
fn every_part_reads_back() {
    let envelope = Envelope::decode(signed()).unwrap();
    let view = envelope.view();
    assert_eq!(view.header().chain_id, Hash([9; 32]));
    assert_eq!(view.signers()[0].key, key().id());
    assert_eq!(
        (view.signers()[0].lane.get(), view.signers()[0].counter.get()),
        (2, 7)
    );
    assert_eq!(view.operations().len(), 3);
    assert_eq!(view.attachments(), b"attached");
    assert_eq!(view.signatures().count(), 2);
    assert!(Verified::check(envelope, &()).is_ok());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = signed();
    for cut in 0..bytes.len() {
        assert!(Envelope::decode(bytes[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    assert!(
        Envelope::decode([&bytes[..], &[0]].concat()).is_err(),
        "one byte more"
    );
}

#[test]
fn every_flipped_bit_is_refused_by_frame_or_signature() {
    let bytes = signed();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let accepted = Envelope::decode(flipped).is_ok_and(|envelope| Verified::check(envelope, &()).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn counts_out_of_range_are_refused() {
    let sign = |builder: EnvelopeBuilder| Envelope::decode(builder.sign(&[(&key(), 0, 1)]));
    assert_eq!(sign(builder(0)), Err(Refusal::OperationsCount));
    assert!(sign(builder(OPERATIONS_MAX)).is_ok());
    assert_eq!(sign(builder(OPERATIONS_MAX + 1)), Err(Refusal::OperationsCount));
    assert_eq!(
        Envelope::decode(builder(1).sign(&[])),
        Err(Refusal::SignersInvalid)
    );
    let twice = builder(1).sign(&[(&key(), 0, 1), (&key(), 1, 1)]);
    assert_eq!(Envelope::decode(twice), Err(Refusal::SignersInvalid));
    assert_eq!(
        Envelope::decode(builder(1).sign(&[(&key(), 16, 1)])),
        Err(Refusal::LaneUnknown)
    );
    let attached = EnvelopeBuilder {
        attachments: vec![0; ATTACHMENTS_MAX + 1],
        ..builder(1)
    };
    assert_eq!(sign(attached), Err(Refusal::AttachmentsTooLarge));
}

#[test]
fn an_unregistered_key_must_come_along() {
    struct Registry(PublicKey);
    impl KeyLookup for Registry {
        fn public_key(&self, id: &KeyId) -> Option<&PublicKey> {
            (self.0.id() == *id).then_some(&self.0)
        }
    }
    let envelope = Envelope::decode(builder(1).sign_registered(&[(&key(), 0, 1)])).unwrap();
    assert_eq!(
        Verified::check(envelope.clone(), &()).unwrap_err().1,
        Refusal::KeyUnknown
    );
    assert!(Verified::check(envelope, &Registry(key().public().clone())).is_ok());
}

#[cfg(feature = "std")]
#[test]
fn batch_and_single_give_the_same_answers() {
    let good = builder(1).sign(&[(&key(), 0, 1)]);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let envelopes: Vec<Envelope> = [&good, &bad, &good, &bad, &bad]
        .iter()
        .map(|bytes| Envelope::decode((*bytes).clone()).unwrap())
        .collect();
    let single: Vec<bool> = envelopes
        .iter()
        .map(|one| Verified::check(one.clone(), &()).is_ok())
        .collect();
    let batch: Vec<bool> =
        Verified::check_batch(envelopes, &(), &crate::crypto::BatchVerifier::new(), &[1; 32])
            .iter()
            .map(Result::is_ok)
            .collect();
    assert_eq!(single, batch);
    assert_eq!(batch, [true, false, true, false, false]);
}
