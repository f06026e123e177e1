//! The set of validators changes by operations, what it has at stake is money, and what blocks earn is paid: whole
//! chains with the real standings, each replayed, verified and restored in the middle.

mod identities;
pub mod world;

use selfchain::standing::{found, standing, with_network};
use selfchain_consensus::poai::quality::by_hand;
use selfchain_types::address::encode_address;
use selfchain_types::genesis::Plane;
use selfchain_types::quality::{FEATURES, FEATURES_VERSION, Layer, Network};
use selfchain_types::seam::standing::Offence;
use selfchain_types::{AccountId, Genesis, Height, Operation, Outcome};
use world::{
    AUTHORITY, EPOCH, FOUNDERS, JOINER, OTHER, OWNER, PURSE, RESERVE, World, earnings, id, join, key, pay,
};

const BOND: u64 = 500;

/// A chain whose block 2 lets a validator join; it counts from block 17 on.
fn joined(plane: Plane) -> World {
    let mut world = World::new(plane);
    let (operation, attachments) = join(&world, JOINER, BOND, PURSE);
    world.must(&[JOINER, OWNER], vec![operation], attachments);
    world
}

#[test]
fn who_joins_counts_from_the_next_epoch_on_and_its_money_is_locked() {
    for plane in [Plane::Stake, Plane::Poai] {
        let mut world = joined(plane);
        assert_eq!(
            world.totals(PURSE),
            [0, 10_000, 500, 0],
            "the bond is pending on its account"
        );
        assert_eq!(world.totals(RESERVE), [0, 0, 0, 500]);
        while world.height() < EPOCH {
            assert_eq!(world.power(JOINER), None, "after block {}", world.height());
            world.step();
        }
        assert!(world.power(JOINER).is_some());
        assert_eq!(world.chain.validators().len(), 5);
        if plane == Plane::Stake {
            assert_eq!(world.power(JOINER), Some(BOND));
        }
        world.to(EPOCH + 4);
        world.check();
    }
}

#[test]
fn a_join_is_refused_for_what_it_lacks() {
    let mut world = World::new(Plane::Poai);
    let (operation, attachments) = join(&world, JOINER, BOND, PURSE);
    let both: &[u8] = &[JOINER, OWNER];
    let mut refused = |by: &[u8], change: &dyn Fn(&mut Operation), attachments: &[u8], outcome: Outcome| {
        let mut operation = operation;
        change(&mut operation);
        let got = world.run(by, vec![operation], attachments.to_vec());
        assert_eq!(got, [outcome]);
    };
    let same = |_: &mut Operation| ();
    refused(&[OWNER], &same, &attachments, Outcome::NotAuthorized);
    refused(&[JOINER], &same, &attachments, Outcome::NotAuthorized);
    refused(
        both,
        &|one| one.amount = 0.into(),
        &attachments,
        Outcome::BondInvalid,
    );
    let most = u128::from(u64::MAX) + 1;
    refused(
        both,
        &|one| one.amount = most.into(),
        &attachments,
        Outcome::BondInvalid,
    );
    refused(
        both,
        &|one| one.amount = 10_001.into(),
        &attachments,
        Outcome::InsufficientFunds,
    );
    refused(
        both,
        &|one| one.pending = 0.into(),
        &attachments,
        Outcome::BondAccount,
    );
    refused(
        both,
        &|one| one.pending = 77.into(),
        &attachments,
        Outcome::AccountUnknown,
    );
    refused(
        both,
        &|one| one.code = 0.into(),
        &attachments,
        Outcome::AttachmentInvalid,
    );
    refused(
        both,
        &|one| one.code = 9.into(),
        &attachments,
        Outcome::SchemeUnknown,
    );
    refused(both, &same, &attachments[..40], Outcome::AttachmentRange);
    let mut no_reveals = attachments.clone();
    no_reveals[..32].fill(0);
    refused(both, &same, &no_reveals, Outcome::RevealsInvalid);
    let chain = vec![operation.linked(), Operation::anchor(2, operation.named())];
    assert_eq!(
        world.run(both, chain, attachments.clone()),
        [Outcome::FlagsUnknown, Outcome::LinkedFailed],
        "nothing may follow in its chain"
    );
    let poor = Operation {
        amount: 10_001.into(),
        ..operation
    };
    let chain = vec![pay(3, PURSE, earnings(OTHER), 10).linked(), poor];
    world.open_earnings(OTHER);
    assert_eq!(
        world.run(both, chain, attachments.clone()),
        [Outcome::LinkedFailed, Outcome::InsufficientFunds],
        "it may end one"
    );
    assert_eq!(world.totals(PURSE), [0, 10_000, 0, 0]);
    let chain = vec![pay(4, PURSE, earnings(OTHER), 10).linked(), operation];
    world.must(both, chain, attachments.clone());
    assert_eq!(world.totals(PURSE), [10, 10_000, 500, 0]);
    let again = world.run(both, vec![operation], attachments);
    assert_eq!(again, [Outcome::ValidatorTaken]);
    world.check();
}

#[test]
fn where_one_validator_decides_nobody_joins() {
    let genesis = Genesis::solo("alone", 1, key(AUTHORITY).public().clone());
    let mut world = World::of(genesis, Plane::Solo);
    world.found();
    let (operation, attachments) = join(&world, JOINER, BOND, PURSE);
    let outcomes = world.run(&[JOINER, OWNER], vec![operation], attachments);
    assert_eq!(outcomes, [Outcome::ValidatorsFixed]);
}

#[test]
fn without_a_reserve_no_money_is_bonded() {
    let mut world = World::with_fees(Plane::Stake, |fees| fees.collector = AccountId::NONE);
    let (operation, attachments) = join(&world, JOINER, BOND, PURSE);
    let outcomes = world.run(&[JOINER, OWNER], vec![operation], attachments);
    assert_eq!(outcomes, [Outcome::ReserveClosed]);
}

#[test]
fn more_is_locked_at_once_and_less_goes_back_when_it_answers_for_nothing() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 3);
    let bond = |units, account| Operation::bond(1, id(JOINER), units, account);
    let more = bond(BOND + 100, AccountId::NONE);
    assert_eq!(
        world.run(&[JOINER], vec![more], Vec::new()),
        [Outcome::NotAuthorized],
        "the money's owner did not sign"
    );
    assert_eq!(
        world.run(&[OWNER], vec![more], Vec::new()),
        [Outcome::NotAuthorized]
    );
    let elsewhere = bond(BOND + 100, RESERVE);
    assert_eq!(
        world.run(&[JOINER, OWNER], vec![elsewhere], Vec::new()),
        [Outcome::BondAccount]
    );
    world.must(&[JOINER, OWNER], vec![more], Vec::new());
    assert_eq!(world.totals(PURSE), [0, 10_000, 600, 0]);
    world.must(&[OWNER], vec![bond(200, AccountId::NONE)], Vec::new());
    assert_eq!(
        world.totals(PURSE),
        [0, 10_000, 600, 0],
        "what counted stays locked"
    );
    let close = world.run(&[OWNER], vec![Operation::close_account(PURSE)], Vec::new());
    assert_eq!(close, [Outcome::AccountPending]);
    assert_eq!(world.power(JOINER), Some(BOND), "until the epoch ends");
    world.to(2 * EPOCH);
    assert_eq!(world.power(JOINER), Some(200));
    world.to(3 * EPOCH);
    assert_eq!(
        world.totals(PURSE),
        [0, 10_000, 600, 0],
        "an offence of the epoch before counts"
    );
    world.step();
    assert_eq!(world.totals(PURSE), [0, 10_000, 200, 0]);
    assert_eq!(world.totals(RESERVE), [0, 0, 0, 200]);
    world.check();
}

#[test]
fn who_leaves_gets_its_bond_once_nothing_holds_it() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 3);
    let leave = Operation::bond(1, id(JOINER), 0, AccountId::NONE);
    assert_eq!(
        world.run(&[OTHER], vec![leave], Vec::new()),
        [Outcome::NotAuthorized]
    );
    world.must(&[JOINER], vec![leave], Vec::new());
    let member = world.chain.standing().unwrap().member(&id(JOINER)).unwrap();
    world.to(2 * EPOCH);
    assert_eq!(world.power(JOINER), None);
    while world.chain.standing().unwrap().holds(member).is_some() {
        assert_eq!(world.totals(PURSE), [0, 10_000, 500, 0], "{}", world.height());
        world.step();
    }
    assert_eq!(world.height(), 3 * EPOCH);
    world.step();
    assert_eq!(world.totals(PURSE), [0, 10_000, 0, 0]);
    assert_eq!(world.chain.ledger().bond(member), None);
    world.must(&[OWNER], vec![Operation::close_account(PURSE)], Vec::new());
    let again = world.run(&[JOINER], vec![leave], Vec::new());
    assert_eq!(again, [Outcome::ValidatorUnknown]);
    world.check();
}

#[test]
fn the_last_validator_stays() {
    let mut world = World::new(Plane::Stake);
    let leave = |seed: u8| Operation::bond(1, id(seed), 0, AccountId::NONE);
    for founder in &FOUNDERS[..3] {
        world.must(&[*founder], vec![leave(*founder)], Vec::new());
    }
    let last = world.run(&[FOUNDERS[3]], vec![leave(FOUNDERS[3])], Vec::new());
    assert_eq!(last, [Outcome::LastValidator]);
    world.to(EPOCH + 2);
    assert_eq!(world.chain.validators().len(), 1);
    world.check();
}

#[test]
fn a_rotated_key_counts_until_the_epoch_ends_and_answers_after_it() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 2);
    let attachments = [id(OTHER).0.as_bytes().as_slice(), key(OTHER).public().as_bytes()].concat();
    let len = u32::try_from(attachments.len()).unwrap();
    let rotate = Operation::rotate(1, id(JOINER), 1, (0, len));
    for by in [[JOINER].as_slice(), &[OTHER]] {
        let alone = world.run(by, vec![rotate], attachments.clone());
        assert_eq!(alone, [Outcome::NotAuthorized], "both keys sign");
    }
    world.must(&[JOINER, OTHER], vec![rotate], attachments);
    assert_eq!((world.power(JOINER), world.power(OTHER)), (Some(BOND), None));
    let at = world.height();
    world.to(2 * EPOCH);
    assert_eq!((world.power(JOINER), world.power(OTHER)), (None, Some(BOND)));
    world.step();
    // The old key is asked for nothing more, but what it signed before costs the same bond.
    let more = Operation::bond(2, id(JOINER), BOND + 1, AccountId::NONE);
    assert_eq!(
        world.run(&[JOINER, OWNER], vec![more], Vec::new()),
        [Outcome::ValidatorUnknown]
    );
    let proof = world.proof(JOINER, Height(at));
    world.step_with(Vec::new(), &proof);
    assert_eq!(world.totals(PURSE), [100, 10_000, 400, 0]);
    world.to(3 * EPOCH);
    assert_eq!(world.power(OTHER), None, "its power is gone too");
    world.check();
}

#[test]
fn an_offence_costs_a_fifth_of_the_bond_once() {
    let mut world = joined(Plane::Stake);
    world.to(EPOCH + 3);
    let leave = Operation::bond(1, id(JOINER), 100, AccountId::NONE);
    world.must(&[JOINER], vec![leave], Vec::new());
    let proof = world.proof(JOINER, Height(EPOCH + 1));
    world.step_with(Vec::new(), &proof);
    assert_eq!(
        world.totals(PURSE),
        [100, 10_000, 400, 0],
        "what waits to go back answers too"
    );
    assert_eq!(world.totals(RESERVE), [0, 100, 0, 400]);
    world.to(2 * EPOCH);
    assert_eq!(world.power(JOINER), None);
    // It is on no roll any more, and what was proved is not new all the same.
    let again = Offence {
        validator: id(JOINER),
        height: Height(EPOCH + 1),
    };
    let later = Offence {
        height: Height(EPOCH + 2),
        ..again
    };
    let standing = world.chain.standing().unwrap();
    assert!(!standing.punishes(&again) && standing.punishes(&later));
    assert_eq!(world.totals(PURSE), [100, 10_000, 400, 0]);
    world.to(3 * EPOCH + 1);
    assert_eq!(world.totals(PURSE), [100, 10_000, 0, 0]);
    assert_eq!(world.totals(RESERVE), [0, 100, 0, 0]);
    world.check();
}

#[test]
fn another_chain_of_reveals_begins_with_an_epoch() {
    let mut world = World::new(Plane::Poai);
    let founder = FOUNDERS[1];
    let head = world.new_reveals(founder);
    let reveals = Operation::reveals(1, id(founder), 0);
    let before = world.reveals_before(founder);
    assert_eq!(
        world.run(&[founder], vec![reveals], vec![0; 32]),
        [Outcome::RevealsInvalid]
    );
    assert_eq!(
        world.run(&[OTHER], vec![reveals], head.0.to_vec()),
        [Outcome::NotAuthorized]
    );
    world.must(&[founder], vec![reveals], head.0.to_vec());
    assert_ne!(before, head);
    world.to(EPOCH - 1);
    assert_ne!(world.reveals_before(founder), head);
    world.step();
    assert_eq!(world.reveals_before(founder), head);
    world.begin_new_reveals(founder);
    world.to(3 * EPOCH);
    assert_ne!(world.reveals_before(founder), head, "it was used");
    world.check();
}

/// A network that gives everybody this quality, but for what one feature weighs.
fn network(quality: i32, feature: usize, weight: i8) -> Network {
    let mut weights = vec![0; FEATURES];
    weights[feature] = weight;
    let layer = Layer {
        inputs: FEATURES,
        shift: 0,
        biases: vec![quality],
        weights,
    };
    Network::new(FEATURES_VERSION, vec![layer]).unwrap()
}

fn set_quality(network: &Network) -> (Operation, Vec<u8>) {
    let file = network.to_bytes();
    let len = u32::try_from(file.len()).unwrap();
    (Operation::set_quality(1, network.id(), (0, len)), file)
}

#[test]
fn another_quality_network_decides_from_the_next_epoch_on() {
    let mut world = World::new(Plane::Poai);
    let before = world.qualities();
    let other = network(321, 0, -1);
    let (operation, file) = set_quality(&other);
    world.must(&[AUTHORITY], vec![operation], file);
    while world.height() < EPOCH {
        assert_eq!(world.qualities(), before, "after block {}", world.height());
        world.step();
    }
    assert_eq!(world.qualities(), [321; 4]);
    world.to(EPOCH + 2);
    // In an epoch's last block it is too late for the next one. The check restores a snapshot while it waits.
    let third = network(222, 0, -1);
    world.to(2 * EPOCH - 1);
    let (operation, file) = set_quality(&third);
    world.must(&[AUTHORITY], vec![operation], file);
    while world.height() < 3 * EPOCH {
        assert_eq!(world.qualities(), [321; 4], "after block {}", world.height());
        world.step();
    }
    assert_eq!(world.qualities(), [222; 4]);
    world.to(3 * EPOCH + EPOCH / 2 + 1);
    world.check();
}

#[test]
fn a_quality_network_is_refused_for_what_it_lacks() {
    let mut world = World::new(Plane::Poai);
    let good = network(321, 0, -1);
    let (operation, file) = set_quality(&good);
    let refused = |world: &mut World, by: u8, operation: Operation, file: &[u8], outcome: Outcome| {
        assert_eq!(world.run(&[by], vec![operation], file.to_vec()), [outcome]);
    };
    refused(&mut world, OTHER, operation, &file, Outcome::NotAuthorized);
    refused(
        &mut world,
        AUTHORITY,
        operation,
        &file[1..],
        Outcome::AttachmentRange,
    );
    let mut damaged = file.clone();
    damaged[20] ^= 1;
    refused(
        &mut world,
        AUTHORITY,
        operation,
        &damaged,
        Outcome::NetworkInvalid,
    );
    let (of_another, _) = set_quality(&network(322, 0, -1));
    refused(
        &mut world,
        AUTHORITY,
        of_another,
        &file,
        Outcome::AttachmentInvalid,
    );
    // One that rewards missed proposals, and one of other features.
    let (rewards, rewarding) = set_quality(&network(321, 0, 1));
    refused(
        &mut world,
        AUTHORITY,
        rewards,
        &rewarding,
        Outcome::NetworkInvalid,
    );
    let newer = Network::new(FEATURES_VERSION + 1, good.layers().to_vec()).unwrap();
    let (newer, bytes) = set_quality(&newer);
    refused(&mut world, AUTHORITY, newer, &bytes, Outcome::NetworkInvalid);
    let chain = vec![operation.linked(), Operation::anchor(2, operation.named())];
    assert_eq!(
        world.run(&[AUTHORITY], chain, file.clone()),
        [Outcome::FlagsUnknown, Outcome::LinkedFailed],
        "nothing may follow in its chain"
    );
    world.check();
    let mut stake = World::new(Plane::Stake);
    refused(&mut stake, AUTHORITY, operation, &file, Outcome::NetworkInvalid);
    let mut solo = World::of(
        Genesis::solo("alone", 1, key(AUTHORITY).public().clone()),
        Plane::Solo,
    );
    refused(&mut solo, AUTHORITY, operation, &file, Outcome::ValidatorsFixed);
}

#[test]
fn a_chain_begins_with_the_network_that_its_genesis_carries() {
    let keys = FOUNDERS.map(key);
    let solo = Genesis::solo("members", 1, key(AUTHORITY).public().clone());
    let epoch = u32::try_from(EPOCH).unwrap();
    let plain = found(solo, Plane::Poai, &keys, epoch, 64);
    let own = with_network(plain.clone(), &network(77, 0, -1));
    assert_ne!(own.chain_id(), plain.chain_id());
    assert_eq!(Genesis::decode(&own.to_bytes()).unwrap(), own);
    let mut world = World::of(own.clone(), Plane::Poai);
    assert_eq!(world.qualities(), [77; 4]);
    world.to(EPOCH + 2);
    assert_eq!(world.qualities(), [77; 4]);
    world.check();
    // One that comes with the program is named, not carried.
    let named = with_network(plain.clone(), &by_hand());
    assert!(named.founding.as_ref().unwrap().network_file.is_empty());
    assert!(standing(&named).is_ok());
    let wrong = with_network(plain, &network(77, 0, 1));
    assert!(standing(&wrong).is_err(), "it rewards a failing");
}

#[test]
fn the_fees_of_a_block_are_paid_to_the_last_unit() {
    for plane in [Plane::Stake, Plane::Poai] {
        let mut world = World::with_fees(plane, |fees| fees.base = 997);
        let (operation, attachments) = join(&world, JOINER, BOND, PURSE);
        world.must(&[JOINER, OWNER], vec![operation], attachments);
        // Two founders have accounts; what the others earn is the reserve's.
        world.open_earnings(FOUNDERS[0]);
        world.open_earnings(FOUNDERS[1]);
        world.to(EPOCH + 2);
        let all = [RESERVE, PURSE, earnings(FOUNDERS[0]), earnings(FOUNDERS[1])];
        let balance = |world: &World, account| {
            let [debits, credits, ..] = world.totals(account);
            credits - debits
        };
        for _ in 0..12 {
            let before = all.map(|account| balance(&world, account));
            world.pay_fee();
            let after = all.map(|account| balance(&world, account));
            let gained: Vec<u128> = after
                .iter()
                .zip(before)
                .map(|(after, before)| after - before)
                .collect();
            assert_eq!(gained.iter().sum::<u128>(), 997, "{gained:?}");
        }
        let earned = |account| world.totals(account)[1];
        assert!(earned(earnings(FOUNDERS[0])) > 0 && earned(earnings(FOUNDERS[1])) > 0);
        assert!(world.totals(RESERVE)[1] > 0, "two founders have no account");
        assert!(world.totals(PURSE)[1] > 10_000, "a bond's account earns");
        world.check();
    }
}

#[test]
fn a_collector_cannot_spend_what_a_block_has_brought_before_it_is_shared() {
    let mut world = World::with_fees(Plane::Stake, |fees| fees.base = 1_000);
    world.open_earnings(FOUNDERS[0]);
    world.to(4);
    let [debits, credits, ..] = world.totals(RESERVE);
    let spend = |amount| vec![pay(5, RESERVE, PURSE, amount)];
    let outcomes = world.run(&[AUTHORITY, OTHER], spend(credits - debits + 1), Vec::new());
    assert_eq!(outcomes, [Outcome::InsufficientFunds]);
    let [debits, credits, ..] = world.totals(RESERVE);
    world.must(&[AUTHORITY, OTHER], spend(credits - debits), Vec::new());
    assert!(world.totals(earnings(FOUNDERS[0]))[1] > 0);
    world.check();
}

#[test]
fn a_founder_names_an_account_and_bonds_money_on_top() {
    let mut world = World::new(Plane::Stake);
    let founder = FOUNDERS[0];
    let bond = |units, account| Operation::bond(1, id(founder), units, account);
    assert_eq!(
        world.run(&[founder, OWNER], vec![bond(1_300, AccountId::NONE)], Vec::new()),
        [Outcome::BondAccount]
    );
    world.must(&[founder, OWNER], vec![bond(1_300, PURSE)], Vec::new());
    assert_eq!(world.totals(PURSE)[2], 300, "what genesis gave is without money");
    world.to(EPOCH);
    assert_eq!(world.power(founder), Some(1_300));
    world.must(&[founder], vec![bond(900, AccountId::NONE)], Vec::new());
    world.to(3 * EPOCH + 1);
    assert_eq!(world.power(founder), Some(900));
    assert_eq!(world.totals(PURSE)[2], 0, "money goes first");
    world.check();
}

#[test]
fn a_validator_says_where_it_listens_and_nobody_else_does() {
    let mut world = joined(Plane::Poai);
    let address = "203.0.113.7:7402".parse().unwrap();
    let bytes = encode_address(&address).to_vec();
    let says = |seed: u8| vec![Operation::address(1, id(seed), 0)];
    let known = |world: &World| {
        let held = world.chain.standing().unwrap().held();
        held.iter().find(|one| one.number == 4).unwrap().address
    };
    let refused = [
        (JOINER, OTHER, bytes.clone(), Outcome::NotAuthorized),
        (OTHER, OTHER, bytes.clone(), Outcome::ValidatorUnknown),
        (JOINER, JOINER, bytes[..17].to_vec(), Outcome::AttachmentRange),
        (JOINER, JOINER, vec![0; 18], Outcome::AttachmentInvalid),
    ];
    for (of, by, bytes, outcome) in refused {
        assert_eq!(world.run(&[by], says(of), bytes), [outcome]);
    }
    assert_eq!(known(&world), None);
    world.must(&[JOINER], says(JOINER), bytes);
    assert_eq!(
        known(&world),
        Some(address),
        "at once, while it waits for its set"
    );
    world.to(EPOCH + 2);
    assert_eq!(known(&world), Some(address));
    world.check();
}
