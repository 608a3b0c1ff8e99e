//! Empty BPF programs on hooks, and perf's own use of tracepoints.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use super::{bpf::bpf, btf, check, check_long, tracefs};

/// Commands of `enum bpf_cmd`, program types of `enum bpf_prog_type` and perf's of `enum perf_type_id`.
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const PERF_TYPE_TRACEPOINT: u32 = 2;
/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_SET_BPF` of linux/perf_event.h.
const PERF_ENABLE: libc::Ioctl = 0x2400;
const PERF_SET_BPF: libc::Ioctl = 0x4004_2408;
/// `BPF_TRACE_FENTRY` and `BPF_TRACE_FEXIT` of `enum bpf_attach_type`.
const TRACE_FENTRY: u32 = 24;
const TRACE_FEXIT: u32 = 25;

/// Where an empty program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachPoint {
    /// Raw tracepoint of this name.
    RawTracepoint(String),
    /// Classic tracepoint: category and name.
    Tracepoint(String, String),
    /// Entry of a kernel function.
    Fentry(String),
    /// Return of a kernel function.
    Fexit(String),
    /// kprobe on a kernel function.
    Kprobe(String),
    /// kretprobe on a kernel function.
    Kretprobe(String),
}

impl AttachPoint {
    /// `enum bpf_prog_type`.
    fn program_type(&self) -> u32 {
        match self {
            Self::Kprobe(_) | Self::Kretprobe(_) => 2,
            Self::Tracepoint(..) => 5,
            Self::RawTracepoint(_) => 17,
            Self::Fentry(_) | Self::Fexit(_) => 26,
        }
    }
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD uses.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instructions: u32,
    instruction_pointer: u64,
    license_pointer: u64,
    log_level: u32,
    log_size: u32,
    log_pointer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    btf: [u32; 2],
    function_info: u64,
    function_infos: u32,
    line_info_size: u32,
    line_info: u64,
    line_infos: u32,
    attach_btf_id: u32,
    attach_program: u32,
    padding: u32,
}

/// Loads a program that does nothing (`r0 = 0; exit`) and attaches it. Closing the returned descriptors detaches it.
pub fn attach_empty(place: &AttachPoint) -> io::Result<Vec<OwnedFd>> {
    const INSTRUCTIONS: [u64; 2] = [0xb7, 0x95];
    let mut load = Load {
        program_type: place.program_type(),
        instructions: 2,
        instruction_pointer: INSTRUCTIONS.as_ptr() as u64,
        license_pointer: c"GPL".as_ptr() as u64,
        name: *b"empty\0\0\0\0\0\0\0\0\0\0\0",
        ..Load::default()
    };
    if let AttachPoint::Fentry(function) | AttachPoint::Fexit(function) = place {
        load.attach_type = match place {
            AttachPoint::Fexit(_) => TRACE_FEXIT,
            _ => TRACE_FENTRY,
        };
        load.attach_btf_id = btf::function_id(function)?;
    }
    // SAFETY: the attribute and what it points to live through the call.
    let program = unsafe { bpf(PROG_LOAD, &raw mut load, size_of::<Load>()) }?;
    let link = match place {
        AttachPoint::RawTracepoint(name) => open_raw(&program, Some(name)),
        AttachPoint::Fentry(_) | AttachPoint::Fexit(_) => open_raw(&program, None),
        AttachPoint::Tracepoint(category, name) => {
            let id = tracefs::tracepoint_id(category, name)?;
            open_perf(&program, PERF_TYPE_TRACEPOINT, id, None)
        }
        AttachPoint::Kprobe(function) => open_perf(&program, kprobe_type()?, 0, Some(function)),
        AttachPoint::Kretprobe(function) => open_perf(&program, kprobe_type()?, 1, Some(function)),
    }?;
    Ok(vec![program, link])
}

fn open_raw(program: &OwnedFd, name: Option<&str>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Open {
        name: u64,
        program: u32,
        padding: u32,
    }
    let name = name.map(CString::new).transpose()?;
    let mut open = Open {
        name: name.as_ref().map_or(0, |name| name.as_ptr() as u64),
        program: program.as_raw_fd() as u32,
        padding: 0,
    };
    // SAFETY: as above.
    unsafe { bpf(RAW_TRACEPOINT_OPEN, &raw mut open, size_of::<Open>()) }
}

fn kprobe_type() -> io::Result<u32> {
    number_in("/sys/bus/event_source/devices/kprobe/type")
}

fn number_in(path: &str) -> io::Result<u32> {
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(io::Error::other)
}

/// Opens a perf event on one CPU, as is usual: its program then runs on all of them.
fn open_perf(
    program: &OwnedFd,
    kind: u32,
    config: u64,
    function: Option<&str>,
) -> io::Result<OwnedFd> {
    let event = perf_event(kind, config, function)?;
    // SAFETY: both take an integer.
    check(unsafe { libc::ioctl(event.as_raw_fd(), PERF_SET_BPF, program.as_raw_fd()) })?;
    // SAFETY: as above.
    check(unsafe { libc::ioctl(event.as_raw_fd(), PERF_ENABLE, 0) })?;
    Ok(event)
}

/// Uses a tracepoint as `perf` does, without a program: perf's function for it runs from now on, before functions that
/// are registered later.
///
/// # Errors
/// If there is no such tracepoint, or errno of perf_event_open().
pub fn use_tracepoint(category: &str, name: &str) -> io::Result<OwnedFd> {
    const PERF_TYPE_TRACEPOINT: u32 = 2;
    perf_event(
        PERF_TYPE_TRACEPOINT,
        tracefs::tracepoint_id(category, name)?,
        None,
    )
}

fn perf_event(kind: u32, config: u64, function: Option<&str>) -> io::Result<OwnedFd> {
    /// `struct perf_event_attr` up to `config2`.
    #[repr(C)]
    struct Attribute {
        kind: u32,
        size: u32,
        config: u64,
        sample_period: u64,
        sample_type: u64,
        read_format: u64,
        flags: u64,
        wakeup: u32,
        breakpoint: u32,
        config1: u64,
        config2: u64,
    }
    let function = function.map(CString::new).transpose()?;
    let attribute = Attribute {
        kind,
        size: size_of::<Attribute>() as u32,
        config,
        sample_period: 1,
        sample_type: 0,
        read_format: 0,
        flags: 0,
        wakeup: 1,
        breakpoint: 0,
        config1: function.as_ref().map_or(0, |name| name.as_ptr() as u64),
        config2: 0,
    };
    // SAFETY: the attribute contains its own size.
    let fd = check_long(unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attribute,
            -1,
            0,
            -1,
            8, // PERF_FLAG_FD_CLOEXEC
        )
    })?;
    // SAFETY: created just now, no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
