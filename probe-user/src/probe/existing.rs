//! Telling the kernel side of sockets that were there before it, and asking it who processes are.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{Array, HashMap, MapData, MapError};
use aya::programs::Program;
use twtrace_wire::{Existing, ExistingKey, NetnsKey, ProcessKey};

use super::bpf_call::run_once;
use super::counters::{map_error, missing};
use super::{Attached, ProbeError};

const MAP: &str = "EXISTING";
const PROGRAM: &str = "process_start";
const ANSWER: &str = "PROCESS_START";
const IDENTITY_PROGRAM: &str = "netns_identity";
const IDENTITY: &str = "NETNS_IDENTITY";

impl Attached {
    /// Tells the kernel side of sockets. Returns for how many there was no room.
    ///
    /// # Errors
    /// When the map can't be written.
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

    /// Which process it is whose directory in /proc is given, as events have it: its id in the initial pid namespace, and
    /// when it started. `None` where the process is gone, or this kernel's structs are others.
    ///
    /// # Errors
    /// When this kernel can't run the program that finds out (before 5.10).
    pub fn process_key(&mut self, directory: &File) -> Result<Option<ProcessKey>, ProbeError> {
        self.run(PROGRAM, directory.as_raw_fd())?;
        let fails = |error: MapError| map_error(ANSWER, &error);
        let map = self.ebpf.map(ANSWER).ok_or_else(|| missing(ANSWER))?;
        let map: Array<&MapData, ProcessKey> = map.try_into().map_err(fails)?;
        let key = map.get(&0, 0).map_err(fails)?;
        Ok((key.tgid != 0 && key.start_boot_ns != 0).then_some(key))
    }

    /// Which network namespace a file stands for (`/proc/PID/ns/net`), as the kernel side knows it; `None` where this
    /// kernel does not say.
    pub fn netns_identity(&self, file: &File) -> Option<NetnsKey> {
        let Some(Program::RawTracePoint(program)) = self.ebpf.program(IDENTITY_PROGRAM) else {
            return None;
        };
        let descriptor = program.fd().ok()?;
        let mut context = [u64::from(file.as_raw_fd().unsigned_abs())];
        run_once(descriptor.as_fd(), &mut context)
            .inspect_err(|error| log::debug!("which namespace a file stands for: {error}"))
            .ok()?;
        let map = self.ebpf.map(IDENTITY)?;
        let map: Array<&MapData, NetnsKey> = map.try_into().ok()?;
        let identity = map.get(&0, 0).ok()?;
        (identity.netns != 0 && identity.mark != 0).then_some(identity)
    }

    /// Loads what [`Self::netns_identity`] runs.
    pub(super) fn load_netns_identity(&mut self) {
        if let Some(Program::RawTracePoint(program)) = self.ebpf.program_mut(IDENTITY_PROGRAM)
            && let Err(error) = program.load()
        {
            log::debug!("namespaces with the same number are not told apart: {error}");
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
