//! Questions about the state, answered between two blocks by the thread that owns the chain.

use super::covering::Covering;
use super::intake::elapsed_ns;
use super::publish::DurableTip;
use super::queue::Queue;
use super::tag::Tag;
use crate::telemetry::Metrics;
use selfchain_engine::commit::Chain;
use selfchain_engine::ledger::Ledger;
use selfchain_types::message::{
    AccountState, Answer, HOLDS_MAX, HoldRecord, PolicyState, Query, Reply, Status,
};
use selfchain_types::seam::log::LogReader;
use selfchain_types::{AccountId, Hash, Height, KeyId, Refusal};
use std::sync::Arc;

/// A question about the state, answered between two blocks.
pub type StateQuery = (Query, Tag);

/// Answers questions about the state.
pub struct StateAnswers {
    /// Where they wait.
    pub queries: Arc<Queue<StateQuery>>,
    /// The newest durable block.
    pub durable: Arc<DurableTip>,
    /// The log, for its first height.
    pub log: Arc<dyn LogReader>,
    /// Paths of accounts that wait for their headers.
    pub covering: Arc<Covering>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// Most questions answered before the next look at the clock.
const QUERY_ROUND_MAX: usize = 256;

impl StateAnswers {
    /// Answers what waits, by the chain as it stands.
    pub fn answer(&self, chain: &Chain) {
        self.covering.look();
        if self.queries.is_empty() {
            return;
        }
        self.queries.gauge();
        for _ in 0..QUERY_ROUND_MAX {
            let Some((query, tag)) = self.queries.pop() else {
                return self.queries.gauge();
            };
            let ledger = chain.ledger();
            if let Query::ProveAccount { account, since, .. } = query
                && let Some(path) = chain.account_path(account)
            {
                self.covering.add(path, since, tag);
                continue;
            }
            let answer = match query {
                Query::Account(id) => ledger.account(id).map(|found| {
                    Answer::Account(AccountState {
                        hot: found.hot,
                        cold: found.cold,
                    })
                }),
                Query::Key(id) => ledger.key(&id).map(Answer::Key),
                Query::Asset(id) => ledger.asset(id).map(Answer::Asset),
                Query::Status => Some(Answer::Status(self.status(chain))),
                Query::Holds { from } => Some(holds(ledger, from)),
                Query::Policy(account) => policy(ledger, account),
                Query::Identity(id) => ledger
                    .identity(&id)
                    .or_else(|| ledger.identity_of(&KeyId(id)).copied())
                    .map(Answer::Identity),
                _ => None,
            };
            match answer {
                Some(answer) => tag.answer(&Reply::Answer(answer)),
                None => {
                    self.metrics.refused(Refusal::NotFound, 1);
                    tag.refuse(Refusal::NotFound, "nothing by that name on this chain");
                }
            }
            self.metrics.query_latency.record(elapsed_ns(tag.received));
        }
    }

    /// The newest height that somebody waits for, so that a proof can be made.
    pub fn wanted_through(&self) -> Height {
        self.covering.wanted_through()
    }

    /// Answers no more.
    pub fn close(&self) {
        self.queries.close();
        self.covering.close();
    }

    fn status(&self, chain: &Chain) -> Status {
        let tip = self.durable.get();
        Status {
            chain_id: chain.chain_id(),
            tip: tip.height,
            tip_hash: tip.hash,
            first: Height(self.log.first().unwrap_or(0)),
            time_ns: tip.time_ns,
            accounts: chain.ledger().account_count(),
            operations: chain.ledger().operations_applied(),
            validity_max: chain.genesis().limits.validity_max,
        }
    }
}

fn holds(ledger: &Ledger, from: u32) -> Answer {
    let (found, next) = ledger.holds(from, HOLDS_MAX);
    let records = found.iter().filter_map(|pending| {
        let hold = pending.hold?;
        Some(HoldRecord {
            id: pending.id.into(),
            debit: pending.debit.0.into(),
            credit: pending.credit.0.into(),
            amount: pending.amount.0.into(),
            reviewer: hold.reviewer.0,
            deadline_ns: pending.deadline.map_or(0, |deadline| deadline.0).into(),
            opened: pending.opened.0.into(),
            asset: pending.asset.0.into(),
            score: hold.score,
            reasons: hold.reasons,
            was_pending: hold.was_pending.into(),
            reserved: [0; 7],
        })
    });
    Answer::Holds(records.collect(), next.unwrap_or(0))
}

/// The chain's policy, or what an account has of its own.
fn policy(ledger: &Ledger, account: AccountId) -> Option<Answer> {
    let policy = if account == AccountId::NONE {
        ledger.chain_policy()
    } else {
        ledger.account(account)?;
        ledger.own_policy(account).unwrap_or_default()
    };
    let model = match account {
        AccountId::NONE => ledger.model_at(ledger.height().next()),
        account => ledger.own_model(account),
    };
    Some(Answer::Policy(PolicyState {
        policy,
        version: ledger.policy_version(),
        model: model.unwrap_or(Hash::ZERO),
    }))
}
