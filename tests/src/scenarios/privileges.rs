//! The privileges that verbs keep once their probes are attached.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::Usage;
use crate::{runner::Context, sys::process::field};

pub const USAGES: &[Usage] = &[Usage {
    name: "usage/privileges",
    run: privileges,
}];

/// CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, to name processes; CAP_BPF, to read maps.
const KEPT: [u32; 3] = [2, 19, 39];

/// What a verb prints on standard error once everything is attached.
const READY: &str = "counting";

/// Most are dropped for good: if untrusted input takes over the process, it gains little.
fn privileges(context: &Context) -> Result<()> {
    for verb in [&["report", "--json"][..], &["doctor", "--duration", "1h"]] {
        let mut child = Command::new(&context.twtrace)
            .args(verb)
            .args(context.tier.options())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start twtrace")?;
        let kept = kept_by(&mut child);
        child.kill()?;
        child.wait()?;
        kept.with_context(|| format!("{verb:?}"))?;
    }
    Ok(())
}

fn kept_by(child: &mut Child) -> Result<()> {
    let stderr = child.stderr.take().context("no errors")?;
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    if !lines.any(|line| line.contains(READY)) {
        bail!("it did not get ready");
    }
    let allowed = KEPT.iter().fold(0, |set, bit| set | 1_u64 << bit);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    for set in ["CapPrm", "CapEff"] {
        let held = field(&status, set).with_context(|| format!("no {set}"))?;
        let held = u64::from_str_radix(held, 16)?;
        ensure!(held & !allowed == 0, "{set} is {held:x}");
    }
    ensure!(field(&status, "NoNewPrivs") == Some("1"), "{status}");
    Ok(())
}
