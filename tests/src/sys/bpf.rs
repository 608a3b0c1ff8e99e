//! The BPF programs that are loaded on this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    thread,
    time::{Duration, Instant},
};

use super::{btf, check, check_long, tracefs};

/// `BPF_PROG_GET_NEXT_ID` of `enum bpf_cmd`.
const PROG_GET_NEXT_ID: libc::c_int = 11;

/// The part of `union bpf_attr` that the GET_NEXT_ID commands use.
#[repr(C)]
struct NextId {
    start: u32,
    next: u32,
    flags: u32,
}

/// Ids of all loaded programs.
///
/// # Errors
/// errno of bpf(): EPERM without CAP_SYS_ADMIN.
pub fn program_ids() -> io::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    let mut attribute = NextId {
        start: 0,
        next: 0,
        flags: 0,
    };
    loop {
        // SAFETY: the kernel reads and writes the attribute, whose length is given.
        let found = check_long(unsafe {
            libc::syscall(
                libc::SYS_bpf,
                PROG_GET_NEXT_ID,
                &raw mut attribute,
                size_of::<NextId>(),
            )
        });
        match found {
            Ok(_) => {
                ids.insert(attribute.next);
                attribute.start = attribute.next;
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(error) => return Err(error),
        }
    }
}

/// Waits until these programs are gone: they are freed a moment after their last user.
///
/// # Errors
/// When some are left after ten seconds.
pub fn await_gone(programs: &BTreeSet<u32>) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let loaded = program_ids()?;
        let left: Vec<&u32> = programs.intersection(&loaded).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(io::Error::other(format!("programs {left:?} are left")));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Ids of the programs that a process holds, by a descriptor of the program or of its link.
///
/// # Errors
/// When /proc/PID/fdinfo can't be read.
pub fn programs_of(pid: u32) -> io::Result<BTreeSet<u32>> {
    Ok(fields_of(pid, "prog_id:")?
        .into_iter()
        .filter_map(|id| u32::try_from(id).ok())
        .collect())
}

/// How often the kernel skipped programs that a process holds; 0 where it does not count it.
///
/// # Errors
/// When /proc/PID/fdinfo can't be read.
pub fn misses_of(pid: u32) -> io::Result<u64> {
    Ok(fields_of(pid, "recursion_misses:")?.into_iter().sum())
}

/// A number from each of a process's descriptors that has it.
fn fields_of(pid: u32, name: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        numbers.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix(name))
                .filter_map(|number| number.trim().parse::<u64>().ok()),
        );
    }
    Ok(numbers)
}

/// Commands of `enum bpf_cmd`, program types of `enum bpf_prog_type` and perf's of `enum perf_type_id`.
const PROG_LOAD: libc::c_int = 5;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
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

/// Loads a program that does nothing (`r0 = 0; exit`) and attaches it. Closing what is returned detaches it.
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

/// `bpf()` for commands that return a descriptor.
///
/// # Safety
/// The attribute must be of `length` bytes, and right for the command.
pub unsafe fn bpf<T>(
    command: libc::c_int,
    attribute: *mut T,
    length: usize,
) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises.
    let fd = check_long(unsafe { libc::syscall(libc::SYS_bpf, command, attribute, length) })?;
    // SAFETY: made just now, no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
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

/// Opens a perf event on one CPU, as is the custom: its program then runs on all of them.
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

/// Uses a tracepoint as `perf` does, without a program: perf's function for it runs from now on, before what is
/// registered later.
///
/// # Errors
/// When there is no such tracepoint, or errno of perf_event_open().
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
    // SAFETY: the attribute says its own size.
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
    // SAFETY: made just now, no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// How often and how long a program ran, by `kernel.bpf_stats_enabled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Runs {
    /// Its name, cut by the kernel to 15 bytes.
    pub name: String,
    /// Time in it, nanoseconds.
    pub time_ns: u64,
    /// How often.
    pub count: u64,
}

/// What the programs of a process took so far, by the program's id.
///
/// # Errors
/// When /proc/PID/fdinfo can't be read, or bpf() fails.
pub fn runs_of(pid: u32) -> io::Result<BTreeMap<u32, Runs>> {
    programs_of(pid)?
        .into_iter()
        .map(|id| Ok((id, runs(id)?)))
        .collect()
}

fn runs(id: u32) -> io::Result<Runs> {
    /// The part of `struct bpf_prog_info` up to `run_cnt`.
    #[repr(C)]
    struct Info {
        before: [u64; 8],
        name: [u8; 16],
        between: [u64; 14],
        time_ns: u64,
        count: u64,
    }
    #[repr(C)]
    struct Get {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut by_id = NextId {
        start: id,
        next: 0,
        flags: 0,
    };
    // SAFETY: the attribute lives through the call.
    let program = unsafe { bpf(PROG_GET_FD_BY_ID, &raw mut by_id, size_of::<NextId>()) }?;
    let mut info = Info {
        before: [0; 8],
        name: [0; 16],
        between: [0; 14],
        time_ns: 0,
        count: 0,
    };
    let mut get = Get {
        fd: program.as_raw_fd() as u32,
        length: size_of::<Info>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes `length` bytes at most.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET_INFO_BY_FD,
            &raw mut get,
            size_of::<Get>(),
        )
    })?;
    let end = info.name.iter().position(|byte| *byte == 0).unwrap_or(16);
    Ok(Runs {
        name: String::from_utf8_lossy(&info.name[..end]).into_owned(),
        time_ns: info.time_ns,
        count: info.count,
    })
}

/// Memory of the maps that a process holds, as the kernel charges it.
///
/// # Errors
/// When /proc/PID/fdinfo can't be read.
pub fn map_bytes_of(pid: u32) -> io::Result<u64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let number = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(bytes)) = (number("map_id:"), number("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.into_values().sum())
}
