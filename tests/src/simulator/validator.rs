//! One validator of the simulation: its disk, and what runs on it while it has power.

use super::plan::{Control, Plan, SNAPSHOT_EVERY};
use super::scorer::{BUDGET_NS, Memories, Witness};
use crate::random::Random;
use selfchain::drive::Scoring;
use selfchain::joining::{JoinConfig, Joining, Offering};
use selfchain::replica::{Committed, Event, Options, Outgoing, Replica, ReplicaError, Sharing, Ticket};
use selfchain::storage::disk::FaultyDisk;
use selfchain::storage::{Disk, Journal, JournalConfig, LogConfig, MemoryDisk, Sealing};
use selfchain::store::{Store, StoreConfig};
use selfchain::sweep::{Slice, SnapshotFiler, SweepConfig, Sweeper};
use selfchain::telemetry::Metrics;
use selfchain::types::crypto::SigningKey;
use selfchain::types::seam::log::Log;
use selfchain::types::seam::scorer::Scorer;
use selfchain::types::{Envelope, Genesis, Hash, Height, TimeNs, Verified};
use selfchain::validating::agreement;
use selfchain_consensus::bft;
use selfchain_engine::builder::Order;
use selfchain_engine::commit::{Anchor, Folded};
use selfchain_engine::intake::Known;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;

/// A transaction that somebody waits for, or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits;

impl Ticket for Waits {
    fn wants_balances(&self) -> bool {
        false
    }
}

/// A failure of anything: with the power gone it is expected, else not.
pub(super) type Failed = Box<dyn Error + Send + Sync>;

/// A validator with power.
pub(super) struct Running {
    pub(super) replica: Replica<Waits>,
    /// What its scorer remembered at the height that it recovered.
    pub(super) recalled: Option<(Height, Hash)>,
    /// Whether its scorer remembers the chain.
    pub(super) remembers: bool,
    memories: Memories,
    store: Store,
    sweeper: Sweeper,
    filer: SnapshotFiler,
    /// Decided blocks that are not durable, where snapshots are taken.
    undurable: Vec<(Folded, Option<Slice>)>,
    takes_snapshots: bool,
}

/// What a step gave.
#[derive(Default)]
pub(super) struct Step {
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) committed: Vec<Committed<Waits>>,
    /// What the scorer remembered after each of them.
    pub(super) memories: Vec<Hash>,
}

/// Who an instance is.
pub(super) struct Identity<'a> {
    pub(super) key: &'a SigningKey,
    pub(super) me: u16,
    /// Where a liar's choices come from.
    pub(super) lies: Option<Random>,
    pub(super) metrics: &'a Arc<Metrics>,
}

const MS: u64 = 1_000_000;
/// So many blocks behind, a validator joins by snapshot.
const JOIN_BEHIND: u64 = 8;

/// Small files, so that a run crosses several segments.
fn store_config(plan: &Plan) -> StoreConfig {
    StoreConfig {
        log: LogConfig {
            segment_bytes: if plan.losing.is_some() { 8 << 10 } else { 256 << 10 },
            reserve_bytes: 0,
            sealing: Sealing::Inline,
            ..LogConfig::default()
        },
        ..StoreConfig::default()
    }
}

/// Writes a chain's beginning to an empty disk.
pub(super) fn create(disk: &FaultyDisk, genesis: &Genesis) -> Result<(), Failed> {
    Ok(Store::create(disk, genesis)?)
}

impl Running {
    /// Recovers what the disk holds.
    pub(super) fn open(
        disk: &FaultyDisk,
        genesis: &Genesis,
        identity: Identity<'_>,
        plan: &Plan,
        now: TimeNs,
    ) -> Result<Self, Failed> {
        let Identity {
            key,
            me,
            lies,
            metrics,
        } = identity;
        let (control, failing) = (plan.control, plan.failing);
        let mut store = Store::open(Arc::new(disk.clone()), &store_config(plan))?;
        let chain = store.recover(&mut |_| {})?;
        let journal_disk: Arc<dyn Disk> = match control {
            Control::NoJournal => Arc::new(MemoryDisk::new()),
            Control::None | Control::NoBodies => Arc::new(disk.clone()),
        };
        let config = JournalConfig {
            reserve_bytes: 0,
            ..JournalConfig::default()
        };
        let tip = chain.tip().height;
        let journal = Journal::open(journal_disk, config, tip.0)?;
        let mut waits = bft::Options::default();
        if !failing.is_known {
            waits.unreachable_ns = None;
        }
        let mut agreement = agreement(genesis, key, waits);
        let memories = Memories::default();
        let (mut recalled, mut remembers) = (None, false);
        if plan.is_scored {
            let lies = RefCell::new(lies);
            let has_model = plan.without_model != Some(me);
            let fresh = || -> Box<dyn Scorer> {
                Box::new(Witness::new(
                    has_model,
                    memories.clone(),
                    lies.borrow_mut().take(),
                ))
            };
            let told = store.remember(&chain, &fresh, &mut |_| {})?;
            // One for each block of the log, of which the last is compared.
            let memory = memories.take().pop();
            remembers = told.begins.is_none();
            if remembers {
                recalled = memory.map(|memory| (tip, memory));
                agreement.scoring = Some(Scoring::new(told.memory, BUDGET_NS, Arc::clone(metrics)));
            }
        }
        let pool = Pool::new(PoolLimits::default(), PoolRules::of(genesis), tip.next());
        let options = Options {
            me,
            proposer: key.id(),
            order: Order::Fee,
            envelopes_max: if failing.starving == Some(me) { 0 } else { 64 },
            interval_ns: 20 * MS,
            tip_every_ns: 500 * MS,
            keeps_bodies: control != Control::NoBodies,
        };
        let log = store.log_reader();
        let sharing = Sharing {
            offering: Offering::new(
                Arc::clone(&store.snapshots),
                Arc::clone(&store.handovers),
                Arc::clone(&log),
                genesis.plane.root_lag(),
            ),
            joining: Joining::new(
                Arc::new(disk.clone()),
                Arc::clone(&store.handovers),
                JoinConfig {
                    behind_blocks: if plan.losing.is_some() { JOIN_BEHIND } else { 0 },
                },
            ),
        };
        let replica = Replica::open(options, chain, agreement, pool, journal, log, now)?;
        let sweep = SweepConfig {
            every: if plan.losing.is_some() { SNAPSHOT_EVERY } else { 0 },
            slice_min: 64,
            ..SweepConfig::default()
        };
        Ok(Self {
            replica: replica.sharing(sharing)?,
            recalled,
            remembers,
            memories,
            store,
            sweeper: Sweeper::new(sweep, Arc::clone(metrics)),
            filer: SnapshotFiler::default(),
            undurable: Vec::new(),
            takes_snapshots: plan.losing.is_some(),
        })
    }

    /// Takes one event in, and verifies what other validators' clients sent.
    pub(super) fn handle(&mut self, event: Event, now: TimeNs) -> Result<(), ReplicaError> {
        self.replica.handle(event, now)?;
        let unverified = self.replica.take_unverified();
        if !unverified.is_empty() {
            for (_, bytes) in unverified {
                self.submit(bytes, false);
            }
            self.replica.handle(Event::Clock, now)?;
        }
        Ok(())
    }

    /// A client's transaction, or another validator's. A refusal is the client's to see: it asks the chain.
    pub(super) fn submit(&mut self, bytes: Vec<u8>, is_own: bool) {
        let Ok(envelope) = Envelope::decode(bytes) else {
            return;
        };
        let known = self.replica.verified();
        let verified = if known.holds(&envelope.leaf()) {
            Ok(Verified::known(envelope))
        } else {
            Verified::check(envelope, &())
        };
        if let Ok(verified) = verified {
            known.add(verified.leaf());
            let _refused = self.replica.submit(verified, Waits, is_own);
        }
    }

    /// What came of the steps since the last call. Decided blocks are appended to the log, not synced.
    pub(super) fn take(&mut self) -> Result<Step, Failed> {
        let outgoing = self.replica.take_outgoing();
        let committed = self.replica.take_committed();
        self.replica.take_refused();
        self.replica.take_evidence();
        for committed in &committed {
            let block = &committed.block;
            self.store.log.append(block.tip.height.0, &block.row)?;
            if self.takes_snapshots {
                let (chain, scorer) = self.replica.for_snapshot();
                let slice = self.sweeper.after_block(chain, scorer, 0);
                let folded = Folded {
                    tip: block.tip,
                    transactions: block.transactions.clone(),
                    history: block.history.clone(),
                    receipt_nodes: block.receipt_nodes.clone(),
                    handover: block.handover.clone(),
                };
                self.undurable.push((folded, slice));
            }
        }
        let memories = self.memories.take();
        Ok(Step {
            outgoing,
            committed,
            memories,
        })
    }

    /// Makes the log durable.
    pub(super) fn sync(&mut self, now: TimeNs) -> Result<(), Failed> {
        let tip = self.store.log.sync()?;
        for (folded, slice) in core::mem::take(&mut self.undurable) {
            self.store.project(&folded)?;
            let Some(slice) = slice else { continue };
            if let Some(height) = self.filer.write_to(&slice, &mut self.store)? {
                let (kept, _) = Anchor::heights(height, 0);
                let first = self.store.log.retain_from(kept.0)?;
                self.store.index.retain_from(first)?;
            }
        }
        Ok(self.replica.handle(Event::Durable(Height(tip)), now)?)
    }
}
