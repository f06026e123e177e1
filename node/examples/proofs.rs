//! Measures proofs in a ledger of many transfers and accounts: how long one takes to make and to verify, and how long
//! the file is, with a certificate of four Ed25519 validators.
//!
//! `cargo run --profile bench --example proofs -p selfchain -- DIRECTORY ACCOUNTS TRANSFERS` fills the directory if it
//! is empty, and prints one JSON object. The embedded ledger decides alone; so that sizes and times are those of four
//! validators, each header is decided once more by four keys before its proof is verified.

use selfchain::engine::proof::{Claim, ProofFile, Trust, TrustedSet};
use selfchain::types::Height;
use selfchain::types::block::Header;
use selfchain::types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain::types::codec::DecodeError;
use selfchain::types::crypto::SigningKey;
use selfchain::types::genesis::{Validator, validators_hash};
use selfchain::types::message::Committed;
use selfchain::{AccountFlags, AccountId, Amount, AssetId, Ledger, Operation};
use std::error::Error;
use std::time::{Duration, Instant};

type Done<T> = Result<T, Box<dyn Error>>;

const COIN: AssetId = AssetId(1);
/// Operations of one transaction.
const OPERATIONS: u128 = 8_190;
/// Proofs of each kind.
const PROOFS: u64 = 2_000;

fn main() -> Done<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [directory, accounts, transfers] = words.as_slice() else {
        return Err("proofs DIRECTORY ACCOUNTS TRANSFERS".into());
    };
    let (accounts, transfers): (u128, u128) = (accounts.parse()?, transfers.parse()?);
    let mut ledger = Ledger::open(directory)?;
    let began = Instant::now();
    let transactions = fill(&mut ledger, accounts, transfers)?;
    let filled = began.elapsed();
    let mut random = Random(7);
    let keys = [1, 2, 3, 4].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let last = ledger.chain().tip().height;
    let mut pick = |end: u64| random.next() % end.max(1);

    let mut operations = Series::default();
    let mut balances = Series::default();
    let mut consistencies = Series::default();
    for _ in 0..PROOFS {
        let at = usize::try_from(pick(u64::try_from(transactions.len())?))?;
        let operation = u32::try_from(pick(u64::from(transactions[at].operations)))?;
        operations.add(
            &keys,
            || Ok(ledger.prove_operation(&transactions[at], operation)?),
        )?;
        let account = AccountId(u128::from(pick(u64::try_from(accounts)?)) + 1);
        balances.add(&keys, || Ok(ledger.prove_account(account)?))?;
        let old = Height(pick(last.0 - 1) + 1);
        consistencies.add(&keys, || Ok(ledger.prove_consistency(old, Height(0))?))?;
    }
    println!(
        "{{\"accounts\":{accounts},\"transfers\":{transfers},\"filled_s\":{:.1},\"height\":{},\"proofs_of_each\":{PROOFS},\
         \"operation\":{},\"balance\":{},\"consistency\":{}}}",
        filled.as_secs_f64(),
        last.0,
        operations.to_json(),
        balances.to_json(),
        consistencies.to_json(),
    );
    Ok(())
}

/// Opens the accounts and moves money between them, many operations to a transaction.
fn fill(ledger: &mut Ledger, accounts: u128, transfers: u128) -> Done<Vec<Committed>> {
    ledger.create_asset(COIN, 0)?;
    let owner = ledger.key().id();
    let mut next = 1;
    while next <= accounts {
        let end = (next + OPERATIONS).min(accounts + 1);
        let open = |id| {
            Operation::open_account(
                AccountId(id),
                COIN,
                owner,
                AccountFlags::default(),
                Amount::ZERO,
                0,
            )
        };
        ledger.commit((next..end).map(open).collect())?;
        next = end;
    }
    let mut random = Random(3);
    let mut transactions = Vec::new();
    let mut left = transfers;
    while left > 0 {
        let count = left.min(OPERATIONS);
        let pay = |id: u128| {
            let debit = u128::from(random.next()) % accounts;
            let credit = (debit + 1 + u128::from(random.next()) % (accounts - 1)) % accounts;
            Operation::transfer(id, AccountId(debit + 1), AccountId(credit + 1), Amount(1), COIN)
        };
        transactions.push(ledger.commit((1..=count).map(pay).collect())?);
        left -= count;
    }
    Ok(transactions)
}

/// Times and lengths of proofs of one kind.
#[derive(Default)]
struct Series {
    made: Vec<Duration>,
    verified: Vec<Duration>,
    bytes: Vec<usize>,
}

impl Series {
    fn add(&mut self, keys: &[SigningKey; 4], make: impl FnOnce() -> Done<ProofFile>) -> Done<()> {
        let began = Instant::now();
        let proof = make()?;
        let bytes = proof.to_bytes();
        self.made.push(began.elapsed());
        drop(bytes);
        let (bytes, trust) = decided_by(proof, keys)?;
        let began = Instant::now();
        ProofFile::decode(&bytes)?.verify(&trust)?;
        self.verified.push(began.elapsed());
        self.bytes.push(bytes.len());
        Ok(())
    }

    fn to_json(&self) -> String {
        let of = |times: &[Duration]| {
            let mut sorted: Vec<u128> = times.iter().map(Duration::as_micros).collect();
            sorted.sort_unstable();
            let at = |per_mille: usize| {
                sorted
                    .get(sorted.len() * per_mille / 1_000)
                    .or(sorted.last())
                    .copied()
            };
            let [half, most, longest] = [500, 990, 1_000].map(|part| at(part).unwrap_or_default());
            format!("{{\"p50\":{half},\"p99\":{most},\"max\":{longest}}}")
        };
        format!(
            "{{\"made_us\":{},\"verified_us\":{},\"bytes_max\":{}}}",
            of(&self.made),
            of(&self.verified),
            self.bytes.iter().max().copied().unwrap_or_default()
        )
    }
}

/// The same proof, its headers decided by four validators, and trust in them.
fn decided_by(mut proof: ProofFile, keys: &[SigningKey; 4]) -> Done<(Vec<u8>, Trust)> {
    let validators: Vec<Validator> = keys
        .iter()
        .map(|key| Validator {
            key: key.public().clone(),
            power: 1,
        })
        .collect();
    let sign = |header: &mut Vec<u8>, certificate: &mut Vec<u8>| {
        let mut read = Header::decode(header)?;
        read.validators_hash = validators_hash(&validators);
        read.next_validators_hash = read.validators_hash;
        *header = read.to_bytes();
        let digest = precommit_digest(&read.chain_id, read.height, 0, &read.hash(), &[]);
        let precommits = (0..).zip(keys).map(|(validator, key)| Precommit {
            validator,
            extension: Vec::new(),
            signature: key.sign(digest.as_bytes()),
        });
        let decided = Certificate {
            height: read.height,
            round: 0,
            block: read.hash(),
            precommits: precommits.collect(),
        };
        certificate.clear();
        decided.encode(certificate);
        Ok::<(), DecodeError>(())
    };
    match &mut proof.claim {
        Claim::Operation(receipt) => sign(&mut receipt.header, &mut receipt.certificate)?,
        Claim::Account(account) => sign(&mut account.header, &mut account.certificate)?,
        Claim::Consistency(both) => {
            sign(&mut both.old.header, &mut both.old.certificate)?;
            sign(&mut both.new.header, &mut both.new.certificate)?;
        }
    }
    let trust = Trust {
        chain_id: proof.chain_id,
        root_lag: 1,
        set: TrustedSet::new(Height(1), validators),
        signers: None,
    };
    Ok((proof.to_bytes(), trust))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
