//! Aligned lines of `trace`, for people.

use std::fmt::Write;
use std::net::SocketAddr;

use twtrace_core::event::quantity;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::event::{Event, Facts, Flow, Lost, Process};
use twtrace_wire::ResetReason;

/// The line above all others.
pub fn header() -> String {
    columns(
        "TIME (UTC)",
        "EVENT",
        "PROCESS",
        "SIDE",
        "LOCAL",
        "REMOTE",
        "DETAILS",
    )
}

/// One event.
pub fn event(event: &Event) -> String {
    let [time, kind, process, side, local, remote, details] = cells(event);
    columns(&time, &kind, &process, &side, &local, &remote, &details)
}

/// One event, by column; escaped.
pub fn cells(event: &Event) -> [String; 7] {
    let who = match (&event.process, event.unattributed) {
        (Some(process), _) => process_name(process),
        (None, Some(reason)) => format!("({})", reason.word()),
        (None, None) => "-".to_owned(),
    };
    let mut details = details(&event.facts);
    if let Some(opener) = &event.opener
        && !event
            .process
            .as_ref()
            .is_some_and(|process| process.is(opener))
    {
        add(&mut details, &format!("opened by {}", process_name(opener)));
    }
    [
        event.ts.time_of_day_us(),
        event.event.word().to_owned(),
        who,
        event.side.word().to_owned(),
        end(event.local),
        end(event.remote),
        details,
    ]
}

/// What was lost.
pub fn lost(lost: &Lost) -> String {
    columns(
        &lost.ts.time_of_day_us(),
        "lost",
        lost.probe.word(),
        "-",
        "-",
        "-",
        &format!("{}: {}", lost.count, lost.probe.consequence()),
    )
}

/// `nginx(1234)`, with the acting thread's name where it has one of its own: `java(99)/http-7`.
pub fn process_name(process: &Process) -> String {
    let comm = match process.comm.is_empty() {
        true => "?".to_owned(),
        false => escape(&process.comm.text()),
    };
    let mut name = format!("{comm}({})", process.key.tgid);
    if !process.thread_comm.is_empty() && process.thread_comm != process.comm {
        // Writing to a String does not fail.
        let _ = write!(name, "/{}", escape(&process.thread_comm.text()));
    }
    name
}

fn columns(
    time: &str,
    event: &str,
    process: &str,
    side: &str,
    local: &str,
    remote: &str,
    details: &str,
) -> String {
    let line = format!(
        "{time:<15}  {event:<10}  {process:<22}  {side:<7}  {local:<21}  {remote:<21}  {details}"
    );
    line.trim_end().to_owned()
}

fn end(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "-".to_owned(), |address| address.to_string())
}

fn details(facts: &Facts) -> String {
    let mut details = String::new();
    match facts {
        Facts::TimeWait(facts) => {
            if let Some(state) = facts.state {
                add(&mut details, state.word());
            }
            if let Some(from) = facts.from {
                add(&mut details, &format!("from {}", from.word()));
            }
            if facts.inferred {
                add(&mut details, "inferred");
            }
            add_age(&mut details, &facts.flow);
            add_idle(&mut details, &facts.flow);
            add_bytes(&mut details, &facts.flow);
        }
        Facts::Reset(facts) => {
            add(
                &mut details,
                &format!("{} {}", facts.direction.word(), facts.reason.word()),
            );
            if let Some(reason) = &facts.kernel_reason {
                add(
                    &mut details,
                    &format!("kernel {}", escape(&reason.to_string())),
                );
            }
            if let Some(state) = facts.state {
                add(&mut details, &format!("in {}", state.word()));
            }
            let is_late = facts.reason == ResetReason::DataAfterClose;
            if let Some(after_close_ns) = facts.after_close_ns.filter(|_| is_late) {
                add(
                    &mut details,
                    &format!("{} after close", quantity::duration(after_close_ns)),
                );
            }
            add_age(&mut details, &facts.flow);
            // The peer has just been heard: its data is what came too late.
            add_silence(&mut details, &facts.flow, !is_late);
            add_bytes(&mut details, &facts.flow);
        }
        Facts::Abort(facts) => {
            add(&mut details, facts.reason.word());
            if let Some(state) = facts.state {
                add(&mut details, &format!("in {}", state.word()));
            }
            add_age(&mut details, &facts.flow);
            add_silence(&mut details, &facts.flow, true);
            add_bytes(&mut details, &facts.flow);
        }
        Facts::TimeWaitEnd(facts) => {
            add(&mut details, facts.cause.word());
            if facts.inferred {
                add(&mut details, "inferred");
            }
            if let Some(by) = &facts.by {
                add(&mut details, &format!("by {}", process_name(by)));
            }
            if let Some(age_ns) = facts.age_ns {
                add(&mut details, &format!("age {}", quantity::duration(age_ns)));
            }
            if let Some(promoted_ns) = facts.promoted_ns {
                add(
                    &mut details,
                    &format!("peer's FIN at {}", quantity::duration(promoted_ns)),
                );
            }
        }
        Facts::PortAlloc(facts) => {
            add(
                &mut details,
                &format!("{} {}", facts.op.word(), facts.result),
            );
            add(
                &mut details,
                &match facts.requested {
                    0 => "any port".to_owned(),
                    port => format!("port {port}"),
                },
            );
            if let Some(latency_ns) = facts.latency_ns {
                let at_most = if facts.exact { "" } else { "≤" };
                add(
                    &mut details,
                    &format!("{at_most}{}", quantity::duration(latency_ns)),
                );
            }
            if let Some(own) = facts.socket_range {
                add(
                    &mut details,
                    &format!("in the socket's own range {}-{}", own.low, own.high),
                );
            }
            if let Some(refused) = facts.refused_reuse.filter(|refused| refused.total() > 0) {
                let reasons: Vec<String> = refused
                    .counted()
                    .map(|(why, number)| format!("{} {number}", why.word()))
                    .collect();
                add(
                    &mut details,
                    &format!("TIME_WAITs in the way: {}", reasons.join(" ")),
                );
            }
        }
    }
    details
}

fn add_age(details: &mut String, flow: &Flow) {
    if let Some(age_ns) = flow.connection_ns {
        add(details, &format!("age {}", quantity::duration(age_ns)));
    }
}

/// For how long each end had been quiet when the connection died; in recordings of earlier versions, both together.
fn add_silence(details: &mut String, flow: &Flow, of_peer: bool) {
    if flow.peer_silent_ns.is_none() && flow.send_idle_ns.is_none() {
        return add_idle(details, flow);
    }
    if let Some(silent_ns) = flow.peer_silent_ns.filter(|_| of_peer) {
        add(
            details,
            &format!("peer silent {}", quantity::duration(silent_ns)),
        );
    }
    if let Some(sent_ns) = flow.send_idle_ns {
        add(
            details,
            &format!("last sent {} ago", quantity::duration(sent_ns)),
        );
    }
}

fn add_idle(details: &mut String, flow: &Flow) {
    if let Some(idle_ns) = flow.idle_ns {
        add(details, &format!("idle {}", quantity::duration(idle_ns)));
    }
}

fn add_bytes(details: &mut String, flow: &Flow) {
    if let (Some(sent), Some(received)) = (flow.bytes_sent, flow.bytes_received) {
        add(
            details,
            &format!(
                "sent {} received {}",
                quantity::bytes(sent),
                quantity::bytes(received)
            ),
        );
    }
}

fn add(details: &mut String, more: &str) {
    if !details.is_empty() {
        details.push_str(", ");
    }
    details.push_str(more);
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::samples;

    use super::*;

    #[test]
    fn lines_stand_under_their_headings() {
        let mut sample = samples::time_wait();
        sample.remote = Some("10.0.0.2:80".parse().unwrap());
        let line = event(&sample);
        let header = header();
        assert_eq!(header.find("LOCAL"), line.find("10.0.0.1"), "{line}");
        assert_eq!(header.find("REMOTE"), line.find("10.0.0.2"), "{line}");
        assert!(
            line.ends_with("fin_wait2, from fin_wait1, age 5.00ms, sent 80B received 612B"),
            "{line}"
        );
    }

    #[test]
    fn the_opener_is_shown_where_it_is_another() {
        let mut sample = samples::reset();
        sample.opener = Some(samples::process(7, "bash"));
        assert!(event(&sample).ends_with("opened by bash(7)"));
        sample.process = None;
        sample.unattributed = Some(twtrace_wire::Unattributed::NoSocket);
        assert!(event(&sample).contains("(no_socket)"));
    }

    #[test]
    fn a_death_tells_how_long_each_end_was_quiet() {
        let mut sample = samples::abort();
        let Facts::Abort(abort) = &mut sample.facts else {
            panic!("{sample:?}");
        };
        // As an earlier version wrote it.
        abort.flow.idle_ns = Some(0);
        assert!(event(&sample).contains("age 5.00ms, idle 0ns, sent 80B"));
        let Facts::Abort(abort) = &mut sample.facts else {
            panic!("{sample:?}");
        };
        abort.flow.peer_silent_ns = Some(9_000_000_000);
        abort.flow.send_idle_ns = Some(4_000_000);
        let flow = abort.flow;
        let quiet = "age 5.00ms, peer silent 9.00s, last sent 4.00ms ago, sent 80B";
        assert!(event(&sample).contains(quiet), "{}", event(&sample));
        let mut late = samples::reset();
        let Facts::Reset(reset) = &mut late.facts else {
            panic!("{late:?}");
        };
        reset.flow = flow;
        reset.reason = ResetReason::DataAfterClose;
        reset.after_close_ns = Some(300_000_000);
        assert!(
            event(&late).ends_with(
                "sent data_after_close, in established, 300ms after close, age 5.00ms, last sent \
                 4.00ms ago, sent 80B received 612B"
            ),
            "{}",
            event(&late)
        );
    }

    #[test]
    fn hostile_names_are_escaped() {
        let mut sample = samples::abort();
        sample.process = Some(samples::process(7, "\x1b[2Jroot\n"));
        let line = event(&sample);
        assert!(line.contains("\\x1b[2Jroot\\x0a(7)"), "{line}");
        assert!(!line.contains(char::is_control));
    }

    #[test]
    fn an_end_tells_how_and_by_whom() {
        assert!(
            event(&samples::time_wait_end())
                .ends_with("reused_by_connect, by wget(77), age 1.20s, peer's FIN at 300us")
        );
    }

    #[test]
    fn port_searches_tell_what_was_asked_for() {
        assert!(event(&samples::port_alloc()).ends_with(
            "connect EADDRNOTAVAIL, any port, 1.50us, TIME_WAITs in the way: disabled 3"
        ));
    }
}
