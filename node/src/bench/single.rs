//! The tier `single`: one node, durable, over QUIC, at a rate, at its knee, or as fast as it answers.

use super::arguments::{Flags, Rate};
use super::ceiling::{blank, measure_ceiling};
use super::error::{BenchError, Tell};
use super::fault::Fault;
use super::load::{LoadShape, SignedLoad, TRACKS, prepare};
use super::rig::RigConfig;
use super::stand::{Place, Stand, TakenDown};
use crate::drive::PipelineConfig;
use crate::store::StoreConfig;
use core::time::Duration;
use selfchain_bench::ceiling::{Ceiling, OPERATION_BYTES};
use selfchain_bench::load::drive::{LoadPlan, LoadProgress, LoadResult, Pace, drive};
use selfchain_bench::load::hlog::HlogFile;
use selfchain_bench::load::search::{Knee, SOAK_SHARE, SearchPlan, find_knee};
use selfchain_bench::prepared::{PreparedHeader, PreparedReader};
use selfchain_bench::report::{Report, Trial};
use selfchain_bench::rig::Rig;
use selfchain_types::codec;
use selfchain_types::crypto::Scheme;
use selfchain_types::genesis::Plane;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::TempDir;

/// Measures one node. The report says whether its log holds.
///
/// # Errors
/// [`BenchError`].
pub fn single(flags: &Flags, tier: &str, tell: &mut Tell<'_>) -> Result<Report, BenchError> {
    Single::new(flags)?.measure(tier, tell)
}

/// Signs the load that `flags` ask for into the file that they name.
///
/// # Errors
/// [`BenchError`].
pub fn prepare_file(flags: &Flags, tell: &mut Tell<'_>) -> Result<PreparedHeader, BenchError> {
    let path = flags.load.clone().ok_or(BenchError::NoLoadFile)?;
    let flags = &Flags {
        load: None,
        ..flags.clone()
    };
    let single = Single::new(flags)?;
    let rate_per_s = match flags.rate {
        Rate::PerSecond(rate_per_s) => rate_per_s,
        Rate::Max | Rate::Share(_) => {
            let ceiling = measure_ceiling(
                &single.folder,
                single.operations(),
                single.scheme(),
                CEILING_EACH,
                tell,
            )?;
            single.most_per_s(&ceiling)
        }
    };
    single.sign(&path, rate_per_s, flags.warmup + flags.seconds, tell)
}

/// The node at as much as it takes, for the table of the rivals.
pub(super) fn at_most(flags: &Flags, ceiling: &Ceiling, tell: &mut Tell<'_>) -> Result<Report, BenchError> {
    let single = Single::new(flags)?;
    let mut report = single.blank("single");
    report.ceiling = *ceiling;
    single.pass(
        Pace::Closed {
            window: single.window(),
        },
        single.most_per_s(ceiling),
        &mut report,
        tell,
    )?;
    Ok(report)
}

struct Single<'a> {
    flags: &'a Flags,
    load: SignedLoad,
    folder: PathBuf,
}

/// How long each of the machine's limits is measured, before the load and again after it.
const CEILING_EACH: Duration = Duration::from_secs(1);
/// No node commits more transfers a second than this on a machine that a load is sized for.
const MOST_PER_S: f64 = 3_000_000.0;
/// Signed for a load whose rate is not known, over what is expected.
const SIGN_MARGIN: f64 = 1.2;
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// Operations under way on one connection.
const WINDOW_OPERATIONS: usize = 65_536;
/// Transactions under way on one connection, all of them together less than the node's queues take, so that
/// nothing is dropped for want of room: what the node cannot take at once waits at its sender, and is charged.
const WINDOW_MAX: usize = 8_192;
const WINDOW_MIN: usize = 8;
/// Bytes under way on one connection: all four together less than the node's intake takes.
const WINDOW_BYTES: usize = 12 << 20;
/// Trials of a search measure this long, after a warm-up of the second.
const TRIAL: Duration = Duration::from_secs(4);
const TRIAL_WARMUP: Duration = Duration::from_secs(1);
const TRIALS_MAX: usize = 10;
/// Segments that what is kept of the log is cut into.
const SEGMENTS_KEPT: u64 = 8;
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Blocks between two snapshots where the log is cut.
const SNAPSHOT_EVERY: u64 = 1_000;
/// With so many validators one may fail.
const FAULT_VALIDATORS_MIN: u16 = 4;

impl<'a> Single<'a> {
    fn new(flags: &'a Flags) -> Result<Self, BenchError> {
        let shape = match flags.load.as_deref().filter(|path| path.exists()) {
            Some(path) => shape_of(path, flags)?,
            None => flags.shape(),
        };
        let validators = shape.validators;
        if flags.fault != Fault::None && validators < FAULT_VALIDATORS_MIN {
            return Err(BenchError::Fault { validators });
        }
        let data_parent = flags.data.as_deref().and_then(Path::parent);
        let folder = match data_parent {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => std::env::temp_dir(),
        };
        Ok(Self {
            flags,
            load: SignedLoad::new(shape)?,
            folder,
        })
    }

    fn operations(&self) -> usize {
        self.load.shape().operations
    }

    fn scheme(&self) -> Scheme {
        self.load.shape().scheme
    }

    fn window(&self) -> u64 {
        let of_bytes = WINDOW_BYTES / self.load.envelope_len();
        codec::wide(
            (WINDOW_OPERATIONS / self.operations())
                .min(of_bytes)
                .clamp(WINDOW_MIN, WINDOW_MAX),
        )
    }

    fn blank(&self, tier: &str) -> Report {
        let shape = self.load.shape();
        Report {
            scheme: shape.scheme.name().into(),
            registered: shape.registered,
            ops_per_tx: codec::wide(shape.operations),
            accounts: shape.accounts,
            profile: shape.profile.to_string(),
            seed: shape.seed,
            validators: shape.validators.into(),
            plane: if shape.validators > 1 {
                shape.plane.name().into()
            } else {
                Plane::Solo.name().into()
            },
            pq_votes: shape.pq_votes,
            fault: self.flags.fault.name().into(),
            ..blank(tier, &self.folder)
        }
    }

    fn measure(&self, tier: &str, tell: &mut Tell<'_>) -> Result<Report, BenchError> {
        let mut report = self.blank(tier);
        let before = measure_ceiling(&self.folder, self.operations(), self.scheme(), CEILING_EACH, tell)?;
        report.ceiling = before;
        let (pace, rate_per_s) = self.pace(&mut report, tell)?;
        self.pass(pace, rate_per_s, &mut report, tell)?;
        let after = measure_ceiling(&self.folder, self.operations(), self.scheme(), CEILING_EACH, tell)?;
        report.ceiling = Ceiling::mean(&before, &after);
        report.ceilings = vec![before, after];
        report
            .notes
            .push("ceiling: the mean of one right before the load and one right after it".into());
        report.conclude();
        Ok(report)
    }

    /// How to send, and how many transfers a second to sign for.
    fn pace(&self, report: &mut Report, tell: &mut Tell<'_>) -> Result<(Pace, f64), BenchError> {
        let most_per_s = self.most_per_s(&report.ceiling);
        if self.flags.search || self.flags.soak {
            let max_per_s = self.max(most_per_s, report, tell)?;
            let knee = self.search(max_per_s, tell)?;
            report.trials.extend(knee.trials);
            if !knee.bracketed {
                report
                    .notes
                    .push("search: no rate broke; the knee is a lower bound".into());
            }
            let share = if self.flags.soak { SOAK_SHARE } else { 1.0 };
            return Ok(self.open(knee.rate_per_s * share, report));
        }
        match self.flags.rate {
            Rate::Max => Ok((
                Pace::Closed {
                    window: self.window(),
                },
                most_per_s * SIGN_MARGIN,
            )),
            Rate::PerSecond(rate_per_s) => Ok(self.open(rate_per_s, report)),
            Rate::Share(share) => {
                let max_per_s = self.max(most_per_s, report, tell)?;
                report
                    .notes
                    .push(format!("rate: {:.0} % of {max_per_s:.0}/s", share * 100.0));
                Ok(self.open(share * max_per_s, report))
            }
        }
    }

    /// Open loop at a rate, lowered where its load would not fit into the file.
    fn open(&self, wanted_per_s: f64, report: &mut Report) -> (Pace, f64) {
        let seconds = float(self.flags.warmup + self.flags.seconds);
        let fits_per_s = float(self.transactions_max()) * float(codec::wide(self.operations())) / seconds;
        if wanted_per_s > fits_per_s {
            let bytes = self.flags.load_bytes;
            report.notes.push(format!(
                "rate: lowered from {wanted_per_s:.0} to {fits_per_s:.0}/s, for a load file of {bytes} bytes"
            ));
        }
        let rate_per_s = wanted_per_s.min(fits_per_s).max(1.0);
        (
            Pace::Open {
                arrivals: self.flags.arrivals,
                rate_per_s,
            },
            rate_per_s,
        )
    }

    /// Transactions that a load file has room for.
    fn transactions_max(&self) -> u64 {
        let bytes = codec::wide(self.load.envelope_len() + 4);
        let setup = self.load.setup_len() * codec::wide(selfchain_types::envelope::OPERATIONS_MAX * 130);
        self.flags.load_bytes.saturating_sub(setup) / bytes
    }

    /// More transfers a second than a node could commit on this machine.
    fn most_per_s(&self, ceiling: &Ceiling) -> f64 {
        let signed = ceiling.verify_per_s * float(codec::wide(self.operations()));
        signed.min(ceiling.append_per_s * 1.5).clamp(1_000.0, MOST_PER_S)
    }

    /// What a node of its own commits when it is sent as much as it answers.
    fn max(&self, most_per_s: f64, report: &mut Report, tell: &mut Tell<'_>) -> Result<f64, BenchError> {
        let pace = Pace::Closed {
            window: self.window(),
        };
        let plan = self.plan(pace, TRIAL_WARMUP, TRIAL);
        let seconds = (TRIAL_WARMUP + TRIAL).as_secs();
        let file = self.temporary(most_per_s * SIGN_MARGIN, seconds, tell)?;
        let mut stand = self.stand(file.path(), None, tell)?;
        let result = self.drive(&mut stand, &plan, None, "finding the most it takes", tell)?;
        stand.take_down(tell)?;
        let outcome = result.outcome();
        report.trials.push(Trial {
            offered_per_s: outcome.offered_per_s,
            committed_per_s: outcome.committed_per_s,
            p99_ms: outcome.p99_ms,
            held: outcome.lost == 0,
        });
        Ok(outcome.committed_per_s)
    }

    fn search(&self, max_per_s: f64, tell: &mut Tell<'_>) -> Result<Knee, BenchError> {
        let plan = SearchPlan {
            start_per_s: max_per_s * 0.6,
            growth: 1.25,
            tolerance: 0.05,
            p99_ms_max: self.flags.p99_ms,
            trials_max: TRIALS_MAX,
        };
        let seconds = (TRIAL_WARMUP + TRIAL).as_secs() * codec::wide(TRIALS_MAX);
        let file = self.temporary(max_per_s, seconds, tell)?;
        let mut stand = self.stand(file.path(), None, tell)?;
        let knee = find_knee(&plan, |rate_per_s| {
            let pace = Pace::Open {
                arrivals: self.flags.arrivals,
                rate_per_s,
            };
            let plan = self.plan(pace, TRIAL_WARMUP, TRIAL);
            let what = format!("trying {rate_per_s:.0} transfers/s");
            let result = self.drive(&mut stand, &plan, None, &what, tell)?;
            if result.exhausted {
                Err(BenchError::Exhausted)
            } else {
                Ok(result.outcome())
            }
        })?;
        stand.take_down(tell)?;
        Ok(knee)
    }

    /// The measured load, on a node of its own, into the report.
    fn pass(
        &self,
        pace: Pace,
        rate_per_s: f64,
        report: &mut Report,
        tell: &mut Tell<'_>,
    ) -> Result<(), BenchError> {
        let (warmup, measure) = (self.flags.warmup, self.flags.seconds);
        let plan = self.plan(pace, Duration::from_secs(warmup), Duration::from_secs(measure));
        let temporary;
        let file = match &self.flags.load {
            Some(path) if path.exists() => path.as_path(),
            Some(path) => {
                self.sign(path, rate_per_s, warmup + measure, tell)?;
                path
            }
            None => {
                temporary = self.temporary(rate_per_s, warmup + measure, tell)?;
                temporary.path()
            }
        };
        let mut hlog = None;
        if let Some(path) = &self.flags.hlog {
            hlog = Some(HlogFile::create(path).map_err(|source| write_error(path, source))?);
        }
        let mut stand = self.stand(file, self.flags.data.as_deref(), tell)?;
        let result = self.drive(&mut stand, &plan, hlog.as_mut(), "measuring", tell)?;
        if let (Some(hlog), Some(path)) = (hlog, &self.flags.hlog) {
            hlog.finish().map_err(|source| write_error(path, source))?;
        }
        report.durability = stand.rig.durability().into();
        report.rounds = stand.rig.rounds();
        report.prepare_seconds = stand.header.sign_seconds;
        result.fill(&plan, codec::wide(OPERATION_BYTES), report);
        let setup = stand.header.accounts * 2;
        let TakenDown {
            verify,
            verify_seconds,
            data_bytes,
        } = stand.take_down(tell)?;
        report.verify = verify;
        report.verify_seconds = verify_seconds;
        let operations = float(result.recorder.counts.committed_ever + setup);
        report.data_bytes_per_op_byte =
            float(data_bytes) / (operations * float(codec::wide(OPERATION_BYTES)));
        report.conclude();
        Ok(())
    }

    fn plan(&self, pace: Pace, warmup: Duration, measure: Duration) -> LoadPlan {
        LoadPlan {
            pace,
            warmup,
            measure,
            drain_max: DRAIN_MAX,
            unanswered_max: usize::try_from(self.window()).unwrap_or(WINDOW_MAX),
            operations_per_transaction: codec::wide(self.operations()),
            seed: self.load.shape().seed,
        }
    }

    fn stand(&self, file: &Path, data: Option<&Path>, tell: &mut Tell<'_>) -> Result<Stand, BenchError> {
        let retention_bytes = self.flags.retention;
        let mut store = StoreConfig::default();
        if retention_bytes > 0 {
            // The log is cut by whole segments.
            let segment_bytes = retention_bytes / SEGMENTS_KEPT;
            store.log.segment_bytes = segment_bytes.clamp(SEGMENT_BYTES_MIN, store.log.segment_bytes);
        }
        let config = RigConfig {
            store,
            pipeline: PipelineConfig {
                retention_bytes,
                snapshot_every: if retention_bytes > 0 { SNAPSHOT_EVERY } else { 0 },
                ..PipelineConfig::default()
            },
            scores: self.flags.score && self.load.shape().validators == 1,
            fault: self.flags.fault,
            ..RigConfig::default()
        };
        Stand::set_up(&self.load, file, Place::new(data, &self.folder)?, &config, tell)
    }

    fn drive(
        &self,
        stand: &mut Stand,
        plan: &LoadPlan,
        hlog: Option<&mut HlogFile>,
        what: &str,
        tell: &mut Tell<'_>,
    ) -> Result<LoadResult, BenchError> {
        tell(what, 0, 0);
        let mut lines = match hlog {
            Some(file) => {
                let begun = file.begin(&[format!("selfchain bench: {what}")], SystemTime::now());
                let named = |source| write_error(self.flags.hlog.as_deref().unwrap_or(Path::new("")), source);
                Some(begun.map_err(named)?)
            }
            None => None,
        };
        let mut progress = |at: LoadProgress| tell(what, at.elapsed.as_secs(), at.planned.as_secs());
        Ok(drive(
            &*stand.rig,
            &mut stand.tracks,
            plan,
            lines.as_mut(),
            &mut progress,
        )?)
    }

    fn temporary(&self, rate_per_s: f64, seconds: u64, tell: &mut Tell<'_>) -> Result<LoadFile, BenchError> {
        let Place::Temporary(folder) = Place::new(None, &self.folder)? else {
            return Err(BenchError::NoLoadFile);
        };
        let path = folder.path().join("load");
        self.sign(&path, rate_per_s, seconds, tell)?;
        Ok(LoadFile {
            path,
            _folder: folder,
        })
    }

    /// Signs the load of so many seconds, and waits until the disk has it: writing it back is no part of a
    /// measurement.
    fn sign(
        &self,
        path: &Path,
        rate_per_s: f64,
        seconds: u64,
        tell: &mut Tell<'_>,
    ) -> Result<PreparedHeader, BenchError> {
        const WHAT: &str = "signing the load";
        tell(WHAT, 0, 0);
        let transactions = rate_per_s * float(seconds) / float(codec::wide(self.operations()));
        let transactions = whole(transactions.ceil()) + TRACKS;
        let total = self.load.setup_len() + transactions;
        let header = prepare(&self.load, path, transactions, self.flags.load_bytes, |at| {
            tell(WHAT, at.records, total)
        })?;
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| write_error(path, source))?;
        Ok(header)
    }
}

/// A load file that goes away with its folder.
struct LoadFile {
    path: PathBuf,
    _folder: TempDir,
}

impl LoadFile {
    fn path(&self) -> &Path {
        &self.path
    }
}

/// The shape of a load that is there already. What the flags say of it too must be the same.
fn shape_of(path: &Path, flags: &Flags) -> Result<LoadShape, BenchError> {
    let header = PreparedReader::open(path)?.header().clone();
    let said = flags.shape();
    let shape = LoadShape {
        scheme: said.scheme,
        registered: said.registered,
        operations: usize::try_from(header.ops_per_tx).unwrap_or(usize::MAX),
        accounts: header.accounts,
        profile: header.profile.parse()?,
        seed: header.seed,
        validators: said.validators,
        plane: said.plane,
        pq_votes: said.pq_votes,
    };
    let differs = flags.ops.is_some_and(|ops| usize::from(ops) != shape.operations)
        || flags.accounts.is_some_and(|accounts| accounts != shape.accounts)
        || flags.profile.is_some_and(|profile| profile != shape.profile)
        || header.scheme != said.scheme.name()
        || header.registered != said.registered
        || header.chain != SignedLoad::new(shape.clone())?.genesis().chain_id().to_hex();
    if differs {
        let (got, want) = (format!("{shape:?}"), format!("{said:?}"));
        return Err(BenchError::OtherLoad {
            path: path.to_owned(),
            got,
            want,
        });
    }
    Ok(shape)
}

fn write_error(path: &Path, source: std::io::Error) -> BenchError {
    BenchError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    }
}

/// Exact below 2⁵³, which no count here reaches.
#[allow(
    clippy::as_conversions,
    reason = "the standard library has no other way from u64 to f64"
)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// Rounds towards zero and saturates.
#[allow(
    clippy::as_conversions,
    reason = "the standard library has no other way from f64 to u64"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
