//! Key files: a secret key at rest, readable by its owner alone, put in place whole or not at all; as it is, or sealed
//! under a passphrase. Format: `docs/formats/key-file.md`.

mod fault;
mod passphrase;
mod place;
mod text;

pub use fault::{KeyError, KeyFault};
pub use passphrase::{PASSPHRASE_BYTES_MAX, Passphrase};
pub use text::{Halves, KeyFile, SecretKey};

#[cfg(feature = "network")]
use selfchain_types::crypto::passphrase::Cost;
#[cfg(feature = "network")]
use selfchain_types::crypto::x_wing::KemSecret;
use selfchain_types::crypto::{Scheme, SigningKey, random_seed};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Most bytes of a key file.
const FILE_LEN_MAX: u64 = 16_384;

/// The node's key, in its data directory.
pub const NODE_KEY_FILE: &str = "node.key";

/// The key that a validator rotates to, beside it.
pub const NEXT_KEY_FILE: &str = "next.key";

/// The key that a validator signs checkpoints with, beside it.
pub const CHECKPOINT_KEY_FILE: &str = "checkpoint.key";

/// The key that it will sign them with.
pub const NEXT_CHECKPOINT_KEY_FILE: &str = "next-checkpoint.key";

/// Writes `key` to a new file at `path`, durable when this returns. After a crash the file is whole or absent.
///
/// # Errors
/// [`KeyError::Exists`], [`KeyError::Io`].
pub fn write<'a>(path: &Path, key: impl Into<Halves<'a>>) -> Result<(), KeyError> {
    place::new(path, text::plain(&key.into(), None).as_bytes())
}

/// As [`write`](fn@write), sealed under a passphrase.
///
/// # Errors
/// [`KeyError`].
#[cfg(feature = "network")]
pub fn write_sealed<'a>(
    path: &Path,
    key: impl Into<Halves<'a>>,
    passphrase: &Passphrase,
    cost: Cost,
    guard: Option<&[u8]>,
) -> Result<(), KeyError> {
    let text = text::sealed(&key.into(), passphrase, cost, guard).map_err(of(path))?;
    place::new(path, text.as_bytes())
}

/// As [`write`](fn@write), with what a validator may have signed so far.
///
/// # Errors
/// [`KeyError::Exists`], [`KeyError::Io`].
pub fn write_guarded<'a>(
    path: &Path,
    key: impl Into<Halves<'a>>,
    guard: Option<&[u8]>,
) -> Result<(), KeyError> {
    place::new(path, text::plain(&key.into(), guard).as_bytes())
}

/// Seals the file at `path` under a passphrase, in the place of what it was: whole before and after, whatever happens
/// in between. The old bytes may still be found on the disk until it writes over them.
///
/// # Errors
/// [`KeyError`].
#[cfg(feature = "network")]
pub fn seal<'a>(
    path: &Path,
    key: impl Into<Halves<'a>>,
    passphrase: &Passphrase,
    cost: Cost,
) -> Result<(), KeyError> {
    let key = key.into();
    let guard = open(path)?.guard().map(<[u8]>::to_vec);
    let text = text::sealed(&key, passphrase, cost, guard.as_deref()).map_err(of(path))?;
    // What cannot be read back must not take the place of what can.
    let read = KeyFile::parse(&text)
        .and_then(|file| file.unlock_secret(passphrase))
        .map_err(of(path))?;
    assert!(
        read.halves().id() == key.id(),
        "a sealed key opens as the same key"
    );
    place::over(path, text.as_bytes())
}

/// Reads the node's key at `path`, of any scheme that validators sign with, or makes one of Ed25519 there from the
/// operating system's random numbers.
///
/// # Errors
/// [`KeyError`].
pub fn open_or_create(path: &Path) -> Result<SigningKey, KeyError> {
    check_node(path, open_or(path, Scheme::Ed25519)?)
}

/// Reads the node's key at `path`, which must be of `scheme`, or makes one there.
///
/// # Errors
/// [`KeyError`].
pub fn open_or_create_of(path: &Path, scheme: Scheme) -> Result<SigningKey, KeyError> {
    check(path, open_or(path, scheme)?, scheme.name(), |found| {
        found == scheme
    })
}

fn open_or(path: &Path, new: Scheme) -> Result<SigningKey, KeyError> {
    match read(path) {
        Err(error) if error.is_absent() => create(path, new),
        found => found,
    }
}

/// The key, if a node may have it as its own.
///
/// # Errors
/// [`KeyError::Format`].
pub fn check_node(path: &Path, key: SigningKey) -> Result<SigningKey, KeyError> {
    check(
        path,
        key,
        "ed25519 or a hybrid of it with ml-dsa",
        Scheme::can_vote,
    )
}

fn check(
    path: &Path,
    key: SigningKey,
    wanted: &'static str,
    may: impl Fn(Scheme) -> bool,
) -> Result<SigningKey, KeyError> {
    let scheme = key.public().scheme();
    if may(scheme) {
        return Ok(key);
    }
    let scheme = scheme.name();
    Err(of(path)(KeyFault::Node { scheme, wanted }))
}

/// Makes a key of `scheme` at `path` from the operating system's random numbers.
///
/// # Errors
/// [`KeyError`].
pub fn create(path: &Path, scheme: Scheme) -> Result<SigningKey, KeyError> {
    let key = draw(path, scheme)?;
    write(path, &key)?;
    Ok(key)
}

/// A new key for the file at `path`, which is not written.
///
/// # Errors
/// [`KeyError`].
pub fn draw(path: &Path, scheme: Scheme) -> Result<SigningKey, KeyError> {
    let seed = random_seed().map_err(|error| KeyError::Io {
        what: "draw random numbers for",
        path: path.into(),
        source: io::Error::other(error.to_string()),
    })?;
    SigningKey::of_scheme(scheme, &seed).map_err(|_| of(path)(KeyFault::NotBuilt))
}

/// A new key to seal to, for the file at `path`, which is not written.
///
/// # Errors
/// [`KeyError::Format`] with [`KeyFault::Random`].
#[cfg(feature = "network")]
pub fn draw_kem(path: &Path) -> Result<KemSecret, KeyError> {
    KemSecret::generate().map_err(|_| of(path)(KeyFault::Random))
}

/// Reads the key at `path`, which no passphrase seals.
///
/// # Errors
/// [`KeyError::Permissions`] where others may read or write the file, [`KeyError::Format`],
/// [`KeyError::Io`].
pub fn read(path: &Path) -> Result<SigningKey, KeyError> {
    open(path)?.key().map_err(of(path))
}

/// Reads the key at `path`, with the passphrase if it is sealed and there is one.
///
/// # Errors
/// As [`read`], and [`KeyError::Format`] with [`KeyFault::Passphrase`].
#[cfg(feature = "network")]
pub fn read_with(path: &Path, passphrase: Option<&Passphrase>) -> Result<SigningKey, KeyError> {
    let file = open(path)?;
    match passphrase {
        Some(passphrase) => file.unlock(passphrase),
        None => file.key(),
    }
    .map_err(of(path))
}

/// Reads the file at `path`, whose key may be sealed: its public half is known.
///
/// # Errors
/// As [`read`].
pub fn open(path: &Path) -> Result<KeyFile, KeyError> {
    let bytes = read_private(path, FILE_LEN_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| of(path)(KeyFault::Text))?;
    KeyFile::parse(text).map_err(of(path))
}

/// Reads a file that only its owner may read or write, of at most so many bytes.
fn read_private(path: &Path, len_max: u64) -> Result<Zeroizing<Vec<u8>>, KeyError> {
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
    // Room for all of it, so that no copy stays behind when it grows.
    let room = usize::try_from(len_max + 1).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(len_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > len_max) {
        return Err(of(path)(KeyFault::Long { len_max }));
    }
    Ok(bytes)
}

/// What is wrong with the file at `path`.
fn of(path: &Path) -> impl FnOnce(KeyFault) -> KeyError + use<> {
    let path = path.to_owned();
    move |fault| KeyError::Format { path, fault }
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

/// Reads hexadecimal of either case, wiped when dropped; `None` for anything else.
pub fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for pair in pairs {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = digit(pair[0])? * 16 + digit(pair[1])?;
        bytes.push(u8::try_from(byte).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "keys/keys_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
