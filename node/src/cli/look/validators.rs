//! `validators` for people.

use super::table::{Side, table};
use super::{network, number, percent, short, still};
use serde_json::Value;

pub(super) fn text(value: &Value) -> String {
    let mut text = format!(
        "{}plane {}, after block {}\n",
        still(value),
        value["plane"].as_str().unwrap_or("-"),
        number(&value["tip"]),
    );
    let epoch = &value["epoch"];
    if epoch.is_object() {
        text += &format!(
            "epoch {} of {} blocks; the next begins with block {}, {} blocks after the next one\n",
            number(&epoch["number"]),
            number(&epoch["blocks"]),
            number(&epoch["next_height"]),
            number(&epoch["blocks_left"]),
        );
    }
    text += &format!("power {} in all\n", number(&value["power"]));
    if let Some(network) = network(value) {
        text += &format!("qualities by the network {network}\n");
    }
    text.push('\n');
    let all = value["validators"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let heads = [
        ("#", Side::Left),
        ("key id", Side::Left),
        ("power", Side::Right),
        ("share", Side::Right),
        ("bond", Side::Right),
        ("factor", Side::Right),
        ("quality", Side::Right),
        ("offences", Side::Right),
        ("proposed", Side::Right),
        ("precommitted", Side::Right),
        ("in the set", Side::Left),
    ];
    text += &table(&heads, &all.iter().map(row).collect::<Vec<_>>());
    if all.iter().any(|one| one["is_me"] == true) {
        text += "* this node\n";
    }
    if value["looked_since"].is_u64() {
        text += &format!(
            "proposed, precommitted: the last time in the blocks from {} on\n",
            number(&value["looked_since"])
        );
    }
    text
}

fn row(one: &Value) -> Vec<String> {
    let yes_or_no = |field: &str| if one[field] == true { "yes" } else { "no" };
    let (now, next) = (yes_or_no("in_set"), yes_or_no("in_next_set"));
    let offences = match &one["offended_height"] {
        Value::Null => number(&one["offences"]),
        height => format!("{} (at {})", number(&one["offences"]), number(height)),
    };
    vec![
        number(&one["number"]) + if one["is_me"] == true { "*" } else { "" },
        short(&one["key_id"]),
        number(&one["power"]),
        percent(&one["share_ppm"], &MILLION.into()),
        number(&one["bond"]),
        thousandths(&one["factor_thousandths"]),
        thousandths(&one["quality_thousandths"]),
        offences,
        number(&one["last_proposed"]),
        number(&one["last_precommitted"]),
        if now == next {
            now.into()
        } else {
            format!("{now}, then {next}")
        },
    ]
}

/// All of the power, in millionths.
const MILLION: u64 = 1_000_000;

fn thousandths(value: &Value) -> String {
    value.as_u64().map_or_else(
        || "-".into(),
        |value| format!("{}.{:03}", value / 1_000, value % 1_000),
    )
}
