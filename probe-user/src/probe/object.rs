//! The eBPF object: its constants, the sizes of its maps, and how it is loaded.

use std::sync::OnceLock;

use aya::Ebpf;
use aya_log::EbpfLogger;
use twtrace_core::hooks::plan::Behaviour;
use twtrace_wire::{ABSENT, BIRTHS_BY_TIMER, BIRTHS_HOOKED, BIRTHS_INFERRED, Config, Offsets};

use super::attach::Kernel;
use super::{ProbeError, ProbeOptions, direct_reads, kernel_properties, loader, stacks};

/// The eBPF object. The binary provides it, so that a change of it does not recompile this library.
static OBJECT: OnceLock<&'static [u8]> = OnceLock::new();

/// Sets the eBPF object, once, before anything is attached. An empty one means a build without it.
pub fn provide_object(object: &'static [u8]) {
    // There can't be a second one: the program has one entry.
    let _ = OBJECT.set(object);
}

/// Whether this build lacks the object.
pub fn is_missing() -> bool {
    object().is_empty()
}

fn object() -> &'static [u8] {
    OBJECT.get().copied().unwrap_or_default()
}

/// Size of a map that the chosen tiers do not use.
const UNUSED_ENTRIES: u32 = 64;

/// Closing sockets that may have found their slot taken.
const CLOSING_ENTRIES: u32 = 65_536;

/// TIME_WAITs that may be killed or reopened in a second on the timer tier before some are not reported.
const CANCELLED_ENTRIES: u32 = 8192;

/// Processes of a command that can be followed, for each process that can be counted: most create no connection.
const DESCENDANTS_PER_PROCESS: u32 = 8;

/// Prints the kernel side's warnings.
pub type Logger = EbpfLogger<&'static dyn log::Log>;

/// The constants that programs read: what this kernel has, and how they behave on the chosen tiers.
pub fn configure(options: &ProbeOptions, kernel: &Kernel<'_>, behaviours: &[Behaviour]) -> Config {
    let by_timer = behaviours.contains(&Behaviour::BirthsByTimer);
    let births = if by_timer {
        BIRTHS_BY_TIMER
    } else if behaviours.contains(&Behaviour::BirthsInferred) {
        BIRTHS_INFERRED
    } else {
        BIRTHS_HOOKED
    };
    let by_syscall = behaviours.contains(&Behaviour::PortsBySyscall);
    Config {
        tw_timer_handler: if by_timer {
            kernel.tw_timer_handler()
        } else {
            0
        },
        tick_ns: kernel_properties::tick_ns(),
        slow_port_ns: options.slow_port_ns,
        wake_bytes: u64::from(options.ring_bytes) / 4,
        sk_kern_sock_bit: kernel
            .types
            .member_bit_offset("sock", "sk_kern_sock")
            .unwrap_or(ABSENT),
        sk_shutdown_bit: kernel
            .types
            .member_bit_offset("sock", "sk_shutdown")
            .unwrap_or(ABSENT),
        stack_slow_port_ns: options
            .stacks
            .map_or(u64::MAX, |stacks| stacks.slow_port_ns),
        births,
        ends_by_timer: u32::from(by_timer),
        ports_by_syscall: u32::from(by_syscall),
        tell_special: u32::from(options.tell_special),
        stacks: u32::from(options.stacks.is_some()),
        user_registers: stacks::user_registers(kernel.types),
        registers_offset: stacks::REGISTERS_OFFSET,
        cgroup_controller: kernel_properties::cgroup_controller(kernel.types),
        direct_reads: u32::from(kernel.cast.is_some()),
        closing_mask: closing_slots(options, births) - 1,
        conn_slot_bits: match kernel.cast {
            Some(_) if options.max_sockets >= SLOTS_FROM => {
                options.max_sockets.next_power_of_two().ilog2()
            }
            _ => 0,
        },
        in_execve_bit: kernel
            .types
            .member_bit_offset("task_struct", "in_execve")
            .unwrap_or(ABSENT),
    }
}

/// Below this, exactly the requested number of sockets is followed.
const SLOTS_FROM: u32 = 4096;

/// Slots for closing sockets: with as many slots as entries, most chains of a table are short.
fn closing_slots(options: &ProbeOptions, births: u32) -> u32 {
    if births == BIRTHS_BY_TIMER {
        options.max_sockets.clamp(1, 1 << 24).next_power_of_two()
    } else {
        1
    }
}

/// Loads the object with its constants, and maps of the sizes that the options give.
pub fn load(
    options: &ProbeOptions,
    offsets: &Offsets,
    config: &Config,
    cast: Option<u32>,
) -> Result<(Ebpf, Option<Logger>), ProbeError> {
    // Only the timer tier finds sockets by tuple.
    let (closing, cancelled) = if config.births == BIRTHS_BY_TIMER {
        (options.max_sockets.min(CLOSING_ENTRIES), CANCELLED_ENTRIES)
    } else {
        (UNUSED_ENTRIES, UNUSED_ENTRIES)
    };
    // With as many slots as sockets, a bit more than a third of the sockets find their slot taken.
    let conns = match config.conn_slot_bits {
        0 => options.max_sockets,
        _ => options.max_sockets / 2,
    };
    // Half as many slots hold two fifths of so many mini-sockets; the map has room for the others.
    let (mini_slots, minis) = match config.conn_slot_bits {
        0 => (1, options.max_sockets),
        bits => (1 << (bits - 1), options.max_sockets / 8 * 5),
    };
    let descendants = if options.follows_command {
        options
            .max_processes
            .saturating_mul(DESCENDANTS_PER_PROCESS)
    } else {
        1
    };
    let existing = u32::try_from(options.existing_sockets).unwrap_or(u32::MAX);
    let stacks = options.stacks.map_or(1, |stacks| stacks.max_stacks);
    let mut ebpf = loader::without_kernel_btf()
        .map_err(ProbeError::FileLimit)?
        .override_global("OFFSETS", offsets, true)
        .override_global("CONFIG", config, true)
        .map_max_entries("EVENTS", options.ring_bytes)
        .map_max_entries("CONN_SLOTS", 1 << config.conn_slot_bits)
        .map_max_entries("CONNS", conns)
        .map_max_entries("MINI_SLOTS", mini_slots)
        .map_max_entries("MINIS", minis)
        .map_max_entries("EXISTING", existing.clamp(1, options.max_sockets))
        .map_max_entries("CLOSING", closing)
        .map_max_entries("CLOSING_SLOTS", config.closing_mask + 1)
        .map_max_entries("CANCELLED", cancelled)
        // A process that is counted may have acted before many others did.
        .map_max_entries("NAMES", options.max_processes.saturating_mul(2))
        .map_max_entries("PROCESSES", options.max_processes)
        .map_max_entries("PORTS", options.max_processes)
        .map_max_entries("DESCENDANTS", descendants)
        .map_max_entries("STACKS", stacks)
        .map_max_entries("STACKS_MORE", stacks)
        .map_max_entries("SITES", stacks)
        // Few are counted for more than one thing.
        .map_max_entries("SITE_COUNTS", stacks * 2)
        .load(&direct_reads::object(object(), cast))
        .map_err(|error| ProbeError::Object(one_line(&error)))?;
    let logger = match EbpfLogger::init(&mut ebpf) {
        Ok(logger) => Some(logger),
        Err(error) => {
            log::debug!("the kernel side's log can't be read: {error}");
            None
        }
    };
    Ok((ebpf, logger))
}

/// An error and its causes, except causes whose text the one before already has.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
