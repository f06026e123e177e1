//! Who signed an envelope, as the ledger numbers them: resolved once for all of its operations.

use selfchain_types::envelope::{EnvelopeView, SIGNERS_MAX, Signer};
use selfchain_types::{Height, KeyId};

/// An envelope's signers and what else its operations share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    keys: [u32; SIGNERS_MAX],
    signers: &'a [Signer],
    pub(super) attachments: &'a [u8],
    pub(super) height: Height,
}

impl<'a> Signed<'a> {
    /// `number` gives each signer's dense number.
    pub(super) fn new(
        envelope: &EnvelopeView<'a>,
        height: Height,
        mut number: impl FnMut(&Signer) -> u32,
    ) -> Self {
        let signers = envelope.signers();
        let mut keys = [0; SIGNERS_MAX];
        for (key, signer) in keys.iter_mut().zip(signers) {
            *key = number(signer);
        }
        Self {
            keys,
            signers,
            attachments: envelope.attachments(),
            height,
        }
    }

    /// The signers' numbers, in order.
    pub(super) fn keys(&self) -> &[u32] {
        &self.keys[..self.signers.len()]
    }

    /// Whether this key signed.
    #[inline]
    pub(super) fn has(&self, key: u32) -> bool {
        self.keys().contains(&key)
    }

    /// Whether the key with this id signed.
    pub(super) fn has_id(&self, id: &KeyId) -> bool {
        self.signers.iter().any(|signer| signer.key == *id)
    }

    /// The first signer.
    pub(super) fn first(&self) -> KeyId {
        self.signers[0].key
    }
}
