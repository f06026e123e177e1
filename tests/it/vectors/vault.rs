//! Vectors of the vault: what its records and messages hold, and what is asked of it.

use selfchain_types::codec::Reader;
use selfchain_types::message::{Answer, Reply, Request};
use selfchain_types::vault::{
    Access, Anchored, Denial, DenialReason, Grant, OwnerQuery, Rights, VaultAction, VaultAnswer, VaultQuery,
    VaultStanding, Version, VersionState,
};
use selfchain_types::{Height, KeyId, TimeNs};
use serde_json::{Value, json};

use super::{Vector, filled};

/// The client's own number in every vector.
const NUMBER: u64 = 0x0102_0304_0506_0708;

fn version() -> Version {
    let mut version = Version {
        name: "notes/plan.md".into(),
        number: 2,
        state: VersionState::Written,
        previous: filled(0x11),
        salt: filled(0x22),
        content: filled(0x33),
        len: 70_000,
        time_ns: TimeNs(1_700_000_000_000_000_007),
        author: KeyId(filled(0x44)),
        hash: filled(0),
        anchored: None,
    };
    version.hash = version.commitment();
    version
}

fn anchored() -> Anchored {
    Anchored {
        tx_id: filled(0x55),
        height: Height(7),
    }
}

fn grant() -> Grant {
    Grant {
        key: KeyId(filled(0x66)),
        prefix: "notes/".into(),
        rights: rights(),
        until_ns: TimeNs(1_800_000_000_000_000_000),
        time_ns: TimeNs(1_700_000_000_000_000_007),
    }
}

fn rights() -> Rights {
    Rights {
        read: true,
        write: false,
    }
}

fn denial(key: Option<KeyId>) -> Denial {
    Denial {
        time_ns: TimeNs(1_700_000_000_000_000_007),
        key,
        address: "127.0.0.1:9".into(),
        action: VaultAction::Get,
        name: "notes/plan.md".into(),
        why: DenialReason::NoGrant,
        missed: 3,
    }
}

fn fields(version: &Version) -> Value {
    json!({
        "name": version.name,
        "number": version.number.to_string(),
        "state": version.state.code(),
        "previous": version.previous.to_hex(),
        "salt": version.salt.to_hex(),
        "content": version.content.to_hex(),
        "len": version.len.to_string(),
        "time_ns": version.time_ns.0.to_string(),
        "author": version.author.0.to_hex(),
        "hash": version.hash.to_hex(),
        "anchored": version.anchored.map(|at| json!({ "tx_id": at.tx_id.to_hex(), "height": at.height.0.to_string() })),
    })
}

pub fn parts() -> Vec<Vector> {
    let of = |name, version: Version| {
        let mut bytes = Vec::new();
        version.encode(&mut bytes);
        let (hash, fields) = (version.hash, fields(&version));
        Vector::new(name, fields, bytes, move |bytes| {
            let mut reader = Reader::new("version", bytes);
            Version::decode(&mut reader).is_ok_and(|read| read == version) && reader.finish().is_ok()
        })
        .hashed("hash", hash)
    };
    let removed = Version {
        state: VersionState::Removed,
        content: filled(0),
        len: 0,
        ..version()
    };
    let removed = Version {
        hash: removed.commitment(),
        ..removed
    };
    let on_the_ledger = Version {
        anchored: Some(anchored()),
        ..version()
    };
    let mut grant_bytes = Vec::new();
    grant().encode(&mut grant_bytes);
    let mut vectors = vec![
        of("version", version()),
        of("version, anchored", on_the_ledger),
        of("version, removed", removed),
        of("version, purged", version().purged()),
        Vector::new(
            "grant",
            json!({
                "key": filled(0x66).to_hex(), "prefix": "notes/", "rights": 1, "until_ns": "1800000000000000000",
                "time_ns": "1700000000000000007",
            }),
            grant_bytes,
            |bytes| {
                let mut reader = Reader::new("grant", bytes);
                Grant::decode(&mut reader).is_ok_and(|read| read == grant()) && reader.finish().is_ok()
            },
        ),
    ];
    for (name, key) in [
        ("denial", Some(KeyId(filled(0x66)))),
        ("denial without a key", None),
    ] {
        let mut bytes = Vec::new();
        denial(key).encode(&mut bytes);
        let fields = json!({
            "time_ns": "1700000000000000007", "key": key.map(|key| key.0.to_hex()), "address": "127.0.0.1:9",
            "action": 17, "name": "notes/plan.md", "why": 2, "missed": "3",
        });
        vectors.push(Vector::new(name, fields, bytes, move |bytes| {
            let mut reader = Reader::new("denial", bytes);
            Denial::decode(&mut reader).is_ok_and(|read| read == denial(key)) && reader.finish().is_ok()
        }));
    }
    vectors
}

pub fn requests() -> Vec<Vector> {
    let of = |name, query: VaultQuery<'static>, mut fields: Value| {
        fields["request"] = NUMBER.to_string().into();
        let request = Request::Vault(query);
        Vector::new(name, fields, request.encode(NUMBER), move |bytes| {
            Request::decode(bytes).is_ok_and(|read| read == (NUMBER, request.clone()))
        })
    };
    let name = "notes/plan.md";
    vec![
        of(
            "vault look",
            VaultQuery::Look { name, number: 2 },
            json!({ "name": name, "number": "2" }),
        ),
        of(
            "vault get",
            VaultQuery::Get {
                name,
                number: 2,
                offset: 65_536,
                len_max: 1_048_576,
            },
            json!({ "name": name, "number": "2", "offset": "65536", "len_max": 1_048_576 }),
        ),
        of(
            "vault list",
            VaultQuery::List {
                prefix: "notes/",
                after: "notes/a",
                with_removed: true,
                rows_max: 100,
            },
            json!({ "prefix": "notes/", "after": "notes/a", "with_removed": 1, "rows_max": 100 }),
        ),
        of(
            "vault history",
            VaultQuery::History {
                name,
                from: 2,
                rows_max: 100,
            },
            json!({ "name": name, "from": "2", "rows_max": 100 }),
        ),
        of(
            "vault put",
            VaultQuery::Put {
                name,
                upload: 77,
                after: Some(1),
                offset: 0,
                is_last: true,
                bytes: b"content",
            },
            json!({ "name": name, "upload": "77", "after": "1", "offset": "0", "is_last": 1, "bytes": super::hex(b"content") }),
        ),
        of(
            "vault put whatever came before",
            VaultQuery::Put {
                name,
                upload: 77,
                after: None,
                offset: 7,
                is_last: false,
                bytes: b"",
            },
            json!({ "name": name, "upload": "77", "after": u64::MAX.to_string(), "offset": "7", "is_last": 0, "bytes": "" }),
        ),
        of(
            "vault remove",
            VaultQuery::Remove {
                name,
                purge_through: 2,
            },
            json!({ "name": name, "purge_through": "2" }),
        ),
        of(
            "vault grants",
            VaultQuery::Access(Access::Grants),
            json!({ "access": 1 }),
        ),
        of(
            "vault grant",
            VaultQuery::Access(Access::Grant {
                key: KeyId(filled(0x66)),
                prefix: "notes/",
                rights: rights(),
                until_ns: TimeNs(0),
            }),
            json!({ "access": 2, "key": filled(0x66).to_hex(), "prefix": "notes/", "rights": 1, "until_ns": "0" }),
        ),
        of(
            "vault revoke",
            VaultQuery::Access(Access::Revoke {
                key: KeyId(filled(0x66)),
                prefix: "notes/",
            }),
            json!({ "access": 3, "key": filled(0x66).to_hex(), "prefix": "notes/" }),
        ),
        of(
            "vault denials",
            VaultQuery::Access(Access::Denials { rows_max: 100 }),
            json!({ "access": 4, "rows_max": 100 }),
        ),
        of(
            "vault standing",
            VaultQuery::Owner(OwnerQuery::Standing),
            json!({ "owner": 1 }),
        ),
        of(
            "vault check",
            VaultQuery::Owner(OwnerQuery::Check { name, number: 2 }),
            json!({ "owner": 2, "name": name, "number": "2" }),
        ),
        of(
            "vault anchored",
            VaultQuery::Owner(OwnerQuery::Anchored {
                hash: filled(0x77),
                at: anchored(),
            }),
            json!({ "owner": 3, "hash": filled(0x77).to_hex(), "tx_id": filled(0x55).to_hex(), "height": "7" }),
        ),
        of(
            "vault check book",
            VaultQuery::Owner(OwnerQuery::CheckBook),
            json!({ "owner": 4 }),
        ),
    ]
}

pub fn replies() -> Vec<Vector> {
    let of = |name, answer: VaultAnswer, mut fields: Value| {
        fields["request"] = NUMBER.to_string().into();
        let reply = Reply::Answer(Answer::Vault(answer));
        Vector::new(name, fields, reply.encode(NUMBER), move |bytes| {
            Reply::decode(bytes).is_ok_and(|read| read == (NUMBER, reply.clone()))
        })
    };
    let standing = |anchored| VaultStanding {
        root: filled(0x77),
        names: 3,
        versions: 5,
        bytes: 70_000,
        anchored,
    };
    let standing_fields =
        json!({ "root": filled(0x77).to_hex(), "names": "3", "versions": "5", "bytes": "70000" });
    vec![
        of(
            "answer vault version",
            VaultAnswer::Version(version()),
            json!({ "see": "vault.json: version" }),
        ),
        of(
            "answer vault chunk",
            VaultAnswer::Chunk {
                version: version(),
                offset: 65_536,
                bytes: b"content".to_vec(),
            },
            json!({ "see": "vault.json: version", "offset": "65536", "bytes": super::hex(b"content") }),
        ),
        of(
            "answer vault versions",
            VaultAnswer::Versions(vec![version(), version().purged()], true),
            json!({ "see": "vault.json: version; version, purged", "has_more": 1 }),
        ),
        of(
            "answer vault taken",
            VaultAnswer::Taken(65_536),
            json!({ "have": "65536" }),
        ),
        of("answer vault done", VaultAnswer::Done, json!({})),
        of(
            "answer vault grants",
            VaultAnswer::Grants(vec![grant()]),
            json!({ "see": "vault.json: grant" }),
        ),
        of(
            "answer vault denials",
            VaultAnswer::Denials(vec![denial(None)], 9),
            json!({ "see": "vault.json: denial without a key", "more": "9" }),
        ),
        of(
            "answer vault standing",
            VaultAnswer::Standing(standing(None)),
            standing_fields.clone(),
        ),
        of(
            "answer vault standing, anchored",
            VaultAnswer::Standing(standing(Some((filled(0x78), anchored())))),
            json!({ "see": "answer vault standing", "tx_id": filled(0x55).to_hex(), "height": "7",
                "anchored_root": filled(0x78).to_hex() }),
        ),
    ]
}
