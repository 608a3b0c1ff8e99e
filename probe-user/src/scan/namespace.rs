//! Reads settings and counters of network namespaces.

use std::path::PathBuf;

use twtrace_core::model::namespace::{
    Conntrack, NamespaceSample, NamespaceSamples, NamespaceState,
};

use super::namespace_helper::NamespaceHelper;
use super::setting::{self, Setting, SettingError};
use super::snapshot::namespaces;
use crate::enrich::kernel_counters::{sockstat_alive, tcp_ext, tcp_mib};
use crate::enrich::netns;

/// Reads every namespace that can be reached, or those in `only` if it is not empty. Namespaces that are removed in
/// between are left out.
pub fn sample(helper: Option<&NamespaceHelper>, only: &[u32]) -> NamespaceSamples {
    let own = netns::of_process(std::process::id());
    let mut samples = NamespaceSamples::new();
    for (number, paths) in namespaces() {
        if !only.is_empty() && !only.contains(&number) {
            continue;
        }
        let state = match read(helper, number, &paths) {
            Err(error) if error.is_gone() => continue,
            Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
            Ok(state) => Ok(state),
        };
        let path = if own == Some(number) {
            None
        } else {
            lasting(&paths)
        };
        samples.insert(number, NamespaceSample { path, state });
    }
    samples
}

/// A mount keeps a namespace longer than a process does, and the first process of a namespace usually lives longest.
fn lasting(paths: &[PathBuf]) -> Option<PathBuf> {
    let mount = paths.iter().find(|path| !path.starts_with("/proc"));
    mount.or(paths.first()).cloned()
}

fn read(
    helper: Option<&NamespaceHelper>,
    netns: u32,
    paths: &[PathBuf],
) -> Result<NamespaceState, SettingError> {
    let text = |setting| setting::text(helper, netns, paths, setting);
    let number = |setting| text(setting).ok()?.trim().parse().ok();
    let netstat = text(Setting::Netstat)?;
    let snmp = text(Setting::Snmp)?;
    Ok(NamespaceState {
        ports: setting::read(helper, netns, paths)?,
        fin_timeout_s: number(Setting::FinTimeout),
        max_tw_buckets: number(Setting::MaxTwBuckets),
        time_waits: sockstat_alive(&text(Setting::Sockstat)?),
        listen_overflows: tcp_ext(&netstat, "ListenOverflows"),
        listen_drops: tcp_ext(&netstat, "ListenDrops"),
        abort_on_overflow: number(Setting::AbortOnOverflow).map(|on: u64| on != 0),
        active_opens: tcp_mib(&snmp, "ActiveOpens"),
        passive_opens: tcp_mib(&snmp, "PassiveOpens"),
        established: tcp_mib(&snmp, "CurrEstab"),
        conntrack: conntrack(
            number(Setting::ConntrackCount),
            number(Setting::ConntrackMax),
            &text(Setting::ConntrackStat).unwrap_or_default(),
        ),
    })
}

/// `None` if the module is not loaded. Kernels may be built without its counters.
fn conntrack(count: Option<u64>, max: Option<u64>, stat: &str) -> Option<Conntrack> {
    let sum = |name| stat_sum(stat, name).unwrap_or(0);
    Some(Conntrack {
        count: count?,
        max: max?,
        insert_failed: sum("insert_failed"),
        drop: sum("drop"),
        early_drop: sum("early_drop"),
    })
}

/// A column of names, then a line of hexadecimal numbers for each CPU.
fn stat_sum(stat: &str, name: &str) -> Option<u64> {
    let mut lines = stat.lines();
    let column = lines
        .next()?
        .split_ascii_whitespace()
        .position(|known| known == name)?;
    lines
        .map(|line| {
            let text = line.split_ascii_whitespace().nth(column)?;
            u64::from_str_radix(text, 16).ok()
        })
        .try_fold(0_u64, |sum, number| Some(sum.saturating_add(number?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_needs_no_helper() {
        let own = netns::of_process(std::process::id()).unwrap();
        let samples = sample(None, &[own]);
        let state = samples[&own].state.as_ref().unwrap();
        assert!(samples[&own].path.is_none());
        assert!(state.fin_timeout_s.is_some() && state.time_waits.is_some());
        assert!(state.listen_overflows.is_some() && state.abort_on_overflow.is_some());
        assert!(state.active_opens.is_some() && state.established.is_some());
    }

    #[test]
    fn a_mount_is_preferred_to_a_process() {
        let paths = ["/proc/7/ns/net", "/proc/9/ns/net", "/run/netns/blue"].map(PathBuf::from);
        assert_eq!(lasting(&paths).as_ref(), Some(&paths[2]));
        assert_eq!(lasting(&paths[..2]).as_ref(), Some(&paths[0]));
        assert_eq!(lasting(&[]), None);
    }

    #[test]
    fn counters_of_all_cpus_are_summed_up() {
        let stat = "\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop
00000004  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 0000000a 00000001 00000000
00000004  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000010 00000000 00000002
";
        let known = conntrack(Some(4), Some(8), stat);
        assert_eq!(
            known,
            Some(Conntrack {
                count: 4,
                max: 8,
                insert_failed: 26,
                drop: 1,
                early_drop: 2
            })
        );
        assert_eq!(conntrack(None, Some(8), stat), None);
        assert_eq!(conntrack(Some(4), Some(8), "").unwrap().drop, 0);
    }
}
