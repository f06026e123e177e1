//! A validator's plane without one of its safeguards, or one that looks at no signature.

use super::plan::{Control, Plan};
use selfchain::standing::says;
use selfchain::types::crypto::SigningKey;
use selfchain::types::seam::consensus::{Effect, Input, Plane, PlaneError, Verdict};
use selfchain::types::seam::view::PlaneView;
use selfchain::types::{Genesis, TimeNs};
use selfchain_consensus::bft::{self, Bft};

/// The plane that a plan puts in place of the whole one, where it is the plane that lacks something.
pub(super) fn weakened(
    plan: &Plan,
    genesis: &Genesis,
    key: &SigningKey,
    waits: bft::Options,
) -> Option<Box<dyn Plane>> {
    let plane = || {
        let signing = key.copy();
        let mut plane = Bft::new(genesis.chain_id(), signing, waits).with_extensions(says(genesis.plane));
        if plan.trusts_signatures {
            plane.trust_signatures();
        }
        plane
    };
    match plan.control {
        Control::None | Control::NoJournal | Control::NoBodies | Control::NoAcknowledgements => {
            let trusting = plan.trusts_signatures.then(plane);
            trusting.map(|plane| -> Box<dyn Plane> { Box::new(plane) })
        }
        Control::BrokenQuorum => {
            let mut plane = plane();
            plane.break_quorum(1, 3);
            Some(Box::new(plane))
        }
        Control::UnlimitedObjections => Some(Box::new(Stubborn(plane()))),
    }
}

/// Takes every objection for a finding that stands: the block is never voted for, whatever the round.
struct Stubborn(Bft);

impl Plane for Stubborn {
    fn handle(&mut self, input: Input, now: TimeNs, effects: &mut Vec<Effect>) -> Result<(), PlaneError> {
        let input = match input {
            Input::Verdict {
                block,
                verdict: Verdict::Objection,
                extension,
            } => Input::Verdict {
                block,
                verdict: Verdict::Invalid,
                extension,
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
