//! Sealing to a public key, against the published cases of X-Wing, HPKE, ML-KEM-768 and X25519.
//!
//! They lie beside the checkout, in `../shared/vectors`; without that folder their tests say that they were skipped.

use crate::ed25519::outside;
use crate::vectors::unhex;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem};
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, Seed};
use selfchain_types::crypto::x_wing::{
    ENC_LEN, KEM_PUBLIC_LEN, KemPublic, KemSecret, XWingError, open, seal_drawn,
};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

/// Bytes of an ML-KEM-768 public key and ciphertext: what stands first in those of X-Wing.
const ML_KEM_PUBLIC_LEN: usize = 1_184;
const ML_KEM_CIPHERTEXT_LEN: usize = 1_088;

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    unhex(text(case, field))
}

/// The cases of all groups of a file of Wycheproof.
fn wycheproof(name: &str) -> Option<Vec<Value>> {
    let file = outside(name)?;
    let groups = file["testGroups"].as_array().unwrap();
    let cases = groups
        .iter()
        .flat_map(|group| group["tests"].as_array().unwrap().clone());
    Some(cases.collect())
}

/// An X25519 share that is none of small order.
fn share() -> [u8; 32] {
    *KemSecret::from_seed(&[3; 32])
        .public()
        .as_bytes()
        .last_chunk()
        .unwrap()
}

/// The library's decapsulation, with the check that ours does before it.
fn decapsulate(seed: &[u8; 32], enc: &[u8]) -> Option<Vec<u8>> {
    let secret = <XWing as Kem>::PrivateKey::from_bytes(seed).unwrap();
    let enc = <XWing as Kem>::EncappedKey::from_bytes(enc).ok()?;
    XWing::decap(&secret, None, &enc)
        .ok()
        .map(|shared| shared.0.to_vec())
}

/// Blocks of `Name = value` lines between empty ones.
fn blocks(text: &str) -> Vec<HashMap<&str, &str>> {
    text.split("\n\n")
        .map(|block| {
            let lines = block.lines().filter(|line| !line.starts_with('#'));
            lines
                .map(|line| line.split_once(" = ").unwrap_or((line, "")))
                .collect()
        })
        .filter(|block: &HashMap<&str, &str>| !block.is_empty())
        .collect()
}

#[test]
fn x_wing_agrees_with_boringssl() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/boringssl_xwing_tests.txt");
    let Ok(file) = std::fs::read_to_string(&path) else {
        let why =
            "SKIPPED: boringssl_xwing_tests.txt was not run: ../shared/vectors is not beside the checkout";
        writeln!(std::io::stderr().lock(), "{why}").unwrap();
        return;
    };
    let mut seeds: HashMap<&str, [u8; 32]> = HashMap::new();
    let (mut keys, mut opened, mut refused) = (0, 0, 0);
    for block in blocks(&file) {
        let is_refused = block.contains_key("Error") || block.contains_key("DecapsulateFail");
        if let Some(name) = block.get("Key") {
            if let Some(seed) = block.get("PrivateSeed") {
                let seed: Result<[u8; 32], _> = unhex(seed).try_into();
                assert_eq!(seed.is_err(), is_refused, "{name}");
                if let Ok(seed) = seed {
                    let key = KemSecret::from_seed(&seed);
                    assert_eq!(
                        key.public().as_bytes()[..],
                        unhex(block["RawPublic"])[..],
                        "{name}"
                    );
                    seeds.insert(name, seed);
                    keys += 1;
                }
            } else if let Some(public) = block.get("RawPublic") {
                assert_eq!(KemPublic::new(&unhex(public)).is_err(), is_refused, "{name}");
            }
            refused += u32::from(is_refused);
        } else if let (Some(name), Some(input)) = (block.get("Decapsulate"), block.get("Input")) {
            let seed = &seeds[name.strip_suffix("/Private").unwrap()];
            let shared = decapsulate(seed, &unhex(input));
            assert_eq!(shared.is_none(), is_refused, "{name}");
            if let (Some(shared), Some(want)) = (shared, block.get("Output")) {
                assert_eq!(shared, unhex(want), "{name}");
                opened += 1;
            }
            refused += u32::from(is_refused);
        }
    }
    assert_eq!((keys, opened, refused), (2, 2, 6));
}

/// The suite that ours is: X-Wing, HKDF-SHA256, ChaCha20-Poly1305; another one of the file uses a hash that ours does not.
#[test]
fn hpke_with_x_wing_agrees_with_its_draft() {
    let Some(file) = outside("hpke_pq_test-vectors.json") else {
        return;
    };
    let cases = file.as_array().unwrap().iter();
    let ours = cases.filter(|case| case["kem_id"] == 25_722 && case["kdf_id"] == 1 && case["aead_id"] == 3);
    let mut count = 0;
    for case in ours {
        let seed: [u8; 32] = bytes(case, "skRm").try_into().unwrap();
        let secret = KemSecret::from_seed(&seed);
        assert_eq!(secret.public().as_bytes()[..], bytes(case, "pkRm")[..]);
        let enc = bytes(case, "enc");
        assert_eq!(
            decapsulate(&seed, &enc).unwrap(),
            bytes(case, "shared_secret"),
            "the shared secret"
        );
        let (drawn, info) = (bytes(case, "ikmE"), bytes(case, "info"));
        let first = &case["encryptions"][0];
        let (aad, plain) = (bytes(first, "aad"), bytes(first, "pt"));
        let sealed = seal_drawn(secret.public(), &info, &aad, &plain, &drawn.try_into().unwrap()).unwrap();
        assert_eq!(sealed, [enc, bytes(first, "ct")].concat());
        assert_eq!(*open(&secret, &info, &aad, &sealed).unwrap(), plain);
        count += 1;
    }
    assert_eq!(count, 1);
}

/// A public key is taken if its ML-KEM half is one, and what is sealed to it begins with what the case says.
#[test]
fn ml_kem_keys_and_encapsulations_are_those_of_wycheproof() {
    let Some(cases) = wycheproof("wycheproof_mlkem_768_encaps_test.json") else {
        return;
    };
    let (mut valid, mut refused) = (0, 0);
    for case in &cases {
        let id = &case["tcId"];
        let public = KemPublic::new(&[bytes(case, "ek"), share().to_vec()].concat());
        let drawn: Result<[u8; 32], _> = bytes(case, "m").try_into();
        if text(case, "result") != "valid" {
            assert!(public.is_err() || drawn.is_err(), "case {id}");
            refused += u32::from(public.is_err());
            continue;
        }
        let drawn = [drawn.unwrap(), [5; 32]].concat().try_into().unwrap();
        let sealed = seal_drawn(&public.unwrap(), b"", b"", b"", &drawn).unwrap();
        assert_eq!(sealed[..ML_KEM_CIPHERTEXT_LEN], bytes(case, "c")[..], "case {id}");
        valid += 1;
    }
    assert_eq!(valid, 133);
    assert!(refused >= 30, "{refused}");
}

/// What stands below: keys from seeds, and decapsulation with implicit rejection. X-Wing expands its own seed first, so
/// these cases are for the library alone.
#[test]
fn ml_kem_below_is_that_of_wycheproof() {
    let files = [
        wycheproof("wycheproof_mlkem_768_test.json"),
        wycheproof("wycheproof_mlkem_768_keygen_seed_test.json"),
    ];
    let [Some(decapsulations), Some(keys)] = files else {
        return;
    };
    let mut count = 0;
    for case in decapsulations.iter().chain(&keys) {
        let id = &case["tcId"];
        let seed: Result<[u8; 64], _> = bytes(case, "seed").try_into();
        let key = seed.map(|seed| DecapsulationKey768::from_seed(Seed::from(seed)));
        let is_valid = text(case, "result") == "valid";
        let Ok(key) = key else {
            assert!(!is_valid, "case {id}");
            continue;
        };
        if is_valid {
            assert_eq!(
                key.encapsulation_key().to_bytes().as_slice(),
                bytes(case, "ek"),
                "case {id}"
            );
        }
        if let Some(ciphertext) = case["c"].as_str() {
            let ciphertext: Result<[u8; ML_KEM_CIPHERTEXT_LEN], _> = unhex(ciphertext).try_into();
            assert_eq!(ciphertext.is_ok(), is_valid, "case {id}");
            if let Ok(ciphertext) = ciphertext {
                let shared = key.decapsulate(&ciphertext.into());
                assert_eq!(shared.as_slice(), bytes(case, "K"), "case {id}");
            }
        }
        count += 1;
    }
    assert!(count > 250, "{count}");
}

/// Exactly the shares whose product is zero are refused, in keys and in what was sealed.
#[test]
fn x25519_shares_of_small_order_are_those_of_wycheproof() {
    let Some(cases) = wycheproof("wycheproof_x25519_test.json") else {
        return;
    };
    let secret = KemSecret::from_seed(&[1; 32]);
    let sealed = seal_drawn(secret.public(), b"", b"", b"a secret", &[7; 64]).unwrap();
    let (mut low, mut other) = (0, 0);
    for case in &cases {
        let id = &case["tcId"];
        let share = bytes(case, "public");
        let is_low = bytes(case, "shared").iter().all(|byte| *byte == 0);
        let mut public = *secret.public().as_bytes();
        public[ML_KEM_PUBLIC_LEN..].copy_from_slice(&share);
        let taken = KemPublic::new(&public);
        let mut changed = sealed.clone();
        changed[ENC_LEN - 32..ENC_LEN].copy_from_slice(&share);
        let opened = open(&secret, b"", b"", &changed).map(|_| ());
        if is_low {
            assert_eq!(taken.err(), Some(XWingError::LowOrder), "case {id}");
            assert_eq!(opened, Err(XWingError::LowOrder), "case {id}");
            low += 1;
        } else {
            assert!(taken.is_ok(), "case {id}");
            assert_eq!(opened, Err(XWingError::Refused), "case {id}");
            other += 1;
        }
    }
    assert_eq!((low, other), (31, cases.len() - 31));
    assert_eq!(KEM_PUBLIC_LEN, ML_KEM_PUBLIC_LEN + 32);
}
