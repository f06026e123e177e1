//! Checkpoints: every so many blocks validators sign a header with keys of their own, and each gathers the signatures.
//!
//! Signing is slow for some schemes, so that a thread beside does it: what is to be signed goes out as a job, and the
//! signatures come back. A checkpoint that was gathered is kept in a file, for good, and sent to whoever lacks it.

use super::replica::{Replica, ReplicaError, Ticket, To};
use selfchain_engine::commit::Chain;
use selfchain_engine::proof::{Checkpoint, CheckpointError, TrustedSigners};
use selfchain_storage::HandoverFile;
use selfchain_types::block::Header;
use selfchain_types::checkpoint::{CheckpointSet, CheckpointSignature, checkpoint_digest};
use selfchain_types::codec::wide;
use selfchain_types::peer::{CHECKPOINTS_MAX, PeerMessage};
use selfchain_types::{Genesis, Hash, Height, KeyId, TimeNs};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Headers that wait for signatures; the oldest gives way.
const PENDING_MAX: usize = 16;
/// Bytes of signatures that came before their header.
const EARLY_BYTES_MAX: usize = 4 << 20;
/// Bytes of checkpoints that one message brings.
const SENT_BYTES_MAX: usize = 4 << 20;
/// Newest checkpoints that an operator is shown.
const MARKS_MAX: usize = 256;

/// What a replica knows of its chain's checkpoints.
pub struct Checkpoints {
    every: u64,
    /// Who must sign the next one.
    trusted: TrustedSigners,
    pending: BTreeMap<Height, Pending>,
    early: Vec<Early>,
    file: Arc<HandoverFile>,
    jobs: Vec<CheckpointJob>,
    marks: Vec<CheckpointMark>,
    /// Whom it asked last for those that it lacks, among the others.
    asked: usize,
    /// Signatures of others that did not hold.
    forged: u64,
}

/// A header that waits for signatures.
struct Pending {
    header: Vec<u8>,
    hash: Hash,
    next: CheckpointSet,
    digest: Hash,
    /// Good ones, of whoever must sign.
    signatures: BTreeMap<KeyId, Vec<u8>>,
    own: Vec<CheckpointSignature>,
}

/// A signature whose header is not here yet.
struct Early {
    height: Height,
    header: Hash,
    signature: CheckpointSignature,
}

/// What the thread beside is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointJob {
    /// Sign this with every checkpoint key that the node holds, and bring the signatures.
    Sign {
        /// The checkpoint's height.
        height: Height,
        /// What is signed.
        digest: Hash,
    },
    /// Make the file durable.
    Sync,
}

/// A checkpoint as an operator is shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointMark {
    /// Its height.
    pub height: Height,
    /// The hash of its header.
    pub block: Hash,
    /// How many signed it.
    pub signatures: usize,
    /// The validators with a checkpoint key among those that it names, and their power and that of all.
    pub next: (usize, u64, u64),
}

/// How a replica's checkpoints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointsView {
    /// Blocks from one to the next.
    pub every_blocks: u64,
    /// The newest ones, in order.
    pub newest: Vec<CheckpointMark>,
    /// Headers that wait for signatures: height, power that signed, power in all.
    pub waiting: Vec<(Height, u64, u64)>,
    /// Signatures of others that did not hold.
    pub forged: u64,
}

impl Checkpoints {
    /// Those of a chain, and what this node has of them, which it followed when it came; `None` of a chain without.
    ///
    /// # Errors
    /// What the disk says, or that the file holds something else.
    pub fn open(genesis: &Genesis, file: Arc<HandoverFile>) -> io::Result<Option<Self>> {
        let Some(mut all) = Self::at_genesis(genesis, file) else {
            return Ok(None);
        };
        let Some(last) = all.file.last() else {
            return Ok(Some(all));
        };
        let shown = all.every.saturating_mul(wide(MARKS_MAX));
        all.read(last.saturating_sub(shown) + 1, &mut |all, checkpoint| {
            let header = Header::decode(&checkpoint.header).map_err(io::Error::other)?;
            all.mark(&header, checkpoint);
            all.trusted = TrustedSigners::new(header.height, checkpoint.next.clone());
            Ok(())
        })?;
        Ok(Some(all))
    }

    /// As [`Self::open`], with every signature followed from genesis on.
    ///
    /// # Errors
    /// What the disk says, or the first that does not follow.
    pub fn follow_all(genesis: &Genesis, file: Arc<HandoverFile>) -> io::Result<Option<Self>> {
        let Some(mut all) = Self::at_genesis(genesis, file) else {
            return Ok(None);
        };
        let chain_id = genesis.chain_id();
        all.read(1, &mut |all, checkpoint| {
            all.follow(&chain_id, checkpoint).map_err(io::Error::other)
        })?;
        Ok(Some(all))
    }

    fn at_genesis(genesis: &Genesis, file: Arc<HandoverFile>) -> Option<Self> {
        Some(Self {
            every: u64::from(genesis.checkpoints.as_ref()?.every_blocks),
            trusted: TrustedSigners::of_genesis(genesis)?,
            pending: BTreeMap::new(),
            early: Vec::new(),
            file,
            jobs: Vec::new(),
            marks: Vec::new(),
            asked: 0,
            forged: 0,
        })
    }

    /// Hands out every checkpoint of the file from a height on.
    fn read(
        &mut self,
        mut from: u64,
        take: &mut dyn FnMut(&mut Self, &Checkpoint) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            let records = self.file.read_from(from, CHECKPOINTS_MAX, SENT_BYTES_MAX)?;
            if records.is_empty() {
                return Ok(());
            }
            for bytes in records {
                let checkpoint = Checkpoint::decode(&bytes).map_err(io::Error::other)?;
                from = checkpoint.height().map_err(io::Error::other)?.0 + 1;
                take(self, &checkpoint)?;
            }
        }
    }

    /// Whether a checkpoint is due that is not here.
    fn lacks(&self, tip: Height) -> bool {
        tip.0 / self.every * self.every > self.trusted.since().0
    }

    fn follow(&mut self, chain_id: &Hash, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let header = self.trusted.follow(chain_id, checkpoint)?;
        self.mark(&header, checkpoint);
        Ok(())
    }

    fn mark(&mut self, header: &Header, checkpoint: &Checkpoint) {
        let next = &checkpoint.next;
        let power = next.signers.iter().map(|signer| signer.power).sum();
        self.marks.push(CheckpointMark {
            height: header.height,
            block: header.hash(),
            signatures: checkpoint.signatures.len(),
            next: (next.signers.len(), power, next.power),
        });
        if self.marks.len() > MARKS_MAX {
            self.marks.remove(0);
        }
    }

    /// Follows a checkpoint and keeps it. Whether it was new and held.
    fn keep(&mut self, chain_id: &Hash, checkpoint: &Checkpoint) -> Result<bool, io::Error> {
        if let Err(error) = self.follow(chain_id, checkpoint) {
            tracing::debug!(error = %error, "a checkpoint is not followed");
            return Ok(false);
        }
        let height = self.trusted.since();
        self.file.append(height.0, &checkpoint.to_bytes())?;
        self.jobs.push(CheckpointJob::Sync);
        self.pending.retain(|waiting, _| *waiting > height);
        tracing::info!(%height, signatures = checkpoint.signatures.len(), "checkpoint");
        Ok(true)
    }

    /// A block was decided and executed.
    fn decided(&mut self, chain: &Chain, header: &[u8]) -> io::Result<()> {
        let tip = chain.tip();
        if !tip.height.0.is_multiple_of(self.every) || tip.height <= self.trusted.since() {
            return Ok(());
        }
        let Some(next) = chain.checkpoint_set() else {
            return Ok(());
        };
        let signers = next.signers.iter().map(|signer| signer.power).sum();
        if !next.is_enough(signers) {
            let (got, total) = (signers, next.power);
            tracing::warn!(
                got,
                total,
                "validators without checkpoint keys have a third of the power: no checkpoint will follow"
            );
        }
        let digest = checkpoint_digest(&chain.chain_id(), tip.height, &tip.hash, &next.hash());
        self.jobs.push(CheckpointJob::Sign {
            height: tip.height,
            digest,
        });
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_first();
        }
        self.pending.insert(
            tip.height,
            Pending {
                header: header.to_vec(),
                hash: tip.hash,
                next,
                digest,
                signatures: BTreeMap::new(),
                own: Vec::new(),
            },
        );
        let (now, later) = core::mem::take(&mut self.early)
            .into_iter()
            .partition(|early| early.height <= tip.height);
        self.early = later;
        let now: Vec<Early> = now;
        for early in now {
            self.take(&early.header, early.height, early.signature);
        }
        self.gather(&chain.chain_id())
    }

    /// Counts a signature of one who must sign, once it holds.
    fn take(&mut self, header: &Hash, height: Height, signature: CheckpointSignature) {
        let Some(pending) = self.pending.get_mut(&height).filter(|one| one.hash == *header) else {
            return;
        };
        let Some(signer) = self.trusted.set().signer(&signature.key) else {
            return;
        };
        if pending.signatures.contains_key(&signature.key) {
            return;
        }
        let (key, digest) = (&signer.key, pending.digest.as_bytes());
        match key.verify(digest, &signature.signature) {
            Ok(()) => {
                pending.signatures.insert(signature.key, signature.signature);
            }
            Err(error) => {
                self.forged += 1;
                tracing::debug!(error = %error, "a signature of a checkpoint does not hold");
            }
        }
    }

    /// A signature that came from a peer.
    fn heard(&mut self, tip: Height, height: Height, header: Hash, signature: CheckpointSignature) {
        let is_due = height.0.is_multiple_of(self.every) && height > self.trusted.since();
        if !is_due || height.0 > tip.0.saturating_add(self.every) {
            return;
        }
        if height <= tip {
            return self.take(&header, height, signature);
        }
        let bytes: usize = self.early.iter().map(|one| one.signature.signature.len()).sum();
        let is_known = |one: &Early| (one.height, one.signature.key) == (height, signature.key);
        if bytes + signature.signature.len() <= EARLY_BYTES_MAX
            && self.trusted.set().signer(&signature.key).is_some()
            && !self.early.iter().any(is_known)
        {
            self.early.push(Early {
                height,
                header,
                signature,
            });
        }
    }

    /// Makes checkpoints of headers that enough have signed.
    fn gather(&mut self, chain_id: &Hash) -> io::Result<()> {
        loop {
            let set = self.trusted.set();
            let power = |pending: &Pending| -> u64 {
                let keys = pending.signatures.keys();
                keys.filter_map(|key| Some(set.signer(key)?.power)).sum()
            };
            let mut waiting = self.pending.iter();
            let Some((_, pending)) = waiting.find(|(_, pending)| set.is_enough(power(pending))) else {
                return Ok(());
            };
            let signatures = pending
                .signatures
                .iter()
                .map(|(key, signature)| CheckpointSignature {
                    key: *key,
                    signature: signature.clone(),
                });
            let checkpoint = Checkpoint {
                header: pending.header.clone(),
                next: pending.next.clone(),
                signatures: signatures.collect(),
            };
            if !self.keep(chain_id, &checkpoint)? {
                // Cannot be: each part of it was checked.
                return Ok(());
            }
            // Who must sign may be others now.
            let set = self.trusted.set();
            for pending in self.pending.values_mut() {
                pending.signatures.retain(|key, _| set.signer(key).is_some());
            }
        }
    }

    /// How they are.
    pub fn view(&self) -> CheckpointsView {
        let set = self.trusted.set();
        let power = |pending: &Pending| {
            let keys = pending.signatures.keys();
            keys.filter_map(|key| Some(set.signer(key)?.power)).sum()
        };
        let waiting = self.pending.iter();
        CheckpointsView {
            every_blocks: self.every,
            newest: self.marks.clone(),
            waiting: waiting
                .map(|(height, pending)| (*height, power(pending), set.power))
                .collect(),
            forged: self.forged,
        }
    }
}

impl<T: Ticket> Replica<T> {
    /// Lets it sign and gather checkpoints.
    #[must_use]
    pub fn checkpointing(mut self, checkpoints: Option<Checkpoints>) -> Self {
        self.checkpoints = checkpoints;
        self
    }

    /// What the thread beside is to do, in order.
    pub fn take_checkpoint_jobs(&mut self) -> Vec<CheckpointJob> {
        let checkpoints = self.checkpoints.as_mut();
        checkpoints.map_or_else(Vec::new, |one| core::mem::take(&mut one.jobs))
    }

    /// Own signatures of the checkpoint of a height.
    ///
    /// # Errors
    /// [`ReplicaError`]: the node must stop.
    pub fn checkpoint_signed(
        &mut self,
        height: Height,
        signatures: Vec<CheckpointSignature>,
    ) -> Result<(), ReplicaError> {
        self.with_checkpoints(|checkpoints, chain| {
            let set = checkpoints.trusted.set().clone();
            let Some(pending) = checkpoints.pending.get_mut(&height) else {
                return Ok(Vec::new());
            };
            let hash = pending.hash;
            pending.own = signatures;
            let own = pending.own.clone();
            let own = own.into_iter().filter(|one| set.signer(&one.key).is_some());
            let own: Vec<CheckpointSignature> = own.collect();
            for signature in &own {
                checkpoints.take(&hash, height, signature.clone());
            }
            checkpoints.gather(&chain.chain_id())?;
            Ok(own
                .into_iter()
                .map(|signature| (height, hash, signature))
                .collect())
        })
    }

    pub(super) fn checkpoint_decided(&mut self, header: &[u8]) -> Result<(), ReplicaError> {
        self.with_checkpoints(|checkpoints, chain| {
            checkpoints.decided(chain, header)?;
            Ok(Vec::new())
        })
    }

    pub(super) fn checkpoint_heard(
        &mut self,
        height: Height,
        header: Hash,
        signature: CheckpointSignature,
    ) -> Result<(), ReplicaError> {
        self.with_checkpoints(|checkpoints, chain| {
            checkpoints.heard(chain.tip().height, height, header, signature);
            checkpoints.gather(&chain.chain_id())?;
            Ok(Vec::new())
        })
    }

    pub(super) fn checkpoints_heard(&mut self, all: &[&[u8]]) -> Result<(), ReplicaError> {
        self.with_checkpoints(|checkpoints, chain| {
            for bytes in all {
                let Ok(checkpoint) = Checkpoint::decode(bytes) else {
                    break;
                };
                let is_new = checkpoint
                    .height()
                    .is_ok_and(|height| height > checkpoints.trusted.since());
                if is_new && !checkpoints.keep(&chain.chain_id(), &checkpoint)? {
                    break;
                }
            }
            checkpoints.gather(&chain.chain_id())?;
            Ok(Vec::new())
        })
    }

    pub(super) fn serve_checkpoints(
        &mut self,
        to: u32,
        from: Height,
        now: TimeNs,
    ) -> Result<(), ReplicaError> {
        let Some(checkpoints) = &self.checkpoints else {
            return Ok(());
        };
        if checkpoints.file.last().is_none_or(|last| last < from.0) || self.allowance.ask(to, now).is_err() {
            return Ok(());
        }
        let all = checkpoints
            .file
            .read_from(from.0, CHECKPOINTS_MAX, SENT_BYTES_MAX)
            .map_err(ReplicaError::Checkpoints)?;
        self.allowance.sent(to, all.iter().map(Vec::len).sum(), now);
        let all = all.iter().map(Vec::as_slice).collect();
        self.send(To::One(to), &PeerMessage::Checkpoints(all));
        Ok(())
    }

    /// Says again what may have been lost, and asks for what is not here.
    pub(super) fn remind_checkpoints(&mut self) {
        let tip = self.chain.tip().height;
        let Some(checkpoints) = &mut self.checkpoints else {
            return;
        };
        let set = checkpoints.trusted.set();
        let mut said = Vec::new();
        for (height, pending) in &checkpoints.pending {
            let own = pending.own.iter().filter(|one| set.signer(&one.key).is_some());
            said.extend(own.map(|signature| (*height, pending.hash, signature.clone())));
        }
        let wanted = checkpoints.lacks(tip).then(|| {
            checkpoints.asked = checkpoints.asked.wrapping_add(1);
            (checkpoints.asked, checkpoints.trusted.since().next())
        });
        for (height, header, signature) in said {
            let message = PeerMessage::CheckpointSignature {
                height,
                header,
                signature,
            };
            self.send(To::All, &message);
        }
        if let Some((turn, from)) = wanted
            && let Some(peer) = self.others.get(turn % self.others.len().max(1)).copied()
        {
            self.send(To::One(peer), &PeerMessage::WantCheckpoints(from));
        }
    }

    /// Acts on the checkpoints, and sends the signatures that come of it.
    fn with_checkpoints(
        &mut self,
        act: impl FnOnce(&mut Checkpoints, &Chain) -> io::Result<Vec<(Height, Hash, CheckpointSignature)>>,
    ) -> Result<(), ReplicaError> {
        let Some(mut checkpoints) = self.checkpoints.take() else {
            return Ok(());
        };
        let said = act(&mut checkpoints, &self.chain);
        self.checkpoints = Some(checkpoints);
        for (height, header, signature) in said.map_err(ReplicaError::Checkpoints)? {
            let message = PeerMessage::CheckpointSignature {
                height,
                header,
                signature,
            };
            self.send(To::All, &message);
        }
        Ok(())
    }
}
