//! The control stream: the hello with which each end begins, then notices about frames that were skipped.

use quinn::{ReadExactError, RecvStream, SendStream};
use selfchain_types::crypto::Scheme;
use selfchain_types::{Hash, KeyId};

use super::{Lane, LinkClose};
use crate::framing::{PREFIX_LEN, prefix_of};

/// Largest control frame but for a hello, in bytes.
pub(super) const CONTROL_BYTES_MAX: usize = 64;

/// Largest hello, in bytes: that of a validator that signs with Ed25519 and ML-DSA-65.
pub(super) const HELLO_BYTES_MAX: usize = 49 + 32 + Scheme::Ed25519MlDsa65.signature_len();

const KIND_HELLO: u8 = 1;
const KIND_REFUSAL: u8 = 2;
const KIND_PROVED_HELLO: u8 = 3;

/// Which hello of an end this is. A later one of the same run has a greater `sequence`; another run of the same
/// node has another `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HelloId {
    pub(super) run: u64,
    pub(super) sequence: u64,
}

/// The first frame of each end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) chain: [u8; 32],
    pub(super) id: HelloId,
    /// There where the key is a hybrid.
    pub(super) proof: Option<Proof>,
}

/// That an end holds a whole hybrid key: [`super::proof::Channel`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) key: KeyId,
    pub(super) signature: Vec<u8>,
}

/// Frames of one lane were skipped because the rate was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) lane: Lane,
    /// After this the next frame would have been let in. At least 1.
    pub(super) retry_after_ms: u32,
}

/// A frame of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    Hello(Hello),
    Refusal(Refusal),
}

impl Control {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CONTROL_BYTES_MAX);
        match self {
            Self::Hello(hello) => {
                let kind = hello.proof.as_ref().map_or(KIND_HELLO, |_| KIND_PROVED_HELLO);
                bytes.push(kind);
                bytes.extend_from_slice(&hello.chain);
                bytes.extend_from_slice(&hello.id.run.to_le_bytes());
                bytes.extend_from_slice(&hello.id.sequence.to_le_bytes());
                if let Some(proof) = &hello.proof {
                    bytes.extend_from_slice(proof.key.0.as_bytes());
                    bytes.extend_from_slice(&proof.signature);
                }
            }
            Self::Refusal(refusal) => {
                bytes.push(KIND_REFUSAL);
                bytes.push(refusal.lane.code());
                bytes.extend_from_slice(&refusal.retry_after_ms.to_le_bytes());
            }
        }
        bytes
    }

    /// `None` for bytes that are no control frame of this version, to the last byte.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            KIND_HELLO => {
                let (hello, rest) = split_hello(rest)?;
                rest.is_empty().then_some(Self::Hello(hello))
            }
            KIND_PROVED_HELLO => {
                let (hello, rest) = split_hello(rest)?;
                let (key, signature) = rest.split_first_chunk::<32>()?;
                let proof = Proof {
                    key: KeyId(Hash(*key)),
                    signature: signature.to_vec(),
                };
                let fits = (1..=Scheme::Ed25519MlDsa65.signature_len()).contains(&signature.len());
                fits.then_some(Self::Hello(Hello {
                    proof: Some(proof),
                    ..hello
                }))
            }
            KIND_REFUSAL => {
                let (lane, rest) = rest.split_first()?;
                let retry_after_ms = u32::from_le_bytes(rest.try_into().ok()?);
                (retry_after_ms > 0).then_some(Self::Refusal(Refusal {
                    lane: Lane::from_code(*lane)?,
                    retry_after_ms,
                }))
            }
            _ => None,
        }
    }
}

/// What every hello begins with, after its kind.
fn split_hello(bytes: &[u8]) -> Option<(Hello, &[u8])> {
    let (chain, rest) = bytes.split_first_chunk::<32>()?;
    let (run, rest) = rest.split_first_chunk::<8>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let hello = Hello {
        chain: *chain,
        id: HelloId {
            run: u64::from_le_bytes(*run),
            sequence: u64::from_le_bytes(*sequence),
        },
        proof: None,
    };
    Some((hello, rest))
}

/// Reads one control frame after the hello. `None`: the other end has nothing more to say on this stream.
pub(super) async fn read(recv: &mut RecvStream) -> Result<Option<Control>, LinkClose> {
    read_within::<CONTROL_BYTES_MAX>(recv).await
}

async fn read_within<const BYTES_MAX: usize>(recv: &mut RecvStream) -> Result<Option<Control>, LinkClose> {
    let mut prefix = [0; PREFIX_LEN];
    match recv.read_exact(&mut prefix).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(ReadExactError::FinishedEarly(_)) => return Err(LinkClose::ControlInvalid),
        Err(ReadExactError::ReadError(_)) => return Err(LinkClose::PeerGone),
    }
    let len = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    let mut frame = [0; BYTES_MAX];
    let frame = frame.get_mut(..len).ok_or(LinkClose::ControlInvalid)?;
    match recv.read_exact(frame).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(_)) => return Err(LinkClose::ControlInvalid),
        Err(ReadExactError::ReadError(_)) => return Err(LinkClose::PeerGone),
    }
    Control::decode(frame).map(Some).ok_or(LinkClose::ControlInvalid)
}

/// Reads the hello, which must be the first.
pub(super) async fn read_hello(recv: &mut RecvStream) -> Result<Hello, LinkClose> {
    match read_within::<HELLO_BYTES_MAX>(recv).await? {
        Some(Control::Hello(hello)) => Ok(hello),
        Some(Control::Refusal(_)) | None => Err(LinkClose::ControlInvalid),
    }
}

/// Writes one control frame.
pub(super) async fn write(send: &mut SendStream, control: &Control) -> Result<(), LinkClose> {
    let frame = control.encode();
    let prefix = prefix_of(frame.len(), HELLO_BYTES_MAX).map_err(|_| LinkClose::ControlInvalid)?;
    let bytes = [prefix.as_slice(), &frame].concat();
    send.write_all(&bytes).await.map_err(|_| LinkClose::PeerGone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(proof: Option<Proof>) -> Control {
        Control::Hello(Hello {
            chain: [7; 32],
            id: HelloId {
                run: 0x0102_0304_0506_0708,
                sequence: 9,
            },
            proof,
        })
    }

    fn proof(len: usize) -> Option<Proof> {
        Some(Proof {
            key: KeyId(Hash([5; 32])),
            signature: vec![6; len],
        })
    }

    fn frames() -> [Control; 2] {
        [
            hello(None),
            Control::Refusal(Refusal {
                lane: Lane::Bodies,
                retry_after_ms: 0x0a0b_0c0d,
            }),
        ]
    }

    #[test]
    fn frames_have_these_bytes() {
        let [hello, refusal] = frames();
        let want = [
            [1].as_slice(),
            &[7; 32],
            &[8, 7, 6, 5, 4, 3, 2, 1],
            &[9, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(hello.encode(), want.concat());
        assert_eq!(refusal.encode(), [2, 2, 0x0d, 0x0c, 0x0b, 0x0a]);
    }

    #[test]
    fn a_hello_with_a_proof_has_these_bytes_and_at_most_so_many() {
        let [plain, _] = frames();
        let proved = hello(proof(2)).encode();
        let want = [&[3], &plain.encode()[1..], &[5; 32], &[6, 6]].concat();
        assert_eq!(proved, want);
        let most = Scheme::Ed25519MlDsa65.signature_len();
        for len in [1, most] {
            let bytes = hello(proof(len)).encode();
            assert!(bytes.len() <= HELLO_BYTES_MAX);
            assert_eq!(Control::decode(&bytes), Some(hello(proof(len))));
        }
        for len in [0, most + 1] {
            assert_eq!(Control::decode(&hello(proof(len)).encode()), None, "{len}");
        }
        assert_eq!(Control::decode(&proved[..60]), None);
    }

    #[test]
    fn every_frame_reads_back_and_no_other_length_or_code_does() {
        for frame in frames() {
            let bytes = frame.encode();
            assert!(bytes.len() <= CONTROL_BYTES_MAX);
            assert_eq!(Control::decode(&bytes), Some(frame));
            for len in 0..bytes.len() {
                assert_eq!(Control::decode(&bytes[..len]), None);
            }
            assert_eq!(Control::decode(&[bytes.as_slice(), &[0]].concat()), None);
        }
        for bytes in [
            [0, 1, 1, 0, 0, 0],
            [2, 0, 1, 0, 0, 0],
            [2, 5, 1, 0, 0, 0],
            [2, 1, 0, 0, 0, 0],
        ] {
            assert_eq!(Control::decode(&bytes), None, "{bytes:?}");
        }
    }
}
