//! Lately: what validators did in the newest blocks. Who proposed and precommitted when, and what was proved.

use super::view::Proof;
use selfchain_types::block::{Body, Header, Row};
use selfchain_types::certificate::Certificate;
use selfchain_types::codec::DecodeError;
use selfchain_types::evidence::decode_evidence;
use selfchain_types::genesis::Validator;
use selfchain_types::seam::log::LogReader;
use selfchain_types::{Height, KeyId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Most proofs from blocks that are kept, the newest.
pub const PROVED_MAX: usize = 256;
/// Most validators that it remembers: the newest of them.
const DID_MAX: usize = 2_048;
/// Most blocks that are read when a validator starts.
const BLOCKS_MAX: u64 = 1_024;
/// And most bytes of them.
const BYTES_MAX: usize = 64 << 20;

/// What validators did in the blocks from a height on.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// The first height that was looked at; zero: none was.
    pub since: Height,
    did: BTreeMap<KeyId, Did>,
    /// Proofs, each with the height of the block that has it, the oldest first.
    pub proved: VecDeque<(Height, Proof)>,
}

/// The last heights in which a validator did its part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// The last block that it proposed.
    pub proposed: Option<Height>,
    /// The last block that has its precommit, in the certificate that this node keeps.
    pub precommitted: Option<Height>,
}

/// The validators of a height, if they are known.
pub(super) type SetOf<'a> = &'a dyn Fn(Height) -> Option<Arc<[Validator]>>;

impl Lately {
    /// What the newest blocks of a log say, up to a bound. What cannot be read is left out: nothing depends on it.
    pub(super) fn read(log: &dyn LogReader, tip: Height, set_of: SetOf<'_>) -> Self {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let first = log.first().unwrap_or(1).max(tip.0.saturating_sub(BLOCKS_MAX - 1));
        for height in (first..=tip.0).rev() {
            let Ok(row) = log.read(height) else { break };
            bytes += row.len();
            if bytes > BYTES_MAX {
                break;
            }
            rows.push(row);
        }
        let mut lately = Self::default();
        for row in rows.iter().rev() {
            lately.take(row, set_of);
        }
        lately
    }

    /// Takes one block of the log; one that cannot be read is left out.
    pub(super) fn take(&mut self, row: &[u8], set_of: SetOf<'_>) {
        if let Err(error) = self.row(row, set_of) {
            tracing::debug!(error = %error, "a block is not shown");
        }
    }

    /// Takes one block of the log.
    pub(crate) fn row(&mut self, row: &[u8], set_of: SetOf<'_>) -> Result<(), DecodeError> {
        let row = Row::decode(row)?;
        let (header, body) = (Header::decode(row.header)?, Body::decode(row.body)?);
        self.block(&header, body.evidence, &Certificate::decode(row.local)?, set_of)
    }

    /// Takes one decided block.
    pub(super) fn block(
        &mut self,
        header: &Header,
        evidence: &[u8],
        certificate: &Certificate,
        set_of: SetOf<'_>,
    ) -> Result<(), DecodeError> {
        let height = header.height;
        if self.since == Height::GENESIS {
            self.since = height;
        }
        self.did.entry(header.proposer).or_default().proposed = Some(height);
        let set = set_of(height).unwrap_or_default();
        for precommit in &certificate.precommits {
            if let Some(validator) = set.get(usize::from(precommit.validator)) {
                self.did.entry(validator.key.id()).or_default().precommitted = Some(height);
            }
        }
        for proof in decode_evidence(evidence)? {
            let set = set_of(proof.height()).unwrap_or_default();
            self.proved.push_back((height, Proof::of(&proof, &set)));
        }
        while self.did.len() > DID_MAX
            && let Some(oldest) = self.oldest()
        {
            self.did.remove(&oldest);
        }
        while self.proved.len() > PROVED_MAX {
            self.proved.pop_front();
        }
        Ok(())
    }

    /// What one validator did.
    pub fn did(&self, validator: &KeyId) -> Did {
        self.did.get(validator).copied().unwrap_or_default()
    }

    /// Who did nothing for longest.
    fn oldest(&self) -> Option<KeyId> {
        let newest = |did: &Did| did.proposed.max(did.precommitted);
        let oldest = self.did.iter().min_by_key(|(_, did)| newest(did));
        oldest.map(|(key, _)| *key)
    }
}
