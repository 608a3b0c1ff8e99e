//! Events, in the shape of the JSON contract.
//!
//! Records arrive from the ring buffer as [`batch::Batch`]es, [`decode::Decoder`] converts them to [`Event`]s,
//! [`reset_correlation::ResetCorrelation`] drops the resets that a later record replaces.

pub mod address;
pub mod answerable;
#[cfg(test)]
mod any;
pub mod batch;
mod borrowed;
mod cgroup_names;
pub mod comm;
pub mod counts_by;
pub mod decode;
pub mod details;
pub mod errno;
pub mod event_json;
pub mod event_table;
pub mod fields;
pub mod json;
pub mod kernel_reason;
mod line;
pub mod lost;
pub mod netns_order;
pub mod parse;
pub mod place;
pub mod process;
pub mod quantity;
pub mod reset_correlation;
mod rest;
pub mod schema;
pub mod text;
pub mod timestamp;
mod value;
pub mod words;

use std::net::SocketAddr;

use twtrace_wire::{EventKind, Side, Unattributed};

pub use event_table::{
    Abort, EventFacts, Flow, NoAddress, PortAlloc, PortResult, Reset, SocketRange, TimeWait,
    TimeWaitEnd,
};
pub use lost::{Lost, LostBy};
pub use process::Process;
pub use timestamp::{Moment, Timestamp};

/// One event of one connection or port: one line of `--json`. [`line`] writes its fields, [`facts`] defines those of
/// its kind.
#[derive(schemars::JsonSchema, Clone, Debug)]
pub struct Event {
    /// Wall-clock time.
    pub ts: Timestamp,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// The kind: determines the variant of `facts`.
    #[schemars(with = "schema::WordOf<EventKind>")]
    pub event: EventKind,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// How many earlier namespaces had this number since tracing began: the kernel reuses a number at once.
    #[schemars(skip_serializing_if = "is_first")]
    pub netns_nth: u32,
    /// This host's end.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub remote: Option<SocketAddr>,
    /// Whether the addresses are IPv4 ones used through an IPv6 socket.
    pub mapped: bool,
    /// Which end this host's socket is.
    #[schemars(with = "schema::WordOf<Side>")]
    pub side: Side,
    /// The responsible process.
    pub process: Option<Process>,
    /// Why `process` is `None`.
    #[schemars(with = "Option<schema::WordOf<Unattributed>>")]
    pub unattributed: Option<Unattributed>,
    /// The process that connected or accepted.
    pub opener: Option<Process>,
    /// Fields of this kind of event only.
    #[schemars(skip)]
    pub facts: EventFacts,
}

/// Whether a namespace is the first one with its number: this is then not written.
pub fn is_first(nth: &u32) -> bool {
    *nth == 0
}

#[cfg(any(test, feature = "samples"))]
#[allow(clippy::unwrap_used, reason = "only tests are made of them")]
pub mod samples;

#[cfg(test)]
mod tests {
    use twtrace_wire::ResetReason;

    use super::kernel_reason::KernelReason;
    use super::{EventFacts, PortResult, SocketRange, samples};

    fn keys(json: &str) -> Vec<String> {
        // serde_json's map sorts its keys, so the order is taken from the text.
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let mut keys: Vec<(usize, String)> = value
            .as_object()
            .unwrap()
            .keys()
            .map(|key| (json.find(&format!("\"{key}\":")).unwrap(), key.clone()))
            .collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    const COMMON: [&str; 11] = [
        "ts",
        "mono_ns",
        "event",
        "netns",
        "local",
        "remote",
        "mapped",
        "side",
        "process",
        "unattributed",
        "opener",
    ];

    #[test]
    fn every_field_is_there_in_the_order_of_the_contract() {
        let cases = [
            (
                samples::time_wait(),
                vec![
                    "state",
                    "from",
                    "connection_ns",
                    "idle_ns",
                    "peer_silent_ns",
                    "send_idle_ns",
                    "bytes_sent",
                    "bytes_received",
                    "awaits_answer",
                    "inferred",
                ],
            ),
            (
                samples::reset(),
                vec![
                    "direction",
                    "reason",
                    "kernel_reason",
                    "state",
                    "connection_ns",
                    "idle_ns",
                    "peer_silent_ns",
                    "send_idle_ns",
                    "bytes_sent",
                    "bytes_received",
                    "awaits_answer",
                    "after_close_ns",
                    "unread_bytes",
                ],
            ),
            (
                samples::abort(),
                vec![
                    "reason",
                    "state",
                    "connection_ns",
                    "idle_ns",
                    "peer_silent_ns",
                    "send_idle_ns",
                    "bytes_sent",
                    "bytes_received",
                    "awaits_answer",
                ],
            ),
            (
                samples::port_alloc(),
                vec![
                    "op",
                    "requested",
                    "result",
                    "latency_ns",
                    "exact",
                    "refused_reuse",
                    "socket_range",
                ],
            ),
            (
                samples::time_wait_end(),
                vec!["cause", "age_ns", "promoted_ns", "by", "inferred"],
            ),
        ];
        for (event, own) in cases {
            let json = serde_json::to_string(&event).unwrap();
            let expected: Vec<&str> = COMMON.into_iter().chain(own).collect();
            assert_eq!(keys(&json), expected, "{json}");
        }
    }

    #[test]
    fn a_time_wait_reads_as_the_contract_says() {
        let mut event = samples::time_wait();
        event.process = None;
        event.unattributed = Some(twtrace_wire::Unattributed::ClosedBeforeTracing);
        event.opener = None;
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"ts":"2023-11-14T22:13:20.000000007Z","mono_ns":1000,"event":"time_wait","netns":4026531840,"local":"10.0.0.1:40000","remote":"[2001:db8::2]:80","mapped":false,"side":"client","process":null,"unattributed":"closed_before_tracing","opener":null,"state":"fin_wait2","from":"fin_wait1","connection_ns":5000000,"idle_ns":null,"peer_silent_ns":null,"send_idle_ns":null,"bytes_sent":80,"bytes_received":612,"awaits_answer":null,"inferred":false}"#
        );
    }

    /// The fields of its kind: none may change, as recordings contain them.
    #[test]
    fn each_kind_reads_as_the_contract_says() {
        let mut late = samples::reset();
        let EventFacts::Reset(reset) = &mut late.facts else {
            panic!("{late:?}");
        };
        reset.reason = ResetReason::DataAfterClose;
        reset.kernel_reason = Some(KernelReason::new("TCP_ABORT_ON_DATA"));
        reset.after_close_ns = Some(300);
        reset.unread_bytes = Some(24);
        let mut narrow = samples::port_alloc();
        let EventFacts::PortAlloc(search) = &mut narrow.facts else {
            panic!("{narrow:?}");
        };
        search.result = PortResult::Ok;
        search.refused_reuse = None;
        search.socket_range = Some(SocketRange { low: 7, high: 0 });
        for (event, own) in [
            (
                late,
                r#""direction":"sent","reason":"data_after_close","kernel_reason":"TCP_ABORT_ON_DATA","state":"established","connection_ns":5000000,"idle_ns":null,"peer_silent_ns":null,"send_idle_ns":null,"bytes_sent":80,"bytes_received":612,"awaits_answer":null,"after_close_ns":300,"unread_bytes":24}"#,
            ),
            (
                samples::abort(),
                r#""reason":"timeout","state":"established","connection_ns":5000000,"idle_ns":null,"peer_silent_ns":null,"send_idle_ns":null,"bytes_sent":80,"bytes_received":612,"awaits_answer":null}"#,
            ),
            (
                samples::port_alloc(),
                r#""op":"connect","requested":0,"result":"EADDRNOTAVAIL","latency_ns":1500,"exact":true,"refused_reuse":{"disabled":3},"socket_range":null}"#,
            ),
            (
                narrow,
                r#""op":"connect","requested":0,"result":"ok","latency_ns":1500,"exact":true,"refused_reuse":null,"socket_range":{"low":7,"high":0}}"#,
            ),
            (
                samples::time_wait_end(),
                r#""cause":"reused_by_connect","age_ns":1200000000,"promoted_ns":300000,"by":{"pid":77,"comm":"wget","uid":1000},"inferred":false}"#,
            ),
        ] {
            let line = serde_json::to_string(&event).unwrap();
            assert!(line.ends_with(own), "{line}");
        }
    }
}
