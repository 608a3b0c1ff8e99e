//! Counters with a series of their own, and one series for all others: as many as there is room for, for any number of
//! names.

use std::collections::HashMap;
use std::hash::Hash;

/// Number of kept values of series that are no longer shown, per shown series.
const HIDDEN_FOR_EACH: usize = 4;
/// Number of other keys that are watched for higher activity, per shown series.
const WATCHED_FOR_EACH: usize = 4;
/// Fewer would make the choice random.
const MIN_WATCHED: usize = 256;

/// The series of the most active keys. No value of a series ever decreases:
///
/// - While there is room, each active key gets a series.
/// - The rest is counted in the series of the others. When an interval ends, a key with clearly more recent activity
///   than one that is shown takes its place, and is counted from then on.
/// - A key that lost its place is counted among the others from then on. Its value is kept, and continues from there if
///   it returns: what happened in between is in the series of the others, so that everything is in one series. If its
///   value had to be forgotten, because too many others have been hidden since, it begins at 0.
#[derive(Debug)]
pub struct Top<K, V> {
    limit: usize,
    shown: HashMap<K, Shown<V>>,
    /// Other keys with high recent activity, and a lower bound of it.
    watched: HashMap<K, u64>,
    hidden: HashMap<K, Hidden<V>>,
    others: V,
    turn: u64,
}

#[derive(Debug)]
struct Shown<V> {
    value: V,
    /// Its activity: of this interval, half of the one before, and so on.
    recent: u64,
}

#[derive(Debug)]
struct Hidden<V> {
    value: V,
    since_turn: u64,
}

impl<K: Clone + Eq + Hash + Ord, V: Default> Top<K, V> {
    /// Initially empty, with room for `limit` series.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            shown: HashMap::new(),
            watched: HashMap::new(),
            hidden: HashMap::new(),
            others: V::default(),
            turn: 0,
        }
    }

    /// Counts an event of this key, with its weight in the choice of shown series.
    pub fn count<R>(&mut self, key: K, worth: u64, count: impl FnOnce(&mut V) -> R) -> R {
        if let Some(shown) = self.shown.get_mut(&key) {
            shown.recent = shown.recent.saturating_add(worth);
            return count(&mut shown.value);
        }
        if self.shown.len() < self.limit {
            return count(&mut self.show(key, worth).value);
        }
        if worth > 0 {
            self.watch(key, worth);
        }
        count(&mut self.others)
    }

    /// An interval ends: chooses the series that are shown in the next one.
    pub fn rotate(&mut self) {
        self.turn += 1;
        let mut rising: Vec<(u64, K)> = self.watched.iter().map(|(k, n)| (*n, k.clone())).collect();
        rising.sort_by(|(n, a), (m, b)| m.cmp(n).then_with(|| a.cmp(b)));
        let shown = self.shown.iter();
        let mut falling: Vec<(u64, K)> = shown.map(|(k, s)| (s.recent, k.clone())).collect();
        falling.sort();
        for ((more, comes), (less, goes)) in rising.into_iter().zip(falling) {
            // Not for a small difference: a series that disappears and returns is less useful.
            if more <= less.saturating_add(less / 4) {
                break;
            }
            self.hide(&goes);
            self.watched.remove(&comes);
            self.show(comes, more);
        }
        self.forget_oldest();
        for shown in self.shown.values_mut() {
            shown.recent /= 2;
        }
        self.watched.retain(|_, recent| {
            *recent /= 2;
            *recent > 0
        });
    }

    /// The shown series, unordered.
    pub fn shown(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shown.iter().map(|(key, shown)| (key, &shown.value))
    }

    /// The sum of all others.
    pub fn others(&self) -> &V {
        &self.others
    }

    fn show(&mut self, key: K, recent: u64) -> &mut Shown<V> {
        let hidden = self.hidden.remove(&key);
        let value = hidden.map(|hidden| hidden.value).unwrap_or_default();
        self.shown.entry(key).or_insert(Shown { value, recent })
    }

    fn hide(&mut self, key: &K) {
        if let Some((key, shown)) = self.shown.remove_entry(key) {
            let hidden = Hidden {
                value: shown.value,
                since_turn: self.turn,
            };
            self.watch(key.clone(), shown.recent);
            self.hidden.insert(key, hidden);
        }
    }

    fn watch(&mut self, key: K, worth: u64) {
        if let Some(recent) = self.watched.get_mut(&key) {
            *recent = recent.saturating_add(worth);
            return;
        }
        if self.watched.len() >= self.max_watched() {
            self.thin_out();
        }
        self.watched.insert(key, worth);
    }

    /// Makes room: subtracts the median from each. A key with more than a small fraction of the total stays, for any
    /// number of others (Misra and Gries; Anderson et al. 2017).
    fn thin_out(&mut self) {
        let mut worths: Vec<u64> = self.watched.values().copied().collect();
        let middle = worths.len() / 2;
        let (_, median, _) = worths.select_nth_unstable(middle);
        let median = *median;
        self.watched.retain(|_, recent| {
            *recent = recent.saturating_sub(median);
            *recent > 0
        });
    }

    fn forget_oldest(&mut self) {
        let room = self.limit * HIDDEN_FOR_EACH;
        if self.hidden.len() <= room {
            return;
        }
        let mut turns: Vec<(u64, K)> = self
            .hidden
            .iter()
            .map(|(key, hidden)| (hidden.since_turn, key.clone()))
            .collect();
        turns.sort();
        for (_, key) in &turns[..turns.len() - room] {
            self.hidden.remove(key);
        }
    }

    fn max_watched(&self) -> usize {
        MIN_WATCHED.max(self.limit * WATCHED_FOR_EACH)
    }
}

#[cfg(test)]
#[path = "top_tests.rs"]
mod tests;
