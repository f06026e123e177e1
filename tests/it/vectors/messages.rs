//! Vectors of every message between a client and a node, and between validators.

use selfchain_types::acknowledgement::{Acknowledgement, ShortId};
use selfchain_types::backup::{BackupItem, FileEntry, Manifest, ManifestBody, PartEntry, PartHolds, Reach};
use selfchain_types::block::Exception;
use selfchain_types::checkpoint::CheckpointSignature;
use selfchain_types::crypto::SigningKey;
use selfchain_types::keep::{Keep, Kept, KeptItem};
use selfchain_types::message::{
    AccountState, Answer, ChangePosition, Committed, Detail, HistoryRow, HoldRecord, PolicyState, Query,
    Refused, Reply, Request, Status,
};
use selfchain_types::peer::{AskRefusal, Asked, PeerMessage, SnapshotOffer};
use selfchain_types::{AccountId, Amount, AssetId, Hash, Height, KeyId, Outcome, Policy, Refusal, TimeNs};
use serde_json::{Value, json};

use super::{Vector, filled, hex, key, records};

/// The client's own number in every vector.
const NUMBER: u64 = 0x0102_0304_0506_0708;

const PART: BackupItem = BackupItem::Part {
    sequence: 3,
    number: 12,
};

pub fn requests() -> Vec<Vector> {
    let of = |name, request: Request<'static>, mut fields: Value| {
        fields["request"] = NUMBER.to_string().into();
        Vector::new(name, fields, request.encode(NUMBER), move |bytes| {
            Request::decode(bytes).is_ok_and(|read| read == (NUMBER, request.clone()))
        })
    };
    let query = |name, query, fields| of(name, Request::Query(query), fields);
    let submit = |detail| Request::Submit {
        detail,
        envelope: b"stands for an envelope",
    };
    let envelope = hex(b"stands for an envelope");
    let account = AccountId(101);
    let history = Query::History {
        account,
        from: ChangePosition {
            height: Height(9),
            place: 16_777_217,
        },
        rows_max: 100,
    };
    let receipt = Query::Receipt {
        tx_id: filled(0x11),
        operation: 3,
    };
    let keep = |name, keep, fields| of(name, Request::Keep(keep), fields);
    vec![
        of(
            "submit",
            submit(Detail::Refusals),
            json!({ "detail": 0, "envelope": envelope }),
        ),
        of(
            "submit for balances",
            submit(Detail::Balances),
            json!({ "detail": 1, "envelope": envelope }),
        ),
        of(
            "subscribe",
            Request::Subscribe { from: Height(5) },
            json!({ "from": "5" }),
        ),
        query("query status", Query::Status, json!({})),
        query(
            "query account",
            Query::Account(account),
            json!({ "account": "101" }),
        ),
        query(
            "query key",
            Query::Key(key(1).id()),
            json!({ "key": key(1).id().0.to_hex() }),
        ),
        query("query asset", Query::Asset(AssetId(7)), json!({ "asset": 7 })),
        query(
            "query transaction",
            Query::Transaction(filled(0x11)),
            json!({ "tx_id": filled(0x11).to_hex() }),
        ),
        query("query block", Query::Block(Height(7)), json!({ "height": "7" })),
        query(
            "query history",
            history,
            json!({ "account": "101", "from": "9", "place": 16_777_217, "rows_max": 100 }),
        ),
        query(
            "query balance at",
            Query::BalanceAt {
                account,
                height: Height(9),
            },
            json!({ "account": "101", "height": "9" }),
        ),
        query("query genesis", Query::Genesis, json!({})),
        query("query holds", Query::Holds { from: 9 }, json!({ "from": 9 })),
        query(
            "query policy",
            Query::Policy(account),
            json!({ "account": "101" }),
        ),
        query(
            "query identity",
            Query::Identity(filled(0x44)),
            json!({ "id": filled(0x44).to_hex() }),
        ),
        query(
            "query receipt",
            receipt,
            json!({ "tx_id": filled(0x11).to_hex(), "operation": 3 }),
        ),
        query(
            "query prove operation",
            Query::ProveOperation {
                tx_id: filled(0x11),
                operation: 3,
                since: Height(33),
            },
            json!({ "tx_id": filled(0x11).to_hex(), "operation": 3, "since": "33" }),
        ),
        query(
            "query prove account",
            Query::ProveAccount {
                account,
                at: Height(9),
                since: Height(1),
            },
            json!({ "account": "101", "at": "9", "since": "1" }),
        ),
        query(
            "query prove consistency",
            Query::ProveConsistency {
                old: Height(4),
                new: Height(9),
                since: Height(1),
            },
            json!({ "old": "4", "new": "9", "since": "1" }),
        ),
        keep("keep terms", Keep::Terms, json!({})),
        keep(
            "keep list",
            Keep::List { after: Some(PART) },
            json!({ "after": PART.file_name() }),
        ),
        keep(
            "keep put",
            Keep::Put {
                item: PART,
                len: 9,
                hash: filled(0x44),
                offset: 4,
                bytes: b"bytes",
            },
            json!({ "item": PART.file_name(), "len": "9", "hash": filled(0x44).to_hex(), "offset": "4",
                "bytes": hex(b"bytes") }),
        ),
        keep(
            "keep get",
            Keep::Get {
                item: BackupItem::Manifest(3),
                offset: 4,
                len: 5,
            },
            json!({ "item": BackupItem::Manifest(3).file_name(), "offset": "4", "len": 5 }),
        ),
        keep(
            "keep remove",
            Keep::Remove(PART),
            json!({ "item": PART.file_name() }),
        ),
    ]
}

pub fn replies() -> Vec<Vector> {
    let of = |name, reply: Reply, mut fields: Value| {
        fields["request"] = NUMBER.to_string().into();
        Vector::new(name, fields, reply.encode(NUMBER), move |bytes| {
            Reply::decode(bytes).is_ok_and(|read| read == (NUMBER, reply.clone()))
        })
    };
    let answer = |name, answer, fields| of(name, Reply::Answer(answer), fields);
    let clean = Committed {
        duplicate: true,
        refused: Vec::new(),
        balances: Vec::new(),
        ..committed()
    };
    let refused = Refused {
        refusal: Refusal::PoolFull,
        retry_after_ms: 20,
        text: "the pool is full: 5 of 5".into(),
    };
    let refused_fields = json!({ "refusal": 33, "retry_after_ms": 20, "text": refused.text });
    let account = AccountState {
        hot: records::hot(),
        cold: records::cold(),
    };
    let history = vec![HistoryRow {
        position: ChangePosition {
            height: Height(7),
            place: 16_777_223,
        },
        balances: records::hot().balances(),
    }];
    let history_fields = json!({
        "rows": [{
            "height": "7",
            "place": 16_777_223,
            "balances": records::balances_fields(&records::hot().balances()),
        }]
    });
    let bytes = |text: &str| json!({ "bytes": hex(text.as_bytes()) });
    vec![
        of("accepted", Reply::Accepted, json!({})),
        of(
            "committed",
            Reply::Committed(committed()),
            committed_fields(&committed()),
        ),
        of(
            "committed before, all done",
            Reply::Committed(clean.clone()),
            committed_fields(&clean),
        ),
        of("refused", Reply::Refused(refused), refused_fields),
        answer(
            "answer status",
            Answer::Status(status()),
            status_fields(&status()),
        ),
        answer(
            "answer account",
            Answer::Account(account),
            json!({ "see": "records.json: account" }),
        ),
        answer(
            "answer key",
            Answer::Key(records::registered()),
            json!({ "see": "records.json: key" }),
        ),
        answer(
            "answer asset",
            Answer::Asset(records::asset()),
            json!({ "see": "records.json: asset" }),
        ),
        answer(
            "answer transaction",
            Answer::Transaction(committed()),
            committed_fields(&committed()),
        ),
        answer(
            "answer block",
            Answer::Block(b"stands for a row".to_vec()),
            bytes("stands for a row"),
        ),
        answer("answer history", Answer::History(history), history_fields),
        answer(
            "answer genesis",
            Answer::Genesis(b"stands for genesis".to_vec()),
            bytes("stands for genesis"),
        ),
        answer(
            "answer holds",
            Answer::Holds(vec![hold_record()], 12),
            json!({ "next": 12, "hold": { "id": "77", "debit": "101", "credit": "102", "amount": "500",
                "reviewer": filled(0x22).to_hex(), "deadline_ns": "1800000000000000000", "opened": "6", "asset": 7,
                "score": 201, "reasons": [13, 0, 255], "was_pending": 1 } }),
        ),
        answer(
            "answer policy",
            Answer::Policy(PolicyState {
                policy: Policy {
                    annotate: 100,
                    hold: 160,
                    reject: 250,
                    holds_unscored: true,
                    hold_timeout_s: 86_400,
                    reviewer: KeyId(filled(0x22)),
                },
                version: 3,
                model: filled(0x33),
            }),
            json!({ "annotate": 100, "hold": 160, "reject": 250, "holds_unscored": true, "hold_timeout_s": 86_400,
                "reviewer": filled(0x22).to_hex(), "version": "3", "model": filled(0x33).to_hex() }),
        ),
        answer(
            "answer identity",
            Answer::Identity(super::records::identity()),
            json!({ "node": super::records::identity().node.to_hex() }),
        ),
        answer(
            "answer receipt",
            Answer::Receipt(b"stands for a proof".to_vec()),
            bytes("stands for a proof"),
        ),
        answer(
            "answer proof",
            Answer::Proof(b"stands for a proof".to_vec()),
            bytes("stands for a proof"),
        ),
        answer(
            "answer kept terms",
            Answer::Kept(Kept::Terms {
                quota_bytes: 10,
                used_bytes: 5,
                files: 2,
            }),
            json!({ "quota_bytes": "10", "used_bytes": "5", "files": "2" }),
        ),
        answer(
            "answer kept list",
            Answer::Kept(Kept::List(vec![KeptItem { item: PART, len: 9 }])),
            json!({ "item": PART.file_name(), "len": "9" }),
        ),
        answer(
            "answer received",
            Answer::Kept(Kept::Received { received: 7 }),
            json!({ "received": "7" }),
        ),
        answer(
            "answer piece",
            Answer::Kept(Kept::Piece {
                len: 9,
                bytes: b"bytes".to_vec(),
            }),
            json!({ "len": "9", "bytes": hex(b"bytes") }),
        ),
        answer(
            "answer removed",
            Answer::Kept(Kept::Removed { was_kept: true }),
            json!({ "was_kept": 1 }),
        ),
    ]
}

fn hold_record() -> HoldRecord {
    HoldRecord {
        id: 77.into(),
        debit: 101.into(),
        credit: 102.into(),
        amount: 500.into(),
        reviewer: filled(0x22),
        deadline_ns: 1_800_000_000_000_000_000.into(),
        opened: 6.into(),
        asset: 7.into(),
        score: 201,
        reasons: [13, 0, 255],
        was_pending: 1,
        reserved: [0; 7],
    }
}

fn committed() -> Committed {
    let shortfall = Exception::Shortfall {
        needed: Amount(9),
        available: Amount(5),
    };
    let balances = records::hot().balances();
    Committed {
        duplicate: false,
        height: Height(7),
        index: 3,
        time_ns: TimeNs(1_700_000_000_000_000_007),
        operations: 4,
        refused: vec![
            (0, Outcome::DebitAccountUnknown, None),
            (1, Outcome::InsufficientFunds, Some(shortfall)),
            (2, Outcome::LinkedFailed, Some(Exception::Actual(Amount(5)))),
        ],
        balances: vec![(balances, Default::default()); 2],
    }
}

fn committed_fields(committed: &Committed) -> Value {
    let refused = committed
        .refused
        .iter()
        .map(|(at, outcome, exception)| match exception {
            None => json!({ "at": at, "outcome": outcome.code() }),
            Some(Exception::Actual(amount)) => {
                json!({ "at": at, "outcome": outcome.code(), "actual": amount.to_string() })
            }
            Some(Exception::Shortfall { needed, available }) => json!({
                "at": at,
                "outcome": outcome.code(),
                "needed": needed.to_string(),
                "available": available.to_string(),
            }),
        });
    let balances = committed.balances.iter().map(|(debit, credit)| {
        json!({ "debit": records::balances_fields(debit), "credit": records::balances_fields(credit) })
    });
    json!({
        "duplicate": committed.duplicate,
        "height": committed.height.0.to_string(),
        "index": committed.index,
        "time_ns": committed.time_ns.0.to_string(),
        "operations": committed.operations,
        "refused": refused.collect::<Vec<_>>(),
        "balances": balances.collect::<Vec<_>>(),
    })
}

fn status() -> Status {
    Status {
        chain_id: filled(0xcc),
        tip: Height(7),
        tip_hash: filled(0x0d),
        first: Height(1),
        time_ns: TimeNs(1_700_000_000_000_000_007),
        accounts: 1_000,
        operations: 50_000,
        validity_max: 4_096,
    }
}

fn status_fields(status: &Status) -> Value {
    json!({
        "chain_id": status.chain_id.to_hex(),
        "tip": status.tip.0.to_string(),
        "tip_hash": status.tip_hash.to_hex(),
        "first": status.first.0.to_string(),
        "time_ns": status.time_ns.0.to_string(),
        "accounts": status.accounts.to_string(),
        "operations": status.operations.to_string(),
        "validity_max": status.validity_max,
    })
}

pub fn peers() -> Vec<Vector> {
    let of = |name, fields: Value, message: PeerMessage<'static>| {
        let bytes = message.to_bytes();
        Vector::new(name, fields, bytes, move |bytes| {
            PeerMessage::decode(bytes).is_ok_and(|read| read == message)
        })
    };
    let (height, block) = (Height(7), Hash([0x0d; 32]));
    let short = [0x11, 0x22].map(|byte| ShortId::of(&filled(byte)));
    let signer = SigningKey::from_seed(&[3; 32]);
    let acknowledged = Acknowledgement::sign(&filled(0x0c), 5, height, short.to_vec(), &signer);
    vec![
        of(
            "plane",
            json!({ "tip": 6, "bytes": hex(b"ballot") }),
            PeerMessage::Plane {
                tip: Height(6),
                bytes: b"ballot",
            },
        ),
        of("tip", json!({ "tip": 7 }), PeerMessage::Tip(height)),
        of(
            "body",
            json!({ "block": hex(b"block") }),
            PeerMessage::Body(b"block"),
        ),
        of(
            "want body",
            json!({ "height": 7, "block": block.to_hex() }),
            PeerMessage::WantBody { height, block },
        ),
        of(
            "want blocks",
            json!({ "from": 7 }),
            PeerMessage::WantBlocks(height),
        ),
        of(
            "blocks",
            json!({ "blocks": [{ "block": hex(b"one"), "certificate": hex(b"its") }] }),
            PeerMessage::Blocks(vec![(b"one", b"its")]),
        ),
        of(
            "transactions",
            json!({ "envelopes": [hex(b"one"), hex(b"other")] }),
            PeerMessage::Transactions(vec![b"one", b"other"]),
        ),
        of(
            "refused",
            json!({ "asked": "blocks", "why": "rate_limited", "retry_after_ms": 250 }),
            PeerMessage::Refused {
                asked: Asked::Blocks,
                why: AskRefusal::RateLimited,
                retry_after_ms: 250,
            },
        ),
        of(
            "acknowledged",
            json!({
                "chain_id": filled(0x0c).to_hex(),
                "key_seed": hex(&[3; 32]),
                "run": 5,
                "height": 7,
                "transactions": [filled(0x11).to_hex(), filled(0x22).to_hex()],
            }),
            PeerMessage::Acknowledged(acknowledged.clone()),
        )
        .hashed("digest", acknowledged.digest(&filled(0x0c), &signer.id())),
        of("want snapshot", json!({}), PeerMessage::WantSnapshot),
        of("no snapshot", json!({}), PeerMessage::Snapshot(None)),
        of(
            "snapshot",
            json!({ "height": 7, "id": block.to_hex(), "chunks": 3, "bytes": 4_096 }),
            PeerMessage::Snapshot(Some(SnapshotOffer {
                height,
                id: block,
                chunks: 3,
                bytes: 4_096,
            })),
        ),
        of(
            "want part",
            json!({ "id": block.to_hex(), "part": 2 }),
            PeerMessage::WantPart { id: block, part: 2 },
        ),
        of(
            "part",
            json!({ "id": block.to_hex(), "part": 2, "bytes": hex(b"chunk") }),
            PeerMessage::Part {
                id: block,
                part: 2,
                bytes: b"chunk",
            },
        ),
        of(
            "checkpoint signature",
            json!({
                "height": 7,
                "header": block.to_hex(),
                "key_id": filled(0x15).to_hex(),
                "signature": hex(b"signature"),
            }),
            PeerMessage::CheckpointSignature {
                height,
                header: block,
                signature: CheckpointSignature {
                    key: KeyId(filled(0x15)),
                    signature: b"signature".to_vec(),
                },
            },
        ),
        of(
            "want checkpoints",
            json!({ "from": 7 }),
            PeerMessage::WantCheckpoints(height),
        ),
        of(
            "checkpoints",
            json!({ "checkpoints": [hex(b"one"), hex(b"other")] }),
            PeerMessage::Checkpoints(vec![b"one", b"other"]),
        ),
        of(
            "want handovers",
            json!({ "from": 7 }),
            PeerMessage::WantHandovers(height),
        ),
        of(
            "handovers",
            json!({ "handovers": [hex(b"one"), hex(b"other")] }),
            PeerMessage::Handovers(vec![b"one", b"other"]),
        ),
    ]
}

/// Signed by the key that the parser's target takes for the owner's.
pub fn manifests() -> Vec<Vector> {
    let reach = Reach {
        first: Height(1),
        last: Height(9),
        block: filled(0x22),
        state_root: filled(0x33),
        state_height: Height(8),
    };
    let first = ManifestBody {
        chain_id: filled(0x11),
        sequence: 1,
        base: 1,
        previous: Hash::ZERO,
        created: TimeNs(1_700_000_000_000_000_007),
        reach,
        recipients: vec![filled(0x44), filled(0x55)],
        files: vec![FileEntry {
            path: "genesis".into(),
            len: 7,
            hash: filled(0x66),
        }],
        parts: vec![
            PartEntry {
                holds: PartHolds::Files,
                content_len: 20,
                plain_hash: filled(0x77),
                len: 2_000,
                hash: filled(0x88),
            },
            PartEntry {
                holds: PartHolds::Rows {
                    first: Height(1),
                    last: Height(9),
                },
                content_len: 900,
                plain_hash: filled(0x99),
                len: 2_500,
                hash: filled(0xaa),
            },
        ],
    };
    let next = ManifestBody {
        sequence: 2,
        previous: Manifest::sign(first.clone(), &key(1)).hash(),
        files: Vec::new(),
        parts: Vec::new(),
        ..first.clone()
    };
    let of = |name, body: ManifestBody| {
        let manifest = Manifest::sign(body.clone(), &key(1));
        let fields = json!({ "sequence": body.sequence.to_string(), "signer": key(1).id().to_string(),
            "parts": body.parts.len(), "files": body.files.len() });
        let bytes = manifest.as_bytes().to_vec();
        Vector::new(name, fields, bytes, move |bytes| {
            Manifest::decode(bytes, &key(1).id()).is_ok_and(|read| *read.body() == body)
        })
        .hashed("manifest", manifest.hash())
    };
    vec![of("first", first), of("next, without parts", next)]
}
