//! `validators`: who they are, what each weighs, and what it did last.

use super::{Overview, hex};
use selfchain_types::quality::{CATALOGUE, Row};
use selfchain_types::seam::view::MemberView;
use serde_json::{Map, Value, json};

impl Overview<'_> {
    /// The object of `GET /validators`.
    pub fn validators(&self) -> Value {
        let standing = &self.view.standing;
        let members = &standing.members;
        let total: u64 = members.iter().filter_map(|member| member.power).sum();
        let epoch = standing.epoch.map(|epoch| {
            json!({
                "number": epoch.number,
                "blocks": epoch.blocks,
                "next_height": epoch.next.0,
                "blocks_left": epoch.next.0.saturating_sub(self.view.tip.next().0),
            })
        });
        let lately = &self.view.lately;
        self.with(json!({
            "epoch": epoch,
            "power": total,
            "network": standing.network.map(|id| id.to_hex()),
            "next_network": standing.next_network.map(|id| id.to_hex()),
            "looked_since": Some(lately.since.0).filter(|since| *since > 0),
            "validators": members.iter().map(|one| self.member(one, total)).collect::<Vec<_>>(),
        }))
    }

    fn member(&self, member: &MemberView, total: u64) -> Value {
        let did = self.view.lately.did(&member.key);
        let position = self
            .view
            .validators
            .iter()
            .position(|one| one.key.id() == member.key);
        let power = member.power.unwrap_or(0);
        let share_ppm = (u128::from(power) * 1_000_000).checked_div(u128::from(total));
        json!({
            "key_id": hex(&member.key),
            "is_me": self.me.map(|me| me == member.key),
            "number": member.number,
            "address": member.address.map(|address| address.to_string()),
            "position": position,
            "bond": member.bond,
            "power": power,
            "share_ppm": share_ppm.and_then(|share| u64::try_from(share).ok()),
            "factor_thousandths": member.factor,
            "quality_thousandths": member.quality,
            "features": member.features.map(features),
            "offences": member.offences,
            "offended_height": Some(member.offended.0).filter(|height| *height > 0),
            "in_set": member.power.is_some(),
            "in_next_set": member.next_power.is_some(),
            "next_power": member.next_power,
            "last_proposed": did.proposed.map(|height| height.0),
            "last_precommitted": did.precommitted.map(|height| height.0),
        })
    }
}

/// What a quality network would see of a validator now, by name.
fn features(row: Row) -> Map<String, Value> {
    (CATALOGUE.iter().zip(row))
        .map(|((name, _), value)| ((*name).to_owned(), value.into()))
        .collect()
}
