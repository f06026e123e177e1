//! The thread that keeps: writing and syncing others' files holds up nobody's questions.

use super::kept::{KeepError, KeptFiles};
use crate::drive::Tag;
use crate::drive::queue::Queue;
use core::time::Duration;
use selfchain_types::Refusal;
use selfchain_types::message::{Answer, Reply, Request};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// What an owner asks: the whole frame, and whom to answer.
pub type KeepJob = (Vec<u8>, Tag);

/// Requests that may wait. Each has at most a piece of a file, so that they are bounded in bytes too.
pub const KEEP_QUEUE_LEN: usize = 64;

const IDLE_WAIT: Duration = Duration::from_millis(100);

/// The running thread.
pub struct KeepThread {
    queue: Arc<Queue<KeepJob>>,
    thread: Option<JoinHandle<()>>,
}

impl KeepThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(files: KeptFiles, queue: Arc<Queue<KeepJob>>) -> io::Result<Self> {
        let from = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("keep".into())
            .spawn(move || run(files, &from))?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// Answers what waits, and ends.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps backups had panicked");
        }
    }
}

impl Drop for KeepThread {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(mut files: KeptFiles, queue: &Queue<KeepJob>) {
    while !queue.is_done() {
        if queue.wait(IDLE_WAIT) {
            queue.gauge();
            while let Some((frame, tag)) = queue.pop() {
                answer(&mut files, &frame, &tag);
            }
            queue.gauge();
        }
    }
}

fn answer(files: &mut KeptFiles, frame: &[u8], tag: &Tag) {
    let Ok((_, Request::Keep(keep))) = Request::decode(frame) else {
        return tag.refuse(Refusal::Malformed, "it is no request about backups");
    };
    let owner = tag.peer.identity().client_key;
    match files.answer(owner, &keep) {
        Ok(kept) => tag.answer(&Reply::Answer(Answer::Kept(kept))),
        Err(error) => {
            if let KeepError::Disk(source) = &error {
                tracing::error!(%source, "a backup of another's could not be kept or read");
            }
            tag.refuse(error.refusal(), error.to_string());
        }
    }
}
