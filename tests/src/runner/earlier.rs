//! A tracer that was there before twtrace.
//!
//! perf, bpftrace and tcpstates use classic tracepoints. The kernel runs the functions of a tracepoint in the order in which
//! they came: with such a tracer there first, twtrace's programs on classic tracepoints run before its raw ones, the
//! second chances before what they are for.

use std::{io, os::fd::OwnedFd};

use super::options::TierLimit;
use crate::sys::bpf_attach;

/// Those that twtrace has second chances on.
const TRACEPOINTS: [(&str, &str); 4] = [
    ("sock", "inet_sock_set_state"),
    ("tcp", "tcp_destroy_sock"),
    ("tcp", "tcp_send_reset"),
    ("tcp", "tcp_receive_reset"),
];

/// Has one there as long as the result lives, on the tiers between the best and the last: nothing may change by it.
///
/// # Errors
/// When a tracepoint can't be used.
pub fn begin(tier: TierLimit) -> io::Result<Vec<OwnedFd>> {
    match tier {
        TierLimit::NoFentry | TierLimit::Inferred => TRACEPOINTS
            .iter()
            .map(|(category, name)| bpf_attach::use_tracepoint(category, name))
            .collect(),
        TierLimit::Best | TierLimit::Tracepoints | TierLimit::Classic => Ok(Vec::new()),
    }
}
