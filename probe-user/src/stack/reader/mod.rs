//! What the process that reads symbols does. It has no rights: what it reads may take it over.
//!
//! It reads files by pread() into memory: a file that is cut short is an error. Sizes that a file states are checked against
//! what may be read before memory is taken. Nothing is opened here, so no link to a file of debug information is followed.

mod by_tables;
mod bytes;
mod dwarf;
mod elf;
mod modules;
mod names;
mod perf_map;
mod symbols;
mod tables;

#[cfg(test)]
pub mod samples;

use std::fs::File;
use std::os::fd::OwnedFd;

use super::memory::Memory;
use super::protocol::{Answer, MAX_REQUEST, Request};
use super::unwind;
use crate::allocator;
use crate::scan::descriptor;
use modules::Modules;

/// With more memory than this, bytes, files that the next stack does not need are forgotten: debug information takes up to
/// [`modules::MAX_FILE`], its parsed form some more, and the process ends if it takes more than it may (`sandbox`).
const SCARCE: u64 = 88 << 20;
/// With more than this, all are forgotten.
const FULL: u64 = 112 << 20;

/// Answers requests until the socket is closed.
pub fn serve(socket: &OwnedFd, memory: &Memory) {
    let mut modules = Modules::default();
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        let Ok((length @ 1.., descriptors)) = descriptor::receive(socket, &mut buffer) else {
            return;
        };
        let Ok(request) = serde_json::from_slice::<Request>(&buffer[..length]) else {
            return;
        };
        let numbers = request.files.iter().chain(&request.perf_map);
        if memory.exceeds(FULL) {
            modules = Modules::default();
            allocator::give_back();
        } else if memory.exceeds(SCARCE) {
            modules.keep_only(&numbers.clone().copied().collect::<Vec<_>>());
            allocator::give_back();
        }
        for (number, descriptor) in numbers.zip(descriptors) {
            modules.add(*number, File::from(descriptor));
        }
        let answer = answer(&request, &mut modules);
        let Ok(message) = answer.message() else {
            return;
        };
        if descriptor::send(socket, &message, &[]).is_err() {
            return;
        }
    }
}

fn answer(request: &Request, modules: &mut Modules) -> Answer {
    let site = request.site();
    let stack = unwind::unwind(
        &site,
        &request.walked,
        |address| Some(request.mapping(address)?.start),
        || by_tables::unwind(&site, |address| request.mapping(address), modules),
    );
    Answer {
        number: request.number,
        frames: names::named(&stack.frames, request, modules),
        is_cut: stack.is_cut,
    }
}
