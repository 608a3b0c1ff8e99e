//! Telling the kernel side of sockets that were there before it, and asking it who processes are.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{Array, HashMap, MapData, MapError};
use aya::programs::Program;
use twtrace_wire::{Existing, ExistingKey};

use super::bpf_call::bpf;
use super::counters::{map_error, missing};
use super::{Attached, ProbeError};

const MAP: &str = "EXISTING";
const PROGRAM: &str = "process_start";
const ANSWER: &str = "PROCESS_START";

/// `enum bpf_cmd`.
const BPF_PROG_TEST_RUN: libc::c_int = 10;

/// The part of `union bpf_attr` that BPF_PROG_TEST_RUN takes.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

const _: () = assert!(size_of::<TestRun>() == 72);

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

    /// When a process started whose directory in /proc is given: nanoseconds of CLOCK_BOOTTIME, as events
    /// have it. `None` where the process is gone, or this kernel's structs are others.
    ///
    /// # Errors
    /// When this kernel can't run the program that finds out (before 5.10).
    pub fn process_start_boot_ns(&mut self, directory: &File) -> Result<Option<u64>, ProbeError> {
        self.run(PROGRAM, directory.as_raw_fd())?;
        let fails = |error: MapError| map_error(ANSWER, &error);
        let map = self.ebpf.map(ANSWER).ok_or_else(|| missing(ANSWER))?;
        let map: Array<&MapData, u64> = map.try_into().map_err(fails)?;
        let start = map.get(&0, 0).map_err(fails)?;
        Ok((start != 0).then_some(start))
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
        let context = [u64::from(argument.unsigned_abs())];
        let mut attributes = TestRun {
            prog_fd: descriptor.as_fd().as_raw_fd().unsigned_abs(),
            ctx_size_in: size_of_val(&context) as u32,
            ctx_in: context.as_ptr() as u64,
            ..TestRun::default()
        };
        // SAFETY: the attributes are of the command's layout; `context` outlives the call.
        let result = unsafe { bpf(BPF_PROG_TEST_RUN, &mut attributes) };
        result.map(|_| ()).map_err(|error| fails(error.to_string()))
    }
}
