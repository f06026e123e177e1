//! Chains whose validators sign with hybrids of Ed25519 and ML-DSA: that they agree, prove and are followed as others,
//! and that what they send and keep fits where it goes.

use rayon::prelude::*;
use selfchain::engine::proof::{FollowError, Handover, PROOF_BYTES_MAX, ProofError, TrustedSet};
use selfchain::types::ballot::{Ballot, EXTENSION_BYTES_MAX, SIGNATURE_BYTES_MAX, Statement};
use selfchain::types::block::Header;
use selfchain::types::certificate::{Certificate, CertificateError, Precommit, precommit_digest};
use selfchain::types::codec;
use selfchain::types::crypto::{PublicKey, Scheme, SigningKey};
use selfchain::types::genesis::{Limits, Plane, Validator, validators_hash};
use selfchain::types::late::LATE_BLOCKS;
use selfchain::types::{Hash, Height, KeyId, TimeNs};
use selfchain_storage::handovers::RECORD_BYTES_MAX;
use selfchain_tests::simulator::{Broken, Outcome, Plan, run};
use selfchain_transport::links::{Lane, LinkLimits, PEERS_MAX};

const CHAIN: Hash = Hash([1; 32]);

fn key(seed: u8) -> SigningKey {
    let scheme = if seed.is_multiple_of(2) {
        Scheme::Ed25519MlDsa65
    } else {
        Scheme::Ed25519MlDsa44
    };
    SigningKey::of_scheme(scheme, &[seed; 32]).unwrap()
}

fn set(seeds: &[u8]) -> Vec<Validator> {
    let validator = |seed: &u8| Validator {
        key: key(*seed).public().clone(),
        power: 1,
    };
    seeds.iter().map(validator).collect()
}

fn header(height: u64, seeds: &[u8], next: &[u8]) -> Header {
    Header {
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
    }
}

fn certified(header: &Header, seeds: &[u8]) -> Certificate {
    let block = header.hash();
    let digest = precommit_digest(&CHAIN, header.height, 0, &block, &[]);
    let precommits = (0..).zip(seeds).map(|(validator, seed)| Precommit {
        validator,
        extension: Vec::new(),
        signature: key(*seed).sign(digest.as_bytes()),
    });
    Certificate {
        height: header.height,
        round: 0,
        block,
        precommits: precommits.collect(),
    }
}

fn handover(header: &Header, certificate: &Certificate, next: &[u8]) -> Handover {
    let mut bytes = Vec::new();
    certificate.encode(&mut bytes);
    let made = Handover {
        header: header.to_bytes(),
        certificate: bytes,
        next: set(next),
    };
    Handover::decode(&made.to_bytes()).unwrap()
}

#[test]
fn sets_that_sign_with_hybrids_are_followed_and_no_half_of_a_signature_passes() {
    let (first, second) = ([1, 2, 3, 4], [2, 3, 4, 5]);
    let header = header(16, &first, &second);
    let certificate = certified(&header, &first);
    let mut trusted = TrustedSet::new(Height(1), set(&first));
    trusted
        .follow(&CHAIN, &handover(&header, &certificate, &second))
        .unwrap();
    assert_eq!(trusted.since(), Height(17));
    assert_eq!(trusted.validators(), set(&second));
    // An Ed25519 half that was forged, and an ML-DSA half that was.
    for byte in [3, 64 + 700] {
        let mut forged = certificate.clone();
        forged.precommits[1].signature[byte] ^= 1;
        let mut trusted = TrustedSet::new(Height(1), set(&first));
        let refused = trusted.follow(&CHAIN, &handover(&header, &forged, &second));
        let because = ProofError::Certificate(CertificateError::Signature { at: 1 });
        assert_eq!(refused, Err(FollowError::Proof(because)), "byte {byte}");
    }
    // The Ed25519 half alone, in place of the whole.
    let mut stripped = certificate;
    stripped.precommits[0].signature.truncate(64);
    let mut trusted = TrustedSet::new(Height(1), set(&first));
    assert!(
        trusted
            .follow(&CHAIN, &handover(&header, &stripped, &second))
            .is_err()
    );
}

#[test]
fn validators_with_hybrid_keys_agree_among_faults_and_convict_who_signs_twice() {
    let outcomes: Vec<(Plan, Result<Outcome, Broken>)> = (0..8)
        .into_par_iter()
        .map(|seed| {
            let plane = if seed % 2 == 0 { Plane::Stake } else { Plane::Poai };
            let base = match seed {
                6 | 7 => Plan::losing(seed, plane, 4, 90),
                _ => Plan::of_seed(seed, plane, 4, 40),
            };
            let plan = Plan {
                pq_votes: true,
                ..base
            };
            let outcome = run(&plan);
            (plan, outcome)
        })
        .collect();
    let (mut proofs, mut left, mut joins) = (0, 0, 0);
    for (plan, outcome) in outcomes {
        let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\n{plan:?}"));
        assert!(outcome.transactions > 0);
        proofs += outcome.proofs;
        left += usize::from(outcome.liar_left.is_some());
        joins += outcome.joins;
    }
    assert!(
        proofs > 0 && left > 0,
        "{proofs} proofs, {left} convicted: too few to show anything"
    );
    assert!(joins > 0, "nobody joined by a snapshot");
}

/// A validator with the longest key that one may have, and of a certificate its longest part.
const LONGEST: Scheme = Scheme::Ed25519MlDsa65;

fn largest(validators: usize) -> (Vec<Validator>, Certificate) {
    let validator = |at: usize| {
        let mut bytes = vec![7; LONGEST.public_len()];
        bytes[..8].copy_from_slice(&at.to_le_bytes());
        Validator {
            key: PublicKey::new(LONGEST, &bytes).unwrap(),
            power: 1,
        }
    };
    let precommit = |validator: usize| Precommit {
        validator: u16::try_from(validator).unwrap(),
        extension: vec![1; EXTENSION_BYTES_MAX],
        signature: vec![2; LONGEST.signature_len()],
    };
    let certificate = Certificate {
        height: Height(1),
        round: 0,
        block: Hash::ZERO,
        precommits: (0..validators).map(precommit).collect(),
    };
    ((0..validators).map(validator).collect(), certificate)
}

#[test]
fn what_hundreds_of_them_send_and_keep_fits_where_it_goes() {
    const { assert!(LONGEST.signature_len() <= SIGNATURE_BYTES_MAX) };
    let limits = LinkLimits::default();
    let frame = |lane: Lane| limits.lane(lane).frame_bytes_max;
    let linked = PEERS_MAX + 1;
    for validators in [100, linked] {
        let (set, certificate) = largest(validators);
        let mut bytes = Vec::new();
        certificate.encode(&mut bytes);
        assert!(validators != 100 || bytes.len() < 400_000, "{}", bytes.len());
        // A list of everybody's ballots, before the sender's tip.
        let ballot = |precommit: &Precommit| Ballot {
            height: Height(1),
            round: 0,
            validator: precommit.validator,
            statement: Statement::Precommit(Hash::ZERO, precommit.extension.clone()),
            signature: precommit.signature.clone(),
        };
        let list: usize = certificate
            .precommits
            .iter()
            .map(|one| ballot(one).to_bytes().len())
            .sum();
        assert!(list + 16 <= frame(Lane::Votes), "{list} bytes of ballots");
        // A full block: its envelopes with their lengths, scores and reasons, the parent's certificate, every late
        // precommit that it may have, every proof; and beside it its own certificate.
        let limits = Limits::default();
        let effects = codec::index(limits.block_effects_max);
        let evidence = 16 * 2 * (64 + LONGEST.signature_len());
        let late = codec::index(u32::try_from(LATE_BLOCKS).unwrap()) * (bytes.len() / 3);
        let full = codec::index(limits.block_bytes_max) + 4 * 65_536 + 8 * effects + evidence + late;
        assert!(full + bytes.len() + 1_024 <= frame(Lane::Bodies));
        assert!(full + 2 * bytes.len() + 1_024 <= frame(Lane::Sync));
        // A handover, which is a proof too.
        let handover = Handover {
            header: vec![0; 700],
            certificate: bytes,
            next: set,
        };
        let handover = handover.to_bytes().len();
        assert!(handover <= PROOF_BYTES_MAX && handover <= RECORD_BYTES_MAX);
    }
}
