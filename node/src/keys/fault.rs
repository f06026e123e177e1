//! What can be wrong with a key file.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a key file was not read or written.
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is one by that name; a key is never overwritten.
    #[error("{path} exists; a key is never overwritten: name another file, or move that one away yourself")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error("{path} has mode {mode:04o}, so others may read or change this key: run `chmod 600 {path}`")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold what a key file holds.
    #[error("{path} is not a key file that can be used: {fault}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: KeyFault,
    },
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl KeyError {
    /// Whether there is no such file.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What is wrong with the file's content.
    pub fn fault(&self) -> Option<KeyFault> {
        match self {
            Self::Format { fault, .. } => Some(*fault),
            _ => None,
        }
    }
}

/// What is wrong with a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// It is longer than any key file.
    #[error("it is longer than {len_max} bytes")]
    Long {
        /// The most a key file has.
        len_max: u64,
    },
    /// It is no text.
    #[error("it is no text: it was changed, or never was a key file")]
    Text,
    /// A line is none of `name = "value"`, a comment, or empty.
    #[error("line {line} is not `name = \"value\"`")]
    Line {
        /// Which.
        line: usize,
    },
    /// A name is missing or there twice.
    #[error("`{name}` must be there once")]
    Field {
        /// The name.
        name: &'static str,
    },
    /// A value is not what its name stands for.
    #[error("`{name}` has a value that it cannot have")]
    Value {
        /// The name.
        name: &'static str,
    },
    /// The scheme is not known.
    #[error("its scheme is not known to this version")]
    Scheme,
    /// The seed is not 64 hexadecimal characters.
    #[error("its seed is not 64 hexadecimal characters")]
    Seed,
    /// It is of a scheme that a node's key may not have: every vote is signed with it.
    #[error("a node's key must be of {wanted}, this one is of {scheme}")]
    Node {
        /// The scheme's name.
        scheme: &'static str,
        /// What it may be of.
        wanted: &'static str,
    },
    /// It signs nothing: others seal messages to it.
    #[error("it is a key to seal to, and signs nothing")]
    Kem,
    /// It opens nothing.
    #[error("it is a key to sign with, and opens nothing")]
    Signs,
    /// This program was built without its scheme, or without sealing.
    #[error("this program was built without its scheme, or without passphrases")]
    NotBuilt,
    /// The public key is not the seed's.
    #[error("its public key does not belong to its seed: one of them was changed")]
    Public,
    /// A passphrase seals it, and none was given.
    #[error("it is sealed under a passphrase, and none was given")]
    Sealed,
    /// Its passphrase is another one.
    #[error("the passphrase is wrong")]
    Passphrase,
    /// It is not what was written.
    #[error("it was changed since it was sealed")]
    Changed,
    /// It asks for more to be unlocked than any file may, or than there is.
    #[cfg(feature = "network")]
    #[error(transparent)]
    Cost(#[from] selfchain_types::crypto::passphrase::CostError),
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
    /// A passphrase is empty, or longer than any.
    #[error("a passphrase has 1 to {max} bytes")]
    Length {
        /// The most.
        max: usize,
    },
}
