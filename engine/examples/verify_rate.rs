//! How fast intake verifies single-signed transfers, beside what the signature library alone can do.
//!
//! `cargo run --profile bench -p selfchain-engine --example verify_rate`
#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a stopwatch that prints rates"
)]

use rayon::prelude::*;
use selfchain_engine::intake::{VERIFY_BATCH_MAX, verify_batch};
use selfchain_types::crypto::{BatchItem, BatchVerifier, SigningKey, signing_digest};
use selfchain_types::{AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Hash, Height, Operation};
use std::hint::black_box;
use std::time::Instant;

const ENVELOPES: usize = 16_384;
const ROUNDS: usize = 5;
const CHAIN: Hash = Hash([9; 32]);

fn main() {
    for keys in [ENVELOPES, 1_024, 16] {
        let frames = signed(keys);
        let (mut raw_best, mut intake_best) = (0.0f64, 0.0f64);
        let verifier = BatchVerifier::new();
        for _ in 0..ROUNDS {
            raw_best = raw_best.max(raw(&frames, &BatchVerifier::new()));
            intake_best = intake_best.max(intake(&frames, ENVELOPES, &verifier));
        }
        let ratio = intake_best / raw_best;
        println!("verify/keys={keys} raw={raw_best:.0}/s intake={intake_best:.0}/s ratio={ratio:.3}");
    }
    let frames = signed(ENVELOPES);
    let verifier = BatchVerifier::new();
    for call in [1, 16, 64, 256, 1_024, 4_096] {
        println!(
            "verify/call={call} intake={:.0}/s",
            intake(&frames, call, &verifier)
        );
    }
    stages(&frames);
}

fn signed(keys: usize) -> Vec<Vec<u8>> {
    (0..ENVELOPES)
        .into_par_iter()
        .map(|at| {
            let mut seed = [3; 32];
            seed[..8].copy_from_slice(&(at % keys).to_le_bytes());
            let operation =
                Operation::transfer(at as u128 + 1, AccountId(1), AccountId(2), Amount(3), AssetId(1));
            let builder = EnvelopeBuilder::new(CHAIN, Height(1), 100, vec![operation]);
            builder.sign(&[(&SigningKey::from_seed(&seed), 0, (at / keys) as u64 + 1)])
        })
        .collect()
}

fn rate(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    ENVELOPES as f64 / start.elapsed().as_secs_f64()
}

/// The signatures alone, prepared beforehand, in arrival order, on every core.
fn raw(frames: &[Vec<u8>], verifier: &BatchVerifier) -> f64 {
    let envelopes: Vec<Envelope> = frames
        .iter()
        .filter_map(|bytes| Envelope::decode(bytes.clone()).ok())
        .collect();
    let digests: Vec<Hash> = envelopes
        .iter()
        .map(|envelope| signing_digest(&envelope.view().signers()[0].key, &envelope.tx_id()))
        .collect();
    let items: Vec<BatchItem<'_>> = envelopes
        .iter()
        .zip(&digests)
        .filter_map(|(envelope, digest)| {
            let entry = envelope.view().signatures().next()?;
            Some(BatchItem {
                key: envelope.view().signers()[0].key,
                scheme: entry.scheme,
                public: entry.public,
                message: digest.as_bytes(),
                signature: entry.signature,
            })
        })
        .collect();
    rate(|| {
        items
            .par_chunks(VERIFY_BATCH_MAX)
            .for_each(|batch| assert!(verifier.verify(batch, &[1; 32]).iter().all(Result::is_ok)));
    })
}

/// Whole frames to verified envelopes, `call` frames a call.
fn intake(frames: &[Vec<u8>], call: usize, verifier: &BatchVerifier) -> f64 {
    let calls: Vec<Vec<(Vec<u8>, ())>> = frames
        .chunks(call)
        .map(|frames| frames.iter().map(|bytes| (bytes.clone(), ())).collect())
        .collect();
    rate(|| {
        for frames in calls {
            let answers = verify_batch(frames, &CHAIN, &(), verifier, &[1; 32]);
            assert!(answers.iter().all(|(_, answer)| answer.is_ok()));
            black_box(answers);
        }
    })
}

/// What the parts cost on one core, in ns an envelope.
fn stages(frames: &[Vec<u8>]) {
    let ns = |rate: f64| 1e9 / rate;
    let copies = frames.to_vec();
    let mut envelopes = Vec::with_capacity(ENVELOPES);
    let decode = ns(rate(|| {
        envelopes.extend(
            copies
                .into_iter()
                .filter_map(|bytes| Envelope::decode(bytes).ok()),
        )
    }));
    let digest = ns(rate(|| {
        for envelope in &envelopes {
            black_box(signing_digest(
                &envelope.view().signers()[0].key,
                &envelope.tx_id(),
            ));
        }
    }));
    let key_id = ns(rate(|| {
        for envelope in &envelopes {
            let entry = envelope.view().signatures().next();
            black_box(entry.map(|entry| selfchain_types::KeyId::of(entry.scheme, entry.public)));
        }
    }));
    println!("verify/part=decode {decode:.0} ns, part=digest {digest:.0} ns, part=key_id {key_id:.0} ns");
}
