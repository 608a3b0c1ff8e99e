//! `twtrace probes`

use anyhow::Result;
use serde::Serialize;

use super::print;
use crate::cli::ProbesArgs;
use crate::host::Host;
use crate::output::{json, tiers};
use crate::probe::{self, Choice, ProbeOptions};

/// The document of `probes --json`.
#[derive(schemars::JsonSchema, Serialize)]
pub struct Document<'a> {
    host: &'a str,
    kernel: &'a str,
    tiers: &'a [Choice],
}

/// Attaches, shows what was chosen, and detaches.
pub fn run(args: &ProbesArgs) -> Result<()> {
    let options = ProbeOptions {
        follows_command: true,
        ..args.probing.options()
    };
    let attached = probe::attach(&options)?;
    let host = Host::read();
    let text = if args.json {
        let mut text = Vec::new();
        json::append(
            &mut text,
            &Document {
                host: &host.name,
                kernel: &host.kernel,
                tiers: attached.tiers(),
            },
        )?;
        text
    } else {
        tiers::table(attached.tiers()).into_bytes()
    };
    drop(attached);
    Ok(print(&text)?)
}
