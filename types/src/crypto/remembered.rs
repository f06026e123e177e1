//! What is remembered of keys that signed well: bounded, shared by every thread, and never waited for.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use std::sync::RwLock;

/// A table in which a key has two places. Whoever finds a place locked goes without: working it out again costs a few
/// microseconds, waiting could cost more.
pub(super) struct Remembered<V>(Box<[Place<V>]>);

type Place<V> = RwLock<Option<Box<Known<V>>>>;

struct Known<V> {
    key: [u8; 32],
    value: V,
}

impl<V> Remembered<V> {
    /// An empty table of so many places, at most 65,536.
    pub(super) fn new(places: usize) -> Self {
        let empty = (0..places).map(|_| RwLock::new(None));
        Self(empty.collect::<Vec<_>>().into())
    }

    /// What `read` makes of what is remembered of a key, if anything is.
    pub(super) fn find<R>(&self, key: &[u8; 32], read: impl Fn(&V) -> R) -> Option<R> {
        self.places(key).into_iter().find_map(|place| {
            let known = self.0[place].try_read().ok()?;
            let known = known.as_ref()?;
            (known.key == *key).then(|| read(&known.value))
        })
    }

    /// Remembers something of a key: in its first place, unless only its second is free.
    pub(super) fn remember(&self, key: &[u8; 32], value: V) {
        let [first, second] = self.places(key);
        let is_free = |place: usize| self.0[place].try_read().is_ok_and(|known| known.is_none());
        let place = if !is_free(first) && is_free(second) {
            second
        } else {
            first
        };
        if let Ok(mut known) = self.0[place].try_write() {
            *known = Some(Box::new(Known { key: *key, value }));
        }
    }

    /// A key is as good as random already; who makes keys that share places slows down nobody but them.
    fn places(&self, key: &[u8; 32]) -> [usize; 2] {
        let place = |from: usize| {
            let bits = u16::from_le_bytes([key[from], key[from + 1]]);
            usize::from(bits) % self.0.len()
        };
        [place(0), place(8)]
    }
}

impl<V> fmt::Debug for Remembered<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key whose places are `first` and `second`.
    fn key(first: u16, second: u16, rest: u8) -> [u8; 32] {
        let mut public = [rest; 32];
        public[..2].copy_from_slice(&first.to_le_bytes());
        public[8..10].copy_from_slice(&second.to_le_bytes());
        public
    }

    #[test]
    fn a_key_is_found_at_either_place_and_pushed_out_at_its_first() {
        let table = Remembered::new(1 << 16);
        let [early, late, last] = [key(1, 2, 1), key(1, 3, 2), key(1, 3, 3)];
        assert_eq!(table.find(&early, u8::clone), None);
        table.remember(&early, 1);
        table.remember(&late, 2);
        assert_eq!(table.find(&early, u8::clone), Some(1));
        assert_eq!(table.find(&late, u8::clone), Some(2));
        table.remember(&last, 1);
        assert_eq!(table.find(&last, u8::clone), Some(1));
        assert_eq!(table.find(&early, u8::clone), None, "its place is another's");
        assert_eq!(table.find(&late, u8::clone), Some(2));
    }

    #[test]
    fn a_place_that_is_locked_is_not_waited_for() {
        let table = Remembered::new(1 << 16);
        let public = key(7, 7, 1);
        table.remember(&public, 1);
        let held = table.0[7].write();
        assert_eq!(table.find(&public, u8::clone), None);
        table.remember(&public, 1);
        drop(held);
        assert_eq!(table.find(&public, u8::clone), Some(1));
    }
}
