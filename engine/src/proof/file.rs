//! The proof file: a claim about a chain with all that it takes to believe it, for whoever trusts one set of its
//! validators. [`ProofFile::verify`] is the one way in.

use super::account::AccountProof;
use super::checkpoint::{
    Checkpoint, CheckpointError, TrustedSigners, decode_checkpoints, encode_checkpoints,
};
use super::consistency::ConsistencyProof;
use super::handover::{FollowError, Handover, TrustedSet};
use super::receipt::OperationReceipt;
use super::trust::Trust;
use super::vouch::{PROOF_BYTES_MAX, ProofError, Proved};
use alloc::boxed::Box;
use alloc::vec::Vec;
use selfchain_types::account::{AccountCold, AccountHot};
use selfchain_types::block::Header;
use selfchain_types::codec::{self, DecodeError, Reader, known_sections, narrow, put_bytes_u32, put_section};
use selfchain_types::{Amount, Hash, Height, Operation, Outcome, hash};
use thiserror::Error;

/// A claim, and what leads to it from a set of validators that is trusted. Table: `docs/formats/proof.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// The chain.
    pub chain_id: Hash,
    /// Changes of the set of validators, from the trusted one to the one that decided the claim's last header.
    pub handovers: Vec<Handover>,
    /// In the place of handovers and certificates, whatever becomes of the scheme of votes: checkpoints from genesis on,
    /// the last of them the claim's last header.
    pub checkpoints: Vec<Checkpoint>,
    /// What is claimed.
    pub claim: Claim,
}

/// What a proof claims, with its own proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// An operation was decided so.
    Operation(Box<OperationReceipt>),
    /// An account had these balances.
    Account(Box<AccountProof>),
    /// The receipts of one height are the first of those of another.
    Consistency(Box<ConsistencyProof>),
}

/// What a proof that holds says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// About which chain.
    pub chain_id: Hash,
    /// What is so.
    pub statement: Statement,
    /// The header that commits to it; of two the newer.
    pub by: Proved,
    /// How many changes of the set of validators lead from the trusted set to the one that decided that header.
    pub handovers: usize,
    /// How many checkpoints lead from genesis to that header; 0 where validators' certificates do.
    pub checkpoints: usize,
    /// Who decided that header, or who signs the checkpoints after it: trusted from here on, as much as who was trusted
    /// before.
    pub trust: Trust,
}

/// What is so, if the validators are to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The ledger decided an operation.
    Operation(Decided),
    /// An account was so.
    Account {
        /// After which block.
        height: Height,
        /// Its totals, limit and flags.
        hot: AccountHot,
        /// What identifies it.
        cold: AccountCold,
    },
    /// The receipts of the one are the first of those of the other: nothing was changed, taken out or put in between.
    Consistency {
        /// Up to the earlier height.
        old: Receipts,
        /// Up to the later one.
        new: Receipts,
    },
}

/// How an operation was decided, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The operation.
    pub operation: Operation,
    /// What the ledger said.
    pub outcome: Outcome,
    /// What moved.
    pub actual: Amount,
    /// What the scorer said; 255 for nothing.
    pub score: u8,
    /// The transaction.
    pub tx_id: Hash,
    /// Which of its operations.
    pub operation_index: u32,
    /// How many it has.
    pub operation_count: u32,
    /// Height of its block.
    pub height: Height,
    /// Its position in that block.
    pub transaction_index: u32,
}

/// All receipts up to a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// The height.
    pub height: Height,
    /// How many there are.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// Why a proof file proves nothing: the first link that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofFileError {
    /// It does not decode.
    #[error("the file does not decode")]
    Decode(#[from] DecodeError),
    /// It is about another chain.
    #[error("the proof is about chain {got}, and chain {want} is trusted")]
    Chain {
        /// The chain that it names.
        got: Hash,
        /// The one that is trusted.
        want: Hash,
    },
    /// A change of the set of validators is not believed.
    #[error("change {number} of the set of validators does not hold")]
    Handover {
        /// Which, from 1.
        number: usize,
        /// Why.
        #[source]
        source: FollowError,
    },
    /// A change of the set of validators leads past the header.
    #[error("change {number} of the set of validators comes at height {height}, not before the header")]
    Unused {
        /// Which, from 1.
        number: usize,
        /// Its height.
        height: Height,
    },
    /// A header is not believed.
    #[error("the header of height {height} does not hold")]
    Header {
        /// Its height.
        height: Height,
        /// Why.
        #[source]
        source: FollowError,
    },
    /// Handovers and checkpoints at once.
    #[error("both changes of the set of validators and checkpoints are there, and one way is enough")]
    TwoWays,
    /// Nobody is trusted to sign checkpoints.
    #[error(
        "the proof leads over checkpoints, and the file that is trusted does not say who signs them: trust the chain's genesis, of a chain with checkpoints"
    )]
    NoSigners,
    /// A checkpoint is not believed.
    #[error("checkpoint {number} does not hold")]
    Checkpoint {
        /// Which, from 1.
        number: usize,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// No checkpoint is of the claim's header.
    #[error("none of the checkpoints is of the header of height {height}")]
    NoCheckpoint {
        /// The header's height.
        height: Height,
    },
    /// A certificate that nobody looks at.
    #[error("the header of height {height} has a certificate beside the checkpoint that leads to it")]
    Certificate {
        /// The header's height.
        height: Height,
    },
    /// Checkpoints lead past the header.
    #[error("checkpoint {number} comes after the header")]
    UnusedCheckpoint {
        /// Which, from 1.
        number: usize,
    },
    /// A header says nothing about any block yet.
    #[error("the header of height {height} commits to no block: roots lag by {root_lag}")]
    Young {
        /// Its height.
        height: Height,
        /// The chain's ROOT_LAG.
        root_lag: u64,
    },
    /// The headers are believed, but do not commit to the claim.
    #[error("the claim does not follow from the header")]
    Claim(#[source] ProofError),
}

mod kind {
    pub(super) const CHAIN: u16 = 1;
    pub(super) const HANDOVERS: u16 = 2;
    pub(super) const CHECKPOINTS: u16 = 3;
    // From here to 15 is room for what leads to a header in other ways.
    pub(super) const OPERATION: u16 = 16;
    pub(super) const ACCOUNT: u16 = 17;
    pub(super) const CONSISTENCY: u16 = 18;
}

impl ProofFile {
    /// Checks everything, from the set that is trusted to the claim, and says what it proves.
    ///
    /// # Errors
    /// [`ProofFileError`], naming the first link that does not hold.
    pub fn verify(&self, trust: &Trust) -> Result<Proven, ProofFileError> {
        if self.chain_id != trust.chain_id {
            return Err(ProofFileError::Chain {
                got: self.chain_id,
                want: trust.chain_id,
            });
        }
        let mut road = Road::new(self, trust)?;
        let (statement, by) = match &self.claim {
            Claim::Operation(receipt) => {
                let (header, by) = road.vouch(&receipt.header, &receipt.certificate)?;
                receipt.holds_in(&header).map_err(ProofFileError::Claim)?;
                (Statement::Operation(decided(receipt)), by)
            }
            Claim::Account(account) => {
                let (header, by) = road.vouch(&account.header, &account.certificate)?;
                account.holds_in(&header).map_err(ProofFileError::Claim)?;
                let height = covered(&header, trust.root_lag)?;
                let (hot, cold) = (account.hot, account.cold);
                (Statement::Account { height, hot, cold }, by)
            }
            Claim::Consistency(proof) => {
                let (old, _) = road.vouch(&proof.old.header, &proof.old.certificate)?;
                let (new, by) = road.vouch(&proof.new.header, &proof.new.certificate)?;
                proof.holds_between(&old, &new).map_err(ProofFileError::Claim)?;
                let (old, new) = (receipts(&old, trust.root_lag)?, receipts(&new, trust.root_lag)?);
                (Statement::Consistency { old, new }, by)
            }
        };
        road.end()?;
        let mut proven = Proven {
            chain_id: self.chain_id,
            statement,
            by,
            handovers: 0,
            checkpoints: 0,
            trust: trust.clone(),
        };
        match road {
            Road::Votes(votes) => {
                proven.handovers = votes.followed;
                proven.trust.set = votes.set;
            }
            Road::Checkpoints(signed) => {
                proven.checkpoints = signed.followed;
                proven.trust.signers = Some(signed.signers);
            }
        }
        Ok(proven)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_section(&mut out, kind::CHAIN, |out| {
            out.extend_from_slice(self.chain_id.as_bytes());
        });
        if !self.handovers.is_empty() {
            put_section(&mut out, kind::HANDOVERS, |out| {
                out.extend_from_slice(&narrow(self.handovers.len()).to_le_bytes());
                for handover in &self.handovers {
                    put_bytes_u32(out, &handover.to_bytes());
                }
            });
        }
        if !self.checkpoints.is_empty() {
            put_section(&mut out, kind::CHECKPOINTS, |out| {
                out.extend_from_slice(&encode_checkpoints(&self.checkpoints));
            });
        }
        let (kind, bytes) = match &self.claim {
            Claim::Operation(receipt) => (kind::OPERATION, receipt.to_bytes()),
            Claim::Account(account) => (kind::ACCOUNT, account.to_bytes()),
            Claim::Consistency(proof) => (kind::CONSISTENCY, proof.to_bytes()),
        };
        put_section(&mut out, kind, |out| out.extend_from_slice(&bytes));
        out
    }

    /// Reads a proof file. It proves nothing until [`verify`](Self::verify) says so.
    ///
    /// # Errors
    /// [`DecodeError`]; also for more than [`PROOF_BYTES_MAX`] bytes, and unless there is exactly one claim.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(DecodeError::Value {
                what: "proof file length",
                value: codec::wide(bytes.len()),
            });
        }
        let kinds = [
            kind::CHAIN,
            kind::HANDOVERS,
            kind::CHECKPOINTS,
            kind::OPERATION,
            kind::ACCOUNT,
            kind::CONSISTENCY,
        ];
        let [chain, handovers, checkpoints, operation, account, consistency] = known_sections(bytes, kinds)?;
        let mut chain = Reader::new(
            "proof chain",
            chain.ok_or(DecodeError::MissingSection { kind: kind::CHAIN })?,
        );
        let chain_id = chain.hash()?;
        chain.finish()?;
        let claim = match (operation, account, consistency) {
            (Some(bytes), None, None) => Claim::Operation(OperationReceipt::decode(bytes)?.into()),
            (None, Some(bytes), None) => Claim::Account(AccountProof::decode(bytes)?.into()),
            (None, None, Some(bytes)) => Claim::Consistency(ConsistencyProof::decode(bytes)?.into()),
            (None, None, None) => {
                return Err(DecodeError::MissingSection {
                    kind: kind::OPERATION,
                });
            }
            _ => {
                return Err(DecodeError::Value {
                    what: "claims of a proof file",
                    value: [operation, account, consistency]
                        .iter()
                        .flatten()
                        .map(|_| 1)
                        .sum(),
                });
            }
        };
        Ok(Self {
            chain_id,
            handovers: handovers.map_or_else(|| Ok(Vec::new()), decode_handovers)?,
            checkpoints: checkpoints.map_or_else(|| Ok(Vec::new()), some_checkpoints)?,
            claim,
        })
    }
}

fn decode_handovers(bytes: &[u8]) -> Result<Vec<Handover>, DecodeError> {
    let mut reader = Reader::new("proof handovers", bytes);
    let count = reader.u32()?;
    if count == 0 {
        return Err(DecodeError::EmptySection {
            kind: kind::HANDOVERS,
        });
    }
    let mut handovers = Vec::new();
    for _ in 0..count {
        handovers.push(Handover::decode(reader.bytes_u32()?)?);
    }
    reader.finish()?;
    Ok(handovers)
}

fn some_checkpoints(bytes: &[u8]) -> Result<Vec<Checkpoint>, DecodeError> {
    let checkpoints = decode_checkpoints(bytes)?;
    let kind = kind::CHECKPOINTS;
    match checkpoints.is_empty() {
        true => Err(DecodeError::EmptySection { kind }),
        false => Ok(checkpoints),
    }
}

/// The way from what is trusted to the headers, which come in ascending order of height.
enum Road<'a> {
    Votes(Votes<'a>),
    Checkpoints(Signed<'a>),
}

impl<'a> Road<'a> {
    fn new(file: &'a ProofFile, trust: &Trust) -> Result<Self, ProofFileError> {
        match (file.handovers.as_slice(), file.checkpoints.as_slice()) {
            (handovers, []) => Ok(Self::Votes(Votes {
                chain_id: file.chain_id,
                set: trust.set.clone(),
                handovers,
                followed: 0,
            })),
            ([], checkpoints) => Ok(Self::Checkpoints(Signed {
                chain_id: file.chain_id,
                signers: trust.signers.clone().ok_or(ProofFileError::NoSigners)?,
                checkpoints,
                followed: 0,
            })),
            _ => Err(ProofFileError::TwoWays),
        }
    }

    fn vouch(&mut self, header: &[u8], certificate: &[u8]) -> Result<(Header, Proved), ProofFileError> {
        match self {
            Self::Votes(votes) => votes.vouch(header, certificate),
            Self::Checkpoints(signed) => signed.vouch(header, certificate),
        }
    }

    /// Nothing may be left that nobody looked at.
    fn end(&self) -> Result<(), ProofFileError> {
        match self {
            Self::Votes(votes) => votes.end(),
            Self::Checkpoints(signed) => signed.end(),
        }
    }
}

/// Sets of validators, each of which handed over to the next, and what they voted for.
struct Votes<'a> {
    chain_id: Hash,
    set: TrustedSet,
    /// Those ahead.
    handovers: &'a [Handover],
    followed: usize,
}

impl Votes<'_> {
    /// Follows the set of validators up to a header's height, and believes the header if that set decided it.
    fn vouch(&mut self, header: &[u8], certificate: &[u8]) -> Result<(Header, Proved), ProofFileError> {
        let height = Header::decode(header)?.height;
        while let Some((next, ahead)) = self.handovers.split_first()
            && next.height()? < height
        {
            let number = self.followed + 1;
            self.set
                .follow(&self.chain_id, next)
                .map_err(|source| ProofFileError::Handover { number, source })?;
            self.handovers = ahead;
            self.followed = number;
        }
        self.set
            .vouch(&self.chain_id, header, certificate)
            .map_err(|source| ProofFileError::Header { height, source })
    }

    /// Nothing may be left that nobody looked at.
    fn end(&self) -> Result<(), ProofFileError> {
        match self.handovers.first() {
            None => Ok(()),
            Some(next) => Err(ProofFileError::Unused {
                number: self.followed + 1,
                height: next.height()?,
            }),
        }
    }
}

/// Checkpoints, each signed by those whom the one before named.
struct Signed<'a> {
    chain_id: Hash,
    signers: TrustedSigners,
    checkpoints: &'a [Checkpoint],
    /// How many of them were followed.
    followed: usize,
}

impl Signed<'_> {
    /// Follows checkpoints up to the one of this header.
    fn vouch(&mut self, bytes: &[u8], certificate: &[u8]) -> Result<(Header, Proved), ProofFileError> {
        let header = Header::decode(bytes)?;
        let height = header.height;
        if !certificate.is_empty() {
            return Err(ProofFileError::Certificate { height });
        }
        let is_there = |signed: &Self| {
            let last = signed.followed.checked_sub(1);
            last.is_some_and(|last| signed.checkpoints[last].header == bytes)
        };
        while !is_there(self) {
            let next = self.checkpoints.get(self.followed);
            let next = next.ok_or(ProofFileError::NoCheckpoint { height })?;
            let number = self.followed + 1;
            self.signers
                .follow(&self.chain_id, next)
                .map_err(|source| ProofFileError::Checkpoint { number, source })?;
            self.followed = number;
        }
        let proved = Proved {
            block: hash::HEADER.hash(bytes),
            height,
            time_ns: header.time_ns,
        };
        Ok((header, proved))
    }

    fn end(&self) -> Result<(), ProofFileError> {
        match self.followed == self.checkpoints.len() {
            true => Ok(()),
            false => Err(ProofFileError::UnusedCheckpoint {
                number: self.followed + 1,
            }),
        }
    }
}

/// The height whose roots a header commits to.
fn covered(header: &Header, root_lag: u64) -> Result<Height, ProofFileError> {
    let young = ProofFileError::Young {
        height: header.height,
        root_lag,
    };
    header.height.0.checked_sub(root_lag).map(Height).ok_or(young)
}

fn receipts(header: &Header, root_lag: u64) -> Result<Receipts, ProofFileError> {
    Ok(Receipts {
        height: covered(header, root_lag)?,
        size: header.receipts_size,
        root: header.receipts_root,
    })
}

fn decided(receipt: &OperationReceipt) -> Decided {
    Decided {
        operation: receipt.operation,
        outcome: receipt.outcome,
        actual: receipt.actual,
        score: receipt.score,
        tx_id: receipt.tx_id,
        operation_index: receipt.operation_index,
        operation_count: receipt.operation_count,
        height: receipt.height,
        transaction_index: receipt.transaction_index,
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests;
