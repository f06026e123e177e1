//! What it costs to parse an ML-DSA key before each verification: `cargo run --release -p selfchain-types --features ml-dsa
//! --example key_parsing`. What it found is in decision 0027.

use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
    PqdsaVerificationAlgorithm, UnparsedPublicKey,
};
use selfchain_types::crypto::{Scheme, SigningKey, verify};
use std::hint::black_box;
use std::time::{Duration, Instant};

static SETS: [(&str, Scheme, &PqdsaSigningAlgorithm, &PqdsaVerificationAlgorithm); 2] = [
    (
        "ml-dsa-44",
        Scheme::Ed25519MlDsa44,
        &ML_DSA_44_SIGNING,
        &ML_DSA_44,
    ),
    (
        "ml-dsa-65",
        Scheme::Ed25519MlDsa65,
        &ML_DSA_65_SIGNING,
        &ML_DSA_65,
    ),
];

/// The best of so many rounds counts: other work on the machine only ever adds.
const ROUNDS: u32 = 40;
const EACH: u32 = 50;

fn best(mut work: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        (0..EACH).for_each(|_| work());
        began.elapsed() / EACH
    });
    rounds.min().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let message = [7; 32];
    for (name, scheme, signing, verification) in SETS {
        let pair = PqdsaKeyPair::from_seed(signing, &[1; 32]).map_err(|error| error.to_string())?;
        let mut signature = vec![0; signing.signature_len()];
        pair.sign(&message, &mut signature)
            .map_err(|error| error.to_string())?;
        let unparsed = UnparsedPublicKey::new(verification, pair.public_key().as_ref());
        let parsed = unparsed.parse().map_err(|error| error.to_string())?;
        let parse = best(|| assert!(black_box(unparsed.parse()).is_ok()));
        let whole = best(|| assert!(black_box(unparsed.verify(&message, &signature)).is_ok()));
        let warm = best(|| assert!(black_box(parsed.verify_sig(&message, &signature)).is_ok()));
        let hybrid = SigningKey::of_scheme(scheme, &[2; 32])?;
        let signed = hybrid.sign(&message);
        let public = hybrid.public();
        let both = best(|| {
            assert!(black_box(verify(scheme, public.as_bytes(), &message, &signed)).is_ok());
        });
        let sign = best(|| drop(black_box(hybrid.sign(&message))));
        println!(
            "{name}: parse {parse:?}, verify with parsing {whole:?}, with a parsed key {warm:?}; \
             hybrid: verify {both:?}, sign {sign:?}"
        );
    }
    let key = SigningKey::from_seed(&[3; 32]);
    let signed = key.sign(&message);
    let (public, scheme) = (key.public().as_bytes(), Scheme::Ed25519);
    let ed25519 = best(|| assert!(black_box(verify(scheme, public, &message, &signed)).is_ok()));
    let sign = best(|| drop(black_box(key.sign(&message))));
    println!("ed25519: verify {ed25519:?}, sign {sign:?}");
    Ok(())
}
