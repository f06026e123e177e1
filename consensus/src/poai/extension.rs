//! The extension of a precommit: what a validator saw of the block that it votes for. Signed, ten bytes.
//!
//! `version u8 ‖ verdict u8 ‖ efficiency u16 ‖ starved u16 ‖ received_ms u32`, little-endian.

use selfchain_types::codec::{DecodeError, Reader};

/// What a validator saw of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// Bits of [`verdict`]: what it objected to.
    pub verdict: u8,
    /// How near the block is to the reference that it would have built itself, in thousandths.
    pub efficiency: u16,
    /// How much of what was overdue the block left out, in thousandths.
    pub starved: u16,
    /// From the start of the round until the whole block was there.
    pub received_ms: u32,
}

/// What a node can object to in a block.
pub mod verdict {
    /// Its time is too far ahead of the node's clock.
    pub const CLOCK: u8 = 1;
    /// It leaves out transactions that its proposer acknowledged long ago.
    pub const STARVED: u8 = 1 << 1;
    /// It leaves too much unscored that can be scored.
    pub const UNSCORED: u8 = 1 << 2;
    /// All bits that may be set.
    pub const ALL: u8 = CLOCK | STARVED | UNSCORED;
    /// How many there are.
    pub const COUNT: u32 = ALL.count_ones();
}

/// All of something, where thousandths are counted.
pub const WHOLE: u16 = 1_000;
/// The longest time that is told; what takes longer is told as this.
pub const RECEIVED_MS_MAX: u32 = 60_000;
/// Length in bytes.
pub const EXTENSION_LEN: usize = 10;
const VERSION: u8 = 1;

impl Extension {
    /// The canonical bytes. What is out of range becomes the nearest value that is in it.
    pub fn to_bytes(self) -> [u8; EXTENSION_LEN] {
        let mut bytes = [0; EXTENSION_LEN];
        bytes[0] = VERSION;
        bytes[1] = self.verdict & verdict::ALL;
        bytes[2..4].copy_from_slice(&self.efficiency.min(WHOLE).to_le_bytes());
        bytes[4..6].copy_from_slice(&self.starved.min(WHOLE).to_le_bytes());
        bytes[6..].copy_from_slice(&self.received_ms.min(RECEIVED_MS_MAX).to_le_bytes());
        bytes
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`]; unknown bits and values out of range are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("extension", bytes);
        within("extension version", reader.u8()?, |version| version == VERSION)?;
        let extension = Self {
            verdict: within("extension verdict", reader.u8()?, |bits| {
                bits & !verdict::ALL == 0
            })?,
            efficiency: within("extension efficiency", reader.u16()?, |of| of <= WHOLE)?,
            starved: within("extension starved", reader.u16()?, |of| of <= WHOLE)?,
            received_ms: within("extension received_ms", reader.u32()?, |ms| ms <= RECEIVED_MS_MAX)?,
        };
        reader.finish()?;
        Ok(extension)
    }
}

fn within<T: Copy + Into<u64>>(
    what: &'static str,
    value: T,
    is_allowed: impl Fn(T) -> bool,
) -> Result<T, DecodeError> {
    if is_allowed(value) {
        return Ok(value);
    }
    Err(DecodeError::Value {
        what,
        value: value.into(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_extension_has_these_bytes() {
        let extension = Extension {
            verdict: verdict::CLOCK | verdict::UNSCORED,
            efficiency: 990,
            starved: 2,
            received_ms: 70_000,
        };
        let bytes = extension.to_bytes();
        assert_eq!(bytes, [1, 5, 0xde, 3, 2, 0, 0x60, 0xea, 0, 0]);
        let told = Extension {
            received_ms: RECEIVED_MS_MAX,
            ..extension
        };
        assert_eq!(Extension::decode(&bytes).unwrap(), told);
        assert!((0..EXTENSION_LEN).all(|cut| Extension::decode(&bytes[..cut]).is_err()));
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        let good = Extension::default().to_bytes();
        for (at, byte, name) in [
            (0, 2, "version"),
            (1, 8, "verdict"),
            (3, 4, "efficiency"),
            (5, 4, "starved"),
            (8, 1, "received_ms"),
        ] {
            let mut bytes = good;
            bytes[at] = byte;
            let refusal = Extension::decode(&bytes).unwrap_err().to_string();
            assert!(refusal.contains(name), "{refusal}");
        }
        assert!(Extension::decode(&[good.as_slice(), &[0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn what_decodes_has_one_byte_string(bytes in prop::collection::vec(any::<u8>(), 0..14)) {
            if let Ok(extension) = Extension::decode(&bytes) {
                prop_assert_eq!(&extension.to_bytes()[..], &bytes[..]);
            }
        }
    }
}
