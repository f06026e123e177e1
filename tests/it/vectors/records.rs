//! Vectors of the records that the state's tables hold, and of containers of sections.

use selfchain::engine::ledger::PendingRecord;
use selfchain_types::account::{self, AccountCold, AccountHot, Balances};
use selfchain_types::asset::AssetRecord;
use selfchain_types::codec::{
    SECTION_VERSION, known_sections, put_section, put_section_versioned, sections as split,
};
use selfchain_types::identity::IdentityRecord;
use selfchain_types::key::{KeyRecord, SessionRecord, SessionScope};
use selfchain_types::{AccountFlags, Hash, KeyId, hash};
use serde_json::{Value, json};
use zerocopy::{FromBytes, IntoBytes};

use super::{Vector, hex, key};

pub fn records() -> Vec<Vector> {
    let (hot, cold) = (hot(), cold());
    let both = [hot.as_bytes(), cold.as_bytes()].concat();
    let mut fields = hot_fields(&hot);
    let (all, more) = (fields.as_object_mut().unwrap(), cold_fields(&cold));
    all.extend(
        more.as_object()
            .unwrap()
            .clone()
            .into_iter()
            .map(|(name, value)| (format!("cold_{name}"), value)),
    );
    let account = Vector::new("account", fields, both, move |bytes| {
        let read = (
            AccountHot::read_from_bytes(&bytes[..96]),
            AccountCold::read_from_bytes(&bytes[96..]),
        );
        read == (Ok(hot), Ok(cold))
    });
    vec![
        account.hashed("leaf", account::leaf(&hot, &cold)),
        balances(),
        key_record(),
        session_record(),
        pending_record(),
        asset_record(),
        identity_record(),
    ]
}

/// An account whose every field says another number.
pub fn hot() -> AccountHot {
    AccountHot {
        debits_posted: 1_000_001.into(),
        credits_posted: 2_000_002.into(),
        debits_pending: 303.into(),
        credits_pending: 404.into(),
        limit: 505.into(),
        asset: 7.into(),
        owner: 6.into(),
        pendings_open: 2.into(),
        flags: AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS
            .with(AccountFlags::HISTORY)
            .0
            .into(),
        reserved: 0.into(),
    }
}

/// The other half of it.
pub fn cold() -> AccountCold {
    AccountCold {
        id: 101.into(),
        owner: key(1).id().0,
        user_data_128: 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00.into(),
        user_data_64: 0x0102_0304_0506_0708.into(),
        opened: 4.into(),
        code: 42.into(),
        reserved: [0; 14],
    }
}

fn hot_fields(hot: &AccountHot) -> Value {
    let mut fields = balances_fields(&hot.balances());
    fields["limit"] = hot.limit.get().to_string().into();
    fields["asset"] = hot.asset.get().into();
    fields["owner"] = hot.owner.get().into();
    fields["pendings_open"] = hot.pendings_open.get().into();
    fields["flags"] = hot.flags.get().into();
    fields
}

fn cold_fields(cold: &AccountCold) -> Value {
    json!({
        "id": cold.id.get().to_string(),
        "owner": cold.owner.to_hex(),
        "user_data_128": cold.user_data_128.get().to_string(),
        "user_data_64": cold.user_data_64.get().to_string(),
        "opened": cold.opened.get().to_string(),
        "code": cold.code.get(),
    })
}

fn balances() -> Vector {
    let balances = hot().balances();
    Vector::new(
        "balances",
        balances_fields(&balances),
        balances.as_bytes().to_vec(),
        move |bytes| Balances::read_from_bytes(bytes) == Ok(balances),
    )
}

/// The four totals.
pub fn balances_fields(balances: &Balances) -> Value {
    json!({
        "debits_posted": balances.debits_posted.get().to_string(),
        "credits_posted": balances.credits_posted.get().to_string(),
        "debits_pending": balances.debits_pending.get().to_string(),
        "credits_pending": balances.credits_pending.get().to_string(),
    })
}

/// A registered key with counters on its first and last lane.
pub fn registered() -> KeyRecord {
    let mut record = KeyRecord::new(key(1).id());
    record.registered = 3.into();
    record.revoked = 9.into();
    record.scheme = 1.into();
    record.identity = 5.into();
    record.lanes[0] = 12.into();
    record.lanes[15] = 1.into();
    record
}

fn key_record() -> Vector {
    let record = registered();
    let fields = json!({
        "id": record.id.0.to_hex(),
        "registered": record.registered.get().to_string(),
        "revoked": record.revoked.get().to_string(),
        "scheme": record.scheme.get(),
        "identity": record.identity.get(),
        "lanes": record.lanes.iter().map(|lane| lane.get().to_string()).collect::<Vec<_>>(),
    });
    Vector::new("key", fields, record.as_bytes().to_vec(), move |bytes| {
        KeyRecord::read_from_bytes(bytes) == Ok(record)
    })
    .hashed("leaf", hash::KEY_RECORD.hash(record.as_bytes()))
}

fn session_record() -> Vector {
    let record = SessionRecord {
        key: key(2).id(),
        account: 101.into(),
        cap_left: 300.into(),
        expires_ns: 1_800_000_000_000_000_000.into(),
        scope: SessionScope::ALL.0.into(),
        account_index: 5.into(),
        key_index: 6.into(),
        reserved: [0; 12],
    };
    let fields = json!({
        "key": record.key.0.to_hex(),
        "account": record.account.get().to_string(),
        "cap_left": record.cap_left.get().to_string(),
        "expires_ns": record.expires_ns.get().to_string(),
        "scope": record.scope.get(),
        "account_index": record.account_index.get(),
        "key_index": record.key_index.get(),
    });
    Vector::new("session", fields, record.as_bytes().to_vec(), move |bytes| {
        SessionRecord::read_from_bytes(bytes) == Ok(record)
    })
    .hashed("leaf", hash::SESSION.hash(record.as_bytes()))
}

fn pending_record() -> Vector {
    let record = PendingRecord {
        id: 77.into(),
        amount: 500.into(),
        deadline_ns: 1_800_000_000_000_000_000.into(),
        opened: 6.into(),
        debit: 3.into(),
        credit: 4.into(),
        asset: 7.into(),
        chain_previous: 8.into(),
        chain_next: 10.into(),
        chain_len: 3.into(),
        hold: 1,
        score: 201,
        reasons: [13, 0, 255],
        reserved: [0; 3],
    };
    let fields = json!({
        "id": record.id.get().to_string(),
        "amount": record.amount.get().to_string(),
        "deadline_ns": record.deadline_ns.get().to_string(),
        "opened": record.opened.get().to_string(),
        "hold": record.hold,
        "score": record.score,
        "reasons": hex(&record.reasons),
        "debit": record.debit.get(),
        "credit": record.credit.get(),
        "asset": record.asset.get(),
        "chain_previous": record.chain_previous.get(),
        "chain_next": record.chain_next.get(),
        "chain_len": record.chain_len.get(),
    });
    Vector::new("pending", fields, record.as_bytes().to_vec(), move |bytes| {
        PendingRecord::read_from_bytes(bytes) == Ok(record)
    })
    .hashed("leaf", hash::PENDING.hash(record.as_bytes()))
}

/// An identity with two keys.
pub fn identity() -> IdentityRecord {
    let none = KeyId::NONE;
    IdentityRecord {
        node: Hash([0x1d; 32]),
        root: key(3).id(),
        certificate: Hash([0x2e; 32]),
        serial: 4.into(),
        certified: 77.into(),
        not_before: 70.into(),
        not_after: 9_000.into(),
        revoked: 0.into(),
        roles: 5.into(),
        uses: [1, 2, 0, 0, 0, 0],
        reserved: [0; 46],
        keys: [key(1).id(), key(2).id(), none, none, none, none],
    }
}

fn identity_record() -> Vector {
    let record = identity();
    let fields = json!({
        "node": record.node.to_hex(),
        "root": record.root.0.to_hex(),
        "certificate": record.certificate.to_hex(),
        "serial": record.serial.get().to_string(),
        "certified": record.certified.get().to_string(),
        "not_before": record.not_before.get().to_string(),
        "not_after": record.not_after.get().to_string(),
        "revoked": record.revoked.get().to_string(),
        "roles": record.roles.get(),
        "uses": hex(&record.uses),
        "keys": record.keys.map(|key| key.0.to_hex()),
    });
    Vector::new("identity", fields, record.as_bytes().to_vec(), move |bytes| {
        IdentityRecord::read_from_bytes(bytes) == Ok(record)
    })
    .hashed("leaf", hash::IDENTITY_RECORD.hash(record.as_bytes()))
}

/// An asset of two decimal digits.
pub fn asset() -> AssetRecord {
    AssetRecord {
        id: 7.into(),
        scale: 2.into(),
        reserved: 0.into(),
        issuance: 8.into(),
        padding: 0.into(),
        issuer: key(1).id().0,
    }
}

fn asset_record() -> Vector {
    let record = asset();
    let fields = json!({
        "id": record.id.get(),
        "scale": record.scale.get(),
        "issuance": record.issuance.get(),
        "issuer": record.issuer.to_hex(),
    });
    Vector::new("asset", fields, record.as_bytes().to_vec(), move |bytes| {
        AssetRecord::read_from_bytes(bytes) == Ok(record)
    })
    .hashed("leaf", hash::ASSET.hash(record.as_bytes()))
}

/// Containers: empty, with an empty section, and with one that may be skipped.
pub fn sections() -> Vec<Vector> {
    let mut empty_section = Vec::new();
    put_section(&mut empty_section, 2, |_| {});
    let mut skipped = Vec::new();
    put_section(&mut skipped, 1, |out| out.extend_from_slice(b"known"));
    put_section_versioned(&mut skipped, 9, 4, true, |out| out.extend_from_slice(b"later"));
    vec![
        container("empty", Vec::new(), [None, None]),
        container("an empty section", empty_section, [None, Some(b"")]),
        container("one that may be skipped", skipped, [Some(b"known"), None]),
    ]
}

fn container(name: &'static str, bytes: Vec<u8>, known: [Option<&'static [u8]>; 2]) -> Vector {
    let all: Vec<Value> = split(&bytes)
        .map(|section| {
            let section = section.unwrap();
            assert!(section.ignorable || section.version == SECTION_VERSION);
            json!({
                "kind": section.kind,
                "version": section.version,
                "ignorable": section.ignorable,
                "bytes": hex(section.bytes),
            })
        })
        .collect();
    Vector::new(name, json!({ "sections": all }), bytes, move |bytes| {
        known_sections(bytes, [1, 2]) == Ok(known)
    })
}
