//! `keys show`: the public half of a key file, or what a certificate of an identity says.

use super::certify::is_certificate;
use crate::cli::access::{self, asked, key_failure, parse_hash};
use crate::cli::arguments::NodeArguments;
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::{ExitStatus, Failure, describe};
use crate::keys::{self, KeyFile};
use selfchain_storage::backup::age::Recipient;
use selfchain_types::crypto::PublicKey;
use selfchain_types::crypto::x_wing::KemPublic;
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
        "recipient": file.kem().and_then(|kem| KemPublic::new(kem).ok()).map(|kem| Recipient::new(kem).text()),
        "public": keys::hex(file.public_bytes()).as_str(),
        "is_sealed": file.is_sealed(),
    });
    if let Some(root) = file.public().ok().filter(|key| is_root_scheme(key.scheme())) {
        value["node_id"] = node_id(root).to_hex().into();
    }
    value
}

/// `keys identity`: what the ledger has of an identity.
pub(super) fn identity(
    id: &str,
    node: &NodeArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let what = "cannot ask for that identity";
    let id = parse_hash("the id", id)?;
    let found = access::connect(node, settings)?
        .identity(id)
        .map_err(asked(what))?;
    let record = found.ok_or_else(|| {
        let what = format!("there is no identity of {id}");
        let next = "`selfchain keys submit` or `keys certify --submit` puts one on the ledger";
        Failure::new(ExitStatus::Refused, what, next)
    })?;
    let keys = record
        .signing()
        .map(|(key_use, key)| json!({ "use": key_use.name(), "key_id": key.to_string() }));
    let value = json!({
        "node_id": record.node.to_hex(),
        "root": record.root.to_string(),
        "certificate": record.certificate.to_hex(),
        "serial": record.serial.get(),
        "certified": record.certified.get(),
        "not_before": record.not_before.get(),
        "not_after": record.not_after.get(),
        "revoked": (record.revoked.get() > 0).then(|| record.revoked.get()),
        "roles": names_of(Roles(record.roles.get())),
        "keys": keys.collect::<Vec<_>>(),
    });
    output.result(&describe::lines(&value), &value)
}

fn names_of(roles: Roles) -> Vec<&'static str> {
    let held = Roles::NAMES.iter().filter(|(role, _)| roles.has(*role));
    held.map(|(_, name)| *name).collect()
}

/// What a certificate says.
pub(super) fn of_certificate(path: &Path, certificate: &IdentityCertificate) -> Value {
    let body = certificate.body();
    let key = |key: &PublicKey| json!({ "scheme": key.scheme().name(), "key_id": key.id().to_string() });
    json!({
        "file": path.display().to_string(),
        "node_id": body.node().to_hex(),
        "certificate": certificate.hash().to_hex(),
        "serial": body.serial,
        "previous": body.previous.to_hex(),
        "not_before": body.not_before.0,
        "not_after": body.not_after.0,
        "overlap": body.overlap.0,
        "roles": names_of(body.roles),
        "is_revocation": body.is_revocation(),
        "root": key(&body.root),
        "consensus": body.keys.consensus.as_ref().map(key),
        "transport": body.keys.transport.as_ref().map(key),
        "kem": body.keys.kem.as_deref().map(|kem| keys::hex(kem).to_string()),
        "others": body.keys.others.iter().map(key).collect::<Vec<_>>(),
    })
}
