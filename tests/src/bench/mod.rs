//! What tracing costs: the same load again and again, alone and traced, in turns.
//!
//! `bench run` measures and prints tables; `cargo xtask bench` puts them into the page. `load`, `bystander`
//! and `null` are what it starts.

pub mod bystander;
pub mod load;
pub mod meter;
pub mod null;
pub mod pairs;
pub mod path;
pub mod peer;
pub mod replay;
pub mod scale;
pub mod sections;
pub mod spread;
pub mod start;
pub mod subject;
pub mod table;
pub mod targets;
pub mod tracer;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Command line of `bench`.
#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures what tracing costs")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make connections whose ends are known, as fast as one CPU can.
    Load(load::Options),
    /// Do work that has nothing to do with TCP.
    Bystander(bystander::Options),
    /// Attach programs that do nothing, until standard input ends.
    Null(null::Options),
    /// Measure, and print tables in Markdown.
    Run(sections::Options),
}

/// Does it.
///
/// # Errors
/// When it can't be done.
pub fn run(cli: &Cli) -> Result<()> {
    match &cli.verb {
        Verb::Load(options) => load::run(options),
        Verb::Bystander(options) => bystander::run(options),
        Verb::Null(options) => null::run(options),
        Verb::Run(options) => {
            println!("{}", sections::run(options)?);
            Ok(())
        }
    }
}
