//! The chain's part of a snapshot as bytes: the manifest beside the ledger's tables.

use super::chain::{ChainSnapshot, Commitment, Tip};
use super::council::Certified;
use crate::proof::Mountain;
use selfchain_types::codec::{DecodeError, Reader, known_sections, put_bytes_u32, put_section};
use selfchain_types::roots::Roots;
use selfchain_types::{Height, TimeNs};

mod kind {
    pub(super) const TIP: u16 = 1;
    pub(super) const ROOTS: u16 = 2;
    pub(super) const RECEIPTS: u16 = 3;
    pub(super) const COMMITMENTS: u16 = 4;
    pub(super) const VALIDATORS: u16 = 5;
    pub(super) const PLANE: u16 = 6;
    pub(super) const CERTIFIED: u16 = 7;
    pub(super) const PAST_ROOTS: u16 = 8;
}

impl ChainSnapshot {
    /// The canonical bytes. What only several validators have is left out where it is empty.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_section(&mut out, kind::TIP, |out| {
            out.extend_from_slice(&self.tip.height.0.to_le_bytes());
            out.extend_from_slice(self.tip.hash.as_bytes());
            out.extend_from_slice(&self.tip.time_ns.0.to_le_bytes());
        });
        put_section(&mut out, kind::ROOTS, |out| self.roots.encode(out));
        put_section(&mut out, kind::RECEIPTS, |out| self.receipts.encode(out));
        put_section(&mut out, kind::COMMITMENTS, |out| {
            for commitment in &self.commitments {
                out.extend_from_slice(commitment.state_root.as_bytes());
                out.extend_from_slice(commitment.receipts_root.as_bytes());
                out.extend_from_slice(&commitment.receipts_size.to_le_bytes());
            }
        });
        for (kind, table) in [kind::VALIDATORS, kind::PLANE].into_iter().zip(&self.tables) {
            if !table.is_empty() {
                put_section(&mut out, kind, |out| out.extend_from_slice(table));
            }
        }
        if !self.certified.is_empty() {
            put_section(&mut out, kind::CERTIFIED, |out| {
                for certified in &self.certified {
                    out.extend_from_slice(&certified.height.0.to_le_bytes());
                    out.extend_from_slice(&certified.round.to_le_bytes());
                    out.extend_from_slice(certified.block.as_bytes());
                }
            });
        }
        if !self.past_roots.is_empty() {
            put_section(&mut out, kind::PAST_ROOTS, |out| {
                for roots in &self.past_roots {
                    let mut bytes = Vec::new();
                    roots.encode(&mut bytes);
                    put_bytes_u32(out, &bytes);
                }
            });
        }
        out
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kinds = [
            kind::TIP,
            kind::ROOTS,
            kind::RECEIPTS,
            kind::COMMITMENTS,
            kind::VALIDATORS,
            kind::PLANE,
            kind::CERTIFIED,
            kind::PAST_ROOTS,
        ];
        let parts = known_sections(bytes, kinds)?;
        let part = |at: usize| parts[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        let mut tip = Reader::new("snapshot tip", part(0)?);
        let read = Tip {
            height: Height(tip.u64()?),
            hash: tip.hash()?,
            time_ns: TimeNs(tip.u64()?),
        };
        tip.finish()?;
        let mut reader = Reader::new("snapshot commitments", part(3)?);
        let mut commitments = Vec::new();
        while reader.left() > 0 {
            commitments.push(Commitment {
                state_root: reader.hash()?,
                receipts_root: reader.hash()?,
                receipts_size: reader.u64()?,
            });
        }
        let table = |at: usize| parts[at].unwrap_or_default().to_vec();
        let mut reader = Reader::new("snapshot certified", parts[6].unwrap_or_default());
        let mut certified = Vec::new();
        while reader.left() > 0 {
            certified.push(Certified {
                height: Height(reader.u64()?),
                round: reader.u32()?,
                block: reader.hash()?,
            });
        }
        let mut reader = Reader::new("snapshot past roots", parts[7].unwrap_or_default());
        let mut past_roots = Vec::new();
        while reader.left() > 0 {
            past_roots.push(Roots::decode(reader.bytes_u32()?)?);
        }
        Ok(Self {
            tip: read,
            roots: Roots::decode(part(1)?)?,
            receipts: Mountain::decode(part(2)?)?,
            commitments,
            past_roots,
            tables: [table(4), table(5)],
            certified,
        })
    }
}
