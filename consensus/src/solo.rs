//! Solo: a set of one. Whatever it builds is decided; its certificate is its own precommit.
//!
//! It needs no journal: until a block is durable in the log nothing of it leaves the node, so a block that a
//! crash takes away was never anyone's.

use selfchain_types::certificate::Certificate;
use selfchain_types::crypto::SigningKey;
use selfchain_types::seam::consensus::{Effect, Input, Plane, PlaneError};
use selfchain_types::{Hash, Height, TimeNs};

/// The plane of one validator.
#[derive(Debug)]
pub struct Solo {
    chain_id: Hash,
    key: SigningKey,
    height: Height,
    building: bool,
}

impl Solo {
    /// A plane for the chain `chain_id` that signs with `key`, the only validator's.
    pub fn new(chain_id: Hash, key: SigningKey) -> Self {
        Self {
            chain_id,
            key,
            height: Height::GENESIS,
            building: false,
        }
    }

    fn contract(&self, input: &'static str) -> PlaneError {
        PlaneError::Contract {
            input,
            height: self.height,
        }
    }
}

impl Plane for Solo {
    fn handle(&mut self, input: Input, _: TimeNs, effects: &mut Vec<Effect>) -> Result<(), PlaneError> {
        match input {
            Input::Start { height, .. } if height > self.height => {
                self.height = height;
                self.building = false;
            }
            Input::Wanted if self.height == Height::GENESIS => return Err(self.contract("wanted")),
            Input::Wanted if !self.building => {
                self.building = true;
                effects.push(Effect::Build {
                    height: self.height,
                    round: 0,
                });
            }
            Input::Wanted | Input::Peer { .. } => {}
            Input::Built { height, block, .. } if self.building && height == self.height => {
                self.building = false;
                effects.push(Effect::Decided(Certificate::solo(
                    &self.chain_id,
                    height,
                    block,
                    &self.key,
                )));
            }
            Input::Start { .. } => return Err(self.contract("start")),
            Input::Built { .. } => return Err(self.contract("built")),
            Input::Recovered(_) => return Err(self.contract("recovered")),
            Input::Message { .. } => return Err(self.contract("message")),
            Input::Timer(_) => return Err(self.contract("timer")),
            Input::Verdict { .. } => return Err(self.contract("verdict")),
            Input::Synced { .. } => return Err(self.contract("synced")),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::Genesis;
    use selfchain_types::seam::consensus::Schedule;
    use std::sync::Arc;

    fn plane() -> (Solo, Genesis) {
        let key = SigningKey::from_seed(&[1; 32]);
        let genesis = Genesis::solo("solo", 0, key.public().clone());
        (Solo::new(genesis.chain_id(), key), genesis)
    }

    fn step(plane: &mut Solo, input: Input) -> Result<Vec<Effect>, PlaneError> {
        let mut effects = Vec::new();
        plane.handle(input, TimeNs(0), &mut effects).map(|()| effects)
    }

    fn start(height: u64) -> Input {
        Input::Start {
            height: Height(height),
            validators: Arc::new([]),
            schedule: Schedule::by_power(Height(1)),
        }
    }

    #[test]
    fn decides_what_it_builds_with_a_certificate_that_verifies() {
        let (mut plane, genesis) = plane();
        step(&mut plane, start(1)).unwrap();
        let built = Effect::Build {
            height: Height(1),
            round: 0,
        };
        assert_eq!(step(&mut plane, Input::Wanted).unwrap(), [built]);
        assert_eq!(
            step(&mut plane, Input::Wanted).unwrap(),
            [],
            "one block at a time"
        );
        let block = Hash([3; 32]);
        let effects = step(
            &mut plane,
            Input::Built {
                height: Height(1),
                round: 0,
                block,
                extension: Vec::new(),
            },
        )
        .unwrap();
        let [Effect::Decided(certificate)] = &effects[..] else {
            panic!("decided, not {effects:?}")
        };
        assert_eq!(certificate.block, block);
        assert_eq!(
            certificate.verify(&genesis.chain_id(), &genesis.validators),
            Ok(())
        );
    }

    #[test]
    fn refuses_what_the_contract_does_not_allow() {
        let (mut plane, _) = plane();
        assert!(step(&mut plane, Input::Wanted).is_err());
        step(&mut plane, start(5)).unwrap();
        assert!(step(&mut plane, start(5)).is_err());
        assert!(
            step(
                &mut plane,
                Input::Built {
                    height: Height(5),
                    round: 0,
                    block: Hash::ZERO,
                    extension: Vec::new(),
                }
            )
            .is_err()
        );
        assert!(step(&mut plane, Input::Timer(1)).is_err());
    }
}
