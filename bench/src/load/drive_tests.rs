//! A load against nodes that answer, refuse, stay silent or break: in memory, without a node.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::*;
use crate::prepared::{FILE_BYTES_MAX, PreparedHeader, PreparedReader, prepare};
use crate::process::Process;
use crate::report::Verify;
use crate::rig::{Answer, Answers, Heights, Submit, Verdict};

/// How the node behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    /// Commits; an envelope that begins with 1 is dropped.
    Answers,
    /// Takes everything and says nothing.
    Silent,
    /// The connection breaks at this ticket.
    BreaksAt(u64),
    /// Commits, but says nothing to envelopes that begin with this byte.
    Ignores(u8),
}

struct FakeNode {
    manners: Manners,
}

struct FakeSubmit {
    manners: Manners,
    ticket: u64,
    answers: SyncSender<Answer>,
}

struct FakeAnswers(Receiver<Answer>);

impl Rig for FakeNode {
    fn connect(&self) -> Result<Connection, RigError> {
        let (sender, receiver) = sync_channel(ANSWERS_MAX);
        let submit = FakeSubmit {
            manners: self.manners,
            ticket: 0,
            answers: sender,
        };
        Ok(Connection {
            submit: Box::new(submit),
            answers: Box::new(FakeAnswers(receiver)),
        })
    }

    fn mark_stages(&self) {}

    fn stages(&self) -> Vec<Stage> {
        vec![Stage {
            name: "fake".to_owned(),
            ..Stage::default()
        }]
    }

    fn process(&self) -> Process {
        Process::Own
    }

    fn log_bytes(&self) -> u64 {
        0
    }

    fn heights(&self) -> Heights {
        Heights::default()
    }

    fn durability(&self) -> &'static str {
        "none"
    }

    fn verify(self: Box<Self>) -> Result<Verify, RigError> {
        Ok(Verify {
            ok: true,
            from: 1,
            ..Verify::default()
        })
    }
}

impl Submit for FakeSubmit {
    fn submit(&mut self, envelope: &[u8]) -> Result<(), RigError> {
        let ticket = self.ticket;
        self.ticket += 1;
        let verdict = match self.manners {
            Manners::BreaksAt(at) if at == ticket => return Err(RigError::Broken("cut".into())),
            Manners::Silent => return Ok(()),
            Manners::Ignores(first) if envelope.first() == Some(&first) => return Ok(()),
            _ if envelope.first() == Some(&1) => Verdict::Dropped { code: "pool_full" },
            _ => Verdict::Committed {
                applied: 2,
                refused: Vec::new(),
            },
        };
        self.answers
            .send(Answer {
                ticket,
                verdict: Verdict::Accepted,
            })
            .unwrap();
        self.answers.send(Answer { ticket, verdict }).unwrap();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RigError> {
        Ok(())
    }
}

impl Answers for FakeAnswers {
    fn receive(&mut self, wait: Duration, into: &mut Vec<Answer>) -> Result<(), RigError> {
        match self.0.recv_timeout(wait) {
            Ok(answer) => into.push(answer),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        }
        into.extend(self.0.try_iter());
        Ok(())
    }
}

const ANSWERS_MAX: usize = 256;

fn closed() -> LoadPlan {
    LoadPlan {
        pace: Pace::Closed { window: 32 },
        warmup: Duration::ZERO,
        measure: Duration::from_secs(60),
        drain_max: Duration::from_secs(60),
        unanswered_max: 64,
        operations_per_transaction: 2,
        seed: 1,
    }
}

fn tracks(number: usize, records: usize) -> Vec<Track> {
    let records: Vec<Vec<u8>> = (0..records).map(|n| vec![u8::from(n % 10 == 0), 7]).collect();
    (0..number).map(|_| Track::of_records(&records)).collect()
}

fn run(manners: Manners, plan: LoadPlan, tracks: &mut [Track]) -> Result<LoadResult, LoadError> {
    drive(&FakeNode { manners }, tracks, &plan, None, &mut |_| {})
}

#[test]
fn a_closed_load_sends_its_whole_file_and_accounts_for_every_transfer() {
    let plan = closed();
    let result = run(Manners::Answers, plan, &mut tracks(2, 1_000)).unwrap();
    let counts = &result.recorder.counts;
    assert_eq!(
        (counts.committed_ever, counts.dropped, counts.strays),
        (2 * 900 * 2, 2 * 100 * 2, 0)
    );
    assert_eq!(result.recorder.latency.len(), 2_000);
    assert!(result.exhausted && !result.overloaded && result.measured < plan.measure);
    assert_eq!((result.not_sent, result.unanswered), (0, 0));

    let mut report = Report::default();
    result.fill(&plan, 128, &mut report);
    assert_eq!(report.errors, BTreeMap::from([("pool_full".to_owned(), 400)]));
    assert_eq!((report.arrivals.as_str(), report.ops_per_tx), ("window(32)", 2));
    assert!(report.committed_per_s > 0.0 && report.accepted_per_s >= report.committed_per_s);
    assert_eq!(report.stages[0].name, "fake");
}

#[test]
fn silence_is_charged_to_every_transaction_that_was_due() {
    let plan = LoadPlan {
        pace: Pace::Open {
            arrivals: Arrivals::Constant,
            rate_per_s: 4_000.0,
        },
        measure: Duration::from_millis(50),
        drain_max: Duration::ZERO,
        unanswered_max: 8,
        ..closed()
    };
    let result = run(Manners::Silent, plan, &mut tracks(2, 1_000)).unwrap();
    // 2,000 transactions of two transfers a second over 50 ms, of which eight on each connection go out.
    assert_eq!((result.not_sent, result.unanswered), (2 * 84, 2 * 16));
    assert_eq!(result.recorder.latency.len(), 100);
    assert!(result.recorder.latency.max() >= 49_000_000);
    assert_eq!(result.outcome().lost, 200);
}

#[test]
fn all_that_falls_due_before_the_end_is_sent() {
    let plan = LoadPlan {
        pace: Pace::Open {
            arrivals: Arrivals::Constant,
            rate_per_s: 40_000.0,
        },
        measure: Duration::from_millis(50),
        unanswered_max: 4_096,
        ..closed()
    };
    for _ in 0..20 {
        let result = run(Manners::Answers, plan, &mut tracks(2, 1_000)).unwrap();
        assert_eq!((result.not_sent, result.unanswered), (0, 0));
        assert_eq!(result.recorder.latency.len(), 1_000);
    }
}

#[test]
fn the_next_load_goes_on_where_the_last_one_stopped() {
    let plan = LoadPlan {
        measure: Duration::ZERO,
        ..closed()
    };
    let mut tracks = tracks(1, 10);
    let nothing = run(Manners::Answers, plan, &mut tracks).unwrap();
    assert_eq!(nothing.recorder.counts.committed_ever, 0);
    let rest = run(Manners::Answers, closed(), &mut tracks).unwrap();
    assert_eq!(rest.recorder.counts.committed_ever, 18);
}

#[test]
fn a_broken_connection_ends_the_load_with_its_error() {
    let error = run(Manners::BreaksAt(5), closed(), &mut tracks(3, 1_000)).unwrap_err();
    assert!(matches!(error, LoadError::Rig(RigError::Broken(_))), "{error}");
    assert!(matches!(
        run(Manners::Answers, closed(), &mut []),
        Err(LoadError::NoTracks)
    ));
}

#[test]
fn a_connection_that_holds_up_the_file_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load");
    let record = |at: usize| vec![u8::try_from(at % 2 * 9).unwrap(); 256 << 10];
    prepare(
        &path,
        PreparedHeader::default(),
        FILE_BYTES_MAX,
        0..40,
        record,
        |_| {},
    )
    .unwrap();
    let mut tracks = PreparedReader::open(&path).unwrap().deal(2);
    let plan = LoadPlan {
        pace: Pace::Closed { window: 1 },
        measure: Duration::from_millis(300),
        drain_max: Duration::from_millis(100),
        ..closed()
    };
    let rig = FakeNode {
        manners: Manners::Ignores(9),
    };
    let result = drive(&rig, &mut tracks, &plan, None, &mut |_| {}).unwrap();
    assert_eq!(result.unanswered, 2, "one transaction of two transfers");
    let committed = result.recorder.counts.committed_ever;
    assert!(
        committed > 0 && committed < 40,
        "the file waits for the other connection"
    );
}
