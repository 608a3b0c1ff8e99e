//! Waiting for the ring buffer, and copying records out of it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};
use twtrace_core::event::batch::{Batch, BatchBuilder};

/// How often userspace polls: the kernel side wakes it only when the ring buffer is filling up.
const TICK: Duration = Duration::from_millis(50);
/// A batch ends at this length: output must not wait for a ring buffer that never becomes empty.
const BATCH_BYTES: usize = 256 << 10;

/// Passes the next record to a function, then frees its space. False if there is none.
type Next = Box<dyn FnMut(&mut dyn FnMut(&[u8])) -> bool>;

/// The reading end of the ring buffer.
pub struct Ring {
    descriptor: AsyncFd<OwnedFd>,
    next: Next,
    tick: Interval,
    builder: BatchBuilder,
}

impl Ring {
    /// Reads records through `next`; `descriptor` is the ring buffer's, to poll. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the descriptor can't be polled.
    pub fn new(
        descriptor: OwnedFd,
        next: impl FnMut(&mut dyn FnMut(&[u8])) -> bool + 'static,
    ) -> io::Result<Self> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // SAFETY: an OwnedFd stays the same open descriptor until it is dropped, which the AsyncFd does itself.
        let descriptor =
            unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Self {
            descriptor,
            next: Box::new(next),
            tick,
            builder: BatchBuilder::default(),
        })
    }

    /// Waits for the kernel side to wake us, or for the next tick. Can be cancelled.
    ///
    /// # Errors
    /// If polling fails.
    pub async fn ready(&mut self) -> io::Result<()> {
        tokio::select! {
            guard = self.descriptor.readable() => {
                // Whatever is there is taken next; later records wake us again.
                guard?.clear_ready();
                Ok(())
            }
            _ = self.tick.tick() => Ok(()),
        }
    }

    /// Takes what is there, up to the length of a batch. True if nothing was left.
    pub fn take_batch(&mut self) -> (Batch, bool) {
        let Self { next, builder, .. } = self;
        let mut is_empty = false;
        while builder.len_bytes() < BATCH_BYTES {
            if !next(&mut |record| builder.push(record)) {
                is_empty = true;
                break;
            }
        }
        (builder.finish(), is_empty)
    }
}
