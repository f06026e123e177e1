//! Run: starts a node, opens accounts, streams, compares, stops, verifies. Each step is one function.

use super::balances::{self, BalanceReport};
use super::crew::Crew;
use super::error::DemoError;
use super::events::{Event, Events};
use super::glance::Glance;
use super::lane::{self, Stream};
use super::opening;
use super::options::{Options, ReplayOptions};
use super::plan::{Plan, Sources};
use super::replay::{Replay, Survey};
use super::review::Reviews;
use super::scores::Scores;
use super::source::Source;
use super::stage::{Folder, Stage};
use super::summary::{
    InputReport, Latency, ModelReport, Summary, ValidatorReport, VerifySummary, milliseconds, per_second,
};
use super::tally::Tally;
use super::watch::{Meter, watch};
use crate::ai::let_model_decide;
use crate::client::{Signer, Ticket};
use crate::verify::{failed_height, verify};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use selfchain_engine::commit::Tip;
use selfchain_storage::Disk;
use selfchain_types::crypto::SigningKey;
use selfchain_types::message::Detail;
use selfchain_types::{KeyId, Policy, codec};
use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Streams transfers through a node of its own, from one end of the road to the other, and checks what came of
/// them. Set `stop` to end the stream early: it still drains, compares and verifies then. Must not be called
/// inside a tokio runtime.
///
/// # Errors
/// [`DemoError`]. A log or balances that do not hold are no error: [`Summary::holds`] says so.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    events: &mut (dyn Events + Send),
) -> Result<Summary, DemoError> {
    let began = Instant::now();
    let plan = Plan::of(&options.source, events)?;
    let folder = Folder::open(options.data.as_deref())?;
    let disks = folder.disks(options.validators.max(1))?;
    let stage = Stage::start(&folder, &disks, &plan, options)?;
    let chain_id = stage.node().genesis().chain_id().to_string();
    let played = play(&stage, &plan, options.time_max, stop, events);
    events.event(&Event::Stopping);
    // A node that stopped by itself is the cause of whatever its clients met.
    let tips = stage.stop()?;
    let played = played?;
    let mut verified: Vec<VerifySummary> = Vec::with_capacity(disks.len());
    for disk in &disks {
        verified.push(verify_log(Arc::clone(disk), events));
    }
    let validators = validators(&tips, &verified);
    let verify = worst(verified);
    let scores = match (&played.reviews, &plan, disks.first()) {
        (Some(reviews), Plan::Replay(..), Some(disk)) => {
            Some(Scores::read(Arc::clone(disk), reviews.labels())?)
        }
        _ => None,
    };
    drop(disks);
    let data = folder.close()?;
    let mut summary = played.summary(chain_id, &plan, data, verify, scores.as_ref(), began);
    summary.validators = validators;
    Ok(summary)
}

/// Where several validators stood at the end, and what verifying each one's log said.
fn validators(tips: &[Tip], verified: &[VerifySummary]) -> Vec<ValidatorReport> {
    if tips.len() < 2 {
        return Vec::new();
    }
    let each = tips.iter().zip(verified);
    each.map(|(tip, verified)| ValidatorReport {
        height: tip.height.0,
        block: tip.hash.to_hex(),
        ok: verified.ok,
    })
    .collect()
}

/// Of several verifications the first that failed, else the first.
fn worst(mut verified: Vec<VerifySummary>) -> VerifySummary {
    let failed = verified.iter().position(|one| !one.ok);
    verified.swap_remove(failed.unwrap_or(0))
}

/// What was streamed, and how it went.
struct Played {
    tally: Tally,
    stream_began: Instant,
    stopped_early: bool,
    input: Option<InputReport>,
    balances: Option<BalanceReport>,
    reviews: Option<Reviews>,
}

fn play(
    stage: &Stage,
    plan: &Plan<'_>,
    time_max: Option<Duration>,
    stop: &AtomicBool,
    events: &mut dyn Events,
) -> Result<Played, DemoError> {
    let keys = signing_keys(stage, plan.signers())?;
    let owners = keys.iter().map(SigningKey::id).collect();
    open_accounts(stage, plan, owners, events)?;
    if let Plan::Replay(
        ReplayOptions {
            scoring: Some(scoring),
            ..
        },
        _,
    ) = plan
    {
        let policy = Policy {
            annotate: scoring.hold,
            hold: scoring.hold,
            ..Policy::default()
        };
        let (client, model) = (stage.connect()?, scoring.model.hash());
        let_model_decide(&client, stage.key(), 0, &policy, model, plan.opening_time_ns())?;
    }
    let signers: Vec<Signer> = keys
        .into_iter()
        .enumerate()
        .map(|(number, key)| Ok(stage.connect_to(number)?.signer(key, 0)?))
        .collect::<Result<_, DemoError>>()?;
    let mut sources = plan.sources()?;
    let tally = Tally::default();
    let failed = AtomicBool::new(false);
    let stream_began = Instant::now();
    let stream = Stream {
        began: stream_began,
        time_max,
        stop,
        failed: &failed,
        tally: &tally,
    };
    play_sources(&mut sources, &signers, &stream, stage, plan, events)?;
    let mut stopped_early = stop.load(Ordering::Relaxed);
    let (mut input, mut balances) = (None, None);
    if let (Sources::Replay(replay), Plan::Replay(options, survey)) = (&sources, plan) {
        stopped_early |= replay.rows_sent() < survey.rows;
        balances = Some(compare_balances(stage, survey, replay, events)?);
        input = Some(InputReport {
            file: options.input.clone(),
            rows: survey.rows,
            rows_sent: replay.rows_sent(),
            rows_backwards: survey.rows_backwards,
            outcomes_mismatched: replay.outcomes_mismatched(),
            speed: options.speed,
            scale: survey.scale,
            first_s: survey.first_s,
            last_s: survey.last_s,
            ledger_time_ns: stage.node().tip().time_ns.0,
        });
    }
    let reviews = match sources {
        Sources::Replay(replay) => replay.into_reviews(),
        Sources::Traffic(_) => None,
    };
    Ok(Played {
        tally,
        stream_began,
        stopped_early,
        input,
        balances,
        reviews,
    })
}

/// The node's own key first: what one key signs, the owner of the directory can go on with.
fn signing_keys(stage: &Stage, signers: u64) -> Result<Vec<SigningKey>, DemoError> {
    let mut keys = vec![stage.key()];
    for _ in 1..signers {
        keys.push(SigningKey::generate().map_err(|_| DemoError::Random)?);
    }
    Ok(keys)
}

/// Opening transactions under way at most: a quarter of a block each.
const OPENING_WINDOW: usize = 8;

fn open_accounts(
    stage: &Stage,
    plan: &Plan<'_>,
    owners: Vec<KeyId>,
    events: &mut dyn Events,
) -> Result<(), DemoError> {
    let issuer = stage.connect()?.signer(stage.key(), 0)?;
    let of = plan.opening_count();
    let mut done = 0;
    let mut finish = |ticket: Ticket| {
        let committed = issuer.wait(ticket)?;
        done += u64::from(committed.operations);
        events.event(&Event::Opening { done, of });
        match committed.refused.first() {
            Some((_, outcome, _)) => Err(DemoError::Opening { outcome: *outcome }),
            None => Ok(()),
        }
    };
    let mut under_way = VecDeque::with_capacity(OPENING_WINDOW);
    for operations in opening::transactions(plan.scale(), plan.accounts(owners), plan.opening_time_ns()) {
        if under_way.len() == OPENING_WINDOW
            && let Some(ticket) = under_way.pop_front()
        {
            finish(ticket)?;
        }
        under_way.push_back(issuer.submit(operations, Detail::Refusals)?);
    }
    under_way.into_iter().try_for_each(finish)
}

/// Each source on a thread of its own, watched by this one.
fn play_sources(
    sources: &mut Sources,
    signers: &[Signer],
    stream: &Stream<'_>,
    stage: &Stage,
    plan: &Plan<'_>,
    events: &mut dyn Events,
) -> Result<(), DemoError> {
    let sources: Vec<&mut dyn Source> = match sources {
        Sources::Traffic(all) => all
            .iter_mut()
            .map(|source| -> &mut dyn Source { source })
            .collect(),
        Sources::Replay(replay) => vec![&mut **replay],
    };
    let mut meter = Meter::default();
    let mut crew = Crew::default();
    let mut glance = plan.is_scored().then(|| Glance::new(stage.node().log()));
    let play = || {
        thread::scope(|scope| {
            let lanes: Vec<_> = sources
                .into_iter()
                .zip(signers)
                .map(|(source, signer)| scope.spawn(|| lane::run(source, signer, stream)))
                .collect();
            let ends: Vec<_> = lanes
                .into_iter()
                .map(|lane| lane.join().map_err(|_| DemoError::Panicked)?)
                .collect();
            ends.into_iter().collect()
        })
    };
    watch(play, &mut || {
        let pool_len = stage.node().metrics().pool_transactions.get();
        let mut live = meter.look(
            stream.began.elapsed(),
            stream.tally,
            pool_len,
            plan.rows(),
            glance.as_mut(),
        );
        if stage.nodes().len() > 1 {
            live.validators = crew.look(stage.nodes(), stream.began.elapsed());
        }
        events.event(&Event::Streaming(&live));
    })
}

fn compare_balances(
    stage: &Stage,
    survey: &Survey,
    replay: &Replay,
    events: &mut dyn Events,
) -> Result<BalanceReport, DemoError> {
    let client = stage.connect()?;
    let (checked, of) = (AtomicU64::new(0), codec::wide(survey.openings.len()));
    let accounts = survey.openings.keys().copied();
    let fold = replay.fold();
    watch(
        || balances::compare(&client, accounts, fold, &checked),
        &mut || {
            events.event(&Event::Comparing {
                done: checked.load(Ordering::Relaxed),
                of,
            });
        },
    )
}

fn verify_log(disk: Arc<dyn Disk>, events: &mut (dyn Events + Send)) -> VerifySummary {
    let verified = verify(disk, &mut |height, tip| {
        events.event(&Event::Verifying {
            done: height.0,
            of: tip.0,
        })
    });
    match verified {
        Ok(report) => VerifySummary {
            ok: true,
            height: report.height.0,
            transfers: report.transfers,
            error: None,
        },
        Err(error) => {
            let height = failed_height(&error).map_or(0, |height| height.0);
            VerifySummary {
                ok: false,
                height,
                transfers: 0,
                error: Some(with_causes(&error)),
            }
        }
    }
}

/// An error and what caused it, in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

impl Played {
    fn summary(
        self,
        chain_id: String,
        plan: &Plan<'_>,
        data: Option<PathBuf>,
        verify: VerifySummary,
        scores: Option<&Scores>,
        began: Instant,
    ) -> Summary {
        let scoring = match plan {
            Plan::Replay(options, _) => options.scoring.as_ref(),
            Plan::Traffic(_) => None,
        };
        let reviewed = scores.zip(self.reviews.as_ref());
        let counts = self.tally.counts();
        let latency = self.tally.latency();
        let ms = |quantile| milliseconds(latency.quantile(quantile));
        let took = counts.last_commit.unwrap_or_default();
        let first = self.stream_began.duration_since(began) + counts.first_commit.unwrap_or_default();
        Summary {
            chain_id,
            transfers_committed: counts.committed,
            transfers_refused: counts.refused,
            refusals: counts.refusals,
            seconds: took.as_secs_f64(),
            committed_per_s: per_second(counts.committed, took),
            commit_ms: Latency {
                p50: ms(0.5),
                p99: ms(0.99),
                p999: ms(0.999),
                max: milliseconds(latency.max()),
            },
            first_commit_ms: first.as_secs_f64() * 1e3,
            operations_opening: plan.opening_count(),
            accounts: plan.account_count(),
            stopped_early: self.stopped_early,
            data,
            model: scoring.map(|scoring| ModelReport {
                name: scoring.model.card().name.clone(),
                hash: scoring.model.hash().to_hex(),
                hold: scoring.hold,
            }),
            held: reviewed.map(|(scores, reviews)| scores.held(reviews)),
            labels: reviewed
                .zip(scoring)
                .and_then(|((scores, reviews), scoring)| scores.labels(reviews, scoring.hold)),
            input: self.input,
            balances: self.balances,
            validators: Vec::new(),
            verify,
        }
    }
}
