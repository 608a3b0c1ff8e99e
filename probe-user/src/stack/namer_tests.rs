//! Stacks of this process, named by another one; and what becomes of them if that fails.

use twtrace_wire::{ProcessKey, Site};

use super::*;
use crate::enrich::procfs;
use crate::probe::FoundSite;
use crate::stack::memory::Memory;
use crate::stack::open::OpenFiles;
use crate::stack::process::Image;
use crate::stack::protocol::Answer;
use crate::stack::queue::MAX_FAILURES;

/// Whose address is resolved.
#[inline(never)]
fn well_known() -> u64 {
    std::hint::black_box(well_known as *const () as u64)
}

fn job(id: u64, user: u32) -> Job {
    let pid = std::process::id();
    let process = ProcessKey {
        tgid: pid,
        unattributed: 0,
        start_boot_ns: procfs::boot_ns_of_ticks(procfs::start_ticks(pid).unwrap()),
    };
    let found = FoundSite {
        id,
        site: Site {
            process,
            ..Site::NONE
        },
        frames: vec![well_known() + 1],
    };
    let mut image = Image::of(process).unwrap();
    let mut job = Job::new(found, &mut image, &mut OpenFiles::default());
    job.user = user;
    job
}

fn all_done(namer: &mut Namer) -> Vec<Done> {
    let until = Instant::now() + Duration::from_secs(60);
    while !namer.is_idle() && Instant::now() < until {
        namer.work(Instant::now() + Duration::from_millis(50));
    }
    namer.take_done()
}

fn reasons(done: &[Done]) -> Vec<(u64, Option<Missing>)> {
    done.iter().map(|(id, it)| (*id, it.why)).collect()
}

#[test]
fn names_come_from_the_other_process() {
    let mut namer = Namer::open();
    namer.push(job(1, 7));
    namer.push(job(2, 7));
    let done = all_done(&mut namer);
    assert_eq!(reasons(&done), [(1, None), (2, None)]);
    let frame = &done[0].1.frames[0];
    let symbol = frame.symbol.as_deref().unwrap_or_default();
    assert!(symbol.ends_with("well_known"), "{frame:?}");
    assert_eq!(frame.offset, Some(1), "{frame:?}");
    assert!(frame.module.is_some());
}

#[test]
fn one_that_fails_is_replaced_and_its_user_given_up() {
    let fails = |socket: &OwnedFd, _: &Memory| {
        let _ = descriptor::receive(socket, &mut [0; MAX_REQUEST]);
    };
    let mut namer = Namer::of(fails);
    let tried = u64::from(MAX_FAILURES);
    for id in 1..=tried + 2 {
        namer.push(job(id, 7));
    }
    let done = all_done(&mut namer);
    let of = |done: &[Done], why| done.iter().filter(|(_, it)| it.why == Some(why)).count();
    assert_eq!(of(&done, Missing::SymbolsFailed), tried as usize);
    assert_eq!(of(&done, Missing::SymbolsLimited), 2);
    // Other users are still served, until all replacements are used up.
    for id in 100..150 {
        namer.push(job(id, id as u32));
    }
    let done = all_done(&mut namer);
    let left = (MAX_REPLACEMENTS + 1 - MAX_FAILURES) as usize;
    assert_eq!(of(&done, Missing::SymbolsFailed), left);
    assert_eq!(of(&done, Missing::SymbolsOff), 50 - left);
    // Where the code lies is known without it.
    assert!(done.iter().all(|(_, it)| it.frames[0].offset.is_some()));
}

#[test]
fn one_that_is_late_is_replaced() {
    let waits = |socket: &OwnedFd, _: &Memory| {
        while descriptor::receive(socket, &mut [0; MAX_REQUEST]).is_ok_and(|it| it.0 > 0) {}
    };
    let mut namer = Namer::of(waits);
    namer.push(job(1, 7));
    let since = Instant::now();
    namer.work(since + Duration::from_millis(5));
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "it does not wait for longer"
    );
    assert!(!namer.is_idle());
    let done = all_done(&mut namer);
    assert_eq!(reasons(&done), [(1, Some(Missing::SymbolsFailed))]);
    assert!(since.elapsed() >= STACK_DEADLINE);
}

#[test]
fn an_answer_that_was_not_asked_for_is_a_failure() {
    let twice = |socket: &OwnedFd, _: &Memory| {
        let answer = || Answer {
            number: 1,
            frames: Vec::new(),
            is_cut: false,
        };
        let _ = descriptor::receive(socket, &mut [0; MAX_REQUEST]);
        for _ in 0..2 {
            let _ = descriptor::send(socket, &answer().message().unwrap_or_default(), &[]);
        }
        let _ = descriptor::receive(socket, &mut [0; MAX_REQUEST]);
    };
    let mut namer = Namer::of(twice);
    namer.push(job(1, 7));
    namer.push(job(2, 7));
    let done = all_done(&mut namer);
    assert_eq!(
        reasons(&done),
        [(1, None), (2, Some(Missing::SymbolsFailed))]
    );
}

#[test]
fn what_is_left_at_the_end_is_given_up() {
    let mut namer = Namer::open();
    for id in 1..=3 {
        namer.push(job(id, 7));
    }
    namer.work(Instant::now());
    namer.abandon();
    assert!(namer.is_idle());
    assert_eq!(namer.take_done().len(), 3);
}
