//! A bounded memory of things that something may still happen to.

use super::random::{Random, index};

/// Holds at most `capacity` items; one more pushes a random one out, which is then simply never heard of again.
/// This is what keeps memory bounded however many events a plan has.
pub(super) struct Pool<T> {
    items: Vec<T>,
    capacity: usize,
}

impl<T> Pool<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { items: Vec::new(), capacity }
    }

    pub(super) fn put(&mut self, item: T, random: &mut Random) {
        if self.items.len() < self.capacity {
            self.items.push(item);
        } else {
            let at = index(random.below(self.items.len() as u64));
            self.items[at] = item;
        }
    }

    /// Takes a random item out if it is `ready`; one that isn't stays.
    pub(super) fn take(&mut self, random: &mut Random, ready: impl Fn(&T) -> bool) -> Option<T> {
        let at = index(random.below(self.items.len() as u64));
        let found = self.items.get(at).is_some_and(ready);
        found.then(|| self.items.swap_remove(at))
    }
}
