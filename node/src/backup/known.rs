//! What is known: the newest backup of each chain that this owner has seen. Whoever keeps backups could give back an old
//! one, which is signed like any other; only what the owner remembers tells.

use crate::folder;
use selfchain_types::{Hash, Height};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The newest backup of a chain that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How far it reaches.
    pub height: Height,
    /// Its manifest's hash.
    pub manifest: Hash,
}

/// A file with what is known: a line `chain height manifest` for each chain, and comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    path: PathBuf,
    chains: BTreeMap<[u8; 32], Known>,
}

/// Why what is known could not be read or written.
#[derive(Debug, Error)]
pub enum KnownError {
    /// A line is not `chain height manifest`.
    #[error("{path}: line {line} is not `chain height manifest`")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// It is longer than any such file.
    #[error("{path} is longer than {FILE_LEN_MAX} bytes")]
    Long {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The backup is older than one that is known.
    #[error(
        "the backup reaches height {got}, and one that reached {known} is known: an older one was given back"
    )]
    Older {
        /// How far the backup reaches.
        got: Height,
        /// How far the newest known one does.
        known: Height,
    },
}

const FILE_LEN_MAX: u64 = 1 << 20;
const HEAD: &str =
    "# The newest backup known of each chain: its id, how far the backup reaches, the manifest's hash.\n";

impl KnownFile {
    /// Reads what is known at `path`; nothing is, where there is no such file.
    ///
    /// # Errors
    /// [`KnownError`].
    pub fn read(path: &Path) -> Result<Self, KnownError> {
        let failed = |source| KnownError::Io {
            what: "read",
            path: path.into(),
            source,
        };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => {
                file.take(FILE_LEN_MAX + 1)
                    .read_to_string(&mut text)
                    .map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        if u64::try_from(text.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
            return Err(KnownError::Long { path: path.into() });
        }
        let mut chains = BTreeMap::new();
        for (line, content) in (1..).zip(text.lines()) {
            if content.trim().is_empty() || content.starts_with('#') {
                continue;
            }
            let (chain, known) = parse(content).ok_or_else(|| KnownError::Line {
                path: path.into(),
                line,
            })?;
            chains.insert(chain, known);
        }
        Ok(Self {
            path: path.into(),
            chains,
        })
    }

    /// What is known of a chain.
    pub fn of(&self, chain_id: &Hash) -> Option<Known> {
        self.chains.get(&chain_id.0).copied()
    }

    /// Refuses a backup that is older than what is known of its chain.
    ///
    /// # Errors
    /// [`KnownError::Older`].
    pub fn check(&self, chain_id: &Hash, found: Known) -> Result<(), KnownError> {
        match self.of(chain_id) {
            Some(known) if found.height < known.height => Err(KnownError::Older {
                got: found.height,
                known: known.height,
            }),
            _ => Ok(()),
        }
    }

    /// Remembers a backup, unless a newer one is known; durable when this returns.
    ///
    /// # Errors
    /// [`KnownError::Io`].
    pub fn remember(&mut self, chain_id: &Hash, found: Known) -> Result<(), KnownError> {
        if self
            .of(chain_id)
            .is_some_and(|known| known.height > found.height || known == found)
        {
            return Ok(());
        }
        self.chains.insert(chain_id.0, found);
        let mut text = HEAD.to_owned();
        for (chain, known) in &self.chains {
            let line = format!("{} {} {}\n", Hash(*chain), known.height, known.manifest);
            text.push_str(&line);
        }
        write_whole(&self.path, text.as_bytes()).map_err(|source| KnownError::Io {
            what: "write",
            path: self.path.clone(),
            source,
        })
    }
}

fn parse(line: &str) -> Option<([u8; 32], Known)> {
    let mut words = line.split_whitespace();
    let chain = Hash::from_hex(words.next()?)?.0;
    let height = Height(words.next()?.parse().ok()?);
    let manifest = Hash::from_hex(words.next()?)?;
    words
        .next()
        .is_none()
        .then_some((chain, Known { height, manifest }))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    folder::sync_of(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn known(height: u64) -> Known {
        Known {
            height: Height(height),
            manifest: Hash([height.to_le_bytes()[0]; 32]),
        }
    }

    #[test]
    fn what_is_known_stays_known_and_older_backups_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.known");
        let (one, two) = (Hash([1; 32]), Hash([2; 32]));
        let mut file = KnownFile::read(&path).unwrap();
        file.check(&one, known(1)).unwrap();
        file.remember(&one, known(7)).unwrap();
        file.remember(&two, known(3)).unwrap();
        file.remember(&one, known(5)).unwrap();
        let read = KnownFile::read(&path).unwrap();
        assert_eq!(read, file);
        assert_eq!((read.of(&one), read.of(&two)), (Some(known(7)), Some(known(3))));
        assert!(matches!(
            read.check(&one, known(6)),
            Err(KnownError::Older {
                got: Height(6),
                known: Height(7)
            })
        ));
        read.check(&one, known(7)).unwrap();
        read.check(&one, known(8)).unwrap();
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.known");
        for text in ["x", "00 1 00", &format!("{0} 1 {0} more", "00".repeat(32))] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(KnownFile::read(&path), Err(KnownError::Line { line: 1, .. })),
                "{text}"
            );
        }
    }
}
