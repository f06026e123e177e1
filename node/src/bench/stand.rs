//! A stand: a node on a fresh chain whose accounts are open, and the load that waits to be sent.

use super::error::{BenchError, Tell};
use super::load::{SignedLoad, TRACKS};
use super::rig::{BLOCK_BYTES, NodeRig, RigConfig};
use core::time::Duration;
use selfchain_bench::prepared::{PreparedHeader, PreparedReader, Track};
use selfchain_bench::process::Process;
use selfchain_bench::report::Verify;
use selfchain_bench::rig::{Answer, Rig, Verdict};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// A node on a fresh chain whose accounts are open, and the load that waits to be sent.
pub(super) struct Stand {
    pub(super) rig: Box<NodeRig>,
    pub(super) tracks: Vec<Track>,
    pub(super) header: PreparedHeader,
    place: Place,
}

/// Where a node keeps its data.
pub(super) enum Place {
    /// Until the measurement ends.
    Temporary(TempDir),
    /// For good.
    Kept(PathBuf),
}

impl Place {
    /// `data`, which must be missing or empty; or else a folder in `beside` that goes away.
    pub(super) fn new(data: Option<&Path>, beside: &Path) -> Result<Self, BenchError> {
        let Some(data) = data else {
            let made = tempfile::Builder::new()
                .prefix("selfchain-bench-")
                .tempdir_in(beside);
            let io = |source| BenchError::Io {
                action: "make a folder in",
                path: beside.to_owned(),
                source,
            };
            return Ok(Self::Temporary(made.map_err(io)?));
        };
        let io = |source| BenchError::Io {
            action: "use",
            path: data.to_owned(),
            source,
        };
        std::fs::create_dir_all(data).map_err(io)?;
        if std::fs::read_dir(data).map_err(io)?.next().is_some() {
            return Err(BenchError::NotEmpty {
                path: data.to_owned(),
            });
        }
        Ok(Self::Kept(data.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

/// What is left when a stand is taken down.
pub(super) struct TakenDown {
    pub(super) verify: Verify,
    pub(super) verify_seconds: f64,
    /// Log, index and snapshots.
    pub(super) data_bytes: u64,
}

impl Stand {
    /// Starts a node in `place` and opens the accounts of the load in `file`.
    pub(super) fn set_up(
        load: &SignedLoad,
        file: &Path,
        place: Place,
        config: &RigConfig,
        tell: &mut Tell<'_>,
    ) -> Result<Self, BenchError> {
        let mut reader = PreparedReader::open(file)?;
        let header = reader.header().clone();
        Process::forget_peak_memory();
        let rig = Box::new(NodeRig::start(
            place.path(),
            load.genesis(),
            load.validators(),
            config,
        )?);
        open_accounts(&*rig, &mut reader, tell)?;
        if config.scores {
            rig.let_model_decide(load.validator())?;
        }
        let tracks = reader.deal(usize::try_from(TRACKS).unwrap_or(1));
        Ok(Self {
            rig,
            tracks,
            header,
            place,
        })
    }

    /// Stops the node and verifies what it left.
    pub(super) fn take_down(self, tell: &mut Tell<'_>) -> Result<TakenDown, BenchError> {
        drop(self.tracks);
        tell("replaying the log", 0, 0);
        let began = Instant::now();
        let verify = self.rig.verify()?;
        let verify_seconds = began.elapsed().as_secs_f64();
        Ok(TakenDown {
            verify,
            verify_seconds,
            data_bytes: tree_bytes(self.place.path()),
        })
    }
}

/// Set-up transactions under way at once: they are of one lane, and the node commits several in a block.
const SETUP_WINDOW: u64 = 8;
const ANSWER_WAIT: Duration = Duration::from_millis(100);
/// A set-up transaction that takes longer than this has failed.
const SETUP_TIMEOUT: Duration = Duration::from_secs(60);

fn open_accounts(rig: &dyn Rig, reader: &mut PreparedReader, tell: &mut Tell<'_>) -> Result<(), BenchError> {
    const WHAT: &str = "opening accounts";
    let total = reader.header().setup_records;
    tell(WHAT, 0, 0);
    let mut connection = rig.connect()?;
    let (mut record, mut answers) = (Vec::new(), Vec::new());
    let (mut sent, mut done) = (0, 0);
    let mut heard = Instant::now();
    while done < total {
        while sent < total && sent - done < SETUP_WINDOW {
            if !reader.next_into(&mut record)? {
                return Err(BenchError::SetUp {
                    number: sent,
                    code: "the file ends before it",
                });
            }
            connection.submit.submit(&record)?;
            sent += 1;
        }
        connection.submit.flush()?;
        connection.answers.receive(ANSWER_WAIT, &mut answers)?;
        if !answers.is_empty() {
            heard = Instant::now();
        } else if heard.elapsed() > SETUP_TIMEOUT {
            return Err(BenchError::SetUp {
                number: done,
                code: "no answer in time",
            });
        }
        for answer in answers.drain(..) {
            done += u64::from(is_done(&answer)?);
        }
        tell(WHAT, done, total);
    }
    Ok(())
}

fn is_done(answer: &Answer) -> Result<bool, BenchError> {
    let number = answer.ticket;
    match &answer.verdict {
        Verdict::Accepted => Ok(false),
        Verdict::Committed { refused, .. } => match refused.first() {
            None => Ok(true),
            Some((code, _)) => Err(BenchError::SetUp { number, code }),
        },
        Verdict::Dropped { code } => Err(BenchError::SetUp { number, code }),
    }
}

/// Bytes that all files in a folder and those in it take on the disk.
fn tree_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(of) if of.is_dir() => tree_bytes(&entry.path()),
        Ok(of) => of.blocks() * BLOCK_BYTES,
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}
