//! `consensus status`: the height in hand, the last decision, and the other validators.

use super::{Overview, hex};
use crate::replica::Decision;
use selfchain_transport::links::{Lane, PeerStatus};
use selfchain_types::Hash;
use selfchain_types::seam::view::{Heard, PlaneView};
use serde_json::{Value, json};
use std::time::Duration;

impl Overview<'_> {
    /// The object of `GET /consensus`.
    pub fn consensus(&self) -> Value {
        let view = self.view;
        let heights = (view.tip.next().0..).zip(&view.standing.proposers);
        let next = heights.map(|(height, key)| json!({ "height": height, "key_id": hex(key) }));
        let catching_up = &view.catching_up;
        let refusing = catching_up.refusing.iter().map(|(peer, until)| {
            let for_ms = until.0.saturating_sub(view.now.0) / 1_000_000;
            json!({ "number": peer, "for_ms": for_ms })
        });
        self.with(json!({
            "height": view.tip.next().0,
            "agreement": view.plane.as_ref().map(|plane| self.agreement(plane)),
            "next_proposers": next.collect::<Vec<_>>(),
            "network": view.standing.network.map(|id| id.to_hex()),
            "next_network": view.standing.next_network.map(|id| id.to_hex()),
            "last": view.last.as_ref().map(decision),
            "peers": self.links.unwrap_or_default().iter().map(|one| self.peer(one)).collect::<Vec<_>>(),
            "catching_up": {
                "blocks_behind": catching_up.behind,
                "asked": catching_up.asked,
                "refusing": refusing.collect::<Vec<_>>(),
                "snapshot": catching_up.snapshot.as_ref().map(|snapshot| json!({
                    "height": snapshot.height.0,
                    "chunks": snapshot.chunks,
                    "chunks_all": snapshot.chunks_all,
                    "bytes": snapshot.bytes,
                    "bytes_all": snapshot.bytes_all,
                    "from": snapshot.from,
                })),
                "quiet_through": catching_up.quiet_through.map(|height| height.0),
            },
            "bodies": view.bodies,
            "bodies_wanted": view.bodies_wanted,
            "proofs_waiting": view.proofs.len(),
        }))
    }

    fn agreement(&self, plane: &PlaneView) -> Value {
        let since = Some(plane.since.0).filter(|since| *since > 0);
        let age_ms = since.map(|since| self.view.now.0.saturating_sub(since) / 1_000_000);
        let proposers = plane.proposers.iter().map(|seat| self.seat(*seat));
        let total: u64 = self.view.validators.iter().map(|one| one.power).sum();
        json!({
            "round": plane.round,
            "step": plane.step.name(),
            "round_age_ms": age_ms,
            "proposer": plane.proposers.first().and_then(|seat| self.seat(*seat)),
            "proposers_by_round": proposers.collect::<Vec<_>>(),
            "locked": plane.locked.map(|(round, block)| json!({ "round": round, "block": block.to_hex() })),
            "power": total,
            // More than two thirds.
            "quorum": total - total.div_ceil(3) + 1,
            "prevotes": self.votes(plane, |heard| heard.prevote),
            "precommits": self.votes(plane, |heard| heard.precommit),
        })
    }

    /// Who said what of the round, and with what power.
    fn votes(&self, plane: &PlaneView, of: impl Fn(&Heard) -> Option<Option<Hash>>) -> Value {
        let mut said: Vec<(Option<Hash>, u64, Vec<u16>)> = Vec::new();
        let mut silent: Vec<u16> = Vec::new();
        for ((seat, heard), validator) in (0..).zip(&plane.heard).zip(self.view.validators.iter()) {
            let Some(block) = of(heard) else {
                silent.push(seat);
                continue;
            };
            match said.iter_mut().find(|(one, ..)| *one == block) {
                Some((_, power, seats)) => {
                    *power += validator.power;
                    seats.push(seat);
                }
                None => said.push((block, validator.power, vec![seat])),
            }
        }
        let said = said.iter().map(|(block, power, seats)| {
            json!({ "block": block.map(|block| block.to_hex()), "power": power, "positions": seats })
        });
        json!({ "for": said.collect::<Vec<_>>(), "missing": silent })
    }

    fn peer(&self, peer: &PeerStatus) -> Value {
        let tip = self.view.tips.iter().find(|(number, _)| *number == peer.number);
        let tip = tip.map(|(_, tip)| tip.0);
        let lanes = Lane::ALL.iter().zip(&peer.lanes).map(|(lane, status)| {
            json!({
                "lane": lane.name(),
                "send_frames": status.send_frames,
                "send_bytes": status.send_bytes,
                "receive_bytes": status.receive_bytes,
            })
        });
        json!({
            "number": peer.number,
            "key_id": self.key_of(peer.number),
            "address": peer.address.map(|address| address.to_string()),
            "is_up": peer.round_trip.is_some(),
            "round_trip_us": peer.round_trip.map(micros),
            "heard_ms_ago": peer.heard_ago.map(millis),
            "dial_in_ms": peer.dial_in.map(millis),
            "last_close": peer.last.map(|why| why.name()),
            "tip": tip,
            "blocks_behind": tip.map(|tip| self.view.tip.0.saturating_sub(tip)),
            "sent_bytes": peer.sent_bytes,
            "received_bytes": peer.received_bytes,
            "lanes": lanes.collect::<Vec<_>>(),
        })
    }
}

fn decision(last: &Decision) -> Value {
    json!({
        "height": last.height.0,
        "block": last.block.to_hex(),
        "round": last.round,
        "power_signed": last.power.0,
        "power": last.power.1,
        "missing": last.missing.iter().map(hex).collect::<Vec<_>>(),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
