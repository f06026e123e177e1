//! Proof files over sets that hand over to one another, as a prover would make them and as a forger would.

use super::*;
use crate::proof::{CertifiedHeader, Mountain, consistency_path, inclusion_path};
use alloc::vec;
use selfchain_types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain_types::codec::put_section_versioned;
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::{Validator, validators_hash};
use selfchain_types::{AccountId, AssetId, KeyId, TimeNs, receipt};

const CHAIN: Hash = Hash([1; 32]);
const FIRST: [u8; 4] = [1, 2, 3, 4];
const SECOND: [u8; 4] = [2, 3, 4, 5];
const THIRD: [u8; 3] = [3, 4, 5];

fn set(seeds: &[u8]) -> Vec<Validator> {
    let validator = |seed: &u8| Validator {
        key: SigningKey::from_seed(&[*seed; 32]).public().clone(),
        power: 5,
    };
    seeds.iter().map(validator).collect()
}

/// The receipts of the first heights: two at each.
fn mountain(size: u64) -> (Mountain, Vec<Hash>) {
    let (mut mountain, mut nodes) = (Mountain::new(), Vec::new());
    for at in 0..size {
        mountain.append(leaf(at), &mut nodes);
    }
    (mountain, nodes)
}

fn operation() -> Operation {
    Operation::transfer(1, AccountId(1), AccountId(2), Amount(3), AssetId(1))
}

fn leaf(at: u64) -> Hash {
    let root = receipt::operation_leaf(&operation(), Outcome::Ok, Amount(3), 255);
    receipt::leaf(
        &Hash([at as u8; 32]),
        &root,
        Height(at / 2 + 1),
        (at % 2) as u32,
        1,
    )
}

/// The header of a height, decided by all of `seeds`. It commits to the receipts up to the height two before.
fn decided(height: u64, seeds: &[u8], next: &[u8]) -> CertifiedHeader {
    let (mountain, _) = mountain((height - 2) * 2);
    let header = Header {
        protocol_version: 1,
        chain_id: CHAIN,
        height: Height(height),
        round: 0,
        parent: Hash([2; 32]),
        time_ns: TimeNs(height * 100),
        proposer: KeyId(Hash([3; 32])),
        reveal: Hash::ZERO,
        transactions_root: Hash([4; 32]),
        body_hash: Hash([5; 32]),
        state_root: Hash([6; 32]),
        receipts_root: mountain.root(),
        receipts_size: mountain.size(),
        validators_hash: validators_hash(&set(seeds)),
        next_validators_hash: validators_hash(&set(next)),
        models: Vec::new(),
        policy_version: 1,
    };
    let digest = precommit_digest(&CHAIN, Height(height), 0, &header.hash(), &[]);
    let precommits = (0..).zip(seeds).map(|(validator, seed)| Precommit {
        validator,
        extension: Vec::new(),
        signature: SigningKey::from_seed(&[*seed; 32]).sign(digest.as_bytes()),
    });
    let mut certificate = Vec::new();
    Certificate {
        height: Height(height),
        round: 0,
        block: header.hash(),
        precommits: precommits.collect(),
    }
    .encode(&mut certificate);
    CertifiedHeader {
        header: header.to_bytes(),
        certificate,
    }
}

fn handover(height: u64, seeds: &[u8], next: &[u8]) -> Handover {
    let CertifiedHeader { header, certificate } = decided(height, seeds, next);
    Handover {
        header,
        certificate,
        next: set(next),
    }
}

fn handovers() -> Vec<Handover> {
    vec![handover(16, &FIRST, &SECOND), handover(32, &SECOND, &THIRD)]
}

fn founders() -> Trust {
    Trust {
        chain_id: CHAIN,
        root_lag: 2,
        set: TrustedSet::new(Height(1), set(&FIRST)),
        signers: None,
    }
}

fn file(handovers: Vec<Handover>, claim: Claim) -> ProofFile {
    ProofFile {
        chain_id: CHAIN,
        handovers,
        checkpoints: Vec::new(),
        claim,
    }
}

fn consistency(old: CertifiedHeader, new: CertifiedHeader) -> Claim {
    let size = |one: &CertifiedHeader| Header::decode(&one.header).unwrap().receipts_size;
    let (_, nodes) = mountain(size(&new));
    let path = consistency_path(size(&old), size(&new), &nodes).unwrap();
    Claim::Consistency(ConsistencyProof { old, new, path }.into())
}

/// Over both changes: one header before the first, one after the second.
fn over_two_changes() -> ProofFile {
    let claim = consistency(decided(9, &FIRST, &FIRST), decided(40, &THIRD, &THIRD));
    file(handovers(), claim)
}

fn operation_at(index: u64, header: CertifiedHeader) -> Claim {
    let size = Header::decode(&header.header).unwrap().receipts_size;
    let CertifiedHeader { header, certificate } = header;
    let receipt = OperationReceipt {
        operation: operation(),
        outcome: Outcome::Ok,
        actual: Amount(3),
        score: 255,
        operation_index: 0,
        operation_count: 1,
        operation_path: Vec::new(),
        tx_id: Hash([index as u8; 32]),
        height: Height(index / 2 + 1),
        transaction_index: (index % 2) as u32,
        receipt_index: index,
        receipt_path: inclusion_path(index, size, &mountain(size).1).unwrap(),
        header,
        certificate,
    };
    Claim::Operation(receipt.into())
}

#[test]
fn headers_before_and_after_changes_of_the_set_are_followed_from_the_founders() {
    let proof = over_two_changes();
    let proven = proof.verify(&founders()).unwrap();
    let receipts = |height: u64| Receipts {
        height: Height(height),
        size: height * 2,
        root: mountain(height * 2).0.root(),
    };
    let (old, new) = (receipts(7), receipts(38));
    assert_eq!(proven.statement, Statement::Consistency { old, new });
    assert_eq!((proven.by.height, proven.handovers), (Height(40), 2));
    assert_eq!(proven.trust.set, TrustedSet::new(Height(33), set(&THIRD)));
    assert_eq!(ProofFile::decode(&proof.to_bytes()).unwrap(), proof);
}

#[test]
fn whoever_knows_a_later_set_needs_no_changes_before_it() {
    let later = over_two_changes().verify(&founders()).unwrap().trust;
    let proof = file(Vec::new(), operation_at(5, decided(40, &THIRD, &THIRD)));
    let proven = proof.verify(&later).unwrap();
    let Statement::Operation(said) = proven.statement else {
        panic!("{proven:?}")
    };
    assert_eq!((said.height, said.transaction_index), (Height(3), 1));
    let error = proof.verify(&founders()).unwrap_err();
    assert!(
        matches!(
            error,
            ProofFileError::Header {
                height: Height(40),
                ..
            }
        ),
        "{error}"
    );
    // A set is trusted from its first height on, not before.
    let earlier = file(Vec::new(), operation_at(5, decided(30, &THIRD, &THIRD)));
    let error = earlier.verify(&later).unwrap_err();
    let source = FollowError::Early {
        got: Height(30),
        since: Height(33),
    };
    assert_eq!(
        error,
        ProofFileError::Header {
            height: Height(30),
            source
        }
    );
}

#[test]
fn changes_that_are_swapped_left_out_doubled_or_beyond_the_header_are_named() {
    let whole = over_two_changes();
    let check = |handovers: Vec<Handover>| {
        let forged = ProofFile {
            handovers,
            ..whole.clone()
        };
        ProofFile::decode(&forged.to_bytes())
            .unwrap()
            .verify(&founders())
            .unwrap_err()
    };
    let [first, second] = [0, 1].map(|at| whole.handovers[at].clone());
    let swapped = check(vec![second.clone(), first.clone()]);
    assert!(
        matches!(swapped, ProofFileError::Handover { number: 1, .. }),
        "{swapped}"
    );
    let without = check(vec![second.clone()]);
    assert!(
        matches!(without, ProofFileError::Handover { number: 1, .. }),
        "{without}"
    );
    let doubled = check(vec![first.clone(), first.clone(), second.clone()]);
    assert!(
        matches!(doubled, ProofFileError::Handover { number: 2, .. }),
        "{doubled}"
    );
    let beyond = handover(48, &THIRD, &FIRST);
    assert_eq!(
        check(vec![first, second, beyond]),
        ProofFileError::Unused {
            number: 3,
            height: Height(48)
        }
    );
}

#[test]
fn another_chain_another_order_and_young_headers_prove_nothing() {
    let proof = over_two_changes();
    let other = Trust {
        chain_id: Hash([9; 32]),
        ..founders()
    };
    let (got, want) = (CHAIN, Hash([9; 32]));
    assert_eq!(proof.verify(&other), Err(ProofFileError::Chain { got, want }));
    let young = decided(2, &FIRST, &FIRST);
    let of_genesis = file(Vec::new(), consistency(young.clone(), decided(9, &FIRST, &FIRST)));
    assert!(
        of_genesis.verify(&founders()).is_ok(),
        "no receipts are a prefix of all"
    );
    let far = Trust {
        root_lag: 3,
        ..founders()
    };
    assert!(matches!(
        of_genesis.verify(&far),
        Err(ProofFileError::Young {
            height: Height(2),
            root_lag: 3
        })
    ));
    let Claim::Consistency(mut backwards) = over_two_changes().claim else {
        panic!("a consistency")
    };
    core::mem::swap(&mut backwards.old, &mut backwards.new);
    let backwards = file(handovers(), Claim::Consistency(backwards));
    assert!(backwards.verify(&founders()).is_err());
}

#[test]
fn there_is_exactly_one_claim_and_only_ignorable_sections_are_passed_over() {
    let bytes = over_two_changes().to_bytes();
    let holds = |bytes: &[u8]| ProofFile::decode(bytes).is_ok_and(|file| file.verify(&founders()).is_ok());
    assert!(holds(&bytes));
    for (ignorable, want) in [(true, true), (false, false)] {
        let mut more = bytes.clone();
        put_section_versioned(&mut more, 64, 1, ignorable, |out| out.push(1));
        assert_eq!(holds(&more), want);
    }
    let mut bare = Vec::new();
    put_section(&mut bare, kind::CHAIN, |out| {
        out.extend_from_slice(CHAIN.as_bytes())
    });
    let missing = DecodeError::MissingSection {
        kind: kind::OPERATION,
    };
    assert_eq!(ProofFile::decode(&bare), Err(missing));
    let mut two = file(Vec::new(), operation_at(0, decided(9, &FIRST, &FIRST))).to_bytes();
    let Claim::Consistency(second) = over_two_changes().claim else {
        panic!("a consistency")
    };
    put_section(&mut two, kind::CONSISTENCY, |out| out.extend(second.to_bytes()));
    let claims = DecodeError::Value {
        what: "claims of a proof file",
        value: 2,
    };
    assert_eq!(ProofFile::decode(&two), Err(claims));
    let mut empty = bare.clone();
    put_section(&mut empty, kind::HANDOVERS, |out| out.extend_from_slice(&[0; 4]));
    put_section(&mut empty, kind::CONSISTENCY, |out| out.extend(second.to_bytes()));
    assert_eq!(
        ProofFile::decode(&empty),
        Err(DecodeError::EmptySection {
            kind: kind::HANDOVERS
        })
    );
    assert!(ProofFile::decode(&vec![0; PROOF_BYTES_MAX + 1]).is_err());
}

#[test]
fn every_flipped_byte_and_every_truncation_is_refused() {
    for proof in [
        over_two_changes(),
        file(handovers(), operation_at(41, decided(40, &THIRD, &THIRD))),
    ] {
        let bytes = proof.to_bytes();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let verified = ProofFile::decode(&flipped).map(|file| file.verify(&founders()));
            assert!(!matches!(verified, Ok(Ok(_))), "byte {at}");
            assert!(ProofFile::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
