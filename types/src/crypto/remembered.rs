//! Decompressed public keys: bounded, shared by every thread, and never waited for.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use curve25519_dalek::EdwardsPoint;
use std::sync::RwLock;

/// A table in which a key has two places. Whoever finds a place locked goes without: decompressing a key again
/// costs a few microseconds, waiting could cost more.
pub(super) struct Points(Box<[RwLock<Option<Box<Known>>>]>);

struct Known {
    public: [u8; 32],
    point: EdwardsPoint,
}

/// Most keys remembered, 208 bytes each: 13 MiB when all are in use.
const POINTS_MAX: usize = 1 << 16;

impl Default for Points {
    fn default() -> Self {
        let empty = (0..POINTS_MAX).map(|_| RwLock::new(None));
        Self(empty.collect::<Vec<_>>().into())
    }
}

impl Points {
    /// The point of a key, if it is remembered.
    pub(super) fn find(&self, public: &[u8; 32]) -> Option<EdwardsPoint> {
        places(public).into_iter().find_map(|place| {
            let known = self.0[place].try_read().ok()?;
            let known = known.as_ref()?;
            (known.public == *public).then_some(known.point)
        })
    }

    /// Remembers the point of a key: in its first place, unless only its second is free.
    pub(super) fn remember(&self, public: &[u8; 32], point: EdwardsPoint) {
        let [first, second] = places(public);
        let is_free = |place: usize| self.0[place].try_read().is_ok_and(|known| known.is_none());
        let place = if !is_free(first) && is_free(second) {
            second
        } else {
            first
        };
        if let Ok(mut known) = self.0[place].try_write() {
            *known = Some(Box::new(Known {
                public: *public,
                point,
            }));
        }
    }
}

/// A public key is as good as random already; who makes keys that share places slows down nobody but them.
fn places(public: &[u8; 32]) -> [usize; 2] {
    let place = |from: usize| {
        let bits = u16::from_le_bytes([public[from], public[from + 1]]);
        usize::from(bits) % POINTS_MAX
    };
    [place(0), place(8)]
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Points")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::ED25519_BASEPOINT_POINT as BASEPOINT;

    /// A key whose places are `first` and `second`.
    fn key(first: u16, second: u16, rest: u8) -> [u8; 32] {
        let mut public = [rest; 32];
        public[..2].copy_from_slice(&first.to_le_bytes());
        public[8..10].copy_from_slice(&second.to_le_bytes());
        public
    }

    #[test]
    fn a_key_is_found_at_either_place_and_pushed_out_at_its_first() {
        let points = Points::default();
        let [early, late, last] = [key(1, 2, 1), key(1, 3, 2), key(1, 3, 3)];
        assert_eq!(points.find(&early), None);
        points.remember(&early, BASEPOINT);
        points.remember(&late, BASEPOINT + BASEPOINT);
        assert_eq!(points.find(&early), Some(BASEPOINT));
        assert_eq!(points.find(&late), Some(BASEPOINT + BASEPOINT));
        points.remember(&last, BASEPOINT);
        assert_eq!(points.find(&last), Some(BASEPOINT));
        assert_eq!(points.find(&early), None, "its place is another's");
        assert_eq!(points.find(&late), Some(BASEPOINT + BASEPOINT));
    }

    #[test]
    fn a_place_that_is_locked_is_not_waited_for() {
        let points = Points::default();
        let public = key(7, 7, 1);
        points.remember(&public, BASEPOINT);
        let held = points.0[7].write();
        assert_eq!(points.find(&public), None);
        points.remember(&public, BASEPOINT);
        drop(held);
        assert_eq!(points.find(&public), Some(BASEPOINT));
    }
}
