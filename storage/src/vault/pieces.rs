//! Contents: a file of sealed pieces for each version, written and read piece by piece.

use std::sync::Arc;

use selfchain_types::Hash;
use selfchain_types::crypto::aead::{self, SEAL_OVERHEAD};
use zeroize::Zeroizing;

use super::error::{damaged, failed};
use super::record::{ContentKey, Place};
use super::{VaultError, VaultLimits};
use crate::disk::{Disk, File, UNPUBLISHED_SUFFIX};
use crate::metrics::len_u64;

/// Bytes of content in a piece; the last one of a version may have fewer.
pub const PIECE_BYTES: usize = 64 << 10;
const PIECE_LEN: u64 = 64 << 10;
/// Bytes that a whole piece takes in its file.
const SEALED_LEN: u64 = PIECE_LEN + OVERHEAD_LEN;
const OVERHEAD_LEN: u64 = 40;
const _: () = assert!(SEAL_OVERHEAD == 40 && PIECE_BYTES == 65_536);

/// Where contents lie.
pub(super) const CONTENT_DIR: &str = "vault/content";
const PIECE_LABEL: &[u8] = b"selfchain/vault/piece/v1";

/// The file of a content.
pub(super) fn path(id: &[u8; 16]) -> String {
    format!("{CONTENT_DIR}/{}", file_name(id))
}

/// The file of a content that the book does not name yet, or not for long any more.
pub(super) fn path_aside(id: &[u8; 16]) -> String {
    format!("{}{UNPUBLISHED_SUFFIX}", path(id))
}

/// The name of a content's file.
pub(super) fn file_name(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Binds a piece to its vault, its content, its place, and to being the last.
fn context(vault: &[u8; 16], content: &[u8; 16], index: u64, is_last: bool) -> Vec<u8> {
    [
        PIECE_LABEL,
        vault,
        content,
        &index.to_le_bytes(),
        &[u8::from(is_last)],
    ]
    .concat()
}

/// Pieces of a content of `len` bytes: at least one.
fn piece_count(len: u64) -> u64 {
    len.div_ceil(PIECE_LEN).max(1)
}

/// Bytes of the file of a content of `len` bytes.
fn file_len(len: u64) -> u64 {
    len + piece_count(len) * OVERHEAD_LEN
}

/// A new version on its way. Dropped without [`super::Vault::finish`] or [`super::Vault::abandon`] its file is removed
/// when the vault is opened the next time.
#[derive(Debug)]
pub struct Upload {
    pub(super) name: String,
    pub(super) place: Place,
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    path: String,
    vault: [u8; 16],
    limits: VaultLimits,
    /// Bytes that all versions may still come to.
    allowance: u64,
    /// What does not fill a piece yet.
    gathered: Zeroizing<Vec<u8>>,
    pieces: u64,
    hasher: blake3::Hasher,
    len: u64,
}

impl Upload {
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        vault: [u8; 16],
        name: &str,
        limits: &VaultLimits,
        allowance: u64,
    ) -> Result<Self, VaultError> {
        let mut id = [0; 16];
        let mut key = Zeroizing::new([0; 32]);
        selfchain_types::crypto::fill_random(&mut id).map_err(|_| VaultError::Random)?;
        selfchain_types::crypto::fill_random(key.as_mut()).map_err(|_| VaultError::Random)?;
        limits.check_free(&*disk, SEALED_LEN)?;
        let path = path_aside(&id);
        let file = disk.create(&path).map_err(failed("create", &path))?;
        Ok(Self {
            name: name.into(),
            place: Place {
                id,
                key: ContentKey(key),
            },
            disk,
            file,
            path,
            vault,
            limits: limits.clone(),
            allowance,
            gathered: Zeroizing::new(Vec::with_capacity(PIECE_BYTES)),
            pieces: 0,
            hasher: blake3::Hasher::new(),
            len: 0,
        })
    }

    /// The document's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next bytes of the content; whole pieces go to the disk.
    ///
    /// # Errors
    /// [`VaultError::Limit`], [`VaultError::DiskFull`], [`VaultError::Io`]; then the upload can only be abandoned.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), VaultError> {
        let len = self.len.saturating_add(len_u64(bytes.len()));
        VaultLimits::check("version_bytes_max", len, self.limits.version_bytes_max)?;
        VaultLimits::check("bytes_max", len, self.allowance)?;
        self.hasher.update(bytes);
        self.len = len;
        // The last piece is told from the others, so a full one waits until more bytes come.
        while self.gathered.len() + bytes.len() > PIECE_BYTES {
            let (now, later) = bytes.split_at(PIECE_BYTES - self.gathered.len());
            self.gathered.extend_from_slice(now);
            bytes = later;
            self.seal(false)?;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(&mut self, is_last: bool) -> Result<(), VaultError> {
        let context = context(&self.vault, &self.place.id, self.pieces, is_last);
        let sealed =
            aead::seal(&self.place.key.0, &context, &self.gathered).map_err(|_| VaultError::Random)?;
        self.limits.check_free(&*self.disk, len_u64(sealed.len()))?;
        self.file
            .write_at(self.pieces * SEALED_LEN, &sealed)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::StorageFull => VaultError::DiskFull {
                    free_bytes: 0,
                    needed_bytes: len_u64(sealed.len()),
                },
                _ => failed("write", &self.path)(error),
            })?;
        self.pieces += 1;
        self.gathered.clear();
        Ok(())
    }

    /// Seals the rest, and makes the file and its name durable: the content's hash.
    pub(super) fn end(&mut self) -> Result<Hash, VaultError> {
        self.seal(true)?;
        self.file.sync().map_err(failed("sync", &self.path))?;
        self.disk
            .sync_dir(CONTENT_DIR)
            .map_err(failed("sync", CONTENT_DIR))?;
        Ok(Hash(*self.hasher.finalize().as_bytes()))
    }

    pub(super) fn remove(&self) -> Result<(), VaultError> {
        self.disk.remove(&self.path).map_err(failed("remove", &self.path))
    }
}

/// A version's content, open for reading.
#[derive(Debug)]
pub(super) struct Content<'a> {
    pub vault: [u8; 16],
    pub place: &'a Place,
    /// Bytes of the content.
    pub len: u64,
    file: Arc<dyn File>,
    path: String,
}

impl<'a> Content<'a> {
    /// Opens the file of a content and holds its length against what it must be.
    pub(super) fn open(
        disk: &dyn Disk,
        vault: [u8; 16],
        place: &'a Place,
        len: u64,
    ) -> Result<Self, VaultError> {
        let path = path(&place.id);
        let opened = disk.open_read_only(&path).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => disk.open_read_only(&path_aside(&place.id)),
            _ => Err(error),
        });
        let file = match opened {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(&path, "it is missing"));
            }
            opened => opened.map_err(failed("open", &path))?,
        };
        let (got, want) = (file.len().map_err(failed("measure", &path))?, file_len(len));
        if got != want {
            return Err(damaged(
                &path,
                format!("it has {got} bytes where {want} were written"),
            ));
        }
        Ok(Self {
            vault,
            place,
            len,
            file,
            path,
        })
    }

    /// The bytes of one piece.
    pub(super) fn piece(&self, index: u64) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let is_last = index + 1 == piece_count(self.len);
        let bytes = match is_last {
            true => self.len - index * PIECE_LEN,
            false => PIECE_LEN,
        };
        let mut sealed = vec![0; usize::try_from(bytes + OVERHEAD_LEN).unwrap_or(usize::MAX)];
        self.file
            .read_at(index * SEALED_LEN, &mut sealed)
            .map_err(failed("read", &self.path))?;
        let context = context(&self.vault, &self.place.id, index, is_last);
        aead::open(&self.place.key.0, &context, &sealed)
            .map_err(|_| damaged(&self.path, format!("piece {index} does not open: it was changed")))
    }

    /// Bytes from `offset` on: at most `len_max`, and none past the end.
    pub(super) fn read(&self, offset: u64, len_max: usize) -> Result<Vec<u8>, VaultError> {
        let end = offset.saturating_add(len_u64(len_max)).min(self.len);
        let mut out = Vec::with_capacity(usize::try_from(end.saturating_sub(offset)).unwrap_or(0));
        let mut at = offset;
        if self.len == 0 {
            self.piece(0)?;
        }
        while at < end {
            let piece = self.piece(at / PIECE_LEN)?;
            let from = usize::try_from(at % PIECE_LEN).unwrap_or(usize::MAX);
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let part = &piece[from..piece.len().min(from.saturating_add(left))];
            out.extend_from_slice(part);
            at += len_u64(part.len());
        }
        Ok(out)
    }

    /// Reads everything, and holds its hash against the version's.
    pub(super) fn check(&self, want: &Hash) -> Result<(), VaultError> {
        let mut hasher = blake3::Hasher::new();
        for index in 0..piece_count(self.len) {
            hasher.update(&self.piece(index)?);
        }
        match hasher.finalize() == want.0 {
            true => Ok(()),
            false => Err(damaged(
                &self.path,
                "its content has another hash than its version",
            )),
        }
    }
}
