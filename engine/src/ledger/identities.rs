//! Identities of nodes: the table, and what a certificate of a root does to the keys that it lists, drops or revokes.

use super::Ledger;
use super::dense::Dense;
use super::index::Index;
use super::leaves::Leaves;
use super::permit::{Refused, check};
use super::signed::Signed;
use super::validators::Seating;
use selfchain_types::crypto::PublicKey;
use selfchain_types::genesis::is_for_votes;
use selfchain_types::identity::{IdentityBody, IdentityRecord, KeyUse, body_hash};
use selfchain_types::seam::standing::{Change, ChangeRefusal, Standing};
use selfchain_types::{Hash, Height, KeyId, Operation, Outcome, hash};
use zerocopy::FromZeros;

/// Every identity that was ever certified, by number in the order of the first certificates.
#[derive(Clone, Debug)]
pub(super) struct Identities {
    pub(super) records: Dense<IdentityRecord>,
    nodes: Index,
    leaves: Leaves,
}

impl Identities {
    pub(super) fn new() -> Self {
        Self {
            records: Dense::default(),
            nodes: Index::new(),
            leaves: Leaves::default(),
        }
    }

    /// The number of a node's identity.
    pub(super) fn find(&self, node: &Hash) -> Option<u32> {
        let hash = self.nodes.secret().of_hash(node);
        self.nodes.find(hash, |index| self.records[index].node == *node)
    }

    /// Adds the identity of a node that [`Self::find`] does not find.
    pub(super) fn add(&mut self, record: IdentityRecord) -> u32 {
        let index = self.records.push(record);
        let (secret, records) = (self.nodes.secret(), &self.records);
        self.nodes.insert(secret.of_hash(&record.node), index, |other| {
            secret.of_hash(&records[other].node)
        });
        self.leaves.mark(index);
        index
    }

    fn set(&mut self, index: u32, record: IdentityRecord) {
        self.leaves.mark(index);
        self.records[index] = record;
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        let records = &self.records;
        self.leaves
            .root_of_blocks(records.len(), &hash::IDENTITY_RECORD, |index| -> [u8; 384] {
                zerocopy::transmute!(records[index])
            })
    }
}

/// A certificate that an operation brings.
#[derive(Clone, Debug)]
pub(super) struct Certifying {
    body: IdentityBody,
    hash: Hash,
    /// What becomes of bonds, once the standing took it.
    seats: Vec<Seating>,
}

impl Certifying {
    pub(super) fn seats(&self) -> &[Seating] {
        &self.seats
    }

    fn lists(&self, key: &KeyId) -> bool {
        self.body.keys.signing().any(|(_, listed)| listed.id() == *key)
    }

    /// Keys that `before` lists and this certificate does not, each once, and whether it signed consensus.
    fn dropped(&self, before: Option<&IdentityRecord>) -> Vec<(KeyId, bool)> {
        let mut dropped: Vec<(KeyId, bool)> = Vec::new();
        for (key_use, key) in before.iter().flat_map(|record| record.signing()) {
            let is_known = dropped.iter().any(|(known, _)| *known == key);
            // The key for consensus comes first, so that one for both is dropped as that.
            if !is_known && !self.lists(&key) {
                dropped.push((key, key_use == KeyUse::Consensus));
            }
        }
        dropped
    }
}

impl Ledger {
    /// The identity of a node.
    pub fn identity(&self, node: &Hash) -> Option<IdentityRecord> {
        let index = self.identities.find(node)?;
        Some(self.identities.records[index])
    }

    /// Every identity, in the order of the first certificates.
    pub fn identities(&self) -> impl Iterator<Item = &IdentityRecord> {
        self.identities.records.iter()
    }

    /// The identity that a key is or was of, as its root or certified by it.
    pub fn identity_of(&self, key: &KeyId) -> Option<&IdentityRecord> {
        let key = self.keys.find(key)?;
        let number = self.keys.records[key].identity.get().checked_sub(1)?;
        self.identities.records.get(number)
    }

    /// What an operation that certifies would do.
    pub(super) fn resolve_certificate(
        &self,
        operation: &Operation,
        signed: &Signed<'_>,
    ) -> Result<Certifying, Outcome> {
        let bytes = operation.attachment(signed.attachments);
        let bytes = bytes.ok_or(Outcome::AttachmentRange)?;
        let body = IdentityBody::decode(bytes).map_err(|_| Outcome::IdentityInvalid)?;
        check(body.node() == operation.named(), Outcome::IdentityInvalid)?;
        Ok(Certifying {
            hash: body_hash(bytes),
            body,
            seats: Vec::new(),
        })
    }

    /// Whether a certificate may be taken: its root signed the envelope, and so did every key that it lists anew, so
    /// that nobody certifies, and then revokes, a key of somebody else.
    pub(super) fn permit_certificate(
        &self,
        certifying: &Certifying,
        signed: &Signed<'_>,
    ) -> Result<(), Outcome> {
        let Certifying { body, .. } = certifying;
        check(signed.has_id(&body.root.id()), Outcome::NotAuthorized)?;
        let number = self.identities.find(&body.node());
        let before = number.map(|number| &self.identities.records[number]);
        let (serial, previous) = before.map_or((0, Hash::ZERO), |record| {
            (record.serial.get(), record.certificate)
        });
        let is_revoked = before.is_some_and(|record| record.revoked.get() != 0);
        check(!is_revoked, Outcome::IdentityRevoked)?;
        check(body.serial > serial, Outcome::IdentitySerial)?;
        check(body.previous == previous, Outcome::IdentityPrevious)?;
        check(body.check_at(signed.height).is_ok(), Outcome::IdentityHeights)?;
        check(self.is_free_for(&body.root.id(), number), Outcome::IdentityKey)?;
        for (_, key) in body.keys.signing() {
            let key = key.id();
            check(self.is_free_for(&key, number), Outcome::IdentityKey)?;
            let is_listed = before.is_some_and(|record| record.lists(&key));
            check(is_listed || signed.has_id(&key), Outcome::NotAuthorized)?;
        }
        Ok(())
    }

    /// Whether a key is not revoked, nor to be, and is of no other identity than this one.
    fn is_free_for(&self, key: &KeyId, number: Option<u32>) -> bool {
        let Some(key) = self.keys.find(key) else {
            return true;
        };
        let record = &self.keys.records[key];
        let identity = record.identity.get().checked_sub(1);
        record.revoked.get() == 0 && (identity.is_none() || identity == number)
    }

    /// Whether a validator with this key may sign with that one: one whose key an identity certifies takes only keys
    /// that it certifies too, so that whoever stole one cannot take the validator with it.
    pub(super) fn may_rotate(&self, from: &KeyId, to: &KeyId) -> bool {
        self.identity_of(from).is_none_or(|identity| identity.lists(to))
    }

    /// Tells the standing which keys count no more: a validator takes the key for consensus that is certified in its
    /// key's place, or leaves.
    ///
    /// # Errors
    /// Why it may not sign with the other key, and nothing has changed.
    pub(super) fn seat_certificate(
        &self,
        certifying: &mut Certifying,
        standing: &mut dyn Standing,
    ) -> Result<(), Refused> {
        let number = self.identities.find(&certifying.body.node());
        let before = number.map(|number| &self.identities.records[number]);
        let next = certifying.body.keys.consensus.clone();
        let next = next.filter(|key| is_for_votes(self.rules.pq_votes, key.scheme()));
        let mut gone = certifying.dropped(before);
        let is = certifying.body.keys.consensus.as_ref().map(PublicKey::id);
        let was = before
            .and_then(IdentityRecord::consensus)
            .filter(|was| is != Some(*was));
        // One that is certified for something else goes on signing that, and consensus no more.
        if let Some(was) = was
            && gone.iter().all(|(key, _)| *key != was)
        {
            gone.insert(0, (was, true));
        }
        // At most one of them signed consensus and comes first: nothing is taken back after it.
        for (key, signed_consensus) in gone {
            let by = next.clone().filter(|_| signed_consensus);
            let leaves = by.is_none();
            let seat = self.seat_of_leaver(standing, &key);
            match standing.change(&Change::Replaced { key, by }) {
                Ok(()) if leaves => certifying.seats.extend(seat),
                // No validator's key; or nobody would be left, and it stays.
                Ok(()) | Err(ChangeRefusal::Unknown | ChangeRefusal::Last) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(())
    }

    /// Does what a permitted certificate says.
    pub(super) fn certify(&mut self, certifying: &Certifying, height: Height) {
        let Certifying { body, hash, .. } = certifying;
        let node = body.node();
        let number = self.identities.find(&node);
        let before = number.map(|number| self.identities.records[number]);
        let mut record = IdentityRecord::new_zeroed();
        record.node = node;
        record.root = body.root.id();
        record.certificate = *hash;
        record.serial = body.serial.into();
        record.certified = height.0.into();
        record.not_before = body.not_before.0.into();
        record.not_after = body.not_after.0.into();
        record.roles = body.roles.0.into();
        if body.is_revocation() {
            record.revoked = height.0.into();
        }
        let listed = body.keys.signing().map(|(key_use, key)| (key_use, key.id()));
        let places = record.uses.iter_mut().zip(&mut record.keys);
        for ((code, place), (key_use, key)) in places.zip(listed) {
            (*code, *place) = (key_use.code(), key);
        }
        let number = match number {
            Some(number) => {
                self.identities.set(number, record);
                number
            }
            None => self.identities.add(record),
        };
        for key in [record.root]
            .into_iter()
            .chain(record.signing().map(|(_, key)| key))
        {
            let key = self.mention(&key);
            self.keys.change(key).identity = (number + 1).into();
        }
        let last = height.max(body.overlap);
        for (key, _) in certifying.dropped(before.as_ref()) {
            if let Some(key) = self.keys.find(&key) {
                self.revoke(key, last);
            }
        }
    }

    /// Lets a key count up to a height and no longer; not longer than before.
    pub(super) fn revoke(&mut self, key: u32, last: Height) {
        let revoked = self.keys.records[key].revoked.get();
        if revoked == 0 || revoked > last.0 {
            self.keys.change(key).revoked = last.0.into();
        }
    }
}
