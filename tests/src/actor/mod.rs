//! Actors: processes that run a scenario's commands, one at a time, so that the order of events (and with it the truth)
//! is known.

mod bulk;
pub mod command;
mod play;
pub mod program;
mod sockets;

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use command::{Answer, Command, Fd, Reply};
pub use sockets::family_of;

use crate::sys::{Errno, descriptors, inet, process};

/// How long an actor may take for one command.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a killed actor may take to exit.
const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// Maximum bytes of an answer: a loop that accepts reports the port of each connection.
const LONGEST_ANSWER: usize = 64 << 10;

/// A process of a scenario, as the stage sees it.
pub struct Actor {
    /// Process id in the initial pid namespace, in which all actors stay.
    pub pid: i32,
    /// Comm of the group leader.
    pub comm: String,
    control: OwnedFd,
    /// A child of the stage, which has to reap it; otherwise a child of another actor.
    own_child: bool,
}

impl Actor {
    /// Forks a process with this comm.
    pub fn start(comm: String) -> Result<Self> {
        let (control, childs_end) = control_pair()?;
        // SAFETY: the stage has one thread, so the child may continue as it is.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()).context("fork an actor"),
            0 => {
                let ready = process::close_all_but(childs_end.as_raw_fd())
                    .and_then(|()| process::die_with_parent())
                    .and_then(|()| process::set_name(&comm));
                if ready.is_err() {
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(1) }
                }
                // The stage's end was closed by number above; its owner must not close it again.
                std::mem::forget(control);
                play::play(childs_end)
            }
            pid => Ok(Self {
                pid,
                comm,
                control,
                own_child: true,
            }),
        }
    }

    /// Sends a command without waiting for its answer.
    ///
    /// # Errors
    /// If the actor has ended.
    pub fn post(&self, command: &Command) -> Result<()> {
        self.post_with(command, None)
    }

    fn post_with(&self, command: &Command, descriptor: Option<Fd>) -> Result<()> {
        let message = serde_json::to_vec(command)?;
        descriptors::send(&self.control, &message, descriptor)
            .with_context(|| format!("tell {} to {command:?}", self.comm))
    }

    /// Waits for the result of a posted command: an answer, or the errno it failed with.
    ///
    /// # Errors
    /// If the actor has ended or takes too long.
    pub fn outcome(&self) -> Result<Reply> {
        let mut buffer = vec![0_u8; LONGEST_ANSWER];
        match descriptors::receive(&self.control, &mut buffer) {
            Ok((0, _)) => bail!("{} is gone", self.comm),
            Ok((length, _)) => Ok(serde_json::from_slice(&buffer[..length])?),
            Err(error) => {
                Err(error).with_context(|| format!("wait for the answer of {}", self.comm))
            }
        }
    }

    /// Runs a command, which may fail.
    ///
    /// # Errors
    /// If the actor has ended or takes too long.
    pub fn attempt(&self, command: &Command) -> Result<Reply> {
        self.post(command)?;
        self.outcome()
    }

    /// Runs a command, which must succeed.
    pub fn call(&self, command: &Command) -> Result<Answer> {
        self.answer_to(command, self.attempt(command)?)
    }

    fn answer_to(&self, command: &Command, outcome: Reply) -> Result<Answer> {
        outcome.map_err(|errno| anyhow::anyhow!("{}: {command:?}: {errno}", self.comm))
    }

    /// Runs a command that must fail, and returns its errno.
    pub fn failure(&self, command: &Command) -> Result<Errno> {
        match self.attempt(command)? {
            Ok(answer) => bail!(
                "{}: {command:?} did not fail but gave {answer:?}",
                self.comm
            ),
            Err(errno) => Ok(errno),
        }
    }

    /// Runs a command that must fail with this errno.
    pub fn must_fail(&self, command: &Command, expected: i32) -> Result<()> {
        let errno = self.failure(command)?;
        if errno != Errno(expected) {
            bail!(
                "{}: {command:?} failed with \"{errno}\", not with \"{}\"",
                self.comm,
                Errno(expected)
            );
        }
        Ok(())
    }

    /// Forks a child that inherits every descriptor.
    pub fn fork(&self, comm: String) -> Result<Self> {
        let (control, childs_end) = control_pair()?;
        let command = Command::Fork { name: comm.clone() };
        self.post_with(&command, Some(childs_end.as_raw_fd()))?;
        match self.answer_to(&command, self.outcome()?)? {
            Answer::Pid(pid) => Ok(Self {
                pid,
                comm,
                control,
                own_child: false,
            }),
            other => bail!("{}: {command:?} gave {other:?}", self.comm),
        }
    }

    /// Ends the process with everything open, and waits until it has exited.
    pub fn exit(&self) -> Result<()> {
        self.post(&Command::Exit)?;
        self.await_death()
    }

    /// Kills the process (SIGKILL), and waits until it has exited.
    pub fn kill(&self) -> Result<()> {
        process::signal(self.pid, libc::SIGKILL)?;
        self.await_death()
    }

    fn await_death(&self) -> Result<()> {
        if self.own_child && !process::reap(self.pid, DEATH_LIMIT) {
            bail!("{} does not end", self.comm);
        }
        Ok(())
    }
}

/// The stage's end, with a time limit for answers, and the actor's end.
fn control_pair() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = descriptors::packet_pair().context("make a control socket")?;
    let limit = libc::timeval {
        tv_sec: ANSWER_LIMIT.as_secs() as libc::time_t,
        tv_usec: 0,
    };
    inet::set_option(ours.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, limit)?;
    Ok((ours, theirs))
}
