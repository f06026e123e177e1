//! What makes a chain's plane different from another: how validators stand at genesis, what their precommits say, and
//! what they reveal. Choosing a plane is one line of genesis; adding one is one match arm in each function here.

use selfchain_consensus::poai::extension::{Extension, WHOLE, verdict};
use selfchain_consensus::poai::quality::by_hand;
use selfchain_consensus::poai::reveal::RevealChain;
use selfchain_consensus::roll::{Founder, RollError};
use selfchain_consensus::{Poai, Stake};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::{Founding, Plane};
use selfchain_types::quality::{Network, NetworkError};
use selfchain_types::seam::standing::Standing;
use selfchain_types::{Genesis, Hash, hash};
use std::sync::Arc;
use thiserror::Error;

/// Why a chain of several validators cannot begin.
#[derive(Debug, Error)]
pub enum FoundingError {
    /// Genesis does not say what they begin with.
    #[error("genesis has {validators} validators and does not say what they begin with")]
    None {
        /// How many.
        validators: usize,
    },
    /// The plane is for one validator.
    #[error("genesis has {validators} validators, and the plane solo is for one")]
    Solo {
        /// How many.
        validators: usize,
    },
    /// A quality network that this program does not have.
    #[error("this program does not have the quality network {network}")]
    Network {
        /// Its id.
        network: Hash,
    },
    /// The file of a quality network that genesis carries.
    #[error("the quality network that genesis carries cannot be read")]
    NetworkFile(#[from] NetworkError),
    /// They cannot begin like this.
    #[error("the validators cannot begin like this")]
    Roll(#[from] RollError),
}

/// Blocks of an epoch, unless said otherwise.
pub const EPOCH_BLOCKS: u32 = 1_024;

/// The standing at genesis; `None` where one validator decides.
///
/// # Errors
/// [`FoundingError`].
pub fn standing(genesis: &Genesis) -> Result<Option<Box<dyn Standing>>, FoundingError> {
    let validators = genesis.validators.len();
    if validators < 2 {
        return Ok(None);
    }
    let founding = genesis
        .founding
        .as_ref()
        .ok_or(FoundingError::None { validators })?;
    let heads = founding
        .reveals
        .iter()
        .copied()
        .chain(core::iter::repeat(Hash::ZERO));
    let founders: Vec<Founder> = genesis
        .validators
        .iter()
        .zip(heads)
        .map(|(validator, reveals)| Founder {
            reveals,
            ..Founder::of_genesis(validator)
        })
        .collect();
    let epoch_blocks = founding.epoch_blocks;
    Ok(Some(match genesis.plane {
        Plane::Solo => return Err(FoundingError::Solo { validators }),
        Plane::Stake => Box::new(Stake::new(epoch_blocks, &founders)?),
        Plane::Poai => {
            let network = network(founding)?;
            Box::new(Poai::new(&genesis.chain_id(), epoch_blocks, &founders, network)?)
        }
    }))
}

/// The quality network that a chain begins with: one that comes with the program, or the one that genesis carries.
fn network(founding: &Founding) -> Result<Arc<Network>, FoundingError> {
    let id = founding.network;
    let network = if founding.network_file.is_empty() {
        known_network(&id).ok_or(FoundingError::Network { network: id })?
    } else {
        Network::decode(&founding.network_file)?
    };
    Ok(Arc::new(network))
}

/// The quality network that comes with the program, if it has this id.
fn known_network(id: &Hash) -> Option<Network> {
    Some(by_hand()).filter(|known| known.id() == *id)
}

/// The same beginning with another quality network. Genesis carries its file where the program does not have it.
#[must_use]
pub fn with_network(mut genesis: Genesis, network: &Network) -> Genesis {
    if let Some(founding) = &mut genesis.founding {
        founding.network = network.id();
        founding.network_file = match known_network(&network.id()) {
            Some(_) => Vec::new(),
            None => network.to_bytes(),
        };
    }
    genesis
}

/// What validators with these keys, all of one power and one kind, begin with. Each has a chain of `reveals` reveals where the
/// plane asks for them: one for each block that it will propose.
pub fn found(
    genesis: Genesis,
    plane: Plane,
    keys: &[SigningKey],
    epoch_blocks: u32,
    reveals: u32,
) -> Genesis {
    let salt = genesis.salt;
    let (network, heads) = match plane {
        Plane::Solo | Plane::Stake => (Hash::ZERO, vec![Hash::ZERO; keys.len()]),
        Plane::Poai => {
            let head = |key: &SigningKey| RevealChain::new(&secret(key, salt), reveals).head();
            (by_hand().id(), keys.iter().map(head).collect())
        }
    };
    let validators = keys.iter().map(|key| selfchain_types::genesis::Validator {
        key: key.public().clone(),
        power: POWER_EACH,
    });
    Genesis {
        plane,
        pq_votes: keys.iter().any(|key| key.public().scheme().is_hybrid()),
        validators: validators.collect(),
        founding: Some(Founding {
            epoch_blocks,
            network,
            reveals: heads,
            network_file: Vec::new(),
        }),
        ..genesis
    }
}

/// Power of each validator of a test network.
pub const POWER_EACH: u64 = 1_000;

/// Own blocks that a test network's validators have reveals for: a second's work to make, and weeks of blocks.
pub const REVEALS: u32 = 1 << 22;

/// This node's chain of reveals, found by the head that genesis names; `None` where it has none, or genesis names one
/// that is not of this key.
pub fn reveals(genesis: &Genesis, key: &SigningKey) -> Option<RevealChain> {
    let at = genesis
        .validators
        .iter()
        .position(|one| one.key == *key.public())?;
    let head = *genesis.founding.as_ref()?.reveals.get(at)?;
    if head == Hash::ZERO {
        return None;
    }
    RevealChain::up_to(&secret(key, genesis.salt), &head)
}

/// The chain of reveals of a key that joins, or whose first one is over.
pub fn later_reveals(chain_id: &Hash, key: &SigningKey) -> RevealChain {
    RevealChain::new(&later_secret(chain_id, key), REVEALS)
}

fn later_secret(chain_id: &Hash, key: &SigningKey) -> [u8; 32] {
    let seed = key.seed();
    hash::REVEAL
        .hash_parts(&[b"later", seed.as_slice(), chain_id.as_bytes()])
        .0
}

/// What a validator reveals: of the chain that genesis names, of the later one of its key, and, after a rotation, of the
/// chains of the key before until it begins another.
pub struct Reveals {
    /// Those that are made, the one in use first.
    chains: Vec<RevealChain>,
    /// Of chains that are not made yet, the newest key's last: each costs a second's work, once.
    secrets: Vec<[u8; 32]>,
    /// What none of them has: it is not looked for again.
    missed: Option<Hash>,
}

/// Most chains of reveals that are kept; those that are not in use give way.
const REVEAL_CHAINS_MAX: usize = 8;

impl Reveals {
    /// Of this node's key.
    pub fn new(genesis: &Genesis, key: &SigningKey) -> Self {
        let mut all = Self {
            chains: Vec::new(),
            secrets: Vec::new(),
            missed: None,
        };
        all.hold(genesis, key);
        all
    }

    /// Of this key too.
    pub fn hold(&mut self, genesis: &Genesis, key: &SigningKey) {
        self.chains.extend(reveals(genesis, key));
        self.chains.truncate(REVEAL_CHAINS_MAX);
        self.secrets.push(later_secret(&genesis.chain_id(), key));
        if self.secrets.len() > REVEAL_CHAINS_MAX {
            self.secrets.remove(0);
        }
        self.missed = None;
    }

    /// The link before `head`, if it is of one of these keys.
    pub fn before(&mut self, head: &Hash) -> Option<Hash> {
        if self.missed == Some(*head) {
            return None;
        }
        for at in 0..self.chains.len() {
            if let Some(link) = self.chains[at].before(head) {
                self.chains.swap(0, at);
                return Some(link);
            }
        }
        while let Some(secret) = self.secrets.pop() {
            let mut later = RevealChain::new(&secret, REVEALS);
            let link = later.before(head);
            self.chains.insert(0, later);
            self.chains.truncate(REVEAL_CHAINS_MAX);
            if link.is_some() {
                return link;
            }
        }
        self.missed = Some(*head);
        None
    }
}

/// What a key's chain of reveals begins from: another for each chain with another salt.
fn secret(key: &SigningKey, salt: u64) -> [u8; 32] {
    let seed = key.seed();
    hash::REVEAL
        .hash_parts(&[b"secret", seed.as_slice(), &salt.to_le_bytes()])
        .0
}

/// What a validator saw of a block that it judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How near the block is to the one that this node would have built, in thousandths.
    pub efficiency: u16,
    /// How much it left out of what its proposer acknowledged and is overdue, in thousandths.
    pub starved: u16,
    /// Whether it grossly leaves out what its proposer acknowledged long ago.
    pub is_starved: bool,
    /// Whether its time is too far ahead of this node's clock.
    pub is_ahead: bool,
    /// Whether it has no scores where the model in force has some.
    pub is_unscored: bool,
    /// From the start of the round until the whole block was here, in ns.
    pub received_ns: u64,
}

impl Seen {
    /// What a validator sees of its own block.
    pub fn own() -> Self {
        Self {
            efficiency: WHOLE,
            starved: 0,
            is_starved: false,
            is_ahead: false,
            is_unscored: false,
            received_ns: 0,
        }
    }
}

/// What a precommit says of a block beside yes.
pub fn extension(plane: Plane, seen: &Seen) -> Vec<u8> {
    match plane {
        Plane::Solo | Plane::Stake => Vec::new(),
        Plane::Poai => Extension {
            verdict: bit(seen.is_ahead, verdict::CLOCK)
                | bit(seen.is_starved, verdict::STARVED)
                | bit(seen.is_unscored, verdict::UNSCORED),
            efficiency: seen.efficiency,
            starved: seen.starved,
            received_ms: u32::try_from(seen.received_ns / 1_000_000).unwrap_or(u32::MAX),
        }
        .to_bytes()
        .to_vec(),
    }
}

fn bit(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

/// Whether a precommit may say this beside yes.
pub fn says(plane: Plane) -> fn(&[u8]) -> bool {
    match plane {
        Plane::Solo | Plane::Stake => <[u8]>::is_empty,
        Plane::Poai => |extension| Extension::decode(extension).is_ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_extension_says_what_was_objected_to() {
        let said = |seen: Seen| Extension::decode(&extension(Plane::Poai, &seen)).unwrap().verdict;
        assert_eq!(said(Seen::own()), 0);
        let starved = Seen {
            is_starved: true,
            ..Seen::own()
        };
        let all = Seen {
            is_ahead: true,
            is_unscored: true,
            ..starved
        };
        assert_eq!((said(starved), said(all)), (verdict::STARVED, verdict::ALL));
        assert!(extension(Plane::Stake, &all).is_empty());
    }

    #[test]
    fn a_validator_that_rotated_goes_on_with_the_chain_of_the_key_before() {
        let keys = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let solo = Genesis::solo("reveals", 1, keys[0].public().clone());
        let genesis = found(solo, Plane::Poai, &keys[..1], EPOCH_BLOCKS, 40);
        let head = genesis.founding.as_ref().unwrap().reveals[0];
        let mut own = Reveals::new(&genesis, &keys[0]);
        let first = own.before(&head).unwrap();
        own.hold(&genesis, &keys[1]);
        let second = own.before(&first).unwrap();
        assert!(hash::REVEAL.hash(second.as_bytes()) == first && hash::REVEAL.hash(first.as_bytes()) == head);
        // Then it begins the new key's, and the old ones are over.
        let later = later_reveals(&genesis.chain_id(), &keys[1]).head();
        let next = own.before(&later).unwrap();
        assert_eq!(hash::REVEAL.hash(next.as_bytes()), later);
        assert_eq!(own.before(&Hash([7; 32])), None);
        assert_eq!(own.missed, Some(Hash([7; 32])));
        assert!(
            own.before(&next).is_some(),
            "what it does not have costs it nothing of what it has"
        );
    }
}
