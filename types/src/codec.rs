//! Canonical bytes: a bounds-checked reader, and containers of typed sections that later versions extend.
//!
//! Everything is little-endian. A container is a list of sections `{kind u16, version u8, flags u8, len u32,
//! bytes}` in strictly ascending order of kind, so that one value has one byte string. A reader refuses a
//! kind it does not know unless the section is flagged ignorable.

use alloc::vec::Vec;
use thiserror::Error;

/// Why bytes are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end early.
    #[error("{what}: {needed} bytes needed at offset {offset}, {left} left")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Where.
        offset: usize,
        /// Bytes it takes.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// Bytes follow the value.
    #[error("{what}: {extra} bytes after the end")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// How many bytes follow.
        extra: usize,
    },
    /// A field has a value it may not have.
    #[error("{what}: value {value} is not allowed")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A section whose kind or version is not known, and which may not be ignored.
    #[error("unknown section: kind {kind}, version {version}")]
    UnknownSection {
        /// Its kind.
        kind: u16,
        /// Its version.
        version: u8,
    },
    /// A section that must be there is not.
    #[error("section {kind} is missing")]
    MissingSection {
        /// The kind that was looked for.
        kind: u16,
    },
    /// A section without content, in a container that leaves such sections out.
    #[error("section {kind} is empty, and would be left out")]
    EmptySection {
        /// Its kind.
        kind: u16,
    },
    /// Sections are out of order, or one comes twice.
    #[error("section {kind} is out of order or repeated")]
    SectionOrder {
        /// The kind that came too late.
        kind: u16,
    },
}

/// Reads little-endian values from the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`; `what` names the value in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            what,
            bytes,
            offset: 0,
        }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.bytes.len() - self.offset;
        if len > left {
            return Err(DecodeError::Short {
                what: self.what,
                offset: self.offset,
                needed: len,
                left,
            });
        }
        let taken = &self.bytes[self.offset..self.offset + len];
        self.offset += len;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self
            .take(N)?
            .try_into()
            .expect("take returns as many bytes as asked for"))
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// The next `u16`.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next `u32`.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next `u32` as a length.
    pub fn len_u32(&mut self) -> Result<usize, DecodeError> {
        self.u32().map(index)
    }

    /// The next `u64`.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `u128`.
    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_le_bytes)
    }

    /// The next 32-byte hash.
    pub fn hash(&mut self) -> Result<crate::Hash, DecodeError> {
        self.array().map(crate::Hash)
    }

    /// A `u32` length and that many bytes.
    pub fn bytes_u32(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.len_u32()?;
        self.take(len)
    }

    /// A `u16` length and that many bytes of UTF-8.
    pub fn text_u16(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.u16()?;
        core::str::from_utf8(self.take(usize::from(len))?).map_err(|error| DecodeError::Value {
            what: "text",
            value: wide(error.valid_up_to()),
        })
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.offset..];
        self.offset = self.bytes.len();
        rest
    }

    /// Where the reader stands, in bytes from the start.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Refuses bytes after the value.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing {
                what: self.what,
                extra,
            }),
        }
    }
}

/// A `u32` as an index: `usize` is at least 32 bits on every target.
#[allow(
    clippy::as_conversions,
    reason = "u32 to usize widens on every supported target"
)]
pub const fn index(value: u32) -> usize {
    value as usize
}

/// A length as a `u64`: `usize` is at most 64 bits on every target.
#[allow(
    clippy::as_conversions,
    reason = "usize to u64 widens on every supported target"
)]
pub const fn wide(value: usize) -> u64 {
    value as u64
}

/// A length as a `u32`.
///
/// # Panics
/// On a length over 4 GiB: every container's limit is far below.
pub fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("every length in the formats is limited below 4 GiB")
}

/// Appends a `u32` length and the bytes.
pub fn put_bytes_u32(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&narrow(bytes.len()).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a `u16` length and the text, cut at 65,535 bytes on a character boundary.
pub fn put_text_u16(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let len = u16::try_from(end).expect("cut to fit");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

/// One typed part of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it holds.
    pub kind: u16,
    /// Version of its own format.
    pub version: u8,
    /// Whether a reader that does not know it may skip it.
    pub ignorable: bool,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Bytes of a section's header: kind, version, flags, length.
pub const SECTION_HEADER_LEN: usize = 8;
const FLAG_IGNORABLE: u8 = 1;

/// Appends a section header with room for the length, lets `fill` append the content, then sets the length.
pub fn put_section(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    put_section_versioned(out, kind, SECTION_VERSION, false, fill);
}

/// As [`put_section`], of any version, and ignorable if so said.
pub fn put_section_versioned(
    out: &mut Vec<u8>,
    kind: u16,
    version: u8,
    ignorable: bool,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.push(version);
    out.push(if ignorable { FLAG_IGNORABLE } else { 0 });
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let len = narrow(out.len() - at - 4);
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// The version that every section has today.
pub const SECTION_VERSION: u8 = 1;

/// Splits a container into its sections, checking order; says nothing of kinds.
pub fn sections(bytes: &[u8]) -> impl Iterator<Item = Result<Section<'_>, DecodeError>> {
    let mut reader = Reader::new("section", bytes);
    let mut previous: Option<u16> = None;
    let mut failed = false;
    core::iter::from_fn(move || {
        if failed || reader.left() == 0 {
            return None;
        }
        let section = next_section(&mut reader, &mut previous);
        failed = section.is_err();
        Some(section)
    })
}

fn next_section<'a>(reader: &mut Reader<'a>, previous: &mut Option<u16>) -> Result<Section<'a>, DecodeError> {
    let kind = reader.u16()?;
    let version = reader.u8()?;
    let flags = reader.u8()?;
    if flags & !FLAG_IGNORABLE != 0 {
        return Err(DecodeError::Value {
            what: "section flags",
            value: u64::from(flags),
        });
    }
    if previous.is_some_and(|previous| previous >= kind) {
        return Err(DecodeError::SectionOrder { kind });
    }
    *previous = Some(kind);
    Ok(Section {
        kind,
        version,
        ignorable: flags & FLAG_IGNORABLE != 0,
        bytes: reader.bytes_u32()?,
    })
}

/// The contents of the sections named in `known`, in that order; refuses any other that is not ignorable, and
/// one of these that claims to be.
pub fn known_sections<const N: usize>(
    bytes: &[u8],
    known: [u16; N],
) -> Result<[Option<&[u8]>; N], DecodeError> {
    let mut found = [None; N];
    for section in sections(bytes) {
        let section = section?;
        match known.iter().position(|kind| *kind == section.kind) {
            // No writer flags what every reader knows: it would be a second way to write the same value.
            Some(_) if section.version == SECTION_VERSION && section.ignorable => {
                return Err(DecodeError::Value {
                    what: "section flags",
                    value: u64::from(FLAG_IGNORABLE),
                });
            }
            Some(at) if section.version == SECTION_VERSION => found[at] = Some(section.bytes),
            _ if section.ignorable => {}
            _ => {
                return Err(DecodeError::UnknownSection {
                    kind: section.kind,
                    version: section.version,
                });
            }
        }
    }
    Ok(found)
}

/// As [`known_sections`], for containers that leave empty sections out: what is absent is empty, and an empty
/// section that is there is refused, because it would be a second way to write the same value.
pub fn filled_sections<const N: usize>(bytes: &[u8], known: [u16; N]) -> Result<[&[u8]; N], DecodeError> {
    let found = known_sections(bytes, known)?;
    if let Some(at) = found.iter().position(|part| part.is_some_and(<[u8]>::is_empty)) {
        return Err(DecodeError::EmptySection { kind: known[at] });
    }
    Ok(found.map(Option::unwrap_or_default))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    fn two_sections() -> Vec<u8> {
        let mut out = vec![];
        put_section(&mut out, 3, |out| out.extend_from_slice(b"abc"));
        put_section_versioned(&mut out, 9, 4, true, |out| out.push(1));
        out
    }

    #[test]
    fn sections_round_trip_and_ignorable_ones_are_skipped() {
        let bytes = two_sections();
        assert_eq!(known_sections(&bytes, [3, 5]).unwrap(), [Some(&b"abc"[..]), None]);
    }

    #[test]
    fn one_value_has_one_byte_string() {
        let mut flagged = vec![];
        put_section_versioned(&mut flagged, 3, SECTION_VERSION, true, |out| out.push(1));
        assert!(matches!(
            known_sections(&flagged, [3]),
            Err(DecodeError::Value { .. })
        ));
        let mut empty = vec![];
        put_section(&mut empty, 3, |_| {});
        assert_eq!(known_sections(&empty, [3]), Ok([Some(&[][..])]));
        assert_eq!(
            filled_sections(&empty, [3]),
            Err(DecodeError::EmptySection { kind: 3 })
        );
        assert_eq!(
            filled_sections(&two_sections(), [3, 5]),
            Ok([&b"abc"[..], &[][..]])
        );
    }

    #[test]
    fn refuses_unknown_disordered_and_truncated_sections() {
        let bytes = two_sections();
        assert_eq!(
            known_sections(&bytes, [5]),
            Err(DecodeError::UnknownSection { kind: 3, version: 1 })
        );
        let twice = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(
            known_sections(&twice, [3]),
            Err(DecodeError::SectionOrder { kind: 3 })
        );
        for cut in 1..bytes.len() {
            let whole_first = cut == SECTION_HEADER_LEN + 3;
            assert_eq!(
                known_sections(&bytes[..cut], [3]).is_ok(),
                whole_first,
                "cut at {cut}"
            );
        }
    }
}
