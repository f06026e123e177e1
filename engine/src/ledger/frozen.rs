//! What a table held at one moment, kept item by item as the table changes, until it has been read.

use selfchain_types::codec;

/// The items of a [`super::dense::Dense`] that were changed since it was frozen, as they were then.
#[derive(Clone, Debug)]
pub(super) struct Frozen<T> {
    /// Items that there were.
    len: u32,
    /// Items before this one are wanted no longer.
    passed: u32,
    pages: Vec<Page<T>>,
    bytes: usize,
}

/// A run of items of which some were changed; empty until one is.
#[derive(Clone, Debug)]
struct Page<T> {
    /// For each item of the page: its place among those kept, + 1; 0 if it is not kept.
    places: Vec<u16>,
    items: Vec<T>,
}

impl<T> Page<T> {
    const EMPTY: Self = Self {
        places: Vec::new(),
        items: Vec::new(),
    };

    fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u16>() + self.items.capacity() * size_of::<T>()
    }
}

impl<T: Copy> Frozen<T> {
    /// Nothing has changed yet of `len` items.
    pub(super) fn new(len: u32) -> Self {
        let pages: Vec<Page<T>> = (0..codec::index(len.div_ceil(PAGE_LEN)))
            .map(|_| Page::EMPTY)
            .collect();
        Self {
            len,
            passed: 0,
            bytes: size_of::<Self>() + pages.capacity() * size_of::<Page<T>>(),
            pages,
        }
    }

    /// An item as it was, if it is kept.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let page = self.pages.get(codec::index(index / PAGE_LEN))?;
        let place = page.places.get(codec::index(index % PAGE_LEN))?;
        page.items.get(usize::from(place.checked_sub(1)?))
    }

    /// Keeps an item that is about to change, unless it is kept, is younger than the freeze, or is wanted no
    /// longer.
    pub(super) fn keep(&mut self, index: u32, item: T) {
        if index < self.passed || index >= self.len {
            return;
        }
        let page = &mut self.pages[codec::index(index / PAGE_LEN)];
        let before = page.bytes();
        if page.places.is_empty() {
            page.places = vec![0; codec::index(PAGE_LEN)];
        }
        let place = &mut page.places[codec::index(index % PAGE_LEN)];
        if *place != 0 {
            return;
        }
        if page.items.len() == page.items.capacity() {
            // Doubling to the end would leave half of many pages unused.
            let more = page.items.len().clamp(GROW_MIN, GROW_MAX);
            page.items.reserve_exact(more);
        }
        page.items.push(item);
        *place = u16::try_from(page.items.len()).expect("a page has fewer than 2^16 items");
        self.bytes += page.bytes() - before;
    }

    /// Drops the pages that end before `passed`.
    pub(super) fn release(&mut self, passed: u32) {
        let first = codec::index(self.passed / PAGE_LEN);
        self.passed = passed.max(self.passed).min(self.len);
        let end = if self.passed == self.len {
            self.pages.len()
        } else {
            codec::index(self.passed / PAGE_LEN)
        };
        for page in &mut self.pages[first.min(end)..end] {
            self.bytes -= page.bytes();
            *page = Page::EMPTY;
        }
        if self.passed == self.len {
            self.pages = Vec::new();
            self.bytes = size_of::<Self>();
        }
    }

    /// Bytes of memory that this takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Items of a page: what is read goes by pages.
const PAGE_LEN: u32 = 4_096;
/// Items that a page makes room for at first.
const GROW_MIN: usize = 4;
/// Items that a page makes room for at most at once.
const GROW_MAX: usize = 256;
