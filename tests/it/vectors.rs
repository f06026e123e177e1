//! Golden bytes of every format: what is written today is what `tests/vectors/` holds, and reads back as the same value.
//!
//! A vector that differs is a format that changed: peers, logs and proofs out there still hold the old bytes. When
//! that is meant, give the format a new version and bless the files in the commit that says so.

mod blocks;
mod hashes;
mod messages;
mod pages;
mod proofs;
mod records;
mod standing;
mod transactions;

use std::fs;
use std::path::PathBuf;

use selfchain_types::Hash;
use serde_json::{Map, Value, json};

/// One value of a format and its bytes.
struct Vector {
    name: &'static str,
    /// What the bytes say, for people and for other implementations.
    fields: Value,
    bytes: Vec<u8>,
    /// What is hashed over them, by name.
    hashes: Vec<(&'static str, Hash)>,
    reads_back: ReadsBack,
}

/// Whether bytes decode to a vector's very value.
type ReadsBack = Box<dyn Fn(&[u8]) -> bool>;

impl Vector {
    fn new(
        name: &'static str,
        fields: Value,
        bytes: Vec<u8>,
        reads_back: impl Fn(&[u8]) -> bool + 'static,
    ) -> Self {
        Self {
            name,
            fields,
            bytes,
            hashes: Vec::new(),
            reads_back: Box::new(reads_back),
        }
    }

    fn hashed(mut self, name: &'static str, hash: Hash) -> Self {
        self.hashes.push((name, hash));
        self
    }

    fn to_json(&self) -> Value {
        let hashes: Map<String, Value> = self
            .hashes
            .iter()
            .map(|(name, hash)| ((*name).to_owned(), hash.to_hex().into()))
            .collect();
        json!({ "name": self.name, "fields": self.fields, "bytes": hex(&self.bytes), "hashes": hashes })
    }
}

/// A file in `tests/vectors/` and the page that explains it.
struct Format {
    name: &'static str,
    page: &'static str,
    vectors: Vec<Vector>,
}

/// Every format there is.
fn formats() -> Vec<Format> {
    let format = |name, page, vectors| Format { name, page, vectors };
    vec![
        format("hashes", "hashes", hashes::domains()),
        format("codes", "message", hashes::codes()),
        format("text", "hashes", hashes::text()),
        format("key", "envelope", transactions::keys()),
        format("operation", "operation", transactions::operations()),
        format("envelope", "envelope", transactions::envelopes()),
        format("header", "block", blocks::headers()),
        format("body", "block", blocks::bodies()),
        format("result", "block", blocks::results()),
        format("row", "block", blocks::rows()),
        format("certificate", "certificate", blocks::certificates()),
        format("ballot", "agreement", blocks::ballots()),
        format("evidence", "agreement", blocks::evidence()),
        format("peer", "peer", messages::peers()),
        format("snapshot", "snapshot", proofs::snapshots()),
        format("checkpoint", "checkpoint", proofs::checkpoints()),
        format("genesis", "genesis", blocks::genesis()),
        format("roots", "roots", blocks::roots()),
        format("receipt", "receipt", blocks::receipts()),
        format("proofs", "receipt", proofs::proofs()),
        format("records", "records", records::records()),
        format("standing", "standing", standing::tables()),
        format("request", "message", messages::requests()),
        format("reply", "message", messages::replies()),
        format("sections", "containers", records::sections()),
    ]
}

const BLESS: &str = "SELFCHAIN_BLESS";

#[test]
fn every_format_keeps_its_bytes() {
    let bless = std::env::var(BLESS).is_ok_and(|value| value == "1");
    assert!(
        !(bless && std::env::var_os("CI").is_some()),
        "CI never blesses: {BLESS} and CI are both set"
    );
    let mut findings = Vec::new();
    for format in formats() {
        if bless {
            fs::write(file(format.name), stored_text(&format)).unwrap();
        }
        findings.extend(compare(
            &format,
            fs::read_to_string(file(format.name)).ok().as_deref(),
        ));
    }
    assert!(findings.is_empty(), "{}", complaint(&findings));
}

fn complaint(findings: &[String]) -> String {
    format!(
        "a format changed:\n  {}\nEvery log, peer and proof out there holds the old bytes. If this is meant, give the format a new \
         version, say so in its page in docs/formats/, run\n  {BLESS}=1 cargo test -p selfchain-tests --test it vectors\nand commit \
         the vectors with a message that says which format changed.",
        findings.join("\n  ")
    )
}

/// What differs between a format and its file.
fn compare(format: &Format, text: Option<&str>) -> Vec<String> {
    let name = format.name;
    let Some(text) = text else {
        return vec![format!("{name}: tests/vectors/{name}.json is missing")];
    };
    let Ok(stored) = serde_json::from_str::<Value>(text) else {
        return vec![format!("{name}: tests/vectors/{name}.json is not JSON")];
    };
    let none = Vec::new();
    let stored = stored["vectors"].as_array().unwrap_or(&none);
    let named = |wanted: &str| stored.iter().find(|vector| vector["name"] == wanted);
    let mut findings = Vec::new();
    for vector in &format.vectors {
        match named(vector.name) {
            None => findings.push(format!("{name}: `{}` is not in the file", vector.name)),
            Some(old) => findings.extend(difference(name, old, &vector.to_json())),
        }
    }
    for old in stored {
        let old = old["name"].as_str().unwrap_or_default();
        if !format.vectors.iter().any(|vector| vector.name == old) {
            findings.push(format!(
                "{name}: `{old}` is in the file, and nothing makes it any more"
            ));
        }
    }
    findings
}

fn difference(format: &str, old: &Value, new: &Value) -> Option<String> {
    if old == new {
        return None;
    }
    let name = new["name"].as_str().unwrap_or_default();
    let part = ["bytes", "hashes", "fields"]
        .into_iter()
        .find(|part| old[part] != new[part])?;
    let was = old[part].as_str().unwrap_or_default();
    let is = new[part].as_str().unwrap_or_default();
    let at = was
        .bytes()
        .zip(is.bytes())
        .take_while(|(was, is)| was == is)
        .count()
        / 2;
    Some(match part {
        "bytes" => format!(
            "{format}: `{name}`: {} bytes were {}, the first that differs is at offset {at}",
            is.len() / 2,
            was.len() / 2
        ),
        _ => format!("{format}: `{name}`: {part} were {}, are {}", old[part], new[part]),
    })
}

#[test]
fn every_stored_vector_reads_back_as_its_value() {
    for format in formats() {
        let stored = stored_bytes(format.name);
        assert_eq!(stored.len(), format.vectors.len(), "{}", format.name);
        for (vector, bytes) in format.vectors.iter().zip(&stored) {
            assert!(
                (vector.reads_back)(bytes),
                "{}: `{}` reads back as another value",
                format.name,
                vector.name
            );
        }
    }
}

#[test]
fn every_vector_file_has_a_maker_and_a_page() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut made: Vec<String> = formats()
        .iter()
        .map(|format| format!("{}.json", format.name))
        .collect();
    made.sort();
    assert_eq!(files, made);
    for format in formats() {
        let named = format!("tests/vectors/{}.json", format.name);
        assert!(
            page(format.page).contains(&named),
            "docs/formats/{}.md does not name {named}",
            format.page
        );
    }
}

#[test]
fn a_changed_or_missing_vector_is_noticed() {
    let check = |change: fn(&mut Value), want: &str| {
        let format = formats()
            .into_iter()
            .find(|format| format.name == "header")
            .unwrap();
        let mut stored: Value = serde_json::from_str(&stored_text(&format)).unwrap();
        change(&mut stored["vectors"]);
        let findings = compare(&format, Some(&stored.to_string()));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains(want), "{findings:?}");
        assert!(complaint(&findings).contains("SELFCHAIN_BLESS=1 cargo test"));
    };
    check(
        |vectors| {
            let flipped = vectors[0]["bytes"].as_str().unwrap().replacen("0100", "0200", 1);
            vectors[0]["bytes"] = flipped.into();
        },
        "the first that differs is at offset 0",
    );
    check(
        |vectors| vectors[0]["hashes"]["block"] = "00".into(),
        "hashes were",
    );
    check(
        |vectors| drop(vectors.as_array_mut().unwrap().remove(0)),
        "is not in the file",
    );
    check(
        |vectors| {
            let mut extra = vectors[0].clone();
            extra["name"] = "lost".into();
            vectors.as_array_mut().unwrap().push(extra);
        },
        "nothing makes it any more",
    );
    let format = formats().remove(0);
    assert!(compare(&format, None)[0].contains("is missing"));
}

/// The bytes of every vector of a format, in the order of its file: valid samples for other tests.
pub fn stored_bytes(format: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(file(format))
        .unwrap_or_else(|error| panic!("tests/vectors/{format}.json: {error}"));
    let stored: Value = serde_json::from_str(&text).unwrap();
    let vectors = stored["vectors"].as_array().unwrap();
    vectors
        .iter()
        .map(|vector| unhex(vector["bytes"].as_str().unwrap()))
        .collect()
}

fn stored_text(format: &Format) -> String {
    let vectors: Vec<Value> = format.vectors.iter().map(Vector::to_json).collect();
    let stored = json!({
        "format": format.name,
        "page": format!("docs/formats/{}.md", format.page),
        "vectors": vectors,
    });
    serde_json::to_string_pretty(&stored).unwrap() + "\n"
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"))
}

fn file(format: &str) -> PathBuf {
    folder().join(format!("{format}.json"))
}

fn page(name: &str) -> String {
    let path = format!("{}/../docs/formats/{name}.md", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap_or_else(|error| panic!("docs/formats/{name}.md: {error}"))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal text; panics on anything else.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The key of a seed of equal bytes.
fn key(seed: u8) -> selfchain_types::crypto::SigningKey {
    selfchain_types::crypto::SigningKey::from_seed(&[seed; 32])
}

/// A hash of equal bytes.
fn filled(byte: u8) -> Hash {
    Hash([byte; 32])
}
