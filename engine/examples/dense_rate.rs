//! What the dense Merkle tree spends on a block's changes, over all cores, and how much memory it keeps.
//!
//! `cargo run --profile bench -p selfchain-engine --example dense_rate`
#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a stopwatch that prints rates"
)]

use selfchain_engine::proof::DenseTree;
use selfchain_types::{Hash, hash};
use std::collections::BTreeMap;

const CHANGES: u32 = 16_384;
const ROUNDS: u32 = 20;

fn main() {
    let start = cpu_ns();
    for at in 0..1_000_000u64 {
        std::hint::black_box(hash::NODE.node(&Hash([at.to_le_bytes()[0]; 32]), &Hash::ZERO));
    }
    println!("dense/compression {:.0} ns", (cpu_ns() - start) / 1e6);
    for leaves in [10_000u32, 1_000_000, 10_000_000] {
        let before = resident();
        let mut tree = DenseTree::new();
        let start = cpu_ns();
        for from in (0..leaves).step_by(100_000) {
            let to = leaves.min(from + 100_000);
            let changes: Vec<(u32, Hash)> = (from..to).map(|at| (at, leaf(at, 0))).collect();
            tree.update(&changes);
        }
        let load = (cpu_ns() - start) / f64::from(leaves);
        let bytes = resident().saturating_sub(before) as f64 / f64::from(leaves);
        let (mut took, mut changed) = (0.0, 0);
        for round in 1..=ROUNDS {
            let changes: BTreeMap<u32, Hash> = (0..CHANGES)
                .map(|at| spread(at, round) % leaves)
                .map(|at| (at, leaf(at, round)))
                .collect();
            let changes: Vec<(u32, Hash)> = changes.into_iter().collect();
            let start = cpu_ns();
            tree.update(&changes);
            took += cpu_ns() - start;
            changed += changes.len();
        }
        let update = took / changed as f64;
        println!(
            "dense/leaves={leaves} load={load:.0} ns a leaf, update={update:.0} ns a change, {bytes:.1} B a leaf"
        );
    }
}

fn leaf(at: u32, round: u32) -> Hash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&at.to_le_bytes());
    bytes[4..8].copy_from_slice(&round.to_le_bytes());
    Hash(bytes)
}

fn spread(at: u32, round: u32) -> u32 {
    let bytes = hash::TABLE
        .hash(&[at.to_le_bytes(), round.to_le_bytes()].concat())
        .0;
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Bytes of memory that this process has resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

/// Nanoseconds that all threads of this process have run: other programs' load does not count.
fn cpu_ns() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let run = threads.filter_map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        status.split_whitespace().next()?.parse::<f64>().ok()
    });
    run.sum()
}
