//! What a kernel timer ends, or would have ended: mini-sockets after their time, and sockets in FIN_WAIT2.

use super::{
    climate::KernelSetting, judge::StormSight, plan::End, rules::of_one, tracer::TraceEvent,
    truth::Truth,
};

/// TCP_TIMEWAIT_LEN, nanoseconds.
const TIME_WAIT_NS: u64 = 60_000_000_000;

/// tcp_fin_timeout of a namespace, nanoseconds.
fn fin_timeout_ns(settings: &[KernelSetting]) -> u64 {
    let setting = settings
        .iter()
        .find(|(name, _)| name.ends_with("tcp_fin_timeout"));
    setting.map_or(TIME_WAIT_NS, |(_, seconds)| {
        u64::from(*seconds) * 1_000_000_000
    })
}

/// What is wrong in an event by itself: see [`of_one`].
pub fn wrong_in_one(
    truth: &Truth,
    settings: &[KernelSetting],
    event: &TraceEvent,
    end: End,
) -> Option<String> {
    of_one(truth, event, end).filter(|_| !fin_wait2_ran_out(truth, settings, event, end))
}

/// Whether a RST is that of a socket that stayed in FIN_WAIT2 for tcp_fin_timeout: if a process owned it when the FIN was
/// acknowledged, it becomes no mini-socket, and tcp_keepalive_timer() resets the connection.
fn fin_wait2_ran_out(
    truth: &Truth,
    settings: &[KernelSetting],
    event: &TraceEvent,
    end: End,
) -> bool {
    let closed_ns = truth
        .entries
        .iter()
        .filter(|entry| entry.end == end && entry.action.is_last())
        .map(|entry| entry.before_ns)
        .min();
    event.is_reset("sent")
        && event.reason.as_deref() == Some("timeout")
        && event.state.as_deref() == Some("fin_wait2")
        && closed_ns.is_some_and(|closed_ns| {
            event.mono_ns.saturating_sub(closed_ns) >= fin_timeout_ns(settings)
        })
}

/// Whether a mini-socket of this end was there after its time: something happened to the connection that late. Where ends
/// are seen by timers, one that ends otherwise from then on, before its timer has run, is not reported.
pub fn ended_after_its_time(
    truth: &Truth,
    settings: &[KernelSetting],
    events: &[(&TraceEvent, End)],
    end: End,
    sight: StormSight,
) -> bool {
    if !sight.ends_by_timer {
        return false;
    }
    let born = events
        .iter()
        .filter(|(event, at)| *at == end && event.event == "time_wait");
    let over_ns = born.map(|(event, _)| {
        let length_ns = match event.state.as_deref() {
            Some("fin_wait2") => fin_timeout_ns(settings),
            _ => TIME_WAIT_NS,
        };
        event.mono_ns + length_ns
    });
    let latest_event = events.iter().map(|(event, _)| event.mono_ns).max();
    let latest_action = truth.entries.iter().map(|entry| entry.after_ns).max();
    let latest_ns = latest_event.max(latest_action).unwrap_or(0);
    over_ns.min().is_some_and(|over_ns| latest_ns >= over_ns)
}

/// Whether a RST that was received may have been data after the close, whose own RST was not seen: the kernel takes both
/// through the same function, and only the RST that follows replaces the former.
pub fn is_unanswered_data(
    truth: &Truth,
    event: &TraceEvent,
    end: End,
    events: &[(&TraceEvent, End)],
) -> bool {
    event.is_reset("received")
        && event.reason.as_deref() == Some("peer")
        && truth.may_be_late(end, event.mono_ns)
        && !events
            .iter()
            .any(|(other, at)| *at == end && other.is_reset("sent"))
}
