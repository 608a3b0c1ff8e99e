//! One stack of two: the kernel's walk along frame pointers, and the top of the stack by unwind tables.
//!
//! The kernel's walk misses the callers of functions that make no frame, above all the one that called
//! libc's close() or connect(). The top of the stack was kept: it is unwound by the tables of the modules
//! until it meets the walk.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder};
use object::elf::{PF_X, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Object, ObjectSection, ReadCache};
use twtrace_wire::{STACK_DEPTH, Site, WINDOW_WORDS};

use super::process::{Image, Mapping};
use crate::model::stacks::FoundBy;

/// A module's tables that are larger are not read.
const MAX_TABLE_BYTES: u64 = 128 << 20;

/// An address of a stack, and how it was found. All but the first are return addresses.
pub type Found = (u64, FoundBy);

type Sections = ExplicitModuleSectionInfo<Vec<u8>>;

/// The stack of a site, innermost first.
pub fn unwind(site: &Site, walked: &[u64], image: &mut Image) -> Vec<Found> {
    let executable = |address: u64| image.mapping(address.wrapping_sub(1)).is_some();
    // The walk follows whatever the frame pointer's register holds.
    let walked: Vec<u64> = walked
        .iter()
        .copied()
        .enumerate()
        .take_while(|(index, address)| *index == 0 || executable(*address))
        .map(|(_, address)| address)
        .collect();
    if site.sp == 0 {
        return by_frame_pointers(&walked);
    }
    let top = by_tables(site, image);
    if let Some(top) = top {
        return joined(site.ip, &top, &walked);
    }
    let likely = scanned(site, |address| {
        image.mapping(address - 1).map(|mapping| mapping.start)
    });
    with_likely(site, likely, &walked)
}

/// The stack of a process that is gone: nothing is known of its addresses.
pub fn raw(site: &Site, walked: &[u64]) -> Vec<Found> {
    if site.sp == 0 {
        return by_frame_pointers(walked);
    }
    with_likely(site, scanned(site, |_| Some(0)), walked)
}

fn by_frame_pointers(walked: &[u64]) -> Vec<Found> {
    walked
        .iter()
        .map(|address| (*address, FoundBy::FramePointer))
        .collect()
}

/// What the tables tell of the top of the stack.
#[derive(Debug, PartialEq, Eq)]
struct Top {
    /// Return addresses.
    returns: Vec<u64>,
    /// They reach to the stack's end.
    is_whole: bool,
}

/// The tables' frames up to where they meet the walk, and the walk from there on.
fn joined(ip: u64, top: &Top, walked: &[u64]) -> Vec<Found> {
    let outer = walked.get(1..).unwrap_or_default();
    let meeting = top
        .returns
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, address)| {
            let in_walk = outer.iter().position(|other| other == address)?;
            Some((at, in_walk))
        });
    let (inner, outer) = match meeting {
        Some((at, in_walk)) => (&top.returns[..=at], &outer[in_walk + 1..]),
        None if top.is_whole => (&top.returns[..], &outer[..0]),
        // What was kept of the stack ends before: the frame pointer is that of a function farther out.
        None => (&top.returns[..], outer),
    };
    let mut frames = vec![(ip, FoundBy::FramePointer)];
    frames.extend(inner.iter().map(|address| (*address, FoundBy::UnwindTable)));
    frames.extend(by_frame_pointers(outer));
    frames.truncate(STACK_DEPTH);
    frames
}

fn with_likely(site: &Site, likely: Option<u64>, walked: &[u64]) -> Vec<Found> {
    let mut frames = vec![(site.ip, FoundBy::FramePointer)];
    let outer = walked.get(1..).unwrap_or_default();
    if let Some(address) = likely
        && outer.first() != Some(&address)
    {
        frames.push((address, FoundBy::Scan));
    }
    frames.extend(by_frame_pointers(outer));
    frames
}

/// The word that is likely the innermost return address: the one at the stack pointer, else the first of
/// another module than the one that called the kernel. `module_of` names the module of executable addresses.
fn scanned(site: &Site, module_of: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    // The frame pointer's own frame has its return address just above it; the caller in question is below.
    let beyond = site.sp.saturating_add(8 * WINDOW_WORDS as u64);
    let end = if (site.sp..beyond).contains(&site.bp) {
        site.bp
    } else {
        beyond
    };
    let own = module_of(site.ip.wrapping_add(1));
    let mut likely = None;
    for (index, word) in site.window.iter().enumerate() {
        let is_return = site.returns >> index & 1 != 0;
        if !is_return || site.sp + 8 * index as u64 >= end {
            continue;
        }
        match module_of(*word) {
            Some(_) if index == 0 => return Some(*word),
            Some(module) if Some(module) != own => return Some(*word),
            Some(_) => likely = likely.or(Some(*word)),
            None => {}
        }
    }
    likely
}

/// Unwinds what was kept of the stack; `None` where the module has no tables.
fn by_tables(site: &Site, image: &mut Image) -> Option<Top> {
    let mut unwinder = UnwinderX86_64::<Vec<u8>>::new();
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
        let mapping = image.mapping(frame.address_for_lookup()).cloned();
        let known = mapping.is_some_and(|mapping| {
            *has_tables.entry(mapping.start).or_insert_with(|| {
                let module = module(&mapping, image);
                let found = module.is_some();
                module
                    .into_iter()
                    .for_each(|module| unwinder.add_module(module));
                found
            })
        });
        if !known {
            // framehop would go on by the frame pointer.
            break;
        }
        match unwinder.unwind_frame(frame, &mut registers, &mut cache, &mut read_stack) {
            Ok(Some(address)) if is_kept(site, registers.sp(), address) => {
                top.returns.push(address);
                let Some(next) = FrameAddress::from_return_address(address) else {
                    break;
                };
                frame = next;
            }
            Ok(None) => {
                top.is_whole = true;
                break;
            }
            Ok(Some(_)) | Err(_) => break,
        }
    }
    (!top.returns.is_empty()).then_some(top)
}

/// Whether the address was read from a word that looked like a return address to the kernel side, too: only
/// those are the same whenever the site is counted.
fn is_kept(site: &Site, frame: u64, address: u64) -> bool {
    let at = frame.wrapping_sub(8).wrapping_sub(site.sp) / 8;
    let kept = usize::try_from(at).ok().and_then(|at| {
        let word = site.window.get(at)?;
        Some((*word, site.returns >> at & 1))
    });
    kept == Some((address, 1))
}

/// A mapped file's unwind tables; `None` where it has none.
fn module(mapping: &Mapping, image: &mut Image) -> Option<Module<Vec<u8>>> {
    let file = image.file(mapping)?;
    let sections = read(&file, mapping)?;
    Some(Module::new(
        String::new(),
        mapping.start..mapping.end,
        sections.bias,
        sections.tables,
    ))
}

struct Tables {
    /// What is added to the file's addresses.
    bias: u64,
    tables: Sections,
}

fn read(file: &File, mapping: &Mapping) -> Option<Tables> {
    let cache = ReadCache::new(file);
    let header = object::elf::FileHeader64::<object::Endianness>::parse(&cache).ok()?;
    let endian = header.endian().ok()?;
    let bias = header
        .program_headers(endian, &cache)
        .ok()?
        .iter()
        .find_map(|segment| {
            let executable =
                segment.p_type(endian) == PT_LOAD && segment.p_flags(endian) & PF_X != 0;
            let (offset, size) = segment.file_range(endian);
            // Mappings begin at a page.
            let first = offset & !0xfff;
            let inside = (first..offset.checked_add(size)?).contains(&mapping.offset);
            let address = segment
                .p_vaddr(endian)
                .wrapping_sub(offset)
                .wrapping_add(mapping.offset);
            (executable && inside).then(|| mapping.start.wrapping_sub(address))
        })?;
    let object = object::read::elf::ElfFile64::<object::Endianness, _>::parse(&cache).ok()?;
    let range = |name: &str| -> Option<Range<u64>> {
        let section = object.section_by_name(name)?;
        Some(section.address()..section.address().checked_add(section.size())?)
    };
    let data = |name: &str| -> Option<Vec<u8>> {
        let section = object.section_by_name(name)?;
        (section.size() > 0 && section.size() <= MAX_TABLE_BYTES)
            .then(|| section.data().ok().map(<[u8]>::to_vec))?
    };
    let tables = Sections {
        base_svma: 0,
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        debug_frame: data(".debug_frame"),
        ..Default::default()
    };
    let has_any = tables.eh_frame.is_some() || tables.debug_frame.is_some();
    has_any.then_some(Tables { bias, tables })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(returns: &[u64], is_whole: bool) -> Top {
        Top {
            returns: returns.to_vec(),
            is_whole,
        }
    }

    fn addresses(frames: Vec<Found>) -> Vec<u64> {
        frames.into_iter().map(|(address, _)| address).collect()
    }

    #[test]
    fn the_wrappers_caller_comes_between() {
        // 20 called close(), 30 called 20: the walk has 30 first.
        assert_eq!(
            addresses(joined(10, &top(&[20, 30], false), &[10, 30, 40])),
            [10, 20, 30, 40]
        );
        // The window ends in 20's frame.
        assert_eq!(
            addresses(joined(10, &top(&[20], false), &[10, 30, 40])),
            [10, 20, 30, 40]
        );
        // The walk went astray, and the tables reach to the end.
        assert_eq!(
            addresses(joined(10, &top(&[20, 30], true), &[10, 99])),
            [10, 20, 30]
        );
        assert_eq!(addresses(joined(10, &top(&[20], false), &[])), [10, 20]);
    }

    fn site(words: &[(usize, u64, bool)]) -> Site {
        let mut site = Site {
            ip: 1000,
            sp: 0x7000,
            ..Site::NONE
        };
        for (index, word, is_return) in words {
            site.window[*index] = *word;
            site.returns |= u32::from(*is_return) << index;
        }
        site
    }

    #[test]
    fn scanning_takes_the_top_word_or_the_first_of_another_module() {
        let module_of = |address: u64| (address < 5000).then_some(address / 1000);
        let at_top = site(&[(0, 1500, true), (1, 2000, true)]);
        assert_eq!(scanned(&at_top, module_of), Some(1500));
        let pushed = site(&[(0, 7, false), (2, 1500, true), (3, 2500, true)]);
        assert_eq!(scanned(&pushed, module_of), Some(2500));
        let mut bounded = pushed;
        bounded.bp = bounded.sp + 3 * 8;
        assert_eq!(scanned(&bounded, module_of), Some(1500));
        assert_eq!(scanned(&site(&[(0, 9000, true)]), module_of), None);
        assert_eq!(
            addresses(with_likely(&pushed, Some(2500), &[1000, 2500, 3])),
            [1000, 2500, 3]
        );
    }
}
