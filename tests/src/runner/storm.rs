//! The storm, as a run of its own and as a check among others.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{Context, Options, TierLimit, Verdicts, kernel_facts};
use crate::storm::{self, StormEnd};

/// Size of a storm.
#[derive(Clone, Copy, Debug)]
pub struct StormSize {
    /// Lives of each namespace in a round.
    pub lives: u32,
    /// No further round begins after this time; at least one is played.
    pub duration: Duration,
}

/// Plays it as requested on the command line; returns whether there were no differences.
pub fn run(options: &Options) -> Result<bool> {
    let twtrace = options.twtrace.as_deref().context("no --twtrace")?;
    let seed = options.seed.unwrap_or_else(storm::random_seed);
    let size = StormSize {
        lives: options.lives,
        duration: Duration::from_secs(options.seconds),
    };
    let (ended, wrong) = play(twtrace, options.tier, &Verdicts::default(), seed, size)?;
    for example in ended.verdict.examples.values() {
        println!("{example}");
    }
    print!("{}", summary(&ended));
    let Some(wrong) = wrong else { return Ok(true) };
    println!("{wrong}");
    if let Some(seed) = ended.failed_seed {
        let fails = |lives| -> Result<bool> {
            for _ in 0..TRIES {
                let size = StormSize {
                    lives,
                    duration: Duration::ZERO,
                };
                let (_, wrong) = play(twtrace, options.tier, &Verdicts::default(), seed, size)?;
                if wrong.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let lives = shortest(options.lives, fails)?;
        println!("the shortest that failed again: cargo xtask storm --seed {seed} --lives {lives}");
    }
    Ok(false)
}

/// The seed does not determine when each process acts: a storm that passes this many times is taken to pass.
const TRIES: u32 = 2;
/// How many times the number of lives is halved.
const HALVINGS: u32 = 7;

/// The smallest number of lives (the first ones of each namespace) that still fails, among those that halving tries.
fn shortest(lives: u32, fails: impl Fn(u32) -> Result<bool>) -> Result<u32> {
    let (mut passes, mut failed) = (0, lives);
    for _ in 0..HALVINGS {
        let middle = passes + (failed - passes) / 2;
        if middle == passes {
            break;
        }
        if fails(middle)? {
            failed = middle
        } else {
            passes = middle
        }
    }
    Ok(failed)
}

/// The storm as a check.
///
/// # Errors
/// If there were differences.
pub fn storm(context: &Context, seed: u64, size: StormSize) -> Result<()> {
    let verdicts = &context.verdicts;
    let (ended, wrong) = play(&context.twtrace, context.tier, verdicts, seed, size)?;
    print!("{}", summary(&ended));
    match wrong {
        None => Ok(()),
        Some(wrong) => bail!("{wrong}"),
    }
}

/// Plays it; returns its result and the differences, with how to play it again.
fn play(
    twtrace: &Path,
    tier: TierLimit,
    verdicts: &Verdicts,
    seed: u64,
    size: StormSize,
) -> Result<(StormEnd, Option<String>)> {
    let ended = storm::run(&storm::Options {
        twtrace: twtrace.to_owned(),
        options: tier.options(),
        seed,
        lives: size.lives,
        duration: size.duration,
        counts_births: kernel_facts(verdicts)?.counts_births,
    })?;
    let seed = ended.failed_seed.unwrap_or(seed);
    let wrong = why_not(&ended).map(|why| of_seed(&why, seed, size));
    Ok((ended, wrong))
}

fn of_seed(why: &str, seed: u64, size: StormSize) -> String {
    format!(
        "{why} (again by: cargo xtask storm --seed {seed} --lives {})",
        size.lives
    )
}

/// One event of this many may have an unknown process although one is responsible, beside those close to a time when
/// the kernel ran no program.
const UNKNOWN_ONE_OF: u64 = 500;

/// The differences, in one line.
fn why_not(ended: &StormEnd) -> Option<String> {
    let verdict = &ended.verdict;
    if let Some(wrong) = verdict.wrong.first() {
        return wrong.lines().next().map(str::to_owned);
    }
    let unknown = verdict.unknown().saturating_sub(2 * verdict.hidden);
    let allowed = verdict.attributable / UNKNOWN_ONE_OF + 2;
    (unknown > allowed).then(|| {
        format!(
            "{unknown} of {} events say that they do not know their process",
            verdict.attributable
        )
    })
}

fn summary(ended: &StormEnd) -> String {
    let verdict = &ended.verdict;
    let seconds = ended.took.as_secs_f64();
    let mut text = format!(
        "     {} rounds, {} lives, {} connections in {seconds:.0} s: {} events, {} RSTs, {} TIME_WAITs, {} events without \
         their process of {}, {} missing where the kernel ran no program {} times, {} lost; twtrace took {} KiB\n",
        ended.rounds,
        ended.lives,
        verdict.connections,
        verdict.events,
        verdict.resets_sent,
        verdict.births,
        verdict.unknown(),
        verdict.attributable,
        verdict.missing,
        verdict.hidden,
        ended.lost,
        ended.peak_kib
    );
    for (title, counts) in [
        ("told", &verdict.kinds),
        ("unknown", &verdict.unknown),
        ("other", &verdict.other_reason),
    ] {
        for (what, count) in counts {
            let _ = writeln!(text, "     {title}: {count} x {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_prefix_is_found_by_halving() {
        for (needed, lives) in [(1, 100), (37, 100), (100, 100)] {
            assert_eq!(
                shortest(lives, |lives| Ok(lives >= needed)).unwrap(),
                needed
            );
        }
        // Halving does not find the exact number.
        let found = shortest(10_000, |lives| Ok(lives >= 37)).unwrap();
        assert!((37..120).contains(&found), "{found}");
    }
}
