//! A real node over real sockets, and everything that strangers may send it: refused with its reason and counted,
//! while an honest client goes on.

use crate::stage::{ISSUANCE, MONEY, PATIENCE, Raw, Stage, config, operator, pay, refusal_of};
use selfchain::client::Client;
use selfchain::storage::disk::{Faults, FaultyDisk};
use selfchain::storage::{Disk, MemoryDisk};
use selfchain::telemetry::Stage as RoadStage;
use selfchain::types::block::Row;
use selfchain::types::codec::wide;
use selfchain::types::crypto::SigningKey;
use selfchain::types::envelope::{ATTACHMENTS_MAX, ENVELOPE_BYTES_MAX, EnvelopeHeader, OPERATIONS_MAX};
use selfchain::types::message::{Committed, Detail, Query, Reply, Request};
use selfchain::types::seam::transport::{CloseReason, FRAME_BYTES_MAX, Limit};
use selfchain::types::{Amount, EnvelopeBuilder, Hash, Height, KeyId, Refusal};
use selfchain::{AccountFlags, AccountId, Operation, Outcome};
use selfchain_tests::random::Random;
use selfchain_transport::client::{ReceiveError, SendError};
use selfchain_transport::limits::Rate;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const CAROL: AccountId = AccountId(3);
const DAVE: AccountId = AccountId(4);

/// Somebody who commits one transfer after another, on a connection of her own, while `attack` goes on; and
/// some more after it.
fn beside_an_honest_client(stage: &Stage, attack: impl FnOnce()) {
    let (ended, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (signed, at_work) = sync_channel(1);
        let honest = scope.spawn(|| {
            let client = stage.client();
            let signer = client.signer(operator(), 15).unwrap();
            let signed = signed;
            loop {
                let last = ended.load(Ordering::Acquire);
                let result = signer.commit(vec![pay(CAROL, DAVE, 1)]).unwrap();
                assert!(result.refused.is_empty(), "{result:?}");
                committed.fetch_add(1, Ordering::AcqRel);
                // Only the first is waited for.
                signed.try_send(()).unwrap_or_default();
                if last {
                    return;
                }
            }
        });
        let over = Over(&ended);
        at_work.recv_timeout(PATIENCE).unwrap();
        attack();
        drop(over);
        honest.join().unwrap();
    });
    assert!(committed.load(Ordering::Acquire) >= 2);
    assert_eq!(stage.node.fault(), None);
}

/// Lets the honest client end, however the attack did.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits until something that follows by itself is so.
fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn stage() -> Stage {
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config()).unwrap();
    stage.open(&[ALICE, BOB, CAROL, DAVE], 1_000_000);
    stage
}

/// Positions and outcomes of the operations that were refused.
type Refusals = Vec<(u32, Outcome)>;

fn random_bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.index(256) as u8).collect()
}

/// Submits all of them, and waits until all are refused and counted.
fn all_refused(stage: &Stage, raw: &mut Raw, envelopes: &[Vec<u8>]) {
    let before = stage.refused_in_all();
    envelopes.iter().for_each(|envelope| {
        raw.send(envelope);
    });
    let mut answered = 0;
    while answered < envelopes.len() {
        for (number, reply) in raw.replies() {
            assert!(
                matches!(reply, Reply::Refused(_)),
                "submission {number}: {reply:?}"
            );
            answered += 1;
        }
    }
    assert_eq!(stage.refused_in_all() - before, wide(envelopes.len()));
}

#[test]
fn every_truncation_and_bit_flip_of_an_envelope_is_refused_and_counted() {
    let stage = stage();
    let valid = stage
        .builder(vec![pay(ALICE, BOB, 1)])
        .sign(&[(&operator(), 1, 1)]);
    beside_an_honest_client(&stage, || {
        let mut raw = stage.raw();
        let cut: Vec<Vec<u8>> = (0..valid.len()).map(|len| valid[..len].to_vec()).collect();
        all_refused(&stage, &mut raw, &cut);
        let mut random = Random(11);
        let flipped: Vec<Vec<u8>> = (0..400)
            .map(|_| {
                let mut bytes = valid.clone();
                bytes[random.index(valid.len())] ^= 1 << random.index(8);
                bytes
            })
            .collect();
        all_refused(&stage, &mut raw, &flipped);
        let longer: Vec<Vec<u8>> = (1..9).map(|more| [&valid[..], &vec![0; more]].concat()).collect();
        all_refused(&stage, &mut raw, &longer);
        // Not one of them used up the counter.
        assert!(matches!(
            raw.submit(&valid),
            Reply::Committed(Committed { duplicate: false, .. })
        ));
    });
    stage.stop();
}

#[test]
fn any_bytes_on_the_port_in_streams_and_in_frames_end_in_a_refusal_or_a_closed_connection() {
    let stage = stage();
    beside_an_honest_client(&stage, || {
        let mut random = Random(5);
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        for _ in 0..500 {
            let len = random.index(1_400);
            socket
                .send_to(&random_bytes(&mut random, len), stage.node.address())
                .unwrap();
        }

        let mut raw = stage.raw();
        let before = stage.refused_in_all();
        for _ in 0..300 {
            // A kind of request that does not exist, whatever follows.
            let len = random.index(200);
            let mut frame = random_bytes(&mut random, len + 1);
            frame[0] |= 4;
            raw.sender.send(frame, PATIENCE).unwrap();
        }
        let mut answered = 0;
        while answered < 300 {
            for (_, reply) in raw.replies() {
                assert_eq!(refusal_of(&reply).refusal, Refusal::Malformed, "{reply:?}");
                answered += 1;
            }
        }
        assert_eq!(stage.refused_in_all() - before, 300);
        let reply = request(&mut raw, &Request::Subscribe { from: Height(1) });
        assert_eq!(refusal_of(&reply).refusal, Refusal::RequestUnknown);

        for (bytes, reason) in [
            (&[0, 0, 0, 0][..], CloseReason::FrameEmpty),
            (&[255, 255, 255, 255, 1][..], CloseReason::FrameTooLarge),
        ] {
            let mut raw = stage.raw();
            raw.sender.send_raw(bytes.to_vec().into(), 1, PATIENCE).unwrap();
            assert_eq!(raw.closed(), ReceiveError::Closed { reason });
            until(|| stage.node.transport_metrics().closed(reason) == 1);
        }
    });
    stage.stop();
}

fn request(raw: &mut Raw, request: &Request<'_>) -> Reply {
    raw.sender.send(request.encode(77), PATIENCE).unwrap();
    raw.reply_to(77)
}

/// The envelope with other bytes at `at`.
fn patched(envelope: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut envelope = envelope.to_vec();
    envelope[at..at + bytes.len()].copy_from_slice(bytes);
    envelope
}

#[test]
fn what_breaks_a_rule_is_refused_by_that_rules_name_and_counted() {
    let stage = stage();
    let key = operator();
    let one = || vec![pay(ALICE, BOB, 1)];
    let used = stage.builder(one()).sign(&[(&key, 2, 1)]);
    beside_an_honest_client(&stage, || {
        let mut raw = stage.raw();
        let Reply::Committed(first) = raw.submit(&used) else {
            panic!("an honest one")
        };
        let tip = first.height.0;
        let mut check = |refusal: Refusal, envelope: &[u8]| {
            let before = stage.refused(refusal);
            let reply = raw.submit(envelope);
            let refused = refusal_of(&reply);
            assert_eq!(refused.refusal, refusal, "{refused:?}");
            assert_eq!(refused.retry_after_ms > 0, refusal.is_transient(), "{refused:?}");
            assert_eq!(stage.refused(refusal), before + 1, "{refusal} is counted");
        };
        let sign = |builder: &EnvelopeBuilder| builder.sign(&[(&key, 2, 2)]);
        let valid = sign(&stage.builder(one()));
        let with = |change: &dyn Fn(&mut EnvelopeBuilder)| {
            let mut builder = stage.builder(one());
            change(&mut builder);
            sign(&builder)
        };
        check(
            Refusal::Expired,
            &with(&|builder| builder.valid_until = Height(1)),
        );
        check(
            Refusal::NotYetValid,
            &with(&|builder| {
                builder.valid_from = Height(tip + 1_000_000);
                builder.valid_until = Height(tip + 1_000_001);
            }),
        );
        check(
            Refusal::ValiditySpan,
            &with(&|builder| builder.valid_until = Height(1 << 40)),
        );
        check(
            Refusal::ValiditySpan,
            &with(&|builder| {
                builder.valid_from = Height(3);
                builder.valid_until = Height(2);
            }),
        );
        check(
            Refusal::WrongChain,
            &with(&|builder| builder.chain_id = Hash([1; 32])),
        );
        check(
            Refusal::CounterUsed,
            &stage.builder(vec![pay(ALICE, BOB, 2)]).sign(&[(&key, 2, 1)]),
        );
        check(Refusal::CounterUsed, &stage.builder(one()).sign(&[(&key, 2, 0)]));
        check(
            Refusal::CounterSkipped,
            &stage.builder(one()).sign(&[(&key, 2, 3)]),
        );
        check(
            Refusal::CounterSkipped,
            &stage.builder(one()).sign(&[(&key, 2, u64::MAX)]),
        );
        check(Refusal::VersionUnknown, &patched(&valid, 0, &[2]));
        check(Refusal::FlagsUnknown, &patched(&valid, 2, &[1]));
        check(Refusal::SignersInvalid, &patched(&valid, 4, &[0]));
        check(Refusal::SignersInvalid, &patched(&valid, 4, &[9]));
        check(Refusal::LaneUnknown, &stage.builder(one()).sign(&[(&key, 16, 1)]));
        check(
            Refusal::OperationsCount,
            &with(&|builder| builder.operations.clear()),
        );
        check(
            Refusal::OperationsCount,
            &with(&|builder| {
                builder.operations = vec![pay(ALICE, BOB, 1); OPERATIONS_MAX + 1];
            }),
        );
        check(
            Refusal::AttachmentsTooLarge,
            &with(&|builder| builder.attachments = vec![0; ATTACHMENTS_MAX + 1]),
        );
        check(Refusal::TooLarge, &[&valid[..], &[0]].concat());
        check(Refusal::TooLarge, &vec![1; ENVELOPE_BYTES_MAX + 1]);
        let body_len = size_of::<EnvelopeHeader>() + 48 + Operation::LEN;
        check(Refusal::SchemeUnknown, &patched(&valid, body_len, &[99]));
        check(
            Refusal::KeyMismatch,
            &patched(&valid, body_len + 8, &[valid[body_len + 8] ^ 1]),
        );
        check(
            Refusal::SignatureInvalid,
            &patched(&valid, valid.len() - 1, &[valid[valid.len() - 1] ^ 1]),
        );
        let stranger = SigningKey::from_seed(&[77; 32]);
        check(
            Refusal::KeyUnknown,
            &stage.builder(one()).sign_registered(&[(&stranger, 0, 1)]),
        );

        let too_long = raw.sender.send(vec![1; FRAME_BYTES_MAX + 1], PATIENCE);
        assert!(matches!(too_long, Err(SendError::Frame(_))), "{too_long:?}");
        // The very same transaction is answered with its first result.
        let before = stage.refused(Refusal::Duplicate);
        assert_eq!(
            raw.submit(&used),
            Reply::Committed(Committed {
                duplicate: true,
                ..first.clone()
            })
        );
        assert_eq!(stage.refused(Refusal::Duplicate), before + 1);
        assert!(matches!(
            raw.submit(&valid),
            Reply::Committed(Committed { duplicate: false, .. })
        ));
    });
    stage.stop();
}

#[test]
fn what_breaks_a_rule_of_the_ledger_commits_with_the_outcome_and_moves_nothing() {
    let stage = stage();
    let client = stage.client();
    let signer = client.signer(operator(), 3).unwrap();
    let rich = [AccountId(10), AccountId(11), AccountId(12)];
    let open = |id| Operation::open_account(id, MONEY, KeyId::NONE, AccountFlags::default(), Amount::ZERO, 0);
    assert!(signer.commit(rich.map(open).to_vec()).unwrap().refused.is_empty());
    let mut unknown_kind = pay(ALICE, BOB, 1);
    unknown_kind.kind = 200;
    let mut unknown_flag = pay(ALICE, BOB, 1);
    unknown_flag.flags = (1 << 15).into();
    let all = u128::MAX;
    let cases: Vec<(Vec<Operation>, Refusals)> = vec![
        (
            vec![pay(ALICE, BOB, 1).linked(), pay(ALICE, BOB, 1).linked()],
            vec![(0, Outcome::ChainOpen), (1, Outcome::ChainOpen)],
        ),
        (vec![unknown_kind], vec![(0, Outcome::KindUnknown)]),
        (vec![unknown_flag], vec![(0, Outcome::FlagsUnknown)]),
        (vec![pay(ALICE, BOB, all)], vec![(0, Outcome::AmountOverflow)]),
        (
            vec![
                pay(rich[0], rich[1], all),
                pay(rich[1], rich[2], 1),
                pay(rich[0], rich[2], 1),
            ],
            vec![(2, Outcome::AmountOverflow)],
        ),
        (
            vec![pay(ALICE, AccountId(999), 1)],
            vec![(0, Outcome::CreditAccountUnknown)],
        ),
    ];
    beside_an_honest_client(&stage, || {
        for (operations, expected) in cases {
            let before = stage.metrics.outcome_count(expected[0].1);
            let result = signer.commit(operations).unwrap();
            let got: Vec<(u32, Outcome)> = result
                .refused
                .iter()
                .map(|(at, outcome, _)| (*at, *outcome))
                .collect();
            let chained = |(at, outcome): &(u32, Outcome)| {
                (*at, matches!(outcome, Outcome::LinkedFailed | Outcome::ChainOpen))
            };
            if expected[0].1 == Outcome::ChainOpen {
                assert_eq!(
                    got.iter().map(chained).collect::<Vec<_>>(),
                    expected.iter().map(chained).collect::<Vec<_>>()
                );
            } else {
                assert_eq!(got, expected);
            }
            assert!(stage.metrics.outcome_count(expected[0].1) > before);
        }
    });
    assert_eq!(client.account(ALICE).unwrap().unwrap().hot.debits_posted.get(), 0);
    stage.stop();
}

#[test]
fn a_full_disk_refuses_writes_by_that_name_answers_reads_and_recovers_with_room() {
    const RESERVE: u64 = 32 << 20;
    const ROOMY: u64 = 1 << 40;
    let disk = FaultyDisk::new(3);
    let room = |capacity_bytes| {
        disk.set_faults(Faults {
            capacity_bytes: Some(capacity_bytes),
            ..Faults::default()
        });
    };
    room(ROOMY);
    let mut config = config();
    config.store.log.reserve_bytes = RESERVE;
    let stage = Stage::start(Arc::new(disk.clone()), &config).unwrap();
    stage.open(&[ALICE, BOB, CAROL, DAVE], 1_000);
    let mut raw = stage.raw();
    let sign = |counter| {
        stage
            .builder(vec![pay(ALICE, BOB, 1)])
            .sign(&[(&operator(), 1, counter)])
    };
    assert!(matches!(raw.submit(&sign(1)), Reply::Committed(_)));
    for round in 0..3 {
        // The last block's empty follower may still be on its way: it, too, waits for room.
        room(ROOMY - disk.free_bytes().unwrap() + RESERVE / 2);
        let before = stage.refused(Refusal::DiskFull);
        let next = sign(2 + round);
        for _ in 0..5 {
            let reply = raw.submit(&next);
            let refused = refusal_of(&reply);
            assert_eq!(refused.refusal, Refusal::DiskFull);
            assert!(refused.retry_after_ms > 0);
        }
        assert_eq!(stage.refused(Refusal::DiskFull), before + 5);
        let client = stage.client();
        assert_eq!(
            client.account(ALICE).unwrap().unwrap().hot.debits_posted.get(),
            u128::from(1 + round)
        );
        assert!(client.block(Height(1)).unwrap().is_some());
        assert!(matches!(
            request(&mut raw, &Request::Query(Query::Status)),
            Reply::Answer(_)
        ));
        room(ROOMY);
        assert!(matches!(
            raw.submit(&next),
            Reply::Committed(Committed { duplicate: false, .. })
        ));
    }
    assert_eq!(stage.node.fault(), None);
    stage.stop();
}

#[test]
fn an_index_without_room_falls_behind_and_catches_up_while_transactions_commit() {
    const RESERVE: u64 = 32 << 20;
    const ROOMY: u64 = 1 << 40;
    let disk = FaultyDisk::new(4);
    let room = |capacity_bytes| {
        disk.set_faults(Faults {
            capacity_bytes: Some(capacity_bytes),
            ..Faults::default()
        });
    };
    room(ROOMY);
    let mut config = config();
    config.store.index.reserve_bytes = RESERVE;
    config.store.index.buffer_heights_max = 1;
    let stage = Stage::start(Arc::new(disk.clone()), &config).unwrap();
    stage.open(&[ALICE, BOB], 1_000);
    let signer = stage.client().signer(operator(), 1).unwrap();
    room(ROOMY - disk.free_bytes().unwrap() + RESERVE / 2);
    for _ in 0..10 {
        assert!(
            signer
                .commit(vec![pay(ALICE, BOB, 1)])
                .unwrap()
                .refused
                .is_empty()
        );
    }
    room(ROOMY);
    let last = signer.submit(vec![pay(ALICE, BOB, 1)], Detail::Refusals).unwrap();
    let tx_id = last.tx_id();
    let committed = last.wait().unwrap();
    // The index may be some blocks behind: then "not found" is what it knows.
    let found = std::iter::repeat_with(|| stage.client().transaction(tx_id).unwrap())
        .take(100)
        .flatten()
        .next();
    assert_eq!(found, Some(committed));
    assert_eq!(stage.node.fault(), None);
    stage.stop();
}

#[test]
fn a_flooding_peer_is_refused_with_a_time_to_come_back_and_an_honest_one_is_served() {
    let mut config = config();
    config.limits.identity_frames = Rate {
        per_s: 200,
        burst: 200,
    };
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config).unwrap();
    stage.open(&[ALICE, BOB, CAROL, DAVE], 1_000_000);
    let (flood, honest) = (2_000, 20);
    // Each is counted by its own key.
    let mut flooder = stage.raw_as(Some([1; 32]));
    let mut client = stage.raw_as(Some([2; 32]));
    let garbage = stage
        .builder(vec![pay(ALICE, BOB, 1)])
        .sign(&[(&operator(), 2, 1_000_000)]);
    let (mut limited, mut let_in) = (0, 0);
    for counter in 1..=honest {
        for _ in 0..flood / honest {
            flooder.send(&garbage);
        }
        let paid = client.submit(&stage.builder(vec![pay(CAROL, DAVE, 1)]).sign(&[(
            &operator(),
            1,
            counter,
        )]));
        assert!(
            matches!(paid, Reply::Committed(_)),
            "honest transfer {counter}: {paid:?}"
        );
    }
    while limited + let_in < flood {
        for (_, reply) in flooder.replies() {
            let refused = refusal_of(&reply);
            match refused.refusal {
                Refusal::RateLimited => {
                    assert!(refused.retry_after_ms > 0, "{refused:?}");
                    limited += 1;
                }
                Refusal::CounterSkipped => let_in += 1,
                _ => panic!("{refused:?}"),
            }
        }
    }
    assert!(limited > flood / 4, "{limited} of {flood} were refused");
    assert_eq!(stage.refused(Refusal::RateLimited), limited);
    assert_eq!(
        stage.node.transport_metrics().refusals(Limit::IdentityFrames),
        limited
    );
    assert_eq!(stage.node.fault(), None);
    stage.stop();
}

#[test]
fn a_follower_sees_every_block_in_order_across_a_restart() {
    let disk = Arc::new(MemoryDisk::new());
    let mut config = config();
    let stage = Stage::start(Arc::clone(&disk) as Arc<dyn Disk>, &config).unwrap();
    stage.open(&[ALICE, BOB], 1_000);
    let follower = stage.client();
    let mut rows = follower.subscribe(Height(1));
    let mut next = 1;
    let mut follow = |through: Height| {
        while next <= through.0 {
            let row = rows.next().unwrap().unwrap();
            let row = Row::decode(&row).unwrap();
            let header = selfchain::types::block::Header::decode(row.header).unwrap();
            assert_eq!(header.height.0, next);
            next += 1;
        }
    };
    follow(commits(&stage.client(), 20));
    // The same place, so that the follower finds it again.
    config.listen = stage.node.address();
    stage.stop();
    let stage = Stage::start(disk, &config).unwrap();
    follow(commits(&stage.client(), 20));
    stage.stop();
}

/// Commits so many transfers, each in a block of its own; the balances in every result are those of the ledger.
fn commits(client: &Client, count: u32) -> Height {
    let signer = client.signer(operator(), 1).unwrap();
    let mut tip = Height(0);
    for _ in 0..count {
        let result = signer
            .commit(vec![
                pay(ALICE, BOB, 1),
                pay(BOB, ALICE, 1),
                pay(ISSUANCE, BOB, 1),
            ])
            .unwrap();
        assert!(result.refused.is_empty());
        let of = |account| client.account(account).unwrap().unwrap().hot.balances();
        assert_eq!(result.balances.len(), 3);
        assert_eq!(result.balances[1].1, of(ALICE));
        assert_eq!(result.balances[2], (of(ISSUANCE), of(BOB)));
        tip = result.height;
    }
    tip
}

#[test]
fn every_stage_of_the_road_and_every_question_is_timed() {
    let stage = stage();
    let signer_client = stage.client();
    let signer = signer_client.signer(operator(), 14).unwrap();
    signer.commit(vec![pay(ALICE, BOB, 1)]).unwrap();
    // Nothing is scored here: the chain has no model.
    for one in RoadStage::ALL.into_iter().filter(|one| *one != RoadStage::Score) {
        // The index follows a moment later.
        until(|| stage.metrics.stage(one).busy_ns() > 0);
    }
    let asked = stage.metrics.query_latency.snapshot().count();
    signer_client.account(ALICE).unwrap();
    signer_client.block(Height(1)).unwrap();
    until(|| stage.metrics.query_latency.snapshot().count() >= asked + 2);
    // Nothing waits, and the gauge says so though nothing was admitted since.
    until(|| stage.metrics.pool_transactions.get() == 0);
}
