//! The desk: takes a question, looks who asks, and answers from the vault.

use super::access::{Caller, name_of, permit};
use super::uploads::{UploadError, Uploads};
use selfchain_engine::proof::tree;
use selfchain_storage::vault::{Vault, VaultError};
use selfchain_types::vault::{
    ADDRESS_TEXT_MAX, Access, CHUNK_BYTES_MAX, Denial, DenialReason, Grant, OwnerQuery, ROWS_MAX,
    VaultAnswer, VaultQuery, VaultStanding, Version, VersionState,
};
use selfchain_types::{KeyId, Refusal, TimeNs, codec};
use thiserror::Error;

/// Denials that are written down a second, sustained; more are only counted.
const DENIALS_PER_S: u64 = 10;
/// Denials that may come at once.
const DENIALS_BURST: u64 = 100;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum DeskError {
    /// The caller may not.
    #[error("this key may not: {}", .0.name())]
    Denied(DenialReason),
    /// The vault says no.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Bytes of a version do not follow what is here.
    #[error(
        "the version on its way has {have} bytes, and more were sent from byte {offset} on: send from there"
    )]
    Gap {
        /// Bytes that are here.
        have: u64,
        /// Where those sent begin.
        offset: u64,
    },
    /// The upload's number is another document's.
    #[error("this upload is of another document")]
    OtherName,
    /// There is nothing to take back.
    #[error("this key has no grant for this beginning of names: `selfchain data grants` lists them")]
    NoGrant,
    /// Too many versions are on their way.
    #[error("as many versions are on their way as may be at once")]
    UploadsFull,
}

impl DeskError {
    /// The refusal that a client gets.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Denied(_) => Refusal::Denied,
            Self::Gap { .. } | Self::OtherName => Refusal::Malformed,
            Self::NoGrant => Refusal::NotFound,
            Self::UploadsFull => Refusal::IntakeFull,
            Self::Vault(error) => match error {
                VaultError::NoDocument { .. }
                | VaultError::NoVersion { .. }
                | VaultError::Removed { .. }
                | VaultError::Purged { .. } => Refusal::NotFound,
                VaultError::Conflict { .. } => Refusal::VersionConflict,
                // What had come of the version is gone: the same bytes again would not do.
                VaultError::Limit { .. } | VaultError::DiskFull { .. } => Refusal::VaultLimit,
                VaultError::Name(_) => Refusal::Malformed,
                VaultError::WrongKey | VaultError::Format { .. } | VaultError::Damaged { .. } => {
                    Refusal::Damaged
                }
                VaultError::Poisoned | VaultError::Random | VaultError::Io { .. } => Refusal::Poisoned,
            },
        }
    }

    /// Whether the vault must be opened again.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Vault(VaultError::Poisoned | VaultError::Io { .. }))
    }
}

impl From<UploadError> for DeskError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Vault(error) => Self::Vault(error),
            UploadError::Gap { have } => Self::Gap { have, offset: have },
            UploadError::OtherName => Self::OtherName,
            UploadError::Full => Self::UploadsFull,
        }
    }
}

/// A vault with what stands before it.
#[derive(Debug)]
pub struct Desk {
    vault: Vault,
    uploads: Uploads,
    /// Denials that may be written down now, and since when.
    allowance: u64,
    allowed_ns: TimeNs,
    /// Denials that were not written down since the last one that was.
    missed: u64,
}

impl Desk {
    /// The desk of a vault.
    pub fn new(vault: Vault) -> Self {
        Self {
            vault,
            uploads: Uploads::default(),
            allowance: DENIALS_BURST,
            allowed_ns: TimeNs(0),
            missed: 0,
        }
    }

    /// The vault.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Answers, or says why not. Who may not is written down before this returns.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn answer(
        &mut self,
        caller: &Caller,
        query: &VaultQuery<'_>,
        now: TimeNs,
    ) -> Result<VaultAnswer, DeskError> {
        if let Err(why) = permit(caller, query, self.vault.grants(), now) {
            match self.deny(caller, query, why, now) {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => tracing::error!(error = %error, "a denial is not written down"),
                Ok(()) => {}
            }
            return Err(DeskError::Denied(why));
        }
        let author = caller.key.ok_or(DeskError::Denied(DenialReason::NoKey))?;
        match query {
            VaultQuery::Look { name, number } => {
                Ok(VaultAnswer::Version(self.vault.version(name, *number)?.clone()))
            }
            VaultQuery::Get {
                name,
                number,
                offset,
                len_max,
            } => self.get(name, *number, *offset, codec::index(*len_max)),
            VaultQuery::List {
                prefix,
                after,
                with_removed,
                rows_max,
            } => {
                let versions = self.vault.list(prefix, after);
                Ok(rows(
                    versions.filter(|version| *with_removed || version.state == VersionState::Written),
                    *rows_max,
                ))
            }
            VaultQuery::History { name, from, rows_max } => {
                Ok(rows(self.vault.history(name, *from)?, *rows_max))
            }
            VaultQuery::Put { .. } => self.put(author, query, now),
            VaultQuery::Remove { name, purge_through } => {
                let version = match purge_through {
                    0 => self.vault.remove(name, author, now)?,
                    through => self.vault.purge(name, *through)?,
                };
                Ok(VaultAnswer::Version(version))
            }
            VaultQuery::Access(access) => self.access(access, now),
            VaultQuery::Owner(query) => self.owner(query),
        }
    }

    fn get(&self, name: &str, number: u64, offset: u64, len_max: usize) -> Result<VaultAnswer, DeskError> {
        let version = self.vault.version(name, number)?.clone();
        let bytes = self
            .vault
            .read(name, version.number, offset, len_max.min(CHUNK_BYTES_MAX))?;
        Ok(VaultAnswer::Chunk {
            version,
            offset,
            bytes,
        })
    }

    fn put(&mut self, author: KeyId, query: &VaultQuery<'_>, now: TimeNs) -> Result<VaultAnswer, DeskError> {
        let VaultQuery::Put {
            name,
            upload,
            after,
            offset,
            is_last,
            bytes,
        } = query
        else {
            return Err(DeskError::OtherName);
        };
        let id = (author, *upload);
        if let Some(version) = self.uploads.ended(&id) {
            return match version.name == *name {
                true => Ok(VaultAnswer::Version(version.clone())),
                false => Err(DeskError::OtherName),
            };
        }
        let taken = self.uploads.take(&self.vault, id, name, (*offset, *bytes), now);
        let have = taken.map_err(|error| match error {
            UploadError::Gap { have } => DeskError::Gap {
                have,
                offset: *offset,
            },
            other => other.into(),
        })?;
        if !is_last {
            return Ok(VaultAnswer::Taken(have));
        }
        let whole = self.uploads.whole(&id).ok_or(DeskError::OtherName)?;
        let version = self.vault.finish(whole, *after, author, now)?;
        self.uploads.end(id, version.clone());
        Ok(VaultAnswer::Version(version))
    }

    fn access(&mut self, access: &Access<'_>, now: TimeNs) -> Result<VaultAnswer, DeskError> {
        Ok(match access {
            Access::Grants => VaultAnswer::Grants(self.vault.grants().to_vec()),
            Access::Grant {
                key,
                prefix,
                rights,
                until_ns,
            } => {
                self.vault.grant(&Grant {
                    key: *key,
                    prefix: (*prefix).into(),
                    rights: *rights,
                    until_ns: *until_ns,
                    time_ns: now,
                })?;
                VaultAnswer::Done
            }
            Access::Revoke { key, prefix } => match self.vault.revoke(key, prefix)? {
                true => VaultAnswer::Done,
                false => return Err(DeskError::NoGrant),
            },
            Access::Denials { rows_max } => {
                let (denials, more) = self.vault.denials();
                let kept = usize::from((*rows_max).min(ROWS_MAX));
                let mut newest: Vec<Denial> = denials.rev().take(kept).cloned().collect();
                newest.reverse();
                VaultAnswer::Denials(newest, more + self.missed)
            }
        })
    }

    fn owner(&mut self, query: &OwnerQuery<'_>) -> Result<VaultAnswer, DeskError> {
        Ok(match query {
            OwnerQuery::Standing => {
                let totals = self.vault.totals();
                VaultAnswer::Standing(VaultStanding {
                    root: tree::root(&self.vault.leaves()),
                    names: totals.documents,
                    versions: totals.versions,
                    bytes: totals.bytes,
                    anchored: self.vault.root_anchored(),
                })
            }
            OwnerQuery::CheckBook => {
                self.vault.check_book()?;
                VaultAnswer::Done
            }
            OwnerQuery::Check { name, number } => {
                self.vault.check(name, *number)?;
                VaultAnswer::Version(self.vault.version(name, *number)?.clone())
            }
            OwnerQuery::Anchored { hash, at } => {
                self.vault.anchored(hash, at)?;
                VaultAnswer::Done
            }
        })
    }

    /// Writes down who was turned away, unless too many were just now.
    fn deny(
        &mut self,
        caller: &Caller,
        query: &VaultQuery<'_>,
        why: DenialReason,
        now: TimeNs,
    ) -> Result<(), DeskError> {
        let passed_ns = now.0.saturating_sub(self.allowed_ns.0);
        let earned = passed_ns.saturating_mul(DENIALS_PER_S) / 1_000_000_000;
        if earned > 0 {
            self.allowance = self.allowance.saturating_add(earned).min(DENIALS_BURST);
            self.allowed_ns = now;
        }
        let missed = self.missed;
        self.missed += 1;
        let Some(left) = self.allowance.checked_sub(1) else {
            return Ok(());
        };
        self.allowance = left;
        let (action, name) = (query.action(), name_of(query));
        tracing::warn!(
            key = caller.key.map(|key| key.to_string()),
            address = caller.address,
            action = action.name(),
            why = why.name(),
            "turned away from the vault"
        );
        let address = caller.address.chars().filter(char::is_ascii_graphic);
        let address = address.take(ADDRESS_TEXT_MAX).collect();
        self.vault.deny(&[Denial {
            time_ns: now,
            key: caller.key,
            address,
            action,
            name: name.into(),
            why,
            missed,
        }])?;
        self.missed = 0;
        Ok(())
    }
}

/// So many versions, and whether there are more.
fn rows<'a>(mut versions: impl Iterator<Item = &'a Version>, rows_max: u16) -> VaultAnswer {
    let count = usize::from(rows_max.clamp(1, ROWS_MAX));
    let some: Vec<Version> = versions.by_ref().take(count).cloned().collect();
    VaultAnswer::Versions(some, versions.next().is_some())
}
