//! The frames of a compressed file, one after the other.

use std::io::{self, Read};

use bytes::{Buf, BytesMut};
use zstd::bulk::Decompressor;
use zstd::zstd_safe;

use super::MAX_FRAME_TEXT;

/// A Zstandard frame begins with this.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame with more compressed bytes than this is not ours: text that does not compress grows a little.
const MAX_FRAME_BYTES: usize = MAX_FRAME_TEXT + (MAX_FRAME_TEXT >> 6) + 1024;
/// Bytes read at a time.
const CHUNK: usize = 128 << 10;

pub struct Frames<R> {
    source: R,
    buffer: BytesMut,
    decompressor: Decompressor<'static>,
    offset: u64,
    is_at_end: bool,
}

/// Why there is no further frame.
#[derive(Debug)]
pub enum FrameError {
    Io(io::Error),
    /// The file ends within the frame.
    CutOff,
    /// The frame is not as it was written.
    Damaged(String),
    /// The frame has more text than twtrace writes.
    TooLarge,
}

impl<R: Read> Frames<R> {
    /// Reads from `source`; `buffer` has what was already read from it.
    ///
    /// # Errors
    /// If memory can't be allocated.
    pub fn new(source: R, buffer: BytesMut) -> io::Result<Self> {
        Ok(Self {
            source,
            buffer,
            decompressor: Decompressor::new()?,
            offset: 0,
            is_at_end: false,
        })
    }

    /// Where the next frame begins, bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Puts the text of the next frame into `text`, after checking its checksum. False at the end.
    ///
    /// # Errors
    /// If there is no whole frame.
    pub fn next(&mut self, text: &mut Vec<u8>) -> Result<bool, FrameError> {
        let length = loop {
            if self.buffer.is_empty() && self.is_at_end {
                return Ok(false);
            }
            match zstd_safe::find_frame_compressed_size(&self.buffer) {
                Ok(length) => break length,
                Err(code) if is_short(code) => {}
                Err(code) => return Err(FrameError::Damaged(error_name(code))),
            }
            if self.is_at_end {
                return Err(
                    if self.buffer.starts_with(&MAGIC) || self.buffer.len() < 4 {
                        FrameError::CutOff
                    } else {
                        FrameError::Damaged("no frame begins here".to_owned())
                    },
                );
            }
            if self.buffer.len() > MAX_FRAME_BYTES {
                return Err(FrameError::TooLarge);
            }
            self.fill().map_err(FrameError::Io)?;
        };
        self.decompress(length, text)?;
        self.buffer.advance(length);
        self.offset += length as u64;
        Ok(true)
    }

    fn decompress(&mut self, length: usize, text: &mut Vec<u8>) -> Result<(), FrameError> {
        let frame = &self.buffer[..length];
        let room = match zstd_safe::get_frame_content_size(frame) {
            Ok(Some(size)) if size > MAX_FRAME_TEXT as u64 => return Err(FrameError::TooLarge),
            // A frame of another program may lack its size.
            Ok(None) => MAX_FRAME_TEXT,
            Ok(Some(size)) => usize::try_from(size).unwrap_or(MAX_FRAME_TEXT),
            Err(_) => return Err(FrameError::Damaged("its header is wrong".to_owned())),
        };
        text.clear();
        text.reserve(room);
        self.decompressor
            .decompress_to_buffer(frame, text)
            .map(|_| ())
            .map_err(|error| FrameError::Damaged(error.to_string()))
    }

    fn fill(&mut self) -> io::Result<()> {
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        self.is_at_end = read? == 0;
        Ok(())
    }
}

fn is_short(code: usize) -> bool {
    // ZSTD_error_srcSize_wrong; zstd_safe has no other name for it.
    zstd_safe::get_error_name(code) == "Src size is incorrect"
}

fn error_name(code: usize) -> String {
    zstd_safe::get_error_name(code).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: Vec<u8>) -> Frames<io::Cursor<Vec<u8>>> {
        Frames::new(io::Cursor::new(bytes), BytesMut::new()).unwrap()
    }

    #[test]
    fn frames_come_one_by_one() {
        let mut file = zstd::bulk::compress(b"one\n", 1).unwrap();
        let first = file.len() as u64;
        file.extend(zstd::bulk::compress(&vec![b'x'; 3 << 20], 1).unwrap());
        let mut frames = frames(file);
        let mut text = Vec::new();
        assert!(frames.next(&mut text).unwrap());
        assert_eq!(text, b"one\n");
        assert_eq!(frames.offset(), first);
        assert!(frames.next(&mut text).unwrap());
        assert_eq!(text.len(), 3 << 20);
        assert!(!frames.next(&mut text).unwrap());
    }

    #[test]
    fn what_would_fill_the_memory_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; MAX_FRAME_TEXT + 1], 1).unwrap();
        let mut text = Vec::new();
        let refused = frames(bomb).next(&mut text);
        assert!(matches!(refused, Err(FrameError::TooLarge)));
        // A frame that lacks its size.
        let bomb = zstd::stream::encode_all(&vec![0; 4 * MAX_FRAME_TEXT][..], 1).unwrap();
        assert!(frames(bomb).next(&mut text).is_err());
    }

    #[test]
    fn garbage_is_no_frame() {
        for garbage in [&b"{\"ts\":1}"[..], b"\x28", b"\x28\xb5\x2f\xfd\xff\xff"] {
            assert!(frames(garbage.to_vec()).next(&mut Vec::new()).is_err());
        }
        assert!(!frames(Vec::new()).next(&mut Vec::new()).unwrap());
    }
}
