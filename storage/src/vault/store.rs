//! The vault itself: what is put in, read, removed, destroyed, granted and denied.

use std::sync::Arc;

use selfchain_types::vault::{Anchored, Denial, Grant, Version, VersionState, check_name, check_prefix};
use selfchain_types::{Hash, KeyId, TimeNs};
use zeroize::Zeroizing;

use super::book::{BOOK, Book};
use super::error::{damaged, failed};
use super::pieces::{CONTENT_DIR, Content, file_name, path, path_aside};
use super::record::{
    Entry, Place, Record, encode_anchored, encode_denial, encode_entry, encode_grant, encode_revoke,
};
pub use super::state::DENIALS_MAX;
use super::state::State;
use super::{Upload, VaultError, VaultLimits};
use crate::disk::{Disk, UNPUBLISHED_SUFFIX};

/// Records of the book that stand for nothing any more, before it is written anew.
const DEAD_RECORDS_MAX: u64 = 4_096;

/// A vault, open for one process.
#[derive(Debug)]
pub struct Vault {
    disk: Arc<dyn Disk>,
    book: Book,
    state: State,
    limits: VaultLimits,
}

/// How much a vault holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultTotals {
    /// Documents, removed ones included.
    pub documents: u64,
    /// Versions, removals and destroyed ones included.
    pub versions: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of the book.
    pub book_bytes: u64,
}

impl Vault {
    /// Whether there is a vault.
    ///
    /// # Errors
    /// [`VaultError::Io`].
    pub fn is_there(disk: &dyn Disk) -> Result<bool, VaultError> {
        is_there(disk, BOOK)
    }

    /// Opens the vault under `vault/`, making it if there is none. `secret` is what its key file holds. Every byte of
    /// the book is checked; contents are when they are read.
    ///
    /// # Errors
    /// [`VaultError`]: nothing of a damaged book is used.
    pub fn open(disk: Arc<dyn Disk>, secret: &[u8; 32], limits: VaultLimits) -> Result<Self, VaultError> {
        disk.create_dir(CONTENT_DIR)
            .map_err(failed("create", CONTENT_DIR))?;
        let contents = disk.list(CONTENT_DIR).map_err(failed("list", CONTENT_DIR))?;
        if !contents.is_empty() && !is_there(&*disk, BOOK)? {
            return Err(damaged(BOOK, "it is missing, and there are contents"));
        }
        let mut state = State::default();
        let book = Book::open(Arc::clone(&disk), secret, &mut |bytes| {
            let record = Record::decode(bytes).map_err(|error| error.to_string())?;
            state.take(record)
        })?;
        let vault = Self {
            disk,
            book,
            state,
            limits,
        };
        vault.settle(&contents)?;
        Ok(vault)
    }

    /// Gives contents that the book names the names that they have for good, and removes what never got into it.
    fn settle(&self, contents: &[String]) -> Result<(), VaultError> {
        let aside: Vec<&String> = contents
            .iter()
            .filter(|name| name.ends_with(UNPUBLISHED_SUFFIX))
            .collect();
        if aside.is_empty() {
            return Ok(());
        }
        let named: std::collections::BTreeSet<String> = self
            .state
            .documents
            .values()
            .flatten()
            .filter_map(|entry| entry.place.as_ref())
            .map(|place| file_name(&place.id))
            .collect();
        for name in aside {
            let (from, to) = (
                format!("{CONTENT_DIR}/{name}"),
                name.trim_end_matches(UNPUBLISHED_SUFFIX),
            );
            if named.contains(to) {
                let to = format!("{CONTENT_DIR}/{to}");
                self.disk.rename(&from, &to).map_err(failed("rename", &from))?;
            } else {
                self.disk.remove(&from).map_err(failed("remove", &from))?;
            }
        }
        Ok(())
    }

    /// Begins a new version of a document.
    ///
    /// # Errors
    /// [`VaultError::Name`], [`VaultError::Limit`], [`VaultError::DiskFull`], [`VaultError::Io`].
    pub fn begin(&self, name: &str) -> Result<Upload, VaultError> {
        self.book.alive()?;
        check_name(name)?;
        self.check_room()?;
        let allowance = self.limits.bytes_max.saturating_sub(self.state.bytes);
        Upload::begin(
            Arc::clone(&self.disk),
            self.book.id(),
            name,
            &self.limits,
            allowance,
        )
    }

    fn check_room(&self) -> Result<(), VaultError> {
        VaultLimits::check("versions_max", self.state.versions + 1, self.limits.versions_max)
    }

    /// Ends a new version: it is durable when this returns. `after`: refused unless that is the newest version, 0 for
    /// none yet.
    ///
    /// # Errors
    /// [`VaultError`]; the version is not there then, unless the vault is poisoned: then the next open says.
    pub fn finish(
        &mut self,
        mut upload: Upload,
        after: Option<u64>,
        author: KeyId,
        now: TimeNs,
    ) -> Result<Version, VaultError> {
        let ended = self
            .check_after(&upload.name, after)
            .and_then(|()| self.check_room())
            .and_then(|()| {
                let bytes = self.state.bytes.saturating_add(upload.len());
                VaultLimits::check("bytes_max", bytes, self.limits.bytes_max)
            })
            .and_then(|()| upload.end());
        let content = match ended {
            Ok(content) => content,
            Err(error) => {
                self.abandon(upload)?;
                return Err(error);
            }
        };
        let (name, len) = (upload.name.clone(), upload.len());
        let version = self.next(&name, VersionState::Written, (content, len), author, now)?;
        let entry = Entry {
            version: version.clone(),
            place: Some(upload.place.clone()),
        };
        if let Err(error) = self.commit(&[encode_entry(&entry)]) {
            if !matches!(error, VaultError::Io { .. } | VaultError::Poisoned) {
                self.abandon(upload)?;
            }
            return Err(error);
        }
        // It need not be durable: the next open does the same.
        let (from, to) = (path_aside(&upload.place.id), path(&upload.place.id));
        let renamed = self.disk.rename(&from, &to).map_err(failed("rename", &from));
        self.book.fatal(renamed)?;
        Ok(version)
    }

    fn check_after(&self, name: &str, after: Option<u64>) -> Result<(), VaultError> {
        let current = self.state.newest(name).map_or(0, |entry| entry.version.number);
        match after {
            Some(expected) if expected != current => Err(VaultError::Conflict {
                name: name.into(),
                current,
                expected,
            }),
            _ => Ok(()),
        }
    }

    /// Removes what an upload has written.
    ///
    /// # Errors
    /// [`VaultError::Io`].
    #[allow(clippy::needless_pass_by_value, reason = "an upload ends here")]
    pub fn abandon(&self, upload: Upload) -> Result<(), VaultError> {
        upload.remove()
    }

    fn next(
        &self,
        name: &str,
        state: VersionState,
        (content, len): (Hash, u64),
        author: KeyId,
        now: TimeNs,
    ) -> Result<Version, VaultError> {
        let newest = self.state.newest(name).map(|entry| &entry.version);
        let mut salt = Hash::ZERO;
        selfchain_types::crypto::fill_random(&mut salt.0).map_err(|_| VaultError::Random)?;
        let mut version = Version {
            name: name.into(),
            number: newest.map_or(1, |newest| newest.number + 1),
            state,
            previous: newest.map_or(Hash::ZERO, |newest| newest.hash),
            salt,
            content,
            len,
            time_ns: now,
            author,
            hash: Hash::ZERO,
            anchored: None,
        };
        version.hash = version.commitment();
        Ok(version)
    }

    /// Makes records durable and takes them.
    fn commit(&mut self, records: &[Zeroizing<Vec<u8>>]) -> Result<(), VaultError> {
        self.book.commit(records, &self.limits)?;
        for record in records {
            let record = Record::decode(record).expect("what was encoded just now reads back");
            self.state.take(record).expect("it was made to follow");
        }
        let dead = self.book.records().saturating_sub(self.state.live_records());
        if dead > DEAD_RECORDS_MAX && dead > self.state.live_records() {
            match self.book.rewrite(self.state.records(), &self.limits) {
                // It can wait until there is room.
                Err(VaultError::DiskFull { .. }) => {}
                rewritten => rewritten?,
            }
        }
        Ok(())
    }

    /// Removes a document: its versions stay, and this removal is the newest.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn remove(&mut self, name: &str, author: KeyId, now: TimeNs) -> Result<Version, VaultError> {
        let newest = &self.state.entry(name, 0)?.version;
        if newest.state == VersionState::Removed {
            let number = newest.number;
            return Err(VaultError::Removed {
                name: name.into(),
                number,
            });
        }
        self.check_room()?;
        let version = self.next(name, VersionState::Removed, (Hash::ZERO, 0), author, now)?;
        let entry = Entry {
            version: version.clone(),
            place: None,
        };
        self.commit(&[encode_entry(&entry)])?;
        Ok(version)
    }

    /// Destroys the content of a document's versions up to `through`: their keys are gone, and what is left of them is
    /// a number and a hash. Returns the newest version.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn purge(&mut self, name: &str, through: u64) -> Result<Version, VaultError> {
        self.state.entry(name, through)?;
        let mut state = self.state.clone();
        let places = state.purge(name, through);
        for place in &places {
            // From here on an open removes it, unless the book still names it: then it gets its name back.
            let (from, to) = (path(&place.id), path_aside(&place.id));
            match self.disk.rename(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                renamed => renamed.map_err(failed("rename", &from))?,
            }
        }
        self.disk
            .sync_dir(CONTENT_DIR)
            .map_err(failed("sync", CONTENT_DIR))?;
        self.book.rewrite(state.records(), &self.limits)?;
        self.state = state;
        for place in &places {
            let path = path_aside(&place.id);
            match self.disk.remove(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(failed("remove", &path))?,
            }
        }
        Ok(self.state.entry(name, 0)?.version.clone())
    }

    /// A version of a document, 0 for the newest.
    ///
    /// # Errors
    /// [`VaultError::NoDocument`], [`VaultError::NoVersion`].
    pub fn version(&self, name: &str, number: u64) -> Result<&Version, VaultError> {
        self.state.entry(name, number).map(|entry| &entry.version)
    }

    /// Versions of a document from a number on, oldest first.
    ///
    /// # Errors
    /// [`VaultError::NoDocument`].
    pub fn history(&self, name: &str, from: u64) -> Result<impl Iterator<Item = &Version>, VaultError> {
        self.state.entry(name, 0)?;
        let entries = self.state.documents.get(name).into_iter().flatten();
        Ok(entries
            .map(|entry| &entry.version)
            .filter(move |version| version.number >= from))
    }

    /// The newest versions of documents whose names begin so and come after `after`, in the order of the names.
    pub fn list<'a>(&'a self, prefix: &'a str, after: &str) -> impl Iterator<Item = &'a Version> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match after.is_empty() || after < prefix {
            true => Included(prefix),
            false => Excluded(after),
        };
        let documents = self.state.documents.range::<str, _>((from, Unbounded));
        documents
            .take_while(move |(name, _)| name.starts_with(prefix))
            .filter_map(|(_, entries)| entries.last())
            .map(|entry| &entry.version)
    }

    /// At most `len_max` bytes of a version's content, from `offset` on. Every piece that they lie in is checked.
    ///
    /// # Errors
    /// [`VaultError`]; [`VaultError::Damaged`] names the file.
    pub fn read(&self, name: &str, number: u64, offset: u64, len_max: usize) -> Result<Vec<u8>, VaultError> {
        self.content(self.state.entry(name, number)?)?
            .read(offset, len_max)
    }

    /// Reads all of a version's content and checks it. A version without content has none to check.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn check(&self, name: &str, number: u64) -> Result<(), VaultError> {
        let entry = self.state.entry(name, number)?;
        match entry.version.state {
            VersionState::Written => self.content(entry)?.check(&entry.version.content),
            VersionState::Removed | VersionState::Purged => Ok(()),
        }
    }

    /// Reads every byte of the book again and checks it.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn check_book(&self) -> Result<(), VaultError> {
        let mut state = State::default();
        self.book.check(&mut |bytes| {
            let record = Record::decode(bytes).map_err(|error| error.to_string())?;
            state.take(record)
        })
    }

    fn content<'a>(&self, entry: &'a Entry) -> Result<Content<'a>, VaultError> {
        let Version { name, number, .. } = &entry.version;
        let (name, number) = (name.clone(), *number);
        match (&entry.place, entry.version.state) {
            (Some(place), _) => Content::open(&*self.disk, self.book.id(), place, entry.version.len),
            (None, VersionState::Removed) => Err(VaultError::Removed { name, number }),
            (None, _) => Err(VaultError::Purged { name, number }),
        }
    }

    /// Everybody's grants.
    pub fn grants(&self) -> &[Grant] {
        &self.state.grants
    }

    /// Gives a grant, in place of the key's former one for the same prefix.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn grant(&mut self, grant: &Grant) -> Result<(), VaultError> {
        check_prefix(&grant.prefix)?;
        let needed = selfchain_types::codec::wide(self.state.grants.len()) + 1;
        VaultLimits::check("grants_max", needed, self.limits.grants_max)?;
        self.commit(&[encode_grant(grant)])
    }

    /// Takes a grant back: whether there was one.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn revoke(&mut self, key: &KeyId, prefix: &str) -> Result<bool, VaultError> {
        let is_there = self
            .state
            .grants
            .iter()
            .any(|grant| grant.key == *key && grant.prefix == prefix);
        if is_there {
            self.commit(&[encode_revoke(key, prefix)])?;
        }
        Ok(is_there)
    }

    /// Keeps who was turned away.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn deny(&mut self, denials: &[Denial]) -> Result<(), VaultError> {
        self.commit(&denials.iter().map(encode_denial).collect::<Vec<_>>())
    }

    /// The newest denials that are kept, oldest first, and how many more there were.
    pub fn denials(&self) -> (impl DoubleEndedIterator<Item = &Denial>, u64) {
        let missed: u64 = self.state.denials.iter().map(|denial| denial.missed).sum();
        (self.state.denials.iter(), self.state.denials_forgotten + missed)
    }

    /// Keeps where a version's hash, or the root, was anchored.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn anchored(&mut self, hash: &Hash, at: &Anchored) -> Result<(), VaultError> {
        let version = self.state.by_hash(hash);
        let named = version.map_or(("", 0), |version| (version.name.as_str(), version.number));
        self.commit(&[encode_anchored(named, hash, at)])
    }

    /// The root that was anchored last, and where.
    pub fn root_anchored(&self) -> Option<(Hash, Anchored)> {
        self.state.root_anchored
    }

    /// The hashes of all newest versions, in the order of their names: leaves of the root.
    pub fn leaves(&self) -> Vec<Hash> {
        self.list("", "").map(|version| version.hash).collect()
    }

    /// How much it holds.
    pub fn totals(&self) -> VaultTotals {
        VaultTotals {
            documents: selfchain_types::codec::wide(self.state.documents.len()),
            versions: self.state.versions,
            bytes: self.state.bytes,
            book_bytes: self.book.bytes(),
        }
    }

    /// Files that no version names, as an interrupted purge leaves them: they can be removed.
    ///
    /// # Errors
    /// [`VaultError::Io`].
    pub fn strays(&self) -> Result<Vec<String>, VaultError> {
        let names = self.disk.list(CONTENT_DIR).map_err(failed("list", CONTENT_DIR))?;
        let places = self.state.documents.values().flatten();
        let named: std::collections::BTreeSet<String> = places
            .filter_map(|entry| entry.place.as_ref())
            .map(|place: &Place| file_name(&place.id))
            .collect();
        Ok(names.into_iter().filter(|name| !named.contains(name)).collect())
    }
}

fn is_there(disk: &dyn Disk, path: &str) -> Result<bool, VaultError> {
    match disk.open_read_only(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        opened => opened.map(|_| true).map_err(failed("open", path)),
    }
}
