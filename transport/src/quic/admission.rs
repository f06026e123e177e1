//! Who gets in: connection attempts are judged before they cost anything, then shaken hands with, then served.

use std::sync::Arc;

use quinn::{Endpoint, Incoming};
use selfchain_types::seam::transport::CloseReason;
use tokio::task::JoinSet;

use super::peer::PeerConnection;
use super::server::{Phase, Shared};
use super::{close, connection};
use crate::limits::origin::Knock;
use crate::metrics::Counter;
use crate::tls;

/// Judges attempts until the server closes, then waits for the connections to end.
pub(super) async fn admit(endpoint: Endpoint, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut phase = shared.phase.subscribe();
    loop {
        tokio::select! {
            attempt = endpoint.accept() => match attempt {
                Some(attempt) => judge(attempt, &shared, &mut connections),
                None => break,
            },
            Some(ended) = connections.join_next() => report(ended),
            closing = phase.wait_for(|phase| *phase == Phase::Closing) => {
                drop(closing);
                break;
            }
        }
    }
    // Attempts that come now wait unanswered in QUIC's own queue, which is bounded, until the endpoint closes.
    endpoint.set_server_config(None);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// Cheapest question first. Nothing here waits.
fn judge(attempt: Incoming, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let (limits, metrics) = (&shared.limits, &shared.metrics);
    let serving = *shared.phase.borrow() == Phase::Serving;
    let handshakes = usize::try_from(metrics.handshakes_open.get()).unwrap_or(usize::MAX);
    if !serving || connections.len() >= limits.connections_max || handshakes >= limits.handshakes_max {
        metrics.connections_refused.add(1);
        return attempt.refuse();
    }
    let proved = attempt.remote_address_validated();
    let busy = handshakes >= limits.handshakes_before_retry;
    let knock = match shared
        .origins
        .knock(attempt.remote_address().ip(), proved, shared.now_ns())
    {
        Knock::Welcome { .. } if busy && !proved => Knock::ProveAddress,
        knock => knock,
    };
    match knock {
        Knock::Refuse => {
            metrics.connections_refused.add(1);
            attempt.refuse();
        }
        Knock::ProveAddress => {
            metrics.connections_retried.add(1);
            if attempt.retry().is_err() {
                // Cannot be: an address that is not proved may always be asked to. Dropping the error refuses.
                metrics.connections_refused.add(1);
            }
        }
        Knock::Welcome { counted } => {
            let handshake = Gauge::raise(shared, |shared| &shared.metrics.handshakes_open);
            connections.spawn(welcome(attempt, counted, handshake, Arc::clone(shared)));
        }
    }
}

/// The handshake, the place, and the connection for as long as it lasts.
async fn welcome(attempt: Incoming, counted: bool, handshake: Gauge, shared: Arc<Shared>) {
    let connecting = match attempt.accept() {
        Ok(connecting) => connecting,
        Err(error) => {
            shared.metrics.handshakes_failed.add(1);
            return tracing::debug!(%error, "a handshake could not begin");
        }
    };
    let remote = connecting.remote_address();
    let quic = match tokio::time::timeout(shared.limits.handshake_timeout, connecting).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            shared.metrics.handshakes_failed.add(1);
            return tracing::debug!(%remote, %error, "a handshake failed");
        }
        Err(_elapsed) => {
            shared.metrics.handshakes_failed.add(1);
            return tracing::debug!(%remote, "a handshake took too long");
        }
    };
    drop(handshake);
    let client_key = tls::peer_key_of(&quic);
    let Some(place) = shared
        .origins
        .enter(remote.ip(), client_key, counted, shared.now_ns())
    else {
        let reason = CloseReason::ConnectionLimit;
        shared.metrics.count_close(reason);
        return close(&quic, reason);
    };
    shared.metrics.connections_accepted.add(1);
    let _open = Gauge::raise(&shared, |shared| &shared.metrics.connections_open);
    let id = shared.next_peer_id();
    connection::serve(Arc::new(PeerConnection::new(
        id,
        quic,
        client_key,
        place,
        Arc::clone(&shared),
    )))
    .await;
}

/// Counts one in a gauge until it is dropped, however that happens.
pub(super) struct Gauge {
    shared: Arc<Shared>,
    counter: fn(&Shared) -> &Counter,
}

impl Gauge {
    pub(super) fn raise(shared: &Arc<Shared>, counter: fn(&Shared) -> &Counter) -> Self {
        counter(shared).add(1);
        Self {
            shared: Arc::clone(shared),
            counter,
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.counter)(&self.shared).subtract(1);
    }
}
