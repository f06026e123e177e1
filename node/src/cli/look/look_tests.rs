//! What the three commands say to people.

use super::*;
use serde_json::json;

#[test]
fn validators_are_a_table_that_marks_this_node() {
    let one = |position: u64, is_me: bool| {
        json!({
            "key_id": format!("{position}a").repeat(32), "is_me": is_me, "number": position, "position": position, "bond": 1_000,
            "power": 1_000, "share_ppm": 250_000, "factor_thousandths": 804, "quality_thousandths": null,
            "offences": 0, "offended_height": null, "in_set": true, "in_next_set": position == 0,
            "next_power": 1_000, "last_proposed": 1_233, "last_precommitted": null,
        })
    };
    let value = json!({
        "plane": "poai", "is_live": true, "tip": 1_234, "power": 2_000, "looked_since": 211,
        "epoch": { "number": 1, "blocks": 1_024, "next_height": 2_049, "blocks_left": 814 },
        "validators": [one(0, true), one(1, false)],
    });
    let text = validators::text(&value);
    assert!(text.starts_with(
        "plane poai, after block 1,234\nepoch 1 of 1,024 blocks; the next begins with block 2,049"
    ));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[5],
        "0*  0a0a0a0a0a0a  1,000  25.0 %  1,000   0.804        -         0     1,233             -  yes"
    );
    assert!(lines[6].starts_with("1   1a1a") && lines[6].ends_with("yes, then no"));
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{text}");
    assert!(!text.contains("no node runs"));
}

#[test]
fn consensus_says_where_it_is_and_how_each_peer_is() {
    let value = json!({
        "is_live": true, "height": 41,
        "agreement": {
            "round": 1, "step": "precommit", "round_age_ms": 1_750, "proposer": "cc".repeat(32),
            "proposers_by_round": ["cc".repeat(32), "aa".repeat(32)], "power": 1_000, "quorum": 667,
            "locked": { "round": 1, "block": "07".repeat(32) },
            "prevotes": { "for": [{ "block": "07".repeat(32), "power": 400, "positions": [0, 2] },
                { "block": null, "power": 200, "positions": [1] }], "missing": [3] },
            "precommits": { "for": [], "missing": [0, 1, 2, 3] },
        },
        "next_proposers": [{ "height": 41, "key_id": "cc".repeat(32) }],
        "last": { "height": 40, "round": 0, "power_signed": 900, "power": 1_000, "missing": ["aa".repeat(32)] },
        "catching_up": { "blocks_behind": 3, "asked": 2, "refusing": [{ "number": 1, "for_ms": 400 }] },
        "bodies": 1, "bodies_wanted": 0, "proofs_waiting": 0,
        "peers": [{
            "number": 1, "key_id": "bb".repeat(32), "address": "127.0.0.1:9", "round_trip_us": 420,
            "heard_ms_ago": 12, "tip": 38, "blocks_behind": 2, "sent_bytes": 20_480, "received_bytes": 7,
            "lanes": [{ "lane": "votes", "send_frames": 3, "send_bytes": 300 },
                { "lane": "sync", "send_frames": 0, "send_bytes": 0 }],
        }, {
            "number": 2, "key_id": null, "address": "127.0.0.1:10", "round_trip_us": null,
            "last_close": "timed_out", "heard_ms_ago": null, "tip": null, "blocks_behind": null,
            "sent_bytes": 0, "received_bytes": 0, "lanes": [],
        }],
    });
    let text = consensus::text(&value);
    for line in [
        "height        41, round 1, step precommit, for 1,750 ms",
        "proposer      cccccccccccc; if it fails aaaaaaaaaaaa",
        "prevotes      40.0 % for 070707070707 (by 0 2), 20.0 % for nothing (by 1); more than two thirds needed; none from 3",
        "precommits    none; more than two thirds needed; none from 0 1 2 3",
        "locked        on 070707070707 since round 1",
        "last decided  block 40 in round 0 by 90.0 % of the power; without aaaaaaaaaaaa",
        "catching up   3 blocks behind; asked 2; 1 refuses for 400 ms",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\nis not in\n{text}");
    }
    let peers: Vec<&str> = text.lines().skip_while(|line| !line.is_empty()).skip(2).collect();
    assert!(
        peers[0].contains("up, 0.4 ms") && peers[0].ends_with("20 KiB       7 B  votes 3 (300 B)"),
        "{text}"
    );
    assert!(
        peers[1].contains("down: timed_out") && peers[1].ends_with("nothing"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn a_stopped_node_is_said_to_be_one() {
    let value = json!({ "is_live": false, "height": 1, "agreement": null, "last": null, "peers": [] });
    let text = consensus::text(&value);
    assert!(text.starts_with("no node runs on this data directory"));
    assert!(
        text.contains("no block yet") && !text.contains("catching up"),
        "{text}"
    );
}

#[test]
fn evidence_is_listed_or_said_to_be_none() {
    let none = json!({ "is_live": true, "tip": 9, "looked_since": 2, "committed": [], "waiting": [] });
    assert_eq!(
        evidence::text(&none),
        "no proofs of misbehaviour in the blocks from 2 to 9\n"
    );
    let proof = |block| {
        json!({ "key_id": "ab".repeat(32), "position": 3, "kind": "two_prevotes", "height": 33, "round": 2,
            "block_height": block })
    };
    let some = json!({ "is_live": true, "tip": 40, "looked_since": 1, "committed": [proof(36)], "waiting": [proof(0)] });
    let text = evidence::text(&some);
    assert!(
        text.contains("      36  abababababab  3  two prevotes         33      2\n"),
        "{text}"
    );
    assert!(text.contains("not in a block yet"));
}

#[test]
fn of_a_validator_alone_there_is_nothing_to_agree_on() {
    let value = json!({ "plane": "solo", "is_live": true, "tip": 7, "height": 8, "agreement": null, "last": null, "peers": [] });
    let want = "height        8, which one validator decides alone\nlast decided  block 7\n";
    assert_eq!(consensus::text(&value), want);
}
