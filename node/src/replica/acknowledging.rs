//! Acknowledging: what this validator takes into its pool, as it tells the others. Many transactions have one signature.

use selfchain_types::acknowledgement::{ACKNOWLEDGED_MAX, Acknowledgement, ShortId};
use selfchain_types::crypto::SigningKey;
use selfchain_types::{Hash, Height, KeyId, Refusal, TimeNs};

/// Least time between two acknowledgements that are not full, in ns: a signature for each would cost more than all else
/// about a transaction, and nobody is in a hurry for them.
const ACKNOWLEDGE_EVERY_NS: u64 = 20_000_000;
/// Most transactions that wait to be acknowledged; more never are.
const WAITING_MAX: usize = 32 * ACKNOWLEDGED_MAX;

/// What is to be acknowledged.
pub(super) struct Acknowledging {
    /// The keys that this node holds, never none, and which of them the set names.
    keys: Vec<SigningKey>,
    signer: KeyId,
    run: u64,
    waiting: Vec<ShortId>,
    last: TimeNs,
    /// Whether the run is to be told, even if nothing waits.
    is_run_due: bool,
}

impl Acknowledging {
    /// Of a node that starts with an empty pool: what it acknowledged before is gone, and its run says so.
    pub(super) fn new(keys: Vec<SigningKey>, now: TimeNs) -> Self {
        Self {
            signer: keys.first().map_or(KeyId::NONE, SigningKey::id),
            keys,
            run: now.0,
            waiting: Vec::new(),
            last: TimeNs::ZERO,
            is_run_due: true,
        }
    }

    /// Signs with this key too, once a set names it.
    pub(super) fn hold(&mut self, key: &SigningKey) {
        self.keys.push(key.copy());
    }

    /// Never signs with this key again.
    pub(super) fn let_go(&mut self, id: &KeyId) {
        self.keys.retain(|key| key.id() != *id);
    }

    /// Signs with this key from now on. What another one signed is withdrawn: the others check by the key of the set.
    pub(super) fn sign_as(&mut self, signer: KeyId) {
        if signer != self.signer {
            self.signer = signer;
            self.withdraw();
        }
    }

    /// Nothing that was acknowledged before holds any more.
    fn withdraw(&mut self) {
        self.run = self.run.saturating_add(1);
        self.waiting.clear();
        self.is_run_due = true;
    }

    /// A transaction waits in the pool.
    pub(super) fn admitted(&mut self, tx_id: &Hash) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(ShortId::of(tx_id));
        }
    }

    /// Transactions left the pool for these reasons. Where another node may still keep one, nothing that was acknowledged
    /// before holds any more: which one it was, the pool does not say.
    pub(super) fn refused(&mut self, mut reasons: impl Iterator<Item = Refusal>) {
        // Time that is over is over for all, and so is a counter that a block used.
        if reasons.any(|why| !matches!(why, Refusal::Expired | Refusal::CounterUsed)) {
            self.withdraw();
        }
    }

    /// Tells the run again, for whoever missed it.
    pub(super) fn remind(&mut self) {
        self.is_run_due = true;
    }

    /// When something is to be said that waits, if anything does.
    pub(super) fn wake(&self) -> Option<TimeNs> {
        let at = TimeNs(self.last.0.saturating_add(ACKNOWLEDGE_EVERY_NS));
        (!self.waiting.is_empty()).then_some(at)
    }

    /// What is to be said now, in order.
    pub(super) fn take(&mut self, chain_id: &Hash, tip: Height, now: TimeNs) -> Vec<Acknowledgement> {
        let is_time = now.0.saturating_sub(self.last.0) >= ACKNOWLEDGE_EVERY_NS;
        let is_full = self.waiting.len() >= ACKNOWLEDGED_MAX;
        let is_due = self.is_run_due || is_full || (is_time && !self.waiting.is_empty());
        if !is_due {
            return Vec::new();
        }
        self.last = now;
        self.is_run_due = false;
        let waiting = core::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return self.sign(chain_id, tip, &[]).into_iter().collect();
        }
        let parts = waiting.chunks(ACKNOWLEDGED_MAX);
        parts.filter_map(|part| self.sign(chain_id, tip, part)).collect()
    }

    fn sign(&self, chain_id: &Hash, tip: Height, part: &[ShortId]) -> Option<Acknowledgement> {
        let key = self.keys.iter().find(|key| key.id() == self.signer)?;
        Some(Acknowledgement::sign(chain_id, self.run, tip, part.to_vec(), key))
    }

    /// The run alone, for one that has just connected.
    pub(super) fn run(&self, chain_id: &Hash, tip: Height) -> Option<Acknowledgement> {
        self.sign(chain_id, tip, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Hash = Hash([1; 32]);

    fn take(acknowledging: &mut Acknowledging, at_ms: u64) -> Vec<(u64, usize)> {
        let said = acknowledging.take(&CHAIN, Height(3), TimeNs(at_ms * 1_000_000));
        said.iter().map(|one| (one.run, one.transactions.len())).collect()
    }

    fn admit(acknowledging: &mut Acknowledging, count: usize) {
        (0..count).for_each(|_| acknowledging.admitted(&Hash([9; 32])));
    }

    #[test]
    fn one_signature_is_for_many_and_none_is_made_in_vain() {
        let mut acknowledging = Acknowledging::new(vec![SigningKey::from_seed(&[1; 32])], TimeNs(7));
        assert_eq!(take(&mut acknowledging, 100), [(7, 0)], "the run comes first");
        assert_eq!(take(&mut acknowledging, 101), []);
        admit(&mut acknowledging, 5);
        assert_eq!(take(&mut acknowledging, 119), []);
        assert_eq!(acknowledging.wake(), Some(TimeNs(120_000_000)));
        assert_eq!(take(&mut acknowledging, 120), [(7, 5)]);
        assert_eq!(acknowledging.wake(), None);
        admit(&mut acknowledging, ACKNOWLEDGED_MAX + 2);
        assert_eq!(take(&mut acknowledging, 121), [(7, ACKNOWLEDGED_MAX), (7, 2)]);
        admit(&mut acknowledging, 2 * WAITING_MAX);
        let all: usize = take(&mut acknowledging, 122).iter().map(|(_, count)| count).sum();
        assert_eq!(all, WAITING_MAX);
    }

    #[test]
    fn another_key_begins_another_run() {
        let keys = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let [old, new] = [keys[0].id(), keys[1].id()];
        let mut acknowledging = Acknowledging::new(vec![SigningKey::from_seed(&[1; 32])], TimeNs(7));
        take(&mut acknowledging, 100);
        acknowledging.hold(&keys[1]);
        acknowledging.sign_as(old);
        admit(&mut acknowledging, 5);
        acknowledging.sign_as(new);
        acknowledging.let_go(&old);
        let said = acknowledging.take(&CHAIN, Height(3), TimeNs(101_000_000));
        assert_eq!((said[0].run, said[0].transactions.len()), (8, 0));
        let digest = said[0].digest(&CHAIN, &new);
        let public = keys[1].public();
        let checked = selfchain_types::crypto::verify(
            public.scheme(),
            public.as_bytes(),
            digest.as_bytes(),
            &said[0].signature,
        );
        assert_eq!(checked, Ok(()));
    }

    #[test]
    fn what_only_this_node_dropped_withdraws_everything_said_before() {
        let mut acknowledging = Acknowledging::new(vec![SigningKey::from_seed(&[1; 32])], TimeNs(7));
        take(&mut acknowledging, 100);
        admit(&mut acknowledging, 5);
        acknowledging.refused([Refusal::Expired, Refusal::CounterUsed].into_iter());
        assert_eq!(take(&mut acknowledging, 200), [(7, 5)]);
        admit(&mut acknowledging, 5);
        acknowledging.refused([Refusal::Expired, Refusal::CounterSkipped].into_iter());
        assert_eq!(take(&mut acknowledging, 201), [(8, 0)]);
        acknowledging.refused([Refusal::Evicted].into_iter());
        assert_eq!(take(&mut acknowledging, 202), [(9, 0)]);
        acknowledging.remind();
        assert_eq!(take(&mut acknowledging, 203), [(9, 0)]);
    }
}
