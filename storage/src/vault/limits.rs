//! What a vault may hold.

use super::VaultError;
use super::error::failed;
use crate::disk::Disk;

/// What a vault may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultLimits {
    /// Bytes of one version.
    pub version_bytes_max: u64,
    /// Bytes of all versions.
    pub bytes_max: u64,
    /// Versions in all, removals and destroyed ones included; about 500 bytes of memory each.
    pub versions_max: u64,
    /// Grants in force or over.
    pub grants_max: u64,
    /// What must stay free on the disk.
    pub reserve_bytes: u64,
}

impl Default for VaultLimits {
    fn default() -> Self {
        Self {
            version_bytes_max: 1 << 30,
            bytes_max: 64 << 30,
            versions_max: 100_000,
            grants_max: 1_000,
            reserve_bytes: 256 << 20,
        }
    }
}

impl VaultLimits {
    pub(super) fn check(limit: &'static str, needed: u64, max: u64) -> Result<(), VaultError> {
        match needed > max {
            true => Err(VaultError::Limit { limit, needed, max }),
            false => Ok(()),
        }
    }

    /// Refuses to write so many bytes where the reserve would be touched.
    pub(super) fn check_free(&self, disk: &dyn Disk, bytes: u64) -> Result<(), VaultError> {
        let free_bytes = disk
            .free_bytes()
            .map_err(failed("ask for the free space of", super::VAULT_DIR))?;
        let needed_bytes = bytes.saturating_add(self.reserve_bytes);
        match free_bytes < needed_bytes {
            true => Err(VaultError::DiskFull {
                free_bytes,
                needed_bytes,
            }),
            false => Ok(()),
        }
    }
}
