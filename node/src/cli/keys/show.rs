//! `keys show`: the public half of a key file, or what a certificate of an identity says.

use super::certify::is_certificate;
use crate::cli::access::key_failure;
use crate::cli::output::Output;
use crate::cli::{Failure, describe};
use crate::keys::{self, KeyFile};
use selfchain_types::crypto::PublicKey;
use selfchain_types::identity::{IdentityCertificate, Roles, is_root_scheme, node_id};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn show(path: &Path, output: Output) -> Result<(), Failure> {
    let value = if is_certificate(path) {
        of_certificate(path, &super::certify::read_certificate(path)?)
    } else {
        let file = keys::open(path).map_err(|error| key_failure(path, &error))?;
        of_file(path, &file)
    };
    output.result(&describe::lines(&value), &value)
}

/// The public half, which no passphrase is needed for.
pub(super) fn of_file(path: &Path, file: &KeyFile) -> Value {
    let mut value = json!({
        "file": path.display().to_string(),
        "scheme": file.scheme_name(),
        "key_id": file.id().map(|id| id.to_string()),
        "public": keys::hex(file.public_bytes()).as_str(),
        "is_sealed": file.is_sealed(),
    });
    if let Some(root) = file.public().ok().filter(|key| is_root_scheme(key.scheme())) {
        value["node_id"] = node_id(root).to_hex().into();
    }
    value
}

/// What a certificate says.
pub(super) fn of_certificate(path: &Path, certificate: &IdentityCertificate) -> Value {
    let body = certificate.body();
    let key = |key: &PublicKey| json!({ "scheme": key.scheme().name(), "key_id": key.id().to_string() });
    let roles: Vec<&str> = Roles::NAMES
        .iter()
        .filter(|(role, _)| body.roles.has(*role))
        .map(|(_, name)| *name)
        .collect();
    json!({
        "file": path.display().to_string(),
        "node_id": body.node().to_hex(),
        "certificate": certificate.hash().to_hex(),
        "serial": body.serial,
        "previous": body.previous.to_hex(),
        "not_before": body.not_before.0,
        "not_after": body.not_after.0,
        "overlap": body.overlap.0,
        "roles": roles,
        "is_revocation": body.is_revocation(),
        "root": key(&body.root),
        "consensus": body.keys.consensus.as_ref().map(key),
        "transport": body.keys.transport.as_ref().map(key),
        "kem": body.keys.kem.as_deref().map(|kem| keys::hex(kem).to_string()),
        "others": body.keys.others.iter().map(key).collect::<Vec<_>>(),
    })
}
