//! A key that signs all the time, and is revoked on the way: what it signs counts up to that height, and on every node
//! nothing of the height after.

use super::check::Broken;
use super::client::Sent;
use super::plan::Revoking;
use selfchain::engine::commit::Block;
use selfchain::types::block::{Body, Row};
use selfchain::types::crypto::{Scheme, SigningKey};
use selfchain::types::envelope::EnvelopeView;
use selfchain::types::identity::{HotKeys, IdentityBody, Roles};
use selfchain::types::{EnvelopeBuilder, Hash, Height, Operation, Outcome};
use std::collections::BTreeMap;

/// Lanes that the key signs on side by side, so that there is something of it in every block.
const LANES: usize = 12;
/// The lane of what certifies and revokes.
const OWN_LANE: u32 = 15;
/// Heights that its transactions are valid for.
const VALIDITY: u64 = 40;
/// It is revoked so many heights after it was certified, or has begun.
const AFTER: u64 = 6;

/// The client with that key.
pub(super) struct Revoker {
    way: Revoking,
    key: SigningKey,
    root: SigningKey,
    counters: [u64; LANES],
    sent: [Option<Sent>; LANES],
    /// What certifies the key, and what revokes it.
    certifies: Option<Sent>,
    revokes: Option<Sent>,
    begun: Option<Height>,
    /// Where each validator met the revocation.
    met: BTreeMap<u16, Height>,
    /// Of the validators together: transactions that counted in the block that revokes, and that did not in the next.
    pub(super) counted_there: u64,
    pub(super) refused_next: u64,
}

impl Revoker {
    pub(super) fn new(way: Revoking) -> Self {
        Self {
            way,
            key: SigningKey::from_seed(&[91; 32]),
            root: SigningKey::of_scheme(Scheme::Ed25519SlhDsa128f, &[92; 32]).expect("it is built in"),
            counters: [0; LANES],
            sent: core::array::from_fn(|_| None),
            certifies: None,
            revokes: None,
            begun: None,
            met: BTreeMap::new(),
            counted_there: 0,
            refused_next: 0,
        }
    }

    /// The height of the revocation, once every one of so many validators has met it.
    pub(super) fn revoked(&self, validators: usize) -> Option<Height> {
        let all = self.met.len() >= validators;
        self.met.values().next().copied().filter(|_| all)
    }

    /// What is to be sent now, again until it is in a block. `block_of` says in which it is.
    pub(super) fn due(
        &mut self,
        chain: Hash,
        tip: Height,
        block_of: &dyn Fn(&Hash) -> Option<Height>,
    ) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        if self.way == Revoking::Identity && self.begun.is_none() {
            let body = self.body(true);
            let first = Self::renewed(&mut self.certifies, tip, || {
                let signers = [(&self.root, OWN_LANE, 1), (&self.key, OWN_LANE, 1)];
                certify(chain, tip, &body, &signers)
            });
            let done = block_of(&first.tx_id);
            due.push(first.bytes.clone());
            self.begun = done;
            return due;
        }
        let begun = *self.begun.get_or_insert(tip);
        for lane in 0..LANES {
            let (counter, key) = (&mut self.counters[lane], &self.key);
            if let Some(sent) = &self.sent[lane]
                && block_of(&sent.tx_id).is_some()
            {
                *counter += 1;
                self.sent[lane] = None;
            }
            let next = *counter + 1;
            let number = u32::try_from(lane).unwrap_or_default();
            let sent = Self::renewed(&mut self.sent[lane], tip, || {
                let anchor = Operation::anchor(1, Hash([7; 32]));
                let builder = EnvelopeBuilder::new(chain, tip, VALIDITY, vec![anchor]);
                builder.sign(&[(key, number, next)])
            });
            due.push(sent.bytes.clone());
        }
        if tip.0 >= begun.0 + AFTER && self.met.is_empty() {
            let (way, body) = (self.way, self.body(false));
            let revokes = Self::renewed(&mut self.revokes, tip, || match way {
                Revoking::Key => {
                    let revoke = Operation::revoke_key(1, self.key.id());
                    let builder = EnvelopeBuilder::new(chain, tip, VALIDITY, vec![revoke]);
                    builder.sign(&[(&self.key, OWN_LANE, 1)])
                }
                Revoking::Identity => certify(chain, tip, &body, &[(&self.root, OWN_LANE, 2)]),
            });
            due.push(revokes.bytes.clone());
        }
        due
    }

    /// What is under way, made anew where it can be in no block any more.
    fn renewed(place: &mut Option<Sent>, tip: Height, make: impl FnOnce() -> Vec<u8>) -> &Sent {
        if place.as_ref().is_none_or(|sent| sent.valid_until < tip) {
            let bytes = make();
            *place = Some(Sent {
                tx_id: EnvelopeView::new(&bytes).map_or(Hash::ZERO, |view| view.tx_id()),
                bytes,
                since: tip,
                valid_until: Height(tip.0 + VALIDITY),
            });
        }
        place.as_ref().expect("it was made")
    }

    /// The certificate that lists the key, or the one that revokes it.
    fn body(&self, lists: bool) -> IdentityBody {
        let first = IdentityBody {
            root: self.root.public().clone(),
            serial: 1,
            previous: Hash::ZERO,
            not_before: Height(0),
            not_after: Height(u64::MAX),
            overlap: Height(0),
            roles: Roles::GATEWAY,
            keys: HotKeys {
                others: vec![self.key.public().clone()],
                ..HotKeys::default()
            },
        };
        if lists {
            return first;
        }
        IdentityBody {
            serial: 2,
            previous: first.hash(),
            roles: Roles::default(),
            keys: HotKeys::default(),
            ..first
        }
    }

    /// A validator executed a block.
    pub(super) fn executed(&mut self, validator: u16, block: &Block) -> Result<(), Broken> {
        let height = block.tip.height;
        let Some(body) = Row::decode(&block.row)
            .ok()
            .and_then(|row| Body::decode(row.body).ok())
        else {
            return Ok(());
        };
        let mut outcomes = block.result.outcomes.iter();
        let mut of_key = Vec::new();
        for bytes in &body.envelopes {
            let Ok(view) = EnvelopeView::new(bytes) else {
                continue;
            };
            let count = view.operations().len();
            let first = outcomes.by_ref().take(count).copied().collect::<Vec<u16>>();
            let is_done = first.first() == Some(&Outcome::Ok.code());
            let tx_id = view.tx_id();
            if self.revokes.as_ref().is_some_and(|sent| sent.tx_id == tx_id) {
                // Met again by a validator that lost what was not durable: at the same height.
                let met = *self.met.entry(validator).or_insert(height);
                if !is_done || met != height {
                    return Err(Broken::Revocation { validator, height });
                }
            } else if view.signers().iter().any(|signer| signer.key == self.key.id()) {
                of_key.push((is_done, first.first() == Some(&Outcome::Revoked.code())));
            }
        }
        let revoked = self.met.get(&validator).copied();
        for (is_done, is_revoked) in of_key {
            let is_right = match revoked {
                Some(at) if height > at => is_revoked,
                _ => is_done,
            };
            if !is_right {
                return Err(Broken::Revocation { validator, height });
            }
            self.counted_there += u64::from(revoked == Some(height));
            self.refused_next += u64::from(revoked.is_some_and(|at| at.next() == height));
        }
        Ok(())
    }
}

fn certify(chain: Hash, tip: Height, body: &IdentityBody, signers: &[(&SigningKey, u32, u64)]) -> Vec<u8> {
    let attachments = body.encode();
    let len = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
    let operation = Operation::certify(1, body.node(), (0, len));
    let mut builder = EnvelopeBuilder::new(chain, tip, VALIDITY, vec![operation]);
    builder.attachments = attachments;
    builder.sign(signers)
}
