//! Where a validator's guard against signing twice is, and what of it goes along with its key.

use crate::config::Config;
use crate::replica::GUARD_AHEAD;
use selfchain_storage::{Disk, FileDisk, Watermark, WatermarkError, WatermarkSlot, read_watermark};
use selfchain_types::Hash;
use selfchain_types::crypto::fill_random;
use selfchain_types::seam::log::LogError;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// Why there is no guard, and so no validator.
#[derive(Debug, Error)]
pub enum GuardError {
    /// Its directory, which another process may have.
    #[error("the directory of the guard against signing twice cannot be used")]
    Directory(#[source] LogError),
    /// The guard itself.
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    /// What a key file brings along is none.
    #[error("what the key file says was signed does not check: bring that file once more")]
    Carried,
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
}

/// Opens the guard in a directory of its own, which it locks, or else beside the journal.
///
/// # Errors
/// [`GuardError`].
pub fn open(
    directory: Option<&Path>,
    data: &Arc<dyn Disk>,
    chain: Hash,
    carried: Option<&[u8]>,
) -> Result<Watermark, GuardError> {
    let disk: Arc<dyn Disk> = match directory {
        Some(directory) => Arc::new(FileDisk::open(directory).map_err(GuardError::Directory)?),
        None => Arc::clone(data),
    };
    let mut guard = Watermark::open(disk, chain, boot()?, GUARD_AHEAD)?;
    if let Some(carried) = carried {
        let slot = WatermarkSlot::decode(carried).ok_or(GuardError::Carried)?;
        if slot.signed.place > guard.signed().place || slot.signed.through > guard.signed().through {
            guard.take_over(&slot)?;
        }
    }
    Ok(guard)
}

/// What a stopped validator signed, for the file that its key goes to another machine in.
///
/// # Errors
/// [`GuardError`], above all where the node runs.
pub fn export(config: &Config) -> Result<Option<Vec<u8>>, GuardError> {
    // Both are locked while they are read: what signs meanwhile would not be in it.
    let data = FileDisk::open(&config.data_dir).map_err(GuardError::Directory)?;
    let slot = match &config.validator.guard_dir {
        Some(directory) => read_watermark(&FileDisk::open(directory).map_err(GuardError::Directory)?)?,
        None => read_watermark(&data)?,
    };
    Ok(slot.map(|slot| slot.encode().to_vec()))
}

/// Tells one start of the machine from another: what was written without a sync since the last one is not lost. Where
/// the machine does not say, every start of the process counts as one.
fn boot() -> Result<[u8; 16], GuardError> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let known = crate::keys::unhex(&digits).and_then(|bytes| bytes.as_slice().try_into().ok());
    match known {
        Some(boot) => Ok(boot),
        None => {
            let mut boot = [0; 16];
            fill_random(&mut boot).map_err(|_| GuardError::Random)?;
            Ok(boot)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_storage::{MemoryDisk, Place};

    const CHAIN: Hash = Hash([7; 32]);

    fn data() -> Arc<dyn Disk> {
        Arc::new(MemoryDisk::new())
    }

    #[test]
    fn a_second_process_with_the_same_guard_does_not_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(Some(folder.path()), &data(), CHAIN, None).unwrap();
        let second = open(Some(folder.path()), &data(), CHAIN, None);
        assert!(matches!(
            second,
            Err(GuardError::Directory(LogError::Locked { .. }))
        ));
        drop(first);
        assert!(open(Some(folder.path()), &data(), CHAIN, None).is_ok());
        let other = open(Some(folder.path()), &data(), Hash([8; 32]), None);
        assert!(matches!(other, Err(GuardError::Watermark(_))));
    }

    #[test]
    fn what_was_signed_goes_along_with_the_key_and_a_later_start_keeps_the_later() {
        let (here, there) = (data(), data());
        let place = |height| Place {
            height,
            round: 0,
            step: 2,
        };
        let mut guard = open(None, &here, CHAIN, None).unwrap();
        guard.advance(place(40), Hash([1; 32])).unwrap();
        drop(guard);
        let carried = read_watermark(&*here).unwrap().unwrap().encode();
        let mut moved = open(None, &there, CHAIN, Some(&carried)).unwrap();
        assert_eq!(moved.found().place, place(40));
        moved.advance(place(41), Hash([2; 32])).unwrap();
        drop(moved);
        // The key file says 40 for ever.
        assert_eq!(
            open(None, &there, CHAIN, Some(&carried)).unwrap().found().place,
            place(41)
        );
        let spoilt = open(None, &there, CHAIN, Some(&carried[1..]));
        assert!(matches!(spoilt, Err(GuardError::Carried)));
    }
}
