//! A cache with a bounded number of entries.

use std::collections::HashMap;
use std::hash::Hash;

use hashbrown::DefaultHashBuilder;

/// Values by key, in two halves: those used since the last turnover, and those used before it. When the newer half is
/// full, the older one is dropped.
#[derive(Debug)]
pub struct Remembered<K, V> {
    half: usize,
    recent: HashMap<K, V, DefaultHashBuilder>,
    older: HashMap<K, V, DefaultHashBuilder>,
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    /// An empty cache. It keeps at most twice as many values as `half`.
    pub fn new(half: usize) -> Self {
        Self {
            half,
            recent: HashMap::default(),
            older: HashMap::default(),
        }
    }

    /// The value of a key. Counts as a use.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        if !self.recent.contains_key(key) {
            let (key, value) = self.older.remove_entry(key)?;
            self.insert(key, value);
        }
        self.recent.get(key)
    }

    pub fn insert(&mut self, key: K, value: V) {
        if self.recent.len() >= self.half {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, value);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut remembered = Remembered::new(10);
        remembered.insert(0, "used");
        remembered.insert(1, "not used");
        for key in 2..100 {
            assert_eq!(remembered.get(&0), Some(&"used"), "at {key}");
            remembered.insert(key, "other");
            assert!(remembered.len() <= 20);
        }
        assert_eq!(remembered.get(&1), None);
        assert_eq!(remembered.get(&99), Some(&"other"));
    }
}
