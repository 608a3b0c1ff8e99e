//! What is left of its privileges when it has attached its probes.

use anyhow::{Context as _, Result, ensure};

use super::service::{Service, field};
use crate::runner::Context;

const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// By mode and thread, as the kernel tells. (That nothing more can be opened then is a test of the program's own.)
pub fn kept(context: &Context) -> Result<()> {
    let bits = |capabilities: &[u32]| capabilities.iter().fold(0, |set, bit| set | 1_u64 << bit);
    // CAP_SYS_ADMIN stands for CAP_BPF before 5.8.
    let maps = [bits(&[CAP_BPF]), bits(&[CAP_SYS_ADMIN])];
    let naming = bits(&[CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE]);
    for (mode, allowed) in [
        ("naming", maps.map(|maps| naming | maps).to_vec()),
        // Some kernels ask for one of them when maps are read.
        ("least", [vec![0], maps.to_vec()].concat()),
    ] {
        let service = Service::start(context, &["--privileges", mode])?;
        let threads = service.threads()?;
        ensure!(threads.len() == 2, "{threads:?}");
        for (name, status) in &threads {
            let held = field(status, "CapPrm").context("no CapPrm")?;
            let held = u64::from_str_radix(held, 16)?;
            match name.as_str() {
                "http" => ensure!(held == 0, "{mode}: {name} has {held:x}"),
                _ => ensure!(allowed.contains(&held), "{mode}: {name} has {held:x}"),
            }
            ensure!(
                field(status, "CapEff") == field(status, "CapPrm"),
                "{mode}: {status}"
            );
            ensure!(field(status, "NoNewPrivs") == Some("1"), "{mode}: {status}");
        }
        ensure!(
            service.metrics()?.contains("twtrace_"),
            "{mode}: no metrics"
        );
        service.stop()?;
    }
    Ok(())
}
