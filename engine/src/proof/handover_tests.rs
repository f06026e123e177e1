//! Sets that hand over to one another, and strangers who would like to be the next.

use super::*;
use selfchain_types::certificate::{Certificate, CertificateError, Precommit, precommit_digest};
use selfchain_types::crypto::SigningKey;
use selfchain_types::{KeyId, TimeNs};

const CHAIN: Hash = Hash([1; 32]);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// Validators of one power each, with these seeds.
fn set(seeds: &[u8]) -> Vec<Validator> {
    let validator = |seed: &u8| Validator {
        key: key(*seed).public().clone(),
        power: 1,
    };
    seeds.iter().map(validator).collect()
}

/// A header of this height, decided by all of `seeds`, which names the next set.
fn decided(height: u64, seeds: &[u8], next: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let header = Header {
        protocol_version: 1,
        chain_id: CHAIN,
        height: Height(height),
        round: 0,
        parent: Hash([2; 32]),
        time_ns: TimeNs(99),
        proposer: KeyId(Hash([3; 32])),
        reveal: Hash::ZERO,
        transactions_root: Hash([4; 32]),
        body_hash: Hash([5; 32]),
        state_root: Hash([6; 32]),
        receipts_root: Hash([7; 32]),
        receipts_size: 8,
        validators_hash: validators_hash(&set(seeds)),
        next_validators_hash: validators_hash(&set(next)),
        models: Vec::new(),
        policy_version: 1,
    };
    let block = header.hash();
    let digest = precommit_digest(&CHAIN, Height(height), 0, &block, &[]);
    let precommits = (0..).zip(seeds).map(|(validator, seed)| Precommit {
        validator,
        extension: Vec::new(),
        signature: key(*seed).sign(digest.as_bytes()),
    });
    let certificate = Certificate {
        height: Height(height),
        round: 0,
        block,
        precommits: precommits.collect(),
    };
    let mut bytes = Vec::new();
    certificate.encode(&mut bytes);
    (header.to_bytes(), bytes)
}

fn handover(height: u64, seeds: &[u8], next: &[u8]) -> Handover {
    let (header, certificate) = decided(height, seeds, next);
    Handover {
        header,
        certificate,
        next: set(next),
    }
}

#[test]
fn a_set_is_followed_through_its_changes_and_headers_of_each_are_believed() {
    let mut trusted = TrustedSet::new(Height(1), set(&[1, 2, 3]));
    let links = [
        handover(16, &[1, 2, 3], &[2, 3, 4]),
        // Epochs without a change need no handover.
        handover(80, &[2, 3, 4], &[4, 5, 6]),
    ];
    for (link, since) in links.iter().zip([17, 81]) {
        trusted.follow(&CHAIN, link).unwrap();
        assert_eq!(trusted.since(), Height(since));
        assert_eq!(trusted.validators(), link.next);
    }
    let (header, certificate) = decided(1_000, &[4, 5, 6], &[4, 5, 6]);
    let (_, proved) = trusted.vouch(&CHAIN, &header, &certificate).unwrap();
    assert_eq!(proved.height, Height(1_000));
    let (header, certificate) = decided(1_000, &[1, 2, 3], &[1, 2, 3]);
    let error = trusted.vouch(&CHAIN, &header, &certificate).unwrap_err();
    assert!(
        matches!(error, FollowError::Proof(ProofError::Validators { .. })),
        "{error}"
    );
    let (header, certificate) = decided(80, &[4, 5, 6], &[4, 5, 6]);
    let error = trusted.vouch(&CHAIN, &header, &certificate).unwrap_err();
    let (got, since) = (Height(80), Height(81));
    assert_eq!(error, FollowError::Early { got, since });
}

#[test]
fn nobody_takes_over_without_two_thirds_of_the_set_before() {
    let founders = TrustedSet::new(Height(1), set(&[1, 2, 3]));
    let refused = |link: &Handover| {
        let mut trusted = founders.clone();
        let error = trusted.follow(&CHAIN, link).unwrap_err();
        assert_eq!(trusted, founders, "nothing changes after {error}");
        error
    };
    let strangers = handover(16, &[7, 8, 9], &[7, 8, 9]);
    assert!(matches!(
        refused(&strangers),
        FollowError::Proof(ProofError::Validators { .. })
    ));

    // Two of three are not more than two thirds.
    let mut few = handover(16, &[1, 2, 3], &[7, 8, 9]);
    let mut certificate = Certificate::decode(&few.certificate).unwrap();
    certificate.precommits.pop();
    few.certificate.clear();
    certificate.encode(&mut few.certificate);
    let power = CertificateError::Power { got: 2, total: 3 };
    assert_eq!(refused(&few), FollowError::Proof(ProofError::Certificate(power)));

    let mut other = handover(16, &[1, 2, 3], &[2, 3, 4]);
    other.next = set(&[7, 8, 9]);
    assert!(matches!(refused(&other), FollowError::Next { .. }));

    let mut heavier = handover(16, &[1, 2, 3], &[2, 3, 4]);
    heavier.next[0].power = 100;
    assert!(matches!(refused(&heavier), FollowError::Next { .. }));

    let same = handover(16, &[1, 2, 3], &[1, 2, 3]);
    assert_eq!(refused(&same), FollowError::Same { height: Height(16) });

    let link = handover(16, &[1, 2, 3], &[2, 3, 4]);
    let error = founders.clone().follow(&Hash([9; 32]), &link).unwrap_err();
    assert!(
        matches!(error, FollowError::Proof(ProofError::Chain { .. })),
        "{error}"
    );
}

#[test]
fn every_flipped_bit_of_a_handover_is_refused() {
    let link = handover(16, &[1, 2, 3], &[2, 3, 4]);
    let bytes = link.to_bytes();
    assert_eq!(Handover::decode(&bytes), Ok(link));
    for at in 0..bytes.len() {
        for bit in [0, 5] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let mut trusted = TrustedSet::new(Height(1), set(&[1, 2, 3]));
            let followed = Handover::decode(&flipped).map(|link| trusted.follow(&CHAIN, &link));
            assert!(!matches!(followed, Ok(Ok(()))), "byte {at}, bit {bit}");
        }
        assert!(Handover::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(
        Handover::decode(&[]),
        Err(DecodeError::MissingSection { kind: 1 })
    );
    assert!(Handover::decode(&[0; 9]).is_err());
}
