//! Decodes and hashes many frames in parallel, and refuses what needs no signature to be refused.

use rayon::prelude::*;
use selfchain_types::{Envelope, Hash, Refusal};

/// Frames that were decoded, in the order they came, each with its caller's tag or with its refusal.
#[derive(Debug)]
pub struct Decoded<T>(pub(super) Vec<(T, Result<Envelope, Refusal>)>);

impl<T: Send> Decoded<T> {
    /// Checks the frame of each and hashes its body; refuses those of another chain.
    pub fn new(frames: Vec<(Vec<u8>, T)>, chain_id: &Hash) -> Self {
        let decoded = frames
            .into_par_iter()
            .with_min_len(DECODE_SHARE_MIN)
            .map(|(bytes, tag)| (tag, decode(bytes, chain_id)));
        Self(decoded.collect())
    }

    /// Refuses every envelope for which `reason` gives one, before anything is spent on its signatures.
    ///
    /// A refusal here must be true whatever the signatures are: an envelope with forged ones has the
    /// transaction id of the honest one.
    pub fn refuse(&mut self, reason: impl Fn(&Envelope) -> Option<Refusal>) {
        for (_, decoded) in &mut self.0 {
            let refusal = decoded.as_ref().ok().and_then(&reason);
            if let Some(refusal) = refusal {
                *decoded = Err(refusal);
            }
        }
    }
}

/// Frames that one core decodes at a time: a short one takes a third of a microsecond, waking a core some.
const DECODE_SHARE_MIN: usize = 16;

fn decode(bytes: Vec<u8>, chain_id: &Hash) -> Result<Envelope, Refusal> {
    let envelope = Envelope::decode(bytes)?;
    if envelope.view().header().chain_id == *chain_id {
        Ok(envelope)
    } else {
        Err(Refusal::WrongChain)
    }
}
