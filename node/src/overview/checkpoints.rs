//! `checkpoints`: which headers validators signed with their checkpoint keys, and which wait for signatures.

use super::Overview;
use selfchain_types::Height;
use serde_json::{Value, json};

impl Overview<'_> {
    /// The object of `GET /checkpoints`.
    pub fn checkpoints(&self) -> Value {
        let Some(view) = &self.view.checkpoints else {
            return self.with(json!({ "every_blocks": null, "newest": [], "waiting": [] }));
        };
        let newest = view.newest.iter().map(|one| {
            let (signers, power, total) = one.next;
            json!({
                "height": one.height.0,
                "block": one.block.to_hex(),
                "signatures": one.signatures,
                "next_signers": signers,
                "next_power": power,
                "next_power_total": total,
            })
        });
        let waiting = view.waiting.iter().map(|(height, power, total)| {
            let Height(height) = height;
            json!({ "height": height, "power": power, "power_total": total })
        });
        self.with(json!({
            "every_blocks": view.every_blocks,
            "newest": newest.collect::<Vec<_>>(),
            "waiting": waiting.collect::<Vec<_>>(),
        }))
    }
}
