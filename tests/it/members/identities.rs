//! Identities among validators: what a root's certificates do to who signs consensus, and when.

use super::world::ROOT;
use super::*;
use selfchain_types::Hash;
use selfchain_types::identity::{HotKeys, IdentityBody, Roles};

fn body(serial: u64, consensus: Option<u8>, others: &[u8]) -> IdentityBody {
    let public = |seed: u8| key(seed).public().clone();
    let mut others: Vec<_> = others.iter().map(|seed| public(*seed)).collect();
    others.sort_by_key(|key| key.id());
    let is_empty = consensus.is_none() && others.is_empty();
    IdentityBody {
        root: public(ROOT),
        serial,
        previous: Hash::ZERO,
        not_before: Height(1),
        not_after: Height(10_000),
        overlap: Height(0),
        roles: if is_empty {
            Roles::default()
        } else {
            Roles::VALIDATOR
        },
        keys: HotKeys {
            consensus: consensus.map(public),
            others,
            ..HotKeys::default()
        },
    }
}

fn after(before: &IdentityBody, next: IdentityBody) -> IdentityBody {
    IdentityBody {
        previous: before.hash(),
        ..next
    }
}

fn certify(world: &mut World, by: &[u8], body: &IdentityBody) -> Vec<Outcome> {
    let attachments = body.encode();
    let len = u32::try_from(attachments.len()).unwrap();
    let operation = Operation::certify(1, body.node(), (0, len));
    let by = [&[ROOT], by].concat();
    world.run(&by, vec![operation], attachments)
}

fn must(world: &mut World, by: &[u8], body: &IdentityBody) {
    assert_eq!(certify(world, by, body), [Outcome::Ok]);
}

fn anchors(world: &mut World, by: u8) -> Outcome {
    let anchor = Operation::anchor(1, Hash([1; 32]));
    world.run(&[by], vec![anchor], Vec::new())[0]
}

fn rotate(from: u8, to: u8) -> (Operation, Vec<u8>) {
    let attachments = [id(to).0.as_bytes().as_slice(), key(to).public().as_bytes()].concat();
    let len = u32::try_from(attachments.len()).unwrap();
    (Operation::rotate(1, id(from), 1, (0, len)), attachments)
}

#[test]
fn a_revoked_identity_s_validator_counts_to_the_epoch_s_end_and_its_bond_goes_back() {
    for plane in [Plane::Stake, Plane::Poai] {
        let mut world = joined(plane);
        world.to(EPOCH + 2);
        let power = world.power(JOINER);
        let first = body(1, Some(JOINER), &[]);
        must(&mut world, &[JOINER], &first);
        must(&mut world, &[], &after(&first, body(2, None, &[])));
        assert_eq!(
            anchors(&mut world, JOINER),
            Outcome::Revoked,
            "from the next height on"
        );
        let member = world.chain.standing().unwrap().member(&id(JOINER)).unwrap();
        let bond = world.chain.ledger().bond(member).unwrap();
        assert_eq!((bond.backing, bond.leaving), (0, BOND));
        while world.height() < 2 * EPOCH {
            assert!(world.power(JOINER).is_some(), "after block {}", world.height());
            world.step();
        }
        if plane == Plane::Poai {
            assert!(
                world.power(JOINER) < power,
                "it goes down by a twentieth of all power an epoch"
            );
        } else {
            assert_eq!(world.power(JOINER), None);
            world.to(3 * EPOCH + 1);
            assert_eq!(world.totals(PURSE), [0, 10_000, 0, 0]);
        }
        world.check();
    }
}

#[test]
fn a_revocation_in_an_epoch_s_last_block_waits_for_the_end_of_the_next() {
    for (height, leaves) in [(2 * EPOCH - 1, 2 * EPOCH), (2 * EPOCH, 3 * EPOCH)] {
        let mut world = joined(Plane::Stake);
        world.to(EPOCH + 1);
        let first = body(1, Some(JOINER), &[]);
        must(&mut world, &[JOINER], &first);
        world.to(height - 1);
        must(&mut world, &[], &after(&first, body(2, None, &[])));
        assert_eq!(world.height(), height);
        world.to(leaves - 1);
        assert!(world.power(JOINER).is_some());
        world.step();
        assert_eq!(world.power(JOINER), None, "revoked at {height}");
    }
}

#[test]
fn a_certified_key_takes_the_validator_over_without_the_key_that_goes() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 2);
    let first = body(1, Some(JOINER), &[]);
    must(&mut world, &[JOINER], &first);
    let mut second = after(&first, body(2, Some(OTHER), &[]));
    second.overlap = Height(2 * EPOCH + 4);
    must(&mut world, &[OTHER], &second);
    assert_eq!((world.power(JOINER), world.power(OTHER)), (Some(BOND), None));
    // While the overlap lasts whoever has the key that goes gains nothing by it.
    let (operation, attachments) = rotate(JOINER, AUTHORITY);
    let stolen = world.run(&[JOINER, AUTHORITY], vec![operation], attachments);
    assert_eq!(stolen, [Outcome::IdentityBound]);
    world.to(2 * EPOCH);
    assert_eq!((world.power(JOINER), world.power(OTHER)), (None, Some(BOND)));
    world.to(2 * EPOCH + 3);
    assert_eq!(
        anchors(&mut world, JOINER),
        Outcome::Ok,
        "the overlap's last height"
    );
    assert_eq!(anchors(&mut world, JOINER), Outcome::Revoked);
    assert_eq!(world.totals(PURSE), [0, 10_000, 500, 0]);
    world.check();
}

#[test]
fn a_key_that_signs_consensus_no_more_may_go_on_with_something_else() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 2);
    let first = body(1, Some(JOINER), &[]);
    must(&mut world, &[JOINER], &first);
    let second = after(&first, body(2, Some(OTHER), &[JOINER]));
    must(&mut world, &[OTHER], &second);
    assert_eq!(anchors(&mut world, JOINER), Outcome::Ok);
    world.to(2 * EPOCH);
    assert_eq!((world.power(JOINER), world.power(OTHER)), (None, Some(BOND)));
    assert_eq!(anchors(&mut world, JOINER), Outcome::Ok);
    // Where nobody signs consensus any more the validator leaves.
    let third = after(&second, body(3, None, &[JOINER, OTHER]));
    must(&mut world, &[], &third);
    world.to(3 * EPOCH);
    assert_eq!(world.power(OTHER), None);
    assert_eq!(anchors(&mut world, OTHER), Outcome::Ok);
    world.check();
}

#[test]
fn keys_that_wait_for_an_epoch_s_end_go_too() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 2);
    let first = body(1, Some(JOINER), &[]);
    must(&mut world, &[JOINER], &first);
    // To one key, and in the same epoch on to another: the last counts.
    let second = after(&first, body(2, Some(OTHER), &[]));
    must(&mut world, &[OTHER], &second);
    let third = after(&second, body(3, Some(OWNER), &[]));
    must(&mut world, &[OWNER], &third);
    world.to(2 * EPOCH);
    let powers = [JOINER, OTHER, OWNER].map(|seed| world.power(seed));
    assert_eq!(powers, [None, None, Some(BOND)]);
    // And from a key that waits to nobody: it leaves.
    let fourth = after(&third, body(4, Some(AUTHORITY), &[]));
    must(&mut world, &[AUTHORITY], &fourth);
    must(&mut world, &[], &after(&fourth, body(5, None, &[])));
    world.to(3 * EPOCH);
    assert_eq!([OWNER, AUTHORITY].map(|seed| world.power(seed)), [None, None]);
    world.check();
}

#[test]
fn a_key_that_another_validator_has_is_not_taken() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 2);
    let first = body(1, Some(JOINER), &[]);
    must(&mut world, &[JOINER], &first);
    let second = after(&first, body(2, Some(FOUNDERS[0]), &[]));
    assert_eq!(
        certify(&mut world, &[FOUNDERS[0]], &second),
        [Outcome::ValidatorTaken]
    );
    assert_eq!(anchors(&mut world, JOINER), Outcome::Ok, "nothing has changed");
    // A key of another use is a validator's all the same: when it goes, so does the validator.
    let both = after(&first, body(3, Some(JOINER), &[FOUNDERS[0]]));
    must(&mut world, &[FOUNDERS[0]], &both);
    must(&mut world, &[], &after(&both, body(4, Some(JOINER), &[])));
    world.to(2 * EPOCH);
    assert_eq!(world.power(FOUNDERS[0]), None);
    assert!(world.power(JOINER).is_some());
    world.check();
}

#[test]
fn the_last_validator_s_key_is_revoked_and_it_stays() {
    let mut world = World::new(Plane::Stake);
    for founder in &FOUNDERS[..3] {
        let leave = Operation::bond(1, id(*founder), 0, AccountId::NONE);
        world.must(&[*founder], vec![leave], Vec::new());
    }
    let first = body(1, Some(FOUNDERS[3]), &[]);
    must(&mut world, &[FOUNDERS[3]], &first);
    must(&mut world, &[], &after(&first, body(2, None, &[])));
    world.to(EPOCH + 2);
    assert_eq!(world.chain.validators().len(), 1);
    assert_eq!(anchors(&mut world, FOUNDERS[3]), Outcome::Revoked);
    world.check();
}
