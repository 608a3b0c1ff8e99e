//! Kernel settings of a namespace, drawn from the seed: usual values are likely.

use std::fs;

use anyhow::{Context as _, Result};
use fastrand::Rng;

/// A setting: its path below /proc/sys/net, and its value.
pub type KernelSetting = (&'static str, u32);

/// Makes sockets that nobody waits for, or that wait in vain, end within the round.
const ALWAYS: [KernelSetting; 3] = [
    ("ipv6/ip_nonlocal_bind", 1),
    ("ipv4/tcp_orphan_retries", 2),
    ("ipv4/tcp_retries2", 4),
];

/// More TIME_WAITs than a round creates.
const MANY: u32 = 1 << 20;

/// The settings of a round's namespace.
pub fn settings(seed: u64, number: u32) -> Vec<KernelSetting> {
    // Adjacent numbers must not give similar results: one draw mixes each.
    let first = Rng::with_seed(seed ^ (u64::from(number) << 32) ^ 0xc11a).u64(..);
    let mut rng = Rng::with_seed(first);
    let mut settings = ALWAYS.to_vec();
    let mut one_of = |name, usual: u32, share: u8, other: u32| {
        let is_other = rng.u8(..100) < share;
        settings.push((name, if is_other { other } else { usual }));
    };
    // TIME_WAITs are refused.
    one_of("ipv4/tcp_max_tw_buckets", MANY, 30, 60);
    // Connections that do not fit into a listener's queue are reset.
    one_of("ipv4/tcp_abort_on_overflow", 0, 30, 1);
    // No connect() reuses the tuple of a TIME_WAIT.
    one_of("ipv4/tcp_tw_reuse", 2, 20, 0);
    one_of("ipv4/tcp_timestamps", 1, 20, 0);
    // A RST does not end a TIME_WAIT.
    one_of("ipv4/tcp_rfc1337", 0, 20, 1);
    // Sockets that wait for the peer's FIN end within the round.
    one_of("ipv4/tcp_fin_timeout", 60, 25, 1);
    settings
}

/// Applies these settings in this process's namespace.
///
/// # Errors
/// If a setting can't be written.
pub fn set(settings: &[KernelSetting]) -> Result<()> {
    for (name, value) in settings {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value.to_string()).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

/// The settings in one line.
pub fn describe(settings: &[KernelSetting]) -> String {
    let each = settings.iter().map(|(name, value)| {
        let name = name.rsplit('/').next().unwrap_or(name);
        format!("{name} {value}")
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_occurs_both_ways() {
        let all: Vec<_> = (0..200).map(|seed| settings(seed, 1)).collect();
        for setting in all.iter().flatten().filter(|it| !ALWAYS.contains(it)) {
            let share = all.iter().flatten().filter(|it| *it == setting).count();
            assert!((20..=180).contains(&share), "{setting:?}: {share}");
        }
        assert_ne!(settings(1, 0), settings(1, 1));
    }
}
