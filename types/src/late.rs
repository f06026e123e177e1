//! Late precommits: of an earlier height, by validators that its committed certificate had to do without.

use crate::Height;
use crate::certificate::Precommit;
use crate::codec::{DecodeError, Reader, put_bytes_u32};
use alloc::vec::Vec;

/// A precommit that missed the committed certificate of its height. It is for that certificate's block and round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatePrecommit {
    /// What it votes for.
    pub height: Height,
    /// The vote.
    pub precommit: Precommit,
}

/// How many blocks after the one with a height's certificate may still bring precommits of that height.
pub const LATE_BLOCKS: u64 = 8;

/// Appends `{height u64, validator u16, extension u32 + bytes, signature u32 + bytes}` for each.
pub fn encode_late(late: &[LatePrecommit], out: &mut Vec<u8>) {
    for LatePrecommit { height, precommit } in late {
        out.extend_from_slice(&height.0.to_le_bytes());
        out.extend_from_slice(&precommit.validator.to_le_bytes());
        put_bytes_u32(out, &precommit.extension);
        put_bytes_u32(out, &precommit.signature);
    }
}

/// Reads what [`encode_late`] wrote.
///
/// # Errors
/// [`DecodeError`]; (height, validator) strictly ascends.
pub fn decode_late(bytes: &[u8]) -> Result<Vec<LatePrecommit>, DecodeError> {
    let mut reader = Reader::new("late precommits", bytes);
    let mut late: Vec<LatePrecommit> = Vec::new();
    while reader.left() > 0 {
        let next = LatePrecommit {
            height: Height(reader.u64()?),
            precommit: Precommit {
                validator: reader.u16()?,
                extension: reader.bytes_u32()?.to_vec(),
                signature: reader.bytes_u32()?.to_vec(),
            },
        };
        if late.last().is_some_and(|last| place(last) >= place(&next)) {
            return Err(DecodeError::Value {
                what: "late precommit out of order, of validator",
                value: u64::from(next.precommit.validator),
            });
        }
        late.push(next);
    }
    Ok(late)
}

/// What late precommits are sorted by.
pub fn place(late: &LatePrecommit) -> (Height, u16) {
    (late.height, late.precommit.validator)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn late(height: u64, validator: u16) -> LatePrecommit {
        LatePrecommit {
            height: Height(height),
            precommit: Precommit {
                validator,
                extension: alloc::vec![1, 2],
                signature: alloc::vec![3],
            },
        }
    }

    #[test]
    fn late_precommits_round_trip_in_order_only() {
        let list = [late(4, 9), late(5, 0), late(5, 1)];
        let mut bytes = Vec::new();
        encode_late(&list, &mut bytes);
        assert_eq!(decode_late(&bytes).unwrap(), list);
        let golden = [4, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 0, 0, 0, 1, 2, 1, 0, 0, 0, 3];
        assert_eq!(bytes[..golden.len()], golden);
        let one = bytes.len() / list.len();
        for cut in 0..bytes.len() {
            assert_eq!(decode_late(&bytes[..cut]).is_ok(), cut % one == 0, "cut at {cut}");
        }
        for wrong in [[late(5, 1), late(5, 1)], [late(5, 1), late(4, 2)]] {
            bytes.clear();
            encode_late(&wrong, &mut bytes);
            assert!(decode_late(&bytes).is_err());
        }
    }
}
