//! Keys whose signature is the same for every message, for simulations that measure all but signing.
//!
//! Under ZIP-215 (<https://zips.z.cash/zip-0215>) a signature holds if `8·s·B = 8·R + 8·k·A`. For `A` of small order
//! `8·k·A` is nothing, whatever the message: `R` the neutral element and `s = 0` always hold. Nothing that verifies knows
//! of this.

use curve25519_dalek::constants::EIGHT_TORSION;

/// The signature: `R`, the neutral element, which is the point with `y = 1`; then `s = 0`.
pub(super) const SIGNATURE: [u8; 64] = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    bytes
};

/// Which of the points of small order is the public key.
#[derive(Clone)]
pub(super) struct Hollow {
    number: u8,
    public: [u8; 32],
}

impl Hollow {
    pub(super) fn new(number: u8) -> Option<Self> {
        let point = EIGHT_TORSION.get(usize::from(number))?;
        Some(Self {
            number,
            public: point.compress().to_bytes(),
        })
    }

    pub(super) fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Not what the public key is made of: each has another, for whatever else comes from a seed.
    pub(super) fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new([self.number; 32])
    }
}

#[cfg(test)]
mod tests {
    use crate::crypto::{BatchItem, BatchVerifier, SigningKey, verify};
    use alloc::vec::Vec;

    #[test]
    fn a_hollow_key_signs_everything_alike_and_both_verifiers_take_it() {
        let keys: Vec<SigningKey> = (0..=u8::MAX).map_while(SigningKey::hollow).collect();
        assert_eq!(keys.len(), 8);
        let signature = keys[0].sign(b"one");
        let mut ids = Vec::new();
        for key in &keys {
            let items = [b"one", b"two"].map(|message| BatchItem {
                key: key.id(),
                scheme: key.public().scheme(),
                public: key.public().as_bytes(),
                message,
                signature: &signature,
            });
            for item in items {
                assert_eq!(key.copy().sign(item.message), signature);
                assert_eq!(
                    verify(item.scheme, item.public, item.message, item.signature),
                    Ok(())
                );
            }
            assert_eq!(BatchVerifier::new().verify(&items, &[3; 32]), [Ok(()), Ok(())]);
            ids.push(key.id());
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 8);
    }
}
