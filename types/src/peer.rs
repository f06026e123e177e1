//! What validators tell one another beside their connection: the plane's messages, bodies of blocks, decided blocks
//! for one that is behind, and transactions.
//!
//! A message is `kind u8` and its fields; which lane of a link carries it says [`PeerMessage::lane`]. Table:
//! `docs/formats/peer.md`.

use crate::acknowledgement::Acknowledgement;
use crate::checkpoint::CheckpointSignature;
use crate::codec::{DecodeError, Reader, narrow, put_bytes_u32};
use crate::{Hash, Height};
use alloc::vec::Vec;

/// Which lane of a link a message takes, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Proposals and votes, small.
    Votes,
    /// Bodies of blocks, up to a block's size.
    Bodies,
    /// Transactions that clients gave a validator, and acknowledgements of them.
    Transactions,
    /// Decided blocks for one that is behind.
    Sync,
}

/// A message from one validator to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage<'a> {
    /// Of the plane, in its own format, with where the sender stands.
    Plane {
        /// The newest height that the sender has decided.
        tip: Height,
        /// For [`crate::seam::consensus::Input::Message`].
        bytes: &'a [u8],
    },
    /// Where the sender stands.
    Tip(Height),
    /// A block that is proposed: [`crate::block::Proposed`].
    Body(&'a [u8]),
    /// Send me the body of this block.
    WantBody {
        /// Its height.
        height: Height,
        /// Its hash.
        block: Hash,
    },
    /// Send me decided blocks from this height on.
    WantBlocks(Height),
    /// Decided blocks in order: each block, and the certificate that decided it.
    Blocks(Vec<(&'a [u8], &'a [u8])>),
    /// Whole envelopes.
    Transactions(Vec<&'a [u8]>),
    /// Which snapshot do you have?
    WantSnapshot,
    /// The newest snapshot that the sender has and can prove, if any.
    Snapshot(Option<SnapshotOffer>),
    /// Send me a part of the snapshot that you offered: part 0 is its index, part n its n-th chunk.
    WantPart {
        /// [`SnapshotOffer::id`].
        id: Hash,
        /// Which.
        part: u32,
    },
    /// A part of a snapshot.
    Part {
        /// [`SnapshotOffer::id`].
        id: Hash,
        /// Which.
        part: u32,
        /// The bytes, which the index's id or an entry of the index answers for.
        bytes: &'a [u8],
    },
    /// Send me the changes of the set of validators from this height on.
    WantHandovers(Height),
    /// Changes of the set of validators, in order of height, each in its own format.
    Handovers(Vec<&'a [u8]>),
    /// The sender's signature of the checkpoint of this height, with its checkpoint key.
    CheckpointSignature {
        /// The height.
        height: Height,
        /// The hash of its header.
        header: Hash,
        /// The signature.
        signature: CheckpointSignature,
    },
    /// Send me checkpoints from this height on.
    WantCheckpoints(Height),
    /// Checkpoints, in order of height.
    Checkpoints(Vec<&'a [u8]>),
    /// What you asked for is not sent now.
    Refused {
        /// What was asked for.
        asked: Asked,
        /// Why it is not sent.
        why: AskRefusal,
        /// Milliseconds after which it would be; at least 1.
        retry_after_ms: u32,
    },
    /// Transactions that wait at the sender.
    Acknowledged(Acknowledgement),
}

/// A snapshot that a validator can send. Equal snapshots have equal offers, whoever makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotOffer {
    /// Height of the state.
    pub height: Height,
    /// Hash of its index.
    pub id: Hash,
    /// Chunks that it has.
    pub chunks: u32,
    /// Bytes of the chunks.
    pub bytes: u64,
}

/// What one validator asks of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Asked {
    /// [`PeerMessage::WantBody`].
    Body = kind::WANT_BODY,
    /// [`PeerMessage::WantBlocks`].
    Blocks = kind::WANT_BLOCKS,
    /// [`PeerMessage::WantPart`].
    Part = kind::WANT_PART,
    /// [`PeerMessage::WantHandovers`].
    Handovers = kind::WANT_HANDOVERS,
}

/// Why a validator does not send what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AskRefusal {
    /// The one that asks was sent all that one peer is sent in so much time.
    RateLimited = 1,
    /// It is not here.
    NotHeld = 2,
}

impl Asked {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Body, Self::Blocks, Self::Part, Self::Handovers];

    /// The kind of the message that asks.
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name that metrics and logs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Blocks => "blocks",
            Self::Part => "snapshot_part",
            Self::Handovers => "handovers",
        }
    }

    fn read(code: u8) -> Result<Self, DecodeError> {
        let found = Self::ALL.into_iter().find(|asked| asked.code() == code);
        found.ok_or(DecodeError::Value {
            what: "what a refused peer asked for",
            value: code.into(),
        })
    }
}

impl AskRefusal {
    /// The byte.
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name that metrics and logs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::NotHeld => "not_held",
        }
    }

    fn read(code: u8) -> Result<Self, DecodeError> {
        let found = [Self::RateLimited, Self::NotHeld]
            .into_iter()
            .find(|why| why.code() == code);
        found.ok_or(DecodeError::Value {
            what: "why a peer is refused",
            value: code.into(),
        })
    }
}

mod kind {
    pub(super) const PLANE: u8 = 1;
    pub(super) const TIP: u8 = 2;
    pub(super) const BODY: u8 = 3;
    pub(super) const WANT_BODY: u8 = 4;
    pub(super) const WANT_BLOCKS: u8 = 5;
    pub(super) const BLOCKS: u8 = 6;
    pub(super) const TRANSACTIONS: u8 = 7;
    pub(super) const REFUSED: u8 = 8;
    pub(super) const ACKNOWLEDGED: u8 = 9;
    pub(super) const WANT_SNAPSHOT: u8 = 11;
    pub(super) const SNAPSHOT: u8 = 12;
    pub(super) const WANT_PART: u8 = 13;
    pub(super) const PART: u8 = 14;
    pub(super) const WANT_HANDOVERS: u8 = 15;
    pub(super) const HANDOVERS: u8 = 16;
    pub(super) const CHECKPOINT_SIGNATURE: u8 = 17;
    pub(super) const WANT_CHECKPOINTS: u8 = 18;
    pub(super) const CHECKPOINTS: u8 = 19;
}

/// Most blocks of one [`PeerMessage::Blocks`].
pub const BLOCKS_MAX: usize = 256;
/// Most envelopes of one [`PeerMessage::Transactions`].
pub const TRANSACTIONS_MAX: usize = 65_536;
/// Most checkpoints of one [`PeerMessage::Checkpoints`].
pub const CHECKPOINTS_MAX: usize = 256;
/// Most handovers of one [`PeerMessage::Handovers`].
pub const HANDOVERS_MAX: usize = 1_024;

impl<'a> PeerMessage<'a> {
    /// The lane that carries it.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Plane { .. }
            | Self::Tip(_)
            | Self::WantBody { .. }
            | Self::WantBlocks(_)
            | Self::WantSnapshot
            | Self::Snapshot(_)
            | Self::WantPart { .. }
            | Self::WantHandovers(_)
            | Self::CheckpointSignature { .. }
            | Self::WantCheckpoints(_)
            | Self::Refused { .. } => Lane::Votes,
            Self::Body(_) => Lane::Bodies,
            Self::Blocks(_) | Self::Part { .. } | Self::Handovers(_) | Self::Checkpoints(_) => Lane::Sync,
            Self::Transactions(_) | Self::Acknowledged(_) => Lane::Transactions,
        }
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let content = match self {
            Self::Plane { bytes, .. } | Self::Body(bytes) => bytes.len(),
            _ => 0,
        };
        let mut out = Vec::with_capacity(64 + content);
        match self {
            Self::Plane { tip, bytes } => {
                out.push(kind::PLANE);
                out.extend_from_slice(&tip.0.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Tip(tip) => {
                out.push(kind::TIP);
                out.extend_from_slice(&tip.0.to_le_bytes());
            }
            Self::Body(bytes) => {
                out.push(kind::BODY);
                out.extend_from_slice(bytes);
            }
            Self::WantBody { height, block } => {
                out.push(kind::WANT_BODY);
                out.extend_from_slice(&height.0.to_le_bytes());
                out.extend_from_slice(block.as_bytes());
            }
            Self::WantBlocks(from) => {
                out.push(kind::WANT_BLOCKS);
                out.extend_from_slice(&from.0.to_le_bytes());
            }
            Self::Blocks(blocks) => {
                out.push(kind::BLOCKS);
                out.extend_from_slice(&narrow(blocks.len()).to_le_bytes());
                for (block, certificate) in blocks {
                    put_bytes_u32(&mut out, block);
                    put_bytes_u32(&mut out, certificate);
                }
            }
            Self::Transactions(envelopes) => {
                out.push(kind::TRANSACTIONS);
                out.extend_from_slice(&narrow(envelopes.len()).to_le_bytes());
                envelopes.iter().for_each(|one| put_bytes_u32(&mut out, one));
            }
            Self::WantSnapshot => out.push(kind::WANT_SNAPSHOT),
            Self::Snapshot(offer) => {
                out.push(kind::SNAPSHOT);
                if let Some(offer) = offer {
                    out.extend_from_slice(&offer.height.0.to_le_bytes());
                    out.extend_from_slice(offer.id.as_bytes());
                    out.extend_from_slice(&offer.chunks.to_le_bytes());
                    out.extend_from_slice(&offer.bytes.to_le_bytes());
                }
            }
            Self::WantPart { id, part } => {
                out.push(kind::WANT_PART);
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(&part.to_le_bytes());
            }
            Self::Part { id, part, bytes } => {
                out.push(kind::PART);
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(&part.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::WantHandovers(from) => {
                out.push(kind::WANT_HANDOVERS);
                out.extend_from_slice(&from.0.to_le_bytes());
            }
            Self::Handovers(handovers) => {
                out.push(kind::HANDOVERS);
                out.extend_from_slice(&narrow(handovers.len()).to_le_bytes());
                handovers.iter().for_each(|one| put_bytes_u32(&mut out, one));
            }
            Self::CheckpointSignature {
                height,
                header,
                signature,
            } => {
                out.push(kind::CHECKPOINT_SIGNATURE);
                out.extend_from_slice(&height.0.to_le_bytes());
                out.extend_from_slice(header.as_bytes());
                signature.encode(&mut out);
            }
            Self::WantCheckpoints(from) => {
                out.push(kind::WANT_CHECKPOINTS);
                out.extend_from_slice(&from.0.to_le_bytes());
            }
            Self::Checkpoints(checkpoints) => {
                out.push(kind::CHECKPOINTS);
                out.extend_from_slice(&narrow(checkpoints.len()).to_le_bytes());
                checkpoints.iter().for_each(|one| put_bytes_u32(&mut out, one));
            }
            Self::Refused {
                asked,
                why,
                retry_after_ms,
            } => {
                out.extend_from_slice(&[kind::REFUSED, asked.code(), why.code()]);
                out.extend_from_slice(&retry_after_ms.to_le_bytes());
            }
            Self::Acknowledged(acknowledgement) => {
                out.push(kind::ACKNOWLEDGED);
                acknowledgement.encode(&mut out);
            }
        }
        out
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("peer message", bytes);
        let message = match reader.u8()? {
            kind::PLANE => Self::Plane {
                tip: Height(reader.u64()?),
                bytes: reader.rest(),
            },
            kind::TIP => Self::Tip(Height(reader.u64()?)),
            kind::BODY => Self::Body(reader.rest()),
            kind::WANT_BODY => Self::WantBody {
                height: Height(reader.u64()?),
                block: reader.hash()?,
            },
            kind::WANT_BLOCKS => Self::WantBlocks(Height(reader.u64()?)),
            kind::BLOCKS => {
                let count = at_most(reader.len_u32()?, BLOCKS_MAX, "blocks of a peer message")?;
                let mut blocks = Vec::with_capacity(count);
                for _ in 0..count {
                    blocks.push((reader.bytes_u32()?, reader.bytes_u32()?));
                }
                Self::Blocks(blocks)
            }
            kind::TRANSACTIONS => {
                let what = "transactions of a peer message";
                let count = at_most(reader.len_u32()?, TRANSACTIONS_MAX, what)?;
                let mut envelopes = Vec::with_capacity(count.min(bytes.len() / 4));
                for _ in 0..count {
                    envelopes.push(reader.bytes_u32()?);
                }
                Self::Transactions(envelopes)
            }
            kind::REFUSED => {
                let (asked, why) = (Asked::read(reader.u8()?)?, AskRefusal::read(reader.u8()?)?);
                let retry_after_ms = reader.u32()?;
                if retry_after_ms == 0 {
                    let what = "milliseconds that a refused peer is to wait";
                    return Err(DecodeError::Value { what, value: 0 });
                }
                Self::Refused {
                    asked,
                    why,
                    retry_after_ms,
                }
            }
            kind::ACKNOWLEDGED => Self::Acknowledged(Acknowledgement::read(&mut reader)?),
            kind::WANT_SNAPSHOT => Self::WantSnapshot,
            kind::SNAPSHOT if reader.left() == 0 => Self::Snapshot(None),
            kind::SNAPSHOT => Self::Snapshot(Some(SnapshotOffer {
                height: Height(reader.u64()?),
                id: reader.hash()?,
                chunks: reader.u32()?,
                bytes: reader.u64()?,
            })),
            kind::WANT_PART => Self::WantPart {
                id: reader.hash()?,
                part: reader.u32()?,
            },
            kind::PART => Self::Part {
                id: reader.hash()?,
                part: reader.u32()?,
                bytes: reader.rest(),
            },
            kind::WANT_HANDOVERS => Self::WantHandovers(Height(reader.u64()?)),
            kind::HANDOVERS => {
                let what = "handovers of a peer message";
                let count = at_most(reader.len_u32()?, HANDOVERS_MAX, what)?;
                let mut handovers = Vec::with_capacity(count.min(bytes.len() / 4));
                for _ in 0..count {
                    handovers.push(reader.bytes_u32()?);
                }
                Self::Handovers(handovers)
            }
            kind::CHECKPOINT_SIGNATURE => Self::CheckpointSignature {
                height: Height(reader.u64()?),
                header: reader.hash()?,
                signature: CheckpointSignature::read(&mut reader)?,
            },
            kind::WANT_CHECKPOINTS => Self::WantCheckpoints(Height(reader.u64()?)),
            kind::CHECKPOINTS => {
                let what = "checkpoints of a peer message";
                let count = at_most(reader.len_u32()?, CHECKPOINTS_MAX, what)?;
                let mut checkpoints = Vec::with_capacity(count.min(bytes.len() / 4));
                for _ in 0..count {
                    checkpoints.push(reader.bytes_u32()?);
                }
                Self::Checkpoints(checkpoints)
            }
            kind => {
                return Err(DecodeError::Value {
                    what: "kind of a peer message",
                    value: kind.into(),
                });
            }
        };
        reader.finish()?;
        Ok(message)
    }
}

fn at_most(count: usize, max: usize, what: &'static str) -> Result<usize, DecodeError> {
    if count > max {
        let value = crate::codec::wide(count);
        return Err(DecodeError::Value { what, value });
    }
    Ok(count)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::acknowledgement::ShortId;
    use alloc::vec;

    #[test]
    fn every_message_survives_its_bytes() {
        for message in [
            PeerMessage::Plane {
                tip: Height(7),
                bytes: b"vote",
            },
            PeerMessage::Tip(Height(1)),
            PeerMessage::Body(b"body"),
            PeerMessage::WantBody {
                height: Height(3),
                block: Hash([4; 32]),
            },
            PeerMessage::WantBlocks(Height(9)),
            PeerMessage::Blocks(vec![(b"one", b"its"), (b"two", b"")]),
            PeerMessage::Transactions(vec![b"a", b"bc"]),
            PeerMessage::Refused {
                asked: Asked::Blocks,
                why: AskRefusal::RateLimited,
                retry_after_ms: 250,
            },
            PeerMessage::Acknowledged(Acknowledgement {
                run: 5,
                height: Height(6),
                transactions: vec![ShortId([1; 8]), ShortId([2; 8])],
                signature: vec![3; 64],
            }),
            PeerMessage::WantSnapshot,
            PeerMessage::Snapshot(Some(SnapshotOffer {
                height: Height(5),
                id: Hash([6; 32]),
                chunks: 7,
                bytes: 8,
            })),
            PeerMessage::Snapshot(None),
            PeerMessage::WantPart {
                id: Hash([6; 32]),
                part: 2,
            },
            PeerMessage::Part {
                id: Hash([6; 32]),
                part: 2,
                bytes: b"chunk",
            },
            PeerMessage::WantHandovers(Height(9)),
            PeerMessage::Handovers(vec![b"one", b"other"]),
            PeerMessage::CheckpointSignature {
                height: Height(9),
                header: Hash([4; 32]),
                signature: CheckpointSignature {
                    key: crate::KeyId(Hash([5; 32])),
                    signature: vec![6; 128],
                },
            },
            PeerMessage::WantCheckpoints(Height(9)),
            PeerMessage::Checkpoints(vec![b"one", b"other"]),
        ] {
            let bytes = message.to_bytes();
            assert_eq!(PeerMessage::decode(&bytes).unwrap(), message);
            let is_open = matches!(
                message,
                PeerMessage::Plane { .. }
                    | PeerMessage::Body(_)
                    | PeerMessage::Part { .. }
                    | PeerMessage::Snapshot(Some(_))
            );
            if !is_open {
                assert!((0..bytes.len()).all(|cut| PeerMessage::decode(&bytes[..cut]).is_err()));
            }
        }
    }

    #[test]
    fn counts_and_kinds_are_bounded() {
        assert!(PeerMessage::decode(&[]).is_err());
        assert!(PeerMessage::decode(&[99]).is_err());
        let mut many = vec![kind::BLOCKS];
        many.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(PeerMessage::decode(&many).is_err());
        many[0] = kind::TRANSACTIONS;
        assert!(PeerMessage::decode(&many).is_err());
        let refused = |asked, why, wait: u32| {
            let wait = wait.to_le_bytes();
            PeerMessage::decode(&[&[kind::REFUSED, asked, why], &wait[..]].concat()).is_ok()
        };
        assert!(refused(kind::WANT_BODY, 1, 1));
        many[0] = kind::HANDOVERS;
        assert!(PeerMessage::decode(&many).is_err());
        assert!(refused(kind::WANT_PART, 2, 1));
        assert!(
            !refused(kind::TIP, 1, 1) && !refused(kind::WANT_BODY, 3, 1) && !refused(kind::WANT_BODY, 1, 0)
        );
    }
}
