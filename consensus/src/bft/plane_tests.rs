//! The plane, input by input.

use super::journal::{Entry, Finding, Judged, Record, Wait};
use super::message::Message;
use super::{Bft, Options, check};
use selfchain_types::ballot::{Ballot, EXTENSION_BYTES_MAX, Statement};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Validator;
use selfchain_types::seam::consensus::{Effect, Input, Plane, PlaneError, Schedule, Verdict};
use selfchain_types::seam::view::{Heard, Step};
use selfchain_types::{Hash, Height, TimeNs};

const CHAIN: Hash = Hash([1; 32]);
const BLOCK: Hash = Hash([9; 32]);

fn key(seat: u8) -> SigningKey {
    SigningKey::from_seed(&[seat; 32])
}

fn set() -> Vec<Validator> {
    (0..4)
        .map(|seat| Validator {
            key: key(seat).public().clone(),
            power: 1,
        })
        .collect()
}

fn start(height: u64) -> Input {
    Input::Start {
        height: Height(height),
        validators: set().into(),
        schedule: Schedule::by_power(Height(1)),
    }
}

/// The plane of `seat`, at height 1, where seat 0 proposes.
fn plane(seat: u8) -> Bft {
    let mut plane = Bft::new(CHAIN, key(seat), Options::default());
    assert_eq!(step(&mut plane, start(1)), Ok(vec![]), "an idle chain is silent");
    plane
}

fn step(plane: &mut Bft, input: Input) -> Result<Vec<Effect>, PlaneError> {
    let mut effects = Vec::new();
    plane.handle(input, TimeNs(0), &mut effects).map(|()| effects)
}

fn signed(seat: u8, round: u32, statement: Statement) -> Ballot {
    Ballot::sign(&CHAIN, Height(1), round, u16::from(seat), statement, &key(seat))
}

fn message(ballot: &Ballot) -> Input {
    Input::Message {
        from: ballot.validator,
        bytes: ballot.to_bytes(),
        checked: false,
    }
}

fn built(extension: Vec<u8>) -> Input {
    Input::Built {
        height: Height(1),
        round: 0,
        block: BLOCK,
        extension,
    }
}

/// What leaves, and what is written, by name, in order.
fn names(effects: &[Effect]) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::Broadcast(bytes) => format!(
            "send {:?}",
            Ballot::decode(bytes).map(|ballot| ballot.statement.kind())
        ),
        Effect::Persist { record, .. } => match Record::decode(record).map(|record| record.entry) {
            Ok(Entry::Message(Message::Ballot(ballot))) => format!("keep {:?}", ballot.statement.kind()),
            Ok(Entry::Block(judged)) => format!("keep {:?}", judged.finding),
            other => format!("keep {other:?}"),
        },
        Effect::SetTimer { .. } => "timer".into(),
        Effect::Decided(_) => "decided".into(),
        other => format!("{other:?}"),
    };
    let mut names: Vec<String> = effects.iter().map(name).collect();
    names.retain(|name| name != "timer");
    names
}

#[test]
fn a_proposer_keeps_before_it_sends() {
    let mut plane = plane(0);
    let effects = step(&mut plane, Input::Wanted).expect("wanted");
    assert_eq!(names(&effects), ["Build { height: Height(1), round: 0 }"]);
    let effects = step(&mut plane, built(vec![5])).expect("built");
    assert_eq!(
        names(&effects),
        [
            "keep Valid",
            "keep Proposal",
            "keep Prevote",
            "send Ok(Prevote)",
            "send Ok(Proposal)"
        ]
    );
    assert_eq!(step(&mut plane, built(vec![5])), Ok(vec![]), "once");
}

#[test]
fn a_precommit_says_what_the_verdict_said() {
    let mut plane = plane(1);
    let proposal = signed(0, 0, Statement::Proposal(BLOCK, None));
    let effects = step(&mut plane, message(&proposal)).expect("a proposal");
    let judge = Effect::Judge {
        block: BLOCK,
        round: 0,
        since: TimeNs(0),
    };
    assert!(effects.contains(&judge), "{effects:?}");
    let verdict = Input::Verdict {
        block: BLOCK,
        verdict: Verdict::Valid,
        extension: vec![1, 2],
    };
    let effects = step(&mut plane, verdict).expect("a verdict");
    assert_eq!(
        names(&effects),
        ["keep Valid", "keep Prevote", "send Ok(Prevote)"]
    );
    let mut said = Vec::new();
    for seat in [0, 2] {
        let prevote = signed(seat, 0, Statement::Prevote(Some(BLOCK)));
        said.extend(step(&mut plane, message(&prevote)).expect("a prevote"));
    }
    let mine = signed(1, 0, Statement::Precommit(BLOCK, vec![1, 2]));
    assert!(
        said.contains(&Effect::Broadcast(mine.to_bytes())),
        "{:?}",
        names(&said)
    );
    let mut decided = Vec::new();
    for seat in [2, 3] {
        let precommit = signed(seat, 0, Statement::Precommit(BLOCK, vec![seat]));
        decided.extend(step(&mut plane, message(&precommit)).expect("a precommit"));
    }
    let Some(Effect::Decided(certificate)) = decided.last() else {
        panic!("decided, not {:?}", names(&decided));
    };
    assert_eq!(certificate.verify(&CHAIN, &set()), Ok(()));
    let said: Vec<_> = certificate
        .precommits
        .iter()
        .map(|precommit| &precommit.extension[..])
        .collect();
    assert_eq!(said, [&[1, 2][..], &[2], &[3]]);
}

#[test]
fn an_objection_costs_a_fresh_proposal_one_prevote_and_then_yields() {
    fn check(round: u32, polka: Option<u32>, want: &[&str]) {
        let mut plane = plane(1);
        for of in 0..round {
            for seat in [0, 2, 3] {
                step(&mut plane, message(&signed(seat, of, Statement::NilPrecommit))).expect("a precommit");
            }
            step_at(&mut plane, 60_000_000_000, Input::Timer(2));
        }
        assert_eq!(plane.round(), Some((Height(1), round)));
        let proposer = u8::try_from(round % 4).expect("small");
        let proposal = signed(proposer, round, Statement::Proposal(BLOCK, polka));
        step(&mut plane, message(&proposal)).expect("a proposal");
        let verdict = Input::Verdict {
            block: BLOCK,
            verdict: Verdict::Objection,
            extension: vec![],
        };
        let effects = step(&mut plane, verdict).expect("a verdict");
        assert_eq!(names(&effects), want, "round {round}, polka {polka:?}");
        let prevotes = effects.iter().filter_map(|effect| match effect {
            Effect::Broadcast(bytes) => Ballot::decode(bytes).ok(),
            _ => None,
        });
        let block = (want[0] == "keep Valid").then_some(BLOCK);
        assert!(
            prevotes
                .into_iter()
                .all(|ballot| ballot.statement == Statement::Prevote(block))
        );
    }
    fn step_at(plane: &mut Bft, now: u64, input: Input) {
        let mut effects = Vec::new();
        plane.handle(input, TimeNs(now), &mut effects).expect("a timer");
    }
    check(
        0,
        None,
        &["keep Objection", "keep Prevote", "send Ok(Prevote)", "keep Valid"],
    );
    check(2, None, &["keep Valid", "keep Prevote", "send Ok(Prevote)"]);
    check(2, Some(0), &["keep Valid"]);
}

#[test]
fn messages_that_prove_nothing_change_nothing() {
    let mut plane = plane(1);
    let proposal = signed(0, 0, Statement::Proposal(BLOCK, None));
    let mut forged = proposal.clone();
    forged.validator = 2;
    let nothing = [
        message(&forged),
        message(&Ballot {
            validator: 9,
            ..proposal.clone()
        }),
        message(&signed(0, 11, Statement::Prevote(None))),
        Input::Message {
            from: 0,
            bytes: vec![9; 40],
            checked: true,
        },
    ];
    for input in nothing {
        assert_eq!(step(&mut plane, input.clone()), Ok(vec![]), "{input:?}");
    }
    assert!(!check(&forged.to_bytes(), &CHAIN, Height(1), &set()));
    assert!(check(&proposal.to_bytes(), &CHAIN, Height(1), &set()));
    assert!(!check(&proposal.to_bytes(), &CHAIN, Height(2), &set()));
}

#[test]
fn a_late_ballot_is_evidence_for_some_heights_and_then_nothing() {
    let mut plane = plane(1);
    let one = signed(3, 0, Statement::Prevote(None));
    let other = signed(3, 0, Statement::Prevote(Some(BLOCK)));
    step(&mut plane, message(&one)).expect("a prevote");
    step(&mut plane, start(9)).expect("a later height");
    let effects = step(&mut plane, message(&other)).expect("a late prevote");
    assert!(matches!(&effects[..], [Effect::Evidence(_)]), "{effects:?}");
    let third = signed(2, 0, Statement::Prevote(None));
    step(&mut plane, message(&third)).expect("a late prevote");
    step(&mut plane, start(10)).expect("a later height");
    let twin = signed(2, 0, Statement::Prevote(Some(BLOCK)));
    assert_eq!(step(&mut plane, message(&twin)), Ok(vec![]));
}

#[test]
fn refuses_what_the_contract_does_not_allow() {
    let mut fresh = Bft::new(CHAIN, key(1), Options::default());
    assert!(step(&mut fresh, Input::Wanted).is_err());
    assert!(step(&mut fresh, Input::Recovered(vec![1])).is_err());
    let mut plane = plane(0);
    let contract = |result| matches!(result, Err(PlaneError::Contract { .. }));
    assert!(contract(step(&mut plane, start(1))));
    assert!(contract(step(&mut plane, Input::Recovered(vec![]))));
    assert!(contract(step(
        &mut plane,
        built(vec![0; EXTENSION_BYTES_MAX + 1])
    )));
    let peer = Input::Peer {
        validator: 4,
        alive: false,
    };
    assert!(contract(step(&mut plane, peer)));
    let misfit = Input::Start {
        height: Height(2),
        validators: set().into(),
        schedule: Schedule {
            weights: [1, 2].into(),
            ..Schedule::by_power(Height(1))
        },
    };
    assert!(contract(step(&mut plane, misfit)));
}

#[test]
fn a_journal_that_says_otherwise_stops_the_node() {
    // A prevote for the block, where the journal holds only the wait that ended without a proposal.
    let records = [
        Entry::Timeout(Wait::Propose, 0),
        Entry::Message(Message::Ballot(signed(1, 0, Statement::Prevote(Some(BLOCK))))),
    ];
    let mut plane = Bft::new(CHAIN, key(1), Options::default());
    for entry in records {
        let height = Height(1);
        let record = Record { height, entry }.to_bytes();
        step(&mut plane, Input::Recovered(record)).expect("a record");
    }
    let height = Height(1);
    assert_eq!(
        step(&mut plane, start(1)),
        Err(PlaneError::ReplayDivergence { height })
    );
}

#[test]
fn records_and_messages_have_one_byte_string() {
    let prevote = |seat| signed(seat, 0, Statement::Prevote(Some(BLOCK)));
    let nil = signed(2, 0, Statement::NilPrecommit);
    let messages = [
        Message::Ballot(prevote(0)),
        Message::Polka(vec![prevote(0), prevote(1)]),
        Message::Skip(vec![prevote(0), nil.clone()]),
        Message::Precommits(vec![nil.clone()]),
    ];
    let judged = Judged {
        block: BLOCK,
        round: 3,
        polka: Some(1),
        proposer: 2,
        finding: Finding::Objection,
        extension: vec![1],
    };
    let entries = messages.map(Entry::Message).into_iter().chain([
        Entry::Timeout(Wait::Precommit, 7),
        Entry::Block(Judged {
            polka: None,
            ..judged.clone()
        }),
        Entry::Block(judged),
    ]);
    for entry in entries {
        let height = Height(1);
        let record = Record { height, entry };
        let bytes = record.to_bytes();
        assert_eq!(Record::decode(&bytes), Ok(record));
        assert!((0..bytes.len()).all(|cut| Record::decode(&bytes[..cut]).is_err()));
    }
    let refused = [
        Message::Polka(vec![prevote(1), prevote(0)]),
        Message::Polka(vec![prevote(0), prevote(0)]),
        Message::Polka(vec![nil.clone()]),
        Message::Polka(vec![]),
        Message::Skip(vec![signed(0, 0, Statement::Proposal(BLOCK, None))]),
        Message::Skip(vec![prevote(0), signed(1, 1, Statement::Prevote(None))]),
        Message::Precommits(vec![prevote(0), nil]),
    ];
    for message in refused {
        assert!(Message::decode(&message.to_bytes()).is_err(), "{message:?}");
    }
}

/// What a plane does first after a crash that left these records.
fn recovered(seat: u8, entries: Vec<Entry>) -> (Bft, Vec<Effect>) {
    let mut plane = Bft::new(CHAIN, key(seat), Options::default());
    for entry in entries {
        let height = Height(1);
        let record = Record { height, entry }.to_bytes();
        assert_eq!(step(&mut plane, Input::Recovered(record)), Ok(vec![]));
    }
    let effects = step(&mut plane, start(1)).expect("a start");
    (plane, effects)
}

fn kept(seat: u8, statement: Statement) -> Entry {
    Entry::Message(Message::Ballot(signed(seat, 0, statement)))
}

fn found(finding: Finding, proposer: u16, extension: Vec<u8>) -> Entry {
    Entry::Block(Judged {
        block: BLOCK,
        round: 0,
        polka: None,
        proposer,
        finding,
        extension,
    })
}

/// The plane's own precommits when these prevote the block.
fn precommits(plane: &mut Bft, seats: [u8; 3]) -> Vec<Statement> {
    let mut said = Vec::new();
    for seat in seats {
        let prevote = signed(seat, 0, Statement::Prevote(Some(BLOCK)));
        said.extend(step(plane, message(&prevote)).expect("a prevote"));
    }
    let ballot = |effect: Effect| match effect {
        Effect::Broadcast(bytes) => Ballot::decode(&bytes).ok(),
        _ => None,
    };
    let said = said.into_iter().filter_map(ballot).map(|ballot| ballot.statement);
    said.filter(|statement| matches!(statement, Statement::Precommit(..)))
        .collect()
}

#[test]
fn a_ballot_that_a_crash_prevented_is_kept_before_it_is_sent() {
    let (_, effects) = recovered(1, vec![Entry::Timeout(Wait::Propose, 0)]);
    assert_eq!(names(&effects), ["keep Prevote", "send Ok(Prevote)"]);
}

#[test]
fn of_rounds_that_are_over_nothing_is_sent_again() {
    let others = [0, 2];
    let mut entries = vec![
        Entry::Timeout(Wait::Propose, 0),
        kept(1, Statement::Prevote(None)),
    ];
    entries.extend(others.map(|seat| kept(seat, Statement::Prevote(None))));
    entries.push(kept(1, Statement::NilPrecommit));
    entries.extend(others.map(|seat| kept(seat, Statement::NilPrecommit)));
    entries.push(Entry::Timeout(Wait::Precommit, 0));
    let (plane, effects) = recovered(1, entries);
    assert_eq!(plane.round(), Some((Height(1), 1)));
    assert_eq!(names(&effects), ["Build { height: Height(1), round: 1 }"]);
}

#[test]
fn a_block_without_a_verdict_is_judged_again() {
    let (_, effects) = recovered(1, vec![kept(0, Statement::Proposal(BLOCK, None))]);
    let judge = Effect::Judge {
        block: BLOCK,
        round: 0,
        since: TimeNs(0),
    };
    assert_eq!(effects.iter().filter(|effect| **effect == judge).count(), 1);
}

#[test]
fn an_objection_yields_after_a_crash_too() {
    let entries = vec![
        kept(0, Statement::Proposal(BLOCK, None)),
        found(Finding::Objection, 0, vec![7]),
    ];
    let (mut plane, effects) = recovered(1, entries);
    assert_eq!(
        names(&effects),
        ["keep Prevote", "keep Valid", "send Ok(Prevote)"]
    );
    assert_eq!(
        precommits(&mut plane, [0, 2, 3]),
        [Statement::Precommit(BLOCK, vec![7])]
    );
}

#[test]
fn the_first_extension_stands() {
    let (mut plane, effects) = recovered(0, vec![found(Finding::Valid, 0, vec![1])]);
    assert_eq!(names(&effects), ["Build { height: Height(1), round: 0 }"]);
    step(&mut plane, built(vec![2])).expect("built again");
    assert_eq!(
        precommits(&mut plane, [1, 2, 3]),
        [Statement::Precommit(BLOCK, vec![1])]
    );
}

#[test]
fn a_view_says_where_the_height_is_who_said_what_and_on_what_it_is_locked() {
    let mut plane = plane(1);
    let view = |plane: &Bft| plane.view().expect("a height is in hand");
    assert_eq!(Bft::new(CHAIN, key(1), Options::default()).view(), None);
    let idle = view(&plane);
    assert_eq!(
        (idle.height, idle.step, idle.proposers),
        (Height(1), Step::Idle, vec![0, 1, 2, 3])
    );
    step(
        &mut plane,
        message(&signed(0, 0, Statement::Proposal(BLOCK, None))),
    )
    .expect("a proposal");
    assert_eq!(view(&plane).step, Step::Propose);
    let verdict = Input::Verdict {
        block: BLOCK,
        verdict: Verdict::Valid,
        extension: vec![],
    };
    step(&mut plane, verdict).expect("a verdict");
    step(&mut plane, message(&signed(3, 0, Statement::Prevote(None)))).expect("a prevote");
    let voted = view(&plane);
    assert_eq!((voted.step, voted.locked), (Step::Prevote, None));
    for seat in [0, 2] {
        step(
            &mut plane,
            message(&signed(seat, 0, Statement::Prevote(Some(BLOCK)))),
        )
        .expect("a prevote");
    }
    let locked = view(&plane);
    assert_eq!((locked.step, locked.locked), (Step::Precommit, Some((0, BLOCK))));
    let heard = |prevote, precommit| Heard { prevote, precommit };
    let yes = Some(Some(BLOCK));
    assert_eq!(
        locked.heard,
        [
            heard(yes, None),
            heard(yes, yes),
            heard(yes, None),
            heard(Some(None), None)
        ]
    );
    assert_eq!((locked.counts.rounds, locked.counts.timeouts_precommit), (1, 0));
    assert_eq!(
        locked.counts.votes_verified, 4,
        "three prevotes and the proposal, its own not"
    );
    for seat in [0, 2] {
        step(&mut plane, message(&signed(seat, 0, Statement::NilPrecommit))).expect("a precommit");
    }
    let mut effects = Vec::new();
    let later = TimeNs(60_000_000_000);
    plane
        .handle(Input::Timer(2), later, &mut effects)
        .expect("a timer");
    let next = view(&plane);
    assert_eq!(
        (next.round, next.since, next.proposers),
        (1, later, vec![1, 2, 3, 0])
    );
    assert_eq!((next.counts.rounds, next.counts.timeouts_precommit), (2, 1));
    assert_eq!(next.locked, Some((0, BLOCK)), "a lock outlives its round");
    assert_eq!(next.heard[0], Heard::default(), "nothing was said of this round");
}

#[test]
fn the_set_of_a_height_says_which_of_the_keys_signs() {
    let later = || key(77);
    let start = |height: u64, first: &SigningKey| {
        let mut validators = set();
        validators[0].key = first.public().clone();
        Input::Start {
            height: Height(height),
            validators: validators.into(),
            schedule: Schedule::by_power(Height(1)),
        }
    };
    // Who signed the proposal of a height whose first validator is this plane.
    let proposes = |plane: &mut Bft, height: u64| {
        step(plane, Input::Wanted).unwrap();
        let built = Input::Built {
            height: Height(height),
            round: 0,
            block: BLOCK,
            extension: Vec::new(),
        };
        let effects = step(plane, built).unwrap();
        let mut ballots = effects.iter().filter_map(|effect| match effect {
            Effect::Broadcast(bytes) => Ballot::decode(bytes).ok(),
            _ => None,
        });
        let ballot = ballots.next_back().unwrap();
        let by = |key: &SigningKey| ballot.verify(&CHAIN, key.public()).is_ok();
        (by(&key(0)), by(&later()))
    };
    let mut plane = Bft::new(CHAIN, key(0), Options::default());
    step(&mut plane, start(1, &key(0))).unwrap();
    plane.hold(later());
    assert_eq!(
        proposes(&mut plane, 1),
        (true, false),
        "the set of this height names the first"
    );
    step(&mut plane, start(5, &later())).unwrap();
    assert_eq!(proposes(&mut plane, 5), (false, true));

    // After a restart too, whichever of them it began with.
    let mut plane = Bft::new(CHAIN, later(), Options::default());
    plane.hold(key(0));
    step(&mut plane, start(1, &key(0))).unwrap();
    assert_eq!(proposes(&mut plane, 1), (true, false));
    // A key that comes late: the height that waits for it does not wait for ever.
    let mut late = Bft::new(CHAIN, key(50), Options::default());
    step(&mut late, start(1, &later())).unwrap();
    step(&mut late, Input::Wanted).unwrap();
    late.hold(later());
    assert_eq!(proposes(&mut late, 1), (false, true));
    // However many keys come, the one that signs stays.
    (100..120).for_each(|seed| plane.hold(key(seed)));
    step(&mut plane, start(5, &key(0))).unwrap();
    assert_eq!(proposes(&mut plane, 5), (true, false));
}
