//! One `GET` of a node's HTTP port, bounded in time and bytes.

use crate::api::Topic;
use serde_json::Value;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;
use ureq::Agent;

/// Most bytes of an answer: some kilobytes for each of the most validators that there may be.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Why a node gave no answer.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// Nobody listens there.
    #[error("nobody listens at http://{address}")]
    Closed {
        /// The address.
        address: SocketAddr,
    },
    /// It took too long.
    #[error("http://{address} did not answer within {after_ms} ms")]
    Timeout {
        /// The address.
        address: SocketAddr,
        /// How long it was given.
        after_ms: u128,
    },
    /// It has no such path, or is about to stop.
    #[error("http://{address}{path} answered with status {status}{}", status_words(.status))]
    Status {
        /// The address.
        address: SocketAddr,
        /// The path.
        path: &'static str,
        /// The status.
        status: u16,
    },
    /// What answered is no node.
    #[error("what listens at http://{address} is no node of this version: its answer is no JSON object")]
    Answer {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else on the way.
    #[error("cannot ask http://{address}: {source}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the client says.
        source: Box<ureq::Error>,
    },
}

fn status_words(status: &u16) -> &'static str {
    match *status {
        404 => ": it is no node, or an older one",
        503 => ": it is stopping, or too busy to answer",
        _ => "",
    }
}

/// The object that the node at `address` shows.
pub(super) fn ask(mut address: SocketAddr, of: Topic, deadline: Duration) -> Result<Value, AskError> {
    if address.ip().is_unspecified() {
        // Listening everywhere includes here.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => AskError::Timeout {
            address,
            after_ms: deadline.as_millis(),
        },
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            AskError::Closed { address }
        }
        error => AskError::Http {
            address,
            source: Box::new(error),
        },
    };
    let agent: Agent = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(deadline))
        .build()
        .new_agent();
    let path = of.path();
    let mut response = agent
        .get(format!("http://{address}{path}"))
        .call()
        .map_err(failed)?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(AskError::Status {
            address,
            path,
            status,
        });
    }
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let bytes = body.read_to_vec().map_err(failed)?;
    let value = serde_json::from_slice(&bytes).ok();
    value.filter(Value::is_object).ok_or(AskError::Answer { address })
}
