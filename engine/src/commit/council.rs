//! The council: who the validators are, as the chain goes on. Where one validator decides it never changes; where
//! several do, a [`Standing`] folds what blocks say of them.

use super::chain::Tip;
use super::judge::Known;
use super::verify::VerifyError;
use crate::ledger::Validators;
use alloc::collections::VecDeque;
use core::fmt;
use selfchain_types::block::Header;
use selfchain_types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain_types::crypto;
use selfchain_types::evidence::{Evidence, decode_evidence};
use selfchain_types::genesis::{Limits, Validator, validators_hash};
use selfchain_types::late::{LATE_BLOCKS, LatePrecommit, decode_late};
use selfchain_types::roots::{Roots, Table};
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::seam::standing::{Observed, Offence, Standing, StandingError};
use selfchain_types::{Hash, Height, codec, hash};
use std::sync::Arc;

/// Who the validators are.
pub(super) struct Council {
    standing: Option<Box<dyn Standing>>,
    /// Genesis's, where there is no standing.
    founders: Arc<[Validator]>,
    /// What certificates in blocks decided, of the heights that late precommits may be of, ascending.
    certified: VecDeque<Certified>,
    /// `validators_hash` of the next height and of the one after it, and the sets that they are of.
    hashes: (Hash, Hash),
    hashed: [Arc<[Validator]>; 2],
}

/// What the certificate in a block decided of the block before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Certified {
    pub(super) height: Height,
    pub(super) round: u32,
    pub(super) block: Hash,
}

/// What a block says of validators, decoded.
pub(super) struct Said {
    parent: Option<Certificate>,
    late: Vec<LatePrecommit>,
    evidence: Vec<Evidence>,
    offences: Vec<Offence>,
    fill: u16,
}

/// The parts of a body that speak of validators, and how large the rest is.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) parent_certificate: &'a [u8],
    pub(super) late_precommits: &'a [u8],
    pub(super) evidence: &'a [u8],
    /// Of the envelopes.
    pub(super) bytes: usize,
    pub(super) operations: usize,
}

/// How much of a block's room is used, in thousandths, rounded down.
fn fill(limits: &Limits, parts: &Parts<'_>) -> u16 {
    let of = |used: usize, max: u32| {
        let exact = codec::wide(used).saturating_mul(1_000);
        exact.checked_div(u64::from(max)).unwrap_or(1_000).min(1_000)
    };
    let most = of(parts.bytes, limits.block_bytes_max).max(of(parts.operations, limits.block_effects_max));
    u16::try_from(most).unwrap_or(1_000)
}

impl Said {
    fn observed(&self, header: &Header) -> Observed<'_> {
        Observed {
            height: header.height,
            round: header.round,
            proposer: header.proposer,
            reveal: header.reveal,
            fill: self.fill,
            parent: self.parent.as_ref(),
            late: &self.late,
            offences: &self.offences,
        }
    }
}

impl Council {
    pub(super) fn new(standing: Option<Box<dyn Standing>>, founders: &[Validator]) -> Self {
        let mut council = Self {
            standing,
            founders: founders.into(),
            certified: VecDeque::new(),
            hashes: (Hash::ZERO, Hash::ZERO),
            hashed: [Arc::new([]), Arc::new([])],
        };
        council.rehash();
        council
    }

    /// Hashes the sets again, if they are others than before.
    fn rehash(&mut self) {
        let set = self.validators();
        let next = match &self.standing {
            Some(standing) => standing.next_validators(),
            None => Arc::clone(&set),
        };
        let [last_set, last_next] = &self.hashed;
        if Arc::ptr_eq(&set, last_set) && Arc::ptr_eq(&next, last_next) {
            return;
        }
        let hash = validators_hash(&set);
        let next_hash = if Arc::ptr_eq(&next, &set) {
            hash
        } else {
            validators_hash(&next)
        };
        self.hashes = (hash, next_hash);
        self.hashed = [set, next];
    }

    pub(super) fn standing(&self) -> Option<&dyn Standing> {
        self.standing.as_deref()
    }

    pub(super) fn hashes(&self) -> (Hash, Hash) {
        self.hashes
    }

    /// The next height's.
    pub(super) fn validators(&self) -> Arc<[Validator]> {
        match &self.standing {
            Some(standing) => standing.validators(),
            None => Arc::clone(&self.founders),
        }
    }

    /// Those of an earlier height, as far back as they are known.
    pub(super) fn validators_of(&self, height: Height) -> Option<Arc<[Validator]>> {
        match &self.standing {
            Some(standing) => standing.validators_of(height),
            None => Some(Arc::clone(&self.founders)),
        }
    }

    pub(super) fn schedule(&self) -> Schedule {
        match &self.standing {
            Some(standing) => standing.schedule(),
            None => Schedule::by_power(Height(1)),
        }
    }

    /// The block that the certificate in a later block decided at this height, and in which round.
    pub(super) fn certified(&self, height: Height) -> Option<Certified> {
        self.certified.iter().find(|one| one.height == height).copied()
    }

    pub(super) fn all_certified(&self) -> impl Iterator<Item = Certified> + '_ {
        self.certified.iter().copied()
    }

    /// What a proof of misbehaviour says, if its signatures hold and its validator is known.
    pub(super) fn offence(&self, chain_id: &Hash, evidence: &Evidence) -> Option<Offence> {
        let validators = self.validators_of(evidence.height())?;
        let validator = validators.get(usize::from(evidence.validator()))?;
        evidence.verify(chain_id, &validator.key).ok()?;
        Some(Offence {
            validator: validator.key.id(),
            height: evidence.height(),
        })
    }

    /// Reads what a next block says of validators. Signatures are not looked at.
    pub(super) fn read(
        &self,
        header: &Header,
        limits: &Limits,
        parts: &Parts<'_>,
    ) -> Result<Option<Said>, VerifyError> {
        let height = header.height;
        let damaged = |what| move |source| VerifyError::Decode { height, what, source };
        if self.standing.is_none() {
            return Ok(None);
        }
        let parent = match parts.parent_certificate {
            [] => None,
            bytes => Some(Certificate::decode(bytes).map_err(damaged("parent certificate"))?),
        };
        let late = decode_late(parts.late_precommits).map_err(damaged("late precommits"))?;
        let evidence = decode_evidence(parts.evidence).map_err(damaged("evidence"))?;
        let offence = |evidence: &Evidence| {
            let validators = self.validators_of(evidence.height());
            let at = usize::from(evidence.validator());
            let id = validators
                .as_ref()
                .and_then(|all| all.get(at))
                .map(|one| one.key.id());
            id.map(|validator| Offence {
                validator,
                height: evidence.height(),
            })
        };
        let offences: Option<Vec<Offence>> = evidence.iter().map(offence).collect();
        let offences = offences.ok_or(VerifyError::Mismatch {
            height,
            what: "validator that evidence names",
        })?;
        Ok(Some(Said {
            parent,
            late,
            evidence,
            offences,
            fill: fill(limits, parts),
        }))
    }

    /// Checks everything that a next block says of validators: signatures, the quorum, and what the standing asks.
    pub(super) fn check(
        &self,
        chain_id: &Hash,
        tip: &Tip,
        header: &Header,
        said: Option<&Said>,
        parts: &Parts<'_>,
        known: &Known<'_>,
    ) -> Result<(), VerifyError> {
        let height = header.height;
        let mismatch = |what| Err(VerifyError::Mismatch { height, what });
        let (Some(standing), Some(said)) = (&self.standing, said) else {
            let is_silent = [parts.parent_certificate, parts.late_precommits, parts.evidence]
                .iter()
                .all(|part| part.is_empty());
            return if is_silent {
                Ok(())
            } else {
                mismatch("word of other validators, where there are none")
            };
        };
        standing
            .check(&said.observed(header))
            .map_err(|source| VerifyError::Standing { height, source })?;
        if let Some(parent) = &said.parent {
            if parent.block != tip.hash || parent.height != tip.height {
                return mismatch("block of the parent certificate");
            }
            let validators = self.validators_of(parent.height).unwrap_or_default();
            let is_known =
                |one: &Precommit| (known.precommit)(parent.height, parent.round, &parent.block, one);
            parent
                .verify_but(chain_id, &validators, &is_known)
                .map_err(|source| VerifyError::Certificate { height, source })?;
        }
        if !said.late.iter().all(|late| self.is_signed(chain_id, late, known)) {
            return mismatch("signature of a late precommit");
        }
        if !said
            .evidence
            .iter()
            .all(|one| self.offence(chain_id, one).is_some())
        {
            return mismatch("signature of evidence");
        }
        Ok(())
    }

    /// Whether a late precommit is its validator's, for what was certified at its height.
    pub(super) fn is_signed(&self, chain_id: &Hash, late: &LatePrecommit, known: &Known<'_>) -> bool {
        let certified = self.certified(late.height);
        let validators = self.validators_of(late.height).unwrap_or_default();
        let validator = validators.get(usize::from(late.precommit.validator));
        let (Some(certified), Some(validator)) = (certified, validator) else {
            return false;
        };
        if (known.precommit)(late.height, certified.round, &certified.block, &late.precommit) {
            return true;
        }
        let (block, extension) = (&certified.block, &late.precommit.extension);
        let digest = precommit_digest(chain_id, late.height, certified.round, block, extension);
        let (scheme, key) = (validator.key.scheme(), validator.key.as_bytes());
        crypto::verify(scheme, key, digest.as_bytes(), &late.precommit.signature).is_ok()
    }

    /// Folds what a decided block says, and gives who it proves to have misbehaved.
    pub(super) fn observe(
        &mut self,
        header: &Header,
        said: Option<Said>,
    ) -> Result<Vec<Offence>, StandingError> {
        let (Some(standing), Some(said)) = (&mut self.standing, said) else {
            return Ok(Vec::new());
        };
        standing.observe(&said.observed(header))?;
        if let Some(parent) = said.parent {
            self.certified.push_back(Certified {
                height: parent.height,
                round: parent.round,
                block: parent.block,
            });
        }
        while codec::wide(self.certified.len()) > LATE_BLOCKS {
            self.certified.pop_front();
        }
        Ok(said.offences)
    }

    /// What the ledger needs of them to execute the block that was observed last; nothing where one decides.
    pub(super) fn voting<'a>(&'a mut self, offences: &'a [Offence]) -> Option<Validators<'a>> {
        let standing = self.standing.as_deref_mut()?;
        Some(Validators { standing, offences })
    }

    /// The block that was observed last is executed.
    pub(super) fn close(&mut self) {
        if let Some(standing) = &mut self.standing {
            standing.close();
            self.rehash();
        }
    }

    /// Puts the standing's tables among the roots. An empty one is left out.
    pub(super) fn set_roots(&self, roots: &mut Roots) {
        for (table, bytes) in TABLES.into_iter().zip(self.tables()) {
            if !bytes.is_empty() {
                roots.set(table, hash::TABLE.hash(&bytes));
            }
        }
    }

    /// The bytes of both tables; empty where there is no standing.
    pub(super) fn tables(&self) -> [Vec<u8>; 2] {
        TABLES.map(|table| {
            let mut bytes = Vec::new();
            if let Some(standing) = &self.standing {
                standing.encode(table, &mut bytes);
            }
            bytes
        })
    }

    /// Takes what [`Self::tables`] gave, and what was certified by then.
    pub(super) fn restore(
        &mut self,
        tables: &[Vec<u8>; 2],
        certified: Vec<Certified>,
    ) -> Result<(), codec::DecodeError> {
        let [validators, plane] = tables;
        if let Some(standing) = &mut self.standing {
            standing.restore(validators, plane)?;
            self.rehash();
        }
        self.certified = certified.into();
        Ok(())
    }
}

/// The tables that are a standing's.
const TABLES: [Table; 2] = [Table::Validators, Table::Plane];

impl fmt::Debug for Council {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Council")
            .field("validators", &self.validators().len())
            .field("certified", &self.certified)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "council_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
