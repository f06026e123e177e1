//! The roll over epochs: whom the others reach, and what was proved.

use super::*;
use selfchain_types::codec::Reader;
use selfchain_types::crypto::SigningKey;

const EPOCH: u64 = 16;

fn key(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).public().clone()
}

/// Power is the bond.
fn powers(roll: &Roll) -> BTreeMap<u32, u64> {
    let members = roll.members.iter().filter(|(_, member)| member.bond > 0);
    members.map(|(number, member)| (*number, member.bond)).collect()
}

/// Three founders, with keys of seeds 1 to 3 and numbers 0 to 2.
fn roll() -> Roll {
    let founders = [1, 2, 3].map(|seed| Founder {
        key: key(seed),
        bond: 10,
        reveals: Hash::ZERO,
    });
    let mut roll = Roll::new(16, &founders).unwrap();
    let begin = powers(&roll);
    roll.begin(&begin);
    roll
}

/// One block with these changes.
fn block(roll: &mut Roll, changes: &[Change]) {
    roll.advance();
    for change in changes {
        roll.change(change).unwrap();
    }
    if roll.is_choosing() {
        let next = powers(roll);
        roll.choose(&next);
    }
    if roll.is_epoch_end() {
        roll.turn();
    }
    roll.settle();
}

fn to(roll: &mut Roll, height: u64) {
    while roll.height.0 < height {
        block(roll, &[]);
    }
}

/// Numbers, seeds of keys, and whether each is in the set.
fn held(roll: &Roll) -> Vec<(u32, Vec<u8>, bool)> {
    let seed = |held: &PublicKey| (0..=255).find(|seed| key(*seed) == *held).unwrap();
    let all = roll.held();
    let each = all.iter();
    each.map(|one| (one.number, one.keys.iter().map(seed).collect(), one.is_in_set))
        .collect()
}

fn restored(roll: &Roll) -> Roll {
    let mut bytes = Vec::new();
    roll.encode(&mut bytes);
    let mut reader = Reader::new("roll", &bytes);
    let read = Roll::decode(&mut reader).unwrap();
    reader.finish().unwrap();
    read
}

#[test]
fn who_joins_waits_and_who_leaves_is_held_for_one_epoch_more() {
    let mut roll = roll();
    let joins = Change::Join {
        key: key(9),
        bond: 5,
        reveals: Hash::ZERO,
    };
    let before = roll.held();
    block(&mut roll, &[]);
    assert!(Arc::ptr_eq(&before, &roll.held()), "nothing has changed");
    block(&mut roll, &[joins]);
    assert_eq!(held(&roll)[3], (3, vec![9], false), "it waits");
    to(&mut roll, EPOCH);
    assert_eq!(held(&roll)[3], (3, vec![9], true));
    let leaves = Change::Bond {
        validator: key(1).id(),
        bond: 0,
    };
    block(&mut roll, &[leaves]);
    to(&mut roll, 2 * EPOCH - 1);
    assert_eq!(held(&roll)[0], (0, vec![1], true), "until the epoch ends");
    to(&mut roll, 2 * EPOCH);
    assert_eq!(held(&roll)[0], (0, vec![1], false));
    assert_eq!(restored(&roll), roll);
    to(&mut roll, 3 * EPOCH);
    let numbers: Vec<u32> = held(&roll).iter().map(|one| one.0).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let everyone_held = roll.held().iter().all(|one| roll.holds(one.number).is_some());
    assert!(everyone_held && roll.holds(0).is_none());
}

#[test]
fn a_rotation_lets_both_keys_in_until_the_old_one_answers_for_nothing() {
    let mut roll = roll();
    let rotate = |from: u8, to: u8| Change::Rotate {
        validator: key(from).id(),
        key: key(to),
    };
    to(&mut roll, 3);
    block(&mut roll, &[rotate(2, 20)]);
    assert_eq!(held(&roll)[1], (1, vec![2, 20], true), "the old one signs");
    to(&mut roll, EPOCH);
    assert_eq!(held(&roll)[1], (1, vec![20, 2], true));
    block(&mut roll, &[rotate(20, 21)]);
    assert_eq!(held(&roll)[1], (1, vec![20, 21, 2], true));
    to(&mut roll, 2 * EPOCH - 1);
    // Too late for the set that is chosen: the fourth key.
    block(&mut roll, &[rotate(20, 22)]);
    assert_eq!(held(&roll)[1], (1, vec![21, 22, 20], true));
    assert_eq!(restored(&roll), roll);
    to(&mut roll, 3 * EPOCH);
    assert_eq!(held(&roll)[1], (1, vec![22, 21], true));
    to(&mut roll, 4 * EPOCH);
    assert_eq!(held(&roll)[1], (1, vec![22], true));
}

#[test]
fn an_address_counts_at_once_and_goes_with_its_validator() {
    let mut roll = roll();
    let address = "203.0.113.9:7402".parse().unwrap();
    let says = |seed: u8| Change::Address {
        validator: key(seed).id(),
        address,
    };
    block(&mut roll, &[says(3)]);
    assert_eq!(roll.held()[2].address, Some(address));
    assert_eq!(roll.change(&says(99)), Err(ChangeRefusal::Unknown));
    assert_eq!(restored(&roll), roll);
    let rotate = Change::Rotate {
        validator: key(3).id(),
        key: key(30),
    };
    block(&mut roll, &[rotate]);
    to(&mut roll, 2 * EPOCH);
    assert_eq!(roll.held()[2].keys, [key(30)]);
    assert_eq!(
        roll.held()[2].address,
        Some(address),
        "it is the validator's, not its key's"
    );
}

#[test]
fn what_was_proved_against_one_that_left_is_not_new_again() {
    let mut roll = roll();
    let offence = |height| Offence {
        validator: key(1).id(),
        height: Height(height),
    };
    to(&mut roll, 4);
    assert_eq!(roll.offend(&key(1).id(), Height(3)), Some(0));
    block(&mut roll, &[Change::Forfeit { member: 0 }]);
    to(&mut roll, EPOCH);
    assert!(!roll.members.contains_key(&0), "it is off the roll");
    assert!(!roll.punishes(&offence(3)) && !roll.punishes(&offence(2)));
    assert!(roll.punishes(&offence(4)), "a later one is new");
    assert_eq!(roll.offend(&key(1).id(), Height(4)), None);
    assert!(!roll.punishes(&offence(4)));
    let again = restored(&roll);
    assert_eq!(again, roll);
    assert!(!again.punishes(&offence(4)) && again.punishes(&offence(5)));
    to(&mut roll, 2 * EPOCH);
    assert!(roll.gone.is_empty(), "nothing of it can be proved any more");
    assert!(!roll.punishes(&offence(5)));
}
