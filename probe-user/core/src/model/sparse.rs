//! Figures that are 0 in nearly all rows.

use std::ops::{Deref, DerefMut};

use serde::{Serialize, Serializer};

/// A value that takes no memory as long as it is empty.
#[derive(Clone, Debug)]
pub struct Sparse<T>(Option<Box<T>>);

/// A type with an empty value.
pub trait Nothing: Sized + 'static {
    /// The empty value, equal to its default.
    const NOTHING: &'static Self;

    /// Whether it is the empty value.
    fn is_nothing(&self) -> bool;
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Nothing> From<T> for Sparse<T> {
    fn from(value: T) -> Self {
        Self((!value.is_nothing()).then(|| Box::new(value)))
    }
}

impl<T: Nothing> Deref for Sparse<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::NOTHING)
    }
}

/// Writing allocates the memory.
impl<T: Nothing + Default> DerefMut for Sparse<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Nothing + Serialize> Serialize for Sparse<T> {
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
        let mut rare: Sparse<Reuse> = Reuse::default().into();
        assert!(rare.0.is_none());
        assert_eq!(*rare, Reuse::default());
        rare.taken += 1;
        assert_eq!(Sparse::from(*rare).taken, 1);
    }
}
