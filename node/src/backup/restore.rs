//! Restoring: a directory beside the wanted one is filled, checked as `selfchain verify` does, and only then put in place.

use crate::folder;
use crate::replica::{MarkError, mark_restored};
use crate::store::{GENESIS_FILE, StoreError, genesis_at};
use crate::verify::{VerifyReport, verify_as};
use selfchain_storage::backup::age::Identity;
use selfchain_storage::backup::{
    BackupError, Depot, History, RESTORING_GENESIS, RESTORING_MARK, Restored, finish, restore as fill,
};
use selfchain_storage::{Disk, FileDisk, LogConfig};
use selfchain_types::backup::Reach;
use selfchain_types::block::{Header, Row};
use selfchain_types::codec::DecodeError;
use selfchain_types::seam::log::LogError;
use selfchain_types::{Hash, Height, hash};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// How a backup is restored.
pub struct RestoreOptions<'a> {
    /// Opens the parts.
    pub identity: &'a Identity,
    /// How the log is kept.
    pub log: LogConfig,
    /// Whether the other validators are lost as well, so that nobody knows more than this backup. Then this one need not
    /// be silent until the others are past what it may have signed.
    pub others_are_lost: bool,
}

/// What was restored.
#[derive(Debug)]
pub struct RestoreReport {
    /// What was put in.
    pub restored: Restored,
    /// What was checked.
    pub verified: VerifyReport,
    /// Whether it is silent at first, because there are other validators.
    pub is_quiet: bool,
}

/// Why nothing was put in place.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The directory is there, and not empty.
    #[error("{path} is there and not empty; nothing is ever restored over something")]
    Taken {
        /// The directory.
        path: PathBuf,
    },
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The directory beside cannot be opened.
    #[error("the directory beside, where the restore is made, cannot be opened")]
    Staging(#[source] LogError),
    /// What the backup holds is no sound ledger.
    #[error("what the backup holds does not hold")]
    Verify(#[source] StoreError),
    /// The ledger does not end where the manifest says.
    #[error(
        "the backup's manifest says height {said} with block {said_block}, the ledger ends at {got} with {got_block}"
    )]
    End {
        /// The height that was said.
        said: Height,
        /// The block that was said.
        said_block: Hash,
        /// The height that is there.
        got: Height,
        /// The block that is there.
        got_block: Hash,
    },
    /// The genesis is of another chain than the manifest says.
    #[error("the backup says that it is of chain {said}, and its genesis is of {got}")]
    Genesis {
        /// The chain that was said.
        said: Hash,
        /// The genesis' chain.
        got: Hash,
    },
    /// It could not be marked as restored.
    #[error("it could not be marked as restored")]
    Mark(#[from] MarkError),
    /// The operating system refused.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Key files that are closed to others again.
const KEY_FILES: [&str; 2] = [crate::keys::NODE_KEY_FILE, crate::keys::NEXT_KEY_FILE];

/// What a block says of the ledger: its hash, and the newest state root that its header commits to, with its height.
///
/// # Errors
/// [`DecodeError`].
pub fn tip_of(lag: u64, height: Height, row: &[u8]) -> Result<(Hash, Hash, Height), DecodeError> {
    let row = Row::decode(row)?;
    let header = Header::decode(row.header)?;
    let state_height = Height(height.0.saturating_sub(lag));
    Ok((hash::HEADER.hash(row.header), header.state_root, state_height))
}

/// Restores a backup as the directory `into`. One that was cut off goes on. `filled` and `verified` hear heights.
///
/// # Errors
/// [`RestoreError`]; `into` is as it was.
pub fn restore(
    depot: &dyn Depot,
    history: &History,
    into: &Path,
    options: &RestoreOptions<'_>,
    filled: &mut (dyn FnMut(Height) + Send),
    verified: &mut (dyn FnMut(Height, Height) + Send),
) -> Result<RestoreReport, RestoreError> {
    refuse_taken(into)?;
    let staging = beside(into);
    open_staging(&staging)?;
    let disk = FileDisk::open(&staging).map_err(RestoreError::Staging)?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    // A call that was cut off between the last two steps has only the last one left, and is checked once more.
    let restored = match is_finished(&*disk) {
        true => Restored::default(),
        false => fill(depot, history, options.identity, &disk, &options.log, filled)?,
    };
    let (verified, is_quiet) = check(&disk, history, options.others_are_lost, verified)?;
    for name in KEY_FILES {
        let path = staging.join(name);
        if path.exists() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                .map_err(failed("close to others", &path))?;
        }
    }
    finish(&*disk)?;
    // The lock goes with the directory, and must be free before a node can start there.
    drop(disk);
    put_in_place(&staging, into)?;
    Ok(RestoreReport {
        restored,
        verified,
        is_quiet,
    })
}

/// Whether everything but the name of the directory is in place.
fn is_finished(disk: &dyn Disk) -> bool {
    let is_there = |path| disk.open_read_only(path).is_ok();
    is_there(GENESIS_FILE) && !is_there(RESTORING_MARK)
}

/// Checks everything that was put in, and marks it.
fn check(
    disk: &Arc<dyn Disk>,
    history: &History,
    others_are_lost: bool,
    progress: &mut (dyn FnMut(Height, Height) + Send),
) -> Result<(VerifyReport, bool), RestoreError> {
    let body = history.newest().body();
    // A call that was cut off after everything was checked has put the genesis in place already.
    let path = match disk.open_read_only(RESTORING_GENESIS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => GENESIS_FILE,
        _ => RESTORING_GENESIS,
    };
    let genesis = genesis_at(&**disk, path).map_err(RestoreError::Verify)?;
    let (said, got) = (body.chain_id, genesis.chain_id());
    if said != got {
        return Err(RestoreError::Genesis { said, got });
    }
    let has_others = genesis.validators.len() > 1;
    let verified = verify_as(genesis, Arc::clone(disk), progress).map_err(RestoreError::Verify)?;
    let Reach { last, block, .. } = body.reach;
    if (verified.height, verified.block) != (last, block) {
        return Err(RestoreError::End {
            said: last,
            said_block: block,
            got: verified.height,
            got_block: verified.block,
        });
    }
    let is_quiet = has_others && !others_are_lost;
    if is_quiet {
        mark_restored(Arc::clone(disk), verified.height)?;
    }
    Ok((verified, is_quiet))
}

fn refuse_taken(into: &Path) -> Result<(), RestoreError> {
    match fs::read_dir(into) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look into", into)(error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::Taken { path: into.into() }),
        },
    }
}

/// The directory where the restore is made: on the same file system, so that it can be put in place in one step.
fn beside(into: &Path) -> PathBuf {
    let mut name = into.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    into.with_file_name(name)
}

fn open_staging(staging: &Path) -> Result<(), RestoreError> {
    fs::create_dir_all(staging).map_err(failed("make", staging))?;
    // There may be secret keys in it.
    fs::set_permissions(staging, fs::Permissions::from_mode(0o700))
        .map_err(failed("close to others", staging))
}

fn put_in_place(staging: &Path, into: &Path) -> Result<(), RestoreError> {
    // One step, also over a directory that is there and empty.
    fs::rename(staging, into).map_err(failed("put in place", into))?;
    folder::sync_of(into).map_err(failed("sync the folder of", into))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError + use<> {
    let path = path.to_owned();
    move |source| RestoreError::Io { what, path, source }
}
