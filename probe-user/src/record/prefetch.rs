//! Decompresses frames while those before them are read.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::frames::{FrameError, Frames};

/// Texts that wait to be read. In memory there are two more: the one being decompressed and the one being read.
const WAITING: usize = 1;

type FrameResult = Result<Frame, FrameError>;

/// A frame's text, and the offset of its end.
struct Frame {
    /// `None` at the end.
    text: Option<Vec<u8>>,
    offset: u64,
}

/// The frames of a file. The first one is decompressed when it is requested, because all files of a recording are
/// opened to read how they begin. The others are decompressed ahead of the reader, in a thread of their own.
pub struct Prefetch<R> {
    frames: Option<Frames<R>>,
    thread: Option<(Receiver<FrameResult>, Sender<Vec<u8>>)>,
    has_begun: bool,
    offset: u64,
}

impl<R: Read + Send + 'static> Prefetch<R> {
    pub fn new(frames: Frames<R>) -> Self {
        Self {
            frames: Some(frames),
            thread: None,
            has_begun: false,
            offset: 0,
        }
    }

    /// Where the next frame begins, bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Replaces `text` with the text of the next frame; false at the end.
    ///
    /// # Errors
    /// If there is no whole frame. Nothing follows then.
    pub fn next(&mut self, text: &mut Vec<u8>) -> Result<bool, FrameError> {
        if self.has_begun
            && let Some(frames) = self.frames.take()
        {
            self.thread = Some(spawn(frames).map_err(FrameError::Io)?);
        }
        self.has_begun = true;
        if let Some(frames) = &mut self.frames {
            let found = frames.next(text);
            self.offset = frames.offset();
            return found;
        }
        let Some((found, used)) = &self.thread else {
            return Ok(false);
        };
        // The thread has ended if nothing comes.
        let Ok(found) = found.recv() else {
            return Ok(false);
        };
        let frame = found?;
        self.offset = frame.offset;
        let Some(new) = frame.text else {
            return Ok(false);
        };
        // At the end the thread no longer needs it.
        let _ = used.send(std::mem::replace(text, new));
        Ok(true)
    }
}

fn spawn<R: Read + Send + 'static>(
    frames: Frames<R>,
) -> io::Result<(Receiver<FrameResult>, Sender<Vec<u8>>)> {
    let (found, to_reader) = sync_channel(WAITING);
    let (used, from_reader) = channel();
    thread::Builder::new()
        .name("frames".to_owned())
        .spawn(move || run(frames, &found, &from_reader))?;
    Ok((to_reader, used))
}

/// Runs until the end, until a frame can't be read, or until the reader is dropped.
fn run<R: Read>(mut frames: Frames<R>, found: &SyncSender<FrameResult>, used: &Receiver<Vec<u8>>) {
    loop {
        let mut text = used.try_recv().unwrap_or_default();
        let frame = frames.next(&mut text).map(|is_there| Frame {
            text: is_there.then_some(text),
            offset: frames.offset(),
        });
        let is_last = !matches!(&frame, Ok(frame) if frame.text.is_some());
        if found.send(frame).is_err() || is_last {
            return;
        }
    }
}
