//! Signatures that are made and not looked at, for runs that measure everything else.
//!
//! No code of a node does without a check for it: the seam lets a driver say of a message that its signatures were
//! verified, and an envelope may come from whoever verified it.

use selfchain::types::crypto::SigningKey;
use selfchain::types::seam::consensus::{Effect, Input, Plane, PlaneError};
use selfchain::types::seam::view::PlaneView;
use selfchain::types::{Envelope, TimeNs, Verified};
use selfchain_engine::intake::KnownEnvelopes;

/// A plane that is told of every message that its signatures hold.
pub(super) struct Trusting(pub(super) Box<dyn Plane>);

impl Plane for Trusting {
    fn handle(&mut self, input: Input, now: TimeNs, effects: &mut Vec<Effect>) -> Result<(), PlaneError> {
        let input = match input {
            Input::Message { from, bytes, .. } => Input::Message {
                from,
                bytes,
                checked: true,
            },
            input => input,
        };
        self.0.handle(input, now, effects)
    }

    fn hold(&mut self, key: SigningKey) {
        self.0.hold(key);
    }

    fn view(&self) -> Option<PlaneView> {
        self.0.view()
    }
}

/// An envelope with its signatures checked, or taken as they are; `None`: not an envelope, or badly signed.
pub(super) fn admitted(bytes: Vec<u8>, trusts: bool, known: &dyn KnownEnvelopes) -> Option<Verified> {
    let envelope = Envelope::decode(bytes).ok()?;
    let leaf = envelope.leaf();
    if trusts || known.holds(&leaf) {
        known.add(leaf);
        return Some(Verified::known(envelope));
    }
    let verified = Verified::check(envelope, &()).ok()?;
    known.add(leaf);
    Some(verified)
}
