//! The journal: what this node may not forget of a height while it is not decided. Bytes:
//! `docs/formats/agreement.md`.

use super::message::Message;
use arc_malachitebft_core_types::TimeoutKind;
use selfchain_types::ballot::{Ballot, EXTENSION_BYTES_MAX};
use selfchain_types::codec::{DecodeError, Reader, put_bytes_u32, wide};
use selfchain_types::{Hash, Height};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) height: Height,
    pub(super) entry: Entry,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A ballot, of a peer or our own, or a polka, that the core took.
    Message(Message),
    /// A wait that ended.
    Timeout(Wait, u32),
    /// A block that was built here or judged.
    Block(Judged),
}

/// A wait of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Wait {
    /// For a proposal.
    Propose = 1,
    /// For more prevotes than the first two thirds.
    Prevote = 2,
    /// For more precommits.
    Precommit = 3,
}

/// A block with what was found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) block: Hash,
    pub(super) round: u32,
    pub(super) polka: Option<u32>,
    pub(super) proposer: u16,
    pub(super) finding: Finding,
    pub(super) extension: Vec<u8>,
}

/// What was found of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Finding {
    /// It may be decided.
    Valid = 1,
    /// It may not.
    Invalid = 2,
    /// It costs one prevote, and is valid from then on.
    Objection = 3,
}

const KIND_MESSAGE: u8 = 1;
const KIND_TIMEOUT: u8 = 2;
const KIND_BLOCK: u8 = 3;

impl Record {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let height = self.height.0.to_le_bytes();
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&height);
        match &self.entry {
            Entry::Message(message) => {
                return [&height[..], &[KIND_MESSAGE], message.to_bytes().as_slice()].concat();
            }
            Entry::Timeout(wait, round) => {
                out.extend_from_slice(&[KIND_TIMEOUT, wait.code()]);
                out.extend_from_slice(&round.to_le_bytes());
            }
            Entry::Block(judged) => {
                out.extend_from_slice(&[KIND_BLOCK, judged.finding.code()]);
                out.extend_from_slice(judged.block.as_bytes());
                out.extend_from_slice(&judged.round.to_le_bytes());
                out.push(u8::from(judged.polka.is_some()));
                out.extend_from_slice(&judged.polka.unwrap_or_default().to_le_bytes());
                out.extend_from_slice(&judged.proposer.to_le_bytes());
                put_bytes_u32(&mut out, &judged.extension);
            }
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("record of the journal", bytes);
        let height = Height(reader.u64()?);
        let entry = match reader.u8()? {
            KIND_MESSAGE => {
                let message = Message::decode(reader.rest())?;
                if message.height() != height {
                    return Err(refused("height of a record", message.height().0));
                }
                Entry::Message(message)
            }
            KIND_TIMEOUT => Entry::Timeout(Wait::of(reader.u8()?)?, reader.u32()?),
            KIND_BLOCK => Entry::Block(read_judged(&mut reader)?),
            kind => return Err(refused("kind of a record", u64::from(kind))),
        };
        reader.finish()?;
        Ok(Self { height, entry })
    }
}

/// The ballot that a record of the journal holds, if it holds one.
pub fn journaled(record: &[u8]) -> Option<Ballot> {
    match Record::decode(record).ok()?.entry {
        Entry::Message(Message::Ballot(ballot)) => Some(ballot),
        _ => None,
    }
}

fn read_judged(reader: &mut Reader<'_>) -> Result<Judged, DecodeError> {
    let finding = Finding::of(reader.u8()?)?;
    let block = reader.hash()?;
    let round = reader.u32()?;
    let polka = match (reader.u8()?, reader.u32()?) {
        (0, 0) => None,
        (1, polka) => Some(polka),
        (flag, _) => return Err(refused("polka of a record", u64::from(flag))),
    };
    let proposer = reader.u16()?;
    let extension = reader.bytes_u32()?;
    if extension.len() > EXTENSION_BYTES_MAX {
        return Err(refused("extension length", wide(extension.len())));
    }
    Ok(Judged {
        block,
        round,
        polka,
        proposer,
        finding,
        extension: extension.to_vec(),
    })
}

fn refused(what: &'static str, value: u64) -> DecodeError {
    DecodeError::Value { what, value }
}

impl Wait {
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    fn code(self) -> u8 {
        self as u8
    }

    fn of(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Propose),
            2 => Ok(Self::Prevote),
            3 => Ok(Self::Precommit),
            _ => Err(refused("wait of a record", u64::from(code))),
        }
    }

    /// The core's name for it.
    pub(super) fn core(self) -> TimeoutKind {
        match self {
            Self::Propose => TimeoutKind::Propose,
            Self::Prevote => TimeoutKind::Prevote,
            Self::Precommit => TimeoutKind::Precommit,
        }
    }

    /// `None` for the core's waits that no journal has.
    pub(super) fn of_core(kind: TimeoutKind) -> Option<Self> {
        match kind {
            TimeoutKind::Propose => Some(Self::Propose),
            TimeoutKind::Prevote => Some(Self::Prevote),
            TimeoutKind::Precommit => Some(Self::Precommit),
            TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => None,
        }
    }
}

impl Finding {
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    fn code(self) -> u8 {
        self as u8
    }

    fn of(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Valid),
            2 => Ok(Self::Invalid),
            3 => Ok(Self::Objection),
            _ => Err(refused("finding of a record", u64::from(code))),
        }
    }
}
