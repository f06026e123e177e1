//! Why a call of the client failed, in terms of what the caller can do.

use selfchain_transport::client::ConnectError;
use selfchain_types::Refusal;
use selfchain_types::codec::DecodeError;
use selfchain_types::message::Refused;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why a call failed.
#[derive(Clone, Debug, Error)]
pub enum ClientError {
    /// There is no connection: wrong address, wrong key, or no node there.
    #[error("no connection to the node")]
    Connect(#[source] Arc<ConnectError>),
    /// No answer in time. A transaction may still commit: ask for it by its id.
    #[error("no answer within {} ms", .after.as_millis())]
    Deadline {
        /// The time given.
        after: Duration,
    },
    /// The node turned it away, without trace.
    #[error("refused: {} ({})", .0.refusal, .0.text)]
    Refused(Refused),
    /// These bytes are no envelope; nothing was sent.
    #[error("not an envelope: {0}")]
    Envelope(Refusal),
    /// The node's answer cannot be read, or answers something else.
    #[error("the node's answer is not understood: {what}")]
    Answer {
        /// What was expected.
        what: &'static str,
        /// What is wrong, where it could not be read.
        source: Option<DecodeError>,
    },
    /// The client was dropped while the call waited.
    #[error("the client is closed")]
    Closed,
    /// The operating system gave no thread.
    #[error("no thread for the client")]
    Thread(#[source] Arc<io::Error>),
}

impl ClientError {
    /// The refusal, if the node refused.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refused) => Some(refused.refusal),
            Self::Envelope(refusal) => Some(*refusal),
            _ => None,
        }
    }

    /// Whether the node could not be reached in time.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Deadline { .. })
    }
}
