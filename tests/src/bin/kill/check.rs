//! What must hold of a node that was killed and started again.

use crate::Checked;
use crate::run::{Run, Submitted};
use selfchain::AccountId;
use selfchain::client::Client;
use selfchain::types::codec::wide;
use selfchain::types::message::{Committed, Detail};
use selfchain::types::{Hash, Height};
use std::collections::BTreeMap;

impl Run {
    /// Everything that may be said of a restarted node before it is loaded again.
    pub(crate) fn check(&mut self, client: &Client) -> Checked<()> {
        let restarted = client.status()?.tip;
        let mut open = std::mem::take(&mut self.open);
        // The acknowledged are there; of the rest, each lane's first ones are.
        let mut durable: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut ended: BTreeMap<(usize, usize), bool> = BTreeMap::new();
        let mut is_durable = Vec::with_capacity(open.len());
        let ids: Vec<Hash> = open.iter().map(|one| one.tx_id).collect();
        for (one, found) in open.iter_mut().zip(ask_all(client, &ids)?) {
            if let Some(expected) = &one.result {
                same(found.as_ref(), expected)?;
            } else if found.is_some() {
                self.tally.in_flight_durable += 1;
            }
            let has_ended = ended.entry(one.lane).or_default();
            match &found {
                Some(found) if *has_ended || found.height > restarted => {
                    return Err(
                        format!("{} is there without the one before it on its lane", one.tx_id).into(),
                    );
                }
                Some(_) => *durable.entry(one.lane).or_default() += 1,
                None => *has_ended = true,
            }
            is_durable.push(found.is_some());
            one.result = found;
        }
        self.check_counters(client, &durable)?;
        self.resubmit(client, &mut open, &is_durable, restarted)?;
        for one in &open {
            *self.worker_lane(one.lane) += 1;
        }
        self.check_counters(client, &BTreeMap::new())?;
        open.sort_by_key(|one| one.result.as_ref().map(|result| (result.height, result.index)));
        for one in open {
            let result = one.result.ok_or("resubmitted without a result")?;
            self.model.commit(one.signer, &one.envelope, &result)?;
            self.settled.push((one.tx_id, result));
        }
        self.check_balances(client)?;
        for _ in 0..SETTLED_SAMPLE.min(self.settled.len()) {
            let (tx_id, expected) =
                &self.settled[usize::try_from(self.random.below(wide(self.settled.len())))?];
            same(client.transaction(*tx_id)?.as_ref(), expected)?;
        }
        Ok(())
    }

    /// Every transaction a second time, in the order of its lane: what is there is a duplicate with its first
    /// result, the rest commits; and a third time, when all are duplicates.
    fn resubmit(
        &mut self,
        client: &Client,
        open: &mut [Submitted],
        is_durable: &[bool],
        restarted: Height,
    ) -> Checked<()> {
        for is_third in [false, true] {
            let tickets: Vec<_> = open
                .iter()
                .map(|one| client.submit(&one.envelope, Detail::Refusals))
                .collect::<Result<_, _>>()?;
            for ((one, ticket), was_there) in open.iter_mut().zip(tickets).zip(is_durable) {
                let result = ticket
                    .wait()
                    .map_err(|error| format!("{} resubmitted: {error}", one.tx_id))?;
                let must_be_duplicate = is_third || *was_there;
                if result.duplicate != must_be_duplicate {
                    return Err(
                        format!("{}: duplicate is {}: {result:?}", one.tx_id, result.duplicate).into(),
                    );
                }
                match &one.result {
                    Some(first) => {
                        self.tally.duplicates += 1;
                        same(
                            Some(&Committed {
                                duplicate: false,
                                ..result
                            }),
                            first,
                        )?;
                    }
                    None if result.height > restarted => one.result = Some(result),
                    None => return Err(format!("{} commits in an old block: {result:?}", one.tx_id).into()),
                }
            }
        }
        Ok(())
    }

    /// The ledger's counters are those of what is known to be settled and of `more`.
    fn check_counters(&self, client: &Client, more: &BTreeMap<(usize, usize), u64>) -> Checked<()> {
        for (number, worker) in self.workers.iter().enumerate() {
            let record = client.key(worker.key.id())?;
            for (lane, next) in worker.settled.iter().enumerate() {
                let got = record.as_ref().map_or(0, |record| record.lanes[lane].get());
                let want = next + more.get(&(number, lane)).copied().unwrap_or(0);
                if got != want {
                    return Err(format!("worker {number}, lane {lane}: counter {got}, not {want}").into());
                }
            }
        }
        Ok(())
    }

    fn worker_lane(&mut self, (worker, lane): (usize, usize)) -> &mut u64 {
        &mut self.workers[worker].settled[lane]
    }

    fn check_balances(&self, client: &Client) -> Checked<()> {
        for (id, expected) in &self.model.accounts {
            let found = client
                .account(AccountId(*id))?
                .ok_or("an account is missing")?
                .hot;
            let got = [
                found.debits_posted,
                found.credits_posted,
                found.debits_pending,
                found.credits_pending,
            ];
            if got.map(|total| total.get()) != expected.totals() {
                return Err(format!("account {id} is {found:?}, not {expected:?}").into());
            }
        }
        let status = client.status()?;
        if status.operations != self.model.applied {
            return Err(format!(
                "{} operations applied, not {}",
                status.operations, self.model.applied
            )
            .into());
        }
        Ok(())
    }
}

/// Where each transaction is, if it is anywhere.
pub(crate) fn ask_all(client: &Client, ids: &[Hash]) -> Checked<Vec<Option<Committed>>> {
    let share = ids.len().div_ceil(ASKING_THREADS).max(1);
    std::thread::scope(|scope| {
        let ask = |ids: &[Hash]| {
            ids.iter()
                .map(|tx_id| client.transaction(*tx_id))
                .collect::<Result<Vec<_>, _>>()
        };
        let threads: Vec<_> = ids
            .chunks(share)
            .map(|ids| scope.spawn(move || ask(ids)))
            .collect();
        let mut answers = Vec::with_capacity(ids.len());
        for thread in threads {
            answers.extend(thread.join().map_err(|_| "a thread that asks panicked")??);
        }
        Ok(answers)
    })
}

pub(crate) fn same(found: Option<&Committed>, expected: &Committed) -> Checked<()> {
    if found == Some(expected) {
        Ok(())
    } else {
        Err(format!("found {found:?}, not {expected:?}").into())
    }
}

/// Questions that are asked at once.
const ASKING_THREADS: usize = 8;
/// Earlier transactions asked for after each restart.
const SETTLED_SAMPLE: usize = 16;
