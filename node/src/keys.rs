//! Key files: a secret key at rest, readable by its owner alone, put in place whole or not at all.

use selfchain_types::Hash;
use selfchain_types::crypto::{Scheme, SigningKey, random_seed};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

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
    #[error("{path} is not a key file: {fault}")]
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

/// What is wrong with a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// It is longer than any key file.
    #[error("it is longer than {len_max} bytes")]
    Long {
        /// The most a key file has.
        len_max: u64,
    },
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
    /// This program was built without its scheme.
    #[error("this program was built without its scheme")]
    NotBuilt,
    /// The public key is not the seed's.
    #[error("its public key does not belong to its seed: one of them was changed")]
    Public,
}

/// Most bytes of a key file.
const FILE_LEN_MAX: u64 = 8_192;
/// The mode of a key file: its owner reads and writes, nobody else does anything.
const MODE: u32 = 0o600;

/// Writes `key` to a new file at `path`, durable when this returns. After a crash the file is whole or absent.
///
/// # Errors
/// [`KeyError::Exists`], [`KeyError::Io`].
pub fn write(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let aside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let failed = |what| {
        let path = path.to_owned();
        move |source| KeyError::Io { what, path, source }
    };
    write_aside(&aside, key).map_err(failed("write"))?;
    // A hard link, unlike a rename, never replaces a file that is there.
    let placed = fs::hard_link(&aside, path);
    fs::remove_file(&aside).map_err(failed("remove the unfinished copy of"))?;
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyError::Exists { path: path.into() })
        }
        placed => placed.map_err(failed("put in place")),
    }?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of"))
}

fn write_aside(aside: &Path, key: &SigningKey) -> io::Result<()> {
    match fs::remove_file(aside) {
        // A crash of a process with this number left it.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(aside)?;
    // The process's umask may have taken bits away, never added any.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text(key).as_bytes())?;
    file.sync_all()
}

fn text(key: &SigningKey) -> Zeroizing<String> {
    let public = key.public();
    let seed = hex(key.seed().as_slice());
    Zeroizing::new(format!(
        "# A secret key of Selfchain. Whoever reads this file can sign with it.\n# Key id: {}\nscheme = \"{}\"\npublic = \"{}\"\nseed = \"{}\"\n",
        key.id(),
        public.scheme().name(),
        hex(public.as_bytes()).as_str(),
        seed.as_str(),
    ))
}

/// The node's key, in its data directory.
pub const NODE_KEY_FILE: &str = "node.key";

/// The key that a validator rotates to, beside it.
pub const NEXT_KEY_FILE: &str = "next.key";

/// The key that a validator signs checkpoints with, beside it.
pub const CHECKPOINT_KEY_FILE: &str = "checkpoint.key";

/// The key that it will sign them with.
pub const NEXT_CHECKPOINT_KEY_FILE: &str = "next-checkpoint.key";

/// Reads the node's key at `path`, of any scheme that validators sign with, or makes one of Ed25519 there from the
/// operating system's random numbers.
///
/// # Errors
/// [`KeyError`].
pub fn open_or_create(path: &Path) -> Result<SigningKey, KeyError> {
    let wanted = "ed25519 or a hybrid of it with ml-dsa";
    open_or(path, Scheme::Ed25519, wanted, Scheme::can_vote)
}

/// Reads the node's key at `path`, which must be of `scheme`, or makes one there.
///
/// # Errors
/// [`KeyError`].
pub fn open_or_create_of(path: &Path, scheme: Scheme) -> Result<SigningKey, KeyError> {
    open_or(path, scheme, scheme.name(), |found| found == scheme)
}

fn open_or(
    path: &Path,
    new: Scheme,
    wanted: &'static str,
    may: impl Fn(Scheme) -> bool,
) -> Result<SigningKey, KeyError> {
    let key = match read(path) {
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => create(path, new),
        found => found,
    }?;
    let scheme = key.public().scheme();
    if may(scheme) {
        return Ok(key);
    }
    let scheme = scheme.name();
    Err(KeyError::Format {
        path: path.into(),
        fault: KeyFault::Node { scheme, wanted },
    })
}

/// Makes a key of `scheme` at `path` from the operating system's random numbers.
///
/// # Errors
/// [`KeyError`].
pub fn create(path: &Path, scheme: Scheme) -> Result<SigningKey, KeyError> {
    let seed = random_seed().map_err(|error| KeyError::Io {
        what: "draw random numbers for",
        path: path.into(),
        source: io::Error::other(error.to_string()),
    })?;
    let key = SigningKey::of_scheme(scheme, &seed).map_err(|_| KeyError::Format {
        path: path.into(),
        fault: KeyFault::NotBuilt,
    })?;
    write(path, &key)?;
    Ok(key)
}

/// Reads the key at `path`.
///
/// # Errors
/// [`KeyError::Permissions`] where others may read or write the file, [`KeyError::Format`],
/// [`KeyError::Io`].
pub fn read(path: &Path) -> Result<SigningKey, KeyError> {
    let failed = |source| KeyError::Io {
        what: "read",
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that it cannot be exchanged in between.
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Permissions {
            path: path.into(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::from(u16::MAX)));
    file.take(FILE_LEN_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    parse(&text).map_err(|fault| KeyError::Format {
        path: path.into(),
        fault,
    })
}

fn parse(text: &str) -> Result<SigningKey, KeyFault> {
    if u64::try_from(text.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
        return Err(KeyFault::Long {
            len_max: FILE_LEN_MAX,
        });
    }
    let mut fields: [(&'static str, Option<&str>); 3] = [("scheme", None), ("public", None), ("seed", None)];
    for (line, content) in (1..)
        .zip(text.lines())
        .map(|(line, content)| (line, content.trim()))
    {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (name, value) = content.split_once('=').ok_or(KeyFault::Line { line })?;
        let value = value
            .trim()
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let value = value.ok_or(KeyFault::Line { line })?;
        let field = fields.iter_mut().find(|(known, _)| *known == name.trim());
        let (name, place) = field.ok_or(KeyFault::Line { line })?;
        if place.replace(value).is_some() {
            return Err(KeyFault::Field { name });
        }
    }
    let [scheme, public, seed] = fields.map(|(name, value)| value.ok_or(KeyFault::Field { name }));
    let scheme = Scheme::from_name(scheme?).ok_or(KeyFault::Scheme)?;
    let seed = Hash::from_hex(seed?).ok_or(KeyFault::Seed)?;
    let seed = Zeroizing::new(seed.0);
    let key = SigningKey::of_scheme(scheme, &seed).map_err(|_| KeyFault::NotBuilt)?;
    if hex(key.public().as_bytes()).as_str() == public?.to_ascii_lowercase() {
        Ok(key)
    } else {
        Err(KeyFault::Public)
    }
}

/// The bytes of hexadecimal text of either case.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(high)? * 16 + digit(low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// Lower-case hexadecimal, wiped when dropped.
pub fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let digits = b"0123456789abcdef";
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        text.push(char::from(digits[usize::from(byte >> 4)]));
        text.push(char::from(digits[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_key_reads_back_and_only_its_owner_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        write(&path, &key()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        let read = read(&path).unwrap();
        assert_eq!((read.id(), read.seed()), (key().id(), key().seed()));
    }

    #[test]
    fn a_key_of_any_scheme_reads_back_and_a_node_has_one_that_can_vote() {
        let folder = tempfile::tempdir().unwrap();
        for scheme in Scheme::ALL {
            let path = folder.path().join(scheme.name());
            let made = create(&path, scheme).unwrap();
            assert_eq!(
                (made.public().scheme(), read(&path).unwrap().id()),
                (scheme, made.id())
            );
            let opened = open_or_create(&path);
            assert_eq!(opened.is_ok(), scheme.can_vote(), "{}", scheme.name());
            for wanted in Scheme::ALL {
                assert_eq!(open_or_create_of(&path, wanted).is_ok(), wanted == scheme);
            }
        }
    }

    #[test]
    fn refuses_a_key_that_others_may_read_or_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        write(&path, &key()).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyError::Permissions { mode: got, .. } if got == mode));
            assert!(error.to_string().contains("chmod 600"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn never_overwrites_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        write(&path, &key()).unwrap();
        let again = write(&path, &SigningKey::from_seed(&[8; 32]));
        assert!(matches!(again, Err(KeyError::Exists { .. })));
        assert_eq!(read(&path).unwrap().id(), key().id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NODE_KEY_FILE);
        let made = open_or_create(&path).unwrap().id();
        assert_eq!(open_or_create(&path).unwrap().id(), made);
    }

    #[test]
    fn refuses_a_file_that_is_no_key() {
        let text = text(&key());
        assert!(parse(&text).is_ok());
        let check = |text: &str, want: KeyFault| assert_eq!(parse(text).unwrap_err(), want, "{text}");
        check("", KeyFault::Field { name: "scheme" });
        check("hello", KeyFault::Line { line: 1 });
        check(
            &format!("{}seed = \"00\"", text.as_str()),
            KeyFault::Field { name: "seed" },
        );
        check(&text.replace("ed25519", "rsa"), KeyFault::Scheme);
        check(&text.replace("seed = \"07", "seed = \"zz"), KeyFault::Seed);
        check(&text.replace("seed = \"07", "seed = \"08"), KeyFault::Public);
        check(
            &"#".repeat(9_000),
            KeyFault::Long {
                len_max: FILE_LEN_MAX,
            },
        );
    }
}
