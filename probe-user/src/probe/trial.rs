//! Tiny programs that find out what this kernel accepts, before the object is loaded.
//!
//! The kernel accepts or refuses a program of two instructions for the same reasons as a large one, if the reason is
//! its type, its function, or a privilege. Loading it costs microseconds. So the object is loaded once, with the
//! constants of the tiers that will be chosen.

use std::{
    io,
    os::fd::{AsFd as _, FromRawFd as _, OwnedFd},
};

use super::bpf_call::{bpf, run_once};

/// BPF_PROG_LOAD of `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
/// Covers both kinds of licence that helpers ask for.
const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";
/// Bytes of a `struct bpf_insn`.
pub const INSTRUCTION_BYTES: usize = 8;

/// `struct bpf_insn`.
pub type Instruction = [u8; INSTRUCTION_BYTES];

/// `BPF_JMP | BPF_CALL`
pub const CALL: u8 = 0x85;
/// `BPF_LDX | BPF_MEM | BPF_DW`
pub const LOAD_64: u8 = 0x79;
/// `BPF_LDX | BPF_MEM | BPF_B`
pub const LOAD_8: u8 = 0x71;
/// `BPF_STX | BPF_MEM | BPF_DW`
const STORE_64: u8 = 0x7b;
/// `BPF_ALU64 | BPF_MOV | BPF_K`
pub const SET: u8 = 0xb7;
/// `BPF_ALU64 | BPF_MOV | BPF_X`
const MOVE: u8 = 0xbf;
/// `BPF_ALU64 | BPF_ADD | BPF_K`
const ADD: u8 = 0x07;
/// `BPF_LD | BPF_IMM | BPF_DW`, the first half of two instructions.
const LOAD_IMMEDIATE_64: u8 = 0x18;
/// `BPF_JMP | BPF_EXIT`
pub const EXIT: u8 = 0x95;

const FRAME: u8 = 10;

/// `struct bpf_insn`, without an offset.
pub fn instruction(code: u8, destination: u8, source: u8, immediate: u32) -> Instruction {
    at_offset(code, destination, source, 0, immediate)
}

fn at_offset(code: u8, destination: u8, source: u8, offset: i16, immediate: u32) -> Instruction {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, source << 4 | destination, low, high, a, b, c, d]
}

/// Types of programs (`enum bpf_prog_type`) to try.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`
    RawTracepoint,
    /// `BPF_PROG_TYPE_TRACING`, at the entry or the return of the function with this number in the kernel's BTF.
    Function {
        id: u32,
        /// At the return, not at the entry.
        at_return: bool,
    },
    /// `BPF_PROG_TYPE_SYSCALL`: run by userspace, and may query addresses of kernel symbols.
    Syscall,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads.
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

const _: () = assert!(size_of::<ProgramLoad>() == 112);

/// Loads a program, which exists for as long as the descriptor.
///
/// # Errors
/// The kernel's errno.
pub fn load(kind: Kind, instructions: &[Instruction]) -> io::Result<OwnedFd> {
    const BPF_F_SLEEPABLE: u32 = 1 << 4;
    let mut attribute = ProgramLoad {
        insn_cnt: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        insns: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        prog_name: *b"twtrace_trial\0\0\0",
        ..ProgramLoad::default()
    };
    match kind {
        Kind::RawTracepoint => attribute.prog_type = 17,
        Kind::Function { id, at_return } => {
            attribute.prog_type = 26;
            // BPF_TRACE_FENTRY, BPF_TRACE_FEXIT
            attribute.expected_attach_type = if at_return { 25 } else { 24 };
            attribute.attach_btf_id = id;
        }
        Kind::Syscall => {
            attribute.prog_type = 31;
            attribute.prog_flags = BPF_F_SLEEPABLE;
        }
    }
    // SAFETY: the attribute has the layout of this command; instructions and licence outlive the call.
    let descriptor = unsafe { bpf(PROG_LOAD, &mut attribute) }?;
    // SAFETY: the descriptor has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// Whether the kernel accepts a program for the entry or the return of a kernel function.
///
/// # Errors
/// The kernel's errno.
pub fn function(id: u32, at_return: bool) -> io::Result<()> {
    let nothing = [instruction(SET, 0, 0, 0), instruction(EXIT, 0, 0, 0)];
    load(Kind::Function { id, at_return }, &nothing).map(|_| ())
}

/// The address of a kernel symbol, by `bpf_kallsyms_lookup_name` (5.16). The kernel finds it in its sorted table
/// (6.2), while a scan of /proc/kallsyms makes it format a hundred thousand lines. It needs the same as reading
/// /proc/kallsyms (`bpf_dump_raw_ok`), and CAP_PERFMON.
///
/// # Errors
/// If this kernel can't do it, or has no such symbol.
pub fn symbol_address(symbol: &str) -> io::Result<u64> {
    const KALLSYMS_LOOKUP_NAME: u32 = 179;
    /// Place of the answer on the stack.
    const ANSWER: i16 = -8;
    let name = padded(symbol);
    let name_at =
        ANSWER - i16::try_from(name.len() * 8).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut program = vec![
        // r6 = the context
        instruction(MOVE, 6, 1, 0),
        instruction(SET, 1, 0, 0),
        at_offset(STORE_64, FRAME, 1, ANSWER, 0),
    ];
    for (word, at) in name.iter().zip((name_at..).step_by(8)) {
        let [low, high] = [*word as u32, (word >> 32) as u32];
        program.extend([
            instruction(LOAD_IMMEDIATE_64, 1, 0, low),
            instruction(0, 0, 0, high),
            at_offset(STORE_64, FRAME, 1, at, 0),
        ]);
    }
    let from_frame = |register, offset: i16| {
        [
            instruction(MOVE, register, FRAME, 0),
            instruction(ADD, register, 0, i32::from(offset).cast_unsigned()),
        ]
    };
    program.extend(from_frame(1, name_at));
    program.push(instruction(SET, 2, 0, symbol.len() as u32 + 1));
    program.push(instruction(SET, 3, 0, 0));
    program.extend(from_frame(4, ANSWER));
    program.extend([
        instruction(CALL, 0, 0, KALLSYMS_LOOKUP_NAME),
        // context[0] = answer
        at_offset(LOAD_64, 1, FRAME, ANSWER, 0),
        at_offset(STORE_64, 6, 1, 0, 0),
        instruction(SET, 0, 0, 0),
        instruction(EXIT, 0, 0, 0),
    ]);
    let program = load(Kind::Syscall, &program)?;
    let mut context = [0_u64];
    run_once(program.as_fd(), &mut context)?;
    match context {
        [0] => Err(io::ErrorKind::NotFound.into()),
        [address] => Ok(address),
    }
}

/// A name with its zero byte, as 64-bit words.
fn padded(name: &str) -> Vec<u64> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_padded_with_zero_bytes() {
        assert_eq!(padded("abc"), [u64::from_ne_bytes(*b"abc\0\0\0\0\0")]);
        assert_eq!(padded("12345678").len(), 2);
    }

    #[test]
    fn an_instruction_is_laid_out_as_the_kernel_reads_it() {
        // *(u64 *)(r10 - 8) = r1
        let store = at_offset(STORE_64, FRAME, 1, -8, 0);
        assert_eq!(store, [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0]);
    }
}
