//! The cost of tracing: the same load many times, alone and traced, in turns.
//!
//! `bench run` measures and prints tables; `cargo xtask bench` puts them into the page. `run` starts `load`,
//! `bystander` and `null`.

pub mod against;
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
    /// Open connections with known ends, as fast as one CPU allows.
    Load(load::Options),
    /// Do work without any TCP.
    Bystander(bystander::Options),
    /// Attach programs that do nothing, until standard input is closed.
    Null(null::Options),
    /// Measure, and print tables in Markdown.
    Run(sections::Options),
}

/// Runs a verb.
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
