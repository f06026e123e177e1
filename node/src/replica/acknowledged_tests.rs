//! Whose word counts, for what, and for how long.

use super::*;
use selfchain_types::crypto::SigningKey;

const CHAIN: Hash = Hash([1; 32]);
const SEED: Hash = Hash([3; 32]);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn tx_id(number: u8) -> Hash {
    Hash([number; 32])
}

/// Said by the validator with key `by` of these transactions, at a height, in a run.
fn said(chain: Hash, by: u8, run: u64, height: u64, transactions: &[u8]) -> Acknowledgement {
    let ids = transactions.iter().map(|one| ShortId::of(&tx_id(*one))).collect();
    Acknowledgement::sign(&chain, run, Height(height), ids, &key(by))
}

/// What of these transactions peer 7, whose key is 7, acknowledged long before this tip, in the run that it still says.
fn found(acknowledged: &mut Acknowledged, transactions: &[u8], tip: u64) -> (Vec<u64>, u64) {
    let run = acknowledged.peers.get(&7).map_or(0, |words| words.run);
    acknowledged.receive(7, said(CHAIN, 7, run, tip, &[]), Height(tip));
    find(acknowledged, transactions, tip)
}

fn find(acknowledged: &mut Acknowledged, transactions: &[u8], tip: u64) -> (Vec<u64>, u64) {
    let waiting: Vec<Waiting> = transactions
        .iter()
        .map(|number| Waiting {
            tx_id: tx_id(*number),
            rate: 0,
            arrival: u64::from(*number),
            bytes: 1,
            effects: 1,
            from: Height(1),
            is_first: true,
        })
        .collect();
    let key = key(7);
    let signer = Signer {
        peer: 7,
        key: key.public(),
        chain_id: &CHAIN,
    };
    let signatures = BatchVerifier::new();
    let found = acknowledged.find(&waiting, &signer, Height(tip), &signatures, &SEED);
    (found.arrivals.into_iter().collect(), found.forged)
}

#[test]
fn a_word_counts_once_eight_blocks_followed_it_and_only_for_what_it_names() {
    let mut acknowledged = Acknowledged::default();
    acknowledged.receive(7, said(CHAIN, 7, 1, 20, &[1, 2]), Height(20));
    // It says an earlier height than the one where it came, and a later one.
    acknowledged.receive(7, said(CHAIN, 7, 1, 5, &[3]), Height(22));
    acknowledged.receive(7, said(CHAIN, 7, 1, 24, &[4]), Height(22));
    let all = [1, 2, 3, 4, 5];
    assert_eq!(found(&mut acknowledged, &all, 27), (vec![], 0));
    assert_eq!(found(&mut acknowledged, &all, 28), (vec![1, 2], 0));
    assert_eq!(found(&mut acknowledged, &all, 30), (vec![1, 2, 3], 0));
    assert_eq!(found(&mut acknowledged, &all, 32), (vec![1, 2, 3, 4], 0));
    assert_eq!(found(&mut acknowledged, &[5], 99), (vec![], 0));
}

#[test]
fn what_is_forged_or_of_another_chain_or_key_is_refused_and_the_rest_holds() {
    let mut acknowledged = Acknowledged::default();
    let mut spoilt = said(CHAIN, 7, 1, 2, &[2]);
    spoilt.signature[9] ^= 1;
    let mut moved = said(CHAIN, 7, 1, 2, &[3]);
    moved.transactions = vec![ShortId::of(&tx_id(4))];
    let mut unsigned = said(CHAIN, 7, 1, 2, &[6]);
    unsigned.signature.clear();
    for word in [
        said(CHAIN, 7, 1, 2, &[1]),
        spoilt,
        moved,
        said(Hash([2; 32]), 7, 1, 2, &[5]),
        // Another validator's word, said again as one's own.
        said(CHAIN, 8, 1, 2, &[1, 5]),
        unsigned,
    ] {
        acknowledged.receive(7, word, Height(2));
    }
    assert_eq!(found(&mut acknowledged, &[1, 2, 3, 4, 5, 6], 10), (vec![1], 5));
    assert_eq!(found(&mut acknowledged, &[1, 2, 3, 4, 5, 6], 10), (vec![1], 0));
    let left = &acknowledged.peers[&7];
    assert_eq!((left.kept.len(), left.bytes), (1, WORD_BYTES + 8));
}

#[test]
fn nothing_holds_of_one_that_has_not_said_its_run_since_the_last_block() {
    let mut acknowledged = Acknowledged::default();
    acknowledged.receive(7, said(CHAIN, 7, 1, 2, &[1]), Height(2));
    acknowledged.receive(7, said(CHAIN, 7, 1, 19, &[]), Height(20));
    assert_eq!(find(&mut acknowledged, &[1], 20), (vec![], 0));
    acknowledged.receive(7, said(CHAIN, 7, 1, 20, &[]), Height(20));
    assert_eq!(find(&mut acknowledged, &[1], 20), (vec![1], 0));
    acknowledged.linked(7);
    assert_eq!(
        find(&mut acknowledged, &[1], 20),
        (vec![], 0),
        "it may have restarted"
    );
    acknowledged.receive(7, said(CHAIN, 7, 1, 20, &[]), Height(20));
    assert_eq!(find(&mut acknowledged, &[1], 20), (vec![1], 0));
}

#[test]
fn what_another_connection_brought_is_nobody_elses_word() {
    let mut acknowledged = Acknowledged::default();
    acknowledged.receive(8, said(CHAIN, 7, 1, 2, &[1]), Height(2));
    assert_eq!(found(&mut acknowledged, &[1], 10), (vec![], 0));
}

#[test]
fn a_later_run_withdraws_what_was_said_and_an_earlier_one_is_not_heard() {
    let mut acknowledged = Acknowledged::default();
    acknowledged.receive(7, said(CHAIN, 7, 5, 2, &[1]), Height(2));
    acknowledged.receive(7, said(CHAIN, 7, 4, 2, &[2]), Height(2));
    assert_eq!(found(&mut acknowledged, &[1, 2], 10), (vec![1], 0));
    acknowledged.receive(7, said(CHAIN, 7, 6, 2, &[]), Height(2));
    acknowledged.receive(7, said(CHAIN, 7, 5, 2, &[1]), Height(2));
    assert_eq!(found(&mut acknowledged, &[1, 2], 10), (vec![], 0));
}

#[test]
fn the_oldest_is_forgotten_when_it_is_too_much_and_when_it_is_over() {
    let mut acknowledged = Acknowledged::default();
    let many: Vec<u8> = (0..=255).collect();
    let forgotten: u64 = (0..200)
        .map(|height| acknowledged.receive(7, said(CHAIN, 7, 1, height, &many), Height(height)))
        .sum();
    let words = &acknowledged.peers[&7];
    assert!(words.bytes <= KEPT_BYTES_MAX && words.bytes + 3_000 > KEPT_BYTES_MAX);
    assert_eq!(words.kept.len() as u64 + forgotten, 200);
    acknowledged.decided(Height(250), 60, |peer| peer == 7);
    let oldest = acknowledged.peers[&7].kept.front().map(|word| word.since);
    assert_eq!(oldest, Some(Height(190)));
    acknowledged.decided(Height(250), 60, |peer| peer != 7);
    assert!(
        acknowledged.peers.is_empty(),
        "who does not sit is not remembered"
    );
}

#[test]
fn few_signatures_are_checked_for_one_block_and_each_once() {
    let mut acknowledged = Acknowledged::default();
    let every = u8::try_from(2 * CHECKED_MAX).unwrap();
    for number in 0..every {
        acknowledged.receive(7, said(CHAIN, 7, 1, 1, &[number]), Height(1));
    }
    let all: Vec<u8> = (0..every).collect();
    for looks in 1..=3 {
        let (arrivals, forged) = found(&mut acknowledged, &all, 20);
        assert_eq!((arrivals.len(), forged), (CHECKED_MAX * looks.min(2), 0));
    }
}
