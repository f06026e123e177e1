//! What the node says about itself: metrics that every build counts, the text that Prometheus reads, and the log.

pub mod distribution;
pub mod metrics;
mod process;
#[cfg(feature = "network")]
pub mod scores;
#[cfg(feature = "network")]
pub mod agreement;
#[cfg(feature = "network")]
mod text;
#[cfg(feature = "network")]
mod validators;
#[cfg(feature = "cli")]
mod log;

#[cfg(feature = "network")]
pub use agreement::AgreementCounts;
pub use distribution::{Distribution, DistributionSnapshot};
#[cfg(feature = "cli")]
pub use log::{LogError, start_log};
pub use metrics::{Counter, Gauge, Metrics, Queue, QueueMetrics, Stage, StageMetrics};
pub use process::{ProcessUsage, usage};
#[cfg(feature = "network")]
pub use scores::Scores;
#[cfg(feature = "network")]
pub use text::{encode, encode_storage, encode_transport};
#[cfg(feature = "network")]
pub use validators::{encode_agreement, encode_links};
