//! Vectors of what a client makes: keys, operations of every kind, signed envelopes.

use selfchain_types::crypto::{Scheme, SigningKey, signing_digest};
use selfchain_types::envelope::{EnvelopeBuilder, EnvelopeView};
use selfchain_types::key::SessionScope;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Envelope, Height, KeyId, Operation, OperationFlags, Policy,
    TimeNs, Verified,
};
use serde_json::{Value, json};
use zerocopy::{FromBytes, IntoBytes};

use super::{Vector, filled, hex, key};

/// Public keys, whose hash is the key's id.
pub fn keys() -> Vec<Vector> {
    let of = |name, scheme: Scheme, seed: u8| {
        let key = SigningKey::of_scheme(scheme, &[seed; 32]).unwrap();
        let id = key.id();
        let signature = key.sign(b"abc");
        let mut fields = json!({ "scheme": scheme.code(), "seed": hex(&[seed; 32]) });
        match scheme {
            Scheme::Ed25519 => fields["signature_of_abc"] = json!(hex(&signature)),
            // Hedged: another one each time.
            Scheme::Ed25519MlDsa44 | Scheme::Ed25519MlDsa65 => {}
            _ => fields["blake3_of_signature_of_abc"] = json!(blake3::hash(&signature).to_string()),
        }
        let public = key.public().as_bytes().to_vec();
        let derived = AccountId::derive(&id, AssetId(7), 9);
        let mut account = [0; 32];
        account[..16].copy_from_slice(&derived.0.to_le_bytes());
        Vector::new(name, fields, public, move |bytes| KeyId::of(scheme, bytes) == id)
            .hashed("key_id", id.0)
            .hashed("signing_digest_of_tx_11", signing_digest(&id, &filled(0x11)))
            .hashed("account_id_of_asset_7_salt_9", selfchain_types::Hash(account))
    };
    vec![
        of("seed of ones", Scheme::Ed25519, 1),
        of("seed of twos", Scheme::Ed25519, 2),
        of("seed of zeros", Scheme::Ed25519, 0),
        of("ml-dsa-44, seed of ones", Scheme::Ed25519MlDsa44, 1),
        of("ml-dsa-65, seed of ones", Scheme::Ed25519MlDsa65, 1),
        of("slh-dsa-sha2-128s, seed of ones", Scheme::Ed25519SlhDsa128s, 1),
        of("slh-dsa-sha2-128f, seed of ones", Scheme::Ed25519SlhDsa128f, 1),
    ]
}

/// Every constructor, and every flag that changes what a transfer does.
pub fn operations() -> Vec<Vector> {
    let (debit, credit, asset) = (AccountId(101), AccountId(202), AssetId(7));
    let owner = key(1).id();
    let transfer = Operation::transfer(1, debit, credit, Amount(1_000), asset);
    let annotated = Operation {
        user_data_128: 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00_u128.into(),
        user_data_64: 0x0102_0304_0506_0708_u64.into(),
        effective_ns: 1_700_000_000_000_000_000_u64.into(),
        code: 42.into(),
        ..transfer
    };
    let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS.with(AccountFlags::HISTORY);
    let scope = SessionScope(SessionScope::TRANSFER.0 | SessionScope::SETTLE.0);
    let expires = TimeNs(1_800_000_000_000_000_000);
    let policy = Policy {
        annotate: 100,
        hold: 200,
        reject: 250,
        holds_unscored: true,
        reviewer: key(3).id(),
        hold_timeout_s: 86_400,
    };
    let all = [
        ("transfer", transfer),
        ("transfer with user data", annotated),
        ("linked transfer", transfer.linked()),
        (
            "balancing debit",
            transfer.flagged(OperationFlags::BALANCING_DEBIT),
        ),
        (
            "balancing credit",
            transfer.flagged(OperationFlags::BALANCING_CREDIT),
        ),
        (
            "reserve",
            Operation::reserve(2, debit, credit, Amount(500), asset, 3_600),
        ),
        ("post in part", Operation::post(3, 2, Amount(200))),
        ("post all", Operation::post(4, 2, Amount::MAX)),
        (
            "post a chain",
            Operation::post(5, 2, Amount::MAX).flagged(OperationFlags::CHAIN),
        ),
        ("void", Operation::void(6, 2)),
        (
            "open account",
            Operation::open_account(debit, asset, owner, flags, Amount(50), 9),
        ),
        (
            "create asset",
            Operation::create_asset(asset, AccountId(900), owner, 2, Amount(1_000_000)),
        ),
        ("close account", Operation::close_account(debit)),
        ("set limit", Operation::set_limit(debit, Amount(75))),
        (
            "register key",
            Operation::register_key(7, owner, Scheme::Ed25519.code(), 16, 32),
        ),
        ("revoke key", Operation::revoke_key(8, owner)),
        (
            "set session",
            Operation::set_session(9, debit, key(2).id(), scope, Amount(300), expires),
        ),
        ("announce node", Operation::announce_node(10, filled(0xa1), 0, 48)),
        ("anchor", Operation::anchor(11, filled(0xb2))),
        ("report", Operation::report(12, filled(0xc3), 5, debit, 1)),
        ("upgrade", Operation::upgrade(13, 2, Height(5_000))),
        (
            "set an account's policy",
            Operation::set_policy(14, debit, &policy),
        ),
        (
            "set the chain's policy",
            Operation::set_policy(15, AccountId::NONE, &Policy::default()),
        ),
        ("set model", Operation::set_model(16, filled(0xd4), Height(6_000))),
        (
            "join",
            Operation::join(17, owner, 10_000, debit, Scheme::Ed25519.code(), (16, 64)),
        ),
        ("bond", Operation::bond(18, owner, 12_000, debit)),
        ("leave", Operation::bond(19, owner, 0, AccountId::NONE)),
        ("rotate", Operation::rotate(20, owner, 0, (16, 32))),
        ("reveals", Operation::reveals(21, owner, 16)),
        ("address", Operation::address(22, owner, 16)),
        ("set_quality", Operation::set_quality(23, filled(0x0e), (8, 343))),
        (
            "checkpoint key",
            Operation::checkpoint_key(24, owner, Scheme::Ed25519MlDsa65.code(), (8, 1_984)),
        ),
    ];
    let vector = |(name, operation): (_, Operation)| {
        Vector::new(
            name,
            operation_fields(&operation),
            operation.as_bytes().to_vec(),
            move |bytes| {
                Operation::read_from_bytes(bytes).is_ok_and(|read| read == operation && read.kind().is_some())
            },
        )
    };
    all.into_iter().map(vector).collect()
}

/// One and two signers, attachments, a fee, keys from the registry.
pub fn envelopes() -> Vec<Vector> {
    let chain = filled(0xcc);
    let transfer = Operation::transfer(1, AccountId(101), AccountId(202), Amount(1_000), AssetId(7));
    let plain = EnvelopeBuilder::new(chain, Height(10), 100, vec![transfer]);
    let linked = EnvelopeBuilder {
        fee: (AccountId(101), AssetId(7), Amount(25)),
        operations: vec![transfer.linked(), Operation::void(2, 1)],
        ..plain.clone()
    };
    let attached = EnvelopeBuilder {
        operations: vec![Operation::register_key(3, key(2).id(), 1, 0, 32)],
        attachments: key(2).public().as_bytes().to_vec(),
        ..plain.clone()
    };
    let (one, two) = (key(1), key(2));
    vec![
        envelope("one signer", plain.sign(&[(&one, 0, 1)]), &[&one]),
        envelope(
            "two signers and a fee",
            linked.sign(&[(&one, 3, 8), (&two, 15, 1)]),
            &[&one, &two],
        ),
        envelope("attachments", attached.sign(&[(&one, 0, 2)]), &[&one]),
        envelope(
            "key from the registry",
            plain.sign_registered(&[(&one, 1, 5)]),
            &[&one],
        ),
    ]
}

fn envelope(name: &'static str, bytes: Vec<u8>, keys: &[&SigningKey]) -> Vector {
    let decoded = Envelope::decode(bytes.clone()).unwrap();
    let fields = envelope_fields(&decoded.view());
    let digests = ["signing_digest_0", "signing_digest_1"];
    let digests: Vec<_> = digests
        .into_iter()
        .zip(keys)
        .map(|(name, key)| (name, signing_digest(&key.id(), &decoded.tx_id())))
        .collect();
    let vector = Vector::new(name, fields.clone(), bytes, move |bytes| {
        let read = Envelope::decode(bytes.to_vec()).unwrap();
        let carries_keys = read.view().signatures().all(|entry| !entry.public.is_empty());
        envelope_fields(&read.view()) == fields && Verified::check(read, &()).is_ok() == carries_keys
    });
    let vector = vector
        .hashed("tx_id", decoded.tx_id())
        .hashed("leaf", decoded.leaf());
    digests
        .into_iter()
        .fold(vector, |vector, (name, digest)| vector.hashed(name, digest))
}

fn operation_fields(operation: &Operation) -> Value {
    json!({
        "id": operation.id.get().to_string(),
        "debit": operation.debit.get().to_string(),
        "credit": operation.credit.get().to_string(),
        "amount": operation.amount.get().to_string(),
        "pending": operation.pending.get().to_string(),
        "user_data_128": operation.user_data_128.get().to_string(),
        "user_data_64": operation.user_data_64.get().to_string(),
        "effective_ns": operation.effective_ns.get().to_string(),
        "timeout_s": operation.timeout_s.get(),
        "asset": operation.asset.get(),
        "code": operation.code.get(),
        "flags": operation.flags.get(),
        "kind": operation.kind,
        "version": operation.version,
        "named": operation.named().to_hex(),
    })
}

fn envelope_fields(view: &EnvelopeView<'_>) -> Value {
    let header = view.header();
    let signers = view.signers().iter().map(|signer| {
        json!({
            "key": signer.key.0.to_hex(),
            "counter": signer.counter.get().to_string(),
            "lane": signer.lane.get(),
        })
    });
    let signatures = view.signatures().map(|entry| {
        json!({
            "scheme": entry.scheme.code(),
            "public": hex(entry.public),
            "signature": hex(entry.signature),
        })
    });
    json!({
        "version": header.version.get(),
        "chain_id": header.chain_id.to_hex(),
        "valid_from": header.valid_from.get().to_string(),
        "valid_until": header.valid_until.get().to_string(),
        "fee_account": header.fee_account.get().to_string(),
        "fee_max": header.fee_max.get().to_string(),
        "fee_asset": header.fee_asset.get(),
        "signers": signers.collect::<Vec<_>>(),
        "operations": view.operations().iter().map(operation_fields).collect::<Vec<_>>(),
        "attachments": hex(view.attachments()),
        "signatures": signatures.collect::<Vec<_>>(),
    })
}
