//! Closing in spite of congestion: a controller around CUBIC that lets the last packet of a connection out.
//!
//! quinn-proto up to 0.11.19 holds a CONNECTION_CLOSE back while the congestion window is full, and in the
//! closing state nothing empties the window any more: the peer never learns why (quinn issue 2785, mended by
//! pull request 2787). TODO: remove this file when a released quinn-proto contains that change.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn::{Connection, VarInt};
use quinn_proto::RttEstimator;
use selfchain_types::seam::transport::CloseReason;

/// A window that nothing fills; small enough that sums with it do not overflow.
const WINDOW_WIDE_OPEN: u64 = 1 << 48;

/// Ends `connection`, with the reason on the wire even when the congestion window is full.
pub(crate) fn close(connection: &Connection, reason: CloseReason) {
    close_with(
        connection,
        VarInt::from_u32(reason.code()),
        reason.name().as_bytes(),
    );
}

/// As [`close`], with a code and a text of another protocol.
pub(crate) fn close_with(connection: &Connection, code: VarInt, text: &[u8]) {
    if let Ok(controller) = connection.congestion_state().into_any().downcast::<Closable>() {
        controller.closing.store(true, Ordering::Release);
    }
    connection.close(code, text);
}

/// Makes [`Closable`] controllers.
#[derive(Debug, Default)]
pub(crate) struct ClosableConfig(Arc<CubicConfig>);

impl ControllerFactory for ClosableConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::clone(&self.0).build(now, current_mtu);
        Box::new(Closable {
            inner,
            closing: Arc::default(),
        })
    }
}

/// CUBIC until the connection closes. Clones share the mark, which is how [`close`] reaches the original.
struct Closable {
    inner: Box<dyn Controller>,
    closing: Arc<AtomicBool>,
}

impl Controller for Closable {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.closing.load(Ordering::Acquire) {
            WINDOW_WIDE_OPEN
        } else {
            self.inner.window()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            closing: Arc::clone(&self.closing),
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
