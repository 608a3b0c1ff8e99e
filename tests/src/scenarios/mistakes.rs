//! Wrong calls, and what the program says of them: each error names the mistake and what to write instead.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Usage, recordings,
    usage::{UNPRIVILEGED, output, text, twtrace},
};
use crate::runner::Context;

pub const USAGES: &[Usage] = &[Usage {
    name: "usage/mistakes",
    run: mistakes,
}];

/// The advice of clap that would run a program.
const RUNS: &str = "' -- -";

/// A call, and what has to come of it.
struct Call<'a> {
    arguments: &'a [&'a str],
    code: i32,
    /// What standard error contains.
    says: &'a [&'a str],
}

const fn call<'a>(arguments: &'a [&'a str], code: i32, says: &'a [&'a str]) -> Call<'a> {
    Call {
        arguments,
        code,
        says,
    }
}

fn mistakes(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (recording, config) = (path("recording"), path("twtrace.toml"));
    recordings::recorded(context, recording.as_ref())?;
    fs::write(&config, "comm = 'x'\ntop_processes = 5\n")?;
    let from = ["--from", &recording];
    let of = |verb: &'static str, options: &[&'static str]| -> Vec<String> {
        let words = [&[verb], &from[..], options].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    for case in [
        call(&["report", "--duration", "0s"], 2, &["in no time", "10s"]),
        call(&["trace", "--pid", "nginx"], 2, &["--comm nginx"]),
        call(&["trace", "--remote", "example.org"], 2, &["10.0.0.1:80"]),
        call(&["top", "--local", "10.0.0.1:http"], 2, &["http", ":443"]),
        call(&["trace", "--event", "reset,begun"], 2, &["begun", "abort"]),
        call(
            &["trace", "--top", "5"],
            2,
            &["'--top' is an option of report"],
        ),
        call(&["record", "--tip-top"], 2, &["--tip-top"]),
        call(&["serve", "--listen", ":10660"], 2, &["127.0.0.1:10660"]),
        call(
            &["serve", "--check-config", "--config", &config],
            2,
            &["line 2", "did you mean \"top-processes\"?"],
        ),
        call(
            &["report", "--duration", "1", "--netns", "1"],
            1,
            &["--netns", "inode number 1:"],
        ),
        call(
            &["report", "--duration", "1", "--comm", "twtrcae"],
            0,
            &["--comm twtrcae matched nothing; did you mean twtrace?"],
        ),
        call(&["report", "--watch", "5s"], 2, &["--watch=5s"]),
        call(&["report", "nginx"], 2, &["--comm nginx, --netns nginx"]),
        call(&["report", "--top", "0"], 2, &["a number of rows"]),
        call(&["report", "--duration", "-5s"], 2, &["such as 10s"]),
        call(
            &["record", "--output", "f", "--max-size", "500"],
            2,
            &["500M"],
        ),
        call(
            &["report", "--from", &recording, "--from", &recording],
            1,
            &["is given twice"],
        ),
        call(
            &["report", "--from", &recording, "--netns", "no-such-name"],
            1,
            &[
                "--netns no-such-name: no network namespace has this name",
                "there are",
            ],
        ),
        call(
            &["report", "--from", &recording, "--netns", "/run/netns/x"],
            1,
            &["write the namespace's name, or its inode number"],
        ),
        call(
            &["report", "--watch"],
            1,
            &["--watch", "standard output is none"],
        ),
        call(
            &["report", "--watch", "--json"],
            2,
            &["'--watch", "cannot be used with '--json'"],
        ),
        call(
            &["report", "--format", "csv", "--by", "pair", "--json"],
            2,
            &["'--format", "cannot be used with '--json'"],
        ),
        call(
            &["report", "--format", "csv"],
            2,
            &["--format csv prints one table: choose one by --by"],
        ),
        call(
            &["report", "--format", "csv", "--by", "pair,name"],
            2,
            &["--format csv prints one table"],
        ),
        call(
            &["trace", "--wide", "--json"],
            2,
            &["'--wide' cannot be used with '--json'"],
        ),
        call(
            &["trace", "--duration", "1", "--output", &recording],
            1,
            &["is a recording"],
        ),
    ] {
        check(context, case.arguments, &case)?;
    }
    for verb in ["report", "trace", "doctor"] {
        for (options, code, says) in [
            (&["--since", "+2h"][..], 1, "it covers"),
            (&["--since", "+2s", "--until", "+1s"], 1, "is not before"),
            (&["--netns", "1"], 1, "--netns 1: nothing that was read"),
            (&["--remote", "localhost", "--event", "rst,abort"], 0, ""),
        ] {
            let arguments = of(verb, options);
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            check(context, &words, &call(&[], code, &[says]))?;
        }
    }
    let stacks = ["report", "--stacks", "--from", &recording];
    check(context, &stacks, &call(&[], 1, &["no stacks"]))?;
    for verb in ["report", "doctor"] {
        let arguments = [verb, "--comm", "scenarois", "--from", &recording];
        let says = ["--comm scenarois matched nothing; did you mean scenarios?"];
        check(context, &arguments, &call(&[], 0, &says))?;
    }
    let again = ["report", "--from", &recording];
    check(context, &again, &call(&[], 0, &[])).context("the recording was overwritten")?;
    doctor_of_a_command(context)?;
    files_of_the_caller(context, directory.path())
}

fn check(context: &Context, arguments: &[&str], expected: &Call<'_>) -> Result<()> {
    let output = output(twtrace(context, arguments))?;
    let stderr = text(&output.stderr);
    ensure!(
        output.status.code() == Some(expected.code),
        "{arguments:?} ended with {}, not with code {}: {stderr}",
        output.status,
        expected.code
    );
    for words in expected.says {
        ensure!(
            stderr.contains(words),
            "{arguments:?}: no {words}: {stderr}"
        );
    }
    ensure!(!stderr.contains(RUNS), "{arguments:?}: {stderr}");
    // Only clap has more than one line.
    ensure!(
        expected.code != 1 || stderr.lines().count() == 1,
        "{arguments:?}: {stderr}"
    );
    Ok(())
}

/// It leaves standard output to the command, and ends with its exit code.
fn doctor_of_a_command(context: &Context) -> Result<()> {
    for (script, code) in [("echo out", 0), ("echo out; exit 7", 7)] {
        let mut command = Command::new(&context.twtrace);
        command
            .args(["doctor", "--json"])
            .args(context.tier.options())
            .args(["--", "/bin/sh", "-c", script])
            .stdin(Stdio::null());
        let Output {
            status,
            stdout,
            stderr,
        } = output(command)?;
        let (stdout, stderr) = (text(&stdout), text(&stderr));
        let found = stderr.lines().next_back().unwrap_or_default();
        let findings =
            serde_json::from_str::<Value>(found).map(|found| found["findings"].is_array());
        ensure!(
            status.code() == Some(code) && stdout == "out" && matches!(findings, Ok(true)),
            "ended with {status}: {stdout}; {stderr}"
        );
    }
    Ok(())
}

/// What is created under sudo in a directory of the user who called it is that user's; what was there before keeps its
/// owner, and so does what is created elsewhere.
fn files_of_the_caller(context: &Context, directory: &Path) -> Result<()> {
    let theirs = directory.join("theirs");
    fs::create_dir(&theirs)?;
    chown(&theirs, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
    let [html, folded, recording, text_file, older] =
        ["page", "folded", "new", "text", "older"].map(|name| theirs.join(name));
    fs::write(&older, "older\n")?;
    // Of root's directory, nothing is given away.
    let [page_of_root, text_of_root] = ["page", "text"].map(|name| directory.join(name));
    let run = |output_file: &Path, others: &[(&str, &Path)]| -> Result<()> {
        let mut command = twtrace(context, &["report", "--duration", "100ms"]);
        command
            .env("SUDO_UID", UNPRIVILEGED.to_string())
            .env("SUDO_GID", UNPRIVILEGED.to_string())
            .arg("--output")
            .arg(output_file);
        for (option, path) in others {
            command.arg(option).arg(path);
        }
        let ended = output(command)?;
        ensure!(ended.status.success(), "{}", text(&ended.stderr));
        Ok(())
    };
    let others = [
        ("--html", &*html),
        ("--folded", &folded),
        ("--record", &recording),
    ];
    run(&text_file, &others)?;
    run(&older, &[])?;
    run(&text_of_root, &[("--html", &page_of_root)])?;
    let parts = ["parts", "parts.1"].map(|name| theirs.join(name));
    let mut command = twtrace(context, &["record", "--duration", "2s", "--max-size", "1k"]);
    command
        .env("SUDO_UID", UNPRIVILEGED.to_string())
        .env("SUDO_GID", UNPRIVILEGED.to_string())
        .arg("--output")
        .arg(&parts[0]);
    let ended = output(command)?;
    ensure!(ended.status.success(), "{}", text(&ended.stderr));
    for (path, owner) in [
        (&html, UNPRIVILEGED),
        (&folded, UNPRIVILEGED),
        (&recording, UNPRIVILEGED),
        (&text_file, UNPRIVILEGED),
        (&older, 0),
        (&page_of_root, 0),
        (&text_of_root, 0),
        (&parts[0], UNPRIVILEGED),
        (&parts[1], UNPRIVILEGED),
    ] {
        let about = fs::metadata(path).with_context(|| path.display().to_string())?;
        ensure!(
            (about.uid(), about.gid()) == (owner, owner),
            "{} belongs to {}:{}",
            path.display(),
            about.uid(),
            about.gid()
        );
    }
    Ok(())
}
