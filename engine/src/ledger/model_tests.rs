//! Random histories against a slow model that is obviously right: it clones the world for every step that may
//! fail, and knows nothing of slots, indexes or undo.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::Ledger;
use super::world::*;
use alloc::collections::BTreeMap;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use selfchain_types::key::SessionScope;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Kind, Operation, OperationFlags as F, Outcome, TimeNs,
};

type Refusal = (Outcome, Option<(u128, u128)>);
type Answer<T> = Result<T, Refusal>;

fn no<T>(outcome: Outcome) -> Answer<T> {
    Err((outcome, None))
}

fn demand(is_right: bool, outcome: Outcome) -> Answer<()> {
    if is_right { Ok(()) } else { no(outcome) }
}

#[derive(Clone, Debug, PartialEq)]
struct Account {
    debits: u128,
    credits: u128,
    debits_pending: u128,
    credits_pending: u128,
    limit: u128,
    flags: u16,
    asset: u32,
    owner: u8,
}

impl Account {
    fn has(&self, flag: AccountFlags) -> bool {
        self.flags & flag.0 != 0
    }

    fn debit_room(&self) -> Option<u128> {
        let most = self.credits.saturating_add(self.limit);
        self.has(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS)
            .then(|| most.saturating_sub(self.debits + self.debits_pending))
    }

    fn credit_room(&self) -> Option<u128> {
        let most = self.debits.saturating_add(self.limit);
        self.has(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS)
            .then(|| most.saturating_sub(self.credits + self.credits_pending))
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Pending {
    debit: u128,
    credit: u128,
    amount: u128,
    deadline: u64,
    chain: u64,
    /// When it was made, to put a chain in order.
    made: u64,
    chain_len: usize,
}

#[derive(Clone, Debug, Default)]
struct Model {
    accounts: BTreeMap<u128, Account>,
    pendings: BTreeMap<u128, Pending>,
    /// By account and key: cap, scope, expiry.
    sessions: BTreeMap<(u128, u8), (u128, u32, u64)>,
    chains: u64,
    made: u64,
}

impl Model {
    /// The same accounts as the world's.
    fn of(world: &World) -> Self {
        let mut model = Self::default();
        for (id, owner) in OWNERS {
            let Some(account) = world.ledger.account(id) else {
                continue;
            };
            let [debits, credits, ..] = numbers(&account.balances());
            let account = Account {
                debits,
                credits,
                debits_pending: 0,
                credits_pending: 0,
                limit: account.hot.limit.get(),
                flags: account.hot.flags.get(),
                asset: account.hot.asset.get(),
                owner,
            };
            model.accounts.insert(id.0, account);
        }
        model
    }

    fn expire(&mut self, time: u64) -> Vec<u128> {
        let over = self
            .pendings
            .iter()
            .filter(|(_, one)| one.deadline != 0 && one.deadline <= time);
        let mut over: Vec<(u64, u128)> = over.map(|(id, one)| (one.deadline, *id)).collect();
        over.sort_unstable();
        over.iter().for_each(|(_, id)| {
            self.settle(*id, 0);
        });
        over.into_iter().map(|(_, id)| id).collect()
    }

    /// One envelope; `time` is that of its first operation.
    fn envelope(&mut self, by: &[u8], operations: &[Operation], time: u64) -> String {
        let mut words = Vec::new();
        let mut at = 0;
        while at < operations.len() {
            let linked = operations[at..].iter().take_while(|one| one.is_linked()).count();
            let end = (at + linked + 1).min(operations.len());
            let members = &operations[at..end];
            if members.last().unwrap().is_linked() {
                words.extend(vec!["linked_failed".into(); members.len() - 1]);
                words.push("chain_open".into());
            } else {
                words.extend(self.chain(by, members, time + at as u64));
            }
            at = end;
        }
        words.join(" ")
    }

    fn chain(&mut self, by: &[u8], members: &[Operation], time: u64) -> Vec<String> {
        let before = self.clone();
        self.chains += 1;
        let chain = self.chains;
        let mut words = Vec::new();
        for (at, operation) in members.iter().enumerate() {
            match self.operation(by, operation, time + at as u64) {
                Ok(moved) => words.push(match moved {
                    Some(moved) if moved != operation.amount.get() => format!("ok={moved}"),
                    _ => "ok".into(),
                }),
                Err((outcome, shortfall)) => {
                    *self = before;
                    words = vec!["linked_failed".into(); members.len()];
                    words[at] = match shortfall {
                        None => outcome.name().into(),
                        Some((needed, available)) => format!("{outcome}:{needed}/{available}"),
                    };
                    return words;
                }
            }
        }
        let len = self.pendings.values().filter(|one| one.chain == chain).count();
        for one in self.pendings.values_mut().filter(|one| one.chain == chain) {
            one.chain_len = len;
        }
        words
    }

    fn operation(&mut self, by: &[u8], operation: &Operation, now: u64) -> Answer<Option<u128>> {
        match operation.kind().unwrap() {
            Kind::Transfer => self.transfer(by, operation, now).map(Some),
            Kind::OpenAccount => {
                demand(
                    !self.accounts.contains_key(&operation.id.get()),
                    Outcome::AccountExists,
                )?;
                let owner = OWNERS.iter().find(|one| one.0.0 == operation.id.get()).unwrap().1;
                let account = Account {
                    debits: 0,
                    credits: 0,
                    debits_pending: 0,
                    credits_pending: 0,
                    limit: 0,
                    flags: BOUND.0,
                    asset: COIN.0,
                    owner,
                };
                self.accounts.insert(operation.id.get(), account);
                Ok(None)
            }
            Kind::CloseAccount => {
                let account = self.known(operation.id.get())?;
                demand(!account.has(AccountFlags::CLOSED), Outcome::AccountClosed)?;
                demand(by.contains(&account.owner), Outcome::NotAuthorized)?;
                let id = operation.id.get();
                let debited = self.pendings.values().any(|one| one.debit == id);
                let pending = debited || self.accounts[&id].credits_pending != 0;
                demand(!pending, Outcome::AccountPending)?;
                self.accounts.get_mut(&id).unwrap().flags |= AccountFlags::CLOSED.0;
                Ok(None)
            }
            Kind::SetLimit => {
                let account = self.known(operation.id.get())?;
                demand(!account.has(AccountFlags::CLOSED), Outcome::AccountClosed)?;
                let may = by.contains(&ISSUER) && !account.has(AccountFlags::ISSUANCE);
                demand(may, Outcome::NotAuthorized)?;
                self.accounts.get_mut(&operation.id.get()).unwrap().limit = operation.amount.get();
                Ok(None)
            }
            Kind::SetSession => {
                let account = operation.pending.get();
                let known = self.known(account)?.clone();
                let key = [ALICE, BOB, CAROL]
                    .into_iter()
                    .find(|key| id(*key).0 == operation.named())
                    .unwrap();
                if operation.amount.get() == 0 {
                    demand(
                        self.sessions.contains_key(&(account, key)),
                        Outcome::SessionUnknown,
                    )?;
                    demand(by.contains(&known.owner), Outcome::NotAuthorized)?;
                    self.sessions.remove(&(account, key));
                    return Ok(None);
                }
                demand(!known.has(AccountFlags::CLOSED), Outcome::AccountClosed)?;
                demand(by.contains(&known.owner), Outcome::NotAuthorized)?;
                let (scope, expires) = (operation.timeout_s.get(), operation.effective_ns.get());
                demand(scope != 0, Outcome::SessionScope)?;
                demand(expires > now, Outcome::SessionExpired)?;
                self.sessions
                    .insert((account, key), (operation.amount.get(), scope, expires));
                Ok(None)
            }
            other => panic!("{other:?} is not drawn"),
        }
    }

    fn known(&self, id: u128) -> Answer<&Account> {
        self.accounts.get(&id).ok_or((Outcome::AccountUnknown, None))
    }

    fn transfer(&mut self, by: &[u8], operation: &Operation, now: u64) -> Answer<u128> {
        let flags = operation.flags();
        if flags.has(F::POST) || flags.has(F::VOID) {
            return self.settlement(by, operation, now);
        }
        let (debit_id, credit_id) = (operation.debit.get(), operation.credit.get());
        demand(debit_id != credit_id, Outcome::AccountsSame)?;
        let reserves = flags.has(F::PENDING);
        let id = operation.id.get();
        demand(
            !reserves || !self.pendings.contains_key(&id),
            Outcome::PendingExists,
        )?;
        let find = |id, unknown| self.accounts.get(&id).cloned().ok_or((unknown, None));
        let debit = find(debit_id, Outcome::DebitAccountUnknown)?;
        let credit = find(credit_id, Outcome::CreditAccountUnknown)?;
        demand(!debit.has(AccountFlags::CLOSED), Outcome::DebitAccountClosed)?;
        demand(!credit.has(AccountFlags::CLOSED), Outcome::CreditAccountClosed)?;
        let asset = operation.asset.get();
        demand(
            debit.asset == asset && credit.asset == asset,
            Outcome::AssetMismatch,
        )?;
        let scope = if reserves {
            SessionScope::PENDING
        } else {
            SessionScope::TRANSFER
        };
        let session = self.authority(by, debit_id, scope, now)?;
        let mut amount = operation.amount.get();
        let mut bounded = !(flags.has(F::BALANCING_DEBIT) || flags.has(F::BALANCING_CREDIT));
        for (flag, room) in [
            (F::BALANCING_DEBIT, debit.debit_room()),
            (F::BALANCING_CREDIT, credit.credit_room()),
        ] {
            if let Some(room) = room.filter(|_| flags.has(flag)) {
                amount = amount.min(room);
                bounded = true;
            }
        }
        demand(bounded || amount != u128::MAX, Outcome::AmountOverflow)?;
        if let Some(session) = session {
            let (cap, ..) = self.sessions.get_mut(&session).unwrap();
            if *cap < amount {
                return Err((Outcome::SessionCap, Some((amount, *cap))));
            }
            *cap -= amount;
        }
        let fits = |sum: u128| sum.checked_add(amount).is_some();
        let both = fits(debit.debits + debit.debits_pending) && fits(credit.credits + credit.credits_pending);
        demand(both, Outcome::AmountOverflow)?;
        if let Some(room) = debit.debit_room().filter(|room| *room < amount) {
            let issues = debit.has(AccountFlags::ISSUANCE);
            let outcome = if issues {
                Outcome::SupplyCapExceeded
            } else {
                Outcome::InsufficientFunds
            };
            return Err((outcome, Some((amount, room))));
        }
        if let Some(room) = credit.credit_room().filter(|room| *room < amount) {
            return Err((Outcome::CreditExceedsDebits, Some((amount, room))));
        }
        if !reserves {
            self.accounts.get_mut(&debit_id).unwrap().debits += amount;
            self.accounts.get_mut(&credit_id).unwrap().credits += amount;
            return Ok(amount);
        }
        self.accounts.get_mut(&debit_id).unwrap().debits_pending += amount;
        self.accounts.get_mut(&credit_id).unwrap().credits_pending += amount;
        self.made += 1;
        let timeout = u64::from(operation.timeout_s.get()) * NS_PER_S;
        let pending = Pending {
            debit: debit_id,
            credit: credit_id,
            amount,
            deadline: if timeout == 0 { 0 } else { now + timeout },
            chain: self.chains,
            made: self.made,
            chain_len: 1,
        };
        self.pendings.insert(id, pending);
        Ok(amount)
    }

    fn settlement(&mut self, by: &[u8], operation: &Operation, now: u64) -> Answer<u128> {
        let flags = operation.flags();
        let posts = flags.has(F::POST);
        let id = operation.pending.get();
        let first = self
            .pendings
            .get(&id)
            .cloned()
            .ok_or((Outcome::PendingUnknown, None))?;
        let mut ids = vec![id];
        if flags.has(F::CHAIN) {
            let members = self.pendings.iter().filter(|(_, one)| one.chain == first.chain);
            let mut members: Vec<(u64, u128)> = members.map(|(id, one)| (one.made, *id)).collect();
            members.sort_unstable();
            demand(members[0].1 == id, Outcome::PendingMismatch)?;
            let whole = members.len() == first.chain_len;
            demand(!posts || whole, Outcome::PendingUnknown)?;
            ids = members.into_iter().map(|(_, id)| id).collect();
        }
        for id in &ids {
            let one = &self.pendings[id];
            demand(one.deadline == 0 || one.deadline > now, Outcome::PendingExpired)?;
            let allowed = |side| self.authority(by, side, SessionScope::SETTLE, now);
            let (payer, payee) = (allowed(one.debit), allowed(one.credit));
            let same = self.accounts[&one.debit].owner == self.accounts[&one.credit].owner;
            let (first, second) = match (posts, same) {
                (true, _) => (payer, Some(payee)),
                (false, true) => (payee, Some(payer)),
                (false, false) => (payee, None),
            };
            if let Err(wrong) = first {
                match second {
                    Some(Ok(_)) => {}
                    Some(Err(other)) if wrong.0 == Outcome::NotAuthorized => return Err(other),
                    _ => return Err(wrong),
                }
            }
        }
        let whole = operation.amount.get() == u128::MAX || flags.has(F::CHAIN);
        let posted = |pending: &Pending| match (posts, whole) {
            (false, _) => 0,
            (true, true) => pending.amount,
            (true, false) => operation.amount.get(),
        };
        demand(posted(&first) <= first.amount, Outcome::PendingAmountExceeded)?;
        let mut moved = 0u128;
        for id in ids {
            let amount = posted(&self.pendings[&id]);
            moved = moved.saturating_add(self.settle(id, amount));
        }
        Ok(moved)
    }

    fn settle(&mut self, id: u128, amount: u128) -> u128 {
        let pending = self.pendings.remove(&id).unwrap();
        let debit = self.accounts.get_mut(&pending.debit).unwrap();
        debit.debits_pending -= pending.amount;
        debit.debits += amount;
        let credit = self.accounts.get_mut(&pending.credit).unwrap();
        credit.credits_pending -= pending.amount;
        credit.credits += amount;
        amount
    }

    fn authority(
        &self,
        by: &[u8],
        account: u128,
        scope: SessionScope,
        now: u64,
    ) -> Answer<Option<(u128, u8)>> {
        if by.contains(&self.accounts[&account].owner) {
            return Ok(None);
        }
        let mut refusal = None;
        for key in by {
            if let Some((_, has, expires)) = self.sessions.get(&(account, *key)) {
                if has & scope.0 == 0 {
                    refusal = refusal.or(Some(Outcome::SessionScope));
                } else if *expires <= now {
                    refusal = refusal.or(Some(Outcome::SessionExpired));
                } else {
                    return Ok(Some((account, *key)));
                }
            }
        }
        no(refusal.unwrap_or(Outcome::NotAuthorized))
    }

    /// Compares everything that it knows with the ledger.
    fn assert_matches(&self, ledger: &Ledger) {
        for (id, account) in &self.accounts {
            let state = ledger.account(AccountId(*id)).unwrap();
            let totals = [
                account.debits,
                account.credits,
                account.debits_pending,
                account.credits_pending,
            ];
            assert_eq!(numbers(&state.balances()), totals, "account {id}");
            assert_eq!(state.hot.limit.get(), account.limit);
            assert_eq!(state.hot.flags.get(), account.flags);
            let open = self.pendings.values().filter(|one| one.debit == *id).count();
            assert_eq!(state.hot.pendings_open.get() as usize, open);
        }
        assert_eq!(
            ledger.account_count(),
            self.accounts.len() as u64 + 1,
            "and GEM_MINT"
        );
        for (id, pending) in &self.pendings {
            let state = ledger.pending(*id).unwrap();
            let sides = (
                state.debit.0,
                state.credit.0,
                state.amount.0,
                state.chain_len as usize,
            );
            assert_eq!(
                sides,
                (pending.debit, pending.credit, pending.amount, pending.chain_len)
            );
            assert_eq!(state.deadline.map_or(0, |time| time.0), pending.deadline);
        }
        assert_eq!(ledger.pending_count(), self.pendings.len() as u64);
        for ((account, key), (cap, ..)) in &self.sessions {
            let session = ledger.session(AccountId(*account), &id(*key)).unwrap();
            assert_eq!(session.cap_left.get(), *cap);
        }
        assert_eq!(ledger.session_count(), self.sessions.len() as u64);
    }
}

/// Accounts that are drawn; the last four are opened on the way.
const OWNERS: [(AccountId, u8); 12] = [
    (A, ALICE),
    (B, BOB),
    (A2, ALICE),
    (B_FREE, BOB),
    (B_FEW, BOB),
    (B_HISTORY, BOB),
    (MINT, ISSUER),
    (A_GEM, ALICE),
    (AccountId(31), ALICE),
    (AccountId(32), BOB),
    (AccountId(33), CAROL),
    (AccountId(34), ALICE),
];

const AMOUNTS: [u128; 12] = [1, 0, 5, 20, 49, 51, 100, 400, 990, 5_000, 1 << 127, u128::MAX];

/// What an operation is made from; smaller numbers are simpler.
type Draw = (u8, u8, u8, u8, u8, bool);
/// Who signs, what they do, and how much time passes before.
type DrawnBlock = (u8, Vec<Draw>, u32);

fn operation((kind, from, to, amount, pending, linked): Draw) -> Operation {
    let id = 100 + u128::from(pending % 6);
    // Beyond the table, the accounts with which most goes well.
    let account = |at: u8| {
        OWNERS[if at < 12 {
            usize::from(at)
        } else {
            usize::from(at % 2)
        }]
    };
    let ((from, owner), (to, _)) = (account(from), account(to));
    let units = AMOUNTS[usize::from(amount) % AMOUNTS.len()];
    let key = [CAROL, BOB, ALICE][usize::from(pending) % 3];
    let timeout = u32::from(amount) % 7;
    let operation = match kind % 20 {
        0..=4 => pay(1, from, to, units),
        5 => pay(1, from, to, units).flagged(F::BALANCING_DEBIT),
        6 => pay(1, from, to, units).flagged(F::BALANCING_CREDIT),
        7..=9 => Operation::reserve(id, from, to, Amount(units), COIN, timeout),
        10 => Operation::reserve(id, from, to, Amount(units), COIN, 0).flagged(F::BALANCING_DEBIT),
        11 => Operation::post(1, id, Amount::MAX),
        12 => Operation::post(1, id, Amount(units)),
        13 => Operation::void(1, id),
        14 => Operation::post(1, id, Amount::MAX).flagged(F::CHAIN),
        15 => Operation::void(1, id).flagged(F::CHAIN),
        16 => open(from, owner),
        17 if amount < 4 => Operation::close_account(from),
        17 => Operation::set_limit(from, Amount(units)),
        18 => Operation::transfer(1, from, to, Amount(units), AssetId(7 + u32::from(pending % 2))),
        _ if units == 0 => {
            Operation::set_session(1, from, self::id(key), SessionScope(0), Amount::ZERO, TimeNs(0))
        }
        _ => {
            let scope = SessionScope(u32::from(amount) % 8);
            let expires = TimeNs(NS_PER_S * (1 + u64::from(pending) * 4));
            Operation::set_session(1, from, self::id(key), scope, Amount(units), expires)
        }
    };
    if linked { operation.linked() } else { operation }
}

fn signers(mask: u8) -> Vec<u8> {
    let all = [ALICE, BOB, CAROL, ISSUER];
    let mut by: Vec<u8> = (0..4)
        .filter(|bit| mask & 1 << bit != 0)
        .map(|bit| all[bit])
        .collect();
    if by.is_empty() {
        by.push(ALICE);
    }
    by
}

fn histories() -> impl Strategy<Value = Vec<DrawnBlock>> {
    let draw = (
        0u8..20,
        0u8..12,
        0u8..12,
        0u8..12,
        0u8..10,
        prop::bool::weighted(0.3),
    );
    let everyone = 15u8;
    let mask = prop_oneof![2 => Just(everyone), 1 => 0u8..16];
    let block = (mask, prop::collection::vec(draw, 1..25), 0u32..5);
    prop::collection::vec(block, 1..7)
}

/// The state that a snapshot of this ledger gives.
fn restored(world: &World) -> Ledger {
    let mut chunks = Vec::new();
    world
        .ledger
        .snapshot(&mut |table, bytes| chunks.push(Ok::<_, std::io::Error>((table, bytes.to_vec()))));
    Ledger::restore(&world.genesis, &mut chunks.into_iter()).unwrap()
}

const SEED: u64 = 20_260_731;

proptest! {
    // Printed with a failure, and the whole of what repeats it.
    #![proptest_config(Config {
        cases: 400,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn random_histories_go_as_the_model_says(history in histories()) {
        let mut world = World::new(|_| ());
        let mut model = Model::of(&world);
        let mut twin = world.clone();
        for (at, (mask, draws, seconds)) in history.iter().enumerate() {
            let by = signers(*mask);
            let operations: Vec<Operation> = draws.iter().map(|draw| operation(*draw)).collect();
            world.pass(*seconds);
            twin.pass(*seconds);
            let time = world.ledger.next_time(&[], world.now);
            let expired = model.expire(time.0);
            let expected = model.envelope(&by, &operations, time.0);
            let envelope = world.envelope(&by, &operations);
            let executed = world.block(&[envelope]);
            prop_assert_eq!(words(&executed.result), expected, "seed {}, block {}", SEED, at);
            prop_assert_eq!(executed.result.expired, expired);
            model.assert_matches(&world.ledger);
            // A twin that is restored from a snapshot before every block stays the same.
            twin.ledger = restored(&twin);
            let envelope = twin.envelope(&by, &operations);
            twin.block(&[envelope]);
            prop_assert_eq!(twin.ledger.roots(), world.ledger.roots());
        }
    }
}
