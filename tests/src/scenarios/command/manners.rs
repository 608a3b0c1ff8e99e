//! The command does not notice that it is traced, and ends as it would without twtrace.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{end_of, output, shell, text, twtrace, words};
use crate::{
    runner::Context,
    scenarios::{Usage, is_of_neighbours},
    sys::process,
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "command/streams_untouched",
        run: streams_untouched,
    },
    Usage {
        name: "command/exit_codes",
        run: exit_codes,
    },
    Usage {
        name: "command/as_without_twtrace",
        run: as_without_twtrace,
    },
    Usage {
        name: "command/invoking_user",
        run: invoking_user,
    },
    Usage {
        name: "command/outlived",
        run: outlived,
    },
    Usage {
        name: "command/signals",
        run: signals,
    },
    Usage {
        name: "command/wrong_use",
        run: wrong_use,
    },
];

/// Both streams, with bytes that are neither text nor end of line; only the file has the report.
fn streams_untouched(context: &Context) -> Result<()> {
    let script = r#"printf '\000\377out\n\nno end'; printf 'err\033[31m\001' >&2"#;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("report");
    let path = file.to_str().context("not UTF-8")?;
    let line = shell(script);
    let alone = output(Command::new(&line[0]).args(&line[1..]).stdin(Stdio::null()))?;
    ensure!(!alone.stdout.is_empty() && !alone.stderr.is_empty());
    let traced = output(&mut twtrace(context, &["report", "--output", path], &line))?;
    ensure!(
        (&traced.stdout, own_lines(&traced.stderr)) == (&alone.stdout, own_lines(&alone.stderr)),
        "{traced:?}, not {alone:?}"
    );
    let report = fs::read_to_string(&file)?;
    ensure!(report.contains("\nData quality: "), "no report: {report}");
    // Without a file, the report follows the command's output on standard error.
    let traced = output(&mut twtrace(context, &["report", "--json"], &line))?;
    ensure!(traced.stdout == alone.stdout, "{traced:?}");
    let printed = own_lines(&traced.stderr);
    let report = printed.strip_prefix(&own_lines(&alone.stderr)[..]);
    let report = report.with_context(|| format!("{traced:?}"))?;
    serde_json::from_slice::<serde_json::Value>(report).context("no report on standard error")?;
    Ok(())
}

/// What was printed, without the lines that are due to other tests.
fn own_lines(stderr: &[u8]) -> Vec<u8> {
    let lines = stderr.split_inclusive(|byte| *byte == b'\n');
    let own = lines.filter(|line| !std::str::from_utf8(line).is_ok_and(is_of_neighbours));
    own.flatten().copied().collect()
}

fn exit_codes(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let plain_file = directory.path().join("plain");
    fs::write(&plain_file, "no program")?;
    fs::set_permissions(&plain_file, fs::Permissions::from_mode(0o644))?;
    let plain_file = plain_file.to_str().context("not UTF-8")?;
    let report = directory.path().join("report");
    let path = report.to_str().context("not UTF-8")?;
    for (line, code, is_run) in [
        (shell("exit 0"), 0, true),
        (shell("exit 7"), 7, true),
        (shell("exit 255"), 255, true),
        (shell("kill -KILL $$"), 137, true),
        (shell("kill -TERM $$"), 143, true),
        (words(&["twtrace-no-such-program"]), 127, false),
        (words(&["/nonexistent/program", "x"]), 127, false),
        (words(&[plain_file]), 126, false),
        (words(&["/proc"]), 126, false),
    ] {
        // Attaching takes long in an emulated machine; both verbs end in the same way.
        let both = [7, 127].contains(&code);
        for verb in if both {
            &["report", "trace"][..]
        } else {
            &["report"]
        } {
            let done = output(&mut twtrace(context, &[verb, "--output", path], &line))?;
            let stderr = text(&done.stderr);
            ensure!(
                done.status.code() == Some(code),
                "{verb} -- {line:?} ended with {}, not with {code}: {stderr}",
                done.status
            );
            if is_run {
                ensure!(report.exists(), "{verb} -- {line:?} made no report");
                fs::remove_file(&report)?;
            } else {
                ensure!(stderr.lines().count() == 1, "not one line: {stderr}");
                ensure!(
                    stderr.contains(&line[0]),
                    "does not name {}: {stderr}",
                    line[0]
                );
                ensure!(!report.exists(), "{verb} -- {line:?} left a file");
            }
        }
    }
    Ok(())
}

/// Prints what a process inherits, with a shell only.
const STATE: &str = "while read -r line; do case $line in \
     Uid:*|Gid:*|Groups:*|SigBlk:*|SigIgn:*|SigCgt:*|Cap*|NoNewPrivs:*|Seccomp:*) echo \"$line\";; esac; \
     done </proc/self/status; \
     while read -r line; do echo \"$line\"; done </proc/self/limits; \
     for file in /proc/self/fd/*; do echo \"${file##*/}\"; done; pwd; echo \"$HOME $PATH\"";

/// Users, capabilities, signals, limits and descriptors: both what twtrace has changed for itself, and what it was
/// started with (a signal ignored as by nohup, a descriptor like that of make's jobserver).
fn as_without_twtrace(context: &Context) -> Result<()> {
    let line = shell(STATE);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("report");
    let path = path.to_str().context("not UTF-8")?;
    for ignored in [
        None,
        Some(libc::SIGHUP),
        Some(libc::SIGINT),
        Some(libc::SIGCHLD),
    ] {
        let with_signal = |mut command: Command| {
            let ignore = move || {
                if let Some(signal) = ignored {
                    // SAFETY: SIG_IGN is a valid action.
                    unsafe { libc::signal(signal, libc::SIG_IGN) };
                }
                // SAFETY: integers only.
                unsafe { libc::dup2(0, 9) };
                Ok(())
            };
            // SAFETY: makes only system calls between fork and exec.
            unsafe { command.pre_exec(ignore) };
            output(&mut command)
        };
        let mut alone = Command::new(&line[0]);
        alone
            .args(&line[1..])
            .stdin(Stdio::null())
            .env_remove("SUDO_UID");
        let alone = with_signal(alone)?;
        let mut traced = twtrace(context, &["report", "--output", path], &line);
        traced.env_remove("SUDO_UID");
        let traced = with_signal(traced)?;
        ensure!(
            traced.status.success() && alone.stdout == traced.stdout,
            "with {ignored:?} ignored, {}: {}\ninstead of {}",
            traced.status,
            text(&traced.stdout),
            text(&alone.stdout)
        );
    }
    Ok(())
}

/// The command runs with the ids and groups in sudo's variables, and without root's capabilities.
fn invoking_user(context: &Context) -> Result<()> {
    const UID: &str = "54321";
    const GID: &str = "54322";
    let run = |uid: &str| {
        let mut command = twtrace(context, &["report", "--json"], &shell(STATE));
        command
            .env("SUDO_UID", uid)
            .env("SUDO_GID", GID)
            .env("SUDO_USER", "twtrace-no-such-user");
        output(&mut command)
    };
    let done = run(UID)?;
    let said = text(&done.stdout);
    ensure!(
        done.status.success(),
        "ended with {}: {}",
        done.status,
        text(&done.stderr)
    );
    let ids = |id: &str| [id; 4].join("\t");
    for wanted in [
        format!("Uid:\t{}", ids(UID)),
        format!("Gid:\t{}", ids(GID)),
        format!("Groups:\t{GID}"),
        "CapInh:\t0000000000000000".to_owned(),
        "CapPrm:\t0000000000000000".to_owned(),
        "CapEff:\t0000000000000000".to_owned(),
        "CapAmb:\t0000000000000000".to_owned(),
        "NoNewPrivs:\t0".to_owned(),
    ] {
        ensure!(
            said.lines().any(|line| line.trim() == wanted),
            "no {wanted:?} in {said}"
        );
    }
    let as_root = run("0")?;
    ensure!(
        text(&as_root.stdout)
            .lines()
            .any(|line| line == format!("Uid:\t{}", ids("0"))),
        "root who calls sudo is root: {}",
        text(&as_root.stdout)
    );
    let refused = run("nobody")?;
    ensure!(
        refused.status.code() == Some(125) && text(&refused.stderr).contains("SUDO_UID"),
        "ended with {}: {}",
        refused.status,
        text(&refused.stderr)
    );
    Ok(())
}

/// The report is printed when the command ends, not when all processes that it has started do.
fn outlived(context: &Context) -> Result<()> {
    // The background process lives as long as the pipe.
    let script = "exec 3<&0; { read -r line <&3; } & echo $!; exit 3";
    let (reader, _writer) = std::io::pipe()?;
    let done = output(twtrace(context, &["report", "--json"], &shell(script)).stdin(reader))?;
    let pid: i32 = text(&done.stdout).parse().context("no pid")?;
    let lives = process::signal(pid, 0).is_ok();
    ensure!(done.status.code() == Some(3), "ended with {}", done.status);
    ensure!(lives, "the background process had ended");
    Ok(())
}

/// SIGINT alone ends nothing (the terminal also sends it to the command); SIGTERM and SIGHUP are passed on.
fn signals(context: &Context) -> Result<()> {
    for (signal, name, code) in [(libc::SIGTERM, "TERM", 9), (libc::SIGHUP, "HUP", 10)] {
        let script = format!("trap 'exit {code}' {name}; echo ready; read -r line; exit 1");
        let (reader, _writer) = std::io::pipe()?;
        let mut child = twtrace(context, &["report", "--json"], &shell(&script))
            .stdin(reader)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        ensure!(line == "ready\n", "{line:?}");
        let pid = child.id().cast_signed();
        process::signal(pid, libc::SIGINT)?;
        process::signal(pid, libc::SIGQUIT)?;
        thread::sleep(Duration::from_millis(300));
        ensure!(
            child.try_wait()?.is_none(),
            "SIGINT or SIGQUIT has ended it"
        );
        process::signal(pid, signal)?;
        let status = end_of(&mut child)?;
        ensure!(
            status.code() == Some(code),
            "after SIG{name} it ended with {status}"
        );
    }
    Ok(())
}

fn wrong_use(context: &Context) -> Result<()> {
    let done = output(&mut twtrace(
        context,
        &["report", "--duration", "1s"],
        &shell("exit 0"),
    ))?;
    let stderr = text(&done.stderr);
    ensure!(
        done.status.code() == Some(2)
            && stderr.contains("--duration")
            && stderr.contains("COMMAND"),
        "ended with {}: {stderr}",
        done.status
    );
    const NOWHERE: &str = "/nonexistent/report";
    let done = output(&mut twtrace(
        context,
        &["report", "--output", NOWHERE],
        &shell("exit 0"),
    ))?;
    let stderr = text(&done.stderr);
    ensure!(
        done.status.code() == Some(125) && stderr.contains(NOWHERE) && stderr.lines().count() == 1,
        "ended with {}: {stderr}",
        done.status
    );
    Ok(())
}
