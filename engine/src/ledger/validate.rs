//! What no block may contain, of what its signatures do not cover: every node gives the same answer.

use super::Ledger;
use super::clock::{Clock, TIME_MAX};
use super::index::Index;
use selfchain_types::block::Header;
use selfchain_types::envelope::{EnvelopeView, Signer};
use selfchain_types::genesis::OpTime;
use selfchain_types::{Height, KeyId, Refusal, Risk, TimeNs, codec};
use thiserror::Error;

/// Why a block is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidBlock {
    /// It is not the next one.
    #[error("height {got}, where {want} is next")]
    Height {
        /// Its height.
        got: Height,
        /// The height after the last.
        want: Height,
    },
    /// It is not later than the last operation.
    #[error("time {time_ns} ns is not after {last} ns")]
    Time {
        /// Its time.
        time_ns: u64,
        /// The last operation's time.
        last: u64,
    },
    /// Operations bring their own time, and the first one's is another.
    #[error("time {time_ns} ns, where the first operation's is {first} ns")]
    FirstTime {
        /// Its time.
        time_ns: u64,
        /// The first operation's time.
        first: u64,
    },
    /// An operation lies past the end of ledger time.
    #[error("envelope {envelope} is at {time_ns} ns, past the end of ledger time")]
    TimeOverflow {
        /// Position of the envelope.
        envelope: usize,
        /// Time of its last operation.
        time_ns: u64,
    },
    /// Its envelopes are too long in all.
    #[error("{got} bytes of envelopes, {max} allowed")]
    Bytes {
        /// Bytes up to the envelope that is too much.
        got: u64,
        /// The limit.
        max: u32,
    },
    /// It has too many operations.
    #[error("{got} operations, {max} allowed")]
    Effects {
        /// Operations up to the envelope that is too much.
        got: u64,
        /// The limit.
        max: u32,
    },
    /// It names another model than the one in force.
    #[error("the header does not name the model in force")]
    Model,
    /// It names another version of the policies.
    #[error("policy version {got}, where {want} is in force")]
    PolicyVersion {
        /// What it names.
        got: u64,
        /// What is in force.
        want: u64,
    },
    /// Its scores are not one an operation, or there are scores without a model.
    #[error("{scores} scores for {operations} operations, or reasons where there is no score")]
    Risk {
        /// Its scores.
        scores: usize,
        /// Its operations.
        operations: usize,
    },
    /// An envelope may not be in a block of this chain and height.
    #[error("envelope {envelope} is {refusal}")]
    Envelope {
        /// Its position.
        envelope: usize,
        /// Why.
        refusal: Refusal,
    },
    /// An envelope's counter is not the next one of its lane.
    #[error("envelope {envelope}, signer {signer}: counter {got} on lane {lane}, where {want} is next")]
    Counter {
        /// Position of the envelope.
        envelope: usize,
        /// Position of the signer in it.
        signer: usize,
        /// The lane.
        lane: u32,
        /// The counter there is.
        got: u64,
        /// The counter there should be.
        want: u64,
    },
}

impl InvalidBlock {
    /// The envelope without which the block might be valid.
    pub fn envelope(&self) -> Option<usize> {
        match self {
            Self::TimeOverflow { envelope, .. }
            | Self::Envelope { envelope, .. }
            | Self::Counter { envelope, .. } => Some(*envelope),
            _ => None,
        }
    }
}

impl Ledger {
    /// Whether a block of these envelopes may follow. Says nothing of signatures, and refuses nothing that is
    /// an outcome: a revoked key, an unpaid fee, want of funds.
    ///
    /// # Errors
    /// [`InvalidBlock`], the first rule that it breaks.
    pub fn validate(
        &self,
        height: Height,
        time_ns: TimeNs,
        envelopes: &[EnvelopeView<'_>],
    ) -> Result<(), InvalidBlock> {
        let want = self.chain.height.next();
        if height != want {
            return Err(InvalidBlock::Height { got: height, want });
        }
        self.validate_sizes(envelopes)?;
        self.validate_times(time_ns, envelopes)?;
        for (at, envelope) in envelopes.iter().enumerate() {
            if let Some(refusal) = self.refusal(height, envelope) {
                return Err(InvalidBlock::Envelope {
                    envelope: at,
                    refusal,
                });
            }
        }
        self.validate_counters(envelopes)
    }

    /// Whether a block's header names what is in force, and its scores fit its operations.
    ///
    /// # Errors
    /// [`InvalidBlock`].
    pub fn validate_risk(
        &self,
        header: &Header,
        envelopes: &[EnvelopeView<'_>],
        risk: &Risk,
    ) -> Result<(), InvalidBlock> {
        let named = self.models.named_at(header.height);
        if header.models != named {
            return Err(InvalidBlock::Model);
        }
        let want = self.policies.version;
        if header.policy_version != want {
            return Err(InvalidBlock::PolicyVersion {
                got: header.policy_version,
                want,
            });
        }
        let operations = envelopes.iter().map(|envelope| envelope.operations().len()).sum();
        let is_by_a_model = !named.is_empty() || risk.scores.is_empty();
        if !is_by_a_model || !risk.fits(operations) {
            return Err(InvalidBlock::Risk {
                scores: risk.scores.len(),
                operations,
            });
        }
        Ok(())
    }

    fn validate_sizes(&self, envelopes: &[EnvelopeView<'_>]) -> Result<(), InvalidBlock> {
        let limits = &self.rules.limits;
        let (mut bytes, mut operations) = (0, 0);
        for envelope in envelopes {
            bytes += codec::wide(envelope.as_bytes().len());
            operations += codec::wide(envelope.operations().len());
            if bytes > u64::from(limits.block_bytes_max) {
                return Err(InvalidBlock::Bytes {
                    got: bytes,
                    max: limits.block_bytes_max,
                });
            }
            if operations > u64::from(limits.block_effects_max) {
                return Err(InvalidBlock::Effects {
                    got: operations,
                    max: limits.block_effects_max,
                });
            }
        }
        Ok(())
    }

    fn validate_times(&self, time_ns: TimeNs, envelopes: &[EnvelopeView<'_>]) -> Result<(), InvalidBlock> {
        let last = self.chain.last_op_time;
        if time_ns <= last || time_ns > TIME_MAX {
            return Err(InvalidBlock::Time {
                time_ns: time_ns.0,
                last: last.0,
            });
        }
        let first = self.next_time(envelopes, time_ns);
        if self.rules.op_time == OpTime::Effective && first != time_ns {
            return Err(InvalidBlock::FirstTime {
                time_ns: time_ns.0,
                first: first.0,
            });
        }
        let mut clock = Clock::new(self.rules.op_time, time_ns);
        for (envelope, view) in envelopes.iter().enumerate() {
            for operation in view.operations() {
                clock.tick(operation);
            }
            if clock.last() > TIME_MAX {
                return Err(InvalidBlock::TimeOverflow {
                    envelope,
                    time_ns: clock.last().0,
                });
            }
        }
        Ok(())
    }

    /// Why an envelope may not be in a block of this height, whatever its counters.
    fn refusal(&self, height: Height, envelope: &EnvelopeView<'_>) -> Option<Refusal> {
        let header = envelope.header();
        let (from, until) = (header.valid_from.get(), header.valid_until.get());
        match () {
            () if header.chain_id != self.rules.chain_id => Some(Refusal::WrongChain),
            () if until < from || until - from > u64::from(self.rules.limits.validity_max) => {
                Some(Refusal::ValiditySpan)
            }
            () if height.0 < from => Some(Refusal::NotYetValid),
            () if height.0 > until => Some(Refusal::Expired),
            () => None,
        }
    }

    fn validate_counters(&self, envelopes: &[EnvelopeView<'_>]) -> Result<(), InvalidBlock> {
        let mut lanes = Lanes {
            ledger: self,
            index: Index::new(),
            used: Vec::new(),
        };
        for (envelope, view) in envelopes.iter().enumerate() {
            for (at, signer) in view.signers().iter().enumerate() {
                let got = signer.counter.get();
                let last = lanes.last(signer);
                let want = last.saturating_add(1);
                if got != want || got == *last {
                    return Err(InvalidBlock::Counter {
                        envelope,
                        signer: at,
                        lane: signer.lane.get(),
                        got,
                        want,
                    });
                }
                *last = got;
            }
        }
        Ok(())
    }
}

/// The last counters of the lanes that a block uses.
struct Lanes<'a> {
    ledger: &'a Ledger,
    index: Index,
    used: Vec<(KeyId, u32, u64)>,
}

impl Lanes<'_> {
    /// The last counter of a signer's lane, before it and in this block.
    fn last(&mut self, signer: &Signer) -> &mut u64 {
        let secret = self.index.secret();
        let lane = signer.lane.get();
        let hash = |key: &KeyId, lane: u32| {
            secret.of_u128(u128::from(secret.of_hash(&key.0)) << 32 | u128::from(lane))
        };
        let used = &self.used;
        let wanted = hash(&signer.key, lane);
        let found = self.index.find(wanted, |at| {
            let (key, other, _) = &used[codec::index(at)];
            *key == signer.key && *other == lane
        });
        let at = found.unwrap_or_else(|| {
            let at = codec::narrow(self.used.len());
            let last = self.ledger.lane(&signer.key, lane);
            self.used.push((signer.key, lane, last));
            let used = &self.used;
            self.index.insert(wanted, at, |other| {
                let (key, lane, _) = &used[codec::index(other)];
                hash(key, *lane)
            });
            at
        });
        &mut self.used[codec::index(at)].2
    }
}
