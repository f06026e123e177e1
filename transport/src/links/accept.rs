//! Being reached: attempts are judged before they cost anything, then shaken hands with, then heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Connection, Incoming};
use tokio::time::{Instant, timeout_at};

use super::LinkClose;
use super::close::{close, reason_of};
use super::connection::{Hellos, Link, serve};
use super::control;
use super::endpoint::{Phase, Shared};
use super::proof::{Channel, Ends};
use crate::tls::peer_key_of;

/// Judges attempts until the links close.
pub(super) async fn accept(shared: Arc<Shared>) {
    let mut phase = shared.phase.subscribe();
    let (strangers, arrivals) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    loop {
        tokio::select! {
            attempt = shared.endpoint.accept() => match attempt {
                Some(attempt) => judge(attempt, &shared, &strangers, &arrivals),
                None => break,
            },
            closing = phase.wait_for(|phase| *phase != Phase::Open) => {
                drop(closing);
                break;
            }
        }
    }
    // Attempts that come now wait unanswered in QUIC's own queue, which is bounded, until the endpoint closes.
    shared.endpoint.set_server_config(None);
}

/// Those from addresses of peers have places of their own, for which an address that is only claimed is not
/// enough. Nothing here waits.
fn judge(attempt: Incoming, shared: &Arc<Shared>, strangers: &Arc<AtomicUsize>, arrivals: &Arc<AtomicUsize>) {
    let known = shared.roster.has_address(attempt.remote_address().ip());
    let (places, places_max) = if known {
        (arrivals, shared.limits.arrivals_max)
    } else {
        (strangers, shared.limits.strangers_max)
    };
    let taken = places.load(Ordering::Relaxed);
    if taken >= places_max / 2 && !attempt.remote_address_validated() {
        if attempt.retry().is_err() {
            // Cannot be: an address that is not proved may always be asked to. Dropping the error refuses.
            shared.metrics.arrivals_refused.add(1);
        }
        return;
    }
    if taken >= places_max {
        shared.metrics.arrivals_refused.add(1);
        return attempt.refuse();
    }
    let place = Place::take(places);
    shared.spawn(welcome(attempt, Arc::clone(shared), place));
}

/// One handshake in progress, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>) -> Self {
        places.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(places))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn welcome(attempt: Incoming, shared: Arc<Shared>, place: Place) {
    let mut phase = shared.phase.subscribe();
    let refused = tokio::select! {
        heard = hear(attempt, &shared) => heard.err(),
        closing = phase.wait_for(|phase| *phase != Phase::Open) => return drop(closing),
    };
    drop(place);
    if let Some(why) = refused {
        shared.metrics.count_refused(why);
    }
}

/// Handshake and hellos, then the connection on a task of its own.
async fn hear(attempt: Incoming, shared: &Arc<Shared>) -> Result<(), LinkClose> {
    let until = Instant::now() + shared.limits.handshake_timeout;
    let remote = attempt.remote_address();
    let connecting = attempt.accept().map_err(|error| reason_of(&error).0)?;
    let quic = match timeout_at(until, connecting).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "links.handshake_failed");
            return Err(reason_of(&error).0);
        }
        // There is no connection yet that a reason could be sent on.
        Err(_elapsed) => return Err(LinkClose::HelloTimeout),
    };
    let (why, retry_after) = match timeout_at(until, hear_hello(&quic, shared)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(refused)) => refused,
        Err(_elapsed) => (LinkClose::HelloTimeout, Duration::ZERO),
    };
    close(&quic, why, retry_after);
    tracing::debug!(%remote, %why, "links.refused");
    Err(why)
}

async fn hear_hello(quic: &Connection, shared: &Arc<Shared>) -> Result<(), (LinkClose, Duration)> {
    let at_once = |why| (why, Duration::ZERO);
    // The handshake let it in; since then the set may have changed.
    let classical = peer_key_of(quic)
        .filter(|key| shared.roster.has_classical(key))
        .ok_or(at_once(LinkClose::Removed))?;
    let (send, mut recv) = quic.accept_bi().await.map_err(|error| reason_of(&error))?;
    let heard = control::read_hello(&mut recv).await.map_err(at_once)?;
    if heard.chain != shared.chain {
        return Err(at_once(LinkClose::ChainMismatch));
    }
    let (member, key) = shared.roster.claimed(&classical, &heard).map_err(at_once)?;
    // A key that this end took since the handshake is not the one that it showed: the peer refuses, and comes again.
    let shown = shared.identity.shown();
    let ends = Ends {
        dialling: classical,
        dialled: shown.classical(),
    };
    let channel = Channel::of(quic, ends).map_err(at_once)?;
    channel.check(&heard, &key).map_err(at_once)?;
    let (answer, stood) = member.take(heard.id, quic, &key)?;
    let hello = channel.hello(shared.chain, answer, &shown.key);
    let link = Link::new(Arc::clone(shared), member, quic.clone(), key.id());
    // It stands: nothing may wait before there is a task that tells its end.
    let hellos = Hellos {
        heard: heard.id,
        answer: Some(hello),
        send,
        recv,
    };
    shared.spawn(serve(link, hellos, stood));
    Ok(())
}
