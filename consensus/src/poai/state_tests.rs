//! The fold as a chain sees it: blocks made by validators that behave or do not, over many epochs.

use super::*;
use crate::poai::extension::verdict;
use crate::poai::quality::by_hand;
use crate::poai::reveal::RevealChain;
use crate::stake::Stake;
use proptest::prelude::*;
use selfchain_types::certificate::Certificate;
use selfchain_types::crypto::{PublicKey, SigningKey};
use selfchain_types::late::LatePrecommit;
use selfchain_types::seam::standing::{Earner, Offence};

const EPOCH: u32 = 32;
const CHAIN: Hash = Hash([9; 32]);

/// How a validator behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conduct {
    is_dead: bool,
    /// Its precommits come this many blocks late.
    late_by: u64,
    /// Its blocks starve so much; from 500 on they are objected to in rounds 0 and 1.
    starves: u16,
    /// Its blocks take so long.
    received_ms: u32,
    /// What it says of every block, whatever it is.
    lies: Option<Extension>,
}

struct Block {
    height: Height,
    round: u32,
    proposer: KeyId,
    reveal: Hash,
    parent: Option<Certificate>,
    late: Vec<LatePrecommit>,
    offences: Vec<Offence>,
}

impl Block {
    fn observed(&self) -> Observed<'_> {
        Observed {
            height: self.height,
            round: self.round,
            proposer: self.proposer,
            reveal: self.reveal,
            fill: 700,
            parent: self.parent.as_ref(),
            late: &self.late,
            offences: &self.offences,
        }
    }
}

/// A chain whose blocks are made by the standing's own schedule.
struct Chain<S> {
    standing: S,
    conducts: BTreeMap<KeyId, Conduct>,
    reveals: BTreeMap<KeyId, (RevealChain, u32)>,
    parent: Option<Certificate>,
    /// Precommits on their way, by the height that brings them.
    on_their_way: BTreeMap<u64, Vec<LatePrecommit>>,
    rounds_over: u32,
    /// Blocks by round 0's winner.
    winners: BTreeMap<KeyId, u32>,
}

fn key(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).public().clone()
}

fn founders(count: u8, reveals: bool) -> Vec<Founder> {
    (0..count)
        .map(|seed| Founder {
            key: key(seed),
            bond: 100,
            reveals: if reveals {
                reveal_chain(seed).head()
            } else {
                Hash::ZERO
            },
        })
        .collect()
}

fn reveal_chain(seed: u8) -> RevealChain {
    RevealChain::new(&[seed; 32], 4_096)
}

fn poai(count: u8) -> Chain<Poai> {
    let standing = Poai::new(&CHAIN, EPOCH, &founders(count, true), Arc::new(by_hand())).unwrap();
    let mut chain = Chain::new(standing);
    chain.reveals = (0..count)
        .map(|seed| (key(seed).id(), (reveal_chain(seed), 0)))
        .collect();
    chain
}

fn stake(count: u8) -> Chain<Stake> {
    Chain::new(Stake::new(EPOCH, &founders(count, false)).unwrap())
}

impl<S: Standing> Chain<S> {
    fn new(standing: S) -> Self {
        Self {
            standing,
            conducts: BTreeMap::new(),
            reveals: BTreeMap::new(),
            parent: None,
            on_their_way: BTreeMap::new(),
            rounds_over: 0,
            winners: BTreeMap::new(),
        }
    }

    fn conduct(&self, id: &KeyId) -> Conduct {
        self.conducts.get(id).copied().unwrap_or(Conduct {
            received_ms: 100,
            ..Conduct::default()
        })
    }

    fn behaves(&mut self, seed: u8, conduct: Conduct) {
        self.conducts.insert(key(seed).id(), conduct);
    }

    /// The next block as its proposer makes it.
    fn block(&self) -> Block {
        let height = self.standing.height().next();
        let (schedule, set) = (self.standing.schedule(), self.standing.validators());
        let decides = |round: u32| {
            let at = crate::schedule::proposer(&schedule, height, round).unwrap();
            let id = set[at].key.id();
            let conduct = self.conduct(&id);
            let is_decided = !conduct.is_dead && (conduct.starves < 500 || round > 1);
            is_decided.then_some((round, id))
        };
        let (round, proposer) = (0..100).find_map(decides).unwrap();
        let chain = self.reveals.get(&proposer);
        let mut late = self.on_their_way.get(&height.0).cloned().unwrap_or_default();
        late.sort_by_key(place);
        Block {
            height,
            round,
            proposer,
            reveal: chain.map_or(Hash::ZERO, |(chain, used)| chain.reveal(*used).unwrap()),
            parent: self.parent.clone(),
            late,
            offences: Vec::new(),
        }
    }

    /// Takes a block, and has the validators vote for it.
    fn take(&mut self, block: &Block) {
        let (schedule, set) = (self.standing.schedule(), self.standing.validators());
        let winner = crate::schedule::proposer(&schedule, block.height, 0).unwrap();
        *self.winners.entry(set[winner].key.id()).or_default() += 1;
        self.rounds_over += u32::from(block.round > 0);
        self.standing.observe(&block.observed()).unwrap();
        if let Some((_, used)) = self.reveals.get_mut(&block.proposer) {
            *used += 1;
        }
        self.parent = Some(self.certificate(block, &set));
        self.standing.close();
    }

    fn certificate(&mut self, block: &Block, set: &[Validator]) -> Certificate {
        let seen = self.conduct(&block.proposer);
        let honest = Extension {
            verdict: if seen.starves >= 500 { verdict::STARVED } else { 0 },
            efficiency: 1_000 - seen.starves / 2,
            starved: seen.starves,
            received_ms: seen.received_ms,
        };
        let mut precommits = Vec::new();
        for (at, validator) in set.iter().enumerate() {
            let conduct = self.conduct(&validator.key.id());
            let extension = conduct.lies.unwrap_or(honest).to_bytes().to_vec();
            let precommit = Precommit {
                validator: u16::try_from(at).unwrap(),
                extension: if self.reveals.is_empty() {
                    Vec::new()
                } else {
                    extension
                },
                signature: Vec::new(),
            };
            if conduct.late_by > 0 {
                let late = LatePrecommit {
                    height: block.height,
                    precommit,
                };
                let brings = block.height.0 + 1 + conduct.late_by;
                self.on_their_way.entry(brings).or_default().push(late);
            } else if !conduct.is_dead {
                precommits.push(precommit);
            }
        }
        Certificate {
            height: block.height,
            round: block.round,
            block: Hash::ZERO,
            precommits,
        }
    }

    fn run(&mut self, blocks: u32) {
        for _ in 0..blocks {
            let block = self.block();
            self.take(&block);
        }
    }

    fn tables(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut validators, mut plane) = (Vec::new(), Vec::new());
        self.standing.encode(Table::Validators, &mut validators);
        self.standing.encode(Table::Plane, &mut plane);
        (validators, plane)
    }

    fn power(&self, seed: u8) -> u64 {
        let id = key(seed).id();
        let set = self.standing.validators();
        set.iter()
            .find(|validator| validator.key.id() == id)
            .map_or(0, |validator| validator.power)
    }
}

impl Chain<Poai> {
    fn tally(&self, number: u32) -> &Tally {
        &self.standing.plane.tallies[&number]
    }

    fn quality(&self, number: usize) -> u16 {
        self.standing.plane.qualities[number]
    }
}

#[test]
fn those_who_are_there_gain_power_and_the_dead_lose_quality_at_once() {
    let mut chain = poai(7);
    chain.behaves(
        3,
        Conduct {
            is_dead: true,
            ..Conduct::default()
        },
    );
    assert_eq!(chain.power(0), chain.power(3));
    chain.run(EPOCH);
    assert_eq!(chain.quality(3), 0);
    assert!(chain.quality(0) > 900);
    assert_eq!(chain.standing.standings[&0].score, 4);
    assert_eq!(chain.standing.standings[&3].score, 0);
    chain.run(EPOCH * 60);
    assert_eq!(chain.power(0), chain.standing.standings[&0].weight.units * 1_000);
    assert_eq!(chain.power(3), chain.standing.standings[&3].weight.units * 800);
}

/// The heights of `chain` that took more than one round after the first epoch.
fn rounds_after_the_first_epoch<S: Standing>(mut chain: Chain<S>) -> u32 {
    chain.behaves(
        1,
        Conduct {
            is_dead: true,
            ..Conduct::default()
        },
    );
    chain.behaves(
        2,
        Conduct {
            received_ms: 300,
            ..Conduct::default()
        },
    );
    chain.behaves(
        4,
        Conduct {
            starves: 700,
            received_ms: 100,
            ..Conduct::default()
        },
    );
    chain.run(EPOCH);
    chain.rounds_over = 0;
    chain.run(3_000);
    chain.rounds_over
}

#[test]
fn with_one_dead_one_slow_and_one_starving_of_seven_few_heights_need_a_second_round() {
    let (by_stake, by_quality) = (
        rounds_after_the_first_epoch(stake(7)),
        rounds_after_the_first_epoch(poai(7)),
    );
    println!("more than one round in 3,000 heights: stake {by_stake}, poai {by_quality}");
    assert!(by_stake > 800, "{by_stake}");
    assert!(by_quality * 4 < by_stake, "{by_quality} of {by_stake}");
}

#[test]
fn the_slow_and_the_starving_win_fewer_draws_and_who_recovers_wins_again() {
    let mut chain = poai(7);
    chain.behaves(
        2,
        Conduct {
            received_ms: 400,
            ..Conduct::default()
        },
    );
    chain.behaves(
        4,
        Conduct {
            starves: 400,
            received_ms: 100,
            ..Conduct::default()
        },
    );
    chain.run(EPOCH * 2);
    chain.winners.clear();
    chain.run(EPOCH * 10);
    let won = |chain: &Chain<Poai>, seed| chain.winners.get(&key(seed).id()).copied().unwrap_or(0);
    assert!(won(&chain, 2) * 2 < won(&chain, 0), "{:?}", chain.winners);
    assert!(won(&chain, 4) * 2 < won(&chain, 0), "{:?}", chain.winners);
    chain.conducts.clear();
    chain.run(EPOCH * 60);
    chain.winners.clear();
    chain.run(EPOCH * 10);
    assert!(won(&chain, 2) * 2 > won(&chain, 0), "{:?}", chain.winners);
}

#[test]
fn less_than_a_third_of_power_cannot_talk_a_proposer_down() {
    let slander = Extension {
        verdict: verdict::ALL,
        efficiency: 0,
        starved: 1_000,
        received_ms: 60_000,
    };
    let mut honest = poai(7);
    honest.run(EPOCH);
    let mut chain = poai(7);
    for seed in [0, 1] {
        chain.behaves(
            seed,
            Conduct {
                lies: Some(slander),
                received_ms: 100,
                ..Conduct::default()
            },
        );
    }
    chain.run(EPOCH);
    for number in 2..7 {
        assert_eq!(chain.quality(number), honest.quality(number), "{number}");
    }
    assert!(
        chain.quality(0) < honest.quality(0),
        "slander shows as disagreement"
    );
    let scores = |chain: &Chain<Poai>| {
        chain
            .standing
            .standings
            .values()
            .map(|one| one.score)
            .collect::<Vec<_>>()
    };
    assert_eq!(scores(&chain), scores(&honest), "opinions move no reputation");
}

#[test]
fn a_vote_is_missing_only_after_eight_heights() {
    for (late_by, late, absent) in [(1, 20, 0), (8, 20, 0)] {
        let mut chain = poai(4);
        chain.behaves(
            2,
            Conduct {
                late_by,
                received_ms: 100,
                ..Conduct::default()
            },
        );
        chain.run(29);
        let tally = chain.tally(2);
        assert_eq!(
            (tally.epoch_voted, tally.late, tally.absent),
            (late, late * 256, absent),
            "{late_by}"
        );
    }
    let mut chain = poai(4);
    chain.behaves(
        2,
        Conduct {
            is_dead: true,
            ..Conduct::default()
        },
    );
    chain.run(9);
    assert_eq!(chain.tally(2).absent, 0);
    chain.run(1);
    assert_eq!(chain.tally(2).absent, 256);
}

#[test]
fn a_precommit_that_comes_too_late_twice_or_from_nobody_is_refused() {
    let mut chain = poai(4);
    chain.behaves(
        2,
        Conduct {
            late_by: 9,
            received_ms: 100,
            ..Conduct::default()
        },
    );
    chain.run(10);
    let mut block = chain.block();
    assert_eq!(block.late.len(), 1, "of height 1, at height 11");
    let refuse = |chain: &Chain<Poai>, block: &Block| chain.standing.check(&block.observed()).unwrap_err();
    assert_eq!(refuse(&chain, &block), StandingError::Late { height: Height(1) });
    block.late[0].height = Height(2);
    assert_eq!(chain.standing.check(&block.observed()), Ok(()));
    block.late[0].height = Height(10);
    assert_eq!(refuse(&chain, &block), StandingError::Late { height: Height(10) });
    block.late[0].height = Height(9);
    for validator in [3, 4] {
        block.late[0].precommit.validator = validator;
        assert_eq!(refuse(&chain, &block), StandingError::Precommit { validator });
    }
    block.late[0].precommit.validator = 2;
    block.late.push(block.late[0].clone());
    assert_eq!(refuse(&chain, &block), StandingError::Precommit { validator: 2 });
    block.late.pop();
    block.late[0].precommit.extension.clear();
    assert!(matches!(
        refuse(&chain, &block),
        StandingError::Extension { validator: 2, .. }
    ));
}

#[test]
fn what_is_wrong_with_a_block_is_named_and_changes_nothing() {
    let mut chain = poai(4);
    chain.run(20);
    let before = chain.tables();
    let mut check = |change: fn(&mut Block), want: fn(&StandingError) -> bool| {
        let mut block = chain.block();
        change(&mut block);
        let refusal = chain.standing.observe(&block.observed()).unwrap_err();
        assert!(want(&refusal), "{refusal:?}");
        assert_eq!(chain.tables(), before);
    };
    check(
        |block| block.height = Height(22),
        |refusal| matches!(refusal, StandingError::Height { .. }),
    );
    check(
        |block| block.round += 1,
        |refusal| matches!(refusal, StandingError::Proposer { .. }),
    );
    check(
        |block| block.reveal = Hash([1; 32]),
        |refusal| *refusal == StandingError::Reveal,
    );
    check(
        |block| block.reveal = Hash::ZERO,
        |refusal| *refusal == StandingError::Reveal,
    );
    check(
        |block| block.parent = None,
        |refusal| *refusal == StandingError::Parent,
    );
    let parent = |block: &mut Block| block.parent.as_mut().unwrap().height = Height(19);
    check(parent, |refusal| *refusal == StandingError::Parent);
    check(
        |block| block.parent.as_mut().unwrap().precommits.swap(0, 1),
        |refusal| *refusal == StandingError::Precommit { validator: 0 },
    );
    check(
        |block| block.parent.as_mut().unwrap().precommits[3].validator = 4,
        |refusal| *refusal == StandingError::Precommit { validator: 4 },
    );
    check(
        |block| block.parent.as_mut().unwrap().precommits[3].extension[0] = 2,
        |refusal| matches!(refusal, StandingError::Extension { validator: 3, .. }),
    );
    check(
        |block| {
            block.offences = vec![Offence {
                validator: key(9).id(),
                height: Height(3),
            }]
        },
        |refusal| *refusal == StandingError::Offence { at: 0 },
    );
    check(
        |block| {
            block.offences = vec![Offence {
                validator: key(1).id(),
                height: Height(21),
            }]
        },
        |refusal| *refusal == StandingError::Offence { at: 0 },
    );
}

#[test]
fn an_offence_takes_the_score_once_and_freezes_it() {
    let mut chain = poai(4);
    chain.run(EPOCH * 3);
    assert_eq!(chain.standing.standings[&1].score, 12);
    let offence = Offence {
        validator: key(1).id(),
        height: Height(90),
    };
    let mut block = chain.block();
    block.offences = vec![offence];
    chain.take(&block);
    assert_eq!(chain.standing.standings[&1].score, 0);
    let mut again = chain.block();
    again.offences = vec![offence];
    let refusal = chain.standing.check(&again.observed());
    assert_eq!(refusal, Err(StandingError::Offence { at: 0 }), "punished before");
    chain.run(EPOCH * 10);
    assert_eq!(chain.standing.standings[&1].score, 0);
    assert_eq!(chain.standing.standings[&0].score, 52);
    assert!(chain.quality(1) < chain.quality(0) / 2);
    chain.run(EPOCH * 60);
    assert!(chain.standing.standings[&1].score > 0);
}

#[test]
fn nobody_wins_twice_in_a_row_among_four_and_seeds_come_from_reveals() {
    let mut chain = poai(4);
    let mut last = None;
    let mut repeats = 0;
    for _ in 0..EPOCH * 20 {
        let (schedule, height) = (chain.standing.schedule(), chain.standing.height().next());
        let winner = crate::schedule::proposer(&schedule, height, 0);
        repeats += u32::from(winner == last);
        last = winner;
        chain.run(1);
    }
    assert!(repeats < EPOCH * 20 / 100, "only by the floor: {repeats}");

    let mut one = poai(4);
    let mut other = poai(4);
    one.run(EPOCH - 1);
    other.run(EPOCH - 1);
    assert_eq!(one.standing.schedule(), other.standing.schedule());
    one.run(1);
    let withheld = other.block().proposer;
    other.conducts.insert(
        withheld,
        Conduct {
            is_dead: true,
            ..Conduct::default()
        },
    );
    other.run(1);
    assert_ne!(one.standing.schedule().seed, other.standing.schedule().seed);
    assert_eq!(
        one.standing.plane.qualities, other.standing.plane.qualities,
        "chosen before the last reveal"
    );
}

#[test]
fn who_joins_leaves_or_rotates_does_so_at_an_epoch_s_end() {
    let mut chain = poai(5);
    chain.run(EPOCH - 2);
    let join = |seed| Change::Join {
        key: key(seed),
        bond: 100,
        reveals: reveal_chain(seed).head(),
    };
    chain.standing.change(&join(10)).unwrap();
    assert_eq!(chain.standing.change(&join(10)), Err(ChangeRefusal::Taken));
    chain
        .standing
        .change(&Change::Bond {
            validator: key(4).id(),
            bond: 0,
        })
        .unwrap();
    chain
        .standing
        .change(&Change::Rotate {
            validator: key(0).id(),
            key: key(20),
        })
        .unwrap();
    chain.reveals.insert(key(10).id(), (reveal_chain(10), 0));
    chain.run(1);
    // The epoch's last block: chosen, and not in force.
    assert_eq!((chain.power(10), chain.power(20)), (0, 0));
    let next = chain.standing.next_validators();
    assert_ne!(next, chain.standing.validators());
    chain.standing.change(&join(11)).unwrap();
    chain.run(1);
    let goes_on = chain.reveals[&key(0).id()].clone();
    chain.reveals.insert(key(20).id(), goes_on);
    assert_eq!(chain.standing.validators(), next);
    assert!(chain.power(10) > 0 && chain.power(20) > 0);
    assert_eq!(
        (chain.power(0), chain.power(11)),
        (0, 0),
        "what the last block said counts an epoch later"
    );
    assert!(
        chain.power(10) < chain.power(1),
        "a newcomer's power is phased in"
    );
    assert!(chain.power(4) > 0, "and a leaver's out");
    assert_eq!(chain.standing.holds(4), Some(0));
    chain.reveals.insert(key(11).id(), (reveal_chain(11), 0));
    chain.run(EPOCH * 12);
    assert_eq!(chain.power(4), 0);
    assert!(chain.power(11) > 0);
    assert_eq!(chain.standing.holds(4), None, "its bond may go");
    let member = |validator: u8| chain.standing.member(&key(validator).id());
    assert_eq!((member(20), member(0), member(4)), (Some(0), None, None));
    let leave = |validator: u8| Change::Bond {
        validator: key(validator).id(),
        bond: 0,
    };
    assert_eq!(chain.standing.change(&leave(99)), Err(ChangeRefusal::Unknown));
    for validator in [1, 2, 3, 10, 11] {
        chain.standing.change(&leave(validator)).unwrap();
    }
    assert_eq!(chain.standing.change(&leave(20)), Err(ChangeRefusal::Last));
}

#[test]
fn evidence_fades_once_an_epoch_after_it_was_read() {
    let made = |chain: &Chain<Poai>| (0..4).map(|number| chain.tally(number).made).sum::<u64>();
    let mut chain = poai(4);
    chain.run(EPOCH - 2);
    assert_eq!(made(&chain), 256 * 30);
    chain.run(1);
    assert_eq!(made(&chain), 256 * 31 * 7 / 8);
    chain.run(EPOCH - 1);
    assert_eq!(made(&chain), 256 * 31 * 7 / 8 + 256 * 31);
}

#[test]
fn another_network_counts_from_the_next_epoch_on() {
    let mut chain = poai(4);
    let blind = selfchain_types::quality::Layer {
        inputs: crate::poai::features::FEATURES,
        shift: 0,
        biases: vec![123],
        weights: vec![0; crate::poai::features::FEATURES],
    };
    let version = crate::poai::features::FEATURES_VERSION;
    let network = Arc::new(Network::new(version, vec![blind.clone()]).unwrap());
    let other = Network::new(version + 1, vec![blind]).unwrap();
    assert!(chain.standing.adopt(&Arc::new(other)).is_err());
    let before = chain.standing.root(Table::Plane);
    let change = Change::Network {
        network: Arc::clone(&network),
    };
    chain.standing.change(&change).unwrap();
    assert_ne!(chain.standing.root(Table::Plane), before);
    let names = |chain: &Chain<Poai>| (chain.standing.view().network, chain.standing.view().next_network);
    assert_eq!(names(&chain), (Some(by_hand().id()), Some(network.id())));
    // Whoever restores the tables has the networks: this one waits, there too.
    let (validators, plane) = chain.tables();
    let mut waiting = poai(4).standing;
    waiting.restore(&validators, &plane).unwrap();
    assert_eq!(waiting.view().next_network, Some(network.id()));
    chain.run(EPOCH - 1);
    assert_ne!(chain.quality(0), 123);
    chain.run(1);
    assert_eq!(chain.quality(0), 123);
    assert_eq!(names(&chain), (Some(network.id()), None));
    let (validators, plane) = chain.tables();
    let mut restored = poai(4).standing;
    restored.restore(&validators, &plane).unwrap();
    assert_eq!(restored.root(Table::Plane), chain.standing.root(Table::Plane));
    assert_eq!(restored.view().network, Some(network.id()));
    // What was said in an epoch's last block counts one epoch later, as all changes do.
    chain.run(EPOCH - 1);
    let hand = Change::Network {
        network: Arc::new(by_hand()),
    };
    chain.standing.change(&hand).unwrap();
    chain.run(EPOCH);
    assert_eq!(chain.quality(0), 123);
    chain.run(1);
    assert_ne!(chain.quality(0), 123);
}

#[test]
fn a_network_that_rewards_a_failing_is_refused_and_changes_nothing() {
    let mut chain = poai(4);
    let mut weights = vec![0; crate::poai::features::FEATURES];
    weights[crate::poai::features::feature::STARVED] = 1;
    let layer = selfchain_types::quality::Layer {
        inputs: weights.len(),
        shift: 0,
        biases: vec![0],
        weights,
    };
    let network = Network::new(crate::poai::features::FEATURES_VERSION, vec![layer]).unwrap();
    let before = chain.tables();
    let change = Change::Network {
        network: Arc::new(network.clone()),
    };
    assert_eq!(chain.standing.change(&change), Err(ChangeRefusal::Network));
    assert_eq!(chain.tables(), before);
    let founders = founders(4, true);
    assert!(Poai::new(&CHAIN, EPOCH, &founders, Arc::new(network)).is_err());
}

#[test]
fn a_new_chain_of_reveals_begins_with_an_epoch() {
    let mut chain = poai(4);
    let none = Change::Reveals {
        validator: key(1).id(),
        reveals: Hash::ZERO,
    };
    assert_eq!(chain.standing.change(&none), Err(ChangeRefusal::Reveals));
    let fresh = RevealChain::new(&[99; 32], 64);
    chain.run(5);
    let change = Change::Reveals {
        validator: key(1).id(),
        reveals: fresh.head(),
    };
    chain.standing.change(&change).unwrap();
    chain.run(EPOCH - 5);
    assert_eq!(chain.standing.roll.members()[&1].head, fresh.head());
    chain.reveals.insert(key(1).id(), (fresh, 0));
    chain.run(EPOCH);
}

#[test]
fn fees_go_to_who_worked_and_sum() {
    let mut chain = poai(4);
    chain.run(3);
    let block = chain.block();
    chain.standing.observe(&block.observed()).unwrap();
    let rewards = chain.standing.rewards(Amount(10_000));
    let builder = Earner::Validator(block.proposer);
    let of_builder = rewards.iter().find(|reward| reward.to == builder).unwrap().amount;
    assert!(
        (9_200..=9_300).contains(&of_builder.0),
        "90 and a quarter of 8, perhaps 1: {of_builder}"
    );
    assert_eq!(rewards.iter().map(|reward| reward.amount.0).sum::<u128>(), 10_000);
    assert_eq!(rewards.last().map(|reward| reward.to), Some(Earner::Reserve));
    chain.standing.close();
    assert_eq!(chain.standing.rewards(Amount(7)).len(), 1);
}

fn any_conduct() -> impl Strategy<Value = Conduct> {
    let lies = prop::option::weighted(0.2, (any::<u8>(), any::<u16>(), any::<u16>(), any::<u32>()));
    (
        prop::bool::weighted(0.2),
        prop_oneof![Just(0u64), 1..=8u64],
        0u16..=1_000,
        0u32..500,
        lies,
    )
        .prop_map(|(is_dead, late_by, starves, received_ms, lies)| Conduct {
            is_dead,
            late_by: if is_dead { 0 } else { late_by },
            starves,
            received_ms,
            lies: lies.map(|(verdict, efficiency, starved, received_ms)| Extension {
                verdict,
                efficiency,
                starved,
                received_ms,
            }),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// However validators behave: a restored standing goes on as the other, to the byte, weights are never zero, power
    /// moves within its bounds, and two thirds of the votes are enough.
    #[test]
    fn a_restored_standing_folds_on_as_if_it_had_folded_all(
        conducts in prop::collection::vec(any_conduct(), 4..8), cut in 1u32..150, bonds: [u64; 4],
    ) {
        let count = u8::try_from(conducts.len()).unwrap();
        let mut chain = poai(count);
        // Somebody must propose.
        for (seed, conduct) in (0..).zip(conducts).skip(1) {
            chain.behaves(seed, conduct);
        }
        chain.run(cut);
        for (seed, bond) in (0..).zip(bonds) {
            let change = Change::Bond { validator: key(seed).id(), bond: bond.max(1) };
            chain.standing.change(&change).unwrap();
        }
        let (validators, plane) = chain.tables();
        let mut restored = poai(4).standing;
        restored.restore(&validators, &plane).unwrap();
        for _ in 0..80 {
            prop_assert_eq!(chain.standing.schedule(), restored.schedule());
            prop_assert!(chain.standing.schedule().weights.iter().all(|weight| *weight > 0));
            let block = chain.block();
            restored.observe(&block.observed()).unwrap();
            restored.close();
            chain.take(&block);
            for table in [Table::Validators, Table::Plane] {
                prop_assert_eq!(chain.standing.root(table), restored.root(table));
            }
            prop_assert_eq!(chain.standing.next_validators(), restored.next_validators());
        }
    }

    /// Bytes of strangers: refused or a state that folds on, never a panic; what is refused changes nothing.
    #[test]
    fn damaged_tables_do_no_harm(
        cut in 1u32..80, damage in prop::collection::vec((any::<bool>(), any::<u32>(), any::<u8>()), 1..4),
        ends: (bool, u16),
    ) {
        let mut chain = poai(5);
        chain.behaves(1, Conduct { late_by: 3, ..Conduct::default() });
        chain.run(cut);
        let (good_validators, good_plane) = chain.tables();
        let (mut validators, mut plane) = (good_validators.clone(), good_plane.clone());
        for (is_plane, at, byte) in damage {
            let bytes = if is_plane { &mut plane } else { &mut validators };
            let at = usize::try_from(at).unwrap() % bytes.len();
            bytes[at] ^= byte;
        }
        if ends.0 {
            plane.truncate(usize::from(ends.1) % plane.len());
        }
        let mut restored = poai(5).standing;
        let before = restored.root(Table::Plane);
        match restored.restore(&validators, &plane) {
            Err(_) => prop_assert_eq!(restored.root(Table::Plane), before),
            Ok(()) => {
                let block = chain.block();
                if restored.observe(&block.observed()).is_ok() {
                    let sum: u128 = restored.rewards(Amount(1_000)).iter().map(|reward| reward.amount.0).sum();
                    prop_assert_eq!(sum, 1_000);
                    restored.close();
                }
                (0..5).for_each(|round| { crate::schedule::proposer(&restored.schedule(), Height(9), round); });
            }
        }
    }
}

#[test]
fn stake_goes_round_with_the_same_driver() {
    let mut chain = stake(4);
    chain.run(EPOCH * 2);
    assert!(
        chain.winners.values().all(|won| *won == EPOCH / 2),
        "{:?}",
        chain.winners
    );
    let (validators, plane) = chain.tables();
    let mut restored = stake(1).standing;
    restored.restore(&validators, &plane).unwrap();
    assert_eq!(
        restored.root(Table::Validators),
        chain.standing.root(Table::Validators)
    );
    assert_eq!(restored.schedule(), chain.standing.schedule());
    chain
        .standing
        .change(&Change::Bond {
            validator: key(0).id(),
            bond: u64::MAX,
        })
        .unwrap();
    chain.run(EPOCH);
    assert!(chain.power(0) > chain.power(1) && chain.power(1) > 0);
    let total: u64 = chain
        .standing
        .validators()
        .iter()
        .map(|validator| validator.power)
        .sum();
    assert!(total < selfchain_types::genesis::POWER_TOTAL_END);
}

/// Whoever a view names proposes in the first round, to the epoch's end and not past it.
fn check_forecast<S: Standing>(mut chain: Chain<S>, blocks: u32) {
    let mut named: BTreeMap<u64, KeyId> = BTreeMap::new();
    for _ in 0..blocks {
        let view = chain.standing.view();
        let epoch = view.epoch.unwrap();
        let next = chain.standing.height().next().0;
        let left = epoch.next.0 - next;
        assert_eq!(u64::try_from(view.proposers.len()).unwrap(), left.min(4));
        for (height, proposer) in (next..).zip(&view.proposers) {
            assert_eq!(
                named.entry(height).or_insert(*proposer),
                proposer,
                "height {height}"
            );
        }
        let set = chain.standing.validators();
        let schedule = chain.standing.schedule();
        let first = crate::schedule::proposer(&schedule, Height(next), 0).unwrap();
        assert_eq!(named[&next], set[first].key.id());
        chain.run(1);
    }
}

#[test]
fn the_next_proposers_are_known_to_the_end_of_the_epoch_also_where_some_are_dead() {
    check_forecast(stake(4), 2 * EPOCH);
    let mut chain = poai(7);
    chain.behaves(
        3,
        Conduct {
            is_dead: true,
            ..Conduct::default()
        },
    );
    check_forecast(chain, 3 * EPOCH);
}

#[test]
fn a_view_says_how_each_stands() {
    let mut chain = poai(4);
    chain.behaves(
        2,
        Conduct {
            is_dead: true,
            ..Conduct::default()
        },
    );
    let mut block = chain.block();
    chain.take(&block);
    block = chain.block();
    block.offences = vec![Offence {
        validator: key(1).id(),
        height: Height(1),
    }];
    chain.take(&block);
    chain.run(2 * EPOCH);
    let view = chain.standing.view();
    assert_eq!(view.epoch.unwrap().number, 2);
    let member = |seed: u8| view.members.iter().find(|one| one.key == key(seed).id()).unwrap();
    assert_eq!((member(1).offences, member(1).offended), (1, Height(1)));
    assert_eq!(
        (member(1).factor, member(2).factor, member(0).factor),
        (Some(800), Some(800), Some(808))
    );
    assert!(member(2).quality < member(0).quality, "{view:?}");
    let total: u64 = view.members.iter().filter_map(|one| one.power).sum();
    assert_eq!(
        total,
        chain
            .standing
            .validators()
            .iter()
            .map(|one| one.power)
            .sum::<u64>()
    );
    assert_eq!(stake(4).standing.view().members[3].quality, None);
}
