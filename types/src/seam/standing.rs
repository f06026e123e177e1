//! The standing seam: who the validators are, what each weighs, who proposes, and who earns.
//!
//! A standing is a fold over decided blocks, in integers. The contract:
//! - Per block, in order: [`observe`](Standing::observe) once, before the first operation;
//!   [`change`](Standing::change) for each operation that concerns the set, as it executes;
//!   [`rewards`](Standing::rewards) after the last; [`close`](Standing::close) once, at the end.
//! - It reads nothing but what it is handed. The same blocks give the same bytes on every machine.
//! - The caller has checked signatures, and that a certificate has its quorum. Everything else that can make what a
//!   block says of validators invalid, [`check`](Standing::check) refuses; `observe` refuses the same, changing
//!   nothing.
//! - Sets change at the ends of epochs only. Queries speak of the state after the last block closed:
//!   [`validators`](Standing::validators) of the next height, [`next_validators`](Standing::next_validators) of the
//!   one after it, which is what the next header's `next_validators_hash` covers.
//! - [`encode`](Standing::encode) between blocks is the whole state, and [`restore`](Standing::restore) of its bytes
//!   goes on as if it had folded everything.

use crate::certificate::Certificate;
use crate::codec::DecodeError;
use crate::crypto::PublicKey;
use crate::genesis::Validator;
use crate::late::LatePrecommit;
use crate::quality::Network;
use crate::roots::Table;
use crate::seam::consensus::Schedule;
use crate::seam::view::StandingView;
use crate::{Amount, Hash, Height, KeyId, hash};
use core::net::SocketAddr;
use std::sync::Arc;
use std::vec::Vec;
use thiserror::Error;

/// The standing of validators.
pub trait Standing: Send + Sync {
    /// Whether what a candidate for the next height says of validators is valid. Every node finds the same.
    ///
    /// # Errors
    /// [`StandingError`]: the block is invalid.
    fn check(&self, block: &Observed<'_>) -> Result<(), StandingError>;

    /// Folds what the next decided block says of validators.
    ///
    /// # Errors
    /// [`StandingError`], and nothing has changed.
    fn observe(&mut self, block: &Observed<'_>) -> Result<(), StandingError>;

    /// Takes a change of the set, effective from an epoch's end but for addresses. A change in an epoch's last block waits for the end
    /// of the epoch after it.
    ///
    /// # Errors
    /// [`ChangeRefusal`], which is an operation's outcome, and nothing has changed.
    fn change(&mut self, change: &Change) -> Result<(), ChangeRefusal>;

    /// Who earns what of the fees of the block that was observed last; the sum is `fees`.
    fn rewards(&self, fees: Amount) -> Vec<Reward>;

    /// The block that was observed last is executed.
    fn close(&mut self);

    /// The height of the last block observed.
    fn height(&self) -> Height;

    /// The next height's validators, in the order that precommits count in.
    fn validators(&self) -> Arc<[Validator]>;

    /// The validators of the height after the next.
    fn next_validators(&self) -> Arc<[Validator]>;

    /// The validators of a height of this epoch or the one before, up to the next height; `None` of others.
    fn validators_of(&self, height: Height) -> Option<Arc<[Validator]>>;

    /// Who proposes at the next height.
    fn schedule(&self) -> Schedule;

    /// The link of a validator's chain of reveals that its next reveal must come before; zero where it must reveal
    /// zero. `None` of nobody in the next height's set.
    fn reveals_before(&self, validator: &KeyId) -> Option<Hash>;

    /// Whether the next block may bring a late precommit of the validator at this position of a height's set.
    fn misses(&self, height: Height, validator: u16) -> bool;

    /// Whether the next block may bring proof of this offence.
    fn punishes(&self, offence: &Offence) -> bool;

    /// The number of the validator that signs with this key, or signed with it at a height whose offences still
    /// count. A validator keeps its number whatever keys it signs with, and no other ever gets it.
    fn member(&self, validator: &KeyId) -> Option<u32>;

    /// What a validator with this number has at stake. It must stay locked: the validator has power, waits for some,
    /// or could still be found to have misbehaved; zero of one that leaves. `None` once it may be given back: what is
    /// given back earlier answers for nothing.
    fn holds(&self, member: u32) -> Option<u64>;

    /// Everyone whom [`Self::holds`] has something to say of, by number: whom the others reach. The same allocation
    /// until somebody or something of them changes.
    fn held(&self) -> Arc<[Held]>;

    /// Appends the canonical bytes of [`Table::Validators`] or [`Table::Plane`]; nothing for another table.
    fn encode(&self, table: Table, out: &mut Vec<u8>);

    /// Takes the state from both tables' bytes. After an error the standing is as it was.
    ///
    /// # Errors
    /// [`DecodeError`].
    fn restore(&mut self, validators: &[u8], plane: &[u8]) -> Result<(), DecodeError>;

    /// How everyone stands, for whoever operates the node.
    fn view(&self) -> StandingView {
        StandingView::of_set(&self.validators())
    }

    /// A table's root: `H(table; canonical bytes)`.
    fn root(&self, table: Table) -> Hash {
        let mut bytes = Vec::new();
        self.encode(table, &mut bytes);
        hash::TABLE.hash(&bytes)
    }
}

/// What a block says of validators.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The header's.
    pub height: Height,
    /// The header's: round of the first proposal.
    pub round: u32,
    /// The header's.
    pub proposer: KeyId,
    /// The header's.
    pub reveal: Hash,
    /// How much of the block's room its envelopes' bytes or its operations use, whichever is more, in thousandths.
    pub fill: u16,
    /// The certificate of height − 1 that the body carries; none in the first block.
    pub parent: Option<&'a Certificate>,
    /// In ascending order of height and validator.
    pub late: &'a [LatePrecommit],
    /// Proofs of misbehaviour in the body, in ascending order.
    pub offences: &'a [Offence],
}

/// Proof, checked by the caller, that a validator signed two things of one height and round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    /// Who.
    pub validator: KeyId,
    /// When.
    pub height: Height,
}

/// A change of the set, or of how it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key becomes a validator.
    Join {
        /// What it signs precommits with.
        key: PublicKey,
        /// What it has at stake.
        bond: u64,
        /// The last link of its chain of reveals.
        reveals: Hash,
    },
    /// A validator's bond becomes this; zero: it leaves.
    Bond {
        /// Who.
        validator: KeyId,
        /// What it has at stake.
        bond: u64,
    },
    /// A validator signs with another key.
    Rotate {
        /// Its key so far.
        validator: KeyId,
        /// The key to come.
        key: PublicKey,
    },
    /// A validator begins another chain of reveals.
    Reveals {
        /// Who.
        validator: KeyId,
        /// The chain's last link.
        reveals: Hash,
    },
    /// A validator says where it listens for the others. Counts at once.
    Address {
        /// Who.
        validator: KeyId,
        /// Where.
        address: SocketAddr,
    },
    /// A validator signs checkpoints with another key. The ledger keeps it; a standing says only whether there is such a
    /// validator.
    CheckpointKey {
        /// Who.
        validator: KeyId,
        /// The key, a hybrid.
        key: PublicKey,
    },
    /// Another network decides how often who is asked to propose.
    Network {
        /// The network.
        network: Arc<Network>,
    },
    /// A validator was found to have misbehaved: it has nothing at stake any more, whatever it signs with, and leaves.
    Forfeit {
        /// Its number.
        member: u32,
    },
}

/// A validator as the others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub number: u32,
    /// Keys that it may prove: the one that it signs with at the next height first, then the one to come, then the one
    /// of the epoch before. At least one, at most [`HELD_KEYS_MAX`].
    pub keys: Vec<PublicKey>,
    /// Whether it is in the next height's set.
    pub is_in_set: bool,
    /// Where it says that it listens.
    pub address: Option<SocketAddr>,
}

/// Most keys of one validator at once: of the epoch before, of this one, of the next, and one that waits for the epoch
/// after that.
pub const HELD_KEYS_MAX: usize = 4;

/// Part of a block's fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reward {
    /// Who earns it.
    pub to: Earner,
    /// How much; never zero.
    pub amount: Amount,
}

/// Who earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earner {
    /// A validator.
    Validator(KeyId),
    /// The chain's reserve.
    Reserve,
}

/// Why what a block says of validators is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StandingError {
    /// Not the height after the last one.
    #[error("height {got} follows, not {want}")]
    Height {
        /// The block's.
        got: Height,
        /// The next.
        want: Height,
    },
    /// Not whom the schedule names.
    #[error("the proposer of round {round} is another validator")]
    Proposer {
        /// The header's round.
        round: u32,
    },
    /// Not the preimage of the proposer's last link, or not zero where there is none.
    #[error("the reveal is not the proposer's next")]
    Reveal,
    /// The fill is more than all.
    #[error("a fill of {got} thousandths")]
    Fill {
        /// What it says.
        got: u16,
    },
    /// The parent certificate is missing, of another height, or there where there is no parent.
    #[error("the parent certificate is not one of the height before")]
    Parent,
    /// A precommit of nobody in its height's set, or out of order.
    #[error("a precommit of validator {validator} is of nobody, out of order, or counted before")]
    Precommit {
        /// What it names.
        validator: u16,
    },
    /// A precommit's extension is not one.
    #[error("the extension of validator {validator}: {error}")]
    Extension {
        /// Whose.
        validator: u16,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A late precommit of a height that takes none: not certified yet, or settled.
    #[error("a late precommit of height {height}, which takes none")]
    Late {
        /// Its height.
        height: Height,
    },
    /// An offence of nobody, out of order, of a height to come or forgotten, or punished before.
    #[error("offence {at} is of nobody, out of order, too old, or punished before")]
    Offence {
        /// Which.
        at: usize,
    },
}

/// Why a change of the set is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChangeRefusal {
    /// The key is a validator's already, or was this epoch.
    #[error("the key is taken")]
    Taken,
    /// The key is no validator's.
    #[error("the key is no validator's")]
    Unknown,
    /// There are as many validators as may be.
    #[error("there are {max} validators, and may not be more")]
    Full {
        /// The limit.
        max: usize,
    },
    /// A bond of nothing, or all bonds together are too much.
    #[error("a bond of {bond} does not count")]
    Bond {
        /// What it says.
        bond: u64,
    },
    /// No chain of reveals to begin with.
    #[error("a chain of reveals has a last link that is not zero")]
    Reveals,
    /// A network that the plane does not take, or a plane that takes none.
    #[error("the plane does not take the network")]
    Network,
    /// Nobody would be left.
    #[error("the last validator cannot leave")]
    Last,
}
