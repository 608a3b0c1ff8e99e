//! The place in a process's code that closes a connection or searches for a port.
//!
//! The kernel walks user stacks by frame pointers. This misses the caller of the system call's wrapper: libc's close()
//! and connect() create no frame, so that the frame pointer is still that of their caller, and the first return address
//! found through it is one function too far out. The missing address is at the stack pointer, or a few words above it.
//! So the top of the stack is kept as well, and userspace unwinds it with the modules' own tables (.eh_frame).
//!
//! A *site* is a process, its stack by frame pointers, and the words at the top of the stack that look like return
//! addresses: two functions that close from the same place in main() are two sites.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_stackid,
        generated::{
            bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs,
        },
    },
    maps::StackTrace,
};
use twtrace_wire::{
    LOST_SITE, NO_SITE, Probe, ProcessKey, REGISTERS_BY_HELPER, REGISTERS_BY_STACK, STACK_ID_MASK,
    STACK_IN_MORE, STACK_LOST, STACK_OF_EXIT, STACK_OF_KERNEL_THREAD, Site, WINDOW_WORDS,
};

use crate::{
    constants::{config, offset},
    maps::{SITES, STACKS, STACKS_MORE, lost::count_lost},
    processes::process::PF_KTHREAD,
    records::Actor,
    sockets::read::read,
};

/// `BPF_F_USER_STACK`: walk the user stack.
const USER_STACK: u64 = 1 << 8;
const EEXIST: i64 = 17;
/// `BPF_NOEXIST`: two CPUs may create the same entry.
const NO_EXIST: u64 = 1;

/// Offsets in `struct pt_regs` of x86-64, in bytes.
const PT_REGS_BP: u32 = 4 * 8;
const PT_REGS_DI: u32 = 14 * 8;
const PT_REGS_IP: u32 = 16 * 8;
const PT_REGS_SP: u32 = 19 * 8;

/// Bounds of user addresses, for page tables with four and with five levels.
const LOWEST_CODE: u64 = 0x1_0000;
const HIGHEST_CODE: u64 = 1 << 56;
/// An address at most this far above the stack pointer is on the stack.
const STACK_SPAN: u64 = 8 << 20;

static NO_WORDS: Site = Site::NONE;

/// The context of a program, for bpf_get_stackid().
#[derive(Clone, Copy)]
pub struct Ctx(*mut c_void);

/// Takes the context from a program's argument.
#[inline(always)]
pub fn ctx<C: EbpfContext>(ctx: &C) -> Ctx {
    Ctx(ctx.as_ptr())
}

/// The place in `actor`'s code where this happens: a key of `SITES`, [`NO_SITE`] if stacks are off or there is no
/// process, or [`LOST_SITE`]. Call this in process context only.
#[inline(always)]
pub fn site(ctx: Ctx, actor: &Actor) -> u64 {
    if config!(stacks) == 0 || !actor.is_process() {
        return NO_SITE;
    }
    // The context must stay in the program's own function.
    let stack = stack_of(ctx);
    stack_site(
        actor.key.start_boot_ns,
        actor.key.tgid as u64,
        actor.tid as u64,
        stack as u64,
    )
}

/// The id of the user stack, walked by frame pointers.
#[inline(always)]
fn stack_of(ctx: Ctx) -> u32 {
    let first = stack_id(ctx, &STACKS);
    if first >= 0 {
        return first as u32 & STACK_ID_MASK;
    }
    if first == -EEXIST {
        let second = stack_id(ctx, &STACKS_MORE);
        if second >= 0 {
            return second as u32 & STACK_ID_MASK | STACK_IN_MORE;
        }
        count_lost(Probe::StackSlot);
        return STACK_LOST;
    }
    // SAFETY: the helper takes no arguments and has no side effects.
    let task = unsafe { bpf_get_current_task() };
    if read::<u32>(task, offset!(task_flags)) & PF_KTHREAD != 0 {
        STACK_OF_KERNEL_THREAD
    } else {
        STACK_OF_EXIT
    }
}

#[inline(always)]
fn stack_id(ctx: Ctx, map: &'static StackTrace) -> i64 {
    let map: *const StackTrace = map;
    // SAFETY: the program's own context, and a map of the required kind.
    unsafe { bpf_get_stackid(ctx.0, map.cast_mut().cast(), USER_STACK) }
}

/// The user's registers as saved on entry to the kernel, or 0.
#[inline(always)]
fn user_registers() -> u64 {
    match config!(user_registers) {
        // SAFETY: the current task, through a helper that this kernel has.
        REGISTERS_BY_HELPER => unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 },
        REGISTERS_BY_STACK => {
            // SAFETY: the helper takes no arguments and has no side effects.
            let task = unsafe { bpf_get_current_task() };
            read::<u64>(task, offset!(task_stack)) + config!(registers_offset) as u64
        }
        _ => 0,
    }
}

/// The first argument of the current system call; 0 if it cannot be read or the call is not one of x86-64.
#[inline(always)]
pub fn first_argument() -> u64 {
    match user_registers() {
        0 => 0,
        registers => read(registers, PT_REGS_DI),
    }
}

/// Finds the site, or creates it. A global function that takes numbers only: the verifier checks it on its own, once,
/// and not again for each state of its callers.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn stack_site(start_boot_ns: u64, tgid: u64, tid: u64, stack: u64) -> u64 {
    let mut hash = mixed(start_boot_ns, tgid);
    hash = mixed(hash, stack);
    let stack = stack as u32;
    let mut sp = 0;
    let mut registers = 0;
    if stack <= STACK_ID_MASK | STACK_IN_MORE || stack == STACK_LOST {
        registers = user_registers();
        if registers != 0 {
            sp = read::<u64>(registers, PT_REGS_SP);
        }
    }
    if sp != 0 {
        let mut index = 0;
        while index < WINDOW_WORDS as u64 {
            let word = read_user(sp + index * 8);
            if is_return_address(word, sp) {
                hash = mixed(hash, word ^ (index << 56));
            }
            index += 1;
        }
    }
    // Two hash values have another meaning.
    if hash == NO_SITE || hash == LOST_SITE {
        hash = 1;
    }
    if SITES.get_ptr(hash).is_some() {
        return hash;
    }
    if SITES.insert(hash, &NO_WORDS, NO_EXIST).is_err() {
        if SITES.get_ptr(hash).is_some() {
            return hash;
        }
        return LOST_SITE;
    }
    let Some(site) = SITES.get_ptr_mut(hash) else {
        return LOST_SITE;
    };
    // SAFETY: a map value that only its creator writes; `ready` is written last.
    unsafe {
        (*site).process = ProcessKey {
            tgid: tgid as u32,
            unattributed: 0,
            start_boot_ns,
        };
        (*site).stack = stack;
        (*site).tid = tid as u32;
        if sp != 0 {
            (*site).ip = read(registers, PT_REGS_IP);
            (*site).sp = sp;
            (*site).bp = read(registers, PT_REGS_BP);
            bpf_probe_read_user(
                (&raw mut (*site).window).cast(),
                size_of::<[u64; WINDOW_WORDS]>() as u32,
                sp as *const _,
            );
            mark_returns(site, sp);
        }
        (*site).ready = 1;
    }
    hash
}

/// Marks the words that look like return addresses. This is a loop of its own: in programs with functions, the verifier
/// (up to 6.1) follows every value that a number in a register can take, but not values in a map.
///
/// # Safety
/// `site` is a map value.
#[inline(always)]
unsafe fn mark_returns(site: *mut Site, sp: u64) {
    let mut index = 0;
    while index < WINDOW_WORDS {
        // SAFETY: guaranteed by the caller; the index is below the number of words.
        unsafe {
            let word = (&raw const (*site).window).cast::<u64>().add(index).read();
            if is_return_address(word, sp) {
                (*site).returns |= 1 << index;
            }
        }
        index += 1;
    }
}

/// One step of a hash (the finaliser of splitmix64).
#[inline(always)]
fn mixed(hash: u64, word: u64) -> u64 {
    let mut hash = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// Whether the bytes before this address are a call instruction of x86-64.
#[inline(always)]
fn is_return_address(word: u64, sp: u64) -> bool {
    let is_code = (LOWEST_CODE..HIGHEST_CODE).contains(&word);
    if !is_code || word.wrapping_sub(sp) < STACK_SPAN {
        return false;
    }
    let before = read_user(word - 8);
    // Opcode of `call rel32`.
    if before >> 24 & 0xff == 0xe8 {
        return true;
    }
    // `call r/m64` is FF /2, and 2, 3, 4, 6 or 7 bytes long.
    is_indirect(before >> 48)
        || is_indirect(before >> 40)
        || is_indirect(before >> 32)
        || is_indirect(before >> 16)
        || is_indirect(before >> 8)
}

#[inline(always)]
fn is_indirect(bytes: u64) -> bool {
    bytes & 0x38ff == 0x10ff
}

/// Reads a word of the user's memory; zero if it cannot be read without waiting.
#[inline(always)]
fn read_user(address: u64) -> u64 {
    let mut word = 0_u64;
    // SAFETY: a local variable of the given size; the helper checks the source and writes zero on a fault.
    unsafe {
        bpf_probe_read_user((&raw mut word).cast(), 8, address as *const _);
    }
    word
}
