//! `checkpoints` for people.

use super::table::{Side, table};
use super::{number, percent, short, still};
use serde_json::Value;

pub(super) fn text(value: &Value) -> String {
    let all = |field: &str| value[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = still(value).to_owned();
    if value["every_blocks"].is_null() {
        return text + "this chain has no checkpoints; with --pq-votes every block is signed by hybrid keys anyway\n";
    }
    text += &format!("a checkpoint every {} blocks", number(&value["every_blocks"]));
    let newest = all("newest");
    if newest.is_empty() {
        text += ", none so far\n";
    } else {
        text += "; the newest, each followed from genesis on:\n\n";
        let heads = [
            ("height", Side::Right),
            ("block", Side::Left),
            ("signatures", Side::Right),
            ("next signers", Side::Right),
            ("of the power", Side::Right),
        ];
        let rows = newest.iter().map(|one| {
            vec![
                number(&one["height"]),
                short(&one["block"]),
                number(&one["signatures"]),
                number(&one["next_signers"]),
                percent(&one["next_power"], &one["next_power_total"]),
            ]
        });
        text += &table(&heads, &rows.collect::<Vec<_>>());
    }
    for one in all("waiting") {
        let signed = percent(&one["power"], &one["power_total"]);
        text += &format!("\nheight {} waits: {signed} of the power signed\n", number(&one["height"]));
    }
    text
}
