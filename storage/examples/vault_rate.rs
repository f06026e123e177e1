//! How fast a vault takes and gives documents on this machine: `vault_rate DIRECTORY [SMALL [BIG_MIB]]`.
//!
//! Puts SMALL documents of 1 KiB one after the other, each durable before the next, and one of BIG_MIB; reads and
//! checks all of it. The directory is on the disk that is to be measured; a folder `vault` is made in it.
#![allow(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selfchain_storage::vault::{Vault, VaultLimits};
use selfchain_storage::{Disk, FileDisk};
use selfchain_types::{Hash, KeyId, TimeNs};

const MIB: usize = 1 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("vault_rate DIRECTORY [SMALL [BIG_MIB]]");
    let mut number = |usual: usize| arguments.next().map_or(usual, |text| text.parse().unwrap());
    let (small, big) = (number(1_000), number(1_024));
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(Path::new(&directory)).unwrap());
    let open = || Vault::open(Arc::clone(&disk), &[7; 32], VaultLimits::default()).unwrap();
    let mut vault = open();
    let author = KeyId(Hash([1; 32]));
    let mut put = |name: &str, pieces: usize, piece: &[u8]| {
        let mut upload = vault.begin(name).unwrap();
        (0..pieces).for_each(|_| upload.write(piece).unwrap());
        vault.finish(upload, None, author, TimeNs(1)).unwrap();
    };

    let started = Instant::now();
    (0..small).for_each(|at| put(&format!("small/{at}"), 1, &[3; 1_024]));
    each("put of 1 KiB, durable", small, started.elapsed());
    let piece = vec![5; MIB];
    let started = Instant::now();
    put("big", big, &piece);
    rate("put", big, started.elapsed());

    let started = Instant::now();
    (0..small).for_each(|at| drop(vault.read(&format!("small/{at}"), 0, 0, MIB).unwrap()));
    each("get of 1 KiB", small, started.elapsed());
    let started = Instant::now();
    (0..big).for_each(|at| drop(vault.read("big", 0, (at * MIB).try_into().unwrap(), MIB).unwrap()));
    rate("get", big, started.elapsed());
    let started = Instant::now();
    vault.check("big", 0).unwrap();
    rate("check", big, started.elapsed());
    drop(vault);
    let started = Instant::now();
    let versions = open().totals().versions;
    println!(
        "open with {versions} versions: {} ms",
        started.elapsed().as_millis()
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("VmHWM"))
        .for_each(|line| println!("{line}"));
}

fn each(what: &str, count: usize, took: Duration) {
    let count = u32::try_from(count.max(1)).unwrap();
    println!("{what}: {} us each", (took / count).as_micros());
}

fn rate(what: &str, mib: usize, took: Duration) {
    let mib = f64::from(u32::try_from(mib).unwrap());
    println!("{what} of {mib} MiB: {:.0} MiB/s", mib / took.as_secs_f64());
}
