//! How fast the index takes entries and answers, and what memory and disk it uses.
//!
//! `cargo run --profile bench -p selfchain-storage --example index_rate -- DIR [MILLIONS_OF_TRANSACTIONS]`
#![allow(clippy::as_conversions, reason = "rates are printed as floats")]

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selfchain_storage::{FileDisk, HistoryEntry, Index, IndexConfig, Position, StorageMetrics, TxEntry};

const TXS_PER_BLOCK: u64 = 500;
/// One of so many transactions touches an account that keeps its history.
const HISTORY_EVERY: u64 = 10;
const LOOKUPS: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().ok_or("usage: index_rate DIR [MILLIONS]")?);
    let millions: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let dir = root.join("index_rate");
    let metrics = Arc::new(StorageMetrics::default());
    let disk = Arc::new(FileDisk::open(&dir)?);
    let before = memory_kib()?;
    let mut index = Index::open(disk, IndexConfig::default(), Arc::clone(&metrics), None)?;
    let blocks = millions * 1_000_000 / TXS_PER_BLOCK;

    let (mut inserting, mut longest, mut most_kib) = (Duration::ZERO, Duration::ZERO, 0);
    let cpu_began = cpu_time()?;
    for height in 1..=blocks {
        let txs: Vec<_> = (0..TXS_PER_BLOCK)
            .map(|number| TxEntry {
                prefix: prefix(height, number),
                index: u32::try_from(number).unwrap_or(0),
            })
            .collect();
        let history: Vec<_> = (0..TXS_PER_BLOCK / HISTORY_EVERY)
            .map(|number| HistoryEntry {
                account: u128::from(mix(height ^ (number << 40)) % 10_000),
                index: u32::try_from(number).unwrap_or(0),
                value: [0; 64],
            })
            .collect();
        let began = Instant::now();
        index.insert_block(height, &txs, &history)?;
        let took = began.elapsed();
        inserting += took;
        longest = longest.max(took);
        if height % 1_000 == 0 {
            most_kib = most_kib.max(memory_kib()?);
        }
    }
    let cpu = cpu_time()?.saturating_sub(cpu_began);
    let txs = blocks * TXS_PER_BLOCK;
    println!(
        "insert/txs={txs} history=1:{HISTORY_EVERY}: {:.0} tx/s, {:.2} us a tx, cpu {:.2} us a tx (with making them), longest block {:.1} ms",
        txs as f64 / inserting.as_secs_f64(),
        inserting.as_secs_f64() * 1e6 / txs as f64,
        cpu.as_secs_f64() * 1e6 / txs as f64,
        longest.as_secs_f64() * 1e3,
    );
    println!(
        "size: {} runs, {:.1} bytes a tx on disk, {} KiB more memory at most",
        metrics.index_runs.get(),
        metrics.index_bytes.get() as f64 / txs as f64,
        most_kib.saturating_sub(before),
    );

    let reader = index.reader();
    let time =
        |name: &str, ask: &dyn Fn(u64) -> Result<bool, Box<dyn Error>>| -> Result<(), Box<dyn Error>> {
            let began = Instant::now();
            let mut found = 0;
            for number in 0..LOOKUPS {
                found += u64::from(ask(mix(number))?);
            }
            let each = began.elapsed().as_secs_f64() * 1e6 / LOOKUPS as f64;
            println!("lookup/{name}: {each:.1} us, {found} of {LOOKUPS} found");
            Ok(())
        };
    time("hit", &|random| {
        let prefix = prefix(1 + random % blocks, (random >> 32) % TXS_PER_BLOCK);
        Ok(!reader.find_tx(&prefix)?.is_empty())
    })?;
    time("miss", &|random| {
        Ok(!reader.find_tx(&prefix(random, u64::MAX))?.is_empty())
    })?;
    time("balance", &|random| {
        Ok(reader
            .balance_at(u128::from(random % 10_000), blocks / 2)?
            .is_some())
    })?;
    time("history_100", &|random| {
        let rows = reader.history(u128::from(random % 10_000), Position::FIRST, 100)?;
        Ok(!rows.is_empty())
    })?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn prefix(height: u64, number: u64) -> [u8; 16] {
    let low = mix(height.wrapping_mul(1_000_003) ^ number);
    let mut prefix = [0; 16];
    prefix[..8].copy_from_slice(&low.to_le_bytes());
    prefix[8..].copy_from_slice(&mix(low).to_le_bytes());
    prefix
}

/// The finalizer of SplitMix64.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Memory of this process, in KiB.
fn memory_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// Processor time of this process so far, in the kernel's ticks of 10 ms.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).map_or(Ok(0), |field| field.parse::<u64>());
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}
