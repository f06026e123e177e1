//! Fixed records in slots that are used again, last freed first: the order is part of the state.

use super::dense::Dense;
use core::ops::Index;

/// A record that can say "nobody is here".
pub(super) trait Slot: Copy {
    /// An empty slot; `next` is the one freed before it, + 1, or 0.
    fn vacant(next: u32) -> Self;
    /// What [`Slot::vacant`] was given; `None` for a record in use.
    fn next_vacant(&self) -> Option<u32>;
}

/// Slots, and the list of the free ones.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    slots: Dense<T>,
    /// Slot freed last, + 1; 0 when none is free.
    free_head: u32,
    free_len: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Dense::default(),
            free_head: 0,
            free_len: 0,
        }
    }
}

/// Where a record went, as [`Slab::undo_insert`] wants it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) slot: u32,
    appended: bool,
}

impl<T: Slot> Slab<T> {
    /// Slots, free ones included.
    pub(super) fn len(&self) -> u32 {
        self.slots.len()
    }

    /// Records in use.
    pub(super) fn used(&self) -> u32 {
        self.slots.len() - self.free_len
    }

    /// `(head, length)` of the list of free slots.
    pub(super) fn free(&self) -> (u32, u32) {
        (self.free_head, self.free_len)
    }

    /// The slots, for whoever freezes and reads them.
    pub(super) fn slots(&self) -> &Dense<T> {
        &self.slots
    }

    /// As [`Self::slots`].
    pub(super) fn slots_mut(&mut self) -> &mut Dense<T> {
        &mut self.slots
    }

    pub(super) fn insert(&mut self, record: T) -> Placed {
        let Some(slot) = self.free_head.checked_sub(1) else {
            let slot = self.slots.push(record);
            return Placed { slot, appended: true };
        };
        self.take_vacant(slot);
        self.slots[slot] = record;
        Placed {
            slot,
            appended: false,
        }
    }

    /// Replaces a record in use.
    pub(super) fn set(&mut self, slot: u32, record: T) {
        self.slots[slot] = record;
    }

    pub(super) fn remove(&mut self, slot: u32) -> T {
        let record = self.slots[slot];
        self.slots[slot] = T::vacant(self.free_head);
        self.free_head = slot + 1;
        self.free_len += 1;
        record
    }

    /// Undoes the last change, an insert.
    pub(super) fn undo_insert(&mut self, placed: Placed) {
        if placed.appended {
            self.slots.pop();
        } else {
            self.remove(placed.slot);
        }
    }

    /// Undoes the last change, a removal of `record`.
    pub(super) fn undo_remove(&mut self, slot: u32, record: T) {
        self.take_vacant(slot);
        self.slots[slot] = record;
    }

    fn take_vacant(&mut self, slot: u32) {
        self.free_head = self.slots[slot]
            .next_vacant()
            .expect("the list of free slots holds free slots");
        self.free_len -= 1;
    }

    /// A slab of these slots whose list of free ones starts at `free_head`; `None` unless that list holds
    /// every free slot once.
    pub(super) fn restore(slots: Dense<T>, free_head: u32, free_len: u32) -> Option<Self> {
        let vacant = slots.iter().filter(|slot| slot.next_vacant().is_some()).count();
        let (mut at, mut steps) = (free_head, 0);
        while let Some(slot) = at.checked_sub(1) {
            at = slots.get(slot)?.next_vacant()?;
            steps += 1;
            if steps > free_len {
                return None;
            }
        }
        let is_whole = steps == free_len && usize::try_from(free_len) == Ok(vacant);
        is_whole.then_some(Self {
            slots,
            free_head,
            free_len,
        })
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, slot: u32) -> &T {
        &self.slots[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Cell {
        Used(u32),
        Free(u32),
    }

    impl Slot for Cell {
        fn vacant(next: u32) -> Self {
            Self::Free(next)
        }
        fn next_vacant(&self) -> Option<u32> {
            match self {
                Self::Used(_) => None,
                Self::Free(next) => Some(*next),
            }
        }
    }

    fn picture(slab: &Slab<Cell>) -> (Vec<Cell>, (u32, u32)) {
        (slab.slots().iter().copied().collect(), slab.free())
    }

    #[test]
    fn every_change_can_be_undone_exactly() {
        let mut slab = Slab::default();
        (0..5).for_each(|at| {
            slab.insert(Cell::Used(at));
        });
        slab.remove(1);
        slab.remove(3);
        let before = picture(&slab);
        let reused = slab.insert(Cell::Used(10));
        let removed = slab.remove(0);
        let again = slab.insert(Cell::Used(11));
        let second = slab.insert(Cell::Used(12));
        let appended = slab.insert(Cell::Used(13));
        assert_eq!(
            (reused.slot, again.slot, second.slot, appended.slot),
            (3, 0, 1, 5)
        );
        slab.undo_insert(appended);
        slab.undo_insert(second);
        slab.undo_insert(again);
        slab.undo_remove(0, removed);
        slab.undo_insert(reused);
        assert_eq!(picture(&slab), before);
    }

    #[test]
    fn refuses_a_list_that_is_not_whole() {
        let slots = |cells: &[Cell]| {
            let mut dense = Dense::default();
            cells.iter().for_each(|cell| {
                dense.push(*cell);
            });
            dense
        };
        let good = [Cell::Free(0), Cell::Used(1), Cell::Free(1)];
        assert!(Slab::restore(slots(&good), 3, 2).is_some());
        assert!(
            Slab::restore(slots(&good), 1, 1).is_none(),
            "a free slot is not listed"
        );
        assert!(
            Slab::restore(slots(&good), 2, 1).is_none(),
            "a used slot is listed"
        );
        assert!(
            Slab::restore(slots(&[Cell::Free(1)]), 1, 1).is_none(),
            "the list is a circle"
        );
        assert!(
            Slab::restore(slots(&[Cell::Free(9)]), 1, 1).is_none(),
            "it leaves the slab"
        );
    }
}
