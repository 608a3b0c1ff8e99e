//! The output, on a thread of its own: a slow reader must not keep twtrace from handling a signal.

use std::io;
use std::os::fd::RawFd;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::target::OutputTarget;

/// Maximum number of waiting blocks.
const WAITING: usize = 4;

/// Writes blocks, in order, each flushed.
#[derive(Debug)]
pub struct OutputWriter {
    blocks: mpsc::Sender<Vec<u8>>,
    result: oneshot::Receiver<io::Result<()>>,
    /// `None` if no reader can close the stream.
    descriptor: Option<RawFd>,
}

/// Result of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Everything was written.
    Written,
    /// The reader has closed the pipe: the rest is discarded.
    Abandoned,
}

impl OutputWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the thread can't be started, or a file can't be truncated.
    pub fn start(target: OutputTarget) -> io::Result<Self> {
        let (mut stream, descriptor) = target.into_stream()?;
        let (blocks, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let (ended, result) = oneshot::channel();
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let mut written = Ok(());
                while let Some(block) = waiting.blocking_recv() {
                    written = stream.write_all(&block).and_then(|()| stream.flush());
                    if written.is_err() {
                        break;
                    }
                }
                // Nobody may wait for it, which is no error.
                let _ = ended.send(written);
            })?;
        Ok(Self {
            blocks,
            result,
            descriptor,
        })
    }

    /// Waits until there is room, and passes the block on. Can be cancelled: the block then stays in place. Returns
    /// false if nothing can be written any more; [`Self::finish`] returns the reason.
    pub async fn write(&self, block: &mut Vec<u8>) -> bool {
        match self.blocks.reserve().await {
            Ok(room) => {
                room.send(std::mem::take(block));
                true
            }
            Err(_) => false,
        }
    }

    /// Whether the reader has closed the pipe: found without writing, as there may be nothing to write for long.
    pub fn is_reader_gone(&self) -> bool {
        let Some(fd) = self.descriptor else {
            return false;
        };
        let mut stream = libc::pollfd {
            fd,
            // Errors and hang-ups are always reported.
            events: 0,
            revents: 0,
        };
        // SAFETY: the pointer is to one valid pollfd, and a timeout of 0 does not wait.
        let ready = unsafe { libc::poll(&raw mut stream, 1, 0) };
        ready == 1 && stream.revents & (libc::POLLERR | libc::POLLHUP) != 0
    }

    /// Writes a last block and waits until everything is written, which depends on the reader.
    ///
    /// # Errors
    /// If writing failed, except by a closed pipe.
    pub async fn finish(self, last: Vec<u8>) -> io::Result<WriteOutcome> {
        let Self { blocks, result, .. } = self;
        // If this fails, the thread has ended, and its result says why.
        let _ = blocks.send(last).await;
        drop(blocks);
        match result.await {
            Ok(Ok(())) => Ok(WriteOutcome::Written),
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(Err(_)) | Err(_) => Ok(WriteOutcome::Abandoned),
        }
    }
}
