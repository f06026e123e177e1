//! Measures scoring: nanoseconds a transfer in blocks, over a million accounts and ten thousand, even and skewed: rows
//! folded in place, the shipped model's scores, and the fold of a block that was not scored; on one thread.
//!
//! `cargo run --profile bench -p selfchain-ai --example scoring_speed`

use selfchain_ai::features::{CONTEXT_BYTES, Contexts, Rows};
use selfchain_ai::model::{Predict, default_model};
use selfchain_types::seam::scorer::Timed;
use selfchain_types::{AccountId, Amount, AssetId, Operation, TimeNs};
use std::time::Instant;

const TRANSFERS: u64 = 2_000_000;
const BLOCK: usize = 8_190;

fn main() {
    let model = default_model();
    for (name, accounts, skew) in [
        ("a million, even", 1_000_000, 1),
        ("a million, skewed", 1_000_000, 4),
        ("ten thousand, even", 10_000, 1),
    ] {
        let mut state = 1_u64;
        let transfers: Vec<Operation> = (0..TRANSFERS)
            .map(|_| transfer(&mut state, accounts, skew))
            .collect();
        let mut contexts = Contexts::default();
        (0..accounts).for_each(|account| {
            let to = (account + 1) % accounts;
            contexts.observe(&of(account, to, 1), TimeNs(account));
        });
        let (mut row_ns, mut score_ns, mut fold_ns, mut sum) = (0, 0, 0, 0_i64);
        let (mut rows, mut log_odds) = (Rows::default(), Vec::new());
        for (at, block) in (1_u64..).zip(transfers.chunks(BLOCK)) {
            let time = TimeNs(at * 5_000_000);
            let timed: Vec<_> = block.iter().map(|operation| Timed { operation, time }).collect();
            rows.clear();
            let begun = Instant::now();
            // As where one validator orders.
            contexts.begin_decided();
            contexts.rows(&timed, &mut rows);
            contexts.keep();
            row_ns += begun.elapsed().as_nanos();
            log_odds.clear();
            let begun = Instant::now();
            model.log_odds(rows.rows(), &[], &mut log_odds);
            score_ns += begun.elapsed().as_nanos();
            sum += log_odds.iter().map(|one| i64::from(one.0)).sum::<i64>();
            let begun = Instant::now();
            contexts.observe_all(&timed);
            fold_ns += begun.elapsed().as_nanos();
        }
        let each = u128::from(TRANSFERS);
        println!(
            "{name}: rows {} ns, scores {} ns, fold {} ns a transfer; {} accounts, {} bytes a context, {} in all ({sum})",
            row_ns / each,
            score_ns / each,
            fold_ns / each,
            contexts.len(),
            CONTEXT_BYTES,
            contexts.memory_bytes(),
        );
    }
}

fn transfer(state: &mut u64, accounts: u64, skew: u32) -> Operation {
    of(
        account(state, accounts, skew),
        account(state, accounts, skew),
        next(state) % 1_000_000,
    )
}

/// An account's number; the higher the skew, the more often a low one.
fn account(state: &mut u64, accounts: u64, skew: u32) -> u64 {
    let mut account = accounts;
    for _ in 0..skew {
        account = (account * (next(state) >> 32)) >> 32;
    }
    account
}

fn of(from: u64, to: u64, amount: u64) -> Operation {
    let (from, to) = (AccountId(from.into()), AccountId(to.into()));
    Operation::transfer(1, from, to, Amount(amount.into()), AssetId(1))
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
