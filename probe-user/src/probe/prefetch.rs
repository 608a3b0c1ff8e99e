//! Loads the programs that will be attached, on several CPUs.
//!
//! The kernel's verifier takes most of the time of a start. It would check one program after another if each was
//! loaded only when it is attached.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{Ebpf, programs::Program};
use twtrace_core::hooks::plan::{Attach, Candidate};

use super::{attach::Kernel, program};

/// The largest program takes a third of the total time, so more threads than this would be idle.
const MAX_THREADS: usize = 3;

/// Loads the programs of these candidates. A refused program is loaded again when it is to be attached, which reports
/// why.
pub fn load(ebpf: &mut Ebpf, kernel: &Kernel<'_>, candidates: &[&'static Candidate]) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    if threads == 1 {
        return;
    }
    let parts = candidates.iter().flat_map(|candidate| candidate.parts);
    let places: HashMap<&str, (usize, &Attach)> = parts
        .enumerate()
        .map(|(order, (program, attach))| (*program, (order, attach)))
        .collect();
    let has_functions = places
        .values()
        .any(|(_, attach)| attach.function().is_some());
    let functions = has_functions.then(|| kernel.functions().ok()).flatten();
    let mut waiting: Vec<(usize, &mut Program, &Attach)> = ebpf
        .programs_mut()
        .filter_map(|(name, program)| {
            let (order, attach) = places.get(name)?;
            Some((*order, program, *attach))
        })
        .collect();
    // Threads take them from the end, where the largest are: those of the socket's states.
    waiting.sort_by_key(|(order, ..)| *order);
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        for _ in 0..threads.min(MAX_THREADS) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((_, program, attach)) = next else {
                        return;
                    };
                    if let Err(error) = program::load(program, attach, functions) {
                        log::debug!("a program that was loaded ahead of its turn: {error}");
                    }
                }
            });
        }
    });
}
