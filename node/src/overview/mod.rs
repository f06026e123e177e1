//! Overview: what an operator of a validator asks for, as JSON. Who the validators are and how they stand, where
//! agreement is, who was found out. `GET` of the HTTP port and the commands of the same names give the same objects.
//!
//! Numbers of 64 bits are numbers: heights and powers stay below 2^53. Keys and hashes are hexadecimal. What is not
//! known is null.

mod validators;
mod consensus;
mod evidence;
mod checkpoints;

use crate::replica::ReplicaView;
use selfchain_transport::links::PeerStatus;
use selfchain_types::{Genesis, KeyId};
use serde_json::{Value, json};

/// Where an overview comes from.
pub struct Overview<'a> {
    /// The chain.
    pub genesis: &'a Genesis,
    /// How its validators are, as one of them sees it.
    pub view: &'a ReplicaView,
    /// The key of this node.
    pub me: Option<KeyId>,
    /// How this node reaches the others; `None`: no node runs, and only what its directory says is known.
    pub links: Option<&'a [PeerStatus]>,
}

impl Overview<'_> {
    /// What every answer begins with.
    fn head(&self) -> Value {
        json!({
            "chain_id": self.genesis.chain_id().to_hex(),
            "plane": self.genesis.plane.name(),
            "key_id": self.me.as_ref().map(hex),
            "is_live": self.links.is_some(),
            "tip": self.view.tip.0,
        })
    }

    /// The head with more fields.
    fn with(&self, more: Value) -> Value {
        let mut value = self.head();
        if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
            fields.extend(more);
        }
        value
    }

    /// The key of the validator with a number, which is what peers are called by; `None` of one that is on no roll.
    fn key_of(&self, peer: u32) -> Option<String> {
        let members = &self.view.standing.members;
        let member = members.iter().find(|member| member.number == peer)?;
        Some(hex(&member.key))
    }

    /// The key at a position in the set of the height in hand.
    fn seat(&self, seat: u16) -> Option<String> {
        let validator = self.view.validators.get(usize::from(seat))?;
        Some(hex(&validator.key.id()))
    }
}

fn hex(key: &KeyId) -> String {
    key.0.to_hex()
}

#[cfg(test)]
#[path = "overview_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
