//! Lets a model decide on a running chain: the chain's policy, the model, and blocks until its height is reached.

use crate::client::{Client, ClientError};
use selfchain_types::crypto::SigningKey;
use selfchain_types::{AccountId, Hash, Height, Kind, Operation, Outcome, Policy};
use thiserror::Error;

/// Why no model decides.
#[derive(Debug, Error)]
pub enum DecideError {
    /// A call to the node failed, or it refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The ledger refused an operation.
    #[error("the ledger refused to let a model decide: {0}")]
    Refused(Outcome),
}

/// Sets the chain's policy and lets `model` decide from the next block on, as the chain's authority. Its operations
/// are at `time_ns` where operations bring their own time; there it must be 0 otherwise.
///
/// # Errors
/// [`DecideError`].
pub fn let_model_decide(
    client: &Client,
    authority: SigningKey,
    lane: u32,
    policy: &Policy,
    model: Hash,
    time_ns: u64,
) -> Result<(), DecideError> {
    let signer = client.signer(authority, lane)?;
    let from = Height(client.status()?.tip.0 + MODEL_AFTER);
    let commit = |mut operation: Operation| {
        if operation.kind() != Some(Kind::SetModel) {
            operation.effective_ns = time_ns.into();
        }
        let committed = signer.commit(vec![operation])?;
        match committed.refused.first() {
            Some((_, outcome, _)) => Err(DecideError::Refused(*outcome)),
            None => Ok(committed.height),
        }
    };
    commit(Operation::set_policy(1, AccountId::NONE, policy))?;
    let mut height = commit(Operation::set_model(1, model, from))?;
    while height.next() < from {
        height = commit(Operation::anchor(1, Hash::ZERO))?;
    }
    Ok(())
}

/// Blocks until the model decides: enough for its operation to be committed before.
const MODEL_AFTER: u64 = 16;
