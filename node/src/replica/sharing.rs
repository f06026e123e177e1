//! Sharing: a replica sends its snapshots to those that are far behind, and fetches one when it is.

use super::quiet::Quiet;
use super::replica::{Replica, ReplicaError, Ticket, To};
use crate::joining::{Joining, Offering, Question, Standpoint};
use selfchain_types::peer::{AskRefusal, Asked, PeerMessage, SnapshotOffer};
use selfchain_types::{Hash, Height, TimeNs};

/// What a replica needs to send snapshots and to fetch one.
pub struct Sharing {
    /// What it sends.
    pub offering: Offering,
    /// How it gets one.
    pub joining: Joining,
}

/// Milliseconds after which a peer is asked again for what it does not have.
const NOT_HELD_MS: u32 = 1_000;

impl<T: Ticket> Replica<T> {
    /// Lets it send its snapshots and fetch others'. One that has nothing yet says nothing before it knows where the
    /// others stand: it may have lost what it signed.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn sharing(mut self, sharing: Sharing) -> Result<Self, ReplicaError> {
        self.sharing = Some(sharing);
        if self.is_blank || self.is_restored {
            self.quiet = Quiet::listening();
        }
        Ok(self)
    }

    /// The height of the snapshot that it fetched: it is to be opened again, and begins there.
    pub fn joined(&self) -> Option<Height> {
        self.sharing.as_ref()?.joining.ready()
    }

    /// The power of a peer in the set of the height in hand.
    pub(super) fn power_of(&self, peer: u32) -> u64 {
        let seat = self.seats.of_peer(peer);
        let set = self.chain.validators();
        seat.and_then(|seat| set.get(usize::from(seat)))
            .map_or(0, |one| one.power)
    }

    pub(super) fn serve_offer(&mut self, to: u32, now: TimeNs) {
        if self.sharing.is_none() || self.allowance.ask(to, now).is_err() {
            return;
        }
        let offer = self
            .sharing
            .as_mut()
            .and_then(|sharing| sharing.offering.newest());
        self.allowance.sent(to, 0, now);
        self.send(To::One(to), &PeerMessage::Snapshot(offer));
    }

    pub(super) fn serve_part(&mut self, to: u32, id: &Hash, part: u32, now: TimeNs) {
        if self.sharing.is_none() || !self.may_serve(to, Asked::Part, now) {
            return;
        }
        let sharing = self.sharing.as_ref();
        let Some(bytes) = sharing.and_then(|sharing| sharing.offering.part(id, part)) else {
            return self.not_held(to, Asked::Part);
        };
        self.allowance.sent(to, bytes.len(), now);
        self.counts.snapshot_parts_served += 1;
        let (id, bytes) = (*id, bytes.as_slice());
        self.send(To::One(to), &PeerMessage::Part { id, part, bytes });
    }

    pub(super) fn serve_handovers(&mut self, to: u32, from: Height, now: TimeNs) {
        if self.sharing.is_none() || !self.may_serve(to, Asked::Handovers, now) {
            return;
        }
        let sharing = self.sharing.as_ref();
        let handovers = sharing.map_or_else(Vec::new, |sharing| sharing.offering.handovers(from));
        let bytes = handovers.iter().map(Vec::len).sum();
        self.allowance.sent(to, bytes, now);
        let handovers = handovers.iter().map(Vec::as_slice).collect();
        self.send(To::One(to), &PeerMessage::Handovers(handovers));
    }

    fn not_held(&mut self, to: u32, asked: Asked) {
        let (why, retry_after_ms) = (AskRefusal::NotHeld, NOT_HELD_MS);
        self.send(
            To::One(to),
            &PeerMessage::Refused {
                asked,
                why,
                retry_after_ms,
            },
        );
    }

    pub(super) fn offered(&mut self, from: u32, offer: Option<SnapshotOffer>) {
        if let Some(sharing) = &mut self.sharing {
            sharing.joining.offered(from, offer);
        }
    }

    pub(super) fn sharing_refused(&mut self, from: u32, asked: Asked, retry_after_ms: u32, now: TimeNs) {
        self.counts.refused_by_others += 1;
        if let Some(sharing) = &mut self.sharing {
            sharing.joining.refused(from, asked, retry_after_ms, now);
        }
    }

    pub(super) fn part(&mut self, from: u32, part: (Hash, u32, &[u8]), now: TimeNs) {
        self.with_joining(|joining, at| joining.part(from, part, at, now));
    }

    pub(super) fn handovers(&mut self, from: u32, handovers: &[&[u8]], now: TimeNs) {
        self.with_joining(|joining, at| joining.handovers(from, handovers, at, now));
    }

    /// Goes on with the snapshot that is fetched, or begins to fetch one.
    pub(super) fn join(&mut self, now: TimeNs) {
        // What it begins with says nothing of what it may have signed: that must be settled before.
        if self.quiet.is_listening() {
            return;
        }
        self.with_joining(|joining, at| joining.clock(at, now));
    }

    fn with_joining(&mut self, act: impl FnOnce(&mut Joining, &Standpoint<'_>) -> Vec<Question>) {
        let Some(mut sharing) = self.sharing.take() else {
            return;
        };
        let tip = self.chain.tip().height;
        let ahead: Vec<(u32, Height)> = self.catch_up.tips().filter(|(_, theirs)| *theirs > tip).collect();
        let at = Standpoint {
            chain: &self.chain,
            ahead: &ahead,
            power: &|peer| self.power_of(peer),
        };
        let questions = act(&mut sharing.joining, &at);
        self.counts.snapshot_chunks_fetched = sharing.joining.taken();
        self.counts.snapshot_refusals = sharing.joining.refusals();
        self.sharing = Some(sharing);
        for (peer, question) in questions {
            self.send(To::One(peer), &question);
        }
    }
}
