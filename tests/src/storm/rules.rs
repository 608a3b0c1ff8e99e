//! What an event may say of a connection whose truth is known.

use super::{
    plan::{End, StepAction},
    tracer::TraceEvent,
    truth::{Allowed, Truth},
};

/// Of which kind it is, and its reason.
pub fn what(event: &TraceEvent) -> String {
    let why = event.reason.as_deref().or(event.cause.as_deref());
    format!("{} {}", event.kind(), why.unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// Whom it may name.
pub fn allowed(truth: &Truth, event: &TraceEvent, end: End) -> Allowed {
    match event.event.as_str() {
        // It names the process that created it.
        "time_wait_end" => Allowed {
            pids: truth.all(end),
            nobody: false,
        },
        _ => match event.reason.as_deref().filter(|_| event.is_reset("sent")) {
            Some("linger_zero" | "unread_data" | "aborted") => {
                truth.allowed_to_disconnect(end, event.mono_ns)
            }
            Some("data_after_close") => truth.allowed_to_be_late(end, event.mono_ns),
            _ => truth.allowed(end, event.mono_ns),
        },
    }
}

/// An error in the fields other than processes.
pub fn of_one(truth: &Truth, event: &TraceEvent, end: End) -> Option<String> {
    let is_no_socket = event.unattributed.as_deref() == Some("no_socket");
    if is_no_socket && !truth.may_be_gone(end, event.mono_ns) {
        return Some("this end had its socket".to_owned());
    }
    let side = match end {
        End::Client => "client",
        End::Server => "server",
    };
    if let Some(other) = event.side.as_deref()
        && ![side, "unknown"].contains(&other)
    {
        return Some(format!("is of the {side}, not the {other}"));
    }
    truth.contradicts(event, end).map(str::to_owned)
}

/// Each end of a connection has at most one.
pub fn too_many_births(truth: &Truth, events: &[(&TraceEvent, End)]) -> Option<String> {
    let connections = truth
        .entries
        .iter()
        .filter(|entry| entry.action == StepAction::Connect)
        .count();
    [End::Client, End::Server].into_iter().find_map(|end| {
        let births = events
            .iter()
            .filter(|(event, at)| *at == end && event.event == "time_wait")
            .count();
        (births > connections).then(|| format!("{births} births at the {end:?}"))
    })
}

/// What was not reported: this needs both ends.
pub fn of_both_ends(events: &[(&TraceEvent, End)]) -> Vec<String> {
    let count = |end: End, of: fn(&TraceEvent) -> bool| {
        events
            .iter()
            .filter(|(event, at)| *at == end && of(event))
            .count()
    };
    let mut wrong = Vec::new();
    for end in [End::Client, End::Server] {
        let received = count(end, |event| event.is_reset("received"));
        let sent = count(end.other(), |event| event.is_reset("sent"));
        if received > sent {
            wrong.push(format!(
                "{received} resets were received by the {end:?}, and {sent} sent"
            ));
        }
    }
    wrong
}

/// A contradiction to the kernel's own reason: since 6.10 it distinguishes a close() over unread data from all other
/// RSTs.
pub fn against_kernel(event: &TraceEvent) -> Option<String> {
    let kernel_reason = event.kernel_reason.as_deref()?;
    let is_of_close = kernel_reason == "TCP_ABORT_ON_CLOSE";
    let is_unread = event.reason.as_deref() == Some("unread_data");
    (event.is_reset("sent") && is_of_close != is_unread)
        .then(|| format!("the kernel's reason is {kernel_reason}"))
}
