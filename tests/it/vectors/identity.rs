//! Vectors of the bodies of identity certificates.

use selfchain_types::crypto::{PublicKey, Scheme, SigningKey};
use selfchain_types::identity::{HotKeys, IdentityBody, IdentityCertificate, KEM_KEY_BYTES, Roles};
use selfchain_types::{Hash, Height};
use serde_json::json;

use super::{Vector, hex, key};

/// A first certificate, one that follows it with a key of every use, and a revocation.
pub fn bodies() -> Vec<Vector> {
    let root = SigningKey::of_scheme(Scheme::Ed25519SlhDsa128s, &[9; 32]).unwrap();
    let public = |seed: u8| key(seed).public().clone();
    let first = IdentityBody {
        root: root.public().clone(),
        serial: 1,
        previous: Hash::ZERO,
        not_before: Height(1),
        not_after: Height(100_000),
        overlap: Height(0),
        roles: Roles::VALIDATOR,
        keys: HotKeys {
            consensus: Some(public(1)),
            transport: Some(public(1)),
            ..HotKeys::default()
        },
    };
    let mut others = vec![public(3), public(4)];
    others.sort_by_key(PublicKey::id);
    let second = IdentityBody {
        serial: 2,
        previous: first.hash(),
        not_before: Height(500),
        overlap: Height(600),
        roles: Roles::ALL,
        keys: HotKeys {
            consensus: Some(public(5)),
            transport: Some(public(2)),
            kem: Some(vec![0xee; KEM_KEY_BYTES]),
            others,
        },
        ..first.clone()
    };
    let last = IdentityBody {
        serial: 7,
        previous: second.hash(),
        overlap: Height(0),
        roles: Roles::default(),
        keys: HotKeys::default(),
        ..second.clone()
    };
    [("first", first), ("all keys", second), ("revocation", last)]
        .into_iter()
        .map(|(name, body)| vector(name, body, &root))
        .collect()
}

fn vector(name: &'static str, body: IdentityBody, root: &SigningKey) -> Vector {
    let keys = &body.keys;
    let public = |key: &PublicKey| hex(key.as_bytes());
    let fields = json!({
        "node": body.node().to_hex(),
        "serial": body.serial.to_string(),
        "previous": body.previous.to_hex(),
        "not_before": body.not_before.0.to_string(),
        "not_after": body.not_after.0.to_string(),
        "overlap": body.overlap.0.to_string(),
        "roles": body.roles.0,
        "root": public(&body.root),
        "consensus": keys.consensus.as_ref().map(public),
        "transport": keys.transport.as_ref().map(public),
        "kem": keys.kem.as_ref().map(|kem| hex(kem)),
        "others": keys.others.iter().map(public).collect::<Vec<_>>(),
    });
    let (node, hash, bytes) = (body.node(), body.hash(), body.encode());
    // Ed25519 and this SLH-DSA sign the same each time: the whole file is pinned too.
    let certificate = IdentityCertificate::sign(body.clone(), root).unwrap();
    let file = Hash(*blake3::hash(&certificate.encode()).as_bytes());
    Vector::new(name, fields, bytes, move |bytes| {
        IdentityBody::decode(bytes) == Ok(body.clone())
    })
    .hashed("node", node)
    .hashed("certificate", hash)
    .hashed("blake3_of_file", file)
}
