//! The client against a server that loses connections, answers late, or not at all.

use super::*;
use selfchain_transport::{Limits, Server, ServerConfig};
use selfchain_types::message::Refused;
use selfchain_types::seam::transport::{CloseReason, Cursor, CursorStep, Overload, Peer, PeerId, Service};
use selfchain_types::{EnvelopeBuilder, Operation, TimeNs};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::runtime::{Builder, Runtime};

/// What the server does with the next submissions, one after another; then it commits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Commit,
    CommitAndVanish,
    VanishAtOnce,
    RefuseFull,
    StaySilent,
}

#[derive(Default)]
struct Book {
    moods: Vec<Mood>,
    committed: BTreeMap<Hash, u64>,
    submissions: u64,
}

struct Script(Mutex<Book>);

const CHAIN: Hash = Hash([5; 32]);

impl Service for Script {
    fn receive(&self, peer: &Arc<dyn Peer>, frames: Vec<Vec<u8>>) {
        for frame in frames {
            let (number, request) = Request::decode(&frame).unwrap();
            let mut book = self.0.lock().unwrap();
            let reply = match request {
                Request::Query(query) => book.answer(query),
                Request::Submit { envelope, .. } => {
                    let mood = if book.moods.is_empty() {
                        Mood::Commit
                    } else {
                        book.moods.remove(0)
                    };
                    book.submissions += 1;
                    let tx_id = EnvelopeView::new(envelope).unwrap().tx_id();
                    match mood {
                        Mood::StaySilent => continue,
                        Mood::VanishAtOnce => return peer.close(CloseReason::ServiceFailed),
                        Mood::RefuseFull => refused(Refusal::PoolFull, 30),
                        Mood::Commit | Mood::CommitAndVanish => {
                            let height = u64::try_from(book.committed.len()).unwrap() + 1;
                            let duplicate = book.committed.contains_key(&tx_id);
                            let height = *book.committed.entry(tx_id).or_insert(height);
                            if mood == Mood::CommitAndVanish {
                                return peer.close(CloseReason::ServiceFailed);
                            }
                            Reply::Committed(committed(height, duplicate))
                        }
                    }
                }
                Request::Keep(_) | Request::Subscribe { .. } | Request::Vault(_) => {
                    refused(Refusal::RequestUnknown, 0)
                }
            };
            // The peer may be gone by now: there is nobody to tell.
            peer.reply(reply.encode(number)).unwrap_or_default();
        }
    }

    fn refuse(&self, _: &[u8], _: Overload) -> Option<Vec<u8>> {
        None
    }

    fn closed(&self, _: PeerId) {}

    fn subscribe(&self, peer: &Arc<dyn Peer>, request: &[u8]) -> Result<Box<dyn Cursor>, Vec<u8>> {
        match Request::decode(request) {
            Ok((number, Request::Subscribe { from: Height(13) })) => {
                Err(refused(Refusal::Pruned, 0).encode(number))
            }
            Ok((_, Request::Subscribe { from })) => Ok(Box::new(Rows {
                next: from.0,
                peer: Arc::clone(peer),
                sent: 0,
            })),
            _ => Err(vec![0]),
        }
    }
}

impl Book {
    fn answer(&self, query: Query) -> Reply {
        match query {
            Query::Status => Reply::Answer(Answer::Status(Status {
                chain_id: CHAIN,
                tip: Height(7),
                validity_max: 100,
                ..Status::default()
            })),
            Query::Transaction(tx_id) => match self.committed.get(&tx_id) {
                Some(height) => Reply::Answer(Answer::Transaction(committed(*height, false))),
                None => refused(Refusal::NotFound, 0),
            },
            Query::Key(id) => {
                let mut record = KeyRecord::new(id);
                record.lanes[3] = 41.into();
                Reply::Answer(Answer::Key(record))
            }
            _ => refused(Refusal::NotFound, 0),
        }
    }
}

/// Rows that are their own height; after every third the subscription ends, after every sixth the connection too.
struct Rows {
    next: u64,
    peer: Arc<dyn Peer>,
    sent: u64,
}

impl Cursor for Rows {
    fn next(&mut self, _: usize) -> CursorStep {
        if self.sent == 3 {
            if self.next > 6 {
                self.peer.close(CloseReason::ServiceFailed);
            }
            return CursorStep::End(None);
        }
        self.sent += 1;
        self.next += 1;
        CursorStep::Rows(vec![[vec![1], (self.next - 1).to_le_bytes().to_vec()].concat()])
    }
}

fn committed(height: u64, duplicate: bool) -> Committed {
    Committed {
        duplicate,
        height: Height(height),
        index: 0,
        time_ns: TimeNs(1),
        operations: 1,
        refused: vec![],
        balances: vec![],
    }
}

fn refused(refusal: Refusal, retry_after_ms: u32) -> Reply {
    Reply::Refused(Refused {
        refusal,
        retry_after_ms,
        text: "as the script says".into(),
    })
}

struct Stage {
    script: Arc<Script>,
    server: Server,
    client: Client,
    _runtime: Runtime,
}

fn stage(moods: &[Mood], deadline: Duration) -> Stage {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let script = Arc::new(Script(Mutex::new(Book {
        moods: moods.to_vec(),
        ..Book::default()
    })));
    let service: Arc<dyn Service> = Arc::<Script>::clone(&script);
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        key_seed: [3; 32],
        key_log_path: None,
        limits: Limits::default(),
    };
    let server = Server::start(&config, service, runtime.handle()).unwrap();
    let options = ClientOptions {
        deadline,
        ..ClientOptions::new(server.address(), server.public_key())
    };
    Stage {
        script,
        client: Client::connect(&options).unwrap(),
        server,
        _runtime: runtime,
    }
}

fn envelope(counter: u64) -> Vec<u8> {
    let key = SigningKey::from_seed(&[4; 32]);
    EnvelopeBuilder::new(CHAIN, Height(1), 50, vec![Operation::anchor(1, CHAIN)]).sign(&[(&key, 0, counter)])
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn many_submissions_travel_at_once_and_each_gets_its_answer() {
    let stage = stage(&[], LONG);
    let tickets: Vec<Ticket> = (1..=500)
        .map(|counter| stage.client.submit(&envelope(counter), Detail::Refusals).unwrap())
        .collect();
    let mut heights: Vec<u64> = tickets
        .into_iter()
        .map(|ticket| ticket.wait().unwrap().height.0)
        .collect();
    heights.sort_unstable();
    assert_eq!(heights, (1..=500).collect::<Vec<_>>());
    assert_eq!(stage.client.tip_seen(), Height(500));
    assert_eq!(stage.client.status().unwrap().tip, Height(7));
    assert_eq!(stage.client.account(AccountId(1)).unwrap(), None);
}

#[test]
fn a_lost_connection_loses_no_transaction_and_repeats_none() {
    for mood in [Mood::CommitAndVanish, Mood::VanishAtOnce] {
        let stage = stage(&[Mood::Commit, mood, mood], LONG);
        for counter in 1..=4 {
            let ticket = stage.client.submit(&envelope(counter), Detail::Refusals).unwrap();
            assert_eq!(ticket.wait().unwrap().height, Height(counter), "{mood:?}");
        }
        let book = stage.script.0.lock().unwrap();
        assert_eq!(book.committed.len(), 4);
        let submissions = if mood == Mood::CommitAndVanish { 4 } else { 6 };
        assert_eq!(
            book.submissions, submissions,
            "{mood:?}: what is committed is not submitted again"
        );
    }
}

#[test]
fn a_transient_refusal_is_tried_again() {
    let stage = stage(&[Mood::RefuseFull, Mood::RefuseFull], LONG);
    assert!(
        stage
            .client
            .submit(&envelope(1), Detail::Refusals)
            .unwrap()
            .wait()
            .is_ok()
    );
    assert_eq!(stage.script.0.lock().unwrap().submissions, 3);
}

#[test]
fn no_call_outlasts_its_deadline() {
    let deadline = Duration::from_millis(300);
    let stage = stage(&[Mood::StaySilent; 3], deadline);
    let began = Instant::now();
    let ticket = stage.client.submit(&envelope(1), Detail::Refusals).unwrap();
    assert!(matches!(ticket.wait(), Err(ClientError::Deadline { after }) if after == deadline));
    drop(stage.server);
    assert!(matches!(stage.client.status(), Err(ClientError::Deadline { .. })));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_full_flight_makes_the_next_call_wait_and_no_longer_than_its_deadline() {
    let stage = stage(&[Mood::StaySilent; 8], LONG);
    let options = ClientOptions {
        deadline: Duration::from_millis(200),
        in_flight_max: 2,
        ..ClientOptions::new(stage.server.address(), stage.server.public_key())
    };
    let client = Client::connect(&options).unwrap();
    let _first = client.submit(&envelope(1), Detail::Refusals).unwrap();
    let _second = client.submit(&envelope(2), Detail::Refusals).unwrap();
    let third = client
        .within(Duration::from_millis(50))
        .submit(&envelope(3), Detail::Refusals);
    assert!(matches!(third, Err(ClientError::Deadline { .. })));
    // The first two end by their deadline and make room.
    assert!(client.within(LONG).status().is_ok());
}

#[test]
fn a_wrong_server_key_is_refused_at_once() {
    let stage = stage(&[], LONG);
    let options = ClientOptions::new(stage.server.address(), [9; 32]);
    assert!(matches!(Client::connect(&options), Err(ClientError::Connect(_))));
}

#[test]
fn a_signer_goes_on_from_the_lanes_counter_and_bytes_that_are_no_envelope_go_nowhere() {
    let stage = stage(&[], LONG);
    let signer = stage.client.signer(SigningKey::from_seed(&[4; 32]), 3).unwrap();
    let ticket = signer
        .submit(vec![Operation::anchor(1, CHAIN)], Detail::Refusals)
        .unwrap();
    let signed = EnvelopeBuilder::new(CHAIN, Height(7), 100, vec![Operation::anchor(1, CHAIN)]);
    let expected = signed.sign(&[(&SigningKey::from_seed(&[4; 32]), 3, 42)]);
    assert_eq!(ticket.tx_id(), EnvelopeView::new(&expected).unwrap().tx_id());
    assert!(ticket.wait().is_ok());
    assert!(stage.client.signer(SigningKey::from_seed(&[4; 32]), 16).is_err());
    assert!(matches!(
        stage.client.submit(b"bytes", Detail::Refusals),
        Err(ClientError::Envelope(_))
    ));
}

#[test]
fn a_subscription_goes_on_after_every_lost_connection_without_a_gap() {
    let stage = stage(&[], LONG);
    let mut rows = stage.client.subscribe(Height(1));
    for height in 1..=10u64 {
        let row = rows.next_within(LONG).unwrap().unwrap();
        assert_eq!(row[1..], height.to_le_bytes());
    }
    let mut pruned = stage.client.subscribe(Height(13));
    assert_eq!(
        pruned.next_within(LONG).unwrap_err().refusal(),
        Some(Refusal::Pruned)
    );
}
