//! `evidence`: who was found out, in blocks and on the way into one.

use super::{Overview, hex};
use crate::replica::Proof;
use selfchain_types::ballot::BallotKind;
use serde_json::{Value, json};

impl Overview<'_> {
    /// The object of `GET /evidence`.
    pub fn evidence(&self) -> Value {
        let lately = &self.view.lately;
        let committed = lately.proved.iter().map(|(height, proof)| {
            let mut value = shown(proof);
            value["block_height"] = height.0.into();
            value
        });
        self.with(json!({
            "looked_since": Some(lately.since.0).filter(|since| *since > 0),
            "committed": committed.collect::<Vec<_>>(),
            "waiting": self.view.proofs.iter().map(shown).collect::<Vec<_>>(),
        }))
    }
}

fn shown(proof: &Proof) -> Value {
    json!({
        "key_id": proof.validator.as_ref().map(hex),
        "position": proof.position,
        "kind": kind(proof.kind),
        "height": proof.height.0,
        "round": proof.round,
    })
}

fn kind(kind: BallotKind) -> &'static str {
    match kind {
        BallotKind::Prevote => "two_prevotes",
        BallotKind::Precommit => "two_precommits",
        BallotKind::Proposal => "two_proposals",
    }
}
