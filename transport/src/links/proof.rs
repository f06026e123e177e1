//! Possession of a whole hybrid key, proved on one connection: TLS proves its Ed25519 half, the hello the rest.
//!
//! Each end signs, with the whole key, what both know of this connection and of no other: a secret that only its ends
//! can derive (RFC 8446 §7.5), and the keys that both proved in the handshake. So a signature that was made for another
//! connection, by whoever stands between the two, proves nothing here.

use quinn::Connection;
use selfchain_types::crypto::{PublicKey, SigningKey};
use selfchain_types::{Hash, KeyId, hash};
use zeroize::Zeroizing;

use super::LinkClose;
use super::control::{Hello, HelloId, Proof};

/// What the secret is derived for.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-selfchain-bind-v1";

/// The Ed25519 keys that both ends of a connection proved in its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) dialling: [u8; 32],
    pub(super) dialled: [u8; 32],
}

/// One connection, as its two ends know it.
pub(super) struct Channel {
    secret: Zeroizing<[u8; 32]>,
    ends: Ends,
}

impl Channel {
    /// That of a connection whose handshake is through.
    pub(super) fn of(quic: &Connection, ends: Ends) -> Result<Self, LinkClose> {
        let mut secret = Zeroizing::new([0; 32]);
        quic.export_keying_material(secret.as_mut(), EXPORTER_LABEL, &[])
            .map_err(|_| LinkClose::ProtocolError)?;
        Ok(Self { secret, ends })
    }

    /// The hello to say with this key: with a proof, where TLS has proved a half of it only.
    pub(super) fn hello(&self, chain: [u8; 32], id: HelloId, key: &SigningKey) -> Hello {
        let public = key.public();
        let proof = public.scheme().is_hybrid().then(|| Proof {
            key: public.id(),
            signature: key.sign(self.digest(&chain, id, &public.id()).as_bytes()),
        });
        Hello { chain, id, proof }
    }

    /// Whether `hello` proves that whoever said it holds the whole of `key`, of which TLS has proved the Ed25519 half.
    pub(super) fn check(&self, hello: &Hello, key: &PublicKey) -> Result<(), LinkClose> {
        match (&hello.proof, key.scheme().is_hybrid()) {
            (None, false) => Ok(()),
            (None, true) => Err(LinkClose::ProofMissing),
            (Some(_), false) => Err(LinkClose::ProofInvalid),
            (Some(proof), true) => {
                let digest = self.digest(&hello.chain, hello.id, &proof.key);
                let message = digest.as_bytes();
                let is_good = proof.key == key.id() && key.verify(message, &proof.signature).is_ok();
                is_good.then_some(()).ok_or(LinkClose::ProofInvalid)
            }
        }
    }

    /// `H(selfchain/link/v1; secret ‖ dialling ‖ dialled ‖ chain ‖ run u64 ‖ sequence u64 ‖ key_id)`.
    fn digest(&self, chain: &[u8; 32], id: HelloId, key: &KeyId) -> Hash {
        hash::LINK.hash_parts(&[
            self.secret.as_slice(),
            &self.ends.dialling,
            &self.ends.dialled,
            chain,
            &id.run.to_le_bytes(),
            &id.sequence.to_le_bytes(),
            key.0.as_bytes(),
        ])
    }
}
