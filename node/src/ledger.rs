//! The embedded ledger: a chain of one in a directory of yours, without network.
//!
//! Every call that writes returns when its block is on the disk. Put many operations into one
//! [`Ledger::commit`], or many transactions into one [`Ledger::commit_all`], and they share one sync.

use crate::answers::{AnswerError, Past, committed};
use crate::keys::{self, KeyError};
use crate::proving::SINCE_GENESIS;
use crate::recover::Progress;
use crate::store::{Store, StoreConfig, StoreError};
use crate::sweep::{Slice, SnapshotFiler, SweepConfig, Sweeper};
use selfchain_consensus::Solo;
use selfchain_engine::commit::{Chain, ChainError, Folded, Proposing};
use selfchain_engine::proof::{OperationReceipt, ProofFile};
use selfchain_storage::{Disk, FileDisk};
use selfchain_types::account::Balances;
use selfchain_types::crypto::SigningKey;
use selfchain_types::message::{AccountState, ChangePosition, Committed, HISTORY_ROWS_MAX, HistoryRow};
use selfchain_types::seam::consensus::{Effect, Input, Plane, PlaneError, Schedule};
use selfchain_types::seam::log::{Log, LogError};
use selfchain_types::seam::snapshot::SnapshotError;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Genesis, Height, KeyId, Operation,
    Outcome, Refusal, Risk, TimeNs, Verified, codec,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;
use zerocopy::FromZeros;

/// A chain of one in a directory of yours. One process at a time can have it open.
pub struct Ledger {
    store: Store,
    past: Past,
    chain: Chain,
    plane: Solo,
    key: Arc<SigningKey>,
    sweeper: Sweeper,
    filer: SnapshotFiler,
    /// What was read of a snapshot and waits for the sync of its blocks.
    slices: Vec<Slice>,
}

/// Why the ledger did not do it.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The ledger said no to operation `operation`; the others of the call were decided too.
    #[error("operation {operation} was refused: {outcome}{}", shortfall_text(.shortfall))]
    Refused {
        /// Which operation of the call.
        operation: u32,
        /// Why.
        outcome: Outcome,
        /// Needed and available, where something was short.
        shortfall: Option<(Amount, Amount)>,
        /// Where it is recorded.
        committed: Box<Committed>,
    },
    /// The transaction was turned away, without trace.
    #[error("the transaction was refused: {0}")]
    Intake(Refusal),
    /// There is no account of this number.
    #[error("there is no account {0}")]
    AccountUnknown(AccountId),
    /// The account keeps no history.
    #[error("account {0} keeps no history: open it with the flag `history`")]
    NoHistory(AccountId),
    /// The clock stands before 1970 or after 2554.
    #[error("the system clock is out of range")]
    Clock,
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain must stop: open the ledger again.
    #[error("the chain must stop")]
    Chain(#[from] ChainError),
    /// The plane must stop: open the ledger again.
    #[error("the consensus plane must stop")]
    Plane(#[from] PlaneError),
    /// The past could not be read.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

fn shortfall_text(shortfall: &Option<(Amount, Amount)>) -> String {
    shortfall.map_or(String::new(), |(needed, available)| {
        format!(" (needed {needed}, available {available})")
    })
}

impl From<LogError> for LedgerError {
    fn from(error: LogError) -> Self {
        Self::Store(error.into())
    }
}

impl From<SnapshotError> for LedgerError {
    fn from(error: SnapshotError) -> Self {
        Self::Store(error.into())
    }
}

impl Ledger {
    /// Opens the ledger in `path`, making it, with a key of its own, if there is none.
    ///
    /// # Errors
    /// [`LedgerError`]: the directory is in use, damaged, or not writable.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let disk = Arc::new(FileDisk::open(path.as_ref()).map_err(StoreError::from)?);
        let key = keys::open_or_create(&path.as_ref().join(keys::NODE_KEY_FILE))?;
        Self::open_on(disk, key, &StoreConfig::default(), &mut |_| {})
    }

    /// Opens the ledger on any disk, signing with `key`: in memory, or on one that fails on purpose.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        key: SigningKey,
        config: &StoreConfig,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Self, LedgerError> {
        if !Store::exists(&*disk)? {
            let genesis = Genesis::solo("embedded", now()?.0, key.public().clone());
            Store::create(&*disk, &genesis)?;
        }
        let mut store = Store::open(disk, config)?;
        let chain = store.recover(progress)?;
        let mut plane = Solo::new(chain.chain_id(), key.copy());
        start(&mut plane, &chain)?;
        Ok(Self {
            past: Past::of(&store),
            store,
            chain,
            plane,
            key: Arc::new(key),
            sweeper: Sweeper::new(SweepConfig::default(), Arc::default()),
            filer: SnapshotFiler::default(),
            slices: Vec::new(),
        })
    }

    /// Creates an asset that this ledger's key issues, counted with `scale` decimal digits, without a cap.
    /// Its issuance account has number `2^64 + asset`.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn create_asset(&mut self, asset: AssetId, scale: u16) -> Result<AssetId, LedgerError> {
        let issuance = issuance_account(asset);
        self.commit(vec![Operation::create_asset(
            asset,
            issuance,
            KeyId::NONE,
            scale,
            Amount::MAX,
        )])?;
        Ok(asset)
    }

    /// Opens an account that cannot be overdrawn.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open_account(&mut self, account: AccountId, asset: AssetId) -> Result<AccountId, LedgerError> {
        let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
        self.commit(vec![Operation::open_account(
            account,
            asset,
            KeyId::NONE,
            flags,
            Amount::ZERO,
            0,
        )])?;
        Ok(account)
    }

    /// Issues new units of an asset that [`Ledger::create_asset`] made, to an account.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn issue(&mut self, asset: AssetId, to: AccountId, amount: Amount) -> Result<Committed, LedgerError> {
        self.commit(vec![Operation::transfer(
            1,
            issuance_account(asset),
            to,
            amount,
            asset,
        )])
    }

    /// Moves `amount` from one account to another of the same asset.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Refused`] carries needed and available.
    pub fn transfer(
        &mut self,
        from: AccountId,
        to: AccountId,
        amount: Amount,
    ) -> Result<Committed, LedgerError> {
        let asset = self
            .account(from)
            .ok_or(LedgerError::AccountUnknown(from))?
            .hot
            .asset
            .get();
        self.commit(vec![Operation::transfer(1, from, to, amount, AssetId(asset))])
    }

    /// Commits one transaction of these operations, signed with the ledger's key.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] for the first operation that was refused; link operations
    /// ([`Operation::linked`]) to make them succeed or fail together.
    pub fn commit(&mut self, operations: Vec<Operation>) -> Result<Committed, LedgerError> {
        let bytes = self.sign(operations);
        let mut results = self.commit_all(vec![bytes])?;
        let committed = results.pop().expect("one result a transaction")?;
        match committed.refused.first() {
            None => Ok(committed),
            Some((operation, outcome, exception)) => Err(LedgerError::Refused {
                operation: *operation,
                outcome: *outcome,
                shortfall: exception.and_then(|exception| match exception {
                    selfchain_types::block::Exception::Shortfall { needed, available } => {
                        Some((needed, available))
                    }
                    selfchain_types::block::Exception::Actual(_) => None,
                }),
                committed: Box::new(committed),
            }),
        }
    }

    /// Signs a transaction of these operations with the ledger's key, for the key's next counter.
    pub fn sign(&self, operations: Vec<Operation>) -> Vec<u8> {
        let counter = self.chain.ledger().lane(&self.key.id(), 0) + 1;
        let builder = EnvelopeBuilder::new(
            self.chain.chain_id(),
            self.chain.tip().height.next(),
            u64::from(self.chain.genesis().limits.validity_max) / 2,
            operations,
        );
        builder.sign(&[(&self.key, 0, counter)])
    }

    /// Commits signed transactions in one block and one sync. The answer at `i` is that of transaction `i`.
    ///
    /// # Errors
    /// As an answer: why a transaction was turned away. As a whole: why the ledger cannot go on.
    pub fn commit_all(
        &mut self,
        envelopes: Vec<Vec<u8>>,
    ) -> Result<Vec<Result<Committed, LedgerError>>, LedgerError> {
        let mut admitted = Vec::new();
        let mut refusals = Vec::new();
        let mut lanes = Lanes::default();
        for bytes in envelopes {
            match self.admit(bytes, &mut lanes) {
                Ok(verified) => {
                    admitted.push(verified);
                    refusals.push(None);
                }
                Err(refusal) => refusals.push(Some(refusal)),
            }
        }
        let mut results = self.commit_blocks(admitted)?.into_iter();
        let answer = |refusal: Option<Refusal>| match refusal {
            Some(refusal) => Err(LedgerError::Intake(refusal)),
            None => Ok(results.next().expect("one result an admitted transaction")),
        };
        Ok(refusals.into_iter().map(answer).collect())
    }

    /// What intake and the pool check of a transaction of a node, for one at a time.
    fn admit(&self, bytes: Vec<u8>, lanes: &mut Lanes) -> Result<Verified, Refusal> {
        let envelope = Envelope::decode(bytes)?;
        let view = envelope.view();
        let header = view.header();
        let next = self.chain.tip().height.next();
        if header.chain_id != self.chain.chain_id() {
            return Err(Refusal::WrongChain);
        }
        let (from, until) = (header.valid_from.get(), header.valid_until.get());
        let span_max = u64::from(self.chain.genesis().limits.validity_max);
        match () {
            () if until < from || until - from > span_max => return Err(Refusal::ValiditySpan),
            () if next.0 < from => return Err(Refusal::NotYetValid),
            () if next.0 > until => return Err(Refusal::Expired),
            () if now().is_ok_and(|now| self.chain.ledger().is_ahead(&view, now)) => {
                return Err(Refusal::NotYetValid);
            }
            () => {}
        }
        for signer in view.signers() {
            let used = lanes.used(self.chain.ledger(), &signer.key, signer.lane.get());
            match signer.counter.get() {
                counter if counter <= used => return Err(Refusal::CounterUsed),
                counter if counter > used + 1 => return Err(Refusal::CounterSkipped),
                _ => {}
            }
        }
        let verified = Verified::check(envelope, &Registry(&self.chain)).map_err(|(_, refusal)| refusal)?;
        for signer in verified.view().signers() {
            lanes.use_up(&signer.key, signer.lane.get(), signer.counter.get());
        }
        Ok(verified)
    }

    /// As many blocks as the limits of one demand, and one sync.
    fn commit_blocks(&mut self, envelopes: Vec<Verified>) -> Result<Vec<Committed>, LedgerError> {
        if envelopes.is_empty() {
            return Ok(Vec::new());
        }
        let limits = self.chain.genesis().limits;
        let (bytes_max, operations_max) = (
            codec::index(limits.block_bytes_max),
            codec::index(limits.block_effects_max),
        );
        let mut results = Vec::with_capacity(envelopes.len());
        let (mut block, mut bytes, mut operations) = (Vec::new(), 0, 0);
        for envelope in envelopes {
            let (len, count) = (envelope.as_bytes().len(), envelope.view().operations().len());
            if !block.is_empty() && (bytes + len > bytes_max || operations + count > operations_max) {
                results.extend(self.decide(core::mem::take(&mut block))?);
                (bytes, operations) = (0, 0);
            }
            (bytes, operations) = (bytes + len, operations + count);
            block.push(envelope);
        }
        results.extend(self.decide(block)?);
        // The roots after a block are committed to by the header ROOT_LAG heights later: an empty block
        // makes the receipts of this one provable at once.
        for _ in 0..self.chain.genesis().plane.root_lag() {
            self.decide(Vec::new())?;
        }
        self.store.log.sync()?;
        self.file_slices();
        Ok(results)
    }

    /// Writes what was read of a snapshot, after the sync of the blocks that it was read after: one above the
    /// durable tip would be of a history that may not come.
    fn file_slices(&mut self) {
        for slice in core::mem::take(&mut self.slices) {
            if let Err(error) = self.filer.write_to(&slice, &mut self.store) {
                // Without it the next start folds more of the log.
                tracing::warn!(height = slice.height().0, error = %error, "snapshot not written");
            }
        }
    }

    fn decide(&mut self, envelopes: Vec<Verified>) -> Result<Vec<Committed>, LedgerError> {
        let mut effects = Vec::new();
        let now = now()?;
        let candidate = self
            .chain
            .propose(envelopes, Risk::default(), now, Proposing::solo(self.key.id()));
        self.plane.handle(Input::Wanted, now, &mut effects)?;
        let built = Input::Built {
            height: candidate.header().height,
            round: 0,
            block: candidate.hash(),
            extension: Vec::new(),
        };
        self.plane.handle(built, now, &mut effects)?;
        let Some(Effect::Decided(certificate)) = effects.pop() else {
            unreachable!("solo decides what it builds");
        };
        let block = self.chain.commit(&candidate, &certificate, &|_| true)?;
        self.store.log.append(block.tip.height.0, &block.row)?;
        let effects = block.result.outcomes.len() + block.result.expired.len();
        let mut balances = block.balances.into_iter().peekable();
        let mut results = Vec::with_capacity(block.transactions.len());
        for (index, transaction) in (0u32..).zip(&block.transactions) {
            let its = balances
                .next_if(|(at, _)| *at == index)
                .map(|(_, its)| its)
                .unwrap_or_default();
            results.push(committed(
                block.tip.height,
                block.tip.time_ns,
                index,
                transaction,
                &block.result,
                its,
            ));
        }
        let folded = Folded {
            tip: block.tip,
            transactions: block.transactions,
            history: block.history,
            receipt_nodes: block.receipt_nodes,
            handover: block.handover,
        };
        self.store.project(&folded)?;
        self.slices
            .extend(self.sweeper.after_block(&mut self.chain, None, effects));
        start(&mut self.plane, &self.chain)?;
        Ok(results)
    }

    /// The account, if there is one.
    pub fn account(&self, account: AccountId) -> Option<AccountState> {
        self.chain.ledger().account(account).map(|found| AccountState {
            hot: found.hot,
            cold: found.cold,
        })
    }

    /// How the balances of an account with history became what they are, from `from` (a height, or a
    /// place in it) on, oldest first: at most `rows_max` changes, and never more than [`HISTORY_ROWS_MAX`]. The next
    /// page begins at [`ChangePosition::next`] of the last row.
    ///
    /// # Errors
    /// [`LedgerError::AccountUnknown`], [`LedgerError::NoHistory`]; [`AnswerError::Pruned`] when `from` is neither
    /// zero nor kept.
    pub fn history(
        &self,
        account: AccountId,
        from: impl Into<ChangePosition>,
        rows_max: u16,
    ) -> Result<Vec<HistoryRow>, LedgerError> {
        self.must_keep_history(account)?;
        let rows_max = rows_max.min(HISTORY_ROWS_MAX);
        Ok(self.past.history(account, from.into(), rows_max)?)
    }

    /// Balances of an account with history as they were after block `height`; zero before its first change.
    ///
    /// # Errors
    /// [`LedgerError::AccountUnknown`], [`LedgerError::NoHistory`]; [`AnswerError::NotFound`] above the tip,
    /// [`AnswerError::Pruned`] where the last change up to there is kept no longer.
    pub fn balance_at(&self, account: AccountId, height: Height) -> Result<Balances, LedgerError> {
        self.must_keep_history(account)?;
        let row = self.past.balance_at(account, height)?;
        Ok(row.map_or_else(Balances::new_zeroed, |row| row.balances))
    }

    fn must_keep_history(&self, account: AccountId) -> Result<(), LedgerError> {
        let found = self
            .account(account)
            .ok_or(LedgerError::AccountUnknown(account))?;
        if AccountFlags(found.hot.flags.get()).has(AccountFlags::HISTORY) {
            Ok(())
        } else {
            Err(LedgerError::NoHistory(account))
        }
    }

    /// The proof that an operation was decided, and how: verifies offline, without this ledger.
    ///
    /// # Errors
    /// [`LedgerError::Answer`].
    pub fn receipt(&self, committed: &Committed, operation: u32) -> Result<OperationReceipt, LedgerError> {
        Ok(self
            .past
            .receipt_at(committed.height, committed.index, operation)?)
    }

    /// A proof file that an operation was decided, and how: for whoever has this chain's genesis file.
    ///
    /// # Errors
    /// [`LedgerError::Answer`].
    pub fn prove_operation(&self, committed: &Committed, operation: u32) -> Result<ProofFile, LedgerError> {
        let (height, index) = (committed.height, committed.index);
        let proof = self
            .past
            .prove_operation_at(height, index, operation, SINCE_GENESIS);
        Ok(proof?)
    }

    /// A proof file of an account's balances as they are: for whoever has this chain's genesis file. Decides an empty
    /// block where no header commits to them yet.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn prove_account(&mut self, account: AccountId) -> Result<ProofFile, LedgerError> {
        let unknown = LedgerError::AccountUnknown(account);
        let path = self.chain.account_path(account).ok_or(unknown)?;
        if self.chain.tip().height < path.by {
            while self.chain.tip().height < path.by {
                self.decide(Vec::new())?;
            }
            self.store.log.sync()?;
            self.file_slices();
        }
        Ok(self.past.prove_account(path, SINCE_GENESIS)?)
    }

    /// A proof file that the receipts up to height `old` are the first of those up to `new`: for whoever has this
    /// chain's genesis file.
    ///
    /// # Errors
    /// [`LedgerError::Answer`].
    pub fn prove_consistency(&self, old: Height, new: Height) -> Result<ProofFile, LedgerError> {
        Ok(self.past.prove_consistency(old, new, SINCE_GENESIS)?)
    }

    /// The past: log, index, receipts.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// The chain: tip, state, roots.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What the chain was born with.
    pub fn genesis(&self) -> &Genesis {
        self.chain.genesis()
    }

    /// The ledger's own key.
    pub fn key(&self) -> &Arc<SigningKey> {
        &self.key
    }

    /// From here on writes the state down every so many blocks, a little with every block: no call waits for
    /// the whole of it, as [`Ledger::snapshot`] does. One that is under way is given up.
    pub fn snapshot_every(&mut self, config: SweepConfig) {
        self.sweeper = Sweeper::new(config, Arc::default());
        self.filer = SnapshotFiler::default();
        self.slices.clear();
    }

    /// Writes the state down, so that the next start need not fold the log.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn snapshot(&mut self) -> Result<Height, LedgerError> {
        self.store.write_snapshot(&self.chain)?;
        Ok(self.chain.tip().height)
    }
}

impl core::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Ledger({} at {})",
            self.chain.chain_id(),
            self.chain.tip().height
        )
    }
}

/// The account that an asset made by [`Ledger::create_asset`] is issued from: number `2^64 + asset`.
pub fn issuance_account(asset: AssetId) -> AccountId {
    AccountId((1 << 64) + u128::from(asset.0))
}

/// Tells a plane that the chain's next height begins.
pub(crate) fn start(plane: &mut dyn Plane, chain: &Chain) -> Result<(), PlaneError> {
    let input = Input::Start {
        height: chain.tip().height.next(),
        validators: chain.genesis().validators.clone().into(),
        schedule: Schedule::by_power(Height(1)),
    };
    let mut effects = Vec::new();
    plane.handle(input, chain.tip().time_ns, &mut effects)?;
    assert!(
        effects.is_empty(),
        "solo wants nothing until there is something to order"
    );
    Ok(())
}

/// The clock, read where the node reads it.
pub(crate) fn now() -> Result<TimeNs, LedgerError> {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| LedgerError::Clock)?;
    u64::try_from(elapsed.as_nanos())
        .map(TimeNs)
        .map_err(|_| LedgerError::Clock)
}

/// Counters that transactions of one call have used up beyond the chain's.
#[derive(Default)]
struct Lanes(Vec<(KeyId, u32, u64)>);

impl Lanes {
    fn used(&self, ledger: &selfchain_engine::ledger::Ledger, key: &KeyId, lane: u32) -> u64 {
        let here = self.0.iter().rev().find(|(its, at, _)| its == key && *at == lane);
        here.map_or_else(|| ledger.lane(key, lane), |(_, _, counter)| *counter)
    }

    fn use_up(&mut self, key: &KeyId, lane: u32, counter: u64) {
        match self.0.iter_mut().find(|(its, at, _)| its == key && *at == lane) {
            Some(entry) => entry.2 = counter,
            None => self.0.push((*key, lane, counter)),
        }
    }
}

/// Keys of the ledger's registry, for verification.
pub(crate) struct Registry<'a>(pub(crate) &'a Chain);

impl selfchain_types::envelope::KeyLookup for Registry<'_> {
    fn public_key(&self, id: &KeyId) -> Option<&selfchain_types::crypto::PublicKey> {
        self.0.ledger().public_key(id)
    }
}
