//! Reads the kernel's memory by a load instead of a helper, on kernels that allow it.
//!
//! `bpf_probe_read_kernel` costs tens of nanoseconds for each field that a program reads, a load one or two.
//! `bpf_rdonly_cast` (a kernel function, which the verifier turns into a move) makes any address loadable, with
//! faults guarded; since 6.17 without a type for what is there. Programs call it by its number in the kernel's BTF.

use std::borrow::Cow;

use twtrace_wire::{CAST_MARK, CLAIM_MARK};

use super::{
    btf::KernelBtf,
    trial::{
        self, CALL, EXIT, INSTRUCTION_BYTES, Instruction, Kind, LOAD_8, LOAD_64, SET, instruction,
    },
};

/// Name of the kernel function in BTF.
pub const READ_BY_LOAD: &str = "bpf_rdonly_cast";

/// `src_reg` of a call of a kernel function, `BPF_PSEUDO_KFUNC_CALL`.
const KERNEL_FUNCTION: u8 = 2;
/// `BPF_STX | BPF_ATOMIC | BPF_DW`
const ATOMIC: u8 = 0xdb;
/// `BPF_CMPXCHG`
const COMPARE_AND_EXCHANGE: u32 = 0xf1;

/// The number of `bpf_rdonly_cast`, if this kernel allows programs to read with it.
pub fn cast(types: &KernelBtf) -> Option<u32> {
    let id = types.function_id(READ_BY_LOAD)?;
    match trial::load(Kind::RawTracepoint, &first_byte(id)) {
        Ok(_) => Some(id),
        Err(error) => {
            log::debug!("the kernel's memory is read by a helper: bpf_rdonly_cast: {error}");
            None
        }
    }
}

/// The object, with its marks replaced by what they stand for if the kernel has that.
pub fn object(object: &[u8], cast: Option<u32>) -> Cow<'_, [u8]> {
    let Some(id) = cast else {
        return Cow::Borrowed(object);
    };
    let replaced = [
        (
            instruction(CALL, 0, 0, CAST_MARK),
            instruction(CALL, 0, KERNEL_FUNCTION, id),
        ),
        // A kernel with the cast also has this instruction.
        (
            instruction(CALL, 0, 0, CLAIM_MARK),
            instruction(ATOMIC, 1, 3, COMPARE_AND_EXCHANGE),
        ),
    ];
    let mut object = object.to_vec();
    // Sections of instructions are aligned to the size of an instruction.
    for place in object.chunks_exact_mut(INSTRUCTION_BYTES) {
        if let Some((_, instead)) = replaced.iter().find(|(mark, _)| place == mark) {
            place.copy_from_slice(instead);
        }
    }
    Cow::Owned(object)
}

/// A program that reads the first byte of its first argument.
fn first_byte(id: u32) -> [Instruction; 6] {
    [
        // r1 = *(u64 *)(r1 + 0)
        instruction(LOAD_64, 1, 1, 0),
        // r2 = 0
        instruction(SET, 2, 0, 0),
        instruction(CALL, 0, KERNEL_FUNCTION, id),
        // r0 = *(u8 *)(r0 + 0)
        instruction(LOAD_8, 0, 0, 0),
        // r0 = 0
        instruction(SET, 0, 0, 0),
        instruction(EXIT, 0, 0, 0),
    ]
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
