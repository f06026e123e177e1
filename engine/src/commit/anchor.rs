//! Anchor: proves a snapshot to whoever knows the validators of a later height. What a header commits to is the state
//! ROOT_LAG heights before; what a chain remembers of the last blocks beside the state, those blocks say.

use super::chain::ChainSnapshot;
use super::council::Certified;
use crate::proof::{FollowError, TrustedSet};
use selfchain_types::block::{Body, Header, Row};
use selfchain_types::certificate::Certificate;
use selfchain_types::codec::{DecodeError, Reader, known_sections, narrow, put_bytes_u32, put_section};
use selfchain_types::genesis::Genesis;
use selfchain_types::late::LATE_BLOCKS;
use selfchain_types::roots::Table;
use selfchain_types::{Hash, Height, hash};
use thiserror::Error;

/// The blocks around a snapshot, as far as they are needed to believe it. Table: `docs/formats/snapshot.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The last blocks up to the snapshot's, [`LATE_BLOCKS`] or all there are: header, and body without envelopes.
    pub blocks: Vec<(Vec<u8>, Vec<u8>)>,
    /// The headers after them, up to the one that commits to the snapshot's state.
    pub headers: Vec<Vec<u8>>,
    /// The certificate of the last header, as the block after it has it: so it is the same wherever it comes from.
    pub certificate: Vec<u8>,
}

/// Why an anchor does not prove a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AnchorError {
    /// Its last header is not decided by validators that are trusted.
    #[error("the header that commits to the snapshot is not believed")]
    Follow(#[from] FollowError),
    /// Bytes that are not what they should be.
    #[error("the anchor's {what} cannot be read")]
    Decode {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// It and the snapshot do not say the same.
    #[error("the anchor's {what} is another than the snapshot's")]
    Mismatch {
        /// What differs.
        what: &'static str,
    },
    /// It has other blocks than it should.
    #[error("the anchor has {got} {what}, not {want}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be.
        want: usize,
    },
    /// A table of the snapshot does not have the root that it says.
    #[error("the {} table does not have the root that the snapshot says", .0.name())]
    Table(Table),
}

mod kind {
    pub(super) const BLOCKS: u16 = 1;
    pub(super) const HEADERS: u16 = 2;
    pub(super) const CERTIFICATE: u16 = 3;
}

impl Anchor {
    /// The first and the last height whose rows make the anchor of a snapshot: the block after the header that
    /// commits to it is the last.
    pub fn heights(snapshot: Height, root_lag: u64) -> (Height, Height) {
        let first = snapshot.0.saturating_sub(LATE_BLOCKS - 1).max(1);
        (
            Height(first),
            Height(snapshot.0.saturating_add(root_lag).saturating_add(1)),
        )
    }

    /// The anchor of a snapshot from the rows of [`Self::heights`], in order.
    ///
    /// # Errors
    /// [`DecodeError`] where these are no rows.
    pub fn of_rows(snapshot: Height, root_lag: u64, rows: &[impl AsRef<[u8]>]) -> Result<Self, DecodeError> {
        let (first, last) = Self::heights(snapshot, root_lag);
        let mut anchor = Self {
            blocks: Vec::new(),
            headers: Vec::new(),
            certificate: Vec::new(),
        };
        for (height, row) in (first.0..=last.0).zip(rows) {
            let row = Row::decode(row.as_ref())?;
            if height <= snapshot.0 {
                let body = Body {
                    envelopes: Vec::new(),
                    ..Body::decode(row.body)?
                };
                let mut bytes = Vec::new();
                body.encode(&mut bytes);
                anchor.blocks.push((row.header.to_vec(), bytes));
            } else if height < last.0 {
                anchor.headers.push(row.header.to_vec());
            } else {
                anchor.certificate = Body::decode(row.body)?.parent_certificate.to_vec();
            }
        }
        Ok(anchor)
    }

    /// What the last header says: it has the set that must be trusted.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn committing(&self) -> Result<Header, AnchorError> {
        let header = self.headers.last().ok_or(AnchorError::Count {
            what: "headers",
            got: 0,
            want: 1,
        })?;
        Header::decode(header).map_err(decode("header"))
    }

    /// Checks everything that a snapshot says of itself but that its chunks have the roots that it says. `set` must be
    /// trusted at the last header's height.
    ///
    /// # Errors
    /// [`AnchorError`], naming what differs.
    pub fn check(
        &self,
        genesis: &Genesis,
        set: &TrustedSet,
        snapshot: &ChainSnapshot,
    ) -> Result<(), AnchorError> {
        let lag = usize::try_from(genesis.plane.root_lag()).unwrap_or(usize::MAX);
        count("headers", self.headers.len(), lag)?;
        let kept = snapshot.tip.height.0.min(LATE_BLOCKS);
        count(
            "blocks",
            self.blocks.len(),
            usize::try_from(kept).unwrap_or(usize::MAX),
        )?;
        let last = self.headers.last().map_or(&[][..], Vec::as_slice);
        let (committing, _) = set.vouch(&genesis.chain_id(), last, &self.certificate)?;
        let headers = self.linked(&committing)?;
        let (before, after) = headers.split_at(self.blocks.len());
        self.check_tip(before, snapshot)?;
        check_commitments(after, snapshot)?;
        check_tables(snapshot)?;
        let certified = self.certified(before, genesis)?;
        same(certified == snapshot.certified, "rounds of the last blocks")
    }

    /// Every header, each the parent of the next.
    fn linked(&self, committing: &Header) -> Result<Vec<Header>, AnchorError> {
        let blocks = self.blocks.iter().map(|(header, _)| header);
        let all: Vec<&Vec<u8>> = blocks.chain(&self.headers).collect();
        let mut headers = Vec::with_capacity(all.len());
        let mut next: Option<Header> = None;
        for bytes in all.into_iter().rev() {
            let header = Header::decode(bytes).map_err(decode("header"))?;
            if let Some(next) = &next {
                let follows = next.parent == hash::HEADER.hash(bytes)
                    && next.height == header.height.next()
                    && next.chain_id == header.chain_id;
                same(follows, "chain of headers")?;
            }
            headers.push(header.clone());
            next = Some(header);
        }
        headers.reverse();
        same(headers.last() == Some(committing), "last header")?;
        Ok(headers)
    }

    fn check_tip(&self, before: &[Header], snapshot: &ChainSnapshot) -> Result<(), AnchorError> {
        let (Some(header), Some((bytes, _))) = (before.last(), self.blocks.last()) else {
            return Err(AnchorError::Mismatch { what: "height" });
        };
        same(header.height == snapshot.tip.height, "height")?;
        same(hash::HEADER.hash(bytes) == snapshot.tip.hash, "hash of the block")?;
        same(header.time_ns == snapshot.tip.time_ns, "ledger time")
    }

    /// What the blocks say was decided before them, where several decide.
    fn certified(&self, before: &[Header], genesis: &Genesis) -> Result<Vec<Certified>, AnchorError> {
        let mut certified = Vec::new();
        for (header, (_, body)) in before.iter().zip(&self.blocks) {
            let body = Body::decode(body).map_err(decode("body"))?;
            same(body.hash() == header.body_hash, "body")?;
            if body.parent_certificate.is_empty() || genesis.validators.len() < 2 {
                continue;
            }
            let parent = Certificate::decode(body.parent_certificate).map_err(decode("certificate"))?;
            certified.push(Certified {
                height: parent.height,
                round: parent.round,
                block: parent.block,
            });
        }
        Ok(certified)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_section(&mut out, kind::BLOCKS, |out| {
            out.extend_from_slice(&narrow(self.blocks.len()).to_le_bytes());
            for (header, body) in &self.blocks {
                put_bytes_u32(out, header);
                put_bytes_u32(out, body);
            }
        });
        put_section(&mut out, kind::HEADERS, |out| {
            out.extend_from_slice(&narrow(self.headers.len()).to_le_bytes());
            self.headers.iter().for_each(|header| put_bytes_u32(out, header));
        });
        put_section(&mut out, kind::CERTIFICATE, |out| {
            out.extend_from_slice(&self.certificate);
        });
        out
    }

    /// Reads the canonical bytes. They prove nothing until [`Self::check`] says so.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kinds = [kind::BLOCKS, kind::HEADERS, kind::CERTIFICATE];
        let parts = known_sections(bytes, kinds)?;
        let part = |at: usize| parts[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        let mut reader = Reader::new("anchor blocks", part(0)?);
        let mut blocks = Vec::new();
        for _ in 0..reader.u32()? {
            blocks.push((reader.bytes_u32()?.to_vec(), reader.bytes_u32()?.to_vec()));
        }
        reader.finish()?;
        let mut reader = Reader::new("anchor headers", part(1)?);
        let mut headers = Vec::new();
        for _ in 0..reader.u32()? {
            headers.push(reader.bytes_u32()?.to_vec());
        }
        reader.finish()?;
        Ok(Self {
            blocks,
            headers,
            certificate: part(2)?.to_vec(),
        })
    }
}

/// Header h commits to the state after h − ROOT_LAG, so those after the snapshot's say all that it remembers.
fn check_commitments(after: &[Header], snapshot: &ChainSnapshot) -> Result<(), AnchorError> {
    count("commitments", snapshot.commitments.len(), after.len())?;
    for (header, commitment) in after.iter().zip(&snapshot.commitments) {
        same(header.state_root == commitment.state_root, "state root")?;
        same(
            (header.receipts_root, header.receipts_size)
                == (commitment.receipts_root, commitment.receipts_size),
            "receipts root",
        )?;
    }
    let state_root = after.last().map_or(Hash::ZERO, |header| header.state_root);
    same(snapshot.roots.state_root() == state_root, "table of roots")?;
    let receipts = after
        .last()
        .map(|header| (header.receipts_root, header.receipts_size));
    same(
        receipts == Some((snapshot.receipts.root(), snapshot.receipts.size())),
        "receipts' peaks",
    )
}

/// The standing's tables come with the snapshot's own bytes.
fn check_tables(snapshot: &ChainSnapshot) -> Result<(), AnchorError> {
    for (table, bytes) in [Table::Validators, Table::Plane]
        .into_iter()
        .zip(&snapshot.tables)
    {
        let got = Some(hash::TABLE.hash(bytes)).filter(|_| !bytes.is_empty());
        if got != snapshot.roots.get(table) {
            return Err(AnchorError::Table(table));
        }
    }
    Ok(())
}

fn decode(what: &'static str) -> impl Fn(DecodeError) -> AnchorError {
    move |source| AnchorError::Decode { what, source }
}

fn same(is_same: bool, what: &'static str) -> Result<(), AnchorError> {
    if is_same {
        Ok(())
    } else {
        Err(AnchorError::Mismatch { what })
    }
}

fn count(what: &'static str, got: usize, want: usize) -> Result<(), AnchorError> {
    if got == want {
        Ok(())
    } else {
        Err(AnchorError::Count { what, got, want })
    }
}
