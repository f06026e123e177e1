//! The consensus seam: who orders blocks. Inputs in, effects out; no I/O, no clock, no thread.
//!
//! A plane is a state machine that a driver owns. The contract:
//! - The driver calls [`Plane::handle`] with one input at a time, in one order, and performs the effects in
//!   the order in which they were returned. Nothing after an [`Effect::Persist`] happens until its record
//!   is durable.
//! - Time is an argument. The same inputs at the same times give the same effects, byte for byte.
//! - A plane sees blocks by hash only. The driver builds, keeps, sends and judges bodies.
//! - After a restart the driver opens a new plane, hands it every record that [`Effect::Persist`] wrote for
//!   heights above the log's durable tip as [`Input::Recovered`], in order, and then [`Input::Start`] of the
//!   height after that tip. A decided height may then be decided again, by the same certificate.
//! - After an error nothing more may be asked of the plane: the node stops.

use crate::ballot::Ballot;
use crate::certificate::Certificate;
use crate::codec::DecodeError;
use crate::crypto::SigningKey;
use crate::genesis::Validator;
use crate::seam::view::PlaneView;
use crate::{Hash, Height, TimeNs};
use std::sync::Arc;
use std::vec::Vec;
use thiserror::Error;

/// A consensus plane.
pub trait Plane: Send {
    /// Takes one input; appends what the driver must do, in order, to `effects`.
    ///
    /// # Errors
    /// [`PlaneError`] when the node may not go on.
    fn handle(&mut self, input: Input, now: TimeNs, effects: &mut Vec<Effect>) -> Result<(), PlaneError>;

    /// Signs with this key too, wherever a height's set names it: from the next height on, or from the one in hand where
    /// that names none of the others. A plane whose validators never change needs none but the one that it began with.
    fn hold(&mut self, _key: SigningKey) {}

    /// The height in hand, for whoever operates the node; `None` before the first, and where one validator decides.
    fn view(&self) -> Option<PlaneView> {
        None
    }
}

/// What happens to a plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A record of an earlier run, before [`Input::Start`].
    Recovered(Vec<u8>),
    /// Height − 1 is decided; this height begins with this set.
    Start {
        /// The height that begins.
        height: Height,
        /// Its validators.
        validators: Arc<[Validator]>,
        /// What its proposers are drawn by.
        schedule: Schedule,
    },
    /// There is something to put into a block of the height that began: a transaction, an overdue expiry,
    /// a root that is not yet certified.
    Wanted,
    /// The block that [`Effect::Build`] asked for.
    Built {
        /// As asked.
        height: Height,
        /// As asked.
        round: u32,
        /// Its hash.
        block: Hash,
        /// What this node's precommit of the block says beside yes; at most
        /// [`EXTENSION_BYTES_MAX`](crate::ballot::EXTENSION_BYTES_MAX) bytes.
        extension: Vec<u8>,
    },
    /// A peer's message.
    Message {
        /// Position of the sender in the height's set, as its connection proves.
        from: u16,
        /// The plane's own format.
        bytes: Vec<u8>,
        /// Whether the driver verified every signature in it against the set of the height that began.
        checked: bool,
    },
    /// Whether a validator of the height's set can be reached. True of all until said otherwise, and kept from
    /// height to height. A hint: it may shorten a wait for that validator, never decide anything.
    Peer {
        /// Position in the height's set.
        validator: u16,
        /// Whether it can be reached.
        alive: bool,
    },
    /// A timer that [`Effect::SetTimer`] set went off.
    Timer(u64),
    /// The judgement that [`Effect::Judge`] asked for.
    Verdict {
        /// The block.
        block: Hash,
        /// What was found.
        verdict: Verdict,
        /// As in [`Input::Built`].
        extension: Vec<u8>,
    },
    /// A decided block that was fetched from a peer; the driver checked the body against the hash.
    Synced {
        /// What decided it.
        certificate: Certificate,
        /// Whether the driver verified it against the height's set, so that the plane need not.
        checked: bool,
    },
}

/// What a height's proposers are drawn by. The same on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What draws are made from; zero where nothing is drawn and validators take turns.
    pub seed: Hash,
    /// The first height with this set and these weights: turns count from there.
    pub since: Height,
    /// One per validator, in order, their sum above zero. Empty: their power.
    pub weights: Arc<[u64]>,
}

impl Schedule {
    /// Turns by power, counted from `since`.
    pub fn by_power(since: Height) -> Self {
        Self {
            seed: Hash::ZERO,
            since,
            weights: Arc::new([]),
        }
    }
}

/// What a node finds of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every node finds this.
    Valid,
    /// Every node finds this: the block can never be decided.
    Invalid,
    /// This node's own view. It costs a fresh proposal one prevote, and then yields to a decision.
    Objection,
}

/// What a plane wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send to one validator of the height's set.
    Send {
        /// Position in the set.
        to: u16,
        /// The plane's own format.
        bytes: Vec<u8>,
    },
    /// Send to every validator of the height's set but this one.
    Broadcast(Vec<u8>),
    /// Give [`Input::Timer`] with this number when `at` has come. Setting one again moves it.
    SetTimer {
        /// Its number.
        timer: u64,
        /// When.
        at: TimeNs,
    },
    /// Make this record durable before going on to the next effect.
    Persist {
        /// The height it belongs to: below the log's tip it is of no more use.
        height: Height,
        /// The plane's own format.
        record: Vec<u8>,
    },
    /// Build a block and answer [`Input::Built`].
    Build {
        /// For this height.
        height: Height,
        /// In this round.
        round: u32,
    },
    /// Judge a block, once its body is durable on this node's disk, and answer [`Input::Verdict`]. Asked once
    /// for a block at a height; the body must be kept until another block is decided there.
    Judge {
        /// The block.
        block: Hash,
        /// Round it was proposed in.
        round: u32,
        /// When that round began here.
        since: TimeNs,
    },
    /// A good precommit that a decision had to do without: for a later block. The same may come again.
    Late(Ballot),
    /// The height is decided. The driver commits the block and then starts the next height.
    Decided(Certificate),
    /// Proof that a validator misbehaved, for a later block: the bytes of [`crate::evidence::Evidence`].
    Evidence(Vec<u8>),
}

/// Why a node may not go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlaneError {
    /// An input that the contract does not allow.
    #[error("the plane was given {input} at height {height}, which the seam's contract does not allow")]
    Contract {
        /// Which input.
        input: &'static str,
        /// When.
        height: Height,
    },
    /// A record of an earlier run says otherwise than this run does.
    #[error("replay of height {height} diverges from its journal")]
    ReplayDivergence {
        /// When.
        height: Height,
    },
    /// A record of an earlier run that cannot be read.
    #[error("a record of the journal: {0}")]
    Record(#[from] DecodeError),
    /// The plane found itself in a state that cannot be.
    #[error("agreement at height {height} cannot go on: {reason}")]
    Broken {
        /// When.
        height: Height,
        /// What was found.
        reason: &'static str,
    },
}
