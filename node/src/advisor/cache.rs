//! The cache: a paragraph a file, named for its hold and for what was asked of which model.

use super::answer::clean;
use super::limit::LIMIT_FILE;
use super::prompt::{Facts, PROMPT_VERSION};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;
use zerocopy::IntoBytes;

/// Most paragraphs that are kept; the oldest go first.
pub const CACHE_FILES_MAX: usize = 1_000;
/// Most bytes of a file that are read.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// What the hash of a name is derived for.
const NAME_CONTEXT: &str = "selfchain advisor cache 1";
/// Characters of that hash in a name.
const NAME_HASH_LEN: usize = 16;

/// What is wrong with the cache. It costs a question to the model, and nothing else.
#[derive(Debug, Error)]
pub enum CacheError {
    /// A file does not hold what it should.
    #[error("{path} is damaged, and is written anew")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A paragraph that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The hold's id, in decimal.
    pub hold: String,
    /// Who wrote it.
    pub model: String,
    /// [`PROMPT_VERSION`] when it was written.
    pub prompt_version: u32,
    /// Unix time in seconds when it was written.
    pub written_s: u64,
    /// The paragraph.
    pub paragraph: String,
}

/// Paragraphs in a folder.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in `folder`, which must exist.
    pub fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { folder }
    }

    /// What was kept for this hold and model; `None` when there is nothing.
    ///
    /// # Errors
    /// [`CacheError`]: treat it as nothing, and say so.
    pub fn get(&self, facts: &Facts, model: &str) -> Result<Option<Kept>, CacheError> {
        let path = self.path(facts, model);
        let damaged = || CacheError::Damaged { path: path.clone() };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|source| failed("open", &path, source))?,
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|source| failed("read", &path, source))?;
        let mut kept: Kept = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        // Whoever can write the folder is not thereby allowed to command a terminal.
        kept.paragraph = clean(&kept.paragraph);
        let is_ours = kept.hold == facts.hold.id.get().to_string()
            && kept.model == model
            && kept.prompt_version == PROMPT_VERSION
            && !kept.paragraph.is_empty();
        is_ours.then_some(Some(kept)).ok_or_else(damaged)
    }

    /// Keeps a paragraph, whole or not at all, and lets the oldest go.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn put(&self, facts: &Facts, kept: &Kept) -> Result<(), CacheError> {
        let path = self.path(facts, &kept.model);
        let bytes = serde_json::to_vec(kept).map_err(|error| failed("write", &path, error.into()))?;
        let aside = tempfile::NamedTempFile::new_in(&self.folder);
        let mut aside = aside.map_err(|source| failed("write in", &self.folder, source))?;
        aside
            .write_all(&bytes)
            .map_err(|source| failed("write", &path, source))?;
        aside
            .persist(&path)
            .map_err(|error| failed("put in place", &path, error.error))?;
        self.let_the_oldest_go(CACHE_FILES_MAX)
    }

    /// Removes the oldest files above `files_max`; what a crash left half written counts too.
    fn let_the_oldest_go(&self, files_max: usize) -> Result<(), CacheError> {
        let listed = |source| failed("list", &self.folder, source);
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(listed)? {
            let entry = entry.map_err(listed)?;
            let about = entry.metadata().map_err(listed)?;
            if about.is_file() && entry.file_name() != LIMIT_FILE {
                files.push((about.modified().map_err(listed)?, entry.path()));
            }
        }
        files.sort_unstable();
        for (_, path) in files.iter().take(files.len().saturating_sub(files_max)) {
            match fs::remove_file(path) {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|source| failed("remove", path, source))?,
            }
        }
        Ok(())
    }

    /// The record is part of the name, so that holds of two chains that share an id are told apart.
    fn path(&self, facts: &Facts, model: &str) -> PathBuf {
        let mut hasher = blake3::Hasher::new_derive_key(NAME_CONTEXT);
        hasher.update(&PROMPT_VERSION.to_le_bytes());
        hasher.update(facts.hold.as_bytes());
        hasher.update(model.as_bytes());
        let hash = hasher.finalize().to_hex();
        let name = format!("{}-{}.json", facts.hold.id.get(), &hash[..NAME_HASH_LEN]);
        self.folder.join(name)
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> CacheError {
    let path = path.into();
    CacheError::Io { what, path, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::message::HoldRecord;
    use std::time::Duration;
    use zerocopy::FromZeros;

    fn facts(id: u128) -> Facts {
        let mut hold = HoldRecord::new_zeroed();
        hold.id = id.into();
        Facts {
            hold,
            scale: 2,
            sender: None,
            receiver: None,
        }
    }

    fn kept(id: u128, paragraph: &str) -> Kept {
        Kept {
            hold: id.to_string(),
            model: "m".into(),
            prompt_version: PROMPT_VERSION,
            written_s: 7,
            paragraph: paragraph.into(),
        }
    }

    #[test]
    fn a_paragraph_is_kept_for_its_hold_and_model_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        assert_eq!(cache.get(&facts(1), "m").unwrap(), None);
        cache.put(&facts(1), &kept(1, "It.")).unwrap();
        assert_eq!(cache.get(&facts(1), "m").unwrap(), Some(kept(1, "It.")));
        assert_eq!(cache.get(&facts(1), "other").unwrap(), None);
        assert_eq!(cache.get(&facts(2), "m").unwrap(), None);
        let mut same_id = facts(1);
        same_id.hold.amount = 9.into();
        assert_eq!(cache.get(&same_id, "m").unwrap(), None);
        cache.put(&facts(1), &kept(1, "It again.")).unwrap();
        assert_eq!(cache.get(&facts(1), "m").unwrap(), Some(kept(1, "It again.")));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_told_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let path = cache.path(&facts(1), "m");
        let whole = serde_json::to_string(&kept(1, "It.")).unwrap();
        let other_hold = serde_json::to_string(&kept(2, "It.")).unwrap();
        let only_escapes = serde_json::to_string(&kept(1, "\u{1b}[2J")).unwrap();
        for damage in [
            "",
            &whole[..20],
            "null",
            &other_hold,
            &only_escapes,
            &" ".repeat(1 << 20),
        ] {
            fs::write(&path, damage).unwrap();
            let got = cache.get(&facts(1), "m");
            assert!(
                matches!(got, Err(CacheError::Damaged { .. })),
                "{damage:.30}: {got:?}"
            );
        }
        cache.put(&facts(1), &kept(1, "It.")).unwrap();
        assert!(cache.get(&facts(1), "m").unwrap().is_some());
    }

    #[test]
    fn what_somebody_put_there_is_cleaned_like_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        cache.put(&facts(1), &kept(1, "\u{1b}[31mIt.\u{7}")).unwrap();
        assert_eq!(cache.get(&facts(1), "m").unwrap().unwrap().paragraph, "It.");
    }

    #[test]
    fn the_oldest_go_and_the_limits_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        fs::write(folder.path().join(LIMIT_FILE), "1").unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let age = |name: &Path, seconds| {
            let file = File::options().write(true).open(name).unwrap();
            file.set_modified(old + Duration::from_secs(seconds)).unwrap();
        };
        for id in 1..=4_u8 {
            let facts = facts(id.into());
            cache.put(&facts, &kept(id.into(), "It.")).unwrap();
            age(&cache.path(&facts, "m"), 10 - u64::from(id));
        }
        age(&folder.path().join(LIMIT_FILE), 0);
        cache.let_the_oldest_go(2).unwrap();
        let is_there = |id| cache.get(&facts(id), "m").unwrap().is_some();
        assert_eq!([1, 2, 3, 4].map(is_there), [true, true, false, false]);
        assert!(folder.path().join(LIMIT_FILE).exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_says_so() {
        let cache = Cache::new(Path::new("no/such/folder"));
        assert!(cache.get(&facts(1), "m").unwrap().is_none());
        assert!(matches!(
            cache.put(&facts(1), &kept(1, "It.")),
            Err(CacheError::Io { .. })
        ));
    }
}
