//! The thread that signs checkpoints: some schemes take a quarter of a second, which agreement cannot wait for.

use crate::keys::{self, KeyError};
use crate::replica::CheckpointJob;
use selfchain_storage::HandoverFile;
use selfchain_types::Height;
use selfchain_types::checkpoint::CheckpointSignature;
use selfchain_types::crypto::SigningKey;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

/// Jobs that may wait: what does not fit is a checkpoint that this node does not sign.
const JOBS_MAX: usize = 32;

/// The signatures of one checkpoint.
pub type Signed = (Height, Vec<CheckpointSignature>);

/// The other end of the thread. It ends when this is dropped.
pub struct Checkpointing {
    jobs: SyncSender<CheckpointJob>,
    signed: Receiver<Signed>,
}

impl Checkpointing {
    /// Starts the thread. It reads the key files anew for each checkpoint, so that another key needs no restart.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        key_files: Vec<PathBuf>,
        file: Arc<HandoverFile>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> io::Result<Self> {
        let (jobs, to_do) = sync_channel(JOBS_MAX);
        let (done, signed) = sync_channel(JOBS_MAX);
        thread::Builder::new().name("checkpoint".into()).spawn(move || {
            for job in to_do {
                match job {
                    CheckpointJob::Sync => {
                        if let Err(error) = file.sync() {
                            tracing::error!(error = %error, "checkpoints are not durable");
                        }
                    }
                    CheckpointJob::Sign { height, digest } => {
                        let keys = key_files.iter().filter_map(|path| read(path));
                        let signatures = keys.map(|key| CheckpointSignature {
                            key: key.id(),
                            signature: key.sign(digest.as_bytes()),
                        });
                        if done.send((height, signatures.collect())).is_err() {
                            return;
                        }
                        wake();
                    }
                }
            }
        })?;
        Ok(Self { jobs, signed })
    }

    /// Hands a job over.
    pub fn give(&self, job: CheckpointJob) {
        if let Err(TrySendError::Full(job)) = self.jobs.try_send(job) {
            tracing::warn!(?job, "the thread of checkpoints is behind: this job is left out");
        }
    }

    /// What is signed.
    pub fn take(&self) -> Option<Signed> {
        self.signed.try_recv().ok()
    }
}

/// A checkpoint key, if its file is there and holds one.
fn read(path: &PathBuf) -> Option<SigningKey> {
    match keys::read(path) {
        Ok(key) if key.public().scheme().is_hybrid() => Some(key),
        Ok(key) => {
            let scheme = key.public().scheme().name();
            tracing::warn!(scheme, "a checkpoint key must be a hybrid");
            None
        }
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(error = %error, "a checkpoint key cannot be read");
            None
        }
    }
}
