//! The table of checkpoint keys: what validators sign headers with, apart from their votes. Small, and hashed whole.

use super::leaves;
use alloc::collections::BTreeMap;
use selfchain_types::checkpoint::read_checkpoint_key;
use selfchain_types::crypto::PublicKey;
use selfchain_types::{Genesis, Hash, codec};

/// Most validators with a checkpoint key: those on a roll, and those of the two sets before that left it.
const KEYS_MAX: usize = 3 * 1_024;

/// Checkpoint keys by the validators' numbers. Nothing in a chain without checkpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckpointKeys {
    keys: BTreeMap<u32, PublicKey>,
    root: Option<Hash>,
}

impl CheckpointKeys {
    /// The founders', whose numbers are their places.
    pub(super) fn new(genesis: &Genesis) -> Self {
        let keys = genesis.checkpoints.iter().flat_map(|one| one.keys.iter().cloned());
        Self {
            keys: (0..).zip(keys).collect(),
            root: None,
        }
    }

    pub(super) fn get(&self, member: u32) -> Option<&PublicKey> {
        self.keys.get(&member)
    }

    /// Whether a validator may have this key: nobody has it, and there is room.
    pub(super) fn takes(&self, member: u32, key: &PublicKey) -> bool {
        let fits = self.keys.len() < KEYS_MAX || self.keys.contains_key(&member);
        fits && self.keys.values().all(|one| one != key)
    }

    pub(super) fn set(&mut self, member: u32, key: PublicKey) {
        self.keys.insert(member, key);
        self.root = None;
    }

    /// Keeps those of validators that stay.
    pub(super) fn retain(&mut self, stays: impl Fn(u32) -> bool) {
        let before = self.keys.len();
        self.keys.retain(|member, _| stays(*member));
        if self.keys.len() != before {
            self.root = None;
        }
    }

    /// `{member u32 ‖ scheme u16 ‖ key}…` in ascending order.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.keys.len() * 2_048);
        for (member, key) in &self.keys {
            out.extend_from_slice(&member.to_le_bytes());
            out.extend_from_slice(&key.scheme().code().to_le_bytes());
            out.extend_from_slice(key.as_bytes());
        }
        out
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        if self.keys.is_empty() {
            return None;
        }
        if self.root.is_none() {
            self.root = Some(leaves::whole(&self.bytes()));
        }
        self.root
    }

    /// Reads what [`Self::bytes`] wrote.
    pub(super) fn restore(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        let mut reader = codec::Reader::new("snapshot checkpoint keys", bytes);
        let mut keys = BTreeMap::new();
        while reader.left() > 0 {
            let member = reader.u32()?;
            let key = read_checkpoint_key(&mut reader)?;
            let follows = keys.last_key_value().is_none_or(|(last, _)| *last < member);
            if !follows || keys.len() >= KEYS_MAX {
                return Err(codec::DecodeError::Value {
                    what: "number of a validator with a checkpoint key",
                    value: member.into(),
                });
            }
            keys.insert(member, key);
        }
        Ok(Self { keys, root: None })
    }
}
