//! The table of keys: whoever was named as an owner or signed, with lanes, revocation and registered keys.

use super::dense::Dense;
use super::index::Index;
use super::leaves::Leaves;
use alloc::collections::BTreeMap;
use selfchain_types::crypto::PublicKey;
use selfchain_types::key::KeyRecord;
use selfchain_types::{Hash, KeyId, codec, hash};

/// Every key that was ever named, by number in the order of being named.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) records: Dense<KeyRecord>,
    ids: Index,
    publics: BTreeMap<u32, PublicKey>,
    leaves: Leaves,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            records: Dense::default(),
            ids: Index::new(),
            publics: BTreeMap::new(),
            leaves: Leaves::default(),
        }
    }

    /// The number of a key.
    pub(super) fn find(&self, id: &KeyId) -> Option<u32> {
        self.ids.find(self.ids.secret().of_hash(&id.0), |index| {
            self.records[index].id == *id
        })
    }

    /// Adds a record, of a key that [`Self::find`] does not find.
    pub(super) fn add(&mut self, record: KeyRecord) -> u32 {
        let index = self.records.push(record);
        let (secret, records) = (self.ids.secret(), &self.records);
        self.ids.insert(secret.of_hash(&record.id.0), index, |other| {
            secret.of_hash(&records[other].id.0)
        });
        self.leaves.mark(index);
        index
    }

    /// Undoes the last addition.
    pub(super) fn undo_add(&mut self) {
        let index = self.records.len() - 1;
        let (secret, records) = (self.ids.secret(), &self.records);
        let hash = secret.of_hash(&records[index].id.0);
        self.ids
            .remove(hash, index, |other| secret.of_hash(&records[other].id.0));
        self.records.pop();
    }

    /// A record, to be changed.
    pub(super) fn change(&mut self, index: u32) -> &mut KeyRecord {
        self.leaves.mark(index);
        &mut self.records[index]
    }

    /// Uses up a lane's counter.
    pub(super) fn use_counter(&mut self, index: u32, lane: u32, counter: u64) {
        self.change(index).lanes[codec::index(lane)] = counter.into();
    }

    /// Remembers a registered key's bytes.
    pub(super) fn remember(&mut self, index: u32, public: PublicKey) {
        self.publics.insert(index, public);
    }

    /// Undoes [`Self::remember`].
    pub(super) fn forget(&mut self, index: u32) {
        self.publics.remove(&index);
    }

    /// The registered public key of this number.
    pub(super) fn public(&self, index: u32) -> Option<&PublicKey> {
        self.publics.get(&index)
    }

    /// Every registered public key, by ascending number.
    pub(super) fn publics(&self) -> impl Iterator<Item = (u32, &PublicKey)> {
        self.publics.iter().map(|(index, public)| (*index, public))
    }

    /// Registered public keys by ascending number, from `first` on, and the heights of their registration.
    pub(super) fn publics_from(&self, first: u32) -> impl Iterator<Item = (u32, &PublicKey, u64)> {
        self.publics.range(first..).map(|(index, public)| {
            let registered = self.records[*index].registered.get();
            (*index, public, registered)
        })
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        let records = &self.records;
        self.leaves
            .root_of_blocks(records.len(), &hash::KEY_RECORD, |index| -> [u8; 192] {
                zerocopy::transmute!(records[index])
            })
    }
}
