//! The three objects, of a chain that is made up.

use super::*;
use crate::joining::JoinView;
use crate::replica::{CatchingUp, Decision, Lately, Proof};
use selfchain_transport::links::{LaneStatus, LinkClose};
use selfchain_types::ballot::{Ballot, BallotKind, Statement};
use selfchain_types::block::{BlockResult, Body, Header, Row};
use selfchain_types::certificate::{Certificate, Precommit};
use selfchain_types::crypto::SigningKey;
use selfchain_types::evidence::{Evidence, encode_evidence};
use selfchain_types::genesis::{Plane, Validator};
use selfchain_types::seam::view::{EpochView, Heard, MemberView, PlaneCounts, PlaneView, StandingView, Step};
use selfchain_types::{Hash, Height, TimeNs};
use std::sync::Arc;
use std::time::Duration;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn id(seed: u8) -> KeyId {
    key(seed).public().id()
}

fn set() -> Arc<[Validator]> {
    let validator = |seed: u8| Validator {
        key: key(seed).public().clone(),
        power: 100 * u64::from(seed),
    };
    (1..=4).map(validator).collect()
}

fn genesis() -> Genesis {
    Genesis {
        plane: Plane::Poai,
        validators: set().to_vec(),
        ..Genesis::solo("overview", 1, key(1).public().clone())
    }
}

fn member(seed: u8) -> MemberView {
    MemberView {
        number: u32::from(seed) - 1,
        address: None,
        key: id(seed),
        bond: 100 * u64::from(seed),
        power: Some(100 * u64::from(seed)),
        next_power: Some(90),
        factor: Some(804),
        quality: Some(510),
        features: Some([7; 13]),
        offences: 0,
        offended: Height::GENESIS,
    }
}

fn view() -> ReplicaView {
    let standing = StandingView {
        epoch: Some(EpochView {
            number: 0,
            blocks: 64,
            next: Height(65),
        }),
        members: (1..=4).map(member).collect(),
        proposers: vec![id(3), id(1)],
        network: Some(Hash([0xab; 32])),
        next_network: Some(Hash([0xcd; 32])),
    };
    ReplicaView {
        now: TimeNs(5_000_000_000),
        ..ReplicaView::of_set(set(), Some(standing), Height(40))
    }
}

fn overview<'a>(
    genesis: &'a Genesis,
    view: &'a ReplicaView,
    links: Option<&'a [PeerStatus]>,
) -> Overview<'a> {
    Overview {
        genesis,
        view,
        me: Some(id(1)),
        links,
    }
}

fn two_prevotes(height: u64) -> Evidence {
    let ballot = |block| {
        Ballot::sign(
            &Hash([9; 32]),
            Height(height),
            2,
            3,
            Statement::Prevote(block),
            &key(4),
        )
    };
    Evidence::new(ballot(None), ballot(Some(Hash([7; 32])))).unwrap()
}

/// The row of a block that this validator proposed and those at these seats precommitted.
fn row(height: u64, proposer: u8, seats: &[u16], evidence: &[u8]) -> Vec<u8> {
    let header = Header {
        protocol_version: 1,
        chain_id: Hash([9; 32]),
        height: Height(height),
        round: 0,
        parent: Hash::ZERO,
        time_ns: TimeNs(1),
        proposer: id(proposer),
        reveal: Hash::ZERO,
        transactions_root: Hash::ZERO,
        body_hash: Hash::ZERO,
        state_root: Hash::ZERO,
        receipts_root: Hash::ZERO,
        receipts_size: 0,
        validators_hash: Hash::ZERO,
        next_validators_hash: Hash::ZERO,
        models: Vec::new(),
        policy_version: 0,
    };
    let body = Body {
        evidence,
        ..Body::default()
    };
    let precommit = |validator: &u16| Precommit {
        validator: *validator,
        extension: Vec::new(),
        signature: vec![1; 64],
    };
    let certificate = Certificate {
        height: Height(height),
        round: 0,
        block: header.hash(),
        precommits: seats.iter().map(precommit).collect(),
    };
    Row::encode(&header, &body, &BlockResult::default(), &certificate)
}

#[test]
fn validators_say_power_share_and_what_each_did_last() {
    let genesis = genesis();
    let mut view = view();
    view.standing.members[3].power = None;
    view.standing.members[3].offences = 2;
    view.standing.members[3].offended = Height(31);
    let set_of = |_| Some(set());
    for (height, proposer, seats) in [(38, 1, &[0, 1, 3][..]), (39, 2, &[0, 1, 2]), (40, 1, &[0, 2])] {
        view.lately
            .row(&row(height, proposer, seats, &[]), &set_of)
            .unwrap();
    }
    let value = overview(&genesis, &view, None).validators();
    assert_eq!(value["plane"], "poai");
    assert_eq!((&value["is_live"], &value["power"]), (&false.into(), &600.into()));
    assert_eq!(value["epoch"]["next_height"], 65);
    assert_eq!(value["epoch"]["blocks_left"], 24, "41 to 64 are to come");
    assert_eq!(value["looked_since"], 38);
    let all = value["validators"].as_array().unwrap();
    assert_eq!(
        (&all[0]["is_me"], &all[0]["share_ppm"]),
        (&true.into(), &166_666.into())
    );
    let did = |at: usize| (&all[at]["last_proposed"], &all[at]["last_precommitted"]);
    assert_eq!(did(0), (&40.into(), &40.into()));
    assert_eq!(did(1), (&39.into(), &39.into()));
    assert_eq!(did(2), (&Value::Null, &40.into()));
    assert_eq!(did(3), (&Value::Null, &38.into()));
    assert_eq!((&all[3]["in_set"], &all[3]["power"]), (&false.into(), &0.into()));
    assert_eq!(
        (&all[3]["offences"], &all[3]["offended_height"]),
        (&2.into(), &31.into())
    );
    assert_eq!(
        (&all[2]["factor_thousandths"], &all[2]["quality_thousandths"]),
        (&804.into(), &510.into())
    );
}

#[test]
fn consensus_says_who_voted_for_what_with_what_power() {
    let genesis = genesis();
    let block = Hash([7; 32]);
    let heard = |prevote, precommit| Heard { prevote, precommit };
    let mut view = view();
    view.plane = Some(PlaneView {
        height: Height(41),
        round: 1,
        step: Step::Precommit,
        since: TimeNs(4_250_000_000),
        proposers: vec![2, 0, 1, 3],
        locked: Some((1, block)),
        heard: vec![
            heard(Some(Some(block)), Some(Some(block))),
            heard(Some(None), None),
            heard(Some(Some(block)), None),
            heard(None, None),
        ],
        counts: PlaneCounts::default(),
    });
    view.last = Some(Decision {
        height: Height(40),
        block,
        round: 0,
        power: (900, 1_000),
        missing: vec![id(1)],
    });
    view.tips = vec![(1, Height(38))];
    view.catching_up = CatchingUp {
        behind: 3,
        asked: Some(2),
        refusing: vec![(1, TimeNs(5_400_000_000))],
        snapshot: Some(JoinView {
            height: Height(900),
            chunks: 3,
            chunks_all: 12,
            bytes: 30_000,
            bytes_all: 120_000,
            from: vec![1, 3],
        }),
        quiet_through: None,
    };
    let peer = PeerStatus {
        number: 1,
        address: Some(([127, 0, 0, 1], 9).into()),
        round_trip: Some(Duration::from_micros(420)),
        dial_in: None,
        last: Some(LinkClose::TimedOut),
        heard_ago: Some(Duration::from_millis(12)),
        sent_bytes: 10,
        received_bytes: 20,
        lanes: [LaneStatus {
            send_frames: 3,
            send_bytes: 300,
            receive_bytes: 0,
        }; 4],
    };
    let value = overview(&genesis, &view, Some(&[peer])).consensus();
    let agreement = &value["agreement"];
    assert_eq!((&value["height"], &agreement["round"]), (&41.into(), &1.into()));
    assert_eq!(
        (&agreement["step"], &agreement["round_age_ms"]),
        (&"precommit".into(), &750.into())
    );
    assert_eq!(agreement["proposer"], hex(&id(3)));
    assert_eq!(
        (&agreement["power"], &agreement["quorum"]),
        (&1_000.into(), &667.into())
    );
    assert_eq!(agreement["locked"]["block"], block.to_hex());
    let prevotes = agreement["prevotes"]["for"].as_array().unwrap();
    assert_eq!(
        (&prevotes[0]["power"], &prevotes[0]["positions"]),
        (&400.into(), &serde_json::json!([0, 2]))
    );
    assert_eq!(
        (&prevotes[1]["block"], &prevotes[1]["power"]),
        (&Value::Null, &200.into())
    );
    assert_eq!(agreement["prevotes"]["missing"], serde_json::json!([3]));
    assert_eq!(agreement["precommits"]["missing"], serde_json::json!([1, 2, 3]));
    assert_eq!(
        value["next_proposers"][1],
        serde_json::json!({ "height": 42, "key_id": hex(&id(1)) })
    );
    assert_eq!(value["last"]["missing"][0], hex(&id(1)));
    let peer = &value["peers"][0];
    assert_eq!(
        (&peer["blocks_behind"], &peer["round_trip_us"]),
        (&2.into(), &420.into())
    );
    assert_eq!(peer["lanes"][0]["send_frames"], 3);
    assert_eq!(peer["key_id"], hex(&id(2)));
    assert_eq!(value["catching_up"]["refusing"][0]["for_ms"], 400);
    let still = overview(&genesis, &view, None).consensus();
    assert_eq!(
        (&still["is_live"], &still["peers"]),
        (&false.into(), &serde_json::json!([]))
    );
}

#[test]
fn evidence_is_listed_from_blocks_and_from_what_waits() {
    let genesis = genesis();
    let mut view = view();
    let mut bytes = Vec::new();
    encode_evidence(&[two_prevotes(33)], &mut bytes);
    let set_of = |height: Height| (height >= Height(33)).then(set);
    view.lately.row(&row(36, 1, &[0], &bytes), &set_of).unwrap();
    view.proofs = vec![Proof {
        validator: None,
        position: 2,
        height: Height(35),
        round: 0,
        kind: BallotKind::Precommit,
    }];
    let value = overview(&genesis, &view, None).evidence();
    let committed = &value["committed"][0];
    assert_eq!(
        (&committed["block_height"], &committed["height"]),
        (&36.into(), &33.into())
    );
    assert_eq!(
        (&committed["kind"], &committed["round"]),
        (&"two_prevotes".into(), &2.into())
    );
    assert_eq!(committed["key_id"], hex(&id(4)));
    assert_eq!(value["waiting"][0]["kind"], "two_precommits");
    assert_eq!(
        (&value["waiting"][0]["key_id"], &value["waiting"][0]["position"]),
        (&Value::Null, &2.into())
    );
}

#[test]
fn a_certificate_says_who_is_missing_and_what_power_signed() {
    let precommit = |validator| Precommit {
        validator,
        extension: Vec::new(),
        signature: Vec::new(),
    };
    let certificate = Certificate {
        height: Height(9),
        round: 3,
        block: Hash::ZERO,
        precommits: vec![precommit(1), precommit(3)],
    };
    let decision = Decision::of(&certificate, &set());
    assert_eq!((decision.round, decision.power), (3, (600, 1_000)));
    assert_eq!(decision.missing, [id(1), id(3)]);
}

#[test]
fn of_many_proofs_the_newest_are_kept() {
    let mut lately = Lately::default();
    for height in 1..=200 {
        let mut bytes = Vec::new();
        encode_evidence(&[two_prevotes(height), two_prevotes(height + 1)], &mut bytes);
        lately.row(&row(height + 1, 1, &[], &bytes), &|_| None).unwrap();
    }
    assert_eq!(lately.proved.len(), crate::replica::PROVED_MAX);
    assert_eq!(lately.proved.back().map(|(height, _)| *height), Some(Height(201)));
    assert_eq!(lately.since, Height(2));
}
