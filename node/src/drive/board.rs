//! Board: what a validator of several last showed of itself. The order thread writes, whoever asks reads; neither waits
//! for the other longer than a pointer takes to copy.

use crate::replica::ReplicaView;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest view, once there is one.
#[derive(Debug, Default)]
pub struct Board {
    shown: Mutex<Option<Arc<ReplicaView>>>,
}

impl Board {
    /// Shows another view.
    pub fn show(&self, view: ReplicaView) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(view));
    }

    /// The newest view; `None` where one validator decides.
    pub fn look(&self) -> Option<Arc<ReplicaView>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
