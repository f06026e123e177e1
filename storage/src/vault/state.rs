//! What the book's records come to: documents with their versions, grants, the newest denials.

use std::collections::{BTreeMap, VecDeque};

use selfchain_types::vault::{Anchored, Denial, Grant, Version, VersionState};
use selfchain_types::{Hash, KeyId};
use zeroize::Zeroizing;

use super::VaultError;
use super::record::{Entry, Record, encode_anchored, encode_denial, encode_entry, encode_grant};

/// The fold of a book.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub documents: BTreeMap<String, Vec<Entry>>,
    pub grants: Vec<Grant>,
    pub denials: VecDeque<Denial>,
    /// Denials that are not kept any more.
    pub denials_forgotten: u64,
    /// The root that was anchored last, and where.
    pub root_anchored: Option<(Hash, Anchored)>,
    pub versions: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// Denials that are kept; the oldest go first.
pub const DENIALS_MAX: usize = 1_000;

impl State {
    /// Takes one record, or says why it does not follow.
    pub(super) fn take(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Version(entry) => self.take_version(*entry)?,
            Record::Anchored { name, hash, at, .. } if name.is_empty() => {
                self.root_anchored = Some((hash, at));
            }
            Record::Anchored {
                name,
                number,
                hash,
                at,
            } => self.take_anchored(&name, number, &hash, at)?,
            Record::Grant(grant) => {
                self.revoke(&grant.key, &grant.prefix);
                self.grants.push(grant);
            }
            Record::Revoke { key, prefix } => {
                self.revoke(&key, &prefix);
            }
            Record::Denial(denial) => {
                self.denials.push_back(denial);
                if self.denials.len() > DENIALS_MAX
                    && let Some(oldest) = self.denials.pop_front()
                {
                    self.denials_forgotten += 1 + oldest.missed;
                }
            }
        }
        Ok(())
    }

    fn take_version(&mut self, entry: Entry) -> Result<(), String> {
        let version = &entry.version;
        let earlier = self.documents.entry(version.name.clone()).or_default();
        let (newest, hash) = earlier
            .last()
            .map_or((0, Hash::ZERO), |last| (last.version.number, last.version.hash));
        if version.number != newest + 1 || version.previous != hash {
            return Err(format!(
                "version {} does not follow version {newest} of its document",
                version.number
            ));
        }
        self.versions += 1;
        self.bytes += version.len;
        earlier.push(entry);
        Ok(())
    }

    /// Whether there was such a grant; it is gone.
    pub(super) fn revoke(&mut self, key: &KeyId, prefix: &str) -> bool {
        let before = self.grants.len();
        self.grants
            .retain(|grant| grant.key != *key || grant.prefix != prefix);
        self.grants.len() < before
    }

    fn take_anchored(&mut self, name: &str, number: u64, hash: &Hash, at: Anchored) -> Result<(), String> {
        let entries = self.documents.get_mut(name).into_iter().flatten();
        let mut versions = entries.map(|entry| &mut entry.version);
        match versions.find(|version| version.number == number && version.hash == *hash) {
            Some(version) => {
                version.anchored = Some(at);
                Ok(())
            }
            None => Err(format!(
                "what was anchored is no version {number} of its document"
            )),
        }
    }

    /// The version with this hash.
    pub(super) fn by_hash(&self, hash: &Hash) -> Option<&Version> {
        let mut versions = self.documents.values().flatten().map(|entry| &entry.version);
        versions.find(|version| version.hash == *hash)
    }

    /// The newest version of a document.
    pub(super) fn newest(&self, name: &str) -> Option<&Entry> {
        self.documents.get(name)?.last()
    }

    /// A version of a document; 0 for the newest.
    pub(super) fn entry(&self, name: &str, number: u64) -> Result<&Entry, VaultError> {
        let missing = || VaultError::NoDocument { name: name.into() };
        let entries = self.documents.get(name).ok_or_else(missing)?;
        let newest = entries.last().ok_or_else(missing)?;
        if number == 0 {
            return Ok(newest);
        }
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        entries.get(at).ok_or_else(|| VaultError::NoVersion {
            name: name.into(),
            number,
            newest: newest.version.number,
        })
    }

    /// Destroys what opens the content of a document's versions up to one: the places that it was at.
    pub(super) fn purge(&mut self, name: &str, through: u64) -> Vec<super::record::Place> {
        let entries = self.documents.get_mut(name).into_iter().flatten();
        let mut places = Vec::new();
        for entry in entries.take_while(|entry| entry.version.number <= through) {
            self.bytes -= entry.version.len;
            if entry.version.state == VersionState::Written {
                entry.version = entry.version.purged();
            }
            places.extend(entry.place.take());
        }
        places
    }

    /// Records that a book needs for this state.
    pub(super) fn live_records(&self) -> u64 {
        let others = self.grants.len() + self.denials.len() + usize::from(self.root_anchored.is_some());
        self.versions + selfchain_types::codec::wide(others)
    }

    /// A book's records, from which the same state follows.
    pub(super) fn records(&self) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
        let anchored = self.root_anchored.iter();
        let anchored = anchored.map(|(hash, at)| encode_anchored(("", 0), hash, at));
        let denials = self.denials.iter().enumerate().map(|(at, denial)| {
            let forgotten = if at == 0 { self.denials_forgotten } else { 0 };
            encode_denial(&Denial {
                missed: denial.missed + forgotten,
                ..denial.clone()
            })
        });
        let entries = self.documents.values().flatten().map(encode_entry);
        entries
            .chain(anchored)
            .chain(self.grants.iter().map(encode_grant))
            .chain(denials)
    }
}
