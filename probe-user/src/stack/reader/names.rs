//! Names of a stack's functions.

use super::modules::{Module, Modules};
use crate::stack::protocol::{NamedFrame, Request, cut};
use crate::stack::unwind::FoundFrame;

/// The frames of a stack; inlined functions are frames of their own.
pub fn named(stack: &[FoundFrame], request: &Request, modules: &mut Modules) -> Vec<NamedFrame> {
    let mut frames = Vec::new();
    for (index, found) in stack.iter().enumerate() {
        // A call may be the last instruction of a function: the call is before the return address.
        let back = u64::from(index > 0);
        name(*found, back, request, modules, &mut frames);
    }
    frames
}

fn name(
    found: FoundFrame,
    back: u64,
    request: &Request,
    modules: &mut Modules,
    frames: &mut Vec<NamedFrame>,
) {
    let mut frame = NamedFrame {
        address: found.0,
        found_by: found.1,
        symbol: None,
        offset: None,
        file: None,
        line: None,
    };
    let at = found.0.wrapping_sub(back);
    let mapping = request.mapping(at);
    let file = mapping.and_then(|mapping| mapping.file);
    if let (Some(mapping), Some(file)) = (mapping, file) {
        let offset = (at - mapping.start).wrapping_add(mapping.offset);
        if let Some(module) = modules.get(file) {
            by_file(&mut frame, module, offset, back, frames);
        }
    } else if let (Some(_), Some(map)) = (mapping, request.perf_map)
        && let Some(map) = modules.get(map).and_then(Module::perf_map)
        && let Some((name, offset)) = map.find(at)
    {
        frame.symbol = Some(cut(&String::from_utf8_lossy(name)));
        frame.offset = Some(offset + back);
    }
    frames.push(frame);
}

/// Names a frame, and adds those of the functions inlined into it.
fn by_file(
    frame: &mut NamedFrame,
    module: &mut Module,
    offset: u64,
    back: u64,
    frames: &mut Vec<NamedFrame>,
) -> Option<()> {
    let address = module.address_of(offset)?;
    if let Some((name, offset)) = module.symbol(address) {
        frame.symbol = Some(demangled(&String::from_utf8_lossy(&name)));
        frame.offset = Some(offset + back);
    }
    let mut places = module.dwarf()?.find(address);
    let outer = places.pop()?;
    for place in places {
        frames.push(NamedFrame {
            symbol: place.function,
            offset: None,
            file: place.file,
            line: place.line,
            ..*frame
        });
    }
    if outer.function.is_some() {
        frame.symbol = outer.function;
    }
    (frame.file, frame.line) = (outer.file, outer.line);
    Some(())
}

/// A name of Rust or C++ as it is in the source; others as they are. C++ also writes types so that names of C such as `f`
/// would be taken for them.
pub fn demangled(name: &str) -> String {
    match name.starts_with('_') {
        true => cut(&addr2line::demangle_auto(name.into(), None)),
        false => cut(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::protocol::MAX_NAME;

    #[test]
    fn names_are_those_of_the_source() {
        for (name, shown) in [
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_ZN3foo3barEi", "foo::bar(int)"),
            ("f", "f"),
            ("main", "main"),
            ("__close", "__close"),
        ] {
            assert_eq!(demangled(name), shown);
        }
        assert_eq!(
            demangled(&"é".repeat(2 * MAX_NAME)).chars().count(),
            MAX_NAME
        );
    }
}
