//! Doubly linked lists through the slots: a transaction joins and leaves each in constant time.

use super::entry::{NONE, Slot, Slots};

/// A slot's neighbours in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hooks {
    previous: u32,
    pub(super) next: u32,
}

impl Hooks {
    pub(super) const LOOSE: Self = Self {
        previous: NONE,
        next: NONE,
    };
}

/// Which of a slot's hooks a list goes through.
pub(super) type Through<T> = fn(&mut Slot<T>) -> &mut Hooks;

pub(super) fn order<T>(slot: &mut Slot<T>) -> &mut Hooks {
    &mut slot.order
}

pub(super) fn deadline<T>(slot: &mut Slot<T>) -> &mut Hooks {
    &mut slot.deadline
}

/// The ends of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    pub(super) fn push_last<T>(&mut self, slots: &mut Slots<T>, through: Through<T>, at: u32) {
        *through(&mut slots[at]) = Hooks {
            previous: self.last,
            next: NONE,
        };
        match self.last {
            NONE => self.first = at,
            last => through(&mut slots[last]).next = at,
        }
        self.last = at;
    }

    pub(super) fn push_first<T>(&mut self, slots: &mut Slots<T>, through: Through<T>, at: u32) {
        *through(&mut slots[at]) = Hooks {
            previous: NONE,
            next: self.first,
        };
        match self.first {
            NONE => self.last = at,
            first => through(&mut slots[first]).previous = at,
        }
        self.first = at;
    }

    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, through: Through<T>, at: u32) {
        let Hooks { previous, next } = core::mem::replace(through(&mut slots[at]), Hooks::LOOSE);
        match previous {
            NONE => self.first = next,
            previous => through(&mut slots[previous]).next = next,
        }
        match next {
            NONE => self.last = previous,
            next => through(&mut slots[next]).previous = previous,
        }
    }
}
