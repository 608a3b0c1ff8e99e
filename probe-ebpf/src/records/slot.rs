//! The usual place of an entry whose index in an array is computed from its key: see `maps::slot`.

/// A slot for entries of type `V`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slot<V> {
    /// The key of the entry; 0: free.
    pub owner: u64,
    /// Not 0 once another key found this slot taken: the entries of such keys are in a map. Never reset.
    pub spilled: u64,
    pub value: V,
}
