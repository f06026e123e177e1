//! Passphrases: in memory no longer than they are needed, and never printed.

use super::{KeyError, KeyFault, of, read_private};
use core::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// Most bytes of a passphrase.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;

/// A passphrase. Its bytes are wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Of these bytes, without the end of a line after them.
    ///
    /// # Errors
    /// [`KeyFault::Length`].
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyFault> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() || bytes.len() > PASSPHRASE_BYTES_MAX {
            let max = PASSPHRASE_BYTES_MAX;
            return Err(KeyFault::Length { max });
        }
        Ok(Self(bytes))
    }

    /// What a file that only its owner may read holds.
    ///
    /// # Errors
    /// [`KeyError::Permissions`], [`KeyError::Format`], [`KeyError::Io`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let len_max = u64::try_from(PASSPHRASE_BYTES_MAX + 2).unwrap_or(u64::MAX);
        Self::new(read_private(path, len_max)?).map_err(of(path))
    }

    #[cfg(feature = "network")]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}
