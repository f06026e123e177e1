//! What can be typed: every command with its arguments.

use super::ai::AiCommand;
use super::demo::DemoArguments;
use super::settings::KeyFlags;
use crate::bench::{PlaneArgument, SchemeArgument};
use crate::standing::EPOCH_BLOCKS;
use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use selfchain_consensus::roll::{EPOCH_BLOCKS_MAX, EPOCH_BLOCKS_MIN};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An event-sourced double-entry ledger: signed transactions over QUIC, durable before they are answered.
#[derive(Debug, Parser)]
#[command(name = "selfchain", version, about, after_help = EXIT_CODES, subcommand_required = true)]
pub(super) struct Arguments {
    /// Configuration file [default: selfchain.toml in the data directory; env: SELFCHAIN_CONFIG].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Answer with one JSON object on the last line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Listen on unused ports, for tests.
    #[arg(long = "with-unused-ports", global = true, hide = true)]
    pub(super) unused_ports: bool,
    #[command(flatten)]
    pub(super) keys: KeyFlags,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Every key of `selfchain config show` is a flag too: --ingest.listen 127.0.0.1:7400
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused by the ledger,
4 node not reached in time, 5 data does not hold, 6 held for review: reserved, not moved.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a chain: data directory, node key, genesis, annotated configuration.
    Init(InitArguments),
    /// Make a chain of several validators on this machine: a data directory for each, ports from --port-base on.
    Testnet(TestnetArguments),
    /// Run the node until SIGTERM or ctrl-c, then drain.
    Run,
    /// Make and show keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Open, show, limit and close accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Create and show assets.
    #[command(subcommand)]
    Asset(AssetCommand),
    /// Join the validators, bond money, leave, take another key; all from the next epoch on.
    #[command(subcommand)]
    Validator(ValidatorCommand),
    /// Move an amount; or reserve, post or void one.
    Transfer(TransferArguments),
    /// List, explain, release and void transfers that wait for a reviewer.
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Show and set what is done about scores.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show which model decides, and let one decide from a height on.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Say that a transfer was fraud, or that it was not: scores of later transfers and training learn from it.
    Report(ReportArguments),
    /// Show where a transaction is and what became of it.
    Tx(TxArguments),
    /// Show a block.
    Block(BlockArguments),
    /// Print events, one JSON object a line.
    Events(EventsArguments),
    /// Show who the validators are: power, reputation, offences, and what each did last.
    Validators(LookArguments),
    /// Show how the validators agree.
    #[command(subcommand)]
    Consensus(ConsensusCommand),
    /// Show proofs that validators misbehaved: in blocks, and on the way into one.
    Evidence(LookArguments),
    /// Show which headers validators signed with their checkpoint keys, each followed from genesis on.
    Checkpoints(LookArguments),
    /// Replay the log of a stopped node: every hash, root and total.
    Verify,
    /// Write and list snapshots of a stopped node.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Stream transfers through a node of its own, and check what came of them.
    Demo(DemoArguments),
    /// Train, judge, import and compare models; score files; explain scores.
    #[command(subcommand)]
    Ai(AiCommand),
    /// Measure this machine and the node on it: `selfchain bench --help`.
    #[command(disable_help_flag = true)]
    Bench {
        /// A tier and its flags, among which --json takes a file.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "TIER AND FLAGS"
        )]
        words: Vec<OsString>,
    },
    /// Show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The chain's name, for people.
    #[arg(long, default_value = "selfchain")]
    pub(super) name: String,
    /// Which account ids may be opened: any, or only those derived from owner, asset and salt.
    #[arg(long, value_enum, default_value_t = AccountIdsArgument::Free)]
    pub(super) account_ids: AccountIdsArgument,
    /// Sign every block with Ed25519 and ML-DSA-65, for good.
    #[arg(long)]
    pub(super) pq_votes: bool,
    /// Make a directory for another node of a chain that is there, not a chain: the file `genesis` of one of its data
    /// directories.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "account_ids", "pq_votes"])]
    pub(super) genesis: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct TestnetArguments {
    /// How many validators; with 3f + 1 of them, f may fail.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub(super) validators: u16,
    /// Where the directories go.
    #[arg(long, value_name = "DIR")]
    pub(super) output: PathBuf,
    /// How they agree.
    #[arg(long, value_enum, default_value_t = PlaneArgument::Stake)]
    pub(super) plane: PlaneArgument,
    /// Every validator signs with Ed25519 and ML-DSA-65, for good: votes, blocks, links.
    #[arg(long)]
    pub(super) pq_votes: bool,
    /// Every so many blocks validators sign the header with a key of Ed25519 and ML-DSA-65 beside; 0: never, as with
    /// --pq-votes, where every block is.
    #[arg(long, value_name = "BLOCKS", default_value_t = 1_000)]
    pub(super) checkpoints: u32,
    /// The chain's name, for people.
    #[arg(long, default_value = "testnet")]
    pub(super) name: String,
    /// Blocks of an epoch: what changes validators takes effect when one ends.
    #[arg(long, value_name = "BLOCKS", default_value_t = EPOCH_BLOCKS,
        value_parser = clap::value_parser!(u32).range(i64::from(EPOCH_BLOCKS_MIN)..=i64::from(EPOCH_BLOCKS_MAX)))]
    pub(super) epoch: u32,
    /// A model's file for every validator, beside the one that comes with the program: it must be exact.
    #[arg(long, value_name = "FILE")]
    pub(super) model: Option<PathBuf>,
    /// The file of the network that decides how often who is asked to propose; with `--plane poai` [default: the one
    /// that comes with the program].
    #[arg(long, value_name = "FILE")]
    pub(super) quality: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum AccountIdsArgument {
    /// Any.
    Free,
    /// Derived from owner, asset and salt.
    Derived,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key file, readable by you alone.
    New {
        /// Where.
        file: PathBuf,
        /// How it signs. A node's own key is of the first kind.
        #[arg(long, value_enum, default_value_t = SchemeArgument::Ed25519)]
        scheme: SchemeArgument,
    },
    /// Show a key's public half: its id and public key.
    Show {
        /// Which key file [default: the node's].
        file: Option<PathBuf>,
    },
}

/// How to reach the node.
#[derive(Clone, Debug, Args)]
pub(super) struct NodeArguments {
    /// The node's address [default: ingest.listen].
    #[arg(long, value_name = "ADDRESS")]
    pub(super) server: Option<SocketAddr>,
    /// The node's public key, 64 hexadecimal characters [default: that of the key in the data directory].
    #[arg(long, value_name = "HEX")]
    pub(super) server_key: Option<String>,
    /// The longest that the command waits for the node.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(super) deadline_ms: u64,
}

/// How to look at a node: over its HTTP port; where none runs, in the data directory.
#[derive(Clone, Debug, Args)]
pub(super) struct LookArguments {
    /// The node's HTTP port [default: http.listen].
    #[arg(long, value_name = "ADDRESS", conflicts_with = "offline")]
    pub(super) http: Option<SocketAddr>,
    /// Ask no node: read the data directory of a stopped one.
    #[arg(long)]
    pub(super) offline: bool,
    /// The longest that the command waits for the node.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(super) deadline_ms: u64,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConsensusCommand {
    /// Show the height in hand, its round and votes, the last decision, and how each validator is reached.
    Status(LookArguments),
}

/// How to reach the node, and who signs.
#[derive(Clone, Debug, Args)]
pub(super) struct SignArguments {
    #[command(flatten)]
    pub(super) node: NodeArguments,
    /// The key file that signs [default: the node's].
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Which of the key's lanes to use. Programs that sign at the same time need one each.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..16))]
    pub(super) lane: u32,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Open an account.
    Open(AccountOpenArguments),
    /// Show an account.
    Show {
        /// Its number.
        account: u128,
        /// Show the balances as they were after this block; for accounts with history.
        #[arg(long, value_name = "HEIGHT")]
        at: Option<u64>,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Show how the balances of an account with history became what they are, oldest first.
    History {
        /// Its number.
        account: u128,
        /// First height; 0 = all that is kept.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Place in that block to begin at: of the page before, what `next` says.
        #[arg(long, default_value_t = 0)]
        place: u32,
        /// Most rows.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        rows: u16,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Set an account's credit limit; by the issuer of its asset.
    Limit {
        /// Its number.
        account: u128,
        /// The limit, at the asset's scale.
        limit: String,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Close an account that has nothing pending.
    Close {
        /// Its number.
        account: u128,
        #[command(flatten)]
        sign: SignArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct AccountOpenArguments {
    /// Its number. Left out on a chain with derived ids.
    pub(super) account: Option<u128>,
    /// What it counts.
    #[arg(long)]
    pub(super) asset: u32,
    /// The key id that owns it [default: the signer's].
    #[arg(long, value_name = "KEY_ID")]
    pub(super) owner: Option<String>,
    /// How far it may be overdrawn, at the asset's scale; by the asset's issuer.
    #[arg(long, default_value = "0", value_name = "AMOUNT")]
    pub(super) limit: String,
    /// Let debits exceed credits without limit.
    #[arg(long)]
    pub(super) unconstrained: bool,
    /// Keep every change of its balances.
    #[arg(long)]
    pub(super) history: bool,
    /// Tells accounts of one owner and asset apart on a chain with derived ids.
    #[arg(long, default_value_t = 0)]
    pub(super) salt: u64,
    #[command(flatten)]
    pub(super) sign: SignArguments,
}

/// The validator's key is the one that --key names.
#[derive(Debug, Subcommand)]
pub(super) enum ValidatorCommand {
    /// Make the key a validator, from the next epoch on.
    Join {
        /// Units of the fees' asset at stake. They stay on the account, locked.
        #[arg(long, value_name = "UNITS")]
        bond: u64,
        /// The account that they lie on, and that rewards go to.
        #[arg(long)]
        account: u128,
        /// The key file of the account's owner [default: the validator's].
        #[arg(long, value_name = "FILE")]
        owner: Option<PathBuf>,
        /// Where it listens for the other validators, who then find it.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Say where it listens for the other validators. Counts at once.
    Address {
        /// Where.
        #[arg(value_name = "HOST:PORT")]
        address: String,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Set the bond: more is locked at once, less is given back when it answers for nothing any more.
    Bond {
        /// Units at stake from the next epoch on, all in all.
        #[arg(value_name = "UNITS")]
        bond: u64,
        /// The account that more comes from, and that rewards go to; where a bond lies already, that.
        #[arg(long)]
        account: Option<u128>,
        /// The key file of the account's owner [default: the validator's].
        #[arg(long, value_name = "FILE")]
        owner: Option<PathBuf>,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Leave the validators at the epoch's end. The bond is given back when it answers for nothing any more.
    Leave {
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Sign with another key from the next epoch on; until then the present one counts.
    Rotate {
        /// The key file to come. It signs too.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Sign checkpoints with another key, once the next one is made; until then the present one is needed too.
    CheckpointKey {
        /// The key file to come, of a hybrid scheme. It signs too.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Begin the key's second chain of reveals with the next epoch (Proof of AI).
    Reveals {
        #[command(flatten)]
        sign: SignArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AssetCommand {
    /// Create an asset with its issuance account.
    Create {
        /// Its number.
        asset: u32,
        /// Decimal digits after the point.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=38))]
        scale: u16,
        /// The most that may be out at once, at that scale [default: no cap].
        #[arg(long, value_name = "AMOUNT")]
        cap: Option<String>,
        /// Number of the issuance account [default: 2^64 + asset].
        #[arg(long)]
        issuance: Option<u128>,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Show an asset.
    Show {
        /// Its number.
        asset: u32,
        #[command(flatten)]
        node: NodeArguments,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").args(["pending", "post", "void"]))]
pub(super) struct TransferArguments {
    /// The account to debit.
    #[arg(long, required_unless_present_any = ["post", "void"])]
    pub(super) from: Option<u128>,
    /// The account to credit.
    #[arg(long, required_unless_present_any = ["post", "void"])]
    pub(super) to: Option<u128>,
    /// How much, at the asset's scale, such as 12.50; with --post the whole where left out.
    #[arg(long, required_unless_present_any = ["post", "void"], conflicts_with = "void")]
    pub(super) amount: Option<String>,
    /// The asset [default: the debited account's; 0 units of scale where neither is known].
    #[arg(long)]
    pub(super) asset: Option<u32>,
    /// Reserve the amount only, to be posted or voided later.
    #[arg(long)]
    pub(super) pending: bool,
    /// Seconds of ledger time after which a reservation expires; 0 = never.
    #[arg(long, default_value_t = 0, requires = "pending")]
    pub(super) timeout_s: u32,
    /// Post the pending transfer with this id.
    #[arg(long, value_name = "ID")]
    pub(super) post: Option<u128>,
    /// Void the pending transfer with this id.
    #[arg(long, value_name = "ID")]
    pub(super) void: Option<u128>,
    /// The transfer's id [default: random].
    #[arg(long)]
    pub(super) id: Option<u128>,
    #[command(flatten)]
    pub(super) sign: SignArguments,
}

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// The transaction's id, 64 hexadecimal characters.
    pub tx_id: String,
    /// Which of its operations.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub operation: u32,
    /// It was fraud.
    #[arg(long, conflicts_with = "cleared", required_unless_present = "cleared")]
    pub fraud: bool,
    /// It was none.
    #[arg(long)]
    pub cleared: bool,
    /// The party that speaks; signed by its owner, or by a reviewer of what it pays [default: the one that paid].
    #[arg(long = "for", value_name = "ID")]
    pub party: Option<u128>,
    #[command(flatten)]
    pub sign: SignArguments,
}

#[derive(Debug, Subcommand)]
pub(super) enum HoldCommand {
    /// List transfers that wait for a reviewer.
    List {
        /// Most of them.
        #[arg(long, default_value_t = 100)]
        rows: usize,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Say in words why a transfer is held; with an advisor (advisor.url) also in a paragraph, which decides nothing.
    Explain {
        /// The hold's id.
        hold: u128,
        /// Ask the advisor again, even if it has written about this hold.
        #[arg(long)]
        anew: bool,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Let a held transfer move; by its reviewer.
    Release {
        /// The hold's id.
        hold: u128,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Give the amount of a held transfer back; by its reviewer.
    Void {
        /// The hold's id.
        hold: u128,
        #[command(flatten)]
        sign: SignArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Show the chain's policy, or what an account has of its own.
    Show {
        /// The account [default: the chain].
        #[arg(long)]
        account: Option<u128>,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Set the chain's policy (by its authority), or what one account adds for what it pays (by its owner).
    /// What is not given is not done.
    Set {
        /// The account [default: the chain].
        #[arg(long)]
        account: Option<u128>,
        /// Keep the reasons of scores from this one on, 0 to 254.
        #[arg(long, default_value_t = 255)]
        annotate: u8,
        /// Hold transfers with scores from this one on.
        #[arg(long, default_value_t = 255)]
        hold: u8,
        /// Refuse transfers with scores from this one on.
        #[arg(long, default_value_t = 255)]
        reject: u8,
        /// Hold transfers that could not be scored in time.
        #[arg(long)]
        hold_unscored: bool,
        /// Seconds of ledger time after which a hold ends, voided; 0 = never.
        #[arg(long, default_value_t = 0)]
        hold_timeout_s: u32,
        /// The key id that reviews [default: the chain's reviewer, else its authority].
        #[arg(long, value_name = "KEY_ID")]
        reviewer: Option<String>,
        #[command(flatten)]
        sign: SignArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// Show which model decides at the next height, or which one an account prefers.
    Show {
        /// An account.
        #[arg(long, value_name = "ID")]
        account: Option<u128>,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Let a model decide from a height on; by the chain's authority. Its file belongs into the folder `models` of
    /// every validator's data directory.
    Activate {
        /// The hash of its file (`selfchain ai show FILE`), `default` for the model that comes with the program, or
        /// `none`.
        model: String,
        /// The first height [default: ten after the next].
        #[arg(long, value_name = "HEIGHT")]
        at: Option<u64>,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Let another quality network decide from the next epoch on how often which validator is asked to propose; by the
    /// chain's authority. The operation carries the file: every validator has it with the block.
    Quality {
        /// The network's file (`selfchain ai train-proposer`).
        #[arg(value_name = "FILE")]
        network: PathBuf,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Let another model be asked too about what an account pays, and the higher score stand; by the account's owner.
    /// It must decide now or have decided before.
    Prefer {
        /// The hash of its file, `default` for the model that comes with the program, or `none`.
        model: String,
        /// The account.
        #[arg(long, value_name = "ID")]
        account: u128,
        #[command(flatten)]
        sign: SignArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct TxArguments {
    /// The transaction's id, 64 hexadecimal characters.
    pub(super) tx_id: String,
    /// Write the receipt of this operation, with its proof, to --out.
    #[arg(long, value_name = "OPERATION", requires = "out")]
    pub(super) receipt: Option<u32>,
    /// Where the receipt goes.
    #[arg(long, value_name = "FILE", requires = "receipt")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) node: NodeArguments,
}

#[derive(Debug, Args)]
pub(super) struct BlockArguments {
    /// Its height; the first block is 1.
    pub(super) height: u64,
    #[command(flatten)]
    pub(super) node: NodeArguments,
}

#[derive(Debug, Args)]
pub(super) struct EventsArguments {
    /// Go on with new ones until interrupted.
    #[arg(long)]
    pub(super) follow: bool,
    /// First height [default: 1; with --follow the next].
    #[arg(long, value_name = "HEIGHT")]
    pub(super) from: Option<u64>,
    #[command(flatten)]
    pub(super) node: NodeArguments,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Write a snapshot at the newest height.
    Create,
    /// List the snapshots there are.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show every key with its value and where that comes from.
    Show {
        /// What is in force; the only thing there is to show.
        #[arg(long)]
        effective: bool,
    },
    /// Print the annotated default file.
    Default,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_make_sense_to_clap() {
        Arguments::command().debug_assert();
    }
}
