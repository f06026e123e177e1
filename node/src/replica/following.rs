//! Following: whom a replica has links to, and which key of its own the next block's set names.

use super::replica::{GUEST_FIRST, Replica, Ticket};
use selfchain_types::crypto::{PublicKey, SigningKey};
use selfchain_types::seam::standing::Held;
use std::sync::Arc;

/// Most keys that a replica signs with: the oldest that does not gives way.
const OWN_KEYS_MAX: usize = 4;

impl<T: Ticket> Replica<T> {
    /// Notes which key of its own the next block's set names, and whom the standing holds.
    pub(super) fn follow(&mut self) {
        let named = self.own.iter().find(|key| self.seats.names(key));
        self.signer = named.copied().unwrap_or(self.signer);
        self.word.sign_as(self.signer);
        self.acknowledging.sign_as(self.signer);
        let held = self.chain.standing().map(|standing| standing.held());
        let Some(held) = held.filter(|held| !Arc::ptr_eq(held, &self.held)) else {
            return;
        };
        let is_peer =
            |peer: u32| peer >= GUEST_FIRST || held.binary_search_by_key(&peer, |one| one.number).is_ok();
        self.catch_up.retain(is_peer);
        self.allowance.retain(is_peer);
        self.down.retain(|peer| is_peer(*peer));
        let me = self.me(&held).map(|one| one.number);
        let seated = held.iter().filter(|one| one.is_in_set).map(|one| one.number);
        self.others = seated.filter(|number| Some(*number) != me).collect();
        let after = self.others.partition_point(|number| Some(*number) < me);
        self.others.rotate_left(after);
        self.held = held;
        self.is_held_new = true;
    }

    /// This node among those whom the standing holds.
    fn me<'a>(&self, held: &'a [Held]) -> Option<&'a Held> {
        let is_own = |one: &&Held| one.keys.iter().any(|key| self.own.contains(&key.id()));
        held.iter().find(is_own)
    }

    /// Whom this node is to have links to, itself among them, by number: once at the start, and whenever it changed.
    pub fn take_held(&mut self) -> Option<Arc<[Held]>> {
        core::mem::take(&mut self.is_held_new).then(|| Arc::clone(&self.held))
    }

    /// Keys that the standing has of this validator, and that this node does not hold: it cannot sign with them.
    pub fn keys_missing(&self) -> Vec<PublicKey> {
        let keys = self.me(&self.held).map_or(&[][..], |one| &one.keys);
        let is_missing = |key: &&PublicKey| !self.own.contains(&key.id());
        keys.iter().filter(is_missing).cloned().collect()
    }

    /// Signs with this key too, wherever a set names it, as `Plane::hold` says.
    pub fn hold(&mut self, key: SigningKey) {
        let id = key.id();
        if self.own.contains(&id) {
            return;
        }
        if self.own.len() >= OWN_KEYS_MAX {
            let signer = self.signer;
            if let Some(oldest) = self.own.iter().position(|one| *one != signer) {
                self.acknowledging.let_go(&self.own.remove(oldest));
            }
        }
        self.own.push(id);
        self.acknowledging.hold(&key);
        if self.seats.names(&id) && !self.seats.names(&self.signer) {
            self.signer = id;
            self.word.sign_as(id);
            self.acknowledging.sign_as(id);
        }
        self.word.reveals().hold(self.chain.genesis(), &key);
        self.plane.hold(key);
    }
}
