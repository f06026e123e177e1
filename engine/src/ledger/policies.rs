//! The tables of policies and models: what is done about scores, and which model gives them. Small, and hashed whole.

use super::leaves;
use alloc::collections::BTreeMap;
use selfchain_types::policy::{NEVER, POLICY_BYTES};
use selfchain_types::{Hash, Height, Policy, codec};

/// Accounts that may have a policy of their own.
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

/// Which model decides, from which height on.
#[derive(Clone, Debug, Default)]
pub(super) struct Models {
    /// Ascending by height; zeros for none.
    pub(super) records: Vec<(Hash, Height)>,
}

impl Models {
    /// The model in force at a height.
    pub(super) fn at(&self, height: Height) -> Option<Hash> {
        let record = self.records.iter().rev().find(|(_, from)| *from <= height);
        record
            .map(|(model, _)| *model)
            .filter(|model| *model != Hash::ZERO)
    }

    /// Whether one may be put on record from this height on, at the present one: not behind another, and not where it
    /// would push the one in force out.
    pub(super) fn may_begin(&self, from: Height, now: Height) -> bool {
        let is_last = self.records.last().is_none_or(|(_, last)| *last <= from);
        let replaces = self.records.last().is_some_and(|(_, last)| *last == from);
        let has_room = self.records.len() < MODELS_KEPT_MAX || replaces || self.records[1].1 <= now;
        from > now && is_last && has_room
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

    /// `{model 32 ‖ from u64}…`.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (model, from) in &self.records {
            out.extend_from_slice(model.as_bytes());
            out.extend_from_slice(&from.0.to_le_bytes());
        }
        out
    }

    pub(super) fn root(&self) -> Option<Hash> {
        (!self.records.is_empty()).then(|| leaves::whole(&self.bytes()))
    }

    /// Reads what [`Self::bytes`] wrote.
    pub(super) fn restore(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        let mut reader = codec::Reader::new("snapshot models", bytes);
        let mut models = Self::default();
        while reader.left() > 0 {
            let (model, from) = (reader.hash()?, Height(reader.u64()?));
            let last = models.records.last().map(|(_, last)| *last);
            if last.is_some_and(|last| last >= from) || models.records.len() == MODELS_KEPT_MAX {
                return Err(codec::DecodeError::Value {
                    what: "height of a model",
                    value: from.0,
                });
            }
            models.records.push((model, from));
        }
        Ok(models)
    }
}
