//! Random lives of connections, beside the planned scenarios: see [`crate::storm`].

use std::time::Duration;

use anyhow::Result;

use super::Usage;
use crate::{
    runner::{Context, StormSize, TierLimit, storm},
    sys::process,
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "storm/new_seeds",
        run: new_seeds,
    },
    Usage {
        name: "storm/seeds_that_failed",
        run: seeds_that_failed,
    },
];

/// Seeds that once found an error: SO_LINGER 0 after the peer's FIN had been read was called unread data, and a RST
/// sent in SYN_SENT hid a later one of the same connection. The seed does not determine when each process acts, so an
/// error may need more than one of them.
const FAILED_ONCE: [u64; 2] = [1, 2];

const ROUND_HERE: u32 = 3_000;
/// A guest plays this in fifteen seconds.
const ROUND_EMULATED: u32 = 250;

fn lives() -> u32 {
    if process::emulated() {
        ROUND_EMULATED
    } else {
        ROUND_HERE
    }
}

fn new_seeds(context: &Context) -> Result<()> {
    let seconds = match (process::emulated(), context.tier) {
        (true, _) => 0,
        (false, TierLimit::Best) => 60,
        (false, _) => 15,
    };
    let size = StormSize {
        lives: lives(),
        duration: Duration::from_secs(seconds),
    };
    storm(context, crate::storm::random_seed(), size)
}

fn seeds_that_failed(context: &Context) -> Result<()> {
    for seed in FAILED_ONCE {
        let size = StormSize {
            lives: lives(),
            duration: Duration::ZERO,
        };
        storm(context, seed, size)?;
    }
    Ok(())
}
