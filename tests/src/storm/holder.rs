//! A process that receives descriptors from others, and lets a child end each of them.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    actor::Whose,
    calls::linger_zero,
    ledger::{LedgerEntry, StormLedger},
    plan::{End, LastAct, StepAction},
};
use crate::sys::{check, clock, descriptors, inet, process, uninterrupted};

/// What to do with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolderRequest {
    /// The connection and end that it belongs to.
    pub whose: Whose,
    pub last: LastAct,
    /// When to do it, microseconds after it has arrived.
    pub delay_us: u32,
}

const LASTS: [LastAct; 4] = [
    LastAct::Close,
    LastAct::Abort,
    LastAct::Exit,
    LastAct::Killed,
];
/// Bytes of a message.
const LENGTH: usize = 11;

impl HolderRequest {
    /// Sends it with the descriptor; the sender keeps its own copy.
    ///
    /// # Errors
    /// errno of sendmsg().
    pub fn send(&self, holder: &OwnedFd, fd: RawFd) -> io::Result<()> {
        descriptors::send(holder, &self.to_bytes(), Some(fd))
    }

    fn to_bytes(self) -> [u8; LENGTH] {
        let (life, connection, end) = self.whose;
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&life.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.delay_us.to_ne_bytes());
        bytes[8] = connection;
        bytes[9] = u8::from(end == End::Server);
        bytes[10] = LASTS
            .iter()
            .position(|last| *last == self.last)
            .unwrap_or(0) as u8;
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(bytes[at..at + 4].try_into().ok()?))
        };
        let end = match bytes[9] {
            0 => End::Client,
            _ => End::Server,
        };
        Some(Self {
            whose: (word(0)?, bytes[8], end),
            delay_us: word(4)?,
            last: *LASTS.get(usize::from(bytes[10]))?,
        })
    }
}

/// Receives descriptors until all possible senders have exited.
pub fn hold(ledger: &StormLedger, name: &str, mut senders: Vec<OwnedFd>) -> Result<()> {
    // Nobody waits for the children.
    // SAFETY: a disposition, no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    while !senders.is_empty() {
        let mut ready: Vec<_> = senders
            .iter()
            .map(|sender| libc::pollfd {
                fd: sender.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let count = ready.len() as libc::nfds_t;
        // SAFETY: the array has this many elements.
        uninterrupted(|| check(unsafe { libc::poll(ready.as_mut_ptr(), count, -1) }))?;
        for (index, ready) in ready.iter().enumerate().rev() {
            if ready.revents == 0 {
                continue;
            }
            let mut buffer = [0; LENGTH];
            match descriptors::receive(&senders[index], &mut buffer)? {
                (0, _) => drop(senders.remove(index)),
                (length, descriptor) => {
                    let request =
                        HolderRequest::from_bytes(&buffer[..length]).context("an order")?;
                    let descriptor = descriptor.context("no descriptor came")?;
                    start(ledger, name, request, descriptor)?;
                }
            }
        }
    }
    // Children still have descriptors.
    // SAFETY: a null status is allowed; with SIGCHLD ignored, the call waits for all children, and then fails with
    // ECHILD.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
    Ok(())
}

fn start(
    ledger: &StormLedger,
    name: &str,
    request: HolderRequest,
    descriptor: OwnedFd,
) -> Result<()> {
    let fd = descriptor.as_raw_fd();
    // SAFETY: this process has one thread.
    if check(unsafe { libc::fork() })? == 0 {
        let ended = process::die_with_parent()
            .and_then(|()| process::set_name(&format!("{name}-child")))
            .and_then(|()| end(ledger, request, fd));
        // SAFETY: ends only this process.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    // The child may have closed its own copy by now: then this one is the last.
    let descriptor = std::mem::ManuallyDrop::new(descriptor);
    let closing = || inet::close(descriptor.as_raw_fd());
    let _ = ledger.doing(request.whose, StepAction::Close, closing);
    Ok(())
}

fn end(ledger: &StormLedger, request: HolderRequest, fd: RawFd) -> io::Result<()> {
    thread::sleep(Duration::from_micros(request.delay_us.into()));
    let whose = request.whose;
    match request.last {
        LastAct::Close => ledger.doing(whose, StepAction::Close, || inet::close(fd)),
        LastAct::Abort => ledger.doing(whose, StepAction::Abort, || {
            linger_zero(fd)?;
            inet::close(fd)
        }),
        LastAct::Exit | LastAct::Killed => {
            let (life, connection, end) = whose;
            let pid = std::process::id().cast_signed();
            ledger.write(LedgerEntry {
                life,
                connection,
                end,
                action: StepAction::Close,
                pid,
                before_ns: clock::monotonic_ns()?,
                after_ns: u64::MAX,
                errno: 0,
            });
            match request.last {
                LastAct::Killed => process::signal(pid, libc::SIGKILL),
                _ => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_go_there_and_back() {
        for last in LASTS {
            let request = HolderRequest {
                whose: (70_000, 2, End::Server),
                last,
                delay_us: 45_000,
            };
            assert_eq!(
                HolderRequest::from_bytes(&request.to_bytes()),
                Some(request)
            );
        }
        assert_eq!(HolderRequest::from_bytes(&[0; 3]), None);
    }
}
