//! Passes sockets from before tracing to the kernel side, and asks it about processes and namespaces.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{Array, HashMap, MapData, MapError};
use aya::programs::Program;
use twtrace_wire::{Existing, ExistingKey, NetnsKey, ProcessNow};

use super::bpf_call::run_once;
use super::program_counters::{map_error, missing};
use super::{Attached, ProbeError, bound};

const MAP: &str = "EXISTING";
const PROGRAM: &str = "process_now";
const ANSWER: &str = "PROCESS_NOW";
const IDENTITY_PROGRAM: &str = "netns_identity";
const IDENTITY: &str = "NETNS_IDENTITY";

impl Attached {
    /// Passes sockets to the kernel side. Returns for how many there was no room.
    pub fn tell_existing(
        &mut self,
        sockets: impl Iterator<Item = (ExistingKey, Existing)>,
    ) -> Result<u64, ProbeError> {
        let fails = |error: MapError| map_error(MAP, &error);
        let map = self.ebpf.map_mut(MAP).ok_or_else(|| missing(MAP))?;
        let mut map: HashMap<&mut MapData, ExistingKey, Existing> =
            map.try_into().map_err(fails)?;
        let mut without_room = 0;
        for (key, socket) in sockets {
            match map.insert(key, socket, 0) {
                Ok(()) => {}
                Err(MapError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(libc::E2BIG) =>
                {
                    without_room += 1;
                }
                Err(error) => return Err(fails(error)),
            }
        }
        Ok(without_room)
    }

    /// The process whose directory in /proc is given, as events name it: its id in the initial pid namespace, and
    /// when it started; also its program and its cgroup. `None` if the process has ended, if this kernel can't run
    /// the program that finds out (before 5.10), or if the kernel's structs differ.
    pub fn process_now(&self, directory: RawFd) -> Option<ProcessNow> {
        let descriptor = self.program_to_run(PROGRAM)?;
        let mut context = [u64::from(directory.unsigned_abs())];
        run_once(descriptor, &mut context)
            .inspect_err(|error| log::debug!("which process a directory stands for: {error}"))
            .ok()?;
        let map: Array<&MapData, ProcessNow> = self.ebpf.map(ANSWER)?.try_into().ok()?;
        let now = map.get(&0, 0).ok()?;
        (now.key.tgid != 0 && now.key.start_boot_ns != 0).then_some(now)
    }

    /// The network namespace that a file (`/proc/PID/ns/net`) stands for, as the kernel side knows it; `None` if this
    /// kernel does not report it.
    pub fn netns_identity(&self, file: &File) -> Option<NetnsKey> {
        let descriptor = self.program_to_run(IDENTITY_PROGRAM)?;
        let mut context = [u64::from(file.as_raw_fd().unsigned_abs())];
        run_once(descriptor, &mut context)
            .inspect_err(|error| log::debug!("which namespace a file stands for: {error}"))
            .ok()?;
        let map = self.ebpf.map(IDENTITY)?;
        let map: Array<&MapData, NetnsKey> = map.try_into().ok()?;
        let identity = map.get(&0, 0).ok()?;
        (identity.netns != 0 && identity.mark != 0).then_some(identity)
    }

    /// A program that userspace runs; `None` if the kernel refused it.
    pub(super) fn program_to_run(&self, name: &str) -> Option<BorrowedFd<'_>> {
        let Some(Program::RawTracePoint(program)) = self.ebpf.program(name) else {
            return None;
        };
        program.fd().ok().map(|descriptor| descriptor.as_fd())
    }

    /// Loads the programs that userspace runs, because the privilege to do so is dropped later.
    pub(super) fn load_answers(&mut self) {
        for (name, loss) in [
            (PROGRAM, "openers from before tracing, and executables"),
            (IDENTITY_PROGRAM, "which of the namespaces with one number"),
            (bound::PROGRAM, "which ports belong to a bind()"),
        ] {
            if let Some(Program::RawTracePoint(program)) = self.ebpf.program_mut(name)
                && let Err(error) = program.load()
            {
                log::debug!("not known, since the kernel refuses {name}: {loss}: {error}");
            }
        }
    }
    /// Runs a program for raw tracepoints once, with one argument.
    pub(super) fn run(&mut self, name: &'static str, argument: i32) -> Result<(), ProbeError> {
        let fails = |why: String| ProbeError::Run { program: name, why };
        let program = match self.ebpf.program_mut(name) {
            Some(Program::RawTracePoint(program)) => program,
            _ => return Err(fails("the object has no such program".to_owned())),
        };
        if program.fd().is_err() {
            program.load().map_err(|error| fails(error.to_string()))?;
        }
        let descriptor = program.fd().map_err(|error| fails(error.to_string()))?;
        let mut context = [u64::from(argument.unsigned_abs())];
        run_once(descriptor.as_fd(), &mut context).map_err(|error| fails(error.to_string()))
    }
}
