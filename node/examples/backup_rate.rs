//! How fast a ledger is backed up and restored, beside a plain copy of the same bytes on the same disk in the same run.
//!
//! `cargo run --release --example backup_rate -- FOLDER MIB OPERATIONS`: makes a ledger of so many MiB of rows in FOLDER,
//! signed once every so many operations, and then three times each: copies the log's files with a sync at the end, backs
//! the ledger up, and restores the backup. Before each the page cache forgets the files that it reads, so that all of them
//! read from the disk; a copy of what the cache holds is shown beside them. *Per core* is bytes by processor time, of all
//! threads and of the kernel for them; a copy waits for the disk more than it computes, so that it is given by the clock.

use rustix::fs::{Advice, fadvise};
use rustix::time::{ClockId, clock_gettime};
use selfchain::backup::{RestoreOptions, files_of, restore, tip_of};
use selfchain::storage::backup::age::Identity;
use selfchain::storage::backup::{CreateOptions, DirectoryDepot, History, PART_BYTES, Source, create};
use selfchain::storage::{Disk, FileDisk, LogConfig, SegmentLog, StorageMetrics};
use selfchain::types::crypto::x_wing::KemSecret;
use selfchain::types::crypto::{Scheme, SigningKey};
use selfchain::types::seam::log::Log;
use selfchain::types::{EnvelopeBuilder, TimeNs};
use selfchain::{AccountId, Amount, AssetId, Ledger, Operation};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MONEY: AssetId = AssetId(1);
const ACCOUNTS: u64 = 10_000;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, mib, operations] = words.as_slice() else {
        return Err("backup_rate FOLDER MIB OPERATIONS".into());
    };
    let (folder, bytes) = (Path::new(folder), mib.parse::<u64>()? << 20);
    let data = folder.join("data");
    if !data.exists() {
        make(&data, bytes, operations.parse()?)?;
    }
    for round in 1..=ROUNDS {
        println!("round {round}");
        measure(folder, &data)?;
    }
    Ok(())
}

/// A ledger of transfers between accounts chosen at random, from a seed.
fn make(data: &Path, bytes: u64, operations: usize) -> Result<(), Box<dyn Error>> {
    let mut ledger = Ledger::open(data)?;
    ledger.create_asset(MONEY, 2)?;
    let open = |from: u64| -> Vec<Operation> {
        let accounts = (from..from + 1_000).map(|id| AccountId(id.into()));
        accounts
            .map(|id| {
                let owner = selfchain::types::KeyId::NONE;
                Operation::open_account(
                    id,
                    MONEY,
                    owner,
                    selfchain::AccountFlags::default(),
                    Amount::ZERO,
                    0,
                )
            })
            .collect()
    };
    for from in (1..=ACCOUNTS).step_by(1_000) {
        ledger.commit(open(from))?;
    }
    let mut random = 7_u64;
    let mut next = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % bound
    };
    let envelopes = (8_192 / operations).max(1);
    let mut written = 0;
    while written < bytes {
        let counter = ledger.chain().ledger().lane(&ledger.key().id(), 0);
        let tip = ledger.chain().tip().height.next();
        let block: Vec<Vec<u8>> = (1..=envelopes)
            .map(|number| {
                let transfers = (0..operations).map(|_| {
                    let (from, to) = (1 + next(ACCOUNTS), 1 + next(ACCOUNTS));
                    let to = if to == from { 1 + to % ACCOUNTS } else { to };
                    let id = u128::from(next(1 << 31)) << 64 | u128::from(next(1 << 31));
                    let amount = Amount((1 + next(1_000_000)).into());
                    Operation::transfer(id, AccountId(from.into()), AccountId(to.into()), amount, MONEY)
                });
                let chain = ledger.chain().chain_id();
                let builder = EnvelopeBuilder::new(chain, tip, 1_000, transfers.collect());
                let number = u64::try_from(number).unwrap_or_default();
                builder.sign(&[(ledger.key(), 0, counter + number)])
            })
            .collect();
        written += block
            .iter()
            .map(|one| u64::try_from(one.len()).unwrap_or_default())
            .sum::<u64>();
        ledger
            .commit_all(block)?
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
    }
    Ok(())
}

fn measure(folder: &Path, data: &Path) -> Result<(), Box<dyn Error>> {
    let copy = folder.join("copy");
    remove(&copy)?;
    let files = fs::read_dir(data.join("log"))?.map(|entry| entry.map(|entry| entry.path()));
    let files: Vec<_> = files.collect::<Result<_, _>>()?;
    forget(&data.join("log"))?;
    let (copied, took, _) = timed(|| copy_files(&files, &copy))?;
    let copy_rate = rate(copied, took);
    println!(
        "  copy     {copied} bytes in {:.2} s: {copy_rate:.0} MB/s",
        took.as_secs_f64()
    );
    remove(&copy)?;
    let (copied, took, _) = timed(|| copy_files(&files, &copy))?;
    println!(
        "           {:.0} MB/s of what the page cache holds",
        rate(copied, took)
    );
    forget(&data.join("log"))?;

    let depot_dir = folder.join("depot");
    remove(&depot_dir)?;
    let depot = DirectoryDepot::open(Arc::new(FileDisk::open(&depot_dir)?))?;
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(data)?);
    let metrics = Arc::new(StorageMetrics::default());
    let log = SegmentLog::open(Arc::clone(&disk), LogConfig::default(), metrics)?;
    let reader = log.reader();
    let identity = Identity::new(KemSecret::from_seed(&[3; 32]));
    let key = SigningKey::of_scheme(Scheme::Ed25519SlhDsa128s, &[4; 32])?;
    let genesis = selfchain::store::read_genesis(&*disk)?;
    let source = Source {
        chain_id: genesis.chain_id(),
        log: &*reader,
        disk: &*disk,
        files: files_of(&*disk, reader.first(), reader.tip(), 1, false)?,
        tip_of: &|height, row| tip_of(1, height, row),
    };
    let options = CreateOptions {
        key: &key,
        recipients: &[identity.recipient()],
        created: TimeNs(1),
        threads: 2,
        part_bytes: PART_BYTES,
        is_full: false,
    };
    let (created, took, cpu) = timed(|| create(&depot, &source, &options, &mut |_| {}))?;
    let sealed = created.file_bytes;
    report("backup", created.content_bytes, took, cpu, copy_rate);
    println!(
        "           {sealed} bytes sealed, {:.3} of what is in them",
        share(sealed, created.content_bytes)
    );
    drop((log, disk));

    let back = folder.join("back");
    remove(&back)?;
    let history = History::read(&depot, &key.id())?;
    let options = RestoreOptions {
        identity: &identity,
        log: LogConfig::default(),
        others_are_lost: false,
    };
    forget(&depot_dir)?;
    let began = (Instant::now(), processor());
    let mut filled = None;
    let restored = restore(&depot, &history, &back, &options, &mut |_| {}, &mut |_, _| {
        filled.get_or_insert_with(|| (began.0.elapsed(), processor() - began.1));
    })?;
    let (took, cpu) = filled.ok_or("nothing was checked")?;
    report("restore", restored.restored.content_bytes, took, cpu, copy_rate);
    let checked = began.0.elapsed() - took;
    println!(
        "           then {:.2} s to check every hash, signature, root and total: {:.0} MB/s, {} transfers",
        checked.as_secs_f64(),
        rate(restored.restored.content_bytes, checked),
        restored.verified.transfers
    );
    Ok(())
}

fn report(what: &str, bytes: u64, took: Duration, cpu: Duration, copy_rate: f64) {
    let per_core = rate(bytes, cpu);
    println!(
        "  {what:<8} {bytes} bytes in {:.2} s: {:.0} MB/s with {:.2} cores, {per_core:.0} MB/s per core, {:.0} % of the copy",
        took.as_secs_f64(),
        rate(bytes, took),
        cpu.as_secs_f64() / took.as_secs_f64(),
        100.0 * per_core / copy_rate
    );
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration, Duration), E> {
    let (began, used) = (Instant::now(), processor());
    let done = work()?;
    Ok((done, began.elapsed(), processor() - used))
}

/// Processor time of this process so far.
fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[allow(clippy::as_conversions, reason = "for people to read")]
fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

#[allow(clippy::as_conversions, reason = "for people to read")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Copies files in pieces of 1 MiB, and syncs each.
fn copy_files(files: &[std::path::PathBuf], to: &Path) -> io::Result<u64> {
    fs::create_dir_all(to)?;
    let (mut copied, mut buffer) = (0, vec![0; 1 << 20]);
    for path in files {
        let (mut from, mut into) = (
            File::open(path)?,
            File::create(to.join(path.file_name().unwrap_or_default()))?,
        );
        loop {
            let len = from.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            into.write_all(&buffer[..len])?;
            copied += u64::try_from(len).unwrap_or_default();
        }
        into.sync_all()?;
    }
    File::open(to)?.sync_all()?;
    Ok(copied)
}

/// Lets the page cache drop what it holds of a folder's files.
fn forget(folder: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let file = File::open(entry?.path())?;
        // What is not on the disk yet cannot be dropped.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
