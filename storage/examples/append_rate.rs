//! How fast durable rows leave: our log against a bare append and fdatasync, turn by turn in the same run.
//!
//! `cargo run --profile bench -p selfchain-storage --example append_rate -- DIR [SECONDS_PER_TURN]`
#![allow(clippy::as_conversions, reason = "rates are printed as floats")]

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use selfchain_storage::{FileDisk, LogConfig, SegmentLog, StorageMetrics};
use selfchain_types::seam::log::Log as _;

const EVENT_BYTES: usize = 256;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(
        arguments
            .next()
            .ok_or("usage: append_rate DIR [SECONDS | reopen | fill]")?,
    );
    match arguments.next().as_deref() {
        None => measure_appends(&root, Duration::from_secs(3)),
        Some("reopen") => measure_reopens(&root),
        Some("fill") => fill_and_die(&root),
        Some(seconds) => measure_appends(&root, Duration::from_secs_f64(seconds.parse()?)),
    }
}

fn measure_appends(root: &Path, turn: Duration) -> Result<(), Box<dyn Error>> {
    println!(
        "{:<34} {:>12} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "append", "events/s", "MB/s", "p50 ms", "p99 ms", "cpu us/ev", "x raw"
    );
    for events in [200, 1_000, 10_000] {
        for round in 0..ROUNDS {
            let mut raw_rate = None;
            for way in [
                Way::Raw,
                Way::Log { quick_repair: false },
                Way::Log { quick_repair: true },
            ] {
                let dir = root.join("append_rate");
                fs::create_dir_all(&dir)?;
                let result = run(way, &dir, events, turn)?;
                let raw = *raw_rate.get_or_insert(result.rate());
                println!(
                    "{:<34} {:>12.0} {:>9.1} {:>9.3} {:>9.3} {:>9.3} {:>7.2}",
                    format!("{way} events={events} round={round}"),
                    result.rate(),
                    result.rate() * EVENT_BYTES as f64 / 1e6,
                    result.sync_ms(50),
                    result.sync_ms(99),
                    result.cpu.as_secs_f64() * 1e6 / result.events as f64,
                    result.rate() / raw,
                );
                fs::remove_dir_all(&dir)?;
            }
        }
    }
    Ok(())
}

/// How long a full segment takes to open after its writer was killed, and after a clean close.
fn measure_reopens(root: &Path) -> Result<(), Box<dyn Error>> {
    let dir = root.join("append_rate");
    for quick_repair in [false, true] {
        for check_on_open in [false, true] {
            let mut child = std::process::Command::new(std::env::current_exe()?);
            child
                .arg(&dir)
                .arg("fill")
                .env("QUICK_REPAIR", if quick_repair { "1" } else { "0" });
            if child.status()?.success() {
                return Err("the writer should have died".into());
            }
            for ended in ["killed", "closed"] {
                let config = LogConfig {
                    quick_repair,
                    check_on_open,
                    ..LogConfig::default()
                };
                let began = Instant::now();
                let disk = Arc::new(FileDisk::open(&dir)?);
                let log = SegmentLog::open(disk, config, Arc::new(StorageMetrics::default()))?;
                let (took, tip) = (began.elapsed(), log.reader().tip());
                println!(
                    "reopen/quick_repair={quick_repair} check_on_open={check_on_open} writer={ended}: {:.0} ms, tip {tip:?}",
                    took.as_secs_f64() * 1e3
                );
            }
            fs::remove_dir_all(&dir)?;
        }
    }
    Ok(())
}

/// Fills most of a segment and dies without closing it.
fn fill_and_die(dir: &Path) -> Result<(), Box<dyn Error>> {
    let quick_repair = std::env::var("QUICK_REPAIR").is_ok_and(|value| value == "1");
    let config = LogConfig {
        quick_repair,
        ..LogConfig::default()
    };
    let mut log = SegmentLog::open(
        Arc::new(FileDisk::open(dir)?),
        config,
        Arc::new(StorageMetrics::default()),
    )?;
    for height in 1..=FILL_ROWS {
        log.append(height, &vec![u64::to_le_bytes(height)[0]; FILL_ROW_BYTES])?;
        log.sync()?;
    }
    std::process::abort()
}

const FILL_ROWS: u64 = 1_000;
const FILL_ROW_BYTES: usize = 1 << 20;

#[derive(Clone, Copy)]
enum Way {
    Raw,
    Log { quick_repair: bool },
}

impl std::fmt::Display for Way {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Raw => write!(out, "raw"),
            Way::Log { quick_repair } => write!(out, "log/quick_repair={quick_repair}"),
        }
    }
}

struct Outcome {
    events: usize,
    took: Duration,
    cpu: Duration,
    syncs: Vec<Duration>,
}

impl Outcome {
    fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    fn sync_ms(&self, percent: usize) -> f64 {
        let at = (self.syncs.len() * percent / 100).min(self.syncs.len().saturating_sub(1));
        self.syncs.get(at).map_or(0.0, |sync| sync.as_secs_f64() * 1e3)
    }
}

/// Makes one row durable.
type Append = Box<dyn FnMut(u64, &[u8]) -> Result<(), Box<dyn Error>>>;

fn run(way: Way, dir: &Path, events: usize, turn: Duration) -> Result<Outcome, Box<dyn Error>> {
    let mut row = vec![0_u8; events * EVENT_BYTES];
    let mut append: Append = match way {
        Way::Raw => {
            let mut file = fs::File::create(dir.join("raw"))?;
            Box::new(move |_, row| {
                file.write_all(row)?;
                Ok(file.sync_data()?)
            })
        }
        Way::Log { quick_repair } => {
            let config = LogConfig {
                quick_repair,
                ..LogConfig::default()
            };
            let disk = Arc::new(FileDisk::open(dir)?);
            let mut log = SegmentLog::open(disk, config, Arc::new(StorageMetrics::default()))?;
            Box::new(move |height, row| {
                log.append(height, row)?;
                log.sync()?;
                Ok(())
            })
        }
    };
    let mut syncs = Vec::new();
    let (began, cpu_began) = (Instant::now(), cpu_time()?);
    for height in 1.. {
        // Bytes that differ from row to row, as cheap as they come.
        for (at, byte) in row.iter_mut().step_by(61).enumerate() {
            *byte = byte
                .wrapping_add(u64::to_le_bytes(height)[0])
                .wrapping_add(usize::to_le_bytes(at)[0]);
        }
        let sync_began = Instant::now();
        append(height, &row)?;
        syncs.push(sync_began.elapsed());
        if began.elapsed() >= turn {
            break;
        }
    }
    let (took, cpu) = (began.elapsed(), cpu_time()?.saturating_sub(cpu_began));
    let events = events * syncs.len();
    syncs.sort_unstable();
    Ok(Outcome {
        events,
        took,
        cpu,
        syncs,
    })
}

/// Processor time of this process so far, all threads, in the kernel's ticks of 10 ms.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).map_or(Ok(0), |field| field.parse::<u64>());
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}
