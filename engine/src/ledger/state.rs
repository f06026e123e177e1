//! The ledger: all tables, and what may be asked of them.

use super::accounts::Accounts;
use super::apply::Scratch;
use super::assets::Assets;
use super::bonds::Bonds;
use super::checkpoints::CheckpointKeys;
use super::clock::Clock;
use super::clock::own_time;
use super::keys::Keys;
use super::leaves;
use super::pendings::HOLD_OF_PENDING;
use super::pendings::Pendings;
use super::policies::{Models, Policies};
use super::sessions::Sessions;
use super::snapshot::Sweep;
use alloc::collections::BTreeMap;
use core::fmt;
use selfchain_types::account::{AccountCold, AccountHot, Balances};
use selfchain_types::asset::AssetRecord;
use selfchain_types::block::PROTOCOL_VERSION;
use selfchain_types::crypto::PublicKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::genesis::{AccountIds, Fees, Limits, OpTime};
use selfchain_types::key::{KeyRecord, SessionRecord};
use selfchain_types::risk::REASONS;
use selfchain_types::roots::{Roots, Table};
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Genesis, Hash, Height, KeyId, Policy, TimeNs, codec,
};

/// The state of a chain after a block: every table, ready for the next block. Deterministic: equal blocks
/// after equal genesis give equal roots on every machine.
#[derive(Clone)]
pub struct Ledger {
    pub(super) rules: Rules,
    pub(super) chain: ChainState,
    pub(super) accounts: Accounts,
    pub(super) keys: Keys,
    pub(super) assets: Assets,
    pub(super) pendings: Pendings,
    pub(super) sessions: Sessions,
    pub(super) policies: Policies,
    pub(super) models: Models,
    pub(super) bonds: Bonds,
    pub(super) checkpoints: CheckpointKeys,
    pub(super) scratch: Scratch,
    /// A snapshot that is being taken while the ledger goes on.
    pub(super) sweep: Option<Box<Sweep>>,
}

/// What of genesis execution reads.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) chain_id: Hash,
    pub(super) op_time: OpTime,
    pub(super) account_ids: AccountIds,
    pub(super) fees: Fees,
    pub(super) limits: Limits,
    pub(super) authority: KeyId,
    /// Validators sign with hybrids of ML-DSA, else with Ed25519.
    pub(super) pq_votes: bool,
    /// Validators have checkpoint keys.
    pub(super) has_checkpoints: bool,
    /// Several validators decide, and may have money at stake.
    pub(super) has_bonds: bool,
    /// The validators' bytes: a table that is hashed whole.
    pub(super) validators: Vec<u8>,
}

/// The chain's own table but for what other tables know, hashed whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainState {
    pub(super) height: Height,
    pub(super) last_op_time: TimeNs,
    pub(super) protocol_version: u16,
    /// The version that is scheduled and the height from which it is in force; zeros for none.
    pub(super) upgrade: (u16, Height),
    pub(super) operations_applied: u64,
}

/// An account as the ledger holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// Its dense number.
    pub index: u32,
    /// What transfers change.
    pub hot: AccountHot,
    /// What identifies it.
    pub cold: AccountCold,
}

impl AccountState {
    /// Its id.
    pub fn id(&self) -> AccountId {
        AccountId(self.cold.id.get())
    }

    /// Its owner.
    pub fn owner(&self) -> KeyId {
        KeyId(self.cold.owner)
    }

    /// What its amounts count.
    pub fn asset(&self) -> AssetId {
        AssetId(self.hot.asset.get())
    }

    /// What it may do.
    pub fn flags(&self) -> AccountFlags {
        self.hot.flags()
    }

    /// Its four totals.
    pub fn balances(&self) -> Balances {
        self.hot.balances()
    }
}

/// An open pending transfer as the ledger holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingState {
    /// The id of the operation that made it.
    pub id: u128,
    /// Account to debit.
    pub debit: AccountId,
    /// Account to credit.
    pub credit: AccountId,
    /// Units that are reserved.
    pub amount: Amount,
    /// What the amount counts.
    pub asset: AssetId,
    /// When it is over, if ever.
    pub deadline: Option<TimeNs>,
    /// The block that made it.
    pub opened: Height,
    /// Members that its linked chain had, itself included.
    pub chain_len: u32,
    /// Why it is held, if it is.
    pub hold: Option<HoldState>,
}

/// A transfer that waits for its reviewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldState {
    /// Its score; 255 when it could not be scored.
    pub score: u8,
    /// The features that raised the score most.
    pub reasons: [u8; REASONS],
    /// Who releases or voids it.
    pub reviewer: KeyId,
    /// Whether it was a pending transfer by itself, which a release makes it again.
    pub was_pending: bool,
}

impl Ledger {
    /// The state before the first block.
    pub fn new(genesis: &Genesis) -> Self {
        let mut validators = Vec::new();
        for validator in &genesis.validators {
            validators.extend_from_slice(&validator.key.scheme().code().to_le_bytes());
            validators.extend_from_slice(validator.key.as_bytes());
            validators.extend_from_slice(&validator.power.to_le_bytes());
        }
        Self {
            rules: Rules {
                chain_id: genesis.chain_id(),
                op_time: genesis.op_time,
                account_ids: genesis.account_ids,
                fees: genesis.fees,
                limits: genesis.limits,
                authority: genesis.authority,
                pq_votes: genesis.pq_votes,
                has_checkpoints: genesis.checkpoints.is_some(),
                has_bonds: genesis.validators.len() > 1,
                validators,
            },
            chain: ChainState {
                height: Height::GENESIS,
                last_op_time: TimeNs::ZERO,
                protocol_version: PROTOCOL_VERSION,
                upgrade: (0, Height::GENESIS),
                operations_applied: 0,
            },
            accounts: Accounts::new(),
            keys: Keys::new(),
            assets: Assets::default(),
            pendings: Pendings::new(),
            sessions: Sessions::new(),
            policies: Policies::new(),
            models: Models::default(),
            bonds: Bonds::default(),
            checkpoints: CheckpointKeys::new(genesis),
            scratch: Scratch::default(),
            sweep: None,
        }
    }

    /// The last executed block; genesis at first.
    pub fn height(&self) -> Height {
        self.chain.height
    }

    /// Ledger time of the last operation, or of the last block if that had none. A block's `time_ns` must
    /// exceed it.
    pub fn last_op_time(&self) -> TimeNs {
        self.chain.last_op_time
    }

    /// The `time_ns` of a next block that holds these envelopes: `now`, or the least that is valid. Where
    /// operations bring their own time `now` counts only in a block without operations.
    pub fn next_time(&self, envelopes: &[EnvelopeView<'_>], now: TimeNs) -> TimeNs {
        let least = TimeNs(self.chain.last_op_time.0.saturating_add(1));
        match (self.rules.op_time, envelopes.first()) {
            (OpTime::Effective, Some(first)) => {
                Clock::new(OpTime::Effective, least).tick(&first.operations()[0])
            }
            _ => now.max(least),
        }
    }

    /// The protocol version in force after the last block.
    pub fn protocol_version(&self) -> u16 {
        self.chain.protocol_version
    }

    /// The version that is scheduled, and the height from which it will be in force.
    pub fn scheduled_upgrade(&self) -> Option<(u16, Height)> {
        let (version, height) = self.chain.upgrade;
        (version != 0).then_some((version, height))
    }

    /// The account with this id.
    pub fn account(&self, id: AccountId) -> Option<AccountState> {
        self.accounts.find(id).map(|index| self.account_at(index))
    }

    fn account_at(&self, index: u32) -> AccountState {
        AccountState {
            index,
            hot: self.accounts[index],
            cold: self.accounts.cold(index, &self.keys),
        }
    }

    /// Accounts, closed ones included.
    pub fn account_count(&self) -> u64 {
        u64::from(self.accounts.len())
    }

    /// Index, size of the tree, siblings up to the root, and the account: what proves it to be in the state
    /// whose roots [`Ledger::roots`] gave last. Of an account opened since there is none.
    pub fn account_path(&self, id: AccountId) -> Option<(u64, u64, Vec<Hash>, AccountState)> {
        let index = self.accounts.find(id)?;
        let (size, path) = self.accounts.path(index)?;
        Some((u64::from(index), size, path, self.account_at(index)))
    }

    /// What the ledger knows of a key: every key that owns an account, has a session or ever signed.
    pub fn key(&self, id: &KeyId) -> Option<KeyRecord> {
        self.keys.find(id).map(|index| self.keys.records[index])
    }

    /// The last counter used on a key's lane; 0 before the first.
    pub fn lane(&self, id: &KeyId, lane: u32) -> u64 {
        let key = self.keys.find(id).map(|index| &self.keys.records[index]);
        key.and_then(|key| key.lanes.get(codec::index(lane)))
            .map_or(0, |last| last.get())
    }

    /// The registered public key of this id.
    pub fn public_key(&self, id: &KeyId) -> Option<&PublicKey> {
        self.keys.public(self.keys.find(id)?)
    }

    /// Every registered public key.
    pub fn public_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.publics().map(|(_, public)| public)
    }

    /// The asset with this number.
    pub fn asset(&self, id: AssetId) -> Option<AssetRecord> {
        self.assets.find(id).copied()
    }

    /// Every asset, in the order of creation.
    pub fn assets(&self) -> impl Iterator<Item = &AssetRecord> {
        self.assets.records.iter()
    }

    /// The open pending transfer with this id.
    pub fn pending(&self, id: u128) -> Option<PendingState> {
        Some(self.pending_at(self.pendings.find(id)?))
    }

    /// Transfers that are held, from a slot of the table of pendings on, at most `count`; with the slot to go on at.
    pub fn holds(&self, from: u32, count: usize) -> (Vec<PendingState>, Option<u32>) {
        let mut found = Vec::new();
        for slot in from..self.pendings.slab.len() {
            let record = &self.pendings.slab[slot];
            if record.id.get() == 0 || record.hold == 0 {
                continue;
            }
            if found.len() == count {
                return (found, Some(slot));
            }
            found.push(self.pending_at(slot));
        }
        (found, None)
    }

    fn pending_at(&self, slot: u32) -> PendingState {
        let record = self.pendings.slab[slot];
        let deadline = record.deadline_ns.get();
        PendingState {
            id: record.id.get(),
            debit: self.accounts.id(record.debit.get()),
            credit: self.accounts.id(record.credit.get()),
            amount: Amount(record.amount.get()),
            asset: AssetId(record.asset.get()),
            deadline: (deadline != 0).then_some(TimeNs(deadline)),
            opened: Height(record.opened.get()),
            chain_len: record.chain_len.get(),
            hold: (record.hold != 0).then(|| HoldState {
                score: record.score,
                reasons: record.reasons,
                reviewer: self.reviewer_of(record.debit.get(), record.score),
                was_pending: record.hold == HOLD_OF_PENDING,
            }),
        }
    }

    /// The model that decides at a height, if any.
    pub fn model_at(&self, height: Height) -> Option<Hash> {
        self.models.at(height)
    }

    /// The models that a block of this height names, ascending: the one that decides, and those that accounts prefer
    /// to be asked too.
    pub fn models_named_at(&self, height: Height) -> Vec<Hash> {
        self.models.named_at(height)
    }

    /// Whether any account prefers a model.
    pub fn has_preferred_models(&self) -> bool {
        !self.models.preferred.is_empty()
    }

    /// The model that is asked too, beside the one that decides, about what an account pays at a height. The higher
    /// of the two scores stands: an account can only be stricter than its chain.
    pub fn preferred_model(&self, account: AccountId, height: Height) -> Option<Hash> {
        self.models.preferred_at(self.accounts.find(account)?, height)
    }

    /// The model that an account prefers, whether it is asked or not.
    pub fn own_model(&self, account: AccountId) -> Option<Hash> {
        let account = self.accounts.find(account)?;
        self.models.preferred.get(&account).copied()
    }

    /// Every model that is kept on record with the height from which it decides; zeros for none.
    pub fn models(&self) -> &[(Hash, Height)] {
        &self.models.records
    }

    /// Changes of policies and models so far.
    pub fn policy_version(&self) -> u64 {
        self.policies.version
    }

    /// The chain's policy.
    pub fn chain_policy(&self) -> Policy {
        self.policies.chain
    }

    /// The policy that an account has of its own.
    pub fn own_policy(&self, id: AccountId) -> Option<Policy> {
        let index = self.accounts.find(id)?;
        self.policies.accounts.get(&index).copied()
    }

    /// The score from which on some policy does something.
    pub fn least_threshold(&self) -> u8 {
        self.policies.least()
    }

    /// Ledger times of the operations of a next block of this time, in order.
    pub fn times_of(&self, time_ns: TimeNs, envelopes: &[EnvelopeView<'_>]) -> Vec<TimeNs> {
        let mut clock = Clock::new(self.rules.op_time, time_ns);
        let operations = envelopes.iter().flat_map(|envelope| envelope.operations());
        operations.map(|operation| clock.tick(operation)).collect()
    }

    /// Open pending transfers.
    pub fn pending_count(&self) -> u64 {
        u64::from(self.pendings.slab.used())
    }

    /// The session that a key has for an account.
    pub fn session(&self, account: AccountId, key: &KeyId) -> Option<SessionRecord> {
        let slot = self
            .sessions
            .find(self.accounts.find(account)?, self.keys.find(key)?)?;
        Some(self.sessions.slab[slot])
    }

    /// Sessions, those that are over included.
    pub fn session_count(&self) -> u64 {
        u64::from(self.sessions.slab.used())
    }

    /// The earliest deadline of an open pending: a block of at least that time lets it expire.
    pub fn next_expiry(&self) -> Option<TimeNs> {
        self.pendings.first_due().map(|(deadline, _)| TimeNs(deadline))
    }

    /// Whether an envelope brings a time of its own that lies after `now`, a node's clock. Where operations
    /// bring their own time, one far ahead would leave no time for those that follow: intake refuses it.
    pub fn is_ahead(&self, envelope: &EnvelopeView<'_>, now: TimeNs) -> bool {
        self.rules.op_time == OpTime::Effective
            && envelope
                .operations()
                .iter()
                .any(|operation| own_time(operation) > now.0)
    }

    /// How many pendings a block of this time lets expire: that many of its effects are spoken for.
    pub fn expiries_at(&self, time_ns: TimeNs) -> usize {
        let enough = codec::index(self.rules.limits.expire_per_block_max);
        self.pendings.count_due(time_ns.0, enough)
    }

    /// Operations that took effect since genesis.
    pub fn operations_applied(&self) -> u64 {
        self.chain.operations_applied
    }

    /// Posted debits and credits by asset, counted anew over all accounts, modulo 2^128: equal unless the
    /// ledger is broken.
    pub fn totals(&self) -> Vec<(AssetId, Amount, Amount)> {
        let mut sums: BTreeMap<u32, (u128, u128)> = BTreeMap::new();
        for record in self.assets.records.iter() {
            sums.insert(record.id.get(), (0, 0));
        }
        for hot in self.accounts.iter() {
            let sum = sums.entry(hot.asset.get()).or_default();
            sum.0 = sum.0.wrapping_add(hot.debits_posted.get());
            sum.1 = sum.1.wrapping_add(hot.credits_posted.get());
        }
        let totals = sums.into_iter();
        totals
            .map(|(asset, (debits, credits))| (AssetId(asset), Amount(debits), Amount(credits)))
            .collect()
    }

    /// The table of roots, after hashing what changed since the last call, on the rayon pool that it is
    /// called in.
    pub fn roots(&mut self) -> Roots {
        let mut roots = Roots::default();
        for (table, root) in [
            (Table::Accounts, self.accounts.root(&self.keys)),
            (Table::Pendings, self.pendings.root()),
            (Table::Keys, self.keys.root()),
            (Table::Assets, self.assets.root()),
            (Table::Sessions, self.sessions.root()),
            (Table::Policies, self.policies.root()),
            (Table::Models, self.models.root()),
            (Table::Validators, Some(leaves::whole(&self.rules.validators))),
            (Table::Chain, Some(leaves::whole(&self.chain_bytes()))),
            (Table::Bonds, self.bonds.root()),
            (Table::Checkpoints, self.checkpoints.root()),
        ] {
            if let Some(root) = root {
                roots.set(table, root);
            }
        }
        roots
    }

    /// The chain's table: `chain_id 32 ‖ height u64 ‖ last_op_time u64 ‖ protocol_version u16 ‖ scheduled
    /// version u16 ‖ its height u64 ‖ operations_applied u64`, then for pendings and for sessions `slots u32
    /// ‖ free head u32 ‖ free slots u32`.
    pub(super) fn chain_bytes(&self) -> Vec<u8> {
        let chain = &self.chain;
        let mut out = Vec::with_capacity(92);
        out.extend_from_slice(self.rules.chain_id.as_bytes());
        out.extend_from_slice(&chain.height.0.to_le_bytes());
        out.extend_from_slice(&chain.last_op_time.0.to_le_bytes());
        out.extend_from_slice(&chain.protocol_version.to_le_bytes());
        out.extend_from_slice(&chain.upgrade.0.to_le_bytes());
        out.extend_from_slice(&chain.upgrade.1.0.to_le_bytes());
        out.extend_from_slice(&chain.operations_applied.to_le_bytes());
        let slabs = [
            (self.pendings.slab.len(), self.pendings.slab.free()),
            (self.sessions.slab.len(), self.sessions.slab.free()),
        ];
        for (len, (head, free)) in slabs {
            for number in [len, head, free] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("chain", &self.chain)
            .field("accounts", &self.account_count())
            .field("pendings", &self.pending_count())
            .finish_non_exhaustive()
    }
}
