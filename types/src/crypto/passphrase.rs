//! Keys from passphrases: Argon2id (RFC 9106), version 1.3.

use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use zeroize::Zeroizing;

/// Most memory that a file may ask for, in KiB: 1 GiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// Most passes that a file may ask for.
const PASSES_MAX: u32 = 64;
/// Most lanes that a file may ask for.
const LANES_MAX: u32 = 16;
/// Bytes of a salt.
pub const SALT_LEN: usize = 16;

/// What deriving a key costs, for its owner and for whoever guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB; at least 8 for each lane.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes that can be computed side by side.
    pub lanes: u32,
}

impl Cost {
    /// What new files cost: 64 MiB, three passes, one lane (RFC 9106 §4, the second recommendation, with one lane as
    /// it is computed on one thread here): about a fifth of a second.
    pub const USUAL: Self = Self {
        memory_kib: 64 * 1_024,
        passes: 3,
        lanes: 1,
    };
}

/// Why no key was derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CostError {
    /// The cost is none, or more than is paid for any file.
    #[error(
        "a cost of {} KiB, {} passes and {} lanes; 8 KiB a lane to {MEMORY_KIB_MAX} KiB, 1 to {PASSES_MAX} passes and 1 to \
         {LANES_MAX} lanes are allowed",
        .0.memory_kib, .0.passes, .0.lanes
    )]
    Cost(Cost),
    /// There is not as much memory.
    #[error("{memory_kib} KiB of memory are needed to derive the key, and are not there")]
    Memory {
        /// KiB.
        memory_kib: u32,
    },
}

/// 64 bytes from a passphrase.
///
/// # Errors
/// [`CostError`].
pub fn derive(
    passphrase: &[u8],
    salt: &[u8; SALT_LEN],
    cost: Cost,
) -> Result<Zeroizing<[u8; 64]>, CostError> {
    let within = cost.memory_kib <= MEMORY_KIB_MAX
        && (1..=PASSES_MAX).contains(&cost.passes)
        && (1..=LANES_MAX).contains(&cost.lanes);
    let mut out = Zeroizing::new([0; 64]);
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(out.len()));
    let params = params.ok().filter(|_| within).ok_or(CostError::Cost(cost))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, out.as_mut())
        .map_err(|_| CostError::Memory {
            memory_kib: cost.memory_kib,
        })?;
    Ok(out)
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let differs = left
        .iter()
        .zip(right)
        .fold(0, |differs, (left, right)| differs | (left ^ right));
    core::hint::black_box(differs) == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const SMALL: Cost = Cost {
        memory_kib: 32,
        passes: 3,
        lanes: 4,
    };

    #[test]
    fn every_input_counts_and_the_same_give_the_same() {
        let salt = [2; SALT_LEN];
        let one = derive(b"passphrase", &salt, SMALL).unwrap();
        assert_eq!(derive(b"passphrase", &salt, SMALL).unwrap(), one);
        let others = [
            derive(b"passphrasf", &salt, SMALL),
            derive(b"passphrase", &[3; SALT_LEN], SMALL),
            derive(b"passphrase", &salt, Cost { passes: 4, ..SMALL }),
            derive(
                b"passphrase",
                &salt,
                Cost {
                    memory_kib: 40,
                    ..SMALL
                },
            ),
            derive(b"passphrase", &salt, Cost { lanes: 2, ..SMALL }),
        ];
        assert!(others.iter().all(|other| *other.as_ref().unwrap() != one));
    }

    #[test]
    fn what_a_file_asks_for_is_bounded() {
        let refused = |cost| assert_eq!(derive(b"", &[0; SALT_LEN], cost), Err(CostError::Cost(cost)));
        refused(Cost {
            memory_kib: 31,
            ..SMALL
        });
        refused(Cost {
            memory_kib: MEMORY_KIB_MAX + 1,
            ..SMALL
        });
        refused(Cost { passes: 0, ..SMALL });
        refused(Cost {
            passes: PASSES_MAX + 1,
            ..SMALL
        });
        refused(Cost { lanes: 0, ..SMALL });
        refused(Cost {
            lanes: LANES_MAX + 1,
            memory_kib: 1 << 16,
            ..SMALL
        });
    }

    #[test]
    fn secrets_are_compared_whole() {
        let one = [7; 32];
        assert!(same(&one, &one));
        for at in 0..32 {
            let mut other = one;
            other[at] ^= 1 << (at % 8);
            assert!(!same(&one, &other));
        }
    }
}
