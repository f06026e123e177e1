//! Signers that name the next ones, and headers that nobody signed. With SLH-DSA, whose verification needs no C compiler.

use super::*;
use selfchain_types::certificate::precommit_digest;
use selfchain_types::checkpoint::Signer;
use selfchain_types::crypto::{Scheme, SigningKey};
use selfchain_types::TimeNs;
use std::sync::OnceLock;

const CHAIN: Hash = Hash([1; 32]);
const SCHEME: Scheme = Scheme::Ed25519SlhDsa128f;

/// Keys are slow to make.
fn key(seed: usize) -> &'static SigningKey {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let seeds = 0..8;
        seeds
            .map(|seed| SigningKey::of_scheme(SCHEME, &[seed; 32]).unwrap())
            .collect()
    });
    &keys[seed]
}

/// Signers of one power each, among validators with this power.
fn set(seeds: &[usize], power: u64) -> CheckpointSet {
    let signer = |seed: &usize| Signer {
        key: key(*seed).public().clone(),
        power: 1,
    };
    CheckpointSet {
        power,
        signers: seeds.iter().map(signer).collect(),
    }
}

fn header(height: u64) -> Header {
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
        validators_hash: Hash([8; 32]),
        next_validators_hash: Hash([8; 32]),
        models: Vec::new(),
        policy_version: 1,
    }
}

fn signed(header: &Header, digest: &Hash, seeds: &[usize], next: CheckpointSet) -> Checkpoint {
    let mut signatures: Vec<CheckpointSignature> = seeds
        .iter()
        .map(|seed| CheckpointSignature {
            key: key(*seed).id(),
            signature: key(*seed).sign(digest.as_bytes()),
        })
        .collect();
    signatures.sort_by_key(|one| one.key);
    Checkpoint {
        header: header.to_bytes(),
        next,
        signatures,
    }
}

fn checkpoint(height: u64, seeds: &[usize], next: CheckpointSet) -> Checkpoint {
    let header = header(height);
    let digest = checkpoint_digest(&CHAIN, Height(height), &header.hash(), &next.hash());
    signed(&header, &digest, seeds, next)
}

fn trusted() -> TrustedSigners {
    TrustedSigners::new(Height::GENESIS, set(&[0, 1, 2], 3))
}

fn refused(checkpoint: &Checkpoint) -> CheckpointError {
    let mut signers = trusted();
    let error = signers.follow(&CHAIN, checkpoint).unwrap_err();
    assert_eq!(signers, trusted(), "nothing has changed");
    error
}

#[test]
fn each_set_of_signers_names_the_next_and_none_is_skipped() {
    let chain = [
        checkpoint(10, &[0, 1, 2], set(&[2, 3, 4], 3)),
        checkpoint(20, &[2, 3, 4], set(&[4, 5, 6], 3)),
        checkpoint(40, &[4, 5, 6], set(&[4, 5, 6], 3)),
    ];
    let chain = decode_checkpoints(&encode_checkpoints(&chain)).unwrap();
    let mut signers = trusted();
    for (one, height) in chain.iter().zip([10, 20, 40]) {
        assert_eq!(signers.follow(&CHAIN, one).unwrap().height, Height(height));
        assert_eq!((signers.since(), signers.set()), (Height(height), &one.next));
    }
    assert!(matches!(refused(&chain[1]), CheckpointError::Stranger { .. }));
    assert!(matches!(refused(&chain[2]), CheckpointError::Stranger { .. }));
    let again = signers.follow(&CHAIN, &chain[1]);
    let (got, since) = (Height(20), Height(40));
    assert_eq!(again, Err(CheckpointError::Early { got, since }));
}

#[test]
fn too_little_power_is_refused_and_power_without_a_key_counts_against() {
    let next = || set(&[0, 1, 2], 3);
    let two = checkpoint(10, &[0, 1], next());
    assert_eq!(refused(&two), CheckpointError::Power { got: 2, total: 3 });
    let mut fourth = TrustedSigners::new(Height::GENESIS, set(&[0, 1, 2], 4));
    assert!(fourth.follow(&CHAIN, &checkpoint(10, &[0, 1, 2], next())).is_ok());
    let mut half = TrustedSigners::new(Height::GENESIS, set(&[0, 1, 2], 5));
    let all = half.follow(&CHAIN, &checkpoint(10, &[0, 1, 2], next()));
    assert_eq!(all, Err(CheckpointError::Power { got: 3, total: 5 }));
    let mut twice = checkpoint(10, &[0, 1], next());
    twice.signatures.push(twice.signatures[1].clone());
    assert!(matches!(refused(&twice), CheckpointError::Stranger { at: 2, .. }));
}

#[test]
fn whatever_is_tampered_with_breaks_a_signature() {
    let good = checkpoint(10, &[0, 1, 2], set(&[3, 4, 5], 3));
    let check = |change: &dyn Fn(&mut Checkpoint)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        let error = refused(&wrong);
        assert!(matches!(error, CheckpointError::Signature { .. }), "{error}");
    };
    check(&|one| {
        let mut other = header(10);
        other.receipts_root = Hash([9; 32]);
        one.header = other.to_bytes();
    });
    check(&|one| one.header = header(11).to_bytes());
    check(&|one| one.next = set(&[3, 4, 6], 3));
    check(&|one| one.next.power = 2_000);
    // Either half of a signature.
    check(&|one| one.signatures[1].signature[7] ^= 1);
    check(&|one| one.signatures[1].signature[5_000] ^= 1);
    check(&|one| {
        one.signatures[1].signature.truncate(64);
    });
    let mut other = header(10);
    other.chain_id = Hash([2; 32]);
    let of_other = Checkpoint {
        header: other.to_bytes(),
        ..good.clone()
    };
    let got = Hash([2; 32]);
    assert_eq!(refused(&of_other), CheckpointError::Chain { got });
    assert!(trusted().follow(&CHAIN, &good).is_ok());
}

#[test]
fn a_signature_for_another_purpose_is_no_checkpoint() {
    let (header, next) = (header(10), set(&[3, 4, 5], 3));
    let block = header.hash();
    let vote = precommit_digest(&CHAIN, Height(10), 0, &block, next.hash().as_bytes());
    for digest in [vote, block, next.hash()] {
        let error = refused(&signed(&header, &digest, &[0, 1, 2], next.clone()));
        assert!(matches!(error, CheckpointError::Signature { .. }), "{error}");
    }
}

#[test]
fn bytes_round_trip_and_every_cut_is_refused() {
    let one = checkpoint(10, &[0, 1], set(&[3, 4], 2));
    let bytes = one.to_bytes();
    assert_eq!(Checkpoint::decode(&bytes), Ok(one));
    for cut in (0..bytes.len()).step_by(97) {
        assert!(Checkpoint::decode(&bytes[..cut]).is_err(), "{cut}");
    }
}
