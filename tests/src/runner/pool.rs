//! Work on several threads: what disturbs nothing else runs in parallel, what needs the whole machine runs alone.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    thread,
};

use super::options;
use crate::sys::process;

/// Each has a twtrace of its own, and is idle most of the time.
const AT_A_TIME: usize = 4;
/// Attaching keeps an emulated machine busy, whose CPUs take turns.
const AT_A_TIME_EMULATED: usize = 1;

/// How many are played at the same time; `asked` comes from the command line.
pub fn size(asked: Option<u16>) -> usize {
    match asked {
        Some(asked) => usize::from(asked),
        None if process::emulated() => AT_A_TIME_EMULATED,
        None => AT_A_TIME,
    }
}

/// What needs the whole machine, and why.
const ALONE: &[(&str, &str)] = &[
    ("crowd/*", "keeps all CPUs busy"),
    ("flood", "fills its ring buffer before anybody reads it"),
    ("experiment/slab_memory/*", "the caches are the host's"),
    (
        "usage/*too_many_sockets",
        "the room for sockets is shared with whatever is open",
    ),
    (
        "usage/exact_while_programs_are_skipped",
        "has the kernel skip programs, those of others as well",
    ),
    (
        "usage/sockets_come_and_go",
        "the room for sockets is shared with whatever is open",
    ),
    (
        "usage/purged_with_namespace",
        "another namespace would get the number of its own",
    ),
    ("storm/*", "keeps all CPUs busy"),
    (
        "usage/traffic_at_start",
        "whatever else traces would have to report all of it",
    ),
    ("containers/*", "their cgroups have the same names"),
    ("top/keys", "its process has to be among the busiest"),
    (
        "serve/prometheus",
        "the audit that it reads is the whole host's",
    ),
    (
        "serve/hostile_clients",
        "a thousand at once have to be answered in time",
    ),
];

/// Pieces that use the same names, and so are played one after the other.
const CHAINS: &[&[&str]] = &[
    &["stacks/*"],
    &["html/*"],
    &["recordings/*"],
    &["programs/*", "command/ab", "command/curl_in_a_loop"],
];

/// Pieces that take long, and so start first.
const LONG: &[&str] = &[
    "command/exit_codes",
    "recordings/parts",
    "budget/runs_out/*",
    "stacks/*",
    "serve/*",
    "command/*",
    "recordings/*",
    "pages/*",
    "usage/*",
];

fn is_one_of(name: &str, pattern: &str) -> bool {
    options::selected(&[pattern.to_owned()], name)
}

/// What needs a whole emulated machine, besides [`ALONE`], and why.
const ALONE_EMULATED: &[(&str, &str)] = &[(
    "command/*",
    "they connect without a pause as long as their report runs, and whatever else traces has to report all of it",
)];

/// Whether it needs the whole machine.
pub fn is_alone(name: &str, emulated: bool) -> bool {
    let is_in = |list: &[(&str, &str)]| list.iter().any(|(pattern, _)| is_one_of(name, pattern));
    is_in(ALONE) || (emulated && is_in(ALONE_EMULATED))
}

/// Runs all pieces, several at the same time, the longest first. Returns when all are done.
pub fn work<T: Send>(
    threads: usize,
    pieces: Vec<T>,
    name: impl Fn(&T) -> &str,
    work: impl Fn(T) + Sync,
) {
    let queue = Mutex::new(chained(pieces, name));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let chain = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    match chain {
                        Some(chain) => chain.into_iter().for_each(&work),
                        None => return,
                    }
                }
            });
        }
    });
}

/// Groups pieces that run one after the other; the group with the longest is first.
fn chained<T>(pieces: Vec<T>, name: impl Fn(&T) -> &str) -> VecDeque<Vec<T>> {
    let mut chains: Vec<(usize, Option<usize>, Vec<T>)> = Vec::new();
    for piece in pieces {
        let of = |pattern: &&str| is_one_of(name(&piece), pattern);
        let rank = LONG.iter().position(of).unwrap_or(LONG.len());
        let chain = CHAINS.iter().position(|chain| chain.iter().any(of));
        let known = chains
            .iter_mut()
            .find(|(_, other, _)| chain.is_some() && *other == chain);
        match known {
            Some((first, _, pieces)) => {
                *first = rank.min(*first);
                pieces.push(piece);
            }
            None => chains.push((rank, chain, vec![piece])),
        }
    }
    chains.sort_by_key(|(rank, _, _)| *rank);
    chains.into_iter().map(|(_, _, pieces)| pieces).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    #[test]
    fn every_pattern_names_something() {
        let scenarios = scenarios::all();
        let runs = scenarios.iter().flat_map(|scenario| scenario.runs());
        let mut names: Vec<String> = runs.map(|(name, _)| name).collect();
        names.extend(scenarios::usages().map(|(usage, _)| usage.name.to_owned()));
        let alone = ALONE.iter().chain(ALONE_EMULATED);
        let alone = alone.map(|(pattern, _)| pattern);
        for pattern in alone.chain(CHAINS.iter().copied().flatten()).chain(LONG) {
            assert!(
                names.iter().any(|name| is_one_of(name, pattern)),
                "{pattern}"
            );
        }
    }

    #[test]
    fn the_longest_begin_and_chains_stay_together() {
        let pieces = ["a", "stacks/off", "recordings/parts", "b", "stacks/full"];
        let chains: Vec<Vec<&str>> = chained(pieces.to_vec(), |name| name).into();
        assert_eq!(
            chains,
            [
                vec!["recordings/parts"],
                vec!["stacks/off", "stacks/full"],
                vec!["a"],
                vec!["b"]
            ]
        );
    }

    #[test]
    fn all_is_done_once() {
        let done = Mutex::new(Vec::new());
        let pieces: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        work(3, pieces.clone(), String::as_str, |piece| {
            done.lock().unwrap().push(piece);
        });
        let mut done = done.into_inner().unwrap();
        done.sort_by_key(|piece| piece.parse::<u32>().unwrap());
        assert_eq!(done, pieces);
    }
}
