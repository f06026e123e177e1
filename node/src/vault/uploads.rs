//! Versions on their way: a few at a time, each by the key that sends it and that key's own number.

use selfchain_storage::vault::{Upload, Vault, VaultError};
use selfchain_types::vault::Version;
use selfchain_types::{KeyId, TimeNs};
use std::collections::{BTreeMap, VecDeque};

/// Versions on their way at once.
const UPLOADS_MAX: usize = 16;
/// One that nothing was heard of for this long makes room for another.
const IDLE_NS_MAX: u64 = 60_000_000_000;
/// Versions that arrived and are remembered, so that the same request again gets the same answer.
const ENDED_MAX: usize = 64;

/// Whose, and which of theirs.
pub(super) type UploadId = (KeyId, u128);

/// Versions on their way, and those that arrived last.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: BTreeMap<UploadId, Open>,
    ended: VecDeque<(UploadId, Version)>,
}

#[derive(Debug)]
struct Open {
    upload: Upload,
    heard_ns: TimeNs,
}

/// Why bytes were not taken.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The vault says no; what had come is gone.
    Vault(VaultError),
    /// They do not follow what is here.
    Gap { have: u64 },
    /// The number is another document's.
    OtherName,
    /// As many are on their way as may be.
    Full,
}

impl From<VaultError> for UploadError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl Uploads {
    /// The version that this upload became, if it arrived lately.
    pub(super) fn ended(&self, id: &UploadId) -> Option<&Version> {
        self.ended
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, version)| version)
    }

    /// Takes the next bytes: how many are here then. Bytes that are here already change nothing.
    pub(super) fn take(
        &mut self,
        vault: &Vault,
        id: UploadId,
        name: &str,
        (offset, bytes): (u64, &[u8]),
        now: TimeNs,
    ) -> Result<u64, UploadError> {
        if !self.open.contains_key(&id) {
            if offset > 0 {
                return Err(UploadError::Gap { have: 0 });
            }
            self.make_room(vault, now)?;
            let upload = vault.begin(name)?;
            let heard_ns = now;
            self.open.insert(id, Open { upload, heard_ns });
        }
        let open = self.open.get_mut(&id).ok_or(UploadError::Full)?;
        if open.upload.name() != name {
            return Err(UploadError::OtherName);
        }
        open.heard_ns = now;
        let have = open.upload.len();
        let end = offset.saturating_add(selfchain_types::codec::wide(bytes.len()));
        if offset == have {
            if let Err(error) = open.upload.write(bytes) {
                self.drop_one(vault, &id)?;
                return Err(error.into());
            }
            Ok(end)
        } else if end <= have {
            Ok(have)
        } else {
            Err(UploadError::Gap { have })
        }
    }

    fn make_room(&mut self, vault: &Vault, now: TimeNs) -> Result<(), UploadError> {
        if self.open.len() < UPLOADS_MAX {
            return Ok(());
        }
        let longest = self.open.iter().min_by_key(|(_, open)| open.heard_ns);
        let (id, heard) = longest
            .map(|(id, open)| (*id, open.heard_ns))
            .ok_or(UploadError::Full)?;
        if now.0.saturating_sub(heard.0) < IDLE_NS_MAX {
            return Err(UploadError::Full);
        }
        Ok(self.drop_one(vault, &id)?)
    }

    fn drop_one(&mut self, vault: &Vault, id: &UploadId) -> Result<(), VaultError> {
        match self.open.remove(id) {
            Some(open) => vault.abandon(open.upload),
            None => Ok(()),
        }
    }

    /// Takes out an upload that is whole.
    pub(super) fn whole(&mut self, id: &UploadId) -> Option<Upload> {
        self.open.remove(id).map(|open| open.upload)
    }

    /// Remembers what it became.
    pub(super) fn end(&mut self, id: UploadId, version: Version) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((id, version));
    }
}
