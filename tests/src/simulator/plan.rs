//! What one run is: how many validators, how far, and what goes wrong.

use super::conduct::Conduct;
use crate::random::Random;
use selfchain::types::genesis::Plane;
use selfchain::types::quality::Network;
use std::sync::Arc;

const MS: u64 = 1_000_000;

/// A safeguard that is taken away, to see that the checkers notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// None is.
    None,
    /// Journals are empty after every crash: validators forget what they signed.
    NoJournal,
    /// Bodies are not kept across a crash: after one of all, nobody has what they are locked on.
    NoBodies,
    /// More than a third of the power decides, in place of more than two.
    BrokenQuorum,
    /// An objection stands for good, in place of yielding after two rounds.
    UnlimitedObjections,
    /// Nobody acknowledges transactions, so that nobody objects to blocks that leave them out.
    NoAcknowledgements,
}

impl Control {
    /// Every safeguard that can be taken away.
    pub const ALL: [Self; 5] = [
        Self::NoJournal,
        Self::NoBodies,
        Self::BrokenQuorum,
        Self::UnlimitedObjections,
        Self::NoAcknowledgements,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoJournal => "no-journal",
            Self::NoBodies => "no-bodies",
            Self::BrokenQuorum => "broken-quorum",
            Self::UnlimitedObjections => "unlimited-objections",
            Self::NoAcknowledgements => "no-acknowledgements",
        }
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where every random choice begins.
    pub seed: u64,
    /// How they stand and who proposes.
    pub plane: Plane,
    /// How many validators.
    pub validators: u16,
    /// The height that all honest ones must reach.
    pub heights: u64,
    /// Least and most that a message is under way, in ns.
    pub delay_ns: (u64, u64),
    /// Of a thousand messages so many are lost, and so many arrive twice.
    pub lost_per_mille: u64,
    /// See above.
    pub doubled_per_mille: u64,
    /// Clocks differ by up to so much either way, in ns.
    pub skew_ns: u64,
    /// Power cuts of one validator, each at some write or sync.
    pub crashes: u64,
    /// Power cuts of all at once.
    pub blackouts: u64,
    /// Times when the network is cut in two.
    pub partitions: u64,
    /// Times when an honest validator's clock goes back by [`STEP_NS`] for a while: it objects to what the others
    /// propose, whatever it is locked on.
    pub clock_steps: u64,
    /// The network is cut into two halves from the beginning, for so long.
    pub halved_ns: u64,
    /// Whether the last validator lies.
    pub is_one_lying: bool,
    /// Whether a model scores every block from [`MODEL_AFTER`] blocks on.
    pub is_scored: bool,
    /// Who has not got the model, by position; it is honest.
    pub without_model: Option<u16>,
    /// Whether no scorer keeps to the budget of its own blocks: all of them are without scores, and objected to.
    pub is_scoring_late: bool,
    /// Faults happen within so much time; what comes after must be calm progress.
    pub faults_end_ns: u64,
    /// How long the calm may take to reach the height, in ns.
    pub calm_ns_max: u64,
    /// Blocks of an epoch.
    pub epoch_blocks: u32,
    /// Proposers that do badly, whatever else happens.
    pub failing: Failing,
    /// What clients send.
    pub load: Load,
    /// Whether validators sign with hybrids of Ed25519 and ML-DSA, some of the one length and some of the other. Those
    /// signatures are hedged: two runs of one seed are alike but for their bytes.
    pub pq_votes: bool,
    /// Whether files are kept in memory: power cuts lose nothing that was written.
    pub is_on_memory: bool,
    /// Whether nobody looks at the signatures of ballots and transactions.
    pub trusts_signatures: bool,
    /// Whether signing costs the first eight validators nothing: their keys sign everything alike.
    pub is_signing_free: bool,
    /// A block is durable within so much time of its decision, in ns.
    pub sync_within_ns: u64,
    /// How single validators behave beside that, by position; who is not in it, as everybody.
    pub conducts: Vec<Conduct>,
    /// The quality network of genesis; `None`: the one that comes with the program.
    pub network: Option<Arc<Network>>,
    /// Who loses its disk, and joins by snapshot.
    pub losing: Option<Losing>,
    /// What is taken away.
    pub control: Control,
}

/// What clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Lanes that send, each one transaction at a time: at most 16.
    pub lanes: u32,
    /// From one transaction of a lane to its next, in ns, unless the one before is not in a block yet. Zero: at once.
    pub every_ns: u64,
    /// Heights that a transaction is valid for.
    pub validity: u64,
    /// Most transactions of a block.
    pub block_transactions: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            lanes: 4,
            every_ns: 0,
            validity: 40,
            block_transactions: 64,
        }
    }
}

/// Proposers that do badly, by position; in all else they are honest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failing {
    /// Has no power, ever.
    pub dead: Option<u16>,
    /// Its messages are under way [`SLOW_FACTOR`] times as long.
    pub slow: Option<u16>,
    /// Put nothing into their blocks.
    pub starving: &'static [u16],
    /// Whether the others are told who is dead, so that they may wait less for it.
    pub is_known: bool,
}

/// A validator that loses its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losing {
    /// Which, by position; it is honest.
    pub who: u16,
    /// When.
    pub at_ns: u64,
    /// How long it has no power then.
    pub off_ns: u64,
    /// Power cuts of it while it joins.
    pub cuts: u64,
}

/// Blocks between two snapshots, where somebody loses its disk.
pub const SNAPSHOT_EVERY: u64 = 8;

/// A block is durable within so much time of its decision, in ns, where a plan says nothing else.
const SYNC_WITHIN_NS: u64 = 10 * MS;

/// How many times as long a slow validator's messages take.
pub const SLOW_FACTOR: u64 = 3;

/// How far a clock goes back: more than a proposer's may be ahead of a voter's in the first two rounds.
pub const STEP_NS: u64 = 5_000 * MS;

/// Blocks between the model's operation and the first block that it scores.
pub const MODEL_AFTER: u64 = 3;

/// Blocks of an epoch: the fewest that may be, so that a short run sees several.
pub const EPOCH_BLOCKS: u32 = 16;

impl Plan {
    /// A run with faults of every kind, chosen by the seed.
    pub fn of_seed(seed: u64, plane: Plane, validators: u16, heights: u64) -> Self {
        let mut random = Random(seed ^ 0x51ab_5eed);
        let delay_max = [2, 10, 40, 120][usize::try_from(random.below(4)).unwrap_or_default()] * MS;
        Self {
            seed,
            plane,
            validators,
            heights,
            delay_ns: (MS / 10, delay_max),
            lost_per_mille: [0, 10, 50, 100][usize::try_from(random.below(4)).unwrap_or_default()],
            doubled_per_mille: random.below(50),
            skew_ns: random.below(300) * MS,
            crashes: random.between(1, 4),
            blackouts: random.below(3),
            partitions: random.below(3),
            halved_ns: 0,
            is_one_lying: true,
            is_scored: true,
            without_model: random.chance(250).then_some(0),
            clock_steps: random.below(3),
            is_scoring_late: false,
            faults_end_ns: 8_000 * MS,
            calm_ns_max: 120_000 * MS,
            epoch_blocks: EPOCH_BLOCKS,
            failing: Failing::default(),
            load: Load::default(),
            pq_votes: false,
            is_on_memory: false,
            trusts_signatures: false,
            is_signing_free: false,
            sync_within_ns: SYNC_WITHIN_NS,
            conducts: Vec::new(),
            network: None,
            losing: None,
            control: Control::None,
        }
    }

    /// A run with faults in which an honest validator loses its disk, and comes back when the others are far ahead and
    /// have dropped what they began with.
    pub fn losing(seed: u64, plane: Plane, validators: u16, heights: u64) -> Self {
        let mut random = Random(seed ^ 0x105e_d15c);
        Self {
            crashes: random.below(3),
            blackouts: 0,
            without_model: None,
            is_one_lying: validators > 4,
            losing: Some(Losing {
                who: 0,
                at_ns: random.between(500, 2_500) * MS,
                off_ns: random.between(2_500, 4_000) * MS,
                cuts: random.below(6),
            }),
            ..Self::of_seed(seed, plane, validators, heights)
        }
    }

    /// A run in which nothing goes wrong.
    pub fn calm(seed: u64, plane: Plane, validators: u16, heights: u64) -> Self {
        Self {
            delay_ns: (MS / 10, MS / 5),
            lost_per_mille: 0,
            doubled_per_mille: 0,
            skew_ns: 0,
            crashes: 0,
            blackouts: 0,
            partitions: 0,
            clock_steps: 0,
            is_one_lying: false,
            is_scored: false,
            without_model: None,
            faults_end_ns: 0,
            ..Self::of_seed(seed, plane, validators, heights)
        }
    }

    /// The run without a safeguard, with more of the faults that it is there for.
    #[must_use]
    pub fn without(self, control: Control) -> Self {
        let plan = Self { control, ..self };
        match control {
            Control::None | Control::NoAcknowledgements => plan,
            Control::NoJournal => Self { crashes: 12, ..plan },
            Control::NoBodies => Self {
                blackouts: 12,
                calm_ns_max: 30_000 * MS,
                ..plan
            },
            // Parted before the first block: once one is decided by a few, nobody takes its certificate, and what
            // there is is one fork and a halt.
            Control::BrokenQuorum => Self {
                halved_ns: 4_000 * MS,
                is_one_lying: false,
                is_scored: false,
                calm_ns_max: 10_000 * MS,
                ..plan
            },
            // Not for longer: a block of a very late round has room for no transaction, and nobody objects to it.
            Control::UnlimitedObjections => Self {
                is_scoring_late: true,
                without_model: None,
                calm_ns_max: 30_000 * MS,
                ..plan
            },
        }
    }

    /// The command that repeats the run.
    pub fn command(&self) -> String {
        let control = match self.control {
            Control::None => String::new(),
            control => format!(" --control {}", control.name()),
        };
        format!(
            "cargo run --release -p selfchain-tests --bin simulate -- --seed {} --plane {} --validators {} --heights {}{control}",
            self.seed,
            self.plane.name(),
            self.validators,
            self.heights
        )
    }
}
