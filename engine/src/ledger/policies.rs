//! The tables of policies and models: what is done about scores, and which model gives them. Small, and hashed whole.

use super::leaves;
use alloc::collections::{BTreeMap, BTreeSet};
use selfchain_types::policy::{NEVER, POLICY_BYTES};
use selfchain_types::{Hash, Height, Policy, codec};

/// Accounts that may have a policy of their own, and those that may prefer a model.
pub const POLICIES_MAX: usize = 16_384;
/// Records of models that are kept: the last ones.
pub(super) const MODELS_KEPT_MAX: usize = selfchain_types::block::MODELS_MAX;

/// The chain's policy and those of accounts.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    pub(super) chain: Policy,
    pub(super) accounts: BTreeMap<u32, Policy>,
    /// Changes of policies and models so far.
    pub(super) version: u64,
    /// The least threshold of all, and how many hold what is not scored: what most scores are told by.
    least: u8,
    holding_unscored: usize,
    root: Option<Hash>,
}

impl Policies {
    pub(super) fn new() -> Self {
        Self {
            chain: Policy::default(),
            accounts: BTreeMap::new(),
            version: 0,
            least: NEVER,
            holding_unscored: 0,
            root: None,
        }
    }

    /// Sets the chain's policy, or an account's; the one before.
    pub(super) fn set(&mut self, account: Option<u32>, policy: Policy) -> Policy {
        let before = match account {
            None => core::mem::replace(&mut self.chain, policy),
            Some(account) if policy == Policy::default() => {
                self.accounts.remove(&account).unwrap_or_default()
            }
            Some(account) => self.accounts.insert(account, policy).unwrap_or_default(),
        };
        self.version += 1;
        self.root = None;
        if policy.least() <= self.least {
            self.least = policy.least();
        } else if before.least() == self.least {
            self.look_over();
        }
        self.holding_unscored += usize::from(policy.holds_unscored);
        self.holding_unscored -= usize::from(before.holds_unscored);
        before
    }

    /// Takes a change back.
    pub(super) fn undo_set(&mut self, account: Option<u32>, before: Policy) {
        self.set(account, before);
        self.version -= 2;
        self.root = None;
    }

    fn look_over(&mut self) {
        let all = self.accounts.values().chain([&self.chain]);
        self.least = all.map(Policy::least).min().unwrap_or(NEVER);
    }

    /// The least threshold of all policies.
    pub(super) fn least(&self) -> u8 {
        self.least
    }

    /// Whether no policy does anything about a score.
    #[inline]
    pub(super) fn is_quiet_about(&self, score: u8) -> bool {
        if score == NEVER {
            self.holding_unscored == 0
        } else {
            score < self.least
        }
    }

    /// What holds for what an account pays.
    pub(super) fn of(&self, account: u32) -> Policy {
        match self.accounts.get(&account) {
            Some(own) => self.chain.with(own),
            None => self.chain,
        }
    }

    /// `version u64 ‖ chain 40 ‖ {account index u32 ‖ policy 40}…` in ascending order; nothing before the first
    /// change.
    pub(super) fn bytes(&self) -> Vec<u8> {
        if self.version == 0 {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(8 + POLICY_BYTES + self.accounts.len() * (4 + POLICY_BYTES));
        out.extend_from_slice(&self.version.to_le_bytes());
        self.chain.encode(&mut out);
        for (account, policy) in &self.accounts {
            out.extend_from_slice(&account.to_le_bytes());
            policy.encode(&mut out);
        }
        out
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        if self.version == 0 {
            return None;
        }
        if self.root.is_none() {
            self.root = Some(leaves::whole(&self.bytes()));
        }
        self.root
    }

    /// Counts a change of the models.
    pub(super) fn count_change(&mut self) {
        self.version += 1;
        self.root = None;
    }

    /// Takes that back.
    pub(super) fn undo_count(&mut self) {
        self.version -= 1;
        self.root = None;
    }

    /// Reads what [`Self::bytes`] wrote, of a ledger with so many accounts.
    pub(super) fn restore(bytes: &[u8], accounts: u32) -> Result<Self, codec::DecodeError> {
        let mut reader = codec::Reader::new("snapshot policies", bytes);
        let mut policies = Self::new();
        policies.version = reader.u64()?;
        policies.chain = Policy::read(&mut reader)?;
        while reader.left() > 0 {
            let account = reader.u32()?;
            let policy = Policy::read(&mut reader)?;
            let last = policies.accounts.last_key_value().map(|(last, _)| *last);
            let is_right = last.is_none_or(|last| last < account)
                && account < accounts
                && policy != Policy::default()
                && policies.accounts.len() < POLICIES_MAX;
            if !is_right {
                return Err(codec::DecodeError::Value {
                    what: "account of a policy",
                    value: account.into(),
                });
            }
            policies.accounts.insert(account, policy);
        }
        policies.look_over();
        let all = policies.accounts.values().chain([&policies.chain]);
        policies.holding_unscored = all.filter(|policy| policy.holds_unscored).count();
        Ok(policies)
    }
}

/// Which model decides, from which height on, and which accounts want another one asked too.
#[derive(Clone, Debug, Default)]
pub(super) struct Models {
    /// Ascending by height; zeros for none.
    pub(super) records: Vec<(Hash, Height)>,
    /// By account. A model that has left the list is asked no more.
    pub(super) preferred: BTreeMap<u32, Hash>,
}

/// Where a record of a preference has its height's upper half, which no height reaches.
const PREFERENCE: u32 = u32::MAX;

impl Models {
    /// The model in force at a height.
    pub(super) fn at(&self, height: Height) -> Option<Hash> {
        let record = self.records.iter().rev().find(|(_, from)| *from <= height);
        record
            .map(|(model, _)| *model)
            .filter(|model| *model != Hash::ZERO)
    }

    /// Whether a model has decided, or still does: what an account may prefer.
    pub(super) fn has_begun(&self, model: Hash, height: Height) -> bool {
        let begun = |(one, from): &(Hash, Height)| *one == model && *from <= height;
        model != Hash::ZERO && self.records.iter().any(begun)
    }

    /// The models that a block names: the one in force, and those that accounts prefer to be asked too.
    pub(super) fn named_at(&self, height: Height) -> Vec<Hash> {
        let Some(deciding) = self.at(height) else {
            return Vec::new();
        };
        if self.preferred.is_empty() {
            return alloc::vec![deciding];
        }
        let preferred: BTreeSet<Hash> = self.preferred.values().copied().collect();
        let asked = preferred
            .into_iter()
            .filter(|model| self.has_begun(*model, height));
        let named: BTreeSet<Hash> = asked.chain([deciding]).collect();
        named.into_iter().collect()
    }

    /// The model that is asked too about what an account pays.
    pub(super) fn preferred_at(&self, account: u32, height: Height) -> Option<Hash> {
        let model = *self.preferred.get(&account)?;
        let is_another = self.at(height).is_some_and(|deciding| deciding != model);
        (is_another && self.has_begun(model, height)).then_some(model)
    }

    /// Lets an account prefer a model, or none; the one before.
    pub(super) fn prefer(&mut self, account: u32, model: Option<Hash>) -> Option<Hash> {
        match model {
            Some(model) => self.preferred.insert(account, model),
            None => self.preferred.remove(&account),
        }
    }

    /// Whether one may be put on record from this height on, at the present one: not behind another, and not where it
    /// would push the one in force out.
    pub(super) fn may_begin(&self, from: Height, now: Height) -> bool {
        let is_last = self.records.last().is_none_or(|(_, last)| *last <= from);
        let replaces = self.records.last().is_some_and(|(_, last)| *last == from);
        let has_room = self.records.len() < MODELS_KEPT_MAX || replaces || self.records[1].1 <= now;
        let is_height = from.0 < u64::from(PREFERENCE) << 32;
        is_height && from > now && is_last && has_room
    }

    /// Adds a record; what was before. One of the same height is replaced.
    pub(super) fn set(&mut self, model: Hash, from: Height) -> Vec<(Hash, Height)> {
        let before = self.records.clone();
        self.records.retain(|(_, height)| *height != from);
        self.records.push((model, from));
        if self.records.len() > MODELS_KEPT_MAX {
            self.records.remove(0);
        }
        before
    }

    /// `{model 32 ‖ from u64}…`, then `{model 32 ‖ account index u32 ‖ ffffffff}…` in ascending order.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (model, from) in &self.records {
            out.extend_from_slice(model.as_bytes());
            out.extend_from_slice(&from.0.to_le_bytes());
        }
        for (account, model) in &self.preferred {
            out.extend_from_slice(model.as_bytes());
            out.extend_from_slice(&account.to_le_bytes());
            out.extend_from_slice(&PREFERENCE.to_le_bytes());
        }
        out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.preferred.is_empty()
    }

    pub(super) fn root(&self) -> Option<Hash> {
        (!self.is_empty()).then(|| leaves::whole(&self.bytes()))
    }

    /// Reads what [`Self::bytes`] wrote, of a ledger with so many accounts.
    pub(super) fn restore(bytes: &[u8], accounts: u32) -> Result<Self, codec::DecodeError> {
        let mut reader = codec::Reader::new("snapshot models", bytes);
        let mut models = Self::default();
        while reader.left() > 0 {
            let (model, low, high) = (reader.hash()?, reader.u32()?, reader.u32()?);
            if high == PREFERENCE {
                models.restore_preference(model, low, accounts)?;
                continue;
            }
            let from = Height(u64::from(high) << 32 | u64::from(low));
            let last = models.records.last().map(|(_, last)| *last);
            let is_next = last.is_none_or(|last| last < from) && models.preferred.is_empty();
            if !is_next || models.records.len() == MODELS_KEPT_MAX {
                return Err(codec::DecodeError::Value {
                    what: "height of a model",
                    value: from.0,
                });
            }
            models.records.push((model, from));
        }
        Ok(models)
    }
    fn restore_preference(
        &mut self,
        model: Hash,
        account: u32,
        accounts: u32,
    ) -> Result<(), codec::DecodeError> {
        let last = self.preferred.last_key_value().map(|(last, _)| *last);
        let is_right = last.is_none_or(|last| last < account)
            && account < accounts
            && model != Hash::ZERO
            && self.preferred.len() < POLICIES_MAX;
        if !is_right {
            return Err(codec::DecodeError::Value {
                what: "account of a preferred model",
                value: account.into(),
            });
        }
        self.preferred.insert(account, model);
        Ok(())
    }
}
