//! Metrics of a validator of several: its links to the others, and agreement. Labels are lanes, reasons and validators'
//! numbers: there are as many series as links, times four.

use super::agreement::{Histogram, InvalidBlock};
use super::text::{Seconds, Text};
use crate::replica::ReplicaView;
use selfchain_transport::links::{Lane, LaneMetrics, LinkClose, LinkMetrics, PeerStatus};
use selfchain_types::peer::{AskRefusal, Asked};

/// The metrics of the links between validators, appended to [`super::encode`]'s.
pub fn encode_links(metrics: &LinkMetrics, peers: &[PeerStatus]) -> String {
    let mut text = Text::default();
    connections(&mut text, metrics);
    lanes(&mut text, metrics);
    each_peer(&mut text, peers);
    text.0
}

fn connections(text: &mut Text, metrics: &LinkMetrics) {
    for (name, kind, help, value) in [
        (
            "selfchain_links_connections",
            "gauge",
            "Validators with a connection.",
            &metrics.connections_up,
        ),
        (
            "selfchain_links_connections_total",
            "counter",
            "Connections that came to stand.",
            &metrics.connections,
        ),
        (
            "selfchain_links_reconnects_total",
            "counter",
            "Those of them with a validator that had one before.",
            &metrics.reconnects,
        ),
        (
            "selfchain_links_dials_total",
            "counter",
            "Attempts to reach a validator.",
            &metrics.dials,
        ),
        (
            "selfchain_links_dials_failed_total",
            "counter",
            "Those of them that came to nothing.",
            &metrics.dials_failed,
        ),
        (
            "selfchain_links_arrivals_refused_total",
            "counter",
            "Attempts of others that were refused before the handshake.",
            &metrics.arrivals_refused,
        ),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[], value.get());
    }
    let name = "selfchain_links_refused_total";
    let help = "Attempts, of either end, that came to nothing, by reason.";
    by_reason(text, name, help, |why| metrics.refused(why));
    let name = "selfchain_links_closed_total";
    by_reason(
        text,
        name,
        "Connections that ended after they had stood, by reason.",
        |why| metrics.closed(why),
    );
}

fn by_reason(text: &mut Text, name: &str, help: &str, count: impl Fn(LinkClose) -> u64) {
    text.family(name, "counter", help);
    for why in LinkClose::ALL {
        text.sample(name, &[("reason", why.name())], count(why));
    }
}

/// A number of a lane: its name, kind, help and value.
type LaneNumber = (&'static str, &'static str, &'static str, fn(&LaneMetrics) -> u64);

const LANE_NUMBERS: [LaneNumber; 8] = [
    (
        "selfchain_links_sent_frames_total",
        "counter",
        "Frames sent to validators, by lane.",
        |lane| lane.frames_sent.get(),
    ),
    (
        "selfchain_links_sent_bytes_total",
        "counter",
        "Bytes of those.",
        |lane| lane.bytes_sent.get(),
    ),
    (
        "selfchain_links_received_frames_total",
        "counter",
        "Frames received whole, by lane.",
        |lane| lane.frames_received.get(),
    ),
    (
        "selfchain_links_received_bytes_total",
        "counter",
        "Bytes received, by lane.",
        |lane| lane.bytes_received.get(),
    ),
    (
        "selfchain_links_send_queue_bytes",
        "gauge",
        "Bytes that wait to be sent, by lane.",
        |lane| lane.send_queue_bytes.get(),
    ),
    (
        "selfchain_links_receive_queue_bytes",
        "gauge",
        "Bytes that the node has not taken yet, by lane.",
        |lane| lane.receive_queue_bytes.get(),
    ),
    (
        "selfchain_links_rate_limited_total",
        "counter",
        "Frames of validators that were skipped because of their rate, by lane.",
        |lane| lane.frames_skipped.get(),
    ),
    (
        "selfchain_links_rate_limited_by_others_total",
        "counter",
        "Notices of validators that skipped frames of ours, by lane.",
        |lane| lane.refusals_heard.get(),
    ),
];

/// A reason, and how many frames of a lane were dropped for it.
type Drop = (&'static str, fn(&LaneMetrics) -> u64);

/// Why a frame for a validator was not sent.
const DROPS: [Drop; 4] = [
    ("overtaken", |lane| lane.frames_dropped.get()),
    ("queue_full", |lane| lane.frames_refused.get()),
    ("length", |lane| lane.frames_unfit.get()),
    ("no_such_peer", |lane| lane.frames_unaddressed.get()),
];

fn lanes(text: &mut Text, metrics: &LinkMetrics) {
    for (name, kind, help, of) in LANE_NUMBERS {
        text.family(name, kind, help);
        for lane in Lane::ALL {
            text.sample(name, &[("lane", lane.name())], of(metrics.lane(lane)));
        }
    }
    let name = "selfchain_links_dropped_total";
    let help = "Frames for validators that were dropped, by lane and reason.";
    text.family(name, "counter", help);
    for lane in Lane::ALL {
        for (reason, of) in DROPS {
            let labels = [("lane", lane.name()), ("reason", reason)];
            text.sample(name, &labels, of(metrics.lane(lane)));
        }
    }
}

fn each_peer(text: &mut Text, peers: &[PeerStatus]) {
    let numbers: Vec<String> = peers.iter().map(|peer| peer.number.to_string()).collect();
    let each = || numbers.iter().map(String::as_str).zip(peers);
    let name = "selfchain_links_peer_up";
    text.family(
        name,
        "gauge",
        "Whether there is a connection with a validator, by number.",
    );
    for (number, peer) in each() {
        text.sample(name, &[("peer", number)], u8::from(peer.round_trip.is_some()));
    }
    let name = "selfchain_links_peer_round_trip_seconds";
    text.family(name, "gauge", "Round trip to a validator that has a connection.");
    for (number, peer) in each() {
        if let Some(round_trip) = peer.round_trip {
            let ns = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
            text.sample(name, &[("peer", number)], Seconds(ns));
        }
    }
    let name = "selfchain_links_peer_send_queue_bytes";
    text.family(
        name,
        "gauge",
        "Bytes that wait to be sent to a validator, by lane.",
    );
    for (number, peer) in each() {
        for (lane, status) in Lane::ALL.iter().zip(&peer.lanes) {
            text.sample(
                name,
                &[("peer", number), ("lane", lane.name())],
                status.send_bytes,
            );
        }
    }
}

/// The metrics of agreement, appended to [`super::encode`]'s.
pub fn encode_agreement(view: &ReplicaView) -> String {
    let mut text = Text::default();
    let plane = view.plane.as_ref();
    let counts = &view.counts;
    let checkpoint = view.checkpoints.as_ref().and_then(|one| one.newest.last());
    let of_plane = plane.map(|plane| plane.counts).unwrap_or_default();
    for (name, help, value) in [
        (
            "selfchain_agreement_height",
            "The height that is being decided.",
            plane.map_or(0, |plane| plane.height.0),
        ),
        (
            "selfchain_agreement_round",
            "Its round.",
            plane.map_or(0, |plane| u64::from(plane.round)),
        ),
        (
            "selfchain_agreement_behind_blocks",
            "Heights that the highest validator is ahead.",
            view.catching_up.behind,
        ),
        (
            "selfchain_agreement_bodies",
            "Bodies of blocks that are not decided.",
            wide(view.bodies),
        ),
        (
            "selfchain_agreement_bodies_wanted",
            "Bodies that were asked for and did not come yet.",
            wide(view.bodies_wanted),
        ),
        (
            "selfchain_agreement_proofs_waiting",
            "Proofs of misbehaviour that wait for a block of this node's.",
            wide(view.proofs.len()),
        ),
        (
            "selfchain_agreement_checkpoint_height",
            "The newest height that validators signed with their checkpoint keys; 0 before the first.",
            checkpoint.map_or(0, |one| one.height.0),
        ),
        (
            "selfchain_agreement_checkpoints_waiting",
            "Headers that wait for signatures of checkpoint keys.",
            wide(view.checkpoints.as_ref().map_or(0, |one| one.waiting.len())),
        ),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
    for (name, help, value) in [
        (
            "selfchain_agreement_rounds_total",
            "Rounds begun.",
            of_plane.rounds,
        ),
        (
            "selfchain_agreement_votes_verified_total",
            "Signatures of votes and proposals that were verified.",
            of_plane.votes_verified,
        ),
        (
            "selfchain_agreement_proposals_made_total",
            "Blocks that this node proposed.",
            counts.proposed,
        ),
        (
            "selfchain_agreement_proposals_valid_total",
            "Proposed blocks that were found valid.",
            counts.valid,
        ),
        (
            "selfchain_agreement_blocks_fetched_total",
            "Decided blocks that were fetched from validators ahead.",
            counts.blocks_fetched,
        ),
        (
            "selfchain_agreement_blocks_served_total",
            "Decided blocks that were sent to validators behind.",
            counts.blocks_served,
        ),
        (
            "selfchain_agreement_snapshot_chunks_fetched_total",
            "Chunks of snapshots that were fetched because this node was too far behind.",
            counts.snapshot_chunks_fetched,
        ),
        (
            "selfchain_agreement_snapshot_refusals_total",
            "What validators sent of snapshots and did not hold.",
            counts.snapshot_refusals,
        ),
        (
            "selfchain_agreement_snapshot_parts_served_total",
            "Parts of snapshots that were sent to validators far behind.",
            counts.snapshot_parts_served,
        ),
        (
            "selfchain_agreement_bodies_served_total",
            "Bodies that were sent because a validator asked.",
            counts.bodies_served,
        ),
        (
            "selfchain_agreement_refused_by_others_total",
            "Requests for bodies and blocks that validators refused.",
            counts.refused_by_others,
        ),
        (
            "selfchain_agreement_evidence_total",
            "Proofs of misbehaviour that this node found.",
            counts.evidence,
        ),
        (
            "selfchain_agreement_acknowledged_total",
            "Transactions that this node acknowledged to the other validators.",
            counts.acknowledged,
        ),
        (
            "selfchain_agreement_acknowledgements_made_total",
            "Acknowledgements that this node signed.",
            counts.acknowledgements_made,
        ),
        (
            "selfchain_agreement_acknowledgements_forgotten_total",
            "Acknowledgements of other validators that were forgotten because newer ones took their room.",
            counts.acknowledgements_forgotten,
        ),
        (
            "selfchain_agreement_acknowledgements_forged_total",
            "Acknowledgements of other validators whose signature was not theirs.",
            counts.acknowledgements_forged,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], value);
    }
    labelled(&mut text, view);
    let name = "selfchain_agreement_decided_rounds";
    text.family(
        name,
        "histogram",
        "Heights decided, by the rounds that they took.",
    );
    text.buckets(name, &counts.rounds, ROUNDS_BUCKETS, |rounds| rounds.to_string());
    let name = "selfchain_agreement_decision_seconds";
    let help = "From the first proposal of a height seen here to its decision.";
    text.family(name, "histogram", help);
    text.buckets(name, &counts.decision_ms, usize::MAX, |ms| {
        Seconds(ms.saturating_mul(1_000_000)).to_string()
    });
    text.0
}

/// Buckets of rounds: up to 20.
const ROUNDS_BUCKETS: usize = 6;

fn labelled(text: &mut Text, view: &ReplicaView) {
    let counts = &view.counts;
    let of_plane = view.plane.as_ref().map(|plane| plane.counts).unwrap_or_default();
    let name = "selfchain_agreement_timeouts_total";
    text.family(
        name,
        "counter",
        "Waits that ended without what was waited for, by step.",
    );
    for (step, count) in [
        ("propose", of_plane.timeouts_propose),
        ("prevote", of_plane.timeouts_prevote),
        ("precommit", of_plane.timeouts_precommit),
    ] {
        text.sample(name, &[("step", step)], count);
    }
    let name = "selfchain_agreement_proposals_invalid_total";
    text.family(
        name,
        "counter",
        "Proposed blocks that can never be decided, by reason.",
    );
    for (reason, count) in InvalidBlock::ALL.iter().zip(counts.invalid) {
        text.sample(name, &[("reason", reason.name())], count);
    }
    let name = "selfchain_agreement_proposals_objected_total";
    text.family(
        name,
        "counter",
        "Proposed blocks that this node objected to, by reason.",
    );
    text.sample(name, &[("reason", "clock")], counts.objected_clock);
    text.sample(name, &[("reason", "starved")], counts.objected_starved);
    text.sample(name, &[("reason", "unscored")], counts.objected_unscored);
    let name = "selfchain_agreement_refused_total";
    let help = "Requests of validators that were refused, by what was asked for and reason.";
    text.family(name, "counter", help);
    for (asked, count) in Asked::ALL.iter().zip(counts.refused_to_serve) {
        let labels = [
            ("asked", asked.name()),
            ("reason", AskRefusal::RateLimited.name()),
        ];
        text.sample(name, &labels, count);
    }
}

fn wide(count: usize) -> u64 {
    selfchain_types::codec::wide(count)
}

impl Text {
    /// The first `buckets` of them: what is above those is in the last one, as in any histogram.
    fn buckets(&mut self, name: &str, of: &Histogram, buckets: usize, show: impl Fn(u64) -> String) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in of.up_to().take(buckets) {
            self.sample(&bucket, &[("le", &*show(bound))], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], of.count());
        self.sample(&format!("{name}_sum"), &[], show(of.sum()));
        self.sample(&format!("{name}_count"), &[], of.count());
    }
}
