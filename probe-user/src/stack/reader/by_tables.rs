//! The top of a stack by the unwind tables of its modules.

use std::collections::HashMap;
use std::rc::Rc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, Unwinder};
use twtrace_wire::{Site, WINDOW_WORDS};

use super::modules::Modules;
use crate::stack::protocol::RequestMapping;
use crate::stack::unwind::{Return, Top};

/// Unwinds the kept part of the stack; `None` if the module has no tables. `mapping_of` returns the mapping that contains
/// an address.
pub fn unwind<'a>(
    site: &Site,
    mapping_of: impl Fn(u64) -> Option<&'a RequestMapping>,
    modules: &mut Modules,
) -> Option<Top> {
    let mut unwinder = UnwinderX86_64::<Rc<[u8]>>::new();
    let mut cache = CacheX86_64::<_>::new();
    let mut has_tables: HashMap<u64, bool> = HashMap::new();
    let mut registers = UnwindRegsX86_64::new(site.ip, site.sp, site.bp);
    let mut read_stack = |address: u64| {
        let index = usize::try_from(address.wrapping_sub(site.sp) / 8).map_err(|_| ())?;
        match address % 8 {
            0 => site.window.get(index).copied().ok_or(()),
            _ => Err(()),
        }
    };
    let mut frame = FrameAddress::from_instruction_pointer(site.ip);
    let mut top = Top {
        returns: Vec::new(),
        is_whole: false,
    };
    while top.returns.len() < WINDOW_WORDS {
        let mapping = mapping_of(frame.address_for_lookup());
        let known = mapping.is_some_and(|mapping| {
            *has_tables.entry(mapping.start).or_insert_with(|| {
                let module = mapped(mapping, modules);
                let found = module.is_some();
                module
                    .into_iter()
                    .for_each(|module| unwinder.add_module(module));
                found
            })
        });
        if !known {
            // framehop would continue with the frame pointer.
            break;
        }
        match unwinder.unwind_frame(frame, &mut registers, &mut cache, &mut read_stack) {
            Ok(Some(address)) => {
                let Some(index) = kept_at(site, registers.sp(), address) else {
                    break;
                };
                top.returns.push(Return {
                    address,
                    index: Some(index),
                });
                let Some(next) = FrameAddress::from_return_address(address) else {
                    break;
                };
                frame = next;
            }
            Ok(None) => {
                top.is_whole = true;
                break;
            }
            Err(_) => break,
        }
    }
    (!top.returns.is_empty()).then_some(top)
}

/// The word that the address was read from, if the kernel side also took it for a return address: only those are the
/// same each time the site is counted.
fn kept_at(site: &Site, frame: u64, address: u64) -> Option<usize> {
    let index = usize::try_from(frame.wrapping_sub(8).wrapping_sub(site.sp) / 8).ok()?;
    let is_kept = site.window.get(index) == Some(&address) && site.returns >> index & 1 != 0;
    is_kept.then_some(index)
}

/// The unwind tables of a mapping's file; `None` if it has none.
fn mapped(mapping: &RequestMapping, modules: &mut Modules) -> Option<Module<Rc<[u8]>>> {
    let tables = modules.get(mapping.file?)?.tables()?;
    let bias = tables.bias(mapping.start, mapping.offset)?;
    let sections = tables.sections();
    Some(Module::new(
        String::new(),
        mapping.start..mapping.end,
        bias,
        sections,
    ))
}
