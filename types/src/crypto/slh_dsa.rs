//! SLH-DSA-SHA2-128s and SLH-DSA-SHA2-128f (FIPS 205), by `fips205`, made without hedge: a signature is a function of
//! key and message.

use alloc::vec::Vec;
use core::num::NonZeroU32;
use fips205::traits::{KeyGen, SerDes, Signer, Verifier};
use fips205::{CryptoRng, RngCore, RngError, slh_dsa_sha2_128f, slh_dsa_sha2_128s};

/// A parameter set: the library has a module for each, and no trait over them.
macro_rules! parameter_set {
    ($set:ident, $verify:ident, $secret:ident) => {
        /// Whether it is that key's signature, with an empty context.
        pub(super) fn $verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
            let (Ok(public), Ok(signature)) = (public.try_into(), signature.try_into()) else {
                return false;
            };
            $set::PublicKey::try_from_bytes(public).is_ok_and(|key| key.verify(message, signature, &[]))
        }

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

parameter_set!(slh_dsa_sha2_128s, verify_128s, Secret128s);
parameter_set!(slh_dsa_sha2_128f, verify_128f, Secret128f);

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
