//! `doctor --fix-script`: the script does what it says, once and again, and undoes it.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Usage,
    own_namespace::play_in_own,
    serve::traffic::{NamedProgram, answer, fill_ports},
};
use crate::runner::Context;

pub const USAGES: &[Usage] = &[Usage {
    name: "usage/fix_script",
    run: fix_script,
}];

const SETTING: &str = "/proc/sys/net/ipv4/tcp_tw_reuse";

/// A pool is full of TIME_WAITs that nothing reuses: the script sets tcp_tw_reuse in that namespace alone.
fn fix_script(context: &Context) -> Result<()> {
    let named = NamedProgram::new("fix")?;
    let before = fs::read_to_string(SETTING)?;
    play_in_own(|namespace| in_namespace(context, &named, namespace))?;
    let after = fs::read_to_string(SETTING)?;
    ensure!(
        after == before,
        "in the namespace of this test it was {before}, and is {after}"
    );
    Ok(())
}

fn in_namespace(context: &Context, named: &NamedProgram, namespace: &str) -> Result<()> {
    fill_ports(named, "127.78.0.3:8080")?;
    let output = Command::new(&context.twtrace)
        .args(["doctor", "--fix-script", "--duration", "1s", "--netns"])
        .arg(namespace)
        .args(context.tier.options())
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("fix.sh");
    fs::write(&script, &output.stdout)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let run = |arguments: &[&str], expected: &str, printed: &str| -> Result<()> {
        let output = Command::new("sh").arg(&script).args(arguments).output()?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}\n{text}");
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains(printed), "{arguments:?}: {said}\n{text}");
        let value = fs::read_to_string(SETTING)?;
        ensure!(
            value.trim() == expected,
            "{arguments:?}: it is {value}\n{text}"
        );
        Ok(())
    };
    run(&[], "1", ": 0 -> 1")?;
    run(&[], "1", " is 1")?;
    // The remedy helps: the same ports serve again.
    thread::sleep(std::time::Duration::from_millis(1_100));
    let (address, server) = answer("127.78.0.3:8080", 1)?;
    named.connect(address, 1)?;
    server.join().ok().context("the server panicked")??;
    // Somebody else's value is nobody's to change.
    fs::write(SETTING, "2")?;
    let changed = Command::new("sh").arg(&script).output()?;
    let value = fs::read_to_string(SETTING)?;
    ensure!(
        changed.status.code() == Some(1) && value.trim() == "2",
        "{changed:?}: {value}"
    );
    fs::write(SETTING, "1")?;
    run(&["undo"], "0", ": 1 -> 0")?;
    let wrong = Command::new("sh").arg(&script).arg("redo").output()?;
    ensure!(wrong.status.code() == Some(2), "{wrong:?}");
    Ok(())
}
