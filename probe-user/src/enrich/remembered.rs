//! What was found out and is kept for a while, within bounds.

use std::collections::HashMap;
use std::hash::Hash;

use hashbrown::DefaultHashBuilder;

/// Values by key. What was used since the last turn-over is kept, and what was used before it: the older half is
/// dropped when the newer one is full.
#[derive(Debug)]
pub struct Remembered<K, V> {
    half: usize,
    recent: HashMap<K, V, DefaultHashBuilder>,
    older: HashMap<K, V, DefaultHashBuilder>,
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    /// Nothing. At most twice as many as `half` are kept.
    pub fn new(half: usize) -> Self {
        Self {
            half,
            recent: HashMap::default(),
            older: HashMap::default(),
        }
    }

    /// What is known of a key, which is thereby used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        if !self.recent.contains_key(key) {
            let (key, value) = self.older.remove_entry(key)?;
            self.insert(key, value);
        }
        self.recent.get(key)
    }

    /// Keeps a value.
    pub fn insert(&mut self, key: K, value: V) {
        if self.recent.len() >= self.half {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, value);
    }

    /// How many are kept.
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
