//! Load signed beforehand: a file of ready envelopes, written in parallel, streamed back without holding it.
//!
//! ```text
//! magic 8 B "SCLOAD1\n" │ header: JSON, padded with blanks to 4,096 B │ record │ record │ …
//! record: length u32 little endian │ that many bytes
//! ```
//! The header is written last, so a file whose making was cut short is refused and never measured.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::rate::count;

/// What a load file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PreparedHeader {
    /// Version of the format: [`FORMAT`].
    pub format: u32,
    /// Signature scheme of the envelopes.
    pub scheme: String,
    /// Whether the signers' public keys are registered at the front, and left out of the measured envelopes.
    #[serde(default)]
    pub registered: bool,
    /// Operations in each measured envelope.
    pub ops_per_tx: u64,
    /// Accounts that the load touches.
    pub accounts: u64,
    /// Contention of the load, as [`crate::load::workload::Profile`] prints it.
    pub profile: String,
    /// Seed of the load.
    pub seed: u64,
    /// Chain that the envelopes are signed for, in hexadecimal.
    pub chain: String,
    /// Connections that the records are dealt to in turn; a lane's envelopes must stay on one.
    pub tracks: u64,
    /// Records at the front that open the accounts: sent first, in order, and not measured.
    pub setup_records: u64,
    /// Records of both kinds.
    pub records: u64,
    /// Bytes of all records with their lengths.
    pub bytes: u64,
    /// Time spent signing, seconds of wall clock on all cores; not writing, not making up transfers.
    pub sign_seconds: f64,
    /// The cap in bytes ended the file before its plan did.
    pub capped: bool,
}

/// How far the making of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareProgress {
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Time spent signing.
    pub signing: Duration,
}

/// Why a load file cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PreparedError {
    /// The disk said no.
    #[error("cannot use the load file {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not a finished load file, or one of another format.
    #[error("{path} is no finished load file of format {FORMAT}")]
    Header {
        /// Which file.
        path: PathBuf,
    },
    /// A record that no writer makes.
    #[error("record {record} claims {len} bytes; at most {RECORD_BYTES_MAX} are possible")]
    Record {
        /// Position in the file, from 0.
        record: u64,
        /// The length it claims.
        len: u64,
    },
}

/// Version of the format.
pub const FORMAT: u32 = 1;
/// Largest record: an envelope fills at most one block of 16 MiB.
pub const RECORD_BYTES_MAX: u32 = 16 << 20;
/// Largest load file unless the caller says less, bytes.
pub const FILE_BYTES_MAX: u64 = 20_000_000_000;

/// Makes a load file: `items` are turned into bytes by `sign` on all cores, group by group, and written in their
/// order. Stops early, and says so in the header, where the next record would pass `bytes_max`. `header` brings the
/// description; counts and times are filled in here. `progress` is called after each group.
///
/// # Errors
/// When the file cannot be written, or `sign` makes a record above [`RECORD_BYTES_MAX`].
pub fn prepare<T: Send>(
    path: &Path,
    header: PreparedHeader,
    bytes_max: u64,
    items: impl IntoIterator<Item = T>,
    sign: impl Fn(T) -> Vec<u8> + Sync,
    mut progress: impl FnMut(PrepareProgress),
) -> Result<PreparedHeader, PreparedError> {
    let file_error = |source| PreparedError::File {
        path: path.to_path_buf(),
        source,
    };
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, File::create(path).map_err(file_error)?);
    writer.write_all(&[b' '; HEAD_BYTES]).map_err(file_error)?;
    let mut done = PrepareProgress {
        records: 0,
        bytes: 0,
        signing: Duration::ZERO,
    };
    let mut capped = false;
    let mut items = items.into_iter();
    let operations = usize::try_from(header.ops_per_tx).unwrap_or(usize::MAX).max(1);
    let sign_group = (SIGN_GROUP_OPERATIONS / operations).clamp(SIGN_GROUP_MIN, SIGN_GROUP_MAX);
    while !capped {
        let group: Vec<T> = items.by_ref().take(sign_group).collect();
        if group.is_empty() {
            break;
        }
        let begin = Instant::now();
        let records: Vec<Vec<u8>> = group.into_par_iter().map(&sign).collect();
        done.signing += begin.elapsed();
        for record in &records {
            let len = record_len(done.records, record)?;
            if done.bytes + LENGTH_BYTES + u64::from(len) > bytes_max {
                capped = true;
                break;
            }
            writer.write_all(&len.to_le_bytes()).map_err(file_error)?;
            writer.write_all(record).map_err(file_error)?;
            done.records += 1;
            done.bytes += LENGTH_BYTES + u64::from(len);
        }
        progress(done);
    }
    let header = PreparedHeader {
        format: FORMAT,
        records: done.records,
        bytes: done.bytes,
        sign_seconds: done.signing.as_secs_f64(),
        capped,
        ..header
    };
    write_head(&mut writer, &header).map_err(file_error)?;
    Ok(header)
}

/// A load file being read, record by record, in order.
#[derive(Debug)]
pub struct PreparedReader {
    header: PreparedHeader,
    path: PathBuf,
    reader: BufReader<File>,
    read: u64,
}

impl PreparedReader {
    /// Opens a finished file.
    ///
    /// # Errors
    /// When it is missing, unfinished, shorter than its header says, or of another format.
    pub fn open(path: &Path) -> Result<Self, PreparedError> {
        let file_error = |source| PreparedError::File {
            path: path.to_path_buf(),
            source,
        };
        let not_a_load = || PreparedError::Header {
            path: path.to_path_buf(),
        };
        let file = File::open(path).map_err(file_error)?;
        let file_bytes = file.metadata().map_err(file_error)?.len();
        let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, file);
        let mut head = [0; HEAD_BYTES];
        reader
            .read_exact(&mut head)
            .map_err(|source| match source.kind() {
                ErrorKind::UnexpectedEof => not_a_load(),
                _ => file_error(source),
            })?;
        let json = head.strip_prefix(MAGIC).ok_or_else(not_a_load)?;
        let header: PreparedHeader = serde_json::from_slice(json).map_err(|_| not_a_load())?;
        if header.format != FORMAT || file_bytes != count(HEAD_BYTES) + header.bytes {
            return Err(not_a_load());
        }
        Ok(Self {
            header,
            path: path.to_path_buf(),
            reader,
            read: 0,
        })
    }

    /// What the file says about itself.
    #[must_use]
    pub fn header(&self) -> &PreparedHeader {
        &self.header
    }

    /// Reads the next record into `record`, replacing its contents; `false` at the end of the file.
    ///
    /// # Errors
    /// When the disk fails, or a record's length is impossible.
    pub fn next_into(&mut self, record: &mut Vec<u8>) -> Result<bool, PreparedError> {
        record.clear();
        self.append_to(record).map(|len| len.is_some())
    }

    /// Appends the next record to `bytes` and returns its length.
    fn append_to(&mut self, bytes: &mut Vec<u8>) -> Result<Option<usize>, PreparedError> {
        if self.read == self.header.records {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.reader
            .read_exact(&mut length)
            .map_err(|source| self.file_error(source))?;
        let len = u32::from_le_bytes(length);
        if len > RECORD_BYTES_MAX {
            return Err(PreparedError::Record {
                record: self.read,
                len: u64::from(len),
            });
        }
        let begin = bytes.len();
        let len = usize::try_from(len).expect("RECORD_BYTES_MAX fits a usize");
        bytes.resize(begin + len, 0);
        self.reader
            .read_exact(&mut bytes[begin..])
            .map_err(|source| self.file_error(source))?;
        self.read += 1;
        Ok(Some(len))
    }

    fn file_error(&self, source: io::Error) -> PreparedError {
        PreparedError::File {
            path: self.path.clone(),
            source,
        }
    }

    /// Reads the rest of the file in a thread of its own and deals it in turn to `tracks` tracks (at least one),
    /// each at most [`CHUNKS_AHEAD_MAX`] chunks ahead of its reader. The first record after the setup goes to the
    /// first track. A track that is not read stops the others; dropping tracks ends the thread.
    #[must_use]
    pub fn deal(mut self, tracks: usize) -> Vec<Track> {
        let (senders, tracks): (Vec<_>, Vec<_>) = (0..tracks.max(1))
            .map(|_| {
                let (sender, chunks) = sync_channel(CHUNKS_AHEAD_MAX);
                (
                    sender,
                    Track {
                        chunks,
                        chunk: Chunk::default(),
                        next: 0,
                    },
                )
            })
            .unzip();
        std::thread::spawn(move || self.deal_to(&senders));
        tracks
    }

    fn deal_to(&mut self, senders: &[SyncSender<Result<Chunk, PreparedError>>]) {
        let mut chunks = vec![Chunk::default(); senders.len()];
        loop {
            for (chunk, sender) in chunks.iter_mut().zip(senders) {
                match self.append_to(&mut chunk.bytes) {
                    Ok(Some(_)) => chunk.ends.push(chunk.bytes.len()),
                    Ok(None) => return send_rest(chunks, senders),
                    Err(error) => {
                        // Nobody may be listening any more, and then nobody misses the error.
                        drop(sender.send(Err(error)));
                        return;
                    }
                }
                if chunk.bytes.len() >= CHUNK_BYTES && sender.send(Ok(std::mem::take(chunk))).is_err() {
                    return;
                }
            }
        }
    }
}

fn send_rest(chunks: Vec<Chunk>, senders: &[SyncSender<Result<Chunk, PreparedError>>]) {
    for (chunk, sender) in chunks.into_iter().zip(senders) {
        // A track dropped before its end has all it wants.
        drop(sender.send(Ok(chunk)));
    }
}

/// One connection's share of a load, in order.
#[derive(Debug)]
pub struct Track {
    chunks: Receiver<Result<Chunk, PreparedError>>,
    chunk: Chunk,
    next: usize,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Track {
    /// A track of these records, without a file.
    #[must_use]
    pub fn of_records(records: &[Vec<u8>]) -> Self {
        let mut chunk = Chunk::default();
        for record in records {
            chunk.bytes.extend_from_slice(record);
            chunk.ends.push(chunk.bytes.len());
        }
        let (_, chunks) = sync_channel(CHUNKS_AHEAD_MAX);
        Self {
            chunks,
            chunk,
            next: 0,
        }
    }

    /// Whether [`Track::peek`] would answer at once, after waiting for the disk for at most `longest`. The file is
    /// dealt in turn: while another track is not read, this one may wait for as long as that goes on.
    ///
    /// # Errors
    /// When the file could not be read; the track has then ended.
    pub fn is_at_hand(&mut self, longest: Duration) -> Result<bool, PreparedError> {
        while self.next == self.chunk.ends.len() {
            match self.chunks.recv_timeout(longest) {
                Ok(chunk) => (self.chunk, self.next) = (chunk?, 0),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
            }
        }
        Ok(true)
    }

    /// The next record, again and again until [`Track::advance`]; `None` at the end. Waits for the disk if need be.
    ///
    /// # Errors
    /// When the file could not be read; the track has then ended.
    pub fn peek(&mut self) -> Result<Option<&[u8]>, PreparedError> {
        while self.next == self.chunk.ends.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.chunk, self.next) = (chunk?, 0),
                Err(_) => return Ok(None),
            }
        }
        let begin = self
            .next
            .checked_sub(1)
            .map_or(0, |before| self.chunk.ends[before]);
        Ok(Some(&self.chunk.bytes[begin..self.chunk.ends[self.next]]))
    }

    /// Goes past the record last seen by [`Track::peek`].
    pub fn advance(&mut self) {
        self.next = (self.next + 1).min(self.chunk.ends.len());
    }
}

fn record_len(record: u64, bytes: &[u8]) -> Result<u32, PreparedError> {
    u32::try_from(bytes.len())
        .ok()
        .filter(|len| *len <= RECORD_BYTES_MAX)
        .ok_or(PreparedError::Record {
            record,
            len: count(bytes.len()),
        })
}

fn write_head(writer: &mut BufWriter<File>, header: &PreparedHeader) -> io::Result<()> {
    let json = serde_json::to_vec(header)?;
    if MAGIC.len() + json.len() > HEAD_BYTES {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the load's description passes 4 KiB",
        ));
    }
    writer.seek(SeekFrom::Start(0))?;
    writer.write_all(MAGIC)?;
    writer.write_all(&json)?;
    writer.flush()
}

const MAGIC: &[u8; 8] = b"SCLOAD1\n";
const HEAD_BYTES: usize = 4_096;
const LENGTH_BYTES: u64 = 4;
/// Operations signed between two writes: little enough to hold in memory.
const SIGN_GROUP_OPERATIONS: usize = 131_072;
/// Records signed between two writes: enough to keep every core busy.
const SIGN_GROUP_MIN: usize = 16;
const SIGN_GROUP_MAX: usize = 4_096;
const WRITE_BUFFER_BYTES: usize = 1 << 20;
const READ_BUFFER_BYTES: usize = 1 << 20;
/// A chunk is handed over once it has this many bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks of about 256 KiB waiting for one track.
pub const CHUNKS_AHEAD_MAX: usize = 8;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    fn record(n: u64) -> Vec<u8> {
        let len = usize::try_from(n % 700).unwrap();
        n.to_le_bytes().iter().copied().cycle().take(len).collect()
    }

    fn make(path: &Path, records: u64, bytes_max: u64) -> PreparedHeader {
        let header = PreparedHeader {
            scheme: "ed25519".to_owned(),
            seed: 3,
            ..PreparedHeader::default()
        };
        prepare(path, header, bytes_max, 0..records, record, |_| {}).unwrap()
    }

    fn with_file(test: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        test(&folder.path().join("load"));
    }

    #[test]
    fn every_record_comes_back_in_order() {
        with_file(|path| {
            let header = make(path, 5_000, u64::MAX);
            let mut reader = PreparedReader::open(path).unwrap();
            assert_eq!(*reader.header(), header);
            assert_eq!((header.records, header.capped), (5_000, false));
            assert!(header.sign_seconds > 0.0);
            let mut bytes = Vec::new();
            for n in 0..5_000 {
                assert!(reader.next_into(&mut bytes).unwrap());
                assert_eq!(bytes, record(n), "record {n}");
            }
            assert!(!reader.next_into(&mut bytes).unwrap());
        });
    }

    #[test]
    fn records_are_dealt_in_turn_and_stay_in_order() {
        with_file(|path| {
            make(path, 10_000, u64::MAX);
            let mut reader = PreparedReader::open(path).unwrap();
            // As a harness does with the records that open accounts.
            let mut setup = Vec::new();
            (0..10).for_each(|_| assert!(reader.next_into(&mut setup).unwrap()));
            let mut tracks = reader.deal(3);
            for n in 10..10_000 {
                let track = &mut tracks[usize::try_from((n - 10) % 3).unwrap()];
                assert_eq!(track.peek().unwrap(), Some(record(n).as_slice()), "record {n}");
                assert_eq!(
                    track.peek().unwrap(),
                    Some(record(n).as_slice()),
                    "looking takes nothing"
                );
                track.advance();
            }
            for track in &mut tracks {
                assert_eq!(track.peek().unwrap(), None);
                track.advance();
                assert_eq!(track.peek().unwrap(), None);
            }
        });
    }

    #[test]
    fn the_cap_ends_the_file_before_the_record_that_would_pass_it() {
        with_file(|path| {
            let header = make(path, 5_000, 100_000);
            assert!(header.capped && header.bytes <= 100_000 && header.records < 5_000);
            let next = 4 + count(record(header.records).len());
            assert!(header.bytes + next > 100_000, "it stopped too early");
            PreparedReader::open(path).unwrap();
        });
    }

    #[test]
    fn refuses_a_file_that_was_cut_short_or_is_something_else() {
        with_file(|path| {
            let refused = || matches!(PreparedReader::open(path), Err(PreparedError::Header { .. }));
            make(path, 100, u64::MAX);
            let whole = std::fs::read(path).unwrap();
            for len in [0, 7, 4_095, 4_096, whole.len() - 1] {
                std::fs::write(path, &whole[..len]).unwrap();
                assert!(refused(), "{len} of {} bytes", whole.len());
            }
            let mut unfinished = whole.clone();
            unfinished[..HEAD_BYTES].fill(b' ');
            std::fs::write(path, unfinished).unwrap();
            assert!(refused(), "no header yet");
            std::fs::write(path, [whole.as_slice(), b"x"].concat()).unwrap();
            assert!(refused(), "longer than the header says");
        });
    }

    #[test]
    fn an_impossible_length_is_an_error_and_no_allocation() {
        with_file(|path| {
            make(path, 100, u64::MAX);
            let mut bytes = std::fs::read(path).unwrap();
            bytes[HEAD_BYTES..HEAD_BYTES + 4].fill(0xff);
            std::fs::write(path, bytes).unwrap();
            let mut reader = PreparedReader::open(path).unwrap();
            let error = reader.next_into(&mut Vec::new()).unwrap_err();
            assert!(matches!(
                error,
                PreparedError::Record {
                    record: 0,
                    len: 0xffff_ffff
                }
            ));
            let mut track = PreparedReader::open(path).unwrap().deal(1).pop().unwrap();
            assert!(track.peek().is_err(), "a track tells what its reader met");
        });
    }

    #[test]
    fn an_oversized_record_is_refused_when_made() {
        with_file(|path| {
            let sign = |()| vec![0; usize::try_from(RECORD_BYTES_MAX).unwrap() + 1];
            let error = prepare(path, PreparedHeader::default(), u64::MAX, [()], sign, |_| {}).unwrap_err();
            assert!(matches!(error, PreparedError::Record { record: 0, .. }));
        });
    }

    #[test]
    fn progress_is_told_group_by_group() {
        with_file(|path| {
            let mut seen = Vec::new();
            prepare(
                path,
                PreparedHeader::default(),
                u64::MAX,
                0..9_000,
                record,
                |progress| {
                    seen.push(progress.records);
                },
            )
            .unwrap();
            assert_eq!(seen, [4_096, 8_192, 9_000]);
        });
    }

    #[test]
    fn a_track_waits_no_longer_than_it_is_told_for_one_that_is_not_read() {
        with_file(|path| {
            let header = PreparedHeader::default();
            let records = (CHUNKS_AHEAD_MAX + 3) * 2;
            let sign = |_| vec![7; CHUNK_BYTES];
            prepare(path, header, FILE_BYTES_MAX, 0..records, sign, |_| {}).unwrap();
            let mut tracks = PreparedReader::open(path).unwrap().deal(2);
            let (unread, read) = tracks.split_at_mut(1);
            let mut got = 0;
            while read[0].is_at_hand(Duration::from_millis(200)).unwrap() {
                read[0].advance();
                got += 1;
            }
            assert!(got < records / 2, "the other track's chunks are full");
            assert!(unread[0].peek().unwrap().is_some());
            unread[0].advance();
            assert!(unread[0].peek().unwrap().is_some());
            assert!(read[0].is_at_hand(Duration::from_secs(60)).unwrap(), "it goes on");
        });
    }

    #[test]
    fn a_track_of_records_needs_no_file() {
        let mut track = Track::of_records(&[vec![1], vec![], vec![2, 3]]);
        for want in [&[1_u8] as &[u8], &[], &[2, 3]] {
            assert_eq!(track.peek().unwrap(), Some(want));
            track.advance();
        }
        assert_eq!(track.peek().unwrap(), None);
    }
}
