//! Reads one file of a recording.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use twtrace_core::event::json::FORMAT;

use super::MAX_FRAME_TEXT;
use super::entry::{Entry, EntryParser, Start};
use super::error::ReadError;
use super::frames::{FrameError, Frames, MAGIC};
use super::prefetch::Prefetch;

/// Bytes read at a time from a file that is not compressed.
const CHUNK: usize = 64 << 10;

/// The entries of one file, in order, up to its end or to what can't be read.
pub struct RecordingReader {
    path: PathBuf,
    text: Text,
    lines: EntryParser,
    /// Lines so far.
    line: u64,
    /// Whole lines, and perhaps the beginning of another one.
    pending: Vec<u8>,
    /// Offset of the next line in `pending`.
    next: usize,
    start: Start,
}

/// Where lines come from.
enum Text {
    Frames(Prefetch<Source>),
    Plain {
        source: Source,
        is_at_end: bool,
        taken: u64,
    },
}

type Source = Box<dyn Read + Send>;

impl RecordingReader {
    /// Opens a file, `-` for standard input, and reads its first line.
    ///
    /// # Errors
    /// If it can't be read, or does not begin as a recording does.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let source: Source = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(|source| io_error(path, source))?)
        };
        Self::new(path.to_owned(), source)
    }

    /// Reads from any source; `path` is for errors.
    pub fn new(path: PathBuf, mut source: Source) -> Result<Self, ReadError> {
        let mut begin = [0; MAGIC.len()];
        let mut length = 0;
        while length < begin.len() {
            match source.read(&mut begin[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error(&path, error)),
            }
        }
        let taken = &begin[..length];
        if taken.is_empty() {
            return Err(not_a_recording(path, "it is empty"));
        }
        let (text, pending) = if begin == MAGIC {
            let frames = Frames::new(source, BytesMut::from(taken))
                .map_err(|error| io_error(&path, error))?;
            (Text::Frames(Prefetch::new(frames)), Vec::new())
        } else {
            let plain = Text::Plain {
                source,
                is_at_end: false,
                taken: taken.len() as u64,
            };
            (plain, taken.to_vec())
        };
        let mut reader = Self {
            path,
            text,
            lines: EntryParser::default(),
            line: 0,
            pending,
            next: 0,
            start: Start {
                ts: Default::default(),
                mono_ns: 0,
                format: FORMAT,
                part: 1,
                kernel: String::new(),
                host: String::new(),
                options: None,
                tiers: Vec::new(),
            },
        };
        let is_plain = matches!(reader.text, Text::Plain { .. });
        match reader.next() {
            Ok(Some(Entry::Start(start))) => reader.start = *start,
            Err(ReadError::Line { why, .. }) if is_plain => {
                let why = format!("it is neither compressed nor JSON lines ({why})");
                return Err(not_a_recording(reader.path, &why));
            }
            Err(error) => return Err(error),
            Ok(_) => {
                return Err(not_a_recording(
                    reader.path,
                    "its first line is not a start, so it is not whole",
                ));
            }
        }
        Ok(reader)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Bytes read from the file so far.
    pub fn read_bytes(&self) -> u64 {
        match &self.text {
            Text::Frames(frames) => frames.offset(),
            Text::Plain { taken, .. } => *taken,
        }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// If what comes next can't be read. Nothing follows then.
    pub fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let Some(range) = self.next_line()? else {
                return Ok(None);
            };
            self.line += 1;
            let line = &self.pending[range];
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match self.lines.read(line) {
                Ok(None) => {}
                Ok(Some(Entry::Start(start))) if start.format > FORMAT => {
                    return Err(ReadError::TooNew {
                        path: self.path.clone(),
                        format: start.format,
                        known: FORMAT,
                    });
                }
                Ok(Some(entry)) => return Ok(Some(entry)),
                Err(error) => {
                    return Err(ReadError::Line {
                        path: self.path.clone(),
                        line: self.line,
                        why: error.to_string(),
                    });
                }
            }
        }
    }

    /// Its place in `pending`.
    fn next_line(&mut self) -> Result<Option<Range<usize>>, ReadError> {
        let mut searched = self.next;
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.pending[searched..]) {
                let end = searched + length;
                return Ok(Some(std::mem::replace(&mut self.next, end + 1)..end));
            }
            let left = self.pending.len() - self.next;
            if left > MAX_FRAME_TEXT {
                return Err(ReadError::Line {
                    path: self.path.clone(),
                    line: self.line + 1,
                    why: "it is too long".to_owned(),
                });
            }
            if !self.fill()? {
                let last = self.next..self.pending.len();
                self.next = last.end;
                return Ok((!last.is_empty()).then_some(last));
            }
            searched = self.next + left;
        }
    }

    /// Reads more into `pending`, and drops what was read of it. False at the end.
    fn fill(&mut self) -> Result<bool, ReadError> {
        // Frames usually end with a line, so that nothing is left.
        self.pending.drain(..self.next);
        self.next = 0;
        match &mut self.text {
            Text::Frames(frames) => {
                let offset = frames.offset();
                let found = if self.pending.is_empty() {
                    frames.next(&mut self.pending)
                } else {
                    let mut text = Vec::new();
                    let found = frames.next(&mut text);
                    self.pending.extend(text);
                    found
                };
                found.map_err(|error| frame_error(&self.path, offset, error))
            }
            Text::Plain { is_at_end, .. } if *is_at_end => Ok(false),
            Text::Plain {
                source,
                is_at_end,
                taken,
            } => {
                let length = self.pending.len();
                self.pending.resize(length + CHUNK, 0);
                let read = source.read(&mut self.pending[length..]);
                self.pending.truncate(length + *read.as_ref().unwrap_or(&0));
                match read {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => {
                        let read = read.map_err(|error| io_error(&self.path, error))?;
                        *is_at_end = read == 0;
                        *taken += read as u64;
                    }
                }
                Ok(true)
            }
        }
    }
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io {
        path: path.to_owned(),
        source,
    }
}

fn not_a_recording(path: PathBuf, why: &str) -> ReadError {
    ReadError::NotARecording {
        path,
        why: why.to_owned(),
    }
}

fn frame_error(path: &Path, offset: u64, error: FrameError) -> ReadError {
    let path = path.to_owned();
    match error {
        FrameError::Io(source) => ReadError::Io { path, source },
        FrameError::CutOff => ReadError::CutOff { path, offset },
        FrameError::Damaged(why) => ReadError::Damaged { path, offset, why },
        FrameError::TooLarge => ReadError::TooLarge { path, offset },
    }
}

/// Each part of a recording may be read once.
///
/// # Errors
/// If two files have the same one.
pub fn refuse_twice(readers: &[RecordingReader]) -> Result<(), ReadError> {
    for (number, reader) in readers.iter().enumerate() {
        let (start, mut earlier) = (reader.start(), readers[..number].iter());
        if earlier.any(|other| other.start().is_of(start) && other.start().part == start.part) {
            return Err(ReadError::Twice {
                path: reader.path().to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
