//! Proving: proof files from what a store holds, for whoever knows some set of the chain's validators.

use crate::answers::{AnswerError, Found, NO_TRANSACTION, Past};
use crate::recover::{restore, try_each_prepared};
use crate::standing::standing;
use crate::store::StoreError;
use core::sync::atomic::{AtomicBool, Ordering};
use selfchain_engine::commit::{AccountPath, Chain, Unpacked, VerifyError};
use selfchain_engine::proof::{
    CertifiedHeader, Checkpoint, Claim, ConsistencyProof, Handover, PROOF_BYTES_MAX, ProofFile, Trust,
    TrustedSigners, consistency_path,
};
use selfchain_types::block::{Header, Row};
use selfchain_types::genesis::validators_hash;
use selfchain_types::message::BY_CHECKPOINTS;
use selfchain_types::seam::log::LogError;
use selfchain_types::seam::snapshot::SnapshotStore;
use selfchain_types::{AccountId, Hash, Height};

/// What a verifier that knows genesis knows the validators from.
pub const SINCE_GENESIS: Height = Height(1);

/// How far into the past accounts can be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provable {
    /// The first height.
    pub first: Height,
    /// The newest height that a header commits to.
    pub last: Height,
}

/// How a past state is rebuilt.
pub struct Rebuilding<'a> {
    /// Most blocks to fold.
    pub blocks_max: u64,
    /// Hears the height that is reached and the one to reach.
    pub progress: &'a mut (dyn FnMut(Height, Height) + Send),
    /// Ends it early.
    pub stop: &'a AtomicBool,
}

impl Past {
    /// A proof of how an operation was decided, for whoever knows the validators from height `since` on, or follows
    /// checkpoints ([`BY_CHECKPOINTS`]). Of the
    /// headers that commit to it, it has the first that they can believe.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn prove_operation(
        &self,
        tx_id: &Hash,
        operation: u32,
        since: Height,
    ) -> Result<ProofFile, AnswerError> {
        self.with_transaction(tx_id, |block, found| {
            self.prove_receipt(block, found, operation, since)
        })
    }

    /// As [`Past::prove_operation`], of the transaction at a known place.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn prove_operation_at(
        &self,
        height: Height,
        index: u32,
        operation: u32,
        since: Height,
    ) -> Result<ProofFile, AnswerError> {
        let row = self.log().read(height.0)?;
        let block = Unpacked::new(height, &row).map_err(StoreError::from)?;
        let found = Found::at(&block, selfchain_types::codec::index(index)).ok_or(NO_TRANSACTION)?;
        self.prove_receipt(&block, &found, operation, since)
    }

    fn prove_receipt(
        &self,
        block: &Unpacked<'_>,
        found: &Found,
        operation: u32,
        since: Height,
    ) -> Result<ProofFile, AnswerError> {
        if since == BY_CHECKPOINTS {
            let at = self.checkpoint_of(block.header().height)?;
            let mut receipt = self.prove(block, found, operation, at)?;
            receipt.certificate.clear();
            return self.signed_file(Claim::Operation(receipt.into()), &[at]);
        }
        let receipt = self.prove(block, found, operation, since)?;
        let header = receipt.header.clone();
        self.file(Claim::Operation(receipt.into()), &header, since)
    }

    /// A proof of an account, from its path: [`Chain::account_path`], or [`Past::account_at`].
    ///
    /// # Errors
    /// [`AnswerError::NotYetProvable`] until the header is durable that commits to it; [`AnswerError`].
    pub fn prove_account(&self, path: AccountPath, since: Height) -> Result<ProofFile, AnswerError> {
        let (height, by) = (path.height, path.by);
        refuse_early(by, since)?;
        let found = self.certified(height, by)?;
        let header = decode_header(by, &found.header)?;
        if header.state_root != path.roots.state_root() {
            let what = "state root";
            return Err(StoreError::from(VerifyError::Mismatch { height: by, what }).into());
        }
        if since == BY_CHECKPOINTS {
            self.checkpointed(height)?;
            let proof = path.proof(found.header, Vec::new());
            return self.signed_file(Claim::Account(proof.into()), &[by]);
        }
        let proof = path.proof(found.header.clone(), found.certificate);
        self.file(Claim::Account(proof.into()), &found.header, since)
    }

    /// A proof that the receipts up to height `old` are the first of those up to `new`; 0 for the newest height that a
    /// header commits to.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn prove_consistency(
        &self,
        old: Height,
        new: Height,
        since: Height,
    ) -> Result<ProofFile, AnswerError> {
        let is_signed = since == BY_CHECKPOINTS;
        let new = match new {
            Height::GENESIS if is_signed => self.checkpointed(Height::GENESIS)?,
            Height::GENESIS => self.newest(),
            new => new,
        };
        if old > new {
            return Err(AnswerError::Order { old, new });
        }
        let by = |height| match is_signed {
            true => self.checkpoint_of(height),
            false => Ok(self.committing(height)),
        };
        let (by_old, by_new) = (by(old)?, by(new)?);
        refuse_early(by_old, since)?;
        let (mut old, mut new) = (self.certified(old, by_old)?, self.certified(new, by_new)?);
        let [of_old, of_new] = [&old, &new].map(|one| decode_header(Height::GENESIS, &one.header));
        let (old_size, new_size) = (of_old?.receipts_size, of_new?.receipts_size);
        let path =
            consistency_path(old_size, new_size, &self.nodes()).map_err(|_| AnswerError::NotFound {
                what: "the path between the receipts",
            })?;
        if is_signed {
            old.certificate.clear();
            new.certificate.clear();
            let proof = ConsistencyProof { old, new, path };
            return self.signed_file(Claim::Consistency(proof.into()), &[by_old, by_new]);
        }
        let header = new.header.clone();
        let proof = ConsistencyProof { old, new, path };
        self.file(Claim::Consistency(proof.into()), &header, since)
    }

    /// Who decides the newest block, as far as this store knows: followed from genesis through every change of the set
    /// of validators.
    ///
    /// # Errors
    /// [`AnswerError`]; [`AnswerError::Unbelieved`] where a change does not hold.
    pub fn trust(&self) -> Result<Trust, AnswerError> {
        let mut trust = Trust::of_genesis(&self.genesis);
        for handover in self.handovers(SINCE_GENESIS)? {
            trust.set.follow(&trust.chain_id, &handover)?;
        }
        Ok(trust)
    }

    /// The newest height that a header commits to.
    pub fn newest(&self) -> Height {
        Height(self.log().tip().unwrap_or(0)).back(self.root_lag)
    }

    /// A header and its certificate, which commit to `height`.
    fn certified(&self, height: Height, by: Height) -> Result<CertifiedHeader, AnswerError> {
        let row = self.log().read(by.0).map_err(|error| match error {
            LogError::NotFound { .. } => AnswerError::NotYetProvable { height, by },
            other => other.into(),
        })?;
        let row = Row::decode(&row).map_err(|source| crate::answers::decode(by, source))?;
        Ok(CertifiedHeader {
            header: row.header.to_vec(),
            certificate: row.local.to_vec(),
        })
    }

    /// The file of a claim that this header commits to, for whoever knows the validators from `since` on.
    fn file(&self, claim: Claim, header: &[u8], since: Height) -> Result<ProofFile, AnswerError> {
        let header = decode_header(Height::GENESIS, header)?;
        self.refuse_unknown_set(&header)?;
        let mut handovers = self.handovers(since)?;
        handovers.retain(|one| one.height().is_ok_and(|height| height < header.height));
        // What is read is bounded: then the last ones are missing.
        if let Some(last) = handovers.last()
            && validators_hash(&last.next) != header.validators_hash
        {
            return Err(AnswerError::TooLong);
        }
        let file = ProofFile {
            chain_id: self.genesis.chain_id(),
            handovers,
            checkpoints: Vec::new(),
            claim,
        };
        Ok(file)
    }

    /// The header that is the first to commit to a height.
    fn committing(&self, height: Height) -> Height {
        Height(height.0.saturating_add(self.root_lag))
    }

    /// The first checkpoint whose header commits to a height.
    fn checkpoint_of(&self, height: Height) -> Result<Height, AnswerError> {
        let by = self.committing(height);
        match self.checkpoints_from(by, 1)?.pop() {
            Some(checkpoint) => header_height(&checkpoint),
            None if self.genesis.checkpoints.is_none() => Err(AnswerError::NoCheckpoints),
            None => {
                let newest = Height(self.checkpoints.last().unwrap_or(0));
                Err(AnswerError::NotCheckpointed { by, newest })
            }
        }
    }

    /// A height whose accounts can be proved over checkpoints: this one, or for 0 the newest.
    ///
    /// # Errors
    /// [`AnswerError::BetweenCheckpoints`] for another height; [`AnswerError`].
    pub fn checkpointed(&self, height: Height) -> Result<Height, AnswerError> {
        let newest = Height(self.checkpoints.last().unwrap_or(0)).back(self.root_lag);
        if height == Height::GENESIS && newest > Height::GENESIS {
            return Ok(newest);
        }
        let (by, found) = (self.committing(height), self.checkpoint_of(height)?);
        if by == found {
            return Ok(height);
        }
        let next = found.back(self.root_lag);
        Err(AnswerError::BetweenCheckpoints { height, by, next })
    }

    /// The file of a claim that headers of checkpoints commit to, for whoever knows genesis. Of the checkpoints before,
    /// it has those that name other signers.
    fn signed_file(&self, claim: Claim, headers: &[Height]) -> Result<ProofFile, AnswerError> {
        let genesis = TrustedSigners::of_genesis(&self.genesis).ok_or(AnswerError::NoCheckpoints)?;
        let mut set = genesis.set().clone();
        let last = headers.iter().max().copied().unwrap_or_default();
        let (mut checkpoints, mut len, mut from) = (Vec::new(), 0, SINCE_GENESIS);
        while from <= last {
            let read = self.checkpoints_from(from, CHECKPOINTS_AT_ONCE)?;
            from = match read.last() {
                Some(newest) => header_height(newest)?.next(),
                None => break,
            };
            for checkpoint in read {
                let height = header_height(&checkpoint)?;
                if height > last || (checkpoint.next == set && !headers.contains(&height)) {
                    continue;
                }
                len += checkpoint.to_bytes().len();
                if len > PROOF_BYTES_MAX {
                    return Err(AnswerError::TooLong);
                }
                set = checkpoint.next.clone();
                checkpoints.push(checkpoint);
            }
        }
        Ok(ProofFile {
            chain_id: self.genesis.chain_id(),
            handovers: Vec::new(),
            checkpoints,
            claim,
        })
    }

    /// Checkpoints from a header's height on.
    fn checkpoints_from(&self, from: Height, count_max: usize) -> Result<Vec<Checkpoint>, AnswerError> {
        let records = self.checkpoints.read_from(from.0, count_max, PROOF_BYTES_MAX);
        let decoded = records.map_err(io)?.into_iter();
        decoded
            .map(|bytes| Checkpoint::decode(&bytes).map_err(|source| crate::answers::decode(from, source)))
            .collect()
    }

    /// Changes of the set of validators from a height on, as many as a proof may have bytes.
    fn handovers(&self, since: Height) -> Result<Vec<Handover>, AnswerError> {
        let records = self.handovers.read_from(since.0, usize::MAX, PROOF_BYTES_MAX);
        let decoded = records.map_err(io)?.into_iter();
        decoded
            .map(|bytes| Handover::decode(&bytes).map_err(|source| crate::answers::decode(since, source)))
            .collect()
    }

    /// Refuses while the file of changes is behind the log and lacks the one that led to the header's set.
    fn refuse_unknown_set(&self, header: &Header) -> Result<(), AnswerError> {
        let newest = match self.handovers.last() {
            Some(height) => self.handovers(Height(height))?.pop(),
            None => None,
        };
        let known = match &newest {
            Some(last) if last.height().is_ok_and(|height| height >= header.height) => return Ok(()),
            Some(last) => validators_hash(&last.next),
            None => validators_hash(&self.genesis.validators),
        };
        if known == header.validators_hash {
            Ok(())
        } else {
            Err(AnswerError::IndexBehind { by: 1 })
        }
    }

    /// How far into the past accounts can be proved: as far as snapshots reach from which the log goes on.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn provable(&self) -> Result<Provable, AnswerError> {
        let last = self.newest();
        let first_kept = self.log().first().unwrap_or(1);
        if first_kept <= 1 {
            return Ok(Provable {
                first: Height(1),
                last,
            });
        }
        let heights = self.snapshots.list().map_err(StoreError::from)?;
        let reached = heights
            .into_iter()
            .find(|height| height.saturating_add(1) >= first_kept);
        Ok(Provable {
            first: Height(reached.unwrap_or(u64::MAX)),
            last,
        })
    }

    /// The path of an account as it was after a height: from the newest snapshot before it, and a fold of the log from
    /// there.
    ///
    /// # Errors
    /// [`AnswerError`]; [`AnswerError::OutOfReach`] where snapshots and log do not reach.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "it is how this one state is rebuilt"
    )]
    pub fn account_at(
        &self,
        account: AccountId,
        height: Height,
        how: Rebuilding<'_>,
    ) -> Result<AccountPath, AnswerError> {
        let Provable { first, last } = self.provable()?;
        if height < first || height > last {
            return Err(AnswerError::OutOfReach { height, first, last });
        }
        let mut chain = self.nearest(height, first)?;
        let from = chain.tip().height.next();
        let blocks = (height.0 + 1).saturating_sub(from.0);
        if blocks > how.blocks_max {
            let blocks_max = how.blocks_max;
            return Err(AnswerError::TooFar {
                height,
                blocks,
                blocks_max,
            });
        }
        try_each_prepared::<AnswerError>(&**self.log(), from, height, &mut |block, at| {
            if how.stop.load(Ordering::Relaxed) {
                return Err(AnswerError::Stopped);
            }
            chain.fold(block, at == height).map_err(StoreError::from)?;
            (how.progress)(at, height);
            Ok(())
        })?;
        let found = chain.account_path_at_tip(account);
        found.ok_or(AnswerError::NotFound {
            what: "the account at that height",
        })
    }

    /// The chain at the newest snapshot up to a height that can be used, or before its first block.
    fn nearest(&self, height: Height, first: Height) -> Result<Chain, AnswerError> {
        let mut heights = self.snapshots.list().map_err(StoreError::from)?;
        heights.retain(|one| (first.0..=height.0).contains(one));
        while let Some(one) = heights.pop() {
            match restore(&self.genesis, &self.snapshots, one) {
                Ok(chain) => return Ok(chain),
                Err(error) => tracing::warn!(height = one, error = %error, "snapshot passed over"),
            }
        }
        if self.log().first().unwrap_or(1) > 1 {
            return Err(AnswerError::NotFound {
                what: "a snapshot that can be used",
            });
        }
        let standing = standing(&self.genesis).map_err(StoreError::from)?;
        Ok(Chain::new((*self.genesis).clone(), standing))
    }
}

/// Checkpoints that are read together.
const CHECKPOINTS_AT_ONCE: usize = 64;

fn header_height(checkpoint: &Checkpoint) -> Result<Height, AnswerError> {
    checkpoint
        .height()
        .map_err(|source| crate::answers::decode(Height::GENESIS, source))
}

fn refuse_early(by: Height, since: Height) -> Result<(), AnswerError> {
    if by < since {
        return Err(AnswerError::BeforeSince { by, since });
    }
    Ok(())
}

fn decode_header(height: Height, bytes: &[u8]) -> Result<Header, AnswerError> {
    Header::decode(bytes).map_err(|source| crate::answers::decode(height, source))
}

fn io(source: std::io::Error) -> AnswerError {
    let action = "read the changes of the set of validators, or the checkpoints";
    StoreError::Io { action, source }.into()
}
