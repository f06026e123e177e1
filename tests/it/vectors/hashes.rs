//! Vectors of the hash domains, of the numbers of refusals and outcomes, and of values as text.

use selfchain_types::hash::{self, Domain};
use selfchain_types::seam::transport::CloseReason;
use selfchain_types::{Amount, Hash, Outcome, Refusal};
use serde_json::json;

use super::{Vector, page};

const DOMAINS: [(&str, Domain); 39] = [
    ("selfchain/hybrid/v1", hash::HYBRID),
    ("selfchain/hybrid-seed/v1", hash::HYBRID_SEED),
    ("selfchain/link/v1", hash::LINK),
    ("selfchain/checkpoint/v1", hash::CHECKPOINT),
    ("selfchain/checkpoint-set/v1", hash::CHECKPOINT_SET),
    ("selfchain/tx/v1", hash::TX),
    ("selfchain/sign/v1", hash::SIGN),
    ("selfchain/key/v1", hash::KEY),
    ("selfchain/envelope/v1", hash::ENVELOPE),
    ("selfchain/header/v1", hash::HEADER),
    ("selfchain/body/v1", hash::BODY),
    ("selfchain/precommit/v1", hash::PRECOMMIT),
    ("selfchain/precommit-nil/v1", hash::PRECOMMIT_NIL),
    ("selfchain/acknowledgement/v1", hash::ACKNOWLEDGEMENT),
    ("selfchain/prevote/v1", hash::PREVOTE),
    ("selfchain/prevote-nil/v1", hash::PREVOTE_NIL),
    ("selfchain/proposal/v1", hash::PROPOSAL),
    ("selfchain/validators/v1", hash::VALIDATORS),
    ("selfchain/roots/v1", hash::ROOTS),
    ("selfchain/node/v1", hash::NODE),
    ("selfchain/empty/v1", hash::EMPTY),
    ("selfchain/account/v1", hash::ACCOUNT),
    ("selfchain/pending/v1", hash::PENDING),
    ("selfchain/key-record/v1", hash::KEY_RECORD),
    ("selfchain/asset/v1", hash::ASSET),
    ("selfchain/session/v1", hash::SESSION),
    ("selfchain/table/v1", hash::TABLE),
    ("selfchain/receipt-op/v1", hash::RECEIPT_OPERATION),
    ("selfchain/receipt/v1", hash::RECEIPT),
    ("selfchain/genesis/v1", hash::GENESIS),
    ("selfchain/account-id/v1", hash::ACCOUNT_ID),
    ("selfchain/hold/v1", hash::HOLD),
    ("selfchain/batch/v1", hash::BATCH),
    ("selfchain/contexts/v1", hash::CONTEXTS),
    ("selfchain/model/v1", hash::MODEL),
    ("selfchain/reveal/v1", hash::REVEAL),
    ("selfchain/epoch/v1", hash::EPOCH),
    ("selfchain/draw/v1", hash::DRAW),
    ("selfchain/snapshot/v1", hash::SNAPSHOT),
];

/// The hash key of each domain, the hash of nothing, and of the four bytes `00 01 02 03`.
pub fn domains() -> Vec<Vector> {
    DOMAINS
        .iter()
        .map(|(name, domain)| {
            let mut padded = [0; 32];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            let hash = move |bytes: &[u8]| Hash(*blake3::keyed_hash(&padded, bytes).as_bytes());
            let domain = *domain;
            let same = move |bytes: &[u8]| domain.hash(bytes) == hash(bytes);
            Vector::new(name, json!({ "domain": name }), vec![0, 1, 2, 3], move |bytes| {
                same(bytes)
            })
            .hashed("of_nothing", domain.hash(b""))
            .hashed("of_bytes", domain.hash(&[0, 1, 2, 3]))
        })
        .collect()
}

#[test]
fn every_domain_is_in_the_list_and_on_the_page() {
    let source = include_str!("../../../types/src/hash.rs");
    assert_eq!(source.matches("Domain::named(\"").count(), DOMAINS.len());
    let page = page("hashes");
    for (name, _) in DOMAINS {
        assert!(source.contains(&format!("Domain::named(\"{name}\")")), "{name}");
        assert!(
            page.contains(&format!("| `{name}` |")),
            "docs/formats/hashes.md has no row for {name}"
        );
    }
}

/// Each number as two bytes with its name.
pub fn codes() -> Vec<Vector> {
    let outcomes = Outcome::ALL.iter().map(|outcome| {
        let (outcome, fields) = (*outcome, json!({ "outcome": outcome.code() }));
        Vector::new(
            outcome.name(),
            fields,
            outcome.code().to_le_bytes().to_vec(),
            move |bytes| Outcome::from_code(code(bytes)) == Some(outcome),
        )
    });
    let refusals = Refusal::ALL.iter().map(|refusal| {
        let (refusal, name) = (*refusal, format!("refusal {refusal}").leak());
        let fields = json!({ "refusal": refusal.code(), "transient": refusal.is_transient() });
        Vector::new(
            name,
            fields,
            refusal.code().to_le_bytes().to_vec(),
            move |bytes| Refusal::from_code(code(bytes)) == Some(refusal),
        )
    });
    outcomes.chain(refusals).collect()
}

fn code(bytes: &[u8]) -> u16 {
    u16::from_le_bytes(bytes.try_into().unwrap())
}

#[test]
fn the_page_of_messages_lists_every_code() {
    let page = page("message");
    let outcomes = Outcome::ALL
        .iter()
        .map(|outcome| (outcome.code(), outcome.name(), ""));
    let refusals = Refusal::ALL.iter().map(|refusal| {
        let again = if refusal.is_transient() { " yes |" } else { " no |" };
        (refusal.code(), refusal.name(), again)
    });
    let closes = CloseReason::ALL
        .iter()
        .map(|reason| (u16::try_from(reason.code()).unwrap(), reason.name(), ""));
    for (code, name, again) in outcomes.chain(refusals).chain(closes) {
        let row = format!("| {code} | `{name}` |{again}");
        assert!(page.contains(&row), "docs/formats/message.md has no row {row}");
    }
    let (_, tables) = page.split_once("\n## Refusals\n").unwrap();
    let listed = tables
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(" | `"))
        .count();
    let codes = Outcome::ALL.len() + Refusal::ALL.len() + CloseReason::ALL.len();
    assert_eq!(
        listed, codes,
        "docs/formats/message.md lists codes that do not exist"
    );
}

/// Hashes and amounts as people type them.
pub fn text() -> Vec<Vector> {
    let hash = hash::TX.hash(b"text");
    let amounts = [
        ("amount at scale 2", "12.34", 2, Some(1234)),
        ("amount at scale 0", "7", 0, Some(7)),
        ("amount without a fraction", "12", 2, Some(1200)),
        (
            "amount at scale 38",
            "3.40282366920938463463374607431768211455",
            38,
            Some(u128::MAX),
        ),
        ("amount with too many digits", "1.234", 2, None),
        ("amount below zero", "-1", 2, None),
        (
            "amount past the largest",
            "340282366920938463463374607431768211456",
            0,
            None,
        ),
    ];
    let amounts = amounts.map(|(name, text, scale, units): (_, &str, u8, Option<u128>)| {
        let fields = json!({ "scale": scale, "units": units.map(|units| units.to_string()) });
        Vector::new(name, fields, text.into(), move |bytes| {
            Amount::parse_at_scale(core::str::from_utf8(bytes).unwrap(), scale) == units.map(Amount)
        })
    });
    let hexadecimal = Vector::new(
        "hash",
        json!({ "case": "lower" }),
        hash.to_hex().into_bytes(),
        move |bytes| Hash::from_hex(core::str::from_utf8(bytes).unwrap()) == Some(hash),
    );
    amounts
        .into_iter()
        .chain([hexadecimal.hashed("itself", hash)])
        .collect()
}
