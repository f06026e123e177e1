//! Writes proofs, good and spoilt, with what this implementation says of each, for another one to be compared with.
//!
//! `cargo run -p selfchain-tests --bin proofs -- DIRECTORY [SEED]` writes `cases.json`: of each case its name, the
//! files of proof and trust, and the verdict. `node/web/verify/compare.mjs` reads it.

use selfchain::engine::proof::{Proven, Statement, Trust};
use selfchain::types::Height;
use selfchain::types::crypto::Scheme;
use selfchain::types::message::BY_CHECKPOINTS;
use selfchain_tests::proofs::{Stand, of_later_version, resigned, spoilt, verified};
use selfchain_tests::random::Random;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

type Checked<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Bits flipped in each good proof.
const FLIPS: usize = 70;
/// Bits flipped in one whose signatures take long to check.
const FLIPS_SLOW: usize = 12;
const SEED: u64 = 0x9_f00f;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let seed = words.get(1).map_or(Some(SEED), |word| word.parse().ok());
    let (Some(directory), Some(seed)) = (words.first(), seed) else {
        eprintln!("proofs DIRECTORY [SEED]");
        return ExitCode::from(2);
    };
    println!("seed {seed}");
    match write_all(Path::new(directory), seed) {
        Ok((cases, holding)) => {
            println!("{cases} cases, of which {holding} hold");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("proofs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(directory: &Path, seed: u64) -> Checked<(usize, usize)> {
    std::fs::create_dir_all(directory)?;
    let mut random = Random(seed);
    let stand = Stand::new();
    let (founders, later) = (stand.founders(), stand.past.trust()?);
    std::fs::write(directory.join("genesis"), stand.world.genesis.to_bytes())?;
    std::fs::write(directory.join("later.txt"), later.to_text())?;
    let mut cases = Cases::new(directory);
    for (name, proof) in stand.proofs(Height(1)) {
        cases.add(name, &proof.to_bytes(), "genesis", &founders)?;
        cases.add(
            "by a later version",
            &of_later_version(&proof),
            "genesis",
            &founders,
        )?;
        cases.add(
            "by whom the verifier does not trust",
            &proof.to_bytes(),
            "later.txt",
            &later,
        )?;
        for (how, bytes) in spoilt(&proof, FLIPS, &mut random) {
            cases.add(&format!("{name}, {how}"), &bytes, "genesis", &founders)?;
        }
    }
    for (name, proof) in stand.proofs(later.set.since()) {
        cases.add(
            &format!("{name}, for the present set"),
            &proof.to_bytes(),
            "later.txt",
            &later,
        )?;
        cases.add(
            &format!("{name}, without its handovers"),
            &proof.to_bytes(),
            "genesis",
            &founders,
        )?;
    }
    for (at, scheme) in Scheme::ALL.into_iter().enumerate() {
        let schemes = [Scheme::Ed25519, scheme, scheme, Scheme::Ed25519];
        for (name, proof) in stand.proofs(Height(1)).into_iter().take(2) {
            let (proof, trust) = resigned(&proof, &schemes)?;
            let file = format!("scheme-{at}.txt");
            std::fs::write(directory.join(&file), trust.to_text())?;
            let name = format!("{name}, decided by {}", scheme.name());
            cases.add(&name, &proof.to_bytes(), &file, &trust)?;
            for (how, bytes) in spoilt(&proof, FLIPS_SLOW, &mut random) {
                cases.add(&format!("{name}, {how}"), &bytes, &file, &trust)?;
            }
        }
    }
    let signed = Stand::with_checkpoints();
    let (founders, later) = (signed.founders(), signed.past.trust()?);
    let later = Trust::read(later.to_text().as_bytes())?;
    std::fs::write(directory.join("genesis-signed"), signed.world.genesis.to_bytes())?;
    std::fs::write(directory.join("later-signed.txt"), later.to_text())?;
    for (name, proof) in signed.proofs(BY_CHECKPOINTS) {
        let name = format!("{name}, over checkpoints");
        let bytes = proof.to_bytes();
        cases.add(&name, &bytes, "genesis-signed", &founders)?;
        cases.add(
            &format!("{name}, without whom to trust"),
            &bytes,
            "later-signed.txt",
            &later,
        )?;
        for (how, bytes) in spoilt(&proof, FLIPS, &mut random) {
            cases.add(&format!("{name}, {how}"), &bytes, "genesis-signed", &founders)?;
        }
    }
    let count = (cases.all.len(), cases.holding);
    std::fs::write(directory.join("cases.json"), Value::from(cases.all).to_string())?;
    Ok(count)
}

struct Cases<'a> {
    directory: &'a Path,
    all: Vec<Value>,
    holding: usize,
}

impl<'a> Cases<'a> {
    fn new(directory: &'a Path) -> Self {
        Self {
            directory,
            all: Vec::new(),
            holding: 0,
        }
    }

    fn add(
        &mut self,
        name: &str,
        bytes: &[u8],
        trust_file: &str,
        trust: &selfchain::engine::proof::Trust,
    ) -> Checked<()> {
        let file = format!("{}.proof", self.all.len());
        std::fs::write(self.directory.join(&file), bytes)?;
        let verdict = verified(bytes, trust);
        self.holding += usize::from(verdict.is_ok());
        let mut case = json!({ "name": name, "proof": file, "trust": trust_file, "holds": verdict.is_ok() });
        match &verdict {
            Ok(proven) => case["says"] = said(proven),
            Err(error) => case["why"] = error.to_string().into(),
        }
        self.all.push(case);
        Ok(())
    }
}

/// What the other implementation must say too.
fn said(proven: &Proven) -> Value {
    let mut said = json!({
        "chain_id": proven.chain_id.to_hex(),
        "handovers": proven.handovers,
        "checkpoints": proven.checkpoints,
        "validators": proven.trust.set.validators().len(),
        "by.height": proven.by.height.0,
        "by.block": proven.by.block.to_hex(),
        "by.time_ns": proven.by.time_ns.0.to_string(),
    });
    let mut set = |key: &str, value: Value| said[key] = value;
    match &proven.statement {
        Statement::Operation(decided) => {
            set("claim", "operation".into());
            set("operation.tx_id", decided.tx_id.to_hex().into());
            set("operation.outcome", decided.outcome.name().into());
            set("operation.took_effect", decided.outcome.took_effect().into());
            set("operation.actual_units", decided.actual.to_string().into());
            set("operation.height", decided.height.0.into());
            set("operation.index", decided.operation_index.into());
            set("operation.of", decided.operation_count.into());
            let credit = decided.operation.credit.get().to_string();
            set("operation.operation.credit", credit.into());
        }
        Statement::Account { height, hot, cold } => {
            set("claim", "account".into());
            set("account.height", height.0.into());
            set("account.account", cold.id.get().to_string().into());
            set("account.asset", hot.asset.get().into());
            let credits = hot.credits_posted.get().to_string();
            set("account.balances.credits_posted", credits.into());
            let debits = hot.debits_posted.get().to_string();
            set("account.balances.debits_posted", debits.into());
        }
        Statement::Consistency { old, new } => {
            set("claim", "consistency".into());
            for (name, receipts) in [("old", old), ("new", new)] {
                set(&format!("consistency.{name}.height"), receipts.height.0.into());
                set(&format!("consistency.{name}.transactions"), receipts.size.into());
                set(&format!("consistency.{name}.root"), receipts.root.to_hex().into());
            }
        }
    }
    said
}
