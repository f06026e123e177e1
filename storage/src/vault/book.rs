//! The book: sealed records one after another, under a head that says how far they are durable.
//!
//! Page 0 is the head: magic, format, the vault's id, the generation, and the book's key, wrapped by the key of the
//! key file. Pages 1 and 2 are marks, written in turn after the records that they cover are synced, and synced
//! themselves before anything is acknowledged: what lies past the newer mark was not. Every byte is checked when the
//! book opens: what was changed is refused, and nothing of it is used.

use std::sync::Arc;

use selfchain_types::crypto::aead::{self, SEAL_OVERHEAD};
use selfchain_types::hash::VAULT_KEY;
use zeroize::Zeroizing;

use super::error::{damaged, failed};
use super::{VAULT_DIR, VaultError, VaultLimits};
use crate::disk::{Disk, File, UNPUBLISHED_SUFFIX, remove_unpublished};
use crate::metrics::len_u64;

/// The book's file.
pub(super) const BOOK: &str = "vault/book";
const MAGIC: &[u8; 8] = b"SCvault\0";
/// The format that this program writes.
const FORMAT: u32 = 1;
const PAGE_LEN: u64 = 4_096;
const PAGE_BYTES: usize = 4_096;
/// Where the records begin.
const RECORDS_FROM: u64 = 3 * PAGE_LEN;
/// Bytes of the head that name the vault: magic, format, id, generation.
const NAMED_BYTES: usize = 36;
const WRAPPED_BYTES: usize = 32 + SEAL_OVERHEAD;
const CHECK_BYTES: usize = 32;
const MARK_BYTES: usize = 24 + SEAL_OVERHEAD;
/// The longest record, sealed.
const RECORD_BYTES_MAX: usize = 16 << 10;
/// Records gathered before they are written, when the book is written anew.
const GATHER_BYTES: usize = 1 << 20;
const WRAP_LABEL: &[u8] = b"selfchain/vault/wrap/v1";
const MARK_LABEL: &[u8] = b"selfchain/vault/mark/v1";
const RECORD_LABEL: &[u8] = b"selfchain/vault/record/v1";

/// The book of one vault, open for appending.
pub(super) struct Book {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    id: [u8; 16],
    generation: u64,
    /// Wraps the book's own key.
    wrapping: Zeroizing<[u8; 32]>,
    key: Zeroizing<[u8; 32]>,
    /// Where the next record goes.
    end: u64,
    records: u64,
    /// Marks written.
    marks: u64,
    is_poisoned: bool,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Book(generation {}, {} records)",
            self.generation, self.records
        )
    }
}

impl Book {
    /// Opens the book of the vault, making it if there is no vault, and hands each record to `take`, which says what
    /// does not hold.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        secret: &[u8; 32],
        take: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Self, VaultError> {
        remove_unpublished(&*disk, VAULT_DIR).map_err(failed("clean up", VAULT_DIR))?;
        let wrapping = Zeroizing::new(VAULT_KEY.hash(secret).0);
        match disk.open(BOOK) {
            Ok(file) => {
                let mut book = Self::read_head(disk, file, wrapping)?;
                book.read_marks()?;
                book.read_records(take)?;
                // What lies past the mark was never acknowledged.
                if book.file.len().map_err(failed("measure", BOOK))? > book.end {
                    book.file.set_len(book.end).map_err(failed("cut", BOOK))?;
                }
                Ok(book)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut id = [0; 16];
                selfchain_types::crypto::fill_random(&mut id).map_err(|_| VaultError::Random)?;
                let book = Self::write_whole(disk, id, 0, wrapping, std::iter::empty())?;
                book.publish()?;
                Ok(book)
            }
            Err(error) => Err(failed("open", BOOK)(error)),
        }
    }

    /// The vault's id.
    pub(super) fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Records in it.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Its length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    pub(super) fn alive(&self) -> Result<(), VaultError> {
        match self.is_poisoned {
            true => Err(VaultError::Poisoned),
            false => Ok(()),
        }
    }

    /// After a failed write or sync it refuses every call.
    pub(super) fn fatal<T>(&mut self, result: Result<T, VaultError>) -> Result<T, VaultError> {
        self.is_poisoned |= result.is_err();
        result
    }

    /// Appends records, all of them or none; durable when it returns.
    pub(super) fn commit(
        &mut self,
        records: &[Zeroizing<Vec<u8>>],
        limits: &VaultLimits,
    ) -> Result<(), VaultError> {
        self.alive()?;
        let mut bytes = Vec::new();
        for (number, record) in (self.records..).zip(records) {
            self.seal_record(number, record, &mut bytes)?;
        }
        limits.check_free(&*self.disk, len_u64(bytes.len()))?;
        let committed = self.append(&bytes, len_u64(records.len()));
        self.fatal(committed)
    }

    fn append(&mut self, bytes: &[u8], records: u64) -> Result<(), VaultError> {
        self.file
            .write_at(self.end, bytes)
            .map_err(failed("write", BOOK))?;
        self.file.sync().map_err(failed("sync", BOOK))?;
        self.end += len_u64(bytes.len());
        self.records += records;
        self.mark()?;
        self.file.sync().map_err(failed("sync", BOOK))
    }

    /// Writes the next mark.
    fn mark(&mut self) -> Result<(), VaultError> {
        let place = self.marks % 2;
        let plain = [self.marks, self.end, self.records]
            .map(u64::to_le_bytes)
            .concat();
        let sealed = aead::seal(&self.key, &self.context(MARK_LABEL, place), &plain)
            .map_err(|_| VaultError::Random)?;
        self.file
            .write_at((1 + place) * PAGE_LEN, &sealed)
            .map_err(failed("write", BOOK))?;
        self.marks += 1;
        Ok(())
    }

    /// Puts a book with these records in its place, under another key, and overwrites the former one, so that the keys
    /// it held are gone from the file's own blocks too.
    pub(super) fn rewrite(
        &mut self,
        records: impl Iterator<Item = Zeroizing<Vec<u8>>>,
        limits: &VaultLimits,
    ) -> Result<(), VaultError> {
        self.alive()?;
        limits.check_free(&*self.disk, self.end)?;
        let rewritten = self.replace(records);
        self.fatal(rewritten)
    }

    fn replace(&mut self, records: impl Iterator<Item = Zeroizing<Vec<u8>>>) -> Result<(), VaultError> {
        let book = Self::write_whole(
            Arc::clone(&self.disk),
            self.id,
            self.generation + 1,
            self.wrapping.clone(),
            records,
        )?;
        book.publish()?;
        let former = std::mem::replace(self, book);
        former.wipe()
    }

    /// Overwrites a book that has no name any more.
    fn wipe(self) -> Result<(), VaultError> {
        let zeros = vec![0; GATHER_BYTES];
        let mut at = 0;
        while at < self.end {
            let len = usize::try_from(self.end - at).map_or(zeros.len(), |left| left.min(zeros.len()));
            self.file
                .write_at(at, &zeros[..len])
                .map_err(failed("overwrite the former", BOOK))?;
            at += len_u64(len);
        }
        self.file.sync().map_err(failed("sync the former", BOOK))
    }

    /// Reads every byte again, and hands each record to `take`.
    pub(super) fn check(&self, take: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), VaultError> {
        self.alive()?;
        let file = self.disk.open_read_only(BOOK).map_err(failed("open", BOOK))?;
        let mut book = Self::read_head(Arc::clone(&self.disk), file, self.wrapping.clone())?;
        book.read_marks()?;
        if (book.end, book.records, book.generation) != (self.end, self.records, self.generation) {
            return Err(damaged(BOOK, "it is not the one that is open"));
        }
        book.read_records(take)
    }

    /// A whole book aside, not yet in its place.
    fn write_whole(
        disk: Arc<dyn Disk>,
        id: [u8; 16],
        generation: u64,
        wrapping: Zeroizing<[u8; 32]>,
        records: impl Iterator<Item = Zeroizing<Vec<u8>>>,
    ) -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        selfchain_types::crypto::fill_random(key.as_mut()).map_err(|_| VaultError::Random)?;
        let file = disk.create(&aside()).map_err(failed("create", BOOK))?;
        let mut book = Self {
            disk,
            file,
            id,
            generation,
            wrapping,
            key,
            end: RECORDS_FROM,
            records: 0,
            marks: 0,
            is_poisoned: false,
        };
        let mut head = vec![0; usize::try_from(RECORDS_FROM).unwrap_or(0)];
        let front = book.encode_head()?;
        head[..front.len()].copy_from_slice(&front);
        book.file.write_at(0, &head).map_err(failed("write", BOOK))?;
        let mut gathered = Vec::new();
        for record in records {
            book.seal_record(book.records, &record, &mut gathered)?;
            book.records += 1;
            if gathered.len() >= GATHER_BYTES {
                book.write_on(&gathered)?;
                gathered.clear();
            }
        }
        book.write_on(&gathered)?;
        book.mark()?;
        book.mark()?;
        book.file.sync().map_err(failed("sync", BOOK))?;
        Ok(book)
    }

    fn write_on(&mut self, bytes: &[u8]) -> Result<(), VaultError> {
        self.file
            .write_at(self.end, bytes)
            .map_err(failed("write", BOOK))?;
        self.end += len_u64(bytes.len());
        Ok(())
    }

    fn publish(&self) -> Result<(), VaultError> {
        self.disk
            .rename(&aside(), BOOK)
            .and_then(|()| self.disk.sync_dir(VAULT_DIR))
            .map_err(failed("put in place", BOOK))
    }

    fn encode_head(&self) -> Result<Vec<u8>, VaultError> {
        let mut head = Vec::with_capacity(NAMED_BYTES + WRAPPED_BYTES + CHECK_BYTES);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&FORMAT.to_le_bytes());
        head.extend_from_slice(&self.id);
        head.extend_from_slice(&self.generation.to_le_bytes());
        let context = [WRAP_LABEL, &head].concat();
        let wrapped =
            aead::seal(&self.wrapping, &context, self.key.as_slice()).map_err(|_| VaultError::Random)?;
        head.extend_from_slice(&wrapped);
        let check = *blake3::hash(&head).as_bytes();
        head.extend_from_slice(&check);
        Ok(head)
    }

    fn read_head(
        disk: Arc<dyn Disk>,
        file: Arc<dyn File>,
        wrapping: Zeroizing<[u8; 32]>,
    ) -> Result<Self, VaultError> {
        let page = read_page(&*file, 0)?;
        let (head, rest) = page.split_at(NAMED_BYTES + WRAPPED_BYTES + CHECK_BYTES);
        let (front, check) = head.split_at(NAMED_BYTES + WRAPPED_BYTES);
        if !front.starts_with(MAGIC) {
            return Err(damaged(BOOK, "it does not begin as a book does"));
        }
        if blake3::hash(front).as_bytes().as_slice() != check || rest.iter().any(|byte| *byte != 0) {
            return Err(damaged(BOOK, "its head was changed"));
        }
        let (named, wrapped) = front.split_at(NAMED_BYTES);
        let version = u32::from_le_bytes(part(named, 8));
        if version != FORMAT {
            return Err(VaultError::Format {
                version,
                known: FORMAT,
            });
        }
        let opened = aead::open(&wrapping, &[WRAP_LABEL, named].concat(), wrapped);
        let opened = opened.map_err(|_| VaultError::WrongKey)?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&opened);
        Ok(Self {
            disk,
            file,
            id: part(named, 12),
            generation: u64::from_le_bytes(part(named, 28)),
            wrapping,
            key,
            end: RECORDS_FROM,
            records: 0,
            marks: 0,
            is_poisoned: false,
        })
    }

    /// Takes the newer mark, when both hold.
    fn read_marks(&mut self) -> Result<(), VaultError> {
        let mut marks = Vec::new();
        for place in 0..2 {
            let page = read_page(&*self.file, (1 + place) * PAGE_LEN)?;
            let (sealed, rest) = page.split_at(MARK_BYTES);
            let context = self.context(MARK_LABEL, place);
            let opened = aead::open(&self.key, &context, sealed);
            match opened {
                Ok(plain) if rest.iter().all(|byte| *byte == 0) && plain.len() == 24 => {
                    marks.push([0, 8, 16].map(|at| u64::from_le_bytes(part(&plain, at))));
                }
                _ => return Err(damaged(BOOK, format!("mark {place} was changed"))),
            }
        }
        marks.sort_unstable();
        let [number, end, records] = marks[1];
        let follows = number.checked_sub(1) == Some(marks[0][0]);
        if !follows || end < RECORDS_FROM || marks[0][1] > end {
            return Err(damaged(BOOK, "its marks do not follow one another"));
        }
        let len = self.file.len().map_err(failed("measure", BOOK))?;
        if len < end {
            let what = format!("it ends at byte {len}, and was durable through byte {end}");
            return Err(damaged(BOOK, what));
        }
        (self.marks, self.end, self.records) = (number + 1, end, records);
        Ok(())
    }

    fn read_records(&self, take: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), VaultError> {
        let mut at = RECORDS_FROM;
        for number in 0..self.records {
            let wrong = |what: &str| damaged(BOOK, format!("record {number} at byte {at} {what}"));
            let mut len = [0; 4];
            if at + 4 > self.end {
                return Err(wrong("is missing"));
            }
            self.file.read_at(at, &mut len).map_err(failed("read", BOOK))?;
            let len = u32::from_le_bytes(len);
            let bytes = usize::try_from(len).unwrap_or(usize::MAX);
            if bytes > RECORD_BYTES_MAX || at + 4 + u64::from(len) > self.end {
                return Err(wrong("has a length that was changed"));
            }
            let mut sealed = vec![0; bytes];
            self.file
                .read_at(at + 4, &mut sealed)
                .map_err(failed("read", BOOK))?;
            let plain = aead::open(&self.key, &self.context(RECORD_LABEL, number), &sealed)
                .map_err(|_| wrong("does not open: it was changed"))?;
            take(&plain).map_err(|why| wrong(&format!("does not hold: {why}")))?;
            at += 4 + u64::from(len);
        }
        match at == self.end {
            true => Ok(()),
            false => Err(damaged(BOOK, format!("bytes {at} to {} are no record", self.end))),
        }
    }

    fn seal_record(&self, number: u64, record: &[u8], out: &mut Vec<u8>) -> Result<(), VaultError> {
        let sealed = aead::seal(&self.key, &self.context(RECORD_LABEL, number), record)
            .map_err(|_| VaultError::Random)?;
        assert!(
            sealed.len() <= RECORD_BYTES_MAX,
            "names and addresses are bounded"
        );
        let len = u32::try_from(sealed.len()).expect("a record is short");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&sealed);
        Ok(())
    }

    /// Binds sealed bytes to this vault, this generation of its book, and a place in it.
    fn context(&self, label: &[u8], place: u64) -> Vec<u8> {
        [
            label,
            &self.id,
            &self.generation.to_le_bytes(),
            &place.to_le_bytes(),
        ]
        .concat()
    }
}

fn aside() -> String {
    format!("{BOOK}{UNPUBLISHED_SUFFIX}")
}

fn read_page(file: &dyn File, at: u64) -> Result<[u8; PAGE_BYTES], VaultError> {
    let mut page = [0; PAGE_BYTES];
    match file.read_at(at, &mut page) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(damaged(BOOK, "it ends inside its head"))
        }
        read => read.map(|()| page).map_err(failed("read", BOOK)),
    }
}

/// `N` bytes of a head or mark, whose length was checked.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}
