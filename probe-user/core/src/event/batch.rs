//! Batches of records between the ring buffer and the decoder.

use bytes::Bytes;

const WORD: usize = size_of::<u64>();

/// Records copied out of the ring buffer together, each at a multiple of eight bytes, so that they can be read in
/// place.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Bytes,
    lengths: Vec<usize>,
}

impl Batch {
    /// The records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.bytes;
        self.lengths.iter().map(move |length| {
            let length = *length;
            let (words, after) = rest.split_at(length.next_multiple_of(WORD));
            rest = after;
            &words[..length]
        })
    }
}

/// Collects records for a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    words: Vec<u64>,
    lengths: Vec<usize>,
}

impl BatchBuilder {
    /// Copies a record.
    pub fn push(&mut self, record: &[u8]) {
        let (words, tail) = record.as_chunks::<WORD>();
        self.words
            .extend(words.iter().map(|word| u64::from_ne_bytes(*word)));
        if !tail.is_empty() {
            let mut last = [0; WORD];
            last[..tail.len()].copy_from_slice(tail);
            self.words.push(u64::from_ne_bytes(last));
        }
        self.lengths.push(record.len());
    }

    /// Bytes collected.
    pub fn len_bytes(&self) -> usize {
        self.words.len() * WORD
    }

    /// Returns the collected records, and starts again.
    pub fn finish(&mut self) -> Batch {
        Batch {
            bytes: Bytes::from_owner(Words(std::mem::take(&mut self.words))),
            lengths: std::mem::take(&mut self.lengths),
        }
    }
}

/// Owns the memory of a batch: aligned for the wire's structs.
struct Words(Vec<u64>);

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the memory holds that many initialised words, every byte of a u64 is a valid u8, and the
        // slice borrows `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * WORD) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        ) {
            let mut builder = BatchBuilder::default();
            for record in &records {
                builder.push(record);
            }
            let batch = builder.finish();
            prop_assert_eq!(builder.len_bytes(), 0);
            for record in batch.records() {
                prop_assert_eq!(record.as_ptr() as usize % WORD, 0);
            }
            let out: Vec<Vec<u8>> = batch.records().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(out, records);
        }
    }
}
