//! Vectors of what nodes agree on and keep: blocks, certificates, genesis, roots, receipts.

use selfchain_types::ballot::{Ballot, Statement};
use selfchain_types::block::{BlockResult, Body, Exception, Header, Row};
use selfchain_types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain_types::evidence::Evidence;
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::genesis::{
    AccountIds, Checkpointing, Fees, Founding, Genesis, Limits, OpTime, Plane, Validator, validators_hash,
};
use selfchain_types::roots::{Roots, Table};
use selfchain_types::{AccountId, Amount, AssetId, Hash, Height, KeyId, Operation, Outcome, TimeNs, receipt};
use serde_json::{Value, json};
use zerocopy::FromBytes;

use super::{Vector, filled, hex, key};

pub fn headers() -> Vec<Vector> {
    let first = Header {
        round: 0,
        parent: Hash::ZERO,
        reveal: Hash::ZERO,
        height: Height(1),
        models: Vec::new(),
        ..header()
    };
    let of = |name, header: Header| {
        let hash = header.hash();
        Vector::new(name, header_fields(&header), header.to_bytes(), move |bytes| {
            Header::decode(bytes).is_ok_and(|read| read == header)
        })
        .hashed("block", hash)
    };
    vec![of("first of a solo chain", first), of("two models", header())]
}

pub fn header() -> Header {
    Header {
        protocol_version: 1,
        chain_id: filled(0xcc),
        height: Height(7),
        round: 2,
        parent: filled(0x02),
        time_ns: TimeNs(1_700_000_000_000_000_007),
        proposer: key(1).id(),
        reveal: filled(0x03),
        transactions_root: filled(0x04),
        body_hash: filled(0x05),
        state_root: filled(0x06),
        receipts_root: filled(0x07),
        receipts_size: 12,
        validators_hash: filled(0x08),
        next_validators_hash: filled(0x09),
        models: vec![filled(0x0a), filled(0x0b)],
        policy_version: 3,
    }
}

fn header_fields(header: &Header) -> Value {
    json!({
        "protocol_version": header.protocol_version,
        "chain_id": header.chain_id.to_hex(),
        "height": header.height.0.to_string(),
        "round": header.round,
        "parent": header.parent.to_hex(),
        "time_ns": header.time_ns.0.to_string(),
        "proposer": header.proposer.0.to_hex(),
        "reveal": header.reveal.to_hex(),
        "transactions_root": header.transactions_root.to_hex(),
        "body_hash": header.body_hash.to_hex(),
        "state_root": header.state_root.to_hex(),
        "receipts_root": header.receipts_root.to_hex(),
        "receipts_size": header.receipts_size.to_string(),
        "validators_hash": header.validators_hash.to_hex(),
        "next_validators_hash": header.next_validators_hash.to_hex(),
        "policy_version": header.policy_version.to_string(),
        "models": header.models.iter().map(Hash::to_hex).collect::<Vec<_>>(),
    })
}

pub fn bodies() -> Vec<Vector> {
    let of = |name, body: Body<'static>| {
        let mut bytes = Vec::new();
        body.encode(&mut bytes);
        let hash = body.hash();
        Vector::new(name, body_fields(&body), bytes, move |bytes| {
            Body::decode(bytes).is_ok_and(|read| read == body)
        })
        .hashed("body", hash)
    };
    let solo = Body {
        envelopes: vec![b"stands for an envelope", b""],
        ..Body::default()
    };
    vec![
        of("empty", Body::default()),
        of("envelopes only", solo),
        of("every section", body()),
    ]
}

fn body() -> Body<'static> {
    Body {
        envelopes: vec![b"stands for an envelope"],
        scores: &[17, receipt::NOT_SCORED],
        parent_certificate: b"stands for a certificate",
        late_precommits: b"late",
        evidence: b"evidence",
        reasons: &[0, 0, 0, 0, 5, 9, 255],
    }
}

fn body_fields(body: &Body<'_>) -> Value {
    json!({
        "envelopes": body.envelopes.iter().map(|bytes| hex(bytes)).collect::<Vec<_>>(),
        "scores": hex(body.scores),
        "parent_certificate": hex(body.parent_certificate),
        "late_precommits": hex(body.late_precommits),
        "evidence": hex(body.evidence),
        "reasons": hex(body.reasons),
    })
}

pub fn results() -> Vec<Vector> {
    let of = |name, result: BlockResult| {
        let mut bytes = Vec::new();
        result.encode(&mut bytes);
        Vector::new(name, result_fields(&result), bytes, move |bytes| {
            BlockResult::decode(bytes).is_ok_and(|read| read == result)
        })
    };
    vec![
        of("empty", BlockResult::default()),
        of("exceptions and expiries", result()),
    ]
}

fn result() -> BlockResult {
    let shortfall = Exception::Shortfall {
        needed: Amount(9),
        available: Amount(5),
    };
    BlockResult {
        outcomes: [Outcome::Ok, Outcome::InsufficientFunds, Outcome::Ok]
            .map(Outcome::code)
            .to_vec(),
        exceptions: vec![(1, shortfall), (2, Exception::Actual(Amount(5)))],
        expired: vec![77, 78],
    }
}

fn result_fields(result: &BlockResult) -> Value {
    let exceptions = result.exceptions.iter().map(|(at, exception)| match exception {
        Exception::Actual(amount) => json!({ "at": at, "actual": amount.to_string() }),
        Exception::Shortfall { needed, available } => {
            json!({ "at": at, "needed": needed.to_string(), "available": available.to_string() })
        }
    });
    json!({
        "outcomes": result.outcomes,
        "exceptions": exceptions.collect::<Vec<_>>(),
        "expired": result.expired.iter().map(u128::to_string).collect::<Vec<_>>(),
    })
}

pub fn rows() -> Vec<Vector> {
    let of = |name, header: Header, body: Body<'static>, result: BlockResult| {
        let local = Certificate::solo(&header.chain_id, header.height, header.hash(), &key(1));
        let bytes = Row::encode(&header, &body, &result, &local);
        let fields = json!({
            "header": header_fields(&header),
            "body": body_fields(&body),
            "result": result_fields(&result),
            "local": certificate_fields(&local),
        });
        Vector::new(name, fields, bytes, move |bytes| {
            let row = Row::decode(bytes).unwrap();
            Header::decode(row.header).as_ref() == Ok(&header)
                && Body::decode(row.body).as_ref() == Ok(&body)
                && BlockResult::decode(row.result).as_ref() == Ok(&result)
                && Certificate::decode(row.local).as_ref() == Ok(&local)
        })
    };
    vec![
        of("empty block", header(), Body::default(), BlockResult::default()),
        of("full block", header(), body(), result()),
    ]
}

pub fn certificates() -> Vec<Vector> {
    let chain = filled(0xcc);
    let solo = Certificate::solo(&chain, Height(7), filled(0x0d), &key(1));
    let precommit = |validator: u16, seed, extension: &[u8]| Precommit {
        validator,
        extension: extension.to_vec(),
        signature: key(seed)
            .sign(precommit_digest(&chain, Height(7), 2, &filled(0x0d), extension).as_bytes()),
    };
    let two = Certificate {
        round: 2,
        precommits: vec![precommit(0, 1, b""), precommit(2, 3, b"extension")],
        ..solo.clone()
    };
    let of = |name, certificate: Certificate, set: Vec<Validator>| {
        let mut bytes = Vec::new();
        certificate.encode(&mut bytes);
        let first = &certificate.precommits[0].extension;
        let digest = precommit_digest(
            &chain,
            certificate.height,
            certificate.round,
            &certificate.block,
            first,
        );
        let mut fields = certificate_fields(&certificate);
        fields["chain_id"] = chain.to_hex().into();
        let set_hash = validators_hash(&set);
        Vector::new(name, fields, bytes, move |bytes| {
            Certificate::decode(bytes)
                .is_ok_and(|read| read == certificate && read.verify(&chain, &set) == Ok(()))
        })
        .hashed("first_precommit", digest)
        .hashed("validators", set_hash)
    };
    vec![
        of("solo", solo, set(&[(1, 1)])),
        of("two of three", two, set(&[(1, 40), (2, 20), (3, 1_000)])),
    ]
}

fn ballot(round: u32, statement: Statement) -> Ballot {
    Ballot::sign(&filled(0xcc), Height(7), round, 2, statement, &key(3))
}

pub fn ballots() -> Vec<Vector> {
    let block = filled(0x0d);
    let of = |name, round, statement| {
        let ballot = ballot(round, statement);
        let digest = ballot.digest(&filled(0xcc));
        let (fields, bytes) = (ballot_fields(&ballot), ballot.to_bytes());
        Vector::new(name, fields, bytes, move |bytes| {
            Ballot::decode(bytes).is_ok_and(|read| read == ballot)
        })
        .hashed("signed", digest)
    };
    vec![
        of("prevote", 0, Statement::Prevote(Some(block))),
        of("prevote for nothing", 1, Statement::Prevote(None)),
        of("precommit", 0, Statement::Precommit(block, b"extension".to_vec())),
        of("precommit of nothing", 1, Statement::NilPrecommit),
        of("proposal", 0, Statement::Proposal(block, None)),
        of("proposal again", 2, Statement::Proposal(block, Some(0))),
    ]
}

pub fn evidence() -> Vec<Vector> {
    let one = ballot(1, Statement::Prevote(Some(filled(0x0d))));
    let other = ballot(1, Statement::Prevote(None));
    let fields = json!({
        "chain_id": filled(0xcc).to_hex(),
        "ballots": [ballot_fields(&other), ballot_fields(&one)],
    });
    let evidence = Evidence::new(one, other).unwrap();
    let bytes = evidence.to_bytes();
    vec![Vector::new("two prevotes", fields, bytes, move |bytes| {
        Evidence::decode(bytes)
            .is_ok_and(|read| read == evidence && read.verify(&filled(0xcc), key(3).public()) == Ok(()))
    })]
}

fn ballot_fields(ballot: &Ballot) -> Value {
    let (kind, block, extension, polka) = match &ballot.statement {
        Statement::Prevote(block) => ("prevote", block.as_ref(), None, None),
        Statement::Precommit(block, extension) => ("precommit", Some(block), Some(hex(extension)), None),
        Statement::NilPrecommit => ("precommit", None, None, None),
        Statement::Proposal(block, polka) => ("proposal", Some(block), None, *polka),
    };
    json!({
        "kind": kind,
        "height": ballot.height.0.to_string(),
        "round": ballot.round,
        "validator": ballot.validator,
        "block": block.map(Hash::to_hex),
        "extension": extension,
        "polka": polka,
        "signature": hex(&ballot.signature),
    })
}

fn certificate_fields(certificate: &Certificate) -> Value {
    let precommits = certificate.precommits.iter().map(|precommit| {
        json!({
            "validator": precommit.validator,
            "extension": hex(&precommit.extension),
            "signature": hex(&precommit.signature),
        })
    });
    json!({
        "height": certificate.height.0.to_string(),
        "round": certificate.round,
        "block": certificate.block.to_hex(),
        "precommits": precommits.collect::<Vec<_>>(),
    })
}

fn set(seeds: &[(u8, u64)]) -> Vec<Validator> {
    seeds
        .iter()
        .map(|(seed, power)| Validator {
            key: key(*seed).public().clone(),
            power: *power,
        })
        .collect()
}

pub fn genesis() -> Vec<Vector> {
    let solo = Genesis::solo("golden", 42, key(1).public().clone());
    let fees = Fees {
        asset: AssetId(7),
        collector: AccountId(900),
        base: 10,
        per_operation: 2,
        per_byte: 1,
    };
    let limits = Limits {
        block_bytes_max: 1,
        block_effects_max: 2,
        chain_max: 3,
        open_pending_account_max: 4,
        open_pending_chain_max: 5,
        expire_per_block_max: 6,
        validity_max: 7,
        sessions_max: 8,
        snapshot_interval: 9,
    };
    let staked = Genesis {
        name: "gölden".into(),
        salt: 43,
        plane: Plane::Stake,
        account_ids: AccountIds::Derived,
        fees,
        limits,
        authority: KeyId(filled(0x0e)),
        validators: set(&[(1, 40), (2, 20), (3, 1_000)]),
        ..solo.clone()
    };
    let founded = Genesis {
        plane: Plane::Poai,
        validators: set(&[(1, 40), (2, 20)]),
        founding: Some(Founding {
            epoch_blocks: 1_024,
            network: filled(0x0f),
            reveals: vec![filled(0x10), Hash::ZERO],
            network_file: Vec::new(),
        }),
        ..solo.clone()
    };
    let replay = Genesis {
        op_time: OpTime::Effective,
        ..solo.clone()
    };
    // Public keys need not be anybody's.
    let public = |scheme: Scheme, byte: u8| {
        PublicKey::new(scheme, &vec![byte; scheme.public_len()]).unwrap()
    };
    let hybrid = |scheme, byte, power| Validator {
        key: public(scheme, byte),
        power,
    };
    let voted = Genesis {
        plane: Plane::Stake,
        pq_votes: true,
        validators: vec![
            hybrid(Scheme::Ed25519MlDsa65, 0x11, 3),
            hybrid(Scheme::Ed25519MlDsa44, 0x12, 4),
        ],
        ..solo.clone()
    };
    let checkpointed = Genesis {
        plane: Plane::Stake,
        validators: set(&[(1, 40), (2, 20)]),
        checkpoints: Some(Checkpointing {
            every_blocks: 1_000,
            keys: vec![
                public(Scheme::Ed25519MlDsa65, 0x13),
                public(Scheme::Ed25519SlhDsa128s, 0x14),
            ],
        }),
        ..solo.clone()
    };
    let of = |name, genesis: Genesis| {
        let (chain_id, set_hash) = (genesis.chain_id(), validators_hash(&genesis.validators));
        Vector::new(name, genesis_fields(&genesis), genesis.to_bytes(), move |bytes| {
            Genesis::decode(bytes).is_ok_and(|read| read == genesis)
        })
        .hashed("chain_id", chain_id)
        .hashed("validators", set_hash)
    };
    vec![
        of("solo with defaults", solo),
        of("effective time", replay),
        of("stake with every field set", staked),
        of("poai with a founding", founded),
        of("hybrid votes", voted),
        of("checkpoints", checkpointed),
    ]
}

fn genesis_fields(genesis: &Genesis) -> Value {
    let (fees, limits) = (&genesis.fees, &genesis.limits);
    let validators = genesis.validators.iter().map(|validator| {
        json!({
            "scheme": validator.key.scheme().code(),
            "key": hex(validator.key.as_bytes()),
            "power": validator.power.to_string(),
        })
    });
    let mut fields = json!({
        "name": genesis.name,
        "salt": genesis.salt.to_string(),
        "plane": genesis.plane.name(),
        "op_time": format!("{:?}", genesis.op_time).to_lowercase(),
        "account_ids": format!("{:?}", genesis.account_ids).to_lowercase(),
        "authority": genesis.authority.0.to_hex(),
        "fees": {
            "asset": fees.asset.0,
            "collector": fees.collector.to_string(),
            "base": fees.base.to_string(),
            "per_operation": fees.per_operation.to_string(),
            "per_byte": fees.per_byte.to_string(),
        },
        "limits": {
            "block_bytes_max": limits.block_bytes_max,
            "block_effects_max": limits.block_effects_max,
            "chain_max": limits.chain_max,
            "open_pending_account_max": limits.open_pending_account_max,
            "open_pending_chain_max": limits.open_pending_chain_max,
            "expire_per_block_max": limits.expire_per_block_max,
            "validity_max": limits.validity_max,
            "sessions_max": limits.sessions_max,
            "snapshot_interval": limits.snapshot_interval,
        },
        "validators": validators.collect::<Vec<_>>(),
    });
    if let Some(founding) = &genesis.founding {
        let reveals: Vec<String> = founding.reveals.iter().map(Hash::to_hex).collect();
        fields["founding"] = json!({
            "epoch_blocks": founding.epoch_blocks,
            "network": founding.network.to_hex(),
            "reveals": reveals,
        });
    }
    if genesis.pq_votes {
        fields["votes"] = json!(1);
    }
    if let Some(checkpoints) = &genesis.checkpoints {
        let keys = checkpoints.keys.iter().map(|key| {
            json!({ "scheme": key.scheme().code(), "key": hex(key.as_bytes()) })
        });
        fields["checkpoints"] = json!({
            "every_blocks": checkpoints.every_blocks,
            "keys": keys.collect::<Vec<_>>(),
        });
    }
    fields
}

pub fn roots() -> Vec<Vector> {
    let of = |name, tables: &[Table]| {
        let mut roots = Roots::default();
        // Set from the last to the first: the bytes ascend all the same.
        tables
            .iter()
            .rev()
            .for_each(|table| roots.set(*table, filled(table.code().to_le_bytes()[0])));
        let mut bytes = Vec::new();
        roots.encode(&mut bytes);
        let fields: Vec<Value> = roots
            .iter()
            .map(
                |(table, root)| json!({ "table": table.code(), "name": table.name(), "root": root.to_hex() }),
            )
            .collect();
        let state_root = roots.state_root();
        Vector::new(name, json!({ "roots": fields }), bytes, move |bytes| {
            Roots::decode(bytes).is_ok_and(|read| read == roots)
        })
        .hashed("state_root", state_root)
    };
    vec![
        of("no table", &[]),
        of(
            "a young ledger",
            &[Table::Accounts, Table::Keys, Table::Assets, Table::Chain],
        ),
        of("every table", &Table::ALL),
    ]
}

/// The bytes are what a leaf hashes.
pub fn receipts() -> Vec<Vector> {
    let operation = Operation::transfer(1, AccountId(101), AccountId(202), Amount(1_000), AssetId(7));
    let (outcome, actual, score) = (Outcome::InsufficientFunds, Amount(0), receipt::NOT_SCORED);
    let operation_leaf = receipt::operation_leaf(&operation, outcome, actual, score);
    let mut inner = [0; receipt::OPERATION_BYTES];
    inner[..128].copy_from_slice(zerocopy::IntoBytes::as_bytes(&operation));
    inner[128..130].copy_from_slice(&outcome.code().to_le_bytes());
    inner[146] = score;
    let (tx_id, height, index, operations) = (filled(0x11), Height(7), 3_u32, 1_u32);
    let outer = [
        tx_id.as_bytes(),
        operation_leaf.as_bytes(),
        &height.0.to_le_bytes()[..],
        &index.to_le_bytes(),
        &operations.to_le_bytes(),
        &[0; 48],
    ]
    .concat();
    let hash = selfchain_types::hash::RECEIPT_OPERATION;
    let inner_fields = json!({ "outcome": outcome.code(), "actual": actual.to_string(), "score": score });
    let inner_vector = Vector::new("operation leaf", inner_fields, inner.to_vec(), move |bytes| {
        let read = Operation::read_from_bytes(&bytes[..128]).unwrap();
        read == operation && hash.hash(bytes) == operation_leaf
    });
    let outer_fields = json!({
        "tx_id": tx_id.to_hex(),
        "operations_root": operation_leaf.to_hex(),
        "height": height.0.to_string(),
        "index": index,
        "operations": operations,
    });
    let leaf = receipt::leaf(&tx_id, &operation_leaf, height, index, operations);
    let outer_vector = Vector::new("transaction leaf", outer_fields, outer, move |bytes| {
        selfchain_types::hash::RECEIPT.hash(bytes) == leaf
    });
    vec![
        inner_vector.hashed("leaf", operation_leaf),
        outer_vector.hashed("leaf", leaf),
    ]
}
