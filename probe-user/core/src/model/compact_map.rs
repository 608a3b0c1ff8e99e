//! Very many values by key, in little memory.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// Rows in one array, in insertion order, and a table of their numbers. The standard library's map keeps the rows in
/// the table, of which an eighth to nine sixteenths are empty, and copies it whenever it grows.
#[derive(Clone, Debug)]
pub struct CompactMap<K, V> {
    rows: Vec<(K, V)>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<K, V> Default for CompactMap<K, V> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<K: Eq + Hash, V> CompactMap<K, V> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, in insertion order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, value)| (key, value))
    }

    /// All values.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut V> {
        self.rows.iter_mut().map(|(_, value)| value)
    }

    /// The number of a key's row.
    pub fn number(&self, key: &K) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        let is = |number: &u32| self.rows[*number as usize].0 == *key;
        self.numbers.find(hash, is).map(|number| *number as usize)
    }

    /// The key with this number.
    pub fn key(&self, number: usize) -> Option<&K> {
        self.rows.get(number).map(|(key, _)| key)
    }

    /// The value with this number, as returned by [`Self::number`] or [`Self::within`].
    pub fn value_mut(&mut self, number: usize) -> &mut V {
        &mut self.rows[number].1
    }

    /// A key's value.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.number(key).map(|number| &self.rows[number].1)
    }

    /// A key's value, which is created if there is none, and its number; `None` if there would be more than `max`.
    pub fn within(
        &mut self,
        key: K,
        max: usize,
        new: impl FnOnce() -> V,
    ) -> Option<(usize, &mut V)> {
        let Self {
            rows,
            numbers,
            hasher,
        } = self;
        let hash = hasher.hash_one(&key);
        let known = numbers.find(hash, |number| rows[*number as usize].0 == key);
        let number = match known {
            Some(number) => *number,
            None => {
                let number = u32::try_from(rows.len()).ok()?;
                if rows.len() >= max {
                    return None;
                }
                rows.push((key, new()));
                numbers.insert_unique(hash, number, |number| {
                    hasher.hash_one(&rows[*number as usize].0)
                });
                number
            }
        } as usize;
        Some((number, &mut rows[number].1))
    }

    /// A key's value, which is created if there is none.
    ///
    /// # Panics
    /// If there are four billion rows.
    pub fn of(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        match self.within(key, usize::MAX, new) {
            Some((_, value)) => value,
            None => panic!("more rows than have numbers"),
        }
    }

    /// Removes rows for which `is_kept` is false.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&K, &mut V) -> bool) {
        self.rows.retain_mut(|(key, value)| is_kept(key, value));
        self.numbers.clear();
        let Self {
            rows,
            numbers,
            hasher,
        } = self;
        let hash = |number: &u32| hasher.hash_one(&rows[*number as usize].0);
        for number in (0_u32..).take(rows.len()) {
            numbers.insert_unique(hash(&number), number, hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(keys in prop::collection::vec(0_u16..300, 0..1000), max in 0_usize..200) {
            let mut compact_map = CompactMap::default();
            let mut map: HashMap<u16, u32> = HashMap::new();
            for key in &keys {
                let has_room = map.len() < max || map.contains_key(key);
                let count = compact_map.within(*key, max, || 0);
                prop_assert_eq!(count.is_some(), has_room);
                if let Some((_, count)) = count {
                    *count += 1;
                    *map.entry(*key).or_default() += 1;
                }
            }
            compact_map.retain(|key, _| key % 3 != 0);
            map.retain(|key, _| key % 3 != 0);
            prop_assert_eq!(compact_map.len(), map.len());
            for key in 0..300 {
                prop_assert_eq!(compact_map.get(&key), map.get(&key));
            }
            let all: HashMap<u16, u32> = compact_map.iter().map(|(key, count)| (*key, *count)).collect();
            prop_assert_eq!(all, map);
        }
    }
}
