//! Reaching one peer: again and again, with growing pauses, until it is there or leaves the set.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::ResolvesClientCert;

use super::close::{close, reason_of};
use super::connection::{Hellos, Link, serve};
use super::control::{self, Control};
use super::endpoint::{Phase, Shared};
use super::member::{Member, Plan};
use super::proof::{Channel, Ends};
use super::standing::Attempt;
use super::{LinkClose, tls};
use crate::tls::{PinnedServerKey, peer_key_of};

/// The name that QUIC asks for; keys are pinned, so that it means nothing.
const SERVER_NAME: &str = "selfchain";

/// Dials whenever there is no connection.
pub(super) async fn keep_dialling(shared: Arc<Shared>, member: Arc<Member>) {
    let mut phase = shared.phase.subscribe();
    loop {
        let until = match member.plan() {
            Plan::Leave => return,
            Plan::Rest => None,
            Plan::Wait(until) => Some(until),
            Plan::Dial(attempt, address) => {
                tokio::select! {
                    () = attempt_once(&shared, &member, attempt, address) => continue,
                    () = moved(&member, address) => {
                        member.abandon(attempt);
                        continue;
                    }
                    closing = phase.wait_for(|phase| *phase != Phase::Open) => {
                        drop(closing);
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = reach(until) => {}
            () = member.changed.notified() => {}
            closing = phase.wait_for(|phase| *phase != Phase::Open) => {
                drop(closing);
                return;
            }
        }
    }
}

/// Waits until the peer is no longer to be dialled at `address`.
async fn moved(member: &Member, address: SocketAddr) {
    while member.number().is_some() && member.address() == Some(address) {
        member.changed.notified().await;
    }
}

async fn reach(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => pending().await,
    }
}

async fn attempt_once(shared: &Arc<Shared>, member: &Arc<Member>, attempt: Attempt, address: SocketAddr) {
    shared.metrics.dials.add(1);
    let dialled = tokio::time::timeout(
        shared.limits.handshake_timeout,
        dial(shared, member, attempt, address),
    );
    let (why, retry_after) = match dialled.await {
        Ok(Ok(())) => return,
        Ok(Err(failed)) => failed,
        Err(_elapsed) => (LinkClose::TimedOut, Duration::ZERO),
    };
    shared.metrics.dials_failed.add(1);
    shared.metrics.count_refused(why);
    tracing::debug!(%address, %why, "links.dial_failed");
    member.give_up(attempt, why, |failures| shared.pause(failures, retry_after));
}

/// Handshake and hellos, then the connection on a task of its own.
async fn dial(
    shared: &Arc<Shared>,
    member: &Arc<Member>,
    attempt: Attempt,
    address: SocketAddr,
) -> Result<(), (LinkClose, Duration)> {
    let at_once = |why| (why, Duration::ZERO);
    let pinned = Arc::new(PinnedServerKey::among(member.classical_keys()));
    let shown = shared.identity.shown();
    let own: Arc<dyn ResolvesClientCert> = shown.clone();
    let crypto =
        tls::client_config(own, Arc::clone(&pinned)).map_err(|_| at_once(LinkClose::ProtocolError))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::clone(&shared.transport));
    let connecting = shared
        .endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|_| at_once(LinkClose::ProtocolError))?;
    let quic = connecting.await.map_err(|error| match pinned.wrong_key() {
        Some(_) => at_once(LinkClose::WrongKey),
        None => reason_of(&error),
    })?;

    let refuse = |why| {
        close(&quic, why, Duration::ZERO);
        at_once(why)
    };
    // A stream that breaks is a symptom; the reason is in how the connection ended.
    let explain = |why| match quic.close_reason() {
        Some(error) => reason_of(&error),
        None => refuse(why),
    };
    let Some(said) = member.say_hello(attempt) else {
        return Err(refuse(LinkClose::Duplicate));
    };
    let ends = Ends {
        dialling: shown.classical(),
        dialled: peer_key_of(&quic).ok_or_else(|| refuse(LinkClose::Removed))?,
    };
    let channel = Channel::of(&quic, ends).map_err(refuse)?;
    let (mut send, mut recv) = quic.open_bi().await.map_err(|error| reason_of(&error))?;
    let hello = channel.hello(shared.chain, said, &shown.key);
    control::write(&mut send, &Control::Hello(hello))
        .await
        .map_err(explain)?;
    let heard = control::read_hello(&mut recv).await.map_err(explain)?;
    if heard.chain != shared.chain {
        return Err(refuse(LinkClose::ChainMismatch));
    }
    let key = member.claimed(&ends.dialled, &heard).map_err(refuse)?;
    channel.check(&heard, &key).map_err(refuse)?;
    match member.answered(attempt, heard.id, &quic, &key) {
        Some(stood) => {
            let link = Link::new(Arc::clone(shared), Arc::clone(member), quic, key.id());
            let hellos = Hellos {
                heard: heard.id,
                answer: None,
                send,
                recv,
            };
            shared.spawn(serve(link, hellos, stood));
            Ok(())
        }
        None => Err(refuse(LinkClose::Duplicate)),
    }
}
