//! `twtrace probes`

use anyhow::Result;
use twtrace_core::event::json;

use super::print;
use crate::cli::ProbesArgs;
use crate::host;
use crate::output::tiers::{self, Document};
use crate::probe::{self, ProbeOptions};

/// Attaches, prints what was chosen, and detaches.
pub fn run(args: &ProbesArgs) -> Result<()> {
    let options = ProbeOptions {
        follows_command: true,
        ..args.probing.options()
    };
    let attached = probe::attach(&options)?;
    let host = host::read();
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
