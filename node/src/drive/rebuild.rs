//! Rebuilding a past state for a proof about one of its accounts: long work, one at a time, in a thread of its own.

use super::past::proof_reply;
use super::tag::Tag;
use crate::answers::{AnswerError, Past};
use crate::proving::Rebuilding;
use core::sync::atomic::{AtomicBool, Ordering};
use selfchain_types::{AccountId, Height};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Most blocks that a running node folds for a proof: whoever asks needs no leave.
pub const REBUILD_BLOCKS_MAX: u64 = 100_000;

/// Rebuilds past states, one at a time.
#[derive(Debug, Default)]
pub struct Rebuilder {
    working: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<AtomicBool>,
}

impl Rebuilder {
    /// Begins a proof of an account after a height; its thread answers.
    ///
    /// # Errors
    /// [`AnswerError::Busy`] while another is being made.
    pub fn begin(
        &self,
        past: &Past,
        account: AccountId,
        height: Height,
        since: Height,
        tag: Tag,
    ) -> Result<(), AnswerError> {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        if working.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err(AnswerError::Busy);
        }
        let (past, stop) = (past.clone(), Arc::clone(&self.stop));
        let work = move || {
            let how = Rebuilding {
                blocks_max: REBUILD_BLOCKS_MAX,
                progress: &mut |_, _| {},
                stop: &stop,
            };
            let path = past.account_at(account, height, how);
            let proof = path.and_then(|path| past.prove_account(path, since));
            tag.answer(&proof_reply(proof));
        };
        let spawned = thread::Builder::new().name("rebuild".into()).spawn(work);
        *working = Some(spawned.map_err(|error| {
            tracing::warn!(error = %error, "a thread was refused");
            AnswerError::Busy
        })?);
        Ok(())
    }

    /// Ends what is being made, and waits for it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.working.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that rebuilds a past state had panicked");
        }
    }
}
