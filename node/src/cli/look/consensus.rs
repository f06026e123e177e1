//! `consensus status` for people.

use super::table::{Side, table};
use super::{network, number, percent, short, still};
use serde_json::Value;

pub(super) fn text(value: &Value) -> String {
    let mut text = still(value).to_owned();
    let agreement = &value["agreement"];
    let mut line = |name: &str, said: String| text += &format!("{name:<13} {said}\n");
    if agreement.is_object() {
        line("height", where_it_is(value, agreement));
        line("proposer", proposers(agreement));
    } else {
        let why = if value["plane"] == "solo" {
            "which one validator decides alone"
        } else {
            "of which nothing is known here"
        };
        line("height", format!("{}, {why}", number(&value["height"])));
    }
    if let Some(next) = list(&value["next_proposers"]) {
        let next = next
            .iter()
            .map(|one| format!("{} {}", number(&one["height"]), short(&one["key_id"])));
        line("to propose", next.collect::<Vec<_>>().join(", "));
    }
    if let Some(network) = network(value) {
        line("qualities", format!("by the network {network}"));
    }
    if agreement.is_object() {
        line("prevotes", votes(&agreement["prevotes"], agreement));
        line("precommits", votes(&agreement["precommits"], agreement));
        let locked = &agreement["locked"];
        line(
            "locked",
            match locked {
                Value::Null => "on nothing".into(),
                _ => format!(
                    "on {} since round {}",
                    short(&locked["block"]),
                    number(&locked["round"])
                ),
            },
        );
    }
    line("last decided", last(&value["last"], &value["tip"]));
    if value["is_live"] == true && value["plane"] != "solo" {
        line("catching up", catching_up(&value["catching_up"]));
        line(
            "waiting",
            format!(
                "{} bodies here, {} asked for, {} proofs of misbehaviour",
                number(&value["bodies"]),
                number(&value["bodies_wanted"]),
                number(&value["proofs_waiting"]),
            ),
        );
    }
    match list(&value["peers"]) {
        Some(all) => text + "\n" + &peers(all),
        None => text,
    }
}

fn list(value: &Value) -> Option<&[Value]> {
    value.as_array().map(Vec::as_slice).filter(|all| !all.is_empty())
}

fn where_it_is(value: &Value, agreement: &Value) -> String {
    let age = agreement["round_age_ms"].as_u64();
    let age = age.map_or_else(String::new, |age| {
        format!(", for {} ms", crate::demo::grouped(age))
    });
    let (height, round) = (number(&value["height"]), number(&agreement["round"]));
    match agreement["step"].as_str().unwrap_or("-") {
        "idle" => format!("{height}, idle: nothing waits for a block"),
        step => format!("{height}, round {round}, step {step}{age}"),
    }
}

fn proposers(agreement: &Value) -> String {
    let later = list(&agreement["proposers_by_round"]).unwrap_or_default();
    let later: Vec<String> = later.iter().skip(1).map(short).collect();
    let proposer = short(&agreement["proposer"]);
    if later.is_empty() {
        return proposer;
    }
    format!("{proposer}; if it fails {}", later.join(", then "))
}

fn votes(votes: &Value, agreement: &Value) -> String {
    let said = list(&votes["for"]).unwrap_or_default().iter().map(|one| {
        let what = match &one["block"] {
            Value::Null => "nothing".into(),
            block => short(block),
        };
        format!(
            "{} for {what} (by {})",
            percent(&one["power"], &agreement["power"]),
            positions(&one["positions"])
        )
    });
    let said: Vec<String> = said.collect();
    let said = if said.is_empty() {
        "none".into()
    } else {
        said.join(", ")
    };
    format!(
        "{said}; more than two thirds needed; none from {}",
        positions(&votes["missing"]),
    )
}

fn positions(all: &Value) -> String {
    let all = list(all).unwrap_or_default().iter().map(Value::to_string);
    let all: Vec<String> = all.collect();
    if all.is_empty() { "-".into() } else { all.join(" ") }
}

fn last(last: &Value, tip: &Value) -> String {
    if last.is_null() {
        return match tip.as_u64() {
            None | Some(0) => "no block yet".into(),
            Some(_) => format!("block {}", number(tip)),
        };
    }
    let missing: Vec<String> = list(&last["missing"])
        .unwrap_or_default()
        .iter()
        .map(short)
        .collect();
    let missing = if missing.is_empty() {
        "nobody".into()
    } else {
        missing.join(", ")
    };
    format!(
        "block {} in round {} by {} of the power; without {missing}",
        number(&last["height"]),
        number(&last["round"]),
        percent(&last["power_signed"], &last["power"]),
    )
}

fn catching_up(value: &Value) -> String {
    let behind = match value["blocks_behind"].as_u64() {
        None | Some(0) => "no, no validator is ahead".to_owned(),
        Some(behind) => format!("{} blocks behind", crate::demo::grouped(behind)),
    };
    let asked = value["asked"]
        .as_u64()
        .map_or_else(String::new, |peer| format!("; asked {peer}"));
    let refusing = list(&value["refusing"]).unwrap_or_default().iter();
    let refusing: String = refusing
        .map(|one| format!("; {} refuses for {} ms", one["number"], number(&one["for_ms"])))
        .collect();
    let snapshot = &value["snapshot"];
    let snapshot = if snapshot.is_object() {
        format!(
            "; fetching the snapshot of height {}: {} of {} chunks, {} of {} bytes, from {}",
            number(&snapshot["height"]),
            number(&snapshot["chunks"]),
            number(&snapshot["chunks_all"]),
            number(&snapshot["bytes"]),
            number(&snapshot["bytes_all"]),
            positions(&snapshot["from"]),
        )
    } else {
        String::new()
    };
    let quiet = value["quiet_through"]
        .as_u64()
        .map_or_else(String::new, |height| {
            let height = crate::demo::grouped(height);
            format!("; says nothing up to height {height}, where it may have signed before")
        });
    format!("{behind}{asked}{refusing}{snapshot}{quiet}")
}

fn peers(all: &[Value]) -> String {
    let heads = [
        ("peer", Side::Right),
        ("key id", Side::Left),
        ("address", Side::Left),
        ("link", Side::Left),
        ("heard", Side::Right),
        ("tip", Side::Right),
        ("behind", Side::Right),
        ("sent", Side::Right),
        ("received", Side::Right),
        ("queued to it", Side::Left),
    ];
    table(&heads, &all.iter().map(peer).collect::<Vec<_>>())
}

fn peer(one: &Value) -> Vec<String> {
    let link = match (one["round_trip_us"].as_u64(), one["last_close"].as_str()) {
        (Some(us), _) => format!("up, {}.{} ms", us / 1_000, us % 1_000 / 100),
        (None, Some(why)) => format!("down: {why}"),
        (None, None) => "down".into(),
    };
    let heard = one["heard_ms_ago"].as_u64();
    vec![
        number(&one["number"]),
        short(&one["key_id"]),
        one["address"].as_str().unwrap_or("-").into(),
        link,
        heard.map_or_else(|| "-".into(), |ms| format!("{} ms ago", crate::demo::grouped(ms))),
        number(&one["tip"]),
        number(&one["blocks_behind"]),
        bytes(&one["sent_bytes"]),
        bytes(&one["received_bytes"]),
        queued(&one["lanes"]),
    ]
}

/// What waits, of the lanes where something does.
fn queued(lanes: &Value) -> String {
    let lanes = list(lanes).unwrap_or_default().iter();
    let full: Vec<String> = lanes
        .filter(|lane| lane["send_frames"] != 0)
        .map(|lane| {
            let name = lane["lane"].as_str().unwrap_or("-");
            format!(
                "{name} {} ({})",
                number(&lane["send_frames"]),
                bytes(&lane["send_bytes"])
            )
        })
        .collect();
    if full.is_empty() {
        "nothing".into()
    } else {
        full.join(", ")
    }
}

fn bytes(value: &Value) -> String {
    match value.as_u64().unwrap_or(0) {
        bytes if bytes < 10 << 10 => format!("{bytes} B"),
        bytes if bytes < 10 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", crate::demo::grouped(bytes >> 20)),
    }
}
