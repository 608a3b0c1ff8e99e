//! One stack of two: the kernel's walk along frame pointers, and the top of the stack by unwind tables.
//!
//! The kernel's walk misses the callers of functions that make no frame, above all the one that called
//! libc's close() or connect(). The top of the stack was kept: it is unwound by the tables of the modules
//! until it meets the walk.

use twtrace_core::model::stacks::FoundBy;
use twtrace_wire::{STACK_DEPTH, Site, WINDOW_WORDS};

/// No function's frame is larger; beyond it, the register does not hold a frame pointer.
const MAX_FRAME_BYTES: u64 = 8 << 20;

/// An address of a stack, and how it was found. All but the first are return addresses.
pub type FoundFrame = (u64, FoundBy);

/// A stack, innermost frame first.
#[derive(Debug, PartialEq, Eq)]
pub struct Stack {
    pub frames: Vec<FoundFrame>,
    /// The stack is incomplete: its functions have no frames, and no more of it was kept.
    pub is_cut: bool,
}

/// The stack of a site. `module_of` returns the start of the executable mapping that contains an address, `by_tables` the
/// top of the stack by unwind tables, if there are any.
pub fn unwind(
    site: &Site,
    walked: &[u64],
    module_of: impl Fn(u64) -> Option<u64>,
    by_tables: impl FnOnce() -> Option<Top>,
) -> Stack {
    let executable = |address: u64| module_of(address.wrapping_sub(1)).is_some();
    // The walk follows whatever value the frame pointer's register holds.
    let walked: Vec<u64> = walked
        .iter()
        .copied()
        .enumerate()
        .take_while(|(index, address)| *index == 0 || executable(*address))
        .map(|(_, address)| address)
        .collect();
    if site.sp == 0 {
        return Stack {
            frames: by_frame_pointers(&walked),
            is_cut: false,
        };
    }
    if let Some(top) = by_tables() {
        return joined(site.ip, &top, &located(site, &walked));
    }
    let likely = scanned(site, |address| module_of(address.wrapping_sub(1)));
    Stack {
        frames: with_likely(site, likely, &walked),
        is_cut: walked.len() < 2,
    }
}

/// All addresses that the stack of a site can have: instructions first, then return addresses.
pub fn candidates(site: &Site, walked: &[u64]) -> (Vec<u64>, Vec<u64>) {
    if site.sp == 0 {
        let (first, returns) = walked.split_at(walked.len().min(1));
        return (first.to_vec(), returns.to_vec());
    }
    let words = site.window.iter().enumerate();
    let kept = words.filter(|(index, _)| site.returns >> index & 1 != 0);
    let outer = walked.iter().skip(1);
    let returns = kept.map(|(_, word)| word).chain(outer).copied();
    (vec![site.ip], returns.collect())
}

/// The stack of a process that no longer exists: its addresses can't be resolved.
pub fn raw(site: &Site, walked: &[u64]) -> Vec<FoundFrame> {
    if site.sp == 0 {
        return by_frame_pointers(walked);
    }
    with_likely(site, scanned(site, |_| Some(0)), walked)
}

fn by_frame_pointers(walked: &[u64]) -> Vec<FoundFrame> {
    walked
        .iter()
        .map(|address| (*address, FoundBy::FramePointer))
        .collect()
}

/// A return address and the stack word that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    pub address: u64,
    /// Index of the word from the stack pointer; `None` beyond what was kept.
    pub index: Option<usize>,
}

/// The result of unwinding the top of the stack with tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Top {
    /// Return addresses, each with its stack word.
    pub returns: Vec<Return>,
    /// They reach the end of the stack.
    pub is_whole: bool,
}

/// The tables' frames, and those of the walk that are farther out on the stack. Addresses alone are not enough to
/// compare: a recursive function has the same one many times.
fn joined(ip: u64, top: &Top, walked: &[Return]) -> Stack {
    let reached = top.returns.last().and_then(|last| last.index);
    let outer: Vec<u64> = walked
        .iter()
        .filter(|frame| !top.is_whole && (frame.index.is_none() || frame.index > reached))
        .map(|frame| frame.address)
        .collect();
    let is_cut =
        !top.is_whole && outer.is_empty() && walked.iter().all(|frame| frame.index.is_none());
    let mut frames = vec![(ip, FoundBy::FramePointer)];
    frames.extend(
        top.returns
            .iter()
            .map(|frame| (frame.address, FoundBy::UnwindTable)),
    );
    frames.extend(by_frame_pointers(&outer));
    frames.truncate(STACK_DEPTH);
    Stack { frames, is_cut }
}

/// The stack words of the walk's return addresses; none if the register held no frame pointer.
fn located(site: &Site, walked: &[u64]) -> Vec<Return> {
    let mut frame = site.bp;
    if frame < site.sp || frame - site.sp > MAX_FRAME_BYTES {
        return Vec::new();
    }
    let word = |address: u64| {
        let index = usize::try_from(address.wrapping_sub(site.sp) / 8).ok()?;
        (address >= site.sp && index < WINDOW_WORDS).then_some(index)
    };
    let mut returns = Vec::new();
    for address in walked.iter().skip(1) {
        let index = frame.checked_add(8).and_then(word);
        returns.push(Return {
            address: *address,
            index,
        });
        frame = match word(frame) {
            Some(index) => site.window[index],
            None => u64::MAX,
        };
    }
    returns
}

fn with_likely(site: &Site, likely: Option<u64>, walked: &[u64]) -> Vec<FoundFrame> {
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

/// The word that is most likely the innermost return address: the one at the stack pointer, otherwise the first that
/// points to another module than the one that called the kernel. `module_of` returns the module of executable
/// addresses.
fn scanned(site: &Site, module_of: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    // The frame pointer's own frame has its return address just above it; the caller that is searched for is below.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn returns(frames: &[(u64, Option<usize>)]) -> Vec<Return> {
        frames
            .iter()
            .map(|(address, index)| Return {
                address: *address,
                index: *index,
            })
            .collect()
    }

    fn top(frames: &[(u64, usize)], is_whole: bool) -> Top {
        let frames: Vec<_> = frames
            .iter()
            .map(|(address, index)| (*address, Some(*index)))
            .collect();
        Top {
            returns: returns(&frames),
            is_whole,
        }
    }

    fn addresses(stack: Stack) -> Vec<u64> {
        stack
            .frames
            .into_iter()
            .map(|(address, _)| address)
            .collect()
    }

    #[test]
    fn the_wrappers_caller_comes_between() {
        // 20 called close(), 30 called 20 and itself: the walk has 30 first.
        let walked = returns(&[(30, Some(3)), (30, Some(7)), (40, None)]);
        assert_eq!(
            addresses(joined(10, &top(&[(20, 0), (30, 3)], false), &walked)),
            [10, 20, 30, 30, 40]
        );
        // The kept part of the stack ends in 20's frame.
        let outer = returns(&[(30, None), (40, None)]);
        assert_eq!(
            addresses(joined(10, &top(&[(20, 0)], false), &outer)),
            [10, 20, 30, 40]
        );
        // The walk is wrong, and the tables reach the end.
        let whole = top(&[(20, 0), (30, 4)], true);
        assert_eq!(
            addresses(joined(10, &whole, &returns(&[(99, None)]))),
            [10, 20, 30]
        );
        let cut = joined(10, &top(&[(20, 0)], false), &[]);
        assert!(cut.is_cut);
        assert_eq!(addresses(cut), [10, 20]);
        assert!(!joined(10, &whole, &[]).is_cut);
    }

    #[test]
    fn the_walk_is_located_on_the_stack() {
        let mut at = site(&[(2, 0x7000 + 6 * 8, false), (6, 0x9000, false)]);
        at.bp = 0x7000 + 2 * 8;
        assert_eq!(
            located(&at, &[1, 30, 40, 50]),
            returns(&[(30, Some(3)), (40, Some(7)), (50, None)])
        );
        at.bp = 5;
        assert_eq!(located(&at, &[1, 30]), []);
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
        assert_eq!(with_likely(&pushed, Some(2500), &[1000, 2500, 3]).len(), 3);
    }
}
