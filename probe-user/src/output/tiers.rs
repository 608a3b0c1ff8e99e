//! The hooks chosen for each capability, and what is lost.

use std::fmt::Write;

use twtrace_core::event::text::escape;
use twtrace_core::hooks::{Choice, Tier};

use super::table::grid::{Align, Grid};
use serde::Serialize;

/// The document of `probes --json`.
#[derive(schemars::JsonSchema, Serialize)]
pub struct Document<'a> {
    /// Name of the host.
    pub host: &'a str,
    /// Release of its kernel.
    pub kernel: &'a str,
    /// Hooks of each capability.
    pub tiers: &'a [Choice],
}

/// The table of `probes`.
pub fn table(tiers: &[Choice]) -> String {
    let mut grid = Grid::new(&[
        ("CAPABILITY", Align::Left),
        ("TIER", Align::Left),
        ("HOOKS", Align::Left),
    ]);
    for choice in tiers {
        grid.row([
            choice.question.name().to_owned(),
            choice.tier.name().to_owned(),
            if choice.hooks.is_empty() {
                "-".to_owned()
            } else {
                choice.hooks.join(" ")
            },
        ]);
    }
    let mut text = grid.to_string();
    for choice in tiers {
        for (tier, why) in &choice.refused {
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "{}: {} refused: {}",
                choice.question.name(),
                tier.name(),
                escape(why)
            );
        }
    }
    text.push_str(&losses(tiers));
    text
}

/// One line for each capability that is not fully available.
pub fn losses(tiers: &[Choice]) -> String {
    let mut text = String::new();
    for choice in tiers {
        if let Some(lost) = &choice.lost {
            let tier = match choice.tier {
                Tier::None => "no hook".to_owned(),
                tier => format!("tier {}", tier.name()),
            };
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}: {tier}: {}", choice.question.name(), escape(lost));
        }
    }
    text
}
