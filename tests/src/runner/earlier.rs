//! A tracer that was attached before twtrace.
//!
//! perf, bpftrace and tcpstates use classic tracepoints. The kernel runs the functions of a tracepoint in the order in
//! which they were attached: if such a tracer is attached first, twtrace's programs on classic tracepoints run before
//! its raw ones, so the second chances run before the programs they back up.

use std::{io, os::fd::OwnedFd};

use super::options::TierLimit;
use crate::sys::bpf_attach;

/// The tracepoints on which twtrace has second chances.
const TRACEPOINTS: [(&str, &str); 4] = [
    ("sock", "inet_sock_set_state"),
    ("tcp", "tcp_destroy_sock"),
    ("tcp", "tcp_send_reset"),
    ("tcp", "tcp_receive_reset"),
];

/// Attaches such a tracer until the result is dropped, on the tiers between the best and the last: it must change
/// nothing.
pub fn begin(tier: TierLimit) -> io::Result<Vec<OwnedFd>> {
    match tier {
        TierLimit::NoFentry | TierLimit::Inferred => TRACEPOINTS
            .iter()
            .map(|(category, name)| bpf_attach::use_tracepoint(category, name))
            .collect(),
        TierLimit::Best | TierLimit::Tracepoints | TierLimit::Classic => Ok(Vec::new()),
    }
}
