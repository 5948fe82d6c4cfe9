//! A list in chunks that copies share.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// Entries of a chunk, which a change copies.
const CHUNK: usize = 64;

/// A list. Entries have places as in a vector.
#[derive(Clone)]
pub struct List<T> {
    /// All but the last one are full, and none is empty.
    chunks: Vec<Arc<Vec<T>>>,
    length: usize,
}

/// The entries of a [`List`] in their order.
pub(super) type Iter<'l, T> = std::iter::FlatMap<
    std::slice::Iter<'l, Arc<Vec<T>>>,
    std::slice::Iter<'l, T>,
    fn(&'l Arc<Vec<T>>) -> std::slice::Iter<'l, T>,
>;

impl<T> List<T> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The entry at a place.
    #[inline]
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    /// All entries in their order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Clone> List<T> {
    /// Adds an entry at the end.
    pub fn push(&mut self, entry: T) {
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => Arc::make_mut(chunk).push(entry),
            None => self.chunks.push(Arc::new(vec![entry])),
        }
        self.length += 1;
    }

    /// Takes the last entry out.
    pub fn pop(&mut self) -> Option<T> {
        let entry = Arc::make_mut(self.chunks.last_mut()?).pop()?;
        self.length -= 1;
        if self.length.is_multiple_of(CHUNK) {
            self.chunks.pop();
        }
        Some(entry)
    }

    /// The entry at a place, to be changed.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        Arc::make_mut(self.chunks.get_mut(place / CHUNK).filter(|chunk| place % CHUNK < chunk.len())?)
            .get_mut(place % CHUNK)
    }

    /// Takes the entry at a place out. The last one takes its place.
    pub fn swap_remove(&mut self, place: usize) -> Option<T> {
        if place >= self.length {
            return None;
        }
        let last = self.pop()?;
        match self.get_mut(place) {
            Some(entry) => Some(std::mem::replace(entry, last)),
            None => Some(last),
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List { chunks: Vec::new(), length: 0 }
    }
}

impl<T: Clone> Extend<T> for List<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl<T: Clone> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut list = List::default();
        list.extend(entries);
        list
    }
}

impl<'l, T> IntoIterator for &'l List<T> {
    type Item = &'l T;
    type IntoIter = Iter<'l, T>;

    fn into_iter(self) -> Iter<'l, T> {
        self.iter()
    }
}

impl<T> Index<usize> for List<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        &self.chunks[place / CHUNK][place % CHUNK]
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<Vec<T>>, &Arc<Vec<T>>)| Arc::ptr_eq(one, other) || one == other;
        self.length == other.length && self.chunks.iter().zip(&other.chunks).all(same)
    }
}

impl<T: Eq> Eq for List<T> {}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(u16),
        Pop,
        Set(usize, u16),
        SwapRemove(usize),
        Keep,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<u16>().prop_map(Step::Push),
            1 => Just(Step::Pop),
            1 => (0usize..400, any::<u16>()).prop_map(|(place, entry)| Step::Set(place, entry)),
            1 => (0usize..400).prop_map(Step::SwapRemove),
            1 => Just(Step::Keep),
        ]
    }

    proptest! {
        /// And what was kept before does not change.
        #[test]
        fn a_list_is_a_vector(steps in prop::collection::vec(step(), 0..400)) {
            let (mut list, mut vector, mut kept) = (List::default(), Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push(entry) => {
                        list.push(entry);
                        vector.push(entry);
                    }
                    Step::Pop => prop_assert_eq!(list.pop(), vector.pop()),
                    Step::Set(place, entry) => match (list.get_mut(place), vector.get_mut(place)) {
                        (Some(one), Some(other)) => (*one, *other) = (entry, entry),
                        (one, other) => prop_assert!(one.is_none() && other.is_none()),
                    },
                    Step::SwapRemove(place) => {
                        let removed = (place < vector.len()).then(|| vector.swap_remove(place));
                        prop_assert_eq!(list.swap_remove(place), removed);
                    }
                    Step::Keep => kept.push((list.clone(), vector.clone())),
                }
                prop_assert_eq!((list.len(), list.is_empty()), (vector.len(), vector.is_empty()));
            }
            kept.push((list, vector));
            for (list, vector) in kept {
                prop_assert!(list.iter().eq(&vector));
                prop_assert_eq!(&list, &vector.iter().copied().collect());
                for (place, entry) in vector.iter().enumerate() {
                    prop_assert_eq!(list.get(place), Some(entry));
                    prop_assert_eq!(&list[place], entry);
                }
                prop_assert_eq!(list.get(vector.len()), None);
            }
        }
    }
}
