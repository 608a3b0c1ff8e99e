//! Figures that nearly all rows have at 0.

use std::ops::{Deref, DerefMut};

use serde::{Serialize, Serializer};

/// A value that takes no room as long as it has nothing in it.
#[derive(Clone, Debug)]
pub struct Rare<T>(Option<Box<T>>);

/// What has a value for nothing.
pub trait Nothing: Sized + 'static {
    /// The same as its default.
    const NOTHING: &'static Self;

    /// Whether it is that.
    fn is_nothing(&self) -> bool;
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Nothing> From<T> for Rare<T> {
    fn from(value: T) -> Self {
        Self((!value.is_nothing()).then(|| Box::new(value)))
    }
}

impl<T: Nothing> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::NOTHING)
    }
}

/// To write to it takes the room.
impl<T: Nothing + Default> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Nothing + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reuse::Reuse;

    #[test]
    fn nothing_takes_no_room_and_reads_as_nothing() {
        let mut rare: Rare<Reuse> = Reuse::default().into();
        assert!(rare.0.is_none());
        assert_eq!(*rare, Reuse::default());
        rare.taken += 1;
        assert_eq!(Rare::from(*rare).taken, 1);
    }
}
