//! Parts of a file, read into memory up to a limit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Memory is taken as the file turns out to have content, not all at once.
const STEP: usize = 1 << 20;

/// A file of an untrusted user.
#[derive(Debug)]
pub struct Bytes(pub File);

/// Why a part can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BytesError {
    /// The file ends before, or the system refuses.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is longer than may be read.
    #[error("{0} bytes are too many")]
    TooLong(u64),
}

impl Bytes {
    /// Reads a part of a given length.
    ///
    /// # Errors
    /// If it is longer than `limit`, or the file ends before.
    pub fn read(&self, offset: u64, length: u64, limit: usize) -> Result<Vec<u8>, BytesError> {
        let too_long = BytesError::TooLong(length);
        let length = usize::try_from(length).map_err(|_| BytesError::TooLong(length))?;
        if length > limit {
            return Err(too_long);
        }
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let read = bytes.len();
            let step = STEP.min(length - read);
            if bytes.try_reserve(step).is_err() {
                return Err(too_long);
            }
            bytes.resize(read + step, 0);
            let at = offset.checked_add(read as u64);
            let at = at.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            self.0.read_exact_at(&mut bytes[read..], at)?;
        }
        Ok(bytes)
    }

    /// Reads what there is from an offset, up to a limit.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn read_some(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            let read = bytes.len();
            bytes.resize(read + STEP.min(limit - read), 0);
            let Some(at) = offset.checked_add(read as u64) else {
                break;
            };
            let length = match self.0.read_at(&mut bytes[read..], at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Ok(0) => {
                    bytes.truncate(read);
                    break;
                }
                read => read?,
            };
            bytes.truncate(read + length);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_does_not_have_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 * STEP as u64).unwrap();
        let bytes = Bytes(file);
        let read = |offset, length| bytes.read(offset, length, 4 * STEP).map(|it| it.len());
        assert_eq!(read(1, 2 * STEP as u64).unwrap(), 2 * STEP);
        assert!(read(STEP as u64, 3 * STEP as u64).is_err());
        assert!(read(u64::MAX - 1, 9).is_err());
        assert!(matches!(read(0, u64::MAX), Err(BytesError::TooLong(_))));
        assert_eq!(
            bytes.read_some(STEP as u64, 9 * STEP).unwrap().len(),
            2 * STEP
        );
        assert_eq!(bytes.read_some(0, 5).unwrap().len(), 5);
    }
}
