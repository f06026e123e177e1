//! The vault on a disk that loses power at every write, sync, rename and removal: what was acknowledged is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use selfchain_types::vault::{Anchored, Denial, DenialReason, Grant, Rights, VaultAction, VersionState};
use selfchain_types::{Hash, Height, KeyId, TimeNs};

use super::{PIECE_BYTES, Vault, VaultError, VaultLimits};
use crate::disk::{Faults, FaultyDisk};

const SECRET: [u8; 32] = [7; 32];
const AUTHOR: KeyId = KeyId(Hash([9; 32]));

/// What a version must be, as far as was said: its content, or that it is removed or destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Content(Vec<u8>),
    Removed,
    Purged,
}

/// What a run was told, and what it had asked for last.
#[derive(Clone, Debug, Default)]
struct Told {
    documents: BTreeMap<String, Vec<Kept>>,
    grants: usize,
    denials: usize,
    anchored: Vec<(String, u64)>,
    asked: Option<Asked>,
}

#[derive(Clone, Debug)]
enum Asked {
    Put(String, Vec<u8>),
    Remove(String),
    Purge(String, u64),
    Other,
}

fn limits() -> VaultLimits {
    VaultLimits {
        reserve_bytes: 0,
        ..VaultLimits::default()
    }
}

fn open(disk: &FaultyDisk) -> Result<Vault, VaultError> {
    Vault::open(Arc::new(disk.clone()), &SECRET, limits())
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(17).wrapping_add(seed))
        .collect()
}

struct Run<'a> {
    vault: Vault,
    told: &'a mut Told,
}

impl Run<'_> {
    fn put(&mut self, name: &str, content: Vec<u8>) -> Result<(), VaultError> {
        self.told.asked = Some(Asked::Put(name.into(), content.clone()));
        let mut upload = self.vault.begin(name)?;
        for part in content.chunks(40_000) {
            upload.write(part)?;
        }
        self.vault.finish(upload, None, AUTHOR, TimeNs(1))?;
        let versions = self.told.documents.entry(name.into()).or_default();
        versions.push(Kept::Content(content));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), VaultError> {
        self.told.asked = Some(Asked::Remove(name.into()));
        self.vault.remove(name, AUTHOR, TimeNs(1))?;
        let versions = self.told.documents.get_mut(name).unwrap();
        versions.push(Kept::Removed);
        Ok(())
    }

    fn purge(&mut self, name: &str, through: u64) -> Result<(), VaultError> {
        self.told.asked = Some(Asked::Purge(name.into(), through));
        self.vault.purge(name, through)?;
        purge(self.told.documents.get_mut(name).unwrap(), through);
        Ok(())
    }

    fn others(&mut self, seed: u8) -> Result<(), VaultError> {
        self.told.asked = Some(Asked::Other);
        self.vault.grant(&Grant {
            key: KeyId(Hash([seed; 32])),
            prefix: "a".into(),
            rights: Rights {
                read: true,
                write: true,
            },
            until_ns: TimeNs(0),
            time_ns: TimeNs(1),
        })?;
        self.told.grants += 1;
        let denial = Denial {
            time_ns: TimeNs(1),
            key: Some(AUTHOR),
            address: String::new(),
            action: VaultAction::Put,
            name: "a".into(),
            why: DenialReason::NoGrant,
            missed: 0,
        };
        self.vault.deny(&[denial.clone(), denial])?;
        self.told.denials += 2;
        Ok(())
    }

    fn anchor(&mut self, name: &str, number: u64) -> Result<(), VaultError> {
        self.told.asked = Some(Asked::Other);
        let hash = self.vault.version(name, number)?.hash;
        let at = Anchored {
            tx_id: Hash([1; 32]),
            height: Height(2),
        };
        self.vault.anchored(&hash, &at)?;
        self.told.anchored.push((name.into(), number));
        Ok(())
    }
}

fn purge(versions: &mut [Kept], through: u64) {
    for kept in &mut versions[..through as usize] {
        if matches!(kept, Kept::Content(_)) {
            *kept = Kept::Purged;
        }
    }
}

fn run(disk: &FaultyDisk, told: &mut Told) -> Result<(), VaultError> {
    let mut run = Run {
        vault: open(disk)?,
        told,
    };
    run.put("a", content(10, 1))?;
    run.put("a", content(PIECE_BYTES, 2))?;
    run.put("b", content(2 * PIECE_BYTES + 1, 3))?;
    run.others(1)?;
    run.put("empty", Vec::new())?;
    run.anchor("a", 1)?;
    run.remove("b")?;
    // What was never finished.
    let mut upload = run.vault.begin("never")?;
    upload.write(&content(PIECE_BYTES + 7, 5))?;
    drop(upload);
    run.purge("a", 1)?;
    run.put("a", content(900, 6))?;
    run.others(2)?;
    drop(run.vault);
    run.vault = open(disk)?;
    run.put("b", content(33, 7))?;
    run.purge("b", 3)?;
    run.put("c", content(20, 8))
}

/// Holds what survived against what was told; what had been asked for last may have happened or not.
fn check(disk: &FaultyDisk, told: &Told, context: &str) {
    let mut vault = open(disk).unwrap_or_else(|error| panic!("{context}: {error}: {told:?}"));
    vault.check_book().unwrap();
    let found = documents(&vault, context);
    let mut or_else = told.documents.clone();
    match &told.asked {
        Some(Asked::Put(name, content)) => or_else
            .entry(name.clone())
            .or_default()
            .push(Kept::Content(content.clone())),
        Some(Asked::Remove(name)) => or_else.get_mut(name).unwrap().push(Kept::Removed),
        Some(Asked::Purge(name, through)) => purge(or_else.get_mut(name).unwrap(), *through),
        Some(Asked::Other) | None => {}
    }
    assert!(
        found == told.documents || found == or_else,
        "{context}: {:?} is neither what was told nor what was asked for",
        found
            .iter()
            .map(|(name, kept)| (name, kept.len()))
            .collect::<Vec<_>>()
    );
    let grants = vault.grants().len();
    assert!(
        (told.grants..=told.grants + 1).contains(&grants),
        "{context}: {grants} grants"
    );
    let denials = vault.denials().0.count();
    assert!(
        denials == told.denials || denials == told.denials + 2,
        "{context}: {denials} denials"
    );
    for (name, number) in &told.anchored {
        assert!(
            vault.version(name, *number).unwrap().anchored.is_some(),
            "{context}"
        );
    }
    // It goes on as if nothing had been.
    let mut upload = vault.begin("after").unwrap();
    upload.write(b"goes on").unwrap();
    vault.finish(upload, None, AUTHOR, TimeNs(9)).unwrap();
    drop(vault);
    let vault = open(disk).unwrap();
    assert_eq!(vault.read("after", 0, 0, 99).unwrap(), b"goes on", "{context}");
    let aside = vault.strays().unwrap();
    assert!(
        aside.iter().all(|name| !name.ends_with(".new")),
        "{context}: {aside:?}"
    );
}

fn documents(vault: &Vault, context: &str) -> BTreeMap<String, Vec<Kept>> {
    let kept = |name: &str, number, state| match state {
        VersionState::Written => {
            vault
                .check(name, number)
                .unwrap_or_else(|error| panic!("{context}: {name} {number}: {error}"));
            Kept::Content(vault.read(name, number, 0, 1 << 20).unwrap())
        }
        VersionState::Removed => Kept::Removed,
        VersionState::Purged => Kept::Purged,
    };
    vault
        .list("", "")
        .map(|newest| {
            let versions = vault.history(&newest.name, 1).unwrap();
            let kept = versions.map(|version| kept(&version.name, version.number, version.state));
            (newest.name.clone(), kept.collect())
        })
        .collect()
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut_at_any_operation() {
    let clean = FaultyDisk::new(0);
    let mut told = Told::default();
    run(&clean, &mut told).unwrap();
    told.asked = None;
    let ops = clean.ops();
    assert!(ops > 80, "a workload worth crashing: {ops} operations");
    check(&clean.restart(), &told, "no crash");
    for seed in 0..3 {
        for at in 0..ops {
            let disk = FaultyDisk::new(seed * 1_000 + at);
            disk.set_faults(Faults {
                crash_at: Some(at),
                ..Faults::default()
            });
            let mut told = Told::default();
            let ended = run(&disk, &mut told);
            assert!(disk.crashed(), "crash at {at} of {ops}: {ended:?}");
            check(
                &disk.restart(),
                &told,
                &format!("seed {seed}, crash at operation {at} of {ops}"),
            );
        }
    }
}

#[test]
fn after_a_failed_write_or_sync_it_refuses_until_it_is_opened_again_and_has_lost_nothing() {
    let clean = FaultyDisk::new(0);
    run(&clean, &mut Told::default()).unwrap();
    let ops = clean.ops();
    for at in 0..ops {
        let disk = FaultyDisk::new(at);
        disk.set_faults(Faults {
            fail_at: Some(at),
            ..Faults::default()
        });
        let mut told = Told::default();
        if run(&disk, &mut told).is_ok() {
            told.asked = None;
        }
        disk.set_faults(Faults::default());
        check(
            &disk.restart(),
            &told,
            &format!("failure of operation {at} of {ops}"),
        );
    }
}
