//! One validator of the simulation: its disk, and what runs on it while it has power.

use super::control::weakened;
use super::medium::Medium;
use super::plan::{Control, Plan, SNAPSHOT_EVERY};
use super::scorer::{BUDGET_NS, Memories, Witness};
use super::trust::admitted;
use crate::random::Random;
use selfchain::drive::Scoring;
use selfchain::joining::{JoinConfig, Joining, Offering};
use selfchain::replica::{
    Committed, Event, GUARD_AHEAD, Options, Outgoing, Replica, ReplicaError, Sharing, Ticket,
};
use selfchain::storage::{Disk, Journal, JournalConfig, LogConfig, MemoryDisk, Sealing, Watermark};
use selfchain::store::{Store, StoreConfig};
use selfchain::sweep::{Slice, SnapshotFiler, SweepConfig, Sweeper};
use selfchain::telemetry::Metrics;
use selfchain::types::crypto::SigningKey;
use selfchain::types::peer::PeerMessage;
use selfchain::types::seam::log::Log;
use selfchain::types::seam::scorer::Scorer;
use selfchain::types::{Genesis, Hash, Height, TimeNs};
use selfchain::validating::agreement;
use selfchain_consensus::bft;
use selfchain_engine::builder::Order;
use selfchain_engine::commit::{Anchor, Folded};
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
    trusts_signatures: bool,
    is_silent: bool,
    /// What it had counted at the step before.
    counted: Counted,
}

/// What a run counts of each validator.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    /// Objections to blocks that are ahead of this node's clock.
    pub(super) ahead: u64,
    /// Objections to blocks that leave out what was acknowledged.
    pub(super) starved: u64,
    /// Acknowledgements that were not signed by their senders.
    pub(super) forged: u64,
    /// Ballots of its own that its guard held back.
    pub(super) guarded: u64,
}

/// What a step gave.
#[derive(Default)]
pub(super) struct Step {
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) committed: Vec<Committed<Waits>>,
    /// What the scorer remembered after each of them.
    pub(super) memories: Vec<Hash>,
    /// What was counted in it.
    pub(super) counted: Counted,
}

/// Who an instance is.
pub(super) struct Identity<'a> {
    pub(super) key: &'a SigningKey,
    pub(super) me: u16,
    /// Where a liar's choices come from.
    pub(super) lies: Option<Random>,
    pub(super) metrics: &'a Arc<Metrics>,
    /// The disk of its guard, and which start of its machine this is.
    pub(super) guard: Option<(Arc<dyn Disk>, [u8; 16])>,
}

const MS: u64 = 1_000_000;
/// What the journal has dropped is cleared out so soon, so that long runs fit into memory.
const ROTATE_BYTES: u64 = 1 << 20;
/// So many blocks behind, a validator joins by snapshot.
const JOIN_BEHIND: u64 = 8;

/// Small files, so that a run crosses several segments; in memory there is nothing to be lost between two of them.
fn store_config(plan: &Plan) -> StoreConfig {
    let segment_bytes = match plan {
        Plan { losing: Some(_), .. } => 8 << 10,
        Plan {
            is_on_memory: true, ..
        } => 64 << 20,
        _ => 256 << 10,
    };
    StoreConfig {
        log: LogConfig {
            segment_bytes,
            reserve_bytes: 0,
            sealing: Sealing::Inline,
            ..LogConfig::default()
        },
        ..StoreConfig::default()
    }
}

/// Writes a chain's beginning to an empty disk.
pub(super) fn create(medium: &Medium, genesis: &Genesis) -> Result<(), Failed> {
    Ok(Store::create(&*medium.disk(), genesis)?)
}

impl Running {
    /// Recovers what the disk holds.
    pub(super) fn open(
        medium: &Medium,
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
            guard,
        } = identity;
        let (control, failing) = (plan.control, plan.failing);
        let mut store = Store::open(medium.disk(), &store_config(plan))?;
        let chain = store.recover(&mut |_| {})?;
        let journal_disk: Arc<dyn Disk> = match control {
            Control::NoJournal => Arc::new(MemoryDisk::new()),
            _ => medium.disk(),
        };
        let config = JournalConfig {
            reserve_bytes: 0,
            rotate_bytes: ROTATE_BYTES,
            ..JournalConfig::default()
        };
        let tip = chain.tip().height;
        let journal = Journal::open(journal_disk, config, tip.0)?;
        let mut waits = bft::Options::default();
        if !failing.is_known {
            waits.unreachable_ns = None;
        }
        let mut agreement = agreement(genesis, key, None, waits);
        if let Some((disk, boot)) = guard {
            agreement.guard = Some(Watermark::open(disk, genesis.chain_id(), boot, GUARD_AHEAD)?);
        }
        if let Some(plane) = weakened(plan, genesis, key, waits) {
            agreement.plane = plane;
        }
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
                let budget_ns = if plan.is_scoring_late { 0 } else { BUDGET_NS };
                agreement.scoring = Some(Scoring::new(told.memory, budget_ns, Arc::clone(metrics)));
            }
        }
        let pool = Pool::new(PoolLimits::default(), PoolRules::of(genesis), tip.next());
        let options = Options {
            order: Order::Fee,
            envelopes_max: plan.conduct(me).fills.unwrap_or(plan.load.block_transactions),
            interval_ns: 20 * MS,
            tip_every_ns: 500 * MS,
            keeps_bodies: control != Control::NoBodies,
            starves: failing.starving.contains(&me),
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
                medium.disk(),
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
            trusts_signatures: plan.trusts_signatures,
            is_silent: control == Control::NoAcknowledgements,
            counted: Counted::default(),
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
        let known = self.replica.verified();
        if let Some(verified) = admitted(bytes, self.trusts_signatures, &*known) {
            let _refused = self.replica.submit(verified, Waits, is_own);
        }
    }

    /// What came of the steps since the last call. Decided blocks are appended to the log, not synced.
    pub(super) fn take(&mut self) -> Result<Step, Failed> {
        let mut outgoing = self.replica.take_outgoing();
        if self.is_silent {
            let is_kept = |message: &Outgoing| {
                !matches!(
                    PeerMessage::decode(&message.bytes),
                    Ok(PeerMessage::Acknowledged(_))
                )
            };
            outgoing.retain(is_kept);
        }
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
        let counts = self.replica.counts();
        let before = core::mem::replace(
            &mut self.counted,
            Counted {
                ahead: counts.objected_clock,
                starved: counts.objected_starved,
                forged: counts.acknowledgements_forged,
                guarded: counts.guarded,
            },
        );
        Ok(Step {
            outgoing,
            committed,
            memories,
            counted: Counted {
                ahead: self.counted.ahead - before.ahead,
                starved: self.counted.starved - before.starved,
                forged: self.counted.forged - before.forged,
                guarded: self.counted.guarded - before.guarded,
            },
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
