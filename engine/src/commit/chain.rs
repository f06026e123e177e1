//! The chain as its executor sees it: the state after the tip, and what the next header must commit to.

use super::candidate::{Candidate, transactions_root};
use super::council::{Certified, Council};
use super::judge::Known;
use super::receipts;
use super::verify::VerifyError;
use crate::ledger::{Broken, Executed, HistoryChange, InvalidBlock, Ledger};
use crate::proof::{Handover, Mountain};
use alloc::collections::VecDeque;
use selfchain_types::account::Balances;
use selfchain_types::block::{BlockResult, Header, PROTOCOL_VERSION, Row};
use selfchain_types::certificate::Certificate;
use selfchain_types::checkpoint::{CheckpointSet, Signer};
use selfchain_types::crypto::PublicKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::evidence::Evidence;
use selfchain_types::genesis::{OpTime, Validator};
use selfchain_types::late::LatePrecommit;
use selfchain_types::roots::{Roots, Table};
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::seam::standing::{Offence, Standing, StandingError};
use selfchain_types::{Genesis, Hash, Height, KeyId, Risk, TimeNs, Verified, codec};
use std::sync::Arc;
use thiserror::Error;

/// Where the chain stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    /// The last block's height; genesis before the first.
    pub height: Height,
    /// Its hash; zero before the first.
    pub hash: Hash,
    /// Its ledger time.
    pub time_ns: TimeNs,
}

/// What a header commits to of the state ROOT_LAG heights before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commitment {
    pub(super) state_root: Hash,
    pub(super) receipts_root: Hash,
    pub(super) receipts_size: u64,
}

/// A transaction's place in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its id.
    pub tx_id: Hash,
    /// Position of its first operation among the block's.
    pub first_operation: u32,
    /// How many operations it has.
    pub operations: u32,
}

/// By whom, when and after what a block is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposing<'a> {
    /// The proposer.
    pub proposer: KeyId,
    /// The round.
    pub round: u32,
    /// The proposer's next reveal; zero in solo.
    pub reveal: Hash,
    /// Bytes of the certificate of the block before; empty in solo and for height 1.
    pub parent_certificate: &'a [u8],
    /// Bytes of precommits that came late.
    pub late_precommits: &'a [u8],
    /// Bytes of proofs of misbehaviour.
    pub evidence: &'a [u8],
}

impl Proposing<'_> {
    /// What the only validator says.
    pub fn solo(proposer: KeyId) -> Self {
        Self {
            proposer,
            round: 0,
            reveal: Hash::ZERO,
            parent_certificate: &[],
            late_precommits: &[],
            evidence: &[],
        }
    }
}

/// An executed block: its row for the log, and what the publisher tells whom.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its height, hash and ledger time.
    pub tip: Tip,
    /// What the log keeps.
    pub row: Vec<u8>,
    /// What execution said.
    pub result: BlockResult,
    /// Its transactions, in order.
    pub transactions: Vec<Transaction>,
    /// Resulting balances, for the transactions that asked: position, then one pair an operation.
    pub balances: Vec<(u32, Vec<(Balances, Balances)>)>,
    /// Every change of an account with history.
    pub history: Vec<HistoryChange>,
    /// Keys it registered.
    pub registered: Vec<PublicKey>,
    /// Nodes that its receipts appended to the mountain, in post-order.
    pub receipt_nodes: Vec<Hash>,
    /// What it hands over, where another set of validators decides from the next height on.
    pub handover: Option<Handover>,
    /// Operations that took effect.
    pub applied: u64,
    /// Operations that were refused.
    pub refused: u64,
}

/// Why the chain could not go on.
#[derive(Clone, Debug, Error)]
pub enum ChainError {
    /// The block breaks a rule that every node checks.
    #[error("block {height} is invalid")]
    Invalid {
        /// Its height.
        height: Height,
        /// What it breaks.
        #[source]
        source: InvalidBlock,
    },
    /// What the block says of validators cannot be folded.
    #[error("what block {height} says of validators is invalid")]
    Standing {
        /// Its height.
        height: Height,
        /// What it breaks.
        #[source]
        source: StandingError,
    },
    /// What the block says of validators cannot be read.
    #[error("what block {height} says of validators cannot be read")]
    Said {
        /// Its height.
        height: Height,
        /// What is wrong.
        #[source]
        source: Box<VerifyError>,
    },
    /// Money was made or lost: the node must stop, and nothing of the block may be kept.
    #[error("block {height} breaks conservation")]
    Broken {
        /// Its height.
        height: Height,
        /// Where.
        #[source]
        source: Broken,
    },
}

/// The chain as its executor sees it. One thread owns it.
#[derive(Debug)]
pub struct Chain {
    pub(super) genesis: Genesis,
    pub(super) chain_id: Hash,
    pub(super) council: Council,
    pub(super) ledger: Ledger,
    pub(super) receipts: Mountain,
    pub(super) tip: Tip,
    pub(super) roots: Roots,
    /// The tables of roots after the heights `tip − ROOT_LAG .. tip`, or as many of the last as are known.
    pub(super) past_roots: VecDeque<Roots>,
    /// After the heights `tip − ROOT_LAG + 1 ..= tip`: the front is what the next header commits to.
    pub(super) commitments: VecDeque<Commitment>,
}

/// The chain's own part of a snapshot, beside the ledger's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSnapshot {
    /// Where the chain stood.
    pub tip: Tip,
    /// Every table's root at the tip.
    pub roots: Roots,
    /// The receipts' peaks at the tip.
    pub receipts: Mountain,
    pub(super) commitments: Vec<Commitment>,
    /// Every table's root after the heights before the tip that its header and the next ones commit to.
    pub past_roots: Vec<Roots>,
    /// The standing's two tables; empty where one validator decides.
    pub(super) tables: [Vec<u8>; 2],
    pub(super) certified: Vec<Certified>,
}

/// Why a chain cannot go on from a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A table has another root than the snapshot says.
    #[error("the {} table does not have the root that the snapshot says", .0.name())]
    Root(Table),
    /// The standing of validators cannot be read.
    #[error("the standing of validators cannot be read")]
    Standing(#[from] codec::DecodeError),
}

impl Chain {
    /// The chain before its first block, with the standing of its validators at genesis where there are several.
    pub fn new(genesis: Genesis, standing: Option<Box<dyn Standing>>) -> Self {
        let ledger = Ledger::new(&genesis);
        let council = Council::new(standing, &genesis.validators);
        Self::at(
            genesis,
            council,
            ledger,
            Mountain::new(),
            Tip::default(),
            Vec::new(),
        )
    }

    fn at(
        genesis: Genesis,
        council: Council,
        mut ledger: Ledger,
        receipts: Mountain,
        tip: Tip,
        commitments: Vec<Commitment>,
    ) -> Self {
        let mut roots = ledger.roots();
        council.set_roots(&mut roots);
        let mut chain = Self {
            chain_id: genesis.chain_id(),
            council,
            genesis,
            ledger,
            receipts,
            tip,
            roots,
            past_roots: VecDeque::new(),
            commitments: commitments.into(),
        };
        if chain.commitments.is_empty() {
            chain.commitments = (0..chain.lag()).map(|_| chain.commitment()).collect();
        }
        chain
    }

    /// The chain at a snapshot, its ledger already restored from the tables; `standing` is that at genesis.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(
        genesis: Genesis,
        standing: Option<Box<dyn Standing>>,
        ledger: Ledger,
        snapshot: ChainSnapshot,
    ) -> Result<Self, RestoreError> {
        let mut council = Council::new(standing, &genesis.validators);
        council.restore(&snapshot.tables, snapshot.certified)?;
        let height = council
            .standing()
            .map_or(snapshot.tip.height, |standing| standing.height());
        if height != snapshot.tip.height {
            return Err(RestoreError::Root(Table::Validators));
        }
        let mut chain = Self::at(
            genesis,
            council,
            ledger,
            snapshot.receipts,
            snapshot.tip,
            snapshot.commitments,
        );
        chain.past_roots = snapshot.past_roots.into();
        chain.past_roots.truncate(chain.lag());
        match chain.roots.first_difference(&snapshot.roots) {
            None => Ok(chain),
            Some(table) => Err(RestoreError::Root(table)),
        }
    }

    /// The chain's own part of a snapshot at the tip; the tables are [`Ledger::snapshot`].
    pub fn snapshot(&self) -> ChainSnapshot {
        ChainSnapshot {
            tip: self.tip,
            roots: self.roots.clone(),
            receipts: self.receipts.clone(),
            commitments: self.commitments.iter().cloned().collect(),
            past_roots: self.past_roots.iter().cloned().collect(),
            tables: self.council.tables(),
            certified: self.council.all_certified().collect(),
        }
    }

    /// Freezes the state at the tip, of which this is the chain's own part: [`Chain::sweep`] hands on the tables
    /// while the chain goes on.
    pub fn freeze(&mut self) -> ChainSnapshot {
        self.ledger.freeze();
        self.snapshot()
    }

    /// Hands on about `count` records more of the frozen state: [`Ledger::sweep`].
    pub fn sweep(&mut self, count: u32, sink: &mut dyn FnMut(Table, &[u8])) -> bool {
        self.ledger.sweep(count, sink)
    }

    /// Genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The chain's id.
    pub fn chain_id(&self) -> Hash {
        self.chain_id
    }

    /// Where it stands.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// The state after the tip.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The next height's validators, in the order that precommits count in.
    pub fn validators(&self) -> Arc<[Validator]> {
        self.council.validators()
    }

    /// The validators of an earlier height, as far back as they are known; of the tip and the next height always.
    pub fn validators_of(&self, height: Height) -> Option<Arc<[Validator]>> {
        self.council.validators_of(height)
    }

    /// Who proposes at the next height.
    pub fn schedule(&self) -> Schedule {
        self.council.schedule()
    }

    /// The standing of several validators after the tip.
    pub fn standing(&self) -> Option<&dyn Standing> {
        self.council.standing()
    }

    /// Who signs the checkpoints after the tip's: the next height's validators with their checkpoint keys. `None` of a
    /// chain without checkpoints.
    pub fn checkpoint_set(&self) -> Option<CheckpointSet> {
        self.genesis.checkpoints.as_ref()?;
        let (standing, set) = (self.standing()?, self.validators());
        let signer = |validator: &Validator| {
            let member = standing.member(&validator.key.id())?;
            Some(Signer {
                key: self.ledger.checkpoint_key(member)?.clone(),
                power: validator.power,
            })
        };
        let powers = set.iter().map(|validator| validator.power);
        Some(CheckpointSet {
            power: powers.fold(0, u64::saturating_add),
            signers: set.iter().filter_map(signer).collect(),
        })
    }

    /// The round that the certificate in a later block decided this height in, while late precommits of it count.
    pub fn certified_round(&self, height: Height) -> Option<u32> {
        self.council.certified(height).map(|certified| certified.round)
    }

    /// Whether a next block may bring this late precommit. Its signature is looked at unless it is `known`.
    pub fn lacks(&self, late: &LatePrecommit, known: &Known<'_>) -> bool {
        let standing = self.council.standing();
        standing.is_some_and(|standing| standing.misses(late.height, late.precommit.validator))
            && self.council.is_signed(&self.chain_id, late, known)
    }

    /// What a proof of misbehaviour says, if it holds and its validator is known.
    pub fn offence(&self, evidence: &Evidence) -> Option<Offence> {
        self.council.offence(&self.chain_id, evidence)
    }

    /// The table of roots after the tip.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The receipts' mountain after the tip.
    pub fn receipts(&self) -> &Mountain {
        &self.receipts
    }

    /// The time of a next block of these transactions, by the proposer's clock.
    pub fn next_time(&self, envelopes: &[EnvelopeView<'_>], now: TimeNs) -> TimeNs {
        // Where operations bring their own time, a block without any must not bring the clock's: recorded ones
        // that follow would all lie behind it.
        let clock = match self.genesis.op_time {
            OpTime::Block => now,
            OpTime::Effective => TimeNs::ZERO,
        };
        self.ledger.next_time(envelopes, clock)
    }

    /// Builds the next block of these transactions, with what a scorer said of their operations. `now` is the proposer's clock; the block's time is that,
    /// or the least the parent allows.
    pub fn propose(
        &self,
        envelopes: Vec<Verified>,
        risk: Risk,
        now: TimeNs,
        proposing: Proposing<'_>,
    ) -> Candidate {
        let commitment = self
            .commitments
            .front()
            .expect("one for every height of the lag")
            .clone();
        let (validators_hash, next_validators_hash) = self.council.hashes();
        let mut candidate = Candidate {
            header: Header {
                protocol_version: PROTOCOL_VERSION,
                chain_id: self.chain_id,
                height: self.tip.height.next(),
                round: proposing.round,
                parent: self.tip.hash,
                time_ns: self.next_time(&views(&envelopes), now),
                proposer: proposing.proposer,
                reveal: proposing.reveal,
                transactions_root: transactions_root(&envelopes),
                body_hash: Hash::ZERO,
                state_root: commitment.state_root,
                receipts_root: commitment.receipts_root,
                receipts_size: commitment.receipts_size,
                validators_hash,
                next_validators_hash,
                models: self.ledger.models_named_at(self.tip.height.next()),
                policy_version: self.ledger.policy_version(),
            },
            hash: Hash::ZERO,
            envelopes,
            reasons: Vec::new(),
            parent_certificate: proposing.parent_certificate.to_vec(),
            late_precommits: proposing.late_precommits.to_vec(),
            evidence: proposing.evidence.to_vec(),
            risk,
        };
        candidate.risk.encode_reasons(&mut candidate.reasons);
        candidate.header.body_hash = candidate.body().hash();
        candidate.hash = candidate.header.hash();
        candidate
    }

    /// Executes a decided candidate and finishes it: [`Self::execute`], then [`Self::finish`].
    ///
    /// # Errors
    /// [`ChainError`]: the node must stop, the chain is not usable any more.
    pub fn commit(
        &mut self,
        candidate: &Candidate,
        certificate: &Certificate,
        wants_balances: &dyn Fn(usize) -> bool,
    ) -> Result<Block, ChainError> {
        let executed = self.execute(candidate, wants_balances)?;
        Ok(self.finish(candidate, certificate, executed))
    }

    /// Executes a decided candidate against the ledger. `wants_balances` says which transactions' results carry
    /// balances. Nothing else may happen to the chain before [`Self::finish`].
    ///
    /// # Errors
    /// [`ChainError`]: the node must stop, the chain is not usable any more.
    pub fn execute(
        &mut self,
        candidate: &Candidate,
        wants_balances: &dyn Fn(usize) -> bool,
    ) -> Result<Executed, ChainError> {
        let header = &candidate.header;
        let height = header.height;
        assert_eq!(
            header.parent, self.tip.hash,
            "a candidate is committed on the parent it was built on"
        );
        let views = candidate.views();
        self.ledger
            .validate(height, header.time_ns, &views)
            .and_then(|()| self.ledger.validate_risk(header, &views, &candidate.risk))
            .map_err(|source| ChainError::Invalid { height, source })?;
        let said = self
            .council
            .read(header, &self.genesis.limits, &candidate.parts())
            .map_err(|source| ChainError::Said {
                height,
                source: Box::new(source),
            })?;
        let offences = self
            .council
            .observe(header, said)
            .map_err(|source| ChainError::Standing { height, source })?;
        let validators = self.council.voting(&offences);
        let executed = self
            .ledger
            .execute_among(
                validators,
                height,
                header.time_ns,
                &views,
                &candidate.risk,
                wants_balances,
            )
            .map_err(|source| ChainError::Broken { height, source })?;
        self.council.close();
        Ok(executed)
    }

    /// Moves the tip onto a candidate that was just executed: its roots, and beside them its receipts and row.
    pub fn finish(&mut self, candidate: &Candidate, certificate: &Certificate, executed: Executed) -> Block {
        let header = &candidate.header;
        let height = header.height;
        let views = candidate.views();
        let transactions = transactions(
            candidate.envelopes.iter().map(|envelope| envelope.tx_id()),
            &views,
        );
        let (roots, (leaves, row)) = rayon::join(
            || self.ledger.roots(),
            || {
                rayon::join(
                    || {
                        receipts::leaves(
                            height,
                            &views,
                            &transactions,
                            &executed.result,
                            &candidate.risk.scores,
                        )
                    },
                    || Row::encode(header, &candidate.body(), &executed.result, certificate),
                )
            },
        );
        let receipt_nodes = self.advance(header, candidate.hash, roots, &leaves);
        Block {
            tip: self.tip,
            row,
            result: executed.result,
            transactions,
            balances: executed.balances,
            history: executed.history,
            registered: executed.registered,
            receipt_nodes,
            handover: self.handover(header, || {
                let mut bytes = Vec::new();
                certificate.encode(&mut bytes);
                bytes
            }),
            applied: executed.applied,
            refused: executed.refused,
        }
    }

    /// What the block that was executed last hands over.
    pub(super) fn handover(
        &self,
        header: &Header,
        certificate: impl FnOnce() -> Vec<u8>,
    ) -> Option<Handover> {
        (header.validators_hash != header.next_validators_hash).then(|| Handover {
            header: header.to_bytes(),
            certificate: certificate(),
            next: self.council.validators().to_vec(),
        })
    }

    /// Moves the tip; returns the mountain's new nodes.
    pub(super) fn advance(
        &mut self,
        header: &Header,
        hash: Hash,
        mut roots: Roots,
        leaves: &[Hash],
    ) -> Vec<Hash> {
        self.council.set_roots(&mut roots);
        let nodes = self.append_receipts(leaves);
        let before = core::mem::replace(&mut self.roots, roots);
        // Without commitments the blocks before were folded without roots, and these are older ones.
        if !self.commitments.is_empty() {
            self.past_roots.push_back(before);
        }
        if self.past_roots.len() > self.lag() {
            self.past_roots.pop_front();
        }
        self.tip = Tip {
            height: header.height,
            hash,
            time_ns: header.time_ns,
        };
        if self.commitments.len() == self.lag() {
            self.commitments.pop_front();
        }
        self.commitments.push_back(self.commitment());
        nodes
    }

    /// ROOT_LAG: how many commitments are kept.
    pub(super) fn lag(&self) -> usize {
        usize::try_from(self.genesis.plane.root_lag()).expect("a lag is 1 or 2")
    }

    pub(super) fn append_receipts(&mut self, leaves: &[Hash]) -> Vec<Hash> {
        let mut nodes = Vec::with_capacity(leaves.len() * 2);
        for leaf in leaves {
            self.receipts.append(*leaf, &mut nodes);
        }
        nodes
    }

    pub(super) fn commitment(&self) -> Commitment {
        Commitment {
            state_root: self.roots.state_root(),
            receipts_root: self.receipts.root(),
            receipts_size: self.receipts.size(),
        }
    }
}

fn views(envelopes: &[Verified]) -> Vec<EnvelopeView<'_>> {
    envelopes.iter().map(|envelope| envelope.view()).collect()
}

/// Places of a block's transactions.
pub(super) fn transactions(ids: impl Iterator<Item = Hash>, views: &[EnvelopeView<'_>]) -> Vec<Transaction> {
    let mut first_operation = 0;
    ids.zip(views)
        .map(|(tx_id, view)| {
            let operations = codec::narrow(view.operations().len());
            let transaction = Transaction {
                tx_id,
                first_operation,
                operations,
            };
            first_operation += operations;
            transaction
        })
        .collect()
}
