//! Playing a scenario again where the kernel took a rare way that is not the scenario's.

use anyhow::Result;

use super::verdicts::Verdict;
use crate::sys::hidden_births::Recording;

const HIDDEN: &str = "meanwhile a socket changed its state in the context of init, where this kernel runs no eBPF program";

/// What came of playing a scenario once.
pub enum Outcome {
    /// It was compared, or can't be.
    Judged(Verdict),
    /// It was not the scenario that was to be played, and why.
    Unlucky(String),
}

/// Has it played until it was judged, at most so many times more than once. A failure does not count while
/// something was hidden from every eBPF program; the last time it does.
///
/// # Errors
/// When it can't be played.
pub fn until_judged(
    name: &str,
    hidden: Option<&Recording>,
    replays: u32,
    mut play: impl FnMut() -> Result<Outcome>,
) -> Result<Verdict> {
    let hidden_so_far = || {
        hidden
            .and_then(|recording| recording.all().ok())
            .unwrap_or(0)
    };
    for _ in 0..replays {
        let before = hidden_so_far();
        let reason = match play()? {
            Outcome::Judged(Verdict::Failed { .. }) if hidden_so_far() > before => {
                HIDDEN.to_owned()
            }
            Outcome::Judged(verdict) => return Ok(verdict),
            Outcome::Unlucky(reason) => reason,
        };
        println!("     {name}: {reason}; playing it again");
    }
    match play()? {
        Outcome::Judged(verdict) => Ok(verdict),
        Outcome::Unlucky(reason) => Ok(Verdict::Skipped { reason }),
    }
}
