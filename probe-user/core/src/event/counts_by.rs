//! Numbers for the members of a small closed set.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::words::Word;

/// One number for each member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountsBy<T, const N: usize> {
    numbers: [u64; N],
    set: std::marker::PhantomData<T>,
}

impl<T, const N: usize> Default for CountsBy<T, N> {
    fn default() -> Self {
        Self::new([0; N])
    }
}

impl<T, const N: usize> CountsBy<T, N> {
    /// Numbers in the order of the members' codes.
    pub const fn new(numbers: [u64; N]) -> Self {
        Self {
            numbers,
            set: std::marker::PhantomData,
        }
    }

    /// The numbers in the order of the members' codes.
    pub const fn numbers(&self) -> [u64; N] {
        self.numbers
    }

    /// The sum over all members.
    pub fn total(&self) -> u64 {
        self.numbers.iter().sum()
    }

    /// Adds another's numbers.
    pub fn add_all(&mut self, other: &Self) {
        for (number, more) in self.numbers.iter_mut().zip(&other.numbers) {
            *number += more;
        }
    }
}

impl<T: Word + PartialEq, const N: usize> CountsBy<T, N> {
    /// The number of a member.
    pub fn of(&self, member: T) -> u64 {
        self.iter()
            .find(|(known, _)| *known == member)
            .map_or(0, |(_, number)| number)
    }

    /// Counts one more.
    pub fn add(&mut self, member: T) {
        if let Some(index) = T::MEMBERS.iter().position(|known| *known == member) {
            self.numbers[index] += 1;
        }
    }

    /// Every member with its number.
    pub fn iter(&self) -> impl Iterator<Item = (T, u64)> {
        T::MEMBERS.iter().copied().zip(self.numbers)
    }

    /// Members that were counted at least once.
    pub fn counted(&self) -> impl Iterator<Item = (T, u64)> {
        self.iter().filter(|(_, number)| *number > 0)
    }
}

/// Serialises as an object with the members that were counted.
impl<T: Word + PartialEq, const N: usize> Serialize for CountsBy<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (member, number) in self.counted() {
            map.serialize_entry(member.word(), &number)?;
        }
        map.end()
    }
}

/// Skips words that this version does not know.
impl<'de, T: Word, const N: usize> Deserialize<'de> for CountsBy<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counted = std::collections::BTreeMap::<String, u64>::deserialize(deserializer)?;
        let mut numbers = [0; N];
        for (number, member) in numbers.iter_mut().zip(T::MEMBERS) {
            *number = counted.get(member.word()).copied().unwrap_or(0);
        }
        Ok(Self::new(numbers))
    }
}
