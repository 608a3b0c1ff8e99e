//! The commands of README.md and of docs/, run as they stand.

mod blocks;
mod kinds;
mod sandbox;
mod shell;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::Usage;
use crate::runner::Context;
use kinds::Kind;
use sandbox::Sandbox;
use shell::Running;

pub const USAGES: &[Usage] = &[
    Usage {
        name: "pages/readme",
        run: |context| play(context, |path| path == "README.md"),
    },
    Usage {
        name: "pages/recipes",
        run: |context| play(context, |path| path == "docs/recipes.md"),
    },
    Usage {
        name: "pages/others",
        run: |context| {
            play(context, |path| {
                !["README.md", "docs/recipes.md"].contains(&path)
            })
        },
    },
];

/// A command that runs until it is ended, and that other commands ask.
const SERVICE: &str = "twtrace serve";

/// A page of the documentation.
struct Page {
    /// From the root of the repository.
    path: String,
    text: String,
}

/// README.md, and the pages of docs/; those of docs/experiments are played by the scenarios that they name.
fn pages() -> Result<Vec<Page>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = vec![PathBuf::from("README.md")];
    for entry in fs::read_dir(root.join("docs")).context("read docs/")? {
        paths.push(Path::new("docs").join(entry?.file_name()));
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root.join(&path));
        Ok(Page {
            text: text.with_context(|| format!("read {}", path.display()))?,
            path: path.display().to_string(),
        })
    };
    paths.into_iter().map(read).collect()
}

/// Runs the commands of some pages, and reports all that fail.
fn play(context: &Context, is_played: impl Fn(&str) -> bool + Sync) -> Result<()> {
    let pages = pages()?;
    sandbox::within(context, |sandbox| {
        let mut faults = Vec::new();
        let mut count = 0;
        for page in pages.iter().filter(|page| is_played(&page.path)) {
            for block in blocks::blocks(&page.text)? {
                let found = play_block(sandbox, page, &block, &mut count);
                faults.extend(found.with_context(|| page.path.clone())?);
            }
        }
        ensure!(count > 0, "no command was run");
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
}

/// Runs the commands of a block, one after the other. A service runs until the next one, or until the block ends: the
/// commands after it ask it.
fn play_block(
    sandbox: &Sandbox,
    page: &Page,
    block: &blocks::Block,
    count: &mut usize,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut services: Vec<(Running, String, Kind)> = Vec::new();
    for line in block.commands()? {
        let kind = kinds::of(&page.path, &line);
        if kind == Kind::NotRun {
            continue;
        }
        *count += 1;
        if line.command.contains(SERVICE) {
            faults.extend(end_all(&mut services));
        }
        let place = format!("{}:{}: {}", page.path, line.line, line.command);
        let mut running = sandbox.start(&line.command).context(place.clone())?;
        if running.is_service()? {
            services.push((running, place, kind));
            continue;
        }
        faults.extend(fault(running, &place, kind));
    }
    faults.extend(end_all(&mut services));
    Ok(faults)
}

fn end_all(services: &mut Vec<(Running, String, Kind)>) -> Vec<String> {
    let ended = services.drain(..);
    ended
        .filter_map(|(running, place, kind)| fault(running, &place, kind))
        .collect()
}

/// Ends a command, and compares its end with the expected one.
fn fault(running: Running, place: &str, kind: Kind) -> Option<String> {
    let Kind::Run(codes, says) = kind else {
        return None;
    };
    match running.end() {
        Err(error) => Some(format!("{place}: {error:#}")),
        Ok(ended) if codes.contains(&ended.code) && ended.errors.contains(says) => None,
        Ok(ended) => Some(format!(
            "{place}: exit code {}, expected {codes:?} {says}: {}",
            ended.code, ended.errors
        )),
    }
}
