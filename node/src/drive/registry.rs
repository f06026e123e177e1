//! The registry as intake sees it: public keys that blocks have registered, swapped in after each.

use selfchain_types::KeyId;
use selfchain_types::crypto::PublicKey;
use selfchain_types::envelope::KeyLookup;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Registered public keys. Readers take the whole table once a batch; registering a key is rare and copies
/// nothing but the newest part.
#[derive(Debug, Default)]
pub struct Registry {
    keys: RwLock<Arc<Keys>>,
}

/// A table of keys that does not change.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    settled: Arc<HashMap<KeyId, PublicKey>>,
    recent: HashMap<KeyId, PublicKey>,
}

impl KeyLookup for Keys {
    fn public_key(&self, id: &KeyId) -> Option<&PublicKey> {
        self.recent.get(id).or_else(|| self.settled.get(id))
    }
}

impl Registry {
    /// The keys as of now.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds keys.
    pub fn register(&self, registered: impl IntoIterator<Item = PublicKey>) {
        let mut added = registered.into_iter().peekable();
        if added.peek().is_none() {
            return;
        }
        let mut keys = Keys::clone(&self.keys());
        keys.recent.extend(added.map(|key| (key.id(), key)));
        if keys.recent.len() > RECENT_MAX.max(keys.settled.len() / 8) {
            Arc::make_mut(&mut keys.settled).extend(keys.recent.drain());
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

/// Recent keys beyond this, and beyond an eighth of the settled ones, are settled.
const RECENT_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::crypto::SigningKey;

    #[test]
    fn every_registered_key_is_found_before_and_after_settling() {
        let registry = Registry::default();
        let keys: Vec<PublicKey> = (0..3_000u32)
            .map(|seed| {
                let mut bytes = [0; 32];
                bytes[..4].copy_from_slice(&seed.to_le_bytes());
                SigningKey::from_seed(&bytes).public().clone()
            })
            .collect();
        keys.chunks(100).for_each(|some| registry.register(some.to_vec()));
        let table = registry.keys();
        assert!(keys.iter().all(|key| table.public_key(&key.id()) == Some(key)));
    }
}
