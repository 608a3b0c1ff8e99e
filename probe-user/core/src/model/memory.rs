//! Memory of TIME_WAITs: of the kernel, over all network namespaces, and by process.

use std::borrow::Cow;
use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use twtrace_wire::Unattributed;

use super::process_row::ProcessRow;
use crate::event::Process;
use crate::event::answerable::Answerable;
use crate::event::words;

/// Memory when tracing ended.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Memory {
    /// Bytes of mini-sockets in use, of both IP versions; `None` if one of them is not known.
    pub time_wait_bytes: Option<u64>,
    /// By cache of the kernel.
    pub caches: Vec<CacheRow>,
    /// By process, for those that the filter shows; `None` if it hides the creation or the end of TIME_WAITs.
    pub processes: Option<Vec<ShareRow>>,
}

/// The TIME_WAITs of one process that were alive when tracing ended. Those from before tracing have no process.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct ShareRow {
    /// The process, or `None` if none is known.
    pub process: Option<Process>,
    /// Why there is none.
    #[serde(serialize_with = "words::serialize_option")]
    #[schemars(with = "Option<crate::event::schema::WordOf<Unattributed>>")]
    pub unattributed: Option<Unattributed>,
    /// TIME_WAITs alive.
    pub alive: u64,
    /// Their size, bytes; `None` if the size of one is not known.
    pub bytes: Option<u64>,
}

impl ShareRow {
    /// Whose TIME_WAITs they are.
    pub fn answerable(&self) -> Answerable<'_> {
        Answerable::of(self.process.as_ref(), self.unattributed)
    }
}

/// One of the kernel's caches of equal objects.
#[derive(schemars::JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRow {
    /// Its name, as `slabtop` shows it.
    pub name: Cow<'static, str>,
    /// Objects in use.
    pub active_objects: Option<u64>,
    /// Size of one, bytes.
    pub object_bytes: Option<u64>,
    /// Objects in use times their size.
    pub active_bytes: Option<u64>,
    /// Memory of the cache for used and unused objects, bytes.
    pub held_bytes: Option<u64>,
    /// Why the others are null.
    pub why: Option<String>,
}

/// Name prefix of the caches of mini-sockets; the other caches hold ports.
const MINI_SOCKETS: &str = "tw_sock_";

impl Memory {
    /// Sums up the caches of mini-sockets.
    pub fn of(caches: Vec<CacheRow>) -> Self {
        let mini_sockets = caches
            .iter()
            .filter(|row| row.name.starts_with(MINI_SOCKETS));
        Self {
            time_wait_bytes: mini_sockets
                .map(|row| row.active_bytes)
                .try_fold(0, |sum: u64, bytes| Some(sum.saturating_add(bytes?))),
            caches,
            processes: None,
        }
    }

    /// Adds each process's share, from rows that count creations and ends: those with the most first.
    pub fn shared_by(mut self, rows: &[ProcessRow]) -> Self {
        // Both IP versions have the same struct (tcp6_timewait_sock is a tcp_timewait_sock).
        let object_bytes = self
            .caches
            .iter()
            .filter(|row| row.name.starts_with(MINI_SOCKETS))
            .find_map(|row| row.object_bytes);
        let mut shares: Vec<ShareRow> = rows
            .iter()
            .filter_map(|row| {
                let made = row.counts.time_wait.total();
                let alive = made.saturating_sub(row.counts.ended.total());
                (alive > 0).then(|| ShareRow {
                    process: row.process.clone(),
                    unattributed: row.unattributed,
                    alive,
                    bytes: object_bytes.map(|size| alive.saturating_mul(size)),
                })
            })
            .collect();
        shares.sort_by_key(|share| Reverse(share.alive));
        self.processes = Some(shares);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::counts_by::CountsBy;
    use crate::event::samples;

    fn row(name: &'static str, active_bytes: Option<u64>) -> CacheRow {
        CacheRow {
            name: name.into(),
            active_objects: active_bytes.map(|bytes| bytes / 256),
            object_bytes: active_bytes.map(|_| 256),
            active_bytes,
            held_bytes: active_bytes,
            why: active_bytes.is_none().then(|| "not there".to_owned()),
        }
    }

    #[test]
    fn a_process_pays_for_what_it_made_and_has_not_seen_end() {
        let process = |pid, made, ended| {
            let process = samples::process(pid, "p");
            let key = process.key;
            let mut row = ProcessRow::new(Some(process), key);
            row.counts.time_wait = CountsBy::new([0, made, 0]);
            row.counts.ended = CountsBy::new([ended, 0, 0, 0, 0]);
            row
        };
        let rows = [process(1, 3, 2), process(2, 9, 4), process(3, 5, 5)];
        let caches = vec![row("tw_sock_TCP", None), row("tw_sock_TCPv6", Some(256))];
        let shares = Memory::of(caches).shared_by(&rows).processes.unwrap();
        let figures: Vec<_> = shares
            .iter()
            .map(|share| {
                (
                    share.process.as_ref().unwrap().key.tgid,
                    share.alive,
                    share.bytes,
                )
            })
            .collect();
        assert_eq!(figures, [(2, 5, Some(1280)), (1, 1, Some(256))]);
    }

    #[test]
    fn only_mini_sockets_are_summed_up_and_only_if_all_are_known() {
        let [v4, v6] = ["tw_sock_TCP", "tw_sock_TCPv6"];
        let memory = Memory::of(vec![
            row(v4, Some(512)),
            row(v6, Some(256)),
            row("tcp_bind_bucket", None),
        ]);
        assert_eq!(memory.time_wait_bytes, Some(768));
        let memory = Memory::of(vec![row(v4, Some(512)), row(v6, None)]);
        assert_eq!(memory.time_wait_bytes, None);
        assert_eq!(
            serde_json::to_string(&memory.caches[1]).unwrap(),
            r#"{"name":"tw_sock_TCPv6","active_objects":null,"object_bytes":null,"active_bytes":null,"held_bytes":null,"why":"not there"}"#
        );
    }
}
