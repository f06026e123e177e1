//! What an operation's record says by itself: kind, flags, and fields that must be zero.

use selfchain_types::genesis::OpTime;
use selfchain_types::key::SessionScope;
use selfchain_types::{AccountFlags, Amount, Kind, Operation, OperationFlags, Outcome};

/// Fields as a set of bits; `user_data_128` is the user's own in every kind.
mod field {
    pub(super) const DEBIT: u16 = 1;
    pub(super) const CREDIT: u16 = 2;
    /// A key's id or a hash lies where debit and credit do.
    pub(super) const NAME: u16 = DEBIT | CREDIT;
    pub(super) const AMOUNT: u16 = 4;
    pub(super) const PENDING: u16 = 8;
    pub(super) const DATA_64: u16 = 16;
    pub(super) const EFFECTIVE: u16 = 32;
    pub(super) const TIMEOUT: u16 = 64;
    pub(super) const ASSET: u16 = 128;
    pub(super) const CODE: u16 = 256;
}

/// Checks the record alone, in the order that `docs/formats/operation.md` gives.
pub(super) fn check(operation: &Operation, op_time: OpTime) -> Result<Kind, Outcome> {
    let kind = operation.kind().ok_or(Outcome::KindUnknown)?;
    if operation.version != Operation::VERSION {
        return Err(Outcome::VersionUnknown);
    }
    check_flags(kind, operation)?;
    if operation.reserved != [0; 2] {
        return Err(Outcome::FieldNotZero);
    }
    let id = operation.id.get();
    if id == 0 || id == u128::MAX {
        return Err(Outcome::IdReserved);
    }
    let own_time = if op_time == OpTime::Effective {
        field::EFFECTIVE
    } else {
        0
    };
    if set_fields(operation) & !(used_fields(kind, operation) | own_time) != 0 {
        return Err(Outcome::FieldNotZero);
    }
    let is_new_transfer = kind == Kind::Transfer && !is_settling(operation.flags());
    if is_new_transfer && operation.debit == operation.credit {
        return Err(Outcome::AccountsSame);
    }
    Ok(kind)
}

/// Whether it posts or voids.
fn is_settling(flags: OperationFlags) -> bool {
    flags.has(OperationFlags::POST) || flags.has(OperationFlags::VOID)
}

fn check_flags(kind: Kind, operation: &Operation) -> Result<(), Outcome> {
    let flags = operation.flags();
    let known = match kind {
        Kind::Transfer => OperationFlags::TRANSFER,
        // What was said to the standing of validators is not taken back: nothing may follow that could fail.
        _ if kind.is_of_validators() => OperationFlags::default(),
        _ => OperationFlags::LINKED,
    };
    if flags.0 & !known.0 != 0 {
        return Err(Outcome::FlagsUnknown);
    }
    match kind {
        Kind::Transfer => check_transfer_flags(flags),
        Kind::OpenAccount => check_account_flags(operation.timeout_s.get()),
        Kind::SetSession if operation.timeout_s.get() & !SessionScope::ALL.0 != 0 => {
            Err(Outcome::FlagsUnknown)
        }
        _ => Ok(()),
    }
}

fn check_transfer_flags(flags: OperationFlags) -> Result<(), Outcome> {
    let balancing = OperationFlags::BALANCING_DEBIT.with(OperationFlags::BALANCING_CREDIT);
    let ways = [
        OperationFlags::PENDING,
        OperationFlags::POST,
        OperationFlags::VOID,
    ];
    let chosen = ways.into_iter().filter(|way| flags.has(*way)).count();
    let balances = flags.0 & balancing.0 != 0;
    let excludes = chosen > 1
        || balances && is_settling(flags)
        || flags.has(OperationFlags::CHAIN) && !is_settling(flags);
    if excludes {
        Err(Outcome::FlagsConflict)
    } else {
        Ok(())
    }
}

fn check_account_flags(flags: u32) -> Result<(), Outcome> {
    if flags & !u32::from(AccountFlags::OPENABLE.0) != 0 {
        return Err(Outcome::FlagsUnknown);
    }
    let both =
        AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS.with(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
    if flags & u32::from(both.0) == u32::from(both.0) {
        return Err(Outcome::FlagsConflict);
    }
    Ok(())
}

/// Fields that mean something in this operation.
fn used_fields(kind: Kind, operation: &Operation) -> u16 {
    use field::*;
    match kind {
        Kind::Transfer => transfer_fields(operation),
        Kind::OpenAccount => NAME | AMOUNT | DATA_64 | TIMEOUT | ASSET | CODE,
        Kind::CreateAsset => NAME | AMOUNT | DATA_64 | ASSET | CODE,
        Kind::CloseAccount => 0,
        Kind::SetLimit => AMOUNT,
        Kind::RegisterKey => NAME | DATA_64 | CODE,
        Kind::RevokeKey | Kind::Anchor => NAME,
        // A cap of zero ends the session: then there is neither scope nor expiry.
        Kind::SetSession if operation.amount.get() == 0 => NAME | PENDING,
        Kind::SetSession => NAME | PENDING | AMOUNT | TIMEOUT | EFFECTIVE,
        Kind::AnnounceNode => NAME | DATA_64,
        Kind::Report => NAME | PENDING | TIMEOUT | CODE,
        Kind::Upgrade => CODE | EFFECTIVE,
        Kind::SetPolicy => NAME | PENDING | AMOUNT | TIMEOUT | CODE,
        Kind::SetModel if operation.pending.get() != 0 => NAME | PENDING,
        Kind::SetModel => NAME | EFFECTIVE,
        Kind::Join => NAME | AMOUNT | PENDING | DATA_64 | CODE,
        Kind::Bond => NAME | AMOUNT | PENDING,
        Kind::Rotate | Kind::CheckpointKey => NAME | DATA_64 | CODE,
        Kind::Reveals | Kind::Address | Kind::SetQuality => NAME | DATA_64,
    }
}

fn transfer_fields(operation: &Operation) -> u16 {
    use field::*;
    let flags = operation.flags();
    let own = DATA_64 | CODE;
    let is_all = operation.amount.get() == Amount::MAX.0;
    match () {
        () if flags.has(OperationFlags::CHAIN.with(OperationFlags::POST)) && is_all => own | PENDING | AMOUNT,
        () if flags.has(OperationFlags::CHAIN) => own | PENDING,
        () if flags.has(OperationFlags::POST) => own | PENDING | NAME | ASSET | AMOUNT,
        () if flags.has(OperationFlags::VOID) => own | PENDING | NAME | ASSET,
        () if flags.has(OperationFlags::PENDING) => own | NAME | ASSET | AMOUNT | TIMEOUT,
        () => own | NAME | ASSET | AMOUNT,
    }
}

/// Fields that are not zero.
fn set_fields(operation: &Operation) -> u16 {
    use field::*;
    [
        (DEBIT, operation.debit.get() != 0),
        (CREDIT, operation.credit.get() != 0),
        (AMOUNT, operation.amount.get() != 0),
        (PENDING, operation.pending.get() != 0),
        (DATA_64, operation.user_data_64.get() != 0),
        (EFFECTIVE, operation.effective_ns.get() != 0),
        (TIMEOUT, operation.timeout_s.get() != 0),
        (ASSET, operation.asset.get() != 0),
        (CODE, operation.code.get() != 0),
    ]
    .into_iter()
    .filter(|(_, is_set)| *is_set)
    .fold(0, |fields, (field, _)| fields | field)
}
