//! Hindrances: what makes a validator do badly on purpose, so that what it costs the others can be measured.
//!
//! Only a program can ask for one, of a validator that it starts itself: no file and no flag of `selfchain run` says it.

use crate::drive::{FromPeer, Peers};
use crate::replica::{Outgoing, To};
use core::time::Duration;
use selfchain_types::ballot::{Ballot, Statement};
use selfchain_types::crypto::PublicKey;
use selfchain_types::crypto::SigningKey;
use selfchain_types::peer::PeerMessage;
use selfchain_types::seam::standing::Held;
use selfchain_types::{Hash, hash};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// What a validator does badly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hindrance {
    /// Nothing.
    #[default]
    None,
    /// Everything that it says is under way longer by so much.
    Slow(Duration),
    /// It puts nothing into its blocks.
    Starving,
    /// It signs two proposals, and sends them to every other in another order.
    TwoFaced,
}

/// Messages of a slow validator that are under way; more are lost.
const DELAYED_MAX: usize = 65_536;

impl Hindrance {
    /// What stands between the validator with this key and its links.
    pub(crate) fn hinder(
        self,
        peers: impl Peers + 'static,
        chain_id: Hash,
        key: &SigningKey,
    ) -> Box<dyn Peers> {
        match self {
            Self::None | Self::Starving => Box::new(peers),
            Self::Slow(by) => Box::new(Delayed::new(peers, by)),
            Self::TwoFaced => Box::new(TwoFaced {
                peers,
                chain_id,
                key: key.copy(),
                others: Vec::new(),
            }),
        }
    }
}

/// Links that carry what is sent later, in order.
struct Delayed<P> {
    peers: Arc<Mutex<P>>,
    by: Duration,
    under_way: SyncSender<(Instant, Outgoing)>,
}

impl<P: Peers + 'static> Delayed<P> {
    fn new(peers: P, by: Duration) -> Self {
        let peers = Arc::new(Mutex::new(peers));
        let (under_way, due) = sync_channel(DELAYED_MAX);
        let to = Arc::clone(&peers);
        // It ends when the validator lets go of its links.
        thread::spawn(move || deliver(&to, &due));
        Self { peers, by, under_way }
    }
}

fn locked<P>(peers: &Mutex<P>) -> MutexGuard<'_, P> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(peers: &Mutex<impl Peers>, due: &Receiver<(Instant, Outgoing)>) {
    while let Ok((at, message)) = due.recv() {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        locked(peers).send(message);
    }
}

impl<P: Peers> Peers for Delayed<P> {
    fn send(&self, message: Outgoing) {
        match self.under_way.try_send((Instant::now() + self.by, message)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                tracing::debug!("a slow validator's message is lost");
            }
        }
    }

    fn next(&self) -> Option<FromPeer> {
        locked(&self.peers).next()
    }

    fn follow(&mut self, held: &[Held]) {
        locked(&self.peers).follow(held);
    }

    fn next_key(&mut self, missing: &[PublicKey]) -> Option<SigningKey> {
        locked(&self.peers).next_key(missing)
    }
}

/// Links of a validator that proposes two blocks.
struct TwoFaced<P> {
    peers: P,
    chain_id: Hash,
    key: SigningKey,
    /// The numbers of all validators.
    others: Vec<u32>,
}

impl<P: Peers> TwoFaced<P> {
    /// The same message with a proposal of another block, which nobody has, if it is a proposal.
    fn other(&self, message: &Outgoing) -> Option<Outgoing> {
        let PeerMessage::Plane { tip, bytes } = PeerMessage::decode(&message.bytes).ok()? else {
            return None;
        };
        let ballot = Ballot::decode(bytes).ok()?;
        let Statement::Proposal(block, polka) = ballot.statement else {
            return None;
        };
        let statement = Statement::Proposal(hash::TABLE.hash(block.as_bytes()), polka);
        let (height, round, validator) = (ballot.height, ballot.round, ballot.validator);
        let other = Ballot::sign(&self.chain_id, height, round, validator, statement, &self.key);
        let bytes = &other.to_bytes();
        Some(Outgoing {
            bytes: PeerMessage::Plane { tip, bytes }.to_bytes().into(),
            ..message.clone()
        })
    }
}

impl<P: Peers> Peers for TwoFaced<P> {
    fn send(&self, message: Outgoing) {
        let Some(other) = self.other(&message) else {
            return self.peers.send(message);
        };
        // Half of them hear the other one first, and do not vote for the one that can be had: too many for a quorum.
        // A message to itself is dropped by the links.
        for peer in self.others.iter().copied() {
            let both = if peer % 2 == 0 {
                [&other, &message]
            } else {
                [&message, &other]
            };
            for one in both {
                let to = To::One(peer);
                self.peers.send(Outgoing { to, ..one.clone() });
            }
        }
    }

    fn next(&self) -> Option<FromPeer> {
        self.peers.next()
    }

    fn follow(&mut self, held: &[Held]) {
        self.others = held.iter().map(|one| one.number).collect();
        self.peers.follow(held);
    }

    fn next_key(&mut self, missing: &[PublicKey]) -> Option<SigningKey> {
        self.peers.next_key(missing)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::Height;
    use selfchain_types::evidence::Evidence;
    use selfchain_types::peer::Lane;
    use std::sync::mpsc;

    const CHAIN: Hash = Hash([3; 32]);

    /// Links that end here.
    struct Ends(SyncSender<Outgoing>);

    impl Peers for Ends {
        fn send(&self, message: Outgoing) {
            self.0.send(message).unwrap();
        }

        fn next(&self) -> Option<FromPeer> {
            None
        }

        fn follow(&mut self, _: &[Held]) {}

        fn next_key(&mut self, _: &[PublicKey]) -> Option<SigningKey> {
            None
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32])
    }

    fn hindered(hindrance: Hindrance) -> (Box<dyn Peers>, mpsc::Receiver<Outgoing>) {
        let (ends, sent) = sync_channel(64);
        let mut peers = hindrance.hinder(Ends(ends), CHAIN, &key());
        let held = |number| Held {
            number,
            keys: Vec::new(),
            is_in_set: true,
            address: None,
        };
        peers.follow(&[0, 1, 2, 3].map(held));
        (peers, sent)
    }

    fn saying(statement: Statement) -> Outgoing {
        let bytes = &Ballot::sign(&CHAIN, Height(9), 0, 3, statement, &key()).to_bytes();
        let tip = Height(8);
        Outgoing {
            to: To::All,
            lane: Lane::Votes,
            bytes: PeerMessage::Plane { tip, bytes }.to_bytes().into(),
        }
    }

    fn ballot(message: &Outgoing) -> Ballot {
        match PeerMessage::decode(&message.bytes).unwrap() {
            PeerMessage::Plane { bytes, .. } => Ballot::decode(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_two_faced_validators_two_proposals_prove_it_to_everybody() {
        let (peers, sent) = hindered(Hindrance::TwoFaced);
        peers.send(saying(Statement::Proposal(Hash([1; 32]), None)));
        let sent: Vec<Outgoing> = sent.try_iter().collect();
        for peer in 0..4 {
            let to: Vec<Ballot> = sent
                .iter()
                .filter(|one| one.to == To::One(peer))
                .map(ballot)
                .collect();
            let [first, second] = <[Ballot; 2]>::try_from(to).unwrap();
            let evidence = Evidence::new(first, second).unwrap();
            assert_eq!(evidence.verify(&CHAIN, key().public()), Ok(()));
        }
    }

    #[test]
    fn a_two_faced_validator_votes_once() {
        let (peers, sent) = hindered(Hindrance::TwoFaced);
        let vote = saying(Statement::Prevote(None));
        peers.send(vote.clone());
        assert_eq!(sent.try_iter().collect::<Vec<_>>(), [vote]);
    }

    #[test]
    fn what_a_slow_validator_says_arrives_later_and_in_order() {
        let by = Duration::from_millis(30);
        let (peers, sent) = hindered(Hindrance::Slow(by));
        let began = Instant::now();
        let said: Vec<Outgoing> = (0..20)
            .map(|block| saying(Statement::Prevote(Some(Hash([block; 32])))))
            .collect();
        said.iter().cloned().for_each(|one| peers.send(one));
        let heard: Vec<Outgoing> = sent.iter().take(said.len()).collect();
        assert_eq!(heard, said);
        assert!(began.elapsed() >= by);
    }
}
