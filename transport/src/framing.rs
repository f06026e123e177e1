//! Cuts a byte stream into frames: `{len u32 little-endian, bytes}`, with a limit on `len`.

/// Bytes of a frame's length prefix.
pub const PREFIX_LEN: usize = 4;

/// Reserved at first for a frame of any announced length: a stranger's word costs us no more than this.
const RESERVE_STEP: usize = 64 << 10;

/// What is wrong with a stream of frames. Nothing after it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame without content.
    #[error("a frame of no bytes")]
    Empty,
    /// A frame above the limit.
    #[error("a frame of {len} bytes, above the limit of {len_max}")]
    TooLarge {
        /// The announced length.
        len: usize,
        /// The limit.
        len_max: usize,
    },
}

/// Appends `frame` and its prefix to `out`.
///
/// # Errors
/// [`FrameError`] when the frame is empty or longer than `len_max` or than a `u32` can say.
pub fn append_frame(out: &mut Vec<u8>, frame: &[u8], len_max: usize) -> Result<(), FrameError> {
    let prefix = prefix_of(frame.len(), len_max)?;
    out.extend_from_slice(&prefix);
    out.extend_from_slice(frame);
    Ok(())
}

/// The prefix of a frame of `len` bytes.
///
/// # Errors
/// As [`append_frame`].
pub fn prefix_of(len: usize, len_max: usize) -> Result<[u8; PREFIX_LEN], FrameError> {
    if len == 0 {
        return Err(FrameError::Empty);
    }
    match u32::try_from(len) {
        Ok(short) if len <= len_max => Ok(short.to_le_bytes()),
        _ => Err(FrameError::TooLarge { len, len_max }),
    }
}

/// The state of cutting one stream. Pure: bytes in, whole frames out.
#[derive(Debug)]
pub struct Deframer {
    len_max: usize,
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// Of the frame under way, when its prefix is complete.
    body_len: usize,
    body: Vec<u8>,
}

impl Deframer {
    /// Ready for the first byte of a stream whose frames are at most `len_max` bytes.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        Self {
            len_max,
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            body_len: 0,
            body: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream and appends the frames that they complete to `frames`.
    ///
    /// # Errors
    /// [`FrameError`]; the stream is then useless, and the frames before the bad one are in `frames`.
    pub fn push(&mut self, mut bytes: &[u8], frames: &mut Vec<Vec<u8>>) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            if self.prefix_len < PREFIX_LEN {
                let (head, rest) = bytes.split_at(bytes.len().min(PREFIX_LEN - self.prefix_len));
                self.prefix[self.prefix_len..self.prefix_len + head.len()].copy_from_slice(head);
                self.prefix_len += head.len();
                bytes = rest;
                if self.prefix_len < PREFIX_LEN {
                    return Ok(());
                }
                self.begin_body()?;
            }
            let (head, rest) = bytes.split_at(bytes.len().min(self.body_len - self.body.len()));
            self.reserve(head.len());
            self.body.extend_from_slice(head);
            bytes = rest;
            if self.body.len() == self.body_len {
                frames.push(std::mem::take(&mut self.body));
                self.prefix_len = 0;
            }
        }
        Ok(())
    }

    /// Whether the stream stands inside a frame: its end here would be a truncation.
    #[must_use]
    pub fn is_inside_frame(&self) -> bool {
        self.prefix_len > 0
    }

    /// Bytes held of the frame under way.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.body.len()
    }

    /// Bytes that the frame under way will hold when it is whole, as far as its prefix is known.
    #[must_use]
    pub fn announced_bytes(&self) -> usize {
        if self.prefix_len == PREFIX_LEN {
            self.body_len
        } else {
            0
        }
    }

    fn begin_body(&mut self) -> Result<(), FrameError> {
        let len = usize::try_from(u32::from_le_bytes(self.prefix)).unwrap_or(usize::MAX);
        prefix_of(len, self.len_max)?;
        self.body_len = len;
        Ok(())
    }

    /// Grows by doubling towards the announced length, never past it.
    fn reserve(&mut self, more: usize) {
        let held = self.body.len();
        if held + more > self.body.capacity() {
            let wanted = (held * 2).max(held + more).max(RESERVE_STEP).min(self.body_len);
            self.body.reserve_exact(wanted - held);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn stream_of(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            append_frame(&mut out, frame, usize::MAX).unwrap();
        }
        out
    }

    fn cut(stream: &[u8], sizes: impl IntoIterator<Item = usize>) -> Result<Vec<Vec<u8>>, FrameError> {
        let (mut deframer, mut frames, mut rest) = (Deframer::new(300_000), Vec::new(), stream);
        for size in sizes {
            let (head, tail) = rest.split_at(size.min(rest.len()));
            deframer.push(head, &mut frames)?;
            rest = tail;
        }
        deframer.push(rest, &mut frames)?;
        assert!(!deframer.is_inside_frame());
        Ok(frames)
    }

    #[test]
    fn finds_the_same_frames_wherever_the_reads_are_cut() {
        let lengths = [1_usize, 2, 5, 255, 256, 257, 70_000, 1, 300_000];
        let frames: Vec<Vec<u8>> = lengths
            .iter()
            .zip(1_u8..)
            .map(|(len, fill)| vec![fill; *len])
            .collect();
        let stream = stream_of(&frames);
        assert_eq!(cut(&stream, []).unwrap(), frames);
        for size in [1, 2, 3, 4, 5, 7, 1_200, 65_536] {
            assert_eq!(
                cut(&stream, std::iter::repeat_n(size, stream.len() / size)).unwrap(),
                frames
            );
        }
        // A fixed linear congruence: every run cuts at the same uneven places.
        let mut x = 42_usize;
        let uneven = std::iter::from_fn(|| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            Some((x >> 33) % 3_000)
        });
        assert_eq!(cut(&stream, uneven.take(1_000)).unwrap(), frames);
    }

    #[test]
    fn refuses_an_empty_and_an_oversized_frame_and_keeps_those_before() {
        let mut stream = stream_of(&[b"good".to_vec()]);
        stream.extend_from_slice(&300_001_u32.to_le_bytes());
        let (mut deframer, mut frames) = (Deframer::new(300_000), Vec::new());
        let refused = deframer.push(&stream, &mut frames);
        assert_eq!(
            refused,
            Err(FrameError::TooLarge {
                len: 300_001,
                len_max: 300_000
            })
        );
        assert_eq!(frames, [b"good".to_vec()]);
        assert_eq!(cut(&[0, 0, 0, 0], []), Err(FrameError::Empty));
        assert_eq!(append_frame(&mut stream, b"", 10), Err(FrameError::Empty));
    }

    #[test]
    fn an_announced_length_reserves_little() {
        let (mut deframer, mut frames) = (Deframer::new(1 << 30), Vec::new());
        deframer.push(&(1_u32 << 30).to_le_bytes(), &mut frames).unwrap();
        deframer.push(b"x", &mut frames).unwrap();
        assert!(deframer.body.capacity() <= RESERVE_STEP);
        assert!(deframer.is_inside_frame());
        assert_eq!(deframer.held_bytes(), 1);
    }
}
