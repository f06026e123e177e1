//! Opening the vault with the key of its key file.

use crate::keys::{self, KeyError};
use selfchain_storage::Disk;
use selfchain_storage::vault::{Vault, VaultError, VaultLimits};
use selfchain_types::crypto::SigningKey;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// What opens the vault.
#[derive(Clone, Debug)]
pub enum VaultKey {
    /// The key that was read from its file.
    Read(Arc<SigningKey>),
    /// There is none yet: it is made when the vault is.
    Make(PathBuf),
}

/// Why the vault does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is a vault, and its key file is gone.
    #[error("there is a vault, and not its key file {path}: put it back, nothing else opens the vault")]
    KeyLost {
        /// Where it should be.
        path: PathBuf,
    },
    /// The vault itself.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Opens the vault on `disk`, making it and its key file if there is neither.
///
/// # Errors
/// [`OpenError`].
pub fn open_vault(
    disk: Arc<dyn Disk>,
    key: &VaultKey,
    limits: VaultLimits,
) -> Result<(Vault, Arc<SigningKey>), OpenError> {
    let key = match key {
        VaultKey::Read(key) => Arc::clone(key),
        VaultKey::Make(path) if Vault::is_there(&*disk)? => {
            return Err(OpenError::KeyLost { path: path.clone() });
        }
        VaultKey::Make(path) => Arc::new(keys::open_or_create(path)?),
    };
    let vault = Vault::open(disk, &key.seed(), limits)?;
    Ok((vault, key))
}
