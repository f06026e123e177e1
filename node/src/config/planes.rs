//! From keys to what each plane takes.

use super::{BlockOrder, Config, IngestConfig, Scoring};
use crate::drive::PipelineConfig;
use crate::hindrance::Hindrance;
use crate::joining::JoinConfig;
use crate::node::{NodeConfig, ScoreWhen, ScoringConfig};
use crate::store::StoreConfig;
use crate::sweep::SNAPSHOT_SLICE_MIN;
use crate::validating::ValidatorConfig;
use selfchain_engine::builder::Order;
use selfchain_engine::pool::PoolLimits;
use selfchain_storage::{IndexConfig, LogConfig, SnapshotConfig};
use selfchain_transport::Limits;
use selfchain_transport::limits::Rate;
use std::ffi::OsString;
use std::time::Duration;

impl Config {
    /// What the node takes. `key_log_path` is the value of `SSLKEYLOGFILE`, which the caller reads.
    pub fn node_config(&self, key_log_path: Option<OsString>) -> NodeConfig {
        NodeConfig {
            listen: self.ingest.listen,
            limits: self.ingest.limits(),
            pipeline: self.pipeline_config(),
            store: self.store_config(),
            scoring: self.scoring_config(),
            validator: self.validator_config(),
            key_log_path,
        }
    }

    /// How blocks are scored; the models of the data directory are for the caller to add.
    pub fn scoring_config(&self) -> ScoringConfig {
        ScoringConfig {
            when: match self.ai.scoring {
                Scoring::Auto => ScoreWhen::Auto,
                Scoring::On => ScoreWhen::On,
                Scoring::Off => ScoreWhen::Off,
            },
            budget: Duration::from_millis(self.ai.budget_ms),
            models: Vec::new(),
            shadow: self.ai.shadow,
        }
    }

    /// What a validator of several takes; where its next key may come is for the caller to add.
    pub fn validator_config(&self) -> ValidatorConfig {
        ValidatorConfig {
            listen: self.validator.listen,
            peers: self.validator.peers.0.clone(),
            next_key: None,
            checkpoint_keys: Vec::new(),
            join: JoinConfig {
                behind_blocks: self.validator.join_behind_blocks,
            },
            propose_timeout: Duration::from_millis(self.validator.propose_timeout_ms),
            vote_timeout: Duration::from_millis(self.validator.vote_timeout_ms),
            hindrance: Hindrance::None,
        }
    }

    /// What the pipeline takes.
    pub fn pipeline_config(&self) -> PipelineConfig {
        let pipeline = &self.pipeline;
        PipelineConfig {
            intake_len_max: count(pipeline.intake_queue_len),
            intake_bytes_max: pipeline.intake_queue_bytes,
            verified_len_max: count(pipeline.verified_queue_len),
            log_len_max: count(pipeline.log_queue_len),
            publish_len_max: count(pipeline.publish_queue_len),
            queries_len_max: count(pipeline.query_queue_len),
            verify_threads: count(pipeline.verify_threads),
            commit_threads: count(pipeline.commit_threads),
            block_interval: Duration::from_millis(pipeline.block_interval_ms),
            order: match pipeline.order {
                BlockOrder::Fee => Order::Fee,
                BlockOrder::Fair => Order::Fair,
            },
            pool: PoolLimits {
                transactions_max: count(self.pool.transactions_max),
                bytes_max: self.pool.bytes_max,
                lane_max: u32::try_from(self.pool.lane_max).unwrap_or(u32::MAX),
            },
            snapshot_every: self.storage.snapshot_interval_blocks,
            snapshot_slice_min: SNAPSHOT_SLICE_MIN,
            retention_bytes: self.storage.retention_bytes,
        }
    }

    /// What the store takes.
    pub fn store_config(&self) -> StoreConfig {
        let storage = &self.storage;
        StoreConfig {
            log: LogConfig {
                segment_bytes: storage.segment_bytes,
                pending_bytes_max: storage.pending_bytes_max,
                tail_bytes_max: storage.tail_bytes_max,
                segments_open_max: count(storage.segments_open_max),
                reserve_bytes: storage.reserve_bytes,
                check_on_open: storage.check_on_open,
                ..LogConfig::default()
            },
            index: IndexConfig {
                lag_max: storage.index_lag_max_blocks,
                reserve_bytes: storage.reserve_bytes,
                ..IndexConfig::default()
            },
            snapshots: SnapshotConfig {
                keep: count(storage.snapshots_keep),
                reserve_bytes: storage.reserve_bytes,
                ..SnapshotConfig::default()
            },
        }
    }
}

impl IngestConfig {
    /// What transport is told; limits without a key keep transport's default.
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            connections_max: count(self.connections_max),
            connections_per_ip_max: count(self.connections_per_ip_max),
            connections_new_per_ip: Rate {
                per_s: self.connections_new_per_ip_per_s,
                burst: self.connections_new_per_ip_burst,
            },
            handshakes_max: count(self.handshakes_max),
            handshakes_before_retry: count(self.handshakes_before_retry),
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            receive_window_bytes: self.receive_window_bytes,
            stream_receive_window_bytes: usual.stream_receive_window_bytes.min(self.receive_window_bytes),
            send_window_bytes: self.send_window_bytes,
            datagram_bytes_max: self.datagram_bytes_max,
            assembly_bytes_max: count(self.assembly_bytes_max),
            requests_in_flight_max: count(self.in_flight_max),
            bytes_in_flight_max: count(self.in_flight_bytes_max),
            connection_frames: Rate {
                per_s: self.frames_per_s,
                burst: self.frames_burst,
            },
            connection_bytes: Rate {
                per_s: self.bytes_per_s,
                burst: self.bytes_burst,
            },
            identity_frames: sustained(self.identity_frames_per_s, usual.identity_frames),
            identity_bytes: sustained(self.identity_bytes_per_s, usual.identity_bytes),
            reply_queue_bytes_max: count(self.reply_queue_bytes_max),
            reply_queue_total_bytes_max: count(self.reply_queue_total_bytes_max),
            subscriptions_max: count(self.subscriptions_max),
            ..usual
        }
    }
}

fn sustained(per_s: u64, usual: Rate) -> Rate {
    Rate {
        per_s,
        burst: usual.burst.min(per_s),
    }
}

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_planes() {
        let config = Config::default();
        assert_eq!(config.ingest.limits(), Limits::default());
        let same = |ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        };
        same(&config.pipeline_config(), &PipelineConfig::default());
        same(&config.store_config(), &StoreConfig::default());
        same(&config.scoring_config(), &ScoringConfig::default());
        same(&config.validator_config(), &ValidatorConfig::default());
    }
}
