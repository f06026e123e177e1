//! The vault's thread: opens the vault when it is first asked, answers one question after another, and opens it again
//! after a failed write. The ledger never waits for it.

use super::{Caller, Desk, DeskError, OpenError, VaultKey, open_vault};
use crate::drive::Tag;
use crate::drive::queue::Queue;
use crate::telemetry::{Metrics, Queue as Name};
use core::time::Duration;
use selfchain_storage::Disk;
use selfchain_storage::vault::VaultLimits;
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::message::{Answer, Reply, Request};
use selfchain_types::{KeyId, Refusal, TimeNs};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Questions that may wait, each of at most a chunk of content.
const JOBS_MAX: usize = 64;
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// A vault that did not open is not tried again sooner: it is read from end to end each time.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// How a node serves its owner's documents.
#[derive(Clone, Debug)]
pub struct VaultConfig {
    /// What opens the vault.
    pub key: VaultKey,
    /// Keys that are the owner's, beside the node's own.
    pub owners: Vec<KeyId>,
    /// What the vault may hold.
    pub limits: VaultLimits,
}

/// A question and whom to answer.
#[derive(Debug)]
pub struct VaultJob {
    /// The request's frame.
    pub frame: Vec<u8>,
    /// Whom to answer.
    pub tag: Tag,
}

/// The running thread. Dropped, it answers what waits and ends.
#[derive(Debug)]
pub struct VaultThread {
    queue: Arc<Queue<VaultJob>>,
    thread: Option<JoinHandle<()>>,
}

impl VaultThread {
    /// Starts it; `own` is the node's key, an owner's.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(
        disk: Arc<dyn Disk>,
        config: &VaultConfig,
        own: KeyId,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Self> {
        let queue = Queue::new(Name::Vault, JOBS_MAX, Arc::clone(metrics));
        let mut owners = config.owners.clone();
        owners.push(own);
        let work = Work {
            from: Arc::clone(&queue),
            disk,
            key: config.key.clone(),
            owners,
            limits: config.limits.clone(),
            metrics: Arc::clone(metrics),
            desk: None,
            failed: None,
        };
        let thread = thread::Builder::new()
            .name("vault".into())
            .spawn(move || work.run())?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// Where questions go in.
    pub fn queue(&self) -> Arc<Queue<VaultJob>> {
        Arc::clone(&self.queue)
    }
}

impl Drop for VaultThread {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the vault's thread had panicked");
        }
    }
}

struct Work {
    from: Arc<Queue<VaultJob>>,
    disk: Arc<dyn Disk>,
    key: VaultKey,
    owners: Vec<KeyId>,
    limits: VaultLimits,
    metrics: Arc<Metrics>,
    desk: Option<Desk>,
    /// When it did not open, and why.
    failed: Option<(Instant, Refusal, String)>,
}

impl Work {
    fn run(mut self) {
        while !self.from.is_done() {
            if self.from.wait(IDLE_WAIT) {
                self.from.gauge();
                while let Some(job) = self.from.pop() {
                    self.answer(&job);
                }
                self.from.gauge();
            }
        }
    }

    fn answer(&mut self, job: &VaultJob) {
        let caller = self.caller(&job.tag);
        let Ok((_, Request::Vault(query))) = Request::decode(&job.frame) else {
            return self.refuse(&job.tag, Refusal::Malformed, "no question to the vault");
        };
        if let Err((refusal, text)) = self.open(&caller) {
            if refusal == Refusal::Denied {
                self.metrics.vault_denied.add(1);
            }
            return self.refuse(&job.tag, refusal, &text);
        }
        let Some(desk) = &mut self.desk else {
            return self.refuse(&job.tag, Refusal::Poisoned, "the vault is not open");
        };
        let answer = desk.answer(&caller, &query, now());
        match answer {
            Ok(answer) => {
                self.metrics.vault_answered.add(1);
                job.tag.answer(&Reply::Answer(Answer::Vault(answer)));
            }
            Err(error) => {
                if let DeskError::Denied(_) = error {
                    self.metrics.vault_denied.add(1);
                }
                if error.is_fatal() {
                    tracing::error!(error = %error, "the vault is opened again");
                    self.desk = None;
                }
                if error.refusal() == Refusal::Damaged {
                    tracing::error!(error = %error, "the vault does not hold");
                }
                self.refuse(&job.tag, error.refusal(), &error.to_string());
            }
        }
        if let Some(desk) = &self.desk {
            self.metrics.vault_bytes.set(desk.vault().totals().bytes);
        }
    }

    fn refuse(&self, tag: &Tag, refusal: Refusal, text: &str) {
        self.metrics.refused(refusal, 1);
        tag.refuse(refusal, text);
    }

    fn caller(&self, tag: &Tag) -> Caller {
        let identity = tag.peer.identity();
        let key = identity
            .client_key
            .and_then(|key| PublicKey::new(Scheme::Ed25519, &key).ok())
            .map(|key| key.id());
        Caller {
            key,
            is_owner: key.is_some_and(|key| self.owners.contains(&key)),
            address: identity.address.to_string(),
        }
    }

    /// Opens the vault, if it is not open.
    fn open(&mut self, caller: &Caller) -> Result<(), (Refusal, String)> {
        if self.desk.is_some() {
            return Ok(());
        }
        if matches!(self.key, VaultKey::Make(_)) && !caller.is_owner {
            // Nobody but the owner begins a vault.
            return Err((Refusal::Denied, "this key may not".into()));
        }
        // Where it is and what is wrong with it is for the owner to know.
        let told = |refusal, text: &str| match caller.is_owner {
            true => (refusal, text.to_owned()),
            false => (refusal, "the vault does not open".to_owned()),
        };
        if let Some((when, refusal, text)) = &self.failed
            && when.elapsed() < OPEN_AGAIN
        {
            return Err(told(*refusal, text));
        }
        match open_vault(Arc::clone(&self.disk), &self.key, self.limits.clone()) {
            Ok((vault, key)) => {
                self.key = VaultKey::Read(key);
                self.desk = Some(Desk::new(vault));
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                tracing::error!(error = %error, "the vault does not open");
                let text = error.to_string();
                let refusal = match error {
                    OpenError::Vault(error) => DeskError::from(error).refusal(),
                    OpenError::Key(_) | OpenError::KeyLost { .. } => Refusal::Damaged,
                };
                let why = told(refusal, &text);
                self.failed = Some((Instant::now(), refusal, text));
                Err(why)
            }
        }
    }
}

/// The clock of this machine.
fn now() -> TimeNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeNs(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
