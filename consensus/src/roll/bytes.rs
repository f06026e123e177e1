//! The roll's canonical bytes: members and sets, in fixed order.

use super::{EPOCH_BLOCKS_MAX, EPOCH_BLOCKS_MIN, Member, Roll, Set, VALIDATORS_MAX};
use selfchain_types::Height;
use selfchain_types::address::{ADDRESS_BYTES, decode_address, encode_address};
use selfchain_types::codec::{DecodeError, Reader, narrow};
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::genesis::{POWER_TOTAL_END, Validator};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Roll {
    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch_blocks.to_le_bytes());
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&self.next_number.to_le_bytes());
        out.extend_from_slice(&narrow(self.members.len()).to_le_bytes());
        for (number, member) in &self.members {
            out.extend_from_slice(&number.to_le_bytes());
            encode_member(member, out);
        }
        out.extend_from_slice(&narrow(self.gone.len()).to_le_bytes());
        for (number, offended) in &self.gone {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&offended.0.to_le_bytes());
        }
        encode_set(&self.previous, out);
        encode_set(&self.current, out);
        encode_option(self.next.as_ref(), out, encode_set);
    }

    /// Reads what [`Roll::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch_blocks = reader.u32()?;
        if !(EPOCH_BLOCKS_MIN..=EPOCH_BLOCKS_MAX).contains(&epoch_blocks) {
            return refuse("blocks of an epoch", u64::from(epoch_blocks));
        }
        let height = Height(reader.u64()?);
        let next_number = reader.u32()?;
        let mut members = BTreeMap::new();
        for _ in 0..count(reader)? {
            let number = reader.u32()?;
            let follows = members.last_key_value().is_none_or(|(last, _)| *last < number);
            if !follows || number >= next_number {
                return refuse("number of a member", u64::from(number));
            }
            members.insert(number, decode_member(reader)?);
        }
        let gone = decode_gone(reader, &members, next_number)?;
        let mut roll = Self {
            epoch_blocks,
            height,
            members,
            next_number,
            gone,
            previous: decode_set(reader)?,
            current: decode_set(reader)?,
            next: decode_option(reader, decode_set)?,
            held: Arc::new([]),
            is_stale: true,
        };
        roll.settle();
        Ok(roll)
    }
}

/// Who is on the roll no more, and when they offended.
fn decode_gone(
    reader: &mut Reader<'_>,
    members: &BTreeMap<u32, Member>,
    next_number: u32,
) -> Result<BTreeMap<u32, Height>, DecodeError> {
    let mut gone: BTreeMap<u32, Height> = BTreeMap::new();
    for _ in 0..count(reader)? {
        let (number, offended) = (reader.u32()?, Height(reader.u64()?));
        let follows = gone.last_key_value().is_none_or(|(last, _)| *last < number);
        let is_known = members.contains_key(&number) || number >= next_number;
        if !follows || is_known || offended == Height::GENESIS {
            return refuse("number of one who left", u64::from(number));
        }
        gone.insert(number, offended);
    }
    Ok(gone)
}

fn encode_member(member: &Member, out: &mut Vec<u8>) {
    encode_key(&member.key, out);
    out.extend_from_slice(&member.bond.to_le_bytes());
    out.extend_from_slice(member.head.as_bytes());
    out.extend_from_slice(&member.offended.0.to_le_bytes());
    out.extend_from_slice(&member.offences.to_le_bytes());
    encode_option(member.address.as_ref(), out, |address, out| {
        out.extend_from_slice(&encode_address(address));
    });
    encode_option(member.next_key.as_ref(), out, encode_key);
    encode_option(member.next_head.as_ref(), out, |head, out| {
        out.extend_from_slice(head.as_bytes());
    });
}

fn decode_member(reader: &mut Reader<'_>) -> Result<Member, DecodeError> {
    Ok(Member {
        key: decode_key(reader)?,
        bond: reader.u64()?,
        head: reader.hash()?,
        offended: Height(reader.u64()?),
        offences: reader.u32()?,
        address: decode_option(reader, |reader| decode_address(reader.take(ADDRESS_BYTES)?))?,
        next_key: decode_option(reader, decode_key)?,
        next_head: decode_option(reader, Reader::hash)?,
    })
}

fn encode_set(set: &Set, out: &mut Vec<u8>) {
    out.extend_from_slice(&set.since.0.to_le_bytes());
    out.extend_from_slice(&narrow(set.len()).to_le_bytes());
    for (number, validator) in set.numbers.iter().zip(set.validators.iter()) {
        out.extend_from_slice(&number.to_le_bytes());
        encode_key(&validator.key, out);
        out.extend_from_slice(&validator.power.to_le_bytes());
    }
}

fn decode_set(reader: &mut Reader<'_>) -> Result<Set, DecodeError> {
    let since = Height(reader.u64()?);
    let (mut numbers, mut validators) = (Vec::new(), Vec::new());
    let mut total = 0u64;
    for _ in 0..count(reader)? {
        let number = reader.u32()?;
        if numbers.last().is_some_and(|last| *last >= number) {
            return refuse("number in a set", u64::from(number));
        }
        let validator = Validator {
            key: decode_key(reader)?,
            power: reader.u64()?,
        };
        total = total.saturating_add(validator.power);
        if validator.power == 0 || total >= POWER_TOTAL_END {
            return refuse("power in a set", validator.power);
        }
        numbers.push(number);
        validators.push(validator);
    }
    if numbers.is_empty() {
        return refuse("members of a set", 0);
    }
    Ok(Set::new(since, numbers, validators))
}

/// A count of members.
fn count(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = reader.len_u32()?;
    if count > VALIDATORS_MAX {
        return refuse("number of validators", selfchain_types::codec::wide(count));
    }
    Ok(count)
}

fn encode_key(key: &PublicKey, out: &mut Vec<u8>) {
    out.extend_from_slice(&key.scheme().code().to_le_bytes());
    out.extend_from_slice(key.as_bytes());
}

fn decode_key(reader: &mut Reader<'_>) -> Result<PublicKey, DecodeError> {
    let code = reader.u16()?;
    let unknown = DecodeError::Value {
        what: "validator scheme",
        value: u64::from(code),
    };
    let scheme = Scheme::from_code(code).ok_or(unknown)?;
    PublicKey::new(scheme, reader.take(scheme.public_len())?).map_err(|_| unknown)
}

/// One byte that says whether there is one, and the one.
pub fn encode_option<T>(value: Option<&T>, out: &mut Vec<u8>, encode: impl FnOnce(&T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        encode(value, out);
    }
}

/// Reads what [`encode_option`] wrote.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_option<'a, T>(
    reader: &mut Reader<'a>,
    decode: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => decode(reader).map(Some),
        flag => refuse("a flag of 0 or 1", u64::from(flag)),
    }
}

/// Refuses a value.
///
/// # Errors
/// Always.
pub fn refuse<T>(what: &'static str, value: u64) -> Result<T, DecodeError> {
    Err(DecodeError::Value { what, value })
}
