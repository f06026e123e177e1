//! `proof`: makes proofs that are files, and verifies them with nothing but whom the user trusts.

mod say;

use super::access;
use super::arguments::NodeArguments;
use super::init::{of_store, open_data};
use super::output::Output;
use super::progress::bar;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::answers::{AnswerError, Past};
use crate::proving::{Rebuilding, SINCE_GENESIS};
use crate::store::Store;
use clap::{ArgGroup, Args, Subcommand};
use core::sync::atomic::AtomicBool;
use selfchain_engine::proof::{PROOF_BYTES_MAX, ProofFile, ProofFileError, Proven, TRUST_BYTES_MAX, Trust};
use selfchain_types::message::{BY_CHECKPOINTS, Query};
use selfchain_types::{AccountId, Height, codec};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Subcommand)]
pub(super) enum ProofCommand {
    /// Prove that an operation was decided, and how.
    Tx {
        /// The transaction's id, 64 hexadecimal characters.
        tx_id: String,
        /// Which of its operations.
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        operation: u32,
        #[command(flatten)]
        make: MakeArguments,
    },
    /// Prove an account's balances.
    Balance {
        /// Its number.
        account: u128,
        /// After which block [default: the newest that can be proved].
        #[arg(long, value_name = "HEIGHT", value_parser = clap::value_parser!(u64).range(1..))]
        at: Option<u64>,
        #[command(flatten)]
        make: MakeArguments,
    },
    /// Prove that the ledger of one height goes on from that of another: nothing was changed or put in between.
    Consistency {
        /// The earlier height.
        old: u64,
        /// The later height [default: the newest that can be proved].
        new: Option<u64>,
        #[command(flatten)]
        make: MakeArguments,
    },
    /// Verify a proof, offline, and say what it proves. Exit code 5 when it does not hold.
    Verify {
        /// The proof.
        file: PathBuf,
        /// Whom to trust: the chain's file `genesis`, or a validators file.
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
    },
    /// Write a validators file: who decides at present. Proofs for whoever has it are small.
    Trust {
        /// Where it goes.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// Whom to trust so far: the chain's file `genesis`, or an older validators file [default: the node's genesis].
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
        #[command(flatten)]
        from: FromArguments,
    },
}

/// Where a proof comes from.
#[derive(Clone, Debug, Args)]
pub(super) struct FromArguments {
    /// Ask no node: read the data directory of a stopped one.
    #[arg(long, conflicts_with_all = ["server", "server_key"])]
    offline: bool,
    #[command(flatten)]
    node: NodeArguments,
}

/// What a proof is made from, for whom, and where it goes.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("whom").args(["since", "trust", "checkpoints"]))]
pub(super) struct MakeArguments {
    /// Where the proof goes.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Leave out changes of the set of validators before this height: the verifier trusts who decides from there on.
    #[arg(long, value_name = "HEIGHT", value_parser = clap::value_parser!(u64).range(1..))]
    since: Option<u64>,
    /// Make it for whoever trusts this file, and verify it before it is written.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Lead over checkpoints, from genesis on: longer, and it holds after the scheme that votes are signed with is broken.
    #[arg(long)]
    checkpoints: bool,
    #[command(flatten)]
    from: FromArguments,
}

pub(super) fn proof(command: &ProofCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        ProofCommand::Tx {
            tx_id,
            operation,
            make,
        } => {
            let tx_id = access::parse_hash("the transaction's id", tx_id)?;
            let since = make.since()?;
            let query = Query::ProveOperation {
                tx_id,
                operation: *operation,
                since,
            };
            let offline = |past: &Past| past.prove_operation(&tx_id, *operation, since);
            make.write(query, settings, output, offline)
        }
        ProofCommand::Balance { account, at, make } => {
            let (account, since) = (AccountId(*account), make.since()?);
            if make.from.offline {
                let bytes = balance(account, *at, since, settings, output)?.to_bytes();
                return make.finish(&bytes, output);
            }
            let at = Height(at.unwrap_or(0));
            let query = Query::ProveAccount { account, at, since };
            make.finish(&make.from.ask(query, settings)?, output)
        }
        ProofCommand::Consistency { old, new, make } => {
            let (old, new, since) = (Height(*old), Height(new.unwrap_or(0)), make.since()?);
            let query = Query::ProveConsistency { old, new, since };
            let offline = |past: &Past| past.prove_consistency(old, new, since);
            make.write(query, settings, output, offline)
        }
        ProofCommand::Verify { file, trust } => verify(file, trust, output),
        ProofCommand::Trust {
            output: file,
            trust,
            from,
        } => write_trust(file, trust.as_deref(), from, settings, output),
    }
}

impl MakeArguments {
    /// From which height on the verifier knows the validators.
    fn since(&self) -> Result<Height, Failure> {
        match (&self.trust, self.since) {
            _ if self.checkpoints => Ok(BY_CHECKPOINTS),
            (Some(file), _) => Ok(read_trust(file)?.set.since()),
            (None, Some(since)) => Ok(Height(since)),
            (None, None) => Ok(SINCE_GENESIS),
        }
    }

    /// Makes the proof, by a node or from its data directory, and writes it.
    fn write(
        &self,
        query: Query,
        settings: &Settings,
        output: Output,
        offline: impl FnOnce(&Past) -> Result<ProofFile, AnswerError>,
    ) -> Result<(), Failure> {
        let bytes = if self.from.offline {
            let past = Past::of(&open(settings, output)?);
            offline(&past).map_err(|error| not_proved(&error))?.to_bytes()
        } else {
            self.from.ask(query, settings)?
        };
        self.finish(&bytes, output)
    }

    fn finish(&self, bytes: &[u8], output: Output) -> Result<(), Failure> {
        if let Some(trust) = &self.trust {
            check(bytes, &read_trust(trust)?)?;
        }
        write(&self.output, bytes)?;
        let value = json!({ "file": self.output.display().to_string(), "bytes": bytes.len() });
        output.result(&describe::lines(&value), &value)
    }
}

impl FromArguments {
    fn ask(&self, query: Query, settings: &Settings) -> Result<Vec<u8>, Failure> {
        let client = access::connect(&self.node, settings)?;
        client
            .prove(query)
            .map_err(|error| Failure::of_client("there is no proof", &error))
    }
}

/// A proof of an account's balances from the data directory of a stopped node.
fn balance(
    account: AccountId,
    at: Option<u64>,
    since: Height,
    settings: &Settings,
    output: Output,
) -> Result<ProofFile, Failure> {
    let mut store = open(settings, output)?;
    let past = Past::of(&store);
    let bar = bar("rebuilding the state", output.is_json);
    let mut show = |height: Height, to: Height| {
        bar.set_length(to.0);
        bar.set_position(height.0);
    };
    let mut rebuild = |height| {
        let how = Rebuilding {
            blocks_max: u64::MAX,
            progress: &mut show,
            stop: &AtomicBool::new(false),
        };
        past.account_at(account, height, how)
    };
    let at = match since {
        BY_CHECKPOINTS => Some(
            past.checkpointed(Height(at.unwrap_or(0)))
                .map_err(|error| not_proved(&error))?,
        ),
        _ => at.map(Height),
    };
    let path = match at {
        Some(height) => rebuild(height),
        None => {
            let chain = store
                .recover(&mut |_| {})
                .map_err(|error| of_store("cannot recover the chain".into(), &error))?;
            match chain.account_path(account) {
                None => Err(AnswerError::NotFound { what: "the account" }),
                // Its last blocks are committed to by none that is there.
                Some(path) if path.by > chain.tip().height => rebuild(past.newest()),
                Some(path) => Ok(path),
            }
        }
    };
    bar.finish_and_clear();
    path.and_then(|path| past.prove_account(path, since))
        .map_err(|error| not_proved(&error))
}

fn verify(file: &Path, trust: &Path, output: Output) -> Result<(), Failure> {
    let trust = read_trust(trust)?;
    let bytes = read(file, PROOF_BYTES_MAX, "name a proof that `selfchain proof` wrote")?;
    let proven = check(&bytes, &trust)?;
    let value = say::value(&proven, bytes.len());
    output.result(&say::text(&proven), &value)
}

/// Verifies a proof.
fn check(bytes: &[u8], trust: &Trust) -> Result<Proven, Failure> {
    let verified = ProofFile::decode(bytes)
        .map_err(ProofFileError::from)
        .and_then(|file| file.verify(trust));
    verified.map_err(|error| {
        let next = match &error {
            ProofFileError::Header { .. } | ProofFileError::Handover { .. }
                if trust.set.since() > SINCE_GENESIS =>
            {
                "it may be for whoever trusts the genesis file, or an older or newer validators file"
            }
            _ => "",
        };
        Failure::new(ExitStatus::Corrupt, "the proof does not hold", next).because(&error)
    })
}

fn write_trust(
    file: &Path,
    trusted: Option<&Path>,
    from: &FromArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let trusted = trusted.map(read_trust).transpose()?;
    let trust = if from.offline {
        let past = Past::of(&open(settings, output)?);
        let trust = trusted.unwrap_or_else(|| Trust::of_genesis(&past.genesis));
        let proof = past.prove_consistency(past.newest(), past.newest(), trust.set.since());
        follow(trust, past.newest(), || {
            proof
                .map_err(|error| not_proved(&error))
                .map(|proof| proof.to_bytes())
        })?
    } else {
        let client = access::connect(&from.node, settings)?;
        let asked = |error| Failure::of_client("cannot ask the node for its validators", &error);
        let tip = client.status().map_err(asked)?.tip;
        let trust = match trusted {
            Some(trust) => trust,
            None => Trust::of_genesis(&client.genesis().map_err(asked)?),
        };
        let (newest, since) = (tip.back(trust.root_lag), trust.set.since());
        let query = Query::ProveConsistency {
            old: newest,
            new: newest,
            since,
        };
        follow(trust, newest, || client.prove(query).map_err(asked))?
    };
    write(file, trust.to_text().as_bytes())?;
    let set = &trust.set;
    let validators: Vec<_> = (set.validators().iter())
        .map(|one| json!({ "key_id": one.key.id().to_string(), "scheme": one.key.scheme().name(), "power": one.power }))
        .collect();
    let value = json!({
        "file": file.display().to_string(),
        "chain_id": trust.chain_id.to_hex(),
        "since": set.since().0,
        "validators": validators,
    });
    output.result(&describe::lines(&value), &value)
}

/// Whoever decided the newest block that there is a proof of. Before the first, those that are trusted already.
fn follow(
    trust: Trust,
    newest: Height,
    proof: impl FnOnce() -> Result<Vec<u8>, Failure>,
) -> Result<Trust, Failure> {
    if newest == Height::GENESIS {
        return Ok(trust);
    }
    Ok(check(&proof()?, &trust)?.trust)
}

/// The store of a stopped node. Where it did not end well, what lies behind the log catches up first.
fn open(settings: &Settings, output: Output) -> Result<Store, Failure> {
    let config = settings.resolve()?.config;
    let disk = open_data("cannot prove anything", &config.data_dir)?;
    let mut store = Store::open(Arc::new(disk), &config.store_config())
        .map_err(|error| of_store("cannot open the store".into(), &error))?;
    if Past::of(&store).index_lag() > 0 {
        let bar = bar("recovering", output.is_json);
        let recovered = store.recover(&mut |progress| {
            bar.set_length(progress.tip.0);
            bar.set_position(progress.height.0);
        });
        bar.finish_and_clear();
        recovered.map_err(|error| of_store("cannot recover the chain".into(), &error))?;
    }
    Ok(store)
}

fn not_proved(error: &AnswerError) -> Failure {
    let (status, next) = match error {
        AnswerError::Store(error) => return of_store("there is no proof".into(), error),
        AnswerError::IndexBehind { .. } => (
            ExitStatus::Failed,
            "start the node with `selfchain run` and stop it: it catches up",
        ),
        AnswerError::Unbelieved(_) => (ExitStatus::Corrupt, "restore the directory from a backup"),
        _ => (ExitStatus::Refused, ""),
    };
    Failure::new(status, "there is no proof", next).because(error)
}

fn read_trust(file: &Path) -> Result<Trust, Failure> {
    let next = "name the file `genesis` of the chain, or one that `selfchain proof trust` wrote";
    let bytes = read(file, TRUST_BYTES_MAX, next)?;
    Trust::read(&bytes)
        .map_err(|error| Failure::usage(format!("cannot trust {}", file.display()), next).because(&error))
}

fn read(file: &Path, bytes_max: usize, next: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: &std::io::Error| {
        Failure::usage(format!("cannot read {}", file.display()), next).because(error)
    };
    let mut bytes = Vec::new();
    // One byte more than is allowed says that it is too long.
    let limit = codec::wide(bytes_max).saturating_add(1);
    let opened = File::open(file).map_err(|error| failed(&error))?;
    opened
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    Ok(bytes)
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, bytes).map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("cannot write {}", file.display()), "").because(&error)
    })
}
