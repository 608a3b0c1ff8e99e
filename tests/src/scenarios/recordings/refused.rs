//! Files that must not be overwritten, can't be written, or are not recordings.

use std::{ffi::OsStr, fs, path::Path, process::Output};

use anyhow::{Result, ensure};

use super::{fails_with, file::Recorded, output, printed, run, with_files};
use crate::runner::Context;

const PRECIOUS: &str = "not to be lost\n";
/// The first bytes of a PNG file.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

pub fn refused(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    writing(context, directory.path())?;
    reading(context, directory.path())
}

/// A recorder that ends by itself, if it starts at all.
fn record(context: &Context, options: &[&OsStr]) -> Result<Output> {
    let mut command = std::process::Command::new(&context.twtrace);
    command
        .args(["record", "--duration", "100ms", "-o"])
        .args(options)
        .args(context.tier.options())
        .stdin(std::process::Stdio::null());
    output(&mut command)
}

fn writing(context: &Context, directory: &Path) -> Result<()> {
    let path = directory.join("precious");
    let name = path.display().to_string();
    fs::write(&path, PRECIOUS)?;
    let refused = record(context, &[path.as_ref()])?;
    fails_with(&refused, 1, &[&name, "--force"])?;
    let left = fs::read_to_string(&path)?;
    ensure!(left == PRECIOUS, "the file has become {left:?}");

    printed(&record(context, &[path.as_ref(), "--force".as_ref()])?)?;
    let lines = Recorded::read(&path)?.lines()?;
    ensure!(lines.len() >= 2, "{lines:?} is not a whole recording");

    for verb in ["report", "trace", "doctor"] {
        for (bounds, extent) in [
            (["--since", "+1h"], "it covers"),
            (["--until", "2020-01-01T00:00:00Z"], "it covers"),
        ] {
            let past = [&[verb], &bounds[..]].concat();
            let outside = run(context, &with_files(&past, "--from", &[&path]))?;
            fails_with(&outside, 1, &[&name, "nothing of that time", extent])?;
            ensure!(outside.stdout.is_empty(), "{verb} prints something");
        }
    }

    let full = record(context, &["/dev/full".as_ref()])?;
    fails_with(&full, 1, &["/dev/full", "No space left"])?;

    let usage = run(
        context,
        &[
            OsStr::new("report"),
            "--duration".as_ref(),
            "5s".as_ref(),
            "--from".as_ref(),
            path.as_ref(),
        ],
    )?;
    fails_with(&usage, 2, &["--duration", "--from"])
}

fn reading(context: &Context, directory: &Path) -> Result<()> {
    let [picture, empty, missing, text] =
        ["picture.png", "empty", "missing", "text"].map(|name| directory.join(name));
    fs::write(&picture, PNG)?;
    fs::write(&empty, "")?;
    fs::write(&text, "tcp 0 0 10.0.0.1:80 10.0.0.2:40000 TIME_WAIT\n")?;
    for (path, why) in [
        (&*picture, "no recording"),
        (&empty, "it is empty"),
        (&missing, "No such file"),
        (&text, "no recording"),
        (directory, "Is a directory"),
    ] {
        for verb in ["report", "trace", "doctor"] {
            let done = run(context, &with_files(&[verb], "--from", &[path]))?;
            fails_with(&done, 1, &[&path.display().to_string(), why])?;
            ensure!(done.stdout.is_empty(), "{verb} prints something");
        }
    }
    Ok(())
}
