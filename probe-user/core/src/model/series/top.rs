//! Counters that have a series of their own, and one for all others: as many as there is room for, whatever number
//! of names there is.

use std::collections::HashMap;
use std::hash::Hash;

/// How many values of series that are not shown any more are kept, for each that is.
const HIDDEN_FOR_EACH: usize = 4;
/// How many others are watched for whether they do more, for each that is shown.
const WATCHED_FOR_EACH: usize = 4;
/// Fewer would be guesswork.
const MIN_WATCHED: usize = 256;

/// The series of those that do the most. No value of a series ever goes down:
///
/// - While there is room, whoever acts gets a series.
/// - What the rest does is counted in the series of the others. When an interval ends, one of them that did clearly
///   more of late than one that is shown takes its place, and is counted from then on.
/// - One that lost its place is counted among the others from then on. Its value is kept, and goes on where it stood
///   if it comes back: what it did meanwhile is in the series of the others, so that everything is in one series.
///   When so many have come back or gone since that its value had to be forgotten, it begins at 0.
#[derive(Debug)]
pub struct Top<K, V> {
    limit: usize,
    shown: HashMap<K, Shown<V>>,
    /// Those of the others that did much of late, and how much that was at least.
    watched: HashMap<K, u64>,
    hidden: HashMap<K, Hidden<V>>,
    others: V,
    turn: u64,
}

#[derive(Debug)]
struct Shown<V> {
    value: V,
    /// How much it did: in this interval, half of that before, and so on.
    recent: u64,
}

#[derive(Debug)]
struct Hidden<V> {
    value: V,
    since_turn: u64,
}

impl<K: Clone + Eq + Hash + Ord, V: Default> Top<K, V> {
    /// Nothing counted yet, with room for so many.
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

    /// Counts something that this one did, which is worth so much when it comes to who is shown.
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

    /// An interval ends: decides who is shown in the next one.
    pub fn rotate(&mut self) {
        self.turn += 1;
        let mut rising: Vec<(u64, K)> = self.watched.iter().map(|(k, n)| (*n, k.clone())).collect();
        rising.sort_by(|(n, a), (m, b)| m.cmp(n).then_with(|| a.cmp(b)));
        let shown = self.shown.iter();
        let mut falling: Vec<(u64, K)> = shown.map(|(k, s)| (s.recent, k.clone())).collect();
        falling.sort();
        for ((more, comes), (less, goes)) in rising.into_iter().zip(falling) {
            // Not for next to nothing: a series that comes and goes tells less.
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

    /// Those that have a series, in no order.
    pub fn shown(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shown.iter().map(|(key, shown)| (key, &shown.value))
    }

    /// All others.
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

    /// Makes room: takes from each what the one in the middle has. Who does more than a small part of everything
    /// stays, however many others there are (Misra and Gries; Anderson et al. 2017).
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
