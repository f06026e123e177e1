//! Vectors of what proves something offline: an operation's receipt and an account, each whole, from leaf to
//! certificate.

use selfchain::engine::commit::Anchor;
use selfchain::engine::proof::{
    AccountProof, CertifiedHeader, Checkpoint, Claim, ConsistencyProof, Handover, OperationReceipt,
    ProofFile, Trust, TrustedSet, TrustedSigners, path_sides, root,
};
use selfchain::joining::Index;
use selfchain::storage::ChunkEntry;
use selfchain::types::account;
use selfchain::types::block::Header;
use selfchain::types::certificate::Certificate;
use selfchain::types::checkpoint::{CheckpointSet, CheckpointSignature, Signer, checkpoint_digest};
use selfchain::types::crypto::{PublicKey, Scheme, SigningKey};
use selfchain::types::genesis::{Validator, validators_hash};
use selfchain::types::receipt;
use selfchain::types::roots::{Roots, Table};
use selfchain::types::{Amount, AssetId, Hash, Height, Outcome};
use selfchain::{AccountId, Operation};
use serde_json::{Value, json};

use super::records::{cold, hot};
use super::{Vector, blocks, filled, hex, key};

pub fn proofs() -> Vec<Vector> {
    vec![of_operation().1, of_account().1]
}

/// Proof files, for whoever trusts validator 1.
pub fn files() -> Vec<Vector> {
    let consistency = ConsistencyProof {
        old: of_receipts(Height(6), &[filled(0x31)]),
        new: of_receipts(Height(8), &[filled(0x31), filled(0x32), filled(0x33)]),
        path: vec![filled(0x32), filled(0x33)],
    };
    let claims = [
        ("file of an operation", Claim::Operation(of_operation().0.into())),
        ("file of an account", Claim::Account(of_account().0.into())),
        ("file of a consistency", Claim::Consistency(consistency.into())),
    ];
    let mut files: Vec<Vector> = claims
        .into_iter()
        .map(|(name, claim)| file(name, Vec::new(), claim, trust(validators())))
        .collect();
    // Validator 9 hands over to validator 1, who decides the account.
    let before = vec![Validator {
        key: key(9).public().clone(),
        power: 4,
    }];
    let header = Header {
        height: Height(3),
        validators_hash: validators_hash(&before),
        next_validators_hash: validators_hash(&validators()),
        ..blocks::header()
    };
    let mut certificate = Vec::new();
    Certificate::solo(&header.chain_id, header.height, header.hash(), &key(9)).encode(&mut certificate);
    let handover = Handover {
        header: header.to_bytes(),
        certificate,
        next: validators(),
    };
    let claim = Claim::Account(of_account().0.into());
    files.push(file("file with a handover", vec![handover], claim, trust(before)));
    files
}

/// A validators file.
pub fn trusts() -> Vec<Vector> {
    let set = vec![
        validators().remove(0),
        Validator {
            key: PublicKey::new(Scheme::Ed25519SlhDsa128s, &[7; 64]).unwrap(),
            power: 20,
        },
    ];
    let trust = trust(set);
    let fields = json!({
        "chain_id": trust.chain_id.to_hex(),
        "root_lag": "2",
        "since": "1",
        "validators": trust.set.validators().iter().map(|one| json!({
            "scheme": one.key.scheme().name(),
            "power": one.power.to_string(),
            "key": hex(one.key.as_bytes()),
        })).collect::<Vec<_>>(),
    });
    let bytes = trust.to_text().into_bytes();
    vec![Vector::new("validators file", fields, bytes, move |bytes| {
        Trust::read(bytes).is_ok_and(|read| read == trust)
    })]
}

fn trust(validators: Vec<Validator>) -> Trust {
    Trust {
        chain_id: blocks::header().chain_id,
        root_lag: 2,
        set: TrustedSet::new(Height(1), validators),
        signers: None,
    }
}

fn file(name: &'static str, handovers: Vec<Handover>, claim: Claim, trust: Trust) -> Vector {
    let file = ProofFile {
        chain_id: trust.chain_id,
        handovers,
        checkpoints: Vec::new(),
        claim,
    };
    let fields = json!({
        "chain_id": file.chain_id.to_hex(),
        "handovers": file.handovers.len(),
        "trust": trust.to_text(),
    });
    Vector::new(name, fields, file.to_bytes(), move |bytes| {
        ProofFile::decode(bytes).is_ok_and(|read| read == file && read.verify(&trust).is_ok())
    })
}

/// A header that commits to these receipts.
fn of_receipts(height: Height, leaves: &[Hash]) -> CertifiedHeader {
    let header = Header {
        height,
        receipts_root: root(leaves),
        receipts_size: leaves.len() as u64,
        validators_hash: validators_hash(&validators()),
        ..blocks::header()
    };
    let (header, certificate) = certified(&header);
    CertifiedHeader { header, certificate }
}

/// What a validator is sent that joins by snapshot.
pub fn snapshots() -> Vec<Vector> {
    vec![handover(), index()]
}

/// Validator 1 hands over to validator 2.
fn handover() -> Vector {
    let next = vec![Validator {
        key: key(2).public().clone(),
        power: 9,
    }];
    let header = Header {
        validators_hash: validators_hash(&validators()),
        next_validators_hash: validators_hash(&next),
        ..blocks::header()
    };
    let (header_bytes, certificate) = certified(&header);
    let handover = Handover {
        header: header_bytes,
        certificate,
        next,
    };
    let fields = json!({
        "chain_id": header.chain_id.to_hex(),
        "validator": hex(key(1).public().as_bytes()),
        "next": [{ "key": hex(key(2).public().as_bytes()), "power": "9" }],
    });
    Vector::new("handover", fields, handover.to_bytes(), move |bytes| {
        let mut set = TrustedSet::new(Height(1), validators());
        Handover::decode(bytes).is_ok_and(|read| read == handover && set.follow(&filled(0xcc), &read).is_ok())
    })
}

/// One that two of three signers signed, whose scheme signs the same each time.
pub fn checkpoints() -> Vec<Vector> {
    let key = |seed: u8| SigningKey::of_scheme(Scheme::Ed25519SlhDsa128s, &[seed; 32]).unwrap();
    let set = |seeds: &[u8], power| CheckpointSet {
        power,
        signers: seeds
            .iter()
            .map(|seed| Signer {
                key: key(*seed).public().clone(),
                power: 3,
            })
            .collect(),
    };
    let (trusted, next) = (set(&[1, 2], 8), set(&[2, 3], 7));
    let header = blocks::header();
    let digest = checkpoint_digest(&header.chain_id, header.height, &header.hash(), &next.hash());
    let mut signatures = [1, 2].map(|seed| CheckpointSignature {
        key: key(seed).id(),
        signature: key(seed).sign(digest.as_bytes()),
    });
    signatures.sort_by_key(|one| one.key);
    let checkpoint = Checkpoint {
        header: header.to_bytes(),
        next,
        signatures: signatures.to_vec(),
    };
    let fields = json!({
        "chain_id": header.chain_id.to_hex(),
        "height": header.height.0,
        "signed_by_seeds": [hex(&[1; 32]), hex(&[2; 32])],
        "scheme": Scheme::Ed25519SlhDsa128s.code(),
        "power_each": "3",
        "power_before": "8",
        "power": "7",
        "next_seeds": [hex(&[2; 32]), hex(&[3; 32])],
    });
    let (set_hash, bytes) = (checkpoint.next.hash(), checkpoint.to_bytes());
    let vector = Vector::new("two of three", fields, bytes, move |bytes| {
        let mut signers = TrustedSigners::new(Height(6), trusted.clone());
        Checkpoint::decode(bytes)
            .is_ok_and(|read| read == checkpoint && signers.follow(&header.chain_id, &read).is_ok())
    });
    vec![vector.hashed("digest", digest).hashed("next", set_hash)]
}

fn index() -> Vector {
    let anchor = Anchor {
        blocks: vec![(b"header".to_vec(), b"body".to_vec())],
        headers: vec![b"next".to_vec()],
        certificate: b"certificate".to_vec(),
    };
    let index = Index {
        manifest: b"manifest".to_vec(),
        anchor: anchor.to_bytes(),
        chunks: vec![ChunkEntry {
            table: Table::Accounts.code(),
            len: 200,
            hash: [0x51; 32],
        }],
    };
    let fields = json!({
        "manifest": hex(b"manifest"),
        "anchor": {
            "blocks": [{ "header": hex(b"header"), "body": hex(b"body") }],
            "headers": [hex(b"next")],
            "certificate": hex(b"certificate"),
        },
        "chunks": [{ "table": 1, "len": 200, "hash": hex(&[0x51; 32]) }],
    });
    let bytes = index.to_bytes();
    let id = Index::id(&bytes);
    Vector::new("index", fields, bytes, move |bytes| {
        Index::decode(bytes)
            .is_ok_and(|read| read == index && Anchor::decode(&read.anchor).is_ok_and(|read| read == anchor))
    })
    .hashed("id", id)
}

fn validators() -> Vec<Validator> {
    vec![Validator {
        key: key(1).public().clone(),
        power: 1,
    }]
}

/// The bytes of a header and of its certificate by validator 1.
fn certified(header: &Header) -> (Vec<u8>, Vec<u8>) {
    let mut certificate = Vec::new();
    Certificate::solo(&header.chain_id, header.height, header.hash(), &key(1)).encode(&mut certificate);
    (header.to_bytes(), certificate)
}

/// The second of three operations, in the second of three transactions of the chain.
fn of_operation() -> (OperationReceipt, Vector) {
    let operation = Operation::transfer(1, AccountId(101), AccountId(202), Amount(1_000), AssetId(7));
    let (outcome, actual, score) = (Outcome::Ok, Amount(1_000), 12);
    let [left, right] = [filled(0x21), filled(0x22)];
    let leaf = receipt::operation_leaf(&operation, outcome, actual, score);
    let operations_root = root(&[left, leaf, right]);
    let (tx_id, height) = (filled(0x11), Height(6));
    let of_transaction = receipt::leaf(&tx_id, &operations_root, height, 1, 3);
    let [before, after] = [filled(0x31), filled(0x32)];
    let header = Header {
        receipts_root: root(&[before, of_transaction, after]),
        receipts_size: 3,
        validators_hash: validators_hash(&validators()),
        ..blocks::header()
    };
    let (header_bytes, certificate) = certified(&header);
    let proof = OperationReceipt {
        operation,
        outcome,
        actual,
        score,
        operation_index: 1,
        operation_count: 3,
        operation_path: vec![left, right],
        tx_id,
        height,
        transaction_index: 1,
        receipt_index: 1,
        receipt_path: vec![before, after],
        header: header_bytes,
        certificate,
    };
    let fields = json!({
        "chain_id": header.chain_id.to_hex(),
        "validator": hex(key(1).public().as_bytes()),
        "outcome": outcome.code(),
        "actual": actual.to_string(),
        "score": score,
        "operation_index": 1,
        "operation_count": 3,
        "operation_path": hashes(&proof.operation_path),
        "tx_id": tx_id.to_hex(),
        "height": height.0.to_string(),
        "transaction_index": 1,
        "receipt_index": "1",
        "receipt_path": hashes(&proof.receipt_path),
    });
    let receipt = proof.clone();
    let vector = Vector::new(
        "receipt of an operation",
        fields,
        proof.to_bytes(),
        move |bytes| {
            OperationReceipt::decode(bytes)
                .is_ok_and(|read| read == proof && read.verify(&filled(0xcc), &validators()).is_ok())
        },
    )
    .hashed("operation_leaf", leaf)
    .hashed("receipt_leaf", of_transaction);
    (receipt, vector)
}

/// The third of three accounts, whose path is lifted once.
fn of_account() -> (AccountProof, Vector) {
    let (hot, cold) = (hot(), cold());
    let leaf = account::leaf(&hot, &cold);
    let [first, second] = [filled(0x41), filled(0x42)];
    let mut roots = Roots::default();
    roots.set(Table::Accounts, root(&[first, second, leaf]));
    let header = Header {
        state_root: roots.state_root(),
        validators_hash: validators_hash(&validators()),
        ..blocks::header()
    };
    let (header_bytes, certificate) = certified(&header);
    let proof = AccountProof {
        hot,
        cold,
        sides: path_sides(2, 3),
        path: vec![root(&[first, second])],
        roots,
        header: header_bytes,
        certificate,
    };
    let fields = json!({
        "chain_id": header.chain_id.to_hex(),
        "validator": hex(key(1).public().as_bytes()),
        "sides": proof.sides.to_string(),
        "path": hashes(&proof.path),
    });
    let account = proof.clone();
    let vector = Vector::new("proof of an account", fields, proof.to_bytes(), move |bytes| {
        AccountProof::decode(bytes)
            .is_ok_and(|read| read == proof && read.verify(&filled(0xcc), &validators()).is_ok())
    })
    .hashed("leaf", leaf);
    (account, vector)
}

fn hashes(path: &[Hash]) -> Vec<Value> {
    path.iter().map(|hash| hash.to_hex().into()).collect()
}
