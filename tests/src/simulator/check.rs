//! The checkers: what must hold at every step, whatever goes wrong.

use selfchain::types::ballot::{Ballot, BallotKind, Statement};
use selfchain::types::genesis::validators_hash;
use selfchain::types::peer::PeerMessage;
use selfchain::types::roots::Table;
use selfchain::types::{Hash, Height};
use selfchain_engine::commit::Chain;
use std::collections::BTreeMap;
use thiserror::Error;

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// Two honest validators decided different blocks.
    #[error("fork at height {height}: validator {validator} decided {got}, another {want}")]
    Fork {
        /// Where.
        height: Height,
        /// Who.
        validator: u16,
        /// What it decided.
        got: Hash,
        /// What another decided before.
        want: Hash,
    },
    /// Two honest validators have different states after one height.
    #[error("validator {validator} has another state after height {height}")]
    State {
        /// Where.
        height: Height,
        /// Who.
        validator: u16,
    },
    /// Two honest validators have different validators, schedules or reputations after one height.
    #[error("validator {validator} has another standing of validators after height {height}")]
    Standing {
        /// Where.
        height: Height,
        /// Who.
        validator: u16,
    },
    /// The scorers of two honest validators remember different pasts after one height.
    #[error("validator {validator}'s scorer remembers another past after height {height}")]
    Memory {
        /// Where.
        height: Height,
        /// Who.
        validator: u16,
    },
    /// An honest validator signed two statements where it may sign one.
    #[error("validator {validator} signed twice at height {height}, round {round}: {first:?} and {second:?}")]
    DoubleSign {
        /// Who.
        validator: u16,
        /// Where.
        height: Height,
        /// Which round.
        round: u32,
        /// What it said first.
        first: Statement,
        /// What it said then.
        second: Statement,
    },
    /// A transaction is in two blocks.
    #[error("transaction {tx_id} is in the blocks {first} and {second}")]
    Twice {
        /// Which.
        tx_id: Hash,
        /// The first block.
        first: Height,
        /// The second.
        second: Height,
    },
    /// A height was decided by a validator out of order.
    #[error("validator {validator} decided {got} after {last}")]
    Order {
        /// Who.
        validator: u16,
        /// The height.
        got: Height,
        /// Its height before.
        last: Height,
    },
    /// An honest validator stopped for another reason than a power cut.
    #[error("validator {validator} stopped: {error}")]
    Stopped {
        /// Who.
        validator: u16,
        /// What it said.
        error: String,
    },
    /// What a revoked key signed counted, or what it signed before did not.
    #[error("at height {height} validator {validator} has a key revoked too soon or too late")]
    Revocation {
        /// Who.
        validator: u16,
        /// Where.
        height: Height,
    },
    /// The chain did not go on.
    #[error("no progress: the honest validators stand at {tips:?}, {want} was to be reached")]
    Stalled {
        /// Their heights.
        tips: Vec<u64>,
        /// What was to be reached.
        want: u64,
    },
    /// A transaction whose client went on asking has no outcome.
    #[error("transaction {tx_id} is neither in a block nor over")]
    Forgotten {
        /// Which.
        tx_id: Hash,
    },
}

/// Remembers what was said and decided.
#[derive(Debug, Default)]
pub(super) struct Checks {
    decided: BTreeMap<Height, (Hash, Hash)>,
    standings: BTreeMap<Height, Hash>,
    memories: BTreeMap<Height, Hash>,
    transactions: BTreeMap<Hash, Height>,
    signed: BTreeMap<(u16, Height, u32, BallotKind), Statement>,
}

impl Checks {
    /// An honest validator says something to others.
    pub(super) fn said(&mut self, validator: u16, bytes: &[u8]) -> Result<(), Broken> {
        let Ok(PeerMessage::Plane { bytes, .. }) = PeerMessage::decode(bytes) else {
            return Ok(());
        };
        // Lists of ballots repeat what their signers said themselves.
        let Ok(ballot) = Ballot::decode(bytes) else {
            return Ok(());
        };
        if ballot.validator != validator {
            return Ok(());
        }
        let place = (validator, ballot.height, ballot.round, ballot.statement.kind());
        let first = self
            .signed
            .entry(place)
            .or_insert_with(|| ballot.statement.clone());
        if *first == ballot.statement {
            return Ok(());
        }
        Err(Broken::DoubleSign {
            validator,
            height: ballot.height,
            round: ballot.round,
            first: first.clone(),
            second: ballot.statement,
        })
    }

    /// An honest validator decided a block. `state` is its state's root afterwards.
    pub(super) fn decided(
        &mut self,
        validator: u16,
        height: Height,
        block: Hash,
        state: Hash,
        transactions: &[Hash],
    ) -> Result<(), Broken> {
        let (want, same) = *self.decided.entry(height).or_insert((block, state));
        if want != block {
            return Err(Broken::Fork {
                height,
                validator,
                got: block,
                want,
            });
        }
        if same != state {
            return Err(Broken::State { height, validator });
        }
        for tx_id in transactions {
            let first = *self.transactions.entry(*tx_id).or_insert(height);
            if first != height {
                return Err(Broken::Twice {
                    tx_id: *tx_id,
                    first,
                    second: height,
                });
            }
        }
        Ok(())
    }

    /// How validators stand, by an honest one's chain: the state root with both tables, and the next height's
    /// schedule. Gives the hash of the next height's set.
    pub(super) fn stands(&mut self, validator: u16, chain: &Chain) -> Result<Hash, Broken> {
        let (height, schedule, roots) = (chain.tip().height, chain.schedule(), chain.roots());
        let mut hasher = blake3::Hasher::new();
        hasher.update(roots.state_root().as_bytes());
        for table in [Table::Validators, Table::Plane] {
            hasher.update(roots.get(table).unwrap_or(Hash::ZERO).as_bytes());
        }
        let set = validators_hash(&chain.validators());
        hasher.update(set.as_bytes());
        hasher.update(schedule.seed.as_bytes());
        hasher.update(&schedule.since.0.to_le_bytes());
        for weight in schedule.weights.iter() {
            hasher.update(&weight.to_le_bytes());
        }
        self.stand(validator, height, Hash(*hasher.finalize().as_bytes()))?;
        Ok(set)
    }

    fn stand(&mut self, validator: u16, height: Height, standing: Hash) -> Result<(), Broken> {
        if *self.standings.entry(height).or_insert(standing) == standing {
            return Ok(());
        }
        Err(Broken::Standing { height, validator })
    }

    /// What an honest validator's scorer remembers after a height.
    pub(super) fn remembers(&mut self, validator: u16, height: Height, memory: Hash) -> Result<(), Broken> {
        if *self.memories.entry(height).or_insert(memory) == memory {
            return Ok(());
        }
        Err(Broken::Memory { height, validator })
    }

    /// The block that holds a transaction.
    pub(super) fn block_of(&self, tx_id: &Hash) -> Option<Height> {
        self.transactions.get(tx_id).copied()
    }

    /// How many transactions were decided.
    pub(super) fn transactions(&self) -> usize {
        self.transactions.len()
    }

    /// The highest block.
    pub(super) fn tip(&self) -> Height {
        self.decided
            .keys()
            .next_back()
            .copied()
            .unwrap_or(Height::GENESIS)
    }

    /// A hash over everything that was decided.
    pub(super) fn trace(&self) -> Hash {
        let mut bytes = Vec::new();
        for (height, (block, state)) in &self.decided {
            bytes.extend_from_slice(&height.0.to_le_bytes());
            bytes.extend_from_slice(block.as_bytes());
            bytes.extend_from_slice(state.as_bytes());
        }
        Hash(*blake3::hash(&bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_and_a_repeated_transaction_are_seen() {
        let mut checks = Checks::default();
        let (block, state, tx) = (Hash([1; 32]), Hash([2; 32]), Hash([3; 32]));
        assert_eq!(checks.decided(0, Height(1), block, state, &[tx]), Ok(()));
        assert_eq!(checks.decided(1, Height(1), block, state, &[tx]), Ok(()));
        assert!(matches!(
            checks.decided(2, Height(1), Hash([9; 32]), state, &[]),
            Err(Broken::Fork { .. })
        ));
        assert!(matches!(
            checks.decided(2, Height(1), block, Hash([9; 32]), &[]),
            Err(Broken::State { .. })
        ));
        assert!(matches!(
            checks.decided(0, Height(2), block, state, &[tx]),
            Err(Broken::Twice { .. })
        ));
        assert_eq!(checks.stand(0, Height(1), state), Ok(()));
        assert_eq!(checks.stand(1, Height(1), state), Ok(()));
        let (height, validator) = (Height(1), 2);
        assert_eq!(
            checks.stand(2, height, block),
            Err(Broken::Standing { height, validator })
        );
        assert_eq!(checks.remembers(0, Height(1), state), Ok(()));
        assert_eq!(
            checks.remembers(2, Height(1), block),
            Err(Broken::Memory { height, validator })
        );
    }
}
