//! Every parser of bytes from strangers against truncated, flipped, spliced and random bytes, from a printed seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use selfchain_tests::random::Random;
use selfchain_tests::targets::{TARGETS, Target};
use selfchain_types::codec::{SECTION_VERSION, put_section_versioned};

use crate::vectors::stored_bytes;

/// Where the random numbers start; `SELFCHAIN_SEED` sets another.
const SEED: u64 = 0x5e1f_c4a1;
/// Random cases for each target and each way of making them.
const CASES: usize = 1_500;
/// Most bytes of a random case.
const LEN_MAX: usize = 600;
/// Samples longer than this are flipped at random bits, not at every one.
const EVERY_BIT_LEN_MAX: usize = 700;

#[test]
fn valid_bytes_pass_every_target() {
    each_target(|run, samples, _| samples.iter().for_each(|sample| run(sample)));
}

#[test]
fn random_bytes_break_no_parser() {
    each_target(|run, _, random| {
        for _ in 0..CASES {
            run(&bytes(random, LEN_MAX));
        }
    });
}

#[test]
fn truncated_and_lengthened_bytes_break_no_parser() {
    each_target(|run, samples, _| {
        for sample in samples {
            (0..sample.len()).for_each(|cut| run(&sample[..cut]));
            run(&[sample, &[0][..]].concat());
            run(&[sample.as_slice(), sample].concat());
        }
    });
}

#[test]
fn flipped_bits_break_no_parser() {
    each_target(|run, samples, random| {
        for sample in samples.iter().filter(|sample| !sample.is_empty()) {
            let bits = sample.len() * 8;
            let every = sample.len() <= EVERY_BIT_LEN_MAX;
            for at in 0..if every { bits } else { CASES } {
                let bit = if every { at } else { random.index(bits) };
                let mut flipped = sample.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                run(&flipped);
            }
        }
    });
}

/// A length field that says 4 GiB must cost an error, not memory: every place where one may stand is tried.
#[test]
fn announced_lengths_cost_nothing() {
    each_target(|run, samples, _| {
        for sample in samples {
            for width in [1, 2, 4, 8] {
                for at in 0..sample.len().saturating_sub(width - 1).min(EVERY_BIT_LEN_MAX) {
                    for byte in [0xff, 0x7f, 0] {
                        let mut changed = sample.clone();
                        changed[at..at + width].fill(0xff);
                        changed[at + width - 1] = byte;
                        run(&changed);
                    }
                }
            }
        }
    });
}

/// Parts of valid bytes of every format, put together: sections inside messages, messages inside sections.
#[test]
fn spliced_bytes_break_no_parser() {
    let foreign: Vec<Vec<u8>> = TARGETS.iter().flat_map(|(name, _)| stored_bytes(name)).collect();
    each_target(|run, samples, random| {
        for _ in 0..CASES {
            let (left, right) = (random.pick(samples), random.pick(&foreign));
            let right = if random.index(2) == 0 {
                random.pick(samples)
            } else {
                right
            };
            let cut = random.index(left.len() + 1);
            let from = random.index(right.len() + 1);
            let to = from + random.index(right.len() - from + 1);
            let keep = cut + random.index(left.len() - cut + 1);
            run(&[&left[..cut], &right[from..to], &left[keep..]].concat());
        }
    });
}

/// Containers that are well made but for their content: empty sections, skippable ones, ones of later versions.
#[test]
fn made_up_containers_break_no_parser() {
    let contents: Vec<Vec<u8>> = TARGETS.iter().flat_map(|(name, _)| stored_bytes(name)).collect();
    each_target(|run, _, random| {
        for _ in 0..CASES {
            let mut out = Vec::new();
            for kind in 1..6 {
                if random.index(3) == 0 {
                    continue;
                }
                let version = if random.index(8) == 0 { 2 } else { SECTION_VERSION };
                let ignorable = random.index(8) == 0;
                let content = match random.index(3) {
                    0 => Vec::new(),
                    1 => random.pick(&contents).clone(),
                    _ => bytes(random, 40),
                };
                put_section_versioned(&mut out, kind, version, ignorable, |out| out.extend(content));
            }
            run(&out);
        }
    });
}

/// Runs `cases` on every target with the valid bytes of its format. A panic inside names all that repeats it.
fn each_target(cases: impl Fn(&dyn Fn(&[u8]), &[Vec<u8>], &mut Random)) {
    let seed = std::env::var("SELFCHAIN_SEED").map_or(SEED, |text| text.parse().expect("a number"));
    for (name, target) in TARGETS {
        let samples = stored_bytes(name);
        assert!(!samples.is_empty(), "tests/vectors/{name}.json holds no bytes");
        let mut random = Random(seed);
        let run = |data: &[u8]| check(name, target, data, seed);
        cases(&run, &samples, &mut random);
    }
}

fn check(name: &str, target: Target, data: &[u8], seed: u64) {
    if catch_unwind(AssertUnwindSafe(|| target(data))).is_err() {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "the parser `{name}` broke its word on these {} bytes: {hex}\nrepeat: SELFCHAIN_SEED={seed} cargo test -p selfchain-tests --test it parsers",
            data.len()
        );
    }
}

#[test]
fn a_broken_parser_is_reported_with_its_bytes() {
    fn broken(data: &[u8]) {
        assert!(data.len() < 2, "made to break");
    }
    let caught = catch_unwind(|| check("broken", broken, &[0xab, 0xcd], 7)).unwrap_err();
    let message = caught.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("these 2 bytes: abcd") && message.contains("SELFCHAIN_SEED=7"),
        "{message}"
    );
}

/// Every target has a program in `fuzz/`, and every program a target.
#[test]
fn every_target_has_its_fuzz_program() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets");
    let mut programs: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    programs.sort();
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
    let names: Vec<String> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    assert_eq!(programs, names);
}

/// Fewer than `len_max` bytes. Half of them are small numbers, as in headers and lengths.
fn bytes(random: &mut Random, len_max: usize) -> Vec<u8> {
    let len = random.index(len_max);
    (0..len)
        .map(|_| {
            let word = random.word();
            if word & 1 == 0 {
                (word >> 8) as u8
            } else {
                (word >> 8) as u8 & 3
            }
        })
        .collect()
}
