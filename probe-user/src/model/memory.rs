//! What TIME_WAIT costs: the kernel's memory, over all network namespaces.

use serde::Serialize;

/// Memory when tracing ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Bytes of mini-sockets in use, of both IP versions; `None` where one of them is not known.
    pub time_wait_bytes: Option<u64>,
    /// By the kernel's cache.
    pub caches: Vec<CacheRow>,
}

/// One of the kernel's caches of equal objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CacheRow {
    /// Its name, as `slabtop` shows it.
    pub name: &'static str,
    /// Objects in use.
    pub active_objects: Option<u64>,
    /// Size of one, bytes.
    pub object_bytes: Option<u64>,
    /// Objects in use times their size.
    pub active_bytes: Option<u64>,
    /// Memory that the cache holds for used and unused objects, bytes.
    pub held_bytes: Option<u64>,
    /// Why the others are null.
    pub why: Option<String>,
}

/// Name prefix of the caches of mini-sockets; the other ones hold ports.
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, active_bytes: Option<u64>) -> CacheRow {
        CacheRow {
            name,
            active_objects: active_bytes.map(|bytes| bytes / 256),
            object_bytes: active_bytes.map(|_| 256),
            active_bytes,
            held_bytes: active_bytes,
            why: active_bytes.is_none().then(|| "not there".to_owned()),
        }
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
