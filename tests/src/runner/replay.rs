//! Plays a scenario again if the kernel took a rare path that is not the scenario's.

use anyhow::Result;

use super::verdicts::{Verdict, Verdicts};
use crate::sys::hidden_births::Recording;

/// Maximum number of repetitions; beyond that the scenario fails: a path that is taken so often is not rare.
pub const REPLAYS: u32 = 5;

const HIDDEN: &str = "meanwhile a socket changed its state in the context of init, where this kernel runs no eBPF program";

/// Result of playing a scenario once.
pub enum PlayOutcome {
    /// It was compared, or can't be.
    Judged(Verdict),
    /// It was not the scenario that should be played, and why.
    Unlucky(String),
}

/// Plays until the scenario was compared, with at most [`REPLAYS`] repetitions, each of which is printed and counted. A
/// failure does not count if something was hidden from every eBPF program, except the last time.
pub fn until_judged(
    name: &str,
    hidden: Option<&Recording>,
    verdicts: &Verdicts,
    mut play: impl FnMut() -> Result<PlayOutcome>,
) -> Result<Verdict> {
    let hidden_so_far = || {
        hidden
            .and_then(|recording| recording.all().ok())
            .unwrap_or(0)
    };
    for _ in 0..REPLAYS {
        let before = hidden_so_far();
        let reason = match play()? {
            PlayOutcome::Judged(Verdict::Failed { .. }) if hidden_so_far() > before => {
                HIDDEN.to_owned()
            }
            PlayOutcome::Judged(verdict) => return Ok(verdict),
            PlayOutcome::Unlucky(reason) => reason,
        };
        verdicts.again(name, &reason);
    }
    match play()? {
        PlayOutcome::Judged(verdict) => Ok(verdict),
        PlayOutcome::Unlucky(reason) => Ok(Verdict::failed(vec![format!(
            "not once in {} tries as it is to be played; at last: {reason}",
            REPLAYS + 1
        )])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(unlucky: u32) -> (u32, Verdict, u32) {
        let verdicts = Verdicts::default();
        let mut tries = 0;
        let verdict = until_judged("a", None, &verdicts, || {
            tries += 1;
            Ok(if tries > unlucky {
                PlayOutcome::Judged(Verdict::Passed)
            } else {
                PlayOutcome::Unlucky("rare".to_owned())
            })
        });
        (tries, verdict.unwrap(), verdicts.repeats())
    }

    #[test]
    fn what_is_never_played_fails() {
        assert!(matches!(tries(0), (1, Verdict::Passed, 0)));
        assert!(matches!(tries(REPLAYS), (6, Verdict::Passed, REPLAYS)));
        assert!(matches!(
            tries(REPLAYS + 1),
            (6, Verdict::Failed { .. }, REPLAYS)
        ));
    }

    #[test]
    fn a_failure_that_nothing_excuses_counts_at_once() {
        let verdicts = Verdicts::default();
        let verdict = until_judged("a", None, &verdicts, || {
            Ok(PlayOutcome::Judged(Verdict::failed(vec![String::new()])))
        });
        assert!(matches!(verdict, Ok(Verdict::Failed { .. })));
        assert_eq!(verdicts.repeats(), 0);
    }
}
