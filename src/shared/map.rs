//! A hash map in shards that copies share.

use std::array;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// Shards of a map, one of which a change copies.
const SHARDS: usize = 256;
/// Odd multiplier: mixes keys that differ in few bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A key that says in which shard it is. Whoever chooses keys that are all in one shard makes its changes cost more, and
/// no lookup.
pub trait ShardKey {
    /// A number that differs in some bit for most keys.
    fn shard_bits(&self) -> u64;
}

/// A number for [`ShardKey`] made of bytes.
#[must_use]
pub fn bits_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(MULTIPLIER))
}

/// A map.
#[derive(Clone)]
pub struct ShardMap<K, V, S> {
    shards: [Arc<HashMap<K, V, S>>; SHARDS],
    length: usize,
}

#[inline]
fn shard<K: ShardKey>(key: &K) -> usize {
    (key.shard_bits().wrapping_mul(MULTIPLIER) >> 56) as usize
}

impl<K, V, S: Clone> ShardMap<K, V, S> {
    /// An empty map. The hasher decides the positions within a shard.
    #[must_use]
    pub fn with_hasher(hasher: S) -> Self {
        let empty = Arc::new(HashMap::with_hasher(hasher));
        ShardMap { shards: array::from_fn(|_| empty.clone()), length: 0 }
    }

    /// The hasher.
    #[must_use]
    pub fn hasher(&self) -> &S {
        self.shards[0].hasher()
    }
}

impl<K, V, S> ShardMap<K, V, S> {
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

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }
}

impl<K: ShardKey + Hash + Eq, V, S: BuildHasher> ShardMap<K, V, S> {
    /// The value of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.shards[shard(key)].get(key)
    }

    /// Whether there is a value of a key.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The keys that have another value than in `before`, or that only one of both has. It looks only at what the two do
    /// not share.
    pub fn changed<'m>(&'m self, before: &'m Self) -> impl Iterator<Item = &'m K>
    where
        V: PartialEq,
    {
        let apart = self.shards.iter().zip(&before.shards).filter(|(now, before)| !Arc::ptr_eq(now, before));
        apart.flat_map(|(now, before)| {
            let new = now.iter().filter(|(key, value)| before.get(*key) != Some(*value));
            let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
            new.chain(gone).map(|(key, _)| key)
        })
    }
}

impl<K: ShardKey + Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> ShardMap<K, V, S> {
    /// Sets the value of a key. Gives the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = Arc::make_mut(&mut self.shards[shard(&key)]).insert(key, value);
        self.length += usize::from(before.is_none());
        before
    }

    /// Takes a key out. Gives its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let shard = &mut self.shards[shard(key)];
        if !shard.contains_key(key) {
            return None;
        }
        self.length -= 1;
        Arc::make_mut(shard).remove(key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let shard = &mut self.shards[shard(key)];
        if shard.contains_key(key) { Arc::make_mut(shard).get_mut(key) } else { None }
    }

    /// The value of a key, to be changed; the default where there was none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let shard = &mut self.shards[shard(&key)];
        self.length += usize::from(!shard.contains_key(&key));
        Arc::make_mut(shard).entry(key).or_default()
    }
}

impl<K, V, S: Clone + Default> Default for ShardMap<K, V, S> {
    fn default() -> Self {
        ShardMap::with_hasher(S::default())
    }
}

impl<K, V, S> Extend<(K, V)> for ShardMap<K, V, S>
where
    K: ShardKey + Hash + Eq + Clone,
    V: Clone,
    S: BuildHasher + Clone,
{
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(key, value)| _ = self.insert(key, value));
    }
}

impl<K, V, S> FromIterator<(K, V)> for ShardMap<K, V, S>
where
    K: ShardKey + Hash + Eq + Clone,
    V: Clone,
    S: BuildHasher + Clone + Default,
{
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = ShardMap::default();
        map.extend(entries);
        map
    }
}

impl<K: Hash + Eq, V: PartialEq, S: BuildHasher> PartialEq for ShardMap<K, V, S> {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.shards.iter().zip(&other.shards);
        self.length == other.length && pairs.all(|(one, other)| Arc::ptr_eq(one, other) || one == other)
    }
}

impl<K: Hash + Eq, V: Eq, S: BuildHasher> Eq for ShardMap<K, V, S> {}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for ShardMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::hash_map::RandomState;
    use std::collections::{BTreeMap, BTreeSet};

    impl ShardKey for u16 {
        fn shard_bits(&self) -> u64 {
            // Many keys are in one shard.
            u64::from(*self / 100)
        }
    }

    type Numbers = ShardMap<u16, u32, RandomState>;

    fn sorted(map: &Numbers) -> BTreeMap<u16, u32> {
        map.iter().map(|(key, value)| (*key, *value)).collect()
    }

    proptest! {
        /// What was kept before does not change, and the changes since then are told.
        #[test]
        fn a_map_is_a_map(steps in prop::collection::vec((0u8..5, 0u16..300, 0u32..4), 0..300)) {
            let (mut map, mut model, mut kept) = (Numbers::default(), BTreeMap::new(), Vec::new());
            for (step, key, value) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    2 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    3 => {
                        *map.or_default(key) += 1;
                        *model.entry(key).or_default() += 1;
                        if let Some(value) = map.get_mut(&(key + 1)) {
                            *value += 1;
                        }
                        model.entry(key + 1).and_modify(|value| *value += 1);
                    }
                    _ => kept.push((map.clone(), model.clone())),
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(map.get(&key), model.get(&key));
            }
            for (old, was) in kept {
                prop_assert_eq!(&sorted(&old), &was);
                prop_assert_eq!(old == map, was == model);
                let differs = |key: &&u16| was.get(*key) != model.get(*key);
                let all: BTreeSet<u16> = was.keys().chain(model.keys()).filter(differs).copied().collect();
                prop_assert_eq!(map.changed(&old).copied().collect::<BTreeSet<_>>(), all.clone());
                prop_assert_eq!(map.changed(&old).count(), all.len());
            }
            prop_assert_eq!(&model.into_iter().collect::<Numbers>(), &map);
        }
    }

    #[test]
    fn keys_in_sequence_are_in_many_shards() {
        let mut taken = [0; SHARDS];
        (0..25_600u64).for_each(|n| taken[(n.wrapping_mul(MULTIPLIER) >> 56) as usize] += 1);
        assert!(taken.iter().all(|count| (50..200).contains(count)), "{taken:?}");
    }
}
