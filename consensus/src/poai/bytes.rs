//! The canonical bytes of PoAI's two tables.

use super::draw::PAUSE_MAX;
use super::evidence::Window;
use super::reputation::{FACTOR_MIN, FACTOR_ONE, SCORE_MAX, UNITS, Weight};
use super::state::{PlaneState, Poai, Reputation};
use super::tally::Tally;
use crate::roll::bytes::{decode_option, encode_option, refuse};
use crate::roll::{Roll, VALIDATORS_MAX};
use selfchain_types::codec::{DecodeError, Reader, narrow, put_bytes_u32, wide};
use selfchain_types::quality::{Network, QUALITY_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Poai {
    /// Appends the table of validators: the roll, and each member's reputation.
    pub(super) fn encode_validators(&self, out: &mut Vec<u8>) {
        self.roll.encode(out);
        out.extend_from_slice(&narrow(self.standings.len()).to_le_bytes());
        for (number, standing) in &self.standings {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&standing.score.to_le_bytes());
            for value in [
                standing.frozen_until,
                standing.joined,
                standing.weight.units,
                standing.weight.power,
            ] {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// Appends the table of the plane: networks, seeds, qualities, winners, tallies, the evidence window. The networks go
    /// first, whole: who restores the table has them.
    pub(super) fn encode_plane(&self, out: &mut Vec<u8>) {
        let plane = &self.plane;
        put_bytes_u32(out, &self.network.to_bytes());
        encode_option(self.waiting.as_ref(), out, |waiting, out| {
            put_bytes_u32(out, &waiting.to_bytes());
        });
        out.extend_from_slice(plane.seed.as_bytes());
        out.extend_from_slice(plane.mix.as_bytes());
        for qualities in [&plane.qualities, &plane.next_qualities] {
            out.extend_from_slice(&narrow(qualities.len()).to_le_bytes());
            qualities
                .iter()
                .for_each(|quality| out.extend_from_slice(&quality.to_le_bytes()));
        }
        out.extend_from_slice(&narrow(plane.winners.len()).to_le_bytes());
        plane
            .winners
            .iter()
            .for_each(|winner| out.extend_from_slice(&winner.to_le_bytes()));
        out.extend_from_slice(&narrow(plane.tallies.len()).to_le_bytes());
        for (number, tally) in &plane.tallies {
            out.extend_from_slice(&number.to_le_bytes());
            tally.encode(out);
        }
        plane.window.encode(out);
    }

    /// Takes the state from both tables, if they are whole and fit each other.
    pub(super) fn decode(&mut self, validators: &[u8], plane: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("table of validators", validators);
        let roll = Roll::decode(&mut reader)?;
        let standings = by_number(&mut reader, decode_reputation)?;
        reader.finish()?;
        let mut reader = Reader::new("table of the plane", plane);
        let network = decode_network(&mut reader)?;
        let waiting = decode_option(&mut reader, decode_network)?;
        let plane = decode_plane(&mut reader)?;
        reader.finish()?;
        check(&roll, &plane)?;
        self.take(roll, standings, plane);
        (self.network, self.waiting) = (network, waiting);
        Ok(())
    }
}

/// A network's file, of a network that a plane takes.
fn decode_network(reader: &mut Reader<'_>) -> Result<Arc<Network>, DecodeError> {
    let bytes = reader.bytes_u32()?;
    match Network::decode(bytes) {
        Ok(network) if network.fits().is_ok() => Ok(Arc::new(network)),
        _ => refuse(
            "the file of a quality network, of so many bytes",
            wide(bytes.len()),
        ),
    }
}

fn decode_plane(reader: &mut Reader<'_>) -> Result<PlaneState, DecodeError> {
    Ok(PlaneState {
        seed: reader.hash()?,
        mix: reader.hash()?,
        qualities: list(reader, VALIDATORS_MAX, Reader::u16)?,
        next_qualities: list(reader, VALIDATORS_MAX, Reader::u16)?,
        winners: list(reader, PAUSE_MAX, Reader::u32)?.into(),
        tallies: by_number(reader, Tally::decode)?,
        window: Window::decode(reader)?,
    })
}

fn decode_reputation(reader: &mut Reader<'_>) -> Result<Reputation, DecodeError> {
    let standing = Reputation {
        score: reader.u16()?,
        frozen_until: reader.u64()?,
        joined: reader.u64()?,
        weight: Weight {
            units: reader.u64()?,
            power: reader.u64()?,
        },
    };
    let weight = standing.weight;
    if standing.score > SCORE_MAX {
        return refuse("score", u64::from(standing.score));
    }
    if weight.units > 2 * UNITS
        || !(weight.units * FACTOR_MIN..=weight.units * FACTOR_ONE).contains(&weight.power)
    {
        return refuse("power of a reputation", weight.power);
    }
    Ok(standing)
}

/// Whether what the plane says by position or height fits the sets.
fn check(roll: &Roll, plane: &PlaneState) -> Result<(), DecodeError> {
    let chosen = if roll.is_chosen() {
        roll.upcoming().len()
    } else {
        0
    };
    for (qualities, want) in [
        (&plane.qualities, roll.current().len()),
        (&plane.next_qualities, chosen),
    ] {
        if qualities.len() != want || qualities.iter().any(|quality| *quality > QUALITY_MAX) {
            return refuse("qualities", wide(qualities.len()));
        }
    }
    if plane.window.last().map_or(0, |open| open.height.0) != roll.height().0 {
        return refuse("the window's last height", roll.height().0);
    }
    for open in plane.window.iter() {
        if open.votes.len() != roll.set_of(open.height).len() {
            return refuse("votes of an open height", open.height.0);
        }
    }
    Ok(())
}

fn list<'a, T>(
    reader: &mut Reader<'a>,
    len_max: usize,
    decode: fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let len = reader.len_u32()?;
    if len > len_max {
        return refuse("length of a list", wide(len));
    }
    (0..len).map(|_| decode(reader)).collect()
}

/// Values by ascending number.
fn by_number<T>(
    reader: &mut Reader<'_>,
    decode: fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<BTreeMap<u32, T>, DecodeError> {
    let mut values = BTreeMap::new();
    let len = reader.len_u32()?;
    if len > VALIDATORS_MAX {
        return refuse("number of validators", wide(len));
    }
    for _ in 0..len {
        let number = reader.u32()?;
        if values.last_key_value().is_some_and(|(last, _)| *last >= number) {
            return refuse("number of a member", u64::from(number));
        }
        values.insert(number, decode(reader)?);
    }
    Ok(values)
}
