//! Identities of nodes on the ledger: which certificates are taken, and what becomes of the keys.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::world::*;
use selfchain_types::identity::{HotKeys, IdentityBody, Roles, body_hash, node_id};
use selfchain_types::{Hash, Height, Operation};

const DAVE: u8 = 5;
const OTHER_ROOT: u8 = 201;

/// The first certificate of a root, or a later one of which `previous` is still to be set.
pub(super) fn body(root: u8, serial: u64, consensus: Option<u8>) -> IdentityBody {
    IdentityBody {
        root: key(root).public().clone(),
        serial,
        previous: Hash::ZERO,
        not_before: Height(1),
        not_after: Height(1_000),
        overlap: Height(0),
        roles: Roles(consensus.map_or(0, |_| 1)),
        keys: HotKeys {
            consensus: consensus.map(|seed| key(seed).public().clone()),
            ..HotKeys::default()
        },
    }
}

fn after(before: &IdentityBody, mut next: IdentityBody) -> IdentityBody {
    next.previous = before.hash();
    next
}

/// Executes a certificate in a block of its own.
pub(super) fn run(world: &mut World, by: &[u8], body: &IdentityBody) -> String {
    world.attachments = body.encode();
    let len = u32::try_from(world.attachments.len()).unwrap();
    let outcome = world.run(by, &[Operation::certify(1, body.node(), (0, len))]);
    world.attachments.clear();
    outcome
}

pub(super) fn must(world: &mut World, by: &[u8], body: &IdentityBody) {
    assert_eq!(run(world, by, body), "ok");
}

/// A world in which a root certified Carol's key.
fn certified() -> (World, IdentityBody) {
    let mut world = World::new(|_| ());
    let first = body(ROOT, 1, Some(CAROL));
    must(&mut world, &[ROOT, CAROL], &first);
    (world, first)
}

#[test]
fn a_certificate_is_refused_for_the_first_rule_that_it_breaks() {
    let mut world = World::new(|_| ());
    let first = body(ROOT, 1, Some(CAROL));
    let bytes = first.encode();
    let len = bytes.len() as u32;
    world.attachments = bytes.clone();
    let node = first.node();
    let check = |world: &mut World, by: &[u8], operation, want| world.check(by, &[operation], want);
    let both: &[u8] = &[ROOT, CAROL];
    check(
        &mut world,
        both,
        Operation::certify(1, node, (0, len + 1)),
        "attachment_range",
    );
    check(
        &mut world,
        both,
        Operation::certify(1, node, (0, len - 1)),
        "identity_invalid",
    );
    let other = node_id(key(OTHER_ROOT).public());
    check(
        &mut world,
        both,
        Operation::certify(1, other, (0, len)),
        "identity_invalid",
    );
    check(
        &mut world,
        &[CAROL],
        Operation::certify(1, node, (0, len)),
        "not_authorized",
    );
    check(
        &mut world,
        &[ROOT],
        Operation::certify(1, node, (0, len)),
        "not_authorized",
    );
    check(
        &mut world,
        &[ROOT],
        Operation::certify(1, node, (0, len)).linked(),
        "chain_open",
    );
    let refused = |world: &mut World, by: &[u8], change: &dyn Fn(&mut IdentityBody), want: &str| {
        let mut bad = first.clone();
        change(&mut bad);
        assert_eq!(run(world, by, &bad), want);
        assert_eq!(world.ledger.identity(&node), None);
    };
    let (heights, previous) = ("identity_heights", "identity_previous");
    refused(&mut world, both, &|one| one.not_before = Height(900), heights);
    refused(&mut world, both, &|one| one.not_after = Height(2), heights);
    refused(&mut world, both, &|one| one.previous = Hash([1; 32]), previous);
    must(&mut world, both, &first);
    assert_eq!(run(&mut world, both, &first), "identity_serial");
    let again = body(ROOT, 2, Some(CAROL));
    assert_eq!(run(&mut world, &[ROOT], &again), previous);
    let next = after(&first, again);
    assert_eq!(
        run(
            &mut world,
            &[ROOT],
            &IdentityBody {
                serial: 1,
                ..next.clone()
            }
        ),
        "identity_serial"
    );
    must(&mut world, &[ROOT], &next);
    let record = world.ledger.identity(&node).unwrap();
    assert_eq!((record.serial.get(), record.certificate), (2, next.hash()));
    assert_eq!(record.consensus(), Some(id(CAROL)));
}

#[test]
fn a_key_is_of_one_identity_and_says_so_itself() {
    let (mut world, first) = certified();
    let of = |root, seed| body(root, 1, Some(seed));
    let taken = "identity_key";
    assert_eq!(
        run(&mut world, &[OTHER_ROOT, CAROL], &of(OTHER_ROOT, CAROL)),
        taken
    );
    assert_eq!(run(&mut world, &[OTHER_ROOT, ROOT], &of(OTHER_ROOT, ROOT)), taken);
    // Without the key's own signature whoever has a root could revoke anybody's key.
    assert_eq!(
        run(&mut world, &[OTHER_ROOT], &of(OTHER_ROOT, BOB)),
        "not_authorized"
    );
    must(&mut world, &[OTHER_ROOT, BOB], &of(OTHER_ROOT, BOB));
    assert_eq!(world.ledger.identity_of(&id(BOB)).unwrap().root, id(OTHER_ROOT));
    assert_eq!(world.ledger.identities().count(), 2);
    // One that was dropped does not come back, here or there.
    let second = after(&first, body(ROOT, 2, Some(DAVE)));
    must(&mut world, &[ROOT, DAVE], &second);
    let third = after(&second, body(ROOT, 3, Some(CAROL)));
    assert_eq!(run(&mut world, &[ROOT], &third), taken);
}

#[test]
fn a_key_that_is_dropped_counts_to_the_end_of_the_overlap_and_not_one_height_more() {
    for overlap in [0, 3] {
        let (mut world, first) = certified();
        let height = world.ledger.height().0 + 1;
        let mut second = after(&first, body(ROOT, 2, Some(DAVE)));
        second.overlap = Height(if overlap == 0 { 0 } else { height + overlap });
        let pays = |world: &mut World| world.run(&[CAROL], &[Operation::anchor(1, Hash([1; 32]))]);
        assert_eq!(pays(&mut world.clone()), "ok");
        must(&mut world, &[ROOT, DAVE], &second);
        for _ in 0..overlap {
            assert_eq!(pays(&mut world), "ok", "height {}", world.ledger.height());
        }
        assert_eq!(world.ledger.height(), Height(height + overlap));
        assert_eq!(pays(&mut world), "revoked");
        assert_eq!(world.run(&[DAVE], &[Operation::anchor(1, Hash([1; 32]))]), "ok");
        assert_eq!(
            world.ledger.key(&id(CAROL)).unwrap().revoked.get(),
            height + overlap
        );
    }
}

#[test]
fn in_the_block_that_drops_it_a_key_still_counts() {
    let (mut world, first) = certified();
    let second = after(&first, body(ROOT, 2, Some(DAVE)));
    world.attachments = second.encode();
    let len = world.attachments.len() as u32;
    let certify = world.envelope(&[ROOT, DAVE], &[Operation::certify(1, second.node(), (0, len))]);
    world.attachments.clear();
    let anchor = world.envelope(&[CAROL], &[Operation::anchor(1, Hash([1; 32]))]);
    assert_eq!(words(&world.block(&[certify, anchor]).result), "ok ok");
    assert_eq!(
        world.run(&[CAROL], &[Operation::anchor(1, Hash([1; 32]))]),
        "revoked"
    );
}

#[test]
fn an_emergency_ends_an_overlap_and_a_revocation_is_for_good() {
    let (mut world, first) = certified();
    let mut second = after(&first, body(ROOT, 2, Some(DAVE)));
    second.overlap = Height(500);
    must(&mut world, &[ROOT, DAVE], &second);
    world.must(&[CAROL], &[Operation::revoke_key(1, id(CAROL))]);
    assert_eq!(
        world.run(&[CAROL], &[Operation::anchor(1, Hash([1; 32]))]),
        "revoked"
    );
    let third = after(&second, body(ROOT, 3, None));
    must(&mut world, &[ROOT], &third);
    let record = world.ledger.identity(&third.node()).unwrap();
    assert_eq!(record.revoked.get(), world.ledger.height().0);
    assert_eq!((record.signing().count(), record.roles.get()), (0, 0));
    assert_eq!(
        world.run(&[DAVE], &[Operation::anchor(1, Hash([1; 32]))]),
        "revoked"
    );
    let fourth = after(&third, body(ROOT, 4, Some(BOB)));
    assert_eq!(run(&mut world, &[ROOT, BOB], &fourth), "identity_revoked");
    assert_eq!(record.certificate, body_hash(&third.encode()));
}

#[test]
fn a_certificate_may_end_a_chain_and_goes_with_it() {
    let mut world = World::new(|_| ());
    let first = body(ROOT, 1, Some(CAROL));
    world.attachments = first.encode();
    let len = world.attachments.len() as u32;
    let certify = Operation::certify(1, first.node(), (0, len));
    let chain = |amount| [pay(1, A, B, amount).linked(), certify];
    let by = &[ALICE, ROOT, CAROL];
    world.check(by, &chain(5_000), "insufficient_funds:5000/1000 linked_failed");
    assert_eq!(world.ledger.identities().count(), 0);
    world.check(&[ALICE, ROOT], &chain(5), "linked_failed not_authorized");
    assert_eq!(world.ledger.identity_of(&id(CAROL)), None);
    assert_eq!(world.run(by, &chain(5)), "ok ok");
    assert_eq!(world.ledger.identities().count(), 1);
}
