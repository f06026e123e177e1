//! Metrics in the text format that Prometheus reads (version 0.0.4), every name with its unit.

use super::{Distribution, Metrics, Queue, Stage, usage};
use core::fmt::{Display, Write};
use selfchain_ai::drift::Histogram;
use selfchain_storage::StorageMetrics;
use selfchain_transport::Metrics as TransportMetrics;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::transport::{CloseReason, Limit};
use selfchain_types::{Outcome, Refusal};

/// All of the node's metrics.
pub fn encode(metrics: &Metrics) -> String {
    let mut text = Text::default();
    text.family("selfchain_build_info", "gauge", "The program that runs.");
    text.sample(
        "selfchain_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    road(&mut text, metrics);
    results(&mut text, metrics);
    standing(&mut text, metrics);
    scores(&mut text, metrics);
    let used = usage();
    text.family(
        "selfchain_process_cpu_seconds_total",
        "counter",
        "Processor time of all threads.",
    );
    text.sample("selfchain_process_cpu_seconds_total", &[], Seconds(used.cpu_ns));
    text.family("selfchain_process_resident_bytes", "gauge", "Resident memory.");
    text.sample("selfchain_process_resident_bytes", &[], used.resident_bytes);
    text.0
}

/// How scores are spread and drift, of the model that decides and of the one in its shadow.
fn scores(text: &mut Text, metrics: &Metrics) {
    let (deciding, shadow) = (metrics.scores.deciding(), metrics.scores.shadow());
    let models = [("deciding", &deciding), ("shadow", &shadow.drift)];
    let name = "selfchain_score";
    text.family(name, "histogram", "Scores of transfers, 0 to 254, by model.");
    models
        .iter()
        .for_each(|(model, drift)| text.histogram(name, model, drift.all()));
    let name = "selfchain_score_stability_index";
    text.family(
        name,
        "gauge",
        "Stability index of a model's newest 16,384 scores against its first; NaN before there are so many.",
    );
    for (model, drift) in models {
        text.sample(name, &[("model", model)], drift.index().unwrap_or(f64::NAN));
    }
    let name = "selfchain_shadow_stability_index";
    let help = "Stability index of the shadow's scores against the deciding model's; NaN without any.";
    text.family(name, "gauge", help);
    text.sample(name, &[], shadow.beside.index().unwrap_or(f64::NAN));
    let name = "selfchain_shadow_verdicts_total";
    let help = "Transfers that both models would have held or refused, and those that only one would have.";
    text.family(name, "counter", help);
    for (verdict, count) in [
        ("both", shadow.beside.both),
        ("only_deciding", shadow.beside.only_deciding),
        ("only_shadow", shadow.beside.only_shadow),
    ] {
        text.sample(name, &[("verdict", verdict)], count);
    }
    let name = "selfchain_shadow_apart_total";
    text.family(
        name,
        "counter",
        "By how many steps the two models' scores differ, all together.",
    );
    text.sample(name, &[], shadow.beside.apart);
    let name = "selfchain_shadow_skipped_total";
    text.family(name, "counter", "Transfers that the shadow had no time for.");
    text.sample(name, &[], metrics.scores.shadow_skipped.get());
    let name = "selfchain_score_failed_total";
    let help = "Scores that are neutral because something inside a model failed.";
    text.family(name, "counter", help);
    text.sample(name, &[], metrics.score_failed.get());
    let name = "selfchain_score_cpu_seconds_total";
    text.family(
        name,
        "counter",
        "Processor time that scoring has taken, of all threads.",
    );
    text.sample(name, &[], Seconds(metrics.score_cpu_ns.get()));
    let name = "selfchain_score_budget_seconds";
    text.family(name, "gauge", "How long scoring an own block may take.");
    text.sample(name, &[], Seconds(metrics.score_budget_ns.get()));
}

fn road(text: &mut Text, metrics: &Metrics) {
    text.family(
        "selfchain_stage_busy_seconds_total",
        "counter",
        "Work of a stage, summed over its threads.",
    );
    for stage in Stage::ALL {
        let busy = Seconds(metrics.stage(stage).busy_ns());
        text.sample(
            "selfchain_stage_busy_seconds_total",
            &[("stage", stage.name())],
            busy,
        );
    }
    text.family(
        "selfchain_stage_items_total",
        "counter",
        "Items that a stage has done.",
    );
    for stage in Stage::ALL {
        text.sample(
            "selfchain_stage_items_total",
            &[("stage", stage.name())],
            metrics.stage(stage).items(),
        );
    }
    text.family("selfchain_queue_items", "gauge", "Items in a queue.");
    for queue in Queue::ALL {
        text.sample(
            "selfchain_queue_items",
            &[("queue", queue.name())],
            metrics.queue(queue).len(),
        );
    }
    text.family(
        "selfchain_queue_limit_items",
        "gauge",
        "Most items that a queue may hold.",
    );
    for queue in Queue::ALL {
        text.sample(
            "selfchain_queue_limit_items",
            &[("queue", queue.name())],
            metrics.queue(queue).limit(),
        );
    }
    text.family(
        "selfchain_queue_full_total",
        "counter",
        "How often a queue was found full.",
    );
    for queue in Queue::ALL {
        text.sample(
            "selfchain_queue_full_total",
            &[("queue", queue.name())],
            metrics.queue(queue).full(),
        );
    }
    text.family(
        "selfchain_queue_depth_items",
        "summary",
        "Items in a queue, at every look since the start.",
    );
    for queue in Queue::ALL {
        let labels = [("queue", queue.name())];
        text.summary(
            "selfchain_queue_depth_items",
            &labels,
            metrics.queue(queue).lens(),
            |len| len.to_string(),
        );
    }
}

fn results(text: &mut Text, metrics: &Metrics) {
    text.family(
        "selfchain_intake_refused_total",
        "counter",
        "Requests refused before order, by reason.",
    );
    for refusal in Refusal::ALL {
        let labels = [("reason", refusal.name())];
        text.sample(
            "selfchain_intake_refused_total",
            &labels,
            metrics.refused_count(*refusal),
        );
    }
    text.family(
        "selfchain_commit_outcomes_total",
        "counter",
        "Committed operations, by outcome.",
    );
    for outcome in Outcome::ALL {
        let labels = [("outcome", outcome.name())];
        text.sample(
            "selfchain_commit_outcomes_total",
            &labels,
            metrics.outcome_count(*outcome),
        );
    }
    for (name, help, counter) in [
        (
            "selfchain_commit_transactions_total",
            "Transactions in durable blocks.",
            &metrics.transactions_committed,
        ),
        (
            "selfchain_commit_operations_total",
            "Operations in durable blocks.",
            &metrics.operations_committed,
        ),
        (
            "selfchain_commit_blocks_total",
            "Durable blocks.",
            &metrics.blocks_committed,
        ),
        (
            "selfchain_snapshots_written_total",
            "Snapshots written while blocks went on.",
            &metrics.snapshots_written,
        ),
        (
            "selfchain_snapshots_skipped_total",
            "Snapshots that were due while the one before was still being read.",
            &metrics.snapshots_skipped,
        ),
        (
            "selfchain_score_blocks_total",
            "Blocks that were scored, others' included; the stage's items divided by them are the size of a batch.",
            &metrics.score_blocks,
        ),
        (
            "selfchain_score_late_total",
            "Own blocks whose scoring took longer than its budget.",
            &metrics.score_late,
        ),
        (
            "selfchain_score_scored_total",
            "Operations that got a score.",
            &metrics.scored,
        ),
        (
            "selfchain_score_not_scored_total",
            "Operations of blocks with a model that got no score: other kinds, and what came too late.",
            &metrics.not_scored,
        ),
        (
            "selfchain_score_model_missing_total",
            "Blocks for which the model in force was not here, or may not decide.",
            &metrics.model_missing,
        ),
        (
            "selfchain_score_disputed_total",
            "Blocks of other validators with other scores than the model's.",
            &metrics.scores_disputed,
        ),
        (
            "selfchain_score_left_out_total",
            "Blocks of other validators without scores where the model in force has some.",
            &metrics.scores_left_out,
        ),
        (
            "selfchain_vault_answered_total",
            "Questions to the vault that were answered.",
            &metrics.vault_answered,
        ),
        (
            "selfchain_vault_denied_total",
            "Questions to the vault by those who may not.",
            &metrics.vault_denied,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], counter.get());
    }
    for (name, help, distribution) in [
        (
            "selfchain_commit_latency_seconds",
            "From arrival to durable, since the start.",
            &metrics.commit_latency,
        ),
        (
            "selfchain_log_sync_seconds",
            "A sync of the log, since the start.",
            &metrics.sync_latency,
        ),
        (
            "selfchain_query_latency_seconds",
            "From query to answer, since the start.",
            &metrics.query_latency,
        ),
    ] {
        text.family(name, "summary", help);
        text.summary(name, &[], distribution, |ns| Seconds(ns).to_string());
    }
}

fn standing(text: &mut Text, metrics: &Metrics) {
    for (name, help, gauge) in [
        (
            "selfchain_chain_tip_height",
            "Height of the newest durable block.",
            &metrics.tip_height,
        ),
        (
            "selfchain_index_height",
            "Newest height that the index holds.",
            &metrics.indexed_height,
        ),
        (
            "selfchain_index_lag_blocks",
            "Heights that the index is behind the log.",
            &metrics.index_lag_blocks,
        ),
        (
            "selfchain_disk_free_bytes",
            "Bytes free where the log is.",
            &metrics.disk_free_bytes,
        ),
        (
            "selfchain_log_size_bytes",
            "Bytes of the log.",
            &metrics.log_bytes,
        ),
        (
            "selfchain_pool_transactions",
            "Transactions waiting for a block.",
            &metrics.pool_transactions,
        ),
        (
            "selfchain_pool_size_bytes",
            "Bytes of the transactions that wait.",
            &metrics.pool_bytes,
        ),
        (
            "selfchain_ledger_accounts",
            "Accounts there are.",
            &metrics.accounts,
        ),
        (
            "selfchain_snapshot_frozen_bytes",
            "Records as they were at the height of the snapshot under way, of those that have changed since.",
            &metrics.snapshot_frozen_bytes,
        ),
        (
            "selfchain_score_contexts_bytes",
            "Contexts of accounts, from which scores are made.",
            &metrics.contexts_bytes,
        ),
        (
            "selfchain_vault_content_bytes",
            "Content of the vault's versions.",
            &metrics.vault_bytes,
        ),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[], gauge.get());
    }
    let name = "selfchain_chain_tip_time_seconds";
    text.family(
        name,
        "gauge",
        "Ledger time of the newest durable block, since the Unix epoch.",
    );
    text.sample(name, &[], Seconds(metrics.tip_time_ns.get()));
}

/// The metrics of the QUIC port, appended to [`encode`]'s.
pub fn encode_transport(metrics: &TransportMetrics) -> String {
    let mut text = Text::default();
    for (name, kind, help, value) in [
        (
            "selfchain_transport_connections",
            "gauge",
            "Connections open.",
            &metrics.connections_open,
        ),
        (
            "selfchain_transport_handshakes",
            "gauge",
            "Handshakes in progress.",
            &metrics.handshakes_open,
        ),
        (
            "selfchain_transport_subscriptions",
            "gauge",
            "Subscriptions open.",
            &metrics.subscriptions_open,
        ),
        (
            "selfchain_transport_reply_queue_bytes",
            "gauge",
            "Replies queued.",
            &metrics.reply_queue_bytes,
        ),
        (
            "selfchain_transport_assembly_bytes",
            "gauge",
            "Unfinished large frames.",
            &metrics.assembly_bytes,
        ),
        (
            "selfchain_transport_connections_accepted_total",
            "counter",
            "Connections accepted.",
            &metrics.connections_accepted,
        ),
        (
            "selfchain_transport_connections_refused_total",
            "counter",
            "Connections refused.",
            &metrics.connections_refused,
        ),
        (
            "selfchain_transport_connections_retried_total",
            "counter",
            "Connections told to prove their address.",
            &metrics.connections_retried,
        ),
        (
            "selfchain_transport_handshakes_failed_total",
            "counter",
            "Handshakes that failed.",
            &metrics.handshakes_failed,
        ),
        (
            "selfchain_transport_received_frames_total",
            "counter",
            "Request frames read.",
            &metrics.frames_in,
        ),
        (
            "selfchain_transport_received_bytes_total",
            "counter",
            "Bytes of request frames.",
            &metrics.bytes_in,
        ),
        (
            "selfchain_transport_sent_frames_total",
            "counter",
            "Frames sent.",
            &metrics.frames_out,
        ),
        (
            "selfchain_transport_sent_bytes_total",
            "counter",
            "Bytes of frames sent.",
            &metrics.bytes_out,
        ),
        (
            "selfchain_transport_sent_writes_total",
            "counter",
            "Writes that carried those frames.",
            &metrics.writes_out,
        ),
        (
            "selfchain_transport_reads_paused_total",
            "counter",
            "Pauses for too many requests in flight.",
            &metrics.reads_paused,
        ),
        (
            "selfchain_transport_frames_truncated_total",
            "counter",
            "Streams that ended inside a frame.",
            &metrics.frames_truncated,
        ),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[], value.get());
    }
    text.family(
        "selfchain_transport_refused_total",
        "counter",
        "Frames refused, by limit.",
    );
    for limit in Limit::ALL {
        text.sample(
            "selfchain_transport_refused_total",
            &[("limit", limit.name())],
            metrics.refusals(limit),
        );
    }
    text.family(
        "selfchain_transport_closed_total",
        "counter",
        "Connections closed, by reason.",
    );
    for reason in CloseReason::ALL {
        text.sample(
            "selfchain_transport_closed_total",
            &[("reason", reason.name())],
            metrics.closed(reason),
        );
    }
    text.0
}

/// The metrics of the storage plane, appended to [`encode`]'s.
pub fn encode_storage(metrics: &StorageMetrics) -> String {
    let mut text = Text::default();
    for (name, help, gauge) in [
        (
            "selfchain_storage_log_written_bytes",
            "Bytes of rows made durable since the start.",
            &metrics.log_bytes,
        ),
        (
            "selfchain_storage_log_pending_bytes",
            "Bytes that wait for a sync.",
            &metrics.log_pending_bytes,
        ),
        (
            "selfchain_storage_log_segments",
            "Segments held.",
            &metrics.log_segments,
        ),
        (
            "selfchain_storage_log_tail_bytes",
            "Newest rows kept in memory.",
            &metrics.log_tail_bytes,
        ),
        (
            "selfchain_storage_index_lag_blocks",
            "Heights that the index is behind.",
            &metrics.index_lag_heights,
        ),
        (
            "selfchain_storage_index_buffer_bytes",
            "Index entries in no run.",
            &metrics.index_buffer_bytes,
        ),
        (
            "selfchain_storage_index_runs",
            "Runs of the index.",
            &metrics.index_runs,
        ),
        (
            "selfchain_storage_index_size_bytes",
            "Bytes of those runs.",
            &metrics.index_bytes,
        ),
        (
            "selfchain_storage_disk_free_bytes",
            "Free space at the newest look.",
            &metrics.disk_free_bytes,
        ),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[], gauge.get());
    }
    for (name, help, gauge) in [
        (
            "selfchain_storage_log_rows_total",
            "Rows made durable.",
            &metrics.log_rows,
        ),
        (
            "selfchain_storage_log_syncs_total",
            "Commits of the log.",
            &metrics.log_syncs,
        ),
        (
            "selfchain_storage_log_seals_total",
            "Segments sealed.",
            &metrics.log_seals,
        ),
        (
            "selfchain_storage_log_tail_hits_total",
            "Reads answered from memory.",
            &metrics.log_tail_hits,
        ),
        (
            "selfchain_storage_log_tail_misses_total",
            "Reads that went to a segment.",
            &metrics.log_tail_misses,
        ),
        (
            "selfchain_storage_index_runs_dropped_total",
            "Runs dropped as damaged.",
            &metrics.index_runs_dropped,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], gauge.get());
    }
    for (name, kind, help, gauge) in [
        (
            "selfchain_storage_log_sync_seconds_total",
            "counter",
            "All commits of the log together.",
            &metrics.log_sync_total_ns,
        ),
        (
            "selfchain_storage_log_sync_max_seconds",
            "gauge",
            "The longest commit of the log.",
            &metrics.log_sync_max_ns,
        ),
        (
            "selfchain_storage_log_sync_last_seconds",
            "gauge",
            "The newest commit of the log.",
            &metrics.log_sync_last_ns,
        ),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[], Seconds(gauge.get()));
    }
    text.0
}

/// Quantiles that a summary names; 1 is the maximum.
const QUANTILES: [(&str, f64); 5] = [
    ("0.5", 0.5),
    ("0.9", 0.9),
    ("0.99", 0.99),
    ("0.999", 0.999),
    ("1", 1.0),
];

#[derive(Default)]
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        if labels.is_empty() {
            return self.line(format_args!("{name} {value}"));
        }
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    fn summary(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        of: &Distribution,
        show: impl Fn(u64) -> String,
    ) {
        let snapshot = of.snapshot();
        for (label, quantile) in QUANTILES {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("quantile", label)]).collect();
            self.sample(name, &labels, show(snapshot.quantile(quantile)));
        }
        self.sample(&format!("{name}_sum"), labels, show(snapshot.sum()));
        self.sample(&format!("{name}_count"), labels, snapshot.count());
    }

    /// Sixteen buckets of sixteen scores.
    fn histogram(&mut self, name: &str, model: &str, of: &Histogram) {
        let bucket = format!("{name}_bucket");
        for upper in (15..NOT_SCORED).step_by(16) {
            let labels = [("model", model), ("le", &*upper.to_string())];
            self.sample(&bucket, &labels, of.up_to(upper));
        }
        self.sample(&bucket, &[("model", model), ("le", "+Inf")], of.total());
        self.sample(&format!("{name}_sum"), &[("model", model)], of.sum());
        self.sample(&format!("{name}_count"), &[("model", model)], of.total());
    }

    fn line(&mut self, line: core::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a string cannot fail");
    }
}

/// Nanoseconds, shown in seconds without rounding.
pub(super) struct Seconds(pub(super) u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::replica::ReplicaView;
    use crate::telemetry::{encode_agreement, encode_links};
    use selfchain_transport::links::{LaneStatus, LinkMetrics, PeerStatus};
    use selfchain_types::Height;
    use selfchain_types::TimeNs;
    use selfchain_types::seam::view::{PlaneCounts, PlaneView, Step};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    /// Reads the text as Prometheus does: every sample belongs to the family above it.
    fn parse(text: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        let mut family = (String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(
                    ["counter", "gauge", "summary", "histogram"].contains(&kind),
                    "{line}"
                );
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                family = (name.to_owned(), kind.to_owned());
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let base = match family.1.as_str() {
                    "summary" | "histogram" => name
                        .trim_end_matches("_sum")
                        .trim_end_matches("_count")
                        .trim_end_matches("_bucket"),
                    _ => name,
                };
                assert_eq!(base, family.0, "{line}");
                assert!(
                    samples
                        .insert(series.to_owned(), value.parse().unwrap())
                        .is_none(),
                    "{line} is there twice"
                );
            }
        }
        samples
    }

    #[test]
    fn the_text_reads_back_with_every_queue_stage_and_reason() {
        let metrics = Metrics::default();
        metrics.stage(Stage::Verify).add_busy(1_500_000_000);
        metrics.queue(Queue::Intake).set(7);
        metrics.refused(Refusal::PoolFull, 3);
        metrics.outcome(Outcome::InsufficientFunds, 2);
        metrics.committed(4, 5);
        metrics.commit_latency.record_n(2_000_000, 4);
        let samples = parse(&encode(&metrics));
        assert_eq!(
            samples["selfchain_stage_busy_seconds_total{stage=\"verify\"}"],
            1.5
        );
        assert_eq!(samples["selfchain_queue_items{queue=\"intake\"}"], 7.0);
        assert_eq!(
            samples["selfchain_queue_depth_items{queue=\"intake\",quantile=\"0.99\"}"],
            7.0
        );
        assert_eq!(
            samples["selfchain_intake_refused_total{reason=\"pool_full\"}"],
            3.0
        );
        assert_eq!(
            samples["selfchain_commit_outcomes_total{outcome=\"insufficient_funds\"}"],
            2.0
        );
        assert_eq!(samples["selfchain_commit_operations_total"], 5.0);
        assert_eq!(samples["selfchain_commit_latency_seconds_count"], 4.0);
        assert_eq!(samples["selfchain_commit_latency_seconds_sum"], 0.008);
        assert_eq!(samples["selfchain_commit_latency_seconds{quantile=\"1\"}"], 0.002);
        let reasons = samples
            .keys()
            .filter(|key| key.starts_with("selfchain_intake_refused_total{"));
        assert_eq!(reasons.count(), Refusal::ALL.len());
        assert!(samples.keys().all(|key| key.starts_with("selfchain_")));
    }

    #[test]
    fn the_ports_metrics_read_back() {
        let samples = parse(&encode_transport(&TransportMetrics::default()));
        assert_eq!(samples["selfchain_transport_connections"], 0.0);
        let storage = parse(&encode_storage(&StorageMetrics::default()));
        assert_eq!(storage["selfchain_storage_log_sync_max_seconds"], 0.0);
        assert_eq!(
            samples["selfchain_transport_closed_total{reason=\"slow_reader\"}"],
            0.0
        );
    }

    #[test]
    fn the_metrics_of_validators_read_back_with_every_lane_peer_and_reason() {
        let peer = |number, round_trip| PeerStatus {
            number,
            address: Some(([127, 0, 0, 1], 1).into()),
            round_trip,
            dial_in: None,
            last: None,
            heard_ago: None,
            sent_bytes: 0,
            received_bytes: 0,
            lanes: [LaneStatus {
                send_frames: 1,
                send_bytes: 77,
                receive_bytes: 0,
            }; 4],
        };
        let peers = [peer(1, Some(Duration::from_micros(1_500))), peer(2, None)];
        let links = parse(&encode_links(&LinkMetrics::default(), &peers));
        assert_eq!(links["selfchain_links_peer_up{peer=\"1\"}"], 1.0);
        assert_eq!(links["selfchain_links_peer_up{peer=\"2\"}"], 0.0);
        assert_eq!(
            links["selfchain_links_peer_round_trip_seconds{peer=\"1\"}"],
            0.0015
        );
        assert_eq!(
            links["selfchain_links_peer_send_queue_bytes{peer=\"2\",lane=\"sync\"}"],
            77.0
        );
        assert_eq!(
            links["selfchain_links_dropped_total{lane=\"votes\",reason=\"overtaken\"}"],
            0.0
        );
        assert_eq!(
            links["selfchain_links_refused_total{reason=\"chain_mismatch\"}"],
            0.0
        );

        let mut view = ReplicaView::of_set(Arc::new([]), None, Height(6));
        view.plane = Some(PlaneView {
            height: Height(7),
            round: 2,
            step: Step::Prevote,
            since: TimeNs(0),
            proposers: Vec::new(),
            locked: None,
            heard: Vec::new(),
            counts: PlaneCounts {
                timeouts_propose: 3,
                ..PlaneCounts::default()
            },
        });
        view.counts.decided(1, Some(TimeNs(0)), TimeNs(30_000_000));
        let agreement = parse(&encode_agreement(&view));
        assert_eq!(agreement["selfchain_agreement_height"], 7.0);
        assert_eq!(
            agreement["selfchain_agreement_timeouts_total{step=\"propose\"}"],
            3.0
        );
        assert_eq!(
            agreement["selfchain_agreement_decided_rounds_bucket{le=\"1\"}"],
            0.0
        );
        assert_eq!(
            agreement["selfchain_agreement_decided_rounds_bucket{le=\"2\"}"],
            1.0
        );
        assert_eq!(
            agreement["selfchain_agreement_decision_seconds_bucket{le=\"0.050000000\"}"],
            1.0
        );
        assert_eq!(agreement["selfchain_agreement_decision_seconds_sum"], 0.03);
        assert_eq!(
            agreement["selfchain_agreement_refused_total{asked=\"blocks\",reason=\"rate_limited\"}"],
            0.0
        );
    }

    /// The page as the code would write it: every family that `/metrics` prints, in its order.
    #[test]
    fn the_page_lists_every_metric_and_no_other() {
        let text = [
            encode(&Metrics::default()),
            encode_transport(&TransportMetrics::default()),
            encode_storage(&StorageMetrics::default()),
            encode_links(&LinkMetrics::default(), &[]),
            encode_agreement(&ReplicaView::of_set(Arc::new([]), None, Height::GENESIS)),
        ]
        .concat();
        let mut rows = String::new();
        let mut help = ("", "");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').unwrap();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, help.0, "a family has its help");
                rows += &format!("| `{name}` | {kind} | {} |\n", help.1);
            }
        }
        let page = include_str!("../../../docs/metrics.md");
        let (_, table) = page.split_once("|---|---|---|\n").unwrap();
        assert_eq!(
            table, rows,
            "docs/metrics.md holds another table than this:\n{rows}"
        );
    }
}
