//! Proving: proof files from what a store holds, for whoever knows some set of the chain's validators.

use crate::answers::{AnswerError, Past};
use crate::recover::{restore, try_each_prepared};
use crate::standing::standing;
use crate::store::StoreError;
use core::sync::atomic::{AtomicBool, Ordering};
use selfchain_engine::commit::{AccountPath, Chain, Prepared, VerifyError};
use selfchain_engine::proof::{
    CertifiedHeader, Claim, ConsistencyProof, Handover, OperationReceipt, PROOF_BYTES_MAX, ProofFile, Trust,
    consistency_path,
};
use selfchain_types::block::{Header, Row};
use selfchain_types::genesis::validators_hash;
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
    /// A proof of how an operation was decided, for whoever knows the validators from height `since` on. Of the
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
        let receipt =
            self.with_transaction(tx_id, |block, index| self.prove(block, index, operation, since))?;
        self.of_receipt(receipt, since)
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
        let block = Prepared::new(height, &row).map_err(StoreError::from)?;
        let receipt = self.prove(&block, selfchain_types::codec::index(index), operation, since)?;
        self.of_receipt(receipt, since)
    }

    fn of_receipt(&self, receipt: OperationReceipt, since: Height) -> Result<ProofFile, AnswerError> {
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
        let new = if new == Height::GENESIS {
            self.newest()
        } else {
            new
        };
        if old > new {
            return Err(AnswerError::Order { old, new });
        }
        let by = |height: Height| Height(height.0.saturating_add(self.root_lag));
        refuse_early(by(old), since)?;
        let (old, new) = (self.certified(old, by(old))?, self.certified(new, by(new))?);
        let [of_old, of_new] = [&old, &new].map(|one| decode_header(Height::GENESIS, &one.header));
        let (old_size, new_size) = (of_old?.receipts_size, of_new?.receipts_size);
        let path =
            consistency_path(old_size, new_size, &self.nodes()).map_err(|_| AnswerError::NotFound {
                what: "the path between the receipts",
            })?;
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
            claim,
        };
        Ok(file)
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
    let action = "read the changes of the set of validators";
    StoreError::Io { action, source }.into()
}
