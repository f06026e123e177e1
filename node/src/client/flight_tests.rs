//! Tests of what a reply means for what is in flight.

use super::*;
use selfchain_types::message::Detail;
use selfchain_types::{Height, TimeNs};

struct Pilot {
    flight: Flight,
    now: Instant,
    number: u64,
    wait: Receiver<Ending>,
}

const TX: Hash = Hash([9; 32]);

impl Pilot {
    fn submit() -> Self {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let due = Due {
            deadline: now + Duration::from_secs(1),
            given: Duration::from_secs(1),
            link: 1,
        };
        let departure = flight.submit(submission, TX, due);
        assert_eq!(departure.frame, submission(departure.number));
        Self {
            flight,
            now,
            number: departure.number,
            wait: departure.wait,
        }
    }

    fn land(&mut self, reply: Reply) -> Option<Vec<u8>> {
        self.flight.land(self.number, reply, self.now)
    }

    fn refuse(&mut self, refusal: Refusal) -> Option<Vec<u8>> {
        self.land(Reply::Refused(Refused {
            refusal,
            retry_after_ms: 50,
            text: "numbers".into(),
        }))
    }

    fn fate(&self) -> Vec<u8> {
        Request::Query(Query::Transaction(TX)).encode(self.number)
    }

    fn pass(&mut self, ms: u64) -> Vec<Vec<u8>> {
        self.now += Duration::from_millis(ms);
        self.flight.take_again(self.now)
    }
}

fn submission(number: u64) -> Vec<u8> {
    Request::Submit {
        detail: Detail::Refusals,
        envelope: b"bytes",
    }
    .encode(number)
}

fn committed() -> Committed {
    Committed {
        duplicate: false,
        height: Height(3),
        index: 0,
        time_ns: TimeNs(1),
        operations: 1,
        refused: vec![],
        balances: vec![],
    }
}

#[test]
fn a_submission_ends_with_its_commit() {
    let mut pilot = Pilot::submit();
    assert_eq!(pilot.land(Reply::Accepted), None);
    assert!(pilot.wait.try_recv().is_err());
    assert_eq!(pilot.land(Reply::Committed(committed())), None);
    assert_eq!(
        pilot.wait.try_recv().unwrap().unwrap(),
        Reply::Committed(committed())
    );
    assert_eq!((pilot.flight.len(), pilot.flight.bytes()), (0, 0));
}

#[test]
fn a_transient_refusal_is_tried_again_when_the_node_says_so() {
    let mut pilot = Pilot::submit();
    assert_eq!(pilot.refuse(Refusal::PoolFull), None);
    assert!(pilot.pass(49).is_empty());
    assert_eq!(pilot.pass(1), [submission(pilot.number)]);
    assert!(pilot.pass(1_000).is_empty());
    assert_eq!(pilot.refuse(Refusal::PoolFull), None);
    let ending = pilot.wait.try_recv().unwrap();
    assert_eq!(
        ending.unwrap_err().refusal(),
        Some(Refusal::PoolFull),
        "no time is left for another try"
    );
}

#[test]
fn a_final_refusal_ends_at_once() {
    let mut pilot = Pilot::submit();
    assert_eq!(pilot.refuse(Refusal::CounterUsed), None);
    assert_eq!(
        pilot.wait.try_recv().unwrap().unwrap_err().refusal(),
        Some(Refusal::CounterUsed)
    );
}

#[test]
fn after_a_reconnect_the_fate_is_asked_and_what_is_unknown_is_sent_again() {
    let mut pilot = Pilot::submit();
    assert!(
        pilot.flight.resume(1).is_empty(),
        "it was sent on this very connection"
    );
    assert_eq!(pilot.flight.resume(2), [pilot.fate()]);
    assert_eq!(pilot.refuse(Refusal::NotFound), Some(submission(pilot.number)));
    // The first submission came through in between.
    assert_eq!(pilot.refuse(Refusal::Waiting), None);
    assert_eq!(pilot.pass(50), [pilot.fate()]);
    assert_eq!(pilot.land(Reply::Answer(Answer::Transaction(committed()))), None);
    assert_eq!(
        pilot.wait.try_recv().unwrap().unwrap(),
        Reply::Committed(committed())
    );
}

#[test]
fn a_used_counter_after_a_resubmission_is_asked_about_until_the_deadline() {
    let mut pilot = Pilot::submit();
    pilot.flight.resume(2);
    pilot.refuse(Refusal::NotFound);
    assert_eq!(pilot.refuse(Refusal::CounterUsed), Some(pilot.fate()));
    assert_eq!(pilot.refuse(Refusal::NotFound), None);
    assert_eq!(pilot.pass(20), [pilot.fate()]);
    pilot.pass(1_000);
    pilot.flight.expire(pilot.now);
    assert_eq!(
        pilot.wait.try_recv().unwrap().unwrap_err().refusal(),
        Some(Refusal::CounterUsed)
    );
}

#[test]
fn what_was_never_sent_is_sent_and_not_asked_for() {
    let (mut flight, now) = (Flight::default(), Instant::now());
    let due = Due {
        deadline: now + Duration::from_secs(1),
        given: Duration::from_secs(1),
        link: 0,
    };
    let number = flight.submit(submission, TX, due).number;
    assert_eq!(flight.resume(1), [submission(number)]);
}

#[test]
fn a_late_or_unknown_reply_harms_nobody() {
    let mut pilot = Pilot::submit();
    assert_eq!(pilot.flight.land(99, Reply::Accepted, pilot.now), None);
    pilot.flight.expire(pilot.now + Duration::from_secs(1));
    assert!(matches!(
        pilot.wait.try_recv().unwrap(),
        Err(ClientError::Deadline { .. })
    ));
    assert_eq!(pilot.land(Reply::Committed(committed())), None);
    assert_eq!(pilot.flight.len(), 0);
}
