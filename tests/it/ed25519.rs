//! One answer to every Ed25519 signature (ZIP-215), alone or in any batch: a node that disagrees forks the chain.
//!
//! The cases of this file are always there. Those of CCTV, speccheck and Wycheproof lie beside the checkout, in
//! `../shared/vectors`; without that folder their tests say that they were skipped.

use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use selfchain_tests::random::Random;
use selfchain_types::KeyId;
use selfchain_types::crypto::{BatchItem, BatchVerifier, Scheme, SigningKey, verify};
use serde_json::Value;

use crate::vectors::{hex, unhex};

/// A signature and whether ZIP-215 accepts it.
#[derive(Clone)]
struct Case {
    name: String,
    public: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    accepted: bool,
}

impl Case {
    fn new(name: impl Into<String>, public: &[u8], message: &[u8], signature: &[u8], accepted: bool) -> Self {
        Self {
            name: name.into(),
            public: public.to_vec(),
            message: message.to_vec(),
            signature: signature.to_vec(),
            accepted,
        }
    }

    fn item(&self) -> BatchItem<'_> {
        BatchItem {
            key: KeyId::of(Scheme::Ed25519, &self.public),
            scheme: Scheme::Ed25519,
            public: &self.public,
            message: &self.message,
            signature: &self.signature,
        }
    }

    fn passes_alone(&self) -> bool {
        verify(Scheme::Ed25519, &self.public, &self.message, &self.signature).is_ok()
    }
}

/// Where the random compositions start.
const SEED: u64 = 0x0ed2_5519;
/// Sizes of the random batches; those past 190 take another algorithm for the product (Pippenger's).
const BATCH_LENS: [usize; 9] = [2, 3, 5, 8, 16, 33, 64, 191, 400];
/// Random batches of each size.
const BATCHES: usize = 6;

#[test]
fn own_cases_agree_in_every_composition() {
    let mut cases = own_cases();
    cases.extend(low_order_pairs());
    check(&cases);
}

#[test]
fn outside_cases_agree_in_every_composition() {
    let (Some(cctv), Some(speccheck), Some(wycheproof)) = (cctv(), speccheck(), wycheproof()) else {
        return;
    };
    let mut cases = own_cases();
    cases.extend([cctv, speccheck, wycheproof].concat());
    check(&cases);
}

/// Every case alone, all together, each with good and bad company, with itself, and in random batches.
fn check(cases: &[Case]) {
    for case in cases {
        assert_eq!(case.passes_alone(), case.accepted, "{} alone", case.name);
        batch(&[case]);
        batch(&[case, case, case]);
    }
    let all: Vec<&Case> = cases.iter().collect();
    batch(&all);
    batch(&all.iter().rev().copied().collect::<Vec<_>>());
    let (good, bad): (Vec<&Case>, Vec<&Case>) = all.iter().copied().partition(|case| case.accepted);
    batch(&good);
    batch(&bad);

    let mut random = Random(SEED);
    for case in cases {
        batch(&[case, *random.pick(&good)]);
        batch(&[*random.pick(&good), case]);
        batch(&[case, *random.pick(&bad)]);
        batch(&[
            *random.pick(&good),
            case,
            *random.pick(&good),
            *random.pick(&good),
        ]);
        // The same key with another message or signature shares its coefficient in the product.
        let kin: Vec<&Case> = all
            .iter()
            .copied()
            .filter(|other| other.public == case.public)
            .take(8)
            .collect();
        batch(&[kin.as_slice(), &[case]].concat());
    }
    for len in BATCH_LENS {
        for _ in 0..BATCHES {
            batch(&(0..len).map(|_| *random.pick(&all)).collect::<Vec<_>>());
            // Mostly good, as in life: one bad case must neither hide nor take others with it.
            let mut mixed: Vec<&Case> = (0..len).map(|_| *random.pick(&good)).collect();
            mixed[random.index(len)] = *random.pick(&bad);
            batch(&mixed);
        }
    }
}

fn batch(cases: &[&Case]) {
    let items: Vec<BatchItem<'_>> = cases.iter().map(|case| case.item()).collect();
    let entropy = selfchain_types::hash::BATCH
        .hash(&(items.len() as u64).to_le_bytes())
        .0;
    // One that remembers keys from the batches before, and one that has seen none.
    static SEASONED: LazyLock<BatchVerifier> = LazyLock::new(BatchVerifier::new);
    let answers = SEASONED.verify(&items, &entropy);
    assert_eq!(answers.len(), cases.len());
    assert_eq!(answers, BatchVerifier::new().verify(&items, &entropy));
    for ((at, case), answer) in cases.iter().enumerate().zip(&answers) {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).take(10).collect();
        let len = cases.len();
        assert_eq!(
            answer.is_ok(),
            case.accepted,
            "{} at {at} of {len} (seed {SEED}): {names:?}",
            case.name
        );
    }
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let mut wrong = own_cases();
    wrong[0].accepted ^= true;
    assert!(std::panic::catch_unwind(|| check(&wrong)).is_err());
}

/// The eight points of small order in all their encodings, canonical and not (CCTV, ed25519/README.md).
const LOW_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

/// The base point B, and B plus the point of order two: (−x, −y), so other bits of the same numbers.
const BASE: &str = "5866666666666666666666666666666666666666666666666666666666666666";
const BASE_PLUS_ORDER_TWO: &str = "9599999999999999999999999999999999999999999999999999999999999999";
/// The group's order L, little-endian (RFC 8032 §5.1).
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
/// 2 is the y of no point: (y² − 1) / (d·y² + 1) is no square.
const NO_POINT: &str = "0200000000000000000000000000000000000000000000000000000000000000";
/// A = 7·B + a point of order eight, R = 5·B + the point of order two, S = 5 + 7·k: the small parts of R and k·A
/// do not cancel in either (k = 7 and 3 mod 8), so only the equation with the cofactor holds.
const MIXED_PUBLIC: &str = "e9b2fe981587efae6478f48ba1fa60cec6126d0e26dde72a0a24f640dcd783e5";
const MIXED: [(&str, &str); 2] = [
    (
        "mixed order 0",
        "003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720a1ee628a4ff0a56ccb7c8efd231e5b81a975839df269de2abce3bb9b6c0a5d00",
    ),
    (
        "mixed order 1",
        "003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720de675d0a5198b1fdfa672a40577ed6dc363dd5dddfb57c0b1b6e9b2ee21faa0b",
    ),
];

fn own_cases() -> Vec<Case> {
    let key = SigningKey::from_seed(&[7; 32]);
    let (public, message) = (key.public().as_bytes().to_vec(), b"message");
    let good = key.sign(message);
    let with =
        |name: &str, signature: &[u8], accepted| Case::new(name, &public, message, signature, accepted);
    let joined = |left: &str, right: &[u8]| [unhex(left), right.to_vec()].concat();
    let mut flipped_r = good.clone();
    flipped_r[0] ^= 1;
    let mut flipped_s = good.clone();
    flipped_s[32] ^= 1;
    let past_order = [&good[..32], &plus_order(&good[32..])].concat();
    let (zero, mut one) = ([0; 32], [0; 32]);
    one[0] = 1;
    let low = unhex(LOW_ORDER[8]);
    let mut cases = vec![
        with("honest", &good, true),
        with("R flipped", &flipped_r, false),
        with("S flipped", &flipped_s, false),
        with("S + L", &past_order, false),
        with("one byte short", &good[..63], false),
        with("one byte more", &[&good[..], &[0]].concat(), false),
        with("empty", b"", false),
        with("R is no point", &joined(NO_POINT, &good[32..]), false),
        Case::new("another message", &public, b"Message", &good, false),
        Case::new(
            "another key",
            SigningKey::from_seed(&[8; 32]).public().as_bytes(),
            message,
            &good,
            false,
        ),
        Case::new("A is no point", &unhex(NO_POINT), message, &good, false),
        Case::new("short key", &public[..31], message, &good, false),
        // With A of small order the equation is 8·S·B = 8·R, whatever the message: R = B, S = 1.
        Case::new("low-order A, R = B", &low, message, &joined(BASE, &one), true),
        Case::new(
            "low-order A, mixed R",
            &low,
            message,
            &joined(BASE_PLUS_ORDER_TWO, &one),
            true,
        ),
        Case::new(
            "low-order A, R = B, S = 0",
            &low,
            message,
            &joined(BASE, &zero),
            false,
        ),
        Case::new(
            "low-order A and R, S = 1",
            &low,
            message,
            &joined(LOW_ORDER[0], &one),
            false,
        ),
        Case::new(
            "low-order A and R, S = L",
            &low,
            message,
            &joined(LOW_ORDER[0], &unhex(ORDER)),
            false,
        ),
        Case::new(
            "mixed A, S of another",
            &unhex(MIXED_PUBLIC),
            b"mixed order 9",
            &unhex(MIXED[0].1),
            false,
        ),
    ];
    let mixed = MIXED.map(|(message, signature)| {
        Case::new(
            message,
            &unhex(MIXED_PUBLIC),
            message.as_bytes(),
            &unhex(signature),
            true,
        )
    });
    cases.extend(mixed);
    for seed in 20..24 {
        let key = SigningKey::from_seed(&[seed; 32]);
        let name = format!("honest key {seed}");
        cases.push(Case::new(
            name,
            key.public().as_bytes(),
            &[seed],
            &key.sign(&[seed]),
            true,
        ));
    }
    cases
}

/// Small-order A with small-order R and S = 0: 8·(R + k·A) is nothing, so ZIP-215 accepts all 196.
fn low_order_pairs() -> Vec<Case> {
    let mut cases = Vec::new();
    for public in LOW_ORDER {
        for r in LOW_ORDER {
            let signature = [unhex(r), vec![0; 32]].concat();
            cases.push(Case::new(
                format!("A {public} R {r}"),
                &unhex(public),
                b"any",
                &signature,
                true,
            ));
        }
    }
    cases
}

/// The little-endian number plus L.
fn plus_order(number: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let digits = number.iter().zip(unhex(ORDER)).map(|(left, right)| {
        let sum = u16::from(*left) + u16::from(right) + carry;
        carry = sum >> 8;
        (sum & 0xff) as u8
    });
    digits.collect()
}

#[test]
fn cctv_cases_have_their_known_answers() {
    let Some(cases) = cctv() else { return };
    assert_eq!(cases.len(), 914);
    assert_eq!(cases.iter().filter(|case| case.passes_alone()).count(), 826);
}

/// All 914 edge cases. ZIP-215 accepts any encoding of any point and wants the equation with the cofactor, with k
/// over the bytes as they came. 146 cases were made with k over a re-encoded point: they hold only where k does
/// not matter, because A is of small order.
fn cctv() -> Option<Vec<Case>> {
    let stored = outside("cctv_ed25519vectors.json")?;
    let cases = stored.as_array().unwrap().iter().map(|case| {
        let flags: Vec<&str> = case["flags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|flag| flag.as_str().unwrap())
            .collect();
        let accepted = !flags.contains(&"reencoded_k") || flags.contains(&"low_order_A");
        let message = case["msg"].as_str().unwrap().as_bytes();
        Case::new(
            format!("cctv {} {flags:?}", case["number"]),
            &bytes(&case["key"]),
            message,
            &bytes(&case["sig"]),
            accepted,
        )
    });
    Some(cases.collect())
}

#[test]
fn speccheck_cases_have_their_known_answers() {
    let Some(cases) = speccheck() else { return };
    let accepted = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.passes_alone())
        .map(|(at, _)| at);
    assert_eq!(accepted.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 9, 10, 11]);
    assert_eq!(cases.len(), 12);
}

/// "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020), table 5. Refused: 6 and 7, whose S is not below
/// L, and 8, made with k over another encoding of R than the signature's.
fn speccheck() -> Option<Vec<Case>> {
    let stored = outside("ed25519_speccheck_cases.json")?;
    let cases = stored.as_array().unwrap().iter().enumerate().map(|(at, case)| {
        let name = format!("speccheck {at}");
        let (public, message) = (bytes(&case["pub_key"]), bytes(&case["message"]));
        Case::new(
            name,
            &public,
            &message,
            &bytes(&case["signature"]),
            ![6, 7, 8].contains(&at),
        )
    });
    Some(cases.collect())
}

#[test]
fn wycheproof_cases_have_their_own_answers() {
    let Some(cases) = wycheproof() else { return };
    assert_eq!(cases.len(), 151);
    let wrong = cases.iter().filter(|case| case.passes_alone() != case.accepted);
    assert_eq!(
        wrong.map(|case| case.name.as_str()).collect::<Vec<_>>(),
        Vec::<&str>::new()
    );
    // 38 known vectors, 32 of Tink's overflow, 18 more valid ones, and the one below.
    assert_eq!(
        cases.iter().filter(|case| case.accepted).count(),
        38 + 32 + 18 + 1
    );
}

/// Invalid for Wycheproof, accepted by ZIP-215. 151: R is y = 1 with the sign bit of x set, a second encoding of the
/// neutral point; RFC 8032 §5.1.3 wants decoding to fail because x is 0, ZIP-215 (rule 1) takes it as −0.
const OTHER_THAN_WYCHEPROOF: [u64; 1] = [151];

fn wycheproof() -> Option<Vec<Case>> {
    let stored = outside("wycheproof_ed25519_test.json")?;
    let groups = stored["testGroups"].as_array().unwrap().iter();
    let cases = groups.flat_map(|group| {
        let public = bytes(&group["publicKey"]["pk"]);
        group["tests"].as_array().unwrap().iter().map(move |case| {
            let name = format!(
                "wycheproof {} {} {}",
                case["tcId"], case["flags"], case["comment"]
            );
            let accepted =
                case["result"] == "valid" || OTHER_THAN_WYCHEPROOF.contains(&case["tcId"].as_u64().unwrap());
            Case::new(
                name,
                &public,
                &bytes(&case["msg"]),
                &bytes(&case["sig"]),
                accepted,
            )
        })
    });
    Some(cases.collect())
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

/// A file of the folder that lies beside the checkout, if it is there.
pub(crate) fn outside(name: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/vectors")
        .join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))),
        Err(error) => {
            // Past the capture of output: a skipped test must be seen to be skipped.
            let why = "../shared/vectors is not beside the checkout";
            let mut stderr = std::io::stderr().lock();
            writeln!(
                stderr,
                "SKIPPED: the cases of {name} were not run: {why} ({error})"
            )
            .unwrap();
            None
        }
    }
}

#[test]
fn the_encodings_of_small_order_are_all_different() {
    let mut sorted = LOW_ORDER;
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(hex(&plus_order(&[0; 32])), ORDER);
}
