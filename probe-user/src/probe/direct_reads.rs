//! Reading the kernel's memory by a load in place of a call of a helper: where the kernel lets programs.
//!
//! Each of the fields that a program looks at costs `bpf_probe_read_kernel` tens of nanoseconds, a load one or two.
//! `bpf_rdonly_cast` (a kernel function, which the verifier turns into a move) makes any address one that may be loaded
//! from, with faults guarded; without a type of what is there since 6.17. It is called by its number in the kernel's BTF.

use std::{
    borrow::Cow,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use twtrace_wire::{CAST_MARK, CLAIM_MARK};

use super::{bpf_call::bpf, btf::KernelBtf};

/// BPF_PROG_LOAD of `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT` of `enum bpf_prog_type`.
const RAW_TRACEPOINT: u32 = 17;
/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// `src_reg` of a call of a kernel function, `BPF_PSEUDO_KFUNC_CALL`.
const KERNEL_FUNCTION: u8 = 2;
/// `BPF_STX | BPF_ATOMIC | BPF_DW`
const ATOMIC: u8 = 0xdb;
/// `BPF_CMPXCHG`
const COMPARE_AND_EXCHANGE: u32 = 0xf1;
const INSTRUCTION_BYTES: usize = 8;

/// The number of `bpf_rdonly_cast`, if this kernel lets the programs read with it.
pub fn cast(types: &KernelBtf) -> Option<u32> {
    let id = types.function_id("bpf_rdonly_cast")?;
    match load(&trial(id)) {
        Ok(_) => Some(id),
        Err(error) => {
            log::debug!("the kernel's memory is read by a helper: bpf_rdonly_cast: {error}");
            None
        }
    }
}

/// The object with the marks replaced by what they stand for, if the kernel has that.
pub fn object(object: &[u8], cast: Option<u32>) -> Cow<'_, [u8]> {
    let Some(id) = cast else {
        return Cow::Borrowed(object);
    };
    let replaced = [
        (
            instruction(CALL, 0, 0, CAST_MARK),
            instruction(CALL, 0, KERNEL_FUNCTION, id),
        ),
        // Such a kernel has this, too.
        (
            instruction(CALL, 0, 0, CLAIM_MARK),
            instruction(ATOMIC, 1, 3, COMPARE_AND_EXCHANGE),
        ),
    ];
    let mut object = object.to_vec();
    // Sections of instructions are aligned to theirs.
    for place in object.chunks_exact_mut(INSTRUCTION_BYTES) {
        if let Some((_, instead)) = replaced.iter().find(|(mark, _)| place == mark) {
            place.copy_from_slice(instead);
        }
    }
    Cow::Owned(object)
}

/// `struct bpf_insn`, without an offset.
fn instruction(code: u8, destination: u8, source: u8, immediate: u32) -> [u8; INSTRUCTION_BYTES] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, source << 4 | destination, 0, 0, a, b, c, d]
}

/// A program that reads its first argument's first byte.
fn trial(id: u32) -> Vec<u8> {
    [
        // r1 = *(u64 *)(r1 + 0)
        instruction(0x79, 1, 1, 0),
        // r2 = 0
        instruction(0xb7, 2, 0, 0),
        instruction(CALL, 0, KERNEL_FUNCTION, id),
        // r0 = *(u8 *)(r0 + 0)
        instruction(0x71, 0, 0, 0),
        // r0 = 0
        instruction(0xb7, 0, 0, 0),
        // exit
        instruction(0x95, 0, 0, 0),
    ]
    .concat()
}

/// The part of `union bpf_attr` that a program needs to load.
#[repr(C)]
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
}

fn load(instructions: &[u8]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attribute = ProgramLoad {
        prog_type: RAW_TRACEPOINT,
        insn_cnt: u32::try_from(instructions.len() / INSTRUCTION_BYTES).unwrap_or(u32::MAX),
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"twtrace_trial\0\0\0",
    };
    // SAFETY: the layout of this command; instructions and licence outlive the call.
    let descriptor = unsafe { bpf(PROG_LOAD, &mut attribute) }?;
    // SAFETY: a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_of_marks_are_replaced() {
        let other = instruction(CALL, 0, 0, 113);
        let mark_in_data = instruction(0xb7, 1, 0, CAST_MARK);
        let claim = instruction(CALL, 0, 0, CLAIM_MARK);
        let before = [
            other,
            instruction(CALL, 0, 0, CAST_MARK),
            mark_in_data,
            claim,
        ]
        .concat();
        assert_eq!(object(&before, None), before);
        let exchange = [0xdb, 0x31, 0, 0, 0xf1, 0, 0, 0];
        let after = [other, instruction(CALL, 0, 2, 4711), mark_in_data, exchange].concat();
        assert_eq!(object(&before, Some(4711)), after);
    }
}
