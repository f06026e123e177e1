//! Balances of the past: what the index says of every height is what replaying the log up to it gives.

use crate::stage::{ISSUANCE, PATIENCE, Stage, config, operator, pay};
use selfchain::answers::AnswerError;
use selfchain::client::Client;
use selfchain::engine::commit::{Chain, Prepared};
use selfchain::ledger::{LedgerError, issuance_account};
use selfchain::storage::{IndexConfig, MemoryDisk};
use selfchain::store::StoreConfig;
use selfchain::types::account::Balances;
use selfchain::types::crypto::{BatchVerifier, SigningKey};
use selfchain::types::message::HistoryRow;
use selfchain::types::{Genesis, Height, KeyId, Refusal};
use selfchain::{AccountFlags, AccountId, Amount, AssetId, Ledger, Operation};
use std::sync::Arc;
use std::time::Instant;
use zerocopy::FromZeros;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
/// Keeps no history.
const CAROL: AccountId = AccountId(3);
const COIN: AssetId = AssetId(1);
const BLOCKS: u64 = 60;

/// Decides every row anew, and hands the chain after each to `after`.
fn replay(genesis: Genesis, rows: impl Iterator<Item = Vec<u8>>, mut after: impl FnMut(&Chain)) {
    let mut chain = Chain::new(genesis, None);
    let signatures = BatchVerifier::new();
    for row in rows {
        let block = Prepared::new(chain.tip().height.next(), &row).unwrap();
        chain.verify(&block, &signatures).unwrap();
        after(&chain);
    }
}

fn balances(chain: &Chain, account: AccountId) -> Balances {
    let found = chain.ledger().account(account);
    found.map_or_else(Balances::new_zeroed, |found| found.hot.balances())
}

/// The transfers of block `at`: some are refused, some come twice in a block, and some leave one account alone.
fn transfers(at: u64) -> Vec<(AccountId, AccountId, u128)> {
    match at % 5 {
        0 => vec![(ALICE, BOB, 7), (BOB, ALICE, 2), (ALICE, CAROL, 1)],
        1 => vec![(ALICE, CAROL, 3)],
        2 => vec![(BOB, CAROL, 1 << 100), (BOB, CAROL, 1)],
        3 => vec![(CAROL, BOB, 1), (CAROL, BOB, 1)],
        _ => vec![(BOB, ALICE, 1), (BOB, ALICE, 1 << 100)],
    }
}

/// A ledger whose index writes a run every few heights, so that answers come from several runs and the buffer.
fn ledger() -> Ledger {
    let config = StoreConfig {
        index: IndexConfig {
            buffer_heights_max: 7,
            reserve_bytes: 0,
            ..IndexConfig::default()
        },
        ..StoreConfig::default()
    };
    let key = SigningKey::from_seed(&[1; 32]);
    let mut ledger = Ledger::open_on(Arc::new(MemoryDisk::new()), key, &config, &mut |_| {}).unwrap();
    ledger.create_asset(COIN, 0).unwrap();
    let bounded = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    for (account, flags) in [
        (ALICE, bounded.with(AccountFlags::HISTORY)),
        (BOB, bounded.with(AccountFlags::HISTORY)),
        (CAROL, bounded),
    ] {
        let open = Operation::open_account(account, COIN, KeyId::NONE, flags, Amount::ZERO, 0);
        ledger.commit(vec![open]).unwrap();
    }
    let issue = Operation::transfer(1, issuance_account(COIN), ALICE, Amount(10_000), COIN);
    ledger.commit(vec![issue]).unwrap();
    for at in 0..BLOCKS {
        let transfer = |(from, to, units)| Operation::transfer(1, from, to, Amount(units), COIN);
        let operations = transfers(at).into_iter().map(transfer).collect();
        match ledger.commit(operations) {
            Ok(_) | Err(LedgerError::Refused { .. }) => {}
            Err(error) => panic!("block of transfers {at}: {error}"),
        }
    }
    ledger
}

#[test]
fn the_balance_at_every_height_is_that_of_a_replay_up_to_it() {
    let ledger = ledger();
    let log = ledger.past().log();
    let tip = ledger.chain().tip().height;
    let rows = (1..=tip.0).map(|height| log.read(height).unwrap().to_vec());
    let mut heights = 0;
    replay(ledger.genesis().clone(), rows, |chain| {
        let height = chain.tip().height;
        for account in [ALICE, BOB] {
            assert_eq!(
                ledger.balance_at(account, height).unwrap(),
                balances(chain, account),
                "account {account} after {height}"
            );
        }
        heights += 1;
    });
    assert_eq!(heights, tip.0);
    assert!(heights > BLOCKS);
}

#[test]
fn a_history_read_page_by_page_is_the_whole_one() {
    let ledger = ledger();
    let whole = ledger.history(ALICE, Height(0), 1_000).unwrap();
    assert!(whole.len() > 40, "{} changes", whole.len());
    assert!(whole.is_sorted_by_key(|row| row.position));
    for rows_max in [1, 2, 7, 1_000] {
        let mut read: Vec<HistoryRow> = Vec::new();
        let mut from = Height(0).into();
        loop {
            let page = ledger.history(ALICE, from, rows_max).unwrap();
            assert!(page.len() <= usize::from(rows_max));
            let Some(last) = page.last() else { break };
            from = last.position.next();
            read.extend(page);
        }
        assert_eq!(read, whole, "{rows_max} rows a page");
    }
    let last = whole.last().unwrap();
    assert_eq!(last.balances, ledger.account(ALICE).unwrap().hot.balances());
    assert_eq!(
        last.balances,
        ledger.balance_at(ALICE, ledger.chain().tip().height).unwrap()
    );
}

#[test]
fn what_has_no_past_is_refused_by_its_reason() {
    let ledger = ledger();
    let above = ledger.chain().tip().height.next();
    assert!(matches!(
        ledger.balance_at(CAROL, Height(1)),
        Err(LedgerError::NoHistory(CAROL))
    ));
    assert!(matches!(
        ledger.history(CAROL, Height(0), 1),
        Err(LedgerError::NoHistory(CAROL))
    ));
    assert!(matches!(
        ledger.history(AccountId(99), Height(0), 1),
        Err(LedgerError::AccountUnknown(AccountId(99)))
    ));
    assert!(matches!(
        ledger.balance_at(ALICE, above),
        Err(LedgerError::Answer(AnswerError::NotFound { .. }))
    ));
}

#[test]
fn a_client_is_told_the_balances_of_a_replay_at_every_height() {
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config()).unwrap();
    stage.open(&[ALICE, BOB], 1_000);
    let client = stage.client();
    let signer = client.signer(operator(), 1).unwrap();
    for units in 1..=10 {
        let more = vec![pay(ALICE, BOB, units), pay(BOB, ALICE, 1), pay(ISSUANCE, BOB, 5)];
        assert!(signer.commit(more).unwrap().refused.is_empty());
    }
    let tip = client.status().unwrap().tip;
    let rows = (1..=tip.0).map(|height| client.block(Height(height)).unwrap().unwrap());
    replay(client.genesis().unwrap(), rows, |chain| {
        for account in [ALICE, BOB] {
            let row = indexed(&client, account, chain.tip().height);
            let told = row.map_or_else(Balances::new_zeroed, |row| row.balances);
            assert_eq!(told, balances(chain, account), "account {account}");
        }
    });
    let above = client.balance_at(ALICE, Height(tip.0 + 1_000)).unwrap_err();
    assert_eq!(above.refusal(), Some(Refusal::NotFound));
    stage.stop();
}

/// The index follows a moment later, and says so until it has: then it is asked again.
fn indexed(client: &Client, account: AccountId, height: Height) -> Option<HistoryRow> {
    let began = Instant::now();
    loop {
        match client.balance_at(account, height) {
            Err(error) if error.refusal() == Some(Refusal::IndexBehind) => {
                assert!(began.elapsed() < PATIENCE, "{error}");
            }
            answer => return answer.unwrap(),
        }
    }
}
