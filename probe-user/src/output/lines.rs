//! What an event is shown as, by column: in lines of `trace`, and in `top`.

use std::net::SocketAddr;

use twtrace_core::event::answerable::Answerable;
pub use twtrace_core::event::details::process_name;
use twtrace_core::event::words::Word;
use twtrace_core::event::{Event, Lost};

/// Time, event, process, side, local and remote address, details.
pub type LineCells = [String; 7];

/// One event, by column; escaped.
pub fn cells(event: &Event) -> LineCells {
    let who = match event.answerable() {
        Answerable::Process(process) => process_name(process),
        Answerable::Nobody(reason) => format!("({})", reason.word()),
        Answerable::Unknown => "-".to_owned(),
    };
    let mut details = event.facts.details();
    if let Some(opener) = &event.opener
        && !event
            .process
            .as_ref()
            .is_some_and(|process| process.is(opener))
    {
        details.add(format_args!("opened by {}", process_name(opener)));
    }
    [
        event.ts.time_of_day_us(),
        event.event.word().to_owned(),
        who,
        event.side.word().to_owned(),
        end(event.local),
        end(event.remote),
        details.into_text(),
    ]
}

/// What was lost, by column.
pub fn lost_cells(lost: &Lost) -> LineCells {
    let dash = || "-".to_owned();
    [
        lost.ts.time_of_day_us(),
        "lost".to_owned(),
        lost.probe.word().to_owned(),
        dash(),
        dash(),
        dash(),
        format!("{}: {}", lost.count, lost.probe.consequence()),
    ]
}

fn end(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "-".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::{EventFacts, samples};
    use twtrace_wire::ResetReason;

    use super::*;

    /// The cells, with two spaces in between.
    fn event(event: &Event) -> String {
        cells(event).join("  ")
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
        let EventFacts::Abort(abort) = &mut sample.facts else {
            panic!("{sample:?}");
        };
        // In the form of an earlier version.
        abort.flow.idle_ns = Some(0);
        assert!(event(&sample).contains("age 5.00ms, idle 0ns, sent 80B"));
        let EventFacts::Abort(abort) = &mut sample.facts else {
            panic!("{sample:?}");
        };
        abort.flow.peer_silent_ns = Some(9_000_000_000);
        abort.flow.send_idle_ns = Some(4_000_000);
        let flow = abort.flow;
        let quiet = "age 5.00ms, peer silent 9.00s, last sent 4.00ms ago, sent 80B";
        assert!(event(&sample).contains(quiet), "{}", event(&sample));
        let mut late = samples::reset();
        let EventFacts::Reset(reset) = &mut late.facts else {
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
