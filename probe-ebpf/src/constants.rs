//! Constants of one run: userspace replaces their bytes before the programs load.

use core::ptr;

use twtrace_wire::{ABSENT, BIRTHS_HOOKED, Config, Offsets};

/// Offsets of kernel fields, written by userspace before loading. Read field by field with [`offset`], so that the
/// verifier knows each value and removes what this kernel does not need.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::from_values(&[ABSENT; Offsets::SOURCES.len()]);

/// Settings of this run, written by userspace before loading. Read with [`config`].
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    tw_timer_handler: 0,
    tick_ns: 0,
    slow_port_ns: 0,
    wake_bytes: 0,
    stack_slow_port_ns: 0,
    sk_kern_sock_bit: ABSENT,
    sk_shutdown_bit: ABSENT,
    births: BIRTHS_HOOKED,
    ends_by_timer: 0,
    ports_by_syscall: 0,
    tell_special: 0,
    stacks: 0,
    user_registers: 0,
    registers_offset: 0,
    cgroup_controller: ABSENT,
    direct_reads: 0,
    closing_mask: 0,
    conn_slot_bits: 0,
    in_execve_bit: ABSENT,
};

/// Reads a field of one of the statics above, with the value that userspace wrote after compilation.
#[inline(always)]
pub fn constant<T: Copy>(field: *const T) -> T {
    // SAFETY: only called by the macros below, with a field of a valid static.
    unsafe { ptr::read_volatile(field) }
}

/// Reads a field of [`OFFSETS`].
macro_rules! offset {
    ($field:ident) => {{ $crate::constants::constant(&raw const $crate::constants::OFFSETS.$field) }};
}
pub(crate) use offset;

/// Reads a field of [`CONFIG`].
macro_rules! config {
    ($field:ident) => {{ $crate::constants::constant(&raw const $crate::constants::CONFIG.$field) }};
}
pub(crate) use config;
