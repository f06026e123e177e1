//! Signatures that are made and not looked at, for runs that measure everything else.
//!
//! No code of a node does without a check for it: an envelope may come from whoever verified it, and the plane that looks
//! at no signature is there for simulations only.

use selfchain::types::{Envelope, Verified};
use selfchain_engine::intake::KnownEnvelopes;

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
