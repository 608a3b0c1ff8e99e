//! Stack usage of the eBPF programs. Kernels before 6.13 refuse a chain of calls that takes more than 512 bytes in
//! total (`check_max_stack_depth` in kernel/bpf/verifier.c), later ones may not: a build here must not depend on which
//! kernel loads it first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, SymbolKind};

/// `MAX_BPF_STACK`
const MAX_BYTES: u64 = 512;
/// The verifier rounds each function's stack up to a multiple of this.
const STEP: u64 = 32;
/// Length of an instruction, bytes.
const INSN: u64 = 8;
/// `r10`, the frame pointer.
const FRAME: u8 = 10;
/// `R_BPF_64_32`: relocation of a call
const CALL_RELOCATION: u32 = 10;
/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_CALL`: call of a function in this object
const PSEUDO_CALL: u8 = 1;
/// `BPF_ALU64 | BPF_MOV | BPF_X`
const MOVE: u8 = 0xbf;
/// `BPF_ALU64 | BPF_ADD | BPF_K`
const ADD: u8 = 0x07;
/// Maximum depth of calls: the kernel refuses recursion in any case.
const MAX_CALLS: usize = 8;

/// A function: its section and its offset there.
type Place = (usize, u64);

/// Stack of one function, and the functions it calls.
#[derive(Debug, Default)]
struct Function {
    name: String,
    bytes: u64,
    calls: BTreeSet<Place>,
    is_program: bool,
}

/// Checks every program of an object.
///
/// # Errors
/// If one takes more than the kernel allows; with the functions of the chain.
pub fn check(object: &Path) -> Result<()> {
    let bytes = fs::read(object).with_context(|| format!("can't read {}", object.display()))?;
    let functions =
        functions(&bytes).with_context(|| format!("can't read {}", object.display()))?;
    let mut excess = String::new();
    for (place, program) in functions.iter().filter(|(_, function)| function.is_program) {
        let (bytes, chain) = deepest(&functions, *place, MAX_CALLS);
        if bytes > MAX_BYTES {
            let _ = write!(
                excess,
                "\n  {}: {bytes} bytes: {}",
                program.name,
                chain.join(" > ")
            );
        }
    }
    if excess.is_empty() {
        return Ok(());
    }
    bail!(
        "programs take more than {MAX_BYTES} bytes of stack, which kernels before 6.13 refuse:{excess}"
    )
}

/// The chain of calls with the largest stack.
fn deepest(
    functions: &BTreeMap<Place, Function>,
    place: Place,
    calls_left: usize,
) -> (u64, Vec<String>) {
    let Some(function) = functions.get(&place) else {
        return (0, Vec::new());
    };
    let called = match calls_left {
        0 => None,
        _ => function
            .calls
            .iter()
            .map(|called| deepest(functions, *called, calls_left - 1))
            .max_by_key(|(bytes, _)| *bytes),
    };
    let (below, chain) = called.unwrap_or_default();
    let own = function.bytes.max(1).next_multiple_of(STEP);
    let name = format!("{} ({})", function.name, function.bytes);
    (own + below, [vec![name], chain].concat())
}

fn functions(bytes: &[u8]) -> Result<BTreeMap<Place, Function>> {
    let file = object::File::parse(bytes)?;
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        let Some(section) = symbol.section_index() else {
            continue;
        };
        if symbol.kind() != SymbolKind::Text || symbol.size() == 0 {
            continue;
        }
        let place = (section.0, symbol.address());
        let section = file.section_by_index(section)?;
        let mut function = Function {
            name: symbol.name()?.to_owned(),
            is_program: section.name()? != ".text",
            ..Function::default()
        };
        let relocated: BTreeMap<u64, Place> = section
            .relocations()
            .filter_map(|(at, relocation)| {
                let is_call = matches!(
                    relocation.flags(),
                    RelocationFlags::Elf { r_type } if r_type == CALL_RELOCATION
                );
                let object::RelocationTarget::Symbol(index) = relocation.target() else {
                    return None;
                };
                let symbol = file.symbol_by_index(index).ok().filter(|_| is_call)?;
                Some((at, (symbol.section_index()?.0, symbol.address())))
            })
            .collect();
        let data = section.data_range(symbol.address(), symbol.size())?;
        let data = data.context("a function is not in its section")?;
        read(&mut function, place, data, &relocated);
        functions.insert(place, function);
    }
    Ok(functions)
}

fn read(
    function: &mut Function,
    (section, start): Place,
    code: &[u8],
    relocated: &BTreeMap<u64, Place>,
) {
    let mut copies_of_frame = [false; 16];
    for (index, insn) in code.chunks_exact(INSN as usize).enumerate() {
        let at = start + index as u64 * INSN;
        let [opcode, registers, low, high, immediate @ ..] = insn else {
            continue;
        };
        let (to, from) = (registers & 0xf, registers >> 4);
        let offset = i64::from(i16::from_le_bytes([*low, *high]));
        let immediate = i64::from(i32::from_le_bytes(immediate.try_into().unwrap_or_default()));
        // BPF_LDX, BPF_ST and BPF_STX.
        let base = match opcode & 0x07 {
            0x01 => Some(from),
            0x02 | 0x03 => Some(to),
            _ => None,
        };
        let mut reaches = 0;
        match *opcode {
            MOVE => copies_of_frame[usize::from(to)] = from == FRAME,
            ADD if copies_of_frame[usize::from(to)] => {
                copies_of_frame[usize::from(to)] = false;
                reaches = immediate;
            }
            CALL if from == PSEUDO_CALL => {
                let called = match relocated.get(&at) {
                    // If the symbol is a section, the immediate is an instruction number in it.
                    Some((section, 0)) => (*section, ((immediate + 1) * 8) as u64),
                    Some(place) => *place,
                    None => (section, at.wrapping_add_signed((immediate + 1) * 8)),
                };
                function.calls.insert(called);
            }
            _ if base == Some(FRAME) => reaches = offset,
            _ => {}
        }
        function.bytes = function.bytes.max(u64::try_from(-reaches).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, bytes: u64, calls: &[u64]) -> Function {
        Function {
            name: name.to_owned(),
            bytes,
            calls: calls.iter().map(|at| (1, *at)).collect(),
            is_program: false,
        }
    }

    #[test]
    fn the_deepest_chain_counts_in_steps() {
        let functions = BTreeMap::from([
            ((1, 0), function("program", 104, &[8, 16])),
            ((1, 8), function("shallow", 1, &[])),
            ((1, 16), function("deep", 128, &[24])),
            ((1, 24), function("deeper", 224, &[])),
        ]);
        let (bytes, chain) = deepest(&functions, (1, 0), MAX_CALLS);
        assert_eq!(bytes, 128 + 128 + 224);
        assert_eq!(chain, ["program (104)", "deep (128)", "deeper (224)"]);
    }

    #[test]
    fn a_circle_has_an_end() {
        let functions = BTreeMap::from([((1, 0), function("round", 8, &[0]))]);
        assert_eq!(deepest(&functions, (1, 0), 3).0, 4 * STEP);
    }

    #[test]
    fn accesses_and_addresses_reach_down() {
        let mut found = Function::default();
        let code = [
            // *(u64 *)(r10 - 144) = r5
            [0x7b, 0x5a, 0x70, 0xff, 0, 0, 0, 0],
            // r2 = r10; r2 += -88
            [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],
            [0x07, 0x02, 0, 0, 0xa8, 0xff, 0xff, 0xff],
            // r3 += -4096, which is beyond any frame
            [0x07, 0x03, 0, 0, 0, 0xf0, 0xff, 0xff],
            // call of the function after the next instruction
            [0x85, 0x10, 0, 0, 1, 0, 0, 0],
            // call of a helper
            [0x85, 0, 0, 0, 1, 0, 0, 0],
        ];
        read(&mut found, (1, 80), &code.concat(), &BTreeMap::new());
        assert_eq!(found.bytes, 144);
        assert_eq!(found.calls, BTreeSet::from([(1, 80 + 6 * 8)]));
    }
}
