//! SLH-DSA-SHA2-128s and SLH-DSA-SHA2-128f (FIPS 205): made by `fips205` without hedge, so that a signature is a function
//! of key and message; checked by our own code.

mod verify;

use alloc::vec::Vec;
use core::num::NonZeroU32;
use fips205::traits::{KeyGen, SerDes, Signer};
use fips205::{CryptoRng, RngCore, RngError, slh_dsa_sha2_128f, slh_dsa_sha2_128s};
use verify::Parameters;

/// FIPS 205 table 2, SLH-DSA-SHA2-128s.
const SET_128S: Parameters = Parameters {
    layers: 7,
    layer_height: 9,
    few_time_trees: 14,
    few_time_height: 12,
};
/// FIPS 205 table 2, SLH-DSA-SHA2-128f.
const SET_128F: Parameters = Parameters {
    layers: 22,
    layer_height: 3,
    few_time_trees: 33,
    few_time_height: 6,
};

/// Whether it is that SLH-DSA-SHA2-128s key's signature, with an empty context.
pub(super) fn verify_128s(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    verify::verify(&SET_128S, public, message, signature)
}

/// Whether it is that SLH-DSA-SHA2-128f key's signature, with an empty context.
pub(super) fn verify_128f(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    verify::verify(&SET_128F, public, message, signature)
}

/// Signing: the library has a module for each parameter set, and no trait over them.
macro_rules! signing {
    ($set:ident, $secret:ident) => {
        /// A secret key; the library wipes it when it is dropped.
        pub(super) struct $secret($set::PrivateKey);

        impl $secret {
            /// The key of `SK.seed ‖ SK.prf ‖ PK.seed`, 48 bytes (FIPS 205 algorithm 18).
            pub(super) fn from_seeds(seeds: &[u8]) -> Self {
                let [first, second, third] = thirds(seeds);
                Self($set::KG::keygen_from_seed(&first, &second, &third).1)
            }

            pub(super) fn public(&self) -> [u8; 32] {
                self.0.get_public_key().into_bytes()
            }

            pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
                let signature = self.0.try_sign_with_rng(&mut Unasked, message, &[], false);
                signature
                    .expect("signing without hedge asks for nothing")
                    .to_vec()
            }
        }
    };
}

signing!(slh_dsa_sha2_128s, Secret128s);
signing!(slh_dsa_sha2_128f, Secret128f);

/// Three seeds of 16 bytes, one after another.
fn thirds(seeds: &[u8]) -> [[u8; 16]; 3] {
    core::array::from_fn(|at| {
        let seed = seeds[16 * at..].first_chunk();
        *seed.expect("48 bytes of seeds")
    })
}

/// The source of random numbers for who asks for none.
struct Unasked;

impl CryptoRng for Unasked {}

impl RngCore for Unasked {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), RngError> {
        Err(RngError::from(
            NonZeroU32::MIN.saturating_add(RngError::CUSTOM_START),
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use fips205::traits::Verifier;

    type Verify = fn(&[u8], &[u8], &[u8]) -> bool;

    fn library_128s(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let key = slh_dsa_sha2_128s::PublicKey::try_from_bytes(public.try_into().unwrap()).unwrap();
        signature
            .try_into()
            .is_ok_and(|signature| key.verify(message, signature, &[]))
    }

    fn library_128f(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let key = slh_dsa_sha2_128f::PublicKey::try_from_bytes(public.try_into().unwrap()).unwrap();
        signature
            .try_into()
            .is_ok_and(|signature| key.verify(message, signature, &[]))
    }

    /// Ours and the library agree on good signatures, and on those in which any one node was changed.
    fn agrees(ours: Verify, library: Verify, public: &[u8; 32], sign: impl Fn(&[u8]) -> Vec<u8>) {
        for message in [&b""[..], b"one", &[7; 200]] {
            let signature = sign(message);
            assert!(ours(public, message, &signature) && library(public, message, &signature));
            assert!(!ours(public, b"another", &signature));
            for at in (0..signature.len()).step_by(16) {
                let mut changed = signature.clone();
                changed[at] ^= 1;
                assert!(
                    !ours(public, message, &changed),
                    "byte {at} of {}",
                    signature.len()
                );
                // Slow: a few of them.
                if at % 1_600 == 0 {
                    assert!(!library(public, message, &changed), "byte {at}");
                }
            }
            for at in 0..public.len() {
                let mut other = *public;
                other[at] ^= 1;
                assert!(!ours(&other, message, &signature), "byte {at} of the key");
            }
            assert!(!ours(public, message, &signature[..signature.len() - 16]));
            assert!(!ours(public, message, &[&signature[..], &[0; 16]].concat()));
            assert!(!ours(public, message, &signature[..signature.len() - 1]));
            assert!(!ours(public, message, &[]));
        }
    }

    #[test]
    fn the_small_set_agrees_with_the_library() {
        let secret = Secret128s::from_seeds(&[3; 48]);
        agrees(verify_128s, library_128s, &secret.public(), |message| {
            secret.sign(message)
        });
    }

    #[test]
    fn the_fast_set_agrees_with_the_library() {
        let secret = Secret128f::from_seeds(&[4; 48]);
        agrees(verify_128f, library_128f, &secret.public(), |message| {
            secret.sign(message)
        });
    }
}
