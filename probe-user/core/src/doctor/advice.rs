//! Texts that several checks share.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::event::{Process, quantity};
use crate::model::pairs;

/// Maximum number of processes, port pools or namespaces that a sentence names.
pub const NAMED: usize = 5;

/// Advice about tcp_tw_recycle, which old pages still recommend.
pub const NO_RECYCLE: &str = "net.ipv4.tcp_tw_recycle: removed in Linux 4.12; where it still exists it refuses \
    connections of clients behind NAT";

/// Advice about tcp_fin_timeout, which is mistaken for the length of TIME_WAIT.
pub const NO_FIN_TIMEOUT: &str = "net.ipv4.tcp_fin_timeout: it bounds FIN_WAIT2 only; a TIME_WAIT lasts as \
    long whatever it says";

/// Advice about SO_LINGER 0 as a remedy.
pub const NO_LINGER: &str = "SO_LINGER with 0 s to avoid TIME_WAITs: the connection ends with a RST, and data on \
    its way to the peer is lost";

/// Advice about tcp_max_tw_buckets as a remedy.
pub const NO_BUCKETS: &str = "lowering net.ipv4.tcp_max_tw_buckets: the kernel then closes connections without \
    TIME_WAIT, and late segments may end up in the next connection of the same ports";

/// How a program that binds before it connects gets a port pool for each destination.
pub const OWN_POOLS: &str = "set IP_BIND_ADDRESS_NO_PORT on the socket before bind(), so that connect() chooses the \
    port and each destination has all of them (nginx does so for proxy_bind; haproxy: leave the port out of \
    source, or give it a range of its own: source ADDRESS:10000-65000)";

/// Processes by their displayed names, the greatest first. If there are more than a sentence names, those of one command are
/// one entry: `curl (12 processes)`.
pub fn by_command(rows: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    // A process may have a row for each destination.
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in rows {
        *names.entry(name).or_default() += count;
    }
    let mut rows: Vec<(String, u64)> = names.into_iter().collect();
    if rows.len() > NAMED {
        let mut commands: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
        for (name, count) in rows {
            let (sum, names) = commands.entry(command(&name).to_owned()).or_default();
            *sum += count;
            names.push(name);
        }
        let joined = |(command, (sum, mut names)): (String, (u64, Vec<String>))| match names.len() {
            1 => (names.remove(0), sum),
            count => (format!("{command} ({count} processes)"), sum),
        };
        rows = commands.into_iter().map(joined).collect();
    }
    rows.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    rows
}

/// The command in a displayed name: `nginx` of `nginx(7)`.
fn command(name: &str) -> &str {
    let of_process = name
        .strip_suffix(')')
        .and_then(|name| name.rsplit_once('('));
    match of_process {
        Some((command, pid))
            if !command.is_empty() && pid.bytes().all(|it| it.is_ascii_digit()) =>
        {
            command
        }
        _ => name,
    }
}

/// Such as `nginx(7): 12, curl(8): 3 and 4 more`.
pub fn list<T: AsRef<str>>(rows: &[(T, u64)]) -> String {
    let named: Vec<String> = rows
        .iter()
        .take(NAMED)
        .map(|(name, number)| format!("{}: {number}", name.as_ref()))
        .collect();
    named.join(", ") + &more(rows.len())
}

/// Such as `nginx(7)`, or `nginx(7) (3 times started)`: the latest of the processes that did something.
pub fn callers(latest: Option<&Process>, processes: u64) -> String {
    match (latest, processes) {
        (Some(process), 0..=1) => pairs::name(process),
        (Some(process), more) => format!("{} ({more} times started)", pairs::name(process)),
        (None, _) => pairs::NOBODY.to_owned(),
    }
}

/// Such as ` within 900ms`, or empty for a single moment.
pub fn lasted(lasted_ns: u64) -> String {
    match lasted_ns {
        0 => String::new(),
        lasted_ns => format!(" within {}", quantity::duration(lasted_ns)),
    }
}

/// Such as ` and 4 more`, or empty.
pub fn more(count: usize) -> String {
    match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// Processes and their counts as JSON figures.
pub fn figures<T: AsRef<str>>(rows: &[(T, u64)]) -> Value {
    rows.iter()
        .map(|(name, count)| json!({"process": name.as_ref(), "count": count}))
        .collect()
}

/// A rate in few characters, per second.
pub fn rate(per_s: f64) -> String {
    match per_s {
        0.0..10.0 => format!("{per_s:.1} a second"),
        _ => format!("{per_s:.0} a second"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processes_of_one_command_are_one_entry() {
        let many = (1..=12).map(|pid| (format!("psql({pid})"), 1));
        let few = [("nginx(7)".to_owned(), 3), ("(unknown)".to_owned(), 2)];
        let rows = by_command(many.chain(few.clone()));
        assert_eq!(
            list(&rows),
            "psql (12 processes): 12, nginx(7): 3, (unknown): 2"
        );
        let two = (1..=2).map(|pid| (format!("psql({pid})"), 1));
        assert_eq!(list(&by_command(two)), "psql(1): 1, psql(2): 1");
    }
}
