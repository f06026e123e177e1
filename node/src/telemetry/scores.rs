//! How scores are spread, whether that changes, and how far a model in the shadow is from the one that decides.

use super::Counter;
use core::sync::atomic::{AtomicU8, Ordering};
use selfchain_ai::drift::{Drift, Shadowing};
use selfchain_types::policy::NEVER;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The scores of blocks as they go by. Whoever reads them copies two kilobytes under a lock.
#[derive(Debug)]
pub struct Scores {
    deciding: Mutex<Drift>,
    shadow: Mutex<Shadow>,
    /// Transfers that the shadow had no time for.
    pub shadow_skipped: Counter,
    /// From this score on the chain's policy holds or refuses.
    threshold: AtomicU8,
}

/// What is known of the shadow.
#[derive(Clone, Debug, Default)]
pub struct Shadow {
    /// Its scores over time.
    pub drift: Drift,
    /// Its scores beside the deciding model's.
    pub beside: Shadowing,
}

impl Default for Scores {
    fn default() -> Self {
        Self {
            deciding: Mutex::default(),
            shadow: Mutex::default(),
            shadow_skipped: Counter::default(),
            threshold: AtomicU8::new(NEVER),
        }
    }
}

impl Scores {
    /// A block's scores, and from which score on the chain's policy does something.
    pub fn decided(&self, scores: &[u8], threshold: u8) {
        self.threshold.store(threshold, Ordering::Relaxed);
        lock(&self.deciding).see(scores);
    }

    /// The scores of both models for the same transfers.
    pub fn shadowed(&self, deciding: &[u8], shadow: &[u8]) {
        let threshold = self.threshold.load(Ordering::Relaxed);
        let mut seen = lock(&self.shadow);
        seen.drift.see(shadow);
        seen.beside.see(deciding, shadow, threshold);
    }

    /// The deciding model's scores so far.
    pub fn deciding(&self) -> Drift {
        lock(&self.deciding).clone()
    }

    /// The shadow's so far.
    pub fn shadow(&self) -> Shadow {
        lock(&self.shadow).clone()
    }
}

/// Counts stay counts even if a thread died while it added to them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
