//! `evidence` for people.

use super::table::{Side, table};
use super::{number, short, still};
use serde_json::Value;

pub(super) fn text(value: &Value) -> String {
    let all = |field: &str| value[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let (committed, waiting) = (all("committed"), all("waiting"));
    let since = match &value["looked_since"] {
        Value::Null => "there are no blocks yet".into(),
        since => format!(
            "in the blocks from {} to {}",
            number(since),
            number(&value["tip"])
        ),
    };
    let mut text = still(value).to_owned();
    if committed.is_empty() {
        text += &format!("no proofs of misbehaviour {since}\n");
    } else {
        text += &format!("proofs of misbehaviour {since}, the oldest first:\n\n");
        let heads = [("in block", Side::Right)].into_iter().chain(HEADS);
        let rows = committed.iter().map(|one| {
            let block = [number(&one["block_height"])].into_iter();
            block.chain(cells(one)).collect()
        });
        text += &table(&heads.collect::<Vec<_>>(), &rows.collect::<Vec<_>>());
    }
    if waiting.is_empty() {
        return text;
    }
    text += "\nfound by this node, and not in a block yet:\n\n";
    let rows = waiting.iter().map(|one| cells(one).to_vec()).collect::<Vec<_>>();
    text + &table(&HEADS, &rows)
}

const HEADS: [(&str, Side); 5] = [
    ("validator", Side::Left),
    ("#", Side::Right),
    ("signed", Side::Left),
    ("of height", Side::Right),
    ("round", Side::Right),
];

fn cells(one: &Value) -> [String; 5] {
    let kind = one["kind"].as_str().unwrap_or("-").replace('_', " ");
    [
        short(&one["key_id"]),
        number(&one["position"]),
        kind,
        number(&one["height"]),
        number(&one["round"]),
    ]
}
