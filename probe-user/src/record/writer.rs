//! Writes a recording, on a thread of its own: a slow disk must not delay reading the ring buffer.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::error::WriteError;
use super::rotation::{Bounds, Files};
use super::{FRAME_TEXT, MAX_FRAME_TEXT};
use crate::privilege::{self, Keep};

/// Frames that may wait for the disk.
const WAITING: usize = 4;
/// A frame ends when its first line is this old. With the time to write it, that is less than a second.
const FRAME_AGE: Duration = Duration::from_millis(800);
/// Compresses to about a tenth, at some hundred MB/s.
const LEVEL: i32 = 1;

/// Returns the `start` line of a part, by its number.
pub type WriteStartLine = Box<dyn Fn(u32) -> Vec<u8> + Send>;

/// Takes lines, and writes them as frames.
#[derive(Debug)]
pub struct RecordingWriter {
    path: PathBuf,
    frames: mpsc::Sender<Vec<u8>>,
    result: oneshot::Receiver<Result<Written, WriteError>>,
    text: Vec<u8>,
    /// When the first line of `text` was added.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes in all parts, including those that were removed.
    pub bytes: u64,
    /// Parts that were begun.
    pub parts: u32,
}

impl RecordingWriter {
    /// Creates the file, with its first line.
    ///
    /// # Errors
    /// If a file exists that is not to be overwritten, or the system refuses.
    pub fn create(
        path: &Path,
        bounds: Bounds,
        force: bool,
        start: WriteStartLine,
    ) -> Result<Self, WriteError> {
        let io_error = |what, source| WriteError::Io {
            path: path.to_owned(),
            what,
            source,
        };
        let mut disk = Disk {
            files: Files::create(path, bounds, force)?,
            compressor: compressor().map_err(|source| io_error("compressing", source))?,
            start,
            frames_in_part: 0,
            path: path.to_owned(),
        };
        disk.begin_part()?;
        let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let (ended, result) = oneshot::channel();
        thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || {
                // Each part is a new file. The first one is open.
                if let Err(error) = match bounds.max_bytes {
                    Some(_) => privilege::keep_to_create_files(),
                    None => privilege::drop_all_but(Keep::Nothing),
                } {
                    log::warn!("can't drop capabilities: {error}");
                }
                let mut result = Ok(());
                while let Some(text) = waiting.blocking_recv() {
                    result = disk.write(&text);
                    if result.is_err() {
                        break;
                    }
                }
                // The receiver may have been dropped, which is no error.
                let _ = ended.send(result.map(|()| Written {
                    bytes: disk.files.total_bytes(),
                    parts: disk.files.part(),
                }));
            })
            .map_err(|source| io_error("starting the thread", source))?;
        Ok(Self {
            path: path.to_owned(),
            frames,
            result,
            text: Vec::new(),
            since: None,
        })
    }

    /// Buffer to which whole lines are added, each with its newline.
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Passes on what fills a frame, or is due. Waits while the disk is slow: events then stay in the ring buffer,
    /// and are lost when it is full, which is counted. Can be cancelled without loss.
    ///
    /// # Errors
    /// If the file can't be written any more; [`Self::finish`] returns why.
    pub async fn flush_due(&mut self) -> Result<(), WriteError> {
        if self.text.is_empty() {
            return Ok(());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.text.len() < FRAME_TEXT && since.elapsed() < FRAME_AGE {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), WriteError> {
        let ended = |_| WriteError::Ended(self.path.clone());
        while !self.text.is_empty() {
            let room = self.frames.reserve().await.map_err(ended)?;
            let rest = self.text.split_off(frame_end(&self.text));
            room.send(std::mem::replace(&mut self.text, rest));
        }
        self.since = None;
        Ok(())
    }

    /// Writes what is left, and waits until everything is written.
    ///
    /// # Errors
    /// If something could not be written, now or before.
    pub async fn finish(mut self) -> Result<Written, WriteError> {
        // If the thread has ended, it reports why.
        let _ = self.flush().await;
        let Self {
            path,
            frames,
            result,
            ..
        } = self;
        drop(frames);
        result.await.map_err(|_| WriteError::Ended(path))?
    }
}

/// Where the first frame of a text ends: after a line.
fn frame_end(text: &[u8]) -> usize {
    if text.len() <= FRAME_TEXT {
        return text.len();
    }
    let is_end = |byte: &u8| *byte == b'\n';
    let within = text[..FRAME_TEXT].iter().rposition(is_end);
    within
        .or_else(|| text.iter().position(is_end))
        .map_or(text.len(), |end| end + 1)
}

fn compressor() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
    Ok(compressor)
}

/// What the thread owns.
struct Disk {
    files: Files,
    compressor: Compressor<'static>,
    start: WriteStartLine,
    frames_in_part: u64,
    path: PathBuf,
}

impl Disk {
    fn begin_part(&mut self) -> Result<(), WriteError> {
        let line = (self.start)(self.files.part());
        let frame = self.compress(&line)?;
        self.files.append(&frame)?;
        self.frames_in_part = 1;
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> Result<(), WriteError> {
        if text.len() > MAX_FRAME_TEXT {
            // This single line is longer than a reader accepts.
            log::warn!(
                "a line of {} bytes is left out of the recording",
                text.len()
            );
            return Ok(());
        }
        let frame = self.compress(text)?;
        if self.files.make_room(&frame, self.frames_in_part)? {
            self.begin_part()?;
        }
        self.files.append(&frame)?;
        self.frames_in_part += 1;
        Ok(())
    }

    fn compress(&mut self, text: &[u8]) -> Result<Vec<u8>, WriteError> {
        self.compressor
            .compress(text)
            .map_err(|source| WriteError::Io {
                path: self.path.clone(),
                what: "compressing",
                source,
            })
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
