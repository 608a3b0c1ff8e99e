//! Wrong use, missing permissions or features, and what is left behind.

use std::{
    ffi::CString,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Usage;
use crate::{
    expect::environment::tiers_of,
    runner::{Context, TierLimit, report::RunningReport},
    stage::Skip,
    sys::{bpf, check, process},
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "usage/not_root",
        run: not_root,
    },
    Usage {
        name: "usage/tracefs_not_mounted",
        run: tracefs_not_mounted,
    },
    Usage {
        name: "usage/tracefs_out_of_reach",
        run: tracefs_out_of_reach,
    },
    Usage {
        name: "usage/no_btf",
        run: no_btf,
    },
    Usage {
        name: "usage/wrong_arguments",
        run: wrong_arguments,
    },
    Usage {
        name: "usage/unknown_pid",
        run: unknown_pid,
    },
    Usage {
        name: "usage/hook_missing",
        run: hook_missing,
    },
    Usage {
        name: "usage/probes",
        run: probes,
    },
    Usage {
        name: "usage/completions",
        run: completions,
    },
    Usage {
        name: "usage/closed_pipe",
        run: closed_pipe,
    },
    Usage {
        name: "usage/no_probe_left",
        run: no_probe_left,
    },
];

/// The uid of nobody.
pub(super) const UNPRIVILEGED: u32 = 65_534;

pub(super) fn twtrace(context: &Context, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.twtrace);
    command
        .args(arguments)
        .args(context.tier.options())
        .stdin(Stdio::null());
    command
}

/// Runs it, up to a time limit.
pub(super) fn output(mut command: Command) -> Result<Output> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start twtrace")?;
    let limit = Duration::from_secs(if process::emulated() { 120 } else { 30 });
    let end = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() >= end {
            child.kill()?;
            let output = child.wait_with_output()?;
            bail!("twtrace did not end by itself: {}", text(&output.stderr));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(child.wait_with_output()?)
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Checks for one line on standard error with all these words, and this exit code.
fn fails_with(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let stderr = text(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "ended with {}, not with code {code}: {stderr}",
        output.status
    );
    ensure!(
        stderr.lines().count() == 1,
        "not one line but {}: {stderr}",
        stderr.lines().count()
    );
    for word in words {
        ensure!(stderr.contains(word), "does not say {word}: {stderr}");
    }
    Ok(())
}

fn not_root(context: &Context) -> Result<()> {
    // The directory of the binary may be inaccessible to others: the open file is executed instead.
    let program = std::fs::File::open(&context.twtrace)?;
    let mut command = Command::new(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&program)
    ));
    command
        .args(["report", "--duration", "1s"])
        .args(context.tier.options())
        .stdin(Stdio::null());
    let keep_open = std::os::fd::AsRawFd::as_raw_fd(&program);
    // SAFETY: makes only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            check(libc::fcntl(keep_open, libc::F_SETFD, 0))?;
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setgid(UNPRIVILEGED))?;
            check(libc::setuid(UNPRIVILEGED))?;
            Ok(())
        });
    }
    let says = ["CAP_BPF", "CAP_PERFMON", "sudo setcap cap_bpf,"];
    fails_with(&output(command)?, 1, &says)
}

/// CAP_SYS_ADMIN
const MOUNTING: u32 = 21;

/// Runs it in a mount namespace without tracefs and debugfs, and without the permission to mount them if requested.
fn without_tracefs(mut command: Command, may_mount: bool) -> Result<Output> {
    let points = [
        "/sys/kernel/tracing",
        "/sys/kernel/debug/tracing",
        "/sys/kernel/debug",
    ]
    .into_iter()
    .map(CString::new)
    .collect::<Result<Vec<_>, _>>()?;
    // SAFETY: makes only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            check(libc::unshare(libc::CLONE_NEWNS))?;
            process::keep_mounts_private()?;
            for point in &points {
                // Until nothing is mounted there: it may be mounted more than once, or not at all.
                while libc::umount2(point.as_ptr(), libc::MNT_DETACH) == 0 {}
            }
            if !may_mount {
                // exec gives root the capabilities of the bounding set.
                check(libc::prctl(libc::PR_CAPBSET_DROP, MOUNTING, 0, 0, 0))?;
            }
            Ok(())
        });
    }
    output(command)
}

/// It mounts what it needs, and then nothing is missing.
fn tracefs_not_mounted(context: &Context) -> Result<()> {
    let probes = |output: Output| {
        ensure!(
            output.status.success(),
            "ended with {}: {}",
            output.status,
            text(&output.stderr)
        );
        parse(&output)
    };
    let arguments = ["probes", "--json"];
    let without = probes(without_tracefs(twtrace(context, &arguments), true)?)?;
    allowed_tiers(&without, context.tier)?;
    let with = probes(output(twtrace(context, &arguments))?)?;
    ensure!(
        without["tiers"] == with["tiers"],
        "{} instead of {}",
        without["tiers"],
        with["tiers"]
    );
    Ok(())
}

/// If it may not mount it, hooks that need it are refused, with what to do; if no other hook is left, it fails.
fn tracefs_out_of_reach(context: &Context) -> Result<()> {
    let mut command = Command::new(&context.twtrace);
    command
        .args(["report", "--duration", "1s"])
        .args(TierLimit::Classic.options())
        .stdin(Stdio::null());
    let says = ["tracefs is not mounted", "mount -t tracefs"];
    fails_with(&without_tracefs(command, false)?, 1, &says)
}

fn no_btf(context: &Context) -> Result<()> {
    const MISSING: &str = "/nonexistent/vmlinux";
    let command = twtrace(context, &["report", "--duration", "1s", "--btf", MISSING]);
    fails_with(&output(command)?, 1, &[MISSING])
}

fn wrong_arguments(context: &Context) -> Result<()> {
    for arguments in [
        &["trace", "--no-such-option"][..],
        &["no-such-command"],
        &["report", "--duration", "soon"],
        &["trace", "--remote", "300.1.1.1"],
        &["doctor", "--fail-on", "always"],
    ] {
        let output = output(twtrace(context, arguments))?;
        let stderr = text(&output.stderr);
        ensure!(
            output.status.code() == Some(2),
            "{arguments:?} ended with {}, not with code 2: {stderr}",
            output.status
        );
        let wrong = arguments[arguments.len() - 1];
        ensure!(stderr.contains(wrong), "does not name {wrong}: {stderr}");
    }
    Ok(())
}

fn unknown_pid(context: &Context) -> Result<()> {
    const PID: &str = "999999999";
    let output = output(twtrace(
        context,
        &["report", "--duration", "1s", "--pid", PID],
    ))?;
    // The command line is valid; there is no such process.
    fails_with(&output, 1, &["--pid", PID])
}

/// A hook that this kernel lacks, or that is disabled by an option, is reported with its reason; the others are used.
fn hook_missing(context: &Context) -> Result<()> {
    let mut command = Command::new(&context.twtrace);
    command
        .args(["probes", "--json"])
        .args(TierLimit::Inferred.options())
        .stdin(Stdio::null());
    let output = output(command)?;
    ensure!(
        output.status.success(),
        "ended with {}: {}",
        output.status,
        text(&output.stderr)
    );
    let probes = parse(&output)?;
    let refused: Vec<&str> = probes["tiers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|choice| choice["refused"].as_array())
        .flatten()
        .filter(|refused| refused[1] == "switched off")
        .filter_map(|refused| refused[0].as_str())
        .collect();
    for hook in ["fentry", "kprobe", "timer"] {
        ensure!(refused.contains(&hook), "{hook} is not named: {probes}");
    }
    allowed_tiers(&probes, TierLimit::Inferred)
}

fn probes(context: &Context) -> Result<()> {
    let output = output(twtrace(context, &["probes", "--json"]))?;
    ensure!(
        output.status.success(),
        "ended with {}: {}",
        output.status,
        text(&output.stderr)
    );
    let probes = parse(&output)?;
    allowed_tiers(&probes, context.tier)?;
    // A kernel may lack such a hook, or not allow its use; if its verifier rejects one of our programs as wrong
    // (EACCES) or endless (E2BIG), the program is at fault.
    for fault in ["os error 13", "os error 7)"] {
        ensure!(
            !text(&output.stdout).contains(fault),
            "a program was refused: {probes:#}"
        );
    }
    Ok(())
}

fn parse(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no JSON document: {}", text(&output.stdout)))
}

fn allowed_tiers(probes: &Value, limit: TierLimit) -> Result<()> {
    for choice in tiers_of(probes)? {
        ensure!(
            limit.allows(choice.question, choice.tier),
            "{:?} is answered by {:?} in spite of {limit:?}",
            choice.question,
            choice.tier
        );
    }
    Ok(())
}

/// A shell accepts the script, and completes with it.
fn completions(context: &Context) -> Result<()> {
    const COMPLETE: &str = "source /dev/stdin && COMP_WORDS=(twtrace rep) COMP_CWORD=1 \
                            && _twtrace twtrace rep twtrace && echo \"${COMPREPLY[@]}\"";
    // It has no options for probes.
    let mut command = Command::new(&context.twtrace);
    command.args(["completions", "bash"]);
    let script = output(command)?;
    ensure!(script.status.success(), "{}", text(&script.stderr));
    let shell = Command::new("bash")
        .args(["--norc", "-c", COMPLETE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut shell = match shell {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!(Skip("there is no bash".to_owned()))
        }
        other => other?,
    };
    let mut stdin = shell.stdin.take().context("bash has no stdin")?;
    stdin.write_all(&script.stdout)?;
    drop(stdin);
    let completed = shell.wait_with_output()?;
    ensure!(
        text(&completed.stdout).trim() == "report",
        "`rep` is completed to {:?}: {}",
        text(&completed.stdout),
        text(&completed.stderr)
    );
    Ok(())
}

/// A reader that closes the pipe is no error.
fn closed_pipe(context: &Context) -> Result<()> {
    let (reader, writer) = io::pipe()?;
    // Before it starts: otherwise all of its output might be in the pipe by then.
    drop(reader);
    let output = twtrace(context, &["probes"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    ensure!(
        output.status.success(),
        "ended with {}: {}",
        output.status,
        text(&output.stderr)
    );
    Ok(())
}

/// The programs of a run are removed after it, and after one that is killed.
fn no_probe_left(context: &Context) -> Result<()> {
    // A guest's trace also ends like that.
    if !process::emulated() {
        let ended = RunningReport::start(&context.twtrace, &context.tier.options())?;
        let programs = ended.programs()?;
        ensure!(!programs.is_empty(), "a running report holds no program");
        ended.end()?;
        bpf::await_gone(&programs).context("after SIGINT")?;
    }
    let killed = RunningReport::start(&context.twtrace, &context.tier.options())?;
    let programs = killed.programs()?;
    ensure!(!programs.is_empty(), "a running report holds no program");
    killed.kill()?;
    bpf::await_gone(&programs).context("after SIGKILL")
}
